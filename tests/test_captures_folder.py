"""Where captures are kept: a disk that fails ends them, and no call."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from portero.call import Call
from portero.captures import folder
from portero.captures.call import CapturedCall
from portero.captures.entries import MAGIC, Kind, Reading, read
from portero.captures.folder import EVERY, STOP_WITHIN, Captures, Spool
from portero.interfaces import IObserver
from portero.replay import replay
from portero.watching import Watchers
from tests.captured_call import CALL_ID, CapturedCase
from tests.fake_call import AGENT, FakeLeg, FakeProvider, FakeTool
from tests.test_observers_recording import Disk


class KeptCase(CapturedCase):
    """As the service makes it."""

    def __init__(self, path: Path, disk: Disk, agents: tuple[str, ...]) -> None:
        self.path, self.disk, self.agents = path, disk, agents
        super().__init__(FakeTool())

    def make_call(self, watchers: Watchers) -> Call:
        self.captures = Captures(str(self.path), self.world, self.disk)
        self.captures.use(self.agents)
        watchers.add(self.captures)
        return self.captures.make_call(
            CALL_ID, self.leg, self.given, self.world, self.ended.append, watchers
        )

    def hang_up(self) -> None:
        self.leg.leave("caller hung up", True)


class FolderCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.disk = Disk()
        self.path = Path(self.mktemp())

    def begin(self, agents: tuple[str, ...] = (AGENT,)) -> KeptCase:
        case = KeptCase(self.path, self.disk, agents)
        case.begin()
        return case

    def content(self) -> bytes:
        (path,) = self.path.iterdir()
        return path.read_bytes()

    def kept(self) -> Reading:
        return read(self.content())

    def told(self, do: Callable[[], object]) -> list[str]:
        """@return: The warnings in the log that captures end."""
        with capturedLogs() as events:
            do()
        said = [formatEvent(e) for e in events if e["log_level"] >= LogLevel.warn]
        return [each for each in said if "its capture ends here" in each]


class CapturesTests(FolderCase):
    def test_it_observes(self) -> None:
        verifyObject(IObserver, self.begin().captures)

    def test_a_call_is_kept_from_its_beginning_to_its_end(self) -> None:
        case = self.begin()
        case.go_on(2.0)
        case.hang_up()
        found, missing = self.kept()
        self.assertEqual(missing, "")
        self.assertEqual((found[0].kind, found[-1].kind), (Kind.CALL, Kind.ENDED))
        frames = sum(entry.kind is Kind.FRAME for entry in found)
        self.assertEqual(frames, case.leg.figures().frames_sent)
        self.assertTrue(replay(self.content()).same)

    def test_it_can_be_read_while_it_goes_on(self) -> None:
        case = self.begin()
        case.go_on(2.0)
        found, missing = self.kept()
        self.assertEqual(missing, "")
        self.assertGreater(found[-1].at, case.world.seconds() - EVERY - 0.1)

    def test_the_file_has_the_name_of_a_recording_and_is_the_owners_alone(self) -> None:
        case = self.begin()
        case.go_on(1.0)
        (path,) = self.path.iterdir()
        self.assertRegex(path.name, rf"^\d{{8}}T\d{{6}}Z-{CALL_ID}\.capture$")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o700)

    def test_only_agents_that_say_so_are_captured(self) -> None:
        case = self.begin(("another",))
        self.assertNotIsInstance(case.call, CapturedCall)
        case.go_on(1.0)
        case.hang_up()
        self.assertTrue(case.ended)
        self.assertFalse(self.path.exists())

    def test_one_that_cannot_be_captured_is_answered_all_the_same(self) -> None:
        case, leg = self.begin(), FakeLeg()
        given = case.given
        provider: Any = FakeProvider()
        object.__setattr__(given, "provider", provider)
        with capturedLogs() as events:
            made = case.captures.make_call(
                CALL_ID, leg, given, case.world, case.ended.append, Watchers()
            )
        self.assertIs(type(made), Call)
        (said,) = map(formatEvent, events)
        self.assertIn(f"call {CALL_ID} is not captured: the voice service", str(said))

    def test_what_a_failed_beginning_left_takes_no_memory(self) -> None:
        def broken(*given: object) -> str:
            raise ValueError("on purpose")

        self.patch(folder, "file_name", broken)
        spools: list[Spool] = []

        def spool(*given: Any) -> Spool:
            spools.append(Spool(*given))
            return spools[-1]

        self.patch(folder, "Spool", spool)
        case = self.begin()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        case.go_on(1.0)
        self.assertEqual(spools[0]._entries, [])
        case.hang_up()
        self.assertTrue(case.ended)

    def test_a_pause_of_the_recording_ends_it(self) -> None:
        case = self.begin()
        case.go_on(1.0)
        self.assertTrue(case.call.pause_recording(True, "ana"))
        before = self.content()
        found, missing = self.kept()
        self.assertEqual(missing, "")
        kind, _, data = found[-1].value()
        self.assertEqual((found[-1].kind, kind), (Kind.HAPPENED, "recording"))
        self.assertEqual(data, {"did": "paused", "by": "operator", "who": "ana"})
        case.call.dtmf("4")
        case.go_on(2.0)
        case.call.pause_recording(False, "ana")
        case.go_on(2.0)
        case.hang_up()
        self.assertTrue(case.ended)
        self.assertEqual(self.content(), before)
        again = replay(before)
        self.assertTrue(again.same, again)

    def test_what_is_old_is_deleted(self) -> None:
        self.path.mkdir()
        names = ["20261119T235959Z-a.capture", "20261120T000000Z-b.capture", "mine"]
        for name in names:
            (self.path / name).touch()
        captures = Captures(str(self.path), Clock(), self.disk)
        deleting = captures.delete("2026-11-20T00:00:00+00:00")
        self.assertEqual(self.successResultOf(deleting), 1)
        self.assertEqual({p.name for p in self.path.iterdir()}, {*names[1:]})


class TroubleTests(FolderCase):
    def test_a_disk_that_is_full_ends_the_capture_and_not_the_call(self) -> None:
        case = self.begin()
        case.go_on(1.0)
        whole = self.content()
        written: list[bytes] = []
        real = os.write

        def full(file: int, data: bytes) -> int:
            if written:
                raise OSError(28, "No space left on device")
            written.append(data)
            return real(file, data[:20])

        self.patch(os, "write", full)
        (said,) = self.told(lambda: case.go_on(3.0))
        self.assertIn("its capture ends here, and the call goes on", said)
        self.assertIn("No space left on device", said)
        self.assertIn("[records] captures", said)
        self.patch(os, "write", real)
        self.assertEqual(self.told(case.hang_up), [])
        self.assertTrue(case.ended)
        found, missing = self.kept()
        self.assertEqual(missing, "its end is missing")
        self.assertEqual(found, read(whole).entries)
        self.assertTrue(replay(self.content()).same)

    def test_nothing_comes_after_the_half_of_something(self) -> None:
        case = self.begin()
        case.go_on(1.0)
        whole, self.disk.hangs = self.content(), []
        case.go_on(2.0)
        real = os.write

        def once(file: int, data: bytes) -> int:
            self.patch(os, "write", real)
            raise OSError(28, "No space left on device")

        self.patch(os, "write", once)
        self.disk.go_on()
        case.hang_up()
        self.assertEqual(self.content(), whole)

    def test_a_folder_that_cannot_be_made(self) -> None:
        self.path.write_text("I am a file")
        case = KeptCase(self.path, self.disk, (AGENT,))
        case.begin()
        (said,) = self.told(lambda: case.go_on(2.0))
        self.assertIn("[records] captures", said)
        case.hang_up()
        self.assertTrue(case.ended)

    def test_a_disk_that_hangs_takes_bounded_memory(self) -> None:
        self.patch(folder, "MOST_WAITING", 100_000)
        case = self.begin()
        self.disk.hangs = []
        said = self.told(lambda: case.go_on(10.0))
        self.assertEqual(len(said), 1)
        self.assertIn("wait for the disk already", said[0])
        waiting = len(self.disk.hangs)
        case.go_on(5.0)
        self.assertEqual(len(self.disk.hangs), waiting)
        self.disk.go_on()
        case.hang_up()
        self.assertTrue(self.content().startswith(MAGIC))

    def test_a_mistake_of_ours_ends_one_capture_only(self) -> None:
        def broken(entries: object) -> bytes:
            raise ValueError("on purpose")

        case = self.begin()
        self.patch(folder, "block", broken)
        (said,) = self.told(lambda: case.go_on(2.0))
        self.assertIn("internal error", said)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        case.hang_up()
        self.assertTrue(case.ended)


class StopTests(FolderCase):
    def test_a_stop_waits_for_what_is_being_written(self) -> None:
        case = self.begin()
        self.disk.hangs = []
        case.hang_up()
        stopped = case.captures.stopService()
        self.assertNoResult(stopped)
        self.disk.go_on()
        self.successResultOf(stopped)
        self.assertEqual(self.kept().entries[-1].kind, Kind.ENDED)

    def test_but_not_for_ever(self) -> None:
        case = self.begin()
        self.disk.hangs = []
        case.hang_up()
        stopped = case.captures.stopService()
        (said,) = self.told(lambda: case.world.advance(STOP_WITHIN))
        self.assertIn("the disk takes too long", said)
        self.successResultOf(stopped)

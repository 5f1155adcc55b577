"""Recordings: those of agents that record, and a disk that fails harms no call."""

from __future__ import annotations

import os
import threading
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from portero.interfaces import Happening, IAudioTap, IObserver, LegFigures
from portero.observers import recording
from portero.observers.recording import (
    MOST_WAITING,
    PIECE,
    STOP_WITHIN,
    TOGETHER,
    Recordings,
)
from portero.records import tape
from portero.records.disk_thread import DiskThread
from portero.records.waveform import SUFFIX
from tests.kept_calls import BEGAN, ID, record

NAME = f"20261121T100000Z-{ID}.wav"
SOUND = bytes(range(0, 160)) * 2


class TappedCall:
    """A call as far as recordings know one."""

    def __init__(self, call_id: str = ID, agent: str = "reception") -> None:
        self.call_id = call_id
        self.agent = agent
        self.taps: list[Any] = []

    def snapshot(self) -> dict[str, Any]:
        return {"began": BEGAN}

    def seconds(self) -> float:
        return 0.0

    def tap(self, tap: Any) -> None:
        self.taps.append(tap)

    def untap(self, tap: Any) -> None:
        self.taps.remove(tap)

    def talk(self, frames: int) -> None:
        for _ in range(frames):
            for tap in tuple(self.taps):
                tap.frame(SOUND, 8000, bytes(320), 8000)


class Disk:
    """
    Does at once what it is given.

    @ivar hangs: Instead, what it was given waits here.
    """

    def __init__(self) -> None:
        self.hangs: list[tuple[Callable[[], Any], Deferred[Any]]] | None = None

    def __call__(self, do: Callable[[], Any]) -> Deferred[Any]:
        if self.hangs is None:
            return maybeDeferred(do)
        waiting: Deferred[Any] = Deferred()
        self.hangs.append((do, waiting))
        return waiting

    def go_on(self) -> None:
        hung, self.hangs = self.hangs or [], None
        for do, waiting in hung:
            maybeDeferred(do).chainDeferred(waiting)


class RecordingCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.disk = Clock(), Disk()
        self.folder = Path(self.mktemp())
        self.recordings = Recordings(str(self.folder), self.clock, self.disk)
        self.recordings.use(["reception"])
        self.recordings.startService()

    def begin(self, *arguments: str) -> TappedCall:
        call = TappedCall(*arguments)
        watched: Any = call
        self.recordings.call_started(watched)
        return call

    def end(self, call: TappedCall) -> None:
        self.recordings.call_ended(record(call.call_id), LegFigures())

    def talk(self, call: TappedCall, frames: int) -> None:
        for start in range(0, frames, PIECE):
            call.talk(min(PIECE, frames - start))
            self.clock.advance(TOGETHER)

    def frames(self, name: str = NAME) -> int:
        """@return: So many can be played."""
        with wave.open(str(self.folder / name), "rb") as file:
            return file.getnframes() // 160

    def told(self, do: Callable[[], object]) -> list[str]:
        """@return: The warnings in the log."""
        with capturedLogs() as events:
            do()
        return [formatEvent(e) for e in events if e["log_level"] >= LogLevel.warn]


class RecordingTests(RecordingCase):
    def test_it_observes(self) -> None:
        verifyObject(IObserver, self.recordings)
        verifyObject(IAudioTap, self.begin().taps[0])
        self.recordings.call_event(Happening(ID, "barge_in", 0.0, {}))

    def test_a_call_is_recorded_from_its_beginning_to_its_end(self) -> None:
        call = self.begin()
        self.talk(call, PIECE * 2 + 7)
        self.end(call)
        self.assertEqual(self.frames(), PIECE * 2 + 7)
        self.assertEqual(self.recordings.name_of(ID), NAME)

    def test_it_can_be_played_while_it_goes_on(self) -> None:
        call = self.begin()
        self.talk(call, PIECE * 2 + 7)
        self.assertEqual(self.frames(), PIECE * 2)

    def test_only_agents_that_say_so_are_recorded(self) -> None:
        call = self.begin(ID, "door")
        self.assertEqual(call.taps, [])
        self.end(call)
        self.assertEqual(self.recordings.name_of(ID), "")
        self.recordings.use(["door"])
        self.assertEqual(len(self.begin(ID, "door").taps), 1)

    def test_the_folder_is_the_owners_alone(self) -> None:
        call = self.begin()
        self.talk(call, PIECE)
        self.assertEqual(os.stat(self.folder).st_mode & 0o777, 0o700)
        self.assertEqual(os.stat(self.folder / NAME).st_mode & 0o777, 0o600)

    def test_a_call_without_sound_has_no_recording(self) -> None:
        self.end(self.begin())
        self.assertEqual(self.recordings.name_of(ID), "")
        self.assertFalse(self.folder.exists())

    def test_names_are_not_remembered_for_ever(self) -> None:
        self.patch(recording, "REMEMBERED", 3)
        for number in range(5):
            self.begin(f"call-{number}").talk(1)
        named = [bool(self.recordings.name_of(f"call-{n}")) for n in range(5)]
        self.assertEqual(named, [False, False, True, True, True])


class TroubleTests(RecordingCase):
    def test_a_disk_that_fails_ends_the_recording_and_not_the_call(self) -> None:
        call = self.begin()
        self.talk(call, PIECE)
        real = os.pwrite

        def full(*arguments: Any) -> int:
            raise OSError(28, "No space left on device")

        self.patch(os, "pwrite", full)
        (said,) = self.told(lambda: self.talk(call, PIECE * 3))
        self.assertIn("its recording ends here, and the call goes on", said)
        self.assertIn("No space left on device", said)
        self.assertIn(NAME, said)
        self.assertEqual(call.taps, [])
        self.patch(os, "pwrite", real)
        self.assertEqual(self.told(lambda: self.end(call)), [])
        self.assertEqual(self.frames(), PIECE)
        self.assertEqual(self.recordings.name_of(ID), NAME)

    def test_a_folder_that_cannot_be_made(self) -> None:
        self.folder.write_text("I am a file")
        call = self.begin()
        (said,) = self.told(lambda: self.talk(call, PIECE))
        self.assertIn("[records] recordings", said)
        self.assertEqual(self.told(lambda: self.end(call)), [])

    def test_a_file_that_can_hold_no_more(self) -> None:
        self.patch(tape, "LARGEST", PIECE * 640)
        call = self.begin()
        (said,) = self.told(lambda: self.talk(call, PIECE * 3))
        self.assertIn("a WAV file can hold no more", said)
        self.end(call)
        self.assertEqual(self.frames(), PIECE)

    def test_a_disk_that_hangs_takes_bounded_memory(self) -> None:
        call = self.begin()
        self.disk.hangs = []
        said = self.told(lambda: self.talk(call, PIECE * (MOST_WAITING + 5)))
        self.assertEqual(len(said), 1)
        self.assertIn("25 s of it wait for the disk already", said[0])
        self.assertEqual(call.taps, [])
        self.end(call)
        self.disk.go_on()
        self.assertFalse((self.folder / NAME).exists())

    def test_what_waited_for_the_disk_is_written_in_its_order(self) -> None:
        call = self.begin()
        self.disk.hangs = []
        self.talk(call, PIECE * 5 + 3)
        self.end(call)
        self.disk.go_on()
        self.assertEqual(self.frames(), PIECE * 5 + 3)

    def test_a_mistake_of_ours_ends_one_recording_only(self) -> None:
        broken, whole = self.begin(), self.begin("another")
        broken.taps[0].frame(b"odd", 8000, b"odd", 0)
        self.talk(broken, PIECE)
        self.talk(whole, PIECE)
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        self.end(broken)
        self.end(whole)
        self.assertEqual(self.frames("20261121T100000Z-another.wav"), PIECE)

    def test_after_what_was_lost_nothing_is_written(self) -> None:
        """It would be where that was. The disk is told before the calls are."""
        call = self.begin()
        self.talk(call, PIECE)
        self.disk.hangs = []
        self.talk(call, PIECE * 3)
        real, left = os.pwrite, [OSError(28, "No space left on device")]

        def once(*arguments: Any) -> int:
            if left:
                raise left.pop()
            return real(*arguments)

        self.patch(os, "pwrite", once)
        (said,) = self.told(self.disk.go_on)
        self.assertIn("No space left", said)
        self.end(call)
        self.assertEqual((self.frames(), left), (PIECE, []))


class TogetherTests(RecordingCase):
    def test_pieces_of_several_calls_are_one_task(self) -> None:
        calls = [self.begin(f"call-{n}") for n in range(5)]
        self.disk.hangs = []
        for call in calls:
            call.talk(PIECE)
            self.clock.advance(TOGETHER / 10)
        self.assertEqual(self.disk.hangs, [])
        self.clock.advance(TOGETHER)
        self.assertEqual(len(self.disk.hangs), 1)
        self.disk.go_on()
        for n in range(5):
            self.assertEqual(self.frames(f"20261121T100000Z-call-{n}.wav"), PIECE)

    def test_what_fails_of_one_ends_no_other(self) -> None:
        calls = [self.begin(f"call-{n}") for n in range(3)]
        real = os.pwrite

        def full(file: int, data: bytes, at: int) -> int:
            if "call-1" in os.readlink(f"/proc/self/fd/{file}"):
                raise OSError(28, "No space left on device")
            return real(file, data, at)

        self.patch(os, "pwrite", full)
        for call in calls:
            call.talk(PIECE)
        (said,) = self.told(lambda: self.clock.advance(TOGETHER))
        self.assertIn("call call-1: ", said)
        self.assertEqual([len(call.taps) for call in calls], [1, 0, 1])
        for call in calls:
            self.talk(call, PIECE)
            self.end(call)
        for n in (0, 2):
            self.assertEqual(self.frames(f"20261121T100000Z-call-{n}.wav"), 2 * PIECE)

    def test_a_call_that_ends_is_written_once(self) -> None:
        call = self.begin()
        call.talk(PIECE + 3)
        self.end(call)
        self.clock.advance(TOGETHER)
        self.assertEqual(self.frames(), PIECE + 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class StopTests(RecordingCase):
    def test_a_stop_waits_for_what_is_being_written(self) -> None:
        call = self.begin()
        self.talk(call, 5)
        self.disk.hangs = []
        self.end(call)
        stopped = self.recordings.stopService()
        self.assertNoResult(stopped)
        self.disk.go_on()
        self.successResultOf(stopped)
        self.assertEqual(self.frames(), 5)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_but_not_for_ever(self) -> None:
        call = self.begin()
        self.talk(call, 5)
        self.disk.hangs = []
        self.end(call)
        stopped = self.recordings.stopService()
        (said,) = self.told(lambda: self.clock.advance(STOP_WITHIN))
        self.assertIn("the disk takes too long", said)
        self.successResultOf(stopped)

    def test_without_recordings_it_stops_at_once(self) -> None:
        self.successResultOf(self.recordings.stopService())


class DeleteTests(RecordingCase):
    def delete(self, before: str = "2026-11-20T00:00:00+00:00") -> int:
        return self.successResultOf(self.recordings.delete(before))

    def test_what_is_old_goes_with_its_picture(self) -> None:
        self.folder.mkdir()
        names = [
            "20261119T235959Z-a.wav",
            "20261119T235959Z-a.wav" + SUFFIX,
            "20261120T000000Z-b.wav",
            "20261120T000000Z-b.wav" + SUFFIX,
            "notes-of-mine.txt",
            "20200101T000000Z-of-mine.mp3",
        ]
        for name in names:
            (self.folder / name).write_text("x")
        self.assertEqual(self.delete(), 1)
        left = sorted(path.name for path in self.folder.iterdir())
        self.assertEqual(left, sorted(names[2:]))

    def test_without_a_folder_there_is_nothing_to_do(self) -> None:
        self.assertEqual(self.delete(), 0)

    def test_one_that_cannot_be_deleted_is_no_secret(self) -> None:
        (self.folder / "20261119T235959Z-a.wav").mkdir(parents=True)
        deleting = self.recordings.delete("2026-11-20T00:00:00+00:00")
        self.failureResultOf(deleting, OSError)


class DiskThreadTests(TestCase):
    async def test_one_thing_after_another_in_a_thread(self) -> None:
        disk = DiskThread(reactor)
        disk.startService()
        seen: list[Any] = []

        def do(what: int) -> int:
            seen.append((what, threading.get_ident()))
            return what

        doing = [disk(lambda what=each: do(what)) for each in range(20)]  # type: ignore[misc]
        self.assertEqual([await each for each in doing], [*range(20)])
        self.assertEqual([what for what, _ in seen], [*range(20)])
        (thread,) = {thread for _, thread in seen}
        self.assertNotEqual(thread, threading.get_ident())
        failing = disk(lambda: 1 // 0)
        await self.assertFailure(failing, ZeroDivisionError)
        disk.stopService()

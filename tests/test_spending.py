"""What was spent today outlives a restart, and its file harms nobody."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from portero.money import Ledger
from portero.spending import KEEP_EVERY, STOP_WITHIN, SpendingFile

TODAY = date(2026, 11, 21)


class Thread:
    """Does at once what it is given, unless it hangs."""

    def __init__(self) -> None:
        self.times = 0
        self.hangs: Deferred[None] | None = None

    def __call__(self, do: Callable[[], None]) -> Deferred[None]:
        self.times += 1
        return self.hangs or maybeDeferred(do)


class SpendingCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.thread = Thread()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "spending.json"
        self.day = TODAY

    def start(self, path: Path | None = None) -> tuple[Ledger, SpendingFile]:
        """@return: Those of another run of the program."""
        ledger = Ledger(lambda: self.day)
        spending = SpendingFile(ledger, str(path or self.path), self.clock, self.thread)
        spending.startService()
        return ledger, spending

    def tick(self) -> None:
        self.clock.advance(KEEP_EVERY)

    def stop(self, spending: SpendingFile) -> None:
        self.successResultOf(spending.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


class RestartTests(SpendingCase):
    def test_a_stopped_program_knows_all_of_it_again(self) -> None:
        ledger, spending = self.start()
        ledger.add("a", 1.25)
        ledger.add("b", 0.5)
        self.stop(spending)
        again, spending = self.start()
        self.assertEqual(again.page(), ledger.page())
        again.add("a", 1.0)
        self.stop(spending)
        self.assertEqual(self.start()[0].spent("a"), 2.25)

    def test_a_killed_one_forgets_seconds(self) -> None:
        ledger, _ = self.start()
        ledger.add("a", 1.0)
        self.tick()
        ledger.add("a", 0.5)
        self.assertEqual(self.start()[0].spent("a"), 1.0)

    def test_a_crash_loop_does_not_get_round_the_ceiling(self) -> None:
        for _ in range(20):
            ledger, _ = self.start()
            ledger.add("a", 0.5)
            self.tick()
        self.assertEqual(self.start()[0].spent("a"), 10.0)

    def test_yesterdays_is_of_no_interest(self) -> None:
        ledger, spending = self.start()
        ledger.add("a", 1.0)
        self.stop(spending)
        self.day += timedelta(1)
        with capturedLogs() as events:
            ledger, spending = self.start()
            self.assertEqual(ledger.spent(), 0.0)
        self.assertEqual(events, [])
        ledger.add("a", 0.25)
        self.stop(spending)
        self.assertEqual(self.start()[0].spent("a"), 0.25)

    def test_midnight_turns_the_page_in_the_file_too(self) -> None:
        ledger, spending = self.start()
        ledger.add("a", 1.0)
        self.tick()
        self.day += timedelta(1)
        self.tick()
        ledger.add("a", 0.25)
        self.stop(spending)
        self.assertEqual(self.start()[0].spent("a"), 0.25)


class WritingTests(SpendingCase):
    def test_it_is_written_when_something_was_spent_and_not_for_each_call(self) -> None:
        ledger, spending = self.start()
        self.tick()
        self.assertEqual((self.thread.times, self.names()), (0, []))
        for _ in range(100):
            ledger.add("a", 0.01)
        self.tick()
        self.tick()
        self.assertEqual(self.thread.times, 1)
        self.stop(spending)
        self.assertEqual(self.thread.times, 1)

    def test_what_was_restored_is_not_written_again(self) -> None:
        ledger, spending = self.start()
        ledger.add("a", 1.0)
        self.stop(spending)
        _, spending = self.start()
        self.tick()
        self.stop(spending)
        self.assertEqual(self.thread.times, 1)

    def test_only_its_owner_may_read_it_and_nothing_lies_beside_it(self) -> None:
        (self.folder / "spending.json.new").write_text("of a crash")
        (self.folder / "spending.json.new").chmod(0o666)
        ledger, spending = self.start()
        ledger.add("a", 1.0)
        self.stop(spending)
        self.assertEqual(self.names(), ["spending.json"])
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)

    def test_a_link_where_it_is_prepared_leads_nowhere(self) -> None:
        victim = self.folder / "victim"
        victim.write_text("precious")
        (self.folder / "spending.json.new").symlink_to(victim)
        ledger, spending = self.start()
        ledger.add("a", 1.0)
        self.stop(spending)
        self.assertEqual(victim.read_text(), "precious")
        self.assertEqual(self.names(), ["spending.json", "victim"])

    def test_until_it_is_whole_the_page_before_stands(self) -> None:
        ledger, spending = self.start()
        ledger.add("a", 1.0)
        self.tick()
        seen: list[float] = []

        def look(_: int) -> None:
            for name in ("spending.json", "spending.json.new"):
                page = json.loads((self.folder / name).read_text())
                seen.append(page["spent"]["a"])

        self.patch(os, "fsync", look)
        ledger.add("a", 1.0)
        self.stop(spending)
        self.assertEqual(seen, [1.0, 2.0])
        self.assertEqual(self.start()[0].spent("a"), 2.0)

    def test_it_grows_with_the_agents_and_not_with_the_calls(self) -> None:
        ledger, spending = self.start()
        for _ in range(1000):
            for agent in "abc":
                ledger.add(agent, 0.001)
        self.stop(spending)
        self.assertEqual(set(json.loads(self.path.read_text())["spent"]), set("abc"))
        self.assertLess(self.path.stat().st_size, 200)


class TroubleTests(SpendingCase):
    def warned(self, events: Sequence[LogEvent]) -> list[str]:
        for event in events:
            self.assertIs(event["log_level"], LogLevel.warn)
        return [formatEvent(event) or "" for event in events]

    def test_a_broken_file_is_put_aside_and_the_day_begins_at_nothing(self) -> None:
        aside = self.folder / "spending.json.broken"
        for text in (
            "",
            "nonsense",
            "[]",
            "{}",
            '{"day": "2026-11-21"}',
            '{"day": 20261121, "spent": {}}',
            '{"day": "the 21st", "spent": {}}',
            '{"day": "2026-11-21", "spent": []}',
            '{"day": "2026-11-21", "spent": {"a": "1"}}',
            '{"day": "2026-11-21", "spent": {"a": true}}',
            '{"day": "2026-11-21", "spent": {"a": -1}}',
            '{"day": "2026-11-21", "spent": {"a": NaN}}',
            '{"day": "2026-11-21", "spent": {"a": 1e999}}',
            '{"day": "2026-11-21", "spent": {"a": 1' + "0" * 400 + "}}",
            "[" * 200_000,
            "x" * 1_000_001,
        ):
            self.path.write_text(text)
            with capturedLogs() as events:
                ledger, spending = self.start()
            (line,) = self.warned(events)
            self.assertTrue(line.startswith(str(self.path)), line)
            self.assertIn("begins at zero", line)
            self.assertTrue(line.endswith(f"It is now {aside}"), line)
            self.assertEqual(aside.read_text(), text)
            self.assertEqual(ledger.spent(), 0.0)
            ledger.add("a", 1.0)
            self.stop(spending)
            again, spending = self.start()
            self.assertEqual(again.spent("a"), 1.0)
            self.stop(spending)

    @given(st.binary())
    @example(b"\xff\xfe\x00")
    def test_no_file_keeps_it_from_starting(self, content: bytes) -> None:
        self.path.write_bytes(content)
        with capturedLogs() as events:
            ledger, spending = self.start()
        self.assertEqual(len(self.warned(events)), 1)
        self.assertEqual(ledger.spent(), 0.0)
        self.stop(spending)

    def test_a_folder_that_takes_nothing_is_one_log_line(self) -> None:
        with capturedLogs() as events:
            ledger, spending = self.start(self.folder / "missing" / "spending.json")
            for _ in range(3):
                ledger.add("a", 1.0)
                self.tick()
            self.stop(spending)
        (line,) = self.warned(events)
        self.assertIn("cannot be kept in", line)
        self.assertIn("No such file or directory", line)
        self.assertIn("spending_file", line)

    def test_it_is_tried_again_and_said_when_it_works(self) -> None:
        missing = self.folder / "missing"
        ledger, spending = self.start(missing / "spending.json")
        ledger.add("a", 1.0)
        with capturedLogs() as events:
            self.tick()
            missing.mkdir()
            self.tick()
            self.tick()
        self.assertEqual(
            [event["log_level"] for event in events], [LogLevel.warn, LogLevel.info]
        )
        self.stop(spending)
        self.assertEqual(self.start(missing / "spending.json")[0].spent("a"), 1.0)

    def test_a_full_disk_leaves_the_page_before(self) -> None:
        ledger, spending = self.start()
        ledger.add("a", 1.0)
        self.tick()

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", full)
        ledger.add("a", 1.0)
        with capturedLogs() as events:
            self.tick()
            self.tick()
            self.stop(spending)
        (line,) = self.warned(events)
        self.assertIn("No space left", line)
        self.assertEqual(self.start()[0].spent("a"), 1.0)

    def test_what_is_no_plain_file_is_left_alone(self) -> None:
        fifo = self.folder / "fifo"
        os.mkfifo(fifo)
        for path in (self.folder, fifo, Path("/dev/null")):
            with capturedLogs() as events:
                ledger, spending = self.start(path)
                ledger.add("a", 1.0)
                self.tick()
                self.stop(spending)
            (line,) = self.warned(events)
            self.assertIn("it is no plain file", line)
        self.assertEqual(self.thread.times, 0)
        self.assertEqual(self.names(), ["fifo"])

    def test_a_disk_that_hangs_holds_up_the_stop_only_so_long(self) -> None:
        ledger, spending = self.start()
        ledger.add("a", 1.0)
        self.thread.hangs = Deferred()
        self.tick()
        ledger.add("a", 1.0)
        self.tick()
        self.assertEqual(self.thread.times, 1)
        stopped = spending.stopService()
        self.assertNoResult(stopped)
        with capturedLogs() as events:
            self.clock.advance(STOP_WITHIN)
        self.successResultOf(stopped)
        self.assertEqual(len(self.warned(events)), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_disk_that_is_slow_gets_the_last_page_too(self) -> None:
        ledger, spending = self.start()
        ledger.add("a", 1.0)
        slow = self.thread.hangs = Deferred()
        self.tick()
        ledger.add("a", 1.0)
        stopped = spending.stopService()
        self.thread.hangs = None
        slow.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.start()[0].spent("a"), 2.0)

    def test_it_may_be_stopped_without_having_started(self) -> None:
        spending = SpendingFile(Ledger(), str(self.path), self.clock, self.thread)
        self.stop(spending)
        self.assertEqual(self.names(), [])

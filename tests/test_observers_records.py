"""Records: each call that ended has one, whatever becomes of the file meanwhile."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from portero.interfaces import Happening, IObserver, LegFigures
from portero.observers import records
from portero.observers.records import (
    FIRST_WAIT,
    LONGEST_WAIT,
    MOST_HAPPENINGS,
    STOP_WITHIN,
    Records,
)
from portero.records import rows, sqlite
from portero.records.database import RecordsError, Unavailable
from portero.records.sqlite import RecordFile, connect
from portero.sections import AgentSettings
from tests.kept_calls import CALLER, ID, TALK, FileAtOnce, happened, record

FIGURES = LegFigures(frames_sent=2125, underruns=3)
FULL = sqlite3.OperationalError("database or disk is full")


class Watched:
    """What of a call records look at."""

    def __init__(self, call_id: str, agent: str) -> None:
        self.call_id = call_id
        self.agent = agent


def hold(observer: Any, call_id: str = ID, talk: Any = TALK, **more: Any) -> None:
    """A call begins, goes on and ends."""
    kept = record(call_id, **more)
    call: Any = Watched(call_id, kept.agent)
    observer.call_started(call)
    for happening in happened(*talk, call_id=call_id):
        observer.call_event(happening)
    observer.call_ended(kept, FIGURES)


def hold_all(observer: Any, ids: Iterable[int]) -> None:
    for number in ids:
        hold(observer, str(number))


class RecordsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.file = FileAtOnce(self.mktemp())
        self.addCleanup(self.file.close)
        self.records = Records(self.file, self.clock, lambda call_id: f"{call_id}.wav")
        self.agents = {"reception": AgentSettings()}
        self.use()

    def use(self, whole_numbers: bool = False, **settings: Any) -> None:
        self.agents["reception"] = AgentSettings(**settings)
        self.records.use(self.agents, whole_numbers=whole_numbers)

    def start(self) -> None:
        self.records.startService()

    def stop(self) -> Deferred[None]:
        return self.records.stopService()

    def written(self) -> list[str]:
        connection = connect(self.file.path)
        try:
            rows = connection.execute("SELECT id FROM calls ORDER BY call").fetchall()
        finally:
            connection.close()
        return [call_id for (call_id,) in rows]

    def read(self, call_id: str = ID) -> Any:
        connection = connect(self.file.path)
        try:
            return rows.read(connection.cursor(), call_id)
        finally:
            connection.close()

    def told(self, do: Callable[[], object]) -> list[str]:
        """@return: The warnings and errors in the log."""
        with capturedLogs() as events:
            do()
        return [
            formatEvent(event)
            for event in events
            if event["log_level"] >= LogLevel.warn
        ]


class KeptTests(RecordsCase):
    def test_it_observes(self) -> None:
        verifyObject(IObserver, self.records)

    def test_a_call_is_written_when_it_ends(self) -> None:
        self.start()
        self.assertEqual(self.written(), [])
        hold(self.records)
        read = self.read()
        self.assertEqual(read.record.reason, "the agent hung up")
        self.assertEqual(read.figures, FIGURES)
        self.assertEqual(read.recording, f"{ID}.wav")
        kinds = [each.kind for each in read.happened]
        self.assertEqual(kinds, [kind for _, kind, _ in TALK if kind != "said"])

    def test_by_default_no_word_and_no_whole_number_is_in_the_file(self) -> None:
        self.start()
        pieces = (
            0.5,
            "words",
            {"role": "user", "item": "u1", "text": "A table, please"},
        )
        hold(self.records, talk=(pieces, *TALK))
        self.file.close()
        found = Path(self.file.path).read_bytes()
        for word in ("please", "Acme", "Juan", "Mar", "Ruiz", "PJSIP", "0123678"):
            self.assertNotIn(word.encode(), found, word)
        facts = self.read().record.facts
        self.assertEqual(
            (facts.caller_number, facts.called_number), ("...678", "...567")
        )
        ended = next(each for each in self.read().happened if each.kind == "tool_ended")
        self.assertEqual(
            dict(ended.data),
            {"tool": 1, "name": "book", "result": "", "ok": True, "ms": 9},
        )

    def test_words_are_kept_when_the_agent_says_so(self) -> None:
        self.use(keep_words=True)
        self.start()
        hold(self.records)
        self.assertEqual(self.read().happened, happened(*TALK))
        self.assertTrue(self.read().has_words)

    def test_numbers_are_kept_when_the_house_says_so(self) -> None:
        self.use(whole_numbers=True)
        self.start()
        hold(self.records)
        facts = self.read().record.facts
        self.assertEqual(facts.caller_number, CALLER.caller_number)
        self.assertEqual(facts.caller_name, CALLER.caller_name)

    def test_what_counts_is_what_was_said_when_it_began(self) -> None:
        self.start()
        call: Any = Watched(ID, "reception")
        self.records.call_started(call)
        self.use(True, keep_words=True)
        for happening in happened(*TALK):
            self.records.call_event(happening)
        self.records.call_ended(record(), FIGURES)
        self.assertFalse(self.read().has_words)
        self.assertEqual(self.read().record.facts.caller_number, "...678")

    def test_the_consent_is_in_the_record(self) -> None:
        self.use(record=True, consent="agreement")
        self.start()
        hold(self.records)
        self.assertEqual(self.read().consent, "agreement")

    def test_a_tool_that_was_only_asked_too_early_is_known_as_such(self) -> None:
        self.start()
        told = {"tool": 1, "name": "move", "result": "Not yet: ask Juan", "ok": False}
        hold(
            self.records,
            talk=[
                (1.0, "tool_began", {"tool": 1, "name": "move", "arguments": "Juan"}),
                (2.0, "tool_ended", {**told, "ms": 5}),
            ],
        )
        began, ended = self.read().happened
        self.assertEqual(began.data["arguments"], "")
        self.assertEqual(ended.data["result"], "not yet")

    def test_a_call_without_end_takes_bounded_room(self) -> None:
        self.start()
        talk: Any = [(0.0, "barge_in", {})] * (MOST_HAPPENINGS + 5)
        hold(self.records, talk=talk)
        self.assertEqual(len(self.read().happened), MOST_HAPPENINGS)

    def test_one_that_began_before_is_no_matter(self) -> None:
        self.start()
        self.records.call_event(Happening(ID, "barge_in", 0.0, {}))
        self.records.call_ended(record(), FIGURES)
        self.assertEqual(self.written(), [])


class TroubleTests(RecordsCase):
    def test_it_is_known_at_the_start(self) -> None:
        self.file.error = FULL
        (said,) = self.told(self.start)
        self.assertIn("disk is full", said)
        self.assertIn(self.file.path, said)
        self.assertIn("with room", said)

    def test_nothing_is_lost_and_little_is_said(self) -> None:
        self.start()
        self.file.error = FULL
        self.assertEqual(len(self.told(lambda: hold(self.records, "0"))), 1)
        more = self.told(lambda: hold_all(self.records, range(1, 9)))
        self.assertEqual(more, [])
        self.assertEqual(self.records.waiting, 9)
        self.assertEqual(self.told(lambda: self.clock.advance(FIRST_WAIT)), [])
        self.file.error = None
        (said,) = self.told(lambda: self.clock.advance(FIRST_WAIT * 2))
        self.assertIn("again; 0 calls have none", said)
        self.assertEqual(self.written(), [str(n) for n in range(9)])
        self.assertEqual(self.records.waiting, 0)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_is_tried_ever_more_seldom(self) -> None:
        self.start()
        self.file.error = FULL
        hold(self.records)
        waits = []
        for _ in range(8):
            (call,) = self.clock.getDelayedCalls()
            waits.append(call.getTime() - self.clock.seconds())
            self.clock.advance(waits[-1])
        self.assertEqual(waits, [2, 4, 8, 16, 32, 60, 60, 60])
        self.assertEqual(waits[-1], LONGEST_WAIT)

    def test_at_the_bound_the_oldest_is_lost_and_counted(self) -> None:
        self.patch(records, "MOST_CALLS", 3)
        self.start()
        self.file.error = FULL
        _, said = self.told(lambda: hold_all(self.records, range(5)))
        self.assertIn("the oldest is lost", said)
        self.assertEqual((self.records.waiting, self.records.lost), (3, 2))
        self.file.error = None
        (said,) = self.told(lambda: self.clock.advance(FIRST_WAIT))
        self.assertIn("again; 2 calls have none", said)
        self.assertEqual(self.written(), ["2", "3", "4"])

    def test_large_ones_come_to_the_bound_sooner(self) -> None:
        self.patch(records, "MOST_WAITING", len(TALK) * 2)
        self.use(keep_words=True)
        self.start()
        self.file.error = FULL
        self.told(lambda: hold_all(self.records, range(5)))
        self.assertEqual((self.records.waiting, self.records.lost), (2, 3))

    def test_one_that_cannot_be_written_keeps_no_other_back(self) -> None:
        self.start()
        broken = [(0.0, "state", {"state": object()})]
        hold(self.records, "broken", talk=broken)
        hold(self.records, "whole")
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)
        self.assertEqual((self.written(), self.records.lost), (["whole"], 1))

    def test_a_file_of_something_else_can_be_moved_away(self) -> None:
        Path(self.file.path).write_text("Dear diary, " * 100)
        (said,) = self.told(self.start)
        self.assertIn("move that file away", said)
        hold(self.records)
        os.rename(self.file.path, f"{self.file.path}.aside")
        self.clock.advance(FIRST_WAIT)
        self.assertEqual(self.written(), [ID])

    def test_what_ends_while_one_is_written_comes_after_it(self) -> None:
        self.start()
        self.file.hangs = Deferred()
        hold(self.records, "1")
        hold(self.records, "2")
        hangs, self.file.hangs = self.file.hangs, None
        hangs.callback(None)
        self.assertEqual(self.written(), ["1", "2"])


class StopTests(RecordsCase):
    def test_a_stop_writes_what_waits(self) -> None:
        self.start()
        self.file.error = FULL
        hold(self.records)
        self.file.error = None
        self.assertEqual(self.told(lambda: self.successResultOf(self.stop()))[1:], [])
        self.assertEqual(self.written(), [ID])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_tries_for_a_while(self) -> None:
        self.start()
        self.file.error = FULL
        hold(self.records)
        stopped = self.stop()
        self.clock.advance(1)
        self.assertNoResult(stopped)
        self.file.error = None
        self.clock.advance(1)
        self.successResultOf(stopped)
        self.assertEqual(self.written(), [ID])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_and_no_longer(self) -> None:
        self.start()
        self.file.error = FULL
        hold(self.records)
        stopped = self.stop()
        self.assertNoResult(stopped)
        (said,) = self.told(lambda: self.clock.advance(STOP_WITHIN))
        self.assertIn("the records of 1 calls are lost", said)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_disk_that_hangs_is_not_waited_for(self) -> None:
        self.start()
        self.file.hangs = Deferred()
        hold(self.records)
        stopped = self.stop()
        self.clock.advance(STOP_WITHIN)
        self.successResultOf(stopped)
        self.file.hangs.errback(FULL)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_can_be_started_again(self) -> None:
        self.start()
        self.successResultOf(self.stop())
        self.start()
        hold(self.records)
        self.assertEqual(self.written(), [ID])


class RealFileTests(TestCase):
    """With a thread, and with others at the same file."""

    def setUp(self) -> None:
        self.path = self.mktemp()
        self.file = RecordFile(self.path, reactor)
        self.records = Records(self.file, reactor)
        self.records.use({"reception": AgentSettings()}, whole_numbers=False)
        self.records.startService()
        self.addCleanup(self._stop)

    async def _stop(self) -> None:
        if self.records.running:
            await self.records.stopService()

    async def count(self, at_least: int) -> int:
        """@return: How many there are, once there are so many."""
        while True:
            found = await self.file.run(
                lambda cursor: cursor.execute("SELECT count(*) FROM calls").fetchone()
            )
            if found[0] >= at_least:
                return int(found[0])
            await deferLater(reactor, 0.01)

    async def test_many_calls(self) -> None:
        for number in range(50):
            hold(self.records, str(number))
        self.assertEqual(await self.count(50), 50)

    async def test_all_is_there_after_a_stop(self) -> None:
        for number in range(50):
            hold(self.records, str(number))
        await self.records.stopService()
        self.assertFalse(os.path.exists(f"{self.path}-wal"))
        connection = connect(self.path)
        self.addCleanup(connection.close)
        found = connection.execute("SELECT count(*) FROM calls").fetchone()
        self.assertEqual(found, (50,))

    async def test_a_lock_of_somebody_elses_is_waited_for(self) -> None:
        self.patch(records, "FIRST_WAIT", 0.05)
        self.patch(sqlite, "BUSY_WITHIN", 0.05)
        await self.count(0)
        other = connect(self.path)
        self.addCleanup(other.close)
        other.execute("BEGIN IMMEDIATE")
        with capturedLogs() as events:
            for number in range(3):
                hold(self.records, str(number))
            while not any("locked" in formatEvent(event) for event in events):
                await deferLater(reactor, 0.01)
            # Others can still read.
            self.assertEqual(await self.count(0), 0)
            other.execute("ROLLBACK")
            self.assertEqual(await self.count(3), 3)
        said = [formatEvent(event) for event in events]
        self.assertEqual(len([line for line in said if "wait in memory" in line]), 1)

    async def test_a_file_that_was_moved_away_is_made_anew(self) -> None:
        hold(self.records, "before")
        await self.count(1)
        for more in ("", "-wal", "-shm"):
            os.rename(self.path + more, f"{self.path}.old{more}")
        hold(self.records, "after")
        self.assertEqual(await self.count(1), 1)
        row = await self.file.run(
            lambda cursor: cursor.execute("SELECT id FROM calls").fetchone()
        )
        self.assertEqual(row, ("after",))

    async def test_what_takes_long_is_broken_off_at_the_stop(self) -> None:
        endless = (
            "WITH RECURSIVE n (n) AS (SELECT begun() UNION ALL SELECT n + 1 FROM n) "
            "SELECT count(*) FROM n"
        )
        begun: Deferred[None] = Deferred()

        def tell() -> int:
            loop: Any = reactor  # it has threads, which mypy cannot know
            loop.callFromThread(begun.callback, None)
            return 1

        def count(cursor: Any) -> object:  # of SQLite
            cursor.connection.create_function("begun", 0, tell)
            return cursor.execute(endless).fetchall()

        await self.count(0)
        counting = self.file.run(count)
        await begun
        await self.records.stopService()
        error = await self.assertFailure(counting, Unavailable)
        self.assertIn("interrupted", str(error))

    async def test_a_folder_that_is_not_there_is_told_at_once(self) -> None:
        nowhere = Records(RecordFile("/nowhere/r.sqlite", reactor), reactor)
        with capturedLogs() as events:
            nowhere.startService()
            while not events:
                await deferLater(reactor, 0.01)
        await nowhere.stopService()
        said = formatEvent(events[0])
        self.assertIn("/nowhere/r.sqlite: No such file or directory", said)
        self.assertIn("the folder must be there", said)

    async def test_a_closed_file_says_so(self) -> None:
        await self.records.stopService()
        error = await self.assertFailure(self.file.run(lambda _: 1), RecordsError)
        self.assertIn("closed", str(error))

"""What is old is deleted once a day."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from portero.records.retention import AFTER_FAILURE, EVERY, FIRST_AFTER, Retention

NOW = datetime.fromisoformat("2026-11-21T12:00:00+01:00")


class RetentionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[tuple[str, str]] = []
        self.answers: dict[str, Callable[[], Deferred[int]]] = {}
        kinds = {kind: self.deleter(kind) for kind in ("recordings", "records")}
        self.retention = Retention(kinds, 90, self.clock, self.now)
        self.retention.startService()

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.clock.seconds())

    def deleter(self, kind: str) -> Callable[[str], Deferred[int]]:
        def delete(before: str) -> Deferred[int]:
            self.asked.append((kind, before))
            return self.answers.get(kind, lambda: succeed(0))()

        return delete

    def told(self, seconds: float) -> list[str]:
        """@return: What the log says meanwhile."""
        with capturedLogs() as events:
            self.clock.advance(seconds)
        return [formatEvent(event) for event in events]

    def test_it_looks_soon_after_the_start_and_then_daily(self) -> None:
        self.assertEqual(self.told(FIRST_AFTER), [])
        self.assertEqual(
            self.asked,
            [
                ("recordings", "2026-08-23T11:01:00+00:00"),
                ("records", "2026-08-23T11:01:00+00:00"),
            ],
        )
        self.clock.advance(EVERY)
        self.assertEqual(self.asked[3:], [("records", "2026-08-24T11:01:00+00:00")])

    def test_it_goes_by_the_days_of_now(self) -> None:
        self.retention.days = 1
        self.clock.advance(FIRST_AFTER)
        self.assertEqual(self.asked[0][1], "2026-11-20T11:01:00+00:00")

    def test_it_says_what_it_deleted(self) -> None:
        self.answers["records"] = lambda: succeed(3)
        (said,) = self.told(FIRST_AFTER)
        self.assertEqual(
            said, "3 records older than 90 days were deleted ([records] days)"
        )

    def test_a_failure_keeps_nothing_else_from_being_deleted(self) -> None:
        self.answers["recordings"] = lambda: fail(OSError("read-only file system"))
        (said,) = self.told(FIRST_AFTER)
        self.assertIn("recordings older than 90 days cannot be deleted now", said)
        self.assertIn("read-only file system", said)
        self.assertEqual(len(self.asked), 2)
        self.clock.advance(AFTER_FAILURE)
        self.assertEqual(len(self.asked), 4)

    def test_a_stop_leaves_nothing_behind(self) -> None:
        self.retention.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_nor_one_in_the_middle_of_it(self) -> None:
        waiting: Deferred[Any] = Deferred()
        self.answers["recordings"] = lambda: waiting
        self.clock.advance(FIRST_AFTER)
        self.retention.stopService()
        with capturedLogs() as events:
            waiting.errback(OSError("interrupted"))
        self.assertEqual((events, self.clock.getDelayedCalls()), ([], []))

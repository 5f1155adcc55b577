"""Tests of L{portero.doctor.examine} and L{portero.doctor.aside}."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from threading import Event
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase

from portero.doctor.aside import aside
from portero.doctor.examine import Check, run
from portero.doctor.report import Finding, ok


class RunTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[Finding] = []

    def run_all(self, **looks: Callable[[], Awaitable[Iterable[Finding]]]) -> Any:
        checks = [Check(name, 5.0, look) for name, look in looks.items()]
        return Deferred.fromCoroutine(run(self.clock, checks, self.told.append))

    def waiting(self, for_it: Deferred[list[Finding]]) -> Any:
        async def look() -> list[Finding]:
            return await for_it

        return look

    def test_each_is_told_when_it_is_done_and_given_in_order(self) -> None:
        slow: Deferred[list[Finding]] = Deferred()
        quick: Deferred[list[Finding]] = Deferred()
        running = self.run_all(slow=self.waiting(slow), quick=self.waiting(quick))
        quick.callback([ok("quick", "1"), ok("quick", "2")])
        self.assertEqual([f.said for f in self.told], ["1", "2"])
        self.assertNoResult(running)
        slow.callback([ok("slow", "3")])
        found = self.successResultOf(running)
        self.assertEqual([f.said for f in found], ["3", "1", "2"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_raises_has_failed_and_the_others_go_on(self) -> None:
        async def breaks() -> list[Finding]:
            raise ZeroDivisionError("at once")

        async def works() -> list[Finding]:
            return [ok("works", "fine")]

        broken, fine = self.successResultOf(self.run_all(breaks=breaks, works=works))
        self.assertEqual((broken.check, broken.level), ("breaks", "fail"))
        self.assertIn("ZeroDivisionError: at once", broken.said)
        self.assertEqual(fine.level, "ok")

    def test_one_that_takes_too_long_has_failed(self) -> None:
        never: Deferred[list[Finding]] = Deferred()
        running = self.run_all(never=self.waiting(never))
        self.clock.advance(4.9)
        self.assertNoResult(running)
        self.clock.advance(0.2)
        (found,) = self.successResultOf(running)
        self.assertEqual((found.check, found.level), ("never", "fail"))
        self.assertIn("not done within 5 s", found.said)


class AsideTests(TestCase):
    timeout = 10

    async def test_it_gives_what_was_returned_or_raised(self) -> None:
        self.assertEqual(await aside(reactor, lambda: 17), 17)
        await self.assertFailure(aside(reactor, lambda: 1 // 0), ZeroDivisionError)

    async def test_cancelled_it_does_not_wait(self) -> None:
        let_go, gone = Event(), Event()

        def work() -> None:
            let_go.wait(5)
            gone.set()

        found = aside(reactor, work)
        found.cancel()
        await self.assertFailure(found, CancelledError)
        let_go.set()
        await aside(reactor, lambda: gone.wait(5))
        await aside(reactor, lambda: None)  # what the first has told was heard before

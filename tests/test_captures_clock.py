"""The time of a call that is captured."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from portero.captures.clock import CallClock


class CallClockTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = Clock()
        self.reactor.rightNow = 100.0
        self.woken: list[float] = []
        self.ran: list[tuple[str, float]] = []
        self.clock = CallClock(self.reactor, self.woken.append, "call-1")

    def start(self, name: str, seconds: float) -> None:
        def run() -> None:
            self.ran.append((name, self.clock.seconds()))

        self.clock.callLater(seconds, run)

    def test_it_stands_still_until_something_comes(self) -> None:
        self.reactor.advance(1)
        self.assertEqual(self.clock.seconds(), 100.0)
        self.clock.go_on(101.0)
        self.assertEqual(self.clock.seconds(), 101.0)

    def test_it_never_goes_back(self) -> None:
        self.clock.go_on(101.0)
        self.clock.go_on(100.5)
        self.assertEqual(self.clock.seconds(), 101.0)

    def test_a_timer_runs_when_it_is_due_and_no_sooner(self) -> None:
        self.start("a", 2)
        self.reactor.advance(1.9)
        self.assertEqual(self.ran, [])
        self.reactor.advance(0.2)
        self.assertEqual(self.woken, [102.0])
        (found,) = self.ran
        self.assertEqual(found[0], "a")
        self.assertAlmostEqual(found[1], 102.1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_those_that_are_due_at_once_wake_it_once(self) -> None:
        self.start("b", 2)
        self.start("a", 1.9)
        self.start("c", 9)
        self.reactor.advance(3)
        self.assertEqual([name for name, _ in self.ran], ["a", "b"])
        self.assertEqual(self.woken, [101.9])
        self.reactor.advance(6)
        self.assertEqual(self.ran[-1], ("c", 109.0))

    def test_something_that_comes_runs_no_timer(self) -> None:
        self.start("late", 1)
        self.clock.go_on(105.0)
        self.assertEqual(self.ran, [])
        self.reactor.advance(1)
        self.assertEqual(self.ran, [("late", 105.0)])

    def test_one_that_was_cancelled_wakes_nobody(self) -> None:
        timer = self.clock.callLater(1, self.fail)
        self.start("b", 2)
        timer.cancel()
        self.reactor.advance(1)
        self.assertEqual(self.woken, [])
        self.reactor.advance(1)
        self.assertEqual(self.ran, [("b", 102.0)])

    def test_a_timer_may_set_another(self) -> None:
        self.clock.callLater(1, self.start, "next", 0)
        self.reactor.advance(1)
        self.assertEqual(self.ran, [("next", 101.0)])

    def test_one_that_fails_keeps_no_other_from_running(self) -> None:
        self.clock.callLater(1, self.fail, "on purpose")
        self.start("b", 1)
        self.reactor.advance(1)
        self.assertEqual(len(self.flushLoggedErrors(self.failureException)), 1)
        self.assertEqual(self.ran, [("b", 101.0)])

    def test_at_rest_it_leaves_nothing_in_the_reactor(self) -> None:
        self.clock.rest()
        self.clock.callLater(1, self.fail).cancel()
        self.clock.rest()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_what_is_still_to_be_done_is_done(self) -> None:
        self.start("a", 1)
        self.clock.rest()
        self.reactor.advance(1)
        self.assertEqual(self.ran, [("a", 101.0)])

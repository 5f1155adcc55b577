"""Timers by name."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from portero.timers import Timers


class TimersTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.fired: list[str] = []
        self.timers = Timers(self.clock, lambda: self.fired.append("failed"))

    def start(self, name: str, seconds: float) -> None:
        self.timers.start(name, seconds, lambda: self.fired.append(name))

    def test_a_timer_fires_once_and_is_gone(self) -> None:
        self.start("a", 1.0)
        self.assertIn("a", self.timers)
        self.clock.advance(1.0)
        self.assertNotIn("a", self.timers)
        self.clock.advance(9.0)
        self.assertEqual(self.fired, ["a"])

    def test_starting_a_name_again_replaces_its_timer(self) -> None:
        self.start("a", 1.0)
        self.start("a", 2.0)
        self.clock.advance(1.5)
        self.assertEqual(self.fired, [])
        self.clock.advance(1.0)
        self.assertEqual(self.fired, ["a"])

    def test_cancelled_timers_do_not_fire(self) -> None:
        self.start("a", 1.0)
        self.start("b", 1.0)
        self.timers.cancel("a", "c")
        self.clock.advance(1.0)
        self.assertEqual(self.fired, ["b"])

    def test_a_timer_may_start_itself_again(self) -> None:
        def again() -> None:
            self.fired.append("a")
            self.timers.start("a", 1.0, again)

        self.timers.start("a", 1.0, again)
        self.clock.pump([1.0, 1.0])
        self.assertEqual(self.fired, ["a", "a"])
        self.timers.close()

    def test_what_its_function_raises_is_handed_on(self) -> None:
        self.timers.start("a", 1.0, lambda: 1 / 0)  # type: ignore[arg-type]  # raises
        self.clock.advance(1.0)
        self.assertEqual(self.fired, ["failed"])

    def test_closing_leaves_nothing_and_later_timers_never_run(self) -> None:
        self.start("a", 1.0)
        self.timers.close()
        self.start("b", 1.0)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertNotIn("b", self.timers)

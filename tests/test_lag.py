"""Tests of L{portero.lag}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from portero.lag import EVERY, IN_A_ROW, KEPT, TOO_LATE, ReactorLag


class LagTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.lag = ReactorLag(self.clock)
        self.lag.startService()

    def measure(self, *late: float) -> None:
        """@param late: Seconds that the reactor is late, each time."""
        for seconds in late:
            self.clock.advance(EVERY + seconds)

    def test_before_the_first_measurement_there_is_none(self) -> None:
        self.assertEqual((self.lag.p99_ms, self.lag.worst_ms), (0, 0))
        self.assertEqual(self.lag.problem(), "")

    def test_what_is_late_is_measured_each_time(self) -> None:
        self.measure(0.1, 0.1, 1.7)
        self.assertApproximates(self.lag.worst_ms, 1700, 1)
        self.assertEqual(self.lag.total.count, 3)
        self.assertEqual(self.lag.total.below([0.01, 0.2, 2]), [0, 2, 3])

    def test_one_in_a_hundred_does_not_count_for_p99(self) -> None:
        self.measure(0.9, *[0.0] * 100, 0.2)
        self.assertApproximates(self.lag.p99_ms, 200, 1)
        self.assertApproximates(self.lag.worst_ms, 900, 1)

    def test_what_is_older_than_a_minute_is_forgotten(self) -> None:
        self.measure(3.0, *[0.0] * KEPT)
        self.assertApproximates(self.lag.worst_ms, 0, 0.001)
        self.assertEqual(self.lag.total.count, KEPT + 1)

    def test_one_stall_is_no_problem(self) -> None:
        self.measure(30.0, *[TOO_LATE + 0.01] * (IN_A_ROW - 2), 0.0)
        self.assertEqual(self.lag.problem(), "")

    def test_a_reactor_that_stays_late_is_one_until_it_is_not(self) -> None:
        self.measure(*[TOO_LATE + 0.2] * IN_A_ROW)
        self.assertEqual(
            self.lag.problem(),
            "the reactor is 0.7 s late: this machine is too slow for its calls (lower "
            "[listen] max_calls), or something blocks portero",
        )
        self.measure(TOO_LATE - 0.1)
        self.assertEqual(self.lag.problem(), "")

    def test_stopped_it_leaves_no_timer_and_no_problem(self) -> None:
        self.measure(*[TOO_LATE + 0.2] * IN_A_ROW)
        self.lag.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.lag.problem(), "")
        self.lag.startService()
        self.measure(0.0)
        self.assertApproximates(self.lag.worst_ms, 0, 0.001)

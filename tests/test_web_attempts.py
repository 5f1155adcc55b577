"""Tests of L{portero.web.attempts}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from portero.web.attempts import (
    FORGOTTEN_AFTER,
    FREE,
    LONGEST,
    MOST_SOURCES,
    Attempts,
)

THERE = "192.0.2.7"


class AttemptsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.attempts = Attempts(self.clock)

    def fail_(self, times: int, source: str = THERE) -> None:
        for _ in range(times):
            self.attempts.failed(source)

    def test_some_failures_cost_nothing(self) -> None:
        self.assertEqual(self.attempts.wait(THERE), 0)
        self.fail_(FREE - 1)
        self.assertEqual(self.attempts.wait(THERE), 0)

    def test_then_the_wait_doubles_up_to_the_longest(self) -> None:
        self.fail_(FREE - 1)
        waits = []
        for _ in range(12):
            self.fail_(1)
            waits.append(self.attempts.wait(THERE))
            self.clock.advance(waits[-1])
            self.assertEqual(self.attempts.wait(THERE), 0)
        self.assertEqual(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, *[LONGEST] * 3])

    def test_the_wait_gets_shorter_and_is_never_told_as_nothing(self) -> None:
        self.fail_(FREE + 4)
        self.clock.advance(5.5)
        self.assertEqual(self.attempts.wait(THERE), 11)
        self.clock.advance(10.4)
        self.assertEqual(self.attempts.wait(THERE), 1)

    def test_a_flood_makes_no_number_without_end(self) -> None:
        self.fail_(10_000)
        self.assertEqual(self.attempts.wait(THERE), LONGEST)

    def test_others_do_not_wait(self) -> None:
        self.fail_(100)
        self.assertEqual(self.attempts.wait("192.0.2.8"), 0)

    def test_after_an_hour_it_is_forgotten(self) -> None:
        self.fail_(100)
        self.clock.advance(FORGOTTEN_AFTER + 1)
        self.fail_(1)
        self.assertEqual(self.attempts.wait(THERE), 0)

    def test_the_addresses_of_one_house_are_one(self) -> None:
        for n in range(FREE):
            self.fail_(1, f"2001:db8:1:2::{n:x}")
        self.assertEqual(self.attempts.wait("2001:db8:1:2:ffff::1"), 1)
        self.assertEqual(self.attempts.wait("2001:db8:1:3::1"), 0)

    def test_an_ipv4_address_written_as_ipv6_is_the_same(self) -> None:
        self.fail_(FREE, f"::ffff:{THERE}")
        self.assertEqual(self.attempts.wait(THERE), 1)
        self.assertEqual(self.attempts.wait("::ffff:192.0.2.8"), 0)

    def test_a_local_socket_has_a_name_too(self) -> None:
        self.fail_(FREE, "a local socket")
        self.assertEqual(self.attempts.wait("a local socket"), 1)

    def test_only_so_many_are_remembered(self) -> None:
        self.fail_(FREE)
        self.fail_(FREE, "192.0.2.8")
        for n in range(MOST_SOURCES - 1):
            self.fail_(1, f"10.0.{n // 256}.{n % 256}")
        self.assertEqual(len(self.attempts._failures), MOST_SOURCES)
        self.assertEqual(self.attempts.wait(THERE), 0)
        self.assertEqual(self.attempts.wait("192.0.2.8"), 1)

    def test_it_leaves_no_timer(self) -> None:
        self.fail_(100)
        self.assertEqual(self.clock.getDelayedCalls(), [])

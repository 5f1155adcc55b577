"""How long to wait before the next attempt."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from portero.backoff import ATTEMPTS, LONGEST, Backoff


class BackoffTests(SynchronousTestCase):
    def test_the_first_attempt_is_at_once_the_others_double_then_it_gives_up(
        self,
    ) -> None:
        backoff = Backoff(lambda: 0.5)
        found = [backoff.next() for _ in range(ATTEMPTS + 2)]
        self.assertEqual(found, [0.0, 0.5, 1.0, 2.0, None, None])

    def test_jitter_spreads_by_half_to_each_side(self) -> None:
        for value, wanted in ((0.0, 0.25), (1.0, 0.75)):
            backoff = Backoff(lambda value=value: value)  # type: ignore[misc]  # bound now
            backoff.next()
            self.assertEqual(backoff.next(), wanted)

    def test_by_default_two_calls_wait_differently(self) -> None:
        first, second = Backoff(), Backoff()
        first.next(), second.next()
        self.assertNotEqual(first.next(), second.next())

    def test_no_wait_is_longer_than_the_limit_with_its_jitter(self) -> None:
        backoff = Backoff(lambda: 1.0)
        waits = [backoff.next() or 0.0 for _ in range(ATTEMPTS)]
        self.assertLessEqual(max(waits), LONGEST * 1.5)

    def test_after_success_it_starts_again(self) -> None:
        backoff = Backoff(lambda: 0.5)
        for _ in range(ATTEMPTS + 1):
            backoff.next()
        backoff.reset()
        self.assertEqual([backoff.next(), backoff.next()], [0.0, 0.5])

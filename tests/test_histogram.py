"""Tests of L{portero.histogram}."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.histogram import Histogram


def counted(*values: float) -> Histogram:
    """@return: In ten bins of 1, and one for what is 10 or more."""
    found = Histogram(1, 10)
    for value in values:
        found.add(value)
    return found


class HistogramTests(SynchronousTestCase):
    def test_without_values_all_is_nothing(self) -> None:
        found = counted()
        self.assertEqual((found.count, found.about, found.quantile(0.5)), (0, 0, 0))
        self.assertEqual(found.below([1, 10]), [0, 0])

    def test_a_value_on_an_edge_is_in_the_upper_bin(self) -> None:
        found = counted(0, 1, 1, 9.9, 10, 99)
        self.assertEqual(found.below([1, 2, 9, 10]), [1, 3, 3, 4])

    def test_the_sum_is_right_to_half_a_bin_each(self) -> None:
        self.assertEqual(counted(0.5, 1.5, 2.9).about, 0.5 + 1.5 + 2.5)

    def test_two_can_be_put_together(self) -> None:
        found, other = counted(1, 20), counted(2, 2)
        found.include(other)
        self.assertEqual(found.below([2, 3, 10]), [1, 3, 3])
        self.assertEqual((found.count, other.count), (4, 2))

    def test_cleared_it_begins_again(self) -> None:
        found = counted(1, 20)
        found.clear()
        self.assertEqual(found.count, 0)

    @given(st.lists(st.floats(0, 9.99), min_size=1), st.floats(0.01, 1))
    def test_a_quantile_is_within_a_bin_above(
        self, values: list[float], share: float
    ) -> None:
        found = counted(*values).quantile(share)
        enough = [value for value in values if value < found]
        self.assertGreaterEqual(len(enough), share * len(values) - 1e-9)
        fewer = [value for value in values if value < found - 1]
        self.assertLess(len(fewer), share * len(values))

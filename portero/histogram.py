"""How often values were how great, in a bounded amount of memory. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import accumulate
from operator import add


class Histogram:
    """Counts values in bins of one width, from 0 on; the last bin has no upper edge."""

    __slots__ = ("_bins", "_counts", "_width")

    def __init__(self, width: float, bins: int) -> None:
        """
        @param width: Of a bin, in the unit of the values.
        @param bins: How many there are below the last.
        """
        self._width = width
        self._bins = bins
        self._counts = array("Q", bytes(8 * (bins + 1)))

    def add(self, value: float) -> None:
        """@param value: At least 0, but for rounding."""
        index = int(value / self._width)
        self._counts[index if index < self._bins else self._bins] += 1

    def include(self, other: Histogram) -> None:
        """Add all that another one counted in bins like these."""
        self._counts = array("Q", map(add, self._counts, other._counts))

    def clear(self) -> None:
        self._counts = array("Q", bytes(8 * (self._bins + 1)))

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self._counts)

    @property
    def about(self) -> float:
        """The sum of all values, each taken for the middle of its bin."""
        parts = (n * (index + 0.5) for index, n in enumerate(self._counts))
        return self._width * sum(parts)

    def quantile(self, share: float) -> float:
        """
        @param share: For instance 0.99.
        @return: The upper edge of the bin that holds it; 0 without values.
        """
        wanted, seen = share * sum(self._counts), 0
        if not wanted:
            return 0.0
        index = 0
        while seen < wanted:
            seen += self._counts[index]
            index += 1
        return index * self._width

    def below(self, edges: Sequence[float]) -> list[int]:
        """
        @param edges: Each the upper edge of a bin.
        @return: For each, how many values were less.
        """
        running = list(accumulate(self._counts))
        return [running[round(edge / self._width) - 1] for edge in edges]

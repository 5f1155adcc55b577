"""How long to wait before the next attempt."""

from __future__ import annotations

from collections.abc import Callable
from random import random
from typing import Final

FIRST: Final = 0.5
FACTOR: Final = 2.0
LONGEST: Final = 4.0
ATTEMPTS: Final = 4


class Backoff:
    """At once first, then doubling with jitter; at last no more."""

    def __init__(self, random: Callable[[], float] = random) -> None:
        """@param random: Gives 0 to 1; it spreads many calls over time."""
        self._random = random
        self._tried = 0

    def next(self) -> float | None:
        """
        @return: Seconds to wait; C{None}: give up.
        """
        tried = self._tried
        if tried >= ATTEMPTS:
            return None
        self._tried = tried + 1
        if tried == 0:
            return 0.0
        delay = min(FIRST * FACTOR ** (tried - 1), LONGEST)
        return delay * (0.5 + self._random())

    def reset(self) -> None:
        """It worked: audio came, not merely a connection."""
        self._tried = 0

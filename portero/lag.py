"""How late the reactor does what is due: what a call would notice of a busy machine."""

from __future__ import annotations

from collections import deque
from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from portero.histogram import Histogram

EVERY: Final = 0.5
"""Seconds between two measurements."""
KEPT: Final = round(60 / EVERY)
TOO_LATE: Final = 0.5
"""Seconds: a caller who hears nothing for so long asks whether anybody is there."""
IN_A_ROW: Final = 3
"""Measurements that have to be L{TOO_LATE}: one stall is over when it is noticed."""


class ReactorLag(Service):
    """
    Measures, while it runs, how late a timer fires.

    @ivar total: Of all measurements so far, in seconds.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.total = Histogram(0.001, 2000)
        self._clock = clock
        self._last: deque[float] = deque(maxlen=KEPT)
        self._due = 0.0
        self._timer: IDelayedCall | None = None

    def startService(self) -> None:
        super().startService()
        self._wait()

    def stopService(self) -> Deferred[None] | None:
        super().stopService()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self._last.clear()
        return None

    def _wait(self) -> None:
        # Not a LoopingCall: it leaves out what it is late for, which is what counts.
        self._due = self._clock.seconds() + EVERY
        self._timer = self._clock.callLater(EVERY, self._look)

    def _look(self) -> None:
        late = max(0.0, self._clock.seconds() - self._due)
        self._last.append(late)
        self.total.add(late)
        self._wait()

    @property
    def p99_ms(self) -> float:
        """Of the last minute; 0 without measurements."""
        ordered = sorted(self._last)
        return ordered[int(len(ordered) * 0.99)] * 1000 if ordered else 0.0

    @property
    def worst_ms(self) -> float:
        """Of the last minute; 0 without measurements."""
        return max(self._last, default=0.0) * 1000

    def problem(self) -> str:
        """@return: Empty, or in words that calls suffer, and what helps."""
        last = list(self._last)[-IN_A_ROW:]
        if len(last) < IN_A_ROW or min(last) < TOO_LATE:
            return ""
        return (
            f"the reactor is {last[-1]:.1f} s late: this machine is too slow for its "
            "calls (lower [listen] max_calls), or something blocks portero"
        )

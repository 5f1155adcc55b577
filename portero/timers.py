"""Timers by name, of one owner, that leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Timers:
    """Starting a name again replaces its timer."""

    def __init__(self, clock: IReactorTime, failed: Callable[[], None]) -> None:
        """@param failed: Called while handling what a timer's function raised."""
        self._clock = clock
        self._failed = failed
        self._running: dict[str, IDelayedCall] = {}
        self._closed = False

    def __contains__(self, name: str) -> bool:
        return name in self._running

    def seconds(self) -> float:
        """@return: Now, by the clock of these timers."""
        return self._clock.seconds()

    def start(self, name: str, seconds: float, do: Callable[[], None]) -> None:
        """Call C{do} once, after so many seconds."""
        self.cancel(name)
        if not self._closed:
            self._running[name] = self._clock.callLater(seconds, self._fire, name, do)

    def cancel(self, *names: str) -> None:
        for name in names:
            timer = self._running.pop(name, None)
            if timer is not None:
                timer.cancel()

    def close(self) -> None:
        """Cancel all; those started later never run."""
        self._closed = True
        self.cancel(*tuple(self._running))

    def _fire(self, name: str, do: Callable[[], None]) -> None:
        del self._running[name]
        try:
            do()
        except Exception:
            self._failed()

"""The time of a call that is captured."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import Clock
from twisted.logger import Logger


class CallClock(Clock):
    """
    Stands still while the call does something, and goes on with whatever comes next.
    So the same things, at the same times, make the same call once more; on the bare
    clock of the machine each of them would take its own time.
    """

    log = Logger()

    def __init__(
        self, reactor: IReactorTime, woken: Callable[[float], None], call_id: str
    ) -> None:
        """
        @param woken: Told that timers are due, before they run: for when the first of
            them was set.
        """
        super().__init__()
        self.rightNow = reactor.seconds()
        self._reactor = reactor
        self._woken = woken
        self._call_id = call_id
        self._alarm: IDelayedCall | None = None
        self._alarm_at = 0.0

    def go_on(self, now: float) -> None:
        """It is C{now}, if it was not later already."""
        self.rightNow = max(self.rightNow, now)

    def rest(self) -> None:
        """The call is over. Timers that are still set run all the same."""
        if not self.calls and self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def callLater(
        self,
        delay: float,
        callable: Callable[..., object],
        *args: object,
        **kw: object,
    ) -> IDelayedCall:
        timer = super().callLater(delay, callable, *args, **kw)
        self._set_alarm()
        return timer

    def _set_alarm(self) -> None:
        """One timer of the reactor's, for the first of these."""
        if not self.calls:
            return
        due = self.calls[0].getTime()
        if self._alarm is not None:
            if self._alarm_at <= due:
                return
            self._alarm.cancel()
        self._alarm_at = due
        wait = max(0.0, due - self._reactor.seconds())
        self._alarm = self._reactor.callLater(wait, self._wake)

    def _wake(self) -> None:
        self._alarm = None
        if self.calls and self.calls[0].getTime() <= self._alarm_at:
            # Rounding may have it wake a little before.
            self.go_on(max(self._reactor.seconds(), self._alarm_at))
            self._woken(self._alarm_at)
            while self.calls and self.calls[0].getTime() <= self.rightNow:
                try:
                    self.advance(0)
                except Exception:
                    self.log.failure(
                        "call {call_id}: a timer failed", call_id=self._call_id
                    )
        self._set_alarm()

"""
Those who watch calls, and how they are told. They change nothing: what one of them gets
wrong is logged, and neither a call nor another observer notices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from portero.interfaces import Happening, IObserver, IWatchedCall, LegFigures
from portero.record import Record


class Watchers:
    """Of the whole house. Each may come and go at any time."""

    log = Logger()

    def __init__(self) -> None:
        self._observers: tuple[IObserver, ...] = ()

    def __bool__(self) -> bool:
        return bool(self._observers)

    def add(self, observer: IObserver) -> None:
        """It is told of what happens from now on."""
        self._observers = (*self._observers, observer)

    def remove(self, observer: IObserver) -> None:
        """It is told nothing more; if it ever was."""
        self._observers = tuple(one for one in self._observers if one is not observer)

    def tell(self, say: Callable[[IObserver], None]) -> None:
        """@param say: Tells one of them."""
        for observer in self._observers:
            try:
                say(observer)
            except Exception:
                self.log.failure("an observer failed: {observer}", observer=observer)


class Watch:
    """Over one call, which begins now."""

    def __init__(self, call_id: str, watchers: Watchers, clock: IReactorTime) -> None:
        self._call_id = call_id
        self._watchers = watchers
        self._clock = clock
        self._origin = clock.seconds()

    def started(self, call: IWatchedCall) -> None:
        """The call was accepted. Comes before all else."""
        self._watchers.tell(lambda observer: observer.call_started(call))

    def tell(self, kind: str, **data: Any) -> None:
        """
        @param kind: One of L{portero.interfaces.HAPPENINGS}.
        @param data: As that says; plain values, as JSON has them.
        """
        if self._watchers:
            at = self._clock.seconds() - self._origin
            happening = Happening(self._call_id, kind, round(at, 3), data)
            self._watchers.tell(lambda observer: observer.call_event(happening))

    def ended(self, record: Record, figures: LegFigures) -> None:
        """The call is over. Nothing comes after that."""
        self._watchers.tell(lambda observer: observer.call_ended(record, figures))

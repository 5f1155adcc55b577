"""
Those who watch calls, and how they are told. They change nothing: what one of them gets
wrong is logged, and neither a call nor another observer notices.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from portero.discretion import Discretion
from portero.interfaces import Happening, IObserver, IWatchedCall, LegFigures
from portero.record import Record


class Watchers:
    """Of the whole house. Each may come and go at any time."""

    log = Logger()

    def __init__(self) -> None:
        self._observers: tuple[IObserver, ...] = ()
        self._failures: Counter[int] = Counter()
        """Of each observer, by its C{id()}."""

    def __bool__(self) -> bool:
        return bool(self._observers)

    def add(self, observer: IObserver) -> None:
        """
        It is told of what happens from now on, after those who came before it. Of calls
        under way it has missed the beginning.
        """
        self.remove(observer)
        self._observers = (*self._observers, observer)

    def remove(self, observer: IObserver) -> None:
        """It is told nothing more; if it ever was."""
        self._observers = tuple(one for one in self._observers if one is not observer)
        self._failures.pop(id(observer), None)

    def tell(self, say: Callable[[IObserver], None]) -> None:
        """@param say: Tells one of them."""
        for observer in self._observers:
            try:
                say(observer)
            except Exception:
                self._failed(observer)

    def _failed(self, observer: IObserver) -> None:
        """
        Within an C{except} clause. One that fails does so at all that happens: it is
        spoken of at the first, the tenth, the hundredth time.
        """
        self._failures[id(observer)] += 1
        times = self._failures[id(observer)]
        if times == 10 ** (len(str(times)) - 1):
            self.log.failure(
                "an observer of calls failed{times}; calls go on without it: "
                "{observer}",
                times=f" {times} times by now" if times > 1 else "",
                observer=type(observer).__name__,
            )


class Watch:
    """Over one call, which begins now."""

    def __init__(self, call_id: str, watchers: Watchers, clock: IReactorTime) -> None:
        self.discretion = Discretion()
        """What of it is told nobody."""
        self._call_id = call_id
        self._watchers = watchers
        self._clock = clock
        self._origin = clock.seconds()
        self._is_on = False
        """It has started and not ended: what comes before or after is told nobody."""

    def __bool__(self) -> bool:
        """Whether anybody looks."""
        return self._is_on and bool(self._watchers)

    def started(self, call: IWatchedCall) -> None:
        """The call was accepted. Comes before all else."""
        self._is_on = True
        self._watchers.tell(lambda observer: observer.call_started(call))

    def tell(self, kind: str, **data: Any) -> None:
        """
        @param kind: One of L{portero.interfaces.HAPPENINGS}.
        @param data: As that says; plain values, as JSON has them.
        """
        told = self.discretion.told(kind, data)
        if self and told is not None:
            at = self._clock.seconds() - self._origin
            happening = Happening(self._call_id, kind, round(at, 3), told)
            self._watchers.tell(lambda observer: observer.call_event(happening))

    def ended(self, record: Record, figures: LegFigures) -> None:
        """The call is over. Nothing comes after that."""
        if self._is_on:
            self._is_on = False
            self._watchers.tell(lambda observer: observer.call_ended(record, figures))

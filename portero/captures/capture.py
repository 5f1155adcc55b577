"""What happens to a call is kept while it happens, and when it did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from portero.captures.clock import CallClock
from portero.captures.entries import Entry, Kind, jsonable, of_float
from portero.interfaces import (
    Happening,
    ILegCapture,
    IObserver,
    IWatchedCall,
    LegFigures,
)
from portero.record import Record


@implementer(ILegCapture, IObserver)
class Capture:
    """Of one call. Given to all that the call has to do with."""

    def __init__(
        self, reactor: IReactorTime, keep: Callable[[Entry], None], call_id: str
    ) -> None:
        """@param keep: Takes the entries, one after another."""
        self.clock = CallClock(reactor, self._woken, call_id)
        self._reactor = reactor
        self._keep = keep
        self._numbers: Counter[Kind] = Counter()
        self._is_hung_up = False

    def number(self, kind: Kind) -> int:
        """@return: For the next of a kind, from 1 on."""
        self._numbers[kind] += 1
        return self._numbers[kind]

    def came(
        self, kind: Kind, data: bytes = b"", number: int = 0, now: float | None = None
    ) -> None:
        """Something came from outside: the call's time goes on."""
        at = self._reactor.seconds() if now is None else now
        self.clock.go_on(at)
        self._keep(Entry(kind, at, number, data))

    def note(self, kind: Kind, data: bytes = b"", number: int = 0) -> None:
        """The call did something."""
        self._keep(Entry(kind, self.clock.rightNow, number, data))

    def gone(self, reason: str, in_order: bool) -> None:
        """The leg ended; from its other side, unless the call hung up."""
        if not self._is_hung_up:
            self.came(Kind.GONE, jsonable([reason, in_order]))

    def _woken(self, due: float) -> None:
        self._keep(Entry(Kind.WOKEN, self.clock.rightNow, 0, of_float(due)))

    # ILegCapture

    def seconds(self) -> float:
        return self.clock.rightNow

    def began(self, now: float) -> None:
        self.came(Kind.BEGAN, now=now)

    def heard(self, rate: int, pcm: bytes, now: float) -> None:
        self.came(Kind.HEARD, pcm, rate, now)

    def preferred(self, rate: int) -> None:
        self.came(Kind.PREFERRED, number=rate)

    def frame(self, frame: bytes, now: float) -> None:
        self.came(Kind.FRAME, frame, now=now)

    def hung_up(self) -> None:
        self._is_hung_up = True
        self.note(Kind.HUNG_UP)

    # IObserver, of this call

    def call_started(self, call: IWatchedCall) -> None:
        pass

    def call_event(self, happening: Happening) -> None:
        told = [happening.kind, happening.at, dict(happening.data)]
        self.note(Kind.HAPPENED, jsonable(told))

    def call_ended(self, record: Record, figures: LegFigures) -> None:
        self.note(Kind.ENDED, jsonable(record.as_json()))
        self.clock.rest()

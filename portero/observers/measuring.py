"""
The sound of calls, measured while they go on. Figures are kept, and none of the sound.

A second of a call at a time is measured, which takes about a third of a millisecond; in
a turn of the reactor never more than one, whatever number of calls began together. So
no frame waits longer for that than for any other thing. In a thread it takes the same
CPU, and frames were not sooner for it; and what it finds is wanted when the call ends.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from typing import Final, NamedTuple

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from portero.acoustics import FRAMES_PER_SECOND, Acoustics
from portero.interfaces import (
    Happening,
    IAudioTap,
    IObserver,
    IWatchedCall,
    LegFigures,
)
from portero.record import Record

PIECE: Final = FRAMES_PER_SECOND
"""Frames that are measured together."""
MOST_WAITING: Final = 5
"""Pieces of a call. One of which more wait is measured no further."""
REMEMBERED: Final = 200
"""Calls that are over."""
HEARD_TO_SPEAK: Final = frozenset({"barge_in", "false_alarm"})


@implementer(IObserver)
class Measuring:
    """Of the whole house."""

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._live: dict[str, _Ear] = {}
        self._over: OrderedDict[str, Mapping[str, float]] = OrderedDict()
        self._due: deque[_Ear] = deque()
        """One for each piece that waits; of those it belongs to."""
        self._timer: IDelayedCall | None = None

    def of(self, call_id: str) -> Mapping[str, float]:
        """
        @return: As L{portero.acoustics.FIGURES} names them, of a call under way or just
            over; none are known of others.
        """
        ear = self._live.get(call_id)
        return self._over.get(call_id, {}) if ear is None else ear.figures()

    # IObserver

    def call_started(self, call: IWatchedCall) -> None:
        ear = self._live[call.call_id] = _Ear(call, self)
        call.tap(ear)

    def call_event(self, happening: Happening) -> None:
        if happening.kind in HEARD_TO_SPEAK:
            ear = self._live.get(happening.call_id)
            if ear is not None:
                ear.mark(happening.at)

    def call_ended(self, record: Record, figures: LegFigures) -> None:
        ear = self._live.pop(record.call_id, None)
        if ear is None:
            return
        ear.finish()
        self._due = deque(one for one in self._due if one is not ear)
        if not self._due:
            self._rest()
        self._over[record.call_id] = ear.figures()
        while len(self._over) > REMEMBERED:
            self._over.popitem(last=False)

    # Piece by piece

    def due(self, ear: _Ear) -> None:
        """It has one more piece to be measured."""
        self._due.append(ear)
        if self._timer is None:
            self._timer = self._clock.callLater(0, self._measure)

    def _measure(self) -> None:
        self._timer = None
        self._due.popleft().measure()
        if self._due:
            self._timer = self._clock.callLater(0, self._measure)

    def _rest(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


class _Piece(NamedTuple):
    caller: bytes
    caller_rate: int
    agent: bytes
    agent_rate: int


@implementer(IAudioTap)
class _Ear:
    """Of one call: gathers what is heard in it."""

    log = Logger()

    def __init__(self, call: IWatchedCall, measuring: Measuring) -> None:
        self._call = call
        self._measuring = measuring
        self._began = call.seconds()
        self._acoustics = Acoustics()
        self._rates = 0, 0
        self._caller: list[bytes] = []
        self._agent: list[bytes] = []
        self._waiting: deque[_Piece] = deque()
        self._ended = False

    def frame(
        self, caller: bytes, caller_rate: int, agent: bytes, agent_rate: int
    ) -> None:
        if self._rates != (caller_rate, agent_rate):
            self._cut()
            self._rates = caller_rate, agent_rate
        self._caller.append(caller)
        self._agent.append(agent)
        if len(self._caller) >= PIECE:
            self._cut()

    def mark(self, at: float) -> None:
        """
        The caller was heard to speak while the agent did.

        @param at: Seconds since the beginning of the call.
        """
        self._acoustics.mark(at - self._began)

    def measure(self) -> None:
        """One piece of those that wait."""
        if not self._waiting:
            return
        try:
            self._acoustics.add(*self._waiting.popleft())
        except Exception:
            self.log.failure(
                "call {call_id}: its sound is measured no further",
                call_id=self._call.call_id,
            )
            self._end()

    def finish(self) -> None:
        """Measure all that is left."""
        self._cut()
        while self._waiting:
            self.measure()
        self._ended = True

    def figures(self) -> dict[str, float]:
        """@return: So far, by the names of L{portero.acoustics.FIGURES}."""
        return self._acoustics.figures()

    def _cut(self) -> None:
        """What was gathered is a piece."""
        caller, self._caller = self._caller, []
        agent, self._agent = self._agent, []
        if self._ended or not caller:
            return
        if len(self._waiting) >= MOST_WAITING:
            self.log.warn(
                "call {call_id}: its sound is measured no further: portero is too busy",
                call_id=self._call.call_id,
            )
            self._end()
            return
        caller_rate, agent_rate = self._rates
        self._waiting.append(
            _Piece(b"".join(caller), caller_rate, b"".join(agent), agent_rate)
        )
        self._measuring.due(self)

    def _end(self) -> None:
        self._ended = True
        self._waiting.clear()
        self._call.untap(self)

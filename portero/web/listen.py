"""Both sides of a call as an endless WAV: for the page, and for C{curl | aplay -}."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from twisted.logger import Logger
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from portero.facts import harmless
from portero.interfaces import (
    Happening,
    IAudioTap,
    IObserver,
    IWatchedCall,
    LegFigures,
)
from portero.rates import RateMatcher
from portero.record import Record
from portero.service import Bridge
from portero.web.api_actions import find
from portero.web.operation import LISTEN, Answer, Asked, Operation
from portero.web.problem import Problem
from portero.web.stream import Stream

RATE: Final = 16000
"""Hz: what telephones of today have, and browsers play."""
MOST_LISTENERS: Final = 20
WAV: Final = "audio/wav"
_ENDLESS: Final = 0xFFFFFFFF
HEADER: Final = struct.pack(
    "<4sI4s4sIHHIIHH4sI",
    *(b"RIFF", _ENDLESS, b"WAVE", b"fmt ", 16),
    *(1, 2, RATE, RATE * 4, 4, 16),  # PCM, two channels, 16 bits
    *(b"data", _ENDLESS),
)
"""Of a WAV whose length nobody knows: left the caller, right the agent."""

_AUDIT: Final = Logger("portero.audit")
"""Not of the class, whose name would take the place of that one."""


@implementer(IAudioTap)
class StereoTap:
    """Makes one stream of both sides, whatever their rates."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        """@param write: Takes 16-bit PCM of two channels at L{RATE}."""
        self._write = write
        self._matchers = RateMatcher(), RateMatcher()
        self._sides = bytearray(), bytearray()

    def frame(
        self, caller: bytes, caller_rate: int, agent: bytes, agent_rate: int
    ) -> None:
        left, right = self._sides
        left += self._matchers[0].match(caller, caller_rate, RATE)
        right += self._matchers[1].match(agent, agent_rate, RATE)
        # A resampler gives the first samples of a stream a little later.
        length = min(len(left), len(right))
        if length:
            both = np.empty((length // 2, 2), "<i2")
            both[:, 0] = np.frombuffer(left, "<i2", length // 2)
            both[:, 1] = np.frombuffer(right, "<i2", length // 2)
            del left[:length], right[:length]
            self._write(both.tobytes())


class _Listener:
    """One who listens to one call."""

    def __init__(self, asked: Asked, call: IWatchedCall, gone: Any) -> None:
        self.call = call
        self._who = asked.who
        self._gone = gone
        self.stream = Stream(asked, WAV, self._over)
        self._forget = asked.access.while_allowed(asked.request, self.stream.drop)
        self._tap = StereoTap(self.stream.write)
        self.stream.write(HEADER)
        call.tap(self._tap)
        self._write_down("begins to listen")

    def _over(self) -> None:
        self._forget()
        self.call.untap(self._tap)
        self._gone(self)
        self._write_down("listens no more")

    def _write_down(self, what: str) -> None:
        _AUDIT.info(
            "call {call_id}: operator {who}: {what}",
            call_id=self.call.call_id,
            who=harmless(self._who),
            what=what,
        )


@implementer(IObserver)
class Listeners:
    """All who listen, whose streams end with their calls."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._listeners: list[_Listener] = []

    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation(
                "GET",
                "/calls/{id}/listen",
                "listen",
                LISTEN,
                "Hear both sides from now on, as a WAV without an end: left the "
                "caller, right the agent, 16 bits, 16 kHz.",
                self._listen,
                Answer("The sound.", {"type": "string", "format": "binary"}, kind=WAV),
                endless=True,
                problems={
                    404: "No such call is under way.",
                    503: f"{MOST_LISTENERS} listen already.",
                },
            ),
        )

    def _listen(self, asked: Asked) -> Any:
        call = find(self._bridge, asked.id)
        if len(self._listeners) >= MOST_LISTENERS:
            raise Problem(
                503, f"{MOST_LISTENERS} listen already: one of them has to stop first"
            )
        if not self._listeners:
            self._bridge.watchers.add(self)
        self._listeners.append(_Listener(asked, call, self._forget))
        return NOT_DONE_YET

    def _forget(self, listener: _Listener) -> None:
        self._listeners.remove(listener)
        if not self._listeners:
            self._bridge.watchers.remove(self)

    # IObserver

    def call_started(self, call: IWatchedCall) -> None:
        """Nobody can listen to it yet."""

    def call_event(self, happening: Happening) -> None:
        """The sound says it all."""

    def call_ended(self, record: Record, figures: LegFigures) -> None:
        for listener in tuple(self._listeners):
            if listener.call.call_id == record.call_id:
                listener.stream.end()

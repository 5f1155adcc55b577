"""
Who has the floor, as a table; and how long the caller waited for a reply.

Pure: times are given, in seconds of the call's clock.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Floor(Enum):
    LISTENING = "listening"
    WAITING = "waiting"
    """The caller has asked, or somebody for them; the agent owes a reply."""
    SPEAKING = "speaking"
    OWING = "speaking, and asked to go on"
    """What sounds is not yet the reply that was asked for (a tool's result)."""


class Event(Enum):
    CALLER_STARTED = "caller started"
    CALLER_STOPPED = "caller stopped"
    ASKED = "a reply was asked for"
    AGENT_AUDIO = "agent audio"
    AGENT_BUSY = "the agent runs a tool"
    SPOKEN = "agent done and played out"


class Effect(Enum):
    """What L{portero.talk.Talk} does; it has a method for each."""

    WATCH = "start the watchdog: somebody has to be heard in time"
    TIME_REPLY = "start the latency clock"
    FORGET_REPLY = "stop the latency clock: nobody waits for that reply any more"
    CUT = "flush the leg and tell the conversation what was heard of each item"


_L, _E, _F = Floor, Event, Effect
_HEAR: Final = (_L.LISTENING, (_F.FORGET_REPLY, _F.WATCH))
_WAIT: Final = (_L.WAITING, (_F.WATCH,))
_ANSWER: Final = (_L.WAITING, (_F.TIME_REPLY, _F.WATCH))
_SPEAK: Final = (_L.SPEAKING, (_F.WATCH,))
_CUT_SHORT: Final = (_L.LISTENING, (_F.FORGET_REPLY, _F.CUT, _F.WATCH))

TABLE: Final[dict[tuple[Floor, Event], tuple[Floor, tuple[Effect, ...]]]] = {
    (_L.LISTENING, _E.CALLER_STARTED): _HEAR,
    (_L.LISTENING, _E.CALLER_STOPPED): _ANSWER,
    (_L.LISTENING, _E.ASKED): _WAIT,
    (_L.LISTENING, _E.AGENT_AUDIO): _SPEAK,
    (_L.WAITING, _E.CALLER_STARTED): _HEAR,
    (_L.WAITING, _E.CALLER_STOPPED): _ANSWER,
    (_L.WAITING, _E.ASKED): _WAIT,
    (_L.WAITING, _E.AGENT_AUDIO): _SPEAK,
    # A tool has a limit of its own, and a reply to its result is asked for.
    (_L.WAITING, _E.AGENT_BUSY): (_L.LISTENING, (_F.WATCH,)),
    (_L.SPEAKING, _E.CALLER_STARTED): _CUT_SHORT,
    (_L.SPEAKING, _E.ASKED): (_L.OWING, (_F.WATCH,)),
    (_L.SPEAKING, _E.SPOKEN): (_L.LISTENING, (_F.WATCH,)),
    (_L.OWING, _E.CALLER_STARTED): _CUT_SHORT,
    (_L.OWING, _E.AGENT_AUDIO): _SPEAK,
    (_L.OWING, _E.AGENT_BUSY): (_L.SPEAKING, ()),
    (_L.OWING, _E.SPOKEN): _WAIT,
}


def advance(floor: Floor, event: Event) -> tuple[Floor, tuple[Effect, ...]]:
    """
    @return: Who has the floor now, and what to do. An unlisted pair changes nothing.
    """
    return TABLE.get((floor, event), (floor, ()))


class Latency:
    """One turn: the caller stopped, the first audio came, the first frame left."""

    def __init__(self) -> None:
        self._stopped = self._came = -1.0

    def caller_stopped(self, now: float) -> None:
        self._stopped, self._came = now, -1.0

    def audio_came(self, now: float) -> None:
        if self._came < 0:
            self._came = now

    def dropped(self) -> None:
        """The turn got no reply, or none that counts."""
        self._stopped = self._came = -1.0

    def sounding(self, now: float) -> tuple[int, int] | None:
        """
        The first frame of a reply left.

        @return: Milliseconds from the end of the caller's speech to the first audio
            and to the first frame; C{None} when no turn was waiting.
        """
        if self._stopped < 0 or self._came < 0:
            return None
        found = (
            round((self._came - self._stopped) * 1000),
            round((now - self._stopped) * 1000),
        )
        self.dropped()
        return found

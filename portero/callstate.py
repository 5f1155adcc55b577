"""
The life of a call, as a table.

L{advance} is pure and total: a pair that is not listed changes nothing, because late
events (audio after hang-up, a second close) are normal on a telephone line.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class State(Enum):
    IDENTIFYING = "identifying"
    CONNECTING = "connecting"
    TALKING = "talking"
    TRANSFERRING = "transferring"
    """The caller is told where to; who objects stays."""
    DRAINING = "draining"
    ENDED = "ended"

    @property
    def is_live(self) -> bool:
        """The two sides talk with each other."""
        return self in (State.TALKING, State.TRANSFERRING)


class Event(Enum):
    IDENTIFIED = "the leg said its call id"
    READY = "the conversation is ready"
    WAITED = "the conversation takes long to be ready"
    LOST = "the conversation was lost"
    LOST_FOR_GOOD = "the conversation was lost for good"
    STALLED = "the conversation stopped in mid-reply"
    RENEWAL_DUE = "the service's session ends soon"
    NO_REPLY = "no reply came"
    NO_REPLY_AGAIN = "no reply came, asked twice"
    SILENT = "nobody has spoken for long"
    SILENT_AGAIN = "nobody has spoken for long, although the agent asked"
    HANG_UP_ASKED = "the agent asked to hang up"
    TRANSFER_ASKED = "the agent, or an operator, asked to hand the caller over"
    TRANSFER_CANCELLED = "the caller does not want to be handed over"
    NEARLY_SPENT = "the money for this call is nearly spent"
    SPENT = "the money for this call is spent"
    TIME_IS_UP = "maximum length of a call"
    PLAYED_OUT = "all was played out"
    DRAINED_TOO_LONG = "playing out takes too long"
    GONE = "the leg is gone"
    STOPPING = "portero is stopping"
    DISMISSED = "an operator hung up"
    CRASHED = "an exception was caught"


class Effect(Enum):
    """What L{portero.call.Call} does; it has a method for each."""

    WELCOME = "play the greeting, if it is at hand"
    CONVERSE = "open a conversation, with the history so far"
    REOPEN = "open another conversation after the back-off, or give up"
    CLOSE = "close the conversation"
    GREET = "greet, or go on where the last conversation stopped"
    ASK_PATIENCE = "play the prompt that asks for a moment"
    ASK_AGAIN = "ask the agent once more to reply"
    CALL_OUT = "have the agent ask whether the caller is there"
    APOLOGISE = "play the apology"
    WIND_UP = "have the agent come to an end"
    BID_FAREWELL = "have the agent say its farewell; without one, play the goodbye"
    MAKE_UP_FAREWELL = "play the goodbye if a farewell is still owed"
    BE_SPENT = "note that the price is why it ends"
    SAY_GOODBYE = "play the goodbye"
    DRAIN = "start to watch for the end of what is being said"
    STAY = "stop to watch for it, and forget where the caller was to go"
    HANG_UP = "hang up"
    RECORD = "write the summary"
    FORGET = "stop the timers and let the call go"


_S, _E, _F = State, Event, Effect
_APOLOGY: Final = (_S.DRAINING, (_F.CLOSE, _F.APOLOGISE, _F.DRAIN))
_FAREWELL: Final = (_S.DRAINING, (_F.BID_FAREWELL, _F.DRAIN))
_SPENT: Final = (_S.DRAINING, (_F.BE_SPENT, _F.CLOSE, _F.SAY_GOODBYE, _F.DRAIN))
_NO_MORE: Final = (_S.DRAINING, (_F.CLOSE, _F.MAKE_UP_FAREWELL, _F.DRAIN))
_END: Final = (_S.ENDED, (_F.HANG_UP, _F.CLOSE, _F.RECORD, _F.FORGET))
_GONE: Final = (_S.ENDED, (_F.CLOSE, _F.RECORD, _F.FORGET))

TABLE: Final[dict[tuple[State, Event], tuple[State, tuple[Effect, ...]]]] = {
    (_S.IDENTIFYING, _E.IDENTIFIED): (_S.CONNECTING, (_F.WELCOME, _F.CONVERSE)),
    (_S.IDENTIFYING, _E.STOPPING): _END,
    (_S.IDENTIFYING, _E.CRASHED): _END,
    (_S.IDENTIFYING, _E.GONE): _GONE,
    (_S.CONNECTING, _E.READY): (_S.TALKING, (_F.GREET,)),
    (_S.CONNECTING, _E.WAITED): (_S.CONNECTING, (_F.ASK_PATIENCE,)),
    (_S.CONNECTING, _E.LOST): (_S.CONNECTING, (_F.REOPEN,)),
    (_S.CONNECTING, _E.LOST_FOR_GOOD): _APOLOGY,
    (_S.CONNECTING, _E.HANG_UP_ASKED): (_S.DRAINING, (_F.CLOSE, _F.DRAIN)),
    (_S.CONNECTING, _E.TRANSFER_ASKED): (_S.DRAINING, (_F.CLOSE, _F.DRAIN)),
    (_S.CONNECTING, _E.TIME_IS_UP): _APOLOGY,
    (_S.CONNECTING, _E.STOPPING): _APOLOGY,
    (_S.CONNECTING, _E.DISMISSED): _END,
    (_S.CONNECTING, _E.CRASHED): _APOLOGY,
    (_S.CONNECTING, _E.GONE): _GONE,
    (_S.TALKING, _E.LOST): (_S.CONNECTING, (_F.REOPEN,)),
    (_S.TALKING, _E.LOST_FOR_GOOD): _APOLOGY,
    (_S.TALKING, _E.STALLED): (_S.CONNECTING, (_F.CLOSE, _F.REOPEN)),
    (_S.TALKING, _E.RENEWAL_DUE): (_S.CONNECTING, (_F.CLOSE, _F.CONVERSE)),
    (_S.TALKING, _E.NO_REPLY): (_S.TALKING, (_F.ASK_AGAIN,)),
    (_S.TALKING, _E.NO_REPLY_AGAIN): _APOLOGY,
    (_S.TALKING, _E.HANG_UP_ASKED): (_S.DRAINING, (_F.DRAIN,)),
    (_S.TALKING, _E.TRANSFER_ASKED): (_S.TRANSFERRING, (_F.DRAIN,)),
    (_S.TALKING, _E.SILENT): (_S.TALKING, (_F.CALL_OUT,)),
    (_S.TALKING, _E.SILENT_AGAIN): _FAREWELL,
    (_S.TALKING, _E.TIME_IS_UP): _FAREWELL,
    (_S.TALKING, _E.NEARLY_SPENT): (_S.TALKING, (_F.WIND_UP,)),
    (_S.TALKING, _E.SPENT): _SPENT,
    (_S.TALKING, _E.STOPPING): _APOLOGY,
    (_S.TALKING, _E.DISMISSED): _END,
    (_S.TALKING, _E.CRASHED): _APOLOGY,
    (_S.TALKING, _E.GONE): _GONE,
    (_S.TRANSFERRING, _E.TRANSFER_CANCELLED): (_S.TALKING, (_F.STAY,)),
    (_S.TRANSFERRING, _E.NEARLY_SPENT): (_S.TRANSFERRING, (_F.WIND_UP,)),
    # It is done in any case; only nobody can cancel it any more.
    (_S.TRANSFERRING, _E.LOST): _NO_MORE,
    (_S.TRANSFERRING, _E.LOST_FOR_GOOD): _NO_MORE,
    (_S.TRANSFERRING, _E.STALLED): _NO_MORE,
    (_S.TRANSFERRING, _E.NO_REPLY): _NO_MORE,
    (_S.TRANSFERRING, _E.NO_REPLY_AGAIN): _NO_MORE,
    (_S.TRANSFERRING, _E.TIME_IS_UP): (_S.DRAINING, (_F.DRAIN,)),
    (_S.TRANSFERRING, _E.SPENT): (_S.DRAINING, (_F.DRAIN,)),
    (_S.TRANSFERRING, _E.STOPPING): (_S.DRAINING, (_F.DRAIN,)),
    (_S.TRANSFERRING, _E.PLAYED_OUT): _END,
    (_S.TRANSFERRING, _E.DRAINED_TOO_LONG): _END,
    (_S.TRANSFERRING, _E.DISMISSED): _END,
    (_S.TRANSFERRING, _E.CRASHED): _END,
    (_S.TRANSFERRING, _E.GONE): _GONE,
    # What is queued is still heard: only the rest of it will not come.
    (_S.DRAINING, _E.LOST): _NO_MORE,
    (_S.DRAINING, _E.LOST_FOR_GOOD): _NO_MORE,
    (_S.DRAINING, _E.STALLED): _NO_MORE,
    (_S.DRAINING, _E.NO_REPLY): _NO_MORE,
    (_S.DRAINING, _E.NO_REPLY_AGAIN): _NO_MORE,
    (_S.DRAINING, _E.PLAYED_OUT): _END,
    (_S.DRAINING, _E.DRAINED_TOO_LONG): _END,
    (_S.DRAINING, _E.DISMISSED): _END,
    (_S.DRAINING, _E.CRASHED): _END,
    (_S.DRAINING, _E.GONE): _GONE,
}


def advance(state: State, event: Event) -> tuple[State, tuple[Effect, ...]]:
    """
    @return: The next state, and what to do, in order.
    """
    return TABLE.get((state, event), (state, ()))

"""A call as its tools see it, and what they may do to it."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from zope.interface import implementer

from portero.agent import Agent
from portero.assignment import Assignment
from portero.callstate import Event, State
from portero.departure import Departure
from portero.digits import Digits
from portero.discretion import UNTOLD
from portero.interfaces import ICallControl, Said
from portero.journal import Journal
from portero.privacy import Privacy
from portero.talk import Talk
from portero.tally import Tally


@implementer(ICallControl)
class Control:
    """Of one call."""

    log = Logger()

    def __init__(
        self,
        call_id: str,
        assignment: Assignment,
        agent: Agent,
        talk: Talk,
        digits: Digits,
        departure: Departure,
        journal: Journal,
        tally: Tally,
        privacy: Privacy,
        *,
        state: Callable[[], State],
        tell: Callable[[str, str], None],
        post: Callable[[Event], None],
        crashed: Callable[[], None],
    ) -> None:
        """
        @param state: The state of the call.
        @param tell: Takes a role and a text for the agent, who then answers.
        @param crashed: Called while handling an exception: ends the call.
        """
        self.call_id = call_id
        self.agent = assignment.agent
        self.facts = assignment.facts
        self._agent = agent
        self._talk = talk
        self._digits = digits
        self._departure = departure
        self._journal = journal
        self._tally = tally
        self._privacy = privacy
        self._state = state
        self._tell = tell
        self._post = post
        self._crashed = crashed
        self._promises: list[Callable[[], None]] = []

    @property
    def caller_turns(self) -> int:
        return self._tally.caller_turns

    def said(self) -> tuple[Said, ...]:
        said = self._agent.history.replay()
        return tuple(Said(one.role, UNTOLD) if one.private else one for one in said)

    def seconds(self) -> float:
        return self._journal.seconds()

    def at_end(self, do: Callable[[], None]) -> None:
        self._promises.append(do)
        if self._state() is State.ENDED:
            self.keep_promises()

    def keep_promises(self) -> None:
        """The call is over. None that fails keeps another from being kept."""
        promises, self._promises = self._promises, []
        for do in promises:
            try:
                do()
            except Exception:
                self.log.failure("call {call_id}: at its end", call_id=self.call_id)

    def play(self, name: str, rate: int, pcm: bytes) -> Deferred[bool]:
        if self._state() is State.ENDED:
            return succeed(False)
        try:
            return self._talk.play(name, rate, pcm)
        except Exception:
            self._crashed()
            return succeed(False)

    def collect_digits(self, most: int, within: float) -> Deferred[str]:
        if self._state() in (State.DRAINING, State.ENDED):
            return succeed("")
        return self._digits.collect(most, within)

    def pause_recording(self, paused: bool) -> bool:
        return self._privacy.pause(paused, "agent")

    def inform(self, text: str) -> None:
        self._tell("system", text)

    def end_after_speech(self, reason: str) -> None:
        self._departure.because(reason)
        self._post(Event.HANG_UP_ASKED)

    def transfer(self, target: str, reason: str) -> bool:
        # Also when the call is ending: the caller was told of it.
        ended = self._state() is State.ENDED
        if ended or not self._departure.transfer(target, reason):
            return False
        self._post(Event.TRANSFER_ASKED)
        return True

    def cancel_transfer(self) -> bool:
        if self._state() is not State.TRANSFERRING:
            return False
        self._post(Event.TRANSFER_CANCELLED)
        return True

"""
What an operator does to a call under way: tell its agent something, send its caller
elsewhere, end it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from portero.callstate import Event, State
from portero.departure import Departure
from portero.facts import harmless
from portero.guard import guarded
from portero.privacy import Privacy
from portero.talk import Talk
from portero.watching import Watch

WHISPERED: Final = (
    "The operator of this telephone line tells you, and the caller does not hear it: "
)
HANDED_OVER: Final = (
    "The operator of this telephone line has the caller transferred to {target}, which "
    "happens as soon as you have spoken. Tell the caller so in one short sentence, in "
    "the language of the call; there is no tool to call for it."
)
"""For the agent."""


class Switchboard:
    """Of one call; see L{portero.interfaces.IOperatedCall}."""

    def __init__(
        self,
        departure: Departure,
        talk: Talk,
        watch: Watch,
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
        @param crashed: As L{portero.guard.Guarded} has it.
        """
        self.crashed = crashed
        self._departure = departure
        self._talk = talk
        self._watch = watch
        self._privacy = privacy
        self._state = state
        self._tell = tell
        self._post = post

    def whisper(self, text: str, who: str) -> bool:
        if not self._may_go_on:
            return False
        self._note(who, "say")
        self._have_told(WHISPERED + text)
        return True

    def hand_over(self, target: str, name: str, who: str) -> bool:
        if not self._may_go_on:
            return False
        reason = f"{harmless(who)} transferred it to {name}"
        if not self._departure.transfer(target, reason):
            return False
        self._note(who, "transfer", name)
        if self._state() is State.TALKING:
            self._have_told(HANDED_OVER.format(target=name))
        self._post(Event.TRANSFER_ASKED)
        return True

    def pause_recording(self, paused: bool, who: str) -> bool:
        return self._privacy.pause(paused, "operator", who)

    def dismiss(self, who: str) -> bool:
        if self._state() in (State.IDENTIFYING, State.ENDED):
            return False
        self._note(who, "hang_up")
        self._departure.dismiss(f"{harmless(who)} hung up")
        self._drop_what_waits()
        self._post(Event.DISMISSED)
        return True

    @property
    def _may_go_on(self) -> bool:
        return self._state() in (State.CONNECTING, State.TALKING)

    @guarded
    def _have_told(self, text: str) -> None:
        self._tell("system", text)

    @guarded
    def _drop_what_waits(self) -> None:
        self._talk.drop()

    def _note(self, who: str, did: str, target: str = "") -> None:
        self._watch.tell("operator", who=harmless(who), did=did, target=target)

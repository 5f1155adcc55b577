"""What the voice service tells of one call, passed to those whom it concerns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from zope.interface import implementer

from portero.agent import Agent
from portero.allowance import Allowance
from portero.callstate import State
from portero.errands import Errands
from portero.guard import guarded
from portero.interfaces import IConversationEvents, Loss
from portero.journal import Journal
from portero.talk import Talk
from portero.tally import Tally
from portero.watching import Watch


@implementer(IConversationEvents)
class Earpiece:
    """
    Of one call. What comes too late for the state of the call is not passed on: late
    events are normal on a telephone line.
    """

    def __init__(
        self,
        agent: Agent,
        talk: Talk,
        errands: Errands,
        allowance: Allowance,
        tally: Tally,
        journal: Journal,
        watch: Watch,
        *,
        state: Callable[[], State],
        crashed: Callable[[], None],
    ) -> None:
        """
        @param state: The state of the call.
        @param crashed: As L{portero.guard.Guarded} has it.
        """
        self.crashed = crashed
        self._agent = agent
        self._talk = talk
        self._errands = errands
        self._allowance = allowance
        self._tally = tally
        self._journal = journal
        self._watch = watch
        self._state = state

    @property
    def _is_live(self) -> bool:
        return self._state().is_live

    def _may_reply(self) -> bool:
        """Once the goodbye was said in full, no other reply is wanted."""
        draining = self._state() is State.DRAINING and self._talk.more_to_come
        return self._is_live or draining

    @guarded
    def ready(self) -> None:
        self._agent.ready()

    @guarded
    def lost(self, loss: Loss) -> None:
        self._agent.lost(loss)

    @guarded
    def agent_audio(self, item: str, pcm: bytes) -> None:
        if self._may_reply():
            self._talk.agent_audio(item, pcm)

    @guarded
    def agent_done(self, item: str) -> None:
        self._talk.agent_done(item)

    @guarded
    def reply_ended(self, item_count: int, problem: str, written: str = "") -> None:
        self._talk.reply_ended(item_count > 0 and not problem, written)

    @guarded
    def caller_started(self, item: str = "") -> None:
        self._tally.caller_turns += 1
        self._watch.discretion.begins("user", item)
        self._watch.tell("caller", speaking=True, item=item)
        if self._is_live:
            self._talk.caller_started(item)

    @guarded
    def caller_stopped(self) -> None:
        self._watch.tell("caller", speaking=False)
        if self._is_live:
            self._talk.caller_stopped()

    @guarded
    def caller_idle(self) -> None:
        if self._is_live:
            self._talk.caller_idle()

    @guarded
    def caller_words(self, text: str, item: str) -> None:
        self._watch.tell("words", role="user", item=item, text=text)
        if self._is_live:
            self._talk.caller_words(item, text, complete=False)

    @guarded
    def agent_words(self, text: str, item: str) -> None:
        self._watch.tell("words", role="assistant", item=item, text=text)

    @guarded
    def transcript(self, role: str, text: str, item: str) -> None:
        self._agent.note(role, text, item)
        if role == "assistant":
            self._talk.transcribed(text)
        elif role == "user" and self._is_live:
            self._talk.caller_words(item, text, complete=True)

    @guarded
    def tool_called(self, id: str, name: str, arguments: Mapping[str, Any]) -> None:
        if self._may_reply():
            self._errands.begin(id, name, arguments)

    @guarded
    def usage(self, counts: Mapping[str, int]) -> None:
        self._tally.used(counts)
        self._allowance.used(counts)
        self._watch.tell(
            "used",
            tokens=self._tally.tokens.get("total_tokens", 0),
            dollars=self._journal.dollars,
            counts=dict(counts),
        )

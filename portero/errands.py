"""What the agent's tools do for one call while it lasts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from portero.agent import Agent
from portero.assignment import Assignment
from portero.callstate import State
from portero.digits import Digits
from portero.filler import Filler
from portero.guard import guarded
from portero.interfaces import ICallControl, IConversation
from portero.talk import Talk
from portero.timers import Timers
from portero.watching import Watch

TRANSFER_CANCELLED: Final = "the transfer was cancelled before it happened"
"""For the agent."""


class Errands:
    """Of one call. The caller is not left in silence over them."""

    def __init__(
        self,
        call: ICallControl,
        assignment: Assignment,
        agent: Agent,
        talk: Talk,
        digits: Digits,
        timers: Timers,
        *,
        state: Callable[[], State],
        tell: Callable[[str, str], None],
        crashed: Callable[[], None],
        watch: Watch,
    ) -> None:
        """
        @param state: The state of the call.
        @param tell: Takes a role and a text for the agent, who then answers.
        @param crashed: As L{portero.guard.Guarded} has it.
        """
        self.crashed = crashed
        self._call = call
        self._toolbox = assignment.toolbox
        self._agent = agent
        self._talk = talk
        self._digits = digits
        self._filler = Filler(
            talk,
            timers,
            assignment.settings.filler,
            assignment.settings.filler_after,
            self._only_waited_for,
        )
        self._state = state
        self._tell = tell
        self._watch = watch
        self._held: list[Callable[[], None]] = []
        """Gives the agent what tools have answered while the caller is handed over."""

    def begin(self, id: str, name: str, arguments: Mapping[str, Any]) -> None:
        """
        The agent called a tool; it gets the result unless the call is ending.

        @param id: Of the conversation that it is having, which may be another by then.
        """
        self._talk.agent_busy()
        self._filler.tool_began()
        asker = self._agent.conversation
        running = self._toolbox.run(self._call, name, arguments, self._watch)
        running.addCallback(lambda value: self._done(value, asker, id, name))

    @guarded
    def _done(
        self, value: str, asker: IConversation | None, id: str, name: str
    ) -> None:
        self._filler.tool_ended()
        self._talk.tool_ended()
        state = self._state()
        if state is State.TRANSFERRING:
            # A reply to it would only delay that; told if the caller stays after all.
            value = value or TRANSFER_CANCELLED
            self._held.append(partial(self._report, value, asker, id, name))
        elif state not in (State.DRAINING, State.ENDED):
            self._report(value, asker, id, name)

    def _report(
        self, value: str, asker: IConversation | None, id: str, name: str
    ) -> None:
        if asker is not None and asker is self._agent.conversation:
            asker.tool_result(id, value)
            self._talk.asked()
        else:
            self._tell("system", f"The result of {name}, asked for before: {value}")

    def _only_waited_for(self) -> bool:
        """The caller waits for a tool, does nothing else, and hears nothing."""
        quiet = self._talk.is_quiet and not self._talk.sounding
        asked = self._digits.is_awaited  # by the tool, which waits for the caller then
        return self._state() is State.TALKING and quiet and not asked

    def report_held(self) -> None:
        """The caller stays, so the agent gets what it was not told of."""
        held, self._held = self._held, []
        for report in held:
            report()

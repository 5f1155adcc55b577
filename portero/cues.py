"""What the agent is asked to say by portero itself, not by the caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.logger import Logger

from portero.agent import Agent

CHECK_IN: Final = (
    "The caller has said nothing for {seconds:.0f} seconds. Ask in a few words, in the "
    "language of the call, whether they are still there. Do nothing else."
)
END_IS_NEAR: Final = (
    "This call may last only {seconds:.0f} seconds more. Tell the caller so in one "
    "sentence, in the language of the call, and ask what is still to be done."
)
"""For the agent, as system texts that are answered at once."""

MOST_CALL_OUTS: Final = 2


class Cues:
    """
    Given to the agent of one call. Each asks for a reply; what the agent and the caller
    do then says which of them are still open.

    @ivar asked_again: No reply came, and one was asked for once more.
    @ivar call_outs: How often the agent asked whether the caller is there, and heard
        nothing.
    @ivar owes_farewell: The agent was told to say its last words, and nothing of them
        came yet.
    """

    log = Logger()

    def __init__(
        self,
        call_id: str,
        agent: Agent,
        say_prompt: Callable[[str], None],
        *,
        reply_within: float,
        silence: float,
    ) -> None:
        """
        @param say_prompt: Plays a shipped prompt where the agent says nothing.
        @param reply_within: Seconds that it may take to reply.
        @param silence: Seconds that both sides may be silent.
        """
        self.asked_again = False
        self.call_outs = 0
        self.owes_farewell = False
        self._call_id = call_id
        self._agent = agent
        self._say_prompt = say_prompt
        self._reply_within = reply_within
        self._silence = silence
        self._asked_aloud = False
        """What came in writing only was asked for once more, as speech."""
        self._calling_out = False

    # What the two do

    def caller_spoke(self) -> None:
        self.call_outs = 0
        self._asked_aloud = self._calling_out = False

    def agent_spoke(self) -> None:
        self.asked_again = self.owes_farewell = False
        self._asked_aloud = self._calling_out = False

    # Cues

    def ask_again(self) -> None:
        """No reply came."""
        self.log.warn(
            "call {call_id}: no reply from the service within {seconds:g} s; asking "
            "once more",
            call_id=self._call_id,
            seconds=self._reply_within,
        )
        self.asked_again = True
        if self._calling_out:
            self._say_prompt("still_there")
        self._agent.ask()

    def ask_aloud(self, words: str) -> bool:
        """
        A reply came in writing only.

        @return: Whether the agent was asked to say it: once, because a service that
            writes again is one that does not reply.
        """
        again = self._asked_aloud
        self.log.warn(
            "call {call_id}: a reply came in writing only; {what}",
            call_id=self._call_id,
            what="no more of this" if again else "asking for it as speech",
        )
        if not again:
            self._asked_aloud = True
            self._agent.greet(words)
        return not again

    @property
    def called_in_vain(self) -> bool:
        """The caller was asked often enough."""
        return self.call_outs >= MOST_CALL_OUTS

    def call_out(self) -> None:
        """Nobody spoke for long: a caller who is there gets a question, and answers."""
        self.call_outs += 1
        self._calling_out = True
        self._agent.ask(CHECK_IN.format(seconds=self._silence))

    def warn_of_end(self, seconds: float) -> None:
        """@param seconds: So much is left of the call."""
        self._agent.ask(END_IS_NEAR.format(seconds=seconds))

    def bid_farewell(self, words: str) -> None:
        """
        These are to be said exactly, after what can be heard already; for the rest of
        a reply that is being made there is no time.
        """
        self._agent.cancel()
        self.owes_farewell = True
        self.asked_again = self._asked_aloud = False
        self._agent.greet(words)

    def make_up_farewell(self) -> None:
        """If it was to be said by the agent and will not be, play the goodbye."""
        if self.owes_farewell:
            self.owes_farewell = False
            self._say_prompt("goodbye")

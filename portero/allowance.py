"""What one call may last and cost, and what the two sides are told near the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from twisted.logger import Logger, LogLevel

from portero.agent import Agent
from portero.assignment import Assignment
from portero.callstate import Event, State
from portero.departure import Departure
from portero.interfaces import ICallControl
from portero.money import Spent
from portero.talk import Talk
from portero.timers import Timers

WIND_UP: Final = (
    "This call must end soon. Finish what is asked now in a sentence or two, in the "
    "language of the call, say goodbye, and end the call."
)
"""For the agent, when a ceiling of the price is near. Its next reply sees this; it is
not asked for one, because a caller who is silent costs nothing."""

WARN_LOOK_EVERY: Final = 0.2
"""Seconds: somebody speaks when the caller is to be told that the call ends soon."""


class Allowance:
    """Of one call. What is over is posted as an event of L{portero.callstate}."""

    log = Logger()

    def __init__(
        self,
        call: ICallControl,
        assignment: Assignment,
        agent: Agent,
        talk: Talk,
        timers: Timers,
        departure: Departure,
        *,
        state: Callable[[], State],
        post: Callable[[Event], None],
    ) -> None:
        """@param state: The state of the call."""
        self._call = call
        self._longest = assignment.settings.longest
        self._warn = assignment.settings.warn_before_end
        self._meter = assignment.meter
        self._agent = agent
        self._talk = talk
        self._timers = timers
        self._departure = departure
        self._state = state
        self._post = post

    # Time

    def begin(self) -> None:
        """The caller is there."""
        self._timers.start("longest", self._longest, self._time_is_up)
        if 0 < self._warn < self._longest:
            before = self._longest - self._warn
            self._timers.start("warning", before, self._warn_of_end)

    def _time_is_up(self) -> None:
        self._departure.because("the longest time for a call is over")
        self._post(Event.TIME_IS_UP)

    def _warn_of_end(self) -> None:
        """Now, or when nobody speaks; but not in a call that ends anyway."""
        state = self._state()
        if state is State.TALKING and self._talk.at_pause:
            self._talk.warn_of_end(self._longest - self._call.seconds())
        elif state in (State.CONNECTING, State.TALKING, State.TRANSFERRING):
            self._timers.start("warning", WARN_LOOK_EVERY, self._warn_of_end)

    # Money

    def used(self, counts: Mapping[str, int]) -> None:
        """@param counts: As L{IConversationEvents.usage} has them."""
        reached = self._meter.used(counts)
        if reached is Spent.NEARLY_ALL:
            self._post(Event.NEARLY_SPENT)
        elif reached is Spent.ALL:
            self._post(Event.SPENT)

    def wind_up(self) -> None:
        """Have the agent come to an end."""
        self._say("its ceiling is near: the agent is asked to wind up")
        self._agent.tell("system", WIND_UP)

    def be_spent(self) -> None:
        """The price is why it ends."""
        self._say("its ceiling is reached: saying goodbye")
        self._departure.because("the ceiling of its price was reached")

    def _say(self, what: str) -> None:
        ceiling = self._meter.ceiling
        if ceiling is None:
            return
        self.log.emit(
            # That of a day was warned of already, once for all calls.
            LogLevel.info if ceiling.of_day else LogLevel.warn,
            "call {call_id}: agent {agent}: {what} (${dollars:.4f} so far, {ceiling})",
            call_id=self._call.call_id,
            agent=self._call.agent,
            what=what,
            dollars=self._meter.dollars,
            ceiling=ceiling.in_words,
        )

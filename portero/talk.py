"""
What the two sides of a call say: the shell round the table of L{turns}. It knows what
sounds, what is still to come, and whether the caller has been left in silence.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from portero import prompts, turns
from portero.agent import Agent
from portero.callstate import Event as CallEvent
from portero.interfaces import ILeg
from portero.rates import RateMatcher
from portero.tally import Tally
from portero.timers import Timers
from portero.turns import Effect, Event, Floor


@lru_cache(maxsize=64)
def _prompt(name: str, language: str, rate: int) -> bytes:
    own_rate, pcm = prompts.load(name, language)
    return RateMatcher().match(pcm, own_rate, rate)


class Talk:
    """
    Of one call, from its greeting to its last word.

    What the call has to know is posted as events of L{portero.callstate}.
    """

    log = Logger()

    def __init__(
        self,
        call_id: str,
        leg: ILeg,
        agent: Agent,
        clock: IReactorTime,
        timers: Timers,
        tally: Tally,
        *,
        language: str,
        reply_within: float,
        silence: float,
        post: Callable[[CallEvent], None],
    ) -> None:
        """
        @param language: Of the prompts.
        @param reply_within: Seconds that the caller may be left in silence when it is
            the agent's turn.
        @param silence: Seconds that both may be silent when it is the caller's.
        """
        self.floor = Floor.LISTENING
        self.replying = False
        """The service is making a reply: more of it may come."""
        self._call_id = call_id
        self._leg = leg
        self._agent = agent
        self._clock = clock
        self._timers = timers
        self._tally = tally
        self._language = language
        self._reply_within = reply_within
        self._silence = silence
        self._post = post
        self._latency = turns.Latency()
        self._greeted = False
        """The greeting was given in full, or the caller would not wait for it."""
        self._caller_speaking = False
        self._cut_off = False
        """The last conversation ended in the middle of a reply."""
        self._sounding: set[str] = set()
        """Items that the leg took and has not played out yet."""
        self._quiet_from = 0.0
        """When the last of them will be played out, or a reply was asked for."""
        self._asked_again = False
        self._called_out = False
        """The agent asked whether the caller is there, and nothing was heard since."""
        self._over_full = False
        self._owes_farewell = False
        """The agent was told to say its last words, and nothing of them came yet."""

    @property
    def more_to_come(self) -> bool:
        """The agent has not said all that it is to say."""
        return self.replying or self._owes_farewell

    @property
    def sounding(self) -> bool:
        """Something given to the leg is not played out yet."""
        return bool(self._sounding)

    @property
    def at_pause(self) -> bool:
        """Nobody speaks, and nobody waits for an answer."""
        busy = self._caller_speaking or self.replying
        return self.floor is Floor.LISTENING and not busy

    # A conversation begins and ends

    def begin(self, greeting: str) -> None:
        """
        A conversation is ready: greet, or go on where the last one stopped.

        @param greeting: Exact words, or empty.
        """
        if not self._greeted:
            self._agent.greet(greeting)
            self.asked()
        elif self._cut_off or self.floor in (Floor.WAITING, Floor.OWING):
            self._agent.ask()
            self.asked()
        elif self._caller_speaking:
            # The new conversation may have missed it; should it stay silent, the
            # watchdog asks.
            self.asked()
        else:
            self._watch()
        self._cut_off = self._caller_speaking = False

    def let_go(self) -> None:
        """What was received of a reply is still heard; no more of it comes."""
        self._timers.cancel("silence")
        self._cut_off = self._cut_off or self.replying
        self.replying = False
        for item in tuple(self._sounding):
            self._leg.end_of_item(item)

    # The caller

    def caller_started(self) -> None:
        self._caller_speaking = self._greeted = True
        self._called_out = False
        self._turn(Event.CALLER_STARTED)

    def caller_stopped(self) -> None:
        self._caller_speaking = False
        self._turn(Event.CALLER_STOPPED)

    # The agent

    def asked(self) -> None:
        """A reply was asked for, by us."""
        self._turn(Event.ASKED)

    def ask_again(self) -> None:
        """No reply came."""
        self.log.warn(
            "call {call_id}: no reply from the service within {seconds:g} s; asking "
            "once more",
            call_id=self._call_id,
            seconds=self._reply_within,
        )
        self._asked_again = True
        self._agent.ask()
        self._watch()

    def call_out(self) -> None:
        """Nobody spoke for long: a caller who is there gets a question, and answers."""
        self._called_out = True
        self._agent.ask()
        self.asked()

    def bid_farewell(self, words: str) -> None:
        """
        These are to be said exactly, after what can be heard already; for the rest of
        a reply that is being made there is no time.
        """
        self._agent.cancel()
        self._owes_farewell = True
        self._asked_again = False
        self._agent.greet(words)
        self.asked()

    def make_up_farewell(self) -> None:
        """If it was to be said by the agent and will not be, play the goodbye."""
        if self._owes_farewell:
            self._owes_farewell = False
            self.say_prompt("goodbye")

    def agent_busy(self) -> None:
        """The agent called a tool: it lives, and says more when it has the result."""
        if self._owes_farewell:
            return  # and nothing else, now
        self.replying = True
        self._asked_again = False
        self._turn(Event.AGENT_BUSY)

    def agent_audio(self, item: str, pcm: bytes) -> None:
        """A piece of a reply, as the conversation gave it."""
        rate, now = self._leg.agent_rate, self._clock.seconds()
        pcm = self._agent.voice(pcm, rate)
        if not pcm:
            return
        self._latency.audio_came(now)
        if not self._leg.play(item, pcm):
            self._refused()
            return
        self._quiet_from = max(self._quiet_from, now) + len(pcm) / (2 * rate)
        if item not in self._sounding:
            self._sounding.add(item)
            self.replying = True
            self._asked_again = self._owes_farewell = False
            self._turn(Event.AGENT_AUDIO)

    def _refused(self) -> None:
        if not self._over_full:
            self._over_full = True
            self.log.warn(
                "call {call_id}: as much of a reply waits as may ([listen] "
                "queue_frames); the rest is stopped",
                call_id=self._call_id,
            )
        self._agent.cancel()

    def agent_done(self, item: str) -> None:
        self._leg.end_of_item(item)

    def reply_ended(self, in_full: bool) -> None:
        """@param in_full: It had something in it, and did not fail."""
        self.replying = False
        if in_full:
            self._greeted = True
            self._agent.worked()
        self.settle()

    # The leg

    def began_to_sound(self) -> None:
        """The first frame of an item left."""
        found = self._latency.sounding(self._clock.seconds())
        if found is not None:
            self._tally.replied(self._call_id, *found)

    def played_out(self, item: str) -> None:
        self._sounding.discard(item)
        self.settle()

    def settle(self) -> None:
        """Is everything said?"""
        if not (self._sounding or self.more_to_come):
            self._quiet_from = 0.0
            self._turn(Event.SPOKEN)
            self._post(CallEvent.PLAYED_OUT)

    # Our own words

    def say_prompt(self, name: str) -> None:
        """Play a shipped prompt, after what is already waiting."""
        item = f"prompt {name}"
        pcm = _prompt(name, self._language, self._leg.agent_rate)
        if self._leg.play(item, pcm):
            self._sounding.add(item)
            self._leg.end_of_item(item)

    def hush(self) -> None:
        """Drop all that waits to be heard."""
        self._sounding.clear()
        self._quiet_from = 0.0
        self._leg.flush()

    # Effects

    def _turn(self, event: Event) -> None:
        self.floor, effects = turns.advance(self.floor, event)
        for effect in effects:
            _EFFECTS[effect](self)

    def _watch(self) -> None:
        self._quiet_from = max(self._quiet_from, self._clock.seconds())
        self._timers.start("silence", self._limit(), self._look)

    def _limit(self) -> float:
        listening = self.floor is Floor.LISTENING
        return self._silence if listening else self._reply_within

    def _look(self) -> None:
        """Has it been silent for too long?"""
        left = self._quiet_from + self._limit() - self._clock.seconds()
        if left > 0:
            self._timers.start("silence", left, self._look)
        elif self.floor is Floor.WAITING:
            again = self._asked_again
            self._post(CallEvent.NO_REPLY_AGAIN if again else CallEvent.NO_REPLY)
        elif self.floor is Floor.LISTENING:
            again = self._called_out
            self._post(CallEvent.SILENT_AGAIN if again else CallEvent.SILENT)
        else:
            self._agent.stalled()

    def _time_reply(self) -> None:
        self._latency.caller_stopped(self._clock.seconds())

    def _forget_reply(self) -> None:
        self._latency.dropped()

    def _cut(self) -> None:
        self._tally.barge_ins += 1
        self.replying = False
        self._quiet_from = 0.0
        self._sounding.clear()
        for heard in self._leg.flush():
            self._agent.cut(heard.item, heard.heard_ms, heard.given_ms)


_EFFECTS: Final[dict[Effect, Callable[[Talk], None]]] = {
    Effect.WATCH: Talk._watch,
    Effect.TIME_REPLY: Talk._time_reply,
    Effect.FORGET_REPLY: Talk._forget_reply,
    Effect.CUT: Talk._cut,
}

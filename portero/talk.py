"""
What the two sides of a call say: the shell round the table of L{turns}. It knows who
speaks, what is still to come, and whether the caller has been left in silence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from portero import turns
from portero.agent import Agent
from portero.callstate import Event as CallEvent
from portero.cues import Cues
from portero.greeter import ITEM, Greeter
from portero.greeting import PLAIN, Opening
from portero.interfaces import ILeg
from portero.manners import Manners
from portero.sounds import Sounds
from portero.tally import Tally
from portero.timers import Timers
from portero.turns import Effect, Event, Floor
from portero.watching import Watch

FILL_AT_MOST: Final = 3.0
"""Seconds that a sound lasts which fills a pause."""
NEAR_END: Final = 1.0
"""Seconds: who says something short when no more than that of a reply is left answers
it, and does not interrupt it."""


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
        watch: Watch,
        *,
        language: str,
        interruption: str,
        barge_in: float,
        reply_within: float,
        silence: float,
        post: Callable[[CallEvent], None],
        opening: Opening = PLAIN,
    ) -> None:
        """
        @param language: Of the prompts.
        @param interruption: C{instant}, C{polite} or C{off}: what the caller's voice
            does to the agent's speech.
        @param barge_in: With C{polite}: seconds of speech that interrupt.
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
        self._observed = watch
        self._sounds = Sounds(leg, language)
        self._cues = Cues(
            call_id,
            agent,
            self._sounds.say_prompt,
            reply_within=reply_within,
            silence=silence,
        )
        self._manners = Manners(interruption, barge_in, leg, clock, timers)
        self._reply_within = reply_within
        self._silence = silence
        self._post = post
        self._latency = turns.Latency()
        self._opening = opening
        self._greeter = Greeter(call_id, opening, clock, timers, agent.hold)
        self._greeted = False
        """The greeting was given in full, or the caller would not wait for it."""
        self._caller_speaking = False
        self._cut_off = False
        """The last conversation ended in the middle of a reply."""
        self._quiet_from = 0.0
        """When all that sounds will be played out, or a reply was asked for."""
        self._tools = 0
        """So many are running."""
        self._over_full = False

    @property
    def more_to_come(self) -> bool:
        """The agent has not said all that it is to say."""
        return self.replying or self._cues.owes_farewell

    @property
    def sounding(self) -> bool:
        """Something given to the leg is not played out yet."""
        return bool(self._sounds)

    @property
    def at_pause(self) -> bool:
        """Nobody speaks, and nobody waits for an answer."""
        return self.is_quiet and not self._tools

    @property
    def is_quiet(self) -> bool:
        """The same, but a tool may be running."""
        busy = self._caller_speaking or self.replying
        return self.floor is Floor.LISTENING and not busy

    @property
    def _agent_speaks(self) -> bool:
        return self.floor in (Floor.SPEAKING, Floor.OWING)

    # A conversation begins and ends

    def welcome(self) -> None:
        """The call begins: a greeting that is at hand waits for nobody."""
        self._greeter.begin()
        rate, now = self._leg.agent_rate, self._clock.seconds()
        pcm = self._opening.at_hand(rate)
        if not pcm:
            return
        if not self._sounds.give_whole(ITEM, pcm):
            self._refused()
            return
        self._greeted = True
        self._quiet_from = now + len(pcm) / (2 * rate)
        said, words = self._opening.said, self._opening.words
        self._agent.note(said.role, said.text, ITEM if words else "")
        self._greeter.played(self._quiet_from)
        self._turn(Event.AGENT_AUDIO)

    def begin(self, greeting: str) -> None:
        """
        A conversation is ready: greet, or go on where the last one stopped.

        @param greeting: Exact words, or empty.
        """
        if not self._greeted:
            self._greeter.asked()
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
        self.go_on()
        self._timers.cancel("silence")
        self._cut_off = self._cut_off or self.replying
        self.replying = False
        self._sounds.complete_all()

    # The caller

    def caller_started(self, item: str = "") -> None:
        """@param item: What they say, so that its transcript is known by it."""
        if self._greeter.protected:
            return
        self._caller_speaking = True
        self._cues.caller_spoke()
        self._manners.begins(item)
        if not (self._manners.decides and self._agent_speaks):
            self._give_floor()
        elif self._manners.polite:
            self._manners.hold(self.go_on)

    def caller_audio(self, pcm: bytes) -> None:
        spoke = self._manners.hear(pcm)
        if spoke and self._caller_speaking and self._agent_speaks:
            self._give_floor()

    def caller_words(self, item: str, text: str, complete: bool) -> None:
        """
        The service wrote down what the caller says, or said. Words of one who did not
        speak for long interrupt the agent too; if it has finished, they are answered.
        """
        passed = self._manners.passed
        undecided = passed or (self._caller_speaking and self._agent_speaks)
        if not undecided or not self._manners.read(item, text, complete):
            return
        if passed:
            self._tally.false_alarms -= 1
        if self.floor is not Floor.WAITING:
            self._give_floor()
            if not self._caller_speaking:
                self._answer()

    def caller_stopped(self) -> None:
        if self._greeter.protected:
            return
        self._caller_speaking = False
        self.go_on()
        if not (self._manners.decides and self._agent_speaks):
            self._answer()
        elif self._manners.polite:
            self._let_pass()
        else:
            self._agent.ask()
            self.asked()

    def key_pressed(self) -> None:
        """That is no cough: it interrupts. More keys may follow."""
        if self._greeter.protected:
            return
        self._caller_speaking = True
        self._cues.caller_spoke()
        self._give_floor()
        if not self._manners.decides:  # else it did so
            self._agent.cancel()

    def keys_typed(self) -> None:
        """All of them are there, and going to be answered."""
        if self._greeter.protected:
            return
        self._caller_speaking = False
        self._turn(Event.CALLER_STOPPED)

    def caller_idle(self) -> None:
        """The service itself asks whether the caller is there."""
        if self._cues.called_in_vain:
            self._post(CallEvent.SILENT_AGAIN)
        else:
            self._cues.call_outs += 1
            self.asked()

    def _give_floor(self) -> None:
        self._greeted = True
        self._manners.passed = False
        if self._manners.decides:
            self._agent.cancel()
        self._turn(Event.CALLER_STARTED)
        self.go_on()  # if nothing had to be cut

    def _answer(self) -> None:
        self._turn(Event.CALLER_STOPPED)
        if self._manners.decides:
            self._agent.ask()

    def _let_pass(self) -> None:
        left = self._quiet_from - self._clock.seconds()
        if left <= NEAR_END and not self.replying:
            self._agent.ask()
            self.asked()
        else:
            self._manners.passed = True
            self._tally.false_alarms += 1
            self._observed.tell("false_alarm")

    def go_on(self) -> None:
        """If the agent's speech is paused, resume it."""
        held = self._manners.release()
        if held is not None:
            self._quiet_from += held
            self._leg.resume()
            self._watch()

    # The agent

    def asked(self) -> None:
        """A reply was asked for, by us."""
        self._turn(Event.ASKED)

    def ask_again(self) -> None:
        """No reply came."""
        self._cues.ask_again()
        self._watch()

    def call_out(self) -> None:
        """Nobody spoke for long."""
        self._cues.call_out()
        self.asked()

    def warn_of_end(self, seconds: float) -> None:
        """@param seconds: So much is left of the call."""
        self._cues.warn_of_end(seconds)
        self.asked()

    def bid_farewell(self, words: str) -> None:
        """These are to be said exactly, after what can be heard already."""
        self._cues.bid_farewell(words)
        self.asked()

    def make_up_farewell(self) -> None:
        """If it was to be said by the agent and will not be, play the goodbye."""
        self._cues.make_up_farewell()

    def agent_busy(self) -> None:
        """The agent called a tool: it lives, and says more when it has the result."""
        self._tools += 1
        if self._cues.owes_farewell:
            return  # and nothing else, now
        self.replying = True
        self._cues.asked_again = False
        self._turn(Event.AGENT_BUSY)

    def tool_ended(self) -> None:
        self._tools -= 1
        self._quiet_from = max(self._quiet_from, self._clock.seconds())

    def agent_audio(self, item: str, pcm: bytes) -> None:
        """A piece of a reply, as the conversation gave it."""
        rate, now = self._leg.agent_rate, self._clock.seconds()
        pcm = self._agent.voice(pcm, rate)
        if not pcm:
            return
        self._latency.audio_came(now)
        begins = item not in self._sounds
        if not self._sounds.give(item, pcm):
            self._refused()
            return
        self._quiet_from = max(self._quiet_from, now) + len(pcm) / (2 * rate)
        self._greeter.spoken(item, pcm, self._quiet_from)
        if begins:
            self.replying = True
            self._cues.agent_spoke()
            self._turn(Event.AGENT_AUDIO)

    def transcribed(self, text: str) -> None:
        """What the agent has said, as the service wrote it down."""
        self._greeter.transcribed(text)

    def _refused(self) -> None:
        self._greeter.broken_off()
        if not self._over_full:
            self._over_full = True
            self.log.warn(
                "call {call_id}: as much of a reply waits as may ([listen] "
                "queue_frames); the rest is stopped",
                call_id=self._call_id,
            )
        self._agent.cancel()

    def agent_done(self, item: str) -> None:
        self._sounds.complete(item)

    def reply_ended(self, in_full: bool, written: str = "") -> None:
        """
        @param in_full: It had something in it, and did not fail.
        @param written: What it said, if it came in writing only.
        """
        self.replying = False
        self._greeter.reply_ended(in_full, self._leg.agent_rate)
        if in_full:
            self._greeted = True
            self._agent.worked()
        elif written and self.floor in (Floor.WAITING, Floor.OWING):
            if self._cues.ask_aloud(written):
                self.asked()
            else:
                self._post(CallEvent.NO_REPLY_AGAIN)
        self.settle()

    # The leg

    def began_to_sound(self) -> None:
        """The first frame of an item left."""
        found = self._latency.sounding(self._clock.seconds())
        if found is not None:
            self._tally.replied(self._call_id, *found)

    def played_out(self, item: str) -> None:
        self._greeter.played_out(item)
        self._sounds.played_out(item, first=self.settle)

    def settle(self) -> None:
        """Is everything said?"""
        if not (self.sounding or self.more_to_come):
            self._quiet_from = self._clock.seconds()
            self._turn(Event.SPOKEN)
            self._post(CallEvent.PLAYED_OUT)

    # Our own words

    def say_prompt(self, name: str) -> None:
        """Play a shipped prompt, after what is already waiting."""
        self._sounds.say_prompt(name)

    def fill(self, name: str, rate: int = 0, pcm: bytes = b"") -> None:
        """
        Play something while a tool runs; a caller who speaks stops it, as the agent.

        @param name: Of a shipped prompt, if there is no sound.
        """
        if rate:
            self.play(name, rate, pcm)
        else:
            self.say_prompt(name)
        if self.sounding:
            self._turn(Event.AGENT_AUDIO)
            self._quiet_from = self._clock.seconds() + FILL_AT_MOST

    def play(self, name: str, rate: int, pcm: bytes) -> Deferred[bool]:
        """
        Play a sound, after what is already waiting.

        @return: Whether it was heard to its end.
        """
        return self._sounds.play(name, rate, pcm)

    def hush(self) -> None:
        """Drop all that waits to be heard."""
        self.drop()
        self._sounds.give_up()

    def drop(self) -> None:
        """The same, but who waits for a sound to be heard is told later."""
        self._manners.release()
        self._quiet_from = 0.0
        for heard in self._sounds.flush():
            self._observed.tell("cut", **heard._asdict())

    def give_up_sounds(self) -> None:
        """Who waits for a sound to be heard is told that it was not."""
        self._sounds.give_up()

    # Effects

    def _turn(self, event: Event) -> None:
        before = self.floor
        self.floor, effects = turns.advance(before, event)
        if self.floor is not before:
            self._observed.tell("floor", floor=self.floor.value)
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
        busy = self._manners.holds
        if self.floor is Floor.LISTENING:
            busy = busy or self.sounding or bool(self._tools)
        if left > 0 or busy:
            self._timers.start("silence", left if left > 0 else 1.0, self._look)
        elif self.floor is Floor.WAITING:
            again = self._cues.asked_again
            self._post(CallEvent.NO_REPLY_AGAIN if again else CallEvent.NO_REPLY)
        elif self.floor is Floor.LISTENING:
            again = self._cues.called_in_vain
            self._post(CallEvent.SILENT_AGAIN if again else CallEvent.SILENT)
        else:
            self._agent.stalled()

    def _time_reply(self) -> None:
        self._latency.caller_stopped(self._clock.seconds())

    def _forget_reply(self) -> None:
        self._latency.dropped()

    def _cut(self) -> None:
        self._manners.release()
        self._greeter.broken_off()
        self._tally.barge_ins += 1
        self._observed.tell("barge_in")
        self.replying = False
        self._quiet_from = 0.0
        for heard in self._sounds.flush():
            self._agent.cut(heard.item, heard.heard_ms, heard.given_ms)
        self._sounds.give_up()


_EFFECTS: Final[dict[Effect, Callable[[Talk], None]]] = {
    Effect.WATCH: Talk._watch,
    Effect.TIME_REPLY: Talk._time_reply,
    Effect.FORGET_REPLY: Talk._forget_reply,
    Effect.CUT: Talk._cut,
}

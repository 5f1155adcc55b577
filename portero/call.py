"""
One call: the shell round the table of L{callstate}. It joins a leg to an agent, carries
out the effects of that table, and is the fault boundary: what goes wrong in here ends
this call, in order, and no other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from portero import callstate
from portero.agent import Agent
from portero.allowance import Allowance
from portero.assignment import Assignment
from portero.callstate import Effect, Event, State
from portero.control import Control
from portero.departure import Departure
from portero.digits import TYPED, Digits, sentence
from portero.earpiece import Earpiece
from portero.errands import Errands
from portero.guard import guarded
from portero.interfaces import (
    IAudioTap,
    ILeg,
    ILegEvents,
    IOperatedCall,
    IWatchedCall,
    LegFigures,
)
from portero.journal import Journal
from portero.privacy import Privacy
from portero.record import Record
from portero.switchboard import Switchboard
from portero.talk import Talk
from portero.tally import Tally
from portero.timers import Timers
from portero.watching import Watch, Watchers


@implementer(ILegEvents, IWatchedCall, IOperatedCall)
class Call:
    """From the accepted connection to the line that sums it up."""

    log = Logger()

    def __init__(
        self,
        call_id: str,
        leg: ILeg,
        assignment: Assignment,
        clock: IReactorTime,
        ended: Callable[[Call], None],
        watchers: Watchers | None = None,
    ) -> None:
        """
        @param assignment: Who answers, and how.
        @param ended: Called once, when the call is over and has its L{record}.
        @param watchers: Those who watch; nobody.
        """
        settings = assignment.settings
        self.call_id = call_id
        self.agent = assignment.agent
        self.facts = assignment.facts
        self.state = State.IDENTIFYING
        self._leg = leg
        self._assignment = assignment
        self._settings = settings
        self._ended = ended
        self._watch = Watch(call_id, watchers or Watchers(), clock)
        self._tally = Tally(self._watch)
        self._timers = Timers(clock, self.crashed)
        self._departure = Departure(call_id, assignment, leg, clock, self.crashed)
        self._journal = Journal(call_id, assignment, leg, clock, self._tally)
        self._queue: deque[Event] = deque()
        self._working = False
        self._agent = Agent(
            assignment.provider,
            assignment.brief,
            self._timers,
            connect_within=settings.connect_within,
            patience=settings.patience,
            noise_gate=settings.noise_gate,
            at_pause=lambda: self._talk.at_pause,
            post=self._post,
            events=lambda: self._earpiece,
            watch=self._watch,
        )
        self._talk = Talk(
            call_id,
            leg,
            self._agent,
            clock,
            self._timers,
            self._tally,
            self._watch,
            language=settings.language,
            interruption=settings.interruption,
            barge_in=settings.barge_in,
            reply_within=settings.reply_within,
            silence=settings.silence,
            post=self._talk_posts,
            opening=settings.opening,
        )
        self._privacy = Privacy(
            call_id,
            settings,
            leg,
            self._watch,
            state=lambda: self.state,
            tell=self._tell,
        )
        self._digits = Digits(
            self._timers,
            settings.digits_pause,
            settings.menu,
            pressed=self._key_pressed,
            typed=self._typed,
            chosen=self._choose,
            codes=self._privacy.codes,
            coded=self._privacy.keys_typed,
        )
        self.control = Control(
            call_id,
            assignment,
            self._agent,
            self._talk,
            self._digits,
            self._departure,
            self._journal,
            self._tally,
            self._privacy,
            state=lambda: self.state,
            tell=self._tell,
            post=self._post,
            crashed=self.crashed,
        )
        """What its tools may do to it."""
        self._errands = Errands(
            self.control,
            assignment,
            self._agent,
            self._talk,
            self._digits,
            self._timers,
            state=lambda: self.state,
            tell=self._tell,
            crashed=self.crashed,
            watch=self._watch,
        )
        self._allowance = Allowance(
            self.control,
            assignment,
            self._agent,
            self._talk,
            self._timers,
            self._departure,
            state=lambda: self.state,
            post=self._post,
        )
        self._earpiece = Earpiece(
            self._agent,
            self._talk,
            self._errands,
            self._allowance,
            self._tally,
            self._journal,
            self._watch,
            state=lambda: self.state,
            crashed=self.crashed,
        )
        self._switchboard = Switchboard(
            self._departure,
            self._talk,
            self._watch,
            self._privacy,
            state=lambda: self.state,
            tell=self._tell,
            post=self._post,
            crashed=self.crashed,
        )
        self._untold: list[tuple[str, str, str]] = []
        """What the agent is told once it can be reached; as L{_tell} takes it."""

    @property
    def failure(self) -> str:
        """Why it did not end well; empty when it did."""
        return self._departure.failure

    @property
    def reason(self) -> str:
        """Why it ended, as far as that is known yet."""
        return self._departure.reason

    @property
    def record(self) -> Record | None:
        """L{None} while it is under way."""
        return self._journal.record

    def snapshot(self) -> dict[str, Any]:
        """The call as it stands, for the status resource."""
        return self._journal.snapshot(self.state.value, self._talk.floor.value)

    @guarded
    def stop(self) -> None:
        """portero is stopping: apologise and hang up, unless that is under way."""
        if self.state not in (State.TRANSFERRING, State.DRAINING, State.ENDED):
            self._departure.fail("portero is stopping")
        self._post(Event.STOPPING)

    # ILegEvents

    @guarded
    def identified(self) -> None:
        self.log.info(
            "call {call_id} from {peer}{caller}: agent {agent}, connecting to "
            "{service}",
            call_id=self.call_id,
            peer=self._leg.peer,
            caller=self._assignment.facts.caller_in_short,
            agent=self.agent,
            service=self._assignment.provider.describe(self._assignment.brief.model),
        )
        self._allowance.begin()
        self._watch.started(self)
        self._post(Event.IDENTIFIED)

    @guarded
    def caller_audio(self, pcm: bytes) -> None:
        self._agent.hear(pcm, self._leg)
        self._talk.caller_audio(pcm)

    @guarded
    def dtmf(self, digit: str) -> None:
        if self.state is State.ENDED:
            return
        self._tally.caller_turns += 1
        if self.state is State.DRAINING:
            self._digits.give_up()  # only the menu still works
        self._watch.tell("key")
        self._digits.press(digit)

    @guarded
    def sounding(self, item: str) -> None:
        self._watch.tell("sounding", item=item)
        self._talk.began_to_sound()

    @guarded
    def played_out(self, item: str) -> None:
        self._watch.tell("played_out", item=item)
        self._talk.played_out(item)
        if not self._talk.sounding:
            self._digits.agent_spoke()

    @guarded
    def gone(self, reason: str, in_order: bool) -> None:
        if self.state is not State.ENDED:
            self._departure.stay()  # the caller did not wait for a transfer
        if in_order:
            self._departure.because(reason)
        else:
            self._departure.fail(reason)
        self._post(Event.GONE)

    # IWatchedCall, IOperatedCall

    def seconds(self) -> float:
        return self._journal.seconds()

    def figures(self) -> LegFigures:
        return self._journal.figures()

    def tap(self, tap: IAudioTap) -> None:
        if self.state is not State.ENDED:
            self._leg.tap(tap)

    def untap(self, tap: IAudioTap) -> None:
        self._leg.untap(tap)

    def whisper(self, text: str, who: str) -> bool:
        return self._switchboard.whisper(text, who)

    def hand_over(self, target: str, name: str, who: str) -> bool:
        return self._switchboard.hand_over(target, name, who)

    def pause_recording(self, paused: bool, who: str) -> bool:
        return self._switchboard.pause_recording(paused, who)

    def dismiss(self, who: str) -> bool:
        return self._switchboard.dismiss(who)

    # Keys

    def _key_pressed(self) -> None:
        if self.state.is_live:
            self._talk.key_pressed()

    def _typed(self, keys: str) -> None:
        """@param keys: Empty: somebody else has them."""
        if self.state.is_live:
            self._talk.keys_typed()
        if keys:
            self._tell("user", sentence(keys), TYPED)

    def _choose(self, key: str) -> None:
        """The caller's own choice: nothing that is being said is waited for."""
        target = self._settings.menu.get(key)
        if target is None:
            return  # it has just closed
        self._talk.let_go()
        self._talk.hush()
        if self.state is not State.ENDED:
            self._departure.choose(target, f"the caller pressed {key}")
            self._post(Event.TRANSFER_ASKED)
        self._post(Event.PLAYED_OUT)

    # Events and effects

    def _post(self, event: Event) -> None:
        """
        Events raised by effects wait until the present one is done with. An effect that
        fails keeps none of the others from being carried out.
        """
        self._queue.append(event)
        if self._working:
            return
        self._working = True
        while self._queue:
            before, event = self.state, self._queue.popleft()
            self.state, effects = callstate.advance(before, event)
            if self.state is not before:
                self.log.debug(
                    "call {call_id}: {event}: {before} -> {after}",
                    call_id=self.call_id,
                    event=event.value,
                    before=before.value,
                    after=self.state.value,
                )
                self._watch.tell("state", state=self.state.value)
            for effect in effects:
                try:
                    _EFFECTS[effect](self)
                except Exception:
                    self.crashed()
        self._working = False

    def crashed(self) -> None:
        """An exception was caught, here or in a leaf: log it, and end the call."""
        self.log.failure("call {call_id}: internal error", call_id=self.call_id)
        self._departure.fail("internal error")
        self._watch.tell("error", reason="internal error")
        self._post(Event.CRASHED)

    def _talk_posts(self, event: Event) -> None:
        """Nobody is handed over while they speak, or wait for an answer."""
        early = self.state is State.TRANSFERRING and not self._talk.is_quiet
        if not (early and event is Event.PLAYED_OUT):
            self._post(event)

    # Effects: the agent

    def _reopen(self) -> None:
        self._talk.let_go()
        self._agent.reopen()

    def _close(self) -> None:
        self._agent.close()
        self._talk.let_go()

    def _greet(self) -> None:
        self._talk.begin(self._settings.greeting)
        untold, self._untold = self._untold, []
        for told in untold:
            self._tell(*told)

    def _tell(self, role: str, text: str, shown: str = "") -> None:
        """
        Tell the agent, now or as soon as it can be reached, and have it answer.

        @param shown: What those who watch see in its place.
        """
        if self.state is State.CONNECTING:
            self._untold.append((role, text, shown))
        elif self.state.is_live:
            self._agent.tell(role, text, shown)
            self._agent.ask()
            self._talk.asked()

    # Effects: what the caller hears, and the end

    def _ask_patience(self) -> None:
        if self._talk.sounding:
            wait = partial(self._post, Event.WAITED)
            self._timers.start("patience", self._settings.patience, wait)
        else:
            self._talk.say_prompt("moment")

    def _apologise(self) -> None:
        why = self._agent.loss.reason or "the voice service does not reply"
        self._departure.fail(why)
        self.log.error(
            "call {call_id}: giving the call back to Asterisk with an apology: "
            "{reason}",
            call_id=self.call_id,
            reason=self.failure,
        )
        self._talk.hush()
        self._talk.say_prompt("apology")

    def _bid_farewell(self) -> None:
        self._departure.because("nobody was speaking")
        if self._settings.farewell:
            self._talk.bid_farewell(self._settings.farewell)
        else:
            self._close()
            self._say_goodbye()

    def _say_goodbye(self) -> None:
        self._talk.say_prompt("goodbye")

    def _drain(self) -> None:
        if "drain" not in self._timers:
            too_long = partial(self._post, Event.DRAINED_TOO_LONG)
            self._timers.start("drain", self._settings.drain_within, too_long)
        if not self.state.is_live:
            self._talk.go_on()
        self._talk.settle()

    def _stay(self) -> None:
        self._timers.cancel("drain")
        self._departure.stay()
        self._errands.report_held()

    def _forget(self) -> None:
        self._digits.give_up()
        self.control.keep_promises()
        self._timers.close()
        self._talk.give_up_sounds()
        try:
            self._ended(self)
        finally:  # who is told now finds it among those that ended
            self._journal.publish(self._watch)


_EFFECTS: Final[dict[Effect, Callable[[Call], None]]] = {
    Effect.WELCOME: lambda call: call._talk.welcome(),
    Effect.CONVERSE: lambda call: call._agent.open(),
    Effect.REOPEN: Call._reopen,
    Effect.CLOSE: Call._close,
    Effect.GREET: Call._greet,
    Effect.ASK_PATIENCE: Call._ask_patience,
    Effect.ASK_AGAIN: lambda call: call._talk.ask_again(),
    Effect.CALL_OUT: lambda call: call._talk.call_out(),
    Effect.APOLOGISE: Call._apologise,
    Effect.WIND_UP: lambda call: call._allowance.wind_up(),
    Effect.BID_FAREWELL: Call._bid_farewell,
    Effect.MAKE_UP_FAREWELL: lambda call: call._talk.make_up_farewell(),
    Effect.BE_SPENT: lambda call: call._allowance.be_spent(),
    Effect.SAY_GOODBYE: Call._say_goodbye,
    Effect.DRAIN: Call._drain,
    Effect.STAY: Call._stay,
    Effect.HANG_UP: lambda call: call._departure.hang_up(),
    Effect.RECORD: lambda call: call._journal.close(call._departure),
    Effect.FORGET: Call._forget,
}

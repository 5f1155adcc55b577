"""
One call: the shell round the table of L{callstate}. It joins a leg to an agent, carries
out the effects of that table, and is the fault boundary: what goes wrong in here ends
this call, in order, and no other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial, wraps
from typing import Any, Final, TypeVar, cast

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure
from zope.interface import implementer

from portero import callstate
from portero.agent import Agent
from portero.assignment import Assignment
from portero.callstate import Effect, Event, State
from portero.interfaces import (
    ICallControl,
    IConversation,
    IConversationEvents,
    ILeg,
    ILegEvents,
    LegFigures,
    Loss,
)
from portero.money import Spent
from portero.record import Outcome, Record
from portero.talk import Talk
from portero.tally import Tally
from portero.timers import Timers

Method = TypeVar("Method", bound=Callable[..., None])

WIND_UP: Final = (
    "This call must end soon. Finish what is asked now in a sentence or two, in the "
    "language of the call, say goodbye, and end the call."
)
"""For the agent, when a ceiling of the price is near. Its next reply sees this; it is
not asked for one, because a caller who is silent costs nothing."""

REDIRECT_WITHIN: Final = 5.0
"""Seconds that the PBX may take to fetch the caller."""


def _guarded(method: Method) -> Method:
    """An exception becomes the end of this call."""

    @wraps(method)
    def guarded(self: Call, *args: Any) -> None:
        try:
            method(self, *args)
        except Exception:
            self.crashed()

    return cast(Method, guarded)  # the same signature, which mypy cannot see


@implementer(ILegEvents, IConversationEvents, ICallControl)
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
    ) -> None:
        """
        @param assignment: Who answers, and how.
        @param ended: Called once, when the call is over and has its L{record}.
        """
        settings = assignment.settings
        self.call_id = call_id
        self.agent = assignment.agent
        self.state = State.IDENTIFYING
        self.failure = ""
        """Why it did not end well; empty when it did."""
        self.reason = ""
        self.record: Record | None = None
        """L{None} while it is under way."""
        self._next = ""
        """Where the caller goes after it; empty: nowhere, or the dialplan knows."""
        self._leg = leg
        self._assignment = assignment
        self._clock = clock
        self._settings = settings
        self._meter = assignment.meter
        self._ended = ended
        self._started = clock.seconds()
        self._began = datetime.now(UTC)
        self._tally = Tally()
        self._timers = Timers(clock, self.crashed)
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
            events=self,
        )
        self._talk = Talk(
            call_id,
            leg,
            self._agent,
            clock,
            self._timers,
            self._tally,
            language=settings.language,
            reply_within=settings.reply_within,
            silence=settings.silence,
            post=self._post,
        )
        self._untold: list[tuple[str, str]] = []
        """Role and text of what the agent is told once it can be reached."""

    def snapshot(self) -> dict[str, Any]:
        """The call as it stands, for the status resource."""
        figures, tally, facts = self._figures(), self._tally, self._assignment.facts
        return {
            "id": self.call_id,
            "agent": self.agent,
            "caller_name": facts.caller_name,
            "caller_number": facts.caller_number,
            "called_number": facts.called_number,
            "peer": self._leg.peer,
            "state": self.state.value,
            "floor": self._talk.floor.value,
            "seconds": round(self._clock.seconds() - self._started, 1),
            "turns": len(tally.latencies),
            "barge_ins": tally.barge_ins,
            "last_latency_ms": tally.latencies[-1] if tally.latencies else None,
            "underruns": figures.underruns,
            "lateness_p99_ms": round(figures.lateness_p99_ms, 2),
            "caller_rate": self._leg.caller_rate,
            "agent_rate": self._leg.agent_rate,
            "tokens": tally.tokens.get("total_tokens", 0),
            "dollars": round(self._meter.dollars, 4) if self._meter.known else None,
        }

    @_guarded
    def stop(self) -> None:
        """portero is stopping: apologise and hang up, unless that is under way."""
        if self.state not in (State.DRAINING, State.ENDED):
            self._fail("portero is stopping")
        self._post(Event.STOPPING)

    # ILegEvents

    @_guarded
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
        self._timers.start("longest", self._settings.longest, self._time_is_up)
        self._post(Event.IDENTIFIED)

    @_guarded
    def caller_audio(self, pcm: bytes) -> None:
        self._agent.hear(pcm, self._leg)

    @_guarded
    def dtmf(self, digit: str) -> None:
        if self.state is State.TALKING:
            self._talk.caller_started()
            self._agent.cancel()
            self._talk.caller_stopped()
        self._tell("user", f"The caller pressed the key {digit} on the telephone.")

    @_guarded
    def sounding(self, item: str) -> None:
        self._talk.began_to_sound()

    @_guarded
    def played_out(self, item: str) -> None:
        self._talk.played_out(item)

    @_guarded
    def gone(self, reason: str, in_order: bool) -> None:
        if self._next and self.state is not State.ENDED:
            self._next = self.reason = ""  # the caller did not wait for it
        self.reason = self.reason or reason
        if not in_order:
            self._fail(reason)
        self._post(Event.GONE)

    # IConversationEvents

    @_guarded
    def ready(self) -> None:
        self._agent.ready()

    @_guarded
    def agent_audio(self, item: str, pcm: bytes) -> None:
        if self._may_reply():
            self._talk.agent_audio(item, pcm)

    @_guarded
    def agent_done(self, item: str) -> None:
        self._talk.agent_done(item)

    @_guarded
    def reply_ended(self, item_count: int, problem: str) -> None:
        self._talk.reply_ended(in_full=item_count > 0 and not problem)

    @_guarded
    def caller_started(self) -> None:
        if self.state is State.TALKING:
            self._talk.caller_started()

    @_guarded
    def caller_stopped(self) -> None:
        if self.state is State.TALKING:
            self._talk.caller_stopped()

    @_guarded
    def transcript(self, role: str, text: str, item: str) -> None:
        self._agent.history.add(role, text, item)

    @_guarded
    def tool_called(self, id: str, name: str, arguments: Mapping[str, Any]) -> None:
        if not self._may_reply():
            return
        self._talk.agent_busy()
        asker = self._agent.conversation
        running = self._assignment.toolbox.run(self, name, arguments)
        running.addCallback(lambda value: self._tool_done(value, asker, id, name))

    @_guarded
    def usage(self, counts: Mapping[str, int]) -> None:
        self._tally.used(counts)
        reached = self._meter.used(counts)
        if reached is Spent.NEARLY_ALL:
            self._post(Event.NEARLY_SPENT)
        elif reached is Spent.ALL:
            self._post(Event.SPENT)

    @_guarded
    def lost(self, loss: Loss) -> None:
        self._agent.lost(loss)

    # ICallControl

    def end_after_speech(self, reason: str) -> None:
        self.reason = self.reason or reason
        self._post(Event.HANG_UP_ASKED)

    def transfer(self, target: str, reason: str) -> None:
        if not self._next and self.state is not State.ENDED:
            # Also when the call is ending: the caller was told of it.
            self._next, self.reason = target, reason
        self._post(Event.HANG_UP_ASKED)

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
            self.state, effects = callstate.advance(self.state, self._queue.popleft())
            for effect in effects:
                try:
                    _EFFECTS[effect](self)
                except Exception:
                    self.crashed()
        self._working = False

    def _fail(self, reason: str) -> None:
        self.failure = self.failure or reason
        self.reason = self.reason or reason

    def crashed(self) -> None:
        """An exception was caught, here or in a leaf: log it, and end the call."""
        self.log.failure("call {call_id}: internal error", call_id=self.call_id)
        self._fail("internal error")
        self._post(Event.CRASHED)

    def _may_reply(self) -> bool:
        """Once the goodbye was said in full, no other reply is wanted."""
        draining = self.state is State.DRAINING and self._talk.more_to_come
        return self.state is State.TALKING or draining

    def _time_is_up(self) -> None:
        self.reason = self.reason or "the longest time for a call is over"
        self._post(Event.TIME_IS_UP)

    # Effects: the agent

    def _converse(self) -> None:
        self._agent.open()

    def _reopen(self) -> None:
        self._talk.let_go()
        self._agent.reopen()

    def _close(self) -> None:
        self._agent.close()
        self._talk.let_go()

    def _greet(self) -> None:
        self._talk.begin(self._settings.greeting)
        untold, self._untold = self._untold, []
        for role, text in untold:
            self._tell(role, text)

    def _ask_again(self) -> None:
        self._talk.ask_again()

    def _call_out(self) -> None:
        self._talk.call_out()

    def _tell(self, role: str, text: str) -> None:
        """Tell the agent, now or as soon as it can be reached, and have it answer."""
        if self.state is State.CONNECTING:
            self._untold.append((role, text))
        elif self.state is State.TALKING:
            self._agent.tell(role, text)
            self._agent.ask()
            self._talk.asked()

    @_guarded
    def _tool_done(
        self, value: str, asker: IConversation | None, id: str, name: str
    ) -> None:
        if self.state in (State.DRAINING, State.ENDED):
            return
        if asker is not None and asker is self._agent.conversation:
            asker.tool_result(id, value)
            self._talk.asked()
        else:
            self._tell("system", f"The result of {name}, asked for before: {value}")

    # Effects: what the caller hears, and the end

    def _ask_patience(self) -> None:
        if self._talk.sounding:
            wait = partial(self._post, Event.WAITED)
            self._timers.start("patience", self._settings.patience, wait)
        else:
            self._talk.say_prompt("moment")

    def _apologise(self) -> None:
        self._fail(self._agent.loss.reason or "the voice service does not reply")
        self.log.error(
            "call {call_id}: giving the call back to Asterisk with an apology: "
            "{reason}",
            call_id=self.call_id,
            reason=self.failure,
        )
        self._talk.hush()
        self._talk.say_prompt("apology")

    def _wind_up(self) -> None:
        self._say_of_price("its ceiling is near: the agent is asked to wind up")
        self._agent.tell("system", WIND_UP)

    def _be_spent(self) -> None:
        self._say_of_price("its ceiling is reached: saying goodbye")
        self.reason = self.reason or "the ceiling of its price was reached"

    def _say_of_price(self, what: str) -> None:
        ceiling = self._meter.ceiling
        if ceiling is None:
            return
        self.log.emit(
            # That of a day was warned of already, once for all calls.
            LogLevel.info if ceiling.of_day else LogLevel.warn,
            "call {call_id}: agent {agent}: {what} (${dollars:.4f} so far, {ceiling})",
            call_id=self.call_id,
            agent=self.agent,
            what=what,
            dollars=self._meter.dollars,
            ceiling=ceiling.in_words,
        )

    def _bid_farewell(self) -> None:
        self.reason = self.reason or "nobody was speaking"
        if self._settings.farewell:
            self._talk.bid_farewell(self._settings.farewell)
        else:
            self._close()
            self._say_goodbye()

    def _make_up_farewell(self) -> None:
        self._talk.make_up_farewell()

    def _say_goodbye(self) -> None:
        self._talk.say_prompt("goodbye")

    def _drain(self) -> None:
        if "drain" not in self._timers:
            too_long = partial(self._post, Event.DRAINED_TOO_LONG)
            self._timers.start("drain", self._settings.drain_within, too_long)
        self._talk.settle()

    def _hang_up(self) -> None:
        """An old Asterisk fetches the caller itself, before anything hangs up."""
        pbx, channel = self._assignment.pbx, self._assignment.facts.channel
        target = self._goes_to()
        if pbx is None or not channel or not target:
            self._leg.hang_up()
            return
        fetching: Deferred[Any] = maybeDeferred(pbx.redirect, channel, target)
        fetching.addTimeout(REDIRECT_WITHIN, self._clock)
        fetching.addErrback(self._not_fetched)
        fetching.addCallback(self._fetched)

    def _not_fetched(self, failure: Failure) -> None:
        self.log.failure(
            "call {call_id}: redirecting the caller", failure, call_id=self.call_id
        )

    @_guarded
    def _fetched(self, done: object) -> None:
        """If not, the dialplan may still ask where to go on."""
        self._leg.hang_up()

    def _goes_to(self) -> str:
        return self._settings.fallback if self.failure else self._next

    def _figures(self) -> LegFigures:
        try:
            return self._leg.figures()
        except Exception:
            self.log.failure("call {call_id}: no figures", call_id=self.call_id)
            return LegFigures()

    def _record(self) -> None:
        tally, facts = self._tally, self._assignment.facts
        outcome = Outcome.TRANSFERRED if self._next else Outcome.WELL
        self.record = Record(
            self.call_id,
            self.agent,
            facts,
            self._began.isoformat(timespec="seconds"),
            self._clock.seconds() - self._started,
            Outcome.FAILED if self.failure else outcome,
            self.failure or self.reason,
            self._goes_to(),
            turns=len(tally.latencies),
            barge_ins=tally.barge_ins,
            latency_ms=tally.latency_ms,
            tokens=tally.tokens.get("total_tokens", 0),
            dollars=self._meter.dollars if self._meter.known else None,
        )
        tally.summary(self.record, self._figures())

    def _forget(self) -> None:
        self._timers.close()
        self._ended(self)


_EFFECTS: Final[dict[Effect, Callable[[Call], None]]] = {
    Effect.CONVERSE: Call._converse,
    Effect.REOPEN: Call._reopen,
    Effect.CLOSE: Call._close,
    Effect.GREET: Call._greet,
    Effect.ASK_PATIENCE: Call._ask_patience,
    Effect.ASK_AGAIN: Call._ask_again,
    Effect.CALL_OUT: Call._call_out,
    Effect.APOLOGISE: Call._apologise,
    Effect.WIND_UP: Call._wind_up,
    Effect.BID_FAREWELL: Call._bid_farewell,
    Effect.MAKE_UP_FAREWELL: Call._make_up_farewell,
    Effect.BE_SPENT: Call._be_spent,
    Effect.SAY_GOODBYE: Call._say_goodbye,
    Effect.DRAIN: Call._drain,
    Effect.HANG_UP: Call._hang_up,
    Effect.RECORD: Call._record,
    Effect.FORGET: Call._forget,
}

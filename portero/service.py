"""The bridge as a Twisted service: it admits calls, counts them, and drains on stop."""

from __future__ import annotations

import errno
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from portero.call import Call
from portero.errors import CannotStart, Refused
from portero.facts import Facts, harmless
from portero.interfaces import ILeg
from portero.record import Record
from portero.registry import COMES_WITHIN, Registry
from portero.roster import Roster, UnknownAgent
from portero.watching import Watchers

REMEMBERED: Final = 5000
"""Ended calls whose outcome the dialplan can still ask for."""
ASKED_WITHIN: Final = 2.0
"""Seconds after a call within which the dialplan has asked how it ended."""
SAY_EVERY: Final = 1.0
"""Seconds between two log lines about calls refused for the same reason."""

_AUDIT: Final = Logger("portero.audit")
"""Not of the class, whose name would take the place of that one."""


class Bridge(MultiService):
    """Holds the calls. Listening and the voice service are given to it."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        roster: Roster,
        *,
        max_calls: int = 100,
        stop_within: float = 10.0,
        require_registration: bool = False,
    ) -> None:
        """
        @param roster: Who answers; another one may take its place at any time, for the
            calls from then on.
        @param stop_within: Seconds that calls under way may still take when the
            service stops, before they are handed back to Asterisk.
        @param require_registration: Take only calls that were announced.
        """
        super().__init__()
        self.roster = roster
        self.max_calls = max_calls
        self.stop_within = stop_within
        self.require_registration = require_registration
        self.calls: dict[str, Call] = {}
        self.ended: OrderedDict[str, Record] = OrderedDict()
        """By call id."""
        self.answered = 0
        self.refused = 0
        self.refusals: Counter[str] = Counter()
        """The same by L{Refused.word}."""
        self.stopping = False
        self.draining = False
        """It takes no new calls, until somebody says otherwise."""
        self.watchers = Watchers()
        self.make_call: Callable[..., Call] = Call
        """Or what makes one with the same arguments."""
        self._clock = clock
        self._registry = Registry(clock)
        self._beneath: list[IService] = []
        self._open: dict[Call, ILeg] = {}
        self._drained: Deferred[None] | None = None
        self._said: dict[str, float] = {}
        self._unsaid = 0

    def runs_on(self, service: IService) -> None:
        """
        C{service} is needed by calls: it starts before them and stops after them. When
        calls are taken already, it starts now.
        """
        self._beneath.append(service)
        if self.running:
            service.privilegedStartService()
            service.startService()

    def announce(self, facts: Facts, call_id: str = "") -> str:
        """
        The dialplan is about to send a call: keep a place for it.

        @param call_id: Empty: one is made.
        @return: The id with which it has to come.
        @raise Refused: It would not be answered; that was logged.
        """
        try:
            agent = self._admit(facts, len(self._registry))
            problem = self.roster.health(agent)
            if problem:
                raise Refused("unhealthy", problem)
            try:
                return self._registry.announce(replace(facts, agent=agent), call_id)
            except ValueError as error:
                raise Refused("bad-request", str(error)) from None
        except Refused as refused:
            self._refuse("call announced by the dialplan", refused)
            raise

    def accept(self, leg: ILeg, call_id: str) -> Call | None:
        """
        A leg has said which call it is.

        @return: The call, or C{None} when it is refused, which is logged.
        """
        announced = self._registry.take(call_id)
        facts = announced or Facts()
        try:
            self._identify(call_id, announced is not None)
            agent = self._admit(facts, 0)
        except Refused as refused:
            self._refuse(f"call {call_id} from {leg.peer}", refused)
            return None
        assignment = self.roster.assign(agent, call_id, facts)
        call = self.make_call(
            call_id, leg, assignment, self._clock, self._forget, self.watchers
        )
        self._open[call] = leg
        self.calls[call_id] = call
        self.ended.pop(call_id, None)
        self.answered += 1
        return call

    def busy(self, agent: str) -> int:
        """@return: How many calls an agent has now."""
        return sum(call.agent == agent for call in self._open)

    def drain(self, on: bool, who: str) -> None:
        """
        Take no new calls, and let those under way end by themselves; or take them
        again. It is written to the log C{portero.audit}.

        @param who: Said so; for the log.
        """
        if on is self.draining:
            return
        self.draining = on
        _AUDIT.info(
            "operator {who}: draining {what}",
            who=harmless(who),
            what=f"begins: calls from now on go to their fallback; {len(self._open)} "
            "under way"
            if on
            else "ends: calls are answered again",
        )

    def _identify(self, call_id: str, announced: bool) -> None:
        """@raise Refused: This id may not be used, or not now."""
        if call_id in self.calls:
            raise Refused(
                "bad-request",
                "a call with this id is under way; the dialplan must make a new UUID",
            )
        if announced:
            return
        if self._registry.used(call_id):
            raise Refused(
                "bad-request",
                "a call with this id came before; what the dialplan announces counts "
                "once",
            )
        if self.require_registration:
            raise Refused(
                "not-announced",
                "it was not announced, or not within the last "
                f"{COMES_WITHIN:.0f} s ([listen] require_registration)",
            )

    def _admit(self, facts: Facts, expected: int) -> str:
        """
        @param expected: How many places are kept for others.
        @return: The agent for this call.
        @raise Refused: It cannot be answered.
        """
        if self.stopping:
            raise Refused("stopping", "portero is stopping")
        if self.draining:
            raise Refused(
                "draining",
                "an operator lets portero run empty, until Drain is switched off again",
            )
        if len(self._open) + expected >= self.max_calls:
            raise Refused(
                "full", f"there are {self.max_calls} calls already ([listen] max_calls)"
            )
        try:
            agent = self.roster.choose(facts)
        except UnknownAgent as error:
            raise Refused("unknown-agent", str(error)) from None
        most = self.roster.max_calls(agent)
        busy = self.busy(agent)
        if expected:
            busy += self._registry.expected(agent)
        if most and busy >= most:
            raise Refused(
                "full", f"agent {agent} has {most} calls already (its max_calls)"
            )
        over = self.roster.day_is_over(agent)
        if over:
            raise Refused("over-budget", f"agent {agent} has reached {over}")
        return agent

    def _refuse(self, what: str, refused: Refused) -> None:
        """Say so, but not the same at every call of a flood."""
        self.refused += 1
        self.refusals[refused.word] += 1
        now, why = self._clock.seconds(), str(refused)
        if why in self._said and now - self._said[why] < SAY_EVERY:
            self._unsaid += 1
            return
        self._said = {w: at for w, at in self._said.items() if now - at < SAY_EVERY}
        self._said[why] = now
        unsaid, self._unsaid = self._unsaid, 0
        self.log.warn(
            "{what} refused: {why}{more}",
            what=what,
            why=why,
            more=f" (and {unsaid} refused without a line)" if unsaid else "",
        )

    def _forget(self, call: Call) -> None:
        self._open.pop(call, None)
        self.calls.pop(call.call_id, None)
        if call.record is not None:
            self.ended[call.call_id] = call.record
        while len(self.ended) > REMEMBERED:
            self.ended.popitem(last=False)
        drained = self._drained
        if not self._open and drained is not None:
            self._drained = None
            drained.callback(None)

    def problem(self) -> str:
        """Empty when a new call would be taken and answered; else why not."""
        try:
            self._admit(Facts(), len(self._registry))
        except Refused as refused:
            return refused.word
        return self.roster.health()

    def privilegedStartService(self) -> None:
        for service in self._beneath:
            service.privilegedStartService()
        super().privilegedStartService()

    def startService(self) -> None:
        self.stopping = False
        for service in self._beneath:
            service.startService()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """
        Listen no more; let the calls under way end, for a while; then hand them back.

        @return: Fires when no call is left.
        """
        self.stopping = True
        closed: Any = super().stopService()
        return Deferred.fromCoroutine(self._stop(closed))

    async def _stop(self, closed: Deferred[Any]) -> None:
        await closed
        if self._open:
            self.log.info(
                "stopping: {count} calls under way may take {seconds:.0f} s more; "
                "a second signal ends them now",
                count=len(self._open),
                seconds=self.stop_within,
            )
            deadline = self._clock.callLater(self.stop_within, self.hand_back)
            self._drained = Deferred()
            await self._drained
            if deadline.active():
                deadline.cancel()
            await deferLater(self._clock, ASKED_WITHIN)
        for service in reversed(self._beneath):
            try:
                await maybeDeferred(service.stopService)
            except Exception:
                what = type(service).__name__
                self.log.failure("stopping {service}", service=what)

    def hand_back(self) -> None:
        """End what is under way; each caller hears the apology first."""
        for call in tuple(self._open):
            call.stop()

    def hang_up(self) -> None:
        """End what is under way in this moment, as failed."""
        for call, leg in tuple(self._open.items()):
            call.stop()
            leg.hang_up()


REMEDIES: Final = {
    errno.EADDRINUSE: "another program, perhaps another portero, has this port: stop "
    "that one, or choose another port",
    errno.EADDRNOTAVAIL: "this machine has no such address; ip address shows them",
    errno.EACCES: "this user may not; ports below 1024 are root's: choose another",
}


class Listener(Service):
    """
    Listens while it runs, or says why it cannot.

    C{StreamServerEndpointService} alone would log a busy port and go on, deaf.
    """

    def __init__(self, what: str, endpoint: str, make: Callable[[], IService]) -> None:
        """
        @param what: For the error: what cannot be listened for.
        @param make: Makes the service that binds when it starts.
        """
        self._what = what
        self._endpoint = endpoint
        self._make = make
        self._listening: Any = None

    def privilegedStartService(self) -> None:
        """
        @raise CannotStart: The port cannot be had.
        """
        listening: Any = self._make()
        listening._raiseSynchronously = True  # what strports.service does
        try:
            listening.privilegedStartService()
        except (CannotListenError, OSError) as error:
            reason = getattr(error, "socketError", error)
            remedy = REMEDIES.get(getattr(reason, "errno", 0), "")
            raise CannotStart(
                f"portero: cannot listen for {self._what} on {self._endpoint}: "
                f"{remedy or reason}"
            ) from None
        self._listening = listening

    def startService(self) -> None:
        super().startService()
        if self._listening is None:
            self.privilegedStartService()
        self._listening.startService()

    def stopService(self) -> Deferred[None]:
        super().stopService()
        listening, self._listening = self._listening, None
        return maybeDeferred(listening.stopService)

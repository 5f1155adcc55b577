"""How a call ends: why, how well, and where its caller goes on then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from portero.assignment import Assignment
from portero.guard import guarded
from portero.interfaces import ILeg
from portero.record import Outcome

REDIRECT_WITHIN: Final = 5.0
"""Seconds that the PBX may take to fetch the caller."""


class Departure:
    """
    Of one caller. The first reason counts; but a target is the reason while there is
    one.
    """

    log = Logger()

    def __init__(
        self,
        call_id: str,
        assignment: Assignment,
        leg: ILeg,
        clock: IReactorTime,
        crashed: Callable[[], None],
    ) -> None:
        """@param crashed: As L{portero.guard.Guarded} has it."""
        self.crashed = crashed
        self.failure = ""
        """Why the call did not end well; empty when it did."""
        self.reason = ""
        self.target = ""
        """Chosen for the caller, or by them; empty: nowhere, or the dialplan knows."""
        self._by_key = False
        """The caller chose it with a key, so it stands before a fallback."""
        self._call_id = call_id
        self._fallback = assignment.settings.fallback
        self._pbx = assignment.pbx
        self._channel = assignment.facts.channel
        self._leg = leg
        self._clock = clock

    def because(self, reason: str) -> None:
        """It ends, well."""
        self.reason = self.reason or reason

    def fail(self, reason: str) -> None:
        """It ends, and not well."""
        self.failure = self.failure or reason
        self.because(reason)

    def transfer(self, target: str, reason: str) -> bool:
        """@return: C{False}: the caller goes somewhere else already."""
        if self.target:
            return False
        self.target, self.reason = target, reason
        return True

    def choose(self, target: str, reason: str) -> None:
        """The caller pressed a key for it."""
        self.target, self.reason, self._by_key = target, reason, True

    def dismiss(self, reason: str) -> None:
        """An operator ends it: whatever was to come, the caller goes nowhere."""
        self.failure = self.target = ""
        self.reason, self._by_key = reason, False

    def stay(self) -> None:
        """There is no transfer after all."""
        if self.target:
            self.target = self.reason = ""

    @property
    def outcome(self) -> Outcome:
        if self.failure:
            return Outcome.FAILED
        return Outcome.TRANSFERRED if self.target else Outcome.WELL

    @property
    def next(self) -> str:
        """C{context,extension,priority} where the caller goes on; or empty."""
        failed = self.failure and not self._by_key
        return self._fallback if failed else self.target

    def hang_up(self) -> None:
        """An old Asterisk fetches the caller itself, before anything hangs up."""
        if self._pbx is None or not self._channel or not self.next:
            self._leg.hang_up()
            return
        self.log.info(
            "call {call_id}: Asterisk's manager is asked to send {channel} to {place}",
            call_id=self._call_id,
            channel=self._channel,
            place=self.next,
        )
        fetching: Deferred[Any] = maybeDeferred(
            self._pbx.redirect, self._channel, self.next
        )
        fetching.addTimeout(REDIRECT_WITHIN, self._clock)
        fetching.addErrback(self._not_fetched)
        fetching.addCallback(self._fetched)

    def _not_fetched(self, failure: Failure) -> None:
        self.log.failure(
            "call {call_id}: redirecting the caller", failure, call_id=self._call_id
        )

    @guarded
    def _fetched(self, done: object) -> None:
        """If not, the dialplan may still ask where to go on."""
        self._leg.hang_up()

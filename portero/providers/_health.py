"""How a voice service does, as the conversations with it find out."""

from __future__ import annotations

from collections import Counter
from typing import Final

from twisted.internet.interfaces import IReactorTime

from portero.interfaces import ProviderReport

PROBLEM_COUNTS: Final = 30.0
"""Seconds that a failure says something about the calls to come."""


class Health:
    """Of one service."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._problem = ""
        self._problem_at = 0.0
        self._error = ""
        self._error_at = 0.0
        self._handshake_ms: int | None = None
        self._errors: Counter[str] = Counter()

    def ready(self, handshake: float) -> None:
        """@param handshake: Seconds that the service took to be ready."""
        self._problem = ""
        self._handshake_ms = round(handshake * 1000)

    def failed(self, why: str, code: str) -> None:
        """A conversation was lost, or could not begin; else as L{erred}."""
        self.erred(why, code)
        self._problem, self._problem_at = why, self._error_at

    def erred(self, why: str, code: str) -> None:
        """
        The service refused something, and the conversation goes on.

        @param code: One of L{portero.providers._codes}.
        """
        self._error, self._error_at = why, self._clock.seconds()
        self._errors[code] += 1

    @property
    def problem(self) -> str:
        # Only a call tries the service: whoever sends none while this says no would
        # never hear that it works again.
        age = self._clock.seconds() - self._problem_at
        return self._problem if age < PROBLEM_COUNTS else ""

    def report(self, service: str) -> ProviderReport:
        """@param service: Which one it is, in words."""
        age = self._clock.seconds() - self._error_at if self._error else None
        return ProviderReport(
            service,
            self.problem,
            self._handshake_ms,
            self._error,
            age,
            dict(self._errors),
        )

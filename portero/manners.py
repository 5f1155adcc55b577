"""What the caller's voice does to the speech of a polite agent, in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime

from portero.interfaces import ILeg
from portero.timers import Timers
from portero.utterance import Utterance

HELD_AT_MOST: Final = 5.0
"""Seconds after which the agent goes on although the service did not say that the
caller stopped: its event may have been lost."""


class Manners:
    """
    Tells a cough from a sentence, and pauses the agent until it is known.

    @ivar decides: portero asks for replies and stops them; else the service does.
    @ivar polite: It depends on what the caller says.
    @ivar passed: The last utterance did not interrupt the agent.
    """

    def __init__(
        self,
        interruption: str,
        barge_in: float,
        leg: ILeg,
        clock: IReactorTime,
        timers: Timers,
    ) -> None:
        """
        @param interruption: C{instant}, C{polite} or C{off}.
        @param barge_in: Seconds of speech that are no cough.
        """
        self.decides = interruption != "instant"
        self.polite = interruption == "polite"
        self.passed = False
        self._barge_in = barge_in
        self._leg = leg
        self._clock = clock
        self._timers = timers
        self._utterance = Utterance()
        self._held_at: float | None = None

    def begins(self, item: str) -> None:
        """@param item: What the caller says, so that its transcript is known by it."""
        self._utterance.begin(item)
        self.passed = False

    def hear(self, pcm: bytes) -> bool:
        """@return: Whether the caller speaks for so long that it is no cough."""
        if not self.polite:
            return False
        self._utterance.hear(pcm, self._leg.caller_rate)
        return self._utterance.seconds >= self._barge_in

    def read(self, item: str, text: str, complete: bool) -> bool:
        """@return: Whether what the caller says now, or said last, has words."""
        return self.polite and self._utterance.has_words(item, text, complete)

    @property
    def holds(self) -> bool:
        """The agent's speech is paused."""
        return self._held_at is not None

    def hold(self, too_long: Callable[[], None]) -> None:
        """Pause it."""
        if self._held_at is None:
            self._held_at = self._clock.seconds()
            self._leg.pause()
            self._timers.start("hold", HELD_AT_MOST, too_long)

    def release(self) -> float | None:
        """
        The pause is over: by a flush of the leg, or by who resumes it.

        @return: Its seconds; C{None}: there was none.
        """
        held_at, self._held_at = self._held_at, None
        self._timers.cancel("hold")
        return None if held_at is None else self._clock.seconds() - held_at

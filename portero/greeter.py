"""
The greeting of one call: what is at hand of it is played at once, what the service
speaks is kept for the next call, and while it is protected the caller waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from portero.greeting import LONGEST, Opening
from portero.timers import Timers

ITEM: Final = "the greeting"
"""The name of what is played from memory."""
PROTECTED_AFTER: Final = 5.0
"""Seconds after which a greeting that should have ended is protected no more."""
PROTECTED_AT_LONGEST: Final = LONGEST + PROTECTED_AFTER
"""Seconds from its first word on, whatever a service goes on to say."""


class Greeter:
    """
    Told what becomes of the greeting.

    @ivar protected: What the caller says is kept until the greeting is over.
    """

    log = Logger()

    def __init__(
        self,
        call_id: str,
        opening: Opening,
        clock: IReactorTime,
        timers: Timers,
        hold: Callable[[bool], None],
    ) -> None:
        """
        @param hold: Keeps what the caller says from the agent, or lets it go there.
        """
        self.protected = False
        self._call_id = call_id
        self._opening = opening
        self._clock = clock
        self._timers = timers
        self._hold = hold
        self._began = -1.0
        """When it was first asked for, or played."""
        self._asked = False
        """What the service speaks now is the greeting."""
        self._sounding: set[str] = set()
        """Items of it that were not heard to their end."""
        self._recorded: list[bytes] | None = None
        self._text = ""

    def begin(self) -> None:
        """The call begins."""
        if self._opening.protected:
            self.protected = True
            self._hold(True)

    def played(self, until: float) -> None:
        """
        It was at hand, and is being played.

        @param until: When it will have been heard.
        """
        self._sounding.add(ITEM)
        self._protect_until(until)

    def asked(self) -> None:
        """The service was asked to speak it."""
        self._asked = True
        self._record()
        self._protect_until(self._clock.seconds())

    def _record(self) -> None:
        self._recorded = [] if self._opening.shelf is not None else None
        self._text = ""

    def spoken(self, item: str, pcm: bytes, until: float) -> None:
        """
        A piece of what the agent says.

        @param pcm: At the leg's rate.
        @param until: When it will have been heard.
        """
        if not self._asked:
            return
        if self._recorded is not None:
            self._recorded.append(pcm)
        self._sounding.add(item)
        self._protect_until(until)

    def transcribed(self, text: str) -> None:
        """What the service says that the agent has said."""
        if self._recorded is not None:
            self._text = f"{self._text} {text}"

    def reply_ended(self, in_full: bool, rate: int) -> None:
        """
        @param in_full: The agent said all that it wanted to. If not, it tries again.
        @param rate: Of the leg, in Hz.
        """
        if not self._asked:
            return
        if not in_full:
            if self._recorded is not None:
                self._record()
            return
        self._asked = False
        if self._recorded is not None:
            self._keep(b"".join(self._recorded), rate)
        self.broken_off()
        self._look()

    def _keep(self, pcm: bytes, rate: int) -> None:
        if not self._opening.is_said_by(self._text):
            self.log.info(
                "call {call_id}: the service greeted in other words, which are not "
                "kept",
                call_id=self._call_id,
            )
        elif 0 < len(pcm) <= LONGEST * 2 * rate:
            self._opening.keep(rate, pcm)
            self.log.info(
                "call {call_id}: the greeting is kept as the service spoke it "
                "({seconds:.1f} s); from now on it is played at once",
                call_id=self._call_id,
                seconds=len(pcm) / (2 * rate),
            )

    def broken_off(self) -> None:
        """What was recorded so far will not be whole."""
        self._recorded = None

    def played_out(self, item: str) -> None:
        """An item was heard to its end."""
        self._sounding.discard(item)
        self._look()

    def _look(self) -> None:
        began = self._began >= 0
        if began and not self._asked and not self._sounding:
            self._end()

    def _end(self) -> None:
        """The caller may speak."""
        if self.protected:
            self.protected = False
            self._timers.cancel("protection")
            self._hold(False)

    def _protect_until(self, end: float) -> None:
        """Its own clock: whatever else is lost, the caller will be heard again."""
        if not self.protected:
            return
        now = self._clock.seconds()
        if self._began < 0:
            self._began = now
        end = min(end + PROTECTED_AFTER, self._began + PROTECTED_AT_LONGEST)
        self._timers.start("protection", max(0.0, end - now), self._late)

    def _late(self) -> None:
        self.log.warn(
            "call {call_id}: the greeting should be over by now; the caller is heard "
            "again",
            call_id=self._call_id,
        )
        self._end()

"""The log of this process: takes events from wherever, and writes lines."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import ILogObserver, Logger, formatEvent
from zope.interface import implementer

from portero.log_sections import LogSettings
from portero.logs.levels import Levels
from portero.logs.lines import Event, Lines, level_of
from portero.logs.masking import Mask
from portero.logs.place import Place
from portero.logs.repeats import COUNTED, WINDOW, Repeats

_AUDIT: Final = Logger("portero.audit")
"""Not of the class, whose name would take the place of that one."""


@implementer(ILogObserver)
class Log(Service):
    """As a service it sums up what repeats; without running it writes it all."""

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self.levels = Levels()
        self.settings = LogSettings()
        self._clock = clock
        self._place: Place | None = None
        self._lines = Lines(Mask(), formatEvent)
        self._repeats = Repeats()
        self._ends: dict[str, IDelayedCall] = {}
        """By namespace: when its level is as configured again."""
        self._summing_up: LoopingCall | None = None

    @property
    def is_written(self) -> bool:
        """Whether it is this one that twistd logs with; C{--logger} names another."""
        return self._place is not None

    def use(self, settings: LogSettings, secrets: Iterable[str]) -> None:
        """
        From now on, as this says. Levels that were set for a while stay.

        @param secrets: Which no line may hold.
        """
        self.settings = settings
        self.levels.configure(settings.level, settings.levels)
        self._lines = Lines(Mask(secrets), formatEvent)

    def write_to(self, place: Place) -> None:
        self._place = place

    def __call__(self, event: Any) -> None:
        level = level_of(event)
        if not self.levels.passes(event.get("log_namespace") or "", level):
            return
        if self.running and level in COUNTED:
            message = self._lines.message(event)
            if not self._repeats.is_new(event, message):
                return
        self._write(event, level)

    def startService(self) -> None:
        super().startService()
        self._summing_up = LoopingCall(self._sum_up)
        self._summing_up.clock = self._clock
        self._summing_up.start(WINDOW, now=False).addErrback(
            lambda failure: self.log.failure("summing up the log", failure)
        )

    def stopService(self) -> None:
        super().stopService()
        if self._summing_up is not None:
            self._summing_up.stop()
        self._sum_up()
        for namespace in tuple(self._ends):
            self._end(namespace)

    def set_level(self, namespace: str, level: str, seconds: float, who: str) -> None:
        """
        Log more, or less, of a part of the program, for a while.

        @param seconds: Then it is as configured again; 0: now.
        @param who: For the audit.
        """
        self._end(namespace)
        if seconds:
            until = self._clock.seconds() + seconds
            self.levels.set_for_now(namespace, level, until)
            self._ends[namespace] = self._clock.callLater(
                seconds, self._is_over, namespace
            )
        _AUDIT.info(
            "operator {who}: log level of {part}: {least}{how_long}",
            who=who,
            part=namespace,
            least=self.levels.of(namespace),
            how_long=f" for {seconds:g} s" if seconds else ", as configured",
        )

    def seconds_left(self, namespace: str) -> float:
        """@return: Until its level is as configured."""
        return self.levels.set[namespace].until - self._clock.seconds()

    def _is_over(self, namespace: str) -> None:
        self._end(namespace)
        _AUDIT.info(
            "log level of {part}: {least}, as configured, as its time is over",
            part=namespace,
            least=self.levels.of(namespace),
        )

    def _end(self, namespace: str) -> None:
        self.levels.unset(namespace)
        end = self._ends.pop(namespace, None)
        if end is not None and end.active():
            end.cancel()

    def _sum_up(self) -> None:
        for repeated in self._repeats.due():
            event = repeated.last
            others = {"more": repeated.count - 1, "calls": repeated.calls}
            known = {name: count for name, count in others.items() if count}
            self._write(event, level_of(event), repeated.in_words, known)

    def _write(
        self,
        event: Event,
        level: str,
        more: str = "",
        counts: dict[str, int] | None = None,
    ) -> None:
        place = self._place
        if place is None or not (event.get("log_format") or event.get("log_failure")):
            return
        if self.settings.format == "json":
            lines = [self._lines.json(event, **(counts or {}))]
        else:
            lines = self._lines.human(event, more, place.timed)
        with suppress(OSError, ValueError):  # the disk is full, or its reader is gone
            place.write(level, lines)

"""What is kept of calls is deleted when it is old."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

FIRST_AFTER: Final = 60.0
"""Seconds: a start has other things to do."""
EVERY: Final = 86400.0
AFTER_FAILURE: Final = 600.0

Delete = Callable[[str], Deferred[int]]
"""Takes a date and time, ISO 8601, in UTC: deletes what began earlier, and says how
many that were."""


class Retention(Service):
    """Looks once a day, and soon after a start."""

    log = Logger()

    def __init__(
        self,
        kinds: Mapping[str, Delete],
        days: int,
        clock: IReactorTime,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """@param kinds: By what it is, in the plural."""
        self.days = days
        """So long it is kept."""
        self._kinds = kinds
        self._clock = clock
        self._now = now
        self._timer: IDelayedCall | None = None

    def startService(self) -> None:
        super().startService()
        self._timer = self._clock.callLater(FIRST_AFTER, self._look)

    def stopService(self) -> None:
        """What is being deleted is broken off by those who delete it."""
        super().stopService()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def _look(self) -> None:
        looking = Deferred.fromCoroutine(self._delete())
        looking.addErrback(lambda failure: self.log.failure("retention", failure))

    async def _delete(self) -> None:
        limit = self._now() - timedelta(days=self.days)
        before = limit.astimezone(UTC).isoformat(timespec="seconds")
        wait = EVERY
        for kind, delete in self._kinds.items():
            try:
                deleted = await delete(before)
            except Exception as error:
                if not self.running:
                    return  # it was broken off
                wait = AFTER_FAILURE
                self.log.warn(
                    "{kind} older than {days} days cannot be deleted now: {why}",
                    kind=kind,
                    days=self.days,
                    why=str(error),
                )
            else:
                if deleted:
                    self.log.info(
                        "{count} {kind} older than {days} days were deleted "
                        "([records] days)",
                        count=deleted,
                        kind=kind,
                        days=self.days,
                    )
        if self.running:
            self._timer = self._clock.callLater(wait, self._look)

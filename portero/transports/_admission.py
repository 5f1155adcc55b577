"""Who may connect, and how many that have not said yet what they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from portero.networks import Network, lies_in

LOCAL: Final = "a local socket"
"""The source of connections that have no address."""
MOST_UNIDENTIFIED: Final = 100
"""Of one source: more than a busy Asterisk's calls of one moment."""
MOST_SOURCES: Final = 1000


class Admission:
    """Counts by source, which is an address without its port."""

    log = Logger()

    def __init__(self, clock: IReactorTime, allow: Sequence[Network] = ()) -> None:
        """@param allow: Networks that may connect. Without any, all may."""
        self._clock = clock
        self._allow = tuple(allow)
        self._unidentified: Counter[str] = Counter()
        self._refused: dict[str, tuple[float, int]] = {}

    def admit(self, source: str) -> bool:
        """
        Somebody connected; when admitted, L{done} has to follow.

        @return: Whether it may stay. If not, that was logged.
        """
        if source != LOCAL and not self._allowed(source):
            self.refused(source, "not in the allowed networks (--allow)")
            return False
        if self._unidentified[source] >= MOST_UNIDENTIFIED:
            self.refused(
                source, "too many connections that do not say which call they are"
            )
            return False
        self._unidentified[source] += 1
        return True

    def done(self, source: str) -> None:
        """One that was admitted has said which call it is, or is gone."""
        self._unidentified[source] -= 1
        if self._unidentified[source] <= 0:
            del self._unidentified[source]

    def refused(self, source: str, why: str) -> None:
        """Say so, with at most one line a second for each source."""
        now = self._clock.seconds()
        said, unsaid = self._refused.get(source, (now - 1, 0))
        if now - said < 1:
            self._refused[source] = said, unsaid + 1
            return
        if len(self._refused) >= MOST_SOURCES:
            self._refused.clear()
        self._refused[source] = now, 0
        self.log.warn(
            "connection from {address} refused: {why}{more}",
            address=source,
            why=why,
            more=f"; {unsaid} more were since the last such line" if unsaid else "",
        )

    def _allowed(self, host: str) -> bool:
        return not self._allow or lies_in(host, self._allow)

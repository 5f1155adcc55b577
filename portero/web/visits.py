"""Who is logged in: what a browser's cookie stands for."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from twisted.internet.interfaces import IReactorTime

from portero.web_sections import UserSettings

IDLE: Final = 12 * 3600
"""Seconds without a request after which somebody has to log in again."""
MOST: Final = 1000
"""Beyond it, the one unused for longest is over."""


@dataclass(slots=True, eq=False)
class Visit:
    """From a login to its end."""

    name: str
    user: UserSettings | None
    """As it was at the login; none: whoever knows the web token."""
    seen: float
    watching: int = 0
    """Streams that are open: as long as there are some, it is not idle."""


class Visits:
    """
    In memory alone, so that a restart ends them. A cookie is always made here, never
    taken over from a browser, and only a hash of it is kept.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._visits: OrderedDict[bytes, Visit] = OrderedDict()
        """By the hash of the cookie; the one used last is last."""

    def __len__(self) -> int:
        return len(self._visits)

    def begin(self, name: str, user: UserSettings | None) -> str:
        """@return: The cookie."""
        cookie = secrets.token_urlsafe(32)
        self._visits[_key(cookie)] = Visit(name, user, self._clock.seconds())
        while len(self._visits) > MOST:
            self._visits.popitem(last=False)
        return cookie

    def find(self, cookie: str) -> Visit | None:
        """@return: What it stands for, which is then not idle any more."""
        key, now = _key(cookie), self._clock.seconds()
        visit = self._visits.get(key)
        if visit is None:
            return None
        if now - visit.seen > IDLE and not visit.watching:
            del self._visits[key]
            return None
        visit.seen = now
        self._visits.move_to_end(key)
        return visit

    def is_going_on(self, visit: Visit) -> bool:
        return any(visit is each for each in self._visits.values())

    def end(self, cookie: str) -> None:
        self._visits.pop(_key(cookie), None)

    def keep(self, fits: Callable[[Visit], bool]) -> None:
        """End those that do not fit."""
        for key, visit in tuple(self._visits.items()):
            if not fits(visit):
                del self._visits[key]


def _key(cookie: str) -> bytes:
    # How long a look-up takes tells then nothing of the cookies there are.
    return sha256(cookie.encode("utf-8", "replace")).digest()

"""Asks for replies, one at a time. Pure: told what happened, it says what to ask."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final, NamedTuple

ANSWERED_WITHIN: Final = 5.0
"""Seconds after which a request that nobody answered stops to hold up others."""
MOST_REFUSED: Final = 3
"""Times that a service may say "one is running" when none is known here."""
REMEMBERED: Final = 8


class Request(NamedTuple):
    """A C{response.create} that was sent."""

    event_id: str
    words: str
    """To be said exactly; empty: the agent's own."""
    at: float


class Replies:
    """
    The service makes one reply at a time and refuses to begin another meanwhile. It
    also begins replies by itself, so a request and such a reply can cross on the way.

    @ivar running: A reply is being made.
    @ivar current: Its id; may be empty, as some services give none.
    @ivar words: What it was asked to say; empty: its own words.
    """

    def __init__(self) -> None:
        self.running = False
        self.current = ""
        self.words = ""
        self._wanted: deque[str] = deque()
        self._asked: Request | None = None
        self._sent: OrderedDict[str, Request] = OrderedDict()
        self._unwanted = False
        self._refused = 0

    def want(self, words: str) -> None:
        """One reply in the agent's own words answers all that was said before."""
        if words or "" not in self._wanted:
            self._wanted.append(words)

    def due(self, now: float) -> str | None:
        """@return: The words to ask for now; C{None}: nothing."""
        asked = self._asked
        held_up = asked is not None and now - asked.at < ANSWERED_WITHIN
        if self.running or held_up or not self._wanted:
            return None
        return self._wanted.popleft()

    def asked(self, event_id: str, words: str, now: float) -> None:
        """It was sent."""
        self._unwanted = False
        self._asked = self._sent[event_id] = Request(event_id, words, now)
        if len(self._sent) > REMEMBERED:
            self._sent.popitem(last=False)

    def cancel(self) -> bool:
        """
        The reply being made is not wanted, nor the one asked for, nor one that waits
        to be; but words that have to be said are.

        @return: Whether there is one to be cancelled now.
        """
        self._wanted = deque(filter(None, self._wanted))
        self._unwanted = not self.running and self._asked is not None
        return self.running

    def began(self, response_id: str) -> bool:
        """
        A reply began, asked for or not.

        @return: Whether it is to be cancelled at once.
        """
        asked, self._asked = self._asked, None
        unwanted, self._unwanted = self._unwanted, False
        self.running, self.current = True, response_id
        self.words = asked.words if asked is not None else ""
        self._refused = 0
        return unwanted

    def ended(self) -> None:
        """The reply is complete, or broken off."""
        self.running, self.current = False, ""

    def busy(self, event_id: str) -> None:
        """
        A request was refused because a reply is running: repeat it after that one.
        The reply that seemed to be its answer was the service's own.

        @param event_id: Of the request; empty when the service does not say.
        """
        request = self._taken(event_id)
        if request is None:
            return
        if request is self._asked:
            self._asked = None
        else:
            self.words = ""
        if self._unwanted:
            self._unwanted = False
        elif request.words or "" not in self._wanted:
            self._wanted.appendleft(request.words)
        if not self.running:
            self._refused += 1
            # One that was never announced is running: its end will come.
            self.running = self._refused >= MOST_REFUSED

    def refused(self, event_id: str) -> None:
        """A request was refused for another reason: it is given up."""
        request = self._taken(event_id)
        if request is not None and request is self._asked:
            self._asked, self._unwanted = None, False

    def _taken(self, event_id: str) -> Request | None:
        if event_id:
            return self._sent.pop(event_id, None)
        if self._asked is not None:
            return self._sent.pop(self._asked.event_id, self._asked)
        return self._sent.popitem()[1] if self._sent else None

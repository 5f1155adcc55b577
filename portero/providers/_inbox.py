"""What the service sends, as events."""

from __future__ import annotations

from typing import Final

from twisted.logger import Logger

from portero.wire import openai as wire

MOST_BAD_EVENTS: Final = 20
"""In a row."""
PIECES: Final = (wire.AudioDelta, wire.CallerWords, wire.AgentWords)
"""Events of which there are too many to log."""


class Inbox:
    """Reads messages; a few that are no events are no reason to end a call."""

    log = Logger()

    def __init__(self, call_id: str) -> None:
        self._call_id = call_id
        self._bad = 0
        self._warned = False

    def read(self, payload: bytes, is_binary: bool) -> wire.Event | None:
        """
        @return: The event; C{None} if it is none.
        @raise EventError: There were too many of those.
        """
        try:
            if is_binary:
                raise wire.EventError("a binary message")
            event = wire.parse(payload)
        except wire.EventError as error:
            self._bad += 1
            if self._bad > MOST_BAD_EVENTS:
                raise
            self._warn(str(error))
            return None
        self._bad = 0
        # An error has a line of its own, from those who know what it is about.
        if not isinstance(event, (*PIECES, wire.ServiceError)):
            kind = type(event).__name__
            self.log.debug(
                "call {call_id}: the service says {kind}",
                call_id=self._call_id,
                kind=event.type if isinstance(event, wire.Ignored) else kind,
            )
        return event

    def _warn(self, why: str) -> None:
        if self._warned:
            return
        self._warned = True
        self.log.warn(
            "call {call_id}: the service sent what is no event: {why} (ignored, as "
            "further ones will be)",
            call_id=self._call_id,
            why=why,
        )

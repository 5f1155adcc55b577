"""An answer without an end, to somebody who may read slowly, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request
from zope.interface import implementer

from portero.web.operation import Asked

MOST_WAITING: Final = 256 * 1024
"""Bytes that may wait for a reader, beside what its socket holds."""


@implementer(IPushProducer)
class Stream:
    """
    Of one request, whose head is sent with the first piece. It ends when who asked may
    do so no more.

    Pieces that wait are only referred to: what many readers get is held once.
    """

    log = Logger()

    def __init__(self, asked: Asked, kind: str, gone: Callable[[], None]) -> None:
        """
        @param kind: The media type.
        @param gone: Called once, when nothing can be written any more, whoever ended
            it; not before this returns.
        """
        request = asked.request
        self._request: Request | None = request
        self._gone = gone
        self._paused = False
        self._waiting: list[bytes] = []
        self._waits = 0
        request.setHeader(b"content-type", kind.encode())
        request.setHeader(b"x-accel-buffering", b"no")  # nginx would collect it
        request.notifyFinish().addBoth(self._finished)
        request.registerProducer(self, True)
        self._over = asked.access.while_allowed(request, self.end)

    def write(self, data: bytes) -> None:
        """Send a piece; who has too much waiting is dropped."""
        request = self._request
        if request is None:
            return
        if not self._paused:
            request.write(data)
            return
        self._waiting.append(data)
        self._waits += len(data)
        if self._waits > MOST_WAITING:
            self.log.info(
                "{path}: {peer} does not read what it asked for: dropped",
                path=request.path.decode("ascii", "replace"),
                peer=getattr(request.getClientAddress(), "host", "a local socket"),
            )
            self.drop()

    def end(self) -> None:
        """There is no more; what waits still goes out."""
        request = self._request
        if request is not None:
            self._send_waiting(request)
            request.unregisterProducer()
            request.finish()

    def drop(self) -> None:
        """End it now, whatever waits."""
        request, self._request = self._request, None
        if request is not None:
            self._waiting.clear()
            transport: Any = request.transport
            transport.abortConnection()

    def _finished(self, reason: Failure | None) -> None:
        self._request = None
        self._waiting.clear()
        self._over()
        self._gone()

    def _send_waiting(self, request: Request) -> None:
        waiting, self._waiting, self._waits = self._waiting, [], 0
        if waiting:
            request.write(b"".join(waiting))

    # IPushProducer

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        if self._request is not None:
            self._send_waiting(self._request)

    def stopProducing(self) -> None:
        """The connection is gone; L{_finished} is told."""

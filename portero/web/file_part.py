"""A file, or the part of it that is asked for, sent as fast as it is taken."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.web.server import Request
from zope.interface import implementer

from portero.web.problem import Problem

PIECE: Final = 128 * 1024
"""Bytes that are read at a time."""
_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)

InThread = Callable[[Callable[[], Any]], Deferred[Any]]


def part(field: str, size: int) -> tuple[int, int] | None:
    """
    @param field: C{Range}, of one part (RFC 9110, 14.1.2).
    @return: The first byte and the one after the last; L{None}: it is none that one
        has to heed, so all of it.
    @raise Problem: There is nothing there.
    """
    found = _RANGE.fullmatch(field.strip())
    if found is None or found.group(1, 2) == ("", ""):
        return None
    first, last = found.group(1, 2)
    if not first:
        begin, end = max(size - int(last), 0), size
    else:
        begin, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < begin:
            return None
    if begin >= end:
        raise Problem(
            416,
            f"the file has {size} bytes: ask for some of these",
            {"Content-Range": f"bytes */{size}"},
        )
    return begin, end


@implementer(IPushProducer)
class FilePart:
    """Answers one request, reading where it may wait for a disk."""

    def __init__(self, request: Request, path: str, in_thread: InThread) -> None:
        self._request = request
        self._path = path
        self._in_thread = in_thread
        self._resumed: Deferred[None] | None = None
        self._gone = False

    async def send(self, kind: str) -> None:
        """
        @param kind: The media type.
        @raise Problem: There is nothing of it where C{Range} is.
        @raise OSError: It cannot be read.
        """
        request = self._request
        size = await self._in_thread(partial(os.path.getsize, self._path))
        asked = part((request.getHeader(b"range") or b"").decode("latin-1"), size)
        begin, end = asked or (0, size)
        if asked is not None:
            request.setResponseCode(206)
            where = f"bytes {begin}-{end - 1}/{size}"
            request.setHeader(b"content-range", where.encode())
        request.setHeader(b"content-type", kind.encode())
        request.setHeader(b"content-length", str(end - begin).encode())
        request.setHeader(b"accept-ranges", b"bytes")
        if request.channel is None:
            return  # they did not wait
        request.notifyFinish().addErrback(self._lost)
        if request.method != b"HEAD":
            request.registerProducer(self, True)
            await self._copy(begin, end)
            if self._gone:
                return
            request.unregisterProducer()
        request.finish()

    async def _copy(self, begin: int, end: int) -> None:
        while begin < end and not self._gone:
            count = min(PIECE, end - begin)
            piece = await self._in_thread(partial(_read, self._path, begin, count))
            if self._gone:
                return
            if not piece:  # it became shorter: what was promised cannot be kept
                self._gone = True
                self._request.loseConnection()
                return
            self._request.write(piece)
            begin += len(piece)
            if self._resumed is not None:
                await self._resumed

    def _lost(self, reason: Failure) -> None:
        self._gone = True
        self.resumeProducing()

    # IPushProducer

    def pauseProducing(self) -> None:
        if self._resumed is None and not self._gone:
            self._resumed = Deferred()

    def resumeProducing(self) -> None:
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.callback(None)

    def stopProducing(self) -> None:
        """The connection is gone; L{_lost} is told."""


def _read(path: str, begin: int, count: int) -> bytes:
    with open(path, "rb") as file:
        file.seek(begin)
        return file.read(count)

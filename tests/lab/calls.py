"""Many telephones on one thread: each calls portero as C{AudioSocket()} does."""

from __future__ import annotations

import selectors
import socket
import threading
import time
import uuid
from typing import Final, Self

import numpy as np

from portero.wire import audiosocket as wire

FRAME: Final = 160
PTIME: Final = 0.02


class Line:
    """
    One of them.

    @ivar said: Frames that it sent, each full of its own number, which begins with 1.
    @ivar heard: Frames that came.
    @ivar due: When the next one is.
    @ivar is_up: portero has not ended it.
    """

    def __init__(self, port: int) -> None:
        call = uuid.uuid4()
        self.call_id = str(call)
        self.said = self.heard = 0
        self.is_up = True
        self._decoder = wire.Decoder(self._message, self._too_long)
        self._socket = socket.create_connection(("127.0.0.1", port), 5)
        self._socket.sendall(wire.encode(wire.UUID, call.bytes))
        self.due = time.monotonic()

    def fileno(self) -> int:
        return self._socket.fileno()

    def say(self) -> None:
        """The next frame."""
        self.said += 1
        self.due += PTIME
        frame = np.full(FRAME, self.said, "<i2").tobytes()
        try:
            self._socket.sendall(wire.encode(wire.SLIN, frame))
        except OSError:
            self.is_up = False

    def hear(self) -> None:
        """Take what came; the socket is ready."""
        try:
            data = self._socket.recv(1 << 16)
        except OSError:
            data = b""
        if data:
            self._decoder.feed(data)
        else:
            self.is_up = False

    def hang_up(self) -> None:
        if self.is_up:
            self._socket.sendall(wire.encode(wire.HANGUP))
        self._socket.close()

    def _message(self, kind: int, payload: bytes) -> None:
        self.heard += kind == wire.SLIN

    def _too_long(self, kind: int, length: int) -> None:
        self.is_up = False


class Lines:
    """
    Use it as a context manager: leaving hangs up, unless portero is gone.

    @ivar lines: Of all calls, which have begun.
    """

    def __init__(self, port: int, count: int, every: float = 0.0) -> None:
        """
        @param every: Seconds between two that begin.
        """
        self.lines: list[Line] = []
        self._on = True
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        for _ in range(count):
            self.lines.append(Line(port))
            time.sleep(every)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.hang_up()

    def hang_up(self) -> None:
        """End all calls; more than once is no matter."""
        if self._on:
            self._on = False
            self._thread.join(5)
            for line in self.lines:
                line.hang_up()

    def wait_until_silent(self, seconds: float) -> None:
        """portero was killed: take what it had sent."""
        deadline = time.monotonic() + seconds
        while any(line.is_up for line in self.lines) and time.monotonic() < deadline:
            time.sleep(0.01)

    def _run(self) -> None:
        known: dict[int, Line] = {}
        with selectors.DefaultSelector() as selector:
            while self._on:
                for line in self.lines[len(known) :]:
                    known[line.fileno()] = line
                    selector.register(line, selectors.EVENT_READ)
                due = min(
                    (line.due for line in known.values() if line.is_up), default=0
                )
                wait = due - time.monotonic()
                for key, _ in selector.select(min(max(0.0, wait), PTIME)):
                    known[key.fd].hear()
                    if not known[key.fd].is_up:
                        selector.unregister(key.fileobj)
                now = time.monotonic()
                for line in known.values():
                    while line.is_up and line.due <= now:
                        line.say()

"""What a captured call has to do with, besides its leg: all of it is looked at."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping
from hashlib import blake2b
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from zope.interface import implementer

from portero.captures.capture import Capture
from portero.captures.entries import Kind, jsonable, of_float
from portero.captures.header import HIDDEN
from portero.interfaces import ICallControl, IPbxControl, ITool, Said

_UPLOAD: Final = b'"input_audio_buffer.append"'
_DIGEST: Final = 16
"""Bytes: what the caller said is kept already, and the rest follows from it."""


class Socket(Protocol):
    """What a conversation takes for a socket."""

    date: float

    def send(self, payload: bytes) -> None: ...

    def close(self) -> None: ...


class Wire:
    """Between a conversation and its socket; each of the two takes it for the other."""

    def __init__(
        self,
        capture: Capture,
        secrets: tuple[str, ...],
        user: Any,
        connect: Callable[[Any], Socket],
    ) -> None:
        """
        @param secrets: Must not be written down.
        @param user: A C{SocketEvents} of C{portero.providers._websocket}.
        @param connect: Takes such a one.
        """
        self.date = 0.0
        self._capture = capture
        self._secrets = [json.dumps(secret)[1:-1].encode() for secret in secrets]
        self._user = user
        self._number = capture.number(Kind.CONNECTED)
        capture.note(Kind.CONNECTED, b"", self._number)
        self._socket = connect(self)

    def _came(self, kind: Kind, data: bytes = b"") -> None:
        self._capture.came(kind, data, self._number)

    def _hidden(self, payload: bytes) -> bytes:
        for secret in self._secrets:
            payload = payload.replace(secret, HIDDEN.encode())
        return payload

    # As a socket

    def send(self, payload: bytes) -> None:
        kind, data = Kind.SENT, payload
        if _UPLOAD in payload[:64]:
            kind, data = Kind.UPLOADED, blake2b(payload, digest_size=_DIGEST).digest()
        self._capture.note(kind, self._hidden(data), self._number)
        self._socket.send(payload)

    def close(self) -> None:
        self._capture.note(Kind.LEFT, b"", self._number)
        self._socket.close()

    # As the user of one

    def opened(self) -> None:
        # Where the service tells no date, the wall clock of that moment stands for it.
        self.date = self._socket.date or time.time()
        self._came(Kind.OPENED, of_float(self.date))
        self._user.opened()

    def received(self, payload: bytes, is_binary: bool) -> None:
        kind = Kind.BINARY if is_binary else Kind.TEXT
        self._came(kind, self._hidden(payload))
        self._user.received(payload, is_binary)

    def stuck(self, waiting: bool) -> None:
        self._came(Kind.STUCK, b"\1" if waiting else b"")
        self._user.stuck(waiting)

    def closed(self, ending: Any) -> None:
        body = ending.body.decode("latin-1")
        self._came(Kind.CLOSED, jsonable({**ending._asdict(), "body": body}))
        self._user.closed(ending)


@implementer(ITool)
class CapturedTool:
    """A tool, of which is kept what it does to its call, and what it answers."""

    def __init__(self, tool: ITool, capture: Capture) -> None:
        self.name = tool.name
        self.description = tool.description
        self.parameters = tool.parameters
        for optional in ("within", "private"):
            if hasattr(tool, optional):
                setattr(self, optional, getattr(tool, optional))
        self._tool = tool
        self._capture = capture

    def run(self, call: ICallControl, arguments: Mapping[str, Any]) -> Awaitable[str]:
        use = Use(self._capture)
        use.began(self.name, arguments)
        running = Deferred.fromCoroutine(self._run(call, arguments, use))
        use.at_once = False
        return running

    async def _run(
        self, call: ICallControl, arguments: Mapping[str, Any], use: Use
    ) -> str:
        try:
            answer = await self._tool.run(CapturedControl(call, use), arguments)
        except Exception as error:
            use.did("fail", f"{type(error).__name__}: {error}")
            raise
        use.did("answer", answer)
        return answer


class Use:
    """Of a tool, once."""

    def __init__(self, capture: Capture) -> None:
        self.at_once = True
        """It has not waited for anything yet."""
        self._capture = capture
        self._number = capture.number(Kind.RAN)

    def began(self, name: str, arguments: Mapping[str, Any]) -> None:
        self._capture.note(Kind.RAN, jsonable([name, arguments]), self._number)

    def did(self, what: str, *values: Any) -> None:
        data = jsonable([what, values, self.at_once])
        if self.at_once:
            self._capture.note(Kind.STEP, data, self._number)
        else:
            self._capture.came(Kind.STEP, data, self._number)


@implementer(ICallControl)
class CapturedControl:
    """What a tool may do to its call, which is kept."""

    def __init__(self, call: ICallControl, use: Use) -> None:
        self.call_id = call.call_id
        self.agent = call.agent
        self.facts = call.facts
        self._call = call
        self._use = use

    @property
    def caller_turns(self) -> int:
        return self._call.caller_turns

    def said(self) -> tuple[Said, ...]:
        return self._call.said()

    def seconds(self) -> float:
        return self._call.seconds()

    def at_end(self, do: Callable[[], None]) -> None:
        self._use.did("at_end")
        self._call.at_end(do)

    def inform(self, text: str) -> None:
        self._use.did("inform", text)
        self._call.inform(text)

    def play(self, name: str, rate: int, pcm: bytes) -> Any:
        self._use.did("play", name, rate, pcm.hex())
        return self._call.play(name, rate, pcm)

    def collect_digits(self, most: int, within: float) -> Any:
        self._use.did("collect_digits", most, within)
        return self._call.collect_digits(most, within)

    def pause_recording(self, paused: bool) -> bool:
        self._use.did("pause_recording", paused)
        return self._call.pause_recording(paused)

    def cancel_transfer(self) -> bool:
        self._use.did("cancel_transfer")
        return self._call.cancel_transfer()

    def transfer(self, target: str, reason: str) -> bool:
        self._use.did("transfer", target, reason)
        return self._call.transfer(target, reason)

    def end_after_speech(self, reason: str) -> None:
        self._use.did("end_after_speech", reason)
        self._call.end_after_speech(reason)


@implementer(IPbxControl)
class CapturedPbx:
    """The PBX. It answers when the call is over, and nothing more is kept."""

    def __init__(self, pbx: IPbxControl, capture: Capture) -> None:
        self._pbx = pbx
        self._capture = capture

    def redirect(self, channel: str, target: str) -> Any:
        self._capture.note(Kind.REDIRECTING, jsonable([channel, target]))
        return self._pbx.redirect(channel, target)

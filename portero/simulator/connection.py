"""One connection to the simulator: Autobahn's shell round L{session}."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from http.client import responses
from typing import TYPE_CHECKING, Any

from autobahn.twisted.websocket import WebSocketServerProtocol
from autobahn.websocket.types import ConnectionDeny, ConnectionRequest
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from portero.simulator.formats import PCM, RATES
from portero.simulator.knobs import Knobs
from portero.simulator.response import Event
from portero.simulator.schema import Refused
from portero.simulator.session import Session

if TYPE_CHECKING:
    from portero.simulator.server import Simulator

PATH = "/v1/realtime"
REASON_LIMIT = 123
"""Bytes that a close frame has for its reason (RFC 6455, section 5.5)."""


class Connection(WebSocketServerProtocol):
    """
    One client, from the TCP connection to its end.

    @ivar session: The protocol's state; made when the handshake is done.
    @ivar received: The client's events, without the audio appends.
    @ivar appends: How many of those came.
    @ivar sent_types: The types of the events sent, in order.
    @ivar audio_ms: For each item, the audio sent.
    @ivar model: As named by the client's URL.
    @ivar headers: Of the client's handshake, names in lower case.
    """

    transport: Any  # TCP's or TLS's: both can abort
    _log = Logger()

    def __init__(self, owner: Simulator) -> None:
        super().__init__()
        self.session: Session | None = None
        self.received: list[Event] = []
        self.appends = 0
        self.sent_types: list[str] = []
        self.audio_ms: dict[str, float] = {}
        self.model = ""
        self.headers: dict[str, str] = {}
        self._owner = owner
        self._first_knobs = owner.knobs
        self._timers: list[IDelayedCall] = []
        self._wake: IDelayedCall | None = None
        self._formats: dict[str, str] = {}
        self._muted = False
        self._injected = False
        self._problem: Refused | None = None
        self._refusal: object = None

    @property
    def knobs(self) -> Knobs:
        """What is in force here; may be set."""
        return self.session.knobs if self.session else self._first_knobs

    @knobs.setter
    def knobs(self, knobs: Knobs) -> None:
        if self.session:
            self.session.knobs = knobs
        self._first_knobs = knobs

    @property
    def truncations(self) -> list[tuple[str, int]]:
        """Item and C{audio_end_ms} of every truncation that was done."""
        return self.session.truncations if self.session else []

    @property
    def heard(self) -> tuple[int, bytes]:
        """The rate, and the caller's audio: PCM of the first C{keep_s} seconds."""
        if self.session is None:
            return RATES[PCM], b""
        hearing = self.session.hearing
        return hearing.rate, bytes(hearing.tape)

    def send_raw(self, payload: str | bytes) -> None:
        """
        Send a message that need not be an event: text, or binary if it is bytes.
        """
        if isinstance(payload, str):
            self.sendMessage(payload.encode("utf-8"), False)
        else:
            self.sendMessage(payload, True)

    def drop(self, how: str) -> None:
        """
        @param how: As in L{Knobs.drop}.
        """
        self._muted = True  # TCP would still send what is written before the FIN
        if how == "close":
            self.close(1011, "The server had an error.")
        elif how == "fin":
            self.transport.loseConnection()
        else:
            self.transport.abortConnection()

    def close(self, code: int, reason: str) -> None:
        """
        Close as the service does; Autobahn's C{sendClose} refuses codes such as 1001.
        """
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code, reason.encode("utf-8")[:REASON_LIMIT], False)

    # Called by Autobahn

    def onConnect(self, request: ConnectionRequest) -> None:
        try:
            refusal = self._judge(request)
        except Exception:
            # Autobahn would send the exception's text to the client, and log nothing.
            self._log.failure("the simulator failed in a handshake")
            refusal = 500, None
        if refusal is not None:
            status, self._refusal = refusal
            self._owner.refused += 1
            raise ConnectionDeny(status, responses.get(status, "Refused"))

    def _judge(self, request: ConnectionRequest) -> tuple[int, object] | None:
        """
        @return: The HTTP status and JSON body of a refusal, None to go on.
        """
        knobs = self._first_knobs
        if knobs.refuse is not None:
            return knobs.refuse
        if request.path != PATH:
            return 404, _http_error("not_found", f"Unknown path {request.path}.")
        self.headers = dict(request.headers)
        scheme, _, key = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            return 401, _http_error("missing_api_key", "You didn't provide an API key.")
        if knobs.key is not None and key.strip() != knobs.key:
            return 401, _http_error("invalid_api_key", "Incorrect API key provided.")
        if "realtime=v1" in self.headers.get("openai-beta", ""):
            self._problem = Refused(
                "beta_api_shape_disabled",
                "The Realtime Beta API is no longer supported. Please use /v1/realtime "
                "for the GA API.",
            )
        self.model = request.params.get("model", [""])[0]
        if not self.model and self._problem is None:
            self._problem = Refused("missing_model", "You must provide a model.")
        return None

    def sendHttpErrorResponse(
        self, code: int, reason: str, responseHeaders: object = None
    ) -> None:
        # Autobahn's own has no body; the real service says the true reason there.
        body = b"" if self._refusal is None else json.dumps(self._refusal).encode()
        head = (
            f"HTTP/1.1 {code} {reason}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        self.sendData(head.encode("ascii") + body)

    def onOpen(self) -> None:
        owner, knobs = self._owner, self._first_knobs
        owner.opened += 1
        owner.sessions.append(self)
        expires_at = int(time.time() + knobs.expires_in_s)
        self.session = Session(knobs, self.model, owner.language, expires_at)
        if self._problem is not None:
            problem = self._problem
            self._tell([self.session.error(problem)])
            self.close(4000, f"invalid_request_error.{problem.code}")
            return
        self._later(knobs.expires_in_s, self._expire)
        if knobs.drop_after_s is not None:
            self._later(knobs.drop_after_s, lambda: self.drop(self.knobs.drop))
        self._tell(self.session.begin())
        if knobs.deaf:
            self.transport.pauseProducing()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self.session is None or self._problem is not None:
            return
        try:
            event = json.loads(payload, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            refused = Refused("invalid_json", "The message is not valid JSON.")
            self._tell([self.session.error(refused)])
            return
        if isinstance(event, dict):
            if event.get("type") == "input_audio_buffer.append":
                self.appends += 1
            else:
                self.received.append(event)
        self._tell(self.session.receive(event, self._owner.clock.seconds()))
        self._schedule()

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        for timer in (*self._timers, self._wake):
            if timer is not None and timer.active():
                timer.cancel()
        if self in self._owner.sessions:
            self._owner.sessions.remove(self)

    def connectionMade(self) -> None:
        self._owner.joined(self)
        super().connectionMade()
        # Autobahn reads its own option for this before it has set it.
        self.transport.setTcpNoDelay(True)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._owner.left(self)

    # Time

    def _later(self, delay: float, what: Callable[[], None]) -> None:
        self._timers.append(self._owner.clock.callLater(delay, what))

    def _schedule(self) -> None:
        """
        Be called again when the session has something to say.
        """
        assert self.session is not None, "only open connections are scheduled"
        due = self.session.due
        if self._wake is not None and self._wake.active():
            if due is not None and self._wake.getTime() == due:
                return
            self._wake.cancel()
        if due is not None and self.state == self.STATE_OPEN:
            clock = self._owner.clock
            self._wake = clock.callLater(max(due - clock.seconds(), 0), self._due)

    def _due(self) -> None:
        assert self.session is not None, "it was scheduled"
        self._tell(self.session.advance(self._owner.clock.seconds()))
        self._schedule()

    def _expire(self) -> None:
        assert self.session is not None, "it was scheduled"
        minutes = round(self.knobs.expires_in_s / 60)
        words = f"Your session hit the maximum duration of {minutes} minutes."
        self._tell([self.session.error(Refused("session_expired", words))])
        self.close(1001, words)

    # What is sent

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            if self._muted or self.state != self.STATE_OPEN:
                return
            self.sent_types.append(event["type"])
            self.sendMessage(json.dumps(event, separators=(",", ":")).encode("utf-8"))
            if event["type"] == "response.output_audio.delta":
                self._count(event)
            elif event["type"] == "response.created":
                response = event["response"]
                agreed = response["audio"]["output"]["format"]["type"]
                self._formats[response["id"]] = agreed
            elif event["type"] == "session.updated" and not self._injected:
                self._injected = True
                for payload in self.knobs.inject:
                    self.send_raw(payload)

    def _count(self, event: Event) -> None:
        """
        Add up the audio sent, for those knobs that act after so much of it.
        """
        assert self.session is not None, "it makes the events"
        knobs = self.session.knobs
        format = knobs.sent_format or self._formats.get(event["response_id"], PCM)
        delta: str = event["delta"]
        samples = len(delta) // 4 * 3 - delta[-2:].count("=")
        ms = samples * 1000 / RATES[format] / (2 if format == PCM else 1)
        self.audio_ms[event["item_id"]] = self.audio_ms.get(event["item_id"], 0.0) + ms
        total = sum(self.audio_ms.values())
        if knobs.mute_after_ms is not None and total >= knobs.mute_after_ms:
            self._muted = True
        if knobs.drop_after_ms is not None and total >= knobs.drop_after_ms:
            self.drop(knobs.drop)


class Silent(Protocol):
    """A peer that accepts and never says anything."""

    transport: Any  # TCP's or TLS's: both can abort

    def __init__(self, owner: Simulator) -> None:
        self._owner = owner

    def connectionMade(self) -> None:
        self._owner.joined(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._owner.left(self)


def _no_constant(name: str) -> None:
    """Python would read C{NaN}, which is not JSON."""
    raise ValueError(name)


def _http_error(code: str, message: str) -> object:
    return {
        "error": {
            "message": message,
            "type": "invalid_request_error",
            "param": None,
            "code": code,
        }
    }

"""
Calls from a web page: the microphone and the loudspeaker of a browser, by WebSocket.

From portero comes a text first, C{{"call_id": ..., "rate": 24000}}, and then audio:
binary messages of signed 16-bit little-endian mono PCM, 20 ms each. The browser sends
audio of the same kind in pieces of any length, and texts: C{{"dtmf": "5"}} for a key,
C{{"hang_up": true}}. The close code is 1000 when the call is over and 1013 when it was
not taken; the reason says why.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from struct import pack
from typing import Any, Final

from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from autobahn.util import encode_truncate
from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import IService
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site
from txaio.tx import make_logger
from zope.interface import implementer

from portero.errors import Refused
from portero.facts import Facts, harmless
from portero.interfaces import ILegEvents, IMediaTransport
from portero.line import DIGITS, Line
from portero.pacing import PTIME, MediaClock

RATE: Final = 24000
"""In Hz, both ways."""
FRAME: Final = round(RATE * PTIME) * 2
HEADER: Final = pack("!BBH", 0x80 | 2, 126, FRAME)
"""Of a binary message with one frame (RFC 6455, 5.2)."""
CALLER: Final = "browser"
"""The name of those who call from one."""
MOST_MESSAGE: Final = 64 * 1024
"""Bytes: 1.3 s of audio."""
HANDSHAKE_WITHIN: Final = 10
CLOSE_WITHIN: Final = 5
PING_EVERY: Final = 10
PING_ANSWERED_WITHIN: Final = 10
OVER: Final = 1000
FAILED: Final = 1011
TRY_LATER: Final = 1013
MOST_REASON: Final = 123
"""Bytes of a reason, which a closing has room for (RFC 6455, 5.5)."""

Calls = Callable[[Any, str], Any]
Announce = Callable[[Facts], str]


class BrowserLeg(Line):
    """One call from a browser."""

    log = Logger()
    far_end = "the browser"

    def __init__(self, link: _Link, peer: str, call_id: str) -> None:
        transport = link.owner.transport
        super().__init__(
            transport.reactor,
            transport.media,
            peer,
            RATE,
            prebuffer_frames=transport.prebuffer_frames,
            queue_frames=transport.queue_frames,
        )
        self.call_id = call_id
        self._link = link

    def begin(self, events: ILegEvents) -> None:
        """The call is taken."""
        self._events = events  # who is told if the rest of this fails
        self._link.say({"call_id": self.call_id, "rate": RATE})
        # What is of HTTP has to go before something of ours takes its place.
        self._link.transport.unregisterProducer()
        self._opened(self._link.transport)
        self._frames_begin_with(HEADER)
        self._begin(events)

    def audio_received(self, pcm: bytes) -> None:
        self._received += 1
        if len(pcm) & 1:
            self._note("odd lengths", "it sent audio of {} bytes", len(pcm))
            pcm = pcm[:-1]
        if pcm:
            self._heard(pcm, RATE, self._clock.seconds())
        else:
            self._note("empty frames", "it sent audio without {}", "content")

    def text_received(self, text: bytes) -> None:
        try:
            told = json.loads(text)
        except (ValueError, RecursionError):
            told = None
        digit = told.get("dtmf") if isinstance(told, dict) else None
        if isinstance(digit, str) and digit.upper() in DIGITS:
            if self._events is not None:
                self._events.dtmf(digit.upper())
        elif isinstance(told, dict) and told.get("hang_up") is True:
            self._end("caller hung up", in_order=True)
        else:
            self._note("unknown texts", "it sent a text that means {}", "nothing")

    def closing(self, reason: str, in_order: bool) -> None:
        """Nothing more may be sent; unless it was the leg itself that closed."""
        self._lost(reason, in_order)

    def disconnected(self, reason: Failure) -> None:
        """The connection is gone."""
        self._disconnected(reason)

    def _part(self, abort: bool) -> None:
        if abort:
            self._link.transport.abortConnection()
        else:
            self._link.part(OVER, self._over)

    def _broken(self, why: str) -> None:
        self.log.warn("call {call_id}: {why}", call_id=self.call_id, why=why)
        self._end("protocol error")


class _Link(WebSocketServerProtocol):
    """The WebSocket under a leg."""

    # Autobahn's lines name no call. The call says how it ended, once.
    log = make_logger("none")
    _log = Logger()
    transport: Any  # TCP's or TLS's

    def __init__(self, owner: TalkResource, facts: Facts) -> None:
        super().__init__()
        self.owner = owner
        self._facts = facts
        self._leg: BrowserLeg | None = None

    def say(self, told: dict[str, Any]) -> None:
        """Send a text."""
        self.sendMessage(json.dumps(told).encode())

    def part(self, code: int, reason: str) -> None:
        """Begin to close; what the other side does not finish in time is cut off."""
        if self.state == self.STATE_OPEN:
            self.sendCloseFrame(code, encode_truncate(reason, MOST_REASON))

    # Called by Autobahn, which does not log what is raised here

    def onOpen(self) -> None:
        try:
            self._call()
        except Refused as refused:
            self.part(TRY_LATER, str(refused))
        except Exception:
            call_id = self._leg.call_id if self._leg else ""
            self._log.failure("a call from a browser could not begin", call_id=call_id)
            if self._leg is not None:
                self._leg.closing("internal error", False)
            self.part(FAILED, "internal error; the log says more")

    def _call(self) -> None:
        """@raise Refused: It is not taken, which was logged."""
        call_id = self.owner.announce(self._facts)
        peer = (self.peer or "").partition(":")[2]
        leg = BrowserLeg(self, peer, call_id)
        events = self.owner.calls(leg, call_id)
        if events is None:
            raise Refused("refused", "the call was not taken; the log says why")
        self._leg = leg
        leg.begin(events)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self._leg is None or self.state != self.STATE_OPEN:
            return
        try:
            if isBinary:
                self._leg.audio_received(payload)
            else:
                self._leg.text_received(payload)
        except Exception:
            self._log.failure(
                "what a browser sent could not be handled", call_id=self._leg.call_id
            )
            self._leg.pacing_failed()

    def sendCloseFrame(
        self,
        code: int | None = None,
        reasonUtf8: bytes | None = None,
        isReply: bool = False,
    ) -> None:
        """After this, nothing else may be sent."""
        super().sendCloseFrame(code, reasonUtf8, isReply)
        if self._leg is not None:
            broken = f"protocol error: {(reasonUtf8 or b'').decode('utf-8', 'replace')}"
            self._leg.closing("caller hung up" if isReply else broken, isReply)

    def onAutoPingTimeout(self) -> None:
        if self._leg is not None:
            self._leg.closing(
                f"no answer of the browser for {PING_ANSWERED_WITHIN} s", False
            )
        super().onAutoPingTimeout()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        leg, self._leg = self._leg, None
        if leg is not None:
            leg.disconnected(reason)


class _Timers:
    """Autobahn's own are the global reactor's, and as much as a second early."""

    def __init__(self, reactor: Any) -> None:
        self.call_later = reactor.callLater


class _LinkFactory(WebSocketServerFactory):
    noisy = False

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor=reactor, server=None)
        self._batched_timer = _Timers(reactor)
        self.setProtocolOptions(
            openHandshakeTimeout=HANDSHAKE_WITHIN,
            closeHandshakeTimeout=CLOSE_WITHIN,
            failByDrop=False,
            maxFramePayloadSize=MOST_MESSAGE,
            maxMessagePayloadSize=MOST_MESSAGE,
            autoPingInterval=PING_EVERY,
            autoPingTimeout=PING_ANSWERED_WITHIN,
            webStatus=False,
        )


class TalkResource(Resource):
    """
    Where a browser calls: a GET that becomes a WebSocket.

    Who may do that has been asked before. A page of another site may not, whoever looks
    at it.
    """

    isLeaf = True

    def __init__(self, transport: Transport, calls: Calls, announce: Announce) -> None:
        """The arguments are those of L{Transport.resource}."""
        super().__init__()
        self.transport = transport
        self.calls = calls
        self.announce = announce
        self._links = _LinkFactory(transport.reactor)

    def render_GET(self, request: Request) -> Any:
        """The agent is named in the query, C{?agent=NAME}; or none is."""
        agent = (request.args or {}).get(b"agent", [b""])[0]
        return self.upgrade(request, agent.decode("utf-8", "replace"))

    def upgrade(self, request: Request, agent: str = "", name: str = CALLER) -> Any:
        """
        @param agent: Who is wanted; empty: portero chooses.
        @param name: Of the caller.
        @return: As C{render} of a resource does.
        """
        if not _is_own(request):
            return _refuse(request, 403, "not from a page of another site\n")
        if (request.getHeader(b"upgrade") or b"").lower() != b"websocket":
            request.setHeader(b"upgrade", b"websocket")
            return _refuse(request, 426, "this is a WebSocket: see docs/api.rst\n")
        facts = Facts(caller_name=harmless(name), agent=harmless(agent))

        def build(address: Any) -> _Link:
            link = _Link(self, facts)
            link.factory = self._links
            return link

        return WebSocketResource(_Once(build)).render(request)


class _Once:
    """What Autobahn's resource asks for a protocol."""

    def __init__(self, build: Callable[[Any], _Link]) -> None:
        self.buildProtocol = build


def _is_own(request: Request) -> bool:
    """Whether the page that asks came from here. Programs that are none may ask too."""
    origins = request.requestHeaders.getRawHeaders(b"origin", [])
    host = (request.getHeader(b"host") or b"").lower()
    return all(origin.lower().partition(b"://")[2] == host for origin in origins)


def _refuse(request: Request, code: int, text: str) -> bytes:
    request.setResponseCode(code)
    request.setHeader(b"content-type", b"text/plain; charset=utf-8")
    return text.encode()


@implementer(IMediaTransport)
class Transport:
    """WebSockets under a web site."""

    def __init__(
        self,
        reactor: Any,
        media: MediaClock,
        *,
        prebuffer_frames: int = 0,
        queue_frames: int = 0,
    ) -> None:
        """
        @param prebuffer_frames: As L{Line} takes it.
        @param queue_frames: As L{Line} takes it.
        """
        self.reactor = reactor
        self.media = media
        self.prebuffer_frames = prebuffer_frames
        self.queue_frames = queue_frames

    def resource(self, calls: Calls, announce: Announce) -> TalkResource:
        """
        @param calls: Takes a leg and its call id; gives the leg's C{ILegEvents}, or
            C{None} to refuse.
        @param announce: Takes the L{Facts} of a call that is about to come, and gives
            its id; raises L{Refused}, whose text the browser gets.
        @return: For a place in a web site that speaks HTTP/1.1.
        """
        return TalkResource(self, calls, announce)

    def listen(self, endpoint: str, calls: Calls) -> IService:
        """A site with nothing else, whose every path is the resource."""
        resource: IResource = self.resource(calls, lambda facts: str(uuid.uuid4()))
        service: IService = StreamServerEndpointService(
            serverFromString(self.reactor, endpoint), Site(resource)
        )
        return service

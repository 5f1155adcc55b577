"""What all WebSocket voice services share: connect, verify, limit, ping, close."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse, IncompleteRead
from io import BytesIO
from os import urandom
from pathlib import Path
from struct import pack
from typing import Any, Final, NamedTuple, Protocol, cast
from urllib.parse import urlsplit

import numpy as np
from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from autobahn.websocket.types import ConnectionResponse
from OpenSSL import SSL
from OpenSSL.crypto import Error as OpenSSLError
from service_identity import VerificationError
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    wrapClientTLS,
)
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall, IStreamClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.internet.ssl import (
    Certificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.logger import Logger
from twisted.python.failure import Failure
from txaio.tx import make_logger

from portero.errors import ConfigError

CONNECT_WITHIN: Final = 10
CLOSE_WITHIN: Final = 2
REFUSAL_WITHIN: Final = 1
"""For the body of a refusal, once its head is there."""
PING_EVERY: Final = 10
PING_ANSWERED_WITHIN: Final = 10
MAX_MESSAGE: Final = 4 * 1024 * 1024
MAX_REFUSAL: Final = 64 * 1024
SEND_BUFFER: Final = 256 * 1024
"""Bytes that may wait for a service that does not read; then C{stuck} is told."""
NO_CODE: Final = 1005
"""Stands for the close code of a closing that named none (RFC 6455, 7.1.5)."""


class Ending(NamedTuple):
    """How a WebSocket ended, or why it never opened."""

    reason: str
    """In words, for the log; empty for a refused handshake: see C{body}."""
    code: int = 0
    """WebSocket close code; 0 without one."""
    status: int = 0
    """HTTP status of a refused handshake; 0 otherwise."""
    body: bytes = b""
    """Of that refusal."""
    retry_after: float = 0.0
    """Seconds, as that refusal's header asks for."""
    final: bool = False
    """Trying again cannot help: the certificate is not to be trusted."""


class SocketEvents(Protocol):
    """Who uses a socket is told this."""

    call_id: str

    def opened(self) -> None: ...

    def received(self, payload: bytes, is_binary: bool) -> None: ...

    def stuck(self, waiting: bool) -> None:
        """The service does not read as fast as we write; or does again."""

    def closed(self, ending: Ending) -> None:
        """Nothing follows."""


class _Link(WebSocketClientProtocol):
    """
    The Autobahn side. What Autobahn catches from callbacks it does not log, so
    nothing here may raise: L{Socket} hands on, and its user has a boundary of its own.
    """

    # Autobahn's lines name no call. The user logs how a socket ended, once.
    log = make_logger("none")
    transport: Any  # TCP's or TLS's

    def __init__(self, socket: Socket, reactor: Any) -> None:
        super().__init__()
        self._socket = socket
        self._reactor = reactor
        self._refusal: Ending | None = None
        self._why_lost = connectionDone
        self._overdue: IDelayedCall | None = None

    # Once a message. Autobahn's own compose texts for debug logs that nobody reads, a
    # mask of two foreign objects and a Deferred: 10.6 us to send 475 bytes, here 3.

    def dataReceived(self, data: bytes) -> None:
        self._dataReceived(data)

    def onMessageEnd(self) -> None:
        if not self.failedByMe:
            self.onMessage(b"".join(self.message_data), self.message_is_binary)
        self.message_data = []

    def send_text(self, payload: bytes) -> None:
        """One whole text message, masked as clients must (RFC 6455, 5.3)."""
        if self.state != self.STATE_OPEN:
            return
        size, key = len(payload), urandom(4)
        if size < 126:
            head = pack("!BB", 0x81, 0x80 | size)
        elif size < 0x10000:
            head = pack("!BBH", 0x81, 0xFE, size)
        else:
            head = pack("!BBQ", 0x81, 0xFF, size)
        words = np.frombuffer(payload + bytes(-size % 4), "<u4")
        masked = (words ^ np.frombuffer(key, "<u4")).tobytes()[:size]
        self.transport.write(b"".join((head, key, masked)))

    # The opening handshake

    def processHandshake(self) -> None:
        """Wait for the body of a refusal: it says what the status only hints at."""
        if b"\r\n\r\n" not in self.data:
            if len(self.data) > MAX_REFUSAL:
                self.failHandshake("it sends no HTTP answer, but no end of something")
            return
        refusal, complete = _refusal(self.data)
        if refusal is None:
            try:
                super().processHandshake()
            except Exception as error:  # whatever its parser stumbles over
                self.failHandshake(f"no HTTP answer that can be read: {error}")
            return
        self._refusal = refusal
        if complete or len(self.data) > MAX_REFUSAL:
            self.failHandshake("refused")
        elif self._overdue is None:
            self._overdue = self._reactor.callLater(
                REFUSAL_WITHIN, self.failHandshake, "refused"
            )

    def onConnect(self, response: ConnectionResponse) -> None:
        self._socket.date = _unix_time(response.headers.get("date", ""))

    def onOpen(self) -> None:
        # Autobahn reads its own option for this before it has set it.
        self.transport.setTcpNoDelay(True)
        self.transport.bufferSize = SEND_BUFFER
        self.registerProducer(self, True)
        self._socket.opened()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self._socket.received(payload, isBinary)

    # The end

    def onCloseFrame(self, code: int, reasonRaw: bytes) -> bool | None:
        """Autobahn starts a timer for each that comes, and stops only the last."""
        if self.serverConnectionDropTimeoutCall is not None:
            return None
        found: bool | None = super().onCloseFrame(code, reasonRaw)
        return found

    def sendCloseFrame(
        self,
        code: int | None = None,
        reasonUtf8: bytes | None = None,
        isReply: bool = False,
    ) -> None:
        """
        A closing began, whoever began it: the user is told now, not when the peer has
        done its part of it at last.
        """
        was_open = self.state == self.STATE_OPEN
        super().sendCloseFrame(code, reasonUtf8, isReply)
        if not was_open:
            return
        if isReply:
            # Autobahn would wait for ever for the service to end the connection.
            self._overdue = self._reactor.callLater(
                CLOSE_WITHIN, self.dropConnection, True
            )
            code = self.remoteCloseCode or NO_CODE
            words = self.remoteCloseReason or "no reason given"
            ending = Ending(f"closed by the service: {words} (code {code})", code)
        else:
            words = (reasonUtf8 or b"").decode("utf-8", "replace")
            ending = Ending(f"closed, because of what came: {words} (code {code})")
        self._socket.ended(ending)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._why_lost = reason
        if self._overdue is not None and self._overdue.active():
            self._overdue.cancel()
        if self.closeHandshakeTimeoutCall is not None:
            self.closeHandshakeTimeoutCall.cancel()  # which Autobahn forgets
            self.closeHandshakeTimeoutCall = None
        super().connectionLost(reason)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self._refusal is not None:
            ending = self._refusal
        elif self.droppedByMe:
            ending = Ending(self.wasNotCleanReason or "closed")
        else:
            ending = _lost(self._why_lost)
        self._socket.ended(ending)

    # As a producer

    def pauseProducing(self) -> None:
        self._socket.stuck(True)

    def resumeProducing(self) -> None:
        self._socket.stuck(False)

    def stopProducing(self) -> None:
        pass


class _Memory:
    """Bytes, in the place of a socket that C{http.client} reads."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> BytesIO:
        return BytesIO(self._data)


def _refusal(data: bytes) -> tuple[Ending | None, bool]:
    """
    Read the answer to a handshake as far as it has come.

    @return: C{None} unless it is a refusal in HTTP; and whether all of it is there.
    """
    answer = HTTPResponse(cast(Any, _Memory(data)))  # only makefile is called
    try:
        answer.begin()
        if answer.status == 101:
            return None, True
        try:
            body = answer.read(MAX_REFUSAL)
            complete = answer.chunked or answer.length == 0
        except IncompleteRead as error:
            body, complete = error.partial, False
    except (HTTPException, ValueError):
        return None, True
    wish = answer.getheader("Retry-After", "").strip()
    seconds = float(wish) if wish.isdecimal() and len(wish) < 6 else 0.0
    return Ending("", 0, answer.status, body, seconds), bool(complete)


def _unix_time(date: str) -> float:
    """@return: 0 for what is no HTTP date."""
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _lost(failure: Failure) -> Ending:
    """Why a connection went away without a closing handshake, in words."""
    error = failure.value
    if isinstance(error, VerificationError):
        return Ending("the certificate shown is for another host name", final=True)
    if isinstance(error, SSL.Error):
        parts = error.args[0] if error.args else ()
        words = "; ".join(str(part[-1]) for part in parts) or "no reason given"
        if "certificate verify failed" in words:
            return Ending(
                "the certificate shown is not signed by an authority that is trusted "
                "here (for a private one set ca_file; a small image may lack the "
                "package ca-certificates)",
                final=True,
            )
        return Ending(f"TLS failed: {words}")
    if isinstance(error, ConnectionDone):
        return Ending("the service ended the connection without a word")
    return Ending(f"the connection broke: {failure.getErrorMessage()}")


class Target:
    """
    A service's address, the certificates trusted there, and the headers sent.

    Keep it: reading the system's certificates takes 7 to 11 ms.
    """

    def __init__(self, url: str, headers: Mapping[str, str], ca_file: str = "") -> None:
        """
        @param url: C{ws://} or C{wss://}.
        @param ca_file: PEM file of certificate authorities to trust instead of the
            system's.
        @raise ConfigError: C{ca_file} cannot be used.
        """
        parts = urlsplit(url)
        self.url = url
        self.headers = dict(headers)
        self.host = parts.hostname or ""
        self.tls = parts.scheme == "wss"
        self.port = parts.port or (443 if self.tls else 80)
        self._trust = _trust(ca_file) if ca_file else None
        self._options: Any = None

    def endpoint(self, reactor: Any) -> IStreamClientEndpoint:
        """@raise UnicodeError: The host name cannot be one."""
        plain: IStreamClientEndpoint
        if isIPAddress(self.host):
            plain = TCP4ClientEndpoint(reactor, self.host, self.port, CONNECT_WITHIN)
        elif isIPv6Address(self.host):
            plain = TCP6ClientEndpoint(reactor, self.host, self.port, CONNECT_WITHIN)
        else:
            plain = HostnameEndpoint(reactor, self.host, self.port, CONNECT_WITHIN)
        if not self.tls:
            return plain
        if self._options is None:
            # Autobahn's own way of connecting does not verify certificates.
            self._options = optionsForClientTLS(self.host, trustRoot=self._trust)
        wrapped: IStreamClientEndpoint = wrapClientTLS(self._options, plain)
        return wrapped


def _trust(ca_file: str) -> Any:
    try:
        pem = Path(ca_file).read_bytes()
        end = b"-----END CERTIFICATE-----"
        certificates = [
            Certificate.loadPEM(part[part.index(b"-----BEGIN") :] + end)
            for part in pem.split(end)[:-1]
        ]
    except (OSError, ValueError, OpenSSLError) as error:
        raise ConfigError(f"ca_file {ca_file}: {error}") from None
    if not certificates:
        raise ConfigError(f"ca_file {ca_file}: holds no PEM certificate")
    return trustRootFromCertificates(certificates)


class Socket:
    """
    One WebSocket, from the attempt to connect to its end.

    @ivar date: The service's Unix time when it opened; 0 when it does not tell.
    """

    log = Logger()

    def __init__(self, reactor: Any, target: Target, user: SocketEvents) -> None:
        """Begin to connect. C{user} is told nothing before this returns."""
        self.date = 0.0
        self._user: SocketEvents | None = user
        self._link: _Link | None = None
        self._is_open = False
        self._target = target
        self._reactor = reactor
        self._connecting: Deferred[Any] | None = None
        # Not within this call: an endpoint may fail at once.
        self._start = reactor.callLater(0, self._connect)

    def _connect(self) -> None:
        target = self._target
        try:
            factory: Any = WebSocketClientFactory(
                target.url,
                headers=target.headers,
                useragent="portero",
                reactor=self._reactor,
            )
            factory.noisy = False
            factory.setProtocolOptions(
                openHandshakeTimeout=CONNECT_WITHIN,
                closeHandshakeTimeout=CLOSE_WITHIN,
                autoPingInterval=PING_EVERY,
                autoPingTimeout=PING_ANSWERED_WITHIN,
                maxFramePayloadSize=MAX_MESSAGE,
                maxMessagePayloadSize=MAX_MESSAGE,
                failByDrop=False,  # but say why, as with code 1009
                utf8validateIncoming=False,  # the JSON parser checks
            )
            factory.protocol = self._build
            self._connecting = target.endpoint(self._reactor).connect(factory)
        except Exception as error:
            call_id = self._user.call_id if self._user else ""
            self.log.failure("cannot connect", call_id=call_id)
            self._cannot(str(error))
            return
        self._connecting.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        self._connecting = None
        self._cannot(failure.getErrorMessage())

    def _cannot(self, why: str) -> None:
        target = self._target
        self.ended(Ending(f"cannot connect to {target.host}:{target.port}: {why}"))

    def _build(self) -> _Link:
        self._link = _Link(self, self._reactor)
        return self._link

    def send(self, payload: bytes) -> None:
        """Send a text message; nothing happens unless the socket is open."""
        if self._is_open and self._link is not None:
            self._link.send_text(payload)

    def close(self) -> None:
        """Close in good order; the user is told nothing any more."""
        self._user = None
        if self._start.active():
            self._start.cancel()
        elif self._is_open and self._link is not None:
            self._link.sendClose(1000)
        elif self._link is not None and self._link.transport is not None:
            self._link.dropConnection(abort=True)
        elif self._connecting is not None:
            self._connecting.cancel()

    # From the link

    def opened(self) -> None:
        self._is_open = True
        if self._user is not None:
            self._user.opened()

    def received(self, payload: bytes, is_binary: bool) -> None:
        if self._user is not None:
            self._user.received(payload, is_binary)

    def stuck(self, waiting: bool) -> None:
        if self._user is not None:
            self._user.stuck(waiting)

    def ended(self, ending: Ending) -> None:
        self._link = None
        self._is_open = False
        user, self._user = self._user, None
        if user is not None:
            user.closed(ending)

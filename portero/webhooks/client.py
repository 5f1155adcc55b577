"""
Asks one HTTP server on behalf of callers, who may be anybody: only that server is
asked, it is the one that its certificate says, it is not in a private network unless
that is allowed, and an answer has a size and an end. There are no cookies, no proxies,
no compression, and each request has a connection of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IConsumer,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    ResponseDone,
    ResponseFailed,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from portero.errors import PorteroError
from portero.networks import Network, is_public, lies_in

LARGEST: Final = 262_144
"""Bytes of a body that are read."""
MOST_RECEIVED: Final = LARGEST + 262_144
"""Bytes of a connection, with heads and all: then it is cut."""
MOST_REDIRECTS: Final = 3
REDIRECTIONS: Final = (301, 302, 303, 307, 308)
USER_AGENT: Final = b"portero"


class Unreachable(PorteroError):
    """The network or the server failed: another try may succeed."""


class NotSafe(PorteroError):
    """It would not be safe; another try cannot help."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Of a server."""

    status: int
    phrase: str
    kind: str
    """The type of the content, as the server says it."""
    content: bytes
    whole: bool = True
    """Else the content is only its beginning."""


class Server:
    """One server, at one address."""

    def __init__(
        self,
        reactor: Any,
        url: str,
        allow: Sequence[Network] = (),
        trust_root: Any = None,
    ) -> None:
        """
        @param url: Of anything there: its scheme, host and port count.
        @param allow: Private networks where it may be. C{http://} is only for these.
        @param trust_root: As of C{optionsForClientTLS}; C{None}: the system's.
        """
        self.reactor = reactor
        self._allow = tuple(allow)
        self._origin = _origin(url)
        scheme, host, _ = self._origin
        self._tls: Any = None
        if scheme == "https":
            # Kept, as reading the system's certificates takes some 10 ms.
            self._tls = optionsForClientTLS(host, trustRoot=trust_root)

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        within: float,
        *,
        follow: bool = True,
    ) -> Answer:
        """
        @param url: At this server.
        @param within: Seconds for all of it, redirections too.
        @param follow: Else a redirection is the answer.
        @raise Unreachable: There is no answer; says why, for the log.
        @raise NotSafe: It was not asked, or its answer is not taken; says why.
        """
        visit = _Visit(self, method, url, headers, body, follow)
        asking = Deferred.fromCoroutine(visit.go())
        asking.addTimeout(within, self.reactor, _too_late)
        try:
            return await asking
        finally:
            visit.abort()

    def is_here(self, url: str) -> bool:
        """Whether an address is at this server; anything may stand there."""
        if not url.isascii() or not url.isprintable() or " " in url:
            return False
        try:
            return _origin(url) == self._origin
        except ValueError:
            return False

    def endpoint(self, watch: _Watch) -> IStreamClientEndpoint:
        _, host, port = self._origin
        endpoint = HostnameEndpoint(
            _Guard(self.reactor, self.permits, watch), host, port
        )
        found: IStreamClientEndpoint = endpoint
        if self._tls is not None:
            found = wrapClientTLS(self._tls, endpoint)
        return found

    def permits(self, address: str) -> bool:
        """Whether a connection may be made to it."""
        if lies_in(address, self._allow):
            return True
        return self._tls is not None and is_public(address)


def _origin(url: str) -> tuple[str, str, int]:
    """@raise ValueError: It is no address of a server."""
    parts = urlsplit(url)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or "@" in parts.netloc
    ):
        raise ValueError(f"{url!r} is no address of a server")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, parts.hostname, port


def _too_late(outcome: object, within: float) -> Answer:
    raise Unreachable(f"no answer within {within:g} s")


class _Watch:
    """What became of the connections of one request."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self.connections: list[Any] = []
        self.flooded = False

    def abort(self) -> None:
        for connection in self.connections:
            connection.abortConnection()


@implementer(IReactorPluggableNameResolver)
class _Guard:
    """
    The reactor, as an endpoint sees it. It connects to no address that is not
    permitted: what counts is where a connection goes, not what a name meant before.
    """

    def __init__(self, reactor: Any, permits: Any, watch: _Watch) -> None:
        self._reactor = reactor
        self._permits = permits
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def connectTCP(self, host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if not self._permits(host):
            self._watch.refused.append(host)
            raise error.ConnectError(string="not permitted")
        return self._reactor.connectTCP(host, port, *args, **kwargs)


class _Connection(ProtocolWrapper):
    """Cut when it brings more than any answer has; so no head can be endless."""

    transport: Any  # TCP's or TLS's

    def __init__(self, factory: Any, wrapped: IProtocol) -> None:
        """@param factory: A L{_Watching}."""
        super().__init__(factory, wrapped)
        self._watch = factory.watch
        self._received = 0

    def makeConnection(self, transport: Any) -> None:
        self._watch.connections.append(transport)
        super().makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > MOST_RECEIVED:
            self._watch.flooded = True
            self.transport.abortConnection()
        else:
            super().dataReceived(data)


class _Watching(WrappingFactory):
    noisy = False
    protocol = _Connection

    def __init__(self, factory: Any, watch: _Watch) -> None:
        super().__init__(factory)
        self.watch = watch


@implementer(IStreamClientEndpoint, IAgentEndpointFactory)
class _Door:
    """Where C{Agent} gets its connections."""

    def __init__(self, server: Server, watch: _Watch) -> None:
        self._server = server
        self._watch = watch

    def endpointForURI(self, uri: URI) -> _Door:
        return self

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        watch = self._watch
        quiet: Any = protocolFactory
        quiet.noisy = False  # it would log its start and its end, as Agent makes it
        connecting: Deferred[Any] = self._server.endpoint(watch).connect(
            _Watching(protocolFactory, watch)
        )
        return connecting.addCallback(lambda outer: outer.wrappedProtocol)


class _Visit:
    """One request with its redirections."""

    def __init__(
        self,
        server: Server,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        follow: bool,
    ) -> None:
        self._server = server
        self._method = method
        self._url = url
        self._headers = dict(headers)
        self._body = body
        self._codes = REDIRECTIONS if follow else ()
        self._watch = _Watch()

    def abort(self) -> None:
        """No connection is left."""
        self._watch.abort()

    async def go(self) -> Answer:
        for _ in range(MOST_REDIRECTS + 1):
            if not self._server.is_here(self._url):
                raise NotSafe("it redirects to another server")
            response = await self._asked()
            location = _header(response, b"location")
            if response.code not in self._codes or not location:
                return await self._read(response)
            self._watch.abort()
            self._follow(response.code, location)
        raise NotSafe(f"it redirects more than {MOST_REDIRECTS} times")

    def _follow(self, status: int, location: str) -> None:
        try:
            self._url = urljoin(self._url, location).partition("#")[0]
        except ValueError:
            raise NotSafe("it redirects to what is no address") from None
        # As browsers do it (RFC 9110, 15.4).
        if status == 303 or (status in (301, 302) and self._method == "POST"):
            self._method, self._body = "GET", None
            self._headers = {
                name: value
                for name, value in self._headers.items()
                if name.lower() != "content-type"
            }

    async def _asked(self) -> IResponse:
        headers = Headers({b"User-Agent": [USER_AGENT]})
        for name, value in self._headers.items():
            headers.addRawHeader(name, value)
        agent = Agent.usingEndpointFactory(
            self._server.reactor, _Door(self._server, self._watch)
        )
        body = None if self._body is None else _Bytes(self._body)
        # Agent would ask for a query alone, where there is no path before it.
        parts = urlsplit(self._url)
        url = parts._replace(path=parts.path or "/").geturl()
        asking = agent.request(self._method.encode(), url.encode(), headers, body)
        response: IResponse = await self._told(asking)
        return response

    async def _read(self, response: IResponse) -> Answer:
        codings = response.headers.getRawHeaders(b"content-encoding", [])
        if any(coding.strip().lower() not in (b"", b"identity") for coding in codings):
            raise NotSafe("its answer is compressed, which was not asked for")
        collector = _Collector()
        response.deliverBody(collector)
        content = await self._told(collector.done)
        kind = _header(response, b"content-type")
        phrase = _one_line(response.phrase.decode("ascii", "replace"))
        whole = len(content) <= LARGEST
        return Answer(response.code, phrase, kind, content[:LARGEST], whole)

    async def _told(self, wait: Awaitable[Any]) -> Any:
        try:
            return await wait
        except Exception as problem:
            raise self._in_words(problem) from None

    def _in_words(self, problem: Exception) -> Exception:
        watch = self._watch
        if watch.flooded:
            return NotSafe("it sends without end")
        if watch.refused and not watch.connections:
            return NotSafe(
                f"its address is {watch.refused[0]}, which is not public (or http://), "
                "and not in allow"
            )
        reasons = [problem]
        if isinstance(problem, ResponseFailed):
            reasons = [failure.value for failure in problem.reasons]
        for reason in reasons:
            if isinstance(reason, CancelledError | error.ConnectingCancelledError):
                return CancelledError()
            if isinstance(reason, VerificationError):
                return NotSafe("its certificate is for another name")
            if isinstance(reason, SSL.Error):
                return _of_tls(reason)
        if isinstance(problem, ResponseFailed):
            if problem.response is not None:
                return Unreachable("the connection ended in the middle of the answer")
            if all(isinstance(r, error.ConnectionClosed) for r in reasons):
                return Unreachable("the connection ended without an answer")
            why = _words(*reasons)
            return Unreachable(f"it sends no answer that can be read: {why}")
        return Unreachable(_words(problem))


def _header(response: IResponse, name: bytes) -> str:
    """@return: Empty if there is none."""
    value: bytes = response.headers.getRawHeaders(name, [b""])[0]
    return value.decode("utf-8", "replace")


def _of_tls(reason: SSL.Error) -> PorteroError:
    said = " ".join(str(part) for part in reason.args)
    if "certificate verify failed" in said:
        return NotSafe(
            "its certificate is not signed by an authority that this machine trusts, "
            "or is not valid now (are ca-certificates installed, is the clock right?)"
        )
    return Unreachable(f"TLS failed: {_one_line(said)}")


def _words(*reasons: Exception) -> str:
    return _one_line("; ".join(f"{type(r).__name__}: {r}" for r in reasons))


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)[:200].strip()


class _Collector(Protocol):
    """Takes a body, or so much of it as may be."""

    def __init__(self) -> None:
        self.done: Deferred[bytes] = Deferred()
        self._parts = bytearray()

    def dataReceived(self, data: bytes) -> None:
        self._parts += data
        if len(self._parts) > LARGEST:
            self._end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        # Without a length, the end of the connection is the end of the body.
        if reason.check(ResponseDone, PotentialDataLoss):
            self._end()
        elif not self.done.called:
            self.done.errback(reason)

    def _end(self) -> None:
        if not self.done.called:
            self.done.callback(bytes(self._parts))


@implementer(IBodyProducer)
class _Bytes:
    """A body that is there already."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self.length = len(body)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._body)
        return succeed(None)

    def pauseProducing(self) -> None:
        """All is written."""

    def resumeProducing(self) -> None:
        """All is written."""

    def stopProducing(self) -> None:
        """All is written."""

"""
The site: what every request goes through, and every answer carries, whatever resource
is asked. Resources are hung into a L{Root}.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.error import UnsupportedMethod
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from portero.reception import MOST_FORM
from portero.web.access import Access
from portero.web.problem import Problem, ProblemResource

WITHIN: Final = 10
"""Seconds in which a request has to be here, from the connection or last answer on."""
MOST_SILENT: Final = 500
"""Connections from one address on which no request has arrived yet."""
MOST_HEADERS: Final = 100
MOST_BODY: Final = 64 * 1024
"""Bytes of a request's body; more is refused unread."""
KEPT: Final = {
    "application/json": MOST_BODY,
    "application/x-www-form-urlencoded": MOST_FORM,
}
"""By kind: bodies that are kept, and their most bytes; others are thrown away."""
CSP: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # which uPlot needs
        "connect-src 'self'",
        "img-src 'self' data:",
        "media-src 'self' blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""Of every answer."""
TOO_LARGE: Final = "".join(
    [
        "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n",
        *(f"{name}: {value}\r\n" for name, value in HEADERS.items()),
        "\r\n",
    ]
).encode()
THERE_ARE: Final = (
    "there is nothing here; there are: / for browsers, /api/v1/openapi.json, /metrics, "
    "/healthz, /readyz, /health, /calls, /calls/CALL-ID, /register and /next/CALL-ID"
)


log = Logger()


class SiteRequest(Request):
    """Keeps of a body only what is small and of a kind that is used."""

    _body = 0
    _most = MOST_BODY
    _kept = False
    _chunked = False

    def gotLength(self, length: int | None) -> None:
        super().gotLength(0)
        kind = (self.getHeader(b"content-type") or b"").partition(b";")[0]
        most = KEPT.get(kind.strip().lower().decode("latin-1"))
        if most is not None:
            self._kept, self._most = True, most
        self._chunked = length is None  # then there is nothing to look at beforehand
        self._count(length or 0)

    def handleContentChunk(self, data: bytes) -> None:
        if self._chunked:
            self._count(len(data))
        if self._kept and self._body <= self._most:
            super().handleContentChunk(data)

    def process(self) -> None:
        if self._body > self._most:
            return
        for name, value in HEADERS.items():
            self.setHeader(name.encode(), value.encode())
        super().process()

    def render(self, resrc: Any) -> None:
        self.setHeader(b"server", b"portero")  # the version is nobody's business
        super().render(_Answering(resrc))

    def processingFailed(self, reason: Failure) -> None:
        """The traceback is for the log alone."""
        path = self.path.decode("ascii", "replace")
        log.failure("answering {path}", failure=reason, path=path)
        if self.startedWriting:
            self.loseConnection()
            return
        said = "this is a fault of portero; its log has more, please report it"
        self.write(Problem(500, said).answer(self))
        self.finish()

    def _count(self, more: int) -> None:
        before, self._body = self._body, self._body + more
        if before <= self._most < self._body:
            self.channel.write(TOO_LARGE)
            self.channel.loseConnection()


class _Answering:
    """A resource whose refusals are of our form, not Twisted's pages."""

    def __init__(self, resource: IResource) -> None:
        self._resource = resource

    def render(self, request: Request) -> Any:
        try:
            return self._resource.render(request)
        except UnsupportedMethod as error:
            method = request.method.decode("ascii", "replace")
            methods: Sequence[bytes] = error.allowedMethods
            allowed = b", ".join(sorted(methods)).decode()
            status = HTTPStatus.METHOD_NOT_ALLOWED
            said = f"{method} cannot be done here; there is: {allowed}"
            return Problem(status, said, {"Allow": allowed}).answer(request)
        except Problem as problem:
            return problem.answer(request)


class Root(Resource):
    """Everything, for those whom L{Access.refusal} lets through."""

    def __init__(self, access: Access, children: Mapping[str, IResource]) -> None:
        """@param children: By path, without the first slash; empty: the page."""
        super().__init__()
        self._access = access
        for path, child in children.items():
            self.hang(path, child)

    def hang(self, path: str, child: IResource) -> None:
        """@param path: Without the first slash; what leads there is made as needed."""
        *before, last = path.encode().split(b"/")
        place: Resource = self
        for name in before:
            if name not in place.children:
                place.putChild(name, _Branch())
            place = place.children[name]
        place.putChild(last, child)

    def getChild(self, path: bytes, request: Request) -> Resource:
        return ProblemResource(Problem(404, THERE_ARE))

    def getChildWithDefault(self, path: bytes, request: Request) -> Resource:
        refusal = self._access.refusal(request)
        if refusal is not None:
            return ProblemResource(refusal)
        found: Resource = super().getChildWithDefault(path, request)
        return found


class _Branch(Resource):
    """On the way to others."""

    def getChild(self, path: bytes, request: Request) -> Resource:
        return ProblemResource(Problem(404, THERE_ARE))

    def render(self, request: Request) -> bytes:
        return Problem(404, THERE_ARE).answer(request)


class SiteChannel(HTTPChannel):
    """
    Plain HTTP/1, with less patience than is usual: until a request is here. What then
    streams, and a WebSocket that took the connection over, may last.
    """

    transport: Any
    maxHeaders = MOST_HEADERS

    _spoken: Callable[[], None] | None = None

    def when_spoken(self, told: Callable[[], None]) -> None:
        """@param told: Called when there is a whole request, or never will be one."""
        self._spoken = told

    def resetTimeout(self) -> None:
        """Some bytes more are no reason to wait longer for the rest."""

    def timeoutConnection(self) -> None:
        """Not worth a line in the log: health checks leave connections open."""
        self.transport.abortConnection()

    def allContentReceived(self) -> None:
        self._speak()
        super().allContentReceived()

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._speak()
        super().connectionLost(reason)

    def _speak(self) -> None:
        spoken, self._spoken = self._spoken, None
        if spoken is not None:
            spoken()


class PorteroSite(Site):
    """A factory for HTTP connections that does not log each look at the status."""

    noisy = False
    displayTracebacks = False
    protocol = SiteChannel  # type: ignore[assignment]  # HTTP/1 alone is enough

    def __init__(
        self, root: Resource, admits: Callable[[IAddress | None], bool]
    ) -> None:
        """@param admits: Whether a connection from there may stay."""
        super().__init__(root, requestFactory=SiteRequest, timeout=WITHIN)
        self._admits = admits
        self._silent: Counter[str] = Counter()
        """By address: connections without a whole request so far."""
        self._refused: set[str] = set()

    def buildProtocol(self, addr: IAddress | None) -> Any:
        if not self._admits(addr):
            return None
        host = str(getattr(addr, "host", ""))
        if self._silent[host] >= MOST_SILENT:
            if host not in self._refused:
                self._refused.add(host)
                log.warn(
                    "no further connections from {address}: on {most} it has not asked "
                    "for anything yet",
                    address=host or "local sockets",
                    most=MOST_SILENT,
                )
            return None
        self._silent[host] += 1
        channel: Any = super().buildProtocol(addr)
        channel.when_spoken(lambda: self._has_spoken(host))
        return channel

    def _has_spoken(self, host: str) -> None:
        self._silent[host] -= 1
        if not self._silent[host]:
            del self._silent[host]
            self._refused.discard(host)

    def acceptableProtocols(self) -> list[bytes]:
        """HTTP/2 would be offered when its library happens to be installed."""
        return [b"http/1.1"]

    def log(self, request: Any) -> None:
        """Health checks come every few seconds."""

"""The status resource: is it well, which calls are there, how did that one end."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import Any, Final

from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from portero.service import Bridge

IDLE: Final = 10
"""Seconds after which a silent HTTP connection is closed."""
MOST_HEADERS: Final = 100
MOST_BODY: Final = 64 * 1024
"""Bytes of a request's body that are thrown away; more is refused unread."""


class StatusRequest(Request):
    """Nothing here reads a body, so none is kept."""

    _body = 0
    _chunked = False

    def gotLength(self, length: int | None) -> None:
        super().gotLength(0)
        self._chunked = length is None  # then there is nothing to look at beforehand
        self._count(length or 0)

    def handleContentChunk(self, data: bytes) -> None:
        if self._chunked:
            self._count(len(data))

    def _count(self, more: int) -> None:
        before, self._body = self._body, self._body + more
        if before <= MOST_BODY < self._body:
            self.channel.write(
                b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n\r\n"
            )
            self.channel.loseConnection()


class _Text(Resource):
    isLeaf = True

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        self._bridge = bridge

    def _json(self, request: Request, body: Any) -> bytes:
        return _answer(request, 200, json.dumps(body) + "\n", "application/json")


def _answer(request: Request, code: int, text: str, kind: str = "text/plain") -> bytes:
    body = text.encode()
    request.setResponseCode(code)
    request.setHeader(b"content-type", f"{kind}; charset=utf-8".encode())
    request.setHeader(b"cache-control", b"no-store")
    request.setHeader(b"x-content-type-options", b"nosniff")
    if request.method == b"HEAD":
        request.setHeader(b"content-length", str(len(body)).encode())
        return b""
    return body


class Healthz(_Text):
    """The process answers."""

    def render_GET(self, request: Request) -> bytes:
        return _answer(request, 200, "ok\n")


class Readyz(_Text):
    """A new call would be taken and answered; 503 with the reason otherwise."""

    def render_GET(self, request: Request) -> bytes:
        problem = self._bridge.problem()
        return _answer(request, 503 if problem else 200, (problem or "ready") + "\n")


class Calls(_Text):
    """The calls under way."""

    def render_GET(self, request: Request) -> bytes:
        calls = [call.snapshot() for call in tuple(self._bridge.calls.values())]
        return self._json(
            request,
            {
                "calls": calls,
                "answered": self._bridge.answered,
                "refused": self._bridge.refused,
            },
        )


class Ended(_Text):
    """
    How a call ended, for the dialplan: C{well}, or C{failed}, or C{unknown}.

    A portero that was killed looks to Asterisk like one that hung up; only this tells.
    """

    def render_GET(self, request: Request) -> bytes:
        call_id = b"/".join(request.postpath or []).decode("ascii", "replace").lower()
        failure = self._bridge.ended.get(call_id)
        if failure is None:
            return _answer(request, 404, "unknown")
        return _answer(request, 200, "failed" if failure else "well")


class Root(Resource):
    """Everything, for those who ask by address: a web page elsewhere can only name."""

    def __init__(self, bridge: Bridge) -> None:
        super().__init__()
        for path, leaf in (
            (b"healthz", Healthz),
            (b"readyz", Readyz),
            (b"calls", Calls),
            (b"ended", Ended),
        ):
            self.putChild(path, leaf(bridge))

    def getChild(self, path: bytes, request: Request) -> Resource:
        return Refusal(404, "there are: /healthz /readyz /calls /ended/CALL-ID\n")

    def getChildWithDefault(self, path: bytes, request: Request) -> Resource:
        hosts = request.requestHeaders.getRawHeaders("host", [])
        if not all(is_address(host) for host in hosts):
            return Refusal(403, "ask by address (127.0.0.1), not by name\n")
        found: Resource = super().getChildWithDefault(path, request)
        return found


class Refusal(Resource):
    isLeaf = True

    def __init__(self, code: int, text: str) -> None:
        super().__init__()
        self._code, self._text = code, text

    def render(self, request: Request) -> bytes:
        return _answer(request, self._code, self._text)


def is_address(host: str) -> bool:
    """
    Whether a C{Host} header holds an IP address or C{localhost}.

    A page can point a name of its own at this machine (DNS rebinding), and a browser
    then takes our answers for the page's.
    """
    name, colon, port = host.strip().rpartition(":")
    if not (colon and port.isdigit() and (name.endswith("]") or ":" not in name)):
        name = host.strip()
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    try:
        ip_address(name)
    except ValueError:
        return name.lower() == "localhost"
    return True


class StatusChannel(HTTPChannel):
    """Plain HTTP/1, with less patience for headers than is usual."""

    maxHeaders = MOST_HEADERS


class StatusSite(Site):
    """A factory for HTTP connections that does not log each look at the status."""

    noisy = False
    displayTracebacks = False
    protocol = StatusChannel  # type: ignore[assignment]  # HTTP/1 alone is enough

    def __init__(self, bridge: Bridge) -> None:
        super().__init__(Root(bridge), requestFactory=StatusRequest, timeout=IDLE)

    def log(self, request: Any) -> None:
        """Health checks come every few seconds."""

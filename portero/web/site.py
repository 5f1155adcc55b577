"""The status resource: is it well, which calls are there, what the dialplan asks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import quote, urlencode

from twisted.internet.interfaces import IAddress
from twisted.web.http import HTTPChannel
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from portero.networks import Network
from portero.reception import MOST_FORM, Reception, read_form
from portero.service import Bridge

WITHIN: Final = 10
"""Seconds in which a request has to be here, from the connection or last answer on."""
MOST_HEADERS: Final = 100
MOST_BODY: Final = 64 * 1024
"""Bytes of a request's body that are thrown away; more is refused unread."""
FORM: Final = "application/x-www-form-urlencoded"
"""Only such bodies are kept, and they may have L{MOST_FORM} bytes."""
THERE_ARE: Final = (
    "there are: /healthz /readyz /calls /calls/CALL-ID /register /next/CALL-ID\n"
)
HOW_TO_REGISTER: Final = (
    "POST a form: token, uuid (or none), caller_name, caller_number, called_number, "
    "agent, channel, and variables\n"
)


class StatusRequest(Request):
    """Keeps of a body only a small form."""

    _body = 0
    _most = MOST_BODY
    _kept = False
    _chunked = False

    def gotLength(self, length: int | None) -> None:
        super().gotLength(0)
        kind = _field(self, b"content-type").partition(";")[0]
        if kind.strip().lower() == FORM:
            self._kept, self._most = True, MOST_FORM
        self._chunked = length is None  # then there is nothing to look at beforehand
        self._count(length or 0)

    def handleContentChunk(self, data: bytes) -> None:
        if self._chunked:
            self._count(len(data))
        if self._kept:
            super().handleContentChunk(data)

    def process(self) -> None:
        if self._body <= self._most:
            super().process()

    def _count(self, more: int) -> None:
        before, self._body = self._body, self._body + more
        if before <= self._most < self._body:
            self.channel.write(
                b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n\r\n"
            )
            self.channel.loseConnection()


def _field(request: Request, name: bytes) -> str:
    """@return: The value of a header field, whatever its bytes; or nothing."""
    return (request.getHeader(name) or b"").decode("utf-8", "replace")


class _Text(Resource):
    isLeaf = True

    def __init__(self, bridge: Bridge, reception: Reception) -> None:
        super().__init__()
        self._bridge = bridge
        self._reception = reception

    def _json(self, request: Request, body: Any) -> bytes:
        return _answer(request, 200, json.dumps(body) + "\n", "application/json")

    def _form(self, request: Request, code: int, body: Mapping[str, str]) -> bytes:
        # CURL() of the dialplan takes %20 for a space always, and + not by default.
        return _answer(request, code, urlencode(body, quote_via=quote))

    def _known(self, request: Request) -> bool:
        """Whether the request may look at calls."""
        kind, _, token = _field(request, b"authorization").partition(" ")
        token = token.strip() if kind.lower() == "bearer" else ""
        return self._reception.knows(token, "GET /calls")

    def _refused(self, request: Request) -> bytes:
        request.setHeader(b"www-authenticate", b"Bearer")
        return _answer(request, 401, "needs: Authorization: Bearer TOKEN (web_token)\n")


def _id(request: Request) -> str:
    """The call's, from the end of the path."""
    return b"/".join(request.postpath or []).decode("ascii", "replace").lower()


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
    """The calls under way, with names and numbers; or one, also when it is over."""

    def render_GET(self, request: Request) -> bytes:
        if not self._known(request):
            return self._refused(request)
        call_id = _id(request)
        if call_id:
            return self._one(request, call_id)
        calls = [call.snapshot() for call in tuple(self._bridge.calls.values())]
        return self._json(
            request,
            {
                "calls": calls,
                "answered": self._bridge.answered,
                "refused": self._bridge.refused,
            },
        )

    def _one(self, request: Request, call_id: str) -> bytes:
        call = self._bridge.calls.get(call_id)
        if call is not None:
            return self._json(request, call.snapshot())
        record = self._bridge.ended.get(call_id)
        if record is not None:
            return self._json(request, record.as_json())
        return _answer(request, 404, "no such call, or long ago\n")


class Register(_Text):
    """
    The dialplan is about to send a call: it tells the facts and gets the id.

    The answer is a form, L{Reception.register}.
    """

    def render_GET(self, request: Request) -> bytes:
        request.setHeader(b"allow", b"POST")
        return _answer(request, 405, HOW_TO_REGISTER)

    def render_POST(self, request: Request) -> bytes:
        assert request.content is not None  # Request.gotLength made it
        answer = self._reception.register(read_form(request.content.read()))
        refused = answer["refused"]
        code = 200 if not refused else 403 if refused == "forbidden" else 503
        return self._form(request, code, answer)


class Next(_Text):
    """
    How a call ended, and where the dialplan should go on, as a form.

    A portero that was killed looks to Asterisk like one that hung up; only this tells.
    """

    def render_GET(self, request: Request) -> bytes:
        return self._form(request, 200, self._reception.next(_id(request)))


class Root(Resource):
    """Everything, for those who ask by address: a web page elsewhere can only name."""

    def __init__(self, bridge: Bridge, reception: Reception) -> None:
        super().__init__()
        for path, leaf in (
            (b"healthz", Healthz),
            (b"readyz", Readyz),
            (b"calls", Calls),
            (b"register", Register),
            (b"next", Next),
        ):
            self.putChild(path, leaf(bridge, reception))

    def getChild(self, path: bytes, request: Request) -> Resource:
        return Refusal(404, THERE_ARE)

    def getChildWithDefault(self, path: bytes, request: Request) -> Resource:
        hosts = request.requestHeaders.getRawHeaders(b"host", [])
        if not all(is_address(host.decode("latin-1")) for host in hosts):
            return Refusal(403, "ask by address (127.0.0.1), not by name\n")
        if request.method == b"POST" and request.requestHeaders.hasHeader("origin"):
            return Refusal(403, "not from a web page\n")
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
    """Plain HTTP/1, with less patience than is usual."""

    transport: Any
    maxHeaders = MOST_HEADERS

    def resetTimeout(self) -> None:
        """Some bytes more are no reason to wait longer for the rest."""

    def timeoutConnection(self) -> None:
        """Not worth a line in the log: health checks leave connections open."""
        self.transport.abortConnection()


class StatusSite(Site):
    """A factory for HTTP connections that does not log each look at the status."""

    noisy = False
    displayTracebacks = False
    protocol = StatusChannel  # type: ignore[assignment]  # HTTP/1 alone is enough

    def __init__(
        self, bridge: Bridge, reception: Reception, allow: Sequence[Network] = ()
    ) -> None:
        """@param allow: Networks beside this machine that may connect."""
        root = Root(bridge, reception)
        super().__init__(root, requestFactory=StatusRequest, timeout=WITHIN)
        self._reception = reception
        self._allow = tuple(allow)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        if not self._reception.admits(addr, self._allow):
            return None
        return super().buildProtocol(addr)

    def log(self, request: Any) -> None:
        """Health checks come every few seconds."""

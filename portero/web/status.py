"""The status resource: is it well, which calls are there, what the dialplan asks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from twisted.web.resource import Resource
from twisted.web.server import Request

from portero.reception import ANSWERS_REGISTER, Reception, read_form
from portero.service import Bridge
from portero.web.access import Access
from portero.web.problem import answer_bytes

HOW_TO_REGISTER: Final = (
    "POST a form: token, uuid (or none), caller_name, caller_number, called_number, "
    "agent, channel, and variables\n"
)

NO_TOKEN: Final = (
    "from another machine, or through a proxy, this takes a token: set "
    "PORTERO_WEB_TOKEN or [listen] web_token_file, and PORTERO_TOKEN in the dialplan"
)


def resources(
    bridge: Bridge,
    reception: Reception,
    access: Access,
    lag: Callable[[], str] = lambda: "",
) -> dict[str, Resource]:
    """
    @param lag: Says in words that the reactor is late, or nothing.
    @return: By path below the root of the site.
    """
    ready = Readiness(bridge, lag)
    return {
        "healthz": Healthz(),
        "readyz": Readyz(ready),
        "health": Health(bridge, ready),
        "calls": Calls(bridge, access),
        "register": Register(reception, access),
        "next": Next(reception),
    }


class Readiness:
    """Whether a new call would be taken and answered."""

    def __init__(self, bridge: Bridge, lag: Callable[[], str]) -> None:
        self._bridge = bridge
        self._lag = lag

    def problem(self) -> str:
        """@return: Empty, or why not."""
        return self._bridge.problem() or self._lag()


class Healthz(Resource):
    """The process answers."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        return _text(request, 200, "ok\n")


class Readyz(Resource):
    """A new call would be taken and answered; 503 with the reason otherwise."""

    isLeaf = True

    def __init__(self, ready: Readiness) -> None:
        super().__init__()
        self._ready = ready

    def render_GET(self, request: Request) -> bytes:
        problem = self._ready.problem()
        return _text(request, 503 if problem else 200, (problem or "ready") + "\n")


class Health(Resource):
    """As L{Readyz}, in the form that monitors of other bridges know."""

    isLeaf = True

    def __init__(self, bridge: Bridge, ready: Readiness) -> None:
        super().__init__()
        self._bridge = bridge
        self._ready = ready

    def render_GET(self, request: Request) -> bytes:
        well = not self._ready.problem()
        found = {
            "status": "healthy" if well else "unhealthy",
            "service": "portero",
            "active_calls": len(self._bridge.calls),
        }
        return _json(request, found, 200 if well else 503)


class Calls(Resource):
    """The calls under way, with names and numbers; or one, also when it is over."""

    isLeaf = True

    def __init__(self, bridge: Bridge, access: Access) -> None:
        super().__init__()
        self._bridge = bridge
        self._access = access

    def render_GET(self, request: Request) -> bytes:
        if not self._access.allows(request, "read"):
            return self._access.deny(request, "read")
        call_id = _id(request)
        if call_id:
            return self._one(request, call_id)
        calls = [call.snapshot() for call in tuple(self._bridge.calls.values())]
        return _json(
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
            return _json(request, call.snapshot())
        record = self._bridge.ended.get(call_id)
        if record is not None:
            return _json(request, record.as_json())
        return _text(request, 404, "no such call, or long ago\n")


class Register(Resource):
    """
    The dialplan is about to send a call: it tells the facts and gets the id.

    The answer is a form, L{Reception.register}.
    """

    isLeaf = True

    def __init__(self, reception: Reception, access: Access) -> None:
        super().__init__()
        self._reception = reception
        self._access = access

    def render(self, request: Request) -> Any:
        if request.method != b"POST":
            request.setHeader(b"allow", b"POST")
            return _text(request, 405, HOW_TO_REGISTER)
        return super().render(request)

    def render_POST(self, request: Request) -> bytes:
        assert request.content is not None  # Request.gotLength made it
        form = read_form(request.content.read())
        if self._access.is_trusted_to_register(request):
            answer = self._reception.register(form)
        else:
            answer = dict.fromkeys(ANSWERS_REGISTER, "")
            answer |= {"refused": "forbidden", "reason": NO_TOKEN}
            self._reception.refused("call announced by the dialplan", NO_TOKEN)
        refused = answer["refused"]
        code = 200 if not refused else 403 if refused == "forbidden" else 503
        return _form(request, code, answer)


class Next(Resource):
    """
    How a call ended, and where the dialplan should go on, as a form.

    A portero that was killed looks to Asterisk like one that hung up; only this tells.
    """

    isLeaf = True

    def __init__(self, reception: Reception) -> None:
        super().__init__()
        self._reception = reception

    def render_GET(self, request: Request) -> bytes:
        return _form(request, 200, self._reception.next(_id(request)))


def _id(request: Request) -> str:
    """The call's, from the end of the path."""
    return b"/".join(request.postpath or []).decode("ascii", "replace").lower()


def _json(request: Request, body: Any, code: int = 200) -> bytes:
    kind = "application/json; charset=utf-8"
    return answer_bytes(request, (json.dumps(body) + "\n").encode(), kind, code)


def _form(request: Request, code: int, body: Mapping[str, str]) -> bytes:
    # CURL() of the dialplan takes %20 for a space always, and + not by default.
    return _text(request, code, urlencode(body, quote_via=quote))


def _text(request: Request, code: int, text: str) -> bytes:
    return answer_bytes(request, text.encode(), "text/plain; charset=utf-8", code)

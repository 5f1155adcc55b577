"""Logging in and out, and who one is: the page's own part of the API."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from portero import __version__
from portero.web.access import NOBODY, Access, Visitor
from portero.web.passwords import LONGEST
from portero.web.problem import Problem, answer_json

HOW: Final = 'send {"name": "...", "password": "..."}, or {"token": "..."}'


def resources(access: Access) -> dict[str, Resource]:
    """@return: By path below the API's own."""
    return {"me": Me(access), "login": Login(access), "logout": Logout(access)}


def describe(visitor: Visitor) -> dict[str, Any]:
    """@return: What a visitor is told of himself."""
    return {
        "name": visitor.name,
        "rights": sorted(visitor.rights),
        "needs_login": visitor is NOBODY,
        "version": __version__,
    }


class Me(Resource):
    """Who asks; anybody may."""

    isLeaf = True

    def __init__(self, access: Access) -> None:
        super().__init__()
        self._access = access

    def render_GET(self, request: Request) -> bytes:
        return answer_json(request, describe(self._access.visitor(request)))


class _Posted(Resource):
    """What can only be posted."""

    isLeaf = True

    def __init__(self, access: Access) -> None:
        super().__init__()
        self._access = access

    def render(self, request: Request) -> Any:
        if request.method != b"POST":
            raise Problem(405, "POST this", {"Allow": "POST"})
        return super().render(request)


class Login(_Posted):
    """A name and a password, or a token, become a cookie."""

    log = Logger()

    def render_POST(self, request: Request) -> Any:
        given = _read(request)
        if "token" in given:
            visitor = self._access.log_in_with_token(request, given["token"])
            return answer_json(request, describe(visitor))
        name, password = given["name"], given["password"]
        later = _Later(request)
        done = Deferred.fromCoroutine(
            self._answer(request, self._access.log_in(request, name, password))
        )
        done.addErrback(self._failed, request)
        done.addCallback(later.give)
        return NOT_DONE_YET

    async def _answer(self, request: Request, visitor: Awaitable[Visitor]) -> bytes:
        return answer_json(request, describe(await visitor))

    def _failed(self, failure: Failure, request: Request) -> bytes:
        if isinstance(failure.value, Problem):
            return failure.value.answer(request)
        self.log.failure("a login", failure=failure)
        said = "this is a fault of portero; its log has more, please report it"
        return Problem(500, said).answer(request)


class Logout(_Posted):
    """The cookie is worth nothing any more. Again does no harm."""

    def render_POST(self, request: Request) -> bytes:
        if _json(request, "send {}") != {}:
            raise Problem(400, "send {}")
        self._access.log_out(request)
        request.setResponseCode(204)
        return b""


class _Later:
    """Answers, unless nobody waits for it any more."""

    def __init__(self, request: Request) -> None:
        self._request: Request | None = request
        request.notifyFinish().addErrback(self._gone)

    def give(self, body: bytes) -> None:
        if self._request is not None:
            self._request.write(body)
            self._request.finish()

    def _gone(self, failure: Failure) -> None:
        self._request = None


def _read(request: Request) -> dict[str, str]:
    """
    @return: C{token}, or C{name} and C{password}.
    @raise Problem: It is something else.
    """
    given = _json(request, HOW)
    if not isinstance(given, dict) or set(given) not in (
        {"token"},
        {"name", "password"},
    ):
        raise Problem(400, HOW)
    for name, value in given.items():
        if not isinstance(value, str) or len(value) > LONGEST:
            raise Problem(400, f"{name} must be a text of at most {LONGEST} characters")
    return given


def _json(request: Request, how: str) -> Any:
    """
    @param how: What to send.
    @raise Problem: It is none.
    """
    assert request.content is not None  # Request.gotLength made it
    try:
        return json.loads(request.content.read())
    except (ValueError, RecursionError):
        raise Problem(400, f"this is not JSON: {how}") from None

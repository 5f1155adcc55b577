"""What went wrong with a request, as RFC 9457 has it: for programs, and for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from twisted.web.resource import Resource
from twisted.web.server import Request

KIND: Final = "application/problem+json"
NO_HEADERS: Final[Mapping[str, str]] = {}


class Problem(Exception):
    """A request cannot be answered as it was asked."""

    def __init__(
        self, status: int, detail: str, headers: Mapping[str, str] = NO_HEADERS
    ) -> None:
        """
        @param status: Of HTTP.
        @param detail: What is wrong with just this request, and what to do.
        @param headers: To be sent along, such as C{Allow}.
        """
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers

    def as_json(self) -> dict[str, Any]:
        return {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }

    def answer(self, request: Request) -> bytes:
        """@return: The body, after the head of the response was set."""
        for name, value in self.headers.items():
            request.setHeader(name.encode(), value.encode())
        return answer_json(request, self.as_json(), self.status, KIND)


class ProblemResource(Resource):
    """Where nothing else can be had."""

    isLeaf = True

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self._problem = problem

    def render(self, request: Request) -> bytes:
        return self._problem.answer(request)


def answer_json(
    request: Request, value: Any, status: int = 200, kind: str = "application/json"
) -> bytes:
    """@return: The body, after the head of the response was set."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return answer_bytes(request, body, kind, status)


def answer_bytes(request: Request, body: bytes, kind: str, status: int = 200) -> bytes:
    """
    @param kind: The media type.
    @return: The body, after the head of the response was set; nothing for C{HEAD}.
    """
    request.setResponseCode(status, HTTPStatus(status).phrase.encode())
    request.setHeader(b"content-type", kind.encode())
    request.setHeader(b"content-length", str(len(body)).encode())
    return b"" if request.method == b"HEAD" else body

"""The HTTP API: finds what was asked for, judges it, and answers."""

from __future__ import annotations

from collections.abc import Coroutine, Iterable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from portero.settings import nearest
from portero.web.access import Access
from portero.web.operation import (
    Asked,
    Download,
    Operation,
    read_body,
    read_query,
)
from portero.web.problem import Problem, answer_bytes, answer_json

PLACE: Final = "/api/v1"
SEE: Final = f"GET {PLACE}/openapi.json describes them all"


class Api(Resource):
    """What is under L{PLACE}. Resources of others may be children of it."""

    log = Logger()

    def __init__(self, operations: Iterable[Operation], access: Access) -> None:
        """@param operations: Those that others do are known to be there."""
        super().__init__()
        self._access = access
        self._paths: dict[tuple[str, ...], dict[str, Operation]] = {}
        for operation in operations:
            path = tuple(operation.path.strip("/").split("/"))
            methods = self._paths.setdefault(path, {})
            methods[operation.method] = operation
            if operation.method == "GET" and not operation.endless:
                methods["HEAD"] = operation

    def render(self, request: Request) -> bytes:
        return self._unknown(()).answer(request)

    def getChild(self, path: bytes, request: Request) -> Resource:
        parts = [path, *(request.postpath or [])]
        return _Leaf(self, tuple(part.decode("utf-8", "replace") for part in parts))

    def answer(self, request: Request, parts: tuple[str, ...]) -> Any:
        """
        @param parts: Of the path, below L{PLACE}.
        @return: What C{Resource.render} may.
        @raise Problem: It cannot be answered; the site tells it.
        """
        operation, call_id = self._find(request, parts)
        if operation.do is None:  # a resource beneath this one would have done it
            raise self._unknown(parts)
        if operation.right:
            self._access.require(request, operation.right)
        asked = Asked(
            request,
            self._access,
            call_id,
            read_query(request, operation.query),
            {} if operation.body is None else read_body(request, operation.body),
        )
        result = operation.do(asked)
        if not isinstance(result, Coroutine):
            return _answer(request, operation, result)
        later = _Later(request)
        done: Deferred[Any] = Deferred.fromCoroutine(result)
        done.addCallback(lambda value: _answer(request, operation, value))
        done.addErrback(lambda failure: self._failed(request, failure))
        done.addCallback(later.give)
        return NOT_DONE_YET

    def _find(self, request: Request, parts: tuple[str, ...]) -> tuple[Operation, str]:
        """@raise Problem: There is no such path, or it has not this method."""
        while parts and not parts[-1]:
            parts = parts[:-1]
        call_id, methods = "", self._paths.get(parts)
        if methods is None and len(parts) > 1:
            call_id = parts[1].lower()
            methods = self._paths.get((parts[0], "{id}", *parts[2:]))
        if methods is None:
            raise self._unknown(parts)
        method = request.method.decode("ascii", "replace")
        operation = methods.get(method)
        if operation is None:
            there = sorted(methods)
            raise Problem(
                405,
                f"{method} cannot be done here; there is: {', '.join(there)}",
                {"Allow": ", ".join(there)},
            )
        return operation, call_id

    def _unknown(self, parts: tuple[str, ...]) -> Problem:
        hint = ""
        if parts:
            path = [part if n != 1 else "{id}" for n, part in enumerate(parts)]
            known = sorted("/" + "/".join(one) for one in self._paths)
            hint = nearest("/" + "/".join(path), known)
        hint = hint if "?" in hint else ""
        return Problem(404, f"there is nothing here{hint}; {SEE}")

    def _failed(self, request: Request, failure: Failure) -> Any:
        if isinstance(failure.value, Problem):
            return failure.value.answer(request)
        self.log.failure(
            "answering {path}",
            failure=failure,
            path=request.path.decode("ascii", "replace"),
        )
        if request.startedWriting:
            request.loseConnection()
            return NOT_DONE_YET
        said = "this is a fault of portero; its log has more, please report it"
        return Problem(500, said).answer(request)


class _Leaf(Resource):
    isLeaf = True

    def __init__(self, api: Api, parts: tuple[str, ...]) -> None:
        super().__init__()
        self._api = api
        self._parts = parts

    def render(self, request: Request) -> Any:
        return self._api.answer(request, self._parts)


class _Later:
    """Answers, unless nobody waits for it any more."""

    def __init__(self, request: Request) -> None:
        self._request: Request | None = request
        request.notifyFinish().addErrback(self._gone)

    def give(self, body: Any) -> None:
        if self._request is not None and body is not NOT_DONE_YET:
            self._request.write(body)
            self._request.finish()

    def _gone(self, failure: Failure) -> None:
        self._request = None


def _answer(request: Request, operation: Operation, result: Any) -> Any:
    if result is NOT_DONE_YET:
        return result
    status = operation.answer.status
    if isinstance(result, Download):
        if result.name:
            name = f'attachment; filename="{result.name}"'
            request.setHeader(b"content-disposition", name.encode())
        return answer_bytes(request, result.body, result.kind, status)
    return answer_json(request, result, status)

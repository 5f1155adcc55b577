"""
One thing that the API can be asked: who may, what is to be given, what comes back. The
same table answers requests, judges them, and is printed as the OpenAPI document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from twisted.web.server import Request

from portero import arguments
from portero.web.origin import source
from portero.web.problem import Problem

if TYPE_CHECKING:
    from portero.web.access import Access

JSON: Final = "application/json"
READ: Final = "read"
ACT: Final = "act"
LISTEN: Final = "listen"
ANYBODY: Final = ""
WHOLE: Final = re.compile(r"-?[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Parameter:
    """Of the query."""

    name: str
    schema: Mapping[str, Any]
    about: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What comes back when all goes well."""

    about: str
    schema: Mapping[str, Any] | None = None
    """Of the JSON, or of one piece of another kind; L{None}: there is no body."""
    kind: str = JSON
    status: int = 200
    also: Mapping[int, str] = field(default_factory=dict)
    """Other answers of the same kind, by status."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A method on a path."""

    method: str
    path: str
    """Below the API's own. May hold C{{id}}, the id of a call, as its second part."""
    name: str
    """Unique; programs made from the document call it so."""
    right: str
    about: str
    do: Callable[[Asked], Any] | None
    """
    Gives what is answered as JSON, or a L{Download}; or a coroutine of these; or
    C{NOT_DONE_YET} when it answers by itself. L{None}: a resource of its own does it.
    """
    answer: Answer
    query: tuple[Parameter, ...] = ()
    body: Mapping[str, Any] | None = None
    """A JSON Schema, as flat as those of L{portero.arguments}."""
    takes: str = JSON
    """The media type of the body."""
    endless: bool = False
    """There is no end to the answer, so that nobody can ask for its head alone."""
    problems: Mapping[int, str] = field(default_factory=dict)
    """By status: what else may go wrong, apart from what can in every operation."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was understood, from somebody who may."""

    request: Request
    access: Access
    id: str
    """Of the call in the path; or empty."""
    query: Mapping[str, Any]
    body: Mapping[str, Any]

    @property
    def who(self) -> str:
        """For the audit log: a name, or where they are."""
        return self.access.visitor(self.request).name or source(self.request)


@dataclass(frozen=True, slots=True)
class Download:
    """A file made on demand."""

    body: bytes
    kind: str
    name: str = ""
    """To be saved as; empty: to be looked at."""


def read_query(request: Request, known: tuple[Parameter, ...]) -> dict[str, Any]:
    """
    @return: By name, each in the type of its schema.
    @raise Problem: There is one that is not known, or is not what it should be.
    """
    text = request.uri.partition(b"?")[2]
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict")
    except ValueError:
        raise Problem(400, "the query is not UTF-8, percent-encoded") from None
    properties = {one.name: one.schema for one in known}
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise Problem(400, f"give {arguments.shown(name, 40)} once")
        whole = properties.get(name, {}).get("type") == "integer"
        found[name] = int(value) if whole and WHOLE.fullmatch(value) else value
    schema = {"properties": properties, "additionalProperties": False}
    wrong = arguments.problem(schema, found)
    if wrong:
        raise Problem(400, f"of the query: {wrong}")
    return found


def read_body(request: Request, schema: Mapping[str, Any]) -> dict[str, Any]:
    """
    @return: The JSON object that was sent.
    @raise Problem: It is something else, or does not fit.
    """
    text = request.content.read() if request.content is not None else b""
    kind = (request.getHeader(b"content-type") or b"").partition(b";")[0]
    example = json.dumps(schema.get("example", {}))
    if kind.strip().lower() != JSON.encode():
        raise Problem(
            415, f"send JSON, as Content-Type: {JSON}; for instance {example}"
        )
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Problem(
            400, f"the body is not JSON ({str(error)[:80]}); send {example}"
        ) from None
    if not isinstance(found, dict):
        raise Problem(400, f"the body is not a JSON object; send {example}")
    wrong = arguments.problem(schema, found)
    if wrong:
        raise Problem(400, f"of the body: {wrong}; send {example}")
    return found

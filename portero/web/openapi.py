"""The API's description of itself: OpenAPI 3.1, made of the table that answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from portero import __version__
from portero.web.operation import (
    ANYBODY,
    JSON,
    Answer,
    Asked,
    Download,
    Operation,
    Parameter,
)
from portero.web.problem import KIND
from portero.web.schemas import SCHEMAS, ref

SERVER: Final = "/api/v1"
ABOUT: Final = (
    "See and steer the calls of portero. Errors are application/problem+json, whose "
    "detail says what to do. More in docs/api.rst."
)
RIGHTS: Final = "Needs the right to {right}. "
IN_ANY_CASE: Final[Mapping[int, str]] = {
    401: "Nobody said who they are, and it is needed; or the token is wrong.",
    403: "The right is missing, or a page of another site asks.",
    429: "Too many wrong passwords or tokens: wait for Retry-After.",
}


def with_document(operations: Iterable[Operation]) -> tuple[Operation, ...]:
    """@return: These, and the one that describes them all, itself too."""
    document: bytes

    def answer(asked: Asked) -> Download:
        return Download(document, JSON)

    own = Operation(
        "GET",
        "/openapi.json",
        "openapi",
        ANYBODY,
        "This description.",
        answer,
        Answer("OpenAPI 3.1.", {"type": "object"}),
    )
    all_of_them = (*operations, own)
    document = json.dumps(describe(all_of_them), indent=1).encode()
    return all_of_them


def describe(operations: Iterable[Operation]) -> dict[str, Any]:
    """@return: Plain values, as JSON has them."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        item = paths.setdefault(operation.path, {})
        item[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "portero",
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": SERVER}],
        "security": [{"token": []}, {"cookie": []}, {}],
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "responses": {
                "Problem": {
                    "description": "It could not be done; detail says what to do.",
                    "content": {KIND: {"schema": ref("Problem")}},
                }
            },
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Of [users.NAME], from portero passwd --token; or "
                    "the web token, which may only read.",
                },
                "cookie": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "portero",
                    "description": "From POST /login; for pages.",
                },
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    right = RIGHTS.format(right=operation.right) if operation.right else ""
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.about,
        "description": f"{right}{operation.about}",
        "responses": {
            **_responses(operation.answer),
            **{
                str(status): _problem(about)
                for status, about in sorted(_problems(operation).items())
            },
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }
    parameters = [_parameter(one) for one in operation.query]
    if "{id}" in operation.path:
        parameters.insert(0, dict(_ID))
    if parameters:
        found["parameters"] = parameters
    if operation.right == ANYBODY:
        found["security"] = [{}]
    if operation.body is not None:
        schema = {
            key: operation.body[key] for key in operation.body if key != "example"
        }
        found["requestBody"] = {
            "required": True,
            "content": {
                operation.takes: {
                    "schema": schema,
                    "example": operation.body.get("example", {}),
                }
            },
        }
    return found


_ID: Final[Mapping[str, Any]] = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "The UUID of a call.",
    "schema": {"type": "string", "minLength": 1},
    "example": "6f1c0f5e-0c4e-4f5a-9a59-1f2d3c4b5a69",
}


def _parameter(one: Parameter) -> dict[str, Any]:
    return {
        "name": one.name,
        "in": "query",
        "description": one.about,
        "schema": one.schema,
    }


def _responses(answer: Answer) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, about in {answer.status: answer.about, **answer.also}.items():
        found[str(status)] = {"description": about}
        if answer.schema is not None:
            found[str(status)]["content"] = {answer.kind: {"schema": answer.schema}}
    return found


def _problems(operation: Operation) -> dict[int, str]:
    found = dict(IN_ANY_CASE) if operation.right else {}
    if "{id}" in operation.path:
        found[404] = "There is no such call, or it was long ago."
    if operation.query:
        found[400] = "A parameter is unknown, or not what it should be."
    if operation.body is not None:
        found[400] = "The body is not what it should be."
        found[413] = "The body is too long."
    if operation.body is not None and operation.takes == JSON:
        found[415] = "The body is not JSON, or does not say so."
    return {**found, **operation.problems}


def _problem(about: str) -> dict[str, Any]:
    return {"description": about, "content": {KIND: {"schema": ref("Problem")}}}

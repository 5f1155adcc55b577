"""What is under the API's place and has a resource of its own: described here only."""

from __future__ import annotations

from typing import Any, Final

from portero.web import schemas
from portero.web.operation import ANYBODY, Answer, Operation
from portero.web.passwords import LONGEST

FORM: Final = "application/x-www-form-urlencoded"
PLAIN: Final = "text/plain; charset=utf-8"
"""A form too, but CURL() of a dialplan takes no other kind."""


def _text(most: int) -> dict[str, Any]:
    return {"type": "string", "maxLength": most}


OPERATIONS: Final = (
    Operation(
        "GET",
        "/me",
        "me",
        ANYBODY,
        "Who one is, and what one may.",
        None,
        Answer("Anybody may ask.", schemas.ref("Me")),
    ),
    Operation(
        "POST",
        "/login",
        "login",
        ANYBODY,
        "Get a cookie for a name and a password, or for a token.",
        None,
        Answer("As GET /me, with a cookie.", schemas.ref("Me")),
        body={
            "oneOf": [
                {
                    "type": "object",
                    "properties": {"name": _text(LONGEST), "password": _text(LONGEST)},
                    "required": ["name", "password"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {"token": _text(LONGEST)},
                    "required": ["token"],
                    "additionalProperties": False,
                },
            ],
            "example": {"name": "ana", "password": "..."},
        },
        problems={
            401: "The name or the password is wrong, or the token.",
            403: "A page of another site asks.",
            429: "There were too many wrong ones: wait for Retry-After.",
        },
    ),
    Operation(
        "POST",
        "/logout",
        "logout",
        ANYBODY,
        "Give the cookie up.",
        None,
        Answer("It is worth nothing any more.", status=204),
        body={
            "type": "object",
            "properties": {},
            "additionalProperties": False,
            "example": {},
        },
        problems={403: "A page of another site asks."},
    ),
    Operation(
        "POST",
        "/register",
        "register",
        ANYBODY,
        "For the dialplan: tell of a call that is about to come.",
        None,
        Answer(
            "A form: uuid, refused, reason.",
            {"type": "string"},
            kind=PLAIN,
            also={
                403: "The same, refused: the token is wrong.",
                503: "The same, refused: it would not be answered.",
            },
        ),
        takes=FORM,
        body={
            "type": "object",
            "properties": {
                name: {"type": "string"}
                for name in (
                    *("token", "uuid", "caller_name", "caller_number"),
                    *("called_number", "agent", "channel"),
                )
            },
            "example": {"caller_number": "+34911234567"},
        },
    ),
    Operation(
        "GET",
        "/next/{id}",
        "next",
        ANYBODY,
        "For the dialplan: how a call ended, and where to go on.",
        None,
        Answer(
            "A form: outcome, next, reason, seconds, turns, cost, agent, summary.",
            {"type": "string"},
            kind=PLAIN,
        ),
    ),
)

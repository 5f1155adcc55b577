"""What is logged, and how to have more of it for a while."""

from __future__ import annotations

from typing import Any, Final

from portero.facts import harmless
from portero.log_sections import (
    LEVELS,
    LONGEST_NAMESPACE,
    NAMESPACE,
    namespace_problem,
)
from portero.logs.log import Log
from portero.web import schemas
from portero.web.operation import ACT, READ, Answer, Asked, Operation
from portero.web.problem import Problem

ALL: Final = "portero"
"""The namespace, unless one is given."""
SECONDS: Final = 900
"""How long, unless it is said: nobody remembers to take it back."""
MOST_SECONDS: Final = 86400
MOST_SET: Final = 50
"""Namespaces at once."""
_BODY: Final = {
    "type": "object",
    "properties": {
        "namespace": {
            "type": "string",
            "pattern": f"^{NAMESPACE}$",
            "maxLength": LONGEST_NAMESPACE,
        },
        "level": {"type": "string", "enum": [*LEVELS]},
        "for": {"type": "number", "minimum": 0, "maximum": MOST_SECONDS},
    },
    "required": ["level"],
    "additionalProperties": False,
    "example": {"namespace": "portero.providers", "level": "debug", "for": SECONDS},
}


class LogApi:
    """Levels by the part of the program."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def operations(self) -> tuple[Operation, ...]:
        answer = Answer("As it is now.", schemas.ref("Log"))
        return (
            Operation(
                "GET",
                "/log",
                "log",
                READ,
                "What is logged.",
                lambda asked: self._told(),
                answer,
            ),
            Operation(
                "PUT",
                "/log",
                "set_log_level",
                ACT,
                "Log more, or less, of a part of the program for a while.",
                self._set,
                answer,
                body=_BODY,
                problems={
                    404: "portero has no such part.",
                    409: "There are too many already, or twistd logs with another "
                    "--logger.",
                },
            ),
        )

    def _told(self) -> dict[str, Any]:
        log = self._log
        levels: dict[str, Any] = {
            namespace: {"namespace": namespace, "level": level, "seconds_left": None}
            for namespace, level in log.levels.configured.items()
        }
        for namespace, now in log.levels.set.items():
            levels[namespace] = {
                "namespace": namespace,
                "level": now.level,
                "seconds_left": round(log.seconds_left(namespace), 1),
            }
        return {"level": log.levels.level, "namespaces": [*levels.values()]}

    def _set(self, asked: Asked) -> dict[str, Any]:
        log, body = self._log, asked.body
        namespace = body.get("namespace", ALL)
        problem = namespace_problem(namespace)
        if problem:
            raise Problem(404, f"{namespace} {problem}")
        if not log.is_written:
            raise Problem(
                409,
                "twistd was started with --logger, so that what is logged is not "
                "portero's to say: start it without",
            )
        if len(log.levels.set) >= MOST_SET and namespace not in log.levels.set:
            raise Problem(
                409,
                f"levels of {MOST_SET} namespaces are set already: wait until their "
                "time is over, or take some back with for: 0",
            )
        seconds = body.get("for", SECONDS)
        log.set_level(namespace, body["level"], seconds, harmless(asked.who))
        return self._told()

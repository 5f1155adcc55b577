"""Calls from a browser: who may make one, and with whom."""

from __future__ import annotations

from typing import Any

from portero.transports.browser import TalkResource
from portero.web.operation import ACT, Answer, Asked, Operation, Parameter
from portero.web.origin import is_upgrade
from portero.web.problem import Problem


class TalkApi:
    """A request that becomes a call."""

    def __init__(self, talk: TalkResource) -> None:
        self._talk = talk

    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation(
                "GET",
                "/talk",
                "talk",
                ACT,
                "Talk with an agent: a WebSocket. docs/api.rst has what goes over it.",
                self._upgrade,
                Answer("It is one now.", status=101),
                query=(
                    Parameter(
                        "agent",
                        {"type": "string", "maxLength": 100},
                        "Its name; else portero chooses.",
                    ),
                ),
                endless=True,
                problems={426: "This is a WebSocket."},
            ),
        )

    def _upgrade(self, asked: Asked) -> Any:
        if not is_upgrade(asked.request):
            raise Problem(
                426, "this is a WebSocket: see docs/api.rst", {"Upgrade": "websocket"}
            )
        return self._talk.upgrade(asked.request, asked.query.get("agent", ""))

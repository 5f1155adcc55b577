"""
What an operator can do to a call, and to the house. Each is a line of the log, in the
namespace C{portero.audit}: who did what to which call, and what came of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from twisted.logger import Logger

from portero.facts import harmless
from portero.interfaces import IOperatedCall, IWatchedCall
from portero.service import Bridge
from portero.settings import nearest
from portero.web import schemas
from portero.web.operation import ACT, Answer, Asked, Operation
from portero.web.problem import Problem

MOST_WORDS: Final = 1000
"""Characters that the agent can be told at once."""

UNSEEN: Final = (
    r"\u0000-\u0020\u007f-\u00a0\u00ad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f"
    r"\u205f-\u206f\u3000\ufeff\ufff9-\ufffb"
)
"""Within the brackets of a regular expression, Python's and others': spaces, control
characters, and those that have no look of their own."""

_AUDIT: Final = Logger("portero.audit")
"""Not of the class, whose name would take the place of that one."""

_DONE: Final = Answer("The call was told.", schemas.ref("Nothing"), status=202)
_ENDING: Final = {404: "No such call is under way.", 409: "The call is ending."}


def find(bridge: Bridge, call_id: str) -> IWatchedCall:
    """@raise Problem: It is not under way."""
    call = bridge.calls.get(call_id)
    if call is None:
        over = " any more" if call_id in bridge.ended else ""
        raise Problem(
            404,
            f"no call {harmless(call_id, 40)} is under way{over}; see /api/v1/calls",
        )
    return call


class Actions:
    """For those with the right to act."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation(
                "POST",
                "/calls/{id}/say",
                "say",
                ACT,
                "Tell the agent what the caller does not hear, and have it act.",
                self._say,
                _DONE,
                body={
                    "type": "object",
                    "properties": {
                        "text": {
                            "type": "string",
                            "minLength": 1,
                            "maxLength": MOST_WORDS,
                            "pattern": rf"^[\s\S]*[^{UNSEEN}][\s\S]*$",
                        }
                    },
                    "required": ["text"],
                    "additionalProperties": False,
                    "example": {"text": "Offer a discount of ten per cent."},
                },
                problems=_ENDING,
            ),
            Operation(
                "POST",
                "/calls/{id}/transfer",
                "transfer",
                ACT,
                "Send the caller somewhere else, once the agent has finished speaking.",
                self._transfer,
                _DONE,
                body={
                    "type": "object",
                    "properties": {
                        "target": {"type": "string", "minLength": 1, "maxLength": 100},
                        "even_closed": {"type": "boolean"},
                    },
                    "required": ["target"],
                    "additionalProperties": False,
                    "example": {"target": "sales"},
                },
                problems={
                    404: "There is no such call under way, or no such target.",
                    409: "The call is ending or being transferred already, or the "
                    "target is closed (send even_closed to go there all the same).",
                },
            ),
            Operation(
                "POST",
                "/calls/{id}/hang_up",
                "hang_up",
                ACT,
                "End the call, at once.",
                self._hang_up,
                _DONE,
                body={
                    "type": "object",
                    "properties": {},
                    "additionalProperties": False,
                    "example": {},
                },
                problems=_ENDING,
            ),
            Operation(
                "POST",
                "/calls/{id}/recording",
                "pause_recording",
                ACT,
                "Pause the recording of a call, of its sound and its words; or go on "
                "with it.",
                self._pause_recording,
                _DONE,
                body={
                    "type": "object",
                    "properties": {"paused": {"type": "boolean"}},
                    "required": ["paused"],
                    "additionalProperties": False,
                    "example": {"paused": True},
                },
                problems=_ENDING,
            ),
            Operation(
                "POST",
                "/drain",
                "drain",
                ACT,
                "Take no new calls and let those under way end; or take them again.",
                self._drain,
                Answer("How it is now.", schemas.ref("Draining")),
                body={
                    "type": "object",
                    "properties": {"draining": {"type": "boolean"}},
                    "required": ["draining"],
                    "additionalProperties": False,
                    "example": {"draining": True},
                },
            ),
        )

    def _say(self, asked: Asked) -> dict[str, Any]:
        text = plain(asked.body["text"])
        return self._do(asked, "say", lambda call: call.whisper(text, asked.who))

    def _transfer(self, asked: Asked) -> dict[str, Any]:
        call, name = find(self._bridge, asked.id), asked.body["target"]
        roster = self._bridge.roster
        known = {target.name: target for target in roster.targets(call.agent)}
        if name not in known:
            hint = nearest(name, known)
            said = harmless(name)
            raise Problem(404, f"there is no target {said!r} among [targets.*]{hint}")
        if not known[name].open and not asked.body.get("even_closed", False):
            raise Problem(
                409,
                f"{name} is closed now (hours of [targets.{name}]); to transfer there "
                "all the same, send even_closed: true",
            )
        place = roster.place(name)
        assert place is not None  # it is known
        return self._do(
            asked,
            f"transfer to {name}",
            lambda call: call.hand_over(place, name, asked.who),
        )

    def _hang_up(self, asked: Asked) -> dict[str, Any]:
        return self._do(asked, "hang up", lambda call: call.dismiss(asked.who))

    def _pause_recording(self, asked: Asked) -> dict[str, Any]:
        paused: bool = asked.body["paused"]
        what = "pause the recording" if paused else "go on with the recording"
        return self._do(
            asked, what, lambda call: call.pause_recording(paused, asked.who)
        )

    def _do(
        self, asked: Asked, what: str, act: Callable[[IOperatedCall], bool]
    ) -> dict[str, Any]:
        """@raise Problem: It could not be done."""
        call = find(self._bridge, asked.id)
        done = act(IOperatedCall(call))
        state = call.snapshot()["state"]
        _AUDIT.info(
            "call {call_id}: operator {who}: {what}: {result}",
            call_id=call.call_id,
            who=harmless(asked.who),
            what=what,
            result="done" if done else f"refused, it is {state}",
        )
        if not done:
            raise Problem(
                409,
                f"{what} cannot be done any more: the call is {state}; see GET /calls",
            )
        return {}

    def _drain(self, asked: Asked) -> dict[str, Any]:
        self._bridge.drain(asked.body["draining"], asked.who)
        return {"draining": self._bridge.draining}


def plain(text: str) -> str:
    """@return: One line, without what could hide or turn round a part of it."""
    return re.sub(f"[{UNSEEN}]+", " ", text).strip()

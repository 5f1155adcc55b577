"""Calls as programs see them: those under way, and one of any time in full."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from portero.facts import harmless
from portero.interfaces import Happening
from portero.observers.story import Story
from portero.records.archive import Archive
from portero.service import Bridge
from portero.web import schemas
from portero.web.operation import READ, Answer, Asked, Operation, Parameter
from portero.web.page import LANGUAGES, preferred
from portero.web.problem import Problem

LANGUAGE: Final = Parameter(
    "language",
    {"type": "string", "enum": [*LANGUAGES]},
    "Of the verdict; else as Accept-Language wishes.",
)


class CallStories:
    """Finds all that is known of a call, wherever that is kept."""

    def __init__(self, bridge: Bridge, story: Story, archive: Archive) -> None:
        self.story = story
        self.archive = archive
        self._bridge = bridge

    def is_live(self, call_id: str) -> bool:
        """Whether it is under way."""
        return call_id in self._bridge.calls

    async def of(self, call_id: str, language: str = "en") -> dict[str, Any]:
        """
        @return: As the schema C{Story} has it. Of a call under way it is there at once.
        @raise Problem: There is no such call, or it was long ago.
        """
        call = self._bridge.calls.get(call_id)
        if call is not None:
            return {
                "call": call.snapshot(),
                "live": True,
                "happened": [flat(one) for one in self.story.of(call_id) or ()],
                "figures": asdict(self.archive.measured(call_id, call.figures())),
                "verdict": [],
                "recording": False,
            }
        found = await self.archive.call(call_id, language)
        if found is None:
            raise unknown(call_id)
        return found


def language(asked: Asked) -> str:
    """@return: In which a verdict is wanted."""
    wish = (asked.request.getHeader(b"accept-language") or b"").decode("latin-1")
    wanted: str = asked.query.get("language") or preferred(wish)
    return wanted


def unknown(call_id: str) -> Problem:
    """Nothing is known of that call."""
    return Problem(
        404,
        f"no call {harmless(call_id, 40)} is known: it never was, or is too long ago; "
        "GET /api/v1/calls and GET /api/v1/history have those there are",
    )


def flat(happening: Happening) -> dict[str, Any]:
    """@return: As the schema C{Happened} has it."""
    return {"kind": happening.kind, "at": happening.at, **happening.data}


class CallsApi:
    """What there is to read of calls."""

    def __init__(self, bridge: Bridge, stories: CallStories) -> None:
        self._bridge = bridge
        self._stories = stories

    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation(
                "GET",
                "/calls",
                "calls",
                READ,
                "The calls under way.",
                self._calls,
                Answer("All of them.", schemas.ref("Calls")),
            ),
            Operation(
                "GET",
                "/calls/{id}",
                "call",
                READ,
                "All that is known of a call, under way or over.",
                lambda asked: self._stories.of(asked.id, language(asked)),
                Answer("The call, and what happened in it.", schemas.ref("Story")),
                query=(LANGUAGE,),
            ),
        )

    def _calls(self, asked: Asked) -> dict[str, Any]:
        return {"calls": [call.snapshot() for call in self._bridge.calls.values()]}

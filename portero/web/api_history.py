"""Calls that are over: looked for, and taken away as files."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final

from twisted.logger import Logger
from twisted.web.server import NOT_DONE_YET

from portero.facts import harmless
from portero.record import Outcome
from portero.records.archive import LONGEST_QUERY, MOST_AT_ONCE, Query
from portero.records.database import RecordsError
from portero.web import schemas
from portero.web.api_calls import CallStories, unknown
from portero.web.file_part import FilePart, InThread
from portero.web.operation import (
    ACT,
    JSON,
    LISTEN,
    READ,
    Answer,
    Asked,
    Download,
    Operation,
    Parameter,
)
from portero.web.problem import Problem
from portero.web.transcript import transcript

PLAIN: Final = "text/plain; charset=utf-8"
WAV: Final = "audio/wav"
TEXT: Final = {"type": "string"}
NO_RECORDING: Final = (
    "this call has no recording here: it was not recorded (record of its agent), it "
    "was deleted (days of [records]), or it is on the host that answered the call"
)
UNDER_WAY: Final = (
    "this call is under way: its recording can be had when it is over; to hear the "
    "call now, GET /api/v1/calls/ID/listen"
)

_AUDIT: Final = Logger("portero.audit")
"""Not of the class, whose name would take the place of that one."""


def _text(most: int) -> dict[str, Any]:
    return {"type": "string", "maxLength": most}


_DAY: Final = {
    "type": "string",
    "format": "date",
    "pattern": "^20[0-9]{2}-[0-9]{2}-[0-9]{2}$",
}

QUERY: Final = (
    Parameter("q", _text(LONGEST_QUERY), "Words that were said by one side in one go."),
    Parameter("agent", _text(100), "Its name."),
    Parameter(
        "outcome", {"type": "string", "enum": [one.value for one in Outcome]}, "How."
    ),
    Parameter(
        "number",
        {"type": "string", "maxLength": 40, "pattern": r"^[^0-9]*[0-9][\s\S]*$"},
        "Of the caller or the one called; its last digits are enough.",
    ),
    Parameter("since", _DAY, "The first day."),
    Parameter("until", _DAY, "The last day."),
    Parameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MOST_AT_ONCE, "default": 50},
        "So many at most.",
    ),
    Parameter("before", _text(100), "next of the page before this one."),
)


class HistoryApi:
    """What there is to read and hear of calls that are over."""

    def __init__(self, stories: CallStories, in_thread: InThread) -> None:
        self._stories = stories
        self._archive = stories.archive
        self._in_thread = in_thread

    def operations(self) -> tuple[Operation, ...]:
        sound = {404: "There is no such call, or no recording of it."}
        return (
            Operation(
                "GET",
                "/history",
                "history",
                READ,
                "Calls that are over, the newest first.",
                self._history,
                Answer("A page of them.", schemas.ref("History")),
                query=QUERY,
                problems={404: "before is not next of a page."},
            ),
            Operation(
                "DELETE",
                "/calls/{id}",
                "erase",
                ACT,
                "Delete for good all that is kept of a call that is over: its record, "
                "what was said, its recording.",
                self._erase,
                Answer("Nothing of it is kept any more.", schemas.ref("Nothing")),
                problems={
                    409: "The call is under way.",
                    503: "Not all could be deleted now: ask again.",
                },
            ),
            Operation(
                "GET",
                "/calls/{id}/call.json",
                "call_json",
                READ,
                "All that is known of a call, as a file.",
                self._json,
                Answer("The same as of the call itself.", schemas.ref("Story")),
            ),
            Operation(
                "GET",
                "/calls/{id}/transcript.txt",
                "transcript",
                READ,
                "What was said in a call, to read.",
                self._transcript,
                Answer("Text.", TEXT, kind=PLAIN),
                problems={
                    404: "There is no such call, or what was said was not kept.",
                },
            ),
            Operation(
                "GET",
                "/calls/{id}/recording.wav",
                "recording",
                LISTEN,
                "The sound of a call that is over: left the caller, right the agent. "
                "Takes Range.",
                self._recording,
                Answer(
                    "The file.",
                    {"type": "string", "contentMediaType": WAV},
                    kind=WAV,
                    also={206: "The part of it that Range asks for."},
                ),
                problems={**sound, 416: "Range is beyond its end."},
            ),
            Operation(
                "GET",
                "/calls/{id}/waveform",
                "waveform",
                LISTEN,
                "How loud a recording is over its time, to draw it.",
                self._waveform,
                Answer("Both sides.", schemas.ref("Waveform")),
                problems=sound,
            ),
        )

    async def _history(self, asked: Asked) -> dict[str, Any]:
        given = {name: str(value) for name, value in asked.query.items()}
        before = given.pop("before", "")
        try:
            query = Query.of(given)
        except ValueError as error:
            raise Problem(400, f"of the query: {error}") from None
        try:
            return await self._archive.history(replace(query, before=before))
        except ValueError as error:
            raise Problem(404, f"there is no such page: {error}") from None

    async def _erase(self, asked: Asked) -> dict[str, Any]:
        call_id = asked.id
        if self._stories.is_live(call_id):
            raise Problem(409, "the call is under way: erase it when it is over")
        try:
            known = await self._archive.erase(call_id)
        except (RecordsError, OSError) as error:
            self._audit(asked, f"failed, {error}")
            raise Problem(503, f"not all could be deleted: {error}") from None
        if not known:
            raise unknown(call_id)
        self._audit(asked, "done")
        return {}

    def _audit(self, asked: Asked, result: str) -> None:
        _AUDIT.info(
            "call {call_id}: operator {who}: erase: {result}",
            call_id=harmless(asked.id),
            who=harmless(asked.who),
            result=result,
        )

    async def _json(self, asked: Asked) -> Download:
        story = await self._stories.of(asked.id)
        text = json.dumps(story, ensure_ascii=False, indent=1) + "\n"
        return Download(text.encode(), JSON, f"{story['call']['id']}.json")

    async def _transcript(self, asked: Asked) -> Download:
        story = await self._stories.of(asked.id)
        if not any(one["kind"] == "said" for one in story["happened"]):
            raise Problem(
                404,
                "nothing was said in this call, or it was not kept: keep_words of its "
                "agent decides that",
            )
        text = transcript(story["call"], story["happened"])
        return Download(text.encode(), PLAIN, f"{story['call']['id']}.txt")

    async def _recording(self, asked: Asked) -> Any:
        path = await self._archive.recording_path(asked.id)
        if path is None:
            raise await self._missing(asked.id)
        # A player goes on asking for parts of it.
        if (asked.request.getHeader(b"range") or b"bytes=0-").startswith(b"bytes=0-"):
            _AUDIT.info(
                "call {call_id}: operator {who}: opens the recording",
                call_id=harmless(asked.id),
                who=harmless(asked.who),
            )
        name = f'inline; filename="{asked.id}.wav"'
        asked.request.setHeader(b"content-disposition", name.encode())
        await FilePart(asked.request, path, self._in_thread).send(WAV)
        return NOT_DONE_YET

    async def _waveform(self, asked: Asked) -> dict[str, Any]:
        try:
            found = await self._archive.waveform(asked.id)
        except (OSError, ValueError) as error:
            raise Problem(404, f"the recording cannot be read: {error}") from None
        if found is None:
            raise await self._missing(asked.id)
        return found

    async def _missing(self, call_id: str) -> Problem:
        """@return: Why there is nothing to hear."""
        story = await self._stories.of(call_id)
        return Problem(404, UNDER_WAY if story["live"] else NO_RECORDING)

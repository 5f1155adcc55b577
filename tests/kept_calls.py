"""Calls as records have them, and a file for them that waits for nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from twisted.internet.defer import Deferred, maybeDeferred

from portero.facts import Facts
from portero.interfaces import Happening, LegFigures
from portero.record import Outcome, Record
from portero.records.cursor import Cursor
from portero.records.past import Past
from portero.records.sqlite import Connection, RecordFile, connect

Result = TypeVar("Result")

ID = "6f1c2d3e-0000-4000-8000-000000000001"
BEGAN = "2026-11-21T10:00:00+00:00"
CALLER = Facts("María Ruiz", "+34600123678", "+34911234567", "reception", "PJSIP/t-1")


def record(call_id: str = ID, began: str = BEGAN, **more: Any) -> Record:
    """@param more: What is different."""
    facts = more.pop("facts", CALLER)
    given: dict[str, Any] = {
        "agent": "reception",
        "seconds": 42.5,
        "outcome": Outcome.WELL,
        "reason": "the agent hung up",
        "next": "",
        "turns": 2,
        "barge_ins": 1,
        "latency_ms": 640,
        "tokens": 1234,
        "dollars": 0.0123,
        **more,
    }
    return Record(call_id, began=began, facts=facts, **given)


def happened(*told: tuple[float, str, dict[str, Any]], call_id: str = ID) -> Any:
    """@param told: Of each: when, what, and its data."""
    return tuple(Happening(call_id, kind, at, data) for at, kind, data in told)


TALK: Final[tuple[tuple[float, str, dict[str, Any]], ...]] = (
    (0.0, "state", {"state": "connecting"}),
    (0.3, "service", {"ready_ms": 310}),
    (0.9, "sounding", {"item": "a1"}),
    (1.0, "said", {"role": "assistant", "item": "a1", "text": "Good day, Acme."}),
    (3.0, "caller", {"speaking": True}),
    (3.1, "barge_in", {}),
    (3.2, "cut", {"item": "a1", "heard_ms": 900, "given_ms": 2000}),
    (5.0, "caller", {"speaking": False}),
    (
        5.1,
        "said",
        {"role": "user", "item": "u1", "text": "A table at the café, please"},
    ),
    (5.6, "turn", {"turn": 1, "came_ms": 500, "sounded_ms": 560}),
    (6.0, "tool_began", {"tool": 1, "name": "book", "arguments": 'who="Juan"'}),
    (
        6.4,
        "tool_ended",
        {"tool": 1, "name": "book", "result": "2", "ok": True, "ms": 9},
    ),
    (6.5, "tool_began", {"tool": 2, "name": "mail", "arguments": ""}),
)
"""A short call, without what records leave out."""


def past(call_id: str = ID, began: str = BEGAN, **more: Any) -> Past:
    """
    @param more: As L{record}; C{figures}, C{talk}, C{recording}, C{consent}, C{host}.
    """
    figures = more.pop("figures", LegFigures(frames_sent=2125, underruns=3))
    talk = happened(*more.pop("talk", TALK), call_id=call_id)
    words = any(each.kind == "said" for each in talk)
    recording, consent = more.pop("recording", ""), more.pop("consent", "")
    host = more.pop("host", "")
    kept = record(call_id, began, **more)
    return Past(kept, figures, talk, words, recording, consent, host)


class FileAtOnce(RecordFile):
    """
    Does at once what it is given.

    @ivar error: Raised instead.
    @ivar hangs: What it is given waits for this.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path, None)
        self.error: Exception | None = None
        self.hangs: Deferred[None] | None = None
        self.connection: Connection | None = None

    def open(self) -> None:
        pass

    def run(self, do: Callable[[Cursor], Result]) -> Deferred[Result]:
        if self.hangs is not None:
            hanging = self.hangs.addCallback(lambda _: self._run(do))
            return hanging.addErrback(self.judge)
        return maybeDeferred(self._run, do).addErrback(self.judge)

    def _run(self, do: Callable[[Cursor], Result]) -> Result:
        if self.error is not None:
            raise self.error
        if self.connection is None:
            self.connection = connect(self.path)
        with self.connection:
            return do(self.connection.cursor())

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

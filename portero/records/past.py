"""A call that is over, whole: what is known of it, and what of that is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from portero.facts import Facts, bare
from portero.interfaces import Happening, LegFigures
from portero.record import Record

LAST_DIGITS: Final = 3
"""What is kept of a number that is kept short."""
UNKEPT: Final = frozenset({"words", "used"})
"""Happenings that others sum up: what was said, and what the call cost."""
NOT_YET: Final = "not yet"
"""How the answer of a tool begins that was asked too early, which is no failure."""


@dataclass(frozen=True, slots=True)
class Past:
    """A call that is over."""

    record: Record
    figures: LegFigures
    happened: tuple[Happening, ...] = ()
    """Oldest first."""
    has_words: bool = False
    """What was said is among them."""
    recording: str = ""
    """Name of the file with its sound; or empty."""
    consent: str = ""
    """As the agent's setting was."""
    host: str = ""
    """The machine that answered it."""

    def of(self, kind: str) -> Iterator[Happening]:
        """@param kind: One of L{portero.interfaces.HAPPENINGS}: all of it."""
        return (each for each in self.happened if each.kind == kind)

    def outline(self) -> dict[str, Any]:
        """The call without what happened in it: plain values, as JSON has them."""
        record, facts = self.record, self.record.facts
        return {
            "id": record.call_id,
            "agent": record.agent,
            "caller_name": facts.caller_name,
            "caller_number": facts.caller_number,
            "called_number": facts.called_number,
            "began": record.began,
            "seconds": round(record.seconds, 1),
            "outcome": record.outcome.value,
            "reason": record.reason,
            "next": record.next,
            "turns": record.turns,
            "barge_ins": record.barge_ins,
            "latency_ms": record.latency_ms,
            "tokens": record.tokens,
            "dollars": None if record.dollars is None else round(record.dollars, 4),
            "summary": record.summary,
            "has_words": self.has_words,
            "recording": bool(self.recording),
        }


def discreet(past: Past, *, keep_words: bool, whole_numbers: bool) -> Past:
    """
    @return: What of it goes on a disk. What the dialplan told besides names and numbers
        never does.
    """
    facts = past.record.facts
    caller, called = bare(facts.caller_number), bare(facts.called_number)
    if whole_numbers:
        kept = Facts(facts.caller_name, caller, called)
    else:
        kept = Facts("", short(caller), short(called))
    happened = past.happened
    if not keep_words:
        happened = tuple(
            replace(each, data=wordless(each.data)) if _is_tool(each.kind) else each
            for each in happened
            if each.kind != "said"
        )
    return replace(
        past,
        record=replace(past.record, facts=kept),
        happened=happened,
        has_words=has_words(happened),
    )


def has_words(happened: Iterable[Happening]) -> bool:
    """Whether something is there of what one of the two sides said."""
    return any(
        each.kind == "said" and each.data.get("role") != "system" for each in happened
    )


def short(number: str) -> str:
    """@return: Its last digits, after points."""
    return f"...{number[-LAST_DIGITS:]}" if number else ""


def _is_tool(kind: str) -> bool:
    return kind in ("tool_began", "tool_ended")


def wordless(data: Mapping[str, Any]) -> dict[str, Any]:
    """
    @param data: Of C{tool_began} or C{tool_ended}.
    @return: That a tool ran, and whether it did what it was asked.
    """
    kept = {**data}
    if "arguments" in kept:
        kept["arguments"] = ""
    if "result" in kept:
        early = str(kept["result"]).lower().startswith(NOT_YET)
        kept["result"] = NOT_YET if early else ""
    return kept

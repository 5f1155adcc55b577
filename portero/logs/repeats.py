"""
One warning that comes again and again, told a few times and then counted: no flood
hides what else happens, and nothing is left out without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from portero.logs.lines import Event

WINDOW: Final = 10.0
"""Seconds that are summed up in a line."""
MOST_DISTINCT: Final = 10
"""Lines of the same words that are written in a window: each of another call, or with
other values."""
MOST_WORDS: Final = 500
"""Different ones that are looked after; what is beyond is written, whatever it is."""
MOST_CALLS: Final = 1000
"""Counted of one line; then it says that there are more."""
COUNTED: Final = ("warn", "error", "critical")
"""Levels; of less than that, none is repeated by itself."""


@dataclass(slots=True)
class _Told:
    """What was written of some words in this window, and what was not."""

    distinct: set[str] = field(default_factory=set)
    last: Event | None = None
    count: int = 0
    calls: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Repeated:
    """Of the same words, what was not written in a window."""

    last: Event
    count: int
    calls: int

    @property
    def in_words(self) -> str:
        """For the end of the line that tells the last of them; empty: it was alone."""
        if self.count == 1:
            return ""
        calls = ""
        if self.calls > 1:
            more = "or more " if self.calls >= MOST_CALLS else ""
            calls = f", in {self.calls} {more}calls"
        return f" [with {self.count - 1} more like it in {WINDOW:.0f} s{calls}]"


class Repeats:
    """
    The same words are those of one line of code: the format of an event, with whatever
    values. One that holds C{more} counts for itself, and is not counted again.
    """

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], _Told] = {}

    def is_new(self, event: Event, message: str) -> bool:
        """
        @param event: Of a level that is L{COUNTED}.
        @param message: The same, in a line.
        @return: Whether it is to be written now; else L{due} has it.
        """
        if "more" in event:
            return True
        words = str(event.get("log_format"))
        key = str(event.get("log_namespace")), message if words == "{line}" else words
        told = self._told.get(key)
        if told is None:
            if len(self._told) >= MOST_WORDS:
                return True
            told = self._told[key] = _Told()
        call_id = str(event.get("call_id") or "")
        who = call_id or message
        if who not in told.distinct and len(told.distinct) < MOST_DISTINCT:
            told.distinct.add(who)
            return True
        told.last, told.count = event, told.count + 1
        if call_id and len(told.calls) < MOST_CALLS:
            told.calls.add(call_id)
        return False

    def due(self) -> Iterator[Repeated]:
        """The window is over: what was not written in it, and the next one begins."""
        told, self._told = self._told, {}
        for key, one in told.items():
            if one.last is not None:
                # It goes on: who was told of just now is not told again at once.
                self._told[key] = _Told(one.distinct)
                yield Repeated(one.last, one.count, len(one.calls))

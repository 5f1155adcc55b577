"""
What is said in a call while its recording is paused, and so told to nobody who watches.

The text of something comes after its sound, often by seconds. So its own time does not
count: what counts is when that began and ended which it belongs to, an item of one of
the two sides or the run of a tool. If any part of that is in a pause, none is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from portero.records.past import wordless

UNTOLD: Final = "(said while the recording was paused)"
"""Stands for each text that is not told."""
MOST_OPEN: Final = 1000
"""Items that are remembered because their text may still come."""
TOOL: Final = "tool"
"""Beside the roles of those who speak."""

_Key = tuple[str, object]


class Discretion:
    """Of one call."""

    def __init__(self) -> None:
        self.paused = False
        self._paused_before = False
        self._open: dict[_Key, bool] = {}
        """What began and has not ended, and whether it is private."""

    def pause(self) -> None:
        """What is under way now is private, and what begins before L{resume}."""
        self.paused = self._paused_before = True
        self._open = dict.fromkeys(self._open, True)

    def resume(self) -> None:
        """What begins from now on is not."""
        self.paused = False

    def begins(self, role: str, item: object) -> None:
        """
        Something begins to be said or done.

        @param role: Who speaks, or L{TOOL}.
        @param item: Which one it is.
        """
        self._remember((role, item), self.paused)

    def hides(self, role: str, item: object) -> bool:
        """@return: Whether it is private, as far as is known yet."""
        # Words of the caller's that nobody saw begin may be those of a pause before.
        late = self._paused_before and role == "user" and bool(item)
        return self._open.get((role, item), self.paused or late)

    def told(self, kind: str, data: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """
        @param kind: One of L{portero.interfaces.HAPPENINGS}.
        @return: What those who watch may know of it; L{None}: nothing.
        """
        if kind == "words":
            role, item = data["role"], data["item"]
            private = self.hides(role, item)
            self._remember((role, item), private)
            return None if private else data
        if kind == "said":
            private = self._ends(data["role"], data["item"])
            return {**data, "text": UNTOLD} if private else data
        if kind == "tool_began":
            self.begins(TOOL, data["tool"])
            return wordless(data) if self.paused else data
        if kind == "tool_ended":
            return wordless(data) if self._ends(TOOL, data["tool"]) else data
        return data

    def _remember(self, key: _Key, private: bool) -> None:
        self._open.setdefault(key, private)
        if len(self._open) > MOST_OPEN:
            del self._open[next(iter(self._open))]

    def _ends(self, role: str, item: object) -> bool:
        """@return: Whether it was private."""
        private = self.hides(role, item)
        self._open.pop((role, item), None)
        return private

"""
An event of the log as text: a line to read, or a line of JSON. Whatever an event holds,
it can neither begin another line nor turn its own round, and none of its texts is long.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from math import isfinite
from typing import Any, Final

from portero.settings import printable

Event = dict[str, Any]
"""As C{twisted.logger} has them."""
Convert = Callable[[str], str]
Say = Callable[[Event], str]

LONGEST: Final = 200
"""Characters of a text in an event: callers and services have a say in them."""
LONGEST_MESSAGE: Final = 4000
"""Characters; of texts in which only portero and what it is made of have a say."""
OF_OURS: Final = frozenset({"line", "log_format", "log_io", "log_text"})
"""Names of such texts: they may be longer than L{LONGEST}."""
MOST_LINES: Final = 60
"""Of a traceback."""
GAP: Final = " [...] "
BAR: Final = "    | "
"""Begins each line of a traceback, so that none passes for a line of its own."""
LEGACY: Final = "log_legacy"
"""The namespace of what was logged with C{twisted.python.log}."""


class Lines:
    """Makes lines of events."""

    def __init__(self, mask: Convert, say: Say) -> None:
        """
        @param mask: Takes secrets out of a text.
        @param say: Gives an event's message in those rare cases that take more than
            Python's own format: C{twisted.logger.formatEvent}.
        """
        self._mask = mask
        self._say = say

    def message(self, event: Event) -> str:
        """@return: What happened, in a line: printable, masked, and not too long."""
        failure = _failure(event)
        text = self._formatted(event, failure is not None)
        call_id = event.get("call_id")
        if call_id and "{call_id}" not in str(event.get("log_format")):
            text = f"call {call_id}: {text}"
        if failure is not None:
            text = f"{text.rstrip(': ')}: {self._essence(failure)}"
        return printable(cut(self._mask(text), LONGEST_MESSAGE))

    def human(self, event: Event, more: str = "", timed: bool = True) -> list[str]:
        """
        @param more: Stands at the end of the first line.
        @param timed: With the time; else somebody else writes it.
        @return: One line; or some more, that of a traceback.
        """
        name, level = shown_namespace(event), level_of(event)
        when = f"{local_time(event.get('log_time', 0.0))} " if timed else ""
        line = f"{when}[{name}#{level}] {self.message(event)}{more}"
        failure = _failure(event)
        if failure is None:
            return [line]
        return [line, *(BAR + each for each in self._traceback(failure))]

    def json(self, event: Event, **more: int) -> str:
        """@param more: Further numbers, by name."""
        when = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
        when = when.replace(tzinfo=None)  # it is a Z
        found: dict[str, Any] = {
            "time": f"{when.isoformat(timespec='milliseconds')}Z",
            "level": level_of(event),
            "namespace": shown_namespace(event),
        }
        if "call_id" in event:
            self._add(found, "call_id", event["call_id"])
        found.update(message=self.message(event), **more)
        if event.get("log_namespace") != LEGACY:
            found["event"] = str(event.get("log_format") or "")
            for name, value in event.items():
                if not name.startswith("log_") and name not in found:
                    self._add(found, name, value)
        failure = _failure(event)
        if failure is not None:
            found["traceback"] = "\n".join(self._traceback(failure))
        text = json.dumps(found, ensure_ascii=False)
        return text if text.isprintable() else json.dumps(found)

    def _add(self, found: dict[str, Any], name: str, value: object) -> None:
        """What JSON has no form for is left out: the message tells it."""
        if isinstance(value, str):
            most = LONGEST_MESSAGE if name in OF_OURS else LONGEST
            found[name] = cut(self._mask(value), most)
        elif isinstance(value, bool) or value is None:
            found[name] = value
        elif isinstance(value, int) and abs(value) < 2**63:
            found[name] = int(value)
        elif isinstance(value, float) and isfinite(value):
            found[name] = float(value)

    def _formatted(self, event: Event, failed: bool) -> str:
        if event.get("log_namespace") == LEGACY and failed:
            return str(event.get("why") or "error")  # else it had the traceback in it
        for name, value in event.items():
            if isinstance(value, str) and len(value) > LONGEST and name not in OF_OURS:
                event = {**event, name: cut(self._mask(value), LONGEST)}
        try:
            return str(event["log_format"].format_map(event))
        except Exception:
            return self._say(event)

    def _essence(self, failure: Any) -> str:
        """@return: What was raised, in a line."""
        try:
            name, said = failure.type.__name__, str(failure.getErrorMessage())
        except Exception:  # of what somebody raised, anything may break
            return "an error that cannot be told"
        return f"{name}: {cut(self._mask(said), LONGEST)}" if said else name

    def _traceback(self, failure: Any) -> list[str]:
        try:
            lines = failure.getTraceback().splitlines()
        except Exception as error:
            lines = [f"(there is no traceback: {type(error).__name__})"]
        if len(lines) > MOST_LINES:
            left_out = len(lines) - MOST_LINES + 1
            half = MOST_LINES // 4  # how it began tells less than where it ended
            rest = lines[half + left_out :]
            lines = [*lines[:half], f"[{left_out} lines are left out]", *rest]
        return [printable(cut(self._mask(line), LONGEST)) for line in lines]


def cut(text: str, most: int) -> str:
    """@return: Not longer than that; the end stays, where the remedy is."""
    if len(text) <= most:
        return text
    end = most // 4
    return text[: most - end - len(GAP)] + GAP + text[-end:]


def level_of(event: Event) -> str:
    return str(getattr(event.get("log_level"), "name", "info"))


def shown_namespace(event: Event) -> str:
    return _without_class(str(event.get("log_namespace") or "-"))


@lru_cache(maxsize=1000)
def _without_class(namespace: str) -> str:
    """The module says where to look; what is in it nobody has to know."""
    module, _, last = namespace.rpartition(".")
    return printable(module if module and last[:1].isupper() else namespace)[:LONGEST]


def local_time(when: float) -> str:
    """@return: ISO 8601 with milliseconds and the zone's offset."""
    whole, part = divmod(int(when * 1000), 1000)
    second, zone = _second(whole)
    return f"{second}.{part:03}{zone}"


@lru_cache(maxsize=2)
def _second(when: int) -> tuple[str, str]:
    local = time.localtime(when)
    return time.strftime("%Y-%m-%dT%H:%M:%S", local), time.strftime("%z", local)


def _failure(event: Event) -> Any:
    failure = event.get("log_failure")
    if failure is None and event.get("log_namespace") == LEGACY:
        failure = event.get("failure")
    return failure

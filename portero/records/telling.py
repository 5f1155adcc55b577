"""What happened in a call, in the order of its time: a line for each thing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from portero.interfaces import Happening
from portero.records.past import Past
from portero.records.telling_words import WORDS

AT_ONCE: Final = 0.2
"""Seconds between a turn and the first frame of its answer: they are told apart."""
PROMPTS: Final = ("prompt ", "sound ")
"""How items of portero's own begin."""
LONGEST_TEXT: Final = 200
"""Characters."""


class Line(NamedTuple):
    """Of what is told."""

    at: float
    """Seconds from the beginning of the call; where it began."""
    text: str


def told(past: Past, language: str = "en") -> list[Line]:
    """
    @param language: C{en} or C{es}; another one is C{en}.
    @return: What happened, oldest first.
    """
    teller = _Teller(1 if language == "es" else 0)
    return teller.tell(past.happened)


class _Teller:
    def __init__(self, column: int) -> None:
        self._column = column
        self._lines: list[Line] = []
        self._speaking: float | None = None
        """Since when the caller does."""
        self._sounding: dict[str, float] = {}
        """Items, since when."""
        self._turn: tuple[float, int] | None = None
        """When the last one was, and how long the caller waited in it."""
        self._waited: dict[str, int] = {}
        """Ms, of items that answer."""
        self._tools: dict[Any, tuple[float, str]] = {}
        self._keys = 0

    def tell(self, happened: Iterable[Happening]) -> list[Line]:
        ways: dict[str, Callable[[Happening], None]] = {
            "service": self._service,
            "caller": self._caller,
            "key": self._key,
            "said": self._said,
            "turn": self._turned,
            "sounding": self._sounds,
            "played_out": self._played_out,
            "cut": self._cut,
            "barge_in": lambda one: self._line(one.at, "barge_in"),
            "false_alarm": lambda one: self._line(one.at, "false_alarm"),
            "tool_began": self._tool_began,
            "tool_ended": self._tool_ended,
            "operator": lambda one: self._line(one.at, "operator", **one.data),
            "error": self._error,
        }
        for one in happened:
            if one.kind != "key":
                self._keys = 0
            way = ways.get(one.kind)
            if way is not None:
                way(one)
        self._end()
        return sorted(self._lines, key=lambda line: line.at)

    def _end(self) -> None:
        """What was going on ended with the call."""
        if self._speaking is not None:
            self._line(self._speaking, "caller_until_end")
        for item, began in self._sounding.items():
            self._spoke(item, began, "agent_until_end")
        for began, name in self._tools.values():
            self._line(began, "tool_outlived", name=name)

    def _line(self, at: float, what: str, **gaps: Any) -> None:
        self._lines.append(Line(at, self._words(what, **gaps)))

    def _words(self, what: str, **gaps: Any) -> str:
        return WORDS[what][self._column].format(**gaps).rstrip()

    def _service(self, one: Happening) -> None:
        if "ready_ms" in one.data:
            self._line(one.at, "ready", ms=one.data["ready_ms"])
        elif "lost" in one.data:
            what = "lost_for_good" if one.data.get("final") else "lost"
            self._line(one.at, what, why=_short(one.data["lost"]))

    def _caller(self, one: Happening) -> None:
        if one.data.get("speaking"):
            self._speaking = one.at
        elif self._speaking is not None:
            began, self._speaking = self._speaking, None
            self._line(began, "caller", seconds=_seconds(one.at - began))

    def _key(self, one: Happening) -> None:
        """Several in a row are one line."""
        at = self._lines.pop().at if self._keys else one.at
        self._keys += 1
        self._line(at, "keys", times=self._keys)

    def _said(self, one: Happening) -> None:
        whats = {"user": "caller_said", "assistant": "agent_said"}
        what = whats.get(str(one.data.get("role")))
        if what is not None:
            self._line(one.at, what, text=_short(one.data.get("text", "")))

    def _turned(self, one: Happening) -> None:
        if one.data.get("sounded_ms") is None:
            return
        self._turn = one.at, one.data["sounded_ms"]
        # Whichever comes first of the two.
        for item, began in self._sounding.items():
            self._answers(item, began)

    def _sounds(self, one: Happening) -> None:
        item = str(one.data.get("item"))
        self._sounding[item] = one.at
        self._answers(item, one.at)

    def _answers(self, item: str, began: float) -> None:
        if self._turn is not None and abs(began - self._turn[0]) <= AT_ONCE:
            self._waited[item] = self._turn[1]
            self._turn = None

    def _played_out(self, one: Happening) -> None:
        item = str(one.data.get("item"))
        began = self._sounding.pop(item, None)
        if began is not None:
            self._spoke(item, began, "agent", seconds=_seconds(one.at - began))

    def _cut(self, one: Happening) -> None:
        item = str(one.data.get("item"))
        began = self._sounding.pop(item, None)
        if began is not None:
            heard, given = one.data.get("heard_ms", 0), one.data.get("given_ms", 0)
            gaps = {"heard": _seconds(heard / 1000), "given": _seconds(given / 1000)}
            self._spoke(item, began, "agent_cut", **gaps)

    def _spoke(self, item: str, began: float, what: str, **gaps: Any) -> None:
        words = self._words(what, **gaps)
        for prompt in PROMPTS:
            if item.startswith(prompt):
                words = self._words("sound", name=item.removeprefix(prompt))
        waited = self._waited.pop(item, None)
        if waited is not None:
            words = self._words("answer", speech=words, ms=waited)
        self._lines.append(Line(began, words))

    def _tool_began(self, one: Happening) -> None:
        self._tools[one.data.get("tool")] = one.at, str(one.data.get("name"))

    def _tool_ended(self, one: Happening) -> None:
        began, name = self._tools.pop(one.data.get("tool"), (one.at, ""))
        what = "tool" if one.data.get("ok") else "tool_failed"
        name = str(one.data.get("name", name))
        self._line(began, what, name=name, ms=one.data.get("ms"))

    def _error(self, one: Happening) -> None:
        self._line(one.at, "error", why=_short(one.data.get("reason", "")))


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f}"


def _short(text: object) -> str:
    """@return: In one line, and not longer than anybody reads."""
    line = " ".join(str(text).split())
    return line if len(line) <= LONGEST_TEXT else f"{line[: LONGEST_TEXT - 3]}..."

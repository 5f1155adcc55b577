"""
What C{asterisk -rx} prints, read. The forms are those of Asterisk 22; what cannot be
read is left out, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

Version = tuple[int, int]


def version(text: str) -> Version | None:
    """
    @param text: Of C{core show version}.
    @return: Major and minor; of a certified one those that it was made from.
    """
    found = re.search(r"\bAsterisk (?:\D*/)?(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def modules(text: str) -> frozenset[str]:
    """
    @param text: Of C{module show}.
    @return: Those that run, without C{.so}.
    """
    row = re.compile(r"^(\S+?)(?:\.so)?\s.*\s\d+\s+Running\s+\S+\s*$", re.MULTILINE)
    return frozenset(found[1] for found in row.finditer(text))


def variables(text: str) -> dict[str, str]:
    """@param text: Of C{dialplan show globals}."""
    row = re.compile(r"^ {3}([^\s=]+)=(.*)$", re.MULTILINE)
    return {found[1]: found[2] for found in row.finditer(text)}


def database_value(text: str) -> str:
    """
    @param text: Of C{database get}.
    @return: Empty: there is no such entry.
    """
    found = re.search(r"^Value: (.*)$", text, re.MULTILINE)
    return found[1].strip() if found else ""


def translations(text: str) -> frozenset[tuple[str, str]]:
    """
    @param text: Of C{core show translation}.
    @return: Pairs of formats, from and to, between which sound can be converted.
    """
    columns: list[str] = []
    found = set()
    for line in text.splitlines():
        words = line.split()
        if not columns:
            if len(words) > 1 and {"alaw", "ulaw"} & set(words):
                columns = words
        elif len(words) == len(columns) + 1:
            row, *times = words
            pairs = zip(columns, times, strict=True)
            found |= {(row, column) for column, time in pairs if time.isdigit()}
    return frozenset(found)


class Step(NamedTuple):
    """One priority of the dialplan."""

    context: str
    extension: str
    priority: int
    label: str
    """Of the first priority Asterisk shows none."""
    app: str
    data: str
    """What stands in its brackets."""
    place: str
    """File and line, or who made it."""

    @property
    def where(self) -> str:
        """In words."""
        if ":" in self.place:
            return self.place
        return f"{self.context},{self.extension},{self.priority}"


_CONTEXT: Final = re.compile(r"^\[ (?:Included c|C)ontext '(.*)' created by ")
_STEP: Final = re.compile(
    r"^ {2,}(?:'(?P<extension>[^']+)' (?:\(CID match '[^']*'\) )?=> +"
    r"|\[(?P<label>[^\]]+)\] +)?"
    r"(?P<priority>\d+)\. (?P<app>\w+)\((?P<data>.*)\) +\[(?P<place>[^\[\]]*)\]\s*$"
)


@dataclass(frozen=True, slots=True)
class Dialplan:
    """As C{dialplan show} shows it, all of it or a part."""

    contexts: Mapping[str, tuple[Step, ...]]

    @classmethod
    def read(cls, text: str) -> Dialplan:
        contexts: dict[str, list[Step]] = {}
        context = extension = ""
        for line in text.splitlines():
            begins = _CONTEXT.match(line)
            if begins:
                context, extension = begins[1], ""
                contexts.setdefault(context, [])
                continue
            step = _STEP.match(line)
            if step is None or not context:
                continue
            extension = step["extension"] or extension
            contexts[context].append(
                Step(
                    context,
                    extension,
                    int(step["priority"]),
                    step["label"] or "",
                    step["app"],
                    step["data"],
                    step["place"],
                )
            )
        return cls({name: tuple(steps) for name, steps in contexts.items()})

    def __iter__(self) -> Iterator[Step]:
        for steps in self.contexts.values():
            yield from steps

    def has_priority(self, priority: str) -> bool:
        """
        @param priority: A number or, of which it cannot be said for certain, a label.
        @return: Whether one of the extensions that are shown has it.
        """
        label = not priority.isdigit()
        return any(label or int(priority) == step.priority for step in self)

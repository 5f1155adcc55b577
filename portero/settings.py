"""
Settings as tables: what a section may hold is a frozen dataclass whose fields are made
by L{setting}. The reader, its messages and the printed reference all go by them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from math import inf
from typing import Any, Final

from portero.errors import ConfigError

SHOWN: Final = 80
"""Characters of a wrong value that a message repeats."""

TABLE: Final = "Mapping[str, Any]"
"""The kind of a setting whose parts only its own check knows."""

MOST_FOUND: Final = 100
"""Mistakes that are told at once."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is known of a setting besides its name."""

    name: str
    kind: str
    default: Any
    doc: str
    """What it is and when to change it, for an administrator."""
    env: str
    unit: str
    least: float | None
    most: float | None
    choices: tuple[Any, ...]
    check: Callable[[Any], str] | None
    number_too: bool
    example: Any
    named_only: bool
    secret: bool

    @property
    def allowed(self) -> str:
        """In words: the values that it may have."""
        if self.choices:
            return "one of " + ", ".join(shown(choice) for choice in self.choices)
        words = KINDS[self.kind][1]
        if self.least is None:
            return words
        unit = f" {self.unit}" if self.unit else ""
        return f"{words} from {self.least} to {self.most}{unit}"

    def problem(self, value: Any) -> str:
        """@return: What is wrong with a value, and what is allowed; or nothing."""
        inner = value.values() if isinstance(value, dict) else value
        of_texts = isinstance(value, dict | tuple) and self.kind != TABLE
        parts = inner if of_texts else ()
        fits = type(value) is KINDS[self.kind][0]
        if not fits or not all(isinstance(part, str) for part in parts):
            return f"must be {self.allowed}"
        if self.choices and value not in self.choices:
            near = nearest(value, self.choices) if self.kind == "str" else ""
            hint = near if "?" in near else ""
            return f"must be {self.allowed}{hint}"
        least, most = self.least, self.most
        if least is not None and most is not None and not least <= value <= most:
            return f"must be {self.allowed}"
        return self.check(value) if self.check else ""


def setting(
    default: Any,
    doc: str,
    *,
    env: str = "",
    unit: str = "",
    least: float | None = None,
    most: float | None = None,
    choices: tuple[Any, ...] = (),
    check: Callable[[Any], str] | None = None,
    number_too: bool = False,
    example: Any = None,
    named_only: bool = False,
    secret: bool = False,
) -> Any:
    """
    A field of a section.

    @param env: Environment variable that wins over the file.
    @param check: Says what is wrong with a value, or nothing.
    @param number_too: A text that may be written as a bare number in the file.
    @param example: Shown in the reference, where the default says little.
    @param named_only: Has no meaning in the section that all others inherit from.
    @param secret: No message repeats its value, as what stands there by mistake may be
        a secret itself.
    """
    about = {
        "doc": doc,
        "env": env,
        "unit": unit,
        "least": least,
        "most": most,
        "choices": choices,
        "check": check,
        "number_too": number_too,
        "example": example,
        "named_only": named_only,
        "secret": secret,
    }
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=about)
    return field(default=default, repr=not secret, metadata=about)


@cache
def table(kind: type) -> Mapping[str, Setting]:
    """@return: The settings of a section, by name, in their order."""
    return {
        item.name: Setting(
            item.name,
            str(item.type),
            {} if str(item.type).startswith("Mapping") else item.default,
            **item.metadata,
        )
        for item in fields(kind)
    }


KINDS: Final[dict[str, tuple[type, str]]] = {
    "str": (str, "text in quotes"),
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "bool": (bool, "true or false"),
    "tuple[str, ...]": (tuple, 'a list of texts: ["...", "..."]'),
    "Mapping[str, str]": (dict, 'a table of texts: { name = "..." }'),
    TABLE: (dict, "a table"),
}


INHERITED: Final = {"agents": "agent", "providers": "provider"}
"""By family of sections: the section whose values each of them begins with."""


class Wrong:
    """Collects what is wrong with a configuration: a line each, with its place."""

    def __init__(self, origins: Mapping[tuple[str, str], str]) -> None:
        """@param origins: As of L{portero.config.Config}."""
        self.refused: set[tuple[str, str]] = set()
        """By section and key: values that were not taken over, so that what was made
        without them tells nothing."""
        self._origins = origins
        self._found: dict[tuple[str, str], str] = {}

    def say(self, place: str, message: str, hint: str = "") -> None:
        """
        What was said already is not said again, be it with another hint.

        @raise ConfigError: That is enough.
        """
        line = f"{place}: {_tidy(message + hint)}"
        self._found.setdefault((place, message), line)
        if len(self._found) == MOST_FOUND:
            raise self._error("there may be more; these are the first that were found")

    def of(self, section: str, key: str, message: str, hint: str = "") -> None:
        """@param message: Follows the place and name of the setting."""
        place = self._origins.get((section, key), "")
        family, _, name = section.partition(".")
        parent = INHERITED.get(family) if name else None
        if parent and place and self._origins.get((parent, key)) == place:
            section = parent
        if (section, key) in self.refused:
            return
        place = place or self._origins.get((section, ""), "") or "default"
        self.say(place, f"[{section}] {key} {message}", hint)

    def refuse(self, section: str, key: str, message: str) -> None:
        """As L{of}; the value is not taken over."""
        self.of(section, key, message)
        self.refused.add((section, key))

    def check(self) -> None:
        """@raise ConfigError: Something is wrong; a line each, in the file's order."""
        if self._found:
            raise self._error()

    def _error(self, *more: str) -> ConfigError:
        def line(found: tuple[str, str]) -> float:
            number = re.search(r":(\d+)$", found[0])
            return int(number[1]) if number else inf

        lines = [self._found[found] for found in sorted(self._found, key=line)]
        return ConfigError("\n".join([*lines, *more]))


def fitting(value: Any, kind: str, number_too: bool) -> Any:
    """The value in the type of its setting, where nothing is lost by that."""
    if isinstance(value, list):
        return tuple(value)
    if type(value) is int and abs(value) < 2**53:
        if kind == "float":
            return float(value)
        if number_too:
            return str(value)
    return value


def from_text(text: str, kind: str) -> Any:
    """What the text of an environment variable means; itself if it cannot be."""
    if kind == "bool":
        return {"true": True, "1": True, "false": False, "0": False}.get(
            text.lower(), text
        )
    try:
        return {"int": int, "float": float}.get(kind, str)(text)
    except ValueError:
        return text


def shown(value: Any) -> str:
    """A value of somebody's, in a message of one line; without what may be secret."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):  # digits without end, or brackets
        return "..."
    text = _tidy(text)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


_SECRET: Final = re.compile(
    r"(\bsk-|//(?=[^/@\s]*@)|\b(?:api.?key|token|secret|password)=)[^@&\s\"]{4,}", re.I
)


def _tidy(text: str) -> str:
    return printable(_SECRET.sub(r"\1***", text))


def printable(text: str) -> str:
    """@return: One line, with escapes for what would end it or turn it round."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in text
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """@return: A hint at the end of a message about an unknown name."""
    known = list(known)
    near = get_close_matches(name.lower(), known, 1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; there are: {', '.join(known)}" if known else "; there are none"

"""
What a model gives to a tool, judged by the tool's JSON Schema before anything happens.

Only the flat subset that such schemas need: an object, whose properties have a C{type}
(C{string}, C{integer}, C{number} or C{boolean}), C{enum}, C{pattern}, C{minLength},
C{maxLength}, C{minimum} and C{maximum}; C{required}, C{additionalProperties}. Other
keys change nothing: what they ask for, the tool has to judge itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

MOST_CHARACTERS: Final = 1000
"""Of a text whose schema has no C{maxLength}."""
GREATEST: Final = 2**53
"""No number is greater: beyond it, JSON does not carry whole numbers exactly."""
MOST_NAMES: Final = 5
"""That a message repeats."""

_KINDS: Final[Mapping[str, tuple[tuple[type, ...], str]]] = {
    "string": ((str,), "text"),
    "integer": ((int,), "a whole number"),
    "number": ((int, float), "a number"),
    "boolean": ((bool,), "true or false"),
}


def problem(schema: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """
    A C{pattern} has to match the whole text, as Python's C{re} understands it; JSON
    Schema itself would look for it anywhere in the text.

    @return: What is wrong, for the model: each argument in a few words; or nothing.
    """
    properties = schema.get("properties", {})
    found = [
        f"{name} is missing" for name in schema.get("required", ()) if name not in given
    ]
    if not schema.get("additionalProperties", True):
        unknown = [name for name in given if name not in properties]
        if unknown:
            names = ", ".join(shown(name) for name in unknown[:MOST_NAMES])
            known = ", ".join(properties) or "none"
            found.append(f"there is no argument {names}; there are: {known}")
    for name, value in given.items():
        said = _problem_of(properties.get(name, {}), value)
        if said and (name in properties or not found):
            found.append(f"{shown(name, 40)[1:-1]} {said}")
    return "; ".join(found)


def shown(value: object, most: int = 80, ascii: bool = True) -> str:
    """
    @param ascii: For a log, where nothing may hide; else for people.
    @return: A value as JSON, which is one line, cut to C{most}.
    """
    try:
        text = json.dumps(value, ensure_ascii=ascii)
    except (TypeError, ValueError, RecursionError):
        text = '"?"'
    if not ascii:  # without halves of characters, which nothing can send on
        text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= most else text[: most - 4] + '..."'


def _problem_of(about: Mapping[str, Any], value: object) -> str:
    kind = about.get("type", "")
    if kind in _KINDS:
        types, words = _KINDS[kind]
        if type(value) not in types:
            return f"must be {words}"
    choices = about.get("enum")
    # 1 == True, and only one of them is among the choices.
    if choices is not None and not any(
        type(value) is type(choice) and value == choice for choice in choices
    ):
        return f"must be one of {', '.join(map(shown, choices))}"
    if isinstance(value, str):
        return _problem_of_text(about, value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _problem_of_number(about, value)
    return ""


def _problem_of_text(about: Mapping[str, Any], text: str) -> str:
    most = about.get("maxLength", MOST_CHARACTERS)
    least = about.get("minLength", 0)
    if len(text) > most:
        return f"must have {most} characters at most"
    if len(text) < least:
        return f"must have {least} characters at least"
    if any("\ud800" <= c <= "\udfff" for c in text):
        return "must be text"  # halves of characters, which nothing can send on
    pattern = about.get("pattern")
    if pattern is not None and not _compiled(pattern).fullmatch(text):
        return f"must match {pattern}"
    return ""


def _problem_of_number(about: Mapping[str, Any], number: float) -> str:
    if not abs(number) <= GREATEST:  # nor is NaN
        return "must be a number that is not out of all bounds"
    if number < about.get("minimum", number):
        return f"must be {about['minimum']} at least"
    if number > about.get("maximum", number):
        return f"must be {about['maximum']} at most"
    return ""


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)

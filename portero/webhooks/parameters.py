"""What an agent has to give to a tool that only the configuration defines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

from portero.settings import nearest
from portero.webhooks import repeats

MOST_CHARACTERS: Final = 500
"""Of a text for which the configuration gives no other limit."""
MOST_PARAMETERS: Final = 30

MAY_NOT_END: Final = (
    "repeats what is itself repeated, as ([a-z]+ ?)+ does: with some texts all calls "
    "would stand still for minutes. Have the inner one give nothing back, with another "
    "+: ([a-z]++ ?)+"
)

TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
KEYS: Final = ("description", "type", "one_of", "pattern", "most", "least", "optional")

NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_BOUNDS: Final = {
    "string": ("minLength", "maxLength"),
    "integer": ("minimum", "maximum"),
    "number": ("minimum", "maximum"),
}


def problem(parameters: Mapping[str, Any]) -> str:
    """@return: What is wrong with them, for an administrator; or nothing."""
    if len(parameters) > MOST_PARAMETERS:
        return f"has more than {MOST_PARAMETERS}"
    for name, about in parameters.items():
        if not NAME.fullmatch(name):
            return f"has {name!r}, but a name is a letter, then letters, digits and _"
        said = _problem_of(about)
        if said:
            return f"has {name}, {said}"
    return ""


def _problem_of(about: object) -> str:
    if isinstance(about, str):
        about = {"description": about}
    if not isinstance(about, dict):
        return "which must be a description in quotes, or a table"
    for key in about:
        if key not in KEYS:
            return f"with the unknown key {key!r}{nearest(key, KEYS)}"
    description = about.get("description")
    if not isinstance(description, str) or not description.strip():
        return "which has no description: the agent goes by it"
    kind = about.get("type", "string")
    if kind not in TYPES:
        return f"whose type must be one of {', '.join(TYPES)}"
    if type(about.get("optional", False)) is not bool:
        return "whose optional must be true or false"
    return _problem_of_values(kind, about)


def _problem_of_values(kind: str, about: Mapping[str, Any]) -> str:
    choices = about.get("one_of")
    if choices is not None:
        fits = isinstance(choices, list) and choices and kind != "boolean"
        if not fits or any(type(choice) not in TYPES[kind] for choice in choices):
            return f"whose one_of must be a list of values of the type {kind}"
    pattern = about.get("pattern")
    if pattern is not None:
        if kind != "string" or not isinstance(pattern, str):
            return "whose pattern must be a text in quotes, for a string"
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError) as error:
            return f"whose pattern is no regular expression: {error}"
        if repeats.take_for_ever(pattern):
            return f"whose pattern {MAY_NOT_END}"
    for key in ("least", "most"):
        bound = about.get(key)
        if bound is None:
            continue
        if kind not in _BOUNDS:
            return f"which may have no {key}, as a {kind}"
        if type(bound) not in (int, float) or not isfinite(bound):
            return f"whose {key} must be a number"
        if kind == "string" and (type(bound) is not int or bound < 0):
            return f"whose {key} must be a number of characters"
    if about.get("least", 0) > about.get("most", about.get("least", 0)):
        return "whose least is more than its most"
    return ""


def optional(parameters: Mapping[str, Any]) -> set[str]:
    """@return: The names of those that the agent may leave out."""
    return {
        name
        for name, about in parameters.items()
        if isinstance(about, dict) and about.get("optional", False)
    }


def schema(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """
    @param parameters: Such that there is no L{problem}.
    @return: JSON Schema.
    """
    not_needed = optional(parameters)
    return {
        "type": "object",
        "properties": {name: _property(about) for name, about in parameters.items()},
        "required": [name for name in parameters if name not in not_needed],
        "additionalProperties": False,
    }


def _property(about: Any) -> dict[str, Any]:
    if isinstance(about, str):
        about = {"description": about}
    kind = about.get("type", "string")
    found = {"type": kind, "description": about["description"]}
    if "one_of" in about:
        found["enum"] = list(about["one_of"])
    if "pattern" in about:
        # JSON Schema looks for a pattern anywhere in the text.
        found["pattern"] = f"^(?:{about['pattern']})$"
    if kind in _BOUNDS:
        least, most = _BOUNDS[kind]
        if "least" in about:
            found[least] = about["least"]
        if "most" in about:
            found[most] = about["most"]
        elif kind == "string" and "one_of" not in about:
            found[most] = max(MOST_CHARACTERS, about.get("least", 0))
    return found

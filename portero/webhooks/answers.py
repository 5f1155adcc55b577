"""What a server answered, made short enough for an agent to read."""

from __future__ import annotations

import json
import re
from html import unescape
from typing import Any, Final

from portero.errors import PorteroError

MOST_CHARACTERS: Final = 4000
"""That an agent is given."""
CUT: Final = " [cut]"

_TAG: Final = re.compile(r"<(/?)(\w*+)[^<>]*+>")
"""Possessive: it takes no longer for what only begins like a tag."""
_HIDDEN: Final = ("script", "style", "template", "svg")
_CHARSET: Final = re.compile(r"charset=\"?([\w-]+)", re.IGNORECASE)
_CHARSETS: Final = {"iso-8859-1": "cp1252", "windows-1252": "cp1252"}
"""What is not one of these is taken as UTF-8."""


class Unreadable(PorteroError):
    """The answer is not what the configuration says; the message says how."""


def part_of(content: bytes, kind: str, whole: bool, path: str) -> str:
    """
    @param kind: The content's type, as the server says it.
    @param whole: Whether the content is all of it.
    @param path: Names of a JSON answer, joined by points, which lead to the part that
        is wanted; a number leads into a list. Empty: all of it.
    @return: At most L{MOST_CHARACTERS}.
    @raise Unreadable: It is no JSON where it should be, or has no such part.
    """
    text = _decoded(content, kind)
    if path or _is_json(kind):
        if whole:
            return _json_part(text, path)
        if path:
            raise Unreadable(f"it is too long to look for {path}")
    if "html" in kind.lower():
        text = _without_tags(text)
    return _cut(text)


def excerpt(content: bytes, kind: str, most: int = 300) -> str:
    """@return: The beginning of an answer that is not what was hoped for."""
    text = _decoded(content, kind)
    if "html" in kind.lower():
        text = _without_tags(text)
    return _cut(" ".join(text[: 4 * most].split()), most)


def _is_json(kind: str) -> bool:
    name = kind.partition(";")[0].strip().lower()
    return name.endswith(("/json", "+json"))


def _decoded(content: bytes, kind: str) -> str:
    named = _CHARSET.search(kind)
    charset = _CHARSETS.get(named[1].lower() if named else "", "utf-8-sig")
    return content.decode(charset, "replace")


def _json_part(text: str, path: str) -> str:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise Unreadable("it is no JSON") from None
    walked = []
    for name in path.split(".") if path else []:
        walked.append(name)
        try:
            found = _step(found, name)
        except (KeyError, IndexError, ValueError, TypeError):
            raise Unreadable(f"it has no {'.'.join(walked)}") from None
    if isinstance(found, str):
        return _cut(found)
    try:
        return _cut(json.dumps(found, ensure_ascii=False))
    except RecursionError:
        raise Unreadable("it is nested too deep") from None


def _step(value: Any, name: str) -> Any:
    if isinstance(value, list) and name.isascii() and name.isdigit():
        return value[int(name)]
    if isinstance(value, dict):
        return value[name]
    raise KeyError(name)


def _without_tags(text: str) -> str:
    kept, start, hidden = [], 0, ""
    for tag in _TAG.finditer(text):
        closing, name = tag[1], tag[2].lower()
        if not hidden:
            kept.append(text[start : tag.start()])
            if name in _HIDDEN and not closing:
                hidden = name
        elif closing and name == hidden:
            hidden = ""
        start = tag.end()
    kept.append("" if hidden else text[start:])
    # Cut first: to unescape a number of more digits than that is an error.
    return unescape(" ".join(" ".join(kept).split())[: MOST_CHARACTERS + 1])


def _cut(text: str, most: int = MOST_CHARACTERS) -> str:
    """Without control characters, and halves of pairs that cannot be sent."""
    short = text[:most]
    clean = "".join(c if c.isprintable() or c in "\n\t" else " " for c in short)
    return clean[: most - len(CUT)] + CUT if len(text) > most else clean

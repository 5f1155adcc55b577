"""
Whether a regular expression may take for ever to say no.

Python's C{re} tries all ways in which a text can be divided among repetitions. Where
one stands in another, as in C{([a-z]+ ?)+}, each letter doubles them: for thirty
letters that a caller says, all calls would stand still for a minute.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any, Final

_parser: Any = import_module("re._parser")  # these two have no types
_compiler: Any = import_module("re._compiler")

FEW: Final = 10
"""So often something may be repeated whatever it is: it doubles no more often."""

_SAMPLE: Final = "".join(map(chr, range(0x250))) + "李д"
"""Characters in which two classes of them differ, if they do."""
_GIVES_BACK: Final = ("MAX_REPEAT", "MIN_REPEAT")
_KEEPS: Final = ("POSSESSIVE_REPEAT", "ATOMIC_GROUP")


def take_for_ever(pattern: str) -> bool:
    """@param pattern: That C{re.compile} takes."""
    return _is_bad(_parser.parse(pattern))


def _is_bad(sequence: Any) -> bool:
    for kind, about in sequence:
        if str(kind) in _GIVES_BACK:
            _, most, body = about
            if most > FEW and not _has_a_seam(body):
                return True
        if any(map(_is_bad, _within(about))):
            return True
    return False


def _within(about: Any) -> Iterator[Any]:
    """@return: The sequences that are parts of an element."""
    if isinstance(about, _parser.SubPattern):
        yield about
    elif isinstance(about, tuple | list):
        for part in about:
            yield from _within(part)


def _has_a_seam(body: Any) -> bool:
    """Whether it is clear, in each text, where one time ends and the next begins."""
    varying = _varying(body)
    if not varying:
        return True
    return any(seam and not seam & varying for seam in _always_there(body))


def _elements(sequence: Any) -> Iterator[tuple[Any, str, Any]]:
    """@return: Each as a sequence of its own, with its kind and what belongs to it."""
    for place, (kind, about) in enumerate(sequence):
        yield sequence[place : place + 1], str(kind), about


def _varying(sequence: Any) -> set[str]:
    """@return: What can stand where the length is not settled."""
    found: set[str] = set()
    for alone, kind, about in _elements(sequence):
        least, most = alone.getwidth()
        if least != most and kind not in _KEEPS:
            inner = list(_within(about))
            if kind == "SUBPATTERN":
                found |= _varying(inner[0])
            else:
                found |= set().union(*map(_characters, inner))
    return found


def _always_there(sequence: Any) -> Iterator[set[str]]:
    """@return: Of each character that has to stand in it, what it can be."""
    for alone, _, about in _elements(sequence):
        inner, (least, most) = list(_within(about)), alone.getwidth()
        if len(inner) == 1 and least:
            yield from _always_there(inner[0])
        elif not inner and (least, most) == (1, 1):
            yield _characters(alone)


def _characters(sequence: Any) -> set[str]:
    """@return: Those of the sample that can stand anywhere in it."""
    found: set[str] = set()
    for alone, _, about in _elements(sequence):
        inner = list(_within(about))
        if inner:
            found |= set().union(*map(_characters, inner))
        elif alone.getwidth() == (1, 1):
            fits = _compiler.compile(alone).fullmatch
            found |= set(filter(fits, _SAMPLE))
        elif alone.getwidth()[1]:
            found |= set(_SAMPLE)  # what a group before it has matched
    return found

"""
TOML with what C{tomllib} does not tell: on which line of the file each key stands, and
how to mend what is wrong.
"""

from __future__ import annotations

import re
import tomllib
from enum import Enum, auto
from typing import Any, Final

from portero import textfile
from portero.errors import ConfigError

Path = tuple[str, ...]
"""A key with the names of the tables it is in."""

DEEPEST: Final = 50
"""Names from the top down to a key, and brackets in one another. C{tomllib} needs time
in the square of the former, and the stack for the latter."""

_STATEMENT: Final = "a line is [section], key = value, or a comment after #"
_BACKSLASH: Final = (
    "in double quotes a \\ is written twice, in 'single' ones it is itself"
)

REMEDIES: Final = {
    "Invalid value": 'a text stands in quotes: "..."; the others are numbers, true, '
    "false, and lists in [ ]",
    "Invalid statement": _STATEMENT,
    "Expected '=' after a key": _STATEMENT,
    "Expected newline": "a line has one value; decimals come after a point, a "
    "comment after #",
    "Cannot overwrite a value": "this key stands there twice",
    "Cannot declare": "this section stands there twice: put its keys together",
    "Unescaped": _BACKSLASH,
    "Invalid hex": _BACKSLASH,
    "Illegal character '\\n'": "a text ends on its line, with the quote it began with; "
    'one of several lines stands in """three"""',
    "Unclosed array": 'a comma or the "]" is missing',
    "Unclosed inline table": 'a comma or the "}" is missing',
}
"""By the beginning of what C{tomllib} says of a mistake."""

_TOKEN: Final = re.compile(
    r'''
      (?P<newline> \n )
    | (?P<nothing> [ \t\r]++ | \#[^\n]*+ | \. )
    | (?P<word>
        """ (?: [^"\\]++ | \\. | "(?!"") )*+ (?: "{3,5} | \Z )
      | \'\'\' (?: [^']++ | '(?!'') )*+ (?: '{3,5} | \Z )
      | " (?: [^"\\\n]++ | \\. )*+ "?
      | ' [^'\n]*+ '?
      | [^\s\#"'=,.\[\]{}]++
      )
    | (?P<mark> . )
    ''',
    re.VERBOSE | re.DOTALL,
)


class _At(Enum):
    """What the next word belongs to."""

    KEY = auto()
    HEADER = auto()
    VALUE = auto()


class TooDeep(ValueError):
    """Keys or brackets are more than L{DEEPEST} deep."""

    def __init__(self, line: int) -> None:
        """@param line: Where it begins."""
        super().__init__(
            f"keys or brackets are more than {DEEPEST} deep in one another"
        )
        self.line = line


def read(path: str) -> tuple[dict[str, Any], dict[Path, int]]:
    """
    @return: What a file says, and its L{lines}.
    @raise ConfigError: It cannot be read; names the line and what might be meant.
    """
    try:
        # With its end, or tomllib has no place for what is wrong in the last line.
        text = textfile.read(path).removeprefix("\ufeff") + "\n"
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    try:
        found = lines(text)
    except TooDeep as error:
        # Unless it is no key at all, because of a mistake before it.
        before = text.split("\n")[: error.line - 1]
        _loads(path, "\n".join(before) + "\n", len(before))
        raise ConfigError(f"{path}:{error.line}: {error}") from None
    return _loads(path, text, max(found.values(), default=1)), found


def _loads(path: str, text: str, last: int) -> dict[str, Any]:
    """@param last: The line where the last key or section begins."""
    try:
        return tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError; and a number without end
        said = str(error)
    place = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", said)
    if place is None:
        digits = re.search(r"[0-9][0-9_]{4000}", text)
        line = text.count("\n", 0, digits.start()) + 1 if digits else last
        raise ConfigError(f"{path}:{line}: no number has so many digits")
    if place[1] is None:
        said = "what begins here has no end: quotes or a bracket are missing"
        raise ConfigError(f"{path}:{last}: {said}")
    remedy = "".join(f"; {REMEDIES[key]}" for key in REMEDIES if said.startswith(key))
    said = said[: place.start()]
    raise ConfigError(f"{path}:{place[1]}: {said}, at column {place[2]}{remedy}")


def lines(text: str) -> dict[Path, int]:
    """
    @param text: Correct TOML. If it is not, all is right up to its first mistake.
    @return: The number of the line, from 1, where each key and each table begins. In an
        array of tables each element has the array's path, and the first one counts.
    @raise TooDeep: Says in which line.
    """
    found: dict[Path, int] = {}
    header: Path = ()
    # Of what is being read; as many of its names as C{within} were there before.
    path: Path = ()
    within = 0
    at, begun, first, line = _At.KEY, 1, 1, 1
    # Brackets of values, each with the path of what stands in it.
    opened: list[tuple[str, Path]] = []
    for token in _TOKEN.finditer(text):
        kind, word = token.lastgroup, token[0]
        if kind == "newline":
            line += 1
            if not opened:
                at, path, within, begun = _At.KEY, header, len(header), line
        elif kind == "word":
            if at is not _At.VALUE:
                first = first if len(path) > within else line
                path += (_plain(word),)
            line += word.count("\n")
        elif word == ("]" if at is _At.HEADER else "=") and at is not _At.VALUE:
            for length in range(within + 1, len(path) + 1):
                found.setdefault(path[:length], first)
            header = path if at is _At.HEADER else header
            at = _At.VALUE
        elif word == "[" and not opened and at is not _At.VALUE:
            at, path, within = _At.HEADER, (), 0
        elif word in "[{":
            if opened and opened[-1][0] == "[":
                path = opened[-1][1]
            opened.append((word, path))
            at, within = (_At.KEY if word == "{" else _At.VALUE), len(path)
        elif word == "," and opened:
            bracket, path = opened[-1]
            at, within = (_At.KEY if bracket == "{" else _At.VALUE), len(path)
        elif word in "]}" and opened:
            opened.pop()
            at = _At.VALUE
        if len(path) > DEEPEST or len(opened) > DEEPEST:
            raise TooDeep(begun)
    return found


def _plain(word: str) -> str:
    """@return: A part of a key without its quotes."""
    if word[0] == '"' and "\\" in word:
        try:
            return str(tomllib.loads(f"key={word}")["key"])
        except ValueError:
            return word
    return word.strip(word[0]) if word[0] in "\"'" else word

"""
The environment of a service, from the file that its unit names in C{EnvironmentFile}.

Read as systemd does (C{systemd.exec(5)}, and C{src/basic/env-file.c} where the manual
is silent), so that it can be said beforehand what the service will see. What systemd
passes over in silence is an error here: it is always a mistake.
"""

from __future__ import annotations

import re
from typing import Final

from portero import textfile
from portero.errors import ConfigError
from portero.settings import MOST_FOUND, shown

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_BETWEEN: Final = re.compile(r"\s*+")
_COMMENT: Final = re.compile(r"[#;][^\n\r]*+")
_KEY: Final = re.compile(r"(?P<name>[^=\n\r]*+)(?P<equals>=?)")
_QUOTED: Final = re.compile(
    r"""[ \t]*+ (?: '(?P<single>[^']*+)' | "(?P<double>(?:\\.|[^"\\])*+)" )""",
    re.VERBOSE | re.DOTALL,
)
_BARE: Final = re.compile(r"[ \t]*+(?P<bare>(?:\\.|[^\\\n\r])*+)", re.DOTALL)


def read(path: str) -> dict[str, str]:
    """
    @return: What it sets; of two lines with one name the later one counts.
    @raise ConfigError: Something is wrong; all of it, a line each. No value is quoted.
    """
    try:
        text = textfile.read(path)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    found: dict[str, str] = {}
    wrong: list[str] = []

    def say(at: int, message: str) -> None:
        wrong.append(f"{path}:{text.count(chr(10), 0, at) + 1}: {message}")

    at = 0
    while True:
        at = _end(_BETWEEN, text, at)
        if at == len(text) or len(wrong) == MOST_FOUND:
            break
        begin = at
        at = _end(_COMMENT, text, at)
        if at > begin:
            if text[at - 1] == "\\":
                say(begin, "a comment that ends with \\ takes the next line with it")
            continue
        key = _KEY.match(text, at)
        assert key is not None  # it matches anything
        at = key.end()
        if not key["equals"]:
            say(begin, "is neither NAME=VALUE nor a comment, which begins with # or ;")
            continue
        name = key["name"].rstrip()
        if name.startswith("export "):
            say(begin, "export belongs to the shell: systemd wants NAME=VALUE")
        elif not NAME.fullmatch(name):
            say(begin, f"{shown(name)} is no name: it has plain letters, digits and _")
        value = ""
        while quoted := _QUOTED.match(text, at):
            at = quoted.end()
            value += quoted["single"] or _of_double(quoted["double"] or "")
        bare = _BARE.match(text, at)
        assert bare is not None  # it matches anything
        if bare["bare"][:1] in ("'", '"'):
            say(bare.start("bare"), f"the {bare['bare'][0]} has no end")
            break
        at = bare.end()
        found[name] = value + _of_bare(bare["bare"])
    if "\0" in text:
        say(text.index("\0"), "has a NUL character")
    if wrong:
        raise ConfigError("\n".join(wrong))
    return found


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _of_double(text: str) -> str:
    r"""Between double quotes a \ counts before few characters, else it is itself."""
    return re.sub(r'\\(?:\n|(["\\`$]))', lambda found: found[1] or "", text)


def _of_bare(text: str) -> str:
    r"""Blanks at the end do not count, unless there is a \ before them."""
    kept = text.rstrip(" \t")
    escapes = len(kept) - len(kept.rstrip("\\"))
    if escapes % 2:
        kept = text[: len(kept) + 1]
    return re.sub(r"\\(.)", lambda found: found[1].strip("\n\r"), kept, flags=re.DOTALL)

"""A mail address as it can be sent to: one, plain, and with nothing beside it."""

from __future__ import annotations

import re
from typing import Final

import idna

LONGEST: Final = 254
"""Characters of an address: RFC 5321, 4.5.3.1, without its two brackets."""
LONGEST_LOCAL: Final = 64
LONGEST_DOMAIN: Final = 253

_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL: Final = re.compile(rf"{_ATOM}(\.{_ATOM})*")
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_EXAMPLE: Final = "it looks like name@company.example"


def parse(text: str) -> str:
    """
    @return: The address in ASCII; a domain of other letters is in its encoded form
        (RFC 5891). It holds no space, comma, bracket, quote or line break.
    @raise ValueError: It is none that mail can be sent to; says why.
    """
    text = text.strip(" ")
    local, at, domain = text.rpartition("@")
    if not at or len(text) > LONGEST:
        raise ValueError(f"is no mail address; {_EXAMPLE}")
    # Without quotes: they are legal, used by nobody, and a hiding place.
    if not _LOCAL.fullmatch(local) or len(local) > LONGEST_LOCAL:
        raise ValueError(f"has something else than a name before the @; {_EXAMPLE}")
    return f"{local}@{_domain(domain)}"


def problem(text: str) -> str:
    """@return: What is wrong with an address in the configuration, or nothing."""
    try:
        parse(text)
    except ValueError as error:
        return str(error) if text else ""
    return ""


def spelled(address: str) -> str:
    """
    @return: An address as it is read out letter by letter, for the agent to say.
    """
    names = {"@": "at", ".": "dot", "-": "hyphen", "_": "underscore", "+": "plus"}
    local, _, domain = address.rpartition("@")
    letters = [names.get(c, c) for c in local]
    # Whoever hears a usual domain knows it; the letters before it, nobody can guess.
    return f"{' '.join(letters)} at {domain.replace('.', ' dot ')}"


def outline(address: str) -> str:
    """@return: For the log, which is to name nobody: the domain alone."""
    return "...@" + address.rpartition("@")[2]


def _domain(text: str) -> str:
    try:
        found = idna.encode(text, uts46=True).decode("ascii").lower()
    except (idna.IDNAError, ValueError):
        found = ""
    labels = found.split(".")
    fits = len(labels) > 1 and all(map(_LABEL.fullmatch, labels))
    if not fits or labels[-1].isdigit() or len(found) > LONGEST_DOMAIN:
        raise ValueError(f"has no domain behind the @; {_EXAMPLE}")
    return found

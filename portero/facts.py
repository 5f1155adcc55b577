"""What the dialplan tells of a call before it comes, made harmless."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

MOST_CHARACTERS: Final = 100
"""Of a value."""
MOST_VARIABLES: Final = 50
MOST_MARKS: Final = 3
"""On one letter: Thai and Hindi need two or three, and a flood hides what is near."""

TELLING: Final = 7
"""Digits at the end of a number, by which it is known with or without a prefix."""

_SIGNS: Final = frozenset(" .,'-_/&+@#*():;?!%=")
"""Signs that names, addresses and numbers have. Quotes, braces and brackets are not
among them: a value could end its place in a prompt with these."""

_PLAIN: Final = str.maketrans("\u2019\u2010\u2011\u2013", "'---")
"""What telephones write for plain signs."""

_UNSEEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)
"""Letters and marks without a look (Unicode's Default_Ignorable_Code_Point)."""


def harmless(text: str, most: int = MOST_CHARACTERS) -> str:
    """
    @return: One line of letters, digits and plain signs; what else there was is a
        space. Not longer than C{most}.
    """
    text = _UNSEEN.sub("", text[: 4 * most].translate(_PLAIN))
    kept: list[str] = []
    room = 0  # for marks: there is none before a letter
    for c in unicodedata.normalize("NFC", text):
        category = unicodedata.category(c)
        if category[0] == "M":
            kept += [c] if room > 0 and category != "Me" else []
            room -= 1
            continue
        fits = category[0] in "LN"
        room = MOST_MARKS if fits else 0
        kept.append(c if fits or c in _SIGNS else " ")
    return " ".join("".join(kept).split())[:most].rstrip()


def bare(number: str) -> str:
    """@return: A telephone number without what is only there to be read."""
    return "".join(c for c in number if c.isalnum() or c in "+*#_")


@dataclass(frozen=True, slots=True)
class Facts:
    """Of one call. All texts are L{harmless}."""

    caller_name: str = ""
    caller_number: str = ""
    called_number: str = ""
    agent: str = ""
    """The dialplan's wish; empty: portero chooses."""
    channel: str = ""
    """Asterisk's name of the caller's channel."""
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def caller_in_short(self) -> str:
        """For the log, which is to hold no whole number: ends a sentence's subject."""
        return f" (caller ...{self.caller_number[-3:]})" if self.caller_number else ""

    def discreet(self, text: str) -> str:
        """
        @return: The same, for the log: where it has the caller's number, however that
            is written, its last three digits. An extension is not worth it.
        """
        digits = re.sub("[^0-9]", "", self.caller_number)[-TELLING:]
        if len(digits) < TELLING:
            return text
        number = r"\+?[0-9 ().-]*" + "[ ().-]*".join(digits)
        return re.sub(number, f"...{digits[-3:]}", text)

    @classmethod
    def of_form(cls, form: Mapping[str, str]) -> Facts:
        """
        @param form: By name: fields of this class, and any variables beside them.
        @raise ValueError: There are too many; says so for an operator.
        """
        known = {"caller_name", "caller_number", "called_number", "agent", "channel"}
        variables = {
            name: harmless(value)
            for name, value in form.items()
            if name not in known and name.isidentifier()
        }
        if len(variables) > MOST_VARIABLES:
            raise ValueError(f"more than {MOST_VARIABLES} variables")
        given = {name: harmless(form.get(name, "")) for name in known}
        return cls(**given, variables=variables)

"""The words of a text, as they are looked for: without accents and capitals."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

WORD: Final = re.compile(r"[^\W_]+")
"""What the index of the records takes for a word."""


def split(text: str) -> tuple[str, ...]:
    """@return: Its words, as they stand there."""
    return tuple(WORD.findall(unicodedata.normalize("NFC", text)))


def fold(text: str) -> str:
    """@return: Without accents and capitals, as that index has it."""
    plain = unicodedata.normalize("NFD", text.lower())
    return "".join(c for c in plain if not unicodedata.combining(c))

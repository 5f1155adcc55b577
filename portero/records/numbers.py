"""Whether a telephone number that was kept is the one that is meant."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from portero.records.past import LAST_DIGITS, Past

LEAST: Final = 7
"""Digits at the end by which two ways to write a number are the same one: with and
without the country, the area or a zero before it. No extension has as many."""


class Match(Enum):
    NO = 0
    PERHAPS = 1
    """Only the last digits are kept, and these are the same."""
    YES = 2


def digits(number: str) -> str:
    return re.sub(r"[^0-9]", "", number)


def is_short(number: str) -> bool:
    """Whether it is as L{portero.records.past.short} makes them."""
    return number.startswith("...")


def match(wanted: str, kept: str) -> Match:
    """
    @param wanted: Digits.
    @param kept: As it stands in a record.
    """
    found = digits(kept)
    if not found or not wanted:
        return Match.NO
    if is_short(kept):
        return Match.PERHAPS if wanted[-LAST_DIGITS:] == found else Match.NO
    short, long = sorted((wanted, found), key=len)
    same = found == wanted or (len(short) >= LEAST and long.endswith(short))
    return Match.YES if same else Match.NO


def of_call(wanted: str, past: Past) -> Match:
    """@return: The better one of the caller's and of the number called."""
    facts = past.record.facts
    both = match(wanted, facts.caller_number), match(wanted, facts.called_number)
    return max(both, key=lambda one: one.value)

"""
Texts of an agent with places for what is known of the call: C{{caller_name}}. A brace
that is meant as one is doubled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Final

BUILT_IN: Final = (
    "caller_name",
    "caller_number",
    "called_number",
    "company_name",
    "date",
    "time",
    "weekday",
)

FALLBACKS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "caller_name": "unknown",
        "caller_number": "unknown",
        "called_number": "unknown",
        "company_name": "our company",
    },
    "es": {
        "caller_name": "desconocido",
        "caller_number": "desconocido",
        "called_number": "desconocido",
        "company_name": "nuestra empresa",
    },
}
"""By language: what stands for a value that the call did not bring."""

_WEEKDAYS: Final = {
    "en": [
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
    ],
    "es": ["lunes", "martes", "miércoles", "jueves", "viernes", "sábado", "domingo"],
}
_MONTHS: Final = {
    "en": [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ],
    "es": [
        "enero",
        "febrero",
        "marzo",
        "abril",
        "mayo",
        "junio",
        "julio",
        "agosto",
        "septiembre",
        "octubre",
        "noviembre",
        "diciembre",
    ],
}
_DATES: Final = {"en": "{day} {month} {year}", "es": "{day} de {month} de {year}"}


_PLACE: Final = re.compile(r"\{\{|\}\}|\{(?P<name>[^{}]*)\}|[{}]")


def names(text: str) -> set[str]:
    """
    @return: The names that stand in a text.
    @raise ValueError: It is no template; says why, for an operator.
    """
    found = set()
    for place in _PLACE.finditer(text):
        name = place["name"]
        if name is not None and name.isidentifier():
            found.add(name)
        elif place[0] not in ("{{", "}}"):
            line = text.count("\n", 0, place.start()) + 1
            raise ValueError(
                f"has in its line {line} a brace that begins or ends no name; a name "
                "looks like {caller_name}, a brace of its own is written twice: {{ }}"
            )
    return found


def render(text: str, values: Mapping[str, str]) -> str:
    """
    What looks like a name in a value stays as it is.

    @param values: Of all L{names} of the text.
    """

    def instead(place: re.Match[str]) -> str:
        return place[0][0] if place["name"] is None else values[place["name"]]

    return _PLACE.sub(instead, text)


def moment(now: datetime, language: str) -> dict[str, str]:
    """@return: C{date}, C{time} and C{weekday}, to be spoken in this language."""
    month = _MONTHS[language][now.month - 1]
    return {
        "date": _DATES[language].format(day=now.day, month=month, year=now.year),
        "time": f"{now:%H:%M}",
        "weekday": _WEEKDAYS[language][now.weekday()],
    }

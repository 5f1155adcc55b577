"""Opening hours as people write them, by the week and with several spans a day."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_TIME: Final = r"(\d{1,2})(?::(\d{2}))?"
_SPAN: Final = re.compile(f"{_TIME}-{_TIME}", re.ASCII)
_LOOKS_LIKE: Final = (
    'it looks like "mon-fri 09:00-14:00 16:00-19:00; sat 10:00-13:00", or "always"'
)
_DAY_MINUTES: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class Hours:
    """Of a week. A span that ends before it begins lasts into the next day."""

    spans: tuple[tuple[int, int, int], ...]
    """Day of the week, from 0; first minute of the day; the minute after the last."""

    def open_at(self, when: datetime) -> bool:
        """@param when: In the time zone that is meant."""
        minute = when.hour * 60 + when.minute
        for day, begin, end in self.spans:
            if day == when.weekday() and begin <= minute < end:
                return True
            over_midnight = end - _DAY_MINUTES
            if (day + 1) % 7 == when.weekday() and minute < over_midnight:
                return True
        return False

    def opens_next(self, when: datetime) -> datetime | None:
        """@return: The first minute from then on at which it is open; L{None}: none."""
        start = when.replace(second=0, microsecond=0)
        times = [start] if self.open_at(start) else []
        for ahead in range(8):
            date = start + timedelta(days=ahead)
            times += [
                date.replace(hour=begin // 60, minute=begin % 60)
                for day, begin, _ in self.spans
                if day == date.weekday() and begin < _DAY_MINUTES
            ]
        return min((time for time in times if time >= start), default=None)


ALWAYS: Final = Hours(tuple((day, 0, _DAY_MINUTES) for day in range(7)))


def parse(text: str) -> Hours:
    """
    @param text: Empty: always.
    @raise ValueError: It is none; says what it looks like.
    """
    if text.strip().lower() in ("", "always"):
        return ALWAYS
    spans: list[tuple[int, int, int]] = []
    for part in text.lower().split(";"):
        days, *times = part.split() or [""]
        if not times:
            raise ValueError(f"has {part.strip()!r}; {_LOOKS_LIKE}")
        for day in _days(days):
            spans += [(day, *_span(time)) for time in times]
    return Hours(tuple(spans))


def problem(text: str) -> str:
    """@return: What is wrong with such a text, or nothing."""
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return ""


def _days(text: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise ValueError(f"has {part!r} for days; {_LOOKS_LIKE}")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found += [(begin + step) % 7 for step in range((end - begin) % 7 + 1)]
    return found


def _span(text: str) -> tuple[int, int]:
    found = _SPAN.fullmatch(text)
    if found is None:
        raise ValueError(f"has {text!r} for a time; {_LOOKS_LIKE}")
    begin, end = (
        int(hour) * 60 + int(minute or 0)
        for hour, minute in (found.group(1, 2), found.group(3, 4))
    )
    minutes = [int(part or 0) for part in found.group(2, 4)]
    if begin >= _DAY_MINUTES or end > _DAY_MINUTES or max(minutes) > 59:
        raise ValueError(f"has {text!r}, but a day ends at 24:00; {_LOOKS_LIKE}")
    return begin, end if end > begin else end + _DAY_MINUTES

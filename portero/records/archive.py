"""
Calls that are over: of those since the start, what memory has; of those before, what
the records have. To be looked through, and to be looked at.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred
from zope.interface import implementer

from portero.interfaces import Happening, IObserver, IWatchedCall, LegFigures
from portero.record import Outcome, Record
from portero.records import rows, waveform
from portero.records.database import Database, RecordsError
from portero.records.erasing import Erasing
from portero.records.past import Past, has_words
from portero.records.places import this_host
from portero.records.rows import Wanted
from portero.records.verdict import verdict
from portero.records.words import WORD, fold, split
from portero.service import REMEMBERED

MOST_AT_ONCE: Final = 200
"""Calls of a page."""
LONGEST_QUERY: Final = 200
"""Characters."""
ONLY_MEMORY: Final = "only in memory, since the start"
IN_RECORDS: Final = "in records"
_AROUND: Final = 60
"""Characters of an utterance on each side of the word that was looked for."""


class Told(Protocol):
    """As L{portero.observers.story.Story}: what happened in calls."""

    def of(self, call_id: str) -> tuple[Happening, ...] | None: ...

    def forget(self, call_id: str) -> bool: ...


class Sound(Protocol):
    """As L{portero.observers.recording.Recordings}: what was recorded of calls."""

    folder: str

    def name_of(self, call_id: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Query:
    """What calls are looked for; what is empty is no condition."""

    words: str = ""
    """Said by one side in one go; of the last one its beginning is enough."""
    agent: str = ""
    outcome: str = ""
    """C{well}, C{transferred} or C{failed}."""
    number: str = ""
    """Of the caller, or the one called: the last digits are enough."""
    since: str = ""
    """YYYY-MM-DD, a day by this machine's clock."""
    until: str = ""
    """The last day."""
    limit: int = 50
    before: str = ""
    """C{next} of the page before."""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Query:
        """
        @param given: C{q}, C{agent}, C{outcome}, C{number}, C{since}, C{until},
            C{limit}, C{before}, as they came; each may be missing.
        @raise ValueError: One of them cannot be; says which, and what it looks like.
        """
        limit = given.get("limit", "") or "50"
        if not re.fullmatch(r"[0-9]{1,3}", limit, re.ASCII) or not (
            1 <= int(limit) <= MOST_AT_ONCE
        ):
            raise ValueError(f"limit: a whole number from 1 to {MOST_AT_ONCE}")
        words = given.get("q", "")
        if len(words) > LONGEST_QUERY:
            raise ValueError(f"q: at most {LONGEST_QUERY} characters")
        query = cls(
            words,
            given.get("agent", ""),
            given.get("outcome", ""),
            given.get("number", ""),
            given.get("since", ""),
            given.get("until", ""),
            int(limit),
            given.get("before", ""),
        )
        query.wanted()
        return query

    def wanted(self) -> Wanted:
        """@raise ValueError: As L{of} says."""
        outcomes = [outcome.value for outcome in Outcome]
        if self.outcome and self.outcome not in outcomes:
            raise ValueError(f"outcome: one of {', '.join(outcomes)}")
        digits = re.sub(r"[^0-9]", "", self.number)
        if self.number.strip() and not digits:
            raise ValueError("number: digits, for instance the last four")
        since, until = _day("since", self.since), _day("until", self.until)
        return Wanted(
            split(self.words),
            self.agent,
            self.outcome,
            digits,
            _utc(since) if since else "",
            _utc(until + timedelta(days=1)) if until else "",
            _place(self.before) if self.before else None,
            self.limit + 1,
        )


def _day(key: str, text: str) -> date | None:
    if not text:
        return None
    try:
        found = date.fromisoformat(text)
        _utc(found), _utc(found + timedelta(days=1))
    except (ValueError, OverflowError):
        raise ValueError(f"{key}: a day, which looks like 2026-11-21") from None
    return found


def _utc(day: date) -> str:
    """@return: Its beginning here, as records have times."""
    midnight = datetime.combine(day, time.min).astimezone(UTC)
    return midnight.isoformat(timespec="seconds")


def _place(cursor: str) -> tuple[str, str]:
    began, _, call_id = cursor.partition("_")
    try:
        return datetime.fromisoformat(began).isoformat(timespec="seconds"), call_id
    except ValueError:
        raise ValueError("before: must be next of the page before") from None


def _cursor(record: Record) -> str:
    return f"{record.began.replace('+00:00', 'Z')}_{record.call_id}"


def _says(text: str, words: Sequence[str]) -> bool:
    said = {fold(word) for word in split(text)}
    *whole, last = (fold(word) for word in words)
    return said.issuperset(whole) and any(word.startswith(last) for word in said)


def _snippet(text: str, words: Sequence[str]) -> str:
    """@return: What is around the first of the words; nothing without a text."""
    text = unicodedata.normalize("NFC", text)
    *whole, last = (fold(word) for word in words or [""])
    for found in WORD.finditer(text):
        word = fold(found[0])
        if word in whole or word.startswith(last):
            begin = max(found.start() - _AROUND, 0)
            end = found.end() + _AROUND
            left, right = "..." if begin else "", "..." if end < len(text) else ""
            return f"{left}{text[begin:end]}{right}"
    return ""


Stories = Mapping[str, Sequence[Happening]]


def _search(
    records: Sequence[Record], stories: Stories, wanted: Wanted
) -> list[tuple[Record, str]]:
    """As L{portero.records.rows.find}, of records in memory."""
    found: list[tuple[Record, str]] = []
    for record in sorted(records, key=_key, reverse=True):
        if len(found) == wanted.most:
            break
        if not _fits(record, wanted):
            continue
        text = ""
        if wanted.words:
            said = (
                str(each.data["text"])
                for each in stories.get(record.call_id, ())
                if each.kind == "said"
            )
            text = next((text for text in said if _says(text, wanted.words)), "")
            if not text:
                continue
        found.append((record, text))
    return found


def _fits(record: Record, wanted: Wanted) -> bool:
    """All that is wanted but the words."""
    facts = record.facts
    numbers = (facts.caller_number, facts.called_number)
    return (
        wanted.agent in ("", record.agent)
        and wanted.outcome in ("", record.outcome.value)
        and (not wanted.since or record.began >= wanted.since)
        and (not wanted.until or record.began < wanted.until)
        and (wanted.before is None or _key(record) < wanted.before)
        and any(re.sub(r"[^0-9]", "", n).endswith(wanted.digits) for n in numbers)
    )


def _key(record: Record) -> tuple[str, str]:
    """Records are in the order of this."""
    return record.began, record.call_id


@implementer(IObserver)
class Archive:
    """Of the whole house. Whoever asks waits for a disk, but nobody else does."""

    def __init__(
        self,
        ended: MutableMapping[str, Record],
        story: Told,
        in_thread: Callable[[Callable[[], Any]], Deferred[Any]],
        file: Database | None = None,
        sound: Sound | None = None,
        erasing: Erasing | None = None,
        sound_of: Callable[[str], Mapping[str, float]] = lambda call_id: {},
    ) -> None:
        """
        @param ended: Calls that memory has, by id.
        @param in_thread: Runs a function where it may wait for a disk.
        @param sound_of: What the sound is like of a call that is under way, or
            ends now.
        """
        self._ended = ended
        self._story = story
        self._in_thread = in_thread
        self._file = file
        self._sound = sound
        self._erasing = erasing
        self._sound_of = sound_of
        self._figures: OrderedDict[str, LegFigures] = OrderedDict()

    # IObserver

    def call_started(self, call: IWatchedCall) -> None:
        pass

    def call_event(self, happening: Happening) -> None:
        pass

    def call_ended(self, record: Record, figures: LegFigures) -> None:
        self._figures[record.call_id] = self.measured(record.call_id, figures)
        while len(self._figures) > REMEMBERED:
            self._figures.popitem(last=False)

    # What others ask

    def measured(self, call_id: str, figures: LegFigures) -> LegFigures:
        """@return: The figures of a leg, and what the sound of its call is like."""
        return replace(figures, sound=self._sound_of(call_id))

    def outline(self, record: Record) -> dict[str, Any]:
        """@return: A call that memory has, as L{history} gives each."""
        return self._remembered(record).outline()

    async def history(self, query: Query) -> dict[str, Any]:
        """
        @return: C{calls}: the newest that fit, each with a C{snippet} of what was
            looked for; C{next}: for the page after this one, or L{None}; C{kept}: what
            there is to look through, in words.
        @raise ValueError: The query cannot be, as L{Query.of} says.
        """
        wanted = query.wanted()
        records, stories = tuple(self._ended.values()), {}
        if wanted.words:
            told = ((one.call_id, self._story.of(one.call_id)) for one in records)
            stories = {call_id: story for call_id, story in told if story}
        searched = await self._in_thread(partial(_search, records, stories, wanted))
        rows, kept = await self._find(wanted)
        found = {_key(past.record): (past, text) for past, text in rows}
        for record, text in searched:
            found[_key(record)] = self._remembered(record), text
        newest = [found[key] for key in sorted(found, reverse=True)]
        page = newest[: query.limit]
        return {
            "calls": [
                {**past.outline(), "snippet": _snippet(text, wanted.words)}
                for past, text in page
            ],
            "next": _cursor(page[-1][0].record) if len(newest) > len(page) else None,
            "kept": kept,
        }

    async def _find(self, wanted: Wanted) -> tuple[list[tuple[Past, str]], str]:
        if self._file is None:
            return [], ONLY_MEMORY
        try:
            found = await self._file.run(partial(rows.find, wanted=wanted))
        except RecordsError as error:
            return [], f"{ONLY_MEMORY}; the records cannot be read now: {error}"
        return found, IN_RECORDS

    async def call(self, call_id: str, language: str = "en") -> dict[str, Any] | None:
        """
        @param language: Of the verdict.
        @return: An ended call in the shape of a live one, with its verdict; L{None}:
            there is none with that id.
        """
        past = await self._past(call_id)
        if past is None:
            return None
        return {
            "call": past.outline(),
            "live": False,
            "happened": [
                {"kind": each.kind, "at": each.at, **each.data}
                for each in past.happened
            ],
            "figures": asdict(past.figures),
            "verdict": verdict(past, language),
            "recording": bool(past.recording) and past.host in ("", this_host()),
        }

    async def _past(self, call_id: str) -> Past | None:
        """@return: With what happened in it, if that is still known."""
        record = self._ended.get(call_id)
        if record is not None and self._story.of(call_id) is not None:
            return self._remembered(record)
        if self._file is not None:
            try:
                past = await self._file.run(partial(rows.read, call_id=call_id))
            except RecordsError:
                past = None  # the records themselves warn of that
            if past is not None:
                return past
        return None if record is None else self._remembered(record)

    async def erase(self, call_id: str) -> bool:
        """
        Delete for good what is kept of a call that is over, and forget it.

        @return: Whether anything was known of it.
        @raise RecordsError, OSError: Not all could be deleted; nothing is forgotten.
        """
        kept = self._erasing is not None and await self._erasing.erase(call_id)
        self._figures.pop(call_id, None)
        told = self._story.forget(call_id)
        return self._ended.pop(call_id, None) is not None or told or kept

    async def recording_path(self, call_id: str) -> str | None:
        """@return: The WAV file of a call that is over, which is there."""
        past = await self._past(call_id)
        if past is None or not past.recording or self._sound is None:
            return None
        path = os.path.join(self._sound.folder, os.path.basename(past.recording))
        return path if await self._in_thread(partial(os.path.isfile, path)) else None

    async def waveform(self, call_id: str) -> dict[str, Any] | None:
        """
        @return: C{seconds}, C{step_ms} and, for each step, the peaks of C{caller} and
            C{agent}, linear, 0 to 100; L{None}: there is no recording.
        @raise ValueError: The recording is none that can be read.
        """
        path = await self.recording_path(call_id)
        if path is None:
            return None
        found: dict[str, Any] = await self._in_thread(partial(waveform.of, path))
        return found

    def _remembered(self, record: Record) -> Past:
        call_id = record.call_id
        happened = self._story.of(call_id) or ()
        return Past(
            record,
            self._figures.get(call_id, LegFigures()),
            happened,
            has_words(happened),
            self._sound.name_of(call_id) if self._sound is not None else "",
        )

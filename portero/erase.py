"""
C{portero erase}: all that is kept of one call, or of all calls from or to a number, is
deleted for good, whether portero runs or not.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Final

from twisted.python import usage

from portero.errors import PorteroError
from portero.records import command, files, numbers, places, rows
from portero.records.cursor import Cursor
from portero.records.numbers import Match
from portero.records.past import LAST_DIGITS, Past
from portero.records.rows import Wanted

DONE: Final = 0
WRONG: Final = 1
NOTHING: Final = 2
NOT_WANTED: Final = 3
NOT_ALL: Final = 4

MEMORY: Final = (
    "A portero that runs still has what its memory holds of calls since its start: the "
    "page forgets it with DELETE /api/v1/calls/ID, or when portero is started again."
)
SHOWN: Final = 20
"""Calls that are listed."""

_NUMBER: Final = re.compile(r"[+0-9 ()./-]+", re.ASCII)


class Options(command.Options):
    """What C{portero erase} takes."""

    synopsis = "Usage: portero erase CALL|NUMBER [--yes] [options]"
    longdesc = (
        "Deletes for good what is kept of a call, by its id, or of all calls from or "
        "to a telephone number: records, words and their index, recordings, captures, "
        "and what waits for the webhook. It shows what that is and asks first. Exit "
        f"status: {DONE} all is erased; {WRONG} something is wrong, as it says; "
        f"{NOTHING} nothing was found; {NOT_WANTED} the answer was no; {NOT_ALL} "
        "erased, but there may be more, as it says."
    )
    optFlags: ClassVar[list[list[Any]]] = [["yes", "y", "Do not ask."]]
    what = ""

    def parseArgs(self, *given: str) -> None:
        """It may stand before options, between them or after them."""
        if given:
            if self.what:
                raise usage.UsageError("one CALL or NUMBER at a time")
            self.what = given[0]
            self.parseOptions(list(given[1:]))

    def postOptions(self) -> None:
        if not self.what:
            raise usage.UsageError("which CALL or NUMBER?")


@dataclass(slots=True)
class Found:
    """What is meant, wherever it is."""

    calls: list[Past] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    unclear: int = 0
    """Calls that may be meant: only the last digits of their numbers are kept."""

    def elsewhere(self) -> Iterator[tuple[str, str]]:
        """@return: Host and id of each call whose recording is not here."""
        here = {path.name for path in self.files}
        for past in self.calls:
            away = past.host not in ("", places.this_host())
            if away and past.recording and past.recording not in here:
                yield past.host, past.record.call_id


def run(arguments: Sequence[str]) -> int:
    """@return: The exit status."""
    options = Options()
    try:
        options.parseOptions(list(arguments))
    except usage.UsageError as error:
        print(f"{options.synopsis}\n{error}", file=sys.stderr)
        return WRONG
    try:
        return _Erasing(options).run()
    except (PorteroError, OSError) as error:
        print(command.told(error), file=sys.stderr)
        return WRONG


class _Erasing:
    """
    @raise PorteroError, OSError: From all of its methods: something cannot be had.
    """

    def __init__(self, options: Options) -> None:
        config = options.read()
        state = options.state_folder
        self._what = options.what.strip()
        self._asks = not options["yes"]
        self._folders = places.folders(config.records, state)
        self._queue = places.place(config.records.webhook_queue, state, "webhook")
        self._database = options.database(config)

    def run(self) -> int:
        with self._database.at_once() as cursor:
            found = self._find(cursor)
        if found is None:
            return WRONG
        if not found.ids:
            what = "no call" if _NUMBER.fullmatch(self._what) else "no call with the id"
            print(f"{what} {self._what} is kept", file=sys.stderr)
            return NOT_ALL if self._warn(found) else NOTHING
        for line in _lines(found):
            print(line)
        if self._asks and not _agreed():
            print("nothing was erased", file=sys.stderr)
            return NOT_WANTED
        with self._database.at_once() as cursor:
            erased = rows.erase(cursor, found.ids, thoroughly=True)
        removed = files.remove(found.files)
        print(f"Erased: {erased} records, {removed} files. {MEMORY}")
        return NOT_ALL if self._warn(found) else DONE

    def _find(self, cursor: Cursor) -> Found | None:
        """@return: L{None}: it was said why nothing can be meant by that."""
        found = self._of_id(cursor, self._what.lower())
        if found.ids:
            return found
        if numbers.is_short(self._what):
            end = numbers.digits(self._what)
            count = sum(1 for _ in _ending(cursor, end)) if end else 0
            print(
                f"{self._what} is only the end of a number, which several people may "
                f"have: {count} calls have one that ends so. Give the whole number, or "
                "the call's id, which the page and portero export have",
                file=sys.stderr,
            )
            return None
        if _NUMBER.fullmatch(self._what):
            return self._of_number(cursor, numbers.digits(self._what))
        return found

    def _of_id(self, cursor: Cursor, call_id: str) -> Found:
        found = Found(calls=rows.all_of(cursor, call_id))
        self._add_files(found, call_id)
        if found.calls or found.files:
            found.ids.append(call_id)
        return found

    def _of_number(self, cursor: Cursor, wanted: str) -> Found:
        found = Found()
        for past in _ending(cursor, wanted[-LAST_DIGITS:]):
            match = numbers.of_call(wanted, past)
            if match is Match.YES:
                found.calls.append(past)
            found.unclear += match is Match.PERHAPS
        found.ids = list(dict.fromkeys(past.record.call_id for past in found.calls))
        for call_id in found.ids:
            self._add_files(found, call_id)
        return found

    def _add_files(self, found: Found, call_id: str) -> None:
        found.files += files.of_call(self._folders, call_id)
        found.files += files.unsent(self._queue, call_id)

    def _warn(self, found: Found) -> bool:
        """Whether something may be left, which is said."""
        if found.unclear:
            print(
                f"of {found.unclear} more calls only the last digits are kept, and "
                "these are the same: they may be of others, so they are still there. "
                "Erase them by their ids, which the page and portero export have",
                file=sys.stderr,
            )
        elsewhere = list(found.elsewhere())
        for host, call_id in elsewhere:
            print(
                f"the recording of call {call_id} is on {host}: there, run portero "
                f"erase {call_id}",
                file=sys.stderr,
            )
        return bool(found.unclear or elsewhere)


def _ending(cursor: Cursor, digits: str) -> Iterator[Past]:
    """@return: Calls from or to numbers that end so, the newest first."""
    wanted = Wanted(digits=digits, most=200)
    while True:
        page = [past for past, _ in rows.find(cursor, wanted)]
        yield from page
        if len(page) < wanted.most:
            return
        last = page[-1].record
        wanted = replace(wanted, before=(last.began, last.call_id))


def _lines(found: Found) -> Iterator[str]:
    """@return: What is there, for a person."""
    yield f"{len(found.calls)} records and {len(found.files)} files of calls:"
    for past in found.calls[:SHOWN]:
        record, facts = past.record, past.record.facts
        kept = [
            *(["words"] if past.has_words else []),
            *(["recording"] if past.recording else []),
        ]
        yield (
            f"  {record.call_id}  {record.began}  {facts.caller_number or '-'} -> "
            f"{facts.called_number or '-'}  {record.agent}  {record.seconds:.0f} s"
            f"{'  with ' + ' and '.join(kept) if kept else ''}"
        )
    for path in found.files[:SHOWN]:
        yield f"  {path}"
    more = sum(max(len(one) - SHOWN, 0) for one in (found.calls, found.files))
    if more:
        yield f"  and {more} more"


def _agreed() -> bool:
    if not sys.stdin.isatty():
        print("to erase it without being asked, say --yes", file=sys.stderr)
        return False
    return input("Erase all of this for good? [y/N] ").strip().lower() in ("y", "yes")

"""C{portero why}: the story of one call from its record, and what was wrong with it."""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, ClassVar, Final

from twisted.python import usage

from portero.errors import PorteroError
from portero.records import command
from portero.records.past import Past
from portero.records.reading import LAST, find
from portero.records.telling import Line, told
from portero.records.verdict import findings
from portero.why_words import LANGUAGES, WORDS

NOTHING_WRONG = 0
NOT_FOUND = 1
"""Nor are options that cannot be."""
SOMETHING_WRONG = 3

WIDTH: Final = 80
FIRST, LAST_ONES = 40, 20
"""Lines of a long story that are shown."""


class Options(command.Options):
    """What C{portero why} takes."""

    synopsis = "Usage: portero why CALL [options]"
    longdesc = (
        "Tells what happened in a call that is over, and what was wrong with it: how "
        "that is known, and what to do, the gravest first. CALL is its id (the "
        f"PORTERO_UUID of the dialplan), the beginning of one, or {LAST}. Exit status: "
        f"{NOTHING_WRONG} nothing was wrong, {SOMETHING_WRONG} something was, "
        f"{NOT_FOUND} there is no such call or no records."
    )
    optParameters: ClassVar[list[list[Any]]] = [
        ["language", "l", "en", f"Of the answer: {' or '.join(LANGUAGES)}."],
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        ["all", "a", "Also the middle of a long story."],
        ["json", "j", "For programs: one JSON object, with all figures."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.call = ""

    def parseArgs(self, *given: str) -> None:
        """The call may stand before options, between them or after them."""
        if not given:
            return
        if self.call:
            raise usage.UsageError(f"one call at a time: {self.call} or {given[0]}?")
        self.call = given[0]
        self.parseOptions(list(given[1:]))

    def postOptions(self) -> None:
        if self["language"] not in LANGUAGES:
            raise usage.UsageError(
                f"--language {self['language']}: {' or '.join(LANGUAGES)}"
            )


def run(arguments: Sequence[str]) -> int:
    """@return: The exit status."""
    options = Options()
    try:
        options.parseOptions(list(arguments))
        if not options.call:
            raise usage.UsageError(f"which CALL? Its id, or {LAST}")
    except usage.UsageError as error:
        print(f"{options.synopsis}\n{error}", file=sys.stderr)
        return NOT_FOUND
    try:
        with options.database(options.read()).at_once() as cursor:
            past = find(cursor, options.call)
    except PorteroError as error:
        print(command.told(error), file=sys.stderr)
        return NOT_FOUND
    language = options["language"]
    if options["json"]:
        text = json.dumps(as_json(past, language), indent=2, ensure_ascii=False)
    else:
        text = "\n".join(lines(past, language, whole=options["all"]))
    try:
        print(text, flush=True)
    except BrokenPipeError:  # by a pager that was left
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return SOMETHING_WRONG if findings(past) else NOTHING_WRONG


def as_json(past: Past, language: str) -> dict[str, Any]:
    """@return: All that L{lines} tells, and the figures that it is drawn from."""
    return {
        "call": past.outline(),
        "story": [line._asdict() for line in told(past, language)],
        "figures": asdict(past.figures),
        "problems": [one._asdict() for one in findings(past, language)],
    }


def lines(past: Past, language: str, *, whole: bool = False) -> Iterator[str]:
    """
    What a person is told.

    @param whole: However long the story is.
    """
    words = {name: texts[LANGUAGES.index(language)] for name, texts in WORDS.items()}
    yield from _head(past, words)
    yield from _titled(words["story"])
    yield from _story(told(past, language), words, whole)
    yield from _titled(words["measured"])
    yield from _measured(past, words)
    problems = findings(past, language)
    yield from _titled(words["problems" if problems else "nothing"])
    for number, problem in enumerate(problems, 1):
        yield from _wrapped(f"{number}. ", problem.words)


def _head(past: Past, words: Mapping[str, str]) -> Iterator[str]:
    record, facts = past.record, past.record.facts
    began = datetime.fromisoformat(record.began).astimezone()
    yield from _wrapped(
        "",
        words["head"].format(
            id=record.call_id,
            began=began.isoformat(" ", "seconds"),
            seconds=f"{record.seconds:.0f}",
            agent=record.agent,
            caller=facts.caller_number or words["unknown"],
            called=facts.called_number or words["unknown"],
        ),
    )
    outcome = words[record.outcome.value]
    yield from _wrapped("", words["ended"].format(how=outcome, why=record.reason))


def _story(
    story: Sequence[Line], words: Mapping[str, str], whole: bool
) -> Iterator[str]:
    if not story:
        yield f"  {words['no_story']}"
    left_out = len(story) - FIRST - LAST_ONES
    for number, line in enumerate(story):
        if whole or left_out <= 1 or not FIRST <= number < FIRST + left_out:
            minutes, seconds = divmod(line.at, 60)
            yield from _wrapped(f"  {minutes:3.0f}:{seconds:04.1f}  ", line.text)
        elif number == FIRST:
            yield f"  {words['left_out'].format(count=left_out)}"


def _measured(past: Past, words: Mapping[str, str]) -> Iterator[str]:
    figures, sound = past.figures, past.figures.sound
    for side in ("caller", "agent"):
        level = sound.get(f"{side}_level_dbfs")
        said = words["no_speech"]
        if level is not None:
            seconds = sound[f"{side}_speech_s"]
            said = words["speech"].format(seconds=f"{seconds:.0f}", level=round(level))
        if side == "caller" and sound:
            floor = round(sound["caller_floor_dbfs"])
            said += words["floor"].format(floor=floor)
        yield from _wrapped("  ", words[side] + (said if sound else words["no_sound"]))
    if sound:
        down, ms = sound.get("echo_db"), sound.get("echo_ms")
        found = down is not None and ms is not None
        what = "echo" if found else "no_echo"
        gaps = {"down": round(down or 0), "ms": round(ms or 0)}
        compared = f"{sound.get('compared_s', 0):.0f}"
        yield from _wrapped("  ", words[what].format(**gaps, seconds=compared))
    yield from _wrapped(
        "  ",
        words["line"].format(
            received=figures.frames_received,
            filled=f"{figures.filled_ms / 1000:.1f}",
            jitter=f"{figures.jitter_ms:.0f}",
            sent=figures.frames_sent,
            late=f"{figures.lateness_p99_ms:.1f}",
            skipped=figures.frames_skipped,
            underruns=figures.underruns,
        ),
    )
    if past.record.latency_ms is not None:
        latency = words["latency"].format(ms=past.record.latency_ms)
        yield from _wrapped("  ", latency)


def _titled(title: str) -> Iterator[str]:
    yield ""
    yield title


def _wrapped(begin: str, text: str) -> Iterator[str]:
    """@param begin: Of the first line; the others stand below its end."""
    yield from textwrap.wrap(
        text,
        WIDTH,
        initial_indent=begin,
        subsequent_indent=" " * len(begin),
        break_long_words=False,
        break_on_hyphens=False,
    )

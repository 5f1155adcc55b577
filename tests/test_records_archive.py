"""Calls that are over are found, and looked at, wherever they are."""

from __future__ import annotations

import os
import sqlite3
import wave
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from portero.facts import Facts
from portero.interfaces import Happening, IObserver, LegFigures
from portero.record import Outcome, Record
from portero.records import rows
from portero.records.archive import IN_RECORDS, ONLY_MEMORY, Archive, Query
from portero.records.database import Unavailable
from portero.records.erasing import Erasing
from portero.records.past import Past, discreet
from portero.records.places import this_host
from portero.service import REMEMBERED
from tests.kept_calls import BEGAN, ID, TALK, FileAtOnce, happened, past, record

FIGURES = LegFigures(frames_sent=2125, frames_received=2125, underruns=3)


class Told:
    """What happened in calls, as memory has it."""

    def __init__(self) -> None:
        self.calls: dict[str, tuple[Happening, ...]] = {}

    def of(self, call_id: str) -> tuple[Happening, ...] | None:
        return self.calls.get(call_id)

    def forget(self, call_id: str) -> bool:
        return self.calls.pop(call_id, None) is not None


class Sound:
    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.names: dict[str, str] = {}

    def name_of(self, call_id: str) -> str:
        return self.names.get(call_id, "")


def time(number: int) -> str:
    """@return: When the call of that number began."""
    return f"2026-11-21T10:{number:02}:00+00:00"


class ArchiveCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.ended: dict[str, Record] = {}
        self.story = Told()
        self.sound = Sound(self.mktemp())
        os.mkdir(self.sound.folder)
        self.file = FileAtOnce(self.mktemp())
        self.addCleanup(self.file.close)
        self.archive = self.made(self.file)

    def made(self, file: FileAtOnce | None) -> Archive:
        return Archive(
            self.ended,
            self.story,
            self.in_thread,
            file,
            self.sound,
            sound_of=lambda call_id: {"seconds": 40.0} if call_id == ID else {},
        )

    def in_thread(self, do: Any) -> Deferred[Any]:
        return maybeDeferred(do)

    def remember(self, call_id: str, began: str = BEGAN, **more: Any) -> None:
        """A call of since the start."""
        self.story.calls[call_id] = happened(*more.pop("talk", TALK), call_id=call_id)
        self.ended[call_id] = record(call_id, began, **more)
        self.archive.call_ended(self.ended[call_id], FIGURES)

    def keep(self, kept: Past) -> None:
        """A call that the records have."""
        self.successResultOf(self.file.run(lambda c: rows.write(c, kept)))

    def history(self, **given: Any) -> dict[str, Any]:
        found = self.archive.history(Query.of(given))
        answer: dict[str, Any] = self.successResultOf(Deferred.fromCoroutine(found))
        return answer

    def ids(self, **given: Any) -> list[str]:
        return [call["id"] for call in self.history(**given)["calls"]]

    def call(self, call_id: str = ID, *more: str) -> Any:
        found = self.archive.call(call_id, *more)
        return self.successResultOf(Deferred.fromCoroutine(found))


class QueryTests(SynchronousTestCase):
    def refused(self, **given: str) -> str:
        return str(self.assertRaises(ValueError, Query.of, given))

    def test_nothing_is_no_condition(self) -> None:
        wanted = Query.of({}).wanted()
        self.assertEqual(wanted, rows.Wanted(most=51))
        empty = dict.fromkeys(("q", "agent", "number", "since", "limit", "before"), "")
        self.assertEqual(Query.of(empty).wanted(), wanted)

    def test_what_cannot_be_is_told_with_what_could(self) -> None:
        for limit in ("0", "201", "-1", "x", "1e2", "٣", "9" * 50):
            self.assertIn("from 1 to 200", self.refused(limit=limit))
        for day in (
            "yesterday",
            "2026-13-01",
            "21.11.2026",
            "9999-12-31",
            "0001-01-01",
        ):
            self.assertIn("looks like 2026-11-21", self.refused(since=day))
            self.assertIn("looks like 2026-11-21", self.refused(until=day))
        self.assertIn("well, transferred, failed", self.refused(outcome="good"))
        self.assertIn("digits", self.refused(number="me"))
        self.assertIn("next of the page before", self.refused(before="2"))
        self.assertIn("200 characters", self.refused(q="x" * 201))

    def test_a_day_is_one_of_this_machine(self) -> None:
        wanted = Query.of({"since": "2026-11-21", "until": "2026-11-21"}).wanted()
        midnight = datetime(2026, 11, 21).astimezone(UTC).isoformat(timespec="seconds")
        self.assertEqual(wanted.since, midnight)
        day = datetime.fromisoformat(wanted.until) - datetime.fromisoformat(
            wanted.since
        )
        self.assertEqual(day.total_seconds(), 86400)

    @given(
        st.dictionaries(
            st.sampled_from(
                ("q", "agent", "outcome", "number", "since", "until", "limit", "before")
            ),
            st.text(max_size=30),
        )
    )
    def test_whatever_comes_is_taken_or_refused(self, given: Mapping[str, str]) -> None:
        try:
            wanted = Query.of(given).wanted()
        except ValueError as error:
            self.assertIn(": ", str(error))
        else:
            self.assertLessEqual(wanted.most, 201)


class HistoryTests(ArchiveCase):
    def test_it_observes(self) -> None:
        verifyObject(IObserver, self.archive)

    def test_without_anything_it_is_empty(self) -> None:
        self.assertEqual(
            self.history(), {"calls": [], "next": None, "kept": IN_RECORDS}
        )
        self.archive = self.made(None)
        self.assertEqual(
            self.history(), {"calls": [], "next": None, "kept": ONLY_MEMORY}
        )

    def test_a_call_looks_the_same_from_memory_and_from_the_records(self) -> None:
        self.remember(ID)
        (remembered,) = self.history()["calls"]
        self.ended.clear()
        self.keep(past())
        (kept,) = self.history()["calls"]
        self.assertEqual(kept, remembered)
        self.assertEqual(
            set(kept),
            {
                *("id", "agent", "caller_name", "caller_number", "called_number"),
                *("began", "seconds", "outcome", "reason", "next", "turns"),
                *("barge_ins", "latency_ms", "tokens", "dollars", "summary"),
                *("has_words", "recording", "snippet"),
            },
        )
        self.assertEqual(self.archive.outline(record())["id"], ID)

    def test_memory_and_records_are_one_history(self) -> None:
        for number in range(0, 6):
            self.keep(past(f"c{number}", time(number)))
        for number in range(4, 9):
            self.remember(f"c{number}", time(number))
        self.assertEqual(self.ids(), [f"c{n}" for n in range(8, -1, -1)])

    def test_page_by_page_each_comes_once(self) -> None:
        for number in range(0, 14):
            self.keep(past(f"k{number}", time(number // 3)))
        for number in range(10, 23):
            self.remember(f"k{number}", time(number // 3))
        seen: list[str] = []
        before = ""
        while before is not None:
            page = self.history(limit="5", before=before)
            self.assertLessEqual(len(page["calls"]), 5)
            seen += [call["id"] for call in page["calls"]]
            before = page["next"]
        self.assertEqual(sorted(seen), sorted(f"k{n}" for n in range(23)))
        whole = self.ids(limit="200")
        self.assertEqual(seen, whole)

    def test_what_memory_knows_of_a_call_counts(self) -> None:
        kept = discreet(past(), keep_words=False, whole_numbers=False)
        self.keep(kept)
        self.assertEqual(self.history()["calls"][0]["caller_number"], "...678")
        self.remember(ID)
        (call,) = self.history()["calls"]
        self.assertEqual(call["caller_number"], "+34600123678")
        self.assertTrue(call["has_words"])

    def test_conditions_hold_in_memory_as_in_the_records(self) -> None:
        others: dict[str, dict[str, Any]] = {
            "door": {"agent": "door"},
            "failed": {"outcome": Outcome.FAILED},
            "late": {"began": "2026-11-25T10:00:00+00:00"},
            "other": {"facts": Facts("", "+34 699-999 111", "200")},
        }
        conditions: dict[str, dict[str, str]] = {
            "door": {"agent": "door"},
            "failed": {"outcome": "failed"},
            "late": {"since": "2026-11-24"},
            "other": {"number": "34 699 999111"},
        }
        for name, more in others.items():
            self.keep(
                discreet(past(f"k-{name}", **more), keep_words=True, whole_numbers=True)
            )
            self.remember(f"m-{name}", **more)
        for name, asked in conditions.items():
            self.assertEqual(self.ids(**asked), [f"m-{name}", f"k-{name}"], asked)
        self.assertEqual(len(self.ids(until="2026-11-24")), 6)
        self.assertEqual(len(self.ids(number="200")), 2)

    def test_words_are_found_in_memory_as_in_the_records(self) -> None:
        self.keep(past("k"))
        self.remember("m", talk=TALK)
        silent = [each for each in TALK if each[1] != "said"]
        self.keep(past("k-silent", talk=silent))
        self.remember("m-silent", talk=silent)
        for words in ("cafe", "CAFÉ", "table caf", "please, the ta", "cafe\u0301"):
            self.assertEqual(self.ids(q=words), ["m", "k"], words)
        for words in ("tea", "acme table", "tab cafe", "Juan"):
            self.assertEqual(self.ids(q=words), [], words)

    def test_what_was_found_is_shown(self) -> None:
        self.remember("m")
        self.keep(past("k"))
        for call in self.history(q="CAFE")["calls"]:
            self.assertEqual(call["snippet"], "A table at the café, please")
        said = {"role": "user", "item": "u", "text": "so " * 50 + "gold" + " it" * 50}
        self.remember("long", talk=[(0.0, "said", said)])
        (call,) = self.history(q="gold")["calls"]
        self.assertEqual(call["snippet"], f"...{'so ' * 20}gold{' it' * 20}...")

    def test_what_was_asked_for_is_data(self) -> None:
        self.keep(past("k"))
        self.remember("m")
        for words in (
            '"',
            "'",
            "*",
            "caf*",
            "a AND (",
            "NEAR(x y)",
            "text:x",
            "-",
            "%",
        ):
            self.ids(q=words)
        self.assertEqual(self.ids(q="cafe OR tea"), [])
        self.assertEqual(self.ids(agent="' OR 1=1 --"), [])

    def test_records_that_cannot_be_read_are_no_excuse(self) -> None:
        self.remember("m")
        self.file.error = sqlite3.OperationalError("disk I/O error")
        found = self.history()
        self.assertEqual([call["id"] for call in found["calls"]], ["m"])
        self.assertIn("cannot be read now: disk I/O error", found["kept"])

    def test_figures_are_not_remembered_for_ever(self) -> None:
        for number in range(REMEMBERED + 10):
            self.archive.call_ended(record(str(number)), FIGURES)
        self.assertEqual(len(self.archive._figures), REMEMBERED)


class EraseTests(ArchiveCase):
    def erase(self, call_id: str = ID) -> bool:
        erasing = self.archive.erase(call_id)
        found: bool = self.successResultOf(Deferred.fromCoroutine(erasing))
        return found

    def test_memory_forgets_it(self) -> None:
        self.remember(ID)
        self.remember("other")
        self.assertTrue(self.erase())
        self.assertEqual(self.ids(), ["other"])
        self.assertIs(self.call(), None)
        self.assertEqual([*self.archive._figures], ["other"])
        self.assertFalse(self.erase())

    def test_what_is_kept_goes_as_well(self) -> None:
        self.keep(past())
        erasing = Erasing(self.file, lambda _: False, (), "", self.in_thread)
        self.archive = Archive(
            *(self.ended, self.story, self.in_thread),
            *(self.file, self.sound, erasing),
        )
        self.assertTrue(self.erase())
        self.assertEqual(self.ids(), [])
        self.assertFalse(self.erase())

    def test_nothing_is_forgotten_of_what_could_not_be_deleted(self) -> None:
        self.remember(ID)
        erasing = Erasing(self.file, lambda _: False, (), "", self.in_thread)
        self.archive._erasing = erasing
        self.file.error = sqlite3.OperationalError("disk I/O error")
        failing = Deferred.fromCoroutine(self.archive.erase(ID))
        self.failureResultOf(failing, Unavailable)
        self.file.error = None
        self.assertEqual(self.ids(), [ID])


class CallTests(ArchiveCase):
    def test_nobody_knows_another_one(self) -> None:
        self.assertIs(self.call(), None)

    def test_one_of_memory(self) -> None:
        self.remember(ID)
        found = self.call()
        self.assertFalse(found["live"])
        self.assertEqual(found["call"], self.archive.outline(record()))
        self.assertEqual(found["happened"][3]["kind"], "said")
        self.assertEqual(found["happened"][3]["text"], "Good day, Acme.")
        self.assertEqual(found["figures"]["underruns"], 3)
        self.assertEqual(found["figures"]["sound"], {"seconds": 40.0})
        (said,) = found["verdict"]
        self.assertIn("ran dry 3 times", said)
        self.assertIn("3 veces", self.call(ID, "es")["verdict"][0])

    def test_one_of_the_records_is_told_the_same_way(self) -> None:
        self.remember(ID)
        remembered = self.call()
        self.ended.clear()
        self.keep(past(figures=replace(FIGURES, sound={"seconds": 40.0})))
        self.assertEqual(self.call(), remembered)

    def test_one_whose_story_memory_has_forgotten(self) -> None:
        self.remember(ID)
        self.story.calls.clear()
        self.assertEqual(self.call()["happened"], [])
        self.keep(past())
        self.assertEqual(len(self.call()["happened"]), len(TALK))

    def test_records_that_cannot_be_read_hide_nothing_of_memory(self) -> None:
        self.remember(ID)
        self.story.calls.clear()
        self.file.error = sqlite3.OperationalError("disk I/O error")
        self.assertEqual(self.call()["call"]["id"], ID)
        self.assertIs(self.call("another"), None)


class RecordingTests(ArchiveCase):
    def wav(self, name: str = "a.wav") -> str:
        path = os.path.join(self.sound.folder, name)
        with wave.open(path, "wb") as file:
            file.setparams((2, 2, 8000, 0, "NONE", ""))
            file.writeframes(bytes(640) * 50)
        return path

    def path(self) -> str | None:
        found = self.archive.recording_path(ID)
        return self.successResultOf(Deferred.fromCoroutine(found))

    def waveform(self) -> Any:
        found = self.archive.waveform(ID)
        return self.successResultOf(Deferred.fromCoroutine(found))

    def test_of_a_call_in_memory(self) -> None:
        self.remember(ID)
        self.assertIs(self.path(), None)
        self.sound.names[ID] = "a.wav"
        self.assertTrue(self.call()["recording"])
        self.assertIs(self.path(), None)
        self.assertIs(self.waveform(), None)
        path = self.wav()
        self.assertEqual(self.path(), path)
        self.assertEqual(self.waveform()["seconds"], 1.0)

    def test_of_a_call_in_the_records(self) -> None:
        self.keep(past(recording="a.wav"))
        path = self.wav()
        self.assertEqual(self.path(), path)
        self.assertTrue(self.history()["calls"][0]["recording"])

    def test_one_on_another_host_is_not_offered(self) -> None:
        self.keep(past(recording="a.wav", host="elsewhere"))
        self.assertFalse(self.call()["recording"])
        self.keep(past("here", recording="a.wav", host=this_host()))
        self.assertTrue(self.call("here")["recording"])

    def test_no_name_leads_out_of_the_folder(self) -> None:
        (Path(self.sound.folder).parent / "secret.wav").write_text("x")
        self.keep(past(recording="../secret.wav"))
        self.assertIs(self.path(), None)

"""Tests of C{portero erase}."""

from __future__ import annotations

import builtins
import json
import os
import sys
from io import StringIO
from pathlib import Path

from portero.erase import DONE, NOT_ALL, NOT_WANTED, NOTHING, WRONG
from portero.facts import Facts
from portero.records import rows
from portero.records.past import discreet
from portero.records.places import this_host
from portero.records.sqlite import RecordFile
from tests.kept_calls import ID, past
from tests.test_export import KeptCase

NUMBER = "+34600123678"
OTHER = "7a1c2d3e-0000-4000-8000-000000000002"
STEM = f"20261121T100000Z-{ID}"


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


class EraseTests(KeptCase):
    command = "erase"

    def setUp(self) -> None:
        super().setUp()
        for name in ("recordings", "captures", "webhook"):
            (self.state / name).mkdir()

    def make(self, *names: str) -> None:
        for name in names:
            (self.state / name).write_text(f"sound of {name}")

    def ids(self) -> list[str]:
        with RecordFile(str(self.path), None).at_once() as cursor:
            return [one.record.call_id for one in rows.oldest_first(cursor)]

    def left(self, *words: str) -> set[str]:
        """@return: Which of these stand in any file below the state folder."""
        content = b"".join(
            path.name.encode() + path.read_bytes()
            for path in self.state.rglob("*")
            if path.is_file()
        )
        return {word for word in words if word.encode() in content}

    def test_of_a_call_nothing_is_left(self) -> None:
        other = Facts("Juan", "+34699888777", "200")
        said = [(0.0, "said", {"role": "user", "item": "u", "text": "Hi"})]
        self.keep(past(recording=f"{STEM}.wav"), past(OTHER, facts=other, talk=said))
        self.make(
            *(f"recordings/{STEM}.wav", f"recordings/{STEM}.wav.peaks"),
            *(f"captures/{STEM}.capture", f"recordings/20261121T100000Z-{OTHER}.wav"),
        )
        waiting = self.state / "webhook" / "1-a.json"
        waiting.write_text(json.dumps({"call": {"id": ID}, "said": ["Acme"]}))
        words = (ID, "Acme", "caf", NUMBER, "Ruiz", "Juan", OTHER)
        self.assertEqual(self.left(*words), {*words})
        status, out, err = self.run_cli(ID, "--yes")
        self.assertEqual((status, err), (DONE, ""))
        self.assertIn("1 records and 4 files", out)
        self.assertIn("Erased: 1 records, 4 files", out)
        self.assertEqual(self.left(*words), {"Juan", OTHER})

    def test_of_a_number_nothing_is_left(self) -> None:
        for call_id, caller, called in (
            ("a", NUMBER, "100"),
            ("b", "600123678", "100"),
            ("c", "+34911111111", "0034600123678"),
            ("d", "+34600123679", "100"),
            ("e", "678", "100"),
        ):
            self.keep(past(call_id, facts=Facts("", caller, called)))
            self.make(f"recordings/20261121T100000Z-{call_id}.wav")
        status, out, err = self.run_cli("+34 600 123 678", "--yes")
        self.assertEqual((status, err), (DONE, ""))
        self.assertIn("3 records and 3 files", out)
        self.assertEqual(self.ids(), ["d", "e"])
        self.assertEqual(self.left("600123678"), set())
        left = sorted(path.name[17:] for path in (self.state / "recordings").iterdir())
        self.assertEqual(left, ["d.wav", "e.wav"])

    def test_what_would_go_is_shown_and_asked(self) -> None:
        self.keep(past(recording="x.wav"))
        for answer, status, left in (
            ("", NOT_WANTED, [ID]),
            ("no", NOT_WANTED, [ID]),
            ("y", DONE, []),
        ):
            asked: list[str] = []

            def say(question: str, answer: str = answer, to: list[str] = asked) -> str:
                to.append(question)
                return answer

            self.patch(sys, "stdin", Terminal())
            self.patch(builtins, "input", say)
            found, out, _ = self.run_cli(ID)
            self.assertEqual((found, self.ids()), (status, left), answer)
            self.assertEqual(len(asked), 1)
            self.assertIn(f"{ID}  2026-11-21T10:00:00+00:00  {NUMBER} -> +34911", out)
            self.assertIn("42 s  with words and recording", out)

    def test_without_a_terminal_it_does_not_guess(self) -> None:
        self.keep(past())
        self.patch(sys, "stdin", StringIO("y\n"))
        status, _, err = self.run_cli(ID)
        self.assertEqual((status, self.ids()), (NOT_WANTED, [ID]))
        self.assertIn("--yes", err)

    def test_a_number_that_was_kept_short_cannot_be_told_apart(self) -> None:
        def keep_short(call_id: str) -> None:
            self.keep(discreet(past(call_id), keep_words=True, whole_numbers=False))

        keep_short("a")
        keep_short("b")
        status, out, err = self.run_cli(NUMBER, "--yes")
        self.assertEqual((status, out), (NOT_ALL, ""))
        self.assertIn("of 2 more calls only the last digits are kept", err)
        self.keep(past("c"))
        status, _, err = self.run_cli(NUMBER, "--yes")
        self.assertEqual((status, self.ids()), (NOT_ALL, ["a", "b"]))
        status, out, err = self.run_cli("...678", "--yes")
        self.assertEqual((status, out), (WRONG, ""))
        self.assertIn("2 calls have one that ends so", err)
        self.assertIn("the call's id", err)
        self.assertEqual(self.run_cli("a", "--yes")[0], DONE)
        self.assertEqual(self.ids(), ["b"])

    def test_however_many_calls_a_number_has(self) -> None:
        self.keep(*(past(f"k{number}") for number in range(450)))
        status, out, _ = self.run_cli(NUMBER, "--yes")
        self.assertEqual((status, self.ids()), (DONE, []))
        self.assertIn("and 430 more", out)

    def test_nothing_found_is_told_apart_from_something_wrong(self) -> None:
        self.keep(past())
        for what in ("+34699999999", OTHER, "x"):
            status, out, err = self.run_cli(what, "--yes")
            self.assertEqual((status, out), (NOTHING, ""))
            self.assertIn(f"{what} is kept", err)
        self.assertEqual(self.ids(), [ID])

    def test_a_recording_without_a_record_is_erased_too(self) -> None:
        self.keep(past(OTHER))
        self.make(f"recordings/{STEM}.wav")
        self.assertEqual(self.run_cli(ID, "--yes")[0], DONE)
        self.assertEqual([*(self.state / "recordings").iterdir()], [])

    def test_a_recording_on_another_host_is_told(self) -> None:
        self.keep(past(host="bell", recording="x.wav"))
        status, _, err = self.run_cli(ID, "--yes")
        self.assertEqual(status, NOT_ALL)
        self.assertIn(f"on bell: there, run portero erase {ID}", err)
        self.keep(past(host=this_host(), recording="x.wav"))
        self.assertEqual(self.run_cli(ID, "--yes")[0], DONE)

    def test_a_file_that_cannot_be_removed_is_told(self) -> None:
        self.keep(past())
        self.make(f"recordings/{STEM}.wav")

        def refuse(path: Path, **more: object) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        self.patch(Path, "unlink", refuse)
        status, _, err = self.run_cli(ID, "--yes")
        self.assertEqual(status, WRONG)
        self.assertIn("Permission denied", err)

    def test_one_thing_at_a_time(self) -> None:
        for arguments in ((), ("a", "b")):
            status, out, err = self.run_cli(*arguments)
            self.assertEqual((status, out), (WRONG, ""))
            self.assertIn("portero erase CALL|NUMBER", err)

    def test_no_records_are_made_for_it(self) -> None:
        self.assertEqual(self.run_cli(ID, "--yes")[0], WRONG)
        self.assertFalse(os.path.exists(self.path))

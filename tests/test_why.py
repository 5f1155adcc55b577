"""C{portero why}, as somebody types it."""

from __future__ import annotations

import json
import os
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from string import Formatter
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from portero import why
from portero.acoustics import FIGURES as FIGURES_OF_SOUND
from portero.interfaces import LegFigures
from portero.records import command, rows
from portero.records.sqlite import connect
from portero.records.verdict_words import WORDS as FINDINGS
from portero.why_words import WORDS
from tests.kept_calls import ID, past
from tests.test_records_verdict import FIGURES, SOUND
from tests.test_records_verdict_sound import GOOD, early

BAD = "6f1c2d3e-0000-4000-8000-000000000002"
LONG = "6f1c2d3e-0000-4000-8000-000000000003"


class WhyTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = os.path.abspath(self.mktemp())
        os.mkdir(folder)
        self.records = os.path.join(folder, "records.sqlite")
        self.config = os.path.join(folder, "portero.toml")
        self.write(f'[records]\nfile = "{self.records}"\n')
        self.patch(command, "CONFIG", os.path.join(folder, "none.toml"))
        self.patch(os, "environ", {})
        echo = {"echo_db": 31.0, "echo_ms": 140.0, "echo_interruptions": 3.0}
        bad = LegFigures(**{**FIGURES, "underruns": 4, "sound": {**GOOD, **echo}})
        talk = sorted([*SOUND, *early()], key=lambda each: each[0])
        noises: Any = [
            (n / 10, kind, {})
            for n in range(0, 400, 4)
            for kind in ("barge_in", "false_alarm")
        ]
        good = LegFigures(**{**FIGURES, "sound": GOOD})
        connection = connect(self.records)
        for given in (
            past(figures=good, talk=SOUND),
            past(BAD, "2026-11-22T10:00:00+00:00", talk=talk, figures=bad),
            past(LONG, "2026-11-20T10:00:00+00:00", talk=noises),
        ):
            with connection:
                rows.write(connection.cursor(), given)
        connection.close()

    def write(self, config: str) -> None:
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(config)

    def why(self, *given: str, config: bool = True) -> tuple[int, str, str]:
        """@return: Exit status, output, and errors."""
        out, errors = StringIO(), StringIO()
        options = ["--config", self.config] if config else []
        with redirect_stdout(out), redirect_stderr(errors):
            status = why.run([*given, *options])
        return status, out.getvalue(), errors.getvalue()

    def test_a_clean_call(self) -> None:
        status, said, errors = self.why(ID)
        self.assertEqual((status, errors), (why.NOTHING_WRONG, ""))
        lines = said.splitlines()
        self.assertIn(f"Call {ID}: 2026-11-21", lines[0])
        self.assertIn("It ended well: the agent hung up.", lines)
        self.assertIn("    0:00.3  the voice service was ready, after 310 ms", lines)
        self.assertIn("  Caller: 12 s of speech at -26 dBFS, noise at -66 dBFS", lines)
        self.assertEqual(lines[-1], "Nothing was wrong.")

    def test_one_with_problems_the_gravest_first(self) -> None:
        status, said, errors = self.why("last")
        self.assertEqual((status, errors), (why.SOMETHING_WRONG, ""))
        self.assertIn(f"Call {BAD}", said)
        _, _, problems = said.partition("What was wrong, the gravest first\n")
        self.assertTrue(problems.startswith("1. The caller seemed to speak over the"))
        self.assertIn("31 dB down", problems)
        self.assertIn("\n2. The agent's speech ran dry 4 times", problems)
        self.assertLess(max(map(len, said.splitlines())), why.WIDTH + 1)

    def test_in_spanish(self) -> None:
        status, said, _ = self.why("--language", "es", "last")
        self.assertEqual(status, why.SOMETHING_WRONG)
        self.assertIn("Qué estuvo mal, lo más grave primero", said)
        self.assertIn("eco en el teléfono", " ".join(said.split()))
        self.assertIn("quien llama interrumpió", said)

    def test_for_programs(self) -> None:
        status, said, _ = self.why(BAD, "--json")
        found = json.loads(said)
        self.assertEqual(status, why.SOMETHING_WRONG)
        self.assertEqual(found["call"]["id"], BAD)
        names = [problem["name"] for problem in found["problems"]]
        self.assertEqual(names, ["echo_cut", "ran_dry"])
        self.assertEqual(found["problems"][0]["evidence"]["down"], 31)
        self.assertEqual(found["figures"]["sound"]["echo_ms"], 140)
        self.assertEqual(found["story"][0]["at"], 0.3)

    def test_a_long_story_is_cut_unless_all_is_wanted(self) -> None:
        _, said, _ = self.why(LONG)
        _, whole, _ = self.why(LONG, "--all")
        self.assertIn("... 140 more; --all shows them", said)
        self.assertEqual(whole.count("the caller interrupted"), 100)
        self.assertEqual(said.count("the caller interrupted"), 30)
        self.assertIn("the sound was not measured", said)

    def test_a_call_that_is_not_there(self) -> None:
        status, said, errors = self.why("beef")
        self.assertEqual((status, said), (why.NOT_FOUND, ""))
        self.assertIn("no call in the records begins with beef", errors)
        self.assertIn(BAD, errors)

    def test_no_call_is_named_or_two_are(self) -> None:
        for given in ((), ("a", "b"), ("last", "--language", "fr"), ("--what",)):
            status, said, errors = self.why(*given)
            self.assertEqual((status, said), (why.NOT_FOUND, ""), given)
            self.assertIn("Usage: portero why CALL", errors)

    def test_a_configuration_that_is_wrong(self) -> None:
        self.write("[recrods]\n")
        status, _, errors = self.why("last")
        self.assertEqual(status, why.NOT_FOUND)
        self.assertIn("recrods", errors)

    def test_without_records_there_is_nothing_to_tell(self) -> None:
        self.write('[records]\nfile = "none"\n')
        status, _, errors = self.why("last")
        self.assertEqual(status, why.NOT_FOUND)
        self.assertIn('[records] file is "none"', errors)

    def test_the_state_folder_is_where_they_are_without_a_name(self) -> None:
        self.patch(os, "environ", {"STATE_DIRECTORY": os.path.dirname(self.records)})
        self.assertEqual(self.why(ID, config=False)[0], why.NOTHING_WRONG)
        self.patch(os, "environ", {})
        self.patch(command, "STATE", os.path.dirname(self.records))
        self.assertEqual(self.why(ID, config=False)[0], why.NOTHING_WRONG)
        self.patch(command, "STATE", "/nowhere")
        for state, said in (
            ([], "no place for records is known"),
            (["--state", "/nowhere"], "/nowhere/records.sqlite: there are no records"),
        ):
            status, _, errors = self.why(ID, *state, config=False)
            self.assertEqual(status, why.NOT_FOUND)
            self.assertIn(said, errors)

    def test_a_file_that_is_none_of_ours(self) -> None:
        Path(self.records).write_bytes(b"not a database " * 100)
        status, _, errors = self.why("last")
        self.assertEqual(status, why.NOT_FOUND)
        self.assertIn("file is not a database", errors)
        self.assertIn("name another ([records] file)", errors)

    def test_the_documentation_has_every_finding_and_every_figure(self) -> None:
        page = Path(__file__).resolve().parent.parent / "docs" / "why.rst"
        text = page.read_text("utf-8")
        for name in (*FINDINGS, *FIGURES_OF_SOUND):
            self.assertIn(f"``{name}``", text)

    def test_both_languages_have_the_same_gaps(self) -> None:
        for name, texts in WORDS.items():
            english, spanish = (
                sorted(gap for _, gap, _, _ in Formatter().parse(text) if gap)
                for text in texts
            )
            self.assertEqual(english, spanish, name)

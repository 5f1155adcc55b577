"""Tests of C{portero export}."""

from __future__ import annotations

import json
import os
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from portero import cli
from portero.records import rows
from portero.records.document import document
from portero.records.past import Past
from portero.records.sqlite import RecordFile
from tests.kept_calls import past


class KeptCase(SynchronousTestCase):
    """
    @ivar path: Of the records.
    @ivar state: The service's state folder.
    """

    command = ""

    def setUp(self) -> None:
        self.patch(os, "environ", {})
        self.state = Path(self.mktemp()).absolute()
        self.state.mkdir()
        self.path = self.state / "records.sqlite"
        self.config = self.state / "portero.toml"
        self.config.write_text("")

    def keep(self, *pasts: Past) -> None:
        with RecordFile(str(self.path), None).at_once() as cursor:
            for each in pasts:
                rows.write(cursor, each)
                cursor.execute("COMMIT")

    def run_cli(self, *arguments: str) -> tuple[int, str, str]:
        """@return: The exit status, and what was printed on both outputs."""
        out, err = StringIO(), StringIO()
        places = ("--config", str(self.config), "--state", str(self.state))
        with redirect_stdout(out), redirect_stderr(err):
            status = cli.main([self.command, *arguments, *places])
        return status, out.getvalue(), err.getvalue()


class ExportTests(KeptCase):
    command = "export"

    def export(self, *arguments: str) -> list[dict[str, Any]]:
        status, out, err = self.run_cli(*arguments)
        self.assertEqual((status, err), (0, ""))
        return [json.loads(line) for line in out.splitlines()]

    def test_each_call_is_a_line_the_oldest_first(self) -> None:
        new = past("new", "2026-11-22T10:00:00+00:00", recording="a.wav", host="bell")
        old = past("old", "2026-11-20T10:00:00+00:00")
        self.keep(new, old)
        self.assertEqual(self.export(), [document(old), document(new)])

    def test_letters_stay_letters(self) -> None:
        self.keep(past())
        self.assertIn("café", self.run_cli()[1])

    def test_days_are_those_of_this_machine(self) -> None:
        for day in ("20", "21", "22"):
            self.keep(past(day, f"2026-11-{day}T12:00:00+00:00"))

        def ids(*arguments: str) -> list[str]:
            return [one["call"]["id"] for one in self.export(*arguments)]

        self.assertEqual(ids("--since", "2026-11-21"), ["21", "22"])
        self.assertEqual(ids("--until", "2026-11-21"), ["20", "21"])
        both = ids("--since", "2026-11-21", "--until", "2026-11-21")
        self.assertEqual(both, ["21"])

    def test_what_is_no_day_is_told(self) -> None:
        status, out, err = self.run_cli("--since", "yesterday")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("2026-11-21", err)

    def test_without_records_it_says_where_it_looked(self) -> None:
        status, out, err = self.run_cli()
        self.assertEqual((status, out), (1, ""))
        self.assertIn(f"{self.path}: there are no records", err)
        self.assertFalse(self.path.exists())
        self.config.write_text('[records]\nfile = "none"\n')
        self.assertIn("no records are kept", self.run_cli()[2])

    def test_a_file_of_something_else_is_told_with_what_to_do(self) -> None:
        self.path.write_text("Dear diary, " * 100)
        status, _, err = self.run_cli()
        self.assertEqual(status, 1)
        self.assertIn("not a database: move that file away", err)

    def test_a_wrong_configuration_is_told(self) -> None:
        self.config.write_text("[recrods]\n")
        status, _, err = self.run_cli()
        self.assertEqual(status, 1)
        self.assertIn("did you mean records?", err)

"""Tests of L{portero.cli}."""

from __future__ import annotations

import os
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from portero import cli, placecall


class CliTests(SynchronousTestCase):
    def run_cli(self, *arguments: str) -> tuple[int, str, str]:
        """@return: The exit status, and what was printed on both outputs."""
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = cli.main(arguments)
        return status, out.getvalue(), err.getvalue()

    def file(self, text: str) -> str:
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)

    def test_help_is_no_error(self) -> None:
        for arguments in ((), ("help",), ("--help",), ("-h",)):
            status, out, err = self.run_cli(*arguments)
            self.assertEqual((status, err), (0, ""))
            self.assertIn("portero call [options]", out)
            self.assertIn("twistd -n portero", out)

    def test_what_is_no_command_is_an_error(self) -> None:
        for arguments in (("cal",), ("check-config",), ("check-config", "a", "b")):
            status, out, err = self.run_cli(*arguments)
            self.assertEqual((status, out), (1, ""))
            self.assertIn("portero check-config FILE", err)

    def test_call_passes_its_options_on(self) -> None:
        given: list[str] = []

        def run(arguments: list[str]) -> int:
            given.extend(arguments)
            return 3

        self.patch(placecall, "run", run)
        self.assertEqual(self.run_cli("call", "--dtmf", "1")[0], 3)
        self.assertEqual(given, ["--dtmf", "1"])

    def test_a_right_file_has_nothing_wrong(self) -> None:
        path = self.file('[provider]\nname = "openai"\n')
        self.assertEqual(
            self.run_cli("check-config", path), (0, f"{path}: nothing wrong\n", "")
        )

    def test_the_environment_is_left_out_of_it(self) -> None:
        self.patch(os, "environ", {"VAD_THRESHOLD": "loud"})
        self.assertEqual(self.run_cli("check-config", self.file(""))[0], 0)

    def test_everything_that_twistd_would_refuse_is_said(self) -> None:
        for text, expected in [
            ("[listen]\nprot = 1\n[listn]", "did you mean port?"),
            ('[listen]\ninterface = "0.0.0.0"', "--allow 192.168.1.10/32"),
            ('[listen]\nweb = "tcp:80"', "must listen on this machine only"),
            ('[provider]\nname = "opneai"', "did you mean openai?"),
            ('[provider]\nname = "acme.voice:P"', "cannot be loaded"),
            ('[provider]\nca_file = "/no/such.pem"', "/no/such.pem"),
            ('[provider]\napi_key_file = "/no/such.key"', "/no/such.key"),
            ('[agent]\ntools = ["acme.tools:T"]', "cannot be loaded"),
        ]:
            status, out, err = self.run_cli("check-config", self.file(text))
            self.assertEqual((status, out), (1, ""), text)
            self.assertIn(expected, err)

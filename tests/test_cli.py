"""Tests of L{portero.cli}."""

from __future__ import annotations

import os
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from portero import cli, explain, placecall
from portero.config import load


class CliTests(SynchronousTestCase):
    def run_cli(self, *arguments: str) -> tuple[int, str, str]:
        """@return: The exit status, and what was printed on both outputs."""
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = cli.main(arguments)
        return status, out.getvalue(), err.getvalue()

    def file(self, text: str) -> str:
        path = Path(self.mktemp()).absolute()
        path.write_text(text)
        return str(path)

    def test_help_is_no_error(self) -> None:
        for arguments in ((), ("help",), ("--help",), ("-h",)):
            status, out, err = self.run_cli(*arguments)
            self.assertEqual((status, err), (0, ""))
            self.assertIn("portero call [options]", out)
            self.assertIn("twistd -n portero", out)

    def test_what_is_no_command_is_an_error(self) -> None:
        for arguments in (
            *(("cal",), ("check-config",), ("check-config", "a", "b")),
            *(("check-config", "a", "--env"), ("default-config", "a")),
        ):
            status, out, err = self.run_cli(*arguments)
            self.assertEqual((status, out), (1, ""))
            self.assertIn("portero check-config FILE", err)

    def test_each_command_is_there_and_in_the_help(self) -> None:
        _, help_text, _ = self.run_cli("help")
        for name, module in cli.COMMANDS.items():
            self.assertTrue(callable(import_module(module).run), name)
            self.assertIn(f"portero {name} ", help_text)

    def test_call_passes_its_options_on(self) -> None:
        given: list[str] = []

        def run(arguments: list[str]) -> int:
            given.extend(arguments)
            return 3

        self.patch(placecall, "run", run)
        self.assertEqual(self.run_cli("call", "--dtmf", "1")[0], 3)
        self.assertEqual(given, ["--dtmf", "1"])

    def test_explain_passes_its_options_on(self) -> None:
        given: list[str] = []

        def run(arguments: list[str]) -> int:
            given.extend(arguments)
            return 3

        self.patch(explain, "run", run)
        self.assertEqual(self.run_cli("explain", "door", "--did", "1")[0], 3)
        self.assertEqual(given, ["door", "--did", "1"])

    def test_default_config_prints_a_file_that_loads_to_the_defaults(self) -> None:
        status, out, err = self.run_cli("default-config")
        self.assertEqual((status, err), (0, ""))
        self.assertEqual(load(self.file(out)), load())

    def test_a_right_file_has_nothing_wrong_and_names_its_agents(self) -> None:
        path = self.file('[provider]\nkind = "demo"\n[agents.door]\ncalled = ["1"]\n')
        self.assertEqual(
            self.run_cli("check-config", path),
            (0, f"{path}: nothing wrong\nagents: default, door\n", ""),
        )

    def test_warnings_are_printed(self) -> None:
        key = self.file("sk-1")
        Path(key).chmod(0o644)
        path = self.file(f'[provider]\napi_key_file = "{key}"\n')
        status, out, err = self.run_cli("check-config", path)
        self.assertEqual((status, err), (0, ""))
        self.assertIn(f"warning: {key} is open to every user", out)
        self.assertNotIn("sk-1", out)

    def test_the_environment_is_left_out_of_it(self) -> None:
        self.patch(os, "environ", {"VAD_THRESHOLD": "loud"})
        self.assertEqual(self.run_cli("check-config", self.file(""))[0], 0)

    def test_the_environment_of_a_file_is_checked_too(self) -> None:
        path = self.file('[provider]\nkind = "openai"\n')
        env = self.file("VAD_THRESHOLD=loud\nVAD_SILENCE_DURATION_MS=1\n")
        status, _, err = self.run_cli("check-config", path, "--env", env)
        self.assertEqual(status, 1)
        self.assertIn("VAD_THRESHOLD: [agent] vad_threshold", err)
        self.assertIn("VAD_SILENCE_DURATION_MS: [agent] vad_silence_ms", err)
        status, _, err = self.run_cli("check-config", "--env", self.file(""), path)
        self.assertEqual(status, 1)
        self.assertIn("needs a key", err)
        env = self.file("OPENAI_API_KEY=sk-1\n")
        self.assertEqual(self.run_cli("check-config", path, "--env", env)[0], 0)

    def test_all_errors_of_a_file_are_said_at_once(self) -> None:
        path = self.file("[listen]\nprot = 1\n[agent]\nspeed = 9\n[listn]\n")
        status, out, err = self.run_cli("check-config", path)
        self.assertEqual((status, out), (1, ""))
        for place in (f"{path}:2: [listen]", f"{path}:4: [agent]", f"{path}:5: "):
            self.assertIn(place, err)

    def test_everything_that_twistd_would_refuse_is_said(self) -> None:
        for text, expected in [
            ("[listen]\nprot = 1\n[listn]", "did you mean port?"),
            ('[listen]\ninterface = "0.0.0.0"', "--allow 192.168.1.10/32"),
            ('[listen]\nweb = "tcp:80"', "needs a user"),
            ('[provider]\nkind = "opneai"', "did you mean openai?"),
            ('[provider]\nkind = "acme.voice:P"', "cannot be loaded"),
            ('[provider]\nkind = "openai"\nca_file = "/no/such.pem"', "/no/such.pem"),
            ('[provider]\napi_key_file = "/no/such.key"', "cannot be read"),
            ('[agent]\ntools = ["acme.tools:T"]', "cannot be loaded"),
        ]:
            status, out, err = self.run_cli("check-config", self.file(text))
            self.assertEqual((status, out), (1, ""), text)
            self.assertIn(expected, err)

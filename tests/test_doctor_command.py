"""Tests of L{portero.doctor.command}, and of the command as a whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

import portero
from portero.doctor.command import Options
from tests.lab.portero import OWN_VARIABLES
from tests.lab.process import free_port


class OptionsTests(SynchronousTestCase):
    def parse(self, *arguments: str) -> Options:
        options = Options()
        options.parseOptions(list(arguments))
        return options

    def test_asterisk_is_a_command_with_its_words(self) -> None:
        self.assertEqual(self.parse().asterisk, ["asterisk"])
        options = self.parse("--asterisk", "/opt/asterisk -C 'a b'")
        self.assertEqual(options.asterisk, ["/opt/asterisk", "-C", "a b"])

    def test_a_command_that_cannot_be_is_refused(self) -> None:
        for command in ("'", " "):
            error = self.assertRaises(UsageError, self.parse, "--asterisk", command)
            self.assertIn("--asterisk", str(error))

    def test_options_of_the_daemon_win_over_the_file(self) -> None:
        options = self.parse("--port", "9000", "--provider", "demo")
        self.assertEqual(
            options.of_service(),
            {"listen": {"port": "9000"}, "provider": {"kind": "demo"}},
        )
        self.assertEqual(self.parse().of_service(), {"listen": {}})
        options = self.parse("--allow", "10.0.0.0/8", "--allow", "192.0.2.1")
        self.assertEqual(
            options.of_service(), {"listen": {"allow": ("10.0.0.0/8", "192.0.2.1")}}
        )


class CommandTests(SynchronousTestCase):
    def run_command(self, *arguments: str) -> tuple[int, str, str]:
        """@return: Status, output and errors of a process of its own."""
        code = "import sys; from portero.cli import main; sys.exit(main(sys.argv[1:]))"
        env = {n: v for n, v in os.environ.items() if not n.startswith(OWN_VARIABLES)}
        done = subprocess.run(
            [sys.executable, "-c", code, "doctor", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**env, "PYTHONPATH": str(Path(portero.__file__).parents[1])},
        )
        return done.returncode, done.stdout, done.stderr

    def config(self, text: str) -> str:
        path: str = self.mktemp()
        Path(path).write_text(text)
        return path

    def test_as_json_it_is_one_document(self) -> None:
        listen = f"[listen]\nport = {free_port()}\nweb = {free_port()}\n"
        path = self.config(f'{listen}[provider]\nkind = "demo"\n')
        status, out, err = self.run_command(
            *("--json", "--config", path, "--asterisk", "/not/there")
        )
        self.assertEqual((status, err), (2, ""))
        document = json.loads(out)
        self.assertEqual(document["status"], "fail")
        failed = {f["check"] for f in document["findings"] if f["level"] == "fail"}
        self.assertEqual(failed, {"port", "asterisk"})
        found = {finding["check"] for finding in document["findings"]}
        expected = {"configuration", "versions", "nvx", "files", "memory", "disk"}
        self.assertLessEqual(expected | {"service", "call", "status", "clock"}, found)

    def test_a_configuration_that_cannot_be_read_is_all_that_is_said(self) -> None:
        path = self.config("[agent]\nspeed = 99\n")
        status, out, err = self.run_command("--config", path)
        self.assertEqual((status, err), (2, ""))
        self.assertIn("fail  configuration", out)
        self.assertIn("[agent] speed 99 must be", out)
        self.assertIn("skip  the rest", out)
        self.assertIn("1 failed: configuration.", out)

    def test_wrong_options_are_refused_in_a_line(self) -> None:
        status, out, err = self.run_command("--speed")
        self.assertEqual((status, out), (1, ""))
        self.assertEqual(len(err.splitlines()), 1)

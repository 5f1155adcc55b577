"""Tests of L{portero.logs.place}: lines go where twistd was told to log."""

from __future__ import annotations

import io
import os
import signal
import sys
import syslog
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from portero.logs import place as module
from portero.logs.place import place, to_stream

LINES = ["[portero#warn] hm, ñ", "    | more"]


class PlaceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.later: list[Callable[[], None]] = []
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)

    def place(self, **twistd: Any) -> module.Place:
        return place(twistd, {}, self.later.append)

    def test_in_front_it_is_the_output(self) -> None:
        for options in ({}, {"logfile": None}, {"logfile": "-"}):
            output = io.StringIO()
            self.patch(sys, "stdout", output)
            found = self.place(nodaemon=True, **options)
            found.write("warn", LINES)
            self.assertEqual(output.getvalue(), "\n".join([*LINES, ""]))
            self.assertTrue(found.timed)

    def test_an_output_that_is_not_unicode_gets_escapes(self) -> None:
        raw = io.BytesIO()
        output = io.TextIOWrapper(raw, "ascii")
        to_stream(output, {}).write("info", LINES)
        self.assertIn(b"hm, \\xf1\n", raw.getvalue())

    def test_the_journal_gets_a_priority_with_each_line_and_no_time(self) -> None:
        with open(self.mktemp(), "w+") as file:
            about = os.fstat(file.fileno())
            environ = {"JOURNAL_STREAM": f"{about.st_dev}:{about.st_ino}"}
            found = to_stream(file, environ)
            self.assertFalse(found.timed)
            for level in ("debug", "info", "warn", "error", "critical"):
                found.write(level, [level])
            found.write("error", LINES)
            file.seek(0)
            said = file.read().splitlines()
        self.assertEqual(
            said[:5], ["<7>debug", "<6>info", "<4>warn", "<3>error", "<2>critical"]
        )
        self.assertEqual(said[5:], [f"<3>{line}" for line in LINES])

    def test_a_variable_that_was_inherited_makes_no_journal(self) -> None:
        """Of a shell beneath systemd, say, with the output in a file."""
        with open(self.mktemp(), "w") as file:
            found = to_stream(file, {"JOURNAL_STREAM": "8:1234"})
            self.assertTrue(found.timed)

    def test_a_file_which_is_put_aside_at_a_signal(self) -> None:
        name = self.mktemp()
        found = self.place(nodaemon=True, logfile=name)
        found.write("warn", LINES)
        self.assertEqual(Path(name).read_text("utf-8"), "\n".join([*LINES, ""]))
        os.kill(os.getpid(), signal.SIGUSR1)
        (rotate,) = self.later
        rotate()
        found.write("info", ["new"])
        self.assertEqual(Path(name).read_text("utf-8"), "new\n")
        self.assertIn("hm, ñ", Path(f"{name}.1").read_text("utf-8"))

    def test_a_signal_that_means_something_else_keeps_its_meaning(self) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        self.place(logfile=self.mktemp())
        self.assertEqual(signal.getsignal(signal.SIGUSR1), signal.SIG_IGN)

    def test_in_the_background_there_is_a_file_in_any_case(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder)
        self.place(nodaemon=False).write("info", ["hello"])
        self.assertEqual(Path("twistd.log").read_text("utf-8"), "hello\n")

    def test_in_the_background_there_is_no_output(self) -> None:
        self.assertRaises(SystemExit, self.place, nodaemon=False, logfile="-")

    def test_syslog(self) -> None:
        said: list[Any] = []
        self.patch(syslog, "openlog", lambda *given: said.append(given))
        self.patch(syslog, "syslog", lambda *given: said.append(given))
        found = self.place(syslog=True, prefix="pbx")
        found.write("error", LINES)
        self.assertFalse(found.timed)
        self.assertEqual(
            said,
            [
                ("pbx", 0, syslog.LOG_USER),
                *((syslog.LOG_ERR, line) for line in LINES),
            ],
        )

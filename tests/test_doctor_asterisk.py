"""Tests of L{portero.doctor.asterisk}, with the answers of a real one."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from portero.config import Config
from portero.doctor import asterisk
from portero.doctor.asterisk import NoAnswer, console, examine, of_console
from portero.doctor.report import Finding
from portero.doctor.where import Places
from portero.keys import Secrets
from portero.sections import ListenSettings
from tests.asterisk_text import LINES, text

ALL = ("asterisk", "modules", "address", "dialplan", "fallback", "token", "codecs")
PLACE = "dialplan show 100@from-internal"
ASKS = [sys.executable, "-c"]


class Asked:
    """An Asterisk that answers from a list."""

    def __init__(self, **changed: str) -> None:
        """@param changed: By the names of the texts."""
        self.lines: list[str] = []
        self._changed = changed

    def __call__(self, line: str) -> str:
        self.lines.append(line)
        if line == PLACE:
            return self._changed.get("place", text("place"))
        name = LINES[line]
        return self._changed.get(name, text(name))


class AnswersTests(SynchronousTestCase):
    def found(self, config: Config | None = None, **changed: str) -> list[Finding]:
        config = config or Config()
        return [*of_console(Asked(**changed), config, Places.of(config.listen))]

    def only(self, check: str, level: str, found: list[Finding]) -> str:
        """@return: What is said by the one that is not ok."""
        wrong = [finding for finding in found if finding.level != "ok"]
        self.assertEqual([(f.check, f.level) for f in wrong], [(check, level)])
        return wrong[0].said

    def test_where_nothing_is_wrong_each_check_says_so(self) -> None:
        found = self.found()
        self.assertEqual([f.check for f in found], [*ALL])
        self.assertEqual({f.level for f in found}, {"ok"})

    def test_a_fallback_that_is_not_there_is_told(self) -> None:
        found = self.found(place=text("no_place"))
        said = self.only("fallback", "fail", found)
        self.assertIn("from-internal,100,1 is not in the dialplan", said)

    def test_a_priority_that_is_not_there_is_told(self) -> None:
        shown = text("place").replace("  1. Verbose", "  9. Verbose")
        self.only("fallback", "fail", self.found(place=shown))

    def test_what_a_switch_may_know_is_left_open(self) -> None:
        shown = "  Alt. Switch =>    'Realtime/x'    [pbx_config]\n" + text("no_place")
        self.only("fallback", "skip", self.found(place=shown))

    def test_a_fallback_that_is_no_place_is_not_asked_for(self) -> None:
        changed = "   PORTERO_FALLBACK=100\n"
        said = self.only("fallback", "fail", self.found(globals=changed))
        self.assertIn("PORTERO_FALLBACK is 100, which is no place", said)

    def test_tokens_are_compared(self) -> None:
        config = Config(secrets=Secrets(web_token="the-token"))
        self.only("token", "fail", self.found(config))
        found = self.found(config, no_entry=text("entry"))
        self.assertEqual({f.level for f in found}, {"ok"})
        both = text("globals") + "   PORTERO_TOKEN=the-token\n"
        self.assertEqual({f.level for f in self.found(config, globals=both)}, {"ok"})
        self.only(
            "token", "fail", self.found(config, globals=both, no_entry=text("entry"))
        )

    def test_the_configuration_counts(self) -> None:
        config = Config(listen=ListenSettings(downlink_rate=24000))
        version = "Asterisk 22.6.0 built by"
        self.only("asterisk", "fail", self.found(config, version=version))

    def test_other_ports_are_told(self) -> None:
        config = Config(listen=ListenSettings(port="9000"))
        self.only("address", "fail", self.found(config))
        config = Config(listen=ListenSettings(web="9000"))
        self.only("status", "fail", self.found(config))

    def test_an_empty_dialplan_is_one_failure(self) -> None:
        self.only("dialplan", "fail", self.found(dialplan="", globals=""))


class ConsoleTests(SynchronousTestCase):
    def said(self, code: str) -> str:
        return console([*ASKS, code])("core show version")

    def refused(self, code: str) -> str:
        return str(self.assertRaises(NoAnswer, self.said, code))

    def test_the_line_is_one_argument(self) -> None:
        said = self.said("import sys; print(sys.argv[1:])")
        self.assertEqual(said, "['-rx', 'core show version']\n")

    def test_it_is_one_argument_over_there_too(self) -> None:
        ssh = Path(self.mktemp(), "ssh").absolute()
        ssh.parent.mkdir()
        ssh.write_text('#!/bin/sh\nshift\nexec sh -c "$*"\n')
        ssh.chmod(0o755)
        said = console([str(ssh), "pbx", "printf", "%s."])("dialplan show a@b")
        self.assertEqual(said, "-rx.dialplan show a@b.")

    def test_one_that_does_not_run_is_told(self) -> None:
        code = (
            "import sys; sys.exit('Unable to connect to remote asterisk (does "
            "/var/run/asterisk/asterisk.ctl exist?)')"
        )
        self.assertIn("finds no Asterisk that runs", self.refused(code))

    def test_a_command_that_fails_gives_its_last_line(self) -> None:
        self.assertIn("sorry", self.refused("import sys; sys.exit('well\\nsorry')"))
        self.assertIn("without a word", self.refused("import sys; sys.exit(3)"))

    def test_one_that_hangs_is_ended(self) -> None:
        self.patch(asterisk, "ANSWERS_WITHIN", 0.3)
        self.assertIn("says nothing", self.refused("import time; time.sleep(9)"))

    def test_a_command_that_is_not_there_is_told(self) -> None:
        error = self.assertRaises(NoAnswer, console(["/not/there"]), "x")
        self.assertIn("No such file", str(error))


class ExamineTests(SynchronousTestCase):
    def found(self, *command: str, given: bool = True) -> tuple[str, str, str]:
        config = Config()
        (found,) = examine(command, given, config, Places.of(config.listen))
        return found.check, found.level, found.said

    def test_without_an_asterisk_here_nothing_is_wrong(self) -> None:
        check, level, _ = self.found("no-such-asterisk", given=False)
        self.assertEqual((check, level), ("asterisk", "skip"))

    def test_one_that_was_named_has_to_be_there(self) -> None:
        check, level, said = self.found("no-such-asterisk")
        self.assertEqual((check, level), ("asterisk", "fail"))
        self.assertIn("cannot be started", said)

    def test_one_that_stops_answering_is_told_after_what_was_found(self) -> None:
        script = Path(self.mktemp())
        script.write_text(
            "import sys\n"
            "if 'version' in sys.argv[-1]: print('Asterisk 22.10.1 built by')\n"
            "elif 'module' in sys.argv[-1]: sys.exit('Unable to connect to remote "
            "asterisk')\n"
        )
        config = Config()
        command = [sys.executable, str(script)]
        found = [*examine(command, True, config, Places.of(config.listen))]
        self.assertEqual(
            [(f.check, f.level) for f in found],
            [("asterisk", "ok"), ("asterisk", "fail")],
        )

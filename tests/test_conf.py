"""The files of C{conf/}: that they say what portero does, and are well formed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from portero.config import SECTIONS, Config, LimitSettings, load
from portero.service import ASKED_WITHIN
from portero.tap import Options

CONF = Path(__file__).resolve().parent.parent / "conf"
SETTING = re.compile(r"# (\w+ = .*)")


def uncommented(text: str) -> str:
    """@return: The file with the comment sign of each setting taken away."""
    lines = []
    inside = False
    for line in text.splitlines():
        setting = SETTING.match(line)
        if inside:
            lines.append(line.removeprefix("# "))
            inside = not line.endswith('"""')
        elif setting:
            lines.append(setting[1])
            inside = setting[1].endswith('"""')
        else:
            lines.append(line)
    return "\n".join(lines)


class TomlTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.text = (CONF / "portero.toml").read_text("utf-8")

    def test_as_it_is_it_changes_nothing(self) -> None:
        self.assertEqual(load(str(CONF / "portero.toml")), Config())
        self.assertEqual(tomllib.loads(self.text), {name: {} for name in SECTIONS})

    def test_every_setting_stands_there_with_its_default_and_no_other(self) -> None:
        expected: dict[str, dict[str, Any]] = {
            section: {item.name: item.default for item in fields(kind)}
            for section, kind in SECTIONS.items()
        }
        found = tomllib.loads(uncommented(self.text))
        for section, settings in found.items():
            for name, value in settings.items():
                given = tuple(value) if isinstance(value, list) else value
                self.assertEqual((name, given), (name, expected[section].pop(name)))
        self.assertEqual(expected, {section: {} for section in SECTIONS})

    def test_uncommented_it_loads_to_the_defaults(self) -> None:
        path = Path(self.mktemp())
        path.write_text(uncommented(self.text), "utf-8")
        self.assertEqual(load(str(path)), Config())

    def test_every_variable_and_range_is_told(self) -> None:
        told = self.text.split("\n# ")
        for kind in SECTIONS.values():
            for item in fields(kind):
                (comment,) = [
                    text for text in told if text.startswith(f"{item.name} = ")
                ]
                least, most = item.metadata["least"], item.metadata["most"]
                self.assertIn(item.metadata["env"], comment)
                if least is not None:
                    self.assertRegex(comment, rf"\b{least}(\.0)? to {most}(\.0)?\b")

    def test_no_line_is_too_long_for_a_terminal(self) -> None:
        long = [line for line in self.text.splitlines() if len(line) > 88]
        self.assertEqual(long, [])


class UnitTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = CONF / "portero.service"
        self.lines = [
            line
            for line in self.path.read_text("utf-8").splitlines()
            if line and not line.startswith("#")
        ]
        self.values = dict(
            line.split("=", 1) for line in self.lines if not line.startswith("[")
        )

    def test_has_the_three_sections(self) -> None:
        sections = [line for line in self.lines if line.startswith("[")]
        self.assertEqual(sections, ["[Unit]", "[Service]", "[Install]"])

    def test_starts_portero_with_options_that_it_has(self) -> None:
        command = self.values["ExecStart"].split()
        self.assertEqual(command[1:4], ["-n", "--pidfile=", "portero"])
        config = CONF / "portero.toml"
        given = [
            str(config) if word == "/etc/portero/portero.toml" else word
            for word in command[4:]
        ]
        options = Options({})
        options.parseOptions(given)
        self.assertEqual(options["config"], str(config))
        # What conf/extensions_portero.conf asks.
        self.assertEqual(options.settings.listen.web, "8091")

    def test_systemd_waits_as_long_as_calls_may_take_to_end(self) -> None:
        limits = LimitSettings()
        longest = limits.stop_within + limits.goodbye_within + ASKED_WITHIN
        self.assertGreater(int(self.values["TimeoutStopSec"]), longest)

    def test_systemd_finds_nothing_wrong(self) -> None:
        tool = shutil.which("systemd-analyze")
        if tool is None:
            raise SkipTest("needs systemd-analyze")
        copy = Path(self.mktemp()).absolute()
        copy.mkdir()
        unit = copy / "portero.service"
        # It looks whether the program is there.
        text = self.path.read_text("utf-8").replace(
            "/opt/portero/bin/twistd", "/bin/sh"
        )
        unit.write_text(text, "utf-8")
        done = subprocess.run(
            [tool, "verify", str(unit)], capture_output=True, text=True, timeout=60
        )
        found = [line for line in done.stderr.splitlines() if "portero.service" in line]
        self.assertEqual(found, [])

    def test_the_service_may_do_little_else(self) -> None:
        tool = shutil.which("systemd-analyze")
        if tool is None:
            raise SkipTest("needs systemd-analyze")
        done = subprocess.run(
            [tool, "security", "--offline=true", "--threshold=20", str(self.path)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        if "unrecognized option" in done.stderr:
            raise SkipTest("needs systemd 250 or newer")
        self.assertEqual(done.returncode, 0, done.stdout[-200:] + done.stderr)


class DialplanTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.text = (CONF / "extensions_portero.conf").read_text("utf-8")
        self.steps = [
            line.split(",", 1)[1]
            for line in self.text.splitlines()
            if line.startswith(" same => n")
        ]

    def test_is_one_context_with_one_extension(self) -> None:
        lines = [line for line in self.text.splitlines() if line and line[0] != ";"]
        self.assertEqual(lines[0], "[portero]")
        self.assertEqual(lines[1], "exten => s,1,Answer()")
        for line in lines[2:]:
            self.assertRegex(line, r"^ same => n(\(\w+\))?,\w+\(.*\)$")

    def test_brackets_are_in_pairs(self) -> None:
        for step in self.steps:
            for opening, closing in ("()", "[]", "{}"):
                self.assertEqual(step.count(opening), step.count(closing), step)
            self.assertEqual(step.count('"') % 2, 0, step)

    def test_every_jump_has_its_label(self) -> None:
        labels = set(re.findall(r"same => n\((\w+)\)", self.text))
        jumps = set(re.findall(r"\?(\w+)\)", "\n".join(self.steps)))
        self.assertEqual(jumps, labels)

    def test_no_value_with_a_colon_is_left_to_the_function_if(self) -> None:
        # ${IF(x?a:b)} splits at the first colon, and an address has one.
        self.assertNotIn("${IF(", self.text)

    def test_its_defaults_are_those_of_portero_and_of_its_unit(self) -> None:
        listen = Config().listen
        self.assertIn(f"Set(PORTERO={listen.interface}:{listen.port}))", self.text)
        self.assertIn("Set(PORTERO_STATUS=http://127.0.0.1:8091)", self.text)

    def test_only_a_call_that_ended_well_does_not_fall_back(self) -> None:
        done = [step for step in self.steps if "?done)" in step]
        self.assertEqual(
            done,
            [
                'GotoIf($["${PORTERO_STATUS}" = "none"]?done)',
                'GotoIf($["${ENDED}" = "well"]?done)',
            ],
        )

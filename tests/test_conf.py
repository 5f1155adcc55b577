"""The files of C{conf/}: that they say what portero does, and are well formed."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from portero.config import FAMILIES, SECTIONS, Config, load
from portero.sections import LimitSettings
from portero.service import ASKED_WITHIN
from portero.settings import table
from portero.tap import Options

CONF = Path(__file__).resolve().parent.parent / "conf"
SETTING = re.compile(r"# (\w+ = .*)")
HEADER = re.compile(r"(# )?(\[.+\])$")
"""Of a section; that of an example is a comment."""


def uncommented(text: str, *, examples: bool) -> str:
    """
    Take the comment sign of each setting away.

    @param examples: Do so in the sections that are examples too.
    """
    lines = []
    inside = example = False
    for line in text.splitlines():
        setting, header = SETTING.match(line), HEADER.match(line)
        if header:
            example = header[1] is not None
        if example and not examples:
            continue
        if inside:
            lines.append(line.removeprefix("# "))
            inside = not line.endswith('"""')
        elif setting:
            lines.append(setting[1])
            inside = setting[1].endswith('"""')
        else:
            lines.append(header[2] if header else line)
    return "\n".join(lines)


class TomlTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.text = (CONF / "portero.toml").read_text("utf-8")

    def loaded(self, *, examples: bool) -> Config:
        path = Path(self.mktemp())
        path.write_text(uncommented(self.text, examples=examples), "utf-8")
        return load(str(path))

    def test_as_it_is_it_changes_nothing(self) -> None:
        self.assertEqual(load(str(CONF / "portero.toml")), load())
        self.assertEqual(tomllib.loads(self.text), {name: {} for name in SECTIONS})

    def test_every_setting_stands_there_with_its_default_and_no_other(self) -> None:
        expected: dict[str, dict[str, Any]] = {
            section: {
                name: setting.default
                for name, setting in table(kind).items()
                if not setting.named_only
            }
            for section, kind in SECTIONS.items()
        }
        found = tomllib.loads(uncommented(self.text, examples=False))
        for section, settings in found.items():
            for name, value in settings.items():
                given = tuple(value) if isinstance(value, list) else value
                self.assertEqual((name, given), (name, expected[section].pop(name)))
        self.assertEqual(expected, {section: {} for section in SECTIONS})

    def test_uncommented_it_loads_to_the_defaults(self) -> None:
        self.assertEqual(self.loaded(examples=False), load())

    def test_its_examples_load(self) -> None:
        config = self.loaded(examples=True)
        self.assertEqual([*config.agents], ["default", "reception", "door"])
        self.assertEqual([*config.targets], ["sales"])
        self.assertEqual([*config.providers], ["", "local"])
        self.assertEqual(config.agents["door"].provider, "local")
        self.assertEqual(config.prices, Config().prices)

    def test_of_what_stands_only_in_named_sections_each_setting_is_there(self) -> None:
        for family, (kind, parent) in FAMILIES.items():
            for name, setting in table(kind).items():
                if setting.named_only or not parent:
                    in_one = rf"(?m)^# \[{family}\..+\]\n(^[# ].*\n)*^# {name} = "
                    self.assertRegex(self.text, in_one)

    def test_every_variable_and_range_is_told(self) -> None:
        for section, kind in SECTIONS.items():
            part = self.text.partition(f"\n[{section}]\n")[2]
            part = re.split(r"\n(?:# )?\[", part)[0]
            settings = re.split(r"\n(?=# \w+ = )", part)
            for name, setting in table(kind).items():
                if setting.named_only:
                    continue
                (comment,) = [
                    text for text in settings if text.startswith(f"# {name} = ")
                ]
                if setting.env:
                    self.assertIn(f"${setting.env}", comment)
                if setting.least is not None and setting.most is not None:
                    self.assertIn(f"{setting.least} to {setting.most}", comment)
                for choice in setting.choices:
                    self.assertIn(json.dumps(choice), comment)

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

    def test_reloading_is_the_signal_that_portero_reads_its_configuration_at(
        self,
    ) -> None:
        self.assertEqual(self.values["ExecReload"], "/bin/kill -HUP $MAINPID")

    def test_credentials_have_the_names_that_portero_looks_for(self) -> None:
        lines = self.path.read_text("utf-8").splitlines()
        loaded = [line for line in lines if line.startswith("#LoadCredential=")]
        folder = Path(self.mktemp())
        folder.mkdir()
        for line in loaded:
            name = line.partition("=")[2].partition(":")[0]
            (folder / name).write_text(f"the-{name}")
        secrets = load("", {"CREDENTIALS_DIRECTORY": str(folder)}).secrets
        self.assertEqual(secrets.api_keys, {"": "the-openai_api_key"})
        self.assertEqual(secrets.web_token, "the-web_token")
        self.assertEqual(len(loaded), 5)

    def test_what_was_spent_has_a_place_to_be_kept(self) -> None:
        self.assertEqual(self.values["StateDirectory"], "portero")

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
    """What can be seen without an Asterisk; tests/real has the rest."""

    def setUp(self) -> None:
        text = (CONF / "extensions_portero.conf").read_text("utf-8")
        # The examples are to be well formed too.
        self.lines = [
            line
            for line in re.sub(
                r"^;(exten|same) ", r"\1 ", text, flags=re.M
            ).splitlines()
            if line and line[0] != ";"
        ]
        self.extensions: dict[str, list[str]] = {}
        """The steps of each, with their labels."""
        for line in self.lines[1:]:
            begins = re.match(r"exten => (\w+),1(,.*)$", line)
            goes_on = re.match(r" ?same => n((\(\w+\))?,.*)$", line)
            if begins:
                steps = self.extensions.setdefault(begins[1], [])
                steps.append(begins[2])
            elif goes_on:
                steps.append(goes_on[1])
            else:
                self.fail(line)
        self.steps = [step for steps in self.extensions.values() for step in steps]

    def called(self, application: str, extension: str = "s") -> list[str]:
        """@return: What stands in the brackets of each use."""
        found = re.compile(rf"(?:\(\w+\))?,{application}\((.*)\)$")
        steps = map(found.match, self.extensions[extension])
        return [step[1] for step in steps if step]

    def test_is_one_context(self) -> None:
        self.assertEqual(self.lines[0], "[portero]")
        self.assertEqual(list(self.extensions), ["s", "register", "next", "h"])

    def test_each_step_is_an_application_with_its_brackets_in_pairs(self) -> None:
        for step in self.steps:
            self.assertRegex(step, r"^(\(\w+\))?,\w+\(.*\)$")
            for opening, closing in ("()", "[]", "{}"):
                self.assertEqual(step.count(opening), step.count(closing), step)
            self.assertEqual(step.count('"') % 2, 0, step)

    def test_every_jump_has_its_label_and_every_label_its_jump(self) -> None:
        for name, steps in self.extensions.items():
            text = "\n".join(steps)
            labels = re.findall(r"^\((\w+)\),", text, re.M)
            jumps = re.findall(r"(?:\?|,Goto\()(\w+)\)$", text, re.M)
            self.assertEqual(set(jumps), set(labels), name)
            self.assertEqual(len(labels), len(set(labels)), name)

    def test_every_subroutine_is_there_and_returns(self) -> None:
        self.assertEqual(self.called("Gosub"), ["register,1", "next,1"])
        for name in ("register", "next"):
            self.assertEqual(self.extensions[name][-1], ",Return()")

    def test_no_value_with_a_colon_is_left_to_the_function_if(self) -> None:
        # ${IF(x?a:b)} splits at the first colon, and an address has one.
        self.assertNotIn("${IF(", "\n".join(self.lines))

    def test_its_defaults_are_those_of_portero_and_of_its_unit(self) -> None:
        listen = Config().listen
        defaults = self.called("ExecIf")
        self.assertIn(
            f'$["${{PORTERO}}" = ""]?Set(PORTERO={listen.interface}:{listen.port})',
            defaults,
        )
        self.assertIn(
            '$["${PORTERO_STATUS}" = ""]?Set(PORTERO_STATUS=http://127.0.0.1:8091)',
            defaults,
        )

    def test_what_a_caller_can_choose_is_in_no_expression_and_no_execif(self) -> None:
        chosen = r"CALLERID|FROM_DID|PORTERO_(CALLED|FACTS|VARIABLES|SUMMARY)"
        for step in self.steps:
            if "$[" in step or ",ExecIf(" in step:
                self.assertNotRegex(step, chosen)

    def test_every_fact_goes_to_portero_encoded(self) -> None:
        facts = "".join(
            value
            for value in self.called("Set", "register")
            if value.startswith("PORTERO_FACTS=")
        )
        names = re.findall(r"[=&](\w+)=\$\{URIENCODE\(\$\{", facts)
        self.assertEqual(
            names, ["caller_name", "caller_number", "called_number", "agent", "channel"]
        )
        self.assertEqual(facts.count("URIENCODE("), len(names))

    def test_the_token_is_only_where_the_log_does_not_show_it(self) -> None:
        found = [step for step in self.steps if "PORTERO_TOKEN" in step]
        curl, agi = found
        # Asterisk logs the value of a function, not its argument...
        self.assertRegex(
            curl, r"=\$\{CURL\([^,]*,token=\$\{URIENCODE\(\$\{PORTERO_TOKEN"
        )
        # ...and an application's argument as it is before TryExec looks at it again.
        self.assertIn("TryExec(", agi)
        self.assertNotIn("${PORTERO_TOKEN}", agi)

    def test_a_call_that_portero_does_not_take_is_not_answered(self) -> None:
        steps = self.extensions["s"]
        refused = steps.index(',GotoIf($["${PORTERO_UUID}" = ""]?fallback)')
        self.assertLess(refused, steps.index(",Answer()"))
        self.assertNotIn("Answer", "".join(steps[:refused]))

    def test_only_a_call_that_ended_well_does_not_fall_back(self) -> None:
        done = [step for step in self.steps if "?done)" in step or "Goto(done)" in step]
        self.assertEqual(done, ['(here),GotoIf($["${PORTERO_OUTCOME}" = "well"]?done)'])
        after = self.extensions["s"].index(done[0]) + 1
        self.assertIn("(fallback),", self.extensions["s"][after])

    def test_no_answer_of_an_earlier_call_is_taken_for_one_of_this(self) -> None:
        before_asking = self.called("Set", "register")[:5]
        cleared = ["UUID", "REFUSED", "REASON", "OUTCOME", "NEXT"]
        self.assertEqual(before_asking, [f"PORTERO_{name}=" for name in cleared])
        for extension, names in (("register", ["uuid"]), ("next", ["outcome", "next"])):
            steps = self.called("Set", extension)
            asks = [step.startswith("HASH(PORTERO)=${CURL(") for step in steps]
            for name in names:
                clears = steps.index(f"HASH(PORTERO,{name})=")
                self.assertLess(clears, asks.index(True))

    def test_curl_is_told_not_to_make_hashes_for_others(self) -> None:
        for name in ("register", "next"):
            options = [
                step
                for step in self.called("Set", name)
                if step.startswith("CURLOPT(hashcompat)")
            ]
            self.assertEqual(
                options, ["CURLOPT(hashcompat)=legacy", "CURLOPT(hashcompat)=no"]
            )

    def test_says_at_the_top_each_variable_that_it_sets_or_reads(self) -> None:
        text = (CONF / "extensions_portero.conf").read_text("utf-8")
        top = text[: text.index("[portero]")]
        used = set(re.findall(r"PORTERO_[A-Z]+", text)) - {
            "PORTERO_FACTS",
            "PORTERO_LATE",
        }
        self.assertEqual(used - set(re.findall(r"PORTERO_[A-Z]+", top)), set())

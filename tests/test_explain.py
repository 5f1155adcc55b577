"""Tests of L{portero.explain}."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from portero import explain
from portero.config import load
from portero.facts import Facts
from portero.sections import AgentSettings, ProviderSettings
from portero.settings import table

HOUSE = """\
[agent]
company_name = "Ruiz"
speed = 1.1

[agents.reception]
called = ["+34911234567", "100"]
greeting = "Good {weekday} {caller_name}, this is {company_name}."
tools = ["hangup", "transfer"]
transfer_to = ["sales"]
fallback = "desk"

[agents.door]
called = ["+34*"]
callers = ["+34600*", "200"]
instructions = "Somebody rings at flat {flat}."
variables = { flat = "unknown" }
provider = "local"

[agents.night]

[targets.sales]
to = "from-internal,200,1"
description = "Sales, for new orders"

[targets.desk]
to = "from-internal,100,1"

[providers.local]
url = "ws://127.0.0.1:9000/v1/realtime"
"""
NOW = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


class ExplanationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        Path(self.path).write_text(HOUSE, "utf-8")
        self.file = Path(self.path).name

    def lines(
        self,
        agent: str = "",
        environ: Mapping[str, str] = MappingProxyType({}),
        facts: Mapping[str, str] = MappingProxyType({}),
    ) -> list[str]:
        config = load(self.path, environ)
        told = explain.Explanation(config, self.path, environ, Facts.of_form(facts))
        return [*told.lines(agent, NOW)]

    def words(self, *arguments: Any) -> str:
        """@return: All in one line."""
        return " ".join(" ".join(self.lines(*arguments)).split())

    def rows(self, title: str, lines: list[str]) -> dict[str, str]:
        """@return: Of one section: the rest of each line by its name."""
        after = lines[lines.index(title) + 1 :]
        section = after[: after.index("")]
        parts = [line.split(maxsplit=1) for line in section if line[2] != " "]
        return {name: " ".join(rest[0].split()) for name, *rest in parts}

    def choice(self, agent: str, facts: Mapping[str, str]) -> str:
        """@return: The sentences about it, from their lines."""
        text = "\n".join(self.lines(agent, facts=facts))
        said = text[text.index("A call to ") :].split("\n\n")[0]
        return said.replace("\n", " ")

    def test_every_setting_of_agent_and_provider_is_there(self) -> None:
        lines = self.lines("reception")
        rows = self.rows("[agents.reception]", lines)
        self.assertEqual([*rows], [*table(AgentSettings)])
        provider = [*self.rows("[provider]", lines)]
        settings = [*table(ProviderSettings)]
        self.assertEqual(provider[: len(settings)], settings)

    def test_what_was_set_says_where_and_what_was_not_does_not(self) -> None:
        rows = self.rows(
            "[agents.reception]", self.lines("reception", {"DEFAULT_VOICE": "cedar"})
        )
        self.assertEqual(rows["transfer_to"], f'["sales"] {self.file}:9')
        self.assertEqual(rows["speed"], f"1.1 {self.file}:3")
        self.assertEqual(rows["voice"], '"cedar" DEFAULT_VOICE')
        self.assertEqual(rows["silence"], "60.0")
        self.assertEqual(rows["instructions"], "(see below)")
        self.assertEqual(rows["greeting"], f"(see below) {self.file}:7")

    def test_of_a_named_provider_its_own_values_are_shown(self) -> None:
        lines = self.lines("door")
        rows = self.rows("[providers.local]", lines)
        url = "ws://127.0.0.1:9000/v1/realtime"
        self.assertEqual(rows["url"], f'"{url}" {self.file}:29')
        self.assertNotIn("[provider]", lines)

    def test_of_the_demo_agent_no_service_and_no_price_is_shown(self) -> None:
        Path(self.path).write_text('[agents.a]\nprovider = "demo"\n')
        text = "\n".join(self.lines("a"))
        self.assertIn("The built-in demo agent", text)
        self.assertNotIn("api_key_file", text)
        self.assertNotIn("price", text)

    def test_where_a_key_is_from_is_told_and_never_what_it_is(self) -> None:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "openai_api_key").write_text("sk-secret")
        file = str(folder / "openai_api_key")
        in_file = HOUSE + f'[provider]\napi_key_file = "{file}"\n'
        for text, environ, expected in [
            (HOUSE, {}, "not set"),
            (HOUSE, {"OPENAI_API_KEY": "sk-secret"}, "set (from OPENAI_API_KEY)"),
            (
                HOUSE,
                {"CREDENTIALS_DIRECTORY": str(folder)},
                "set (from the systemd credential openai_api_key)",
            ),
            (in_file, {}, f"set (from {file})"),
            (in_file, {"OPENAI_API_KEY": "sk-secret"}, "set (from OPENAI_API_KEY)"),
        ]:
            Path(self.path).write_text(text, "utf-8")
            words = self.words("reception", environ)
            self.assertIn(f"(its key) {expected}", words)
            self.assertNotIn("sk-secret", words)
            answers = "demo" if expected == "not set" else "openai"
            self.assertIn(f"(in effect) {answers}", words)

    def test_a_named_service_may_have_a_key_of_its_own(self) -> None:
        file = Path(self.mktemp()).absolute()
        file.write_text("sk-local")
        Path(self.path).write_text(f'{HOUSE}api_key_file = "{file}"\n', "utf-8")
        words = self.words("door", {"OPENAI_API_KEY": "sk-1"})
        self.assertIn(f"(its key) set (from {file})", words)

    def test_a_key_is_not_set_for_a_service_on_another_host(self) -> None:
        words = self.words("door", {"OPENAI_API_KEY": "sk-1"})
        self.assertIn("(its key) not set", words)

    def test_the_targets_it_may_use_and_its_fallback_are_shown(self) -> None:
        rows = self.rows("Where it may send callers", self.lines("reception"))
        self.assertEqual(rows["sales"], f"from-internal,200,1 {self.file}:22")
        words = self.words("reception")
        self.assertIn(
            f"(when a call fails) desk {self.file}:10 from-internal,100", words
        )
        self.assertIn("Sales, for new orders", words)
        self.assertNotIn("Where it may send callers", self.lines("door"))

    def test_keys_and_voicemail_are_ways_too_and_hours_say_whether_it_is_open(
        self,
    ) -> None:
        Path(self.path).write_text(
            '[agents.a]\ntools = ["transfer", "leave_voicemail"]\n'
            'time_zone = "Europe/Madrid"\n'  # where it is 10:30
            'transfer_to = ["sales"]\nvoicemail = "box"\nmenu = { 0 = "desk" }\n'
            '[targets.sales]\nto = "house,1,1"\nhours = "mon 10:00-11:00"\n'
            '[targets.desk]\nto = "house,2,1"\nhours = "mon 9-10"\n'
            '[targets.box]\nto = "box,s,1"\n'
        )
        words = self.words("a")
        for said in (
            f"sales house,1,1 {self.file}:8 mon 10:00-11:00 (open now) {self.file}:9",
            f"(key 0) desk {self.file}:6 house,2,1 mon 9-10 (closed now)",
            f"(to leave a message) box {self.file}:5 box,s,1",
        ):
            self.assertIn(said, words)

    def test_what_its_tools_reach_is_shown_and_no_other(self) -> None:
        Path(self.path).write_text(
            '[agents.a]\ntools = ["open_gate", "order"]\ngates = ["yard"]\n'
            'mcp = ["crm"]\n'
            '[gates.yard]\nurl = "http://192.0.2.1/on"\nwho = "always"\n'
            '[gates.door]\ndtmf = "9"\nwho = "always"\n'
            '[webhooks.order]\ndescription = "Where it is"\nmethod = "GET"\n'
            'url = "https://shop.example/{number}"\n'
            'parameters = { number = "Its number" }\n'
            '[mcp.crm]\nurl = "https://crm.example/mcp"\ntools = ["find"]\n'
        )
        lines = self.lines("a")
        rows = self.rows("[gates.yard]", lines)
        self.assertEqual(rows["who"], f'"always" {self.file}:7')
        self.assertEqual(rows["cool_down"], "10.0")
        rows = self.rows("[webhooks.order]", lines)
        self.assertEqual(rows["method"], f'"GET" {self.file}:13')
        self.assertEqual(self.rows("[mcp.crm]", lines)["tools"].split()[0], '["find"]')
        self.assertNotIn("[gates.door]", lines)

    def test_prices_are_shown_and_the_lack_of_one(self) -> None:
        Path(self.path).write_text(
            '[agents.a]\ntranscription_model = "mine"\n'
            '[prices."gpt-realtime-2.1"]\naudio_in = 30\n'
        )
        lines = self.lines("a")
        rows = self.rows('[prices."gpt-realtime-2.1"]', lines)
        self.assertEqual(rows["audio_in"], f"30.0 {self.file}:4")
        self.assertEqual(rows["audio_out"], "64")
        self.assertIn("mine has no price: it is not counted", lines)

    def test_the_words_are_those_of_this_call(self) -> None:
        lines = self.lines("reception", facts={"caller_name": "Ana García"})
        self.assertIn("  Good Monday Ana García, this is Ruiz.", lines)
        lines = self.lines("door", facts={"flat": "2 B"})
        self.assertIn("  Somebody rings at flat “2 B”.", lines)
        lines = self.lines("door")
        self.assertIn("  Somebody rings at flat unknown.", lines)

    def test_a_variable_that_nothing_takes_is_told(self) -> None:
        said = "Not used, as it is not in variables: flt"
        self.assertIn(said, self.lines("door", facts={"flt": "2"}))
        self.assertFalse(
            [line for line in self.lines("door", facts={"flat": "2"}) if "Not" in line]
        )

    def test_without_an_agent_all_of_them_are_listed(self) -> None:
        lines = self.lines()
        at = lines.index("Agents")
        rows = [line.split(maxsplit=1) for line in lines[at + 1 :]]
        self.assertEqual(
            rows,
            [
                ["default", "what no other answers"],
                ["reception", "called +34911234567, 100"],
                ["door", "called +34*; callers +34600*,"],
                ["200"],
                ["night", "only when the dialplan names"],
                ["it"],
            ],
        )

    def test_which_agent_answers_and_why(self) -> None:
        for facts, expected in [
            (
                {"called_number": "100"},
                "A call to 100 from a caller unknown is answered by reception: its "
                f"called has 100 ({self.file}:6).",
            ),
            (
                {"called_number": "+34911234567", "caller_number": "+34 600 111"},
                "A call to +34911234567 from +34 600 111 is answered by door: its "
                f"callers has +34600* ({self.file}:14), and its called has +34* "
                f"({self.file}:13).",
            ),
            (
                {"caller_number": "+34600111"},
                "A call to a number unknown from +34600111 is answered by default: no "
                "other agent has these numbers.",
            ),
            (
                {"agent": "night", "called_number": "100"},
                "A call to 100 from a caller unknown is answered by night: the "
                "dialplan names it.",
            ),
        ]:
            self.assertEqual(self.choice("", facts), expected)

    def test_an_agent_that_the_number_does_not_reach_is_told_so(self) -> None:
        said = "It reaches night only if the dialplan names night."
        self.assertIn(said, self.choice("night", {"called_number": "100"}))
        self.assertNotIn("only if", self.choice("reception", {"called_number": "100"}))

    def test_it_fits_into_80_columns(self) -> None:
        environ = {"VAD_SILENCE_DURATION_MS": "700", "OPENAI_REALTIME_MODEL": "x"}
        for agent in ("", "reception", "door"):
            for line in self.lines(agent, environ, {"called_number": "100"}):
                # What has no space in it is not cut.
                if "ws://" not in line and self.path not in line:
                    self.assertLessEqual(len(line), 80, line)


class RunTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        Path(self.path).write_text(HOUSE, "utf-8")
        self.patch(os, "environ", {})

    def run_it(self, *arguments: str) -> tuple[int, str, str]:
        """@return: The exit status, and what was printed on both outputs."""
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = explain.run(arguments)
        return status, out.getvalue(), err.getvalue()

    def test_the_agent_may_stand_anywhere_among_the_options(self) -> None:
        first = self.run_it("reception", "--config", self.path, "--did", "100")
        between = self.run_it("--config", self.path, "reception", "--did", "100")
        last = self.run_it("--config", self.path, "--did", "100", "reception")
        self.assertEqual(first, between)
        self.assertEqual(first, last)
        self.assertEqual((first[0], first[2]), (0, ""))
        self.assertIn("\n[agents.reception]\n", first[1])

    def test_facts_come_from_the_options(self) -> None:
        _, out, _ = self.run_it(
            *("door", "-c", self.path, "--did", "+341", "--caller", "+34600"),
            *("--var", "flat=2 B", "--var", "caller_name=Ana"),
        )
        self.assertIn("A call to +341 from +34600 is answered by door", out)
        self.assertIn("flat “2 B”", out)
        self.assertNotIn("Not used", out)

    def test_without_a_file_the_usual_one_is_taken_if_it_is_there(self) -> None:
        self.patch(explain, "CONFIG", self.path)
        self.assertIn(f"Configuration: {self.path}\n", self.run_it("reception")[1])
        self.patch(explain, "CONFIG", self.mktemp())
        status, out, _ = self.run_it("default")
        self.assertEqual(status, 0)
        self.assertIn("Configuration: no file, so all is the default\n", out)

    def test_the_environment_is_this_shells(self) -> None:
        self.patch(os, "environ", {"DEFAULT_VOICE": "cedar"})
        self.assertIn('"cedar"', self.run_it("night", "-c", self.path)[1])

    def test_or_that_of_a_file_alone(self) -> None:
        self.patch(os, "environ", {"DEFAULT_VOICE": "cedar"})
        env = self.mktemp()
        Path(env).write_text("VAD_THRESHOLD=0.25\n")
        _, out, _ = self.run_it("night", "-c", self.path, "--env", env)
        self.assertNotIn('"cedar"', out)
        self.assertRegex(out, r"vad_threshold +0\.25 +VAD_THRESHOLD")

    def test_what_is_wrong_is_said(self) -> None:
        broken = self.mktemp()
        Path(broken).write_text("[listen]\nprot = 1\n[listn]\n")
        for arguments, expected in [
            (("recption", "-c", self.path), "there is no agent recption; did you mean"),
            (("-c", self.path, "--var", "agent=x", "--did", "1"), "no agent 'x'"),
            (("-c", self.path, "--var", "flat"), "it looks like NAME=VALUE"),
            (("a", "-c", self.path, "b"), "one agent at a time"),
            (("--config", broken), f"{broken}:2: [listen] unknown key"),
            (("--config", broken), f"{broken}:3: unknown section"),
            (("--config", "/no/such"), "/no/such"),
            (("--colour",), "Usage: portero explain"),
        ]:
            status, out, err = self.run_it(*arguments)
            self.assertEqual((status, out), (1, ""), arguments)
            self.assertIn(expected, err)

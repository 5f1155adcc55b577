"""Tests of L{portero.crosscheck}: settings that are right, but not together."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from portero.config import load
from portero.errors import ConfigError


class CrossCheckCase(SynchronousTestCase):
    def said(self, text: str) -> list[str]:
        """@return: What is said of a configuration, from the line's number on."""
        path = Path(self.mktemp())
        path.write_text(text, "utf-8")
        try:
            load(str(path))
        except ConfigError as error:
            return [line.removeprefix(f"{path}:") for line in str(error).splitlines()]
        return []

    def assertOnly(self, text: str, expected: str) -> None:
        """There is one complaint, with this in it."""
        (line,) = self.said(text)
        self.assertIn(expected, line)


class ListenTests(CrossCheckCase):
    def test_this_machine_needs_no_leave(self) -> None:
        for text in (
            "port = 8089",
            "interface = '::1'",
            "interface = 'localhost'",
            "port = 'unix:/run/portero.sock'",
            "port = 'haproxy:tcp:8089:interface=127.0.0.1'",
            "web = 8091\nagi = 4573",
            "web = 'unix:/run/web.sock'",
        ):
            self.assertEqual(self.said(f"[listen]\n{text}"), [])

    def test_others_need_leave_to_bring_calls(self) -> None:
        for text in ("interface = '0.0.0.0'", "interface = '::'", "port = 'tcp:8089'"):
            key = text.split()[0]
            self.assertOnly(f"[listen]\n{text}", f"2: [listen] {key} ")
            self.assertOnly(f"[listen]\n{text}", "can be reached by other machines")
            allowed = f"[listen]\nallow = ['192.168.1.10/32']\n{text}"
            self.assertEqual(self.said(allowed), [])

    def test_whoever_misspells_a_leave_is_told_only_that(self) -> None:
        text = "[listen]\ninterface = '0.0.0.0'\nallow = ['10.0.0.1/8']"
        self.assertOnly(text, "3: [listen] allow")

    def test_haproxy_beyond_loopback_is_refused_whatever_is_allowed(self) -> None:
        text = "[listen]\nport = 'haproxy:tcp:1'\nallow = ['10.0.0.0/8']"
        self.assertOnly(text, "so it must be on loopback")

    def test_two_services_have_two_ports(self) -> None:
        self.assertOnly("[listen]\nport = 1\nweb = 1", "3: [listen] web 1 is another")
        self.assertOnly("[listen]\nweb = 1\nagi = 1", "3: [listen] agi 1 is another")

    def test_registration_needs_a_place_for_it(self) -> None:
        text = "[listen]\nrequire_registration = true\n"
        self.assertOnly(text, "2: [listen] require_registration needs web or agi")
        self.assertEqual(self.said(text + "agi = 4573"), [])


class AgentTests(CrossCheckCase):
    def test_tools_and_providers_of_a_site_are_taken_on_trust(self) -> None:
        text = "[agent]\ntools = ['acme.tools:Tool']\n[provider]\nkind = 'acme:Voice'"
        self.assertEqual(self.said(text), [])

    def test_provider_demo_needs_no_section(self) -> None:
        self.assertEqual(self.said("[agents.a]\nprovider = 'demo'"), [])
        self.assertOnly("[agents.a]\nprovider = 'x'", "2: [agents.a] provider")

    def test_targets_must_be_there(self) -> None:
        targets = "\n[targets.x]\nto = 'from-internal,1,1'"
        for key, value in (("fallback", "'x'"), ("transfer_to", "['x']")):
            self.assertOnly(f"[agent]\n{key} = {value}", f"2: [agent] {key} has")
            self.assertEqual(self.said(f"[agent]\n{key} = {value}{targets}"), [])

    def test_a_target_that_was_refused_is_not_missed_as_well(self) -> None:
        text = "[targets.x]\nto = 5\n[agent]\nfallback = 'x'"
        self.assertOnly(text, "2: [targets.x] to 5 must be text in quotes")

    def test_names_in_texts_must_be_known_to_each_agent_that_says_them(self) -> None:
        text = "[agent]\ngreeting = 'Flat {flat}?'\n"
        self.assertOnly(text, "2: [agent] greeting has {flat}, which is neither")
        known = "variables = { flat = 'unknown' }\n"
        self.assertEqual(self.said(text + known), [])
        own = f"[agents.a]\nfarewell = 'Bye {{flat}}'\n{known}[agents.b]\n"
        self.assertEqual(self.said(own), [])
        self.assertOnly(
            own + "farewell = '{flat}'", "5: [agents.b] farewell has {flat}"
        )

    def test_names_are_not_missed_while_the_variables_are_wrong(self) -> None:
        text = "[agent]\ngreeting = '{flat}'\nvariables = { flat = 3 }\n[agents.a]"
        self.assertOnly(text, "3: [agent] variables")

    def test_a_ceiling_needs_a_price(self) -> None:
        model = "[agent]\nmodel = 'acme/voice:1'\n"
        self.assertEqual(self.said(model), [])
        for ceiling in (
            "most_per_call = 1",
            "most_per_day = 1",
            "[limits]\nmost_per_day = 1",
        ):
            self.assertOnly(model + ceiling, '2: [agent] model "acme/voice:1" has no')
            price = "\n[prices.'acme/voice:1']\nminute = 0.1"
            self.assertEqual(self.said(model + ceiling + price), [])
            demo = f"[agent]\nprovider = 'demo'\nmodel = 'x'\n{ceiling}"
            self.assertEqual(self.said(demo), [])


class ChoiceTests(CrossCheckCase):
    def test_agents_that_differ_may_share_numbers(self) -> None:
        for one, other in [
            ("called = ['1']", "called = ['2']"),
            ("called = ['1']", "callers = ['1']"),
            ("called = ['1']", "called = ['1']\ncallers = ['2']"),
            ("called = ['1']\ncallers = ['3']", "called = ['1']\ncallers = ['2']"),
            ("called = ['1*']", "called = ['1']"),
            ("", ""),
        ]:
            text = f"[agents.a]\n{one}\n[agents.b]\n{other}"
            self.assertEqual(self.said(text), [], text)

    def test_two_agents_for_one_call_are_refused(self) -> None:
        for one, other, key in [
            ("called = ['1']", "called = ['2', '1']", 'called has "1"'),
            ("callers = ['1']", "callers = ['1']", 'callers has "1"'),
            ("called = ['+34 91-1']", "called = ['+34911']", 'called has "+34911"'),
            (
                "called = ['1', '2']\ncallers = ['3', '4']",
                "called = ['5', '2']\ncallers = ['4']",
                'called has "2"',
            ),
        ]:
            text = f"[agents.a]\n{one}\n[agents.b]\n{other}"
            self.assertOnly(text, f"[agents.b] {key}, as [agents.a] has: one must not")

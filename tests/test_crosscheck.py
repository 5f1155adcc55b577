"""Tests of L{portero.crosscheck}: settings that are right, but not together."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from portero.config import check_keys, load
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
        for key, value in (
            ("fallback", "'x'"),
            ("transfer_to", "['x']"),
            ("voicemail", "'x'"),
        ):
            self.assertOnly(f"[agent]\n{key} = {value}", f"2: [agent] {key} has")
            self.assertEqual(self.said(f"[agent]\n{key} = {value}{targets}"), [])

    def test_what_hands_callers_over_has_a_place_for_them(self) -> None:
        targets = "\n[targets.x]\nto = 'from-internal,1,1'"
        for tools, other, words in (
            ("transfer", "", "needs at least one section [targets.NAME]"),
            ("leave_voicemail", "", "needs voicemail: the [targets.NAME] for it"),
            ("cancel_transfer", targets, "needs transfer or leave_voicemail beside it"),
        ):
            text = f"[agent]\ntools = ['{tools}']{other}"
            self.assertOnly(text, f"2: [agent] tools has {tools}, which ")
            self.assertOnly(text, words)
        text = "[agent]\ntools = ['cancel_transfer', 'leave_voicemail']\n"
        self.assertEqual(self.said(f"{text}voicemail = 'x'{targets}"), [])

    def test_opening_hours_are_read_at_the_start(self) -> None:
        text = "[targets.x]\nto = 'from-internal,1,1'\nhours = 'monday 9-14'"
        self.assertOnly(text, "3: [targets.x] hours")
        self.assertOnly(text, "has 'monday' for days; it looks like")

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


class MailTests(CrossCheckCase):
    MAIL = "[mail]\nserver = 'mail.example'\nsender = 'p@acme.example'\n"

    def test_a_tool_that_sends_mail_needs_a_server(self) -> None:
        for tool in ("send_email_summary", "request_transcript"):
            agent = f"[agent]\ntools = ['{tool}']\n"
            self.assertOnly(agent, f"2: [agent] tools has {tool}, which needs [mail]")
            self.assertEqual(self.said(agent + self.MAIL), [])

    def test_a_transcript_needs_the_callers_words(self) -> None:
        agent = "[agent]\ntools = ['request_transcript']\ntranscription_model = ''\n"
        self.assertOnly(agent + self.MAIL, "but transcription_model is empty")

    def test_a_server_needs_a_sender(self) -> None:
        self.assertOnly("[mail]\nserver = 'x'", '2: [mail] server "x" needs sender')

    def test_addresses_are_addresses(self) -> None:
        for key in ("[mail]\nserver = 'x'\nsender", "[agent]\nmail_to"):
            self.assertOnly(f"{key} = 'Bo <b@x.example>'", "it looks like name@company")

    def test_the_queue_does_not_depend_on_where_portero_was_started(self) -> None:
        self.assertOnly("[mail]\nqueue = 'mail'", '[mail] queue "mail" must begin with')

    def test_a_server_is_a_name_and_a_port(self) -> None:
        for server in ("mail.x:587", "mail.x", "127.0.0.1:25", "[::1]:25", "[::1]"):
            text = self.MAIL.replace("mail.example", server)
            self.assertEqual(self.said(text), [], server)
        for server in (
            *("smtp://mail.x", "mail.x:smtp", "mail.x:99999", "user@mail.x", "a b"),
            *("mail.x/", "mail.x?", ":587", "[::1", "m\u00e4il.x:1", "mail.x:"),
        ):
            text = self.MAIL.replace("mail.example", server)
            self.assertOnly(text, "2: [mail] server")

    def test_what_is_not_encrypted_stays_on_this_machine(self) -> None:
        text = self.MAIL + "tls = 'none'\n"
        self.assertOnly(text, '4: [mail] tls "none" is for a server on this machine')
        for server in ("localhost", "127.0.0.1:2525", "[::1]:25"):
            self.assertEqual(self.said(text.replace("mail.example", server)), [])

    def test_a_user_needs_a_password(self) -> None:
        path = Path(self.mktemp())
        path.write_text(self.MAIL + "user = 'portero'", "utf-8")
        config = load(str(path))
        error = self.assertRaises(ConfigError, check_keys, config)
        self.assertIn('[mail] user "portero" needs its password', str(error))
        check_keys(load(str(path), {"PORTERO_MAIL_PASSWORD": "secret"}))


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


class GateTests(CrossCheckCase):
    TONES = "[gates.street]\nwho = 'always'\ndtmf = '9#'\n"
    RELAY = "[gates.street]\nwho = 'always'\nurl = 'http://10.0.0.5/relay/0'\n"

    def test_a_gate_opens_by_tones_or_by_a_url(self) -> None:
        for text in (self.TONES, self.RELAY):
            self.assertEqual(self.said(text), [])
        for text in (
            "[gates.street]\nwho = 'always'",
            f"{self.TONES}url = 'http://10.0.0.5/'",
        ):
            self.assertOnly(text, "[gates.street] dtmf must be there, or url, and not")

    def test_what_opens_it_is_looked_at(self) -> None:
        for text in ("dtmf = '9;'", "dtmf = 'w9'", f"dtmf = '{'1' * 33}'"):
            self.assertOnly(f"[gates.a]\nwho = 'always'\n{text}", "up to 32 of 0-9")
        for url in ("ftp://a/", "10.0.0.5/on", "http://", "http://a:x/", "http://a b/"):
            text = f"[gates.a]\nwho = 'always'\nurl = '{url}'"
            self.assertOnly(text, f'3: [gates.a] url "{url}" must be http://HOST/')
        for url in ("http://u:p@a/", "http://a/#on"):
            text = f"[gates.a]\nwho = 'always'\nurl = '{url}'"
            self.assertOnly(text, "a password stands in password_file")

    def test_who_may_needs_its_file(self) -> None:
        text = "[gates.street]\ndtmf = '9#'\n"
        self.assertOnly(text, '[gates.street] who "pin" needs pins_file')
        self.assertOnly(f"{text}who = 'resident'", '"resident" needs residents_file')
        self.assertEqual(self.said(f"{text}pins_file = 'pins'"), [])
        said = "password_file is for a gate with url"
        self.assertOnly(f"{self.TONES}password_file = 'p'", said)

    def test_an_agent_names_gates_that_there_are(self) -> None:
        agent = "[agent]\ntools = ['open_gate']\n"
        self.assertOnly(agent, "2: [agent] tools has open_gate, which needs")
        self.assertEqual(self.said(agent + self.TONES), [])
        said = 'gates has "stret", but there is no such [gates.NAME]; did you mean str'
        self.assertOnly(f"{agent}gates = ['stret']\n{self.TONES}", said)


class MenuTests(CrossCheckCase):
    TARGET = "[targets.office]\nto = 'from-internal,100,1'\n"

    def test_a_key_leads_to_a_target(self) -> None:
        text = "[agent]\nmenu = {0 = 'office', '#' = 'office'}\n"
        self.assertEqual(self.said(text + self.TARGET), [])
        text = f"[agent]\nmenu = {{0 = 'offic'}}\n{self.TARGET}"
        self.assertOnly(text, 'menu has "offic", but there is no such [targets.NAME]')
        self.assertOnly(text, "did you mean office")

    def test_a_key_is_one_key(self) -> None:
        for key in ("10", "x", "", "a"):
            text = f"[agent]\nmenu = {{'{key}' = 'office'}}\n{self.TARGET}"
            self.assertOnly(text, f'has "{key}", which is no key')

"""Tests of L{portero.wiring}: what a configuration makes, and makes again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from twisted.application.service import Service
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from portero import wiring
from portero.announcement import DEMO
from portero.config import DEFAULT, Config, load
from portero.errors import ConfigError
from portero.facts import Facts
from portero.interfaces import ICallControl, ITool
from portero.logs.place import Place
from portero.mail.queue import MailQueue, Server
from portero.service import Bridge
from portero.web.passwords import token_hash
from portero.wiring import Wiring


@implementer(ITool)
class Tool:
    """As a site may have it: it knows nothing of portero's settings."""

    name = "ring_the_bell"
    description = "Ring the bell."
    parameters: Mapping[str, Any] = {}

    async def run(self, call: ICallControl, arguments: Mapping[str, Any]) -> str:
        return "it rang"


class WiringCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.wiring = Wiring(self.reactor)

    def config(self, text: str = "", **environ: str) -> Config:
        path = Path(self.mktemp())
        path.write_text(text, "utf-8")
        return load(str(path), environ)

    def build(self, text: str = "", **environ: str) -> Bridge:
        self.bridge = self.wiring.build(self.config(text, **environ))
        return self.bridge

    def reload(self, text: str = "", **environ: str) -> list[str]:
        """@return: What the log says."""
        config = self.config(text, **environ)
        with capturedLogs() as events:
            self.wiring.reload(self.bridge, config)
        return [
            str(event["log_format"]).format(**event)
            for event in events
            if event["log_namespace"].startswith("portero")
        ]

    def tools(self, agent: str) -> list[str]:
        brief = self.bridge.roster.assign(agent, "a", Facts()).brief
        return [tool.name for tool in brief.tools]

    def ports(self) -> list[int]:
        return [port for port, *_ in self.reactor.tcpServers]


class LogTests(WiringCase):
    def test_it_is_as_configured_and_changes_with_the_configuration(self) -> None:
        log = self.wiring.logs
        lines: list[str] = []
        log.write_to(Place(lambda level, said: lines.extend(said), timed=False))
        event = {"log_format": "the key is sesame-street", "log_namespace": "portero"}
        self.build('[log]\nlevel = "error"')
        log(dict(event))
        self.assertEqual(lines, [])
        self.reload(PORTERO_LOG_FORMAT="json", OPENAI_API_KEY="sesame-street")
        log(dict(event))
        self.assertEqual(json.loads(lines[0])["message"], "the key is ***")

    def test_it_runs_as_long_as_calls_do(self) -> None:
        bridge = self.build()
        bridge.startService()
        self.assertTrue(self.wiring.logs.running)
        self.successResultOf(bridge.stopService())
        self.assertFalse(self.wiring.logs.running)


class BuildTests(WiringCase):
    def test_a_webhook_is_a_tool_of_whoever_names_it(self) -> None:
        text = """
            [agents.desk]
            tools = ["hangup", "order_status"]
            [webhooks.order_status]
            description = "Says where an order is"
            url = "https://shop.example/orders"
            """
        self.build(text)
        self.assertEqual(self.tools("desk"), ["hang_up", "order_status"])
        self.assertEqual(self.tools(DEFAULT), ["hang_up"])
        self.reload(text.replace("order_status", "order_state"))
        self.assertEqual(self.tools("desk"), ["hang_up", "order_state"])

    def test_each_agent_has_its_own_provider_and_tools(self) -> None:
        roster = self.build(
            f"""
            [agents.desk]
            tools = ["hangup", "transfer", "{__name__}:Tool"]
            [agents.local]
            provider = "near"
            model = "small"
            tools = []
            [agents.play]
            provider = "demo"
            [providers.near]
            url = "ws://127.0.0.1:9/v1"
            [targets.sales]
            to = "house,200,1"
            """,
            OPENAI_API_KEY="sk-1",
        ).roster
        self.assertEqual(
            [roster.describe(name) for name in (DEFAULT, "desk", "local", "play")],
            ["gpt-realtime-2.1 at api.openai.com"] * 2 + ["small at 127.0.0.1", DEMO],
        )
        self.assertEqual(self.tools("desk"), ["hang_up", "transfer", "ring_the_bell"])
        self.assertEqual(self.tools("local"), [])
        self.assertEqual(self.tools(DEFAULT), ["hang_up"])

    def test_only_the_demo_of_the_languages_in_use_runs(self) -> None:
        self.build('[agents.es]\nlanguage = "es"').startService()
        self.assertEqual(self.ports(), [0, 0, 8089])
        self.addCleanup(self.bridge.stopService)

    def test_the_dialplan_may_ask_in_two_ways(self) -> None:
        self.build("[listen]\nweb = 8091\nagi = 4573").privilegedStartService()
        self.assertEqual(sorted(self.ports()), [4573, 8089, 8091])

    def test_what_cannot_be_loaded_is_said(self) -> None:
        error = self.assertRaises(
            ConfigError, self.build, '[agents.a]\ntools = ["acme.tools:Tool"]'
        )
        self.assertIn("'acme.tools:Tool' cannot be loaded", str(error))


class SpendingTests(WiringCase):
    def kept_in(self, text: str, folder: str = "") -> list[str]:
        """@return: The files that are kept, which is looked into at the start."""
        self.wiring = Wiring(self.reactor, folder)
        self.patch(wiring, "SpendingFile", Kept)
        self.addCleanup(Kept.paths.clear)
        self.build(text)
        return Kept.paths

    def test_what_is_spent_is_kept_where_systemd_has_a_folder(self) -> None:
        self.assertEqual(self.kept_in("", "/var/lib/x"), ["/var/lib/x/spending.json"])

    def test_a_file_that_is_named_wins(self) -> None:
        self.assertEqual(
            self.kept_in('[limits]\nspending_file = "/srv/s"', "/var/lib/x"), ["/srv/s"]
        )

    def test_else_it_is_kept_nowhere_which_is_warned_of(self) -> None:
        self.assertEqual(self.kept_in(""), [])
        for text, count in (("", 0), ("[agents.a]\nmost_per_day = 1", 1)):
            self.build(text)
            self.assertEqual(len(self.started()), count)
        self.build("[limits]\nmost_per_day = 1\nspending_file = '/srv/s'")
        self.assertEqual(self.started(), [])

    def started(self) -> list[str]:
        """@return: What is warned of at the start about spending."""
        with capturedLogs() as events:
            self.bridge.startService()
        self.bridge.stopService()
        lines = [str(event["log_format"]) for event in events]
        return [line for line in lines if "kept nowhere" in line]


class MailTests(WiringCase):
    MAIL = "[mail]\nserver = 'mail.example'\nsender = 'p@acme.example'\n"
    AGENT = "[agents.a]\ntools = ['request_transcript']\n"

    def setUp(self) -> None:
        super().setUp()
        self.folder = self.mktemp()
        self.wiring = Wiring(self.reactor, self.folder)
        self.used: list[Server] = []
        self.patch(MailQueue, "use", lambda _, server: self.used.append(server))
        self.patch(MailQueue, "_open", lambda queue: queues.append(queue))
        queues: list[MailQueue] = []
        self.started = queues

    def test_mail_waits_where_systemd_has_a_folder_or_where_it_is_said(self) -> None:
        for text, expected in (
            ("", f"{self.folder}/mail"),
            ("queue = '/srv/m'\n", "/srv/m"),
        ):
            self.wiring = Wiring(self.reactor, self.folder)
            self.build(self.MAIL + text + self.AGENT).startService()
            self.addCleanup(self.bridge.stopService)
            self.assertEqual(str(self.started[-1].folder.path), expected)
            self.assertEqual(self.tools("a"), ["request_transcript"])

    def test_without_a_folder_nothing_starts(self) -> None:
        self.wiring = Wiring(self.reactor)
        for text in (self.MAIL, self.MAIL + self.AGENT):
            error = self.assertRaises(ConfigError, self.build, text)
            self.assertIn("[mail] queue is missing", str(error))

    def test_the_queue_outlives_the_configuration(self) -> None:
        self.build(self.MAIL, PORTERO_MAIL_PASSWORD="one").startService()
        self.addCleanup(self.bridge.stopService)
        self.reload(self.MAIL.replace("mail.", "new."), PORTERO_MAIL_PASSWORD="two")
        self.assertEqual(len(self.started), 1)
        self.assertEqual(
            self.used,
            [
                Server("mail.example", 587, password="one"),
                Server("new.example", 587, password="two"),
            ],
        )
        self.reload()
        self.assertEqual(len(self.used), 2, "what waits goes where it went")

    def test_a_server_may_come_later(self) -> None:
        self.build().startService()
        self.addCleanup(self.bridge.stopService)
        self.assertEqual(self.started, [])
        for _ in range(2):
            self.reload(self.MAIL + self.AGENT)
        self.assertEqual(len(self.started), 1)

    def test_another_folder_takes_a_restart(self) -> None:
        self.build(self.MAIL).startService()
        self.addCleanup(self.bridge.stopService)
        told = self.reload(f"{self.MAIL}queue = '/srv/m'")
        self.assertIn("[mail] queue: changed, which takes a restart", told)


class Kept(Service):
    """Instead of a file."""

    paths: ClassVar[list[str]] = []

    def __init__(self, ledger: Any, path: str, *_: Any) -> None:
        self.paths.append(path)


class ReloadTests(WiringCase):
    def test_calls_from_now_on_are_answered_as_the_new_one_says(self) -> None:
        before = self.build('[agents.old]\ncalled = ["100"]').roster
        told = self.reload('[agents.new]\ncalled = ["100"]\n[listen]\nmax_calls = 3')
        self.assertIsNot(self.bridge.roster, before)
        self.assertEqual(self.bridge.roster.choose(Facts(called_number="100")), "new")
        self.assertEqual(self.bridge.max_calls, 3)
        (line,) = told
        self.assertIn("answered by default, new", line)

    def test_another_file_for_what_is_spent_takes_a_restart(self) -> None:
        self.build()
        told = self.reload("[limits]\nspending_file = '/srv/spending.json'")
        self.assertIn("[limits] spending_file: changed, which takes a restart", told)
        told = self.reload("[limits]\nspending_file = '/srv/spending.json'")
        self.assertEqual([line for line in told if "restart" in line], [])

    def test_what_takes_a_restart_is_named(self) -> None:
        self.build("[listen]\nport = 8089")
        told = self.reload('[listen]\nport = 9000\nweb = "8091"\nmax_calls = 3')
        self.assertIn("port, web: changed, which takes a restart", told[-1])

    def test_users_and_names_of_the_page_need_no_restart(self) -> None:
        web = '[listen]\nweb = "8091"\n'
        self.build(web)
        access = self.wiring._access
        assert access is not None
        self.assertTrue(access.is_open)
        kept = token_hash("sesame")
        told = self.reload(
            f'{web}[web]\nhosts = ["PBX.example"]\n[users.ana]\ntoken = "{kept}"'
        )
        self.assertNotIn("restart", "".join(told))
        self.assertFalse(access.is_open)
        self.assertEqual(access._hosts, {"pbx.example"})
        self.reload(web)
        self.assertTrue(access.is_open)

    def test_a_demo_that_is_needed_from_now_on_starts(self) -> None:
        self.build().startService()
        self.addCleanup(self.bridge.stopService)
        running = self.ports()
        self.reload('[agents.es]\nlanguage = "es"')
        self.assertEqual(self.ports(), [*running, 0])
        self.reload('[agents.es]\nlanguage = "es"')
        self.assertEqual(self.ports(), [*running, 0])

    def test_what_cannot_be_loaded_leaves_all_as_it_was(self) -> None:
        before = self.build().roster
        config = self.config('[agents.a]\ntools = ["acme.tools:Tool"]')
        self.assertRaises(ConfigError, self.wiring.reload, self.bridge, config)
        self.assertIs(self.bridge.roster, before)

    def test_what_was_made_for_a_file_that_was_refused_is_not_used(self) -> None:
        self.patch(MailQueue, "_open", lambda queue: None)
        self.build().startService()
        self.addCleanup(self.bridge.stopService)
        ports = self.ports()
        spanish = '[agents.es]\nlanguage = "es"\n'
        mail = '[mail]\nserver = "mail.example"\nsender = "p@acme.example"\n'
        wrong = 'tools = ["acme.tools:Tool"]\n'
        refused = self.config(f'{spanish}{wrong}{mail}queue = "/nowhere/a"')
        self.assertRaises(ConfigError, self.wiring.reload, self.bridge, refused)
        self.assertEqual(self.ports(), ports)
        self.reload(f'{spanish}{mail}queue = "/nowhere/b"')
        self.assertEqual(self.ports(), [*ports, 0], "its demo listens")
        queue = self.wiring._mail
        assert queue is not None
        self.assertEqual(str(queue.folder.path), "/nowhere/b")

    def test_what_was_spent_today_is_still_spent(self) -> None:
        ceiling = "[agent]\nmost_per_day = 1.0"
        self.build(ceiling)
        meter = self.bridge.roster.assign(DEFAULT, "a", Facts()).meter
        meter.used({"output.audio_tokens": 1_000_000})
        self.reload(ceiling)
        self.assertNotEqual(self.bridge.roster.day_is_over(DEFAULT), "")

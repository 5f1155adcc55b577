"""Tests of L{portero.announcement}: what is said at the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autobahn import websocket
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from portero.announcement import DEMO, Announcement, announcement
from portero.config import DEFAULT, Config
from portero.sections import (
    AgentSettings,
    AmiSettings,
    ListenSettings,
    ProviderSettings,
)
from portero.tool_sections import (
    GateSettings,
    MailSettings,
    McpSettings,
    WebhookSettings,
)


class AnnouncementTests(SynchronousTestCase):
    def said(self, who: str = DEMO, **listen: Any) -> str:
        config = Config(ListenSettings(**listen))
        return "\n".join(announcement(config, {DEFAULT: who}))

    def test_says_who_answers_where_and_what_to_paste(self) -> None:
        said = self.said("gpt-realtime-2.1 at api.openai.com")
        self.assertIn("answered by gpt-realtime-2.1 at api.openai.com.", said)
        self.assertIn("listening for AudioSocket on 127.0.0.1:8089.", said)
        self.assertIn("TryExec(AudioSocket(${UUID()},127.0.0.1:8089))", said)
        self.assertNotIn("OPENAI_API_KEY", said)

    def test_the_demo_says_what_to_set_for_the_real_thing(self) -> None:
        said = self.said(port="9000")
        self.assertIn("set OPENAI_API_KEY in the environment", said)
        self.assertTrue(
            any(line.endswith("call 127.0.0.1:9000") for line in [*said.split("\n")])
        )

    def test_where_calls_must_be_announced_no_bare_line_is_shown(self) -> None:
        said = self.said(require_registration=True, web="8091")
        self.assertNotIn("UUID()", said)
        self.assertIn("PORTERO is 127.0.0.1:8089 there", said)

    def test_where_all_addresses_are_meant_none_is_invented(self) -> None:
        for listen in ({"interface": "0.0.0.0"}, {"port": "unix:/run/portero.sock"}):
            said = self.said(**listen)
            self.assertIn("${UUID()},ADDRESS:", said)
            self.assertIn("the address by which Asterisk reaches", said)

    def test_an_ipv6_address_is_in_brackets(self) -> None:
        self.assertIn("${UUID()},[::1]:8089", self.said(interface="::1"))

    def test_says_where_the_page_is(self) -> None:
        self.assertIn("browser: http://127.0.0.1:8091/\n", self.said(web="8091"))
        self.assertIn("browser: unix:/run/s\n", self.said(web="unix:/run/s"))
        said = self.said(web="ssl:8443:privateKey=key.pem:certKey=cert.pem")
        self.assertIn("browser: https://ADDRESS:8443/\n", said)
        self.assertIn("browser: http://ADDRESS:8091/\n", self.said(web="tcp:8091"))
        self.assertNotIn("browser", self.said())

    def test_names_each_agent_and_the_calls_it_answers(self) -> None:
        agents = {
            DEFAULT: AgentSettings(),
            "desk": AgentSettings(called=("100", "+34*"), callers=("600",)),
            "night": AgentSettings(),
        }
        who = {DEFAULT: "a model", "desk": "another", "night": "a third"}
        lines = announcement(Config(agents=agents), who)
        self.assertEqual(lines[0], "Calls are answered by a model.")
        self.assertEqual(
            lines[1:3],
            [
                "Agent desk: another, for calls to 100, to +34*, from 600.",
                "Agent night: a third, for calls that name it.",
            ],
        )


class WarningTests(SynchronousTestCase):
    def warned(self, config: Config) -> list[str]:
        with capturedLogs() as events:
            Announcement(config, {DEFAULT: DEMO}).startService()
        return [event["line"] for event in events if event["log_level"].name == "warn"]

    def test_without_the_compiled_part_of_autobahn_one_line_warns(self) -> None:
        for compiled in (True, False):
            self.patch(websocket, "USES_NVX", compiled)
            warned = self.warned(Config())
            self.assertEqual(len(warned), 0 if compiled else 1)
        self.assertIn("(NVX)", warned[0])

    def test_a_queue_that_cuts_replies_is_warned_of(self) -> None:
        self.patch(websocket, "USES_NVX", True)
        for frames, count in ((0, 0), (1499, 1), (1500, 0)):
            config = Config(ListenSettings(queue_frames=frames))
            self.assertEqual(len(self.warned(config)), count)

    def test_a_key_file_open_to_all_is_warned_of(self) -> None:
        self.patch(websocket, "USES_NVX", True)
        path = Path(self.mktemp())
        path.write_text("sk-1")
        config = Config(providers={"": ProviderSettings(api_key_file=str(path))})
        path.chmod(0o644)
        (warned,) = self.warned(config)
        self.assertIn(f"{path} is open to every user", warned)
        path.chmod(0o640)
        self.assertEqual(self.warned(config), [])
        path.unlink()  # the environment had the key
        self.assertEqual(self.warned(config), [])

    def test_so_is_every_other_file_with_a_secret(self) -> None:
        self.patch(websocket, "USES_NVX", True)
        path = self.mktemp()
        Path(path).write_text("secret")
        Path(path).chmod(0o644)
        for config in (
            Config(ListenSettings(web_token_file=path)),
            Config(ami=AmiSettings(secret_file=path)),
            Config(mail=MailSettings(password_file=path)),
            Config(gates={"yard": GateSettings(password_file=path)}),
            Config(webhooks={"shop": WebhookSettings(token_file=path)}),
            Config(mcp={"crm": McpSettings(token_file=path)}),
        ):
            (warned,) = self.warned(config)
            self.assertIn(f"{path} is open to every user", warned)

    def test_a_page_that_others_reach_without_encryption_is_warned_of(self) -> None:
        self.patch(websocket, "USES_NVX", True)
        for web, count in (
            *(("", 0), ("8091", 0), ("unix:/run/s", 0), ("tcp:8091", 1)),
            *(("tcp:8091:interface=127.0.0.1", 0), ("haproxy:tcp:8091", 1)),
        ):
            warned = self.warned(Config(ListenSettings(web=web)))
            self.assertEqual(len(warned), count, web)
        self.assertIn("docs/access.rst", warned[0])

    def test_a_private_key_open_to_all_is_warned_of(self) -> None:
        self.patch(websocket, "USES_NVX", True)
        path = Path(self.mktemp())
        path.write_text("a key")
        web = f"ssl:8443:interface=127.0.0.1:privateKey={path}:certKey=cert.pem"
        for mode, count in ((0o644, 1), (0o640, 0)):
            path.chmod(mode)
            warned = self.warned(Config(ListenSettings(web=web)))
            self.assertEqual(len(warned), count)

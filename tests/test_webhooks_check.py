"""Tests of L{portero.webhooks.check}: what is said of webhooks and MCP servers."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from portero import plugins
from portero.config import load
from portero.webhooks.check import _bare
from tests.test_crosscheck import CrossCheckCase

RIGHT = """
[agent]
tools = ["hangup", "order-status"]
[webhooks.order-status]
description = "Says where an order is"
method = "GET"
url = "https://shop.example/orders/{order}?by={caller_number}"
[webhooks.order-status.parameters]
order = { description = "Its number", pattern = "[0-9]{6}" }
"""


class WebhookTests(CrossCheckCase):
    def changed(self, before: str, after: str) -> str:
        self.assertIn(before, RIGHT)
        return RIGHT.replace(before, after)

    def test_one_that_is_right_is_a_tool(self) -> None:
        self.assertEqual(self.said(RIGHT), [])

    def test_an_agent_can_only_name_one_that_is_there(self) -> None:
        text = self.changed('"order-status"]', '"order-state"]')
        self.assertOnly(text, "which is none; did you mean order-status?")

    def test_what_must_be_there_is_asked_for(self) -> None:
        self.assertOnly('[webhooks.a]\nurl = "https://a.example"', "description is mis")
        self.assertOnly('[webhooks.a]\ndescription = "d"', "url is missing")

    def test_a_name_is_one_that_the_service_takes_and_nobody_has(self) -> None:
        for name, said in [
            ("hangup", "of a tool of portero's own"),
            ("hang_up", "of a tool of portero's own"),
            ("Hang-Up", "of a tool of portero's own"),
            ("transfer", "of a tool of portero's own"),
            ("'a.b'", "letters, digits, - and _"),
        ]:
            text = f'[webhooks.{name}]\nurl = "https://a.example"\ndescription = "d"'
            self.assertOnly(text, said)

    def test_each_tool_has_the_name_of_its_module_nearly(self) -> None:
        for name in plugins.names("tools"):
            tool = import_module(f"portero.tools.{name}").Tool
            self.assertEqual(_bare(tool.name), _bare(name))

    def test_places_are_for_what_is_known(self) -> None:
        self.assertOnly(
            self.changed("by={caller_number}", "by={caller}"),
            "7: [webhooks.order-status] url has {caller}, which is neither",
        )
        headers = 'headers = { X-Order = "{order}" }\nmethod'
        self.assertOnly(self.changed("method", headers), "headers has X-Order with")
        known = self.changed("{caller_number}", "{flat}")
        self.assertOnly(known, "url has {flat}")
        given = known.replace("[agent]", '[agent]\nvariables = { flat = "?" }')
        self.assertEqual(self.said(given), [])

    def test_a_parameter_is_nothing_that_is_known_already(self) -> None:
        for name in ("agent", "call_id", "caller_number"):
            text = self.changed("order = {", f'{name} = "x"\norder = {{')
            found = "\n".join(self.said(text))
            self.assertIn(f"has {name}, which is known of the call", found)

    def test_a_parameter_goes_somewhere(self) -> None:
        text = self.changed("{order}?", "?")
        self.assertOnly(text, "has order, which does not stand in the url")
        self.assertEqual(self.said(text.replace('"GET"', '"POST"')), [])
        text = text.replace('"GET"', '"PUT"\nbody = \'{"a": {agent}}\'')
        self.assertOnly(text, "has order, which stands neither in the url nor in the b")

    def test_a_path_needs_its_parameters(self) -> None:
        text = self.changed("pattern", "optional = true, pattern")
        self.assertOnly(text, "{order} in its path, so it cannot be optional")

    def test_a_get_has_no_body(self) -> None:
        text = self.changed("method", "body = '{\"a\": {order}}'\nmethod")
        self.assertOnly(text, "body is not sent with GET")

    def test_single_settings_are_checked(self) -> None:
        for before, after, said in [
            ("https://shop", "ftp://shop", "url "),
            ("shop.example", "{order}.example", "only after the host"),
            ("method", "allow = ['10.0.0.1/8']\nmethod", "allow "),
            (
                "method",
                "headers = { Cookie = 'a=b' }\nmethod",
                "Cookie, which is never",
            ),
            ("method", "token_file = 'not-there'\nmethod", "cannot be read"),
            ("[0-9]{6}", "[0-9", "no regular expression"),
            ('"GET"', '"POST"\nbody = "order={order}"', "body "),
        ]:
            self.assertOnly(self.changed(before, after), said)

    def test_a_private_server_is_named(self) -> None:
        for url, allow, said in [
            ("http://shop.example/", "", "unencrypted"),
            ("http://10.0.0.5/", "", "unencrypted"),
            ("https://10.0.0.5/", "", 'which needs allow = ["10.0.0.5"]'),
            ("https://127.0.0.1/", "", "which needs allow"),
            ("https://[::1]:8443/", "", 'which needs allow = ["::1"]'),
            ("https://169.254.169.254/", "10.0.0.0/8", "which needs allow"),
            ("http://93.184.216.34/", "10.0.0.0/8", "which needs allow"),
            ("https://10.0.0.5/", "10.0.0.5/32", ""),
            ("http://10.0.0.5/", "10.0.0.0/8", ""),
            ("http://nas.local/", "10.0.0.0/8", ""),
            ("https://93.184.216.34/", "", ""),
        ]:
            lines = f'[webhooks.a]\ndescription = "d"\nurl = "{url}"'
            text = lines + (f'\nallow = ["{allow}"]' if allow else "")
            if said:
                self.assertOnly(text, said)
            else:
                self.assertEqual(self.said(text), [])

    def test_its_token_is_read_and_never_shown(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "token").write_text("tok-123456\n", "utf-8")
        (folder / "c.toml").write_text(
            self.changed("method", 'token_file = "token"\nmethod')
            + '[mcp.crm]\nurl = "https://crm.example"\ntools = ["a"]\n'
            'token_file = "token"\n',
            "utf-8",
        )
        config = load(str(folder / "c.toml"))
        self.assertEqual(
            config.secrets.tokens,
            {"webhooks.order-status": "tok-123456", "mcp.crm": "tok-123456"},
        )
        self.assertNotIn("tok-123456", repr(config))


class McpTests(CrossCheckCase):
    def test_one_that_is_right_can_be_named(self) -> None:
        text = "[mcp.crm]\nurl = 'https://crm.example/mcp'\ntools = ['find']\n"
        self.assertEqual(self.said(f"agent.mcp = ['crm']\n{text}"), [])
        said = "did you mean crm?"
        self.assertOnly(f"agent.mcp = ['crn']\n{text}", said)

    def test_each_mistake_is_named(self) -> None:
        for text, said in [
            ("tools = ['a']", "url is missing"),
            ("url = 'https://a.example'", "tools is missing"),
            ("tools = ['a']\nurl = 'http://a.example'", "must begin with https://"),
            ("tools = ['a']\nurl = 'https://a.example/{x}'", "no {NAME}"),
            ("tools = ['a']\nurl = 'https://u:p@a.example/'", "token_file"),
        ]:
            self.assertOnly(f"[mcp.crm]\n{text}", said)
        text = "[mcp.'a.b']\nurl = 'https://a.example'\ntools = ['a']"
        self.assertOnly(text, "letters, digits, - and _")

"""Remote MCP servers: handed to the service, which asks them; we hear of failures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from portero.config import load
from portero.facts import Facts
from portero.interfaces import McpServer
from portero.providers._session import session_settings
from portero.wire import openai as wire
from portero.wire import openai_commands as commands
from portero.wiring import Wiring
from tests.parts import need
from tests.test_providers_openai import (
    BRIEF,
    CREATE,
    OfflineCase,
    ServiceCase,
    created,
    done,
)
from tests.test_wire_openai import misfit

try:
    from openai.types.realtime import realtime_tools_config_union_param as param
except ImportError:
    param = None  # type: ignore[assignment]  # the test that needs it says so

TOKEN: Final = "mcp-s3cr3t"
CRM: Final = McpServer(
    "crm", "https://crm.example/mcp", "Customers", ("find", "note"), TOKEN
)
WITH_MCP: Final = replace(BRIEF, mcp=(CRM, McpServer("b", "https://b.example/", "")))
IN_SESSION: Final = {
    "type": "mcp",
    "server_label": "crm",
    "server_url": "https://crm.example/mcp",
    "server_description": "Customers",
    "allowed_tools": ["find", "note"],
    "require_approval": "never",
    "authorization": TOKEN,
}


def update() -> dict[str, Any]:
    settings = session_settings(WITH_MCP, wire.PCMU, wire.PCMU)
    found: dict[str, Any] = json.loads(commands.session_update(settings, "p1"))
    return found


def mcp_call(**more: Any) -> dict[str, Any]:
    item = {
        "type": "mcp_call",
        "id": "mcp_1",
        "server_label": "crm",
        "name": "find",
        "arguments": "{}",
        **more,
    }
    return {"type": "response.output_item.done", "response_id": "resp_1", "item": item}


def step(name: str, item: str = "mcp_1") -> dict[str, Any]:
    return {"type": f"response.mcp_call.{name}", "item_id": item, "output_index": 0}


class SessionTests(SynchronousTestCase):
    def test_the_service_is_told_of_each_server(self) -> None:
        tools = update()["session"]["tools"]
        self.assertEqual([tool["type"] for tool in tools], ["function", "mcp", "mcp"])
        self.assertEqual(tools[1], IN_SESSION)
        self.assertEqual(
            tools[2],
            {
                "type": "mcp",
                "server_label": "b",
                "server_url": "https://b.example/",
                "allowed_tools": [],
                "require_approval": "never",
            },
        )

    def test_the_package_of_openai_takes_it(self) -> None:
        need(param is not None, "the package openai: pip install openai")
        for tool in update()["session"]["tools"][1:]:
            self.assertEqual(misfit(tool, param.Mcp), "")
            self.assertNotEqual(misfit({**tool, "token": "x"}, param.Mcp), "")
            self.assertNotEqual(misfit({**tool, "allowed_tools": 1}, param.Mcp), "")

    def test_no_text_of_it_shows_the_authorization(self) -> None:
        settings = session_settings(WITH_MCP, wire.PCMU, wire.PCMU)
        for found in (settings, WITH_MCP, CRM):
            self.assertNotIn(TOKEN, repr(found))


class BriefTests(SynchronousTestCase):
    def test_an_agent_has_those_that_it_names(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "token").write_text(f"{TOKEN}\n", "utf-8")
        (folder / "c.toml").write_text(
            """
            [agents.desk]
            mcp = ["crm"]
            [mcp.crm]
            url = "https://crm.example/mcp"
            description = "Customers"
            tools = ["find", "note"]
            token_file = "token"
            [mcp.other]
            url = "https://other.example/"
            tools = ["a"]
            """,
            "utf-8",
        )
        config = load(str(folder / "c.toml"))
        roster = Wiring(MemoryReactorClock()).build(config).roster
        self.assertEqual(roster.assign("desk", "a", Facts()).brief.mcp, (CRM,))
        self.assertEqual(roster.assign("default", "a", Facts()).brief.mcp, ())


class ConversationTests(OfflineCase):
    def setUp(self) -> None:
        self.start(WITH_MCP)
        self.make_ready()
        self.come(created())

    def warnings(self, *events: Any) -> list[str]:
        with capturedLogs() as logged:
            self.come(*events)
        return [
            str(event["log_format"]).format(**event)
            for event in logged
            if event["log_level"] is not LogLevel.debug
        ]

    def test_the_agent_is_asked_to_speak_of_what_was_found(self) -> None:
        self.come(step("in_progress"), mcp_call(), step("completed"))
        self.assertEqual(self.line.take(), [])
        self.come(done())
        self.assertEqual(self.line.take(), [CREATE])
        self.assertEqual(self.listener.told[-1], ("reply_ended", 1, ""))

    def test_also_when_it_was_found_after_the_reply(self) -> None:
        self.come(step("in_progress"), mcp_call(), done())
        self.assertEqual(self.line.take(), [])
        self.come(step("completed"))
        self.assertEqual(self.line.take(), [CREATE])
        self.come(created("resp_2"), done("resp_2"), step("completed"))
        self.assertEqual(self.line.take(), [])

    def test_the_last_of_several_is_waited_for(self) -> None:
        self.come(step("in_progress"), step("in_progress", "mcp_2"), done())
        self.come(step("completed"))
        self.assertEqual(self.line.take(), [])
        self.come(step("failed", "mcp_2"))
        self.assertEqual(self.line.take(), [CREATE])

    def test_a_failure_is_one_line_of_the_log(self) -> None:
        error = {"type": "http_error", "code": 401, "message": "no\nBearer abc"}
        events = (step("in_progress"), step("failed"), mcp_call(error=error), done())
        self.assertEqual(
            self.warnings(*events),
            [
                f"call {BRIEF.call_id}: the service could not use find of MCP server "
                "crm: no (a key) (http_error 401)"
            ],
        )
        self.assertEqual(self.line.take(), [CREATE])

    def test_a_server_without_tools_is_one_line_of_the_log(self) -> None:
        (line,) = self.warnings({"type": "mcp_list_tools.failed", "item_id": "i"})
        self.assertIn("could not list the tools of MCP server (one of crm, b)", line)

    def test_errors_of_any_shape_are_told(self) -> None:
        some: list[Any] = ["words", {"message": 5}, [1], {"code": {}}, {"type": "x"}]
        for error in some:
            self.assertEqual(len(self.warnings(mcp_call(error=error))), 1)
        none: list[Any] = [None, "", {}]
        for error in none:
            self.assertEqual(self.warnings(mcp_call(error=error)), [])


class SimulatorTests(ServiceCase):
    async def test_the_simulator_takes_a_session_with_them(self) -> None:
        simulator = self.serve()
        _, listener = self.converse(simulator, brief=WITH_MCP)
        await listener.until("ready")
        session = (await self.connection(simulator)).session
        assert session is not None
        self.assertEqual(session.config["tools"][1]["server_label"], "crm")

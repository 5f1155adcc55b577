"""The agent lets the caller leave a message."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from portero.config import Config
from portero.interfaces import ITool
from portero.sections import AgentSettings
from portero.tool_sections import TargetSettings
from portero.tools.leave_voicemail import Tool
from tests.fake_call import FakeControl

BOX = "from-internal,*200,1"


class VoicemailTests(SynchronousTestCase):
    def make(self, **settings: Any) -> Tool:
        targets = {
            "sales": TargetSettings("from-internal,200,1"),
            "box": TargetSettings(BOX, **settings),
        }
        agent = AgentSettings(voicemail="box")
        return Tool.for_agent(agent, Config(targets=targets), None)

    def run_tool(self, tool: Tool, call: FakeControl, **arguments: Any) -> str:
        return self.successResultOf(Deferred.fromCoroutine(tool.run(call, arguments)))

    def test_it_is_a_tool_that_takes_nothing(self) -> None:
        self.assertTrue(verifyObject(ITool, self.make()))
        self.assertEqual(Tool.name, "leave_voicemail")
        self.assertEqual(self.make().parameters["properties"], {})
        self.assertFalse(self.make().parameters["additionalProperties"])

    def test_the_caller_goes_to_the_one_target_that_the_agent_names(self) -> None:
        call = FakeControl()
        for arguments in ({}, {"target": "sales"}):
            self.assertEqual(self.run_tool(self.make(), call, **arguments), "")
        self.assertEqual(call.of("transfer"), [(BOX, "transferred to box")] * 2)

    def test_the_caller_may_have_to_agree(self) -> None:
        tool, call = self.make(confirm=True), FakeControl()
        self.assertIn("confirmed", tool.parameters["properties"])
        answer = self.run_tool(tool, call, confirmed=True)
        self.assertIn("Call leave_voicemail again, with confirmed true", answer)
        call.caller_turns += 1
        self.assertEqual(self.run_tool(tool, call, confirmed=True), "")

    def test_it_may_be_closed(self) -> None:
        today = datetime.now().astimezone()
        other = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[
            (today.weekday() + 3) % 7
        ]
        call = FakeControl()
        answer = self.run_tool(self.make(hours=f"{other} 12-13"), call)
        self.assertTrue(answer.startswith("error: box is closed"), answer)
        self.assertEqual(call.told, [])

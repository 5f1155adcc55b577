"""The agent's tools always answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as Late
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from portero.interfaces import ICallControl, ITool
from portero.toolbox import Toolbox
from tests.fake_call import Broken, FakeTool


@implementer(ICallControl)
class FakeControl:
    call_id = "c1"

    def transfer(self, target: str, reason: str) -> None:
        """Not used here."""

    def end_after_speech(self, reason: str) -> None:
        """Not used here."""


@implementer(ITool)
class WrongTool:
    """A site's own, which answers with what is no text."""

    name = "wrong"
    description = parameters = cast(Any, None)

    async def run(self, call: ICallControl, arguments: Mapping[str, Any]) -> str:
        return cast(str, {"temperature": 21})


class ToolboxTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.tool = FakeTool()
        self.toolbox = Toolbox([self.tool, WrongTool()], self.clock, 10.0)

    def run_tool(self, name: str = "look_up") -> Deferred[str]:
        return self.toolbox.run(FakeControl(), name, {"q": 1})

    def test_a_tool_gets_its_arguments_and_its_answer_comes_back(self) -> None:
        running = self.run_tool()
        self.assertNoResult(running)
        self.tool.answer.callback("42")
        self.assertEqual(self.successResultOf(running), "42")
        self.assertEqual(self.tool.of("run"), [({"q": 1},)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_model_is_told_that_there_is_no_such_tool(self) -> None:
        answer = self.successResultOf(self.run_tool("sing"))
        self.assertEqual(answer, "error: there is no tool called sing")

    def test_a_tool_that_fails_at_once_or_later_is_an_answer_and_a_log_line(
        self,
    ) -> None:
        self.tool.breaks.add("run")
        with capturedLogs() as events:
            answers = [self.successResultOf(self.run_tool())]
            self.tool.breaks.clear()
            running = self.run_tool()
            self.tool.answer.errback(Broken())
            answers.append(self.successResultOf(running))
        words = "error: look_up did not work; tell the caller so"
        self.assertEqual(answers, [words, words])
        lines = [formatEvent(event) for event in events]
        self.assertEqual(lines.count("call c1: tool look_up failed"), 2)
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 2)

    def test_a_tool_that_takes_too_long_is_given_up(self) -> None:
        running = self.run_tool()
        self.clock.advance(9.9)
        self.assertNoResult(running)
        self.clock.advance(0.2)
        self.assertIn("did not work", self.successResultOf(running))
        self.assertEqual(len(self.flushLoggedErrors(Late)), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_answer_that_is_no_text_is_a_failure(self) -> None:
        self.assertIn("did not work", self.successResultOf(self.run_tool("wrong")))
        (failure,) = self.flushLoggedErrors(TypeError)
        self.assertIn("not with dict", str(failure.value))

"""The agent's tools always answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from portero.facts import Facts
from portero.interfaces import ICallControl, ITool
from portero.toolbox import CUT, MOST_AT_ONCE, MOST_CHARACTERS, Toolbox
from tests.fake_call import Broken, FakeControl, FakeTool

FACTS = Facts(caller_number="+34600111222")


@implementer(ITool)
class WrongTool:
    """A site's own, which answers with what is no text."""

    name = "wrong"
    description = "It is wrong."
    parameters: Mapping[str, Any] = {}

    async def run(self, call: ICallControl, arguments: Mapping[str, Any]) -> str:
        return cast(str, {"temperature": 21})


class PatientTool(FakeTool):
    """Has something to say also when its time is over."""

    name = "patient"

    async def run(self, call: ICallControl, arguments: Mapping[str, Any]) -> str:
        try:
            return await super().run(call, arguments)
        except CancelledError:
            return "half of it"


class StrictTool(FakeTool):
    name = "strict"
    within = 30.0
    parameters: Mapping[str, Any] = {
        "type": "object",
        "properties": {"order": {"type": "string", "pattern": "[0-9]{6}"}},
        "required": ["order"],
        "additionalProperties": False,
    }


class ToolboxCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.tool, self.strict = FakeTool(), StrictTool()
        tools = [self.tool, WrongTool(), self.strict, PatientTool()]
        self.toolbox = Toolbox(tools, self.clock, 10.0)
        self.call = FakeControl("c1", FACTS)

    def run_tool(self, name: str = "look_up", /, **arguments: Any) -> Deferred[str]:
        return self.toolbox.run(self.call, name, arguments)


class ToolboxTests(ToolboxCase):
    def test_the_fakes_are_what_they_stand_for(self) -> None:
        self.assertTrue(verifyObject(ICallControl, self.call))
        self.assertTrue(verifyObject(ITool, self.strict))

    def test_a_tool_gets_its_arguments_and_its_answer_comes_back(self) -> None:
        running = self.run_tool(q=1)
        self.assertNoResult(running)
        self.tool.answer.callback("42")
        self.assertEqual(self.successResultOf(running), "42")
        self.assertEqual(self.tool.of("run"), [({"q": 1},)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_model_is_told_that_there_is_no_such_tool_and_which_there_are(
        self,
    ) -> None:
        answer = self.successResultOf(self.run_tool("sing"))
        self.assertEqual(
            answer,
            'error: there is no tool "sing"; there are: look_up, wrong, strict, '
            "patient",
        )

    def test_a_tool_is_not_run_with_arguments_that_its_schema_refuses(self) -> None:
        for order in ("", "12345a", "1234567", "123456\n", 123456, None):
            answer = self.successResultOf(self.run_tool("strict", order=order))
            self.assertTrue(answer.startswith("error: strict was not run: order "))
        self.assertEqual(
            self.successResultOf(self.run_tool("strict")),
            "error: strict was not run: order is missing",
        )
        self.assertEqual(self.strict.told, [])
        self.run_tool("strict", order="123456")
        self.assertEqual(self.strict.of("run"), [({"order": "123456"},)])

    def test_only_so_many_run_at_once_for_a_call(self) -> None:
        running = [self.run_tool() for _ in range(MOST_AT_ONCE)]
        answer = self.successResultOf(self.run_tool())
        self.assertIn("error: look_up was not run: 8 tools are running", answer)
        self.assertEqual(self.tool.count("run"), MOST_AT_ONCE)
        # Another caller has nothing to do with that.
        other = self.toolbox.run(FakeControl("c2", FACTS), "look_up", {})
        self.assertNoResult(other)
        self.tool.answer.callback("42")
        for each in (*running, other, self.run_tool()):
            self.assertEqual(self.successResultOf(each), "42")

    def test_a_schema_that_is_none_is_the_tools_fault(self) -> None:
        self.tool.parameters = cast(Any, None)
        self.assertIn("broke down", self.successResultOf(self.run_tool()))
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

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
        for answer in answers:
            self.assertTrue(answer.startswith("error: look_up broke down, "), answer)
            self.assertIn("Tell the caller", answer)
        lines = [formatEvent(event) for event in events]
        self.assertEqual(lines.count("call c1: tool look_up failed"), 2)
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 2)

    def test_a_tool_that_takes_too_long_is_given_up(self) -> None:
        running = self.run_tool()
        self.clock.advance(9.9)
        self.assertNoResult(running)
        self.clock.advance(0.2)
        self.assertTrue(
            self.successResultOf(running).startswith(
                "error: look_up gave no answer within 10 s, so it is not known "
            )
        )
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_a_tool_answers_when_it_is_given_up_counts(self) -> None:
        running = self.run_tool("patient")
        self.clock.advance(10.1)
        self.assertEqual(self.successResultOf(running), "half of it")

    def test_a_tool_may_have_a_limit_of_its_own(self) -> None:
        running = self.run_tool("strict", order="123456")
        self.clock.advance(29.9)
        self.assertNoResult(running)
        self.clock.advance(0.2)
        self.assertIn("no answer within 30 s", self.successResultOf(running))

    def test_an_answer_that_is_no_text_is_a_failure(self) -> None:
        self.assertIn("broke down", self.successResultOf(self.run_tool("wrong")))
        (failure,) = self.flushLoggedErrors(TypeError)
        self.assertIn("not with dict", str(failure.value))

    def test_a_long_answer_is_cut_and_says_so(self) -> None:
        for length, wanted in (
            (MOST_CHARACTERS, "x" * MOST_CHARACTERS),
            (MOST_CHARACTERS + 1, "x" * (MOST_CHARACTERS - len(CUT)) + CUT),
            (5_000_000, "x" * (MOST_CHARACTERS - len(CUT)) + CUT),
        ):
            self.tool.answer = Deferred()
            running = self.run_tool()
            self.tool.answer.callback("x" * length)
            self.assertEqual(self.successResultOf(running), wanted)


class AuditTests(ToolboxCase):
    def audit(self, name: str = "look_up", /, **arguments: Any) -> str:
        """@return: The one line of the log."""
        self.tool.answer = Deferred()
        with capturedLogs() as events:
            self.run_tool(name, **arguments)
            self.clock.advance(0.25)
            self.tool.answer.callback("the secret of Ana")
        (line,) = [
            formatEvent(event)
            for event in events
            if event["log_namespace"] == "portero.audit"
        ]
        assert line is not None
        return line

    def test_who_asked_for_what_and_how_long_it_took_and_not_what_was_found(
        self,
    ) -> None:
        self.assertEqual(
            self.audit(q="red", n=2),
            "call c1: agent reception (caller ...222): "
            'look_up(q="red", n=2): answered, 250 ms',
        )

    def test_what_a_tool_says_is_private_is_left_out(self) -> None:
        self.patch(self.tool, "private", ("to",))
        line = self.audit(to="ana@acme.example", q="red")
        self.assertIn(': look_up(to=..., q="red"): ', line)

    def test_the_callers_number_is_as_short_as_elsewhere(self) -> None:
        number = FACTS.caller_number
        line = self.audit(phone=number, n=int(number), q="x" * 75 + number)
        self.assertIn('phone="...222", n=...222, q="xxx', line)
        self.assertNotIn(number[:6], line)

    def test_why_it_was_not_done(self) -> None:
        for name, arguments, words in (
            ("sing", {}, ": sing(): error: there is no tool"),
            ("strict", {"order": "x"}, '(order="x"): error: strict was not run: '),
            ("wrong", {}, ": wrong(): error: wrong broke down, "),
        ):
            line = self.audit(name, **arguments)
            self.assertIn(words, line)
            self.assertTrue(line.endswith(", 0 ms"), line)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 1)

    def test_it_is_one_short_line_whatever_the_model_writes(self) -> None:
        bad = "a\r\ncall c2: agent x: open_gate(): done\x1b[2J\u2028" * 100
        for line in (
            self.audit(q=bad[:900]),
            self.audit(q=bad),
            self.audit("look_up", **{bad: 1}),
            self.audit("look_up", **{f"{number}": bad for number in range(100)}),
            self.audit(bad),
        ):
            self.assertTrue(line.isprintable(), line)
            self.assertLess(len(line), 600)

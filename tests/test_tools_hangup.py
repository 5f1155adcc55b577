"""The agent hangs up."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from portero.interfaces import ITool
from portero.tools.hangup import Tool
from tests.fake_call import Story


class HangUpTests(SynchronousTestCase):
    def test_it_is_a_tool(self) -> None:
        self.assertTrue(verifyObject(ITool, Tool()))
        self.assertEqual(Tool.name, "hang_up")

    def test_it_tells_the_model_nothing_and_asks_the_call_to_end(self) -> None:
        asked: list[str] = []

        class Control:
            call_id = "c1"

            def end_after_speech(self, reason: str) -> None:
                asked.append(reason)

        value = Deferred.fromCoroutine(Tool().run(Control(), {}))  # type: ignore[arg-type]  # enough of one
        self.assertEqual(self.successResultOf(value), "")
        self.assertEqual(asked, ["the agent hung up"])

    def test_the_goodbye_is_heard_to_its_last_frame_before_the_line_drops(self) -> None:
        story = Story(Tool()).waiting()
        service, leg = story.service, story.leg
        service.speak("goodbye", 2.0)
        service.events.tool_called("t1", "hang_up", {})
        service.events.agent_done("goodbye")
        service.events.reply_ended(2, "")
        story.clock.advance(1.9)
        self.assertEqual((leg.count("hang_up"), leg.count("flush")), (0, 0))
        leg.play_out()
        self.assertEqual(leg.count("hang_up"), 1)
        self.assertEqual(
            (story.call.reason, story.call.failure), ("the agent hung up", "")
        )
        self.assertEqual(service.count("tool_result"), 0)

    def test_without_a_goodbye_it_hangs_up_when_the_reply_is_complete(self) -> None:
        story = Story(Tool()).waiting()
        story.service.events.tool_called("t1", "hang_up", {})
        self.assertEqual(story.leg.count("hang_up"), 0)
        story.service.events.reply_ended(1, "")
        self.assertEqual(story.leg.count("hang_up"), 1)

    def test_a_goodbye_without_end_is_capped(self) -> None:
        story = Story(Tool(), drain_within=5.0).waiting()
        story.service.speak("goodbye", 600.0)
        story.service.events.tool_called("t1", "hang_up", {})
        story.clock.advance(4.9)
        self.assertEqual(story.leg.count("hang_up"), 0)
        story.clock.advance(0.2)
        self.assertEqual(story.leg.count("hang_up"), 1)

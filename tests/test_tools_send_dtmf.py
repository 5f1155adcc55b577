"""The agent presses keys, and nothing else."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from portero import tones
from portero.arguments import problem
from portero.interfaces import ITool
from portero.tools.send_dtmf import RATE, Tool
from tests.fake_call import FakeControl, Story
from tests.hostile import ARGUMENTS
from tests.test_tones import detect


class SendDtmfTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tool = Tool()
        self.call = FakeControl()

    def run_tool(self, arguments: dict[str, Any]) -> str:
        running = Deferred.fromCoroutine(self.tool.run(self.call, arguments))
        return self.successResultOf(running)

    def test_it_is_a_tool(self) -> None:
        self.assertTrue(verifyObject(ITool, self.tool))

    def test_what_it_plays_is_heard_as_the_keys(self) -> None:
        self.assertIn("to their end", self.run_tool({"digits": "12*#D"}))
        ((_name, rate, pcm),) = self.call.of("play")
        self.assertEqual(detect(pcm, rate), "12*#D")

    def test_if_they_were_cut_off_it_says_so(self) -> None:
        self.call.heard = False
        self.assertTrue(self.run_tool({"digits": "1"}).startswith("error: "))

    def test_nothing_but_keys_becomes_a_sound(self) -> None:
        keys = set("0123456789ABCD*#")
        bad = [text for text in ARGUMENTS if not text or set(text) - keys]
        self.assertGreater(len(bad), 150)
        for value in (*bad, "1" * 33, 12, None, ["1"], "١٢", "1\n"):
            wrong = problem(self.tool.parameters, {"digits": value})
            self.assertNotEqual(wrong, "", repr(value)[:80])
            self.assertTrue(self.run_tool({"digits": value}).startswith("error: "))
        self.assertEqual(self.call.told, [])

    def test_in_a_call_it_answers_when_all_was_heard(self) -> None:
        story = Story(self.tool).waiting()
        story.service.speak("one moment", 1.0)
        story.service.events.tool_called("t1", "send_dtmf", {"digits": "1#"})
        story.service.events.agent_done("one moment")
        story.service.events.reply_ended(2, "")
        self.assertEqual(story.service.of("tool_result"), [])
        item, pcm = story.leg.of("play")[-1]
        self.assertIn("key tones", item)
        self.assertEqual(pcm, tones.dtmf("1#", RATE))
        story.leg.play_out()
        ((_id, said),) = story.service.of("tool_result")
        self.assertIn("to their end", said)

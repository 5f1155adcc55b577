"""What the caller hears while a tool takes long."""

from __future__ import annotations

from typing import Any

import numpy as np

from portero.filler import LOOK_EVERY, RATE, soft_tone
from tests.fake_call import Story
from tests.test_call import CallCase

MOMENT = "prompt moment"


class FillerCase(CallCase):
    def story(self, **given: Any) -> Story:
        """The agent has called a tool, and says nothing with it."""
        given = {"filler": "phrase", "filler_after": 2.0, **given}
        story = Story(**given).waiting()
        self.call_tool(story)
        return story

    def call_tool(self, story: Story, id: str = "t1") -> None:
        story.service.events.tool_called(id, "look_up", {})
        story.service.events.reply_ended(1, "")

    def fillers(self, story: Story) -> int:
        played = [item for item, _ in story.leg.of("play")]
        return sum(1 for item in played if item == MOMENT or "waiting" in item)


class PhraseTests(FillerCase):
    def test_the_caller_is_asked_for_a_moment_and_then_gets_the_answer(self) -> None:
        story = self.story()
        story.clock.advance(1.9)
        self.assertEqual(self.fillers(story), 0)
        story.clock.advance(0.2)
        self.assertEqual(story.leg.items[-1], MOMENT)
        story.leg.play_out()
        story.tool.answer.callback("42")
        self.assertEqual(story.service.of("tool_result"), [("t1", "42")])
        story.service.reply("it is 42")
        story.leg.play_out()
        story.clock.advance(30.0)
        self.assertEqual(self.fillers(story), 1)

    def test_a_tool_that_is_quick_needs_none(self) -> None:
        story = self.story()
        story.clock.advance(1.9)
        story.tool.answer.callback("42")
        story.clock.advance(1.0)
        self.assertEqual(self.fillers(story), 0)

    def test_one_that_is_very_slow_gets_it_again_now_and_then(self) -> None:
        story = Story(filler="phrase", filler_after=2.0, silence=600.0).waiting()
        story.tool.within = 37.5
        self.call_tool(story)
        for seconds, wanted in ((13, 1), (12, 2), (12, 3)):
            for _ in range(seconds):
                story.clock.advance(1.0)
                story.leg.play_out()
            self.assertEqual(self.fillers(story), wanted)
        story.clock.advance(1.1)
        self.assertIn("no answer within 37.5 s", story.service.of("tool_result")[0][1])
        story.clock.advance(3.0)
        self.assertEqual(self.fillers(story), 3)

    def test_the_caller_can_interrupt_it(self) -> None:
        story = self.story()
        story.clock.advance(2.1)
        story.service.events.caller_started()
        self.assertEqual(story.leg.count("flush"), 1)
        story.clock.advance(8.0)
        self.assertEqual(self.fillers(story), 1, "not into the caller's words")

    def test_the_agent_that_goes_on_talking_is_not_talked_into(self) -> None:
        story = self.story()
        story.clock.advance(1.0)
        story.service.speak("while I look", 5.0)
        story.call.sounding("while I look")
        story.clock.advance(2.0)
        self.assertEqual(self.fillers(story), 0)
        story.service.events.agent_done("while I look")
        story.service.events.reply_ended(1, "")
        story.clock.advance(1.0)
        self.assertEqual(self.fillers(story), 0, "it still sounds")
        story.leg.play_out()
        story.clock.advance(LOOK_EVERY)
        self.assertEqual(self.fillers(story), 1)

    def test_what_it_said_with_the_call_is_heard_first(self) -> None:
        story = Story(filler="phrase", filler_after=2.0).waiting()
        story.service.speak("let me see", 3.0)
        story.service.events.agent_done("let me see")
        self.call_tool(story)
        story.clock.advance(2.5)
        self.assertEqual(story.leg.items[-1], "let me see")
        story.leg.play_out()
        story.clock.advance(LOOK_EVERY)
        self.assertEqual(story.leg.items[-1], MOMENT)

    def test_an_answer_that_comes_while_it_sounds_is_watched_for(self) -> None:
        story = self.story(reply_within=4.0)
        story.clock.advance(2.1)
        asked = story.service.count("ask")
        story.tool.answer.callback("42")
        story.leg.play_out()
        story.clock.advance(4.1)
        self.assertEqual(story.service.count("ask"), asked + 1)
        self.assertEqual(self.fillers(story), 1)

    def test_two_tools_are_waited_for_together(self) -> None:
        story = Story(filler="phrase", filler_after=2.0).waiting()
        story.service.events.tool_called("t1", "sing", {})
        self.call_tool(story, "t2")
        story.clock.advance(2.1)
        self.assertEqual(self.fillers(story), 1)

    def test_a_caller_who_is_to_type_something_is_not_hurried(self) -> None:
        story = self.story()
        typed = story.call.control.collect_digits(4, 7.0)
        story.clock.advance(6.9)
        self.assertEqual(self.fillers(story), 0)
        story.clock.advance(1.0)
        self.assertEqual(self.successResultOf(typed), "")
        self.assertEqual(self.fillers(story), 1)

    def test_it_can_be_turned_off(self) -> None:
        story = self.story(filler="none")
        story.clock.advance(9.0)
        self.assertEqual(self.fillers(story), 0)

    def test_who_is_being_handed_over_or_is_gone_hears_none(self) -> None:
        story = self.story()
        with self.ends(story):
            story.leg.drop()
            story.tool.answer.callback("42")
        story = self.story()
        story.service.speak("bye", 9.0)
        story.call.control.end_after_speech("the agent hung up")
        story.clock.advance(5.0)
        self.assertEqual(self.fillers(story), 0)

    def test_a_call_that_ends_while_it_sounds_ends(self) -> None:
        story = self.story()
        story.clock.advance(2.1)
        with self.ends(story):
            story.leg.drop()
            story.tool.answer.callback("42")

    def test_a_leg_that_takes_nothing_more_is_no_trouble(self) -> None:
        story = self.story()
        story.leg.full = True
        story.clock.advance(9.0)
        story.tool.answer.callback("42")
        self.assertEqual(story.service.of("tool_result"), [("t1", "42")])


class SoundTests(FillerCase):
    def test_a_soft_tone_comes_every_three_seconds(self) -> None:
        story = self.story(filler="sound", filler_after=1.0)
        times = []
        for tenth in range(1, 96):
            before = self.fillers(story)
            story.clock.advance(0.1)
            story.leg.play_out()
            if self.fillers(story) > before:
                times.append(tenth)
        self.assertEqual([time // 10 for time in times], [1, 4, 7])

    def test_it_is_soft_and_begins_and_ends_in_silence(self) -> None:
        tone = np.frombuffer(soft_tone(), "<i2").astype(float)
        self.assertLess(np.abs(tone).max(), 2000)
        self.assertGreater(np.abs(tone).max(), 500)
        self.assertLess(np.abs(np.diff(tone, prepend=0, append=0)).max(), 500)
        self.assertLess(np.abs(tone[[0, -1]]).max(), 5)
        spectrum = np.abs(np.fft.rfft(tone))
        loudest = np.argmax(spectrum) * RATE / len(tone)
        self.assertTrue(300 < loudest < 3400, "a telephone carries it")

    def test_nothing_is_left_of_it(self) -> None:
        story = self.story(filler="sound", filler_after=1.0)
        story.clock.advance(4.5)
        with self.ends(story):
            story.leg.drop()
            story.tool.answer.callback("42")

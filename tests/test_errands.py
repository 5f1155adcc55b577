"""What the agent's tools do for one call."""

from __future__ import annotations

from typing import Any

from portero.callstate import State
from portero.errands import TRANSFER_CANCELLED
from tests.fake_call import Broken, Story
from tests.test_call import APOLOGY, DROPPED, CallCase

SALES = "house,100,1"


class ErrandTests(CallCase):
    def story(self, **given: Any) -> Story:
        """The agent has called a tool, and says nothing with it."""
        story = Story(**given).waiting()
        story.service.events.tool_called("t1", "look_up", {})
        story.service.events.reply_ended(1, "")
        return story

    def transferring(self) -> Story:
        """It looks something up while the caller is handed over."""
        story = self.story()
        story.service.speak("one moment", 9.0)
        self.assertTrue(story.call.control.transfer(SALES, "transferred to sales"))
        self.assertIs(story.call.state, State.TRANSFERRING)
        return story

    def test_whoever_asked_gets_the_result(self) -> None:
        story = self.story()
        story.tool.answer.callback("42")
        self.assertEqual(story.service.of("tool_result"), [("t1", "42")])

    def test_who_came_after_it_is_told_what_it_is(self) -> None:
        story = self.story()
        first = story.service
        story.service.events.lost(DROPPED)
        story.clock.advance(5.0)
        self.assertIsNot(story.service, first)
        story.service.events.ready()
        story.tool.answer.callback("42")
        for conversation in (first, story.service):
            self.assertEqual(conversation.count("tool_result"), 0)
        ((role, text),) = story.service.of("add_text")
        self.assertEqual(role, "system")
        self.assertEqual(text, "The result of look_up, asked for before: 42")

    def test_what_is_found_while_nobody_is_there_is_told_later(self) -> None:
        story = self.story()
        story.service.events.lost(DROPPED)
        story.tool.answer.callback("42")
        story.clock.advance(5.0)
        self.assertEqual(story.service.count("add_text"), 0)
        story.service.events.ready()
        self.assertEqual(story.service.count("add_text"), 1)

    def test_a_call_that_is_ending_or_over_needs_none(self) -> None:
        story = self.story()
        story.service.speak("bye", 9.0)
        story.call.control.end_after_speech("the agent hung up")
        story.tool.answer.callback("42")
        self.assertEqual(story.service.count("tool_result"), 0)
        story = self.story()
        story.leg.drop()
        story.tool.answer.callback("42")
        self.assertEqual(story.service.count("tool_result"), 0)

    def test_who_stays_after_all_gets_what_was_held_back_once(self) -> None:
        story = self.transferring()
        story.tool.answer.callback("")
        self.assertEqual(story.service.count("tool_result"), 0)
        self.assertTrue(story.call.control.cancel_transfer())
        wanted = [("t1", TRANSFER_CANCELLED)]
        self.assertEqual(story.service.of("tool_result"), wanted)
        story.call.control.transfer(SALES, "transferred to sales")
        story.call.control.cancel_transfer()
        self.assertEqual(story.service.of("tool_result"), wanted)

    def test_a_result_that_cannot_be_given_ends_this_call_in_order(self) -> None:
        story = self.story()
        story.service.breaks.add("tool_result")
        with self.ends(story):
            story.tool.answer.callback("42")
            self.assertEqual(story.leg.items[-1], APOLOGY)
            story.leg.play_out()
        self.assertEqual(story.call.failure, "internal error")
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)

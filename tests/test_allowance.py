"""What one call may last and cost."""

from __future__ import annotations

from typing import Any

from twisted.logger import LogLevel, capturedLogs, formatEvent

from portero.allowance import WARN_LOOK_EVERY, WIND_UP
from portero.callstate import State
from portero.money import Budget, Ledger
from tests.fake_call import AGENT, Story
from tests.test_call import CallCase


class TimeTests(CallCase):
    def story(self, **given: Any) -> Story:
        given = {"longest": 60.0, "warn_before_end": 20.0, "silence": 600.0, **given}
        return Story(**given).greeted()

    def warnings(self, story: Story) -> list[str]:
        texts = [text for _, text in story.service.of("add_text")]
        return [text for text in texts if "may last only" in text]

    def test_the_caller_is_told_in_time(self) -> None:
        story = self.story()
        story.clock.advance(39.9)
        self.assertEqual(self.warnings(story), [])
        story.clock.advance(0.2)
        (text,) = self.warnings(story)
        self.assertIn("only 20 seconds more", text)

    def test_who_speaks_is_told_afterwards_and_of_what_is_left_then(self) -> None:
        story = self.story()
        story.service.events.caller_started()
        story.clock.advance(45.0)
        story.service.events.caller_stopped()
        self.assertEqual(self.warnings(story), [])
        story.service.reply("yes", 0.5)
        story.leg.play_out()
        story.clock.advance(WARN_LOOK_EVERY + 0.01)
        (text,) = self.warnings(story)
        self.assertIn("only 15 seconds more", text)

    def test_it_is_not_told_if_nobody_wants_it_or_there_is_no_time(
        self,
    ) -> None:
        for before in (0.0, 60.0, 90.0):
            story = self.story(warn_before_end=before)
            story.clock.advance(59.0)
            self.assertEqual(self.warnings(story), [], before)

    def test_a_call_that_ends_anyway_is_let_alone(self) -> None:
        story = self.story(drain_within=90.0)
        story.service.speak("bye", 30.0)
        story.call.control.end_after_speech("the agent hung up")
        story.clock.advance(50.0)
        self.assertEqual(self.warnings(story), [])

    def test_when_it_is_over_it_is_over(self) -> None:
        story = self.story()
        story.clock.advance(60.1)
        self.assertIs(story.call.state, State.DRAINING)
        self.assertEqual(story.call.reason, "the longest time for a call is over")


class MoneyTests(CallCase):
    def spent(self, dollars: int, **ceilings: float) -> tuple[Story, list[Any]]:
        """@return: A call that costs so much; and what the log says of it."""
        story = Story(budget=Budget(Ledger(), AGENT, **ceilings)).greeted()
        with capturedLogs() as events:
            story.service.events.usage({"input.text_tokens": dollars})
        return story, [each for each in events if "so far" in (formatEvent(each) or "")]

    def test_far_from_its_ceiling_nothing_happens(self) -> None:
        story, lines = self.spent(5, per_call=10.0)
        self.assertEqual((lines, story.service.count("add_text")), ([], 0))

    def test_near_it_the_agent_is_told(self) -> None:
        story, (line,) = self.spent(9, per_call=10.0)
        self.assertEqual(story.service.of("add_text"), [("system", WIND_UP)])
        self.assertIs(line["log_level"], LogLevel.warn)
        self.assertIn(
            "call call-1: agent reception: its ceiling is near: the agent is asked to "
            "wind up ($9.0000 so far, ",
            formatEvent(line) or "",
        )

    def test_at_it_the_call_ends(self) -> None:
        story, (line,) = self.spent(10, per_call=10.0)
        self.assertIs(story.call.state, State.DRAINING)
        self.assertEqual(story.call.reason, "the ceiling of its price was reached")
        self.assertIn("is reached: saying goodbye", formatEvent(line) or "")

    def test_that_of_a_day_is_no_warning_once_more_in_each_call(self) -> None:
        _, (line,) = self.spent(10, per_day=10.0)
        self.assertIs(line["log_level"], LogLevel.info)

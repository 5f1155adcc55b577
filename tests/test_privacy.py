"""The recording of a call is paused by its agent, its caller or an operator."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from portero.discretion import UNTOLD
from portero.interfaces import Said
from portero.privacy import PAUSED, RESUMED
from portero.tools.pause_recording import Tool as PauseTool
from portero.tools.resume_recording import Tool as ResumeTool
from tests.fake_call import Story

CARD = "4111 1111 1111 1111"


class PrivacyCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.story = Story(
            PauseTool(), ResumeTool(), pause_keys="*7", resume_keys="*8"
        ).greeted()
        self.call = self.story.call

    def press(self, keys: str) -> None:
        for key in keys:
            self.call.dtmf(key)

    def use(self, tool: str) -> None:
        """The agent calls a tool."""
        self.story.service.events.tool_called(f"id of {tool}", tool, {})

    def recording(self) -> list[tuple[str, str, str]]:
        """@return: What those who watch were told of pauses."""
        found = [one.data for one in self.story.seen.of("recording")]
        return [(one["did"], one["by"], one["who"]) for one in found]

    def hidden(self) -> list[bool]:
        """@return: What the leg was told, in order."""
        return [private for (private,) in self.story.leg.of("keep_private")]

    def watched(self) -> str:
        """@return: All that those who watch were told."""
        return " ".join(str(one.data) for one in self.story.seen.happened)

    def caller_says(self, item: str, text: str) -> None:
        self.story.service.events.caller_started(item)
        self.story.service.events.caller_stopped()
        self.story.service.events.transcript("user", text, item)


class WhoTests(PrivacyCase):
    def test_the_agent_by_its_tools(self) -> None:
        self.use("pause_recording")
        self.use("resume_recording")
        results = [value for _, value in self.story.service.of("tool_result")]
        self.assertTrue(results[0].startswith("paused: "), results)
        self.assertTrue(results[1].startswith("the recording goes on: "), results)
        self.assertEqual(
            self.recording(), [("paused", "agent", ""), ("resumed", "agent", "")]
        )
        self.assertEqual(self.hidden(), [True, False])

    def test_the_caller_by_keys_which_the_agent_speaks_of(self) -> None:
        with capturedLogs() as events:
            self.press("*7")
            self.press("*8")
        self.assertEqual(
            self.recording(), [("paused", "caller", ""), ("resumed", "caller", "")]
        )
        self.assertEqual(self.hidden(), [True, False])
        told = self.story.service.of("add_text")
        self.assertEqual(told, [("system", PAUSED), ("system", RESUMED)])
        self.assertEqual(self.story.service.count("ask"), 3)  # with the greeting
        audit = [
            formatEvent(one)
            for one in events
            if one["log_namespace"] == "portero.audit"
        ]
        self.assertEqual(
            audit,
            [
                "call call-1: the caller, by keys: pause the recording: done",
                "call call-1: the caller, by keys: go on with the recording: done",
            ],
        )
        self.story.clock.advance(10)
        self.assertEqual(self.story.service.of("add_text"), told)

    def test_an_operator(self) -> None:
        self.assertTrue(self.call.pause_recording(True, "ana"))
        self.assertTrue(self.call.pause_recording(True, "ana"))
        self.assertEqual(self.recording(), [("paused", "operator", "ana")])
        self.assertTrue(self.call.pause_recording(False, "ana"))
        self.assertEqual(self.hidden(), [True, False])

    def test_whoever_paused_it_another_may_end_it(self) -> None:
        self.press("*7")
        self.use("resume_recording")
        self.assertEqual(self.recording()[-1], ("resumed", "agent", ""))

    def test_not_before_a_call_nor_after_it(self) -> None:
        new = Story()
        self.assertFalse(new.call.pause_recording(True, "ana"))
        self.story.leg.drop()
        self.assertFalse(self.call.pause_recording(True, "ana"))
        answer = Deferred.fromCoroutine(PauseTool().run(self.call.control, {}))
        self.assertEqual(self.successResultOf(answer), "error: the call is over")
        self.assertEqual(self.hidden(), [])

    def test_without_a_setting_these_keys_are_as_others(self) -> None:
        story = Story().greeted()
        for key in "*7#":
            story.call.dtmf(key)
        self.assertEqual(story.leg.of("keep_private"), [])
        ((_, text),) = story.service.of("add_text")
        self.assertIn("*7", text)


class WordTests(PrivacyCase):
    def test_what_is_said_in_a_pause_only_the_two_sides_know(self) -> None:
        self.use("pause_recording")
        self.caller_says("u1", CARD)
        self.story.service.events.agent_words(CARD, "a1")
        self.story.service.events.transcript("assistant", CARD, "a1")
        self.use("resume_recording")
        self.caller_says("u2", "Thank you")
        self.assertNotIn(CARD, self.watched())
        self.assertIn("Thank you", self.watched())
        said = [one.data["text"] for one in self.story.seen.of("said")]
        self.assertEqual(said[-3:], [UNTOLD, UNTOLD, "Thank you"])

    def test_a_transcript_that_comes_late_is_still_of_the_pause(self) -> None:
        self.use("pause_recording")
        self.story.service.events.caller_started("u1")
        self.story.service.events.caller_stopped()
        self.use("resume_recording")
        self.story.service.events.caller_words(CARD, "u1")
        self.story.service.events.transcript("user", CARD, "u1")
        self.assertNotIn(CARD, self.watched())

    def test_another_conversation_is_told_all_and_a_mail_is_not(self) -> None:
        self.use("pause_recording")
        self.caller_says("u1", CARD)
        history = self.call._agent.history.replay()
        self.assertIn(CARD, [one.text for one in history])
        self.assertIn(Said("user", UNTOLD), self.call.control.said())
        self.assertNotIn(CARD, str(self.call.control.said()))

    def test_keys_typed_in_a_pause_reach_the_agent_only(self) -> None:
        self.press("*7")
        self.press("4111#")
        self.assertIn("4111", self.story.service.of("add_text")[-1][1])
        self.assertNotIn("4111", self.watched())
        self.assertNotIn("4111", str(self.call.control.said()))

    def test_keys_typed_just_before_it_ends_are_of_the_pause(self) -> None:
        self.press("*7")
        self.press("4111*8")
        self.assertEqual(self.recording()[-1], ("resumed", "caller", ""))
        texts = [text for _, text in self.story.service.of("add_text")]
        self.assertIn("4111", texts[1])
        self.assertEqual(texts[2], RESUMED)
        self.assertNotIn("4111", str(self.call.control.said()))

    def test_what_a_tool_is_given_in_a_pause_stands_nowhere(self) -> None:
        self.use("pause_recording")
        with capturedLogs() as events:
            give = {"card": CARD}
            self.story.service.events.tool_called("id", "look_up", give)
            self.use("resume_recording")
            self.story.tool.answer.callback(f"error: {CARD} is refused")
        self.assertEqual(self.story.tool.of("run"), [(give,)])
        log = " ".join(filter(None, map(formatEvent, events)))
        self.assertIn("look_up(...): refused, 0 ms", log)
        self.assertNotIn(CARD, log)
        self.assertNotIn(CARD, self.watched())

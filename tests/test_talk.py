"""Turns as they are lived: barge-in, tools, and nobody left in silence."""

from __future__ import annotations

from twisted.internet.defer import TimeoutError
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from portero.callstate import State
from portero.interfaces import Loss, Said
from tests.fake_call import TOOL_WITHIN, FakeConversation, FakeLeg, Story

APOLOGY = "prompt apology"


class TalkCase(SynchronousTestCase):
    def tell(self, story: Story) -> tuple[Story, FakeConversation, FakeLeg]:
        return story, story.service, story.leg


class BargeInTests(TalkCase):
    def test_a_caller_who_speaks_silences_the_agent(self) -> None:
        story, service, leg = self.tell(Story().speaking(3.0))
        leg.heard_ms = 700
        service.events.caller_started()
        self.assertEqual(leg.count("flush"), 1)
        self.assertEqual(service.of("interrupt"), [("reply", 700)])
        self.assertEqual(story.call.snapshot()["floor"], "listening")
        self.assertEqual(story.call.snapshot()["barge_ins"], 1)

    def test_it_works_when_only_our_queue_still_speaks(self) -> None:
        _, service, leg = self.tell(Story().waiting())
        service.reply("reply", 3.0)
        leg.heard_ms = 20
        service.events.caller_started()
        self.assertEqual(service.of("interrupt"), [("reply", 20)])
        self.assertEqual(service.count("cancel"), 0)

    def test_two_queued_items_are_cut_each_by_itself(self) -> None:
        _, service, leg = self.tell(Story().waiting())
        service.reply("first", 1.0)
        service.reply("second", 1.0)
        leg.heard_ms = 400
        service.events.caller_started()
        self.assertEqual(service.of("interrupt"), [("first", 400), ("second", 0)])

    def test_all_that_was_played_out_is_not_interrupted(self) -> None:
        _, service, leg = self.tell(Story().greeted())
        service.events.caller_started()
        self.assertEqual((leg.count("flush"), service.count("interrupt")), (0, 0))

    def test_the_next_reply_sounds_again(self) -> None:
        story, service, leg = self.tell(Story().speaking(3.0))
        story.caller_speaks()
        service.reply("next")
        self.assertEqual(leg.items[-1], "next")
        leg.play_out()
        self.assertEqual(story.call.snapshot()["floor"], "listening")

    def test_a_greeting_that_was_interrupted_is_not_given_again(self) -> None:
        story, service, _leg = self.tell(Story(greeting="Hello.").talking())
        service.speak("greeting", 3.0)
        service.events.caller_started()
        service.events.lost(Loss("dropped", final=False))
        story.clock.advance(0.0)
        story.service.events.ready()
        self.assertEqual(story.service.count("say"), 0)

    def test_a_key_is_a_barge_in_and_a_question(self) -> None:
        story, service, leg = self.tell(Story().speaking(3.0))
        leg.heard_ms = 500
        story.call.dtmf("5")
        told = [name for name, *_ in service.told][-4:]
        self.assertEqual(told, ["interrupt", "cancel", "add_text", "ask"])
        text = "The caller pressed the key 5 on the telephone."
        self.assertEqual(service.of("add_text"), [("user", text)])
        self.assertEqual(story.call.snapshot()["floor"], "waiting")


class SilenceTests(TalkCase):
    def test_no_reply_is_asked_for_once_more_and_then_costs_an_apology(self) -> None:
        story, service, leg = self.tell(Story(reply_within=8.0).waiting())
        with capturedLogs() as events:
            story.clock.advance(7.9)
            self.assertEqual(service.count("ask"), 1)
            story.clock.advance(0.2)
            self.assertEqual(service.count("ask"), 2)
            story.clock.advance(7.7)
            self.assertNotIn(APOLOGY, leg.items)
            story.clock.advance(0.4)
        self.assertEqual(leg.items[-1], APOLOGY)
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "call call-1: no reply from the service within 8 s; asking once more",
                "call call-1: giving the call back to Asterisk with an apology: the "
                "voice service does not reply",
            ],
        )

    def test_a_reply_after_the_second_question_is_a_reply(self) -> None:
        story, service, leg = self.tell(Story(reply_within=8.0).waiting())
        story.clock.advance(8.1)
        service.reply("reply")
        leg.play_out()
        story.clock.advance(50.0)
        self.assertIs(story.call.state, State.TALKING)
        story.caller_speaks()
        story.clock.advance(8.1)
        self.assertIs(story.call.state, State.TALKING)
        self.assertEqual(service.count("ask"), 3)

    def test_a_greeting_that_does_not_come_is_watched_for(self) -> None:
        story, _service, leg = self.tell(Story(reply_within=8.0).talking())
        story.clock.pump([8.1, 8.1])
        self.assertEqual(leg.items, [APOLOGY])

    def test_a_reply_without_sound_is_none(self) -> None:
        story, service, leg = self.tell(Story(reply_within=8.0).waiting())
        for _ in range(2):
            service.events.transcript("assistant", "In writing.", "text")
            service.events.reply_ended(0, "")
            story.clock.advance(8.1)
        self.assertEqual(leg.items[-1], APOLOGY)

    def test_a_reply_that_stops_in_the_middle_costs_the_conversation(self) -> None:
        story, service, leg = self.tell(Story(reply_within=8.0).speaking(5.0))
        story.clock.advance(12.9)
        self.assertTrue(service.is_open)
        story.clock.advance(0.2)
        self.assertFalse(service.is_open)
        self.assertIn(("end_of_item", "reply"), leg.told)
        story.clock.advance(0.0)
        story.service.events.ready()
        self.assertEqual(story.service.count("ask"), 1)

    def test_a_service_that_stops_in_every_reply_costs_an_apology(self) -> None:
        story = Story(reply_within=4.0).waiting()
        for number in range(9):
            story.service.events.ready()
            story.service.speak(f"reply {number}", 0.5)
            story.leg.play_out()
            story.clock.pump([1.0] * 8)
        self.assertIn(APOLOGY, story.leg.items)
        self.assertEqual(len(story.provider.conversations), 5)

    def test_a_long_reply_is_not_taken_for_a_stall(self) -> None:
        story, service, leg = self.tell(Story(reply_within=4.0).waiting())
        service.reply("reply", 60.0)
        story.clock.pump([1.0] * 60)
        leg.play_out()
        story.clock.advance(50.0)
        self.assertIs(story.call.state, State.TALKING)
        self.assertTrue(service.is_open)

    def test_a_silent_caller_is_asked_and_then_the_call_ends(self) -> None:
        story, service, leg = self.tell(Story(silence=60.0).greeted())
        story.clock.advance(59.9)
        self.assertEqual(service.count("ask"), 1)
        story.clock.advance(0.2)
        self.assertEqual(service.count("ask"), 2)
        service.reply("are you there")
        leg.play_out()
        story.clock.advance(59.9)
        self.assertEqual(leg.items[-1], "are you there")
        story.clock.advance(0.2)
        self.assertEqual(leg.items[-1], "prompt goodbye")
        leg.play_out()
        self.assertIs(story.call.state, State.ENDED)
        self.assertEqual(story.call.reason, "nobody was speaking")

    def test_a_caller_who_answers_may_be_silent_again(self) -> None:
        story, service, leg = self.tell(Story(silence=60.0).greeted())
        for number in range(3):
            story.clock.advance(60.1)
            service.reply(f"are you there {number}")
            leg.play_out()
            story.caller_speaks()
            service.reply(f"reply {number}")
            leg.play_out()
        self.assertIs(story.call.state, State.TALKING)

    def test_a_service_that_hears_nothing_any_more_is_found_out(self) -> None:
        story, _, leg = self.tell(Story(silence=60.0, reply_within=8.0).greeted())
        story.clock.pump([60.1, 8.1, 8.1])
        self.assertEqual(leg.items[-1], APOLOGY)

    def test_a_caller_who_seems_to_speak_for_ever_is_asked(self) -> None:
        story, service, _ = self.tell(Story(silence=60.0).greeted())
        service.events.caller_started()
        story.clock.advance(60.1)
        self.assertEqual(service.count("ask"), 2)

    def test_silence_is_noticed_by_the_next_conversation_too(self) -> None:
        story = Story(silence=60.0).greeted()
        story.service.events.lost(Loss("dropped", final=False))
        story.clock.advance(0.0)
        story.service.events.ready()
        story.clock.advance(60.1)
        self.assertEqual(story.service.count("ask"), 1)

    def test_a_leg_that_takes_no_more_stops_the_reply_and_is_logged_once(self) -> None:
        story, service, leg = self.tell(Story().waiting())
        leg.full = True
        with capturedLogs() as events:
            service.speak("reply")
            service.speak("reply")
        self.assertEqual(service.count("cancel"), 2)
        self.assertEqual(len(events), 1)
        service.events.reply_ended(1, "")
        leg.full = False
        service.reply("next")
        leg.play_out()
        self.assertEqual(story.call.snapshot()["floor"], "listening")

    def test_audio_without_length_is_no_reply(self) -> None:
        story, service, leg = self.tell(Story(reply_within=8.0).waiting())
        service.speak("reply", 0.0)
        story.clock.advance(8.1)
        self.assertEqual(service.count("ask"), 2)
        self.assertNotIn("reply", leg.items)


class ToolTests(TalkCase):
    def test_while_a_tool_runs_the_watchdog_sleeps(self) -> None:
        story, service, _leg = self.tell(Story(reply_within=4.0).waiting())
        service.events.tool_called("t1", "look_up", {})
        service.events.reply_ended(1, "")
        story.clock.advance(9.0)
        self.assertEqual(service.count("ask"), 1)
        story.tool.answer.callback("42")
        self.assertEqual(service.of("tool_result"), [("t1", "42")])
        story.clock.advance(4.1)
        self.assertEqual(service.count("ask"), 2)

    def test_a_result_that_comes_while_the_agent_speaks_is_watched_too(self) -> None:
        story, service, leg = self.tell(Story(reply_within=4.0).waiting())
        service.speak("let me see", 1.0)
        service.events.agent_done("let me see")
        service.events.tool_called("t1", "look_up", {})
        story.tool.answer.callback("42")
        service.events.reply_ended(2, "")
        leg.play_out()
        self.assertEqual(story.call.snapshot()["floor"], "waiting")
        story.clock.advance(5.1)
        self.assertEqual(service.count("ask"), 2)

    def test_the_reply_to_a_result_while_the_agent_speaks_ends_the_watch(self) -> None:
        story, service, leg = self.tell(Story(reply_within=4.0).waiting())
        service.speak("let me see", 1.0)
        service.events.agent_done("let me see")
        service.events.tool_called("t1", "look_up", {})
        story.tool.answer.callback("42")
        service.events.reply_ended(2, "")
        service.reply("it is 42", 1.0)
        leg.play_out()
        story.clock.advance(50.0)
        self.assertEqual(service.count("ask"), 1)
        self.assertIs(story.call.state, State.TALKING)

    def test_a_result_for_a_conversation_that_was_replaced_is_told_to_the_new_one(
        self,
    ) -> None:
        story, service, _ = self.tell(Story().waiting())
        service.events.tool_called("t1", "look_up", {})
        service.events.reply_ended(1, "")
        service.events.lost(Loss("dropped", final=False))
        story.clock.advance(0.0)
        story.service.events.ready()
        story.tool.answer.callback("42")
        self.assertEqual(service.count("tool_result"), 0)
        self.assertEqual(story.service.count("tool_result"), 0)
        text = "The result of look_up, asked for before: 42"
        self.assertEqual(story.service.of("add_text"), [("system", text)])
        self.assertEqual(story.service.told[-1], ("ask",))

    def test_a_result_between_two_conversations_waits_for_the_new_one(self) -> None:
        story, service, _ = self.tell(Story().waiting())
        service.events.tool_called("t1", "look_up", {})
        service.events.reply_ended(1, "")
        service.events.lost(Loss("dropped", final=False))
        story.clock.advance(0.0)
        story.tool.answer.callback("42")
        story.service.events.ready()
        self.assertEqual(story.service.count("add_text"), 1)
        self.assertEqual(story.service.count("ask"), 1)

    def test_a_tool_that_was_begun_may_end_after_the_call_but_not_run_for_ever(
        self,
    ) -> None:
        story, service, leg = self.tell(Story().waiting())
        service.events.tool_called("t1", "look_up", {})
        leg.drop()
        self.assertEqual(len(story.clock.getDelayedCalls()), 1)
        story.clock.advance(TOOL_WITHIN)
        self.assertEqual(story.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.flushLoggedErrors(TimeoutError)), 1)

    def test_a_result_after_the_call_is_nobodys(self) -> None:
        story, service, leg = self.tell(Story().waiting())
        service.events.tool_called("t1", "look_up", {})
        leg.drop()
        story.tool.answer.callback("42")
        self.assertEqual(service.count("tool_result"), 0)
        self.assertEqual(story.clock.getDelayedCalls(), [])


class LossTests(TalkCase):
    def lose(self, story: Story) -> FakeConversation:
        """The conversation is lost, and another one is ready."""
        story.service.events.lost(Loss("dropped", final=False))
        story.clock.advance(0.0)
        story.call.caller_audio(bytes(320))
        story.service.events.ready()
        return story.service

    def test_lost_before_the_greeting_sounds_it_is_given_by_the_next(self) -> None:
        story = Story(greeting="Hello.").talking()
        self.assertEqual(self.lose(story).of("say"), [("Hello.",)])

    def test_lost_within_the_greeting_it_is_given_anew(self) -> None:
        story = Story(greeting="Hello.").talking()
        story.service.speak("greeting", 0.5)
        self.assertEqual(self.lose(story).of("say"), [("Hello.",)])

    def test_lost_after_the_greeting_while_nobody_speaks_nothing_is_said(self) -> None:
        service = self.lose(Story().greeted())
        self.assertEqual((service.count("ask"), service.count("say")), (0, 0))

    def test_lost_while_the_caller_waits_the_next_is_asked(self) -> None:
        self.assertEqual(self.lose(Story().waiting()).count("ask"), 1)

    def test_lost_in_mid_reply_what_came_is_heard_and_the_next_goes_on(self) -> None:
        story = Story().speaking(2.0)
        service = self.lose(story)
        self.assertEqual(story.leg.count("flush"), 0)
        self.assertIn(("end_of_item", "reply"), story.leg.told)
        self.assertEqual(service.count("ask"), 1)
        service.reply("the rest")
        story.leg.play_out()
        story.clock.advance(50.0)
        self.assertEqual(story.call.snapshot()["floor"], "listening")
        self.assertEqual(service.count("ask"), 1)

    def test_it_goes_on_even_when_the_second_attempt_was_lost_too(self) -> None:
        story = Story().speaking(2.0)
        story.service.events.lost(Loss("dropped", final=False))
        story.clock.advance(0.0)
        service = self._lose_slowly(story)
        self.assertEqual(service.count("ask"), 1)

    def _lose_slowly(self, story: Story) -> FakeConversation:
        story.service.events.lost(Loss("refused", final=False))
        story.clock.advance(1.0)
        story.service.events.ready()
        return story.service

    def test_lost_while_the_caller_speaks_the_next_asks_unless_it_hears_them(
        self,
    ) -> None:
        story = Story(reply_within=8.0).greeted()
        story.service.events.caller_started()
        service = self.lose(story)
        self.assertEqual(service.count("ask"), 0)
        story.clock.advance(8.1)
        self.assertEqual(service.count("ask"), 1)

    def test_lost_while_the_caller_speaks_and_heard_by_the_next_nobody_asks(
        self,
    ) -> None:
        story = Story(reply_within=8.0).greeted()
        story.service.events.caller_started()
        service = self.lose(story)
        service.events.caller_started()
        story.clock.advance(20.0)
        self.assertEqual(service.count("ask"), 0)

    def test_keys_pressed_meanwhile_are_told_to_the_next_with_one_reply_each(
        self,
    ) -> None:
        story = Story().greeted()
        story.service.events.lost(Loss("dropped", final=False))
        story.call.dtmf("1")
        story.clock.advance(0.0)
        story.call.dtmf("2")
        story.service.events.ready()
        keys = [text.split()[5] for _, text in story.service.of("add_text")]
        self.assertEqual(keys, ["1", "2"])
        self.assertEqual(story.call.snapshot()["floor"], "waiting")

    def test_the_moment_is_asked_for_only_when_nothing_sounds(self) -> None:
        story = Story(patience=1.5).speaking(2.0)
        story.service.events.lost(Loss("dropped", final=False))
        story.clock.pump([1.0, 0.6])
        self.assertNotIn("prompt moment", story.leg.items)
        story.leg.play_out()
        story.clock.advance(1.6)
        self.assertIn("prompt moment", story.leg.items)

    def test_the_next_is_told_what_was_said_with_cut_items_shortened(self) -> None:
        story = Story(greeting="Hello.").talking()
        service = story.service
        service.events.transcript("assistant", "Hello.", "greeting")
        service.reply("greeting", 1.0)
        story.leg.play_out()
        story.caller_speaks()
        service.events.transcript("user", "Tell me a story.", "u1")
        service.speak("story", 10.0)
        service.events.transcript("assistant", "0123456789", "story")
        story.call.sounding("story")
        story.leg.heard_ms = 4000
        story.caller_speaks()
        service.events.transcript("user", "Stop!", "u2")
        story.call.dtmf("9")
        self.assertEqual(
            self.lose(story).brief.history,
            (
                Said("assistant", "Hello."),
                Said("user", "Tell me a story."),
                Said("assistant", "0123…"),
                Said("user", "Stop!"),
                Said("user", "The caller pressed the key 9 on the telephone."),
            ),
        )

    def test_a_session_renewed_at_a_pause_is_not_noticed(self) -> None:
        story = Story(silence=9999.0)
        story.provider.expires_in = 600.0
        story.greeted()
        old, played = story.service, story.leg.items
        story.clock.advance(480.1)
        self.assertFalse(old.is_open)
        story.call.caller_audio(bytes(320))
        story.service.events.ready()
        self.assertEqual(
            story.service.told, [("begin", 8000, 8000), ("send_audio", bytes(320))]
        )
        self.assertEqual(story.leg.items, played)

    def test_a_session_renewed_in_mid_reply_goes_on_with_it(self) -> None:
        story = Story()
        story.provider.expires_in = 600.0
        story.waiting()
        story.service.expires_in = 100.0
        story.clock.advance(1.0)
        story.service.speak("reply", 600.0)
        story.clock.advance(480.0)
        old = story.service
        old.expires_in = 4.0
        story.clock.advance(0.3)
        self.assertFalse(old.is_open)
        story.service.events.ready()
        self.assertIn(("end_of_item", "reply"), story.leg.told)
        self.assertEqual(story.service.count("ask"), 1)


class TurnLineTests(TalkCase):
    def test_a_turn_is_one_line_from_the_end_of_speech_to_the_first_frame(self) -> None:
        story, service, _ = self.tell(Story().waiting())
        with capturedLogs() as events:
            story.clock.advance(0.25)
            service.speak("reply", 0.1)
            story.clock.advance(0.0625)
            service.speak("reply", 0.1)
            story.call.sounding("reply")
        (event,) = events
        self.assertEqual(
            formatEvent(event),
            "call call-1: turn 1: 250 ms from the end of the caller's speech to the "
            "first audio, 312 ms to the first frame",
        )
        self.assertEqual((event["came"], event["sounded"]), (250, 312))

    def test_a_tool_is_part_of_what_the_caller_waits_for(self) -> None:
        story, service, _ = self.tell(Story().waiting())
        service.events.tool_called("t1", "look_up", {})
        story.clock.advance(2.0)
        story.tool.answer.callback("42")
        service.events.reply_ended(1, "")
        story.clock.advance(0.5)
        service.speak("reply")
        story.call.sounding("reply")
        self.assertEqual(story.call.snapshot()["last_latency_ms"], 2500)

    def test_the_greeting_is_no_turn(self) -> None:
        self.assertEqual(Story().greeted().call.snapshot()["turns"], 0)

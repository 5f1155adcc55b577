"""Turns as they are lived: barge-in, tools, and nobody left in silence."""

from __future__ import annotations

from typing import Any

import numpy as np
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from portero.callstate import State
from portero.cues import CHECK_IN, END_IS_NEAR
from portero.interfaces import Loss, Said
from portero.manners import HELD_AT_MOST
from tests.fake_call import TOOL_WITHIN, FakeConversation, FakeLeg, Story

APOLOGY = "prompt apology"
STILL_THERE = "prompt still_there"
ASK = ("ask",)
LOUD = (4000 * np.sin(np.arange(160) * 0.7)).astype("<i2").tobytes()
QUIET = (8 * np.sin(np.arange(160) * 0.7)).astype("<i2").tobytes()
"""20 ms each."""


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
        story.clock.advance(2.0)
        told = [name for name, *_ in service.told][-4:]
        self.assertEqual(told, ["interrupt", "cancel", "add_text", "ask"])
        text = "The caller typed 5 on the telephone."
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
            [
                formatEvent(event)
                for event in events
                if event["log_level"] is not LogLevel.debug
            ],
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
        for number in (2, 3):
            story.clock.advance(0.2)
            self.assertEqual(service.count("ask"), number)
            hint = CHECK_IN.format(seconds=60.0)
            self.assertEqual(service.told[-2:], [("add_text", "system", hint), ASK])
            service.reply(f"are you there {number}")
            leg.play_out()
            story.clock.advance(59.9)
            self.assertEqual(service.count("ask"), number)
            self.assertEqual(leg.items[-1], f"are you there {number}")
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

    def test_a_second_question_is_our_own_if_the_service_asks_none(self) -> None:
        story, service, leg = self.tell(Story(silence=60.0, reply_within=8.0).greeted())
        story.clock.advance(60.1)
        self.assertNotIn(STILL_THERE, leg.items)
        story.clock.advance(8.1)
        self.assertEqual(leg.items[-1], STILL_THERE)
        self.assertEqual(service.count("ask"), 3)

    def test_no_reply_to_a_caller_is_no_reason_to_ask_whether_they_are_there(
        self,
    ) -> None:
        story, service, leg = self.tell(Story(silence=60.0, reply_within=8.0).greeted())
        story.clock.advance(60.1)
        story.caller_speaks()
        story.clock.advance(8.1)
        self.assertEqual(service.count("ask"), 3)
        self.assertNotIn(STILL_THERE, leg.items)

    def test_what_we_play_is_no_silence(self) -> None:
        story, service, leg = self.tell(Story(silence=60.0).greeted())
        story.call.control.play("a sound", 8000, bytes(16000))
        story.clock.pump([1.0] * 90)
        self.assertEqual(service.count("ask"), 1)
        leg.play_out()
        story.clock.advance(59.9)
        self.assertEqual(service.count("ask"), 1)
        story.clock.pump([0.6, 0.6])
        self.assertEqual(service.count("ask"), 2)

    def test_a_tool_that_runs_is_no_silence(self) -> None:
        story, service, _ = self.tell(Story(silence=5.0, filler="none").waiting())
        service.events.tool_called("t1", "look_up", {})
        service.events.reply_ended(1, "")
        story.clock.pump([1.0] * 9)
        self.assertEqual(service.count("ask"), 1)

    def test_a_service_that_asks_by_itself_is_not_doubled(self) -> None:
        story, service, leg = self.tell(Story(silence=60.0).greeted())
        for number in range(2):
            story.clock.advance(8.0)
            service.events.caller_idle()
            self.assertEqual(story.call.snapshot()["floor"], "waiting")
            service.reply(f"are you there {number}")
            leg.play_out()
        self.assertEqual(service.count("ask"), 1)
        story.clock.advance(8.0)
        service.events.caller_idle()
        self.assertEqual(leg.items[-1], "prompt goodbye")
        self.assertEqual(story.call.reason, "nobody was speaking")

    def test_both_ways_of_asking_are_counted_together(self) -> None:
        story, service, leg = self.tell(Story(silence=60.0).greeted())
        story.clock.advance(60.1)
        service.reply("are you there")
        leg.play_out()
        service.events.caller_idle()
        service.reply("hello")
        leg.play_out()
        story.clock.advance(60.1)
        self.assertEqual(leg.items[-1], "prompt goodbye")

    def test_a_key_is_a_sign_of_life(self) -> None:
        story, service, leg = self.tell(Story(silence=60.0).greeted())
        for number in range(5):
            story.clock.advance(60.1)
            service.reply(f"are you there {number}")
            leg.play_out()
            story.call.dtmf("5")
            story.clock.advance(3.0)
            service.reply(f"reply {number}")
            leg.play_out()
        self.assertIs(story.call.state, State.TALKING)


class WrittenTests(TalkCase):
    """A reply that comes in writing only."""

    def test_it_is_asked_for_as_speech(self) -> None:
        story, service, leg = self.tell(Story().waiting())
        with capturedLogs() as events:
            service.events.reply_ended(0, "", "We are closed.")
        self.assertEqual(service.of("say"), [("We are closed.",)])
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "call call-1: a reply came in writing only; asking for it as speech",
            ],
        )
        service.reply("spoken")
        leg.play_out()
        self.assertEqual(story.call.snapshot()["floor"], "listening")
        self.assertNotIn(APOLOGY, leg.items)

    def test_again_in_writing_it_costs_an_apology_at_once(self) -> None:
        story, service, leg = self.tell(Story().waiting())
        service.events.reply_ended(0, "", "We are closed.")
        service.events.reply_ended(0, "", "We are closed.")
        self.assertEqual(leg.items[-1], APOLOGY)
        self.assertIs(story.call.state, State.DRAINING)
        self.assertEqual(service.count("say"), 1)

    def test_each_turn_has_its_own_second_chance(self) -> None:
        story, service, leg = self.tell(Story().waiting())
        for number in range(3):
            service.events.reply_ended(0, "", "We are closed.")
            service.reply(f"spoken {number}")
            leg.play_out()
            story.caller_speaks()
        self.assertEqual(service.count("say"), 3)
        self.assertIs(story.call.state, State.TALKING)

    def test_one_that_the_caller_interrupted_is_not_wanted(self) -> None:
        _, service, _ = self.tell(Story().waiting())
        service.events.caller_started()
        service.events.reply_ended(0, "", "We are closed.")
        self.assertEqual(service.count("say"), 0)

    def test_a_farewell_in_writing_is_made_up_for(self) -> None:
        story, service, leg = self.tell(Story(farewell="Bye.", longest=60.0).greeted())
        story.clock.advance(60.1)
        for _ in range(2):
            service.events.reply_ended(0, "", "Bye.")
        self.assertEqual(service.of("say"), [("Bye.",), ("Bye.",)])
        self.assertEqual(leg.items[-1], "prompt goodbye")

    def test_a_greeting_in_writing_is_said_too(self) -> None:
        story, service, _ = self.tell(Story(greeting="Hello.").talking())
        service.events.reply_ended(0, "", "Hello.")
        self.assertEqual(service.count("say"), 2)
        self.assertIs(story.call.state, State.TALKING)


class LengthTests(TalkCase):
    def long(self, **settings: Any) -> Story:
        return Story(longest=600.0, warn_before_end=60.0, silence=999.0, **settings)

    def warnings(self, service: FakeConversation) -> list[tuple[object, ...]]:
        return [values for values in service.of("add_text") if values[0] == "system"]

    def test_the_caller_is_told_that_it_ends_soon(self) -> None:
        story, service, leg = self.tell(self.long().greeted())
        story.clock.advance(539.9)
        self.assertEqual(self.warnings(service), [])
        story.clock.advance(0.1)
        hint = END_IS_NEAR.format(seconds=60.0)
        self.assertEqual(service.told[-2:], [("add_text", "system", hint), ASK])
        service.reply("a minute more")
        leg.play_out()
        story.clock.advance(59.9)
        self.assertIs(story.call.state, State.TALKING)
        self.assertEqual(len(self.warnings(service)), 1)
        story.clock.advance(0.2)
        self.assertIs(story.call.state, State.DRAINING)

    def test_not_while_anybody_speaks_or_waits(self) -> None:
        story, service, leg = self.tell(self.long().greeted())
        story.clock.advance(535.0)
        service.events.caller_started()
        story.clock.pump([1.0] * 10)
        service.events.caller_stopped()
        story.clock.advance(1.0)
        service.reply("reply")
        story.clock.advance(1.0)
        self.assertEqual(self.warnings(service), [])
        leg.play_out()
        story.clock.advance(0.25)
        ((_, text),) = self.warnings(service)
        self.assertEqual(text, END_IS_NEAR.format(seconds=52.75))

    def test_a_call_that_ends_is_not_told(self) -> None:
        story, service, _ = self.tell(self.long().greeted())
        story.clock.advance(539.0)
        story.call.control.end_after_speech("the agent hung up")
        story.clock.advance(10.0)
        self.assertEqual(self.warnings(service), [])

    def test_it_leaves_no_timer(self) -> None:
        for seconds in (0.0, 541.0):
            story = self.long().greeted()
            service = story.service
            service.events.caller_started()
            story.clock.advance(seconds)
            story.leg.drop()
            self.assertEqual(story.clock.getDelayedCalls(), [])


class PoliteTests(TalkCase):
    """The floor is the caller's only when they mean it."""

    def polite(self, **settings: Any) -> Story:
        return Story(interruption="polite", barge_in=0.4, **settings)

    def sound(self, story: Story, seconds: float, pcm: bytes = LOUD) -> None:
        for _ in range(round(seconds / 0.02)):
            story.call.caller_audio(pcm)
            story.clock.advance(0.02)

    def cough(self, story: Story, item: str = "u1") -> None:
        self.sound(story, 0.1, QUIET)
        story.service.events.caller_started(item)
        self.sound(story, 0.14)
        self.sound(story, 0.5, QUIET)
        story.service.events.caller_stopped()

    def test_a_cough_lets_the_agent_go_on(self) -> None:
        story, service, leg = self.tell(self.polite().speaking(5.0))
        self.cough(story)
        told = [name for name, *_ in leg.told if name in ("pause", "resume", "flush")]
        self.assertEqual(told, ["pause", "resume"])
        self.assertEqual((service.count("interrupt"), service.count("cancel")), (0, 1))
        self.assertEqual(story.call.snapshot()["floor"], "speaking")
        self.assertEqual(story.call.snapshot()["false_alarms"], 1)
        self.assertEqual(story.call.snapshot()["barge_ins"], 0)

    def test_words_cut_at_once(self) -> None:
        story, service, leg = self.tell(self.polite().speaking(5.0))
        leg.heard_ms = 700
        service.events.caller_started("u1")
        service.events.caller_words("uh, wai", "u1")
        self.assertEqual(service.count("interrupt"), 0)
        service.events.caller_words("t a", "u1")
        self.assertEqual(service.of("interrupt"), [("reply", 700)])
        service.events.caller_stopped()
        self.assertEqual(service.told[-1], ASK)
        self.assertEqual(story.call.snapshot()["barge_ins"], 1)

    def test_words_of_what_seemed_to_be_a_cough_cut_too(self) -> None:
        story, service, leg = self.tell(self.polite().speaking(5.0))
        self.cough(story)
        leg.heard_ms = 900
        service.events.transcript("user", "Stop!", "u1")
        self.assertEqual(service.of("interrupt"), [("reply", 900)])
        self.assertEqual(service.told[-1], ASK)
        found = story.call.snapshot()
        self.assertEqual((found["barge_ins"], found["false_alarms"]), (1, 0))
        self.assertEqual(found["floor"], "waiting")

    def test_words_that_come_twice_are_answered_once(self) -> None:
        story, service, _ = self.tell(self.polite().speaking(5.0))
        self.cough(story)
        service.events.caller_words("Stop it ", "u1")
        asked = service.count("ask")
        service.reply("I stop")
        service.events.transcript("user", "Stop it", "u1")
        self.assertEqual(service.count("ask"), asked)
        self.assertEqual(story.call.snapshot()["barge_ins"], 1)
        self.assertEqual(story.call.snapshot()["false_alarms"], 0)

    def test_words_after_a_cough_do_not_undo_the_cough(self) -> None:
        story, service, _ = self.tell(self.polite().speaking(9.0))
        self.cough(story)
        service.events.caller_started("u2")
        service.events.caller_words("No, wait ", "u2")
        found = story.call.snapshot()
        self.assertEqual((found["barge_ins"], found["false_alarms"]), (1, 1))

    def test_a_key_ends_a_pause_in_which_the_last_word_was_heard(self) -> None:
        story, service, leg = self.tell(self.polite().speaking(1.0))
        service.events.agent_done("reply")
        leg.play_out()
        service.events.caller_started("u1")
        service.events.reply_ended(1, "")
        self.assertEqual(story.call.snapshot()["floor"], "listening")
        story.call.dtmf("5")
        self.assertEqual((leg.count("pause"), leg.count("resume")), (1, 1))

    def test_a_key_stops_a_reply_once_in_each_manner(self) -> None:
        for interruption in ("instant", "polite", "off"):
            story = Story(interruption=interruption).speaking(9.0)
            before = story.service.count("cancel")
            story.call.dtmf("5")
            self.assertEqual(story.service.count("cancel"), before + 1, interruption)

    def test_murmurs_do_not(self) -> None:
        story, service, _ = self.tell(self.polite().speaking(5.0))
        self.cough(story)
        service.events.transcript("user", "Uh-huh.", "u1")
        self.assertEqual(service.count("interrupt"), 0)

    def test_words_of_the_turn_before_do_not(self) -> None:
        story, service, _ = self.tell(self.polite().greeted())
        service.events.caller_started("u1")
        service.events.caller_stopped()
        service.speak("reply", 5.0)
        service.events.transcript("user", "What do you offer?", "u1")
        self.cough(story, "u2")
        service.events.transcript("user", "What do you offer?", "u1")
        self.assertEqual(service.count("interrupt"), 0)

    def test_words_that_are_known_after_the_reply_are_answered(self) -> None:
        story, service, leg = self.tell(self.polite().waiting())
        service.reply("reply", 3.0)
        self.cough(story)
        leg.play_out()
        self.assertEqual(story.call.snapshot()["floor"], "listening")
        asked = service.count("ask")
        service.events.transcript("user", "Yes.", "u1")
        self.assertEqual(service.count("ask"), asked + 1)
        self.assertEqual(story.call.snapshot()["floor"], "waiting")

    def test_a_short_word_at_the_very_end_is_an_answer(self) -> None:
        story, service, leg = self.tell(self.polite().waiting())
        service.reply("is that right", 1.2)
        self.sound(story, 0.6, QUIET)
        asked = service.count("ask")
        self.cough(story)
        self.assertEqual(service.count("ask"), asked + 1)
        self.assertEqual(service.count("interrupt"), 0)
        leg.play_out()
        self.assertEqual(story.call.snapshot()["floor"], "waiting")
        self.assertEqual(story.call.snapshot()["false_alarms"], 0)

    def test_speech_before_the_reply_sounds_is_part_of_the_turn(self) -> None:
        story, service, leg = self.tell(self.polite().greeted())
        service.events.caller_started("u1")
        service.events.caller_stopped()
        service.events.caller_started("u2")
        self.assertEqual(service.told[-1], ("cancel",))
        self.assertEqual(leg.count("pause"), 0)
        asked = service.count("ask")
        service.events.caller_stopped()
        self.assertEqual(service.count("ask"), asked + 1)
        self.assertEqual(story.call.snapshot()["false_alarms"], 0)

    def test_a_key_cuts(self) -> None:
        story, service, leg = self.tell(self.polite().speaking(5.0))
        leg.heard_ms = 500
        story.call.dtmf("5")
        self.assertEqual(service.of("interrupt"), [("reply", 500)])
        self.assertEqual(leg.count("pause"), 0)

    def test_a_pause_is_no_stall_and_does_not_shorten_the_watch(self) -> None:
        story, service, leg = self.tell(self.polite(reply_within=0.5).speaking(2.0))
        service.events.caller_started("u1")
        self.sound(story, 4.0, bytes(320))
        self.assertTrue(service.is_open)
        service.events.caller_stopped()
        self.sound(story, 2.3, bytes(320))
        self.assertTrue(service.is_open)
        self.sound(story, 0.4, bytes(320))
        self.assertFalse(service.is_open)
        self.assertEqual(leg.count("resume"), 1)

    def test_a_lost_event_does_not_silence_the_agent_for_ever(self) -> None:
        story, service, leg = self.tell(self.polite().speaking(30.0))
        service.events.caller_started("u1")
        self.sound(story, HELD_AT_MOST - 0.1, bytes(320))
        self.assertEqual(leg.count("resume"), 0)
        self.sound(story, 0.2, bytes(320))
        self.assertEqual(leg.count("resume"), 1)
        self.assertEqual(story.call.snapshot()["floor"], "speaking")
        # Whoever speaks later in what the service takes for one turn interrupts.
        self.sound(story, 0.5)
        self.assertEqual(service.count("interrupt"), 1)

    def test_what_is_paused_when_the_call_ends_is_still_heard(self) -> None:
        for end in ("hang up", "too long", "lost"):
            story = self.polite(longest=60.0, farewell="Bye.").speaking(80.0)
            story.clock.advance(58.9)
            story.service.events.caller_started("u1")
            self.assertEqual(story.leg.count("resume"), 0)
            if end == "hang up":
                story.call.control.end_after_speech("the agent hung up")
            elif end == "lost":
                story.service.events.lost(Loss("dropped", final=False))
            else:
                story.clock.advance(0.2)
            self.assertEqual(story.leg.count("resume"), 1, end)

    def test_a_greeting_with_a_cough_in_it_is_given_anew_when_it_was_lost(self) -> None:
        story = self.polite(greeting="Hello.").talking()
        story.service.speak("greeting", 5.0)
        self.cough(story)
        story.service.events.lost(Loss("dropped", final=False))
        story.clock.advance(0.0)
        story.service.events.ready()
        self.assertEqual(story.service.of("say"), [("Hello.",)])

    def test_off_no_voice_interrupts_and_each_is_answered(self) -> None:
        story, service, leg = self.tell(Story(interruption="off").speaking(5.0))
        asked = service.count("ask")
        self.cough(story)
        service.events.transcript("user", "Stop!", "u1")
        self.sound(story, 1.0)
        self.assertEqual((leg.count("pause"), leg.count("flush")), (0, 0))
        self.assertEqual(service.count("ask"), asked + 1)
        service.events.agent_done("reply")
        service.events.reply_ended(1, "")
        leg.play_out()
        self.assertEqual(story.call.snapshot()["floor"], "waiting")


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

    def test_keys_typed_meanwhile_are_told_to_the_next_with_one_reply_each(
        self,
    ) -> None:
        story = Story().greeted()
        story.service.events.lost(Loss("dropped", final=False))
        story.call.dtmf("1")
        story.clock.advance(2.0)
        story.call.dtmf("2")
        story.clock.advance(2.0)
        story.service.events.ready()
        keys = [text.split()[3] for _, text in story.service.of("add_text")]
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
        story.clock.advance(2.0)
        self.assertEqual(
            self.lose(story).brief.history,
            (
                Said("assistant", "Hello."),
                Said("user", "Tell me a story."),
                Said("assistant", "0123…"),
                Said("user", "Stop!"),
                Said("user", "The caller typed 9 on the telephone."),
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

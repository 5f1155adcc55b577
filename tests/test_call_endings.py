"""How calls end when portero ends them, and where the caller goes then."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from twisted.internet.defer import TimeoutError

from portero.call import Call
from portero.callstate import State
from portero.departure import REDIRECT_WITHIN
from portero.facts import Facts
from portero.interfaces import Loss
from portero.record import Outcome, Record
from portero.tool_sections import TargetSettings
from portero.tools._handover import Handover
from portero.tools.cancel_transfer import Tool as CancelTransfer
from portero.tools.transfer import Tool as Transfer
from tests.fake_call import Broken, FakePbx, Story
from tests.test_call import APOLOGY, DROPPED, CallCase

GOODBYE = "prompt goodbye"
SALES = "house,100,1"
DESK = "house,1,1"
CHANNEL = Facts(channel="PJSIP/100-00000001")


def record(story: Story) -> Record:
    found = story.call.record
    assert found is not None
    return found


class FarewellTests(CallCase):
    def late(self, **given: Any) -> Story:
        """Its time is up while nobody speaks."""
        story = Story(farewell="Bye bye.", longest=60.0, reply_within=4.0, **given)
        story.greeted().clock.advance(60.1)
        return story

    def test_the_agent_says_it_when_time_is_up(self) -> None:
        story = self.late()
        self.assertEqual(story.service.of("say"), [("Bye bye.",)])
        self.assertTrue(story.service.is_open)
        with self.ends(story):
            story.service.reply("farewell", 2.0)
            self.assertIs(story.call.state, State.DRAINING)
            story.leg.play_out()
        self.assertNotIn(GOODBYE, story.leg.items)
        self.assertIs(record(story).outcome, Outcome.WELL)
        self.assertEqual(record(story).reason, "the longest time for a call is over")

    def test_the_agent_says_it_when_nobody_speaks_any_more(self) -> None:
        story = Story(farewell="Bye bye.", silence=10.0).greeted()
        for _ in range(2):
            story.clock.advance(10.1)
            story.service.reply("hello?", 0.5)
            story.leg.play_out()
        story.clock.advance(10.6)
        self.assertEqual(story.service.of("say"), [("Bye bye.",)])
        with self.ends(story):
            story.service.reply("farewell", 1.0)
            story.leg.play_out()
        self.assertEqual(record(story).reason, "nobody was speaking")

    def test_it_comes_after_what_can_be_heard_and_instead_of_the_rest(self) -> None:
        story = Story(farewell="Bye bye.", longest=60.0).speaking(80.0)
        story.clock.advance(60.0)
        told = [name for name, *_ in story.service.told]
        self.assertEqual(told[-2:], ["cancel", "say"])
        self.assertEqual(story.leg.count("flush"), 0)
        story.service.events.agent_done("reply")
        story.service.events.reply_ended(1, "")
        story.leg.play_out()
        self.assertIs(story.call.state, State.DRAINING)
        with self.ends(story):
            story.service.reply("farewell")
            story.leg.play_out()
        self.assertEqual(story.leg.items[-2:], ["reply", "farewell"])

    def test_without_a_reply_to_it_a_prompt_is_played(self) -> None:
        story = self.late()
        story.clock.advance(3.8)
        self.assertNotIn(GOODBYE, story.leg.items)
        with self.ends(story) as lines:
            story.clock.advance(0.4)
            self.assertEqual(story.leg.items[-1], GOODBYE)
            self.assertFalse(story.service.is_open)
            story.leg.play_out()
        self.assertIn("ended well: the longest time", lines[-1])

    def test_so_it_is_when_a_reply_had_been_asked_for_twice(self) -> None:
        story = Story(farewell="Bye bye.", longest=60.0, reply_within=4.0).greeted()
        story.clock.advance(54.0)
        story.caller_speaks()
        story.clock.advance(4.1)
        self.assertEqual(story.service.count("ask"), 2)  # after the greeting
        with self.ends(story):
            story.clock.advance(1.0)
            self.assertEqual(story.service.of("say"), [("Bye bye.",)])
            story.clock.advance(4.1)
            self.assertEqual(story.leg.items[-1], GOODBYE)
            story.leg.play_out()

    def test_so_it_is_when_the_service_is_lost(self) -> None:
        for loss in (DROPPED, Loss("no credit", final=True)):
            story = self.late()
            with self.ends(story):
                story.service.events.lost(loss)
                self.assertEqual(story.leg.items[-1], GOODBYE)
                self.assertEqual(story.leg.count("hang_up"), 0)
                story.leg.play_out()
            self.assertIs(record(story).outcome, Outcome.WELL)

    def test_so_it_is_when_what_sounded_before_is_never_complete(self) -> None:
        story = Story(farewell="Bye bye.", longest=60.0, reply_within=4.0)
        story.speaking(60.0)
        with self.ends(story):
            story.clock.advance(59.1)
            self.assertEqual(story.service.count("say"), 1)
            story.clock.advance(5.0)
            self.assertEqual(story.leg.items[-2:], ["reply", GOODBYE])
            story.leg.play_out()

    def test_so_it_is_when_the_agent_calls_a_tool_instead(self) -> None:
        story = self.late()
        with self.ends(story):
            story.service.events.tool_called("t1", "look_up", {})
            story.service.events.reply_ended(1, "")
            story.clock.advance(4.1)
            self.assertEqual(story.leg.items[-1], GOODBYE)
            story.leg.play_out()
            story.tool.answer.callback("42")

    def test_a_caller_who_talks_over_it_does_not_stop_it(self) -> None:
        story = self.late()
        with self.ends(story):
            story.service.speak("farewell", 2.0)
            story.service.events.caller_started()
            story.call.dtmf("5")
            story.service.events.agent_done("farewell")
            story.service.events.reply_ended(1, "")
            story.leg.play_out()
        self.assertEqual(story.leg.count("flush"), 0)

    def test_it_is_no_part_of_a_call_that_the_agent_ends(self) -> None:
        story = Story(farewell="Bye bye.").draining()
        with self.ends(story):
            story.leg.play_out()
        self.assertEqual(story.service.count("say"), 0)

    def test_a_conversation_that_fails_at_it_costs_no_more_than_itself(self) -> None:
        story = Story(farewell="Bye bye.", longest=60.0).greeted()
        story.service.breaks.add("say")
        with self.ends(story):
            story.clock.advance(60.1)
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)


class TransferTests(CallCase):
    TARGETS: ClassVar = {"sales": TargetSettings(SALES)}

    def transfer(self) -> Transfer:
        return Transfer(Handover("transfer", self.TARGETS, datetime.now))

    def asked(self, **given: Any) -> Story:
        """The agent says where to, and calls the tool in the same reply."""
        story = Story(
            self.transfer(), CancelTransfer(), fallback=DESK, **given
        ).waiting()
        story.service.speak("one moment", 2.0)
        story.service.events.tool_called("t1", "transfer", {"target": "sales"})
        return story

    def finish(self, story: Story) -> None:
        story.service.events.agent_done("one moment")
        story.service.events.reply_ended(2, "")
        story.leg.play_out()

    def test_what_the_agent_says_is_heard_and_then_the_dialplan_goes_on(self) -> None:
        story = self.asked()
        story.clock.advance(1.9)
        self.assertEqual((story.leg.count("hang_up"), story.leg.count("flush")), (0, 0))
        with self.ends(story) as lines:
            self.finish(story)
        self.assertEqual(story.leg.count("hang_up"), 1)
        self.assertIs(record(story).outcome, Outcome.TRANSFERRED)
        self.assertEqual(record(story).next, SALES)
        self.assertEqual(record(story).reason, "transferred to sales")
        self.assertIn("ended well: transferred to sales", lines[-1])

    def test_a_caller_who_does_not_wait_goes_nowhere(self) -> None:
        story = self.asked()
        with self.ends(story):
            story.leg.drop()
        self.assertIs(record(story).outcome, Outcome.WELL)
        self.assertEqual(
            (record(story).next, record(story).reason), ("", "caller hung up")
        )

    def test_a_line_that_breaks_before_it_leads_to_the_fallback(self) -> None:
        story = self.asked()
        with self.ends(story):
            story.leg.drop("protocol error", in_order=False)
        self.assertIs(record(story).outcome, Outcome.FAILED)
        self.assertEqual(
            (record(story).next, record(story).reason), (DESK, "protocol error")
        )

    def test_a_service_lost_in_it_changes_nothing(self) -> None:
        story = self.asked()
        with self.ends(story):
            story.service.events.lost(Loss("no credit", final=True))
            story.leg.play_out()
        self.assertEqual(record(story).next, SALES)
        self.assertNotIn(GOODBYE, story.leg.items)

    def test_of_two_in_a_reply_the_first_counts(self) -> None:
        story = self.asked()
        story.call.control.transfer("evil,900,1", "transferred to evil")
        with self.ends(story):
            self.finish(story)
        self.assertEqual(record(story).next, SALES)
        self.assertEqual(record(story).reason, "transferred to sales")

    def test_who_was_promised_one_is_not_dropped_by_a_hang_up_beside_it(self) -> None:
        story = Story().waiting()
        story.service.speak("one moment", 2.0)
        story.call.control.end_after_speech("the agent hung up")
        story.call.control.transfer(SALES, "transferred to sales")
        with self.ends(story):
            self.finish(story)
        self.assertEqual(record(story).next, SALES)
        self.assertEqual(record(story).reason, "transferred to sales")

    def test_after_the_end_it_is_nobodys(self) -> None:
        story = Story().greeted()
        story.leg.drop()
        story.call.control.transfer(SALES, "transferred to sales")
        self.assertEqual(record(story).next, "")
        self.assertEqual(story.call.reason, "caller hung up")

    def test_between_two_conversations_it_is_done(self) -> None:
        story = Story().greeted()
        story.service.events.lost(DROPPED)
        with self.ends(story):
            story.call.control.transfer(SALES, "transferred to sales")
        self.assertEqual(record(story).next, SALES)


class FallbackTests(CallCase):
    def test_a_call_that_fails_goes_on_there(self) -> None:
        story = Story(fallback=DESK).greeted()
        with self.ends(story):
            story.service.events.lost(Loss("no credit", final=True))
            self.assertEqual(story.leg.items[-1], APOLOGY)
            story.leg.play_out()
        self.assertIs(record(story).outcome, Outcome.FAILED)
        self.assertEqual(
            (record(story).next, record(story).reason), (DESK, "no credit")
        )

    def test_so_does_one_that_portero_stops(self) -> None:
        story = Story(fallback=DESK)
        with self.ends(story):
            story.call.stop()
        self.assertEqual(record(story).next, DESK)
        self.assertEqual(record(story).reason, "portero is stopping")

    def test_a_call_that_ends_well_does_not(self) -> None:
        story = Story(fallback=DESK).draining()
        with self.ends(story):
            story.leg.play_out()
        self.assertIs(record(story).outcome, Outcome.WELL)
        self.assertEqual(record(story).next, "")

    def test_without_one_the_dialplan_knows(self) -> None:
        story = Story().greeted()
        with self.ends(story):
            story.leg.drop("protocol error", in_order=False)
        self.assertIs(record(story).outcome, Outcome.FAILED)
        self.assertEqual(record(story).next, "")


class RedirectTests(CallCase):
    """An Asterisk that does not go on in its dialplan fetches the caller."""

    def setUp(self) -> None:
        self.pbx = FakePbx()

    def transferring(self, **given: Any) -> Story:
        given = {"pbx": self.pbx, "facts": CHANNEL, "fallback": DESK, **given}
        story = Story(**given).draining()
        story.call.control.transfer(SALES, "transferred to sales")
        return story

    def test_the_caller_is_fetched_before_the_line_drops(self) -> None:
        story = self.transferring()
        self.assertEqual(self.pbx.told, [])
        with self.ends(story):
            story.leg.play_out()
            self.assertEqual(self.pbx.of("redirect"), [("PJSIP/100-00000001", SALES)])
            self.assertEqual(story.leg.count("hang_up"), 0)
            self.pbx.done.callback(True)
        self.assertEqual(story.leg.count("hang_up"), 1)
        self.assertIs(record(story).outcome, Outcome.TRANSFERRED)

    def test_in_any_case_it_drops(self) -> None:
        story = self.transferring()
        with self.ends(story):
            story.leg.play_out()
            self.pbx.done.callback(False)
        story = self.transferring(pbx=FakePbx())
        with self.ends(story):
            story.leg.play_out()
            story.clock.advance(REDIRECT_WITHIN + 0.1)
        self.assertEqual(len(self.flushLoggedErrors(TimeoutError)), 1)
        self.pbx.breaks.add("redirect")
        story = self.transferring()
        with self.ends(story):
            story.leg.play_out()
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)

    def test_asterisk_takes_the_line_away_when_it_has_the_caller(self) -> None:
        story = self.transferring()
        with self.ends(story):
            story.leg.play_out()
            story.leg.drop()
            self.pbx.done.callback(True)
        self.assertIs(record(story).outcome, Outcome.TRANSFERRED)
        self.assertEqual(record(story).next, SALES)

    def test_what_the_caller_says_meanwhile_harms_nobody(self) -> None:
        story = self.transferring()
        with self.ends(story):
            story.leg.play_out()
            story.call.caller_audio(bytes(320))
            story.call.dtmf("5")
            self.pbx.done.callback(True)

    def test_a_call_that_failed_is_fetched_for_the_fallback(self) -> None:
        story = Story(pbx=self.pbx, facts=CHANNEL, fallback=DESK).greeted()
        with self.ends(story):
            story.service.events.lost(Loss("no credit", final=True))
            story.leg.play_out()
            self.pbx.done.callback(True)
        self.assertEqual(self.pbx.of("redirect"), [("PJSIP/100-00000001", DESK)])

    def test_who_goes_nowhere_or_has_no_name_is_not_fetched(self) -> None:
        story = Story(pbx=self.pbx, facts=CHANNEL, fallback=DESK).draining()
        with self.ends(story):
            story.leg.play_out()
        story = self.transferring(facts=Facts())
        with self.ends(story):
            story.leg.play_out()
        story = self.transferring()
        with self.ends(story):
            story.leg.drop()
        self.assertEqual(self.pbx.told, [])

    def test_a_leg_that_cannot_be_hung_up_then_is_one_log_line(self) -> None:
        story = self.transferring()
        story.leg.play_out()
        story.leg.breaks.add("hang_up")
        self.pbx.done.callback(True)
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)


class RecordTests(CallCase):
    def test_it_is_there_when_whoever_waits_for_the_end_is_told(self) -> None:
        seen: list[Record | None] = []

        def ended(call: Call) -> None:
            seen.append(call.record)

        facts = Facts(caller_name="Ana", caller_number="+34600111222")
        story = Story(facts=facts).speaking()
        self.patch(story.call, "_ended", ended)
        self.assertIsNone(story.call.record)
        story.service.events.usage({"input.text_tokens": 2, "total_tokens": 7})
        story.clock.advance(2.0)
        story.leg.drop()
        (found,) = seen
        assert found is not None
        self.assertEqual((found.call_id, found.agent), ("call-1", "reception"))
        self.assertIs(found.facts, facts)
        self.assertEqual(found.seconds, 3.0)
        self.assertEqual((found.turns, found.latency_ms), (1, 0))
        self.assertEqual((found.tokens, found.dollars), (7, 2.0))
        self.assertTrue(found.began.endswith("+00:00"))

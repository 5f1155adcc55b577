"""A caller who is being handed over may change their mind until it has happened."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from portero.callstate import State
from portero.errands import TRANSFER_CANCELLED
from portero.facts import Facts
from portero.interfaces import Loss
from portero.record import Outcome, Record
from portero.tool_sections import TargetSettings
from portero.tools._handover import Handover
from portero.tools.cancel_transfer import Tool as CancelTransfer
from portero.tools.transfer import Tool as Transfer
from tests.fake_call import FakePbx, Story
from tests.test_call import DROPPED, CallCase

SALES = "house,100,1"
DESK = "house,1,1"


class TransferCase(CallCase):
    TARGETS: ClassVar = {
        "sales": TargetSettings(SALES),
        "boss": TargetSettings("house,9,1", confirm=True),
    }

    def story(self, **given: Any) -> Story:
        handover = Handover("transfer", self.TARGETS, datetime.now)
        given = {"fallback": DESK, "reply_within": 4.0, **given}
        return Story(Transfer(handover), CancelTransfer(), **given).waiting()

    def asked(self, **given: Any) -> Story:
        """The agent says where to, and that sounds."""
        story = self.story(**given)
        story.service.speak("one moment", 2.0)
        story.call.sounding("one moment")
        self.call_tool(story, "t1", "transfer", target="sales")
        story.service.events.agent_done("one moment")
        story.service.events.reply_ended(2, "")
        self.assertIs(story.call.state, State.TRANSFERRING)
        return story

    def call_tool(self, story: Story, id: str, name: str, **arguments: Any) -> None:
        story.service.events.tool_called(id, name, arguments)

    def cancelled(self, story: Story, id: str = "t2") -> None:
        """The agent cancels it, and says something."""
        self.call_tool(story, id, "cancel_transfer")
        story.service.events.reply_ended(1, "")
        story.service.reply("as you like")
        story.leg.play_out()
        self.assertIs(story.call.state, State.TALKING)

    def record(self, story: Story) -> Record:
        found = story.call.record
        assert found is not None
        return found

    def went(self, story: Story, place: str = SALES) -> None:
        found = self.record(story)
        self.assertEqual(found.next, place)
        self.assertIs(found.outcome, Outcome.TRANSFERRED)


class ChangeOfMindTests(TransferCase):
    def test_who_objects_is_not_talked_over_and_stays(self) -> None:
        story = self.asked()
        story.caller_speaks()
        self.assertEqual(story.leg.count("flush"), 1)
        self.assertEqual(story.service.of("interrupt"), [("one moment", 0)])
        self.cancelled(story)
        self.assertEqual(story.leg.count("hang_up"), 0)
        results = dict(story.service.of("tool_result"))
        self.assertEqual(results["t1"], TRANSFER_CANCELLED)
        self.assertTrue(results["t2"].startswith("cancelled: the caller stays "))
        # Both at last: the service is asked for a reply after the last one only.
        self.assertEqual([*results], ["t1", "t2"])

    def test_afterwards_the_call_is_as_any_other(self) -> None:
        story = self.asked()
        story.caller_speaks()
        self.cancelled(story)
        story.clock.advance(30.0)
        self.assertIs(story.call.state, State.TALKING, "nothing ends it any more")
        with self.ends(story) as lines:
            story.leg.drop()
        self.assertIn("ended well: caller hung up", lines[-1])
        self.assertIs(self.record(story).outcome, Outcome.WELL)
        self.assertEqual(self.record(story).next, "")

    def test_a_service_lost_then_leads_to_the_fallback_and_not_to_the_target(
        self,
    ) -> None:
        story = self.asked()
        story.caller_speaks()
        self.cancelled(story)
        with self.ends(story):
            story.service.events.lost(Loss("no credit", final=True))
            story.leg.play_out()
        self.assertEqual(self.record(story).next, DESK)
        self.assertEqual(self.record(story).reason, "no credit")

    def test_it_can_be_asked_for_again(self) -> None:
        story = self.asked()
        story.caller_speaks()
        self.cancelled(story)
        story.caller_speaks()
        story.service.speak("now then", 1.0)
        self.call_tool(story, "t3", "transfer", target="sales")
        story.service.events.agent_done("now then")
        story.service.events.reply_ended(2, "")
        with self.ends(story):
            story.leg.play_out()
        self.went(story)

    def test_who_is_not_there_any_more_cannot_come_back(self) -> None:
        story = self.asked()
        with self.ends(story):
            story.leg.play_out()
        self.assertFalse(story.call.control.cancel_transfer())
        self.went(story)

    def test_nor_while_an_old_asterisk_fetches_the_caller(self) -> None:
        pbx = FakePbx()
        story = self.asked(pbx=pbx, facts=Facts(channel="PJSIP/100-00000001"))
        with self.ends(story):
            story.leg.play_out()
            self.assertFalse(story.call.control.cancel_transfer())
            pbx.done.callback(True)
        self.assertEqual(pbx.of("redirect"), [("PJSIP/100-00000001", SALES)])
        self.went(story)

    def test_without_a_transfer_there_is_nothing_to_cancel(self) -> None:
        story = self.story()
        self.call_tool(story, "t1", "cancel_transfer")
        ((_, value),) = story.service.of("tool_result")
        self.assertTrue(value.startswith("error: there is no transfer under way"))


class WaitingTests(TransferCase):
    """Nobody is handed over while they speak, or wait for an answer."""

    def test_who_only_says_thank_you_is_answered_and_handed_over(self) -> None:
        story = self.asked()
        story.service.events.caller_started()
        story.leg.play_out()
        self.assertIs(story.call.state, State.TRANSFERRING)
        story.service.events.caller_stopped()
        story.service.reply("you are welcome")
        self.assertIs(story.call.state, State.TRANSFERRING)
        with self.ends(story):
            story.leg.play_out()
        self.went(story)

    def test_what_the_caller_says_reaches_the_service(self) -> None:
        story = self.asked()
        story.call.caller_audio(b"ab")
        self.assertEqual(story.service.of("send_audio")[-1], (b"ab",))

    def test_a_key_does_too(self) -> None:
        story = self.asked()
        story.call.dtmf("5")
        story.clock.advance(2.1)  # until it is clear that no other follows
        ((role, text),) = story.service.of("add_text")
        self.assertEqual(role, "user")
        self.assertIn("5", text)
        self.cancelled(story)

    def test_so_it_is_however_callers_may_interrupt(self) -> None:
        for way in ("instant", "polite", "off"):
            story = self.asked(interruption=way)
            story.service.events.caller_started()
            story.clock.advance(1.0)
            story.leg.play_out()
            self.assertIs(story.call.state, State.TRANSFERRING, way)
            story.service.events.caller_stopped()
            story.leg.play_out()
            self.assertIs(story.call.state, State.TRANSFERRING, way)
            self.cancelled(story)
            story = self.asked(interruption=way)
            with self.ends(story):
                story.leg.play_out()
            self.went(story)

    def test_a_service_that_has_no_answer_does_not_hold_it_up_for_ever(self) -> None:
        story = self.asked()
        with self.ends(story):
            story.caller_speaks()
            story.clock.advance(3.9)
            self.assertIs(story.call.state, State.TRANSFERRING)
            story.clock.advance(0.2)
        self.went(story)

    def test_nor_does_a_caller_who_never_stops(self) -> None:
        story = self.asked(drain_within=20.0)
        with self.ends(story):
            story.service.events.caller_started()
            story.clock.advance(19.9)
            self.assertIs(story.call.state, State.TRANSFERRING)
            story.clock.advance(0.2)
        self.went(story)

    def test_nor_a_service_that_is_lost(self) -> None:
        for loss in (DROPPED, Loss("no credit", final=True)):
            story = self.asked()
            story.service.events.caller_started()
            with self.ends(story):
                story.service.events.lost(loss)
                story.leg.play_out()
            self.went(story)

    def test_a_stop_of_portero_lets_it_be_and_nobody_can_cancel_it_then(self) -> None:
        story = self.asked()
        with self.ends(story):
            story.call.stop()
            self.assertFalse(story.call.control.cancel_transfer())
            story.leg.play_out()
        self.went(story)

    def test_so_does_the_end_of_the_time(self) -> None:
        story = self.asked(longest=1.5)
        with self.ends(story):
            story.clock.advance(1.0)
            self.assertIs(story.call.state, State.DRAINING)
            story.leg.play_out()
        self.went(story)


class ResultTests(TransferCase):
    def test_what_a_tool_finds_meanwhile_does_not_delay_it(self) -> None:
        story = self.asked()
        self.call_tool(story, "t2", "look_up")
        story.service.events.reply_ended(1, "")
        story.tool.answer.callback("42")
        with self.ends(story):
            story.leg.play_out()
        self.assertEqual(story.service.count("tool_result"), 0)
        self.went(story)

    def test_a_caller_who_stays_gets_it(self) -> None:
        story = self.asked()
        self.call_tool(story, "t2", "look_up")
        story.tool.answer.callback("42")
        self.cancelled(story, "t3")
        results = [id for id, _ in story.service.of("tool_result")]
        self.assertEqual(results, ["t1", "t2", "t3"])
        self.assertIn(("t2", "42"), story.service.of("tool_result"))

    def test_of_two_transfers_the_first_counts_and_the_second_is_told(self) -> None:
        story = self.asked()
        self.assertFalse(
            story.call.control.transfer("evil,900,1", "transferred to evil")
        )
        self.call_tool(story, "t2", "transfer", target="sales")
        story.service.events.reply_ended(1, "")
        self.cancelled(story, "t3")
        results = dict(story.service.of("tool_result"))
        self.assertTrue(results["t2"].startswith("error: the caller is being handed "))

    def test_a_hang_up_beside_it_does_not_drop_the_caller(self) -> None:
        story = self.asked()
        story.call.control.end_after_speech("the agent hung up")
        with self.ends(story):
            story.leg.play_out()
        self.went(story)
        self.assertEqual(self.record(story).reason, "transferred to sales")


class ConfirmTests(TransferCase):
    def test_the_caller_is_asked_and_only_then_handed_over(self) -> None:
        story = self.story()
        self.call_tool(story, "t1", "transfer", target="boss", confirmed=True)
        self.assertIs(story.call.state, State.TALKING)
        ((_, value),) = story.service.of("tool_result")
        self.assertTrue(value.startswith("not yet: ask the caller "), value)
        story.service.events.reply_ended(1, "")
        story.service.reply("shall I?")
        self.call_tool(story, "t2", "transfer", target="boss", confirmed=True)
        self.assertIs(story.call.state, State.TALKING, "no word of the caller yet")
        story.leg.play_out()
        story.caller_speaks()
        self.call_tool(story, "t3", "transfer", target="boss", confirmed=True)
        with self.ends(story):
            story.service.events.reply_ended(1, "")
            story.leg.play_out()
        self.went(story, "house,9,1")

    def test_a_key_is_an_answer_too(self) -> None:
        story = self.story()
        self.call_tool(story, "t1", "transfer", target="boss")
        story.service.events.reply_ended(1, "")
        story.call.dtmf("1")
        self.call_tool(story, "t2", "transfer", target="boss", confirmed=True)
        self.assertIs(story.call.state, State.TRANSFERRING)


class SoundTests(TransferCase):
    PCM = bytes(1600)

    def test_a_sound_of_a_tool_is_waited_for_in_order(self) -> None:
        story = Story().speaking()
        heard = story.call.control.play("gong", 8000, self.PCM)
        story.service.events.agent_done("reply")
        story.service.events.reply_ended(1, "")
        self.assertNoResult(heard)
        story.leg.play_out()
        self.assertTrue(self.successResultOf(heard))
        self.assertEqual(story.leg.items[-2:], ["reply", "sound 1: gong"])

    def test_it_was_not_heard_if_it_was_cut_refused_or_too_late(self) -> None:
        story = Story().speaking()
        heard = story.call.control.play("gong", 8000, self.PCM)
        story.service.events.caller_started()
        self.assertFalse(self.successResultOf(heard), "cut with the agent's words")
        story.leg.full = True
        heard = story.call.control.play("gong", 8000, self.PCM)
        self.assertFalse(self.successResultOf(heard), "as much waits as may")
        story.leg.full = False
        heard = story.call.control.play("gong", 8000, self.PCM)
        story.leg.drop()
        self.assertFalse(self.successResultOf(heard), "the caller hung up")
        heard = story.call.control.play("gong", 8000, self.PCM)
        self.assertFalse(self.successResultOf(heard), "nobody is there")

    def test_it_comes_at_the_rate_of_the_line(self) -> None:
        story = Story().greeted()
        story.call.control.play("gong", 16000, bytes(32000))
        ((_, pcm),) = story.leg.of("play")[-1:]
        self.assertLess(abs(len(pcm) - 16000), 100)

    def test_a_leg_that_goes_in_the_middle_of_it_is_no_puzzle(self) -> None:
        for name in ("play", "end_of_item"):
            story = Story().greeted()
            story.leg.on[name] = story.leg.drop
            with self.ends(story):
                heard = story.call.control.play("gong", 8000, self.PCM)
            self.assertFalse(self.successResultOf(heard))

    def test_a_tool_sees_what_was_said(self) -> None:
        story = Story().talking()
        story.service.events.transcript("user", "Is Ana there?", "i1")
        (said,) = story.call.control.said()
        self.assertEqual((said.role, said.text), ("user", "Is Ana there?"))

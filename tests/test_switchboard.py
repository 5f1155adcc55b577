"""What an operator does to a call: whisper, hand over, hang up; in every state."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from portero.callstate import State
from portero.facts import Facts
from portero.interfaces import IOperatedCall, IWatchedCall, Loss
from portero.record import Outcome, Record
from portero.switchboard import HANDED_OVER, WHISPERED
from portero.tools.cancel_transfer import Tool as CancelTransfer
from tests.fake_call import Broken, FakePbx, Story
from tests.test_call import DROPPED, STATES, CallCase

SALES = "house,100,1"
DESK = "house,1,1"


class OperatorCase(CallCase):
    def story(self, **given: Any) -> Story:
        given = {"fallback": DESK, "reply_within": 4.0, **given}
        return Story(CancelTransfer(), **given)

    def handed_over(self, **given: Any) -> Story:
        """An operator has the caller transferred; the agent has not said so yet."""
        story = self.story(**given).greeted()
        self.assertTrue(story.call.hand_over(SALES, "sales", "Ana"))
        self.assertIs(story.call.state, State.TRANSFERRING)
        return story

    def lost(self) -> Story:
        """The apology sounds."""
        story = self.story().greeted()
        story.service.events.lost(Loss("no credit", final=True))
        self.assertIs(story.call.state, State.DRAINING)
        return story

    def record(self, story: Story) -> Record:
        found = story.call.record
        assert found is not None
        return found

    def acts(self, story: Story) -> list[tuple[str, str, str]]:
        return [
            (one.data["who"], one.data["did"], one.data["target"])
            for one in story.seen.of("operator")
        ]


class FakeTests(SynchronousTestCase):
    def test_the_call_is_what_it_stands_for(self) -> None:
        for interface in (IWatchedCall, IOperatedCall):
            self.assertTrue(verifyObject(interface, Story().call))


class WhisperTests(OperatorCase):
    def test_the_agent_is_told_and_acts_and_the_caller_hears_nothing_of_it(
        self,
    ) -> None:
        story = self.story().greeted()
        told = story.leg.count("play")
        self.assertTrue(story.call.whisper("The shop closes at 3.", "Ana"))
        text = f"{WHISPERED}The shop closes at 3."
        self.assertEqual(
            story.service.told[-2:], [("add_text", "system", text), ("ask",)]
        )
        self.assertEqual(story.leg.count("play"), told)
        self.assertEqual(story.call.snapshot()["floor"], "waiting")
        self.assertEqual(self.acts(story), [("Ana", "say", "")])

    def test_half_a_character_is_not_passed_on(self) -> None:
        story = self.story().greeted()
        story.call.whisper("Ma\ud800ana", "Ana")
        self.assertEqual(story.seen.of("said")[-1].data["text"], f"{WHISPERED}Ma?ana")
        self.assertEqual(story.service.of("add_text")[-1][1], f"{WHISPERED}Ma?ana")

    def test_the_next_conversation_knows_it_too(self) -> None:
        story = self.story().greeted()
        story.call.whisper("The shop closes at 3.", "Ana")
        story.service.events.lost(DROPPED)
        story.clock.advance(1.0)
        self.assertIn("closes at 3", str(story.service.brief.history))

    def test_before_the_service_is_reached_it_is_told_later(self) -> None:
        story = self.story().identified()
        self.assertTrue(story.call.whisper("Be quick.", "Ana"))
        self.assertEqual(story.service.count("add_text"), 0)
        story.service.events.ready()
        self.assertEqual(
            story.service.of("add_text"), [("system", f"{WHISPERED}Be quick.")]
        )

    def test_while_the_agent_speaks_it_is_answered_after_that(self) -> None:
        story = self.story().speaking()
        self.assertTrue(story.call.whisper("Be quick.", "Ana"))
        self.assertEqual(story.leg.count("flush"), 0)
        self.assertEqual(story.call.snapshot()["floor"], "speaking, and asked to go on")

    def test_not_in_a_call_that_is_ending(self) -> None:
        for story in (
            self.story(),
            self.story().draining(),
            self.handed_over(),
            self.lost(),
        ):
            told = list(story.seen.happened)
            self.assertFalse(story.call.whisper("Be quick.", "Ana"))
            self.assertEqual(story.seen.happened, told)
        story = self.story().greeted()
        story.leg.drop()
        self.assertFalse(story.call.whisper("Be quick.", "Ana"))

    def test_a_service_that_breaks_then_ends_this_call_in_order(self) -> None:
        story = self.story().greeted()
        story.service.breaks.add("add_text")
        with self.ends(story):
            self.assertTrue(story.call.whisper("Be quick.", "Ana"))
            story.leg.play_out()
        self.assertEqual(self.record(story).next, DESK)
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)


class HandOverTests(OperatorCase):
    def test_the_agent_announces_it_and_then_the_caller_goes(self) -> None:
        story = self.handed_over()
        text = HANDED_OVER.format(target="sales")
        self.assertEqual(
            story.service.told[-2:], [("add_text", "system", text), ("ask",)]
        )
        self.assertEqual(story.leg.count("hang_up"), 0)
        story.service.reply("to sales")
        with self.ends(story) as lines:
            story.leg.play_out()
        self.assertIn("ended well: Ana transferred it to sales", lines[-1])
        found = self.record(story)
        self.assertEqual((found.outcome, found.next), (Outcome.TRANSFERRED, SALES))
        self.assertEqual(self.acts(story), [("Ana", "transfer", "sales")])

    def test_who_objects_in_time_stays(self) -> None:
        story = self.handed_over()
        story.service.reply("to sales")
        story.caller_speaks()
        story.service.events.tool_called("t1", "cancel_transfer", {})
        story.service.events.reply_ended(1, "")
        story.service.reply("as you like")
        story.leg.play_out()
        self.assertIs(story.call.state, State.TALKING)
        with self.ends(story):
            story.leg.drop()
        found = self.record(story)
        self.assertEqual((found.outcome, found.next), (Outcome.WELL, ""))

    def test_what_the_agent_is_saying_is_heard_before_it(self) -> None:
        story = self.story().speaking()
        self.assertTrue(story.call.hand_over(SALES, "sales", "Ana"))
        self.assertEqual(story.leg.count("flush"), 0)
        story.service.events.agent_done("reply")
        story.service.events.reply_ended(1, "")
        story.leg.play_out()
        self.assertIs(story.call.state, State.TRANSFERRING, "not announced yet")
        story.service.reply("to sales")
        with self.ends(story):
            story.leg.play_out()
        self.assertEqual(self.record(story).next, SALES)

    def test_without_an_announcement_the_caller_goes_all_the_same(self) -> None:
        for happens in (
            lambda story: story.clock.advance(4.0),
            lambda story: story.service.events.lost(DROPPED),
            lambda story: story.call.stop(),
        ):
            story = self.handed_over()
            with self.ends(story):
                happens(story)
                story.leg.play_out()
                story.clock.advance(20.0)
            self.assertEqual(self.record(story).next, SALES)

    def test_while_the_service_is_being_reached_nobody_announces_it(self) -> None:
        story = self.story().identified()
        with self.ends(story):
            self.assertTrue(story.call.hand_over(SALES, "sales", "Ana"))
        self.assertEqual(self.record(story).next, SALES)

    def test_an_old_asterisk_fetches_the_caller(self) -> None:
        pbx = FakePbx()
        facts = Facts(channel="PJSIP/100-00000001")
        story = self.handed_over(pbx=pbx, facts=facts)
        story.service.reply("to sales")
        with self.ends(story):
            story.leg.play_out()
            self.assertEqual(pbx.of("redirect"), [(facts.channel, SALES)])
            pbx.done.callback(True)

    def test_not_twice_and_not_in_a_call_that_is_ending(self) -> None:
        for story in (
            self.story(),
            self.story().draining(),
            self.handed_over(),
            self.lost(),
        ):
            told = list(story.seen.happened)
            self.assertFalse(story.call.hand_over("house,9,1", "boss", "Ben"))
            self.assertEqual(story.seen.happened, told)
        story = self.story().greeted()
        story.leg.drop()
        self.assertFalse(story.call.hand_over(SALES, "sales", "Ana"))
        self.assertEqual(self.record(story).next, "")


class DismissTests(OperatorCase):
    def check_dismissed(self, story: Story, lines: list[str]) -> None:
        self.assertIn("ended well: Ana hung up", lines[-1])
        found = self.record(story)
        self.assertIs(found.outcome, Outcome.WELL)
        self.assertEqual((found.next, found.reason), ("", "Ana hung up"))
        self.assertEqual(self.acts(story)[-1], ("Ana", "hang_up", ""))
        self.assertEqual(len(story.seen.ended), 1)

    def test_at_once_in_every_state(self) -> None:
        for state in STATES:
            story = self.story()
            getattr(story, state)()
            with self.ends(story) as lines:
                self.assertTrue(story.call.dismiss("Ana"))
            self.check_dismissed(story, lines)

    def test_what_waits_to_be_heard_is_dropped(self) -> None:
        story = self.story().speaking(9.0)
        story.leg.heard_ms = 250
        with self.ends(story) as lines:
            story.call.dismiss("Ana")
        self.check_dismissed(story, lines)
        names = [name for name, *_ in story.leg.told if name in ("flush", "hang_up")]
        self.assertEqual(names, ["flush", "hang_up"])
        cut = {"item": "reply", "heard_ms": 250, "given_ms": 9000}
        self.assertEqual([one.data for one in story.seen.of("cut")], [cut])

    def test_who_was_being_handed_over_goes_nowhere(self) -> None:
        story = self.handed_over()
        with self.ends(story) as lines:
            self.assertTrue(story.call.dismiss("Ana"))
        self.check_dismissed(story, lines)

    def test_who_was_to_go_to_the_fallback_does_not(self) -> None:
        story = self.lost()
        with self.ends(story) as lines:
            self.assertTrue(story.call.dismiss("Ana"))
        self.check_dismissed(story, lines)

    def test_between_two_conversations(self) -> None:
        story = self.story().greeted()
        story.service.events.lost(DROPPED)
        with self.ends(story) as lines:
            self.assertTrue(story.call.dismiss("Ana"))
        self.check_dismissed(story, lines)

    def test_an_old_asterisk_is_not_asked_to_fetch_anybody(self) -> None:
        pbx = FakePbx()
        story = self.handed_over(pbx=pbx, facts=Facts(channel="PJSIP/100-00000001"))
        with self.ends(story) as lines:
            story.call.dismiss("Ana")
        self.check_dismissed(story, lines)
        self.assertEqual(pbx.told, [])

    def test_a_tool_that_waits_for_its_sound_cannot_send_the_caller_elsewhere(
        self,
    ) -> None:
        story = self.story().greeted()
        went: list[bool] = []
        story.call.control.play("beep", 8000, bytes(1600)).addCallback(
            lambda heard: went.append(
                story.call.control.transfer(SALES, "after the beep")
            )
        )
        with self.ends(story) as lines:
            story.call.dismiss("Ana")
        self.assertEqual(went, [False])
        self.check_dismissed(story, lines)

    def test_a_leg_that_cannot_drop_what_waits_is_hung_up_too(self) -> None:
        story = self.story().speaking()
        story.leg.breaks.add("flush")
        with self.ends(story):
            self.assertTrue(story.call.dismiss("Ana"))
        self.assertTrue(self.flushLoggedErrors(Broken))

    def test_once(self) -> None:
        story = self.story().greeted()
        with self.ends(story):
            self.assertTrue(story.call.dismiss("Ana"))
            self.assertFalse(story.call.dismiss("Ben"))
        self.assertFalse(self.story().call.dismiss("Ana"))

    def test_who_did_it_is_one_harmless_line(self) -> None:
        story = self.story().greeted()
        with self.ends(story):
            story.call.dismiss('An"a\x1b[2J\nx')
        self.assertEqual(self.record(story).reason, "An a 2J x hung up")

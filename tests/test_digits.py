"""Tests of L{portero.digits}, and of what a call makes of keys."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from portero.callstate import State
from portero.digits import MOST, Digits, sentence
from portero.facts import Facts
from portero.interfaces import Loss
from portero.record import Outcome, Record
from portero.timers import Timers
from tests.fake_call import FakePbx, Story
from tests.test_call import CallCase

OFFICE = "from-internal,100,1"
SALES = "from-internal,200,1"
FALLBACK = "from-internal,999,1"
MENU = {"0": OFFICE}


class DigitsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[str] = []
        self.chosen: list[str] = []
        self.coded: list[str] = []
        self.keys = 0
        self.digits = Digits(
            Timers(self.clock, lambda: None),
            2.0,
            "09",
            pressed=self.pressed,
            typed=self.told.append,
            chosen=self.chosen.append,
            codes=("*7", "*81"),
            coded=self.coded.append,
        )

    def pressed(self) -> None:
        self.keys += 1

    def type(self, keys: str, every: float = 0.5) -> None:
        for key in keys:
            self.digits.press(key)
            self.clock.advance(every)

    def collect(self, most: int = MOST, within: float = 20.0) -> list[str]:
        """@return: Has what was collected, once it was."""
        found: list[str] = []
        waiting: Deferred[str] = self.digits.collect(most, within)
        waiting.addCallback(found.append)
        return found

    def test_a_pause_ends_a_group(self) -> None:
        self.type("1234", every=1.9)
        self.assertEqual(self.told, [])
        self.clock.advance(0.2)
        self.type("5")
        self.clock.advance(2.0)
        self.assertEqual(self.told, ["1234", "5"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_end_sign_ends_it_at_once_and_alone_it_is_a_group(self) -> None:
        self.type("12*#", every=0.0)
        self.type("#", every=0.0)
        self.assertEqual(self.told, ["12*#", "#"])

    def test_a_group_has_a_limit(self) -> None:
        self.type("1" * (MOST - 1))
        self.assertEqual(self.told, [])
        self.type("22")
        self.assertEqual(self.told, ["1" * (MOST - 1) + "2"])

    def test_each_key_is_told_of_before_anything_comes_of_it(self) -> None:
        self.type("1")
        self.assertEqual((self.keys, self.told), (1, []))
        self.type("23#")
        self.assertEqual(self.keys, 4)

    def test_a_key_of_the_menu_is_a_choice_only_as_the_first(self) -> None:
        self.type("0")
        self.assertEqual((self.chosen, self.told), (["0"], []))
        self.type("109#")
        self.assertEqual((self.chosen, self.told), (["0"], ["109#"]))
        self.type("9")
        self.assertEqual(self.chosen, ["0", "9"])

    def test_a_code_is_taken_at_once_and_told_to_nobody_else(self) -> None:
        self.type("*7", every=0.0)
        self.assertEqual((self.coded, self.told), (["*7"], [""]))
        self.type("*81")
        self.assertEqual((self.coded, self.told), (["*7", "*81"], ["", ""]))
        self.assertEqual((self.keys, self.clock.getDelayedCalls()), (5, []))

    def test_what_was_typed_before_a_code_is_a_group(self) -> None:
        self.type("1234*7")
        self.assertEqual((self.coded, self.told), (["*7"], ["1234", ""]))
        self.type("*6#")
        self.assertEqual((self.coded, self.told[2:]), (["*7"], ["*6#"]))

    def test_a_tool_that_collects_keys_gets_no_code(self) -> None:
        found = self.collect(within=20.0)
        self.type("*7")
        self.clock.advance(19.0)
        self.assertEqual((self.coded, found), (["*7"], []))
        self.type("12#")
        self.assertEqual(found, ["12"])
        found = self.collect(within=20.0)
        self.type("12*7")
        self.assertEqual((self.coded, found), (["*7", "*7"], ["12"]))
        found = self.collect(within=20.0)
        self.type("*7")
        self.clock.advance(20.0)
        self.assertEqual(found, [""])

    def test_what_a_tool_collects_is_told_to_nobody_else(self) -> None:
        found = self.collect()
        self.type("0123#")
        self.assertEqual((found, self.told, self.chosen), (["0123"], [""], []))
        self.type("5#")
        self.assertEqual(self.told, ["", "5#"])

    def test_the_number_of_keys_ends_a_collection_and_a_late_sign_is_no_group(
        self,
    ) -> None:
        found = self.collect(4)
        self.type("1234")
        self.assertEqual((found, self.told), (["1234"], [""]))
        self.type("#")
        self.clock.advance(2.0)
        self.assertEqual((self.told, self.keys), ([""], 4))
        self.type("#")
        self.assertEqual(self.told, ["", "#"])

    def test_after_a_collection_another_key_than_the_sign_counts(self) -> None:
        self.collect(4)
        self.type("12345#")
        self.assertEqual(self.told, ["", "5#"])

    def test_what_was_begun_before_a_collection_belongs_to_it(self) -> None:
        self.type("12")
        found = self.collect(4)
        self.type("34")
        self.assertEqual((found, self.told), (["1234"], [""]))

    def test_so_much_may_be_there_already_that_it_is_complete(self) -> None:
        self.type("1234")
        self.assertEqual(self.collect(4), ["1234"])

    def test_without_a_key_in_time_there_is_nothing(self) -> None:
        found = self.collect(within=20.0)
        self.clock.advance(19.9)
        self.assertEqual(found, [])
        self.clock.advance(0.2)
        self.assertEqual((found, self.told), ([""], []))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_time_for_the_first_key_runs_from_the_end_of_what_the_agent_says(
        self,
    ) -> None:
        found = self.collect(within=20.0)
        self.clock.advance(15.0)
        self.digits.agent_spoke()
        self.clock.advance(15.0)
        self.digits.agent_spoke()  # something else, by then
        self.clock.advance(4.9)
        self.assertEqual(found, [])
        self.clock.advance(0.2)
        self.assertEqual(found, [""])

    def test_only_the_first_key_has_that_limit(self) -> None:
        found = self.collect(within=3.0)
        self.type("12345", every=1.5)
        self.digits.agent_spoke()
        self.clock.advance(2.0)
        self.assertEqual(found, ["12345"])

    def test_a_second_collection_takes_the_place_of_the_first(self) -> None:
        first, second = self.collect(), self.collect()
        self.assertEqual((first, second), ([""], []))
        self.type("7#")
        self.assertEqual((first, second), ([""], ["7"]))

    def test_given_up_nothing_is_left(self) -> None:
        found = self.collect()
        self.type("12")
        self.digits.give_up()
        self.assertEqual((found, self.told), ([""], []))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.type("0")
        self.assertEqual(self.chosen, ["0"])

    def test_the_agent_reads_the_number_and_the_sign_apart(self) -> None:
        for keys, said in (
            ("1234", "The caller typed 1234 on the telephone."),
            ("12*#", "The caller typed 12* and # on the telephone."),
            ("#", "The caller typed # on the telephone."),
        ):
            self.assertEqual(sentence(keys), said)


def record(story: Story) -> Record:
    """@return: Of a call that is over."""
    assert story.call.record is not None
    return story.call.record


def press(story: Story, keys: str) -> None:
    for key in keys:
        story.call.dtmf(key)
        story.clock.advance(0.3)


class CallKeysTests(CallCase):
    def test_a_group_is_one_text_and_one_reply(self) -> None:
        story = Story().greeted()
        asked = story.service.count("ask")
        press(story, "1234")
        self.assertEqual(story.service.of("add_text"), [])
        story.clock.advance(2.0)
        said = "The caller typed 1234 on the telephone."
        self.assertEqual(story.service.of("add_text"), [("user", said)])
        self.assertEqual(story.service.count("ask"), asked + 1)
        self.assertEqual(story.call.snapshot()["floor"], "waiting")

    def test_the_first_key_stops_the_agent(self) -> None:
        story = Story().speaking(3.0)
        story.call.dtmf("1")
        self.assertEqual(story.leg.count("flush"), 1)
        self.assertEqual(story.service.of("interrupt")[0][0], "reply")
        self.assertEqual(story.service.of("add_text"), [])

    def test_who_types_slowly_is_not_taken_for_one_who_waits(self) -> None:
        story = Story(reply_within=8.0, digits_pause=30.0).greeted()
        asked = story.service.count("ask")
        story.call.dtmf("1")
        story.clock.advance(25.0)
        self.assertEqual(story.service.count("ask"), asked)

    def test_a_session_is_not_renewed_while_the_caller_types(self) -> None:
        story = Story(digits_pause=30.0, silence=9999.0)
        story.provider.expires_in = 600.0
        story.greeted()
        story.clock.advance(479.9)
        story.call.dtmf("1")
        story.clock.advance(20.0)
        self.assertEqual(len(story.provider.conversations), 1)

    def test_the_pause_is_a_setting(self) -> None:
        story = Story(digits_pause=0.5).greeted()
        story.call.dtmf("1")
        story.clock.advance(0.5)
        self.assertEqual(story.service.count("add_text"), 1)

    def test_a_tool_takes_keys_and_tells_the_agent_what_came_of_it(self) -> None:
        story = Story(menu=MENU).greeted()
        found: list[str] = []
        story.call.control.collect_digits(4, 20.0).addCallback(found.append)
        press(story, "0815")
        self.assertEqual(found, ["0815"])
        self.assertEqual(story.service.of("add_text"), [])
        self.assertEqual(story.call.control.said(), ())
        asked = story.service.count("ask")
        story.call.control.inform("It is open.")
        self.assertEqual(story.service.of("add_text"), [("system", "It is open.")])
        self.assertEqual(story.service.count("ask"), asked + 1)

    def test_the_time_for_the_first_key_begins_when_the_agent_has_asked(self) -> None:
        story = Story().waiting()
        found: list[str] = []
        story.call.control.collect_digits(4, 5.0).addCallback(found.append)
        story.service.reply("type it", 4.0)
        story.clock.advance(4.0)
        story.leg.play_out()
        story.clock.advance(4.9)
        self.assertEqual(found, [])
        story.clock.advance(0.2)
        self.assertEqual(found, [""])

    def test_the_end_of_the_call_ends_a_collection(self) -> None:
        story = Story().greeted()
        found: list[str] = []
        story.call.control.collect_digits(4, 20.0).addCallback(found.append)
        with self.ends(story):
            story.leg.drop()
        self.assertEqual(found, [""])
        after: list[str] = []
        story.call.control.collect_digits(4, 20.0).addCallback(after.append)
        self.assertEqual(after, [""])


class MenuTests(CallCase):
    def chooses(self, story: Story, key: str = "0") -> Record:
        with self.ends(story):
            story.call.dtmf(key)
        return record(story)

    def test_it_hands_over_at_once_in_whatever_is_going_on(self) -> None:
        for state in ("identified", "talking", "greeted", "waiting", "speaking"):
            story = getattr(Story(menu=MENU, fallback=FALLBACK), state)()
            found = self.chooses(story)
            self.assertEqual(
                (found.outcome, found.next, found.reason),
                (Outcome.TRANSFERRED, OFFICE, "the caller pressed 0"),
                state,
            )

    def test_it_works_while_the_service_is_being_reached_again(self) -> None:
        story = Story(menu=MENU).greeted()
        story.service.events.lost(Loss("dropped", final=False))
        self.assertEqual(self.chooses(story).next, OFFICE)

    def test_it_works_while_the_apology_plays_and_stands_before_the_fallback(
        self,
    ) -> None:
        story = Story(menu=MENU, fallback=FALLBACK).greeted()
        story.service.events.lost(Loss("no credit", final=True))
        self.assertEqual(story.leg.items[-1], "prompt apology")
        found = self.chooses(story)
        self.assertEqual((found.outcome, found.next), (Outcome.FAILED, OFFICE))
        self.assertEqual(story.leg.count("hang_up"), 1)

    def test_keys_before_the_apology_do_not_get_in_its_way(self) -> None:
        story = Story(menu=MENU, fallback=FALLBACK).greeted()
        press(story, "12")
        story.service.events.lost(Loss("no credit", final=True))
        press(story, "3")
        self.assertEqual(self.chooses(story).next, OFFICE)

    def test_it_works_while_the_agent_runs_a_tool(self) -> None:
        story = Story(menu=MENU).waiting()
        story.service.events.tool_called("t1", "look_up", {})
        with self.ends(story):
            story.call.dtmf("0")
            story.tool.answer.callback("42")
        self.assertEqual(record(story).next, OFFICE)

    def test_it_works_while_a_farewell_is_owed(self) -> None:
        story = Story(menu=MENU, farewell="Bye bye.", longest=60.0).greeted()
        story.clock.advance(60.1)
        self.assertIs(story.call.state, State.DRAINING)
        self.assertEqual(self.chooses(story).next, OFFICE)

    def test_the_callers_choice_stands_before_the_agents(self) -> None:
        story = Story(menu=MENU).waiting()
        story.service.speak("one moment", 2.0)
        story.call.control.transfer(SALES, "transferred to sales")
        self.assertEqual(self.chooses(story).next, OFFICE)

    def test_an_old_asterisk_fetches_the_caller_for_it(self) -> None:
        pbx = FakePbx()
        story = Story(menu=MENU, pbx=pbx, facts=Facts(channel="PJSIP/1-1")).greeted()
        with self.ends(story):
            story.call.dtmf("0")
            self.assertEqual(pbx.of("redirect"), [("PJSIP/1-1", OFFICE)])
            story.call.dtmf("0")
            pbx.done.callback(True)
        self.assertEqual(pbx.count("redirect"), 1)

    def test_a_key_that_led_somewhere_when_the_call_began_may_not_do_so_now(
        self,
    ) -> None:
        menu = dict(MENU)
        story = Story(menu=menu).greeted()
        menu.clear()
        press(story, "0#")
        said = "The caller typed 0 and # on the telephone."
        self.assertEqual(story.service.of("add_text"), [("user", said)])
        self.assertIs(story.call.state, State.TALKING)

    def test_another_key_or_a_later_one_is_no_choice(self) -> None:
        story = Story(menu=MENU).greeted()
        press(story, "10#")
        said = "The caller typed 10 and # on the telephone."
        self.assertEqual(story.service.of("add_text"), [("user", said)])
        self.assertIs(story.call.state, State.TALKING)

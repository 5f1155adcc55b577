"""What is played to the caller, and what they are told who wait for it."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from portero.interfaces import Heard
from portero.sounds import Sounds, prompt
from tests.fake_call import RATE, FakeLeg

PCM = bytes(RATE // 5)
"""100 ms."""


class SoundsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.leg = FakeLeg()
        self.sounds = Sounds(self.leg, "en")
        self.done: list[str] = []

    def over(self, item: str) -> None:
        self.sounds.played_out(item, first=lambda: self.done.append("first"))

    def play(self, name: str = "bell") -> Deferred[bool]:
        return self.sounds.play(name, RATE, PCM)

    def test_an_item_is_there_until_it_was_played_out(self) -> None:
        self.assertFalse(self.sounds)
        self.sounds.give("reply", PCM)
        self.sounds.give("reply", PCM)
        self.assertIn("reply", self.sounds)
        self.over("reply")
        self.assertNotIn("reply", self.sounds)
        self.assertFalse(self.sounds)

    def test_a_leg_that_takes_no_more_leaves_nothing_behind(self) -> None:
        self.leg.full = True
        self.assertFalse(self.sounds.give_whole("greeting", PCM))
        self.assertFalse(self.successResultOf(self.play()))
        self.assertEqual((bool(self.sounds), self.leg.count("end_of_item")), (False, 0))

    def test_a_prompt_is_given_whole_at_the_rate_of_the_leg(self) -> None:
        self.sounds.say_prompt("moment")
        item = "prompt moment"
        self.assertEqual(
            self.leg.told,
            [("play", item, prompt("moment", "en", RATE)), ("end_of_item", item)],
        )

    def test_a_sound_comes_at_the_rate_of_the_leg(self) -> None:
        self.sounds.play("bell", RATE // 2, PCM)
        [(_, pcm)] = self.leg.of("play")
        self.assertApproximates(len(pcm), 2 * len(PCM), 100)

    def test_two_sounds_of_one_name_are_two_items(self) -> None:
        first, second = self.play(), self.play()
        self.assertEqual(self.leg.items, ["sound 1: bell", "sound 2: bell"])
        self.over("sound 1: bell")
        self.assertTrue(self.successResultOf(first))
        self.assertNoResult(second)

    def test_who_waits_is_told_after_everything_else(self) -> None:
        self.play().addCallback(lambda heard: self.done.append(f"told {heard}"))
        self.over("sound 1: bell")
        self.assertEqual(self.done, ["first", "told True"])

    def test_what_was_heard_stays_heard_if_the_call_ends_by_that(self) -> None:
        heard = self.play()
        self.sounds.played_out("sound 1: bell", first=self.sounds.give_up)
        self.assertTrue(self.successResultOf(heard))

    def test_who_waits_for_what_is_dropped_is_told(self) -> None:
        heard = self.play()
        self.leg.heard_ms = 40
        self.assertEqual(self.sounds.flush(), (Heard("sound 1: bell", 40, 100),))
        self.assertFalse(self.sounds)
        self.assertNoResult(heard)
        self.sounds.give_up()
        self.assertFalse(self.successResultOf(heard))
        self.over("sound 1: bell")  # late: the leg had sent it already

    def test_who_is_told_may_play_something_else(self) -> None:
        heard = self.play()
        heard.addCallback(lambda _: self.play("other"))
        self.sounds.flush()
        self.sounds.give_up()
        self.assertIn("sound 2: other", self.sounds)
        self.assertNoResult(heard)

    def test_nothing_more_comes_of_what_sounds(self) -> None:
        for item in ("first", "second"):
            self.sounds.give(item, PCM)
        self.over("first")
        self.sounds.complete_all()
        self.assertEqual(self.leg.of("end_of_item"), [("second",)])

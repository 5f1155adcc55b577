"""What callers have agreed to."""

from __future__ import annotations

import gc

from twisted.trial.unittest import SynchronousTestCase

from portero.confirmation import Confirmation
from tests.fake_call import FakeControl


class ConfirmationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.confirmation = Confirmation()
        self.call = FakeControl()

    def given(self, what: str, confirmed: bool = True, speaks: bool = False) -> bool:
        self.call.caller_turns += speaks
        return self.confirmation.given(self.call, what, confirmed)

    def test_it_takes_a_question_an_answer_and_the_models_word(self) -> None:
        self.assertFalse(self.given("a", confirmed=False))
        self.assertFalse(self.given("a", confirmed=False, speaks=True))
        self.assertTrue(self.given("a", speaks=True))

    def test_without_a_word_of_the_caller_it_is_none(self) -> None:
        for _ in range(3):
            self.assertFalse(self.given("a"))

    def test_it_is_for_one_thing_once(self) -> None:
        self.given("a")
        self.assertFalse(self.given("b", speaks=True))
        self.assertTrue(self.given("b", speaks=True))
        self.assertFalse(self.given("b", speaks=True))

    def test_calls_that_are_over_are_forgotten(self) -> None:
        self.given("a")
        self.call = FakeControl()
        gc.collect()
        self.assertEqual(len(self.confirmation._asked), 0)

"""What a new conversation is told of the call so far."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.history import MOST_CHARACTERS, MOST_SAID, History
from portero.interfaces import Said


class HistoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.history = History()

    def test_it_replays_what_was_said_oldest_first(self) -> None:
        self.history.add("assistant", "Hello.", "a")
        self.history.add("user", "What time is it?", "b")
        self.assertEqual(
            self.history.replay(),
            (Said("assistant", "Hello."), Said("user", "What time is it?")),
        )

    def test_an_item_cut_after_its_text_came_is_shortened(self) -> None:
        self.history.add("assistant", "0123456789", "a")
        self.history.cut("a", 0.4)
        self.assertEqual(self.history.replay(), (Said("assistant", "0123…"),))

    def test_an_item_cut_before_its_text_came_is_shortened(self) -> None:
        self.history.cut("a", 0.4)
        self.history.add("assistant", "0123456789", "a")
        self.assertEqual(self.history.replay(), (Said("assistant", "0123…"),))

    def test_an_item_of_which_nothing_was_heard_was_not_said(self) -> None:
        self.history.add("assistant", "0123456789", "a")
        self.history.cut("a", 0.0)
        self.history.cut("b", 0.0)
        self.history.add("assistant", "0123456789", "b")
        self.assertEqual(self.history.replay(), ())

    def test_an_item_heard_to_its_end_keeps_its_text(self) -> None:
        self.history.add("assistant", "0123456789", "a")
        self.history.cut("a", 1.0)
        self.assertEqual(self.history.replay(), (Said("assistant", "0123456789"),))

    def test_empty_texts_are_not_kept(self) -> None:
        self.history.add("user", "", "a")
        self.assertEqual(self.history.replay(), ())

    def test_it_keeps_the_newest(self) -> None:
        for number in range(MOST_SAID + 5):
            self.history.add("user", str(number))
        replay = self.history.replay()
        self.assertEqual(len(replay), MOST_SAID)
        self.assertEqual(replay[-1].text, str(MOST_SAID + 4))
        self.assertEqual(replay[0].text, "5")

    def test_it_replays_the_newest_that_fit(self) -> None:
        self.history.add("user", "x" * (MOST_CHARACTERS - 1))
        self.history.add("user", "yy")
        self.assertEqual([said.text for said in self.history.replay()], ["yy"])

    def test_cuts_that_never_get_a_text_are_bounded(self) -> None:
        for number in range(3 * MOST_SAID):
            self.history.cut(str(number), 0.5)
        self.assertEqual(len(self.history._cut), MOST_SAID)

    @given(st.text(), st.floats(0, 1), st.booleans())
    def test_what_was_not_heard_is_not_replayed(
        self, text: str, share: float, cut_first: bool
    ) -> None:
        history = History()
        if cut_first:
            history.cut("a", share)
        history.add("assistant", text, "a")
        if not cut_first:
            history.cut("a", share)
        for said in history.replay():
            heard = said.text if share == 1 else said.text.removesuffix("…")
            self.assertTrue(text.startswith(heard))
            self.assertLessEqual(len(heard), round(len(text) * share))

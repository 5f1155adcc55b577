"""Tests of L{portero.logs.repeats}: nothing is left out without a word."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from portero.logs import repeats as module
from portero.logs.repeats import MOST_DISTINCT, Repeated, Repeats


class RepeatTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.repeats = Repeats()

    def tell(self, words: str = "broken: {why}", **fields: Any) -> bool:
        """@return: Whether it is written at once."""
        event = {"log_format": words, "log_namespace": "portero.x", **fields}
        return self.repeats.is_new(event, words.format(**fields))

    def due(self) -> list[Repeated]:
        return [*self.repeats.due()]

    def test_the_same_line_is_written_once_and_then_counted(self) -> None:
        written = [self.tell(why="no disk") for _ in range(42)]
        self.assertEqual(written, [True] + 41 * [False])
        (repeated,) = self.due()
        self.assertEqual(repeated.last["why"], "no disk")
        self.assertEqual(repeated.in_words, " [with 40 more like it in 10 s]")

    def test_one_that_comes_twice_is_only_late(self) -> None:
        self.tell(why="no disk")
        self.tell(why="no disk")
        (repeated,) = self.due()
        self.assertEqual((repeated.count, repeated.in_words), (1, ""))

    def test_what_does_not_repeat_is_no_more_told(self) -> None:
        self.tell(why="no disk")
        self.assertEqual(self.due(), [])

    def test_of_each_call_the_first_line_is_written(self) -> None:
        for call_id in ("a", "b"):
            self.assertTrue(self.tell(why="lost", call_id=call_id))
            self.assertFalse(self.tell(why="lost once more", call_id=call_id))
        (repeated,) = self.due()
        self.assertEqual((repeated.count, repeated.calls), (2, 2))

    def test_of_very_many_calls_it_is_said_how_many(self) -> None:
        written = [self.tell(why="lost", call_id=str(n)) for n in range(100)]
        self.assertEqual(written.count(True), MOST_DISTINCT)
        (repeated,) = self.due()
        self.assertEqual(
            repeated.in_words,
            f" [with {99 - MOST_DISTINCT} more like it in 10 s, "
            f"in {100 - MOST_DISTINCT} calls]",
        )

    def test_calls_are_counted_up_to_a_bound(self) -> None:
        self.patch(module, "MOST_CALLS", 20)
        for n in range(100):
            self.tell(why="lost", call_id=str(n))
        self.assertIn(", in 20 or more calls]", self.due()[0].in_words)

    def test_of_other_values_each_is_written(self) -> None:
        for name in ("reception", "door"):
            self.assertTrue(self.tell("agent {name} keeps nothing", name=name))

    def test_words_of_ours_are_the_words(self) -> None:
        """As when many lines tell what is wrong with a configuration."""
        for n in range(3 * MOST_DISTINCT):
            self.assertTrue(self.tell("{line}", line=f"p.toml:{n}: wrong"))

    def test_who_counts_himself_is_left_alone(self) -> None:
        for _ in range(3):
            self.assertTrue(self.tell("refused{more}", more=""))
        self.assertEqual(self.due(), [])

    def test_as_long_as_it_goes_on_there_is_a_line_in_each_window(self) -> None:
        self.tell(why="no disk")
        for _ in range(3):
            self.assertFalse(self.tell(why="no disk"))
            self.assertEqual(len(self.due()), 1)
        self.assertEqual(self.due(), [])
        self.assertTrue(self.tell(why="no disk"))

    def test_beyond_the_bound_all_is_written(self) -> None:
        self.patch(module, "MOST_WORDS", 5)
        for n in range(5):
            self.tell(f"words {n}")
        for _ in range(3):
            self.assertTrue(self.tell("other words"))
        self.assertEqual(len(self.repeats._told), 5)

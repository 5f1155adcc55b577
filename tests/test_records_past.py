"""What goes on a disk of a call, and what never does unless somebody says so."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from portero.facts import Facts
from portero.interfaces import HAPPENINGS
from portero.records.past import UNKEPT, discreet, has_words, short
from tests.kept_calls import CALLER, TALK, happened, past

AS_THEY_ARE = {
    *("state", "floor", "caller", "key", "sounding", "played_out", "cut", "turn"),
    *("barge_in", "false_alarm", "service", "operator", "recording", "error"),
}
"""Happenings without words, numbers or names of anybody."""


class DiscreetTests(SynchronousTestCase):
    def test_of_everything_that_happens_it_was_thought_about(self) -> None:
        without_words = {"said", "tool_began", "tool_ended"}
        self.assertEqual(AS_THEY_ARE | without_words | UNKEPT, set(HAPPENINGS))

    def test_by_default_neither_words_nor_whole_numbers(self) -> None:
        kept = discreet(past(), keep_words=False, whole_numbers=False)
        self.assertEqual(kept.record.facts, Facts("", "...678", "...567"))
        self.assertFalse(kept.has_words)
        self.assertNotIn("said", [each.kind for each in kept.happened])
        others = [each for each in past().happened if each.kind in AS_THEY_ARE]
        same = [each for each in kept.happened if each.kind in AS_THEY_ARE]
        self.assertEqual(same, others)

    def test_the_one_is_kept_without_the_other(self) -> None:
        words = discreet(past(), keep_words=True, whole_numbers=False)
        self.assertEqual(words.happened, past().happened)
        self.assertEqual(words.record.facts.caller_name, "")
        numbers = discreet(past(), keep_words=False, whole_numbers=True)
        self.assertEqual(numbers.record.facts.caller_name, CALLER.caller_name)
        self.assertFalse(numbers.has_words)

    def test_a_number_is_kept_as_it_is_dialled(self) -> None:
        facts = Facts("", "+34 600-123 678", "(200)")
        given = past(facts=facts)
        kept = discreet(given, keep_words=False, whole_numbers=True).record.facts
        self.assertEqual(
            (kept.caller_number, kept.called_number), ("+34600123678", "200")
        )

    def test_variables_and_channels_are_never_kept(self) -> None:
        facts = Facts("", "1", "2", "", "PJSIP/x-1", {"flat": "3B"})
        kept = discreet(past(facts=facts), keep_words=True, whole_numbers=True)
        self.assertEqual(kept.record.facts, Facts("", "1", "2"))

    def test_a_short_number(self) -> None:
        self.assertEqual(short("+34600123678"), "...678")
        self.assertEqual(short("12"), "...12")
        self.assertEqual(short(""), "")

    def test_what_the_agent_was_told_is_no_word_of_the_two(self) -> None:
        told = (1.0, "said", {"role": "system", "item": "", "text": "It is late."})
        self.assertFalse(has_words(happened(told)))
        self.assertTrue(has_words(happened(told, *TALK)))

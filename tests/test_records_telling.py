"""The story of a call, in lines."""

from __future__ import annotations

from string import Formatter
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from portero.interfaces import HAPPENINGS
from portero.records.telling import LONGEST_TEXT, told
from portero.records.telling_words import WORDS
from tests.kept_calls import past


class TellingTests(SynchronousTestCase):
    def told(self, *talk: tuple[float, str, dict[str, Any]]) -> list[tuple[float, str]]:
        return [(line.at, line.text) for line in told(past(talk=talk))]

    def test_a_turn(self) -> None:
        found = self.told(
            (0.0, "state", {"state": "connecting"}),
            (0.3, "service", {"ready_ms": 310}),
            (3.0, "caller", {"speaking": True}),
            (5.0, "caller", {"speaking": False}),
            (5.6, "turn", {"turn": 1, "came_ms": 500, "sounded_ms": 560}),
            (5.6, "sounding", {"item": "a2"}),
            (9.0, "played_out", {"item": "a2"}),
        )
        right = [
            (0.3, "the voice service was ready, after 310 ms"),
            (3.0, "the caller spoke for 2.0 s"),
            (5.6, "the agent spoke for 3.4 s, 560 ms after the caller"),
        ]
        self.assertEqual(found, right)

    def test_the_turn_may_be_told_after_its_sound(self) -> None:
        found = self.told(
            (5.6, "sounding", {"item": "a2"}),
            (5.61, "turn", {"turn": 1, "came_ms": 500, "sounded_ms": 560}),
            (8.0, "sounding", {"item": "a3"}),
            (9.0, "played_out", {"item": "a2"}),
            (9.5, "played_out", {"item": "a3"}),
        )
        right = [
            (5.6, "the agent spoke for 3.4 s, 560 ms after the caller"),
            (8.0, "the agent spoke for 1.5 s"),
        ]
        self.assertEqual(found, right)

    def test_a_turn_that_never_sounded(self) -> None:
        turn = {"turn": 1, "came_ms": None, "sounded_ms": None}
        self.assertEqual(self.told((5.6, "turn", turn)), [])

    def test_an_interruption(self) -> None:
        found = self.told(
            (1.0, "sounding", {"item": "a"}),
            (2.0, "barge_in", {}),
            (2.0, "cut", {"item": "a", "heard_ms": 980, "given_ms": 4000}),
            (2.0, "cut", {"item": "never heard", "heard_ms": 0, "given_ms": 900}),
            (7.0, "false_alarm", {}),
        )
        right = [
            (1.0, "the agent was cut short: of 4.0 s, 1.0 s were heard"),
            (2.0, "the caller interrupted"),
            (7.0, "a sound of the caller's made the agent pause"),
        ]
        self.assertEqual(found, right)

    def test_sounds_of_our_own(self) -> None:
        found = self.told(
            (1.0, "sounding", {"item": "prompt apology"}),
            (3.0, "sounding", {"item": "sound 4: digits"}),
            (4.0, "played_out", {"item": "prompt apology"}),
        )
        right = [(1.0, "portero played apology"), (3.0, "portero played 4: digits")]
        self.assertEqual(found, right)

    def test_what_was_going_on_at_the_end(self) -> None:
        found = self.told(
            (1.0, "tool_began", {"tool": 1, "name": "book", "arguments": ""}),
            (2.0, "caller", {"speaking": True}),
            (2.5, "sounding", {"item": "a"}),
        )
        right = [
            (1.0, "the tool book was still running when the call ended"),
            (2.0, "the caller spoke, and the call ended"),
            (2.5, "the agent spoke, and the call ended"),
        ]
        self.assertEqual(found, right)

    def test_keys_in_a_row_are_one_line(self) -> None:
        found = self.told(
            *((at, "key", {}) for at in (1.0, 1.2, 1.4)),
            (2.0, "false_alarm", {}),
            (3.0, "key", {}),
        )
        texts = [text for _, text in found]
        self.assertEqual(texts[0], "the caller pressed 3 key(s)")
        self.assertEqual(texts[2], "the caller pressed 1 key(s)")

    def test_tools(self) -> None:
        about = {"tool": 1, "name": "book"}
        ended = {**about, "result": "error: 502", "ok": False, "ms": 900}
        found = self.told(
            (1.0, "tool_began", {**about, "arguments": ""}),
            (1.9, "tool_ended", ended),
            (9.0, "tool_ended", {**ended, "tool": 7, "ok": True}),
        )
        right = [
            (1.0, "the tool book did not do what it was asked, in 900 ms"),
            (9.0, "the tool book did what it was asked, in 900 ms"),
        ]
        self.assertEqual(found, right)

    def test_what_was_said_is_there_where_it_was_kept(self) -> None:
        long = "no\n" * 200
        found = self.told(
            (1.0, "said", {"role": "assistant", "item": "a", "text": "Good day."}),
            (2.0, "said", {"role": "user", "item": "u", "text": long}),
            (3.0, "said", {"role": "system", "item": "s", "text": "about the call"}),
        )
        self.assertEqual(found[0], (1.0, 'the agent said "Good day."'))
        self.assertEqual(len(found), 2)
        self.assertLess(len(found[1][1]), LONGEST_TEXT + 30)
        self.assertNotIn("\n", found[1][1])

    def test_losses_errors_and_operators(self) -> None:
        found = self.told(
            (1.0, "service", {"lost": "closed: 1006", "final": False}),
            (2.0, "service", {"lost": "no credit", "final": True}),
            (3.0, "operator", {"who": "ana", "did": "transfer", "target": "desk"}),
            (4.0, "operator", {"who": "ana", "did": "hang_up", "target": ""}),
            (5.0, "error", {"reason": "internal error"}),
        )
        right = [
            (1.0, "the voice service was lost: closed: 1006"),
            (2.0, "the voice service was lost for good: no credit"),
            (3.0, "ana: transfer desk"),
            (4.0, "ana: hang_up"),
            (5.0, "something failed in portero: internal error"),
        ]
        self.assertEqual(found, right)

    def test_whatever_is_missing_nothing_fails(self) -> None:
        """Records of another version may have other data."""
        for language in ("en", "es"):
            for kind in HAPPENINGS:
                if kind != "operator":
                    told(past(talk=[(1.0, kind, {}), (2.0, kind, {})]), language)

    def test_both_languages_have_the_same_gaps(self) -> None:
        for name, texts in WORDS.items():
            english, spanish = (
                sorted(gap for _, gap, _, _ in Formatter().parse(text) if gap)
                for text in texts
            )
            self.assertEqual(english, spanish, name)

"""What is said of a call that did not go as it should; and of one that did."""

from __future__ import annotations

from string import Formatter
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from portero.interfaces import LegFigures
from portero.record import Outcome
from portero.records import verdict
from portero.records.past import Past, discreet
from portero.records.verdict_words import WORDS
from tests.kept_calls import past, record

FIGURES: dict[str, Any] = {
    "frames_sent": 2125,
    "frames_received": 2125,
    "filled_ms": 240,
    "lateness_p99_ms": 0.8,
    "jitter_ms": 1.5,
    "underruns": 1,
}
SOUND: tuple[Any, ...] = (
    (0.0, "state", {"state": "connecting"}),
    (0.3, "service", {"ready_ms": 310}),
    (0.9, "sounding", {"item": "a1"}),
    (3.0, "caller", {"speaking": True}),
    (5.0, "caller", {"speaking": False}),
    (5.6, "turn", {"turn": 1, "came_ms": 500, "sounded_ms": 560}),
    (5.6, "sounding", {"item": "a2"}),
    (9.0, "barge_in", {}),
    (11.0, "turn", {"turn": 2, "came_ms": 700, "sounded_ms": 730}),
    (12.0, "false_alarm", {}),
)


def tool(at: float, number: int, ms: int, ok: bool = True, result: str = "") -> Any:
    about = {"tool": number, "name": "order_status"}
    return (
        (at, "tool_began", {**about, "arguments": ""}),
        (at + ms / 1000, "tool_ended", {**about, "result": result, "ok": ok, "ms": ms}),
    )


class VerdictTests(SynchronousTestCase):
    def call(
        self, more: Any = (), talk: Any = SOUND, seconds: float = 42.5, **figures: Any
    ) -> Past:
        """@param figures: What is different, of the leg."""
        outcome = figures.pop("outcome", Outcome.WELL)
        tokens = figures.pop("tokens", 1234)
        told = sorted([*talk, *more], key=lambda each: each[0])
        leg = LegFigures(**{**FIGURES, **figures})
        return past(
            talk=told, seconds=seconds, outcome=outcome, tokens=tokens, figures=leg
        )

    def found(self, name: str, given: Past) -> str:
        """
        @param name: Of the one rule that finds something.
        @return: Its words.
        """
        (english,) = verdict.verdict(given)
        (spanish,) = verdict.verdict(given, "es")
        for language, words in enumerate((english, spanish)):
            begins = WORDS[name][language].split("{")[0]
            self.assertTrue(words.startswith(begins), words)
        return english

    def clean(self, given: Past) -> None:
        self.assertEqual(verdict.verdict(given), [])

    def test_nothing_is_said_of_a_clean_call(self) -> None:
        self.clean(self.call())
        self.clean(self.call(tool(6.0, 1, 900)))

    def test_nothing_is_said_of_a_short_one(self) -> None:
        self.clean(self.call((), SOUND[:1], 1.0, frames_received=0, frames_sent=50))

    def test_nor_where_nothing_is_known_of_what_happened(self) -> None:
        self.clean(self.call((), ()))

    def test_an_error_of_ours(self) -> None:
        said = self.found(
            "broken", self.call([(9.0, "error", {"reason": "internal error"})])
        )
        self.assertIn("(internal error)", said)
        self.assertIn(record().call_id, said)

    def test_a_service_that_was_never_ready(self) -> None:
        talk = (
            SOUND[0],
            (1.0, "service", {"lost": "connection refused.", "final": False}),
        )
        failed: dict[str, Any] = {"outcome": Outcome.FAILED, "tokens": 0}
        said = self.found("not_reached", self.call((), talk, **failed))
        self.assertIn("connection refused. Look", said)
        # Somebody who hangs up at once has not waited for it.
        self.clean(self.call((), SOUND[:1], 1.0, tokens=0))
        # Of this one the beginning is forgotten.
        self.clean(self.call((), SOUND[2:], 9000.0, outcome=Outcome.FAILED))

    def test_a_connection_that_was_lost(self) -> None:
        lost = {"lost": "closed: 1006", "final": False}
        told = [(t, "service", lost) for t in (20.0, 30.0)]
        said = self.found("lost", self.call(told))
        self.assertIn("2 in all, first because: closed: 1006", said)

    def test_no_sound_of_the_caller(self) -> None:
        given = self.call(frames_received=0, filled_ms=42000)
        self.assertIn("in 42 s", self.found("not_heard", given))

    def test_no_sound_of_the_agent(self) -> None:
        talk = [each for each in SOUND if each[1] not in ("sounding", "turn")]
        self.assertIn("42 s", self.found("silent_agent", self.call((), talk)))
        apology = (30.0, "sounding", {"item": "prompt apology"})
        self.assertIn("42 s", self.found("silent_agent", self.call([apology], talk)))

    def test_a_caller_who_says_nothing(self) -> None:
        talk = [each for each in SOUND if each[1] not in ("caller", "turn")]
        self.assertIn("42 s", self.found("silent_caller", self.call((), talk)))
        self.clean(self.call([(9.0, "key", {})], talk))
        self.clean(self.call((), talk, 15.0))

    def test_holes(self) -> None:
        said = self.found("missing", self.call(filled_ms=9000))
        self.assertIn("Of 42 s, 9.0 s", said)
        self.clean(self.call(filled_ms=5000))
        self.clean(self.call(seconds=4.0, filled_ms=1500))

    def test_jitter(self) -> None:
        self.assertIn("45 ms", self.found("uneven", self.call(jitter_ms=44.6)))
        self.clean(self.call(jitter_ms=29.0))

    def test_sound_that_is_none(self) -> None:
        said = self.found("odd_sound", self.call(oddities={"odd lengths": 4}))
        self.assertIn("(odd lengths: 4)", said)
        self.clean(self.call(oddities={"unknown kinds": 1}))

    def test_a_machine_that_stood_still(self) -> None:
        self.assertIn("120 ms", self.found("stood_still", self.call(frames_skipped=6)))
        self.clean(self.call(frames_skipped=4))

    def test_a_busy_machine(self) -> None:
        self.assertIn("18 ms", self.found("late", self.call(lateness_p99_ms=18.2)))
        self.clean(self.call(lateness_p99_ms=9.0))
        self.clean(self.call(lateness_p99_ms=18.2, frames_sent=200))

    def test_underruns(self) -> None:
        self.assertIn("3 times", self.found("ran_dry", self.call(underruns=3)))

    def test_a_slow_connection(self) -> None:
        talk = ((3.6, "service", {"ready_ms": 3600}), *SOUND[2:])
        said = self.found("slow_to_connect", self.call((), talk))
        self.assertIn("3.6 s", said)

    def test_a_slow_service(self) -> None:
        talk = (
            *SOUND[:5],
            (7.0, "turn", {"turn": 1, "came_ms": 1900, "sounded_ms": 1960}),
        )
        said = self.found("slow_service", self.call((), talk))
        self.assertIn("1.9 s (median of 1 turns)", said)

    def test_answers_that_we_held_back(self) -> None:
        talk = (
            *SOUND[:5],
            (7.0, "turn", {"turn": 1, "came_ms": 500, "sounded_ms": 900}),
        )
        self.assertIn("400 ms", self.found("held_back", self.call((), talk)))

    def test_an_echo(self) -> None:
        told: list[Any] = []
        for at in (15.0, 20.0, 25.0):
            told += [(at, "sounding", {"item": "x"}), (at + 1.5, "barge_in", {})]
        self.assertIn("3 times", self.found("echo", self.call(told)))
        late = [
            (at + (1.0 if kind == "barge_in" else 0.0), kind, data)
            for at, kind, data in told
        ]
        self.clean(self.call(late))

    def test_noise(self) -> None:
        told: Any = [(20.0 + n, "false_alarm", {}) for n in range(4)]
        self.assertIn("5 times", self.found("noise", self.call(told)))

    def test_a_slow_tool(self) -> None:
        told = [*tool(14.0, 1, 5200), *tool(20.0, 2, 4100)]
        said = self.found("slow_tool", self.call(told))
        self.assertIn("order_status took 5.2 s", said)

    def test_a_tool_that_waits_for_keys_is_not_slow(self) -> None:
        self.clean(self.call([*tool(14.0, 1, 9000), (17.0, "key", {})]))

    def test_a_tool_that_fails(self) -> None:
        told = [
            *tool(14.0, 1, 10, False, "error: 502"),
            *tool(15.0, 2, 10, False),
            *tool(16.0, 3, 10, False, "not yet: ask first"),
        ]
        said = self.found("failing_tool", self.call(told))
        self.assertIn("order_status did not do what it was asked 2 times", said)
        self.clean(self.call(told[2:]))

    def test_the_gravest_comes_first(self) -> None:
        given = self.call(
            [(9.0, "error", {"reason": "internal error"})], underruns=9, jitter_ms=80
        )
        said = verdict.verdict(given)
        begins = [WORDS[name][0][:12] for name in ("broken", "uneven", "ran_dry")]
        self.assertEqual([words[:12] for words in said], begins)

    def test_both_languages_have_the_same_gaps(self) -> None:
        self.assertEqual(WORDS.keys(), verdict._RULES.keys())
        for name, texts in WORDS.items():
            english, spanish = (
                sorted(gap for _, gap, _, _ in Formatter().parse(text) if gap)
                for text in texts
            )
            self.assertEqual(english, spanish, name)
            self.assertNotEqual(*texts)

    def test_it_says_the_same_of_what_the_records_kept(self) -> None:
        told = [*tool(14.0, 1, 5200), *tool(15.0, 2, 9, False, "not yet: ask Juan")]
        given = self.call(told, underruns=3)
        kept = discreet(given, keep_words=False, whole_numbers=False)
        self.assertEqual(verdict.verdict(kept), verdict.verdict(given))

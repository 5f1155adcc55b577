"""What one call adds up to, as an operator reads it."""

from __future__ import annotations

from dataclasses import replace

from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from portero.facts import Facts
from portero.interfaces import LegFigures
from portero.record import Outcome, Record
from portero.tally import Tally
from tests.fake_call import unwatched

RECORD = Record(
    "c1",
    "reception",
    Facts(caller_name="Ana", caller_number="+34600111222"),
    "2026-11-21T02:00:00+00:00",
    62.04,
    Outcome.WELL,
    "caller hung up",
    next="",
    turns=3,
    barge_ins=2,
    latency_ms=400,
    tokens=111,
    dollars=0.02134,
)


class TallyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tally = Tally(unwatched())

    def test_each_turn_is_one_line(self) -> None:
        with capturedLogs() as events:
            self.tally.replied("c1", 410, 428)
            self.tally.replied("c1", 300, 320)
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "call c1: turn 1: 410 ms from the end of the caller's speech to the "
                "first audio, 428 ms to the first frame",
                "call c1: turn 2: 300 ms from the end of the caller's speech to the "
                "first audio, 320 ms to the first frame",
            ],
        )
        self.assertEqual(events[1]["turn"], 2)
        self.assertEqual(self.tally.latencies, [428, 320])

    def test_the_latency_of_a_call_is_the_median_of_its_turns(self) -> None:
        self.assertIsNone(self.tally.latency_ms)
        for sounded in (500, 300, 400):
            self.tally.replied("c1", 200, sounded)
        self.assertEqual(self.tally.latency_ms, 400)

    def test_tokens_are_added_up_by_name(self) -> None:
        self.tally.used({"total_tokens": 100, "input.text_tokens": 60})
        self.tally.used({"total_tokens": 11})
        self.assertEqual(
            self.tally.tokens, {"total_tokens": 111, "input.text_tokens": 60}
        )

    def test_the_summary_is_one_line_with_all_figures(self) -> None:
        leg = LegFigures(
            frames_sent=3100,
            frames_skipped=1,
            underruns=4,
            filled_ms=240,
            lateness_p99_ms=0.75,
        )
        self.tally.false_alarms = 1
        with capturedLogs() as events:
            self.tally.summary(RECORD, leg)
        (event,) = events
        self.assertEqual(
            formatEvent(event),
            "call c1 ended well: caller hung up; agent reception, 62.0 s, 3 turns, "
            "reply after 400 ms (median), 2 barge-ins and 1 false ones, 4 underruns, "
            "3100 frames sent and 1 skipped, lateness p99 0.75 ms, 240 ms of caller "
            "audio filled in, 111 tokens for $0.0213",
        )
        self.assertIs(event["log_level"], LogLevel.info)
        self.assertEqual(event["call_id"], "c1")
        self.assertEqual(event["seconds"], 62.04)

    def test_it_has_no_name_and_no_number(self) -> None:
        with capturedLogs() as events:
            self.tally.summary(RECORD, LegFigures())
        self.assertNotIn("Ana", str(events))
        self.assertNotIn("600111222", str(events))

    def test_a_call_without_turns_or_price_that_failed_says_so(self) -> None:
        record = replace(
            RECORD,
            outcome=Outcome.FAILED,
            reason="internal error",
            turns=0,
            latency_ms=None,
            dollars=None,
        )
        with capturedLogs() as events:
            self.tally.summary(record, LegFigures())
        text = formatEvent(events[0]) or ""
        self.assertIn("ended badly: internal error; ", text)
        self.assertIn("0 turns, reply after - ms", text)
        self.assertTrue(text.endswith("111 tokens"), text)

    def test_a_transfer_is_a_good_end(self) -> None:
        record = replace(RECORD, outcome=Outcome.TRANSFERRED, reason="to sales")
        with capturedLogs() as events:
            self.tally.summary(record, LegFigures())
        self.assertIn("ended well: to sales", formatEvent(events[0]) or "")

"""What one call adds up to, as an operator reads it."""

from __future__ import annotations

from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from portero.interfaces import LegFigures
from portero.tally import Tally


class TallyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tally = Tally()

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

    def test_the_summary_is_one_line_with_all_figures(self) -> None:
        for sounded in (500, 300, 400):
            self.tally.replied("c1", 200, sounded)
        self.tally.barge_ins = 2
        self.tally.used({"total_tokens": 100, "input_tokens": 60})
        self.tally.used({"total_tokens": 11})
        leg = LegFigures(
            frames_sent=3100,
            frames_skipped=1,
            underruns=4,
            filled_ms=240,
            lateness_p99_ms=0.75,
        )
        with capturedLogs() as events:
            self.tally.summary("c1", "caller hung up", False, 62.04, leg)
        (event,) = events
        self.assertEqual(
            formatEvent(event),
            "call c1 ended well: caller hung up; 62.0 s, 3 turns, reply after 400 ms "
            "(median), 2 barge-ins, 4 underruns, 3100 frames sent and 1 skipped, "
            "lateness p99 0.75 ms, 240 ms of caller audio filled in, 111 tokens",
        )
        self.assertIs(event["log_level"], LogLevel.info)
        self.assertEqual(event["call_id"], "c1")
        self.assertEqual(event["seconds"], 62.04)

    def test_a_call_without_turns_that_failed_says_so(self) -> None:
        with capturedLogs() as events:
            self.tally.summary("c1", "internal error", True, 1.0, LegFigures())
        text = formatEvent(events[0])
        self.assertIn("ended badly: internal error; ", text)
        self.assertIn("0 turns, reply after - ms", text)

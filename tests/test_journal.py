"""A call as others see it: while it is under way, and when it is over."""

from __future__ import annotations

import json
from datetime import datetime

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from portero.departure import Departure
from portero.facts import Facts
from portero.journal import Journal
from portero.record import Outcome
from portero.tally import Tally
from portero.toolbox import Toolbox
from tests.fake_call import AGENT, Broken, FakeLeg, FakeProvider, assignment, unwatched

ANA = Facts(caller_name="Ana", caller_number="+34600111222", called_number="100")


class JournalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.leg = FakeLeg()
        self.tally = Tally(unwatched())
        self.assignment = assignment(
            FakeProvider(), Toolbox((), self.clock, 1.0), facts=ANA, fallback="a,1,1"
        )
        self.departure = Departure(
            "call-1", self.assignment, self.leg, self.clock, self.fail
        )
        self.clock.advance(7.0)
        self.journal = Journal(
            "call-1", self.assignment, self.leg, self.clock, self.tally
        )

    def use(self, **counts: int) -> None:
        self.tally.used(counts)
        self.assignment.meter.used(counts)

    def test_as_it_stands_it_is_plain_json(self) -> None:
        self.tally.replied("call-1", 410, 428)
        self.use(**{"input.text_tokens": 2, "total_tokens": 3})
        self.clock.advance(5.04)
        found = self.journal.snapshot("talking", "speaking")
        self.assertEqual(json.loads(json.dumps(found)), found)
        wanted = {
            **{"id": "call-1", "agent": AGENT, "caller_name": "Ana"},
            **{"caller_number": "+34600111222", "called_number": "100"},
            **{"peer": "192.0.2.1:5060", "state": "talking", "floor": "speaking"},
            **{"seconds": 5.0, "turns": 1, "barge_ins": 0, "false_alarms": 0},
            **{"last_latency_ms": 428, "underruns": 2, "lateness_p99_ms": 0.5},
            **{"caller_rate": 8000, "agent_rate": 8000, "tokens": 3, "dollars": 2.0},
            **{"waiting_ms": 0, "jitter_ms": 0.0, "filled_ms": 0, "prefill_ms": 0},
            **{"frames_sent": 7, "frames_received": 0, "frames_skipped": 0},
        }
        self.assertIsNotNone(datetime.fromisoformat(found.pop("began")).tzinfo)
        self.assertEqual(found, wanted)

    def test_what_has_no_price_has_none(self) -> None:
        self.use(unheard_of=5)
        self.assertIsNone(self.journal.snapshot("talking", "listening")["dollars"])
        self.journal.close(self.departure)
        assert self.journal.record is not None
        self.assertIsNone(self.journal.record.dollars)

    def test_when_it_is_over_there_is_a_record_and_a_line_of_it(self) -> None:
        self.assertIsNone(self.journal.record)
        self.clock.advance(62.0)
        self.departure.because("the agent hung up")
        self.departure.transfer("house,100,1", "transferred to sales")
        with capturedLogs() as events:
            self.journal.close(self.departure)
        found = self.journal.record
        assert found is not None
        self.assertEqual((found.call_id, found.agent), ("call-1", AGENT))
        self.assertIs(found.facts, ANA)
        self.assertIs(found.outcome, Outcome.TRANSFERRED)
        self.assertEqual(found.reason, "transferred to sales")
        self.assertEqual((found.next, found.seconds), ("house,100,1", 62.0))
        self.assertIsNotNone(datetime.fromisoformat(found.began).tzinfo)
        (line,) = [formatEvent(event) or "" for event in events]
        self.assertIn("call-1 ended well: transferred to sales", line)

    def test_a_fault_is_the_reason_that_is_kept(self) -> None:
        self.departure.because("the agent hung up")
        self.departure.fail("no credit")
        self.journal.close(self.departure)
        found = self.journal.record
        assert found is not None
        self.assertEqual((found.reason, found.next), ("no credit", "a,1,1"))

    def test_its_length_is_fixed_at_its_end(self) -> None:
        self.clock.advance(3.0)
        self.assertEqual(self.journal.seconds(), 3.0)
        self.journal.close(self.departure)
        self.clock.advance(60.0)
        self.assertEqual(self.journal.seconds(), 3.0)

    def test_a_leg_without_figures_costs_no_more_than_these(self) -> None:
        self.leg.breaks.add("figures")
        self.assertEqual(self.journal.snapshot("talking", "floor")["underruns"], 0)
        self.journal.close(self.departure)
        self.assertIsNotNone(self.journal.record)
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 2)

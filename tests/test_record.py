"""What is left of a call when it is over."""

from __future__ import annotations

import json
from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from portero.facts import Facts
from portero.reception import ANSWERS_NEXT
from portero.record import Outcome, Record

RECORD = Record(
    "c1",
    "reception",
    Facts(caller_name="Ana", variables={"vip": "yes"}),
    "2026-11-21T02:00:00+00:00",
    62.4,
    Outcome.TRANSFERRED,
    "transferred to sales",
    next="house,100,1",
    turns=3,
    barge_ins=2,
    latency_ms=400,
    tokens=111,
    dollars=0.02134,
)


class RecordTests(SynchronousTestCase):
    def test_the_dialplan_gets_texts_under_the_names_that_it_knows(self) -> None:
        self.assertEqual(
            RECORD.answer(),
            {
                "outcome": "transferred",
                "next": "house,100,1",
                "reason": "transferred to sales",
                "seconds": "62",
                "turns": "3",
                "cost": "0.0213",
                "agent": "reception",
                "summary": "reception: 62 s, 3 turns, $0.0213, transferred: "
                "transferred to sales",
            },
        )
        self.assertEqual(set(RECORD.answer()), set(ANSWERS_NEXT))

    def test_a_price_that_is_not_known_is_not_nothing(self) -> None:
        unknown = replace(RECORD, dollars=None)
        self.assertEqual(unknown.answer()["cost"], "")
        self.assertNotIn("$", unknown.summary)
        free = replace(RECORD, dollars=0.0)
        self.assertEqual(free.answer()["cost"], "0.0000")
        self.assertIn("$0.0000", free.summary)

    def test_all_of_it_is_json(self) -> None:
        found = json.loads(json.dumps(RECORD.as_json()))
        self.assertEqual(found["outcome"], "transferred")
        self.assertEqual(found["facts"]["variables"], {"vip": "yes"})
        self.assertEqual(found["seconds"], 62.4)
        self.assertEqual(found["summary"], RECORD.summary)

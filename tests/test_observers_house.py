"""Tests of L{portero.observers.house}."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

from zope.interface.verify import verifyObject

from portero.call import Call
from portero.errors import Refused
from portero.facts import Facts
from portero.interfaces import IObserver, LegFigures, Loss, ProviderReport
from portero.lag import EVERY, IN_A_ROW, TOO_LATE, ReactorLag
from portero.observers.house import House, resident_bytes
from portero.record import Outcome
from tests.test_reception import record
from tests.test_service import BridgeCase

HERE = timezone(timedelta(hours=2))


class HouseCase(BridgeCase):
    def setUp(self) -> None:
        super().setUp()
        self.today = datetime(2026, 11, 21, 9, 30, tzinfo=HERE)
        self.lag = ReactorLag(self.clock)
        self.house = self.open()

    def open(self) -> House:
        house = House(self.bridge, self.lag, lambda: self.today)
        self.bridge.watchers.add(house)
        return house

    def ends(self, call_id: str, *, badly: bool = False) -> None:
        """A call comes, and goes."""
        self.call(call_id)[0].drop(in_order=not badly)

    def turn(self, call: Call, ms: int) -> None:
        """The caller says something, and hears the reply so much later."""
        service = self.provider.conversations[-1]
        service.events.caller_started()
        service.events.caller_stopped()
        self.clock.advance(ms / 1000)
        service.speak(f"reply {self.clock.seconds()}")
        call.sounding("reply")

    def hours(self) -> dict[int, tuple[int, int, int]]:
        """Those of today in which a call ended: well, transferred, failed."""
        return {
            hour["hour"]: counts
            for hour in self.house.report()["calls"]["by_hour"]
            if any(counts := (hour["well"], hour["transferred"], hour["failed"]))
        }


class HouseTests(HouseCase):
    def test_it_is_an_observer(self) -> None:
        verifyObject(IObserver, self.house)

    def test_at_the_start_it_is_empty_and_plain_json(self) -> None:
        found = self.house.report()
        self.assertEqual(json.loads(json.dumps(found)), found)
        hours = found["calls"].pop("by_hour")
        self.assertEqual([hour["hour"] for hour in hours], list(range(24)))
        self.assertEqual(
            found["calls"], {"now": 0, "most": 100, "answered": 0, "refused": 0}
        )
        self.assertEqual(found["since"], "2026-11-21T07:30:00+00:00")
        self.assertEqual(found["latency"], {"turns": 0, "p50_ms": None, "p95_ms": None})
        self.assertEqual(found["lag_ms"], {"p99": 0, "worst": 0})
        self.assertEqual((found["ready"], found["problem"]), (True, ""))

    def test_calls_count_in_the_hour_in_which_they_end(self) -> None:
        self.ends("1")
        leg, _ = self.call("2")
        self.today += timedelta(hours=1)
        leg.drop(in_order=False)
        self.assertEqual(self.hours(), {9: (1, 0, 0), 10: (0, 0, 1)})

    def test_a_transferred_call_is_one_of_its_own(self) -> None:
        self.house.call_ended(record(outcome=Outcome.TRANSFERRED), LegFigures())
        self.assertEqual(self.hours(), {9: (0, 1, 0)})

    def test_midnight_begins_a_new_day(self) -> None:
        _, call = self.call("1")
        self.turn(call, 400)
        self.ends("2")
        self.today = datetime(2026, 11, 22, 0, 0, tzinfo=HERE)
        found = self.house.report()
        self.assertEqual((self.hours(), found["latency"]["turns"]), ({}, 0))
        self.ends("3")
        self.assertEqual(self.hours(), {0: (1, 0, 0)})

    def test_a_midnight_that_nobody_looked_at_is_one_too(self) -> None:
        self.ends("1")
        self.today += timedelta(days=1)
        self.ends("2")
        self.assertEqual(self.hours(), {9: (1, 0, 0)})

    def test_latencies_are_those_of_all_turns(self) -> None:
        _, call = self.call("1")
        for ms in (*[410] * 18, 905, 905):
            self.turn(call, ms)
        self.assertEqual(
            self.house.report()["latency"],
            {"turns": 20, "p50_ms": 420, "p95_ms": 910},
        )

    def test_what_takes_longer_than_can_be_told_is_still_counted(self) -> None:
        _, call = self.call("1")
        self.turn(call, 7000)
        self.assertGreaterEqual(self.house.report()["latency"]["p50_ms"], 6000)

    def test_underruns_of_calls_under_way_count_and_do_so_once(self) -> None:
        leg, _ = self.call("1")
        each = leg.figures().underruns
        self.call("2")
        self.assertEqual(self.house.report()["underruns"], 2 * each)
        leg.drop()
        self.assertEqual(self.house.report()["underruns"], 2 * each)

    def test_losses_and_internal_errors_are_errors(self) -> None:
        _, call = self.call("1")
        self.provider.conversations[-1].events.lost(Loss("gone", final=False))
        self.assertEqual(self.house.report()["errors"], 1)
        self.clock.advance(5)
        self.provider.conversations[-1].events.ready()
        self.assertEqual(self.house.report()["errors"], 1)
        try:
            raise ValueError("a mistake")
        except ValueError:
            call.crashed()
        self.flushLoggedErrors(ValueError)
        self.assertEqual(self.house.report()["errors"], 2)

    def test_it_says_what_keeps_calls_away(self) -> None:
        self.bridge.draining = True
        found = self.house.report()
        self.assertEqual((found["ready"], found["problem"]), (False, "draining"))
        self.assertTrue(found["draining"])

    def test_a_reactor_that_is_late_keeps_calls_away(self) -> None:
        self.lag.startService()
        for _ in range(IN_A_ROW):
            self.clock.advance(EVERY + TOO_LATE)
        found = self.house.report()
        self.assertIn("the reactor is 0.5 s late", found["problem"])
        self.assertEqual(found["lag_ms"]["worst"], 500)
        self.assertEqual(self.house.problem(), found["problem"])
        self.lag.stopService()

    def test_limits_and_refusals_are_told(self) -> None:
        self.bridge.max_calls = 1
        self.call("1")
        self.assertRaises(Refused, self.bridge.announce, Facts())
        calls = self.house.report()["calls"]
        self.assertEqual(
            [calls[name] for name in ("now", "most", "answered", "refused")],
            [1, 1, 1, 1],
        )

    def test_a_voice_service_is_told_with_how_it_does(self) -> None:
        report = ProviderReport("api.example", "", 212, "HTTP 503", 61.7, {"x": 1})
        self.provider.report = lambda: report  # type: ignore[method-assign]
        (found,) = self.house.report()["providers"]
        self.assertEqual(
            found,
            {
                "name": "demo",
                "service": "api.example",
                "problem": "",
                "handshake_ms": 212,
                "last_error": "HTTP 503",
                "last_error_seconds": 62,
            },
        )

    def test_memory_is_of_this_process(self) -> None:
        self.assertGreater(resident_bytes(), 10e6)
        self.assertApproximates(
            self.house.report()["rss_mb"], resident_bytes() / 1e6, 20
        )

"""How a call ends: why, how well, and where its caller goes on then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import TimeoutError
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from portero.departure import REDIRECT_WITHIN, Departure
from portero.facts import Facts
from portero.record import Outcome
from portero.toolbox import Toolbox
from tests.fake_call import Broken, FakeLeg, FakePbx, FakeProvider, assignment

SALES = "house,100,1"
DESK = "house,1,1"
CHANNEL = Facts(channel="PJSIP/100-00000001")


class DepartureTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.leg = FakeLeg()
        self.pbx = FakePbx()
        self.crashes: list[str] = []

    def departure(self, **given: Any) -> Departure:
        """@param given: Of L{assignment}."""
        given = {"fallback": DESK, **given}
        return Departure(
            "call-1",
            assignment(FakeProvider(), Toolbox((), self.clock, 1.0), **given),
            self.leg,
            self.clock,
            lambda: self.crashes.append("crashed"),
        )

    def check(self, found: Departure, outcome: Outcome, reason: str, to: str) -> None:
        self.assertIs(found.outcome, outcome)
        self.assertEqual((found.reason, found.next), (reason, to))

    def test_the_first_reason_counts(self) -> None:
        found = self.departure()
        found.because("caller hung up")
        found.because("the agent hung up")
        self.check(found, Outcome.WELL, "caller hung up", "")

    def test_who_fails_goes_to_the_fallback(self) -> None:
        found = self.departure()
        found.because("the agent hung up")
        found.fail("no credit")
        found.fail("internal error")
        self.check(found, Outcome.FAILED, "the agent hung up", DESK)
        self.assertEqual(found.failure, "no credit")

    def test_who_is_handed_over_goes_there_and_not_anywhere_else_then(self) -> None:
        found = self.departure()
        found.because("the agent hung up")
        self.assertTrue(found.transfer(SALES, "transferred to sales"))
        self.assertFalse(found.transfer("evil,900,1", "transferred to evil"))
        self.check(found, Outcome.TRANSFERRED, "transferred to sales", SALES)

    def test_who_stays_has_no_reason_to_go_any_more(self) -> None:
        found = self.departure()
        found.transfer(SALES, "transferred to sales")
        found.stay()
        self.check(found, Outcome.WELL, "", "")
        self.assertTrue(found.transfer(SALES, "transferred to sales"))

    def test_who_was_not_to_be_handed_over_keeps_the_reason(self) -> None:
        found = self.departure()
        found.because("nobody was speaking")
        found.stay()
        self.check(found, Outcome.WELL, "nobody was speaking", "")

    def test_who_is_hung_up_on_goes_nowhere_whatever_was_before(self) -> None:
        def choose(found: Departure) -> None:
            found.choose(SALES, "the caller pressed 1")
            found.fail("no credit")

        befores: tuple[Callable[[Departure], object], ...] = (
            lambda found: found.because("the agent hung up"),
            lambda found: found.fail("no credit"),
            lambda found: found.transfer(SALES, "transferred to sales"),
            choose,
        )
        for before in befores:
            found = self.departure()
            before(found)
            found.dismiss("Ana hung up")
            found.because("agent hung up")
            self.check(found, Outcome.WELL, "Ana hung up", "")

    def test_a_fault_stands_before_a_target_unless_the_caller_chose_that(self) -> None:
        found = self.departure()
        found.transfer(SALES, "transferred to sales")
        found.fail("internal error")
        self.check(found, Outcome.FAILED, "transferred to sales", DESK)
        found.choose("house,2,1", "the caller pressed 2")
        self.check(found, Outcome.FAILED, "the caller pressed 2", "house,2,1")

    def test_without_a_pbx_a_channel_or_a_target_it_just_hangs_up(self) -> None:
        for given in (
            {"facts": CHANNEL},
            {"pbx": self.pbx},
            {"pbx": self.pbx, "facts": CHANNEL, "target": ""},
        ):
            target = given.pop("target", SALES)
            found = self.departure(**given)
            if target:
                found.transfer(str(target), "transferred to sales")
            found.hang_up()
        self.assertEqual(self.leg.count("hang_up"), 3)
        self.assertEqual(self.pbx.told, [])

    def fetched(self) -> None:
        """An old Asterisk is asked to fetch the caller."""
        found = self.departure(pbx=self.pbx, facts=CHANNEL)
        found.transfer(SALES, "transferred to sales")
        found.hang_up()

    def test_an_old_asterisk_fetches_the_caller_before(self) -> None:
        self.fetched()
        self.assertEqual(self.pbx.of("redirect"), [(CHANNEL.channel, SALES)])
        self.assertEqual(self.leg.count("hang_up"), 0)
        self.pbx.done.callback(True)
        self.assertEqual(self.leg.count("hang_up"), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_that_does_not_do_it_in_time_is_waited_for_no_longer(self) -> None:
        self.fetched()
        self.clock.advance(REDIRECT_WITHIN + 0.1)
        self.assertEqual(self.leg.count("hang_up"), 1)
        self.assertEqual(len(self.flushLoggedErrors(TimeoutError)), 1)
        self.assertEqual(self.crashes, [])

    def test_a_leg_that_breaks_then_is_a_crash_of_this_call_alone(self) -> None:
        self.fetched()
        self.leg.breaks.add("hang_up")
        self.pbx.done.callback(True)
        self.assertEqual(self.crashes, ["crashed"])
        self.assertEqual(self.flushLoggedErrors(Broken), [])

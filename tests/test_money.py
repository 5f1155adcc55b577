"""What calls cost, and what happens when it is enough."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from portero.allowance import WIND_UP
from portero.callstate import State
from portero.interfaces import Said
from portero.money import Budget, Ledger, Meter, Page, Spent, cost
from portero.record import Outcome
from portero.sections import PriceSettings
from tests.fake_call import AGENT, PRICE, Story
from tests.test_call import DROPPED, CallCase

TODAY = date(2026, 11, 21)
GOODBYE = "prompt goodbye"
DEAR = PriceSettings(4, 0.4, 24, 32, 0.4, 64)
MILLION = 1_000_000

NAMES = [
    f"{prefix}{name}"
    for prefix in ("", "transcription.")
    for name in (
        *("total_tokens", "ms", "input.text_tokens", "input.audio_tokens"),
        *("input.cached.text_tokens", "input.cached.audio_tokens"),
        *("input.cached_tokens", "output.text_tokens", "output.audio_tokens"),
    )
]
COUNTS = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2**40))
GARBAGE = st.dictionaries(
    st.one_of(st.sampled_from(NAMES), st.text()), st.integers(-(2**70), 2**70)
)


@st.composite
def prices(draw: st.DrawFn) -> PriceSettings:
    """With cached tokens that are not dearer than others."""
    dollars = st.floats(0, 10_000)
    text, audio = draw(dollars), draw(dollars)
    return PriceSettings(
        text_in=text,
        text_cached=draw(st.floats(0, text)),
        text_out=draw(dollars),
        audio_in=audio,
        audio_cached=draw(st.floats(0, audio)),
        audio_out=draw(dollars),
        minute=draw(dollars),
    )


class CostTests(SynchronousTestCase):
    def check(self, dollars: float, counts: dict[str, int]) -> None:
        self.assertApproximates(cost(counts, DEAR), dollars, 1e-9)

    def test_each_kind_has_its_price(self) -> None:
        self.check(4, {"input.text_tokens": MILLION})
        self.check(24, {"output.text_tokens": MILLION})
        self.check(32, {"input.audio_tokens": MILLION})
        self.check(64, {"output.audio_tokens": MILLION})

    def test_what_was_cached_is_among_the_input_and_cheaper(self) -> None:
        for kind, full in (("text", 4), ("audio", 32)):
            counts = {
                f"input.{kind}_tokens": MILLION,
                f"input.cached.{kind}_tokens": MILLION // 4,
            }
            self.check(0.25 * 0.4 + 0.75 * full, counts)

    def test_cached_tokens_of_an_untold_kind_are_the_one_that_saves_least(self) -> None:
        counts = {
            "input.text_tokens": MILLION,
            "input.audio_tokens": MILLION,
            "input.cached_tokens": MILLION + MILLION // 2,
        }
        self.check(0.4 + 0.5 * 0.4 + 0.5 * 32, counts)
        cheap_voice = PriceSettings(text_in=10, audio_in=1)
        self.assertEqual(cost(counts, cheap_voice), 5)

    def test_what_was_cached_is_cheaper_once_however_it_is_told(self) -> None:
        counts = {
            "input.text_tokens": MILLION,
            "input.audio_tokens": MILLION,
            "input.cached.audio_tokens": MILLION // 2,
            "input.cached_tokens": MILLION // 2,
        }
        self.check(4 + 0.5 * 0.4 + 0.5 * 32, counts)

    def test_tokens_of_an_untold_kind_are_the_dearest(self) -> None:
        self.check(64, {"total_tokens": MILLION})

    def test_the_total_is_not_paid_beside_its_parts(self) -> None:
        self.check(4, {"total_tokens": MILLION, "input.text_tokens": MILLION})

    def test_a_transcription_is_paid_by_its_own_price(self) -> None:
        counts = {"transcription.ms": 90_000, "input.text_tokens": MILLION}
        by_minute = PriceSettings(minute=0.02)
        self.assertApproximates(cost(counts, by_minute, "transcription."), 0.03, 1e-12)
        self.assertEqual(cost(counts, DEAR), 4)
        counts = {"transcription.input.audio_tokens": MILLION}
        self.assertEqual(cost(counts, DEAR, "transcription."), 32)
        self.assertEqual(cost(counts, DEAR), 0)

    @given(COUNTS, prices())
    def test_to_have_cached_never_costs_more(
        self, counts: dict[str, int], price: PriceSettings
    ) -> None:
        without = {name: n for name, n in counts.items() if ".cached" not in name}
        for prefix in ("", "transcription."):
            # Without the others, those that were cached are all that is told.
            if any(name.startswith(f"{prefix}input.") for name in without):
                full = cost(without, price, prefix)
                most = full * (1 + 1e-9) + 1e-9
                self.assertLessEqual(cost(counts, price, prefix), most)

    @given(GARBAGE, prices())
    def test_it_is_never_less_than_nothing(
        self, counts: dict[str, int], price: PriceSettings
    ) -> None:
        for prefix in ("", "transcription."):
            self.assertGreaterEqual(cost(counts, price, prefix), 0)

    @given(COUNTS, prices(), st.sampled_from(NAMES), st.integers(1, 2**40))
    def test_more_that_is_not_cached_never_costs_less(
        self, counts: dict[str, int], price: PriceSettings, name: str, more: int
    ) -> None:
        told = {"input.text_tokens": 0, "transcription.input.text_tokens": 0, **counts}
        if ".cached" not in name:
            raised = {**told, name: told.get(name, 0) + more}
            for prefix in ("", "transcription."):
                least = cost(told, price, prefix) * (1 - 1e-9) - 1e-9
                self.assertGreaterEqual(cost(raised, price, prefix), least)


class Days:
    """A calendar whose leaves a test turns."""

    def __init__(self) -> None:
        self.day = TODAY

    def __call__(self) -> date:
        return self.day

    def turn(self) -> None:
        self.day += timedelta(1)


class LedgerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.days = Days()
        self.ledger = Ledger(self.days)

    def test_it_adds_up_by_agent_and_for_all(self) -> None:
        for agent, dollars in (("a", 1.0), ("b", 2.0), ("a", 0.5)):
            self.ledger.add(agent, dollars)
        self.assertEqual(self.ledger.spent("a"), 1.5)
        self.assertEqual(self.ledger.spent("c"), 0.0)
        self.assertEqual(self.ledger.spent(), 3.5)

    def test_a_new_day_begins_at_nothing(self) -> None:
        self.ledger.add("a", 1.0)
        self.days.turn()
        self.assertEqual((self.ledger.spent("a"), self.ledger.spent()), (0.0, 0.0))
        self.assertEqual(self.ledger.page(), Page(self.days.day, {}))

    def test_a_page_is_as_it_was(self) -> None:
        self.ledger.add("a", 1.0)
        page = self.ledger.page()
        self.ledger.add("a", 1.0)
        self.assertEqual(page, Page(TODAY, {"a": 1.0}))

    def test_todays_page_is_added_and_no_other(self) -> None:
        self.ledger.add("a", 1.0)
        self.ledger.restore(Page(TODAY, {"a": 2.0, "b": 4.0}))
        self.ledger.restore(Page(TODAY - timedelta(1), {"a": 9.0}))
        self.ledger.restore(Page(TODAY + timedelta(1), {"a": 9.0}))
        self.assertEqual(self.ledger.page().spent, {"a": 3.0, "b": 4.0})

    def test_what_was_charged_knows_neither_days_nor_what_was_kept(self) -> None:
        self.ledger.add("a", 1.0)
        self.ledger.restore(Page(TODAY, {"a": 2.0}))
        self.days.turn()
        self.ledger.add("a", 0.5)
        self.assertEqual(self.ledger.charged, {"a": 1.5})

    def test_news_is_news_once_a_day(self) -> None:
        found = [self.ledger.is_news(what) for what in ("x", "x", "y")]
        self.assertEqual(found, [True, False, True])
        self.days.turn()
        self.assertTrue(self.ledger.is_news("x"))

    @given(st.lists(st.tuples(st.sampled_from("ab"), COUNTS), max_size=20), prices())
    def test_what_the_calls_cost_is_what_the_day_costs(
        self, uses: list[tuple[str, dict[str, int]]], price: PriceSettings
    ) -> None:
        ledger = Ledger(self.days)
        meters = [Meter(Budget(ledger, agent), price, price) for agent, _ in uses]
        for meter, (_, counts) in zip(meters, uses, strict=True):
            meter.used(counts)
        total = sum(meter.dollars for meter in meters)
        self.assertApproximates(ledger.spent(), total, total * 1e-9)
        self.assertApproximates(
            ledger.spent("a") + ledger.spent("b"), total, total * 1e-9
        )


class MeterTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.days = Days()
        self.ledger = Ledger(self.days)

    def meter(self, **ceilings: float) -> Meter:
        return Meter(Budget(self.ledger, AGENT, **ceilings), PRICE)

    def spend(self, meter: Meter, *dollars: int) -> list[Spent]:
        return [meter.used({"input.text_tokens": amount}) for amount in dollars]

    def test_without_ceilings_nothing_is_ever_reached(self) -> None:
        meter = self.meter()
        self.assertEqual(self.spend(meter, 1, MILLION), [Spent.LITTLE] * 2)
        self.assertEqual(meter.dollars, MILLION + 1)

    def test_each_step_is_told_once(self) -> None:
        little = Spent.LITTLE
        steps = [little, Spent.NEARLY_ALL, little, Spent.ALL, little]
        self.assertEqual(self.spend(self.meter(per_call=10.0), 7, 1, 1, 1, 5), steps)
        for name in ("per_day", "house_per_day"):
            self.ledger = Ledger(self.days)
            told = self.spend(self.meter(**{name: 100.0}), 94, 1, 1, 4, 5)
            self.assertEqual(told, steps, name)

    def test_both_steps_at_once_are_only_the_last(self) -> None:
        self.assertEqual(
            self.spend(self.meter(per_call=10.0), 10, 1), [Spent.ALL, Spent.LITTLE]
        )

    def test_the_nearest_ceiling_counts(self) -> None:
        meter = self.meter(per_call=100.0, per_day=20.0)
        self.assertEqual(self.spend(meter, 19), [Spent.NEARLY_ALL])
        assert meter.ceiling is not None
        self.assertTrue(meter.ceiling.of_day)
        meter = self.meter(per_call=2.0, per_day=100.0)
        self.assertEqual(self.spend(meter, 2), [Spent.ALL])
        assert meter.ceiling is not None
        self.assertEqual(meter.ceiling.in_words, "its ceiling of $2 a call")

    def test_of_two_that_are_reached_it_is_the_calls_own(self) -> None:
        meter = self.meter(per_call=10.0, per_day=10.0, house_per_day=10.0)
        self.assertEqual(self.spend(meter, 10), [Spent.ALL])
        assert meter.ceiling is not None
        self.assertFalse(meter.ceiling.of_day)

    def test_midnight_does_not_tell_it_again(self) -> None:
        meter = self.meter(per_day=20.0)
        self.assertEqual(self.spend(meter, 19), [Spent.NEARLY_ALL])
        self.days.turn()
        self.assertEqual(
            self.spend(meter, 1, 18, 1), [Spent.LITTLE, Spent.LITTLE, Spent.ALL]
        )

    def test_a_day_is_over_for_an_agent_or_for_the_house(self) -> None:
        budget = Budget(self.ledger, AGENT, per_day=10.0, house_per_day=1500.0)
        self.ledger.add("other", 10.0)
        self.assertEqual(budget.day_is_over(), "")
        self.ledger.add(AGENT, 10.0)
        self.assertEqual(budget.day_is_over(), "its ceiling of $10 a day")
        self.days.turn()
        self.ledger.add("other", 1500.0)
        self.assertEqual(budget.day_is_over(), "the house's ceiling of $1,500 a day")

    def test_a_call_that_cost_its_ceiling_does_not_end_the_day(self) -> None:
        self.spend(self.meter(per_call=2.0), 5)
        self.assertEqual(Budget(self.ledger, AGENT, per_call=2.0).day_is_over(), "")

    def test_a_day_is_warned_of_once_however_many_calls(self) -> None:
        with capturedLogs() as events:
            for dollars in (7, 1, 1, 1, 5):
                self.spend(self.meter(per_day=10.0, house_per_day=1000.0), dollars)
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "agent reception spent $8.00 today, of its ceiling of $10 a day: "
                "its calls are asked to wind up from 95% on",
                "agent reception spent $10.00 today, of its ceiling of $10 a day: "
                "its calls end, and new ones go to the fallback until midnight",
            ],
        )
        for event in events:
            self.assertIs(event["log_level"], LogLevel.warn)
        self.days.turn()
        with capturedLogs() as events:
            self.spend(self.meter(per_day=10.0), 8)
        self.assertEqual(len(events), 1)

    def test_the_house_is_warned_of_once_however_many_agents(self) -> None:
        with capturedLogs() as events:
            for agent in ("a", "b", "c"):
                budget = Budget(self.ledger, agent, house_per_day=10.0)
                self.spend(Meter(budget, PRICE), 4)
        lines = [formatEvent(event) or "" for event in events]
        self.assertEqual(
            [line.partition(",")[0] for line in lines],
            [
                "all agents together spent $8.00 today",
                "all agents together spent $12.00 today",
            ],
        )
        self.assertIn("their calls end", lines[-1])

    def test_what_has_no_price_is_known_to_be_missing(self) -> None:
        budget = Budget(self.ledger, AGENT)
        asked: list[tuple[Any, Any, Mapping[str, int], bool]] = [
            (DEAR, None, {"input.text_tokens": 1}, True),
            (DEAR, None, {"total_tokens": 0}, True),
            (None, None, {"input.text_tokens": 1}, False),
            (DEAR, None, {"transcription.ms": 1000}, False),
            (DEAR, PriceSettings(minute=1), {"transcription.ms": 1000}, True),
            (DEAR, DEAR, {"transcription.ms": 1000}, False),
        ]
        for price, transcription, counts, known in asked:
            meter = Meter(budget, price, transcription)
            meter.used(counts)
            self.assertEqual(meter.known, known, (transcription, counts))

    @given(st.lists(GARBAGE, max_size=5), prices())
    def test_garbage_is_harmless(
        self, uses: list[dict[str, int]], price: PriceSettings
    ) -> None:
        meter = Meter(Budget(Ledger(self.days), AGENT, per_call=1.0), price, price)
        before = 0.0
        for counts in uses:
            meter.used(counts)
            self.assertGreaterEqual(meter.dollars, before)
            before = meter.dollars


class TermsTests(SynchronousTestCase):
    def test_another_meter_goes_by_the_same(self) -> None:
        ledger = Ledger(lambda: date(2026, 11, 21))
        ledger.add("a", 0.5)
        ledger.add("b", 2.0)
        budget = Budget(ledger, "a", per_call=1.0, per_day=3.0, house_per_day=9.0)
        price = PriceSettings(minute=60.0)
        one = Meter(budget, None, price)
        terms = one.terms()
        self.assertEqual((terms.spent, terms.spent_by_all), (0.5, 2.5))
        two = terms.meter("a")
        for ms in (100, 800, 5700):
            counts = {"transcription.ms": ms}
            self.assertEqual(one.used(counts), two.used(counts))
            self.assertEqual((one.dollars, one.ceiling), (two.dollars, two.ceiling))
        self.assertEqual(two.terms(), one.terms())


class MoneyStoryTests(CallCase):
    def budget(self, ledger: Ledger | None = None, **ceilings: float) -> Budget:
        return Budget(ledger or Ledger(lambda: TODAY), AGENT, **ceilings)

    def turn(self, story: Story, dollars: int, item: str = "reply") -> None:
        """The caller says something and gets a reply, as the service tells it."""
        story.caller_speaks()
        story.service.speak(item)
        story.service.events.agent_done(item)
        self.spend(story, dollars)
        if story.service.is_open:
            story.service.events.reply_ended(1, "")

    def spend(self, story: Story, dollars: int) -> None:
        story.service.events.usage({"input.text_tokens": dollars})

    def test_near_the_ceiling_the_agent_is_told_once_and_not_asked(self) -> None:
        story = Story(budget=self.budget(per_call=10.0)).greeted()
        asked = story.service.count("ask")
        with capturedLogs() as events:
            for dollars in (7, 1, 1):
                self.turn(story, dollars)
        self.assertEqual(story.service.of("add_text"), [("system", WIND_UP)])
        self.assertEqual(story.service.count("ask"), asked)
        self.assertIs(story.call.state, State.TALKING)
        lines = [
            formatEvent(event)
            for event in events
            if event["log_level"] is LogLevel.warn
        ]
        self.assertEqual(
            lines,
            [
                "call call-1: agent reception: its ceiling is near: the agent is asked "
                "to wind up ($8.0000 so far, its ceiling of $10 a call)"
            ],
        )

    def test_a_conversation_after_that_knows_it_too(self) -> None:
        story = Story(budget=self.budget(per_call=10.0)).greeted()
        self.turn(story, 8)
        story.service.events.lost(DROPPED)
        story.clock.advance(0.0)
        self.assertIn(Said("system", WIND_UP), story.service.brief.history)

    def test_at_the_ceiling_goodbye_is_said_after_what_can_be_heard(self) -> None:
        story = Story(budget=self.budget(per_call=10.0), farewell="Bye.").greeted()
        with self.ends(story) as lines:
            self.turn(story, 10)
            self.assertFalse(story.service.is_open)
            self.assertEqual(story.leg.items[-2:], ["reply", GOODBYE])
            self.assertEqual(story.leg.count("flush"), 0)
            self.assertEqual(story.leg.count("hang_up"), 0)
            story.leg.play_out()
        self.assertEqual(story.service.count("add_text"), 0)
        self.assertEqual(
            lines[0],
            "call call-1: agent reception: its ceiling is reached: saying goodbye "
            "($10.0000 so far, its ceiling of $10 a call)",
        )
        self.assertIn("ended well: the ceiling of its price was reached", lines[-1])
        self.assertTrue(lines[-1].endswith(" for $10.0000"), lines[-1])
        assert story.call.record is not None
        self.assertIs(story.call.record.outcome, Outcome.WELL)

    def test_what_the_service_is_still_saying_is_heard_as_far_as_it_came(self) -> None:
        story = Story(budget=self.budget(per_call=10.0)).speaking()
        with self.ends(story):
            self.spend(story, 10)  # the caller's words, written down meanwhile
            self.assertEqual(story.leg.items[-2:], ["reply", GOODBYE])
            story.leg.play_out()

    def test_no_reply_begins_after_it_so_that_a_turn_is_all_there_can_be(self) -> None:
        story = Story(budget=self.budget(per_call=10.0)).greeted()
        self.turn(story, 9)
        self.turn(story, 5)
        told = len(story.service.told)
        story.call.dtmf("5")
        story.call.caller_audio(bytes(320))
        story.clock.advance(1.0)
        self.assertEqual(len(story.service.told), told)
        self.assertEqual(len(story.provider.conversations), 1)
        with self.ends(story):
            story.leg.play_out()
        assert story.call.record is not None
        self.assertEqual(story.call.record.dollars, 14.0)

    def test_a_day_that_is_over_ends_the_calls_of_the_agent_at_their_next_turn(
        self,
    ) -> None:
        ledger = Ledger(lambda: TODAY)
        one, other = (
            Story(call_id=f"call-{n}", budget=self.budget(ledger, per_day=10.0))
            for n in (1, 2)
        )
        apart = Story(budget=Budget(ledger, "sales", per_day=10.0)).greeted()
        for story in (one, other):
            story.greeted()
        self.turn(other, 1)
        with capturedLogs() as events:
            self.turn(one, 9)
            self.assertIs(one.call.state, State.DRAINING)
            self.assertIs(other.call.state, State.TALKING)
            self.turn(other, 1)
            self.turn(apart, 1)
        self.assertIs(other.call.state, State.DRAINING)
        self.assertIs(apart.call.state, State.TALKING)
        self.assertEqual(ledger.spent(AGENT), 11.0)
        warned = [e for e in events if e["log_level"] is LogLevel.warn]
        self.assertEqual(len(warned), 1, [formatEvent(e) for e in warned])
        self.assertIn("until midnight", formatEvent(warned[0]) or "")

    def test_the_house_ends_the_calls_of_all(self) -> None:
        ledger = Ledger(lambda: TODAY)
        one, other = (
            Story(budget=Budget(ledger, agent, house_per_day=20.0)).greeted()
            for agent in ("a", "b")
        )
        self.turn(one, 19)
        self.assertEqual(one.service.of("add_text"), [("system", WIND_UP)])
        self.turn(other, 1)
        self.assertIs(other.call.state, State.DRAINING)
        self.assertIs(one.call.state, State.TALKING)

    def test_a_transfer_in_the_turn_that_reaches_it_is_done(self) -> None:
        story = Story(budget=self.budget(per_call=10.0)).waiting()
        story.service.speak("one moment")
        story.call.control.transfer("house,100,1", "transferred to sales")
        with self.ends(story):
            story.service.events.agent_done("one moment")
            self.spend(story, 10)
            story.service.events.reply_ended(2, "")
            story.leg.play_out()
        assert story.call.record is not None
        self.assertEqual(story.call.record.next, "house,100,1")
        self.assertNotIn(GOODBYE, story.leg.items)

    def test_the_price_is_in_the_status_where_it_is_known(self) -> None:
        story = Story().greeted()
        self.spend(story, 2)
        self.assertEqual(story.call.snapshot()["dollars"], 2.0)
        story.service.events.usage({"transcription.ms": 1000})
        self.assertIsNone(story.call.snapshot()["dollars"])
        with self.ends(story) as lines:
            story.leg.drop()
        self.assertNotIn("$", lines[-1])

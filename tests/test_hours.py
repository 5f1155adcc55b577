"""Opening hours as people write them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.hours import ALWAYS, DAYS, Hours, parse, problem

MONDAY: Final = datetime(2026, 11, 23)
SHOP: Final = "mon-fri 09:00-14:00 16:00-19:00; sat 10:00-13:00"


def at(day: str, time: str) -> datetime:
    hour, _, minute = time.partition(":")
    return MONDAY + timedelta(
        days=DAYS.index(day), hours=int(hour), minutes=int(minute or 0)
    )


class OpenTests(SynchronousTestCase):
    def test_a_week_of_a_shop(self) -> None:
        hours = parse(SHOP)
        for day, time, wanted in [
            ("mon", "08:59", False),
            ("mon", "09:00", True),
            ("fri", "13:59", True),
            ("fri", "14:00", False),
            ("wed", "15:59", False),
            ("wed", "18:59", True),
            ("sat", "10:00", True),
            ("sat", "13:00", False),
            ("sat", "17:00", False),
            ("sun", "12:00", False),
        ]:
            self.assertIs(hours.open_at(at(day, time)), wanted, (day, time))

    def test_a_night_lasts_into_the_next_day_and_the_next_week(self) -> None:
        hours = parse("fri,sun 22:00-06:00")
        for day, time, wanted in [
            ("fri", "21:59", False),
            ("fri", "23:00", True),
            ("sat", "05:59", True),
            ("sat", "06:00", False),
            ("sat", "23:00", False),
            ("sun", "22:00", True),
            ("mon", "05:59", True),
            ("mon", "06:00", False),
        ]:
            self.assertIs(hours.open_at(at(day, time)), wanted, (day, time))

    def test_always_and_nothing_said_are_always(self) -> None:
        for text in (
            "",
            "  ",
            "always",
            "Always",
            "mon-sun 00:00-24:00",
            "mon-sun 0-0",
        ):
            hours = parse(text)
            for day in DAYS:
                for time in ("00:00", "12:00", "23:59"):
                    self.assertTrue(hours.open_at(at(day, time)), (text, day, time))
        self.assertEqual(parse("always"), ALWAYS)

    def test_days_may_go_over_the_weekend_and_hours_need_no_minutes(self) -> None:
        self.assertEqual(parse("SAT-mon 9-14"), parse("sat,sun,mon 09:00-14:00"))


class NextTests(SynchronousTestCase):
    def next(self, text: str, day: str, time: str) -> str:
        found = parse(text).opens_next(at(day, time))
        return f"{DAYS[found.weekday()]} {found:%H:%M}" if found else ""

    def test_it_is_the_nearest_opening(self) -> None:
        for day, time, wanted in [
            ("mon", "08:00", "mon 09:00"),
            ("mon", "14:00", "mon 16:00"),
            ("mon", "19:00", "tue 09:00"),
            ("fri", "19:00", "sat 10:00"),
            ("sat", "13:00", "mon 09:00"),
            ("mon", "10:30", "mon 10:30"),
        ]:
            self.assertEqual(self.next(SHOP, day, time), wanted, (day, time))

    def test_it_may_be_a_week_away(self) -> None:
        self.assertEqual(self.next("wed 10-11", "wed", "11:00"), "wed 10:00")
        found = parse("wed 10-11").opens_next(at("wed", "11:00"))
        self.assertEqual(found, at("wed", "10:00") + timedelta(days=7))

    def test_without_a_span_there_is_none(self) -> None:
        self.assertIsNone(Hours(()).opens_next(MONDAY))

    def test_it_is_the_time_on_the_wall_also_when_the_clocks_change(self) -> None:
        zone = ZoneInfo("Europe/Madrid")
        saturday = datetime(2026, 10, 24, 20, 0, tzinfo=zone)
        found = parse("mon-sun 09:00-18:00").opens_next(saturday)
        self.assertEqual(found, datetime(2026, 10, 25, 9, 0, tzinfo=zone))

    @given(
        st.lists(
            st.tuples(
                st.integers(0, 6), st.integers(0, 1439), st.integers(1, 1440)
            ).map(lambda span: (span[0], span[1], span[1] + span[2])),
            min_size=1,
            max_size=5,
        ),
        st.integers(0, 7 * 1440 - 1),
    )
    def test_it_is_open_then_and_not_before(
        self, spans: list[tuple[int, int, int]], minute: int
    ) -> None:
        hours = Hours(tuple(spans))
        now = MONDAY + timedelta(minutes=minute)
        found = hours.opens_next(now)
        assert found is not None
        self.assertTrue(hours.open_at(found))
        while now < found:
            self.assertFalse(hours.open_at(now), now)
            now += timedelta(minutes=7)


class MistakeTests(SynchronousTestCase):
    def test_what_is_wrong_is_told_with_how_it_looks(self) -> None:
        for text, words in [
            ("9-14", "has '9-14'; it looks like"),
            ("mon", "has 'mon'; it looks like"),
            ("mon 9-14;", "has ''; it looks like"),
            ("monday 9-14", "has 'monday' for days"),
            ("mon-xxx 9-14", "has 'mon-xxx' for days"),
            ("mon 9:5-14", "has '9:5-14' for a time"),
            ("mon 9-14,16-19", "has '9-14,16-19' for a time"),
            ("mon 24:00-25:00", "a day ends at 24:00"),
            ("mon 09:60-14:00", "a day ends at 24:00"),
            ("mon \u0669-14", "for a time"),
        ]:
            self.assertIn(words, problem(text), text)
        self.assertEqual(problem(SHOP), "")

    @given(st.text(st.sampled_from("monfrisa-;:, 0123456789")) | st.text())
    def test_any_text_is_right_or_wrong(self, text: str) -> None:
        if not problem(text):
            parse(text).opens_next(MONDAY)

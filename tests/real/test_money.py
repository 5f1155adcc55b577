"""What a call costs, and what happens when that is too much."""

from __future__ import annotations

from tests.real.case import SAME_SPEECH, measured
from tests.real.house import HouseTestCase


class CeilingTests(HouseTestCase):
    """Each reply of these agents costs one dollar."""

    def test_over_the_days_ceiling_the_next_caller_gets_the_fallback(self) -> None:
        door = self.door(PORTERO_AGENT="capped_day")
        self.ends(door)
        known = self.known(door)
        self.assertEqual((known["outcome"], known["cost"]), ("well", "1.0000"))
        known = self.is_turned_away(PORTERO_AGENT="capped_day")
        self.assertEqual(known["refused"], "over-budget")

    @measured
    def test_over_a_calls_ceiling_the_caller_hears_a_goodbye(self) -> None:
        door = self.door(PORTERO_AGENT="capped_call")
        phone = self.ends(door)
        heard = phone.heard.sound()
        self.assertGreater(self.likeness(heard, self.prompt("goodbye")), SAME_SPEECH)
        known = self.known(door)
        self.assertEqual((known["outcome"], known["cost"]), ("well", "1.0000"))
        self.assertEqual(known["reason"], "the ceiling of its price was reached")

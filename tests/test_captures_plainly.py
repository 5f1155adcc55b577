"""Values that cross our seams, as JSON has them."""

from __future__ import annotations

import json
from dataclasses import dataclass

from twisted.trial.unittest import SynchronousTestCase

from portero.assignment import CallSettings
from portero.captures.entries import CaptureError
from portero.captures.plainly import made, plain
from portero.facts import Facts
from portero.interfaces import Brief, McpServer, Said, TurnDetection
from portero.money import Ceiling, Terms
from portero.sections import PriceSettings, ProviderSettings


@dataclass(frozen=True, slots=True)
class Needy:
    """It has no default."""

    name: str
    limit: int | None = None


class PlainlyTests(SynchronousTestCase):
    def test_what_goes_comes_back(self) -> None:
        for value in (
            Brief(
                "call-1",
                "Be brief.",
                turn_detection=TurnDetection(threshold=0.4),
                mcp=(McpServer("shop", "https://shop.example", tools=("find",)),),
                history=(Said("user", "ñ"),),
            ),
            CallSettings(menu={"1": "a,1,1"}, silence=30.0),
            Facts("Ana", "+34600123456", variables={"flat": "2B"}),
            ProviderSettings(kind="openai", upload_ms=60),
            Terms(PriceSettings(minute=1.0), None, (Ceiling(2.0, "", True),), 0.5, 1.0),
        ):
            kept = plain(value)
            kept.pop("opening", None)  # which the header keeps in its own way
            found = made(type(value), json.loads(json.dumps(kept)))
            self.assertEqual(found, value)

    def test_whole_numbers_may_stand_for_others(self) -> None:
        self.assertEqual(made(CallSettings, {"silence": 30}).silence, 30.0)

    def test_what_is_not_known_is_left_out_and_what_is_new_has_its_default(
        self,
    ) -> None:
        self.assertEqual(made(Needy, {"name": "a", "colour": "red"}), Needy("a"))
        self.assertEqual(made(Needy, {"name": "a", "limit": 3}), Needy("a", 3))
        self.assertEqual(made(Needy, {"name": "a", "limit": None}), Needy("a"))

    def test_what_is_broken_says_where(self) -> None:
        for value, where in (
            ([], "Needy is broken"),
            ({}, "Needy.name is missing"),
            ({"name": 3}, "Needy.name is broken"),
            ({"name": "a", "limit": "b"}, "Needy.limit is broken"),
        ):
            error = self.assertRaises(CaptureError, made, Needy, value)
            self.assertEqual(str(error), where)
        for name, broken in (
            ("history", [3]),
            ("history", "x"),
            ("turn_detection", None),
        ):
            brief = {"call_id": "c", "instructions": "i", name: broken}
            self.assertRaises(CaptureError, made, Brief, brief)

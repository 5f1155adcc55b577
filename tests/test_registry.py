"""Tests of L{portero.registry}."""

from __future__ import annotations

from random import Random
from uuid import UUID

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from portero.facts import Facts
from portero.registry import COMES_WITHIN, REMEMBERED_FOR, Registry

ID = "6f1c0f5e-0c4e-4f5a-9a59-1f2d3c4b5a69"
ANA = Facts(caller_name="Ana", agent="door")
TRIES = 1000


class RegistryCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.registry = Registry(self.clock)

    def refusal(self, call_id: str) -> str:
        error = self.assertRaises(ValueError, self.registry.announce, ANA, call_id)
        return str(error)


class AnnouncementTests(RegistryCase):
    def test_what_was_announced_comes_with_the_call(self) -> None:
        self.assertEqual(self.registry.announce(ANA, ID), ID)
        self.assertIs(self.registry.take(ID), ANA)
        self.assertIsNone(self.registry.take(ID))

    def test_without_an_id_a_new_random_one_is_made(self) -> None:
        made = {self.registry.announce(ANA) for _ in range(TRIES)}
        self.assertEqual(len(made), TRIES)
        self.assertEqual({UUID(call_id).version for call_id in made}, {4})
        self.assertEqual({str(UUID(call_id)) for call_id in made}, made)

    def test_an_id_may_be_written_in_any_way_a_uuid_is(self) -> None:
        for written in (ID.upper(), "{" + ID + "}", ID.replace("-", "")):
            self.assertEqual(self.registry.announce(ANA, written), ID)
            self.assertIs(self.registry.take(ID), ANA)
            self.registry = Registry(self.clock)

    def test_an_id_that_is_no_uuid_is_refused(self) -> None:
        for bad in ("x", ID[:-1], ID + "0", " ", "0" * 5000, "\0", "é" * 32):
            self.assertIn("is no UUID", self.refusal(bad))
        self.assertEqual(len(self.registry), 0)

    def test_an_id_that_is_expected_or_was_used_is_refused(self) -> None:
        self.registry.announce(ANA, ID)
        self.assertIn("used before", self.refusal(ID.upper()))
        self.registry.take(ID)
        self.assertIn("used before", self.refusal(ID))

    def test_expected_calls_are_counted_also_by_agent(self) -> None:
        for agent in ("door", "desk", "door"):
            self.registry.announce(Facts(agent=agent))
        self.assertEqual(len(self.registry), 3)
        self.assertEqual(self.registry.expected("door"), 2)
        self.assertEqual(self.registry.expected("nobody"), 0)
        self.clock.advance(COMES_WITHIN)
        self.assertEqual((len(self.registry), self.registry.expected("door")), (0, 0))


class OnceTests(RegistryCase):
    def test_a_call_in_time_is_known_and_a_late_one_is_not(self) -> None:
        for seconds, expected in (
            (COMES_WITHIN - 0.1, ANA),
            (COMES_WITHIN + 0.1, None),
        ):
            call_id = self.registry.announce(ANA)
            self.clock.advance(seconds)
            self.assertIs(self.registry.take(call_id), expected)

    def test_each_counts_its_own_seconds(self) -> None:
        first = self.registry.announce(ANA)
        self.clock.advance(COMES_WITHIN / 2)
        second = self.registry.announce(ANA)
        self.clock.advance(COMES_WITHIN / 2)
        self.assertIsNone(self.registry.take(first))
        self.assertIs(self.registry.take(second), ANA)

    def test_an_id_that_came_late_may_be_announced_again(self) -> None:
        self.registry.announce(ANA, ID)
        self.clock.advance(COMES_WITHIN)
        self.assertIsNone(self.registry.take(ID))
        self.assertFalse(self.registry.used(ID))
        self.registry.announce(ANA, ID)
        self.assertIs(self.registry.take(ID), ANA)

    def test_a_used_id_is_remembered_for_an_hour(self) -> None:
        self.registry.announce(ANA, ID)
        self.assertFalse(self.registry.used(ID))
        self.registry.take(ID)
        self.clock.advance(REMEMBERED_FOR - 1)
        self.assertTrue(self.registry.used(ID))
        self.assertIn("used before", self.refusal(ID))
        self.clock.advance(1)
        self.assertFalse(self.registry.used(ID))
        self.assertEqual(self.registry.announce(ANA, ID), ID)

    def test_ids_that_nobody_announced_are_not_remembered(self) -> None:
        for number in range(TRIES):
            call_id = str(UUID(int=number))
            self.assertIsNone(self.registry.take(call_id))
            self.assertFalse(self.registry.used(call_id))

    def test_of_used_ids_the_oldest_are_forgotten_at_the_bound(self) -> None:
        registry = Registry(self.clock, most_remembered=3)
        ids = [registry.announce(ANA) for _ in range(4)]
        for call_id in ids:
            registry.take(call_id)
        found = [registry.used(call_id) for call_id in ids]
        self.assertEqual(found, [False, True, True, True])

    def test_of_a_thousand_ids_replayed_unknown_or_late_none_is_taken(self) -> None:
        chance = Random(20261121)
        known = 0
        for _ in range(TRIES):
            replayed, late = self.registry.announce(ANA), self.registry.announce(ANA)
            known += self.registry.take(replayed) is ANA
            self.assertIsNone(self.registry.take(replayed))
            self.clock.advance(COMES_WITHIN + chance.random() * REMEMBERED_FOR / 2)
            unknown = str(UUID(int=chance.getrandbits(128), version=4))
            for call_id in (replayed, late, unknown):
                self.assertIsNone(self.registry.take(call_id))
            self.assertIn("used before", self.refusal(replayed))
        self.assertEqual(known, TRIES)

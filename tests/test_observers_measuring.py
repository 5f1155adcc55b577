"""Every call is measured, in small steps, and none is harmed by that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from portero.interfaces import Happening, IObserver, LegFigures
from portero.observers import measuring
from portero.observers.measuring import MOST_WAITING, PIECE, Measuring
from tests.kept_calls import ID, record
from tests.spoken import speech
from tests.test_acoustics import pcm
from tests.test_observers_recording import TappedCall

FRAME = b"\x00\x10" * 160
OTHER = "6f1c2d3e-0000-4000-8000-000000000002"


class Turns(Clock):
    """Like a reactor's: what comes up in a turn is done in the next."""

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kw: object
    ) -> IDelayedCall:
        return super().callLater(delay + 1, callable, *args, **kw)

    def turn(self) -> None:
        self.advance(1)


class MeasuringTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Turns()
        self.measuring = Measuring(self.clock)
        self.addCleanup(lambda: self.assertEqual(self.clock.getDelayedCalls(), []))

    def begin(self, call_id: str = ID) -> Any:
        call: Any = TappedCall(call_id)
        self.measuring.call_started(call)
        return call

    def end(self, call_id: str = ID) -> None:
        self.measuring.call_ended(record(call_id), LegFigures())

    def seconds(self, call_id: str = ID) -> float:
        return self.measuring.of(call_id).get("seconds", -1)

    def test_it_observes(self) -> None:
        verifyObject(IObserver, self.measuring)

    def test_a_second_at_a_time_is_measured_and_the_rest_at_the_end(self) -> None:
        call = self.begin()
        call.talk(PIECE - 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        call.talk(2)
        self.assertEqual(self.seconds(), 0)
        self.clock.turn()
        self.assertEqual(self.seconds(), 1)
        call.talk(14)
        self.end()
        self.assertEqual(self.seconds(), 1.3)

    def test_in_a_turn_of_the_reactor_one_second_of_one_call_is_measured(self) -> None:
        calls = [self.begin(call_id) for call_id in (ID, OTHER)]
        for call in calls:
            call.talk(2 * PIECE)
        done = []
        for _ in range(4):
            self.clock.turn()
            done.append((self.seconds(), self.seconds(OTHER)))
        self.assertEqual(done, [(1, 0), (2, 0), (2, 1), (2, 2)])

    def test_what_waits_when_a_call_ends_is_measured_then(self) -> None:
        mine, other = self.begin(), self.begin(OTHER)
        mine.talk(2 * PIECE + 5)
        other.talk(PIECE)
        self.end()
        self.assertEqual(self.seconds(), 2.1)
        self.assertEqual(self.seconds(OTHER), 0)
        self.clock.turn()
        self.assertEqual(self.seconds(OTHER), 1)

    def test_a_call_of_which_too_much_waits_is_measured_no_further(self) -> None:
        call = self.begin()
        call.talk(PIECE * (MOST_WAITING + 1))
        self.assertEqual(call.taps, [])
        self.clock.turn()
        self.end()
        self.assertEqual(self.seconds(), 0)

    def test_a_mistake_of_ours_ends_the_measuring_of_one_call_only(self) -> None:
        class Mistaken:
            def add(self, *piece: Any) -> None:
                raise ZeroDivisionError

            def figures(self) -> dict[str, float]:
                return {}

        right = self.begin(OTHER)
        self.patch(measuring, "Acoustics", Mistaken)
        wrong = self.begin()
        wrong.talk(PIECE)
        right.talk(PIECE)
        self.clock.turn()
        self.clock.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(wrong.taps, [])
        self.end()
        self.assertEqual(self.measuring.of(ID), {})
        self.assertEqual(self.seconds(OTHER), 1)

    def test_other_rates_begin_another_piece(self) -> None:
        (tap,) = self.begin().taps
        for _ in range(5):
            tap.frame(FRAME, 8000, FRAME, 8000)
        for _ in range(5):
            tap.frame(FRAME * 2, 16000, FRAME, 8000)
        for _ in range(5):
            tap.frame(FRAME, 8000, FRAME * 3, 24000)
        for _ in range(2):
            self.clock.turn()
        self.assertEqual(self.seconds(), 0.2)
        self.end()
        self.assertEqual(self.seconds(), 0.3)

    def test_when_the_caller_was_heard_to_speak_is_looked_at(self) -> None:
        (tap,) = self.begin().taps
        agent = pcm(speech(8))
        caller = bytes(2400) + pcm(speech(8) / 16)
        for n in range(8 * 50):
            place = slice(320 * n, 320 * (n + 1))
            tap.frame(caller[place], 8000, agent[place], 8000)
            self.clock.turn()
            if n in (200, 300):
                kind = "barge_in" if n == 200 else "false_alarm"
                self.measuring.call_event(Happening(ID, kind, n / 50, {}))
                self.measuring.call_event(Happening(ID, "turn", n / 50, {}))
        self.end()
        found = self.measuring.of(ID)
        self.assertEqual(found["echo_interruptions"], 2)
        self.assertEqual(found["echo_ms"], 150)

    def test_of_a_call_that_is_not_known_there_is_nothing(self) -> None:
        self.measuring.call_event(Happening(ID, "barge_in", 1.0, {}))
        self.end()
        self.assertEqual(self.measuring.of(ID), {})

    def test_figures_are_not_kept_for_ever(self) -> None:
        self.patch(measuring, "REMEMBERED", 2)
        for n in range(4):
            self.begin(str(n))
            self.end(str(n))
        known = [bool(self.measuring.of(str(n))) for n in range(4)]
        self.assertEqual(known, [False, False, True, True])

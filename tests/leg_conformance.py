"""
What every leg does whose frames we pace, whoever is at its other end.

A test module derives L{LegConformance} (by the name of this module: a test case in its
own namespace would be run there as it is) and says how its far end speaks.
"""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from portero.interfaces import Heard, ILeg
from portero.pacing import PTIME, TICK, MediaClock
from tests.fakes import FakeLegEvents, FakeTap, FakeTransport

GONE_BY_HANG_UP = ("gone", "agent hung up", True)
CLOSED_WITHIN = 20.0


def speech(count: int, rate: int = 8000) -> bytes:
    """Something like a voice: harmonics of 120 Hz whose loudness comes and goes."""
    t = np.arange(count) / rate
    voice = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 12))
    loud = 3000 * (1.1 + np.sin(2 * np.pi * 3 * t))
    return bytes(np.rint(loud * voice).astype("<i2").tobytes())


class FarEnd:
    """The other end of a leg in a test. Override all of it."""

    leg: Any
    transport: FakeTransport
    rate: int
    """Of the audio both ways."""

    def speak(self, pcm: bytes) -> None:
        """The leg receives audio."""
        raise NotImplementedError

    def press(self, key: str) -> None:
        """It receives a key, or what is none."""
        raise NotImplementedError

    def send_nonsense(self) -> None:
        """It receives what means nothing, but is well formed."""
        raise NotImplementedError

    def hang_up(self) -> None:
        """It is told that the caller hung up."""
        raise NotImplementedError

    def lose(self, reason: Failure | None = None) -> None:
        """Its connection is gone; in order, unless there is a reason."""
        raise NotImplementedError

    def frames(self) -> list[bytes]:
        """@return: The audio it sent since the last time, write by write."""
        raise NotImplementedError


class LegConformance(SynchronousTestCase):
    """Each test begins with a leg that has just become a call."""

    def far_end(self) -> FarEnd:
        """
        @return: With a leg whose call is taken, by L{calls}, on L{clock} and L{media}.
        """
        raise NotImplementedError

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100.0)
        self.media = MediaClock(self.clock)
        self.events = FakeLegEvents()
        self.taken: list[tuple[Any, str]] = []
        self.far = self.far_end()
        self.leg = self.far.leg
        self.rate = self.far.rate
        self.silence = bytes(round(self.rate * PTIME) * 2)

    def calls(self, leg: Any, call_id: str) -> FakeLegEvents:
        self.taken.append((leg, call_id))
        return self.events

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.clock.advance(TICK)

    def talk(self, seconds: float) -> None:
        """The caller is silent, but there."""
        for _ in range(round(seconds / PTIME)):
            self.far.speak(self.silence)
            self.pass_time(PTIME)

    def voice(self, seconds: float) -> bytes:
        return speech(round(seconds * self.rate), self.rate)

    def heard_seconds(self) -> float:
        return sum(map(len, self.events.audio)) / (2 * self.rate)

    def gone(self) -> list[tuple[Any, ...]]:
        return [told for told in self.events.told if told[0] == "gone"]

    def assert_released(self) -> None:
        """Nothing of it is left: no timer and no seat."""
        self.assertEqual(self.media.legs, 0)
        # Autobahn's wait for the end of a closing goes on, and does nothing.
        self.clock.advance(CLOSED_WITHIN)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    # What it is

    def test_it_is_a_leg_that_was_identified_once(self) -> None:
        self.assertTrue(verifyObject(ILeg, self.leg))
        self.assertTrue(verifyObject(IPushProducer, self.leg))
        self.assertEqual(self.events.told, [("identified",)])
        self.assertEqual(self.taken, [(self.leg, self.leg.call_id)])
        self.assertIn("192.0.2.1:", self.leg.peer)
        self.assertTrue(self.far.transport.no_delay)
        self.assertEqual((self.leg.caller_rate, self.leg.agent_rate), (self.rate,) * 2)

    # What it sends

    def test_a_frame_leaves_every_20_ms_in_one_write(self) -> None:
        self.talk(5)
        # From the beginning to the end, both included.
        self.assertEqual(self.far.frames(), [self.silence] * 251)
        self.assertEqual(self.leg.figures().frames_sent, 251)

    def test_what_is_played_is_what_is_sent(self) -> None:
        pcm = self.voice(0.2)
        self.assertTrue(self.leg.play("a", pcm))
        self.leg.end_of_item("a")
        self.talk(0.3)
        almost = len(pcm) - len(self.silence) // 2
        self.assertEqual(b"".join(self.far.frames())[:almost], pcm[:almost])
        self.assertEqual(self.events.told[1:], [("sounding", "a"), ("played_out", "a")])

    def test_flush_says_what_was_heard_and_pause_keeps_it(self) -> None:
        self.leg.play("a", self.voice(1))
        self.talk(0.1)
        self.leg.pause()
        self.talk(0.1)
        self.leg.resume()
        self.talk(0.1)
        self.assertEqual(self.leg.flush(), (Heard("a", 220, 1000),))
        self.far.frames()
        self.talk(0.1)
        self.assertEqual(self.far.frames()[1:], [self.silence] * 4)
        self.assertLessEqual(self.leg.figures().tail_ms, 40)
        self.assertGreater(self.leg.figures().tail_ms, 0)

    def test_ten_minutes_may_wait_and_no_more(self) -> None:
        self.assertTrue(self.leg.play("a", bytes(600 * 2 * self.rate)))
        self.assertEqual(self.leg.figures().waiting_ms, 600_000)
        self.assertFalse(self.leg.play("a", bytes(2)))

    def test_told_of_a_frame_the_leg_may_be_hung_up(self) -> None:
        self.patch(self.events, "sounding", lambda item: self.leg.hang_up())
        self.leg.play("a", self.voice(0.01))
        self.leg.end_of_item("a")
        self.talk(0.2)
        self.assertEqual(self.events.told[1:], [GONE_BY_HANG_UP])
        self.assertEqual(len(self.far.frames()), 1)

    def test_an_error_on_our_side_ends_it_at_once(self) -> None:
        self.patch(self.leg._playout, "frame", lambda now: 1 // 0)
        self.pass_time(0.1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.far.transport.asked[-1], "abortConnection")
        self.assertEqual(self.events.told[1:], [("gone", "internal error", False)])
        self.far.lose()
        self.assert_released()

    # What it hears

    def test_audio_of_any_length_is_passed_on_at_once(self) -> None:
        for count in (1, 160, 240, 480, 960):
            pcm = speech(count, self.rate)
            self.far.speak(pcm)
            self.assertEqual(self.events.audio.pop(), pcm)
        self.assertEqual(self.leg.figures().frames_received, 5)

    def test_odd_and_empty_audio_is_counted_and_survived(self) -> None:
        with capturedLogs() as captured:
            for size in (0, 1, 321, 0, 3):
                self.far.speak(bytes(size))
        self.assertEqual([len(pcm) for pcm in self.events.audio], [320, 2])
        self.assertEqual(
            self.leg.figures().oddities, {"empty frames": 3, "odd lengths": 3}
        )
        warned = [event for event in captured if event["log_level"].name == "warn"]
        self.assertEqual(len(warned), 2)
        self.assertEqual(self.events.told, [("identified",)])

    def test_holes_are_silence_and_the_time_is_kept(self) -> None:
        self.talk(1)
        self.pass_time(0.24)
        self.talk(1)
        self.assertApproximates(self.heard_seconds(), 2.24, 0.021)
        self.assertGreaterEqual(self.leg.figures().filled_ms, 220)

    def test_nine_seconds_without_audio_are_silence(self) -> None:
        self.talk(1)
        self.pass_time(9)
        self.assertApproximates(self.heard_seconds(), 10, 0.05)
        self.assertEqual(self.gone(), [])

    def test_an_endless_supply_of_audio_is_no_call(self) -> None:
        for _ in range(50 * 59):
            self.far.speak(self.silence)
        self.assertEqual(self.gone(), [])
        with capturedLogs() as captured:
            for _ in range(50 * 2):
                self.far.speak(self.silence)
        self.assertEqual(self.gone(), [("gone", "protocol error", False)])
        self.assertTrue(any("60 s of audio" in str(event) for event in captured))

    def test_keys_are_told_and_what_is_none_is_counted(self) -> None:
        for key in "0123456789*#ABCDabcd":
            self.far.press(key)
        told = "".join(event[1] for event in self.events.told[1:])
        self.assertEqual(told, "0123456789*#ABCDABCD")
        with capturedLogs():
            for broken in ("", "E", "12", "\n", "\xdf"):
                self.far.press(broken)
        self.assertEqual(len(self.events.told), 21)
        self.assertEqual(sum(self.leg.figures().oddities.values()), 5)

    def test_what_means_nothing_is_counted_and_logged_once(self) -> None:
        with capturedLogs() as captured:
            for _ in range(10):
                self.far.send_nonsense()
        (count,) = self.leg.figures().oddities.values()
        self.assertEqual(count, 10)
        (warned,) = [event for event in captured if event["log_level"].name == "warn"]
        self.assertEqual(warned["call_id"], self.leg.call_id)
        self.assertEqual(self.events.told, [("identified",)])

    # Those who listen

    def test_a_tap_gets_both_sides(self) -> None:
        tap, late = FakeTap(), FakeTap()
        self.leg.tap(tap)
        said, answered = self.voice(1), self.voice(0.5)
        self.leg.play("a", answered)
        for start in range(0, len(said), len(self.silence)):
            self.far.speak(said[start : start + len(self.silence)])
            self.pass_time(PTIME)
        self.leg.tap(late)
        self.leg.untap(late)
        self.leg.hang_up()
        self.assertEqual(set(tap.rates), {(self.rate, self.rate)})
        self.assertEqual(b"".join(tap.caller)[: len(said)], said)
        almost = len(answered) - len(self.silence)
        self.assertEqual(b"".join(tap.agent)[:almost], answered[:almost])
        self.assertEqual(len(tap.agent), self.leg.figures().frames_sent)
        self.assertEqual(late.agent, [])

    # How it ends

    def test_we_hang_up_and_nothing_follows(self) -> None:
        self.talk(0.1)
        self.leg.play("a", self.voice(1))
        self.leg.hang_up()
        self.assertEqual(self.events.told[1:], [GONE_BY_HANG_UP])
        self.far.frames()
        self.far.speak(self.silence)
        self.far.press("1")
        self.pass_time(1)
        self.leg.hang_up()
        self.assertEqual(self.far.frames(), [])
        self.assertNotIn("abortConnection", self.far.transport.asked)
        self.far.lose()
        self.assertEqual(len(self.events.told), 2)
        self.assert_released()

    def test_a_peer_that_does_not_close_is_cut_off(self) -> None:
        self.leg.hang_up()
        self.pass_time(4.5)
        self.assertNotIn("abortConnection", self.far.transport.asked)
        self.pass_time(1.5)
        self.assertEqual(self.far.transport.asked[-1], "abortConnection")
        self.far.lose(Failure(ConnectionLost()))
        self.assert_released()

    def test_the_caller_hangs_up(self) -> None:
        self.far.hang_up()
        self.far.speak(self.silence)
        self.assertEqual(self.events.told[1:], [("gone", "caller hung up", True)])
        self.assertEqual(self.events.audio, [])
        self.far.lose()
        self.assert_released()

    def test_a_connection_that_ends_is_a_caller_who_hung_up(self) -> None:
        for reason in (None, Failure(ConnectionLost())):
            self.setUp()
            self.talk(0.1)
            self.far.lose(reason)
            self.assertEqual(self.events.told[1:], [("gone", "caller hung up", True)])
            self.leg.hang_up()
            self.assertEqual(len(self.events.told), 2)
            self.assert_released()

    def test_another_failure_of_the_connection_is_a_fault(self) -> None:
        self.far.lose(Failure(ValueError("what is that")))
        ((_, reason, in_order),) = self.gone()
        self.assertIn("what is that", reason)
        self.assertFalse(in_order)

    def test_a_peer_that_never_reads_is_cut_off_when_2_s_wait(self) -> None:
        self.far.frames()
        self.far.transport.reads = False
        self.talk(1.9)
        self.assertEqual(self.gone(), [])
        self.talk(0.2)
        self.assertEqual(self.far.transport.asked[-1], "abortConnection")
        self.assertIn("stopped reading: 2 s", self.gone()[0][1])
        self.assertLess(len(self.far.frames()), 105)
        self.far.lose()
        self.assert_released()

    def test_after_the_end_everything_may_be_asked_and_nothing_is_kept(self) -> None:
        self.talk(0.1)
        self.far.lose()
        self.assertTrue(self.leg.play("a", self.voice(1)))
        self.leg.end_of_item("a")
        self.leg.pause()
        self.leg.resume()
        self.leg.tap(FakeTap())
        self.assertEqual(self.leg.flush(), ())
        self.assertEqual(self.leg.agent_rate, self.rate)
        self.assertEqual(self.leg.figures().frames_sent, 6)
        self.assertEqual(self.leg.figures().waiting_ms, 0)

    def test_the_last_figures_are_those_of_the_call(self) -> None:
        self.talk(0.5)
        self.clock.advance(0.5)
        self.talk(0.5)
        before = self.leg.figures()
        self.assertGreater(before.frames_skipped, 20)
        self.leg.hang_up()
        self.assertEqual(self.leg.figures(), before)

    def test_a_leg_that_ended_can_be_collected(self) -> None:
        legs = []
        for how in range(3):
            self.setUp()
            self.leg.play("a", self.voice(1))
            self.leg.tap(FakeTap())
            self.talk(0.1)
            if how == 1:
                self.leg.hang_up()
                self.pass_time(6)
            elif how == 2:
                self.far.hang_up()
            self.far.lose()
            self.assert_released()
            legs.append(weakref.ref(self.leg))
            del self.far, self.leg
            self.taken.clear()
        gc.collect()
        self.assertEqual([ref() for ref in legs], [None] * 3)

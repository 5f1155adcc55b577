"""Tests of L{portero.taps}."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from portero.interfaces import IAudioTap
from portero.taps import DELAY, Taps
from tests.fakes import FakeTap

RATES = (8000, 12000, 16000, 24000, 32000, 44100, 48000, 96000, 192000)


def counted(count: int, start: int = 1) -> bytes:
    """Samples that can be told apart, none of them silent."""
    return (
        ((np.arange(start - 1, start - 1 + count) % 30000) + 1).astype("<i2").tobytes()
    )


class TapsCase(SynchronousTestCase):
    ahead = 0.0

    def setUp(self) -> None:
        self.tap = FakeTap()
        self.taps = Taps(self.ahead, 0, 8000)
        self.taps.add(self.tap)
        self.sent = 0

    def send(self, count: int, skipped: int = 0, size: int = 320) -> None:
        for _ in range(count):
            self.sent += 1
            self.taps.sent(bytes([self.sent, 1]) * (size // 2), skipped)

    def agent(self) -> list[int]:
        """Which frames were given, by their number; 0: one that was skipped."""
        return [frame[0] for frame in self.tap.agent]


class CuttingTests(TapsCase):
    def test_the_fake_is_a_tap(self) -> None:
        self.assertTrue(verifyObject(IAudioTap, self.tap))

    def test_a_frame_comes_so_many_frames_after_it_left(self) -> None:
        self.taps.heard(counted(160 * 20), 8000)
        self.send(DELAY)
        self.assertEqual(self.agent(), [])
        self.send(3)
        self.assertEqual(self.agent(), [1, 2, 3])
        self.assertEqual(self.tap.caller, [counted(160, 1 + 160 * n) for n in range(3)])
        self.assertEqual(set(self.tap.rates), {(8000, 8000)})

    def test_pieces_of_any_length_are_cut_to_frames(self) -> None:
        stream, start = counted(160 * 20), 0
        for size in (2, 318, 322, 0, 1280, 40, 3200, 1238):
            self.taps.heard(stream[start : start + size], 8000)
            start += size
        self.send(DELAY + 20)
        self.assertEqual(b"".join(self.tap.caller), stream[: 320 * 20])

    def test_a_caller_who_is_late_is_waited_for_and_then_caught_up(self) -> None:
        self.send(DELAY + 5)
        self.assertEqual(self.agent(), [])
        self.taps.heard(counted(160 * 5), 8000)
        self.send(1)
        self.assertEqual(self.agent(), [1, 2, 3, 4, 5])

    def test_frames_that_were_given_up_are_silent_and_take_their_time(self) -> None:
        self.taps.heard(counted(160 * 30), 8000)
        self.send(3)
        self.send(3, skipped=7)
        self.send(DELAY, skipped=7)
        self.assertEqual(self.agent(), [1, 2, 3, *[0] * 7, 4, 5, 6])
        self.assertEqual(
            self.tap.caller, [counted(160, 1 + 160 * n) for n in range(13)]
        )

    def test_each_side_has_its_rate(self) -> None:
        self.taps.heard(bytes(960), 24000)
        self.send(DELAY + 1, size=640)
        self.assertEqual(self.tap.rates, [(24000, 16000)])

    def test_one_that_comes_later_gets_what_comes_later(self) -> None:
        self.taps.heard(counted(160 * 30), 8000)
        self.send(DELAY + 5)
        late = FakeTap()
        self.taps.add(late)
        self.send(5)
        self.assertEqual(late.caller, self.tap.caller[5:])
        self.assertEqual(late.agent, self.tap.agent[5:])

    def test_one_that_went_gets_no_more(self) -> None:
        self.taps.heard(counted(160 * 30), 8000)
        self.send(DELAY + 5)
        self.taps.remove(self.tap)
        self.taps.remove(FakeTap())
        self.send(5)
        self.assertEqual(len(self.tap.agent), 5)
        self.assertFalse(self.taps)


class BeginningTests(TapsCase):
    def test_a_caller_who_is_ahead_is_silent_for_so_long(self) -> None:
        """What was said before the tap came is not repeated."""
        taps = Taps(0.0305, 0, 8000)
        taps.add(self.tap)
        taps.heard(counted(160 * 5), 8000)
        for _ in range(DELAY + 3):
            taps.sent(bytes(320), 0)
        self.assertEqual(b"".join(self.tap.caller), bytes(2 * 244) + counted(236))

    def test_of_a_caller_who_is_behind_so_much_is_left_out(self) -> None:
        taps = Taps(-0.0305, 0, 8000)
        taps.add(self.tap)
        for n in range(5):
            taps.heard(counted(160, 1 + 160 * n), 8000)
        for _ in range(DELAY + 3):
            taps.sent(bytes(320), 0)
        self.assertEqual(b"".join(self.tap.caller), counted(480, 245))

    def test_what_is_left_out_may_be_of_two_rates(self) -> None:
        taps = Taps(-0.04, 0, 8000)
        taps.add(self.tap)
        taps.heard(counted(160), 8000)
        taps.heard(counted(480 * 3), 24000)
        for _ in range(DELAY + 2):
            taps.sent(bytes(320), 0)
        self.assertEqual(b"".join(self.tap.caller), counted(960, 481))

    def test_what_was_given_up_before_is_not_told(self) -> None:
        taps = Taps(0.0, 50, 8000)
        taps.add(self.tap)
        taps.heard(bytes(320), 8000)
        for _ in range(DELAY + 1):
            taps.sent(bytes([1]) * 320, 50)
        self.assertEqual(self.agent(), [1])


class EndTests(TapsCase):
    def test_what_waits_is_given(self) -> None:
        self.taps.heard(counted(160 * 20), 8000)
        self.send(20)
        self.taps.end()
        self.assertEqual(self.agent(), list(range(1, 21)))
        self.assertEqual(b"".join(self.tap.caller), counted(160 * 20))

    def test_a_caller_who_said_less_is_silent_for_the_rest(self) -> None:
        self.taps.heard(counted(200), 8000)
        self.send(3)
        self.taps.end()
        self.assertEqual(b"".join(self.tap.caller), counted(200) + bytes(560))
        self.assertEqual(self.agent(), [1, 2, 3])

    def test_a_caller_who_said_more_is_heard_to_the_end(self) -> None:
        self.taps.heard(counted(160 * 4 + 10), 8000)
        self.send(2)
        self.taps.end()
        self.assertEqual(b"".join(self.tap.caller), counted(160 * 4))
        self.assertEqual(self.agent(), [1, 2, 0, 0])

    def test_nothing_is_given_twice(self) -> None:
        self.taps.end()
        self.send(2)
        self.taps.end()
        self.taps.end()
        self.assertEqual(self.agent(), [1, 2])


class RateTests(TapsCase):
    def test_what_was_said_at_the_old_rate_keeps_its_length(self) -> None:
        self.taps.heard(counted(160) + b"\x10\x00" * 80, 8000)
        self.taps.heard(b"\x20\x00" * 1000, 24000)
        self.send(DELAY + 3)
        self.assertEqual([r[0] for r in self.tap.rates], [8000, 24000, 24000])
        self.assertEqual(self.tap.caller[0], counted(160))
        self.assertEqual(self.tap.caller[1], b"\x10\x00" * 240 + b"\x20\x00" * 240)

    @settings(deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from(RATES), st.integers(1, 3000)),
            min_size=1,
            max_size=60,
        )
    )
    def test_changing_it_again_and_again_loses_no_time(
        self, pieces: list[tuple[int, int]]
    ) -> None:
        """
        Alternatingly odd lengths: what rounding takes is less than a sample altogether.
        """
        self.setUp()
        for rate, count in pieces:
            self.taps.heard(bytes(2 * count), rate)
        for _ in range(4000):
            self.taps.sent(bytes(320), 0)
        seconds = sum(count / rate for rate, count in pieces)
        frames = len(self.tap.caller)
        slowest = 1 / min(RATES)
        self.assertLess(frames * 0.02, seconds + slowest)
        self.assertGreater(frames * 0.02, seconds - 0.02 - slowest)
        for pcm, (rate, _) in zip(self.tap.caller, self.tap.rates, strict=True):
            self.assertEqual(len(pcm), rate // 25)


class FaultTests(TapsCase):
    def test_a_tap_that_fails_is_logged_once_and_gets_no_more(self) -> None:
        class Broken:
            asked = 0

            def frame(self, *_: object) -> None:
                self.asked += 1
                raise ValueError("no")

        broken, other = Broken(), FakeTap()
        self.taps.add(broken)  # type: ignore[arg-type]  # that is the point
        self.taps.add(other)
        self.taps.heard(counted(160 * 10), 8000)
        self.send(DELAY + 5)
        self.assertEqual(broken.asked, 1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(len(self.tap.agent), 5)
        self.assertEqual(len(other.agent), 5)

    def test_one_may_leave_while_it_is_given_something(self) -> None:
        taps = self.taps

        class Leaving(FakeTap):
            def frame(self, *frame: object) -> None:
                super().frame(*frame)  # type: ignore[arg-type]
                taps.remove(self)

        leaving = Leaving()
        taps.add(leaving)
        taps.heard(counted(160 * 10), 8000)
        self.send(DELAY + 5)
        self.assertEqual(len(leaving.agent), 1)
        self.assertEqual(len(self.tap.agent), 5)

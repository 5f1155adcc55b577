"""Tests of L{portero.web.meter}: how loud it is."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from portero.audio import level_dbfs, peak
from portero.interfaces import IAudioTap
from portero.web.meter import MOST_FRAMES, Meter, levels, peaks


def tone(amplitude: float, samples: int) -> bytes:
    """@return: PCM of a sine of whole periods."""
    phase = np.arange(samples) * (2 * math.pi * 4 / samples)
    pcm: bytes = (np.sin(phase) * amplitude * 32767).astype("<i2").tobytes()
    return pcm


class MeterTests(SynchronousTestCase):
    def test_it_is_a_tap_and_gives_each_frame_once(self) -> None:
        meter = Meter()
        verifyObject(IAudioTap, meter)
        meter.frame(b"aa", 8000, b"bb", 16000)
        meter.frame(b"cc", 8000, b"dd", 16000)
        self.assertEqual(meter.take(), ([b"aa", b"cc"], [b"bb", b"dd"]))
        self.assertEqual(meter.take(), ([], []))

    def test_what_nobody_takes_does_not_grow(self) -> None:
        meter = Meter()
        for _ in range(3 * MOST_FRAMES):
            meter.frame(b"aa", 8000, b"bb", 8000)
        caller, agent = meter.take()
        self.assertEqual((len(caller), len(agent)), (MOST_FRAMES, MOST_FRAMES))


class LevelTests(SynchronousTestCase):
    def test_each_side_of_each_call_has_its_own(self) -> None:
        loud, soft = tone(1.0, 160), tone(0.01, 480)
        calls = [([loud] * 12, [soft] * 12), ([bytes(320)] * 2, [loud]), ([], [])]
        self.assertEqual(levels(calls), [[-3, -43], [-96, -3], [-96, -96]])

    def test_without_calls_there_is_nothing(self) -> None:
        self.assertEqual(levels([]), [])

    @given(st.lists(st.binary(max_size=60).map(lambda b: b[: len(b) // 2 * 2])))
    def test_they_are_those_of_the_whole_stretch(self, pieces: list[bytes]) -> None:
        ((caller, agent),) = levels([(pieces, [])])
        self.assertEqual(agent, -96)
        self.assertApproximates(caller, level_dbfs(b"".join(pieces)), 0.51)


class PeakTests(SynchronousTestCase):
    def test_full_scale_is_100_and_silence_0(self) -> None:
        frames = [tone(1.0, 160), bytes(320), b"\0\x80", tone(0.5, 480), b""]
        self.assertEqual(peaks(frames), [100, 0, 100, 50, 0])
        self.assertEqual(peaks([]), [])

    @given(st.lists(st.binary(max_size=60).map(lambda b: b[: len(b) // 2 * 2])))
    def test_they_are_those_of_each_frame(self, pieces: list[bytes]) -> None:
        found = peaks(pieces)
        self.assertEqual(len(found), len(pieces))
        for piece, value in zip(pieces, found, strict=True):
            self.assertApproximates(value, peak(piece) / 327.68, 0.51)

"""Tests for L{portero.gate}."""

from __future__ import annotations

import random

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from twisted.trial.unittest import SynchronousTestCase

from portero.audio import level_dbfs
from portero.gate import (
    ATTACK,
    DEPTH,
    HANGOVER,
    HOLD,
    LEAST_NOISE,
    MOST_NOISE,
    OPEN,
    UP,
    Gate,
)
from portero.prompts import WORDS, load
from portero.resample import Resampler

RATE = 8000
SIZE = 160
NOISE = 100
BY_NOISE = 32767
"""A threshold that leaves the decision to the noise."""


def samples(pcm: bytes) -> NDArray[np.int64]:
    return np.frombuffer(pcm, "<i2").astype(np.int64)


def square(rms: float, frames: int = 1, size: int = SIZE) -> bytes:
    """Of which every frame has exactly that level, rounded to whole steps."""
    wave = np.full(frames * size, round(rms), "<i2")
    wave[::2] *= -1
    return wave.tobytes()


def above(db: float, rms: float = NOISE) -> float:
    return rms * 10 ** (db / 20)


def dbov(db: float) -> float:
    return above(db, 32768)


def in_pieces(gate: Gate, pcm: bytes, sizes: list[int]) -> bytes:
    """The output for pieces of these sizes, in bytes, and then the rest."""
    output, at = b"", 0
    for size in sizes:
        output += gate.process(pcm[at : at + size])
        at += size
    return output + gate.process(pcm[at:])


def varied(chance: random.Random, seconds: int = 4) -> bytes:
    """Stretches of noise, silence and sound, of many levels."""
    rng = np.random.default_rng(chance.randrange(1000))
    sound = np.zeros(0)
    while len(sound) < seconds * RATE:
        level = chance.choice((0, 1, 5, 40, 200, 1000, 9000))
        sound = np.append(sound, rng.normal(0, level, chance.randrange(10, 4000)))
    return bytes(np.rint(sound).clip(-32768, 32767).astype("<i2").tobytes())


class GateCase(SynchronousTestCase):
    def gate(self, threshold: int = BY_NOISE, noise: float = NOISE) -> Gate:
        """One that shut on a line with this noise."""
        gate = Gate(RATE, threshold)
        gate.process(square(noise, HANGOVER + 2))
        self.assert_lowered(gate.process(square(noise)), square(noise))
        return gate

    def assert_lowered(self, given: bytes, pcm: bytes) -> None:
        self.assertNotEqual(pcm, b"")
        x = samples(pcm)
        wanted = np.sign(x) * np.ceil(np.abs(x) * DEPTH)
        self.assertEqual(samples(given).tolist(), wanted.tolist())

    def opens(self, gate: Gate, pcm: bytes) -> bool:
        """Whether the gate is open at the end of this."""
        return gate.process(pcm)[-40:] == pcm[-40:]


class StreamTests(GateCase):
    def test_pieces_of_any_size_give_what_one_call_gives(self) -> None:
        chance = random.Random(1)
        for _ in range(20):
            pcm = varied(chance)
            sizes = [chance.choice((0, 1, 2, 7, 320, 322, 3200)) for _ in range(90)]
            threshold = chance.choice((1, 200, BY_NOISE))
            whole = Gate(RATE, threshold).process(pcm)
            self.assertEqual(in_pieces(Gate(RATE, threshold), pcm, sizes), whole)

    def test_whole_frames_are_given_at_once_and_a_rest_with_the_next(self) -> None:
        for rate in (8000, 16000, 24000, 48000):
            gate, frame = Gate(rate, 200), rate // 25
            for sent, due in ((1, 1), (3, 3), (0.5, 0), (1, 1), (0.5, 1), (0, 0)):
                given = gate.process(bytes(round(sent * frame)))
                self.assertEqual(len(given), due * frame)

    @settings(
        deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow]
    )
    @given(
        pcm=st.binary(max_size=3200),
        quieter=st.sampled_from((1, 30, 1000, 20000)),
        threshold=st.sampled_from((1, 200, BY_NOISE)),
    )
    def test_no_sample_gets_louder_nor_lower_than_12_db_nor_zero(
        self, pcm: bytes, quieter: int, threshold: int
    ) -> None:
        x = np.frombuffer(pcm[: len(pcm) // 320 * 320], "<i2") // quieter
        pcm = square(5, 20) + x.astype("<i2").tobytes()
        given, wanted = samples(Gate(RATE, threshold).process(pcm)), samples(pcm)
        self.assertTrue((np.abs(given) <= np.abs(wanted)).all())
        self.assertTrue((np.abs(given) >= 10 ** (-12 / 20) * np.abs(wanted)).all())
        self.assertTrue((np.sign(given) == np.sign(wanted)).all())

    def test_full_scale_does_not_wrap(self) -> None:
        gate = Gate(RATE, BY_NOISE)
        pcm = np.full(10 * SIZE, -32768, "<i2").tobytes()
        self.assertEqual(gate.process(pcm), pcm)
        gate = self.gate()
        self.assertEqual(samples(gate.process(pcm))[40:].tolist(), [-32768] * 1560)

    def test_a_threshold_is_an_amplitude(self) -> None:
        for threshold in (-1, 0, 32768):
            error = self.assertRaises(ValueError, Gate, RATE, threshold)
            self.assertIn(f"from 1 to 32767, not {threshold}", str(error))


class LevelTests(GateCase):
    def test_it_opens_at_9_db_over_the_noise(self) -> None:
        self.assertFalse(self.opens(self.gate(), square(above(8.9))))
        self.assertTrue(self.opens(self.gate(), square(above(9.1))))

    def test_it_is_kept_open_by_5_db_over_the_noise(self) -> None:
        for margin, kept in ((4.5, False), (5.5, True)):
            gate = self.gate()
            gate.process(square(above(OPEN + 1)))
            # Not longer: the noise's level rises.
            pcm = square(above(margin), HANGOVER + 1)
            gate.process(pcm[:-320])
            self.assertEqual(self.opens(gate, pcm[-320:]), kept)

    def test_what_reaches_the_threshold_passes_whatever_the_noise(self) -> None:
        for noise in (80, 120, 180):
            self.assertFalse(self.opens(self.gate(200, noise), square(199)))
            gate = self.gate(200, noise)
            pcm = square(200, 500)
            # All but the ramp of 5 ms, for as long as it lasts.
            self.assertEqual(gate.process(pcm)[80:], pcm[80:])

    def test_with_a_threshold_of_1_everything_passes(self) -> None:
        pcm = varied(random.Random(2))
        gate = Gate(RATE, 1)
        gate.process(bytes(320 * 50))
        frame = square(1, 1)
        self.assertEqual(gate.process(frame * 50)[80:], (frame * 50)[80:])
        loud = square(1) + pcm.replace(b"\0\0", b"\1\0")
        gate = Gate(RATE, 1)
        self.assertEqual(gate.process(loud), loud[: len(loud) // 320 * 320])

    def test_it_stays_open_for_15_quiet_frames(self) -> None:
        gate = self.gate()
        gate.process(square(5000, 3))
        quiet = square(NOISE, 15)
        self.assertEqual(gate.process(quiet), quiet)
        shutting = samples(gate.process(square(NOISE)))
        self.assertEqual(abs(shutting[0]), NOISE)
        self.assertEqual(abs(shutting[-1]), np.ceil(DEPTH * NOISE))
        self.assert_lowered(gate.process(quiet), quiet)

    def test_a_loud_frame_starts_the_hangover_again(self) -> None:
        gate = self.gate()
        pcm = (square(5000) + square(NOISE, HANGOVER)) * 5
        self.assertEqual(gate.process(pcm)[80:], pcm[80:])

    def test_the_other_rates_weigh_20_ms_too(self) -> None:
        for rate in (16000, 24000, 48000):
            size = rate // 50
            gate = Gate(rate, BY_NOISE)
            gate.process(square(NOISE, HANGOVER + 2, size))
            quiet = square(above(OPEN - 0.1), 1, size)
            self.assert_lowered(gate.process(quiet), quiet)
            self.assertTrue(self.opens(gate, square(above(OPEN + 0.3), 1, size)))


class RampTests(GateCase):
    def assert_even(self, pcm: bytes, seconds: float) -> None:
        """Of a square wave: the magnitude changes in even steps, for so long."""
        x = np.abs(samples(pcm))
        steps = np.abs(np.diff(x))
        whole = (1 - DEPTH) * 20000
        self.assertLessEqual(int(steps.max()), whole / (seconds * RATE) * 1.02 + 1)
        self.assertApproximates(np.count_nonzero(steps), seconds * RATE, 1)

    def test_it_opens_in_5_ms(self) -> None:
        self.assert_even(self.gate().process(square(20000, 2)), ATTACK)

    def test_it_shuts_in_20_ms(self) -> None:
        # The wave itself stays as loud; what it is compared with does not.
        gate = self.gate()
        gate.process(square(20000))
        gate._loud = lambda margin: 1e12  # type: ignore[method-assign]  # no sound is
        gate.process(square(20000, HANGOVER))
        self.assert_even(gate.process(square(20000, 2)), 0.02)


class NoiseTests(GateCase):
    def frames_open(self, gate: Gate, frame: bytes, most: int = 3000) -> int:
        """For how many frames of this the gate stays open."""
        for n in range(most):
            if not self.opens(gate, frame):
                return n
        return most

    def test_a_call_begins_open_and_shuts_when_there_was_only_noise(self) -> None:
        for noise in (3, 30, 180):
            frame = square(noise)
            self.assertEqual(self.frames_open(Gate(RATE, BY_NOISE), frame), HANGOVER)

    def test_its_level_rises_by_3_db_in_a_second(self) -> None:
        # Louder by 15 dB, it holds the gate until it is less than 5 dB over it.
        frames = self.frames_open(self.gate(noise=20), square(above(15, 20)))
        self.assertApproximates(frames, 10 / UP + HANGOVER, 2)
        self.assertApproximates(10 / UP * 0.02, 10 / 3, 1e-9)

    def test_its_level_falls_at_once(self) -> None:
        gate = self.gate(noise=180)
        self.assertFalse(self.opens(gate, square(NOISE)))
        gate.process(square(20, 10))
        self.assertTrue(self.opens(gate, square(NOISE)))

    def test_it_is_not_taken_for_less_than_70_dbov(self) -> None:
        for noise in (1, 5):
            gate = self.gate(noise=noise)
            self.assertFalse(self.opens(gate, square(dbov(LEAST_NOISE + OPEN) - 1)))
            self.assertTrue(self.opens(gate, square(dbov(LEAST_NOISE + OPEN) + 1)))

    def test_it_is_not_taken_for_more_than_45_dbov(self) -> None:
        loud = square(dbov(MOST_NOISE + HOLD) + 1)
        self.assertEqual(self.frames_open(Gate(RATE, BY_NOISE), loud), 3000)
        less = square(dbov(MOST_NOISE + HOLD) - 1)
        self.assertEqual(self.frames_open(Gate(RATE, BY_NOISE), less), HANGOVER)

    def test_holes_of_digital_silence_do_not_make_it_forget(self) -> None:
        gate = self.gate()
        silence = bytes(320 * 100)
        self.assertEqual(gate.process(silence), silence)
        self.assertFalse(self.opens(gate, square(above(OPEN - 0.1))))

    def test_digital_silence_first_is_not_the_noise_of_the_line(self) -> None:
        gate = Gate(RATE, BY_NOISE)
        gate.process(bytes(320 * (HANGOVER + 5)))
        self.assert_lowered(gate.process(square(NOISE)), square(NOISE))


class SpeechTests(GateCase):
    """The spoken prompts, at the levels of loud and quiet callers."""

    def powers(self, sound: NDArray[np.int64]) -> NDArray[np.float64]:
        size = len(sound) // SIZE * SIZE
        frames = sound[:size].astype(np.float64).reshape(-1, SIZE)
        energies: NDArray[np.float64] = np.einsum("ij,ij->i", frames, frames)
        return energies

    def clips(self) -> list[NDArray[np.float64]]:
        clips: list[NDArray[np.float64]] = []
        for language in WORDS:
            for name in ("greeting", "goodbye", "apology", "listening"):
                rate, pcm = load(name, language)
                pcm = Resampler(rate, RATE).process(pcm)
                gain = 10 ** (-level_dbfs(pcm) / 20)
                clips.append(samples(pcm).astype(np.float64) * gain)
        return clips

    def test_no_active_frame_loses_more_than_12_db_and_hardly_any_loses_some(
        self,
    ) -> None:
        active = touched = 0
        for clip in self.clips():
            for level in (-20, -26, -32, -38, -44):
                for threshold in (200, 500, BY_NOISE):
                    x = np.rint(clip * 10 ** (level / 20)).astype("<i2")
                    given = Gate(RATE, threshold).process(x.tobytes())
                    before = self.powers(x.astype(np.int64))
                    after = self.powers(samples(given))
                    speech = before > before.max() / 1000
                    lost = 10 * np.log10(before[speech] / after[speech])
                    self.assertLessEqual(float(lost.max()), 12.0)
                    active += len(lost)
                    touched += int(np.count_nonzero(lost > 1))
        self.assertGreater(active, 10_000)
        self.assertLess(touched / active, 0.005)

    def test_pauses_between_words_on_a_noisy_line_are_lowered(self) -> None:
        rng = np.random.default_rng(3)
        lowered = []
        for clip in self.clips():
            speech = clip * 10 ** (-26 / 20)
            pause = np.zeros(2 * RATE)
            line = np.concatenate((pause, speech, pause))
            line = line + rng.normal(0, dbov(-50), len(line))
            pcm = np.rint(line).clip(-32768, 32767).astype("<i2").tobytes()
            given = Gate(RATE, 500).process(pcm)
            end = slice(-2 * RATE, None)
            lowered.append(level_dbfs(pcm[end]) - level_dbfs(given[end]))
        self.assertGreater(min(lowered), 11.0)

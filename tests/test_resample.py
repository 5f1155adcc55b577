"""Tests for L{portero.resample}: (a) to (f) are what the filter promises, exactly."""

from __future__ import annotations

import importlib
import math
import os
import random
import subprocess
import sys
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from twisted.trial.unittest import SynchronousTestCase

from portero.resample import QUANTUM, Resampler, _bank, prototype

# By name: mypy cannot see what scipy's lazy modules hold.
signal: Any = importlib.import_module("scipy.signal")

RATES = (8000, 12000, 16000, 24000, 32000, 48000)
PAIRS = tuple((a, b) for a in RATES for b in RATES if a != b)
ODD_PAIRS = ((44100, 8000), (8000, 44100), (11025, 24000))


def terms(rate_in: int, rate_out: int) -> tuple[int, int]:
    divisor = math.gcd(rate_in, rate_out)
    return rate_out // divisor, rate_in // divisor


def noise(samples: int, seed: int = 1) -> NDArray[np.int16]:
    values = np.random.default_rng(seed).normal(0, 7000, samples)
    return np.rint(values).clip(-32768, 32767).astype("<i2")


def resampled(pair: tuple[int, int], samples: NDArray[np.int16]) -> NDArray[np.int16]:
    return np.frombuffer(Resampler(*pair).process(samples.tobytes()), "<i2")


def in_pieces(pair: tuple[int, int], pcm: bytes, sizes: list[int]) -> bytes:
    """The output for pieces of these sizes, in bytes, and then the rest."""
    resampler, output, at = Resampler(*pair), [], 0
    for size in sizes:
        output.append(resampler.process(pcm[at : at + size]))
        at += size
    return b"".join(output) + resampler.process(pcm[at:])


class SplitTests(SynchronousTestCase):
    """(a) and (f): how the input is cut changes nothing."""

    def test_frames_of_20_ms_give_what_one_call_gives(self) -> None:
        for pair in PAIRS + ODD_PAIRS:
            pcm = noise(pair[0]).tobytes()
            whole = Resampler(*pair).process(pcm)
            self.assertEqual(in_pieces(pair, pcm, [pair[0] // 25] * 49), whole, pair)

    def test_random_pieces_some_empty_some_odd_give_what_one_call_gives(self) -> None:
        chance = random.Random(2)
        for pair in PAIRS + ODD_PAIRS:
            pcm = noise(4000).tobytes()
            sizes = [chance.choice((0, 1, 2, 3, 7, 320, 961)) for _ in range(60)]
            whole = Resampler(*pair).process(pcm)
            self.assertEqual(in_pieces(pair, pcm, sizes), whole, pair)

    @settings(deadline=None, max_examples=150)
    @given(
        pair=st.sampled_from(PAIRS),
        pcm=st.binary(max_size=1500),
        sizes=st.lists(st.integers(0, 200), max_size=30),
    )
    def test_any_bytes_cut_anywhere_give_what_one_call_gives(
        self, pair: tuple[int, int], pcm: bytes, sizes: list[int]
    ) -> None:
        whole = Resampler(*pair).process(pcm)
        self.assertEqual(in_pieces(pair, pcm, sizes), whole)

    def test_single_bytes_give_what_one_call_gives(self) -> None:
        for pair in PAIRS:
            pcm = noise(300).tobytes()
            whole = Resampler(*pair).process(pcm)
            self.assertEqual(in_pieces(pair, pcm, [1] * len(pcm)), whole, pair)

    def test_sums_are_exact_in_any_order(self) -> None:
        """What the promise above rests on: no sum needs more than 53 bits."""
        for pair in PAIRS + ODD_PAIRS:
            rows = _bank(*terms(*pair)).rows
            multiples = rows / QUANTUM
            self.assertTrue((multiples == np.rint(multiples)).all(), pair)
            largest = np.abs(multiples).sum(axis=1).max() * 32768
            self.assertLess(largest, 2.0**53, pair)

    def test_an_odd_byte_is_kept_for_the_next_call(self) -> None:
        for pair in ((24000, 8000), (8000, 8000)):
            resampler, pcm = Resampler(*pair), noise(48).tobytes()
            first = resampler.process(pcm[:25])
            self.assertEqual(first, Resampler(*pair).process(pcm[:24]), pair)
            both = first + resampler.process(pcm[25:])
            self.assertEqual(both, Resampler(*pair).process(pcm), pair)

    def test_streams_do_not_share_state(self) -> None:
        one, other = Resampler(8000, 24000), Resampler(8000, 24000)
        one.process(noise(160).tobytes())
        fresh = Resampler(8000, 24000).process(noise(160, 5).tobytes())
        self.assertEqual(other.process(noise(160, 5).tobytes()), fresh)


class FilterTests(SynchronousTestCase):
    """(b) to (e): the filter is the one that was designed."""

    def test_output_is_that_of_resample_poly_later_by_the_delay(self) -> None:
        pairs = [pair for pair in PAIRS if 24000 in pair]
        compared = 0
        for pair in pairs:
            up, down = terms(*pair)
            m = max(up, down)
            if 16 * m % down:
                continue  # the delay is no whole number of output samples
            delay = 16 * m // down
            samples = noise(pair[0], seed=3)
            window = signal.firwin(
                32 * m + 1, 1 / m, window=("kaiser", signal.kaiser_beta(77.0))
            )
            wanted = signal.resample_poly(
                samples.astype(np.float64), up, down, window=window
            )
            wanted = np.rint(wanted).clip(-32768, 32767)
            given = resampled(pair, samples)
            self.assertEqual(given[delay:].tolist(), wanted[:-delay].tolist(), pair)
            compared += 1
        self.assertEqual(compared, len(pairs) - 1)  # all but 24 to 32 kHz

    def test_an_impulse_gives_the_filter(self) -> None:
        for pair in PAIRS:
            up, down = terms(*pair)
            impulse = np.zeros(200, np.int16)
            impulse[0] = 30000
            taps = np.zeros(-(-200 * up // down) * down)
            taps[: 32 * max(up, down) + 1] = prototype(up, down)
            wanted = np.rint(taps[::down] * 30000)
            given = resampled(pair, impulse)
            self.assertEqual(given.tolist(), wanted.tolist(), pair)

    def test_the_filter_is_scipys_but_for_the_rounding(self) -> None:
        for pair in PAIRS + ODD_PAIRS:
            up, down = terms(*pair)
            m = max(up, down)
            wanted = up * signal.firwin(
                32 * m + 1, 1 / m, window=("kaiser", signal.kaiser_beta(77.0))
            )
            self.assertLess(np.abs(prototype(up, down) - wanted).max(), QUANTUM, pair)

    def test_length_is_that_of_the_input_at_the_other_rate_rounded_up(self) -> None:
        for pair in PAIRS + ODD_PAIRS:
            resampler, taken, given = Resampler(*pair), 0, 0
            for size in (1, 0, 159, 160, 7, 1, 1, 480):
                given += len(resampler.process(bytes(2 * size))) // 2
                taken += size
                self.assertEqual(given, -(-taken * pair[1] // pair[0]), pair)

    def test_frames_come_out_whole(self) -> None:
        for pair in PAIRS:
            resampler, frame = Resampler(*pair), bytes(pair[0] // 25)
            sizes = {len(resampler.process(frame)) for _ in range(5)}
            self.assertEqual(sizes, {pair[1] // 25}, pair)

    def test_full_scale_is_clipped_and_does_not_wrap(self) -> None:
        for pair in PAIRS:
            square = np.where(np.arange(2000) // 50 % 2, 32767, -32768).astype("<i2")
            up, down = terms(*pair)
            exact = signal.upfirdn(
                prototype(up, down), square.astype(np.float64), up, down
            )
            given = resampled(pair, square)
            wanted = np.rint(exact[: len(given)]).clip(-32768, 32767)
            self.assertEqual((given.max(), given.min()), (32767, -32768), pair)
            self.assertEqual(given.tolist(), wanted.tolist(), pair)

    def test_delay_is_sixteen_samples_of_the_lower_rate(self) -> None:
        self.assertEqual(Resampler(8000, 24000).delay_ms, 2.0)
        self.assertEqual(Resampler(24000, 16000).delay_ms, 1.0)
        self.assertEqual(Resampler(16000, 16000).delay_ms, 0.0)


class RateTests(SynchronousTestCase):
    def test_equal_rates_return_the_input_itself(self) -> None:
        pcm = noise(160).tobytes()
        self.assertIs(Resampler(16000, 16000).process(pcm), pcm)

    def test_rates_that_cannot_be_are_refused_in_words(self) -> None:
        for pair in ((0, 8000), (8000, -1), (8000, 44101)):
            error = self.assertRaises(ValueError, Resampler, *pair)
            self.assertIn(str(pair[1]), str(error))

    def test_the_filter_is_made_once_for_a_ratio(self) -> None:
        self.assertIs(
            Resampler(8000, 24000)._bank.rows, Resampler(16000, 48000)._bank.rows
        )

    def test_a_stream_keeps_no_old_input(self) -> None:
        resampler = Resampler(24000, 8000)
        resampler.process(bytes(480000))
        self.assertIsNone(resampler._held.base)
        self.assertLess(resampler._held.nbytes, 2000)

    def test_scipy_is_not_imported(self) -> None:
        """It would cost every start about a second and tens of megabytes."""
        program = "import sys, portero.resample; print('scipy' in sys.modules)"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        ran = subprocess.run(
            [sys.executable, "-c", program],
            env=environment,
            check=True,
            capture_output=True,
        )
        self.assertEqual(ran.stdout.strip(), b"False")

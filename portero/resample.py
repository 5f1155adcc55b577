"""
One streaming resampler: its state is kept from piece to piece.

The filter is that of C{scipy.signal.resample_poly}, longer and sharper: a
Kaiser-windowed sinc of 16 samples of the lower rate on each side, images and aliases
at -77 dB. Its coefficients are rounded to multiples of 2**-35. A product with a 16-bit
sample and every sum of such products is then a C{float} without any rounding, so the
result depends neither on the order of the additions nor on where the input was cut:
the output is the same, bit for bit, for every split.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

HALF_LENGTH: Final = 16
"""Half the length of the filter, and its delay, in samples of the lower rate."""

STOP_BAND: Final = 77.0
"""Attenuation that the Kaiser window is made for, in dB."""

QUANTUM: Final = 2.0**-35
"""
Coefficients are multiples of this. Those of one output add up to less than 4 in
magnitude, so with 16-bit samples all sums stay below 2**17: 52 bits of a float's 53.
"""

MAX_FACTOR: Final = 1000
"""Bound of the reduced ratio's terms: the filter's matrix grows with their product."""


class _Bank(NamedTuple):
    """
    The filter for one pair of rates, as a matrix. Row C{p} gives output C{p} of a
    group of C{up} outputs from the inputs around its group of C{down} inputs.
    """

    up: int
    down: int
    past: int
    """Inputs before a group that its outputs depend on."""
    rows: NDArray[np.float64]
    ahead: NDArray[np.float64]
    """Zeros that stand for the rest of a group that has not come yet."""


def prototype(up: int, down: int) -> NDArray[np.float64]:
    """
    The impulse response at C{up} times the input rate.

    It is C{up * firwin(32 * m + 1, 1 / m, window=("kaiser", kaiser_beta(77)))} of
    C{scipy.signal} with C{m = max(up, down)}, rounded to L{QUANTUM}. Made here, because
    importing that package takes longer and more memory than the rest of the program.
    """
    m = max(up, down)
    beta = 0.1102 * (STOP_BAND - 8.7)  # Kaiser's formula for more than 50 dB
    n = np.arange(-HALF_LENGTH * m, HALF_LENGTH * m + 1)
    taps = np.sinc(n / m) * np.kaiser(len(n), beta)
    scaled: NDArray[np.float64] = np.rint(taps * (up / taps.sum()) / QUANTUM) * QUANTUM
    return scaled


@cache
def _bank(up: int, down: int) -> _Bank:
    taps = prototype(up, down)
    length = math.ceil(len(taps) / up)
    rows = np.zeros((up, length + (up - 1) * down // up))
    for output, row in enumerate(rows):
        shift, phase = divmod(output * down, up)
        part = taps[phase::up][::-1]
        end = length + shift
        row[end - len(part) : end] = part
    return _Bank(up, down, length - 1, rows, np.zeros(down))


class Resampler:
    """
    Changes the rate of one stream of 16-bit mono PCM; one for each direction of a call.

    After C{n} input samples exactly C{ceil(n * rate_out / rate_in)} samples have been
    given; the first L{delay_ms} of them are the filter's warm-up.
    """

    def __init__(self, rate_in: int, rate_out: int) -> None:
        """
        @param rate_in: In Hz.
        @param rate_out: In Hz.
        @raise ValueError: A rate is not positive, or their ratio is not a fraction of
            small integers.
        """
        if rate_in <= 0 or rate_out <= 0:
            raise ValueError(f"rates must be positive, not {rate_in} and {rate_out} Hz")
        divisor = math.gcd(rate_in, rate_out)
        up, down = rate_out // divisor, rate_in // divisor
        if max(up, down) > MAX_FACTOR:
            raise ValueError(
                f"{rate_in} to {rate_out} Hz is a ratio of {up}:{down}; terms up to "
                f"{MAX_FACTOR} are supported, use one of the usual rates"
            )
        self._same = up == down
        self._delay_ms = (
            0.0 if self._same else 1e3 * HALF_LENGTH / min(rate_in, rate_out)
        )
        self._odd = b""
        if not self._same:
            self._bank = _bank(up, down)
            # The inputs that the next outputs depend on, from the start of a group.
            self._held = np.zeros(self._bank.past)
            # Outputs already given of the group that the next inputs belong to.
            self._given = 0

    @property
    def delay_ms(self) -> float:
        """How much later the output is than the input, in ms of audio."""
        return self._delay_ms

    def process(self, pcm: bytes) -> bytes:
        """
        Take a piece of the stream and give all the output that is due by its end.

        @param pcm: Any number of bytes: an odd one is kept for the next call.
        """
        if self._odd or len(pcm) & 1:
            pcm = self._odd + pcm
            even = len(pcm) & ~1
            pcm, self._odd = pcm[:even], pcm[even:]
        if self._same or not pcm:
            return pcm
        up, down, past, rows, ahead = self._bank
        inputs = np.concatenate((self._held, np.frombuffer(pcm, "<i2")))
        groups, rest = divmod(len(inputs) - past, down)
        due = -(-(groups * down + rest) * up // down)
        given, self._given = self._given, due - groups * up
        self._held = inputs[groups * down :].copy()  # not a view: that keeps it all
        if rest:
            groups += 1
            inputs = np.concatenate((inputs, ahead[rest:]))
        # Overlapping windows on the same memory, one for each group of outputs.
        windows: NDArray[np.float64] = np.ndarray(
            (groups, rows.shape[1]), np.float64, inputs, 0, (8 * down, 8)
        )
        # einsum neither copies the windows, as a BLAS product does, nor starts threads.
        grouped: NDArray[np.float64] = np.einsum("ij,kj->ik", windows, rows)
        output = grouped.reshape(-1)[given:due]
        np.rint(output, out=output)
        np.maximum(output, -32768.0, out=output)
        np.minimum(output, 32767.0, out=output)
        return output.astype("<i2").tobytes()

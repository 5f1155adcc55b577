"""
DTMF tones, for what listens at the far end of the line: pure functions.

Frequencies by ITU-T Q.23; levels, twist and times within ETSI ES 201 235-2 for what
sends them, and so within what ITU-T Q.24 asks of what receives them.
"""

from __future__ import annotations

from typing import Final

import numpy as np

LOW: Final = (697, 770, 852, 941)
HIGH: Final = (1209, 1336, 1477, 1633)
KEYS: Final = "123A456B789C*0#D"
"""Row by row: each row has a frequency of L{LOW}, each column one of L{HIGH}; in Hz."""

LOW_DBM0: Final = -9.0
HIGH_DBM0: Final = -7.0
"""Lines lose more of what is higher, so it is sent louder."""

TONE: Final = 0.1
PAUSE: Final = 0.1
"""Seconds; the standard asks for at least 65 ms of each."""
RAMP: Final = 0.005
"""Seconds at both ends of a tone, so that it does not click."""

_FULL_SCALE_DBM0: Final = 3.14
"""Of a sine, by ITU-T G.711 (A-law; of mu-law it is 3.17)."""


def dtmf(digits: str, rate: int) -> bytes:
    """
    @param digits: Of L{KEYS}.
    @param rate: In Hz; 8000 or more.
    @return: PCM: a pause, then each tone with a pause after it.
    @raise ValueError: There is no tone for one of them.
    """
    pause = np.zeros(round(PAUSE * rate))
    pieces = [pause]
    for digit in digits:
        row, column = divmod(KEYS.index(digit), len(HIGH))
        wave = _sine(LOW[row], LOW_DBM0, rate) + _sine(HIGH[column], HIGH_DBM0, rate)
        pieces += [wave * _envelope(rate), pause]
    return np.rint(np.concatenate(pieces)).astype("<i2").tobytes()


def _sine(hertz: int, dbm0: float, rate: int) -> np.typing.NDArray[np.float64]:
    peak = 32767 * 10 ** ((dbm0 - _FULL_SCALE_DBM0) / 20)
    when = np.arange(round(TONE * rate)) / rate
    wave: np.typing.NDArray[np.float64] = peak * np.sin(2 * np.pi * hertz * when)
    return wave


def _envelope(rate: int) -> np.typing.NDArray[np.float64]:
    samples = round(TONE * rate)
    from_edge = np.minimum(np.arange(samples), np.arange(samples)[::-1]) / rate
    rising = np.minimum(from_edge / RAMP, 1.0)
    envelope: np.typing.NDArray[np.float64] = np.sin(np.pi / 2 * rising) ** 2
    return envelope

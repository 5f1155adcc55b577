"""
Echo on a line: what was just played to the caller comes back in the caller's sound.

The caller's sound is compared with what left for the caller up to half a second before,
at every delay at once (a correlation by FFT), piece by piece, and the pieces are added
up: unlike the caller's own speech, an echo is at the same delay in all of them. Each
piece counts by how quiet the caller is in it, which is how least squares weighs what
has more noise. Both sides are taken at 4 kHz, where nearly all the power of speech is,
and their steps from sample to sample instead of the samples, whose spectrum is flatter,
so that the correlation has a peak and not a hill.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

RATE: Final = 4000
"""In Hz, of both sides here."""
LONGEST_MS: Final = 500
EARLY_MS: Final = 60
"""The caller's sound may stand so much too early: a shorter hole in it is not noticed
(L{portero.pacing.HOLE}). An echo then comes before what it is of."""
EARLY: Final = EARLY_MS * RATE // 1000
LAGS: Final = LONGEST_MS * RATE // 1000 + EARLY
LEAST: Final = RATE // 5
"""Samples of a piece that is worth comparing."""
AGENT_DBFS: Final = -50.0
"""What was played is worth comparing from here on."""
CALLER_DBFS: Final = -65.0
"""A caller who is quieter has no echo that anybody would hear."""
LEAST_LIKENESS: Final = 0.05
"""Of the peak; 1 is the same sound."""
LIKENESS_OF_ONE: Final = 0.5
"""When there is one piece only; of two, half of that, and so on. Speech of two people
is that much alike by chance, at some delay, in no more than half of it."""
LEAST_MARGIN: Final = 6.0
"""So many times the peak is above what 95 of 100 delays stay below. Without an echo the
highest of all is at 2 to 4.5 (two people who talk at once, for 4 to 60 s), and with one
at 7 or more, however much the caller talks over it."""
SAME: Final = 5 * RATE // 1000
"""Two delays, in samples, that are no further apart are of the same echo: 5 ms."""
MOSTLY: Final = 0.15
"""Of the caller's power in a piece, at the one delay, when the echo is all there is; of
a loudspeaker in a room the rest is at others."""
CERTAINLY: Final = 0.4
"""As much, when a piece says enough by itself: by chance it is never more than 0.1."""
LEAST_CERTAIN: Final = 2
"""Such pieces, when they do not agree on the delay."""


def _power(dbfs: float) -> float:
    """@return: Mean square of 16-bit samples."""
    return 2.0**30 * 10 ** (dbfs / 10)


class _Piece(NamedTuple):
    """What is remembered of one. Times are samples since the beginning."""

    began: int
    ended: int
    share: float
    """Of the caller's power, that comes from what was played, at one delay."""
    delay: int
    """That one, in samples."""
    gain: float
    """Of the echo, at that delay."""


class _Moment:
    """In which the caller was heard to speak."""

    __slots__ = ("at", "delay", "share")

    def __init__(self, at: int) -> None:
        self.at = at
        self.share = 0.0
        self.delay = 0

    def look_at(self, piece: _Piece) -> None:
        """It is heard up to a second later than it is said."""
        near = piece.began < self.at < piece.ended + RATE
        if near and piece.share > self.share:
            self.share, self.delay = piece.share, piece.delay


class Echo:
    """Of one call so far."""

    MOST_MOMENTS: Final = 500

    def __init__(self) -> None:
        self.compared = 0
        """Samples in which the agent was heard."""
        self._before = np.zeros(LAGS, np.float32)
        self._said = np.zeros(EARLY, np.float32)
        self._common = np.zeros(LAGS + 1, np.float32)
        self._played = np.zeros(LAGS + 1, np.float32)
        self._pieces = 0
        self._at = 0
        self._last = _Piece(0, 0, 0.0, 0, 0.0)
        self._certain: list[_Piece] = []
        """The last ones."""
        self._moments: list[_Moment] = []

    def mark(self, at: int) -> None:
        """
        The caller was heard to speak, as one thought.

        @param at: Samples since the beginning; what comes later is added later.
        """
        if len(self._moments) < self.MOST_MOMENTS:
            moment = _Moment(at)
            moment.look_at(self._last)
            self._moments.append(moment)

    def add(self, caller: Samples, agent: Samples) -> None:
        """
        The call went on.

        @param caller: Sound at L{RATE}, of the size of 16 bits.
        @param agent: As much of what was played in the same time.
        """
        began, self._at = self._at, self._at + len(caller)
        played = np.concatenate((self._before, agent))
        self._before = played[-LAGS:]
        said = np.concatenate((self._said, caller))
        caller, self._said = said[:-EARLY], said[-EARLY:]
        size = len(caller)
        if size < LEAST or played @ played < len(played) * _power(AGENT_DBFS):
            return
        self.compared += size
        caller = caller - caller.mean()
        if caller @ caller < size * _power(CALLER_DBFS):
            return
        caller, played = _steps(caller), _steps(played)
        power = float(caller @ caller)
        if not power:
            return
        common, energy = _correlate(caller, played)
        self._pieces += 1
        self._common += common / power
        self._played += energy / power
        shares = np.square(common) / (power * np.maximum(energy, 1.0))
        delay = int(shares.argmax())
        gain = abs(float(common[delay])) / max(float(energy[delay]), 1.0)
        self._last = _Piece(began, self._at, float(shares[delay]), delay, gain)
        if self._last.share >= CERTAINLY:
            self._certain = [*self._certain, self._last][-LEAST_CERTAIN:]
        for moment in self._moments:
            moment.look_at(self._last)

    def found(self) -> tuple[float, float, int] | None:
        """
        @return: By how many dB the echo is weaker than what was played, its delay in
            ms, and in how many of the moments marked the caller's sound was mostly
            echo. L{None}: there is no echo, or it cannot be told.
        """
        echo = self._in_all() or self._in_some()
        if echo is None:
            return None
        gain, delay = echo
        mostly = sum(
            moment.share >= CERTAINLY
            or (moment.share >= MOSTLY and abs(moment.delay - delay) <= SAME)
            for moment in self._moments
        )
        ms = max(delay - EARLY, 0) * 1000 / RATE
        return -20 * math.log10(gain), ms, mostly

    def _in_all(self) -> tuple[float, int] | None:
        """@return: Gain and delay of what all pieces together have."""
        if not self._pieces:
            return None
        played = np.maximum(self._played, 1e-9)
        likeness = abs(self._common) / np.sqrt(played * self._pieces)
        delay = int(likeness.argmax())
        usual = float(np.percentile(likeness, 95))
        least = max(LEAST_LIKENESS, LIKENESS_OF_ONE / self._pieces)
        if likeness[delay] < max(least, LEAST_MARGIN * usual):
            return None
        return abs(float(self._common[delay])) / float(played[delay]), delay

    def _in_some(self) -> tuple[float, int] | None:
        """
        @return: The same of the last piece that says enough by itself: the delay of a
            line changes when a buffer for jitter on the way does.
        """
        if len(self._certain) < LEAST_CERTAIN:
            return None
        return self._certain[-1].gain, self._certain[-1].delay


def _steps(samples: Samples) -> Samples:
    """@return: As many, from each to the next."""
    return np.diff(samples, prepend=samples[:1])


def _correlate(caller: Samples, played: Samples) -> tuple[Samples, Samples]:
    """
    @param played: With L{LAGS} samples of before.
    @return: By delay: the caller's sound times what was played then; and the energy of
        that.
    """
    # No lag that is looked at wraps around.
    size = len(played)
    spectrum = np.fft.rfft(played) * np.fft.rfft(caller, size).conj()
    common = np.fft.irfft(spectrum, size)[LAGS::-1]
    sums = np.concatenate(((0.0,), np.cumsum(np.square(played, dtype=np.float64))))
    energy = (sums[len(caller) :] - sums[: LAGS + 1])[::-1]
    return common.astype(np.float32), energy.astype(np.float32)

"""
A soft noise gate for the caller's audio: what is not louder than the noise of the line
is lowered by 12 dB, never cut.

A hard gate at a fixed level takes the beginnings and ends of words away, from a quiet
caller nearly all of them, and a recogniser then misses what was said. This one follows
the noise, so it shuts in pauses only, and what it lowers can still be understood.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

FRAME: Final = 0.02
"""Seconds of audio that are weighed together. With a quarter of it, voices in the
background open the gate three times as often."""
DEPTH: Final = 10 ** (-12 / 20)
"""The factor of what is lowered: 12 dB."""
ATTACK: Final = 0.005
"""Seconds from shut to open; the way back takes a L{FRAME}."""
HANGOVER: Final = 15
"""Frames that stay open after the last loud one: pauses inside words, and their ends,
which are weak."""
OPEN: Final = 9.0
HOLD: Final = 5.0
"""In dB over the noise, as L{OPEN}."""
LEAST_NOISE: Final = -70.0
MOST_NOISE: Final = -45.0
"""In dBov, as L{LEAST_NOISE}: 0 dBov is an RMS amplitude of 32768."""
DOWN: Final = 0.3
"""The part of the step down to a quieter frame that the noise's level takes at once."""
UP: Final = 3.0 * FRAME
"""In dB: what it rises in a louder frame."""


class Gate:
    """
    Lowers the noise in one stream of 16-bit mono PCM; one for each call.

    A frame at L{OPEN} over the noise opens the gate from its beginning, one at L{HOLD}
    keeps it open. It shuts after L{HANGOVER} frames that were neither. For both the
    threshold is loud enough, whatever the noise.

    No magnitude gets smaller than L{DEPTH} of itself, and none but zero gets zero.
    """

    def __init__(self, rate: int, threshold: int) -> None:
        """
        @param rate: In Hz. When the rate changes, another gate is needed.
        @param threshold: RMS amplitude, 1 to 32767, of what always passes. The greatest
            leaves the decision to the noise alone.
        @raise ValueError: The threshold is out of range.
        """
        if not 1 <= threshold <= 32767:
            raise ValueError(
                "the threshold of the noise gate is an RMS amplitude from 1 to 32767, "
                f"not {threshold}"
            )
        self._size = round(rate * FRAME)
        self._at_threshold = float(self._size * threshold**2)
        attack = round(rate * ATTACK)
        self._opening: NDArray[np.float64] = np.ones(self._size)
        self._opening[:attack] = np.linspace(DEPTH, 1.0, attack + 1)[:-1]
        self._shutting: NDArray[np.float64] = np.linspace(1.0, DEPTH, self._size)
        # A call begins with an open gate: a word too much rather than one too little.
        self._open = True
        self._quiet = 0
        """Frames since the last loud one."""
        self._noise: float | None = None
        """In dBov."""
        self._held = b""

    def process(self, pcm: bytes) -> bytes:
        """
        Take a piece of the stream and give all frames that are whole by its end: of
        whole frames all, at once. The output does not depend on how the stream is cut.

        @param pcm: Any number of bytes.
        """
        if self._held:
            pcm = self._held + pcm
        rest = len(pcm) % (2 * self._size)
        if rest:
            pcm, self._held = pcm[:-rest], pcm[-rest:]
        else:
            self._held = b""
        frames = np.frombuffer(pcm, "<i2").astype(np.float64).reshape(-1, self._size)
        lowered = False
        for frame in frames:
            was_open = self._open
            # A sum of whole numbers below 2**53, so it is exact.
            self._weigh(float(frame @ frame))
            if not (was_open and self._open):
                self._lower(frame, was_open)
                lowered = True
        return frames.astype("<i2").tobytes() if lowered else pcm

    def _weigh(self, energy: float) -> None:
        """Decide about a frame."""
        if energy:
            # Digital silence is a hole in the stream and says nothing of the line.
            self._follow(10 * math.log10(energy / self._size / 2**30))
        if energy >= self._loud(HOLD if self._open else OPEN):
            self._quiet = 0
            self._open = True
        else:
            self._quiet += 1
            self._open = self._open and self._quiet <= HANGOVER

    def _follow(self, level: float) -> None:
        noise = self._noise
        if noise is None:
            noise = level
        elif level < noise:
            noise += DOWN * (level - noise)
        else:
            noise = min(noise + UP, level)
        self._noise = min(max(noise, LEAST_NOISE), MOST_NOISE)

    def _loud(self, margin: float) -> float:
        """
        @return: The energy of a frame C{margin} dB over the noise, or at the threshold,
            if that is less.
        """
        noise = LEAST_NOISE if self._noise is None else self._noise
        over_noise = self._size * 2**30 * 10 ** ((noise + margin) / 10)
        return min(over_noise, self._at_threshold)

    def _lower(self, frame: NDArray[np.float64], was_open: bool) -> None:
        """Lower a frame in place, in all or in part."""
        gains: NDArray[np.float64] | float = DEPTH
        if self._open:
            gains = self._opening
        elif was_open:
            gains = self._shutting
        # Away from zero: what is heard in a pause is not dead silence.
        np.copysign(np.ceil(np.abs(frame) * gains), frame, out=frame)

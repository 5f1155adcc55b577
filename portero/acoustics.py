"""
What the sound of a call is like on its two sides: levels, noise, hum, and what is wrong
with it. Only figures are kept, and none of the sound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from portero.audio import SILENCE_DBFS
from portero.echo import RATE, Echo, Samples

FIGURES: Final[Mapping[str, str]] = {
    "seconds": "of the call that were measured",
    "caller_speech_s": "seconds of the caller's speech",
    "caller_level_dbfs": "of that speech",
    "caller_peak_dbfs": "the highest sample",
    "caller_floor_dbfs": "what is there without speech: noise",
    "caller_silent": "part of the time with digital silence, 0 to 1",
    "caller_clipped": "part of the speech that is cut off at full scale, 0 to 1",
    "caller_offset": "a constant in the sound (DC), of full scale, -1 to 1",
    "caller_holes": "stretches of digital silence in the middle of speech",
    "caller_holes_ms": "all of these together",
    "hum_hz": "50 or 60: of the mains, with the most of it in the caller's sound",
    "hum_dbfs": "of that hum, with its harmonics",
    "hum_share": "part of the noise that is hum, 0 to 1",
    "agent_speech_s": "as the caller's; of what left for the caller",
    "agent_level_dbfs": "",
    "agent_peak_dbfs": "",
    "agent_clipped": "",
    "compared_s": "seconds in which the agent was heard: looked through for an echo",
    "echo_db": "what is heard of the agent in the caller's sound is so much weaker",
    "echo_ms": "and so much later",
    "echo_interruptions": "times that the caller was heard to speak, and it was echo",
}
"""By name: what L{Acoustics.figures} gives; what could not be measured is missing."""

FRAMES_PER_SECOND: Final = 50

FULL_SCALE: Final = 32000
"""The highest code of either G.711 law is above that, and the one below it is not."""
DEAD_DBFS: Final = -71.0
"""Silence of A-law, which has no zero, is at -72."""
SPEECH_MARGIN_DB: Final = 15.9
"""Of the mean level of speech above what still is speech (ITU-T P.56)."""
SPEECH_OVER_NOISE_DB: Final = 9.0
"""What rises less than that above what is there most of the time is no speech."""
SPEECH_DBFS: Final = -60.0
"""What is softer nobody understands."""
LEAST_SPEECH: Final = 25
"""Frames: half a second."""
FLOOR_SHARE: Final = 0.1
"""So many of the frames with sound are below the floor."""

_LEVELS: Final = round(-SILENCE_DBFS) + 1
"""Bins of 1 dB."""


class Side:
    """Levels of one side."""

    def __init__(self) -> None:
        self.frames = 0
        self._counts = np.zeros(_LEVELS, np.int64)
        """Frames of 20 ms by their level, the loudest first."""
        self._powers = np.zeros(_LEVELS)
        self._peak = 0
        self._clipped = 0.0
        """In frames."""
        self._offset = 0.0

    def add(self, samples: NDArray[np.int16], frame: int) -> None:
        """
        @param samples: Whole frames.
        @param frame: Samples of one.
        """
        self._peak = max(self._peak, _peak(samples))
        if self._peak >= FULL_SCALE:
            self._count_clipped(samples, frame)
        frames = samples.astype(np.float32).reshape(-1, frame)
        offsets = frames @ np.full(frame, 1 / frame, np.float32)
        powers = np.einsum("ij,ij->i", frames, frames) / frame - np.square(offsets)
        self.frames += len(frames)
        self._offset += float(offsets.sum())
        below = -10 * np.log10(np.maximum(powers, 0.1) / 2**30)
        bins = np.clip(below, 0, _LEVELS - 1).astype(np.intp)
        self._counts += np.bincount(bins, minlength=_LEVELS)
        self._powers += np.bincount(bins, powers, _LEVELS)

    def _count_clipped(self, samples: NDArray[np.int16], frame: int) -> None:
        """One sample alone may be a peak; a flat top has more."""
        for beyond in (samples >= FULL_SCALE, samples <= -FULL_SCALE):
            self._clipped += int((beyond[1:] & beyond[:-1]).sum()) / frame

    @property
    def silent(self) -> float:
        """Part of the time with digital silence."""
        dead = int(self._counts[round(-DEAD_DBFS) :].sum())
        return dead / self.frames if self.frames else 0.0

    @property
    def offset(self) -> float:
        """Of full scale."""
        return self._offset / self.frames / 32768 if self.frames else 0.0

    @property
    def peak_dbfs(self) -> float:
        return 20 * math.log10(self._peak / 32768) if self._peak else SILENCE_DBFS

    def floor_dbfs(self, dead: bool = True) -> float:
        """
        @param dead: Digital silence counts.
        @return: What the quietest of ten frames has; or what silence has, without any.
        """
        counts = self._counts if dead else self._counts[: round(-DEAD_DBFS)]
        quieter = np.cumsum(counts[::-1])[::-1]
        if not quieter[0]:
            return SILENCE_DBFS
        floor = float(np.flatnonzero(quieter >= FLOOR_SHARE * quieter[0])[-1])
        return max(-floor - 0.5, SILENCE_DBFS)

    def speech(self) -> tuple[float, float, float] | None:
        """@return: Seconds of speech, its level in dBFS, and the part clipped."""
        counts = np.cumsum(self._counts)
        with np.errstate(divide="ignore", invalid="ignore"):
            levels = 10 * np.log10(np.cumsum(self._powers) / counts / 2**30)
            enough = np.flatnonzero(
                levels + np.arange(1, _LEVELS + 1) >= SPEECH_MARGIN_DB
            )
        if not len(enough):
            return None
        level, frames = float(levels[enough[0]]), int(counts[enough[0]])
        over = level - self.floor_dbfs(dead=False)
        least = level >= SPEECH_DBFS and frames >= LEAST_SPEECH
        if not least or over < SPEECH_OVER_NOISE_DB:
            return None
        clipped = min(self._clipped / frames, 1.0)
        return frames / FRAMES_PER_SECOND, level, clipped


LONGEST_HOLE: Final = 15
"""Frames: a longer one may be a phone that was muted."""
EDGE: Final = 2
"""Of these parts of a frame, at each side of a hole, speech is loud in one."""
LOUD: Final = 500
"""Peak, of 16 bits: -36 dBFS."""


class Holes:
    """
    Digital silence in the middle of speech, in whole frames: what stands for packets
    that were lost. It begins and ends where speech is loud, as no pause does; and
    speech that was made by a machine, whose pauses do, has some of any length.
    """

    def __init__(self) -> None:
        self.count = 0
        self.frames = 0
        self._before = np.zeros(0, np.int16)
        self._frame = 0

    def add(self, samples: NDArray[np.int16], frame: int) -> None:
        """
        @param samples: Whole frames.
        @param frame: Samples of one.
        """
        before = self._before if frame == self._frame else samples[:0]
        edge = frame // EDGE
        self._frame = frame
        both = np.concatenate((before, samples))
        self._before = both[-(LONGEST_HOLE * frame + 2 * edge) :]
        borders = np.flatnonzero(np.diff(both == 0))  # each the last one of its kind
        lengths = np.diff(borders)
        # A zero or two of the speech itself may be next to it.
        frames, more = np.divmod(lengths, frame)
        fit = (frames >= 1) & (frames <= LONGEST_HOLE) & (more <= frame // 50)
        for n in np.flatnonzero(fit).tolist():
            start, end = int(borders[n]) + 1, int(borders[n + 1]) + 1
            # It was not looked at before, and there is enough after it.
            if both[start] == 0 and start >= edge and len(before) < end + edge:
                around = both[start - edge : start], both[end : end + edge]
                whole = end + edge <= len(both)
                if whole and all(_peak(side) >= LOUD for side in around):
                    self.count += 1
                    self.frames += int(frames[n])


def _peak(samples: NDArray[np.int16]) -> int:
    return max(int(samples.max()), -int(samples.min()))


MAINS: Final = (50, 60)
"""In Hz."""
HARMONICS: Final = 6
STEADY_DB: Final = 10.0
"""Loudest to softest frame of half a second in which nobody speaks."""
LOUDER_DB: Final = 6.0
"""So much more than at another time is not what is always there."""
SPAN: Final = RATE // 2
"""Samples that are looked at together."""
BIN: Final = 2
"""In Hz, of half a second."""
NEAR: Final = 1
"""Bins on both sides of a harmonic, as wide as the window makes a line."""
LEAST_STEADY: Final = 4
"""Halves of a second."""


class Hum:
    """Of the mains, in what is there while nobody speaks."""

    def __init__(self) -> None:
        self._spans = 0
        self._quietest = math.inf
        self._hum = np.zeros(len(MAINS))
        self._all = 0.0

    def add(self, samples: Samples) -> None:
        """@param samples: At L{portero.echo.RATE}; less than L{SPAN} does not count."""
        for start in range(0, len(samples) - SPAN + 1, SPAN):
            span = samples[start : start + SPAN]
            frames = span.reshape(FRAMES_PER_SECOND // 2, -1)
            powers = np.einsum("ij,ij->i", frames, frames)
            softest = float(powers.min())
            if softest and powers.max() <= softest * 10 ** (STEADY_DB / 10):
                self._look_at(span, float(powers.sum()))

    def _look_at(self, span: Samples, loudness: float) -> None:
        """Only the quietest spans count: a vowel that is held is steady too."""
        if loudness > self._quietest * 10 ** (LOUDER_DB / 10):
            return
        if loudness < self._quietest / 10 ** (LOUDER_DB / 10):
            self._spans, self._all = 0, 0.0
            self._hum = np.zeros(len(MAINS))
        self._quietest = min(loudness, self._quietest)
        # Of a Hann window, so that what is no line does not look like one.
        spectrum = np.fft.rfft((span - span.mean()) * _WINDOW)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        self._spans += 1
        self._all += float(power.sum())
        self._hum += [float(power[lines].sum()) for lines in _LINES]

    def found(self) -> tuple[int, float, float] | None:
        """@return: Hz of the mains, the hum in dBFS, and its part of all there is."""
        if self._spans < LEAST_STEADY or not self._all:
            return None
        which = int(self._hum.argmax())
        # Twice, as half of the spectrum is there; mean square by Parseval.
        scale = 2 / (SPAN * float(_WINDOW @ _WINDOW) * self._spans)
        power = max(float(self._hum[which]) * scale / 2**30, 1e-10)
        return MAINS[which], 10 * math.log10(power), self._hum[which] / self._all


_WINDOW: Final = np.hanning(SPAN + 1)[:-1].astype(np.float32)
_LINES: Final = [
    np.add.outer(np.arange(1, HARMONICS + 1) * hz // BIN, np.arange(-NEAR, NEAR + 1))
    for hz in MAINS
]


def at_4000(samples: NDArray[np.int16], rate: int) -> Samples:
    """@return: The same time at L{portero.echo.RATE}, well enough for figures."""
    found: Samples
    step, rest = divmod(rate, RATE)
    if rest:
        places = np.arange(len(samples) * RATE // rate) * (rate / RATE)
        found = np.interp(places, np.arange(len(samples)), samples).astype(np.float32)
    else:
        whole = samples[: len(samples) // step * step].astype(np.float32)
        found = np.dot(whole.reshape(-1, step), np.full(step, 1 / step, np.float32))
    return found


class Acoustics:
    """Of one call so far."""

    def __init__(self) -> None:
        self._caller = Side()
        self._agent = Side()
        self._holes = Holes()
        self._hum = Hum()
        self._echo = Echo()

    def add(
        self, caller: bytes, caller_rate: int, agent: bytes, agent_rate: int
    ) -> None:
        """
        The call went on. A second at a time is cheapest, and what L{Hum} needs.

        @param caller: PCM, whole frames of 20 ms.
        @param agent: PCM, as many frames.
        """
        said, left = np.frombuffer(caller, "<i2"), np.frombuffer(agent, "<i2")
        if not len(said) or not len(left):
            return
        self._caller.add(said, caller_rate // FRAMES_PER_SECOND)
        self._agent.add(left, agent_rate // FRAMES_PER_SECOND)
        self._holes.add(said, caller_rate // FRAMES_PER_SECOND)
        slow = at_4000(said, caller_rate)
        self._hum.add(slow)
        self._echo.add(slow, at_4000(left, agent_rate))

    def mark(self, at: float) -> None:
        """
        The caller was heard to speak while the agent did.

        @param at: Seconds since the first sound; some of it may still have to come.
        """
        self._echo.mark(round(at * RATE))

    def figures(self) -> dict[str, float]:
        """@return: By the names of L{FIGURES}."""
        caller, agent, holes = self._caller, self._agent, self._holes
        found: dict[str, float] = {"seconds": caller.frames / FRAMES_PER_SECOND}
        for name, side in (("caller", caller), ("agent", agent)):
            speech = side.speech()
            if speech is not None:
                found[f"{name}_speech_s"] = speech[0]
                found[f"{name}_level_dbfs"] = speech[1]
                found[f"{name}_clipped"] = speech[2]
            found[f"{name}_peak_dbfs"] = side.peak_dbfs
        found["caller_floor_dbfs"] = caller.floor_dbfs()
        found["caller_silent"] = caller.silent
        found["caller_offset"] = caller.offset
        found["caller_holes"] = holes.count
        found["caller_holes_ms"] = holes.frames * 1000 // FRAMES_PER_SECOND
        hum = self._hum.found()
        if hum is not None:
            found["hum_hz"], found["hum_dbfs"], found["hum_share"] = hum
        found["compared_s"] = self._echo.compared / RATE
        echo = self._echo.found()
        if echo is not None:
            found["echo_db"], found["echo_ms"], found["echo_interruptions"] = echo
        return {
            name: round(float(value), 4 if name in _PARTS else 1)
            for name, value in found.items()
        }


_PARTS: Final = {
    name for name in FIGURES if name.endswith(("silent", "clipped", "offset", "share"))
}

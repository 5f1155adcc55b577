"""Turn detection by level, over a floor that follows the line's noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FRAME_MS = 20
ONSET_FRAMES = 3
"""Loud frames in a row that make a start: shorter is a click."""
FLOOR_DBFS = (-70.0, -35.0)
FALL_SHARE = 0.3
"""Of the way down to a quieter frame, per frame."""
RISE_DB = 3.0 / 50
"""Up, per frame: 3 dB/s."""
HYSTERESIS_DB = 4.0


@dataclass(frozen=True, slots=True)
class Started:
    """The caller began to speak."""

    start_ms: int
    """With the padding."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The caller has been silent for long enough."""

    end_ms: int
    """With the silence that was waited for."""
    voice_start_ms: int
    voice_end_ms: int
    """The speech alone, without padding and silence."""


class LevelDetector:
    """
    Find turns in a stream of audio; its only clock is the samples.

    @ivar speaking: Whether a turn is open.
    @ivar threshold: 0..1; higher wants louder speech. 0.5 wants 12 dB over the floor
        and -48 dBFS.
    """

    def __init__(self, rate: int, start_ms: int = 0) -> None:
        """
        @param rate: Of the audio, in Hz.
        @param start_ms: The time of the first sample on the audio clock.
        """
        self.threshold = 0.5
        self.prefix_padding_ms = 300
        self.silence_duration_ms = 500
        self.speaking = False
        self._frame = rate * FRAME_MS // 1000
        self._rest = b""
        self._now_ms = start_ms
        self._floor = -60.0
        self._loud = 0
        self._earliest_ms = start_ms
        self._voice_start_ms = self._voice_end_ms = start_ms

    def reset(self) -> None:
        """Forget an open turn: its audio was committed or cleared by the client."""
        self.speaking = False
        self._loud = 0
        self._earliest_ms = self._now_ms

    def feed(self, pcm: bytes) -> list[Started | Stopped]:
        """
        @param pcm: The audio that follows what was fed before; any length.
        """
        pcm = self._rest + pcm
        size = self._frame * 2
        whole = len(pcm) // size * size
        self._rest = pcm[whole:]
        if not whole:
            return []
        frames = np.frombuffer(pcm[:whole], "<i2").reshape(-1, self._frame)
        power = np.square(frames, dtype=np.float32).mean(axis=1)
        levels = 10 * np.log10(np.maximum(power, 1e-1)) - 90.3
        found: list[Started | Stopped] = []
        for level in levels.tolist():
            change = self._step(level)
            if change is not None:
                found.append(change)
        return found

    def _step(self, level: float) -> Started | Stopped | None:
        """
        Take one frame.
        """
        self._now_ms += FRAME_MS
        opening = max(
            self._floor + 6 + 12 * self.threshold, -60.0 + 24 * self.threshold
        )
        loud = level > opening - (HYSTERESIS_DB if self.speaking else 0)
        self._follow(level)
        self._loud = self._loud + 1 if loud else 0
        if not self.speaking:
            return self._started() if self._loud == ONSET_FRAMES else None
        if loud:
            self._voice_end_ms = self._now_ms
        elif self._now_ms - self._voice_end_ms >= self.silence_duration_ms:
            self.speaking = False
            self._earliest_ms = self._now_ms
            return Stopped(self._now_ms, self._voice_start_ms, self._voice_end_ms)
        return None

    def _started(self) -> Started:
        self.speaking = True
        self._voice_start_ms = max(
            self._now_ms - ONSET_FRAMES * FRAME_MS, self._earliest_ms
        )
        self._voice_end_ms = self._now_ms
        padded = self._voice_start_ms - self.prefix_padding_ms
        return Started(max(padded, self._earliest_ms))

    def _follow(self, level: float) -> None:
        """
        Move the floor: down fast, up slowly, so that speech hardly lifts it.
        """
        if level < self._floor:
            self._floor += FALL_SHARE * (level - self._floor)
        else:
            self._floor += min(RISE_DB, level - self._floor)
        low, high = FLOOR_DBFS
        self._floor = min(max(self._floor, low), high)

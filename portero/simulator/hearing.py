"""The input audio buffer: what the caller sent and was not yet committed."""

from __future__ import annotations

from typing import Any

from portero.simulator.formats import DECODE, PCM, RATES
from portero.simulator.vad import LevelDetector, Started, Stopped

LONGEST_TURN_S = 60
"""Of a longer turn only the end is kept."""

SEMANTIC_SILENCE_MS = {"low": 2000, "medium": 1000, "auto": 1000, "high": 500}
"""Semantic turn detection is played by level: a quarter of the longest waits."""


class Hearing:
    """
    Decode the caller's audio, keep what may be needed, and find the turns in it.

    All times are on the audio clock: ms of audio received since the session began.

    @ivar turns: The settings of turn detection in force, or None.
    @ivar tape: The first C{tape_s} seconds of all that was heard, for tests.
    """

    def __init__(self) -> None:
        self.turns: dict[str, Any] | None = None
        self.tape = bytearray()
        self.tape_s = 0.0
        self.rate = RATES[PCM]
        self._format = PCM
        self._begin_ms = 0.0
        self._kept = bytearray()
        self._odd = b""
        self._detector = LevelDetector(self.rate)

    @property
    def now_ms(self) -> float:
        """The end of what was received."""
        return self._begin_ms + len(self._kept) * 500 / self.rate

    @property
    def buffered_ms(self) -> float:
        return self.now_ms - self._begin_ms

    @property
    def speaking(self) -> bool:
        return self.turns is not None and self._detector.speaking

    def configure(self, format: str, turns: dict[str, Any] | None) -> None:
        """
        Take the settings of a session; a new format empties the buffer.
        """
        if format != self._format:
            self.clear()
            self._format, self.rate = format, RATES[format]
            self._odd = b""
            self.tape.clear()
            self.turns = None  # so that the detector is made anew
        if self.turns is None and turns is not None:
            self._detector = LevelDetector(self.rate, round(self.now_ms))
        detector = self._detector
        if turns is None:
            detector.reset()
        elif turns["type"] == "server_vad":
            detector.threshold = turns["threshold"]
            detector.prefix_padding_ms = turns["prefix_padding_ms"]
            detector.silence_duration_ms = turns["silence_duration_ms"]
        else:
            detector.threshold, detector.prefix_padding_ms = 0.5, 300
            detector.silence_duration_ms = SEMANTIC_SILENCE_MS[turns["eagerness"]]
        self.turns = turns

    def append(self, data: bytes) -> list[Started | Stopped]:
        """
        @param data: In the agreed format; a half sample waits for its other half.
        @return: The turns that began or ended in it; none without turn detection.
        """
        if self._format == PCM:
            data = self._odd + data
            whole = len(data) & ~1
            data, self._odd = data[:whole], data[whole:]
        pcm = DECODE[self._format](data)
        self._kept += pcm
        self.tape += pcm[: max(round(self.tape_s * self.rate) * 2 - len(self.tape), 0)]
        if self.turns is None:
            changes: list[Started | Stopped] = []
        else:
            changes = self._detector.feed(pcm)
        self._forget(LONGEST_TURN_S * 1000)
        if not changes and self.turns is not None and not self.speaking:
            self._forget(self._detector.prefix_padding_ms + 1000)
        return changes

    def take(self, start_ms: float, end_ms: float) -> bytes:
        """
        @return: The audio between two times, as far as it is kept.
        """
        first, last = self._at(start_ms), self._at(end_ms)
        return bytes(self._kept[first:last])

    def take_all(self) -> bytes:
        """
        @return: All that is buffered; it is empty then.
        """
        pcm = bytes(self._kept)
        self.clear()
        return pcm

    def clear(self) -> None:
        """Drop what is buffered; the audio clock stays."""
        self._begin_ms = self.now_ms
        self._kept.clear()
        self._detector.reset()

    def _forget(self, keep_ms: float) -> None:
        drop = self._at(self.now_ms - keep_ms)
        if drop > 0:
            del self._kept[:drop]
            self._begin_ms += drop * 500 / self.rate

    def _at(self, time_ms: float) -> int:
        """
        @return: Where in the buffer that time is, in bytes.
        """
        samples = round((time_ms - self._begin_ms) * self.rate / 1000)
        return min(max(samples, 0) * 2, len(self._kept))

"""
What one end of a line can measure of the other: how soon and how evenly its audio
comes, when it sounds, and how quickly it stops when it is interrupted.

Nothing here asks a clock or knows a socket: every frame is told with its time.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from portero.audio import level_dbfs
from portero.pacing import PTIME
from portero.resample import Resampler

SOUND_DBFS: Final = -50.0
"""A frame at or above this level is sound: well over comfort noise, under speech."""

PAUSE: Final = 0.3
"""Seconds; silence up to this length lies between words and not between utterances."""

JITTER_BUFFER: Final = 0.06
"""Seconds a frame may be late and still be heard: a phone's usual jitter buffer."""

UNDECIDED: Final = 3
"""Frames at the end of a call that are late at most: what might have made up for them
does not come any more."""

BUSY_MS: Final = 5.0
"""Lateness of our own frames from which the machine's load spoils the figures."""


class Voice:
    """When one side sounds, from the level of its frames."""

    def __init__(self) -> None:
        self.began = -math.inf
        """When the present or last stretch of sound began; pauses belong to it."""
        self.ended = -math.inf
        """When its last frame with sound had been played."""
        self.level_dbfs = level_dbfs(b"")

    def frame(self, now: float, seconds: float, pcm: bytes) -> bool:
        """
        @param seconds: How long the frame sounds.
        @return: Whether a stretch of sound begins with this frame.
        """
        self.level_dbfs = level_dbfs(pcm)
        if self.level_dbfs < SOUND_DBFS:
            return False
        begins = not self.sounds(now)
        if begins:
            self.began = now
        self.ended = now + seconds
        return begins

    def sounds(self, now: float) -> bool:
        """Whether it sounds, or paused a moment ago."""
        return now - self.ended <= PAUSE

    def silent_for(self, now: float) -> float:
        """Seconds since the last sound; infinite before the first."""
        return max(0.0, now - self.ended)


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured in one call. C{None} is: it did not happen."""

    seconds: float
    """Length of the call, from the connection to its end."""
    ended: str
    """In words: who ended it, and how."""
    first_frame_ms: float | None
    """From the call id, which is sent as soon as the connection stands."""
    first_sound_ms: float | None
    rates: tuple[int, ...]
    """Sampling rates received, in Hz, in their order of appearance."""
    frames: int
    missing: int
    """Slots of 20 ms between the first and the last frame that got none."""
    gaps: int
    longest_gap_ms: int
    late: int
    """Frames more than L{JITTER_BUFFER} after their time; the recording is silent."""
    deviation_p50_ms: float
    deviation_p99_ms: float
    deviation_max_ms: float
    answers_ms: tuple[float, ...]
    """From each end of the caller's speech to the sound that answers it."""
    tails_ms: tuple[float | None, ...]
    """For each barge-in, see L{LineCheck}; C{None}: it never fell silent."""
    own_lateness_p99_ms: float
    """Of the frames that this end sent: how far the figures can be trusted."""
    own_frames_skipped: int
    oddities: Mapping[str, int]
    """What Asterisk would not like, and how often it came."""

    def in_words(self) -> str:
        """The report as lines for a person."""
        return "\n".join(line for line in self._lines() if line)

    def _lines(self) -> list[str]:
        lines = [self._beginning(), self._flow(), self._holes()]
        if self.answers_ms:
            lines.append(
                "Answered {} ms after the caller's last sound.".format(
                    ", ".join(f"{value:.0f}" for value in self.answers_ms)
                )
            )
        lines += [_barge_in(tail) for tail in self.tails_ms]
        lines += [f"Asterisk: {what} ({n} times)." for what, n in self.oddities.items()]
        if self.own_lateness_p99_ms > BUSY_MS or self.own_frames_skipped:
            lines.append(
                "This machine was busy: of our own frames, 1 % left "
                f"{self.own_lateness_p99_ms:.1f} ms late or more, "
                f"{self.own_frames_skipped} not at all. The figures hold that too."
            )
        lines.append(f"The call took {self.seconds:.1f} s; {self.ended}.")
        return lines

    def _beginning(self) -> str:
        if self.first_frame_ms is None:
            return "No audio came."
        if self.first_sound_ms is None:
            return f"First frame after {self.first_frame_ms:.0f} ms; all was silence."
        return (
            f"First sound after {self.first_sound_ms:.0f} ms (first frame after "
            f"{self.first_frame_ms:.0f} ms)."
        )

    def _flow(self) -> str:
        if not self.frames:
            return ""
        rates = ", ".join(f"{rate} Hz" for rate in self.rates)
        return (
            f"{self.frames} frames received ({rates}), {self.missing} missing; pacing "
            f"deviation p50 {self.deviation_p50_ms:.1f} ms, p99 "
            f"{self.deviation_p99_ms:.1f} ms, max {self.deviation_max_ms:.1f} ms."
        )

    def _holes(self) -> str:
        parts = []
        if self.gaps:
            parts.append(f"Gaps: {self.gaps}, the longest {self.longest_gap_ms} ms.")
        if self.late:
            parts.append(
                f"{self.late} frames came more than {JITTER_BUFFER * 1000:.0f} ms "
                "late: a phone drops these."
            )
        return " ".join(parts)


def _barge_in(tail_ms: float | None) -> str:
    if tail_ms is None:
        return "Barge-in: not silent before the call ended."
    return (
        f"Barge-in: silent {tail_ms:.0f} ms after the caller began to speak (the "
        "service's own speech detection included)."
    )


class _Arrival(NamedTuple):
    at: float
    rate: int
    samples: int
    pcm: bytes


class _Grid(NamedTuple):
    """Frames laid on the grid of 20 ms that fits their arrivals best."""

    due: NDArray[np.float64]
    """When each frame was due."""
    deviation: NDArray[np.float64]
    """How long after that each one came; negative: before."""
    holes: NDArray[np.int64]
    """How many slots were left empty before each frame."""


class LineCheck:
    """
    Measures one call from the caller's end.

    Pacing: a frame is due where the audio before it ends. TCP loses nothing, so a late
    frame that the next ones make up for is late, but when all that follow are later by
    20 ms or more, the sender left slots empty: these frames are missing. Of the last
    L{UNDECIDED} that cannot be told, and they count as late. The grid's phase is the
    median of all frames; a deviation is the distance from it.

    Barge-in tail: the caller begins to speak (first frame sent at or above
    L{SOUND_DBFS}) while the far side sounds; the tail ends with the far side's last
    frame at or above that level which L{PAUSE} of silence follows. It includes the
    time in which the service finds out that somebody speaks, and it cannot be told
    from a reply that came to its natural end.
    """

    def __init__(self, connected: float, keep_audio: bool = True) -> None:
        """
        @param connected: When the call id was sent.
        @param keep_audio: Whether there will be a L{recording}.
        """
        self.connected = connected
        self.caller = Voice()
        self.agent = Voice()
        self.oddities: Counter[str] = Counter()
        self.audio_seconds = 0.0
        """How much audio came."""
        self._keep_audio = keep_audio
        self._arrivals: list[_Arrival] = []
        self._first_frame: float | None = None
        self._first_sound: float | None = None
        self._asked: float | None = None
        self._answers: list[float] = []
        self._barged: float | None = None
        self._tails: list[float | None] = []

    @property
    def heard(self) -> bool:
        """Whether the far side ever sounded."""
        return self._first_sound is not None

    def frame_sent(self, now: float, rate: int, pcm: bytes) -> None:
        """The caller sent one frame."""
        self._settle_tail(now)
        if (
            self.caller.frame(now, len(pcm) / 2 / rate, pcm)
            and self.agent.sounds(now)
            and self._barged is None
        ):
            self._barged = now
        if self.caller.ended > now:
            self._asked = self.caller.ended

    def frame_received(self, now: float, rate: int, pcm: bytes) -> None:
        """A frame came, of any length."""
        if len(pcm) & 1:
            self.oddities["it warns of audio of an odd length"] += 1
            pcm = pcm[:-1]
        if not pcm:
            self.oddities["it ends the call at a frame without audio"] += 1
            return
        self._settle_tail(now)
        seconds = len(pcm) / 2 / rate
        if abs(seconds - PTIME) > 1e-3:
            self.oddities["frames not of 20 ms reach the phone as they are"] += 1
        self.audio_seconds += seconds
        if self._first_frame is None:
            self._first_frame = now
        self._arrivals.append(
            _Arrival(now, rate, len(pcm) // 2, pcm if self._keep_audio else b"")
        )
        begins = self.agent.frame(now, seconds, pcm)
        if begins and self._first_sound is None:
            self._first_sound = now
        if begins and self._asked is not None and now >= self._asked:
            self._answers.append(now - self._asked)
            self._asked = None

    def _settle_tail(self, now: float) -> None:
        if self._barged is None or self.agent.sounds(now):
            return
        # Not above zero: it paused when the caller began, and was not resumed.
        if self.agent.ended > self._barged:
            self._tails.append((self.agent.ended - self._barged) * 1000)
        self._barged = None

    def report(
        self, now: float, ended: str, own_lateness: tuple[float, int] = (0.0, 0)
    ) -> Report:
        """
        @param now: When the call ended.
        @param ended: How, in words.
        @param own_lateness: Of the frames sent: p99 in ms, and how many were skipped.
        """
        self._settle_tail(now)
        interrupted = self._barged is not None and self.agent.ended > self._barged
        grid = self._grid()
        off = np.abs(grid.deviation) * 1000 if self._arrivals else np.zeros(1)
        p50, p99 = np.quantile(off, (0.5, 0.99))
        return Report(
            seconds=now - self.connected,
            ended=ended,
            first_frame_ms=self._after(self._first_frame),
            first_sound_ms=self._after(self._first_sound),
            rates=tuple(dict.fromkeys(arrival.rate for arrival in self._arrivals)),
            frames=len(self._arrivals),
            missing=int(grid.holes.sum()),
            gaps=int(np.count_nonzero(grid.holes)),
            longest_gap_ms=round(int(grid.holes.max(initial=0)) * PTIME * 1000),
            late=int(np.count_nonzero(grid.deviation > JITTER_BUFFER)),
            deviation_p50_ms=float(p50),
            deviation_p99_ms=float(p99),
            deviation_max_ms=float(off.max()),
            answers_ms=tuple(seconds * 1000 for seconds in self._answers),
            tails_ms=(*self._tails, *((None,) if interrupted else ())),
            own_lateness_p99_ms=own_lateness[0],
            own_frames_skipped=own_lateness[1],
            oddities=dict(self.oddities),
        )

    def _after(self, moment: float | None) -> float | None:
        return None if moment is None else (moment - self.connected) * 1000

    def _grid(self) -> _Grid:
        arrivals = self._arrivals
        if not arrivals:
            return _Grid(np.zeros(0), np.zeros(0), np.zeros(0, np.int64))
        at = np.array([arrival.at for arrival in arrivals])
        seconds = np.array([arrival.samples / arrival.rate for arrival in arrivals])
        played = np.cumsum(seconds) - seconds
        behind = at - played
        # What no later frame makes up for is lost time.
        lost = np.minimum.accumulate(behind[::-1])[::-1]
        lost[-UNDECIDED:] = lost[-UNDECIDED:][0]
        empty = np.rint((lost - lost[0]) / PTIME).astype(np.int64)
        due = played + empty * PTIME
        due += np.median(at - due)
        return _Grid(due, at - due, np.diff(empty, prepend=0))

    def recording(self) -> tuple[int, bytes] | None:
        """
        What the caller would have heard, from the connection on, with a jitter buffer
        of L{JITTER_BUFFER}: missing and late frames are silence.

        @return: The highest rate received, in Hz, and the PCM; C{None} when nothing
            came.
        """
        if not self._arrivals:
            return None
        rate = max(arrival.rate for arrival in self._arrivals)
        grid = self._grid()
        # On whole slots, so that two recordings of one call can be compared.
        first = max(0, round((grid.due[0] - self.connected) / PTIME)) * PTIME
        starts = np.rint((grid.due - grid.due[0] + first) * rate).astype(np.int64)
        heard = bytearray()
        resampler = Resampler(rate, rate)
        given = rate
        for arrival, start, deviation in zip(
            self._arrivals, starts.tolist(), grid.deviation.tolist(), strict=True
        ):
            if arrival.rate != given:
                given = arrival.rate
                resampler = Resampler(given, rate)
            pcm = resampler.process(arrival.pcm)
            if deviation > JITTER_BUFFER:
                pcm = bytes(len(pcm))
            heard += bytes(max(0, 2 * start - len(heard)))
            heard[2 * start : 2 * start + len(pcm)] = pcm
        return rate, bytes(heard)

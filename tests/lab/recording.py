"""What a phone received, packet by packet, and as a time line of sound."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from tests.lab.rtp import Codec, Packet, Samples

Sound = npt.NDArray[np.float64]
"""Full scale is 1."""

SOUNDING_DBFS = -45.0
"""A packet above this is sound: far above the noise of G.711, far below speech."""
SLIP_SECONDS = 0.2
"""When arrivals and RTP timestamps part by more, the sender began a new count."""


def level_dbfs(sound: Sound) -> float:
    """
    @return: RMS level, 0 for a full scale square wave; -120 for silence.
    """
    if not len(sound):
        return -120.0
    return max(-120.0, 10 * float(np.log10(np.mean(sound**2) + 1e-12)))


def tone_share(sound: Sound, hz: float, sample_rate: int) -> float:
    """
    @return: The share of the power that lies within 40 Hz of C{hz}; 0 for silence.
    """
    if len(sound) < sample_rate // 20 or level_dbfs(sound) < -50:
        return 0.0
    power = np.abs(np.fft.rfft(sound * np.hanning(len(sound)))) ** 2
    near = np.abs(np.fft.rfftfreq(len(sound), 1 / sample_rate) - hz) <= 40
    return float(power[near].sum() / power.sum())


@dataclass(frozen=True, slots=True)
class Arrival:
    """One packet of sound. C{time} is monotonic, stamped by the kernel."""

    time: float
    seq: int
    timestamp: int
    ssrc: int
    samples: Samples
    level: float

    @property
    def sounding(self) -> bool:
        return self.level > SOUNDING_DBFS


class Recording:
    """Grows while the call lasts; the phone's thread adds, tests read."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self.arrivals: list[Arrival] = []

    def add(self, time: float, packet: Packet) -> Arrival:
        samples = self._codec.decode(packet.payload)
        arrival = Arrival(
            time,
            packet.seq,
            packet.timestamp,
            packet.ssrc,
            samples,
            level_dbfs(samples / 32768),
        )
        self.arrivals.append(arrival)
        return arrival

    def first_sound(self, after: float = 0.0) -> float | None:
        """
        @return: When the first packet with sound since C{after} came.
        """
        return next(
            (a.time for a in list(self.arrivals) if a.sounding and a.time >= after),
            None,
        )

    def last_sound(self, before: float = float("inf")) -> float | None:
        """
        @return: When the last packet with sound came.
        """
        return next(
            (a.time for a in self.arrivals[::-1] if a.sounding and a.time < before),
            None,
        )

    def gaps(
        self, limit: float, since: float = 0.0, until: float = float("inf")
    ) -> list[tuple[float, float]]:
        """
        @return: When and how long nothing came for more than C{limit} seconds.
        """
        times = [a.time for a in self.arrivals if since <= a.time <= until]
        return [
            (before, after - before)
            for before, after in pairwise(times)
            if after - before > limit
        ]

    def lost(self) -> int:
        """
        @return: How many sequence numbers are missing or came twice.
        """
        return sum(
            (after.seq - before.seq) % 65536 != 1
            for before, after in pairwise(list(self.arrivals))
            if after.ssrc == before.ssrc
        )

    def recent(self, seconds: float) -> Sound:
        """
        @return: The samples of the packets that came last, without their places.
        """
        if not self.arrivals:
            return np.zeros(0)
        since = self.arrivals[-1].time - seconds
        last = [a.samples for a in self.arrivals[-100:] if a.time > since]
        return np.concatenate(last) / 32768

    def sound(self, since: float = 0.0, until: float = float("inf")) -> Sound:
        """
        Place each packet by its RTP timestamp: what an ideal jitter buffer plays.

        @param since: Monotonic time where the result starts (at the earliest the
            first packet).
        """
        arrivals = list(self.arrivals)
        rate = self._codec.sample_rate
        if not arrivals:
            return np.zeros(0)
        base = anchor = arrivals[0]
        placed: list[tuple[int, Samples]] = []
        for arrival in arrivals:
            counted = (arrival.timestamp - anchor.timestamp) / self._codec.clock
            passed = arrival.time - anchor.time
            if arrival.ssrc != anchor.ssrc or abs(counted - passed) > SLIP_SECONDS:
                anchor, counted = arrival, 0.0
            where = anchor.time - base.time + counted
            placed.append((max(0, round(where * rate)), arrival.samples))
        line = np.zeros(max(start + len(samples) for start, samples in placed))
        for start, samples in placed:
            line[start : start + len(samples)] = samples / 32768
        first = max(0, round((since - base.time) * rate))
        last = min(float(len(line)), (until - base.time) * rate)
        return line[first : max(first, round(last))]

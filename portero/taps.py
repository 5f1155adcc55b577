"""
Those who listen to a call: they get both sides of the same 20 ms.

What is sent is on time by itself: the n-th frame leaves n * 20 ms after the leg began,
or was given up after a stall, and then nobody heard anything. What the caller says
comes with jitter, and where nothing comes, silence is put in as late as C{2 * HOLE}
after its time (L{CallerTime}). But with that silence it is a stream without holes that
began with the leg, so its place in the stream is its time: it is cut there into 20 ms,
and the n-th goes with the n-th frame sent. That one waits for L{DELAY} frames so that
the other is there; for longer when the caller's packets are longer than 20 ms.

What comes after silence took its place is given all the same, and so much later, as the
voice service gets it; the next pause is as much shorter.
"""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from itertools import zip_longest
from typing import Final

import numpy as np
from twisted.logger import Logger

from portero.audio import silence
from portero.interfaces import IAudioTap
from portero.pacing import HOLE, PTIME

DELAY: Final = round((2 * HOLE + PTIME) / PTIME)
"""
Frames of 20 ms that a tap is behind the line. Audio may be C{HOLE} late without being
taken for missing, and be missing for as long again before it is filled, which is asked
once in a frame.
"""
PER_FRAME: Final = round(1 / PTIME)


class Taps:
    """Of one leg, from the moment its first tap came."""

    log = Logger()

    def __init__(
        self, ahead: float, skipped: int, rate: int, call_id: str = ""
    ) -> None:
        """
        @param ahead: Seconds by which the caller's stream is longer than that of the
            frames sent; negative when shorter. So much is silence, or left out, at the
            beginning.
        @param skipped: Frames that were given up so far.
        @param rate: Of the caller's stream.
        @param call_id: For the log.
        """
        self._call_id = call_id
        self._taps: tuple[IAudioTap, ...] = ()
        self._agent: deque[bytes] = deque()
        self._caller: deque[bytes] = deque()
        self._rate = rate
        self._skipped = skipped
        self._early = max(0, round(-ahead * rate))
        """Samples of before the first frame that are still to come."""
        self._rest = silence(max(0, round(ahead * rate)))
        """Of the caller's stream: less than a frame, once it was cut."""
        self._owed = Fraction(0)
        """Of a sample, that rounding at changes of the rate has taken."""

    def __bool__(self) -> bool:
        return bool(self._taps)

    def add(self, tap: IAudioTap) -> None:
        """It gets what was not given to others yet."""
        self._taps = (*self._taps, tap)

    def remove(self, tap: IAudioTap) -> None:
        """Nothing more for this one."""
        self._taps = tuple(one for one in self._taps if one is not tap)

    def heard(self, pcm: bytes, rate: int) -> None:
        """The caller's stream goes on."""
        if rate != self._rate:
            self._change(rate)
        if self._early:
            early = min(self._early, len(pcm) // 2)
            self._early -= early
            pcm = pcm[2 * early :]
        stream, size = self._rest + pcm, 2 * rate // PER_FRAME
        end = len(stream) - len(stream) % size
        for start in range(0, end, size):
            self._caller.append(stream[start : start + size])
        self._rest = stream[end:]

    def sent(self, frame: bytes, skipped: int) -> None:
        """
        A frame left.

        @param skipped: How many were given up so far, the last ones just before it.
        """
        agent = self._agent
        while self._skipped < skipped:
            self._skipped += 1
            agent.append(bytes(len(frame)))
        agent.append(frame)
        while len(agent) > DELAY and self._caller:
            self._give(self._caller.popleft(), agent.popleft())

    def end(self) -> None:
        """Give what still waits; silence to what has no other side."""
        size = 2 * self._rate // PER_FRAME
        if self._rest and len(self._caller) < len(self._agent):
            self._caller.append(self._rest.ljust(size, b"\0"))
        last = len(self._agent[-1]) if self._agent else size
        caller, agent = tuple(self._caller), tuple(self._agent)
        self._caller.clear()
        self._agent.clear()
        for said, left in zip_longest(caller, agent):
            self._give(said or bytes(size), left or bytes(last))

    def _change(self, rate: int) -> None:
        """
        What is left of the old rate is made one of the new: less than a frame, so that
        it need not sound well, but its length is its time.
        """
        old, self._rate = self._rate, rate
        samples = np.frombuffer(self._rest, "<i2")
        exact = (len(samples) + self._owed) * rate / old
        count = int(exact)
        self._owed = exact - count
        places = np.arange(count) * old // rate
        if len(samples):
            self._rest = samples.take(places, mode="clip").tobytes()
        else:
            self._rest = silence(count)
        self._early = round(self._early * rate / old)

    def _give(self, caller: bytes, agent: bytes) -> None:
        for tap in self._taps:
            try:
                # A frame of C{rate / 50} samples has C{rate / 25} bytes.
                tap.frame(
                    caller,
                    len(caller) * PER_FRAME // 2,
                    agent,
                    len(agent) * PER_FRAME // 2,
                )
            except Exception:
                self.log.failure(
                    "a tap failed and gets no more: {tap}",
                    tap=type(tap).__name__,
                    call_id=self._call_id,
                )
                self.remove(tap)

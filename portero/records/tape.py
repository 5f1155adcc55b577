"""A recording that is being made: a WAV file that can be played at any moment of it."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from itertools import groupby
from typing import Final, NamedTuple

import numpy as np

from portero.resample import HALF_LENGTH, Resampler

HEADER: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")
LARGEST: Final = 2**32 - 2**20
"""Bytes of sound in a WAV file, whose lengths have 32 bits; so many are 12 hours."""


class Frame(NamedTuple):
    """As L{portero.interfaces.IAudioTap.frame} has it."""

    caller: bytes
    caller_rate: int
    agent: bytes
    agent_rate: int


class Full(Exception):
    """There is no room for more in a WAV file."""


class Tape:
    """
    Caller left, agent right, at the highest of the rates in what is written first.

    Each method waits for a disk; they are called one after another, in any thread.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = -1
        self._rate = 0
        self._bytes = 0
        self._caller = _Side(0)
        self._agent = _Side(0)

    @property
    def began(self) -> bool:
        """There is a file."""
        return bool(self._rate)

    def write(self, frames: Sequence[Frame]) -> None:
        """
        @param frames: What comes next.
        @raise OSError: It is not in the file, which has what was there before.
        @raise Full: The same.
        """
        if frames and not self._rate:
            # A wideband line may begin with a moment of silence at 8 kHz.
            self._begin(max(max(one.caller_rate, one.agent_rate) for one in frames))
        for (caller_rate, agent_rate), alike in groupby(
            frames, lambda frame: (frame.caller_rate, frame.agent_rate)
        ):
            pieces = [*alike]
            agent = b"".join(frame.agent for frame in pieces)
            caller = b"".join(frame.caller for frame in pieces)
            # As long as the other, whatever the leg thinks of it.
            length = len(agent) // 2 * caller_rate // agent_rate * 2
            self._caller.feed(caller[:length].ljust(length, b"\0"), caller_rate)
            self._agent.feed(agent, agent_rate)
        self._append()

    def close(self) -> None:
        """
        Write what is left, and be done with the file.

        @raise OSError, Full: As L{write}; but it is closed.
        """
        try:
            self._caller.drain()
            self._agent.drain()
            if self._rate:
                self._append()
        finally:
            self.drop()

    def drop(self) -> None:
        """Be done with the file as it is."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _begin(self, rate: int) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        self._file = os.open(self._path, flags, 0o600)
        self._rate = rate
        self._caller, self._agent = _Side(rate), _Side(rate)
        self._put(self._header(), 0)

    def _append(self) -> None:
        """Sound first, then the header that says it is there."""
        both = _interleaved(self._caller.ready, self._agent.ready)
        if self._bytes + len(both) > LARGEST:
            raise Full
        self._put(both, HEADER.size + self._bytes)
        self._bytes += len(both)
        self._put(self._header(), 0)

    def _put(self, data: bytes, at: int) -> None:
        while data:
            written = os.pwrite(self._file, data, at)
            data, at = data[written:], at + written

    def _header(self) -> bytes:
        return HEADER.pack(
            *(b"RIFF", HEADER.size - 8 + self._bytes, b"WAVE", b"fmt ", 16, 1, 2),
            *(self._rate, self._rate * 4, 4, 16, b"data", self._bytes),
        )


def _interleaved(left: bytearray, right: bytearray) -> bytes:
    """@return: As much as there is of both, which is taken away."""
    length = min(len(left), len(right)) & ~1
    both = np.empty((length // 2, 2), "<i2")
    both[:, 0] = np.frombuffer(bytes(left[:length]), "<i2")
    both[:, 1] = np.frombuffer(bytes(right[:length]), "<i2")
    del left[:length], right[:length]
    return both.tobytes()


class _Side:
    """One of the two at the rate of the file, without what a resampler is late by."""

    def __init__(self, rate: int) -> None:
        self.ready = bytearray()
        self._rate = rate
        self._from = rate
        self._resampler: Resampler | None = None
        self._late = 0
        """Bytes that are still to come before the first of what was given."""

    def feed(self, pcm: bytes, rate: int) -> None:
        if rate != self._from:
            self.drain()
            self._from = rate
            self._resampler = None
            if rate != self._rate:
                self._resampler = Resampler(rate, self._rate)
                slower = min(rate, self._rate)
                self._late = HALF_LENGTH * self._rate // slower * 2
        if self._resampler is not None:
            pcm = self._resampler.process(pcm)
            late = min(self._late, len(pcm))
            self._late -= late
            pcm = pcm[late:]
        self.ready += pcm

    def drain(self) -> None:
        """Nothing more comes at this rate."""
        if self._resampler is not None:
            late = HALF_LENGTH * self._from // min(self._from, self._rate)
            self.feed(bytes(2 * late), self._from)

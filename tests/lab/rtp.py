"""RTP packets (RFC 3550), digits (RFC 4733) and the codecs of the lab's phone."""

from __future__ import annotations

import importlib
import importlib.util
import secrets
import struct
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from tests.parts import need

HEADER = struct.Struct("!BBHII")
VERSION = 0x80
MARKER = 0x80
EVENT_PAYLOAD_TYPE = 101
"""For digits; not fixed by any standard, but what everybody takes."""
DIGIT_SECONDS = 0.16
DIGIT_END_PACKETS = 3  # RFC 4733, section 2.5.1.4

Samples = npt.NDArray[np.int16]


class Packet(NamedTuple):
    """One RTP packet."""

    payload_type: int
    marker: bool
    seq: int
    timestamp: int
    ssrc: int
    payload: bytes

    @classmethod
    def parse(cls, data: bytes) -> Packet | None:
        """
        @return: L{None} for what is no RTP packet, or one with extensions or padding,
            which Asterisk does not send here.
        """
        if len(data) < HEADER.size or data[0] != VERSION:
            return None
        _, second, seq, timestamp, ssrc = HEADER.unpack_from(data)
        return cls(
            second & 0x7F,
            bool(second & MARKER),
            seq,
            timestamp,
            ssrc,
            data[HEADER.size :],
        )

    def serialize(self) -> bytes:
        second = self.payload_type | (MARKER if self.marker else 0)
        seq, timestamp = self.seq & 0xFFFF, self.timestamp & 0xFFFFFFFF
        return HEADER.pack(VERSION, second, seq, timestamp, self.ssrc) + self.payload


def digit_payload(digit: str, end: bool, duration: int) -> bytes:
    """
    @param digit: One of C{0123456789*#ABCD}.
    @param duration: Since the key went down, in ticks of the RTP clock.
    """
    volume = 10
    return struct.pack(
        "!BBH",
        "0123456789*#ABCD".index(digit),
        volume | (0x80 if end else 0),
        duration,
    )


class Codec(Protocol):
    """
    One direction each way of one call.

    @ivar clock: Of the RTP timestamps, in Hz.
    """

    payload_type: int
    encoding: str
    clock: int
    sample_rate: int

    def encode(self, samples: Samples) -> bytes: ...

    def decode(self, payload: bytes) -> Samples: ...


class G711:
    """Written from the formulas of ITU-T G.711, apart from what portero has."""

    clock = sample_rate = 8000

    def __init__(self, law: str) -> None:
        self.payload_type = {"u": 0, "a": 8}[law]
        self.encoding = {"u": "PCMU", "a": "PCMA"}[law]
        code = np.arange(256)
        sent = code ^ (0xFF if law == "u" else 0x55)
        negative = (sent & 0x80 != 0) if law == "u" else (sent & 0x80 == 0)
        segment, step = (sent >> 4) & 7, sent & 15
        if law == "u":
            level = ((2 * step + 33) << (segment + 2)) - 132
        else:
            level = np.where(
                segment == 0,
                (2 * step + 1) << 3,
                (2 * step + 33) << (np.maximum(segment, 1) + 2),
            )
        self._decoded = np.where(negative, -level, level).astype(np.int16)
        self._order = np.argsort(self._decoded, kind="stable")
        levels = self._decoded[self._order].astype(float)
        self._borders = (levels[1:] + levels[:-1]) / 2

    def encode(self, samples: Samples) -> bytes:
        nearest = np.searchsorted(self._borders, samples, "right")
        return self._order[nearest].astype(np.uint8).tobytes()

    def decode(self, payload: bytes) -> Samples:
        return self._decoded[np.frombuffer(payload, np.uint8)]


class Linear:
    """L16 (RFC 3551): big endian."""

    payload_type = 96
    encoding = "L16"

    def __init__(self, sample_rate: int) -> None:
        self.clock = self.sample_rate = sample_rate

    def encode(self, samples: Samples) -> bytes:
        return samples.astype(">i2").tobytes()

    def decode(self, payload: bytes) -> Samples:
        return np.frombuffer(payload[: len(payload) & ~1], ">i2").astype(np.int16)


class G722:
    """By the PyPI package of that name."""

    payload_type = 9
    encoding = "G722"
    clock = 8000  # RFC 3551, section 4.5.2: a mistake of long ago, kept
    sample_rate = 16000

    def __init__(self) -> None:
        need(importlib.util.find_spec("G722") is not None, "the PyPI package G722")
        package: Any = importlib.import_module("G722")
        self._encoder: Any = package.G722(self.sample_rate, 64000)
        self._decoder: Any = package.G722(self.sample_rate, 64000)

    def encode(self, samples: Samples) -> bytes:
        return bytes(self._encoder.encode(samples))

    def decode(self, payload: bytes) -> Samples:
        return np.array(self._decoder.decode(payload), dtype=np.int16)


def codec(name: str) -> Codec:
    """
    @param name: C{ulaw}, C{alaw}, C{slin16}, C{slin24} or C{g722}.
    """
    if name in ("ulaw", "alaw"):
        return G711(name[0])
    if name == "g722":
        return G722()
    return Linear({"slin16": 16000, "slin24": 24000}[name])


class Sender:
    """Numbers the packets of one stream."""

    def __init__(self, ticks: int) -> None:
        """
        @param ticks: Of the RTP clock, in one packet.
        """
        self._ticks = ticks
        self._ssrc = secrets.randbits(32)
        self._seq = secrets.randbits(15)
        self._timestamp = secrets.randbits(31)
        self._silent = True
        self._digit_ticks = 0

    def frame(self, payload_type: int, payload: bytes) -> list[bytes]:
        """
        @param payload: Empty when there is nothing to send this time.
        """
        packets = []
        if payload:
            packets.append(self._packet(payload_type, self._silent, payload))
        self._silent = not payload
        self._timestamp += self._ticks
        return packets

    def digit(self, digit: str, clock: int) -> tuple[list[bytes], bool]:
        """
        @return: The next packets for a key, and whether they were its last.
        """
        first = not self._digit_ticks
        self._digit_ticks += self._ticks
        done = self._digit_ticks >= DIGIT_SECONDS * clock
        payload = digit_payload(digit, done, self._digit_ticks)
        # All packets of one key carry the time of its start (RFC 4733, 2.5.1.2).
        packets = [
            self._packet(EVENT_PAYLOAD_TYPE, first and not number, payload)
            for number in range(DIGIT_END_PACKETS if done else 1)
        ]
        if done:
            self._timestamp += self._digit_ticks
            self._digit_ticks = 0
            self._silent = True
        return packets, done

    def _packet(self, payload_type: int, marker: bool, payload: bytes) -> bytes:
        self._seq += 1
        return Packet(
            payload_type, marker, self._seq, self._timestamp, self._ssrc, payload
        ).serialize()

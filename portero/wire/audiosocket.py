"""
AudioSocket framing: a kind byte, a 16-bit big-endian length, the payload.

Source of kinds and directions: Asterisk's C{res_audiosocket.c} (22.10) and its written
description; C{0xff} stands in the description only.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final

from portero.errors import FramingError

HEADER: Final = Struct(">BH")

HANGUP: Final = 0x00
UUID: Final = 0x01
DTMF: Final = 0x03
SLIN: Final = 0x10
ERROR: Final = 0xFF

RATES: Final = {
    0x10: 8000,
    0x11: 12000,
    0x12: 16000,
    0x13: 24000,
    0x14: 32000,
    0x15: 44100,
    0x16: 48000,
    0x17: 96000,
    0x18: 192000,
}
"""Sampling rate in Hz of each audio kind (signed 16-bit little-endian mono)."""

KINDS: Final = {rate: kind for kind, rate in RATES.items()}

DIGITS: Final = frozenset("0123456789*#ABCD")

MAX_AUDIO_MS: Final = 200
"""A frame is one RTP packet's worth; nobody's packet is longer than this."""


def length_limit(kind: int) -> int:
    """
    @return: The longest payload in bytes that a message of this kind may have.
        Unknown kinds may use all of the 16-bit length: they are skipped.
    """
    rate = RATES.get(kind)
    return 0xFFFF if rate is None else min(0xFFFF, rate * 2 * MAX_AUDIO_MS // 1000)


_SHORTEST_LIMIT: Final = length_limit(SLIN)


class Decoder:
    """
    Cut a byte stream into messages, incrementally.

    The buffer holds only the start of a message that is not complete yet; bytes are
    copied into it and out of it at most twice, however they arrive.
    """

    def __init__(
        self,
        message: Callable[[int, bytes], None],
        too_long: Callable[[int, int], None],
    ) -> None:
        """
        @param message: Called with kind and payload of each message.
        @param too_long: Called with kind and length of a message over its
            L{length_limit}. Nothing is decoded after that.
        """
        self._message = message
        self._too_long = too_long
        self._partial = bytearray()
        self._needed = HEADER.size
        self._stopped = False

    @property
    def waiting(self) -> int:
        """Bytes of a message that is not complete yet."""
        return len(self._partial)

    def stop(self) -> None:
        """Decode nothing more, not even what the present read still holds."""
        self._stopped = True
        self._partial.clear()

    def feed(self, data: bytes) -> None:
        """Take bytes as they arrived, cut anywhere."""
        if self._stopped:
            return
        partial = self._partial
        if partial:
            partial += data
            if len(partial) < self._needed:
                return
            data = bytes(partial)
            partial.clear()
        start, size, needed = 0, len(data), HEADER.size
        while size - start >= HEADER.size:
            kind, length = HEADER.unpack_from(data, start)
            if length > _SHORTEST_LIMIT and length > length_limit(kind):
                self.stop()
                self._too_long(kind, length)
                return
            end = start + HEADER.size + length
            if end > size:
                needed = end - start
                break
            self._message(kind, data[start + HEADER.size : end])
            if self._stopped:
                return
            start = end
        self._needed = needed
        if start < size:
            partial += data[start:]


def encode(kind: int, payload: bytes = b"") -> bytes:
    """
    @return: The message as one piece, to be written in one call.
    @raise FramingError: The payload does not fit a 16-bit length.
    """
    if len(payload) > 0xFFFF:
        raise FramingError(
            f"an AudioSocket payload holds at most 65535 bytes, not {len(payload)}"
        )
    return HEADER.pack(kind, len(payload)) + payload

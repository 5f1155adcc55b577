"""Caller audio on its way to the service. Pure."""

from __future__ import annotations

from typing import Final

from portero.providers._formats import Codec

MOST_UNSENT: Final = 10.0
"""Seconds of caller audio kept while the service is not ready; older audio goes."""


class Uplink:
    """
    Gathers caller audio into pieces worth a message.

    @ivar codec: Of what is sent; the audio given has its rate.
    """

    def __init__(self, codec: Codec, piece_ms: int) -> None:
        self._piece_ms = piece_ms
        self._sent = 0
        self._waiting = bytearray()
        self.codec = codec
        self.use(codec)

    def use(self, codec: Codec) -> None:
        """Also under way; what waits at another rate is lost then."""
        if codec.rate != self.codec.rate:
            self._waiting.clear()
        if codec != self.codec:
            self._sent = 0  # the service may drop what it has in another format
        self.codec = codec
        self._piece = codec.rate * 2 * self._piece_ms // 1000

    @property
    def waiting(self) -> float:
        """Seconds of audio that wait here."""
        return len(self._waiting) / (2 * self.codec.rate)

    @property
    def in_turn(self) -> float:
        """Seconds of audio that the service was sent in the present turn."""
        return self._sent / (2 * self.codec.rate)

    def end_turn(self) -> None:
        """What is sent from now on belongs to the next one."""
        self._sent = 0

    @property
    def due(self) -> bool:
        """There is a whole piece."""
        return len(self._waiting) >= self._piece

    def add(self, pcm: bytes) -> None:
        self._waiting += pcm

    def shed(self, size: int) -> bool:
        """
        Forget the oldest audio, if there is too much.

        @param size: How much of it to forget, in bytes.
        @return: Whether some was forgotten.
        """
        if self.waiting <= MOST_UNSENT:
            return False
        del self._waiting[:size]
        return True

    def take(self) -> bytes:
        """@return: All that waits, to be sent now."""
        self._sent += len(self._waiting)
        pcm = bytes(self._waiting)
        self._waiting.clear()
        return self.codec.encode(pcm)

"""G.711 under the name of slin: what Asterisk sends on a C{Dial} without a codec."""

from __future__ import annotations

from collections import deque
from typing import Final

from portero import audio

COMPANDED_BYTES: Final = 160
"""20 ms of G.711, or 10 ms of slin."""
MOST_LOOKED_AT: Final = 25
TOGETHER: Final = 10
"""Frames that are looked at together."""


class CompandedCheck:
    """
    Tells 20 ms of G.711 from 10 ms of slin: both are 160 bytes.

    Without a codec in its C{Dial}, Asterisk sends the caller's own bytes as kind 0x10
    (res_audiosocket.c:251). The content tells; for a silent caller, the time between
    frames.
    """

    def __init__(self) -> None:
        self._seen: deque[bytes] = deque(maxlen=TOGETHER)
        self._count = 0
        self._since = 0.0

    def look(self, payload: bytes, now: float) -> str | None:
        """
        @return: L{audio.PCM}, L{audio.PCMU} or L{audio.PCMA}; C{None} while it cannot
            be told.
        """
        if not self._count:
            self._since = now
        self._count += 1
        self._seen.append(payload)
        guess = audio.guess_coding(b"".join(self._seen))
        if guess != audio.UNSURE:
            return guess
        if self._count < MOST_LOOKED_AT:
            return None
        per_frame = (now - self._since) / (self._count - 1)
        return audio.PCMU if per_frame > 0.015 else audio.PCM

"""The audio formats of the service, by the names that the protocol gives them."""

from __future__ import annotations

from collections.abc import Callable

from portero.audio import alaw_decode, alaw_encode, ulaw_decode, ulaw_encode

PCM, PCMU, PCMA = "audio/pcm", "audio/pcmu", "audio/pcma"

RATES = {PCM: 24000, PCMU: 8000, PCMA: 8000}
"""In Hz. There is no other rate of PCM."""


def _same(data: bytes) -> bytes:
    return data


DECODE: dict[str, Callable[[bytes], bytes]] = {
    PCM: _same,
    PCMU: ulaw_decode,
    PCMA: alaw_decode,
}
ENCODE: dict[str, Callable[[bytes], bytes]] = {
    PCM: _same,
    PCMU: ulaw_encode,
    PCMA: alaw_encode,
}


def as_object(name: str) -> dict[str, object]:
    """
    @return: The format as the protocol writes it: only PCM has a rate.
    """
    return {"type": name, "rate": RATES[name]} if name == PCM else {"type": name}


def duration_ms(pcm: bytes, rate: int) -> float:
    """
    @return: The length of PCM in ms.
    """
    return len(pcm) / 2 * 1000 / rate

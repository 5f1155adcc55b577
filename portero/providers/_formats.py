"""The audio formats of OpenAI Realtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from portero import audio
from portero.wire import openai as wire


class Codec(NamedTuple):
    """A format on the wire: its rate, and both ways between it and PCM."""

    name: str
    rate: int
    encode: Callable[[bytes], bytes]
    decode: Callable[[bytes], bytes]


CODECS: Final = {
    wire.PCM: Codec(wire.PCM, wire.PCM_RATE, bytes, bytes),
    wire.PCMU: Codec(wire.PCMU, 8000, audio.ulaw_encode, audio.ulaw_decode),
    wire.PCMA: Codec(wire.PCMA, 8000, audio.alaw_encode, audio.alaw_decode),
}


def choose_format(wanted: str, rate: int) -> str:
    """
    @param wanted: C{auto}, C{pcm}, C{pcmu} or C{pcma}.
    @param rate: Of the leg, in Hz, in the direction asked about.
    """
    if wanted == "auto":
        return wire.PCMU if rate == 8000 else wire.PCM
    return f"audio/{wanted}"

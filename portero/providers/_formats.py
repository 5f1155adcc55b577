"""The audio formats of OpenAI Realtime, and what came of an item in one of them."""

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


class Item:
    """What came of one item of the agent's speech."""

    __slots__ = ("codec", "complete", "cut", "odd_byte", "received", "response_id")

    def __init__(self, response_id: str, codec: Codec) -> None:
        self.response_id = response_id
        self.codec = codec
        self.received = 0
        self.odd_byte = b""
        self.complete = False
        self.cut = False

    @property
    def received_ms(self) -> int:
        width = 2 if self.codec.name == wire.PCM else 1
        return self.received * 1000 // (self.codec.rate * width)

    def decoded(self, data: bytes) -> bytes:
        """Chunks of PCM may end within a sample; its other half comes in the next."""
        self.received += len(data)
        if self.codec.name == wire.PCM:
            if self.odd_byte:
                data = self.odd_byte + data
            whole = len(data) & ~1
            self.odd_byte = data[whole:]
            return data[:whole]
        return self.codec.decode(data)

"""
The agent's speech as the service sends it: an account of each item. Pure: told what
came, it says what is to be heard and what the service must be told.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from portero import audio
from portero.providers._formats import CODECS, Codec
from portero.wire import openai as wire

REMEMBERED: Final = 32
"""Items whose account is kept."""


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


class Downlink:
    """
    The items of a conversation, and which of their audio is still wanted.

    @ivar codec: That of new items.
    @ivar found_pcm: The service sends PCM, whatever it says.
    """

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.found_pcm = False
        self._unproven: bytearray | None = None
        self._items: OrderedDict[str, Item] = OrderedDict()
        self._muted: OrderedDict[str, None] = OrderedDict()

    def use(self, codec: Codec) -> None:
        """Also under way."""
        self.codec = codec
        self._unproven = None if codec.name == wire.PCM else bytearray()

    def mute(self, id: str) -> None:
        """Drop the audio that may still come of an item or a response."""
        if not id:
            return
        self._muted[id] = None
        if len(self._muted) > 2 * REMEMBERED:
            self._muted.popitem(last=False)

    def is_muted(self, id: str) -> bool:
        return id in self._muted

    def wants(self, response_id: str, name: str) -> bool:
        """Audio of this item may be heard."""
        if response_id in self._muted or name in self._muted:
            return False
        item = self._items.get(name)
        return item is None or not item.complete

    def begin(self, response_id: str, name: str) -> bool:
        """@return: Whether the item is a new one."""
        if name in self._items:
            return False
        self._items[name] = Item(response_id, self.codec)
        if len(self._items) > REMEMBERED:
            self._items.popitem(last=False)
        return True

    def refuted(self, data: bytes) -> bool:
        """
        Look at the first G.711 audio: services exist that agree to it and send PCM.

        @return: Whether this is what was found out just now.
        """
        seen = self._unproven
        if seen is None:
            return False
        seen += data
        guess = audio.guess_coding(bytes(seen))
        if guess == audio.UNSURE and len(seen) < 2 * self.codec.rate:
            return False
        self._unproven = None
        self.found_pcm = guess == audio.PCM
        return self.found_pcm

    def decoded(self, name: str, data: bytes) -> bytes:
        """@return: PCM of an item that was begun."""
        item = self._items[name]
        if self.found_pcm:
            item.codec = CODECS[wire.PCM]
        return item.decoded(data)

    def complete(self, name: str) -> bool:
        """@return: Whether this is news."""
        item = self._items.get(name)
        if item is None or item.complete:
            return False
        item.complete = True
        return True

    def response_ended(self, response_id: str) -> list[str]:
        """@return: Its items that were not said to be complete, and were not cut."""
        found = []
        for name, item in self._items.items():
            ids = item.response_id, response_id
            if not item.complete and (ids[0] == ids[1] or "" in ids):
                item.complete = True
                if not item.cut:
                    found.append(name)
        self.mute(response_id)
        return found

    def cut(self, name: str, heard_ms: int) -> int | None:
        """
        The caller heard only so much of an item; no more of it is wanted.

        @return: Where the service has to cut it, in ms; C{None}: nowhere.
        """
        item = self._items.get(name)
        if item is None or item.cut:
            return None
        item.cut = True
        self.mute(name)
        received = item.received_ms
        if item.complete and heard_ms >= received:
            return None
        # Beyond what it sent, or not a whole number, the service would refuse it.
        return max(0, min(int(heard_ms), received))

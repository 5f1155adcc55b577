"""
Greetings that are at hand when a call begins: from a file, or as the service spoke them
before.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Final

from portero import textfile
from portero.audio import WavError, read_wav, silence
from portero.errors import ConfigError
from portero.interfaces import Said
from portero.resample import Resampler

LONGEST: Final = 60.0
"""Seconds of a greeting."""
MOST_BYTES: Final = 24_000_000
"""Of a file: the longest greeting in stereo, at 48 kHz and 32 bits."""
LEG_RATES: Final = (8000, 24000)
"""In Hz: what Asterisk is sent."""
MOST_KEPT: Final = 64
MOST_KEPT_BYTES: Final = 32_000_000
ALIKE: Final = 0.8
"""Of the greeting's words and those that the service says it spoke: numbers and names
may be written in other ways, but another sentence is another greeting."""
PLAYED: Final = (
    "A recorded greeting was played to the caller. Do not greet again: answer what the "
    "caller says."
)


class Sound:
    """PCM, at whatever rate it is wanted."""

    def __init__(self, rate: int, pcm: bytes) -> None:
        """
        @param rate: In Hz.
        @raise ValueError: It cannot be converted to the rates of a leg.
        """
        self._at = {wanted: _converted(pcm, rate, wanted) for wanted in LEG_RATES}

    def at(self, rate: int) -> bytes:
        """@return: At this rate, which should be one of L{LEG_RATES}."""
        if rate not in self._at:
            best = max(LEG_RATES)
            self._at[rate] = _converted(self._at[best], best, rate)
        return self._at[rate]


def _converted(pcm: bytes, rate: int, wanted: int) -> bytes:
    # The filter gives the end of a sound only when more comes.
    rest = b"" if rate == wanted else silence(rate // 100)
    return Resampler(rate, wanted).process(pcm + rest)


def load(path: str) -> Sound:
    """
    Read a greeting; an unchanged file comes from memory the second time.

    @raise ConfigError: It is none; the message says why, and not where.
    """
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return _sound(path)  # which says why
    return _sound(path, found.st_mtime_ns, found.st_size, found.st_ino)


@lru_cache(maxsize=32)
def _sound(path: str, *version: int) -> Sound:
    content = textfile.content(path, MOST_BYTES)
    try:
        rate, pcm = read_wav(content, LONGEST)
        if not pcm:
            raise WavError("there is no sound in it")
        return Sound(rate, pcm)
    except ValueError as error:
        raise ConfigError(str(error).removeprefix("WAV data: ")) from None


class Shelf:
    """Greetings as the service spoke them, in memory; the one longest unused goes."""

    def __init__(self, most: int = MOST_KEPT, most_bytes: int = MOST_KEPT_BYTES):
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._bytes = 0
        self._most = most
        self._most_bytes = most_bytes

    def find(self, key: Hashable) -> bytes:
        """@return: PCM, or nothing."""
        pcm = self._kept.get(key, b"")
        if pcm:
            self._kept.move_to_end(key)
        return pcm

    def keep(self, key: Hashable, pcm: bytes) -> None:
        self._bytes += len(pcm) - len(self._kept.pop(key, b""))
        self._kept[key] = pcm
        while len(self._kept) > self._most or self._bytes > self._most_bytes:
            self._bytes -= len(self._kept.popitem(last=False)[1])


@dataclass(frozen=True, slots=True)
class Opening:
    """How a call is greeted."""

    words: str = ""
    """To be said word for word, or what a sound says; empty: not known."""
    sound: Sound | None = field(default=None, compare=False)
    protected: bool = False
    """The caller cannot interrupt it."""
    shelf: Shelf | None = field(default=None, compare=False)
    """Where it is kept as the service speaks it; C{None}: nowhere."""
    key: Hashable = ()
    """What its sound depends on, besides the words and the rate."""

    def at_hand(self, rate: int) -> bytes:
        """@return: PCM at this rate that can be played now, or nothing."""
        if self.sound is not None:
            return self.sound.at(rate)
        return self.shelf.find((self.key, self.words, rate)) if self.shelf else b""

    def keep(self, rate: int, pcm: bytes) -> None:
        """It was spoken, in full."""
        if self.shelf is None:
            return
        # A leg may begin with a lower rate than it has later.
        for lower in {rate, *filter(lambda wanted: wanted < rate, LEG_RATES)}:
            found = _converted(pcm, rate, lower)
            self.shelf.keep((self.key, self.words, lower), found)

    @property
    def said(self) -> Said:
        """For the history, when a sound was played."""
        if self.words:
            return Said("assistant", self.words)
        return Said("system", PLAYED)

    def is_said_by(self, text: str) -> bool:
        """Whether these are its words, to the last, as well as that can be told."""
        ours, theirs = _bare(self.words), _bare(text)
        if ours[-1:] != theirs[-1:]:
            return False
        return SequenceMatcher(None, ours, theirs, autojunk=False).ratio() >= ALIKE


PLAIN: Final = Opening()
"""Nothing at hand, and nothing to be kept."""


def _bare(text: str) -> list[str]:
    """The words alone."""
    return "".join(c if c.isalnum() else " " for c in text.casefold()).split()

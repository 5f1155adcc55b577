"""
What the caller says while the agent speaks: for how long, and whether in words. So is a
cough told from a sentence. Pure.

The service's own turn detection cannot tell the length: it reports the end of speech
only after a silence that it has to wait for.
"""

from __future__ import annotations

import math
import re
from typing import Final

import numpy as np

from portero.gate import DOWN, FRAME, LEAST_NOISE, MOST_NOISE, OPEN, UP

PAUSE: Final = 0.4
"""Seconds of quiet after which what follows is another utterance."""

MURMUR: Final = re.compile(
    r"a+h*[aá]?|aj[aá]|ahem|e+h*m?|er+m?|h*m+h*m*|o+h+|h?u+h*[mu]*h*"
)
"""Written down by the service, and said by one who only listens: no word."""

_NOISE: Final = re.compile(r"\([^)]*(\)|$)|\[[^\]]*(\]|$)|\*[^*]*(\*|$)")
"""How models write what is no speech: (coughs), [noise], *laughs*."""
_WORD: Final = re.compile(r"[^\W_]+")
_UNFINISHED: Final = re.compile(r"[^\W_]+$")


def has_words(text: str) -> bool:
    """Whether a transcript says something, rather than only that somebody is there."""
    said = _WORD.findall(_NOISE.sub(" ", text).lower())
    return not all(MURMUR.fullmatch(word) for word in said)


class Utterance:
    """
    The newest one of a call.

    @ivar item: The service's id of it; empty when that is not known.
    @ivar seconds: How much of it was loud, so far.
    """

    def __init__(self) -> None:
        self.item = ""
        self.seconds = 0.0
        self._written = ""
        self._rest = b""
        self._rate = 0
        self._quiet = 0.0
        self._noise: float | None = None
        """Of the line, in dBov."""

    def begin(self, item: str) -> None:
        """The service noticed it. What was heard already belongs to it."""
        self.item = item
        self._written = ""

    def hear(self, pcm: bytes, rate: int) -> None:
        """All caller audio, at C{rate}; cut in any way."""
        if rate != self._rate:
            self._rate, self._rest = rate, b""
        pcm = self._rest + pcm
        size = 2 * round(rate * FRAME)
        whole = len(pcm) - len(pcm) % size
        self._rest = pcm[whole:]
        frames = np.frombuffer(pcm[:whole], "<i2").astype(np.float64)
        for frame in frames.reshape(-1, size // 2):
            self._weigh(float(frame @ frame) / len(frame) / 2**30)

    def _weigh(self, power: float) -> None:
        """@param power: Of a frame; 1.0 is 0 dBov."""
        loud = False
        if power:
            # Digital silence is a hole in the stream and says nothing of the line.
            level = 10 * math.log10(power)
            noise = level if self._noise is None else self._noise
            loud = level >= noise + OPEN
            if level < noise:
                noise += DOWN * (level - noise)
            else:
                noise = min(noise + UP, level)
            self._noise = min(max(noise, LEAST_NOISE), MOST_NOISE)
        if loud:
            self._quiet = 0.0
            self.seconds += FRAME
        else:
            self._quiet += FRAME
            if self._quiet >= PAUSE:
                self.seconds = 0.0

    def has_words(self, item: str, text: str, complete: bool) -> bool:
        """
        A transcript came.

        @param item: Of what: of this utterance, or of one before it.
        @param complete: All of it, rather than the next piece. The last word of a
            piece may be half a word, and does not count.
        @return: Whether this utterance is known to have words.
        """
        if not item or item != self.item:
            return False
        if complete:
            return has_words(text)
        self._written += text
        return has_words(_UNFINISHED.sub("", self._written))

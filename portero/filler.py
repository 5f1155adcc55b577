"""What the caller hears while a tool takes long."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np

from portero.talk import Talk
from portero.timers import Timers

LOOK_EVERY: Final = 0.2
"""Seconds: somebody speaks; that may be over soon."""
AGAIN_AFTER: Final = {"phrase": 12.0, "sound": 3.0}
"""By kind: seconds from one to the next."""

RATE: Final = 8000
_HERTZ: Final = 523.25
"""The C above the middle one, which any telephone carries."""
_SECONDS: Final = 0.3
_AMPLITUDE: Final = 1000
"""About -30 dBFS: well below a voice."""


@cache
def soft_tone() -> bytes:
    """@return: PCM at L{RATE} of a note that comes and goes without a click."""
    time = np.arange(round(_SECONDS * RATE)) / RATE
    swell = np.sin(np.pi * time / _SECONDS) ** 2
    note = _AMPLITUDE * swell * np.sin(2 * np.pi * _HERTZ * time)
    return note.round().astype("<i2").tobytes()


class Filler:
    """Of one call. It fills no pause in which anybody speaks, or is about to."""

    def __init__(
        self,
        talk: Talk,
        timers: Timers,
        kind: str,
        after: float,
        wanted: Callable[[], bool],
    ) -> None:
        """
        @param kind: C{phrase}, C{sound} or C{none}.
        @param after: Seconds that a tool may take before it begins.
        @param wanted: Whether the caller now waits for a tool, and for nothing else.
        """
        self._talk = talk
        self._timers = timers
        self._kind = kind
        self._after = after
        self._wanted = wanted
        self._running = 0

    def tool_began(self) -> None:
        self._running += 1
        if self._kind != "none" and "filler" not in self._timers:
            self._timers.start("filler", self._after, self._look)

    def tool_ended(self) -> None:
        self._running -= 1
        if not self._running:
            self._timers.cancel("filler")

    def _look(self) -> None:
        if not self._wanted():
            self._timers.start("filler", LOOK_EVERY, self._look)
            return
        if self._kind == "phrase":
            self._talk.fill("moment")
        else:
            self._talk.fill("waiting", RATE, soft_tone())
        self._timers.start("filler", AGAIN_AFTER[self._kind], self._look)

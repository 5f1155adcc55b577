"""How loud both sides of many calls are, at the price of a few: counted all at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from zope.interface import implementer

from portero.audio import SILENCE_DBFS
from portero.interfaces import IAudioTap

STEP_MS: Final = 20
"""Of a wave: what one frame lasts."""
MOST_FRAMES: Final = 50
"""That are kept until somebody looks: a second."""
FULL: Final = 2.0**15

Sides = tuple[list[bytes], list[bytes]]
"""Frames of the caller, and of the agent."""


@implementer(IAudioTap)
class Meter:
    """Of one call. Each frame costs no more than to keep it in mind."""

    __slots__ = ("_agent", "_caller")

    def __init__(self) -> None:
        self._caller: list[bytes] = []
        self._agent: list[bytes] = []

    def frame(
        self, caller: bytes, caller_rate: int, agent: bytes, agent_rate: int
    ) -> None:
        if len(self._caller) < MOST_FRAMES:  # else nobody has looked for long
            self._caller.append(caller)
            self._agent.append(agent)

    def take(self) -> Sides:
        """@return: What came since the last time, oldest first."""
        taken = self._caller, self._agent
        self._caller, self._agent = [], []
        return taken


def levels(calls: Sequence[Sides]) -> list[list[int]]:
    """
    @return: For each call its caller's and its agent's RMS level in whole dBFS;
        L{SILENCE_DBFS} where there is nothing.
    """
    sides = [b"".join(frames) for call in calls for frames in call]
    energy = _of_each(np.add, sides, lambda pcm: np.square(pcm, dtype=np.float32))
    power = energy / [max(len(side) // 2, 1) for side in sides] / FULL**2
    least = 10 ** (SILENCE_DBFS / 10)
    decibels = np.rint(10 * np.log10(np.maximum(power, least))).astype(int)
    result: list[list[int]] = decibels.reshape(-1, 2).tolist()
    return result


def peaks(frames: Sequence[bytes]) -> list[int]:
    """@return: Of each frame of one side, linear, 0 to 100."""
    highest = _of_each(np.maximum, frames, lambda pcm: np.abs(pcm.astype(np.float32)))
    result: list[int] = np.rint(highest * (100 / FULL)).astype(int).tolist()
    return result


def _of_each(
    reduce: np.ufunc,
    pieces: Sequence[bytes],
    weigh: Callable[[NDArray[np.int16]], NDArray[np.float32]],
) -> NDArray[np.float32]:
    """@return: For each piece, all its samples as one number; nothing has 0."""
    lengths = np.array([len(piece) // 2 for piece in pieces], dtype=int)
    result = np.zeros(len(pieces), np.float32)
    there = lengths > 0
    if there.any():
        weighed = weigh(np.frombuffer(b"".join(pieces), "<i2"))
        ends = np.cumsum(lengths[there])
        result[there] = reduce.reduceat(weighed, np.append(0, ends[:-1]))
    return result

"""How loud both sides of calls are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from zope.interface import implementer

from portero.audio import level_dbfs, peak
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
    One side after the other: to count all of 100 calls at once took more than twice the
    time, as none of it was still at hand (measured).

    @return: For each call its caller's and its agent's RMS level in whole dBFS.
    """
    return [[round(level_dbfs(b"".join(frames))) for frames in call] for call in calls]


def peaks(frames: Sequence[bytes]) -> list[int]:
    """@return: Of each frame of one side, linear, 0 to 100."""
    return [round(peak(frame) * 100 / FULL) for frame in frames]

"""
What it costs to measure the sound of a call, of L{portero.observers.measuring}: CPU for
each second of a call, the longest that the reactor waits for it, and memory.

A caller and an agent talk in turns, with noise on the line. For example::

    python bench/measuring.py
"""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import numpy as np
from twisted.internet.task import Clock

from portero import prompts
from portero.observers.measuring import Measuring
from portero.resample import Resampler

SECONDS = 120
TURN = 5
"""Seconds."""
RATES = ((8000, 8000), (16000, 24000), (48000, 48000))
"""Of caller and agent, in Hz."""


class Call:
    """One that only has taps."""

    call_id = "bench"
    tapped: Any = None

    def seconds(self) -> float:
        return 0.0

    def tap(self, tap: Any) -> None:
        self.tapped = tap

    def untap(self, tap: Any) -> None:
        raise AssertionError("it was measured no further")


def side(rate: int, first: bool) -> list[bytes]:
    """@return: Frames of 20 ms of one who speaks in every other turn."""
    own, pcm = prompts.load("greeting", "en")
    speech = np.frombuffer(Resampler(own, rate).process(pcm), "<i2")[: rate * TURN]
    noise = np.random.default_rng(1).normal(size=rate * TURN) * 15
    quiet = noise.astype("<i2")
    turns = (speech, quiet) if first else (quiet, speech)
    sound = np.concatenate(turns * (SECONDS // (2 * TURN))).tobytes()
    size = rate // 25
    return [sound[start : start + size] for start in range(0, len(sound), size)]


def measure(caller_rate: int, agent_rate: int) -> None:
    caller, agent = side(caller_rate, True), side(agent_rate, False)
    clock, call = Clock(), Call()
    measuring: Any = Measuring(clock)
    tracemalloc.start()
    measuring.call_started(call)
    tap = call.tapped
    for number in range(49):
        tap.frame(caller[number], caller_rate, agent[number], agent_rate)
    most, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    gathered = sum(len(caller[n]) + len(agent[n]) for n in range(49))
    waits = []
    began = time.process_time()
    for said, left in zip(caller[49:], agent[49:], strict=True):
        tap.frame(said, caller_rate, left, agent_rate)
        if clock.getDelayedCalls():
            before = time.perf_counter()
            clock.advance(0)
            waits.append((time.perf_counter() - before) * 1000)
    cpu = (time.process_time() - began) / SECONDS * 1000
    waits.sort()
    print(
        f"{caller_rate} and {agent_rate} Hz: {cpu:.2f} ms CPU for each second of a "
        f"call, {waits[len(waits) // 2]:.2f} ms at a time (median; longest "
        f"{waits[-1]:.1f}), {(most + gathered) / 1000:.0f} kB"
    )


if __name__ == "__main__":
    for rates in RATES:
        measure(*rates)

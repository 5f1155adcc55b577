"""Speech and noise for tests, always the same for the same seed."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from portero import prompts
from portero.resample import Resampler

NAMES = ("apology", "goodbye", "greeting", "listening", "moment", "still_there")
Samples = NDArray[np.float32]


@cache
def _prompt(name: str, language: str, rate: int) -> Samples:
    own, pcm = prompts.load(name, language)
    if rate < 8000:
        samples = np.frombuffer(pcm, "<i2")
        step = own // rate
        whole = samples[: len(samples) // step * step].reshape(-1, step)
        mean: Samples = whole.mean(axis=1).astype(np.float32)
        return mean
    pcm = Resampler(own, rate).process(pcm) if own != rate else pcm
    return np.frombuffer(pcm, "<i2").astype(np.float32)


def speech(
    seconds: float, rate: int = 8000, *, seed: int = 0, language: str = "en"
) -> Samples:
    """@return: So much of our prompts, with pauses, of the size of 16 bits."""
    chance = np.random.default_rng(seed)
    size, parts, count = round(seconds * rate), [], 0
    while count < size:
        prompt = _prompt(NAMES[chance.integers(len(NAMES))], language, rate)
        pause = np.zeros(round(rate * chance.uniform(0.2, 1.0)), np.float32)
        parts += [prompt, pause]
        count += len(prompt) + len(pause)
    return np.concatenate(parts)[:size]


def noise(size: int, level: float, seed: int = 0) -> Samples:
    """@param level: RMS, of 16 bits."""
    chance = np.random.default_rng(seed)
    return (chance.normal(size=size) * level).astype(np.float32)

"""How well a recording resembles what was said: alignment, PESQ, STOI."""

from __future__ import annotations

import importlib
import importlib.util
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tests.lab.recording import Sound, level_dbfs
from tests.parts import need

signal: Any = importlib.import_module("scipy.signal")  # it has no types


def load(path: Path, sample_rate: int) -> Sound:
    """
    @return: A mono 16-bit WAV file at C{sample_rate}.
    """
    with wave.open(str(path)) as file:
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return resampled(pcm / 32768, file.getframerate(), sample_rate)


def resampled(sound: Sound, sample_rate: int, wanted_rate: int) -> Sound:
    ratio = Fraction(wanted_rate, sample_rate)
    if ratio == 1:
        return sound
    other: Sound = signal.resample_poly(sound, ratio.numerator, ratio.denominator)
    return other


def pcm(sound: Sound) -> bytes:
    """
    @return: 16-bit little endian.
    """
    return np.clip(np.round(sound * 32768), -32768, 32767).astype("<i2").tobytes()


def tone(hz: float, seconds: float, sample_rate: int, peak: float = 0.25) -> Sound:
    return peak * np.sin(
        2 * np.pi * hz * np.arange(round(seconds * sample_rate)) / sample_rate
    )


def noise_burst(seconds: float, sample_rate: int) -> Sound:
    """
    @return: Something that every level detector takes for speech, all of it.
    """
    return np.random.default_rng(1).normal(0, 0.1, round(seconds * sample_rate))


def align(heard: Sound, reference: Sound) -> tuple[Sound, int]:
    """
    Find C{reference} in C{heard} by cross-correlation.

    @return: The part of C{heard} with the length of C{reference}, and where it began
        (negative: its beginning is missing).
    """
    margin = len(reference)  # it may stick out at either end
    heard = np.pad(heard, margin)
    start = int(np.argmax(signal.correlate(heard, reference, "valid")))
    return heard[start : start + len(reference)], start - margin


def band_dbfs(sound: Sound, low_hz: float, high_hz: float, sample_rate: int) -> float:
    """
    @return: The level of what lies between two frequencies.
    """
    wanted = [low_hz, high_hz]
    band = signal.butter(8, wanted, "bandpass", fs=sample_rate, output="sos")
    return level_dbfs(signal.sosfilt(band, sound))


def stoi(reference: Sound, heard: Sound, sample_rate: int) -> float:
    """
    @return: Short-time objective intelligibility, 0 to 1.
    """
    return float(_package("pystoi").stoi(reference, heard, sample_rate))


def pesq(reference: Sound, heard: Sound, sample_rate: int) -> float:
    """
    @param sample_rate: 8000 (narrow band) or 16000 (wide band).

    @return: MOS-LQO, 1 to about 4.6.
    """
    band = "nb" if sample_rate == 8000 else "wb"
    return float(_package("pesq").pesq(sample_rate, reference, heard, band))


def _package(name: str) -> Any:
    need(importlib.util.find_spec(name) is not None, f"the PyPI package {name}")
    return importlib.import_module(name)

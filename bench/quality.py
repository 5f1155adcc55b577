"""
What the resampler, G.711 and the noise gate do to sound, and what they cost.

    python bench/quality.py [--prompts DIR] [--clips N]

prints one line for each limit: C{row | limit | reached | ok}, and exits with 1 when one
is missed. Needs numpy and scipy. The rows about speech also need the packages C{pesq}
and C{pystoi} (and C{G722} for the voices at 24 kHz) and recorded prompts: those in
C{--prompts} (WAV at 8 kHz, G.722), or else Debian's, which are fetched with C{apt-get
download} into a folder below the temporary one. What is missing is skipped, and said.

CPU is C{time.process_time}, the best of several runs; read it as a ratio.
"""

from __future__ import annotations

import argparse
import importlib
import math
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # runs in a checkout

from portero.audio import (
    WavError,
    alaw_decode,
    alaw_encode,
    guess_coding,
    read_wav,
    ulaw_decode,
    ulaw_encode,
)
from portero.gate import Gate
from portero.resample import Resampler

signal: Any = importlib.import_module("scipy.signal")

Sound = NDArray[np.float64]
PACKAGES = (
    "asterisk-core-sounds-en-wav",
    "asterisk-core-sounds-es-wav",
    "asterisk-core-sounds-en-g722",
)
PAUSE = 0.4
CLIP_SECONDS = 8.0
SPEECH_LEVEL = -26.0
GATE_LEVELS = (-20.0, -26.0, -32.0, -38.0, -44.0)
GATE_THRESHOLD = 500


class Table:
    """Prints the rows as they are measured."""

    def __init__(self) -> None:
        self.missed = 0
        print(f"{'row':58} | {'limit':>12} | {'reached':>12} | ok")
        print(f"{'-' * 58}-|-{'-' * 12}-|-{'-' * 12}-|----")

    def _row(self, name: str, limit: str, reached: str, verdict: str) -> None:
        print(f"{name:58} | {limit:>12} | {reached:>12} | {verdict}", flush=True)

    def at_most(self, name: str, limit: float, reached: float, unit: str = "") -> None:
        ok = reached <= limit
        self.missed += not ok
        self._row(name, f"<= {limit:g}{unit}", _figure(reached, unit), _verdict(ok))

    def at_least(self, name: str, limit: float, reached: float, unit: str = "") -> None:
        ok = reached >= limit
        self.missed += not ok
        self._row(name, f">= {limit:g}{unit}", _figure(reached, unit), _verdict(ok))

    def info(self, name: str, reached: float, unit: str = "") -> None:
        self._row(name, "", _figure(reached, unit), "")

    def skipped(self, name: str, reason: str) -> None:
        self._row(name, "", "skipped", reason)


def _figure(value: float, unit: str) -> str:
    return f"{value:.4g}{unit}" if abs(value) < 1000 else f"{value:.0f}{unit}"


def _verdict(ok: bool) -> str:
    return "ok" if ok else "MISSED"


def to_pcm(sound: Sound) -> bytes:
    return np.rint(sound).clip(-32768, 32767).astype("<i2").tobytes()


def to_sound(pcm: bytes) -> Sound:
    return np.frombuffer(pcm, "<i2").astype(np.float64)


def framed(resampler: Resampler, pcm: bytes, rate: int) -> bytes:
    """As in a call: in frames of 20 ms."""
    size = rate // 25
    return b"".join(
        resampler.process(pcm[at : at + size]) for at in range(0, len(pcm), size)
    )


def through(rate_in: int, rate_out: int, sound: Sound) -> Sound:
    return to_sound(framed(Resampler(rate_in, rate_out), to_pcm(sound), rate_in))


def per_frame(rate_in: int, rate_out: int, sound: Sound) -> Sound:
    """The usual recipe, for comparison: each frame by itself."""
    divisor = math.gcd(rate_in, rate_out)
    up, down, size = rate_out // divisor, rate_in // divisor, rate_in // 50
    x = to_sound(to_pcm(sound))
    parts = [
        signal.resample_poly(x[at : at + size], up, down)
        for at in range(0, len(x), size)
    ]
    return to_sound(to_pcm(np.concatenate(parts)))


# Tones


def tone(frequency: float, rate: int, seconds: float = 1.0) -> Sound:
    n = np.arange(int(rate * seconds))
    return to_sound(to_pcm(16384 * np.sin(2 * np.pi * frequency * n / rate)))


def gain_and_sinad(sound: Sound, frequency: float, rate: int) -> tuple[float, float]:
    """@return: Both in dB; all that is not the tone counts as noise and distortion."""
    steady = sound[rate // 10 :]
    angle = 2 * np.pi * frequency * np.arange(len(steady)) / rate
    basis = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    weights = np.linalg.lstsq(basis, steady, rcond=None)[0]
    fitted = basis @ weights
    residue = float(((steady - fitted) ** 2).mean())
    gain = 20 * math.log10(float(np.hypot(*weights)) / 16384)
    return gain, 10 * math.log10(float((fitted**2).mean()) / residue)


def measure_tones(table: Table) -> None:
    frequencies = [*range(203, 3400, 100), 3400]
    for rate_in, rate_out, limit in ((8000, 24000, 70), (24000, 8000, 85)):
        measured = [
            gain_and_sinad(
                through(rate_in, rate_out, tone(frequency, rate_in)),
                frequency,
                rate_out,
            )
            for frequency in frequencies
        ]
        name = f"{rate_in // 1000} -> {rate_out // 1000} kHz, tones 203-3400 Hz"
        gain = max((abs(gain) for gain, _ in measured))
        table.at_most(f"{name}: gain error", 0.05, gain, " dB")
        table.at_least(f"{name}: SINAD", limit, min(s for _, s in measured), " dB")
    aliases = []
    for frequency in (4600, *range(4603, 11904, 100)):
        x = tone(frequency, 24000)
        power = float((through(24000, 8000, x)[800:] ** 2).mean())
        aliases.append(10 * math.log10(max(power, 1e-9) / float((x**2).mean())))
    table.at_most("24 -> 8 kHz, tones 4600-11903 Hz", -75, max(aliases), " dB")


# Time


def measure_delay(table: Table) -> None:
    for low in (8000, 12000, 16000):
        for rate_in, rate_out in ((low, 24000), (24000, low)):
            size = rate_in // 100
            x = np.zeros(size * 4)
            x[size] = 30000
            y = through(rate_in, rate_out, x)
            centre = float((np.arange(len(y)) * y).sum() / y.sum()) / rate_out
            delay = round(1e3 * centre - 10.0, 3)
            name = f"{rate_in // 1000} -> {rate_out // 1000} kHz: delay"
            table.at_most(name, round(16e3 / low, 3), delay, " ms")


def measure_splits(table: Table) -> None:
    chance, different = random.Random(1), 0
    noise = np.random.default_rng(1).normal(0, 7000, 24000)
    pcm = to_pcm(noise)
    for rate_in, rate_out in ((8000, 24000), (24000, 8000), (16000, 24000)):
        whole = Resampler(rate_in, rate_out).process(pcm)
        for _ in range(50):
            resampler, parts, at = Resampler(rate_in, rate_out), [], 0
            while at < len(pcm):
                size = chance.choice((0, 1, 2, 3, 37, 320, 960, 5000))
                parts.append(resampler.process(pcm[at : at + size]))
                at += size
            different += b"".join(parts) != whole
    table.at_most("random splits (150) that change the output", 0, different)


def cpu_us(function: Callable[[], object], rounds: int) -> float:
    for _ in range(rounds // 10):
        function()
    best = math.inf
    for _ in range(5):
        start = time.process_time()
        for _ in range(rounds):
            function()
        best = min(best, time.process_time() - start)
    return best / rounds * 1e6


def recipe(up: int, down: int, frame: bytes) -> bytes:
    return to_pcm(signal.resample_poly(to_sound(frame), up, down))


def measure_cpu(table: Table) -> None:
    noise = np.random.default_rng(1).normal(0, 3000, 24000)
    for rate_in, rate_out in ((8000, 24000), (24000, 8000)):
        resampler = Resampler(rate_in, rate_out)
        frame = to_pcm(noise[: rate_in // 50])
        piece = to_pcm(noise[: rate_in // 5])
        up, down = (3, 1) if rate_out > rate_in else (1, 3)
        one = cpu_us(partial(resampler.process, frame), 3000)
        ten = cpu_us(partial(resampler.process, piece), 500) / 10
        usual = cpu_us(partial(recipe, up, down, frame), 500)
        name = f"{rate_in // 1000} -> {rate_out // 1000} kHz, CPU per 20 ms"
        table.at_most(name, 60, one, " us")
        table.info(f"{name}, in pieces of 200 ms", ten, " us")
        table.info(f"{name}, resample_poly takes x times that", usual / one)
    frame = to_pcm(noise[:160])
    coded = ulaw_encode(frame)
    table.info(
        "mu-law encode, CPU per 20 ms", cpu_us(partial(ulaw_encode, frame), 5000), " us"
    )
    table.info(
        "mu-law decode, CPU per 20 ms", cpu_us(partial(ulaw_decode, coded), 5000), " us"
    )


def measure_gate_cpu(table: Table) -> None:
    rng = np.random.default_rng(1)
    for name, rms, threshold in (("open", 3000, 200), ("shut", 50, 32767)):
        frame = to_pcm(rng.normal(0, rms, 160))
        passed = partial(Gate(8000, threshold).process, frame)
        table.at_most(
            f"noise gate, {name}, CPU per 20 ms", 20, cpu_us(passed, 5000), " us"
        )


# G.711


def measure_g711(table: Table) -> None:
    codes = bytes(range(256))
    changed = sum(
        a != b for a, b in zip(alaw_encode(alaw_decode(codes)), codes, strict=True)
    )
    table.at_most("A-law codes changed by decoding and coding", 0, changed)
    again = ulaw_encode(ulaw_decode(codes))
    changed = sum(a != b for a, b in zip(again, codes, strict=True))
    table.at_most("mu-law codes changed (the negative zero)", 1, changed)
    for name, encode, decode in (
        ("mu-law", ulaw_encode, ulaw_decode),
        ("A-law", alaw_encode, alaw_decode),
    ):
        worst = math.inf
        for level in range(-30, -4, 2):
            x = to_sound(to_pcm(tone(1020, 8000) * 10 ** ((level + 9.03) / 20)))
            noise = to_sound(decode(encode(to_pcm(x)))) - x
            worst = min(worst, 10 * math.log10((x**2).mean() / (noise**2).mean()))
        # ITU-T G.712 wants 33 dB of a whole channel from 0 to -30 dBm0.
        table.at_least(f"{name}, tone of -30..-6 dBFS: SNR", 33, worst, " dB")


# Speech


def active_level(sound: Sound, rate: int) -> float:
    """RMS of the frames within 30 dB of the loudest one, in dBFS."""
    size = rate // 50
    power = (sound[: len(sound) // size * size].reshape(-1, size) ** 2).mean(axis=1)
    active = power[power > power.max() / 1000]
    return 10 * math.log10(float(active.mean()) / 2**30)


def joined(sounds: Iterator[Sound], rate: int, count: int) -> list[Sound]:
    """Clips of 8 s or a little more: prompts with pauses between, at one level."""
    clips: list[Sound] = []
    parts: list[Sound] = []
    for sound in sounds:
        if len(sound) < rate or np.abs(sound).max() < 1000:
            continue  # single words and silences
        parts += [sound, np.zeros(int(PAUSE * rate))]
        if sum(map(len, parts)) >= CLIP_SECONDS * rate:
            clip = np.concatenate(parts)[: int((CLIP_SECONDS + 1) * rate)]
            clip *= 10 ** ((SPEECH_LEVEL - active_level(clip, rate)) / 20)
            clips.append(to_sound(to_pcm(clip)))
            parts = []
            if len(clips) == count:
                break
    return clips


def wav_sounds(files: list[Path]) -> Iterator[Sound]:
    for file in files:
        try:
            rate, pcm = read_wav(file)
        except WavError:
            continue
        if rate == 8000:
            yield to_sound(pcm)


def wide_sounds(files: list[Path], g722: Any) -> Iterator[Sound]:
    """G.722 prompts as a voice service would give them: at 24 kHz."""
    for file in files:
        decoded = g722.G722(16000, 64000).decode(file.read_bytes())
        yield signal.resample(np.asarray(decoded, np.float64), len(decoded) * 3 // 2)


def fetched() -> Path | None:
    """Debian's recorded prompts, once for all runs."""
    folder = Path(tempfile.gettempdir()) / "portero-prompts"
    if folder.is_dir():
        return folder
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        return None
    with tempfile.TemporaryDirectory() as work:
        command = ["apt-get", "-q", "download", *PACKAGES]
        if subprocess.run(command, cwd=work, capture_output=True).returncode:
            return None
        unpacked = Path(work) / "unpacked"
        for package in Path(work).glob("*.deb"):
            subprocess.run(["dpkg", "-x", str(package), str(unpacked)], check=True)
        shutil.move(unpacked, folder)
    return folder


def importable(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


class Judge:
    """Scores a clip of 8 kHz against its reference, delay taken out."""

    def __init__(self, pesq: Any, stoi: Any) -> None:
        self._pesq = pesq
        self._stoi = stoi

    def pesq(self, reference: Sound, sound: Sound, delay: int = 0) -> float:
        a, b = self._aligned(reference, sound, delay)
        return float(self._pesq.pesq(8000, a, b, "nb"))

    def stoi(self, reference: Sound, sound: Sound, delay: int = 0) -> float:
        return float(self._stoi.stoi(*self._aligned(reference, sound, delay), 8000))

    def _aligned(self, a: Sound, b: Sound, delay: int) -> tuple[Sound, Sound]:
        length = min(len(a), len(b) - delay)
        return a[:length] / 32768, b[delay : delay + length] / 32768


def ulaw(sound: Sound) -> Sound:
    return to_sound(ulaw_decode(ulaw_encode(to_pcm(sound))))


def mean(scores: list[float]) -> float:
    return sum(scores) / len(scores)


def measure_narrow(table: Table, judge: Judge, clips: list[Sound]) -> None:
    both = 32  # delay of both directions, in samples of 8 kHz
    there = [through(24000, 8000, through(8000, 24000, x)) for x in clips]
    pairs = list(zip(clips, there, strict=True))
    scores = [judge.pesq(x, y, both) for x, y in pairs]
    same = [judge.pesq(x, x) for x in clips]
    table.info("PESQ, identity, mean", mean(same))
    table.at_least("PESQ, 8 -> 24 -> 8 kHz, mean", 4.50, mean(scores))
    table.at_least("PESQ, 8 -> 24 -> 8 kHz, worst clip", 4.45, min(scores))
    intelligible = min(judge.stoi(x, y, both) for x, y in pairs)
    table.at_least("STOI, 8 -> 24 -> 8 kHz, worst clip", 0.998, intelligible)
    alone = mean([judge.pesq(x, ulaw(x)) for x in clips])
    table.info("PESQ, mu-law alone, mean", alone)
    coded = mean(
        [
            judge.pesq(
                x, ulaw(through(24000, 8000, through(8000, 24000, ulaw(x)))), both
            )
            for x in clips
        ]
    )
    table.at_most("PESQ lost: mu-law -> 8 -> 24 -> 8 -> mu-law", 0.02, alone - coded)
    usual = mean(
        [
            judge.pesq(x, ulaw(per_frame(24000, 8000, per_frame(8000, 24000, ulaw(x)))))
            for x in clips
        ]
    )
    table.info("PESQ lost by resample_poly per frame, the same", alone - usual)


def measure_wide(table: Table, judge: Judge, clips: list[Sound]) -> None:
    ideal = [to_sound(to_pcm(_decimated(x))) for x in clips]
    best = mean([judge.pesq(r, ulaw(r)) for r in ideal])
    ours = mean(
        [
            judge.pesq(r, ulaw(through(24000, 8000, x)), 16)
            for r, x in zip(ideal, clips, strict=True)
        ]
    )
    usual = mean(
        [
            judge.pesq(r, ulaw(per_frame(24000, 8000, x)))
            for r, x in zip(ideal, clips, strict=True)
        ]
    )
    table.info("PESQ, 24 kHz voice, ideal decimator, mu-law", best)
    table.at_most("PESQ lost: 24 kHz voice -> 8 -> mu-law", 0.02, best - ours)
    table.info("PESQ lost by resample_poly per frame, the same", best - usual)


def _decimated(sound: Sound) -> Sound:
    """By a filter that is much too long for a call: flat to 3.9 kHz, -100 dB at 4."""
    taps = signal.firwin(4801, 3950, window=("kaiser", 10.0), fs=24000)
    decimated: Sound = signal.fftconvolve(sound, taps)[2400 : 2400 + len(sound) : 3]
    return decimated


def powers(sound: Sound) -> Sound:
    """Mean square of each 20 ms."""
    frames = sound[: len(sound) // 160 * 160].reshape(-1, 160)
    squares: Sound = (frames**2).mean(axis=1)
    return squares


def gated(sound: Sound) -> Sound:
    gate = Gate(8000, GATE_THRESHOLD)
    return to_sound(gate.process(to_pcm(sound)))


def hard_gated(sound: Sound) -> Sound:
    """The usual recipe, for comparison: silence below an RMS of 200."""
    frames = sound[: len(sound) // 160 * 160].reshape(-1, 160)
    return (frames * (powers(sound) >= 200**2)[:, np.newaxis]).ravel()


def measure_gate(table: Table, judge: Judge, clips: list[Sound]) -> None:
    """Speech of loud and quiet callers on a clean line, where it should do nothing."""
    soft, hard, deepest, active, lowered = [], [], 0.0, 0, 0
    for level in GATE_LEVELS:
        gain = 10 ** ((level - SPEECH_LEVEL) / 20)
        quiet = [to_sound(to_pcm(clip * gain)) for clip in clips]
        lost = [judge.pesq(x, x) - judge.pesq(x, gated(x)) for x in quiet]
        soft.append(mean(lost))
        table.info(f"noise gate, speech of {level:g} dBFS: PESQ lost, worst", max(lost))
        hard.append(
            mean([judge.pesq(x, x) - judge.pesq(x, hard_gated(x)) for x in quiet])
        )
        for x in quiet:
            before, after = powers(x), powers(gated(x))
            speech = before[: len(after)] > before.max() / 1000
            depth = 10 * np.log10(before[: len(after)][speech] / after[speech])
            deepest = max(deepest, float(depth.max()))
            active += len(depth)
            lowered += int(np.count_nonzero(depth > 1))
    table.at_most("noise gate: PESQ lost, mean at the worst level", 0.05, max(soft))
    table.info("... by a hard gate at RMS 200, the same", max(hard))
    table.at_most("noise gate: most taken off an active frame", 12, deepest, " dB")
    table.info("noise gate: active frames lowered, per cent", 100 * lowered / active)


def measure_guesses(table: Table, clips: list[Sound]) -> None:
    """Which coding is it, from 300 ms anywhere in speech?"""
    wrong = unsure = asked = 0
    for clip in clips:
        for level in (0, -14):
            pcm = to_pcm(clip * 10 ** (level / 20))
            wide = Resampler(8000, 24000).process(pcm)
            for truth, data, bytes_per_ms in (
                ("pcm", pcm, 16),
                ("pcm", wide, 48),
                ("pcmu", ulaw_encode(pcm), 8),
                ("pcma", alaw_encode(pcm), 8),
            ):
                size = 300 * bytes_per_ms
                for at in range(0, len(data) - size, size):
                    guess = guess_coding(data[at : at + size])
                    asked += 1
                    wrong += guess not in (truth, "unsure")
                    unsure += guess == "unsure"
    table.at_most(f"codings guessed wrongly, of {asked} pieces of 300 ms", 0, wrong)
    table.info("codings not guessed (constant silence), per cent", 100 * unsure / asked)


def measure_speech(table: Table, prompts: Path | None, count: int) -> None:
    if prompts is None:
        table.skipped("speech", "no prompts: give --prompts, or run on Debian")
        return
    files = sorted(prompts.rglob("*.wav"))
    random.Random(1).shuffle(files)
    clips = joined(wav_sounds(files), 8000, count)
    if not clips:
        table.skipped("speech", f"no WAV prompts of 8 kHz in {prompts}")
        return
    measure_guesses(table, clips)
    pesq, stoi, g722 = map(importable, ("pesq", "pystoi", "G722"))
    if not (pesq and stoi):
        table.skipped("PESQ and STOI", "pip install pesq pystoi G722")
        return
    judge = Judge(pesq, stoi)
    measure_narrow(table, judge, clips)
    measure_gate(table, judge, clips)
    coded = sorted(prompts.rglob("*.g722"))
    random.Random(1).shuffle(coded)
    if not (g722 and coded):
        table.skipped("voice of 24 kHz", "needs *.g722 prompts and pip install G722")
        return
    measure_wide(table, judge, joined(wide_sounds(coded, g722), 24000, count))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().split("\n")[0])
    parser.add_argument("--prompts", type=Path, help="folder of recorded prompts")
    parser.add_argument("--clips", type=int, default=12, help="of 8 s, for each rate")
    options = parser.parse_args()
    table = Table()
    measure_tones(table)
    measure_delay(table)
    measure_splits(table)
    measure_cpu(table)
    measure_gate_cpu(table)
    measure_g711(table)
    measure_speech(table, options.prompts or fetched(), options.clips)
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())

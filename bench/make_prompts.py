"""
Make the spoken files of L{portero.prompts} anew, with espeak-ng.

Usage: C{python bench/make_prompts.py [FOLDER]}. Needs the program C{espeak-ng}; the
folder is C{portero/prompts} unless given. The files are G.711 mu-law WAV (format 7) at
16 kHz, mono: half the size of 16-bit PCM, and every
player knows them.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from portero.audio import read_wav, ulaw_encode
from portero.prompts import WORDS
from portero.resample import Resampler

RATE = 16000
VOICES = {"en": "en-us", "es": "es"}
WORDS_A_MINUTE = 165
ACTIVE_DBFS = -20.0
"""RMS of the parts that are speech; telephone speech is nominally at -26 to -20."""
PEAK = 0.89
"""The highest sample allowed, of full scale: the level gives way to it."""
EDGE_MS = 40
"""Silence left at each end, so that no consonant is cut."""

Samples = npt.NDArray[np.float64]


def speak(text: str, voice: str) -> Samples:
    """
    @return: What espeak-ng says, at L{RATE}, full scale being 1.
    """
    command = ["espeak-ng", "-v", voice, "-s", str(WORDS_A_MINUTE), "--stdout", text]
    wav = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    # Into a pipe espeak-ng cannot write the true length: all after the header is sound.
    rate = struct.unpack_from("<I", wav, 24)[0]
    return np.frombuffer(Resampler(rate, RATE).process(wav[44:]), "<i2") / 32768


def loud(samples: Samples) -> npt.NDArray[np.bool_]:
    """
    @return: For each 20 ms, whether it is within 35 dB of the loudest.
    """
    frame = RATE // 50
    cut = samples[: len(samples) // frame * frame].reshape(-1, frame)
    power = (cut**2).mean(axis=1)
    return np.asarray(power > power.max() * 10**-3.5)


def trimmed(samples: Samples) -> Samples:
    """
    @return: The part from the first loud frame to the last, with short edges.
    """
    frame, edge = RATE // 50, RATE * EDGE_MS // 1000
    where = np.flatnonzero(loud(samples))
    first, last = int(where[0]) * frame, (int(where[-1]) + 1) * frame
    return samples[max(first - edge, 0) : last + edge]


def levelled(samples: Samples) -> Samples:
    """
    @return: The same at L{ACTIVE_DBFS}, or lower where L{PEAK} would be passed.
    """
    frame = RATE // 50
    active = np.repeat(loud(samples), frame)
    rms = float(np.sqrt((samples[: len(active)][active] ** 2).mean()))
    gain = 10 ** (ACTIVE_DBFS / 20) / rms
    return samples * min(gain, PEAK / float(np.abs(samples).max()))


def ulaw_wav(samples: Samples) -> bytes:
    """
    @return: A WAV file of format 7, with the C{fact} chunk that format asks for.
    """
    pcm = np.rint(samples * 32767).astype("<i2").tobytes()
    body = ulaw_encode(pcm)
    count = len(body)
    shape = struct.pack("<HHIIHHH", 7, 1, RATE, RATE, 1, 8, 0)
    chunks = b"".join(
        kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
        for kind, data in (
            (b"fmt ", shape),
            (b"fact", struct.pack("<I", count)),
            (b"data", body),
        )
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def main() -> None:
    folder = Path(__file__).parent.parent / "portero" / "prompts"
    if len(sys.argv) > 1:
        folder = Path(sys.argv[1])
    for language, texts in WORDS.items():
        for name, text in texts.items():
            path = folder / f"{name}.{language}.wav"
            samples = levelled(trimmed(speak(text, VOICES[language])))
            path.write_bytes(ulaw_wav(samples))
            rate, pcm = read_wav(path.read_bytes())
            print(f"{path.name:22} {len(pcm) / 2 / rate:5.2f} s")


if __name__ == "__main__":
    main()

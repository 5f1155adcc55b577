"""The peaks of a recording, for a picture of it; kept beside it once they are known."""

from __future__ import annotations

import json
import os
import wave
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np

SUFFIX: Final = ".peaks"
STEPS: Final = 2000
"""At most, whatever the length."""
SHORTEST_STEP: Final = 20
"""In ms."""
_AT_ONCE: Final = 64
"""Steps that are read together."""


def of(path: str) -> dict[str, Any]:
    """
    Waits for a disk.

    @param path: A WAV file with 16 bits and two channels: caller and agent.
    @return: C{seconds}, C{step_ms}, and of each step the peaks of C{caller} and
        C{agent}: linear, 0 to 100.
    @raise OSError: It cannot be read.
    @raise ValueError: It is no such file.
    """
    beside = Path(path + SUFFIX)
    # It is that of the whole file, not of one that was still being written.
    with suppress(OSError, ValueError):
        if beside.stat().st_mtime_ns >= os.stat(path).st_mtime_ns:
            kept: dict[str, Any] = json.loads(beside.read_bytes())
            return kept
    found = _measure(path)
    with suppress(OSError):
        _keep(beside, json.dumps(found, separators=(",", ":")).encode())
    return found


def _measure(path: str) -> dict[str, Any]:
    try:
        with wave.open(path, "rb") as file:
            rate, length = file.getframerate(), file.getnframes()
            if (file.getnchannels(), file.getsampwidth()) != (2, 2) or not rate:
                raise ValueError("it is no recording: 16 bits and two channels")
            seconds = length / rate
            steps = -(-seconds * 1000 // (STEPS * SHORTEST_STEP))
            step_ms = max(1, int(steps)) * SHORTEST_STEP
            step = rate * step_ms // 1000
            peaks: list[Any] = []
            while piece := file.readframes(step * _AT_ONCE):
                peaks.append(_peaks(piece, step))
    except (wave.Error, EOFError) as error:
        raise ValueError(f"it is no WAV file: {error}") from None
    both = np.concatenate(peaks) if peaks else np.zeros((0, 2))
    caller, agent = np.rint(both * (100 / 32768)).astype(int).T.tolist()
    return {
        "seconds": round(seconds, 3),
        "step_ms": step_ms,
        "caller": caller,
        "agent": agent,
    }


def _peaks(piece: bytes, step: int) -> Any:
    """@return: A row of two for each step; the last one may be shorter."""
    samples = np.abs(np.frombuffer(piece, "<i2").reshape(-1, 2).astype(np.int32))
    return np.maximum.reduceat(samples, np.arange(0, len(samples), step))


def _keep(path: Path, content: bytes) -> None:
    """@raise OSError: It is not kept, or not whole, which does not count."""
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(content)
    os.replace(new, path)

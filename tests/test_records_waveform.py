"""The picture of a recording."""

from __future__ import annotations

import os
import wave
from pathlib import Path

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from portero.records import waveform
from portero.records.waveform import STEPS, SUFFIX


class WaveformTests(SynchronousTestCase):
    def file(self, caller: list[int], agent: list[int], each: int = 160) -> str:
        """
        @param caller: Of each 20 ms at 8 kHz, the highest sample.
        """
        both = np.zeros((len(caller) * each, 2), "<i2")
        both[::each, 0], both[each - 1 :: each, 1] = caller, agent
        path = str(self.mktemp())
        with wave.open(path, "wb") as file:
            file.setparams((2, 2, 8000, 0, "NONE", ""))
            file.writeframes(both.tobytes())
        return path

    def test_peaks_of_both_sides(self) -> None:
        path = self.file([0, 32767, -32768, 328], [16384, 0, 0, 0])
        self.assertEqual(
            waveform.of(path),
            {
                "seconds": 0.08,
                "step_ms": 20,
                "caller": [0, 100, 100, 1],
                "agent": [50, 0, 0, 0],
            },
        )

    def test_a_step_that_is_cut_short_counts(self) -> None:
        path = self.file([0, 32767], [0, 0])
        with wave.open(path, "rb") as file:
            start = file.readframes(200)
        with wave.open(path, "wb") as file:
            file.setparams((2, 2, 8000, 0, "NONE", ""))
            file.writeframes(start)
        self.assertEqual(waveform.of(path)["caller"], [0, 100])

    def test_a_long_one_has_longer_steps(self) -> None:
        found = waveform.of(self.file([0] * (STEPS * 2 + 1), [0] * (STEPS * 2 + 1)))
        self.assertEqual(found["step_ms"], 60)
        self.assertEqual(len(found["caller"]), STEPS * 2 // 3 + 1)

    def test_an_empty_one(self) -> None:
        found = waveform.of(self.file([], []))
        self.assertEqual((found["seconds"], found["caller"]), (0, []))

    def test_it_is_measured_once(self) -> None:
        path = self.file([100, 200], [300, 400])
        found = waveform.of(path)
        self.assertEqual(os.stat(path + SUFFIX).st_mode & 0o777, 0o600)
        self.patch(waveform, "_measure", None)
        self.assertEqual(waveform.of(path), found)

    def test_and_again_when_there_is_more(self) -> None:
        path = self.file([100], [100])
        waveform.of(path)
        os.rename(self.file([100, 200], [300, 400]), path)
        later = os.stat(path + SUFFIX).st_mtime + 5
        os.utime(path, (later, later))
        self.assertEqual(len(waveform.of(path)["caller"]), 2)

    def test_peaks_that_were_spoilt_are_measured_again(self) -> None:
        path = self.file([100], [32767])
        Path(path + SUFFIX).write_text("{")
        self.assertEqual(waveform.of(path)["agent"], [100])

    def test_what_is_no_recording_is_refused(self) -> None:
        path = Path(self.mktemp())
        for content in (b"", b"RIFF", b"Dear diary" * 10):
            path.write_bytes(content)
            self.assertRaises(ValueError, waveform.of, str(path))
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 8000, 0, "NONE", ""))
            file.writeframes(bytes(320))
        self.assertRaises(ValueError, waveform.of, str(path))
        self.assertRaises(OSError, waveform.of, self.mktemp())

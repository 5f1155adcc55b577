"""Tests of L{portero.tones}, with a detector that knows only the standard."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from twisted.trial.unittest import SynchronousTestCase

from portero import tones
from portero.audio import (
    alaw_decode,
    alaw_encode,
    level_dbfs,
    peak,
    ulaw_decode,
    ulaw_encode,
)

ROWS: Final = {697: "123A", 770: "456B", 852: "789C", 941: "*0#D"}
COLUMNS: Final = (1209, 1336, 1477, 1633)
BLOCK: Final = 0.02
"""Seconds: two of them lie within each tone and each pause."""
ALL: Final = "0123456789ABCD*#"

Wave = NDArray[np.float64]


def goertzel(block: Wave, hertz: float, rate: int) -> float:
    """@return: The mean power at one frequency; of a full-scale sine 0.5."""
    turn = 2 * math.cos(2 * math.pi * hertz / rate)
    last = before = 0.0
    for sample in block:
        last, before = float(sample) + turn * last - before, last
    power = last * last + before * before - turn * last * before
    return 2 * power / len(block) ** 2


def key_in(block: Wave, rate: int) -> str:
    """
    By ITU-T Q.24 and its table A-1, as the American administration has it: -25 dBm and
    more, the higher at most 4 dB louder and 8 dB softer, and no other tone beside.

    @return: Empty when there is none.
    """
    rows = {f: goertzel(block, f, rate) for f in ROWS}
    columns = {f: goertzel(block, f, rate) for f in COLUMNS}
    row, column = max(rows, key=rows.__getitem__), max(columns, key=columns.__getitem__)
    low, high = rows[row], columns[column]
    if min(low, high) < 10 ** ((-25 - 3.14) / 10) / 2:
        return ""
    if not -8 <= 10 * math.log10(high / low) <= 4:
        return ""
    if low + high < 0.6 * float(np.mean(block * block)):
        return ""
    return ROWS[row][COLUMNS.index(column)]


def detect(pcm: bytes, rate: int) -> str:
    """@return: The keys; one counts when it lasts two blocks, as a pause does."""
    wave = np.frombuffer(pcm, "<i2") / 32768
    size = round(BLOCK * rate)
    found = [
        key_in(wave[start : start + size], rate)
        for start in range(0, len(wave) - size + 1, size)
    ]
    keys, now = "", ""
    for first, second in pairwise(found):
        if first == second and first != now:
            keys, now = keys + first, first
    return keys


def louder(pcm: bytes, db: float) -> bytes:
    wave = np.frombuffer(pcm, "<i2") * 10 ** (db / 20)
    return np.rint(np.clip(wave, -32768, 32767)).astype("<i2").tobytes()


class DetectorTests(SynchronousTestCase):
    """What finds everything proves nothing."""

    def test_it_finds_no_key_in_speech_like_noise_or_one_tone(self) -> None:
        random = np.random.default_rng(1)
        when = np.arange(8000) / 8000
        for wave in (
            random.normal(0, 3000, 8000),
            8000 * np.sin(2 * np.pi * 697 * when),
            np.zeros(8000),
            4000 * np.sin(2 * np.pi * 750 * when)
            + 4000 * np.sin(2 * np.pi * 1400 * when),
        ):
            self.assertEqual(detect(wave.astype("<i2").tobytes(), 8000), "")

    def test_it_measures_a_sine(self) -> None:
        wave = np.sin(2 * np.pi * 770 * np.arange(1600) / 8000)
        self.assertApproximates(goertzel(wave, 770, 8000), 0.5, 0.01)


class TonesTests(SynchronousTestCase):
    def test_each_key_is_heard_as_itself_at_any_rate(self) -> None:
        for rate in (8000, 11025, 16000, 24000, 48000):
            self.assertEqual(detect(tones.dtmf(ALL, rate), rate), ALL, str(rate))

    def test_the_same_key_twice_is_heard_twice(self) -> None:
        self.assertEqual(detect(tones.dtmf("1100##", 8000), 8000), "1100##")

    def test_they_are_heard_through_both_laws_at_several_levels(self) -> None:
        for encode, decode in ((ulaw_encode, ulaw_decode), (alaw_encode, alaw_decode)):
            for db in (3, 0, -5, -10, -15):
                line = decode(encode(louder(tones.dtmf(ALL, 8000), db)))
                self.assertEqual(detect(line, 8000), ALL, f"{decode.__name__} {db} dB")

    def test_they_are_heard_in_noise(self) -> None:
        """15 dB below them, as ITU-T Q.24 has it in annex A."""
        pcm = tones.dtmf(ALL, 8000)
        noise = np.random.default_rng(7).normal(0, 1, len(pcm) // 2)
        noise *= 32768 * 10 ** ((-5.0 - 3.14 - 3 - 15) / 20)
        line = (np.frombuffer(pcm, "<i2") + noise).astype("<i2").tobytes()
        self.assertEqual(detect(ulaw_decode(ulaw_encode(line)), 8000), ALL)

    def test_the_levels_are_as_meant_and_the_higher_tone_is_louder(self) -> None:
        for rate in (8000, 16000):
            pcm = tones.dtmf("5", rate)
            wave = np.frombuffer(pcm, "<i2") / 32768
            middle = wave[round(0.12 * rate) : round(0.18 * rate)]
            for hertz, dbm0 in ((770, -9.0), (1336, -7.0)):
                found = 10 * math.log10(2 * goertzel(middle, hertz, rate)) + 3.14
                self.assertApproximates(found, dbm0, 0.3)
            self.assertLess(peak(pcm), 20000)

    def test_tones_and_pauses_last_what_the_standard_asks_for(self) -> None:
        rate = 8000
        wave = np.abs(np.frombuffer(tones.dtmf("12", rate), "<i2").astype(float))
        size = rate // 1000
        loud = [
            float(wave[start : start + 4 * size].max()) > 1000
            for start in range(0, len(wave), size)
        ]
        changes = [at for at in range(1, len(loud)) if loud[at] != loud[at - 1]]
        on, off, again, end = changes
        for ms in (off - on, end - again, again - off, on, len(loud) - end):
            self.assertGreaterEqual(ms, 90)
            self.assertLessEqual(ms, 110)

    def test_they_do_not_click(self) -> None:
        """At 24 kHz, all that is far from the tones is far below them."""
        rate = 24000
        wave = np.frombuffer(tones.dtmf("D", rate), "<i2") / 32768
        spectrum = np.abs(np.fft.rfft(wave)) ** 2
        hertz = np.fft.rfftfreq(len(wave), 1 / rate)
        beyond = spectrum[(hertz > 3000) | (hertz < 300)].sum() / spectrum.sum()
        self.assertLess(10 * math.log10(beyond), -50)

    def test_it_begins_and_ends_with_silence(self) -> None:
        pcm = tones.dtmf("7", 8000)
        self.assertEqual(len(pcm), 2 * 8000 * 3 // 10)
        for edge in (pcm[:1600], pcm[-1600:]):
            self.assertEqual(level_dbfs(edge), -96.0)

    def test_another_sign_is_refused(self) -> None:
        for digits in ("E", "1 2", "a", "٣"):
            self.assertRaises(ValueError, tones.dtmf, digits, 8000)

    @settings(deadline=None, max_examples=30)
    @given(st.text(ALL, min_size=1, max_size=8), st.sampled_from([8000, 16000]))
    def test_whatever_is_sent_is_heard(self, digits: str, rate: int) -> None:
        self.assertEqual(detect(tones.dtmf(digits, rate), rate), digits)

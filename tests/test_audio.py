"""Tests for L{portero.audio}."""

from __future__ import annotations

import contextlib
import importlib
import os
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from portero.audio import (
    SILENCE_DBFS,
    WavError,
    alaw_decode,
    alaw_encode,
    fade_in,
    fade_out,
    guess_coding,
    level_dbfs,
    peak,
    read_wav,
    silence,
    ulaw_decode,
    ulaw_encode,
    write_wav,
)
from portero.resample import Resampler
from tests.parts import need

ALL_SAMPLES = np.arange(-32768, 32768).astype("<i2")
ALL_CODES = bytes(range(256))


def values(pcm: bytes) -> list[int]:
    return list(map(int, np.frombuffer(pcm, "<i2")))


def pcm_of(samples: NDArray[Any] | list[int]) -> bytes:
    return np.rint(samples).clip(-32768, 32767).astype("<i2").tobytes()


def ulaw_tables() -> tuple[list[int], list[int]]:
    """
    Decision and output values of G.711 tables 2a and 2b, for 14 bits: eight segments
    of sixteen steps, the first of which begins with a half step.
    """
    decisions, outputs, edge = [0], [0], 1
    for segment in range(8):
        step = 2 << segment
        for _ in range(15 if segment == 0 else 16):
            decisions.append(edge)
            outputs.append(edge + step // 2)
            edge += step
    return decisions, outputs


def alaw_tables() -> tuple[list[int], list[int]]:
    """The same of tables 1a and 1b, for 13 bits; outputs doubled, to be integers."""
    decisions, outputs, edge = [], [], 0
    for segment in range(8):
        step = 1 << max(segment - 1, 0)
        for _ in range(16):
            decisions.append(2 * edge)
            outputs.append(2 * edge + step)
            edge += step
    return decisions, outputs


class G711Tests(SynchronousTestCase):
    def test_ulaw_codes_are_those_of_the_tables_of_the_standard(self) -> None:
        decisions, _ = ulaw_tables()
        coded = ulaw_encode(ALL_SAMPLES.tobytes())
        for sample, code in zip(ALL_SAMPLES.tolist(), coded, strict=True):
            number = max(n for n in range(128) if 4 * decisions[n] <= abs(sample))
            wanted = (0x7F if sample < 0 else 0xFF) - number
            self.assertEqual(code, wanted, sample)

    def test_ulaw_values_are_those_of_the_tables_of_the_standard(self) -> None:
        _, outputs = ulaw_tables()
        wanted = [-4 * outputs[0x7F - code] for code in range(128)]
        wanted += [4 * outputs[0xFF - code] for code in range(128, 256)]
        self.assertEqual(values(ulaw_decode(ALL_CODES)), wanted)

    def test_alaw_codes_are_those_of_the_tables_of_the_standard(self) -> None:
        decisions, _ = alaw_tables()
        coded = alaw_encode(ALL_SAMPLES.tobytes())
        for sample, code in zip(ALL_SAMPLES.tolist(), coded, strict=True):
            size = -1 - sample if sample < 0 else sample
            number = max(n for n in range(128) if 8 * decisions[n] <= size)
            wanted = (number if sample < 0 else number + 0x80) ^ 0x55
            self.assertEqual(code, wanted, sample)

    def test_alaw_values_are_those_of_the_tables_of_the_standard(self) -> None:
        _, outputs = alaw_tables()
        wanted = []
        for code in range(256):
            number = code ^ 0x55
            size = 8 * outputs[number & 0x7F]
            wanted.append(size if number & 0x80 else -size)
        self.assertEqual(values(alaw_decode(ALL_CODES)), wanted)

    def test_codes_survive_decoding_and_coding_again(self) -> None:
        self.assertEqual(alaw_encode(alaw_decode(ALL_CODES)), ALL_CODES)
        # Mu-law has two zeros and comes back with the positive one.
        wanted = ALL_CODES.replace(b"\x7f", b"\xff")
        self.assertEqual(ulaw_encode(ulaw_decode(ALL_CODES)), wanted)

    def test_the_standard_library_agrees(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                audioop = importlib.import_module("audioop")
            except ImportError:
                raise SkipTest("audioop left the standard library") from None
        pcm = ALL_SAMPLES.tobytes()
        self.assertEqual(alaw_encode(pcm), audioop.lin2alaw(pcm, 2))
        self.assertEqual(alaw_decode(ALL_CODES), audioop.alaw2lin(ALL_CODES, 2))
        self.assertEqual(ulaw_decode(ALL_CODES), audioop.ulaw2lin(ALL_CODES, 2))
        # Its mu-law cuts to 14 bits downwards, so -1 becomes -8; ours is symmetric.
        # On numbers that have 14 bits there is nothing to cut.
        for samples in (ALL_SAMPLES[ALL_SAMPLES >= 0], ALL_SAMPLES[::4]):
            pcm = samples.tobytes()
            self.assertEqual(ulaw_encode(pcm), audioop.lin2ulaw(pcm, 2))


class LevelTests(SynchronousTestCase):
    def test_full_scale_square_is_0_and_sine_is_3_below(self) -> None:
        self.assertAlmostEqual(level_dbfs(pcm_of([32767, -32768] * 80)), 0, 3)
        sine = pcm_of(32767 * np.sin(np.arange(160) * 2 * np.pi / 8))
        self.assertAlmostEqual(level_dbfs(sine), -3.01, 2)

    def test_silence_and_nothing_have_the_lowest_level(self) -> None:
        faint = pcm_of([1] + [0] * 8000)
        for pcm in (b"", silence(160), faint):
            self.assertEqual(level_dbfs(pcm), SILENCE_DBFS)

    def test_peak_of_the_most_negative_sample_is_32768(self) -> None:
        self.assertEqual(peak(pcm_of([5, -32768, 32767])), 32768)
        self.assertEqual(peak(pcm_of([5, -3])), 5)
        self.assertEqual(peak(b""), 0)

    def test_silence_has_two_bytes_a_sample(self) -> None:
        self.assertEqual(silence(3), b"\0" * 6)


class FadeTests(SynchronousTestCase):
    def test_fade_in_rises_and_leaves_the_rest(self) -> None:
        faded = values(fade_in(pcm_of([1000] * 8), 4))
        self.assertEqual(faded, [125, 375, 625, 875, 1000, 1000, 1000, 1000])

    def test_fade_out_is_its_mirror(self) -> None:
        pcm = pcm_of([1000, -2000, 30000, -32768, 7, 32767])
        mirrored = pcm_of(values(pcm)[::-1])
        self.assertEqual(values(fade_out(pcm, 4)), values(fade_in(mirrored, 4))[::-1])

    def test_short_frames_fade_as_a_whole(self) -> None:
        self.assertEqual(values(fade_in(pcm_of([100, 100]), 40)), [25, 75])
        self.assertEqual(values(fade_out(pcm_of([100, 100]), 40)), [75, 25])
        for fade in (fade_in, fade_out):
            self.assertEqual(fade(b"", 40), b"")
            self.assertEqual(fade(b"\1\2", 0), b"\1\2")


def speech(rate: int, seconds: float, seed: int, level: float = -26.0) -> bytes:
    """
    Something like speech: syllables of a harmonic voice whose pitch and three formants
    move, hissing consonants between them and pauses, with a little room noise.

    @param level: In dBFS, of the whole.
    """
    chance = np.random.default_rng(seed)
    total = int(rate * seconds)
    sound = np.zeros(total)
    at = 0
    while at < total:
        length = int(rate * chance.uniform(0.08, 0.25))
        t = np.arange(length) / rate
        shape = np.sin(np.pi * np.arange(length) / length) ** 0.7
        if chance.random() < 0.25:
            part = np.diff(chance.normal(0, 0.15, length + 1))
        else:
            pitch = chance.uniform(90, 240) * (1 + chance.uniform(-0.2, 0.2) * t)
            phase = 2 * np.pi * np.cumsum(pitch) / rate
            formants = chance.uniform((300, 800, 2200), (800, 2000, 3000))
            part = np.zeros(length)
            for harmonic in range(1, int(min(3800, rate * 0.45) / pitch.max())):
                gap = (harmonic * pitch.mean() - formants) / (60, 100, 150)
                part += (1 / (1 + gap**2)).sum() * np.sin(harmonic * phase)
        end = min(at + length, total)
        sound[at:end] = (part * shape)[: end - at]
        at = end + (int(rate * chance.uniform(0, 0.3)) if chance.random() < 0.2 else 0)
    sound *= 32768 * 10 ** (level / 20) / np.sqrt((sound**2).mean())
    return pcm_of(sound + chance.normal(0, 3, total))


def codings(pcm: bytes) -> dict[str, bytes]:
    return {"pcm": pcm, "pcmu": ulaw_encode(pcm), "pcma": alaw_encode(pcm)}


class GuessCodingTests(SynchronousTestCase):
    def test_speech_is_recognised_at_all_levels_and_rates(self) -> None:
        for level in (-20, -30, -40):
            for seed in range(6):
                for rate in (8000, 16000, 24000):
                    pcm = speech(rate, 0.4, seed, level)
                    self.assertEqual(guess_coding(pcm), "pcm", (level, seed, rate))
                for truth, data in codings(speech(8000, 0.4, seed, level)).items():
                    self.assertEqual(guess_coding(data), truth, (level, seed))

    def test_short_pieces_are_never_taken_for_another_coding(self) -> None:
        for seed in range(3):
            for truth, data in codings(speech(8000, 2, seed, -30)).items():
                for at in range(0, len(data) - 480, 480):
                    guess = guess_coding(data[at : at + 480])
                    self.assertIn(guess, (truth, "unsure"), (seed, at))

    def test_silence_before_the_speech_does_not_matter(self) -> None:
        for truth, data in codings(silence(8000) + speech(8000, 0.3, 1)).items():
            self.assertEqual(guess_coding(data), truth)

    def test_tones_are_recognised(self) -> None:
        n = np.arange(1600)
        for frequency in (50, 203, 440, 1000, 1633, 2700, 3400, 3797):
            for level in (1, 0.1, 0.01):
                wave = 32000 * level * np.sin(2 * np.pi * frequency * n / 8000 + 0.1)
                for truth, data in codings(pcm_of(wave)).items():
                    self.assertEqual(guess_coding(data), truth, (frequency, level))

    def test_a_tone_of_four_values_is_never_taken_for_another_coding(self) -> None:
        for phase in (0, 0.3, np.pi / 4, np.pi / 2):
            for level in (1, 0.3, 0.1, 0.01):
                wave = 32767 * level * np.sin(np.pi / 2 * np.arange(800) + phase)
                for truth, data in codings(pcm_of(wave)).items():
                    guess = guess_coding(data)
                    self.assertIn(guess, (truth, "unsure"), (phase, level))

    def test_silence_is_recognised_by_its_bytes(self) -> None:
        chance = np.random.default_rng(1)

        def mixed(*options: int) -> bytes:
            return chance.choice(options, 800).astype(np.uint8).tobytes()

        self.assertEqual(guess_coding(bytes(800)), "pcm")
        self.assertEqual(guess_coding(b"\x7f" * 800), "pcmu")
        self.assertEqual(guess_coding(mixed(0xFF, 0x7F)), "pcmu")
        self.assertEqual(guess_coding(mixed(0xD5)), "pcma")
        self.assertEqual(guess_coding(mixed(0x55)), "pcma")
        self.assertEqual(guess_coding(mixed(0xD5, 0x55)), "pcma")
        faint = pcm_of(chance.integers(-1, 2, 800))
        self.assertEqual(guess_coding(faint), "pcm")

    def test_what_cannot_be_told_is_unsure(self) -> None:
        chance = np.random.default_rng(1)
        self.assertEqual(guess_coding(b""), "unsure")
        self.assertEqual(guess_coding(speech(8000, 0.4, 1)[:300]), "unsure")
        self.assertEqual(guess_coding(chance.bytes(4800)), "unsure")
        # The smallest negative PCM and the positive zero of mu-law look the same.
        self.assertEqual(guess_coding(b"\xff" * 800), "unsure")

    @settings(deadline=None)
    @given(st.binary(max_size=2000))
    def test_any_bytes_get_an_answer(self, data: bytes) -> None:
        self.assertIn(guess_coding(data), ("pcm", "pcmu", "pcma", "unsure"))

    def test_recorded_prompts_are_recognised(self) -> None:
        cache = Path(os.environ.get("PORTERO_CACHE", ".cache"))
        files = sorted(cache.glob("*/usr/share/asterisk/sounds/en/*.wav"))[::10]
        need(bool(files), "Asterisk's recorded prompts (tests/lab/bootstrap)")
        guesses = 0
        for file in files:
            rate, pcm = read_wav(file)
            if rate != 8000 or peak(pcm[:8000]) < 100:
                continue
            wide = Resampler(8000, 24000).process(pcm[:8000])
            self.assertEqual(guess_coding(wide), "pcm", file)
            for truth, data in codings(pcm[:8000]).items():
                self.assertEqual(guess_coding(data), truth, file)
                guesses += 1
        self.assertGreater(guesses, 0)


def chunk(kind: bytes, body: bytes, size: int | None = None) -> bytes:
    length = len(body) if size is None else size
    return kind + struct.pack("<I", length) + body + b"\0" * (len(body) & 1)


def wav(
    coding: int,
    width: int,
    body: bytes,
    channels: int = 1,
    rate: int = 8000,
    extensible: bool = False,
    before: bytes = b"",
    size: int | None = None,
    riff: int | None = None,
) -> bytes:
    block, bits = width * channels, 8 * width
    tag = 0xFFFE if extensible else coding
    form = struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits)
    if extensible:
        guid = bytes.fromhex("000000001000800000aa00389b71")
        form += struct.pack("<HHIH", 22, bits, 0, coding) + guid
    content = b"WAVE" + before + chunk(b"fmt ", form) + chunk(b"data", body, size)
    return b"RIFF" + struct.pack("<I", riff or len(content)) + content


RAMP = [0, 1, -1, 256, -256, 12345, -32768, 32767]


class WavTests(SynchronousTestCase):
    def bodies(self) -> dict[tuple[int, int], tuple[bytes, list[int]]]:
        """(format, width) to the samples in that form and what they are in PCM."""
        x = np.array(RAMP)
        coarse = [v >> 8 << 8 for v in RAMP]
        codes = ALL_CODES[::7]
        return {
            (1, 1): (bytes((v >> 8) + 128 for v in RAMP), coarse),
            (1, 2): (x.astype("<i2").tobytes(), RAMP),
            (1, 3): (b"".join(struct.pack("<i", v << 8)[:3] for v in RAMP), RAMP),
            (1, 4): ((x << 16).astype("<i4").tobytes(), RAMP),
            (3, 4): ((x / 32768).astype("<f4").tobytes(), RAMP),
            (6, 1): (codes, values(alaw_decode(codes))),
            (7, 1): (codes, values(ulaw_decode(codes))),
        }

    def test_every_coding_is_read_with_both_kinds_of_header(self) -> None:
        for (coding, width), (body, wanted) in self.bodies().items():
            for extensible in (False, True):
                data = wav(coding, width, body, rate=22050, extensible=extensible)
                rate, pcm = read_wav(data)
                self.assertEqual((rate, values(pcm)), (22050, wanted), (coding, width))

    def test_channels_are_mixed_down_to_their_mean(self) -> None:
        for (coding, width), (body, wanted) in self.bodies().items():
            pairs = np.array(wanted[: len(wanted) // 2 * 2]).reshape(-1, 2)
            _, pcm = read_wav(wav(coding, width, body, channels=2))
            mean = np.rint(pairs.mean(axis=1)).tolist()
            self.assertEqual(values(pcm), mean, (coding, width))

    def test_loud_and_impossible_floats_are_clipped(self) -> None:
        body = np.array([2, -3e38, np.nan, np.inf, -np.inf], "<f4").tobytes()
        _, pcm = read_wav(wav(3, 4, body))
        self.assertEqual(values(pcm), [32767, -32768, 0, 32767, -32768])

    def test_other_chunks_are_passed_over(self) -> None:
        others = chunk(b"LIST", b"INFOISFT") + chunk(b"odd ", b"123")
        data = wav(1, 2, pcm_of(RAMP), before=others) + chunk(b"LIST", b"tail")
        self.assertEqual(values(read_wav(data)[1]), RAMP)

    def test_a_size_that_was_never_filled_in_means_to_the_end(self) -> None:
        body = pcm_of(RAMP)
        for size, riff in ((0xFFFFFFFF, 0xFFFFFFFF), (0, 0xFFFFFFFF), (10**6, 36)):
            data = wav(1, 2, body, size=size, riff=riff)
            self.assertEqual(values(read_wav(data)[1]), RAMP, size)

    def test_a_file_without_sound_gives_none(self) -> None:
        self.assertEqual(read_wav(wav(1, 2, b"")), (8000, b""))

    def test_a_file_cut_anywhere_gives_its_beginning_or_says_what_is_wrong(
        self,
    ) -> None:
        for (coding, width), (body, _) in self.bodies().items():
            data = wav(coding, width, body, channels=2, extensible=True)
            _, whole = read_wav(data)
            for cut in range(len(data)):
                try:
                    _, pcm = read_wav(data[:cut])
                except WavError as error:
                    self.assertLess(cut, len(data) - len(body), error)
                else:
                    self.assertTrue(whole.startswith(pcm))

    @settings(deadline=None)
    @given(st.binary(max_size=200))
    def test_garbage_raises_nothing_but_our_error(self, garbage: bytes) -> None:
        for data in (garbage, b"RIFF\0\0\0\0WAVE" + garbage):
            with contextlib.suppress(WavError):
                read_wav(data)

    @settings(deadline=None)
    @given(st.binary(min_size=16, max_size=44))
    def test_a_header_of_garbage_is_an_error_or_pcm(self, form: bytes) -> None:
        data = b"RIFF\0\0\0\0WAVE" + chunk(b"fmt ", form) + chunk(b"data", b"12345678")
        try:
            rate, pcm = read_wav(data)
        except WavError:
            return
        self.assertGreater(rate, 0)
        self.assertEqual(len(pcm) % 2, 0)

    def test_errors_say_what_is_wrong_and_what_would_be_right(self) -> None:
        for data, word in (
            (b"ID3\x03 an mp3", "it is an MP3 file; a WAV file is needed"),
            (b"OggS", "it is an Ogg file"),
            (b"\0\0\0\x20ftypM4A ", "it is an MPEG-4 (M4A) file"),
            (b"FORM\0\0\0\0AIFFCOMM", "it is an AIFF file"),
            (b"", "it is empty; a WAV file is needed"),
            (b"no sound", "no RIFF WAVE header; a WAV file is needed"),
            (wav(2, 1, b"12"), "0x0002 (Microsoft ADPCM) is not supported; PCM of 8"),
            (wav(0x31, 65, b"12"), "0x0031 (GSM 06.10) is not supported"),
            (wav(0x1234, 1, b"12"), "format 0x1234 is not supported"),
            (wav(2, 1, b"12"), "ffmpeg -i THIS -ac 1 -ar 16000"),
            (wav(1, 8, b"12345678"), "64 bits"),
            (wav(1, 2, b"12", channels=0), "0 channels"),
            (wav(1, 2, b"12", rate=0), "at 0 Hz"),
            (b"RIFF\0\0\0\0WAVE" + chunk(b"data", b"12"), "before any fmt chunk"),
            (b"RIFF\0\0\0\0WAVE", "no fmt chunk"),
            (wav(1, 2, b"")[:36], "no data chunk"),
        ):
            self.assertIn(word, str(self.assertRaises(WavError, read_wav, data)))
        self.assertIsInstance(WavError(), ValueError)

    def test_a_file_that_is_too_long_is_refused_before_it_is_converted(self) -> None:
        data = wav(1, 2, bytes(2 * 8001))
        self.assertEqual(len(read_wav(data, longest=1.001)[1]), 16002)
        error = self.assertRaises(WavError, read_wav, data, longest=1)
        self.assertIn("it lasts 1 s; 1 s are the most", str(error))

    @settings(deadline=None)
    @given(
        st.sampled_from([(1, 1), (1, 2), (1, 3), (1, 4), (3, 4), (6, 1), (7, 1)]),
        st.integers(1, 3),
        st.sampled_from([8000, 11025, 16000, 22050, 44100, 48000, 96000]),
        st.booleans(),
        st.binary(max_size=200),
    )
    def test_whatever_a_recorder_makes_is_read(
        self,
        kind: tuple[int, int],
        channels: int,
        rate: int,
        extensible: bool,
        body: bytes,
    ) -> None:
        data = wav(*kind, body, channels=channels, rate=rate, extensible=extensible)
        found, pcm = read_wav(data)
        whole = len(body) // (kind[1] * channels)
        self.assertEqual((found, len(pcm)), (rate, 2 * whole))

    def test_errors_name_the_file(self) -> None:
        path = self.mktemp()
        Path(path).write_bytes(b"no sound")
        self.assertIn(path, str(self.assertRaises(WavError, read_wav, path)))
        self.assertRaises(FileNotFoundError, read_wav, self.mktemp())

    def test_what_was_written_is_read_again(self) -> None:
        path = Path(self.mktemp())
        write_wav(path, 16000, pcm_of(RAMP))
        self.assertEqual(read_wav(path), (16000, pcm_of(RAMP)))
        self.assertEqual(read_wav(str(path)), read_wav(path.read_bytes()))

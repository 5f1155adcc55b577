"""A recording can be played at any moment, and its two sides are where they were."""

from __future__ import annotations

import os
import wave
from pathlib import Path
from typing import Any

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from portero.records import tape
from portero.records.tape import HEADER, Frame, Full, Tape

RATES = (8000, 16000, 24000)


def tone(rate: int, hz: float, seconds: float) -> bytes:
    at = np.arange(int(rate * seconds)) / rate
    return (12000 * np.sin(2 * np.pi * hz * at)).astype("<i2").tobytes()


def noise(seconds: float, low: int, seed: int = 1) -> Any:
    """@return: Sound without what rates below C{low} Hz cannot carry, at 48 kHz."""
    count = int(48000 * seconds)
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=count))
    spectrum[np.fft.rfftfreq(count, 1 / 48000) > 0.4 * low] = 0
    sound = np.fft.irfft(spectrum, count)
    return 9000 * sound / np.abs(sound).max()


def at_rate(sound: Any, rate: int) -> bytes:
    kept: bytes = sound[:: 48000 // rate].astype("<i2").tobytes()
    return kept


def frames(
    caller: bytes, caller_rate: int, agent: bytes, agent_rate: int
) -> list[Frame]:
    """@return: The same time of both, in pieces of 20 ms."""
    size, other = caller_rate // 25, agent_rate // 25
    return [
        Frame(
            caller[n * size : (n + 1) * size],
            caller_rate,
            agent[n * other : (n + 1) * other],
            agent_rate,
        )
        for n in range(len(agent) // other)
    ]


def read(path: str) -> tuple[int, Any]:
    """@return: Its rate, and a column for each side."""
    with wave.open(path, "rb") as file:
        assert (file.getnchannels(), file.getsampwidth()) == (2, 2)
        data = file.readframes(file.getnframes())
        return file.getframerate(), np.frombuffer(data, "<i2").reshape(-1, 2)


class TapeCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        self.tape = Tape(self.path)
        self.addCleanup(self.tape.drop)

    def write(self, given: list[Frame], piece: int = 50) -> None:
        for start in range(0, len(given), piece):
            self.tape.write(given[start : start + piece])


class SoundTests(TapeCase):
    def test_at_one_rate_each_sample_is_as_it_was(self) -> None:
        caller, agent = tone(8000, 440, 3.1), tone(8000, 700, 3.1)
        self.write(frames(caller, 8000, agent, 8000))
        self.tape.close()
        rate, both = read(self.path)
        self.assertEqual((rate, len(both)), (8000, 8000 * 31 // 10))
        self.assertEqual(both[:, 0].astype("<i2").tobytes(), caller)
        self.assertEqual(both[:, 1].astype("<i2").tobytes(), agent)

    def test_the_other_rate_is_not_shifted_by_a_sample(self) -> None:
        for caller_rate in RATES:
            for agent_rate in RATES:
                slow = min(caller_rate, agent_rate)
                sound = noise(1.0, slow)
                tape = Tape(path := self.mktemp())
                both_rates = caller_rate, agent_rate
                caller, agent = (at_rate(sound, each) for each in both_rates)
                for start in range(0, 50, 7):
                    given = frames(caller, caller_rate, agent, agent_rate)
                    tape.write(given[start : start + 7])
                tape.close()
                rate, both = read(path)
                self.assertEqual((rate, len(both)), (max(both_rates),) * 2)
                # But for its ends, where there is nothing to go by.
                left, right = both[200:-200].astype(float).T
                difference = np.abs(left - right).max()
                self.assertLess(difference, 40, both_rates)

    def test_a_rate_that_changes_on_the_way(self) -> None:
        sound = noise(2.0, 8000)
        for before, after in ((8000, 24000), (24000, 8000), (8000, 16000)):
            tape = Tape(path := self.mktemp())
            caller = at_rate(sound, before)[: 2 * before]
            rest = at_rate(sound, after)[2 * after :]
            agent = at_rate(sound, 24000)
            tape.write(frames(caller, before, agent[:48000], 24000))
            tape.write(frames(rest, after, agent[48000:], 24000))
            tape.close()
            rate, both = read(path)
            self.assertEqual((rate, len(both)), (24000, 48000))
            left, right = both[200:-200].astype(float).T
            away = np.abs(left - right)
            away[23500:24500] = 0  # the change itself may click
            self.assertLess(away.max(), 40, (before, after))

    def test_a_line_that_is_wideband_after_a_moment_has_a_file_that_is(self) -> None:
        quiet = frames(bytes(640), 8000, bytes(640), 8000)
        loud = frames(tone(24000, 440, 1), 24000, tone(24000, 6000, 1), 24000)
        self.write(quiet + loud)
        self.tape.close()
        rate, both = read(self.path)
        self.assertEqual((rate, len(both)), (24000, 960 + 24000))
        middle = both[6000:18000, 1].astype(float)
        self.assertGreater(np.sqrt(np.mean(middle**2)), 8000)

    def test_a_side_that_is_too_short_does_not_shift_what_follows(self) -> None:
        caller, agent = tone(8000, 440, 1), tone(8000, 700, 1)
        given = frames(caller, 8000, agent, 8000)
        given[10] = given[10]._replace(caller=b"")
        given[20] = given[20]._replace(caller=given[20].caller * 2)
        self.write(given, 1)
        self.tape.close()
        _, both = read(self.path)
        left = both[:, 0].astype("<i2").tobytes()
        self.assertEqual(len(both), 8000)
        self.assertEqual(left[3520:], caller[3520:])
        self.assertEqual(left[3200:3520], bytes(320))


class FileTests(TapeCase):
    def test_it_can_be_played_after_each_piece(self) -> None:
        given = frames(tone(8000, 440, 5), 8000, tone(8000, 700, 5), 8000)
        for seconds in range(5):
            self.tape.write(given[seconds * 50 : seconds * 50 + 50])
            _, both = read(self.path)
            self.assertEqual(len(both), (seconds + 1) * 8000)

    def test_what_the_header_does_not_name_is_no_matter(self) -> None:
        self.write(frames(tone(8000, 440, 1), 8000, tone(8000, 700, 1), 8000))
        with Path(self.path).open("ab") as file:
            file.write(b"half a piece, before a crash")
        _, both = read(self.path)
        self.assertEqual(len(both), 8000)

    def test_only_its_owner_reads_it(self) -> None:
        self.write(frames(bytes(320), 8000, bytes(320), 8000))
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o600)

    def test_nothing_makes_no_file(self) -> None:
        self.tape.close()
        self.assertFalse(os.path.exists(self.path))

    def test_no_other_file_is_written_over(self) -> None:
        Path(self.path).write_text("mine")
        given = frames(bytes(320), 8000, bytes(320), 8000)
        self.assertRaises(FileExistsError, self.tape.write, given)
        self.tape.drop()
        self.assertEqual(Path(self.path).read_text(), "mine")

    def test_it_ends_where_its_lengths_do(self) -> None:
        self.patch(tape, "LARGEST", 2 * 32000)
        given = frames(bytes(80000), 8000, bytes(80000), 8000)
        self.assertRaises(Full, self.write, given)
        self.tape.drop()
        _, both = read(self.path)
        self.assertEqual(len(both), 16000)

    def test_a_disk_that_is_full_keeps_what_was_there(self) -> None:
        second = frames(bytes(16000), 8000, bytes(16000), 8000)
        self.write(second)
        pwrite = os.pwrite

        def half(file: int, data: bytes, at: int) -> int:
            if at == 0:
                return pwrite(file, data, at)
            if len(data) < 32000:
                raise OSError(28, "No space left on device")
            return pwrite(file, data[:100], at)

        self.patch(os, "pwrite", half)
        self.assertRaises(OSError, self.write, second)
        self.tape.drop()
        _, both = read(self.path)
        self.assertEqual(len(both), 8000)

    def test_the_header_has_the_length_that_readers_expect(self) -> None:
        self.assertEqual(HEADER.size, 44)
        self.write(frames(bytes(320), 8000, bytes(320), 8000))
        content = Path(self.path).read_bytes()
        self.assertEqual(int.from_bytes(content[4:8], "little"), len(content) - 8)
        self.assertEqual(int.from_bytes(content[40:44], "little"), len(content) - 44)

"""
Recordings of real calls: where each side is in time, and what a crash, a full disk and
fifty calls at once make of them.
"""

from __future__ import annotations

import os
import subprocess
import time
import wave
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from unittest import SkipTest

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from portero.pacing import HOLE
from portero.records.tape import HEADER
from tests.lab.calls import FRAME, Lines
from tests.lab.phone import Phone
from tests.lab.portero import Portero
from tests.lab.process import wait_until
from tests.lab.quality import band_dbfs, noise_burst, pcm, resampled, signal
from tests.lab.recording import Sound
from tests.lab.service import Service
from tests.parts import need
from tests.real.case import RealTestCase

CONFIG: Final = """
[agent]
record = true
consent = "agreement"
pause_keys = "*7"
resume_keys = "*8"

[records]
file = "none"
recordings = "{folder}"
"""
SAID_SECONDS: Final = 0.6
FOUND: Final = 0.6
"""Correlation of a sound with what it is found in."""
TRIES: Final = 3
BUSY: Final = "this machine stands still now and then"
KEY_MS: Final = 300
"""The most that a key on the telephone takes from the sound."""
A_SECOND: Final = 50
"""Frames of 20 ms."""
KILLED_AFTER: Final = (1.3, 1.9, 2.6)
"""Seconds of calls."""
SMALL_DISK: Final = 256
"""kB: two seconds of four calls."""
MANY: Final = 50
MANY_SECONDS: Final = 2.0


def config(folder: Path) -> str:
    return CONFIG.format(folder=folder)


def read(path: Path) -> tuple[int, Any]:
    """
    @return: Its rate, and a column for each side; as long as its header says.
    """
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth()) == (2, 2)
        data = file.readframes(file.getnframes())
        assert len(data) == 4 * file.getnframes()
        return file.getframerate(), np.frombuffer(data, "<i2").reshape(-1, 2)


def places(line: Sound, sound: Sound) -> list[int]:
    """
    @return: Where C{sound} is in C{line}, in samples, each time that it is there.
    """
    power = np.concatenate([[0.0], np.cumsum(line**2)])
    power = power[len(sound) :] - power[: -len(sound)]
    likeness = signal.correlate(line, sound, "valid")
    likeness = likeness / np.sqrt(power * (sound**2).sum() + 1e-6)
    found: list[int] = []
    while likeness.max() > FOUND:
        at = int(np.argmax(likeness))
        found.append(at)
        likeness[max(0, at - len(sound)) : at + len(sound)] = 0
    return sorted(found)


class AlignmentTests(RealTestCase):
    """
    The caller says the same burst of noise again and again, and the agent repeats it:
    the recording and the phone each say when that was.
    """

    def begin(self, codec: str, how: str) -> Phone:
        self.folder = Path(self.mktemp()).absolute()
        self.own_portero(config=config(self.folder))
        phone = self.phone(codec)
        self.burst = noise_burst(SAID_SECONDS, phone.sample_rate)
        self.keys = ""
        self.call(phone, how)
        phone.wait_for_sound(5)
        return phone

    def say(self, phone: Phone, times: int = 1) -> None:
        """Say it, and hear it to its end."""
        for _ in range(times):
            phone.play(pcm(self.burst))
            self.answer(phone)

    def press(self, phone: Phone, keys: str) -> None:
        """Press them, and hear the agent begin to speak of it."""
        self.keys += keys
        for key in keys:
            phone.send_dtmf(key)
            self.wait_until("the key left", lambda: phone.sent[-1].digit, 1)
            self.wait_until("the key ended", lambda: not phone.sent[-1].digit, 1)
        phone.wait_for_sound(5, after=phone.sent[-1].time + 0.1)

    def end(self, phone: Phone) -> None:
        """
        Hang up, and find the bursts: C{left} and C{right}, C{said} and C{heard} are
        where, in samples of the file, which has the C{rate}.
        """
        (call,) = self.portero.calls()
        self.call_id = call["id"]
        phone.hang_up()
        self.assertTrue(self.portero.wait_until_idle())
        figures = self.portero.figures(self.call_id)
        self.filled_ms, self.skipped = figures["filled_ms"], figures["frames_skipped"]
        self.portero.terminate()
        self.wait_until("portero stopped", lambda: not self.portero.alive)
        (path,) = self.folder.glob("*.wav")
        self.rate, both = read(path)
        burst = resampled(self.burst, phone.sample_rate, self.rate)
        heard = resampled(phone.heard.sound(), phone.sample_rate, self.rate)
        self.both = both / 32768
        self.left, self.right = (places(side, burst) for side in self.both.T)
        self.heard = places(heard, burst)
        sounding = [False, *(sent.sounding for sent in phone.sent)]
        starts = [n for n, (a, b) in enumerate(pairwise(sounding)) if b and not a]
        self.said = [n * self.rate // A_SECOND for n in starts]

    def offsets(self, one: list[int], other: list[int]) -> list[int]:
        self.assertEqual(len(one), len(other), (one, other))
        return [a - b for a, b in zip(one, other, strict=True)]

    def calling(self, codec: str, how: str, talk: Callable[[Phone], None]) -> None:
        """
        Have a call that nothing disturbed: a machine that stands still for a moment
        moves what portero hears, and so what it records.
        """
        for _ in range(TRIES):
            phone = self.begin(codec, how)
            talk(phone)
            self.end(phone)
            if not self.skipped and self.filled_ms <= len(self.keys) * KEY_MS:
                return
        raise SkipTest(
            f"{BUSY}: {self.skipped} frames skipped, {self.filled_ms} ms late"
        )

    def assert_aligned(self, most: int = 1) -> None:
        """@param most: Samples by which a side may move against the phone's."""
        caller = self.offsets(self.left, self.said)
        agent = self.offsets(self.right, self.heard)
        found = f"caller {caller}, agent {agent}"
        for offsets in (caller, agent):
            self.assertLessEqual(max(offsets) - min(offsets), most, found)
        # What is said takes a frame or two to get here, and to get there.
        apart = self.offsets(caller, agent)
        self.assertLess(max(map(abs, apart)), 3 * self.rate // A_SECOND, found)

    def test_both_sides_are_where_the_phone_has_them(self) -> None:
        self.calling("ulaw", "plain", lambda phone: self.say(phone, 2))
        self.assertEqual((self.rate, len(self.left)), (8000, 2))
        self.assert_aligned()

    def test_so_they_are_with_wideband_both_ways(self) -> None:
        self.calling("slin16", "slin16", lambda phone: self.say(phone, 2))
        self.assertEqual((self.rate, len(self.left)), (24000, 2))
        self.assert_aligned()
        length = round(SAID_SECONDS * self.rate)
        for side, (at, *_) in zip(self.both.T, (self.left, self.right), strict=True):
            sound = side[at : at + length]
            low = band_dbfs(sound, 1000, 3000, self.rate)
            high = band_dbfs(sound, 5000, 7000, self.rate)
            self.assertApproximates(high, low, 3, "dBFS of noise, which has all of it")

    def test_a_pause_is_silence_and_moves_nothing(self) -> None:
        pause: list[int] = []

        def talk(phone: Phone) -> None:
            self.say(phone)
            self.press(phone, "*7")
            pause[:] = [len(phone.sent)]
            self.say(phone)
            pause.append(len(phone.sent) - 1)
            self.press(phone, "*8")
            self.say(phone)

        self.calling("ulaw", "plain", talk)
        self.assertEqual(len(self.heard), 3)
        self.assertEqual((len(self.left), len(self.right)), (2, 2))
        begins, ends = (n * FRAME for n in pause)
        self.assertEqual(np.abs(self.both[begins:ends]).max(), 0.0)
        del self.said[1], self.heard[1]
        # Each key is a hole in what the phone sends, filled by the clock.
        self.assert_aligned(round(HOLE * self.rate))


class CrashTests(SynchronousTestCase):
    def test_killed_under_load_each_can_be_played_to_its_last_second(self) -> None:
        for after in KILLED_AFTER:
            folder = Path(self.mktemp()).absolute()
            portero = Portero(config=config(folder))
            self.addCleanup(portero.stop)
            with Lines(portero.port, 8) as calls:
                time.sleep(after)
                portero.kill()
                calls.wait_until_silent(5)
            for line in calls.lines:
                (path,) = folder.glob(f"*-{line.call_id}.wav")
                rate, both = read(path)
                size = os.path.getsize(path)
                self.assertGreaterEqual(size, HEADER.size + 4 * len(both))
                self.assertEqual(rate, 8000)
                self.assertGreaterEqual(len(both) // FRAME, line.heard - A_SECOND)
                self.assertLessEqual(len(both) // FRAME, line.heard)
                self.assert_counts(both[:, 0])

    def assert_counts(self, caller: Any) -> None:
        """Each frame that the caller sent is there once, in its order."""
        numbers = caller[caller != 0]
        self.assertGreater(len(numbers), 0)
        steps = np.diff(numbers)
        self.assertLessEqual(set(steps.tolist()), {0, 1})
        kinds, counts = np.unique(numbers, return_counts=True)
        self.assertEqual(set(counts[1:-1].tolist()), {FRAME})
        self.assertEqual(len(kinds), numbers[-1] - numbers[0] + 1)


class FullDiskTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}k,mode=0700"]
        mounted = (
            os.geteuid() == 0
            and not subprocess.run(
                [*mount, "tmpfs", str(self.folder)], capture_output=True
            ).returncode
        )
        need(mounted, "root, and a kernel that lets it mount a tmpfs")
        self.addCleanup(subprocess.run, ["umount", "-l", str(self.folder)], check=True)
        self.portero = Portero(config=config(self.folder))
        self.addCleanup(self.portero.stop)

    def test_calls_go_on_and_each_recording_ends_with_one_warning(self) -> None:
        with Lines(self.portero.port, 4) as calls:
            ended = "its recording ends here"
            full = wait_until(lambda: self.portero.log.count(ended) >= 4, 15)
            self.assertTrue(full, self.portero.tail())
            heard = [line.heard for line in calls.lines]
            time.sleep(1.2)
            for line, before in zip(calls.lines, heard, strict=True):
                self.assertTrue(line.is_up)
                self.assertGreater(line.heard - before, A_SECOND)
        self.assertTrue(self.portero.wait_until_idle())
        log = self.portero.log
        self.assertEqual(log.count(ended), 4)
        self.assertEqual(log.count("No space left on device"), 4)
        self.assertNotIn("Traceback", log)
        for line in calls.lines:
            self.assertEqual(self.portero.call_record(line.call_id)["outcome"], "well")
            (path,) = self.folder.glob(f"*-{line.call_id}.wav")
            _, both = read(path)
            self.assertGreater(len(both), 8000)


@dataclass(frozen=True)
class Measured:
    """Of many calls."""

    sent: dict[str, int] = field(repr=False)
    """Frames, by the call's id."""
    skipped: int
    """Frames of all of them."""
    late_ms: float
    """The median of the calls' p99."""


class PacingTests(SynchronousTestCase):
    def test_fifty_recorded_calls_are_sent_to_as_fifty_others(self) -> None:
        service = Service()
        self.addCleanup(service.stop)
        found, busy = "", False
        for _ in range(TRIES):
            folder = Path(self.mktemp()).absolute()
            plain = self.measure(service, "")
            recorded = self.measure(service, config(folder))
            found += f"without recording {plain}, with it {recorded}; "
            for call_id, sent in recorded.sent.items():
                (path,) = folder.glob(f"*-{call_id}.wav")
                self.assertGreaterEqual(len(read(path)[1]), sent * FRAME)
            late = recorded.late_ms > 4 * plain.late_ms + 10
            if not recorded.skipped and not late:
                return
            busy = busy or bool(plain.skipped)
        if busy:
            raise SkipTest(f"{BUSY}: {found}")
        self.fail(found)

    def measure(self, service: Service, config: str) -> Measured:
        portero = Portero(env=service.env, config=config)
        self.addCleanup(portero.stop)
        with Lines(portero.port, MANY, every=0.03) as calls:
            time.sleep(MANY_SECONDS)
        self.assertTrue(portero.wait_until_idle())
        ids = [line.call_id for line in calls.lines]
        figures = {call_id: portero.figures(call_id) for call_id in ids}
        portero.stop()
        return Measured(
            {call_id: one["frames_sent"] for call_id, one in figures.items()},
            sum(one["frames_skipped"] for one in figures.values()),
            float(np.median([one["lateness_p99_ms"] for one in figures.values()])),
        )

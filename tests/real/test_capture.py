"""Calls through a real Asterisk are captured, and a replay of each is the same call."""

from __future__ import annotations

import atexit
import functools
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from portero.captures.entries import Entry, Kind, read
from portero.captures.folder import EVERY
from portero.replay import Replayed, replay
from tests.lab.phone import Phone
from tests.lab.quality import noise_burst, pcm, tone
from tests.lab.service import Models, Service
from tests.real.case import RealTestCase
from tests.replayed import is_whole

SENTENCE: Any = ((0.1, 800),)
SLOW: Any = ((0.9, 200), (0.6, 200), (0.5, 300))
MODELS: Models = {
    "sentences": {"reply": SENTENCE},
    "talks": {"reply": ((0.1, 20_000),)},
    "slow": {"reply": SLOW, "jitter_s": 0.2},
}
SAYS_SECONDS = 0.7
SLACK = 1.0
"""Seconds that a busy machine may need to write a piece."""


@functools.cache
def the_service() -> Service:
    """
    @return: The one of all these tests.
    """
    service = Service(MODELS)
    atexit.register(service.stop)
    return service


class CaptureTests(RealTestCase):
    def setUp(self) -> None:
        super().setUp()
        folder = tempfile.TemporaryDirectory(prefix="captures-lab-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name) / "captures"

    def answers(self, model: str, **settings: str) -> None:
        """From now on, an agent with this model."""
        self.own_portero(
            service=the_service(),
            config="[agent]\n"
            'capture = true\nconsent = "agreement"\nvad_silence_ms = 300\n'
            f'model = "{model}"\n'
            + "".join(f"{name} = {value}\n" for name, value in settings.items())
            + f'[records]\ncaptures = "{self.folder}"\n',
        )

    def captured(self) -> bytes:
        """@return: The file of the one call there was."""
        self.wait_until("portero has no call", lambda: not self.portero.calls())
        (path,) = self.folder.iterdir()
        self.wait_until("the end of the file", lambda: is_whole(path))
        return path.read_bytes()

    def assert_same(self, content: bytes) -> tuple[list[Entry], Replayed]:
        found = replay(content)
        told = [f"{d.captured} -> {d.replayed}" for d in found.comparison.differences]
        self.assertEqual(told, [])
        self.assertGreater(found.comparison.frames, 50)
        return read(content).entries, found

    def speak(self, phone: Phone) -> None:
        phone.play(pcm(noise_burst(SAYS_SECONDS, phone.sample_rate)))
        phone.wait_until_played(5)

    def test_a_call_with_an_interruption_and_a_key(self) -> None:
        self.answers("talks")
        phone = self.phone()
        self.call(phone)
        phone.wait_for_sound(3)
        self.speak(phone)
        quiet = phone.wait_for_quiet(0.2, 5)
        phone.wait_for_sound(3, after=quiet + 0.1)
        phone.send_dtmf("5")
        self.hear_until(phone, time.monotonic() + 1.0)
        phone.hang_up()
        entries, _ = self.assert_same(self.captured())
        self.assertEqual(len(_happened(entries, "cut")), 2)
        self.assertEqual(len(_happened(entries, "key")), 1)

    def test_a_wideband_call(self) -> None:
        self.answers("sentences")
        phone = self.phone("slin16")
        self.call(phone, "slin16")
        phone.wait_for_sound(3)
        phone.play(pcm(tone(6000, SAYS_SECONDS, 16000)))
        self.answer(phone)
        phone.hang_up()
        entries, _ = self.assert_same(self.captured())
        self.assertIn(Kind.PREFERRED, {entry.kind for entry in entries})

    def test_a_slow_service_and_a_lossy_line(self) -> None:
        self.answers("slow", interruption='"polite"')
        phone = self.phone()
        self.call(phone)
        phone.wait_for_sound(4)
        phone.play(pcm(noise_burst(1.5, 8000)))
        for _ in range(8):
            phone.mute()
            time.sleep(0.1)
            phone.mute(False)
            time.sleep(0.15)
        phone.wait_until_played(5)
        self.hear_until(phone, time.monotonic() + 1.0)
        phone.hang_up()
        entries, _ = self.assert_same(self.captured())
        heard = [entry.at for entry in entries if entry.kind is Kind.HEARD]
        holes = [b - a for a, b in pairwise(heard) if b - a > 0.06]
        self.assertGreater(len(holes), 3)

    def test_a_portero_that_is_killed_leaves_what_was_there(self) -> None:
        self.answers("talks")
        phone = self.phone()
        self.call(phone)
        began = phone.wait_for_sound(3)
        self.hear_until(phone, began + 2.5)
        self.portero.kill()
        heard = (phone.heard.last_sound() or 0.0) - began
        (path,) = self.folder.iterdir()
        entries, found = self.assert_same(path.read_bytes())
        self.assertNotEqual(entries[-1].kind, Kind.ENDED)
        self.assertGreater(found.seconds, heard - EVERY - SLACK)


def _happened(entries: list[Entry], kind: str) -> list[Any]:
    told = [entry.value() for entry in entries if entry.kind is Kind.HAPPENED]
    return [data for what, _, data in told if what == kind]

"""What is measured of the sound of a call, on sounds whose faults are known."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from twisted.trial.unittest import SynchronousTestCase

from portero.acoustics import FIGURES, Acoustics
from portero.audio import alaw_decode, alaw_encode, ulaw_decode, ulaw_encode
from tests.spoken import Samples, noise, speech

SECONDS = 14
LISTENING = slice(8000 * 5, 8000 * 10)
"""Samples in which the caller says nothing."""


def pcm(samples: NDArray[np.floating]) -> bytes:
    whole: bytes = np.rint(samples).clip(-32768, 32767).astype("<i2").tobytes()
    return whole


def measure(
    caller: bytes, agent: bytes = b"", rate: int = 8000, agent_rate: int = 8000
) -> dict[str, float]:
    """A second at a time; an agent who is shorter is silent afterwards."""
    acoustics, second, other = Acoustics(), 2 * rate, 2 * agent_rate
    for n in range(0, len(caller) // second):
        said = caller[n * second : (n + 1) * second]
        left = agent[n * other : (n + 1) * other].ljust(other, b"\0")
        acoustics.add(said, rate, left, agent_rate)
    return acoustics.figures()


class LineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.caller = speech(SECONDS, seed=2, language="es")
        self.caller[LISTENING] = 0
        self.agent = speech(SECONDS, seed=1)
        self.time = np.arange(len(self.caller)) / 8000

    def measured(self, caller: Samples) -> dict[str, float]:
        """As it comes over a telephone line."""
        line = ulaw_decode(ulaw_encode(pcm(caller)))
        return measure(line, pcm(self.agent))

    def near(self, found: float, right: float, by: float) -> None:
        self.assertLess(abs(found - right), by, f"{found}, not {right}")

    def test_every_figure_has_a_name_that_is_explained(self) -> None:
        self.agent[8000 * 7 : 8000 * 10] = 0
        caller = self.caller + 0.1 * self.agent + noise(len(self.caller), 30)
        self.assertEqual(set(self.measured(caller)), set(FIGURES))

    def test_of_a_good_line(self) -> None:
        found = self.measured(self.caller + noise(len(self.caller), 15))
        self.assertEqual(found["seconds"], SECONDS)
        self.near(found["caller_level_dbfs"], -20, 1)
        self.near(found["caller_floor_dbfs"], -67, 1)
        self.near(found["caller_speech_s"], 6, 1)
        self.near(found["agent_level_dbfs"], -20, 1)
        self.assertEqual(found["caller_clipped"], 0)
        self.assertEqual(found["caller_silent"], 0)
        self.near(found["caller_offset"], 0, 0.001)
        self.assertLess(found["hum_share"], 0.1)
        self.assertNotIn("echo_db", found)
        self.assertGreater(found["compared_s"], 10)

    @settings(max_examples=10, deadline=None)
    @given(st.floats(-25, 0))
    def test_the_level_is_that_of_speech_without_its_pauses(self, db: float) -> None:
        full = measure(pcm(self.caller))["caller_level_dbfs"]
        found = measure(pcm(self.caller * 10 ** (db / 20)))
        self.near(found["caller_level_dbfs"], full + db, 0.6)

    def test_noise_is_no_speech_and_neither_is_a_tone(self) -> None:
        size = len(self.caller)
        for sound in (noise(size, 300), 3000 * np.sin(2 * np.pi * 440 * self.time)):
            found = measure(pcm(sound))
            self.assertNotIn("caller_speech_s", found)

    def test_what_is_cut_off_at_full_scale(self) -> None:
        found = self.measured(8 * self.caller)
        self.assertGreater(found["caller_clipped"], 0.03)
        self.assertGreater(found["caller_peak_dbfs"], -0.3)
        # Loud, but whole.
        louder = self.caller * (31000 / abs(self.caller).max())
        self.assertEqual(self.measured(louder)["caller_clipped"], 0)

    @settings(max_examples=10, deadline=None)
    @given(st.integers(-3000, 3000))
    def test_a_constant(self, offset: int) -> None:
        found = measure(pcm(self.caller + offset))
        self.near(found["caller_offset"], offset / 32768, 0.001)
        self.near(found["caller_level_dbfs"], -20, 1)

    def test_a_constant_is_no_sound(self) -> None:
        found = measure(pcm(np.full(8000 * 6, 900.0)))
        self.assertEqual(found["caller_silent"], 1)
        self.assertNotIn("caller_speech_s", found)

    def test_a_hum(self) -> None:
        for hz in (50, 60, 50.1, 59.95):
            hum = sum(
                300 / n * np.sin(2 * np.pi * hz * n * self.time) for n in (1, 2, 3)
            )
            found = self.measured(self.caller + hum + noise(len(self.caller), 15))
            self.assertEqual(found["hum_hz"], round(hz))
            self.near(found["hum_dbfs"], -42.5, 1)
            self.assertGreater(found["hum_share"], 0.9)

    def test_no_hum_is_found_in_noise_or_tones(self) -> None:
        size, hiss = len(self.caller), noise(len(self.caller), 5)
        low = np.cumsum(noise(size, 10))  # what is the stronger the lower it is
        low -= np.convolve(low, np.ones(800) / 800, "same")
        tones = [300 * np.sin(2 * np.pi * hz * self.time) for hz in (220, 330, 425)]
        for sound in (noise(size, 200), low, *tones):
            found = measure(pcm(sound + hiss))
            self.assertLess(found.get("hum_share", 0), 0.2)

    def test_a_vowel_that_is_held_is_no_hum(self) -> None:
        turn = 2 * np.pi * 120 * self.time
        voice = 3000 * np.sin(turn) + 1500 * np.sin(2 * turn)
        voice[LISTENING] = 0
        found = measure(pcm(voice + noise(len(self.caller), 15)))
        self.assertLess(found["hum_dbfs"], -70)
        self.assertLess(found["hum_share"], 0.1)

    def test_what_nobody_could_understand_is_no_speech(self) -> None:
        self.assertNotIn("caller_speech_s", measure(pcm(self.caller / 300)))

    def test_digital_silence_of_both_laws(self) -> None:
        quiet = bytes(2 * 8000 * 6)
        for line in (quiet, alaw_decode(alaw_encode(quiet))):
            found = measure(line)
            self.assertEqual(found["caller_silent"], 1)
            self.assertLess(found["caller_peak_dbfs"], -70)
            self.assertNotIn("hum_hz", found)

    def test_rates_make_no_difference(self) -> None:
        kept = measure(pcm(self.caller), pcm(self.agent))
        for rate in (12000, 16000, 24000, 44100, 48000):
            caller = speech(SECONDS, rate, seed=2, language="es")
            caller[rate * 5 : rate * 10] = 0
            found = measure(pcm(caller), pcm(self.agent), rate=rate)
            for name in ("seconds", "caller_level_dbfs", "caller_silent"):
                self.near(found[name], kept[name], 0.7)

    def test_an_echo_from_one_rate_to_another(self) -> None:
        late = np.zeros(2400, np.float32)
        agent = speech(SECONDS, 24000, seed=1)
        caller: Samples = np.concatenate((late, self.agent))[: len(self.agent)]
        acoustics = Acoustics()
        acoustics.mark(3.5)
        for n in range(SECONDS):
            said = pcm(caller[8000 * n : 8000 * (n + 1)] / 20)
            left = pcm(agent[24000 * n : 24000 * (n + 1)])
            acoustics.add(said, 8000, left, 24000)
        found = acoustics.figures()
        self.near(found["echo_db"], 26, 1)
        self.near(found["echo_ms"], 300, 2)
        self.assertEqual(found["echo_interruptions"], 1)

    def test_of_nothing_there_is_little_to_say(self) -> None:
        acoustics = Acoustics()
        acoustics.add(b"", 8000, b"", 8000)
        found = acoustics.figures()
        self.assertEqual(found["seconds"], 0)
        self.assertEqual(found["compared_s"], 0)


class HolesTests(SynchronousTestCase):
    """A voice of a person: noise like that of a breath is always there."""

    def setUp(self) -> None:
        self.voice = speech(SECONDS, seed=2) + noise(8000 * SECONDS, 20)

    def holes(
        self, sound: Samples, piece: int = 50, law: bool = True
    ) -> tuple[float, float]:
        """@param piece: Frames that are measured together."""
        acoustics = Acoustics()
        line = pcm(sound)
        line = ulaw_decode(ulaw_encode(line)) if law else line
        for start in range(0, len(line), 320 * piece):
            said = line[start : start + 320 * piece]
            acoustics.add(said, 8000, bytes(len(said)), 8000)
        found = acoustics.figures()
        return found["caller_holes"], found["caller_holes_ms"]

    def test_a_whole_voice_has_none(self) -> None:
        self.assertEqual(self.holes(self.voice), (0, 0))

    def loud_places(self) -> list[int]:
        """@return: Samples around which nobody pauses, each a second from the next."""
        found: list[int] = []
        for start in range(800, len(self.voice) - 3200, 160):
            around = abs(self.voice[start - 160 : start + 1600]).reshape(-1, 40)
            if around.max(axis=1).min() > 1000 and start > (found or [-8000])[-1]:
                found.append(start + 8000)
        return [place - 8000 for place in found]

    def test_each_is_found_once_however_the_time_is_cut(self) -> None:
        places = self.loud_places()
        self.assertGreater(len(places), 3)
        for frames in (1, 4, 8):
            for place in places:
                self.voice[place : place + 160 * frames] = 0
            right = len(places), len(places) * frames * 20
            for piece in (1, 7, 50, 200):
                self.assertEqual(self.holes(self.voice, piece), right, piece)

    def test_what_is_no_whole_number_of_frames_is_of_the_voice_itself(self) -> None:
        for place in self.loud_places():
            self.voice[place : place + 250] = 0
        self.assertEqual(self.holes(self.voice), (0, 0))

    def test_a_pause_is_none(self) -> None:
        fade = np.linspace(1, 0, 400) ** 3
        for place in self.loud_places():
            self.voice[place - 400 : place] *= fade
            self.voice[place : place + 800] = 0
        self.assertEqual(self.holes(self.voice), (0, 0))

    def test_who_is_muted_for_long_lost_nothing(self) -> None:
        place = self.loud_places()[0]
        self.voice[place : place + 160 * 30] = 0
        self.assertEqual(self.holes(self.voice), (0, 0))

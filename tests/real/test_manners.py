"""How the agent greets, and lets itself be interrupted: at the caller's own ear."""

from __future__ import annotations

import functools
import wave
from pathlib import Path

import numpy as np

from portero.simulator.persona import TONE_HZ
from tests.lab.phone import Phone
from tests.lab.quality import align, noise_burst, pcm, resampled
from tests.lab.recording import Sound
from tests.lab.service import Models
from tests.real.case import MARGIN, SAME_SPEECH, measured
from tests.real.house import House, HouseTestCase

RATE = 8000
COUGH_SECONDS = 0.15
SENTENCE_SECONDS = 1.0
REPLY_SECONDS = 2.5
VAD_SILENCE_MS = 300
QUIET_SECONDS = 1.0
"""Longer than the pause that a cough makes."""
AUDIBLE = 0.005
"""Of full scale: under the noise that is played, over what G.711 makes of silence."""
EDGE_SECONDS = 0.02
"""Left out on both sides of a pause, where sound is faded."""
EXACT_SECONDS = 0.006
"""A fade of 5 ms, which is heard again, and a little."""
TRUNCATED_WITHIN_MS = 40
OTHER_SPEECH = 0.3
"""Correlation below which it was not heard."""

SLOW = 1.0
"""Seconds that the service needs before it speaks."""
TONE_MS = 900
GREETING = f"{TONE_MS} ms of tone"
"""What the service says that it said."""
WORDS = "one two three four five six seven eight nine ten"
PROMPT = ((0.1, 300),)
SLOW_TONE = ((SLOW, TONE_MS),)

MODELS: Models = {
    # A short greeting, and then it repeats what it was told.
    "parrot": {"reply": PROMPT, "then": ({},)},
    "talks": {"reply": ((0.1, 20_000),)},
    "slow": {"reply": SLOW_TONE},
    "writes": {"reply": SLOW_TONE, "text_replies": 1},
}


def noise(seconds: float) -> Sound:
    """
    @return: Of no other place in it is any piece the same; all below 2 kHz.
    """
    rough = np.random.default_rng(7).normal(0, 0.1, round(seconds * RATE / 2))
    return resampled(rough, RATE // 2, RATE)


def write_greeting(path: Path) -> None:
    """Stereo, at a rate that no telephone has."""
    rate = 22050
    sound = resampled(noise(REPLY_SECONDS), RATE, rate)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(pcm(np.repeat(sound, 2)))


def configuration(agi_port: int, url: str, folder: Path) -> str:
    file = folder / "greeting.wav"
    write_greeting(file)
    return f"""
[listen]
agi = "{agi_port}"
[agent]
model = "parrot"
vad_silence_ms = {VAD_SILENCE_MS}
[agents.polite]
interruption = "polite"
[agents.talks]
model = "talks"
interruption = "polite"
[agents.firm]
interruption = "off"
[agents.filed]
model = "slow"
instructions = "You read."
greeting = "{WORDS}"
greeting_file = "{file}"
[agents.protected]
model = "slow"
greeting_file = "{file}"
greeting_protected = true
[agents.cached]
model = "slow"
greeting = "{GREETING}"
greeting_cache = true
[agents.writes]
model = "writes"
"""


@functools.cache
def the_house() -> House:
    return House.for_all(MODELS, configuration)


class MannersTestCase(HouseTestCase):
    def its_house(self) -> House:
        return the_house()

    def rings(self, agent: str) -> Phone:
        phone = self.phone()
        phone.call(self.door(PORTERO_AGENT=agent))
        return phone

    def heard(self, phone: Phone, began: float) -> Sound:
        """
        Wait for the end of what is being said.

        @return: It, from C{began}, with a little silence at both ends.
        """
        ended = phone.wait_for_quiet(QUIET_SECONDS, 15)
        return phone.heard.sound(since=began - MARGIN, until=ended + MARGIN)


class InterruptionTests(MannersTestCase):
    """The agent repeats a noise, and the caller makes another one meanwhile."""

    def setUp(self) -> None:
        super().setUp()
        self.said = noise(REPLY_SECONDS)

    def replies(self, agent: str) -> tuple[Phone, float]:
        """
        @return: A phone that has been hearing the noise for a second, and since when.
        """
        phone = self.rings(agent)
        phone.wait_for_sound(5)
        phone.wait_for_quiet(0.3, 5)
        phone.play(pcm(self.said))
        spoken = phone.wait_until_played(10)
        began = phone.wait_for_sound(4, after=spoken + 0.1)
        self.hear_until(phone, began + 1)
        return phone, began

    def makes(self, phone: Phone, seconds: float) -> None:
        phone.play(pcm(noise_burst(seconds, RATE)))

    def count(self, what: str) -> int:
        (call,) = self.portero.calls()
        return int(call[what])

    @measured
    def test_after_a_cough_the_agent_goes_on_at_the_exact_place(self) -> None:
        phone, began = self.replies("polite")
        self.makes(phone, COUGH_SECONDS)
        heard = self.heard(phone, began)
        paused, resumed = _longest_silence(heard)
        self.assertGreater(resumed - paused, VAD_SILENCE_MS * RATE // 1000)
        edge, length = round(EDGE_SECONDS * RATE), RATE // 4
        before = heard[paused - edge - length : paused - edge]
        after = heard[resumed + edge : resumed + edge + length]
        places = []
        for piece in before, after:
            self.assertGreater(self.likeness(self.said, piece), SAME_SPEECH)
            places.append(align(self.said, piece)[1])
        follows = places[1] - (places[0] + length)
        self.assertApproximates(follows, 2 * edge, EXACT_SECONDS * RATE, str(places))
        last = self.said[-length - edge : -edge]
        self.assertGreater(self.likeness(heard, last), SAME_SPEECH, "not to its end")
        self.assertEqual(self.count("false_alarms"), 1)
        self.assertEqual(self.count("barge_ins"), 0)

    @measured
    def test_a_sentence_interrupts(self) -> None:
        phone, _ = self.replies("polite")
        self.makes(phone, SENTENCE_SECONDS)
        phone.wait_for_quiet(0.1, 3)
        phone.wait_until_played(3)
        heard = self.heard(phone, phone.wait_for_sound(5, phone.sent[-1].time))
        said = noise_burst(SENTENCE_SECONDS, RATE)
        self.assertGreater(self.likeness(heard, said), SAME_SPEECH)
        last = self.said[-RATE // 2 :]
        self.assertLess(self.likeness(phone.heard.sound(), last), OTHER_SPEECH)
        self.assertEqual(self.count("false_alarms"), 0)
        self.assertEqual(self.count("barge_ins"), 1)

    @measured
    def test_the_service_is_told_what_was_heard_before_the_sentence(self) -> None:
        phone = self.rings("talks")
        began = phone.wait_for_sound(5)
        self.hear_until(phone, began + 1)
        before = len(self.truncations())
        self.makes(phone, SENTENCE_SECONDS)
        self.wait_until("a truncation", lambda: len(self.truncations()) > before)
        heard = sum(a.sounding for a in phone.heard.arrivals if a.time >= began)
        self.assertApproximates(self.truncations()[-1], heard * 20, TRUNCATED_WITHIN_MS)

    def truncations(self) -> list[int]:
        return [
            entry["received"]["audio_end_ms"]
            for entry in self.service.received("conversation.item.truncate")
        ]

    @measured
    def test_one_who_may_not_be_interrupted_speaks_to_the_end_and_answers(self) -> None:
        phone, began = self.replies("firm")
        self.makes(phone, SENTENCE_SECONDS)
        heard = self.heard(phone, began)
        self.assertGreater(self.likeness(heard, self.said), SAME_SPEECH)
        answer = noise_burst(SENTENCE_SECONDS, RATE)
        self.assertGreater(self.likeness(heard, answer), SAME_SPEECH)
        self.assertEqual(self.count("barge_ins"), 0)


def _longest_silence(sound: Sound) -> tuple[int, int]:
    """
    @return: Its first sample and the first one after it; that at the ends is no pause.
    """
    loud = np.flatnonzero(np.abs(sound) > AUDIBLE)
    longest = int(np.argmax(np.diff(loud)))
    return int(loud[longest]) + 1, int(loud[longest + 1])


class GreetingTests(MannersTestCase):
    def frames_before_sound(self, phone: Phone) -> int:
        """
        @return: How many frames the caller got before the greeting began.
        """
        phone.wait_for_sound(5)
        return next(n for n, a in enumerate(phone.heard.arrivals) if a.sounding)

    def whole(self, phone: Phone) -> Sound:
        return self.heard(phone, phone.heard.first_sound() or 0.0)

    @measured
    def test_a_file_is_heard_at_once_and_the_agent_knows_it(self) -> None:
        phone = self.rings("filed")
        self.assertLessEqual(self.frames_before_sound(phone), 1)
        self.assertGreater(
            self.likeness(self.whole(phone), noise(REPLY_SECONDS)), SAME_SPEECH
        )
        self.wait_until("it is told", lambda: self.remembered() == [WORDS])

    @measured
    def test_the_agent_knows_how_much_of_a_file_was_heard(self) -> None:
        phone = self.rings("filed")
        began = phone.wait_for_sound(5)
        # So early that the caller is understood to speak well before the eighth word.
        self.hear_until(phone, began + REPLY_SECONDS * 0.4)
        phone.play(pcm(noise_burst(SENTENCE_SECONDS, RATE)))

        def heard() -> str:
            return (self.remembered() or [WORDS])[-1]

        self.wait_until("it is told less", lambda: heard() != WORDS)
        self.assertTrue(heard().startswith("one two three"), heard())
        self.assertNotIn("eight", heard())

    def remembered(self) -> list[str]:
        """
        @return: What the agent was told, in its newest session, that it has said.
        """
        sessions = [t for t in self.service.told() if "You read." in t.instructions]
        return [
            part["text"]
            for item in (sessions[-1].items if sessions else ())
            for part in item.get("content", ())
            if item["role"] == "assistant"
        ]

    @measured
    def test_a_protected_one_is_not_cut_and_then_the_caller_is_heard(self) -> None:
        phone = self.rings("protected")
        began = phone.wait_for_sound(5)
        self.hear_until(phone, began + 0.3)
        phone.play(pcm(noise_burst(SENTENCE_SECONDS, RATE)))
        phone.wait_for_tone(TONE_HZ, REPLY_SECONDS + SLOW + 3)
        heard = self.whole(phone)
        self.assertGreater(self.likeness(heard, noise(REPLY_SECONDS)), SAME_SPEECH)

    def test_the_second_caller_hears_at_once_what_the_service_said_to_the_first(
        self,
    ) -> None:
        phones, waits = [], []
        for _ in range(2):
            phone = self.rings("cached")
            waits.append(self.frames_before_sound(phone))
            phone.wait_for_quiet(0.3, 5)
            phones.append(phone)
            phone.hang_up()
        self.assertGreater(waits[0], SLOW / 0.02 / 2)
        self.assertLessEqual(waits[1], 1)
        first, second = (phone.heard.sound() for phone in phones)
        self.assertGreater(self.likeness(second, _loud(first)), SAME_SPEECH)
        lengths = [sum(a.sounding for a in p.heard.arrivals) for p in phones]
        self.assertApproximates(lengths[1], lengths[0], 2)
        asked = [t for t in self.service.told() if GREETING in "".join(t.asked)]
        self.assertEqual(len(asked), 1)


def _loud(sound: Sound) -> Sound:
    loud = np.flatnonzero(np.abs(sound) > AUDIBLE)
    return sound[loud[0] : loud[-1]]


class WritingTests(MannersTestCase):
    def test_a_reply_in_writing_is_asked_for_as_speech(self) -> None:
        before = len(self.portero.log)
        phone = self.rings("writes")
        phone.wait_for_tone(TONE_HZ, 8)
        self.assertIn("came in writing only", self.portero.log[before:])

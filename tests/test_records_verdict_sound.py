"""What is said of the sound of a call, and when nothing is."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from portero.interfaces import LegFigures
from portero.records.past import Past
from portero.records.verdict import findings
from tests.kept_calls import past
from tests.test_records_verdict import FIGURES, SOUND

GOOD: dict[str, float] = {
    "seconds": 42.0,
    "caller_speech_s": 12.0,
    "caller_level_dbfs": -26.0,
    "caller_peak_dbfs": -9.0,
    "caller_floor_dbfs": -66.0,
    "caller_silent": 0.1,
    "caller_clipped": 0.0001,
    "caller_offset": 0.0004,
    "caller_holes": 0.0,
    "caller_holes_ms": 0.0,
    "hum_hz": 50.0,
    "hum_dbfs": -72.0,
    "hum_share": 0.4,
    "agent_speech_s": 20.0,
    "agent_level_dbfs": -20.0,
    "agent_peak_dbfs": -4.0,
    "agent_clipped": 0.0,
    "compared_s": 24.0,
}
DEAD = {
    "seconds": 42.0,
    "caller_silent": 1.0,
    "caller_peak_dbfs": -72.0,
    "caller_floor_dbfs": -96.0,
    "compared_s": 24.0,
}
UNHEARD: tuple[Any, ...] = tuple(
    each for each in SOUND if each[1] not in ("caller", "turn", "barge_in")
)
"""The service heard nobody speak."""


def early(kind: str = "barge_in") -> list[Any]:
    """@return: What happens when the agent is interrupted again and again."""
    told: list[Any] = []
    for at in (15.0, 20.0, 25.0):
        told += [(at, "sounding", {"item": "x"}), (at + 1.5, kind, {})]
    return told


class SoundCase(SynchronousTestCase):
    def call(
        self, sound: dict[str, float], more: Any = (), talk: Any = SOUND, **leg: Any
    ) -> Past:
        """@param sound: What is different; of a good line."""
        told = sorted([*talk, *more], key=lambda each: each[0])
        seconds = leg.pop("seconds", 42.5)
        figures = LegFigures(**{**FIGURES, "sound": sound, **leg})
        return past(talk=told, figures=figures, seconds=seconds)

    def found(self, name: str, given: Past) -> str:
        """
        @param name: Of the one rule that finds something.
        @return: Its words.
        """
        (finding,) = findings(given)
        self.assertEqual(finding.name, name)
        (other,) = findings(given, "es")
        self.assertEqual((other.name, other.evidence), (name, finding.evidence))
        return finding.words

    def clean(self, given: Past) -> None:
        self.assertEqual(findings(given), [])


class SoundTests(SoundCase):
    def test_nothing_is_said_of_a_good_line(self) -> None:
        self.clean(self.call(GOOD))

    def test_nor_of_one_that_was_not_measured(self) -> None:
        self.clean(self.call({}))

    def test_a_dead_microphone(self) -> None:
        said = self.found("dead_caller", self.call(DEAD, talk=UNHEARD))
        self.assertIn("In 42 s", said)
        # Also where it sends hardly anything.
        given = self.call(DEAD, talk=UNHEARD, filled_ms=30000)
        self.found("dead_caller", given)

    def test_who_presses_keys_need_not_speak(self) -> None:
        self.clean(self.call(DEAD, [(9.0, "key", {})], UNHEARD))

    def test_who_says_nothing_for_a_moment_is_not_dead(self) -> None:
        self.clean(self.call({**DEAD, "seconds": 11.0}, talk=UNHEARD, seconds=11.0))

    def test_a_caller_whom_the_service_does_not_hear(self) -> None:
        sound = {**GOOD, "caller_level_dbfs": -52.0, "caller_floor_dbfs": -80.0}
        said = self.found("unheard", self.call(sound, talk=UNHEARD))
        self.assertIn("about 12 s, at -52 dBFS", said)
        # What is no louder than the echo of the agent is not the caller.
        sound = {**sound, "echo_db": 33.0, "echo_ms": 120.0, "echo_interruptions": 0}
        self.found("silent_caller", self.call(sound, talk=UNHEARD))

    def test_lost_packets(self) -> None:
        sound = {**GOOD, "caller_holes": 9.0, "caller_holes_ms": 640.0}
        said = self.found("lossy", self.call(sound, filled_ms=9000))
        self.assertIn("9 holes, 640 ms in all", said)
        self.assertIn("9.0 s never came", said)
        # The line had all: that voice is like this.
        self.clean(self.call(sound, filled_ms=240))
        self.clean(self.call({**sound, "caller_holes": 3.0}, filled_ms=700))

    def test_a_caller_who_is_cut_off(self) -> None:
        loud = {**GOOD, "caller_clipped": 0.034, "caller_level_dbfs": -8.0}
        self.assertIn("3.4 %", self.found("clipped", self.call(loud)))
        # What is cut off on one side more than on the other has a constant.
        self.found("clipped", self.call({**loud, "caller_offset": -0.02}))

    def test_a_caller_who_is_too_loud(self) -> None:
        loud = {**GOOD, "caller_level_dbfs": -9.0}
        self.assertIn("at -9 dBFS", self.found("loud", self.call(loud)))

    def test_a_caller_who_is_too_quiet(self) -> None:
        quiet = {**GOOD, "caller_level_dbfs": -44.0}
        self.assertIn("at -44 dBFS", self.found("quiet", self.call(quiet)))

    def test_of_a_word_nothing_is_said(self) -> None:
        word = {**GOOD, "caller_speech_s": 0.8}
        for more in ({"caller_level_dbfs": -44.0}, {"caller_clipped": 0.1}):
            self.clean(self.call({**word, **more}))

    def test_a_hum(self) -> None:
        sound = {**GOOD, "hum_dbfs": -45.0, "hum_share": 0.8, "hum_hz": 60.0}
        said = self.found("hum", self.call(sound))
        self.assertIn("60 Hz and its harmonics at -45 dBFS, 80 %", said)
        self.clean(self.call({**sound, "hum_share": 0.2}))
        # It is the noise.
        sound = {**sound, "caller_floor_dbfs": -38.0}
        self.found("hum", self.call(sound))

    def test_noise(self) -> None:
        sound = {**GOOD, "caller_floor_dbfs": -38.0}
        said = self.found("noisy", self.call(sound))
        self.assertIn("at -38 dBFS, and the speech only 12 dB", said)

    def test_a_constant(self) -> None:
        for offset in (0.021, -0.021):
            said = self.found("offset", self.call({**GOOD, "caller_offset": offset}))
            self.assertIn("2.1 %", said)


class EchoTests(SoundCase):
    def echo(self, down: float, times: int = 0) -> dict[str, float]:
        return {
            **GOOD,
            "echo_db": down,
            "echo_ms": 140.0,
            "echo_interruptions": float(times),
        }

    def test_one_that_interrupts(self) -> None:
        said = self.found("echo_cut", self.call(self.echo(31, 3), early()))
        self.assertIn("over the agent 5 times, and 3 times", said)
        self.assertIn("31 dB down and 140 ms late: echo at the phone", said)
        self.assertIn('interruption = "polite"', said)

    def test_it_also_explains_false_alarms(self) -> None:
        told = [*early("false_alarm"), (33.0, "false_alarm", {})]
        self.found("echo_cut", self.call(self.echo(31, 4), told))

    def test_one_that_does_not_interrupt(self) -> None:
        said = self.found("echo_heard", self.call(self.echo(22)))
        self.assertIn("22 dB down", said)
        self.clean(self.call(self.echo(35)))

    def test_who_interrupts_without_an_echo_wants_to(self) -> None:
        self.clean(self.call(GOOD, early()))

    def test_without_having_looked_it_may_be_an_echo(self) -> None:
        self.found("echo", self.call({**GOOD, "compared_s": 2.0}, early()))

    def test_interruptions_that_the_echo_did_not_make(self) -> None:
        self.found("echo_heard", self.call(self.echo(25), early()))

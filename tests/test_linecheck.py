"""Tests of L{portero.linecheck}: synthetic arrivals, no socket, no clock."""

import math

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from portero.audio import silence
from portero.linecheck import JITTER_BUFFER, LineCheck, Voice

RATE = 8000
SILENCE = silence(160)
SOUND = (np.full(160, 3000, "<i2")).tobytes()
CONNECTED = 1000.0


def frames(
    line: LineCheck,
    times: list[float],
    pcm: bytes = SOUND,
    rate: int = RATE,
) -> None:
    """Let frames arrive, at seconds after the connection."""
    for at in times:
        line.frame_received(CONNECTED + at, rate, pcm)


def grid(count: int, start: float = 0.0) -> list[float]:
    return [start + n * 0.02 for n in range(count)]


class VoiceTests(SynchronousTestCase):
    def test_never_sounded_is_silent_for_ever(self) -> None:
        voice = Voice()
        self.assertFalse(voice.sounds(0.0))
        self.assertEqual(voice.silent_for(0.0), math.inf)

    def test_sounds_over_a_pause_between_words(self) -> None:
        voice = Voice()
        self.assertTrue(voice.frame(1.0, 0.02, SOUND))
        self.assertFalse(voice.frame(1.02, 0.02, SILENCE))
        self.assertTrue(voice.sounds(1.3))
        self.assertFalse(voice.frame(1.3, 0.02, SOUND))
        self.assertEqual(voice.began, 1.0)

    def test_begins_again_after_a_longer_pause(self) -> None:
        voice = Voice()
        voice.frame(1.0, 0.02, SOUND)
        self.assertFalse(voice.sounds(1.4))
        self.assertTrue(voice.frame(1.4, 0.02, SOUND))
        self.assertEqual(voice.began, 1.4)

    def test_comfort_noise_is_not_sound(self) -> None:
        voice = Voice()
        noise = np.random.default_rng(1).integers(-30, 30, 160).astype("<i2")
        self.assertFalse(voice.frame(1.0, 0.02, noise.tobytes()))
        self.assertEqual(voice.ended, -math.inf)


class PacingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.line = LineCheck(CONNECTED)

    def test_even_frames_have_no_deviation(self) -> None:
        frames(self.line, grid(200, 0.003))
        report = self.line.report(CONNECTED + 4, "")
        self.assertEqual((report.frames, report.missing, report.gaps), (200, 0, 0))
        self.assertAlmostEqual(report.deviation_max_ms, 0.0, places=6)
        self.assertAlmostEqual(report.first_frame_ms or 0, 3.0)

    def test_a_frame_that_is_made_up_for_is_late_and_not_missing(self) -> None:
        times = grid(100)
        times[50] += 0.035
        times[51] += 0.020
        times[52] += 0.005
        frames(self.line, times)
        report = self.line.report(CONNECTED + 4, "")
        self.assertEqual((report.missing, report.late), (0, 0))
        self.assertAlmostEqual(report.deviation_max_ms, 35.0)
        self.assertAlmostEqual(report.deviation_p50_ms, 0.0, places=6)

    def test_empty_slots_are_missing_frames(self) -> None:
        times = grid(100)
        del times[70:73]
        del times[30]
        frames(self.line, times)
        report = self.line.report(CONNECTED + 4, "")
        self.assertEqual((report.missing, report.gaps), (4, 2))
        self.assertEqual(report.longest_gap_ms, 60)
        self.assertAlmostEqual(report.deviation_max_ms, 0.0, places=6)

    def test_the_last_frames_are_late_at_most(self) -> None:
        times = grid(100)
        times[98] += 0.015
        times[99] += 0.030
        frames(self.line, times)
        report = self.line.report(CONNECTED + 4, "")
        self.assertEqual(report.missing, 0)
        self.assertAlmostEqual(report.deviation_max_ms, 30.0)

    def test_a_sender_that_is_slow_misses_slots(self) -> None:
        frames(self.line, [n * 0.0204 for n in range(500)])
        self.assertEqual(self.line.report(CONNECTED + 11, "").missing, 10)

    def test_a_burst_is_a_deviation(self) -> None:
        frames(self.line, [0.0] * 500)
        report = self.line.report(CONNECTED + 1, "")
        self.assertEqual(report.missing, 0)
        self.assertGreater(report.deviation_p50_ms, 1000)

    def test_jitter_is_measured_round_the_best_grid(self) -> None:
        noise = np.random.default_rng(7).uniform(-0.002, 0.002, 2000)
        frames(self.line, [0.02 * n + 1 + x for n, x in enumerate(noise.tolist())])
        report = self.line.report(CONNECTED + 50, "")
        self.assertEqual(report.missing, 0)
        self.assertEqual(round(report.deviation_p50_ms, 1), 1.0)
        self.assertEqual(round(report.deviation_p99_ms, 1), 2.0)

    def test_frames_of_another_length_keep_their_own_time(self) -> None:
        frames(self.line, [n * 0.04 for n in range(50)], SOUND * 2)
        report = self.line.report(CONNECTED + 4, "")
        self.assertEqual(report.missing, 0)
        self.assertAlmostEqual(report.deviation_max_ms, 0.0, places=6)
        self.assertEqual(list(report.oddities.values()), [50])

    def test_what_asterisk_would_not_take_is_counted(self) -> None:
        frames(self.line, [0.0], SOUND + b"x")
        frames(self.line, [0.02], b"")
        report = self.line.report(CONNECTED + 1, "")
        self.assertEqual(report.frames, 1)
        self.assertEqual(sorted(report.oddities.values()), [1, 1])


class SpeechTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.line = LineCheck(CONNECTED)

    def exchange(self, caller: str, agent: str) -> None:
        """One character each 20 ms: C{#} is sound. The agent's come 5 ms later."""
        for n, (said, heard) in enumerate(zip(caller, agent, strict=True)):
            now = CONNECTED + n * 0.02
            self.line.frame_sent(now, RATE, SOUND if said == "#" else SILENCE)
            self.line.frame_received(
                now + 0.005, RATE, SOUND if heard == "#" else SILENCE
            )
        self.end = CONNECTED + len(caller) * 0.02

    def test_first_sound_is_not_the_first_frame(self) -> None:
        self.exchange("-" * 20, "-" * 10 + "#" * 10)
        report = self.line.report(self.end, "")
        self.assertAlmostEqual(report.first_frame_ms or 0, 5.0)
        self.assertAlmostEqual(report.first_sound_ms or 0, 205.0)
        self.assertTrue(self.line.heard)

    def test_silence_is_not_heard(self) -> None:
        self.exchange("-" * 20, "-" * 20)
        self.assertFalse(self.line.heard)
        self.assertIsNone(self.line.report(self.end, "").first_sound_ms)

    def test_the_tail_lasts_from_the_callers_first_sound_to_the_last_of_the_far_side(
        self,
    ) -> None:
        self.exchange("-" * 25 + "#" * 25 + "-" * 10, "#" * 30 + "-" * 30)
        # Said at 0.500; the last frame came at 0.585 and sounds for 20 ms.
        (tail,) = self.line.report(self.end, "").tails_ms
        self.assertAlmostEqual(tail or 0, 105.0)

    def test_a_pause_between_words_does_not_end_the_tail(self) -> None:
        self.exchange(
            "-" * 25 + "#" * 60 + "-" * 15,
            "#" * 30 + "-" * 10 + "#" * 5 + "-" * 55,
        )
        (tail,) = self.line.report(self.end, "").tails_ms
        self.assertAlmostEqual(tail or 0, 405.0)

    def test_a_far_side_that_goes_on_is_not_interrupted(self) -> None:
        self.exchange("-" * 25 + "#" * 75, "#" * 100)
        self.assertEqual(self.line.report(self.end, "").tails_ms, (None,))

    def test_without_sound_there_is_nothing_to_interrupt(self) -> None:
        self.exchange("-" * 50 + "#" * 50, "#" * 20 + "-" * 80)
        self.assertEqual(self.line.report(self.end, "").tails_ms, ())

    def test_an_answer_is_timed_from_the_end_of_the_callers_speech(self) -> None:
        self.exchange("#" * 50 + "-" * 50, "-" * 75 + "#" * 25)
        # Spoken until 1.000, answered at 1.505.
        (answer,) = self.line.report(self.end, "").answers_ms
        self.assertAlmostEqual(answer, 505.0)

    def test_a_greeting_and_an_echo_are_no_answers(self) -> None:
        self.exchange("-" * 50 + "#" * 50, "#" * 20 + "-" * 30 + "#" * 50)
        self.assertEqual(self.line.report(self.end, "").answers_ms, ())


class RecordingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.line = LineCheck(CONNECTED)

    def recorded(self) -> bytes:
        recording = self.line.recording()
        assert recording is not None
        rate, pcm = recording
        self.assertEqual(rate, RATE)
        return pcm

    def test_nothing_received_is_no_recording(self) -> None:
        self.assertIsNone(self.line.recording())

    def test_begins_at_the_connection(self) -> None:
        frames(self.line, grid(3, 0.101))
        self.assertEqual(self.recorded(), SILENCE * 5 + SOUND * 3)

    def test_missing_frames_are_silence(self) -> None:
        times = grid(10)
        del times[4:6]
        frames(self.line, times)
        self.assertEqual(self.recorded(), SOUND * 4 + SILENCE * 2 + SOUND * 4)

    def test_jitter_does_not_cut_sound(self) -> None:
        times = grid(10)
        times[4] += 0.015
        times[7] += 0.009
        frames(self.line, times)
        self.assertEqual(self.recorded(), SOUND * 10)

    def test_a_frame_too_late_for_a_jitter_buffer_is_silence(self) -> None:
        times = grid(40)
        stalled_until = times[20] + JITTER_BUFFER + 0.005
        times = [at if at < times[20] else max(at, stalled_until) for at in times]
        frames(self.line, times)
        self.assertEqual(self.line.report(CONNECTED + 1, "").late, 1)
        self.assertEqual(self.recorded(), SOUND * 20 + SILENCE + SOUND * 19)

    def test_takes_the_highest_rate_that_came(self) -> None:
        frames(self.line, grid(10))
        frames(self.line, grid(10, 0.2), silence(480), 24000)
        recording = self.line.recording()
        assert recording is not None
        self.assertEqual(recording[0], 24000)
        self.assertEqual(len(recording[1]), 20 * 480 * 2)
        self.assertEqual(self.line.report(CONNECTED + 1, "").rates, (8000, 24000))
        samples = np.frombuffer(recording[1], "<i2")
        self.assertEqual(round(float(samples[1000:4000].mean())), 3000)
        self.assertFalse(samples[4800:].any())


class WordsTests(SynchronousTestCase):
    def test_says_what_was_measured(self) -> None:
        line = LineCheck(CONNECTED)
        times = grid(100, 0.2)
        del times[40:43]
        frames(line, times)
        words = line.report(CONNECTED + 2.5, "the far end hung up (0x00)").in_words()
        self.assertEqual(
            words.splitlines(),
            [
                "First sound after 200 ms (first frame after 200 ms).",
                "97 frames received (8000 Hz), 3 missing; pacing deviation p50 0.0 ms, "
                "p99 0.0 ms, max 0.0 ms.",
                "Gaps: 1, the longest 60 ms.",
                "The call took 2.5 s; the far end hung up (0x00).",
            ],
        )

    def test_says_that_nothing_came(self) -> None:
        report = LineCheck(CONNECTED).report(CONNECTED + 1, "gone")
        self.assertEqual(
            report.in_words(), "No audio came.\nThe call took 1.0 s; gone."
        )

    def test_says_when_its_own_machine_spoils_the_figures(self) -> None:
        line = LineCheck(CONNECTED)
        frames(line, grid(5))
        self.assertIn("busy", line.report(CONNECTED, "", (9.0, 0)).in_words())
        self.assertIn("busy", line.report(CONNECTED, "", (0.5, 2)).in_words())
        self.assertNotIn("busy", line.report(CONNECTED, "", (0.5, 0)).in_words())

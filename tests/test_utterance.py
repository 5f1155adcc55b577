"""How long somebody speaks, and whether in words."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.utterance import Utterance, has_words

RATE = 8000


def noise(seconds: float, dbov: float, rate: int = RATE, seed: int = 1) -> bytes:
    """White, at a level below an RMS amplitude of 32768."""
    wave = np.random.default_rng(seed).standard_normal(round(seconds * rate))
    return (wave * 32768 * 10 ** (dbov / 20)).astype("<i2").tobytes()


class LengthTests(SynchronousTestCase):
    def heard(self, *pieces: bytes, rate: int = RATE) -> float:
        utterance = Utterance()
        for piece in pieces:
            utterance.hear(piece, rate)
        return utterance.seconds

    def test_what_is_louder_than_the_line_counts(self) -> None:
        for quiet in (-75.0, -60.0, -48.0):
            for rate in (8000, 24000):
                found = self.heard(
                    noise(1.0, quiet, rate), noise(0.5, quiet + 20, rate), rate=rate
                )
                self.assertApproximates(found, 0.5, 0.03)

    def test_a_line_that_is_silent_has_no_length(self) -> None:
        self.assertEqual(self.heard(bytes(16000)), 0.0)

    def test_pauses_within_it_do_not_count_and_do_not_end_it(self) -> None:
        loud, quiet = noise(0.2, -30), noise(0.3, -65)
        found = self.heard(noise(1.0, -65), loud, quiet, loud, quiet, loud)
        self.assertApproximates(found, 0.6, 0.03)

    def test_after_a_longer_one_another_begins(self) -> None:
        loud, quiet = noise(0.2, -30), noise(0.5, -65)
        found = self.heard(noise(1.0, -65), loud, quiet, loud)
        self.assertApproximates(found, 0.2, 0.03)

    def test_what_was_heard_before_the_service_noticed_it_belongs_to_it(self) -> None:
        utterance = Utterance()
        utterance.hear(noise(1.0, -65) + noise(0.2, -30), RATE)
        utterance.begin("u1")
        utterance.hear(noise(0.2, -30), RATE)
        self.assertApproximates(utterance.seconds, 0.4, 0.03)

    @given(st.lists(st.integers(0, 700), max_size=40))
    def test_it_does_not_matter_how_the_audio_is_cut(self, sizes: list[int]) -> None:
        pcm = noise(0.3, -65) + noise(0.4, -30)
        pieces, start = [], 0
        for size in sizes:
            pieces.append(pcm[start : start + size])
            start += size
        self.assertEqual(self.heard(*pieces, pcm[start:]), self.heard(pcm))

    def test_another_rate_begins_with_whole_samples(self) -> None:
        utterance = Utterance()
        utterance.hear(bytes(7), RATE)
        utterance.hear(noise(0.4, -30, 24000), 24000)
        self.assertGreater(utterance.seconds, 0.3)


class WordsTests(SynchronousTestCase):
    def test_a_word_is_a_word(self) -> None:
        for text in ("Stop!", "sí", "no", "uh, wait", "(coughs) hello", "8", "¿Qué?"):
            self.assertTrue(has_words(text), text)

    def test_murmurs_and_descriptions_of_noise_are_none(self) -> None:
        for text in (
            *("", "...", "Uh-huh.", "Mhm", "Mm-hmm.", "ajá", "Ah", "eh", "hm", "Huh?"),
            *("(coughs)", "[BLANK_AUDIO]", "*laughs*", "(0.2 seconds of speech)"),
            "[noise",
        ):
            self.assertFalse(has_words(text), text)

    def test_only_those_of_this_utterance_count(self) -> None:
        utterance = Utterance()
        self.assertFalse(utterance.has_words("", "Stop!", complete=True))
        utterance.begin("u2")
        self.assertFalse(utterance.has_words("u1", "Stop!", complete=True))
        self.assertTrue(utterance.has_words("u2", "Stop!", complete=True))

    def test_half_a_word_may_still_become_a_murmur(self) -> None:
        utterance = Utterance()
        utterance.begin("u1")
        found = [utterance.has_words("u1", t, False) for t in ("aj", "á, ", "no", " ")]
        self.assertEqual(found, [False, False, False, True])

    def test_the_words_of_the_one_before_are_forgotten(self) -> None:
        utterance = Utterance()
        utterance.begin("u1")
        utterance.has_words("u1", "stop ", complete=False)
        utterance.begin("u2")
        self.assertFalse(utterance.has_words("u2", "hm ", complete=False))

"""Words as they are looked for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from portero.records.words import fold, split


class WordTests(SynchronousTestCase):
    def test_a_text_is_cut_into_its_words(self) -> None:
        said = "A table, at_the cafe\u0301 (2 persons)?"
        words = ("A", "table", "at", "the", "café", "2", "persons")
        self.assertEqual(split(said), words)
        self.assertEqual(split("... - _"), ())

    def test_accents_and_capitals_make_no_difference(self) -> None:
        for word in ("CAFÉ", "cafe\u0301", "Café"):
            self.assertEqual(fold(word), "cafe")
        self.assertEqual(fold("Ñandú"), "nandu")

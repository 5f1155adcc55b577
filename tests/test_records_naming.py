"""The names of files with what is kept of one call."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from portero.records.naming import delete, file_name
from tests.kept_calls import BEGAN, ID


class NamingTests(SynchronousTestCase):
    def test_the_name_begins_with_the_moment_in_utc(self) -> None:
        name = file_name(BEGAN, ID, ".wav")
        self.assertEqual(name, f"20261121T100000Z-{ID}.wav")

    def test_an_id_that_is_none_names_no_file(self) -> None:
        for call_id in ("../../etc/passwd", "", "a/b", "a.wav", "x" * 65):
            self.assertRaises(ValueError, file_name, BEGAN, call_id, ".wav")

    def test_what_is_old_is_deleted_and_nothing_else(self) -> None:
        folder = Path(self.mktemp())
        self.assertEqual(delete(str(folder), BEGAN, ".wav"), 0)  # there is none
        folder.mkdir()
        old = ["20260101T000000Z-a.wav", "20260101T000000Z-a.wav.peaks"]
        kept = [
            *("20261121T100000Z-b.wav", "20260101T000000Z-a.capture", "notes.wav"),
            *("20260101T000000Z-a.wav.bak", "20260101T000000Z-.wav"),
        ]
        for name in old + kept:
            (folder / name).touch()
        deleted = delete(str(folder), BEGAN, ".wav", also=(".wav.peaks",))
        self.assertEqual(deleted, 1)
        self.assertEqual({path.name for path in folder.iterdir()}, {*kept})

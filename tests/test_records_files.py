"""Files of calls are found by the ids of calls."""

from __future__ import annotations

import json
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from portero.records import files
from tests.kept_calls import ID


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def make(self, *names: str) -> None:
        for name in names:
            path = self.folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text("x")

    def names(self, call_id: str) -> list[str]:
        found = files.of_call([str(self.folder), "/nowhere"], call_id)
        return [path.name for path in found]

    def test_each_file_of_a_call_is_found(self) -> None:
        stem = f"20261121T100000Z-{ID}"
        mine = [f"{stem}.capture", f"{stem}.wav", f"{stem}.wav.peaks"]
        others = (
            f"20261121T100000Z-x{ID}.wav",
            f"20261121T100000Z-{ID}0.wav",
            f"20261121T100000Z-a-{ID}.wav",
            "notes.txt",
        )
        self.make(*mine, *others)
        self.assertEqual(self.names(ID), mine)
        self.assertEqual(self.names(ID[:8]), [])

    def test_what_is_no_id_finds_nothing(self) -> None:
        self.make("20261121T100000Z-.wav", "Z-..wav")
        for call_id in ("", ".", "../x", "*"):
            self.assertEqual(self.names(call_id), [])

    def test_what_waits_for_the_webhook_is_found_by_what_it_says(self) -> None:
        self.make("1-a.json", "3-c.json", "failed/2-b.json.reason")
        for name, call_id in (("1-a.json", "other"), ("failed/2-b.json", ID)):
            (self.folder / name).write_text(json.dumps({"call": {"id": call_id}}))
        found = [path.name for path in files.unsent(str(self.folder), ID)]
        self.assertEqual(found, ["2-b.json", "2-b.json.reason"])
        self.assertEqual(files.unsent("", ID), [])
        self.assertEqual(files.unsent("/nowhere", ID), [])

    def test_what_waits_for_too_long_is_deleted(self) -> None:
        self.make("1000-a.json", "failed/999-b.json", "failed/999-b.json.reason")
        self.make("1001-c.json", "x-d.json", "998-e.txt")
        before = "1970-01-01T00:16:41+00:00"
        self.assertEqual(files.delete_unsent(str(self.folder), before), 2)
        left = {path.name for path in self.folder.rglob("*") if path.is_file()}
        self.assertEqual(left, {"1001-c.json", "x-d.json", "998-e.txt"})
        self.assertEqual(files.delete_unsent("", before), 0)

    def test_removed_is_removed(self) -> None:
        self.make("a", "b")
        self.assertEqual(files.remove([self.folder / "a", self.folder / "gone"]), 2)
        self.assertEqual([path.name for path in self.folder.iterdir()], ["b"])

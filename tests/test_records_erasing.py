"""What is kept of a call is erased while portero runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from portero.observers.records import Records
from portero.records import rows
from portero.records.database import Unavailable
from portero.records.erasing import Erasing
from portero.sections import AgentSettings
from tests.kept_calls import ID, FileAtOnce
from tests.test_observers_records import FULL, hold


class ErasingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.file = FileAtOnce(self.mktemp())
        self.addCleanup(self.file.close)
        self.records = Records(self.file, Clock())
        self.records.use({"reception": AgentSettings()}, whole_numbers=False)
        self.records.startService()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.erasing = Erasing(
            self.file,
            self.records.forget,
            (str(self.folder),),
            "",
            lambda do: maybeDeferred(do),
        )

    def erase(self, call_id: str = ID) -> Deferred[bool]:
        return Deferred.fromCoroutine(self.erasing.erase(call_id))

    def kept(self) -> Any:
        return self.successResultOf(self.file.run(lambda c: rows.all_of(c, ID)))

    def test_nothing_is_left(self) -> None:
        hold(self.records)
        hold(self.records, "other")
        recording = self.folder / f"20261121T100000Z-{ID}.wav"
        recording.touch()
        self.assertTrue(self.successResultOf(self.erase()))
        self.assertEqual(self.kept(), [])
        self.assertFalse(recording.exists())
        self.assertFalse(self.successResultOf(self.erase()))
        self.assertTrue(self.successResultOf(self.erase("other")))

    def test_a_recording_alone_is_something(self) -> None:
        (self.folder / f"20261121T100000Z-{ID}.wav").touch()
        self.assertTrue(self.successResultOf(self.erase()))

    def test_what_waits_to_be_written_is_not_written(self) -> None:
        self.file.error = FULL
        hold(self.records)
        hold(self.records, "other")
        self.failureResultOf(self.erase(), Unavailable)
        self.assertEqual(self.records.waiting, 1)
        self.file.error = None
        self.successResultOf(self.records.stopService())
        self.assertEqual(self.kept(), [])
        self.assertTrue(self.successResultOf(self.erase("other")))
        self.assertEqual(self.records.lost, 0)

"""Calls as rows of an SQLite file; what all databases do is L{records_conformance}."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from portero.interfaces import LegFigures
from portero.records import rows, sqlite
from portero.records.database import RecordsError, Unavailable
from portero.records.sqlite import RecordFile, connect
from tests import records_conformance
from tests.kept_calls import BEGAN, ID, past


class SqliteTests(records_conformance.RecordsConformance):
    database: RecordFile

    def made(self) -> RecordFile:
        return RecordFile(self.mktemp(), None)

    def again(self) -> RecordFile:
        return RecordFile(self.database.path, None)

    def migrations(self) -> tuple[tuple[str, ...], ...]:
        return sqlite.MIGRATIONS

    def migrate_with(self, migrations: tuple[tuple[str, ...], ...]) -> None:
        self.patch(sqlite, "MIGRATIONS", migrations)

    def kept(self, words: Sequence[bytes]) -> set[bytes]:
        content = b"".join(
            Path(self.database.path + more).read_bytes()
            for more in ("", "-wal")
            if os.path.exists(self.database.path + more)
        )
        return {word for word in words if word in content}

    def test_old_calls_leave_no_byte_either(self) -> None:
        self.write("gone-0001", "2026-08-01T10:00:00+00:00", reason="unkempt")
        self.write("here-0002")
        words = (b"gone-0001", b"unkempt", b"here-0002")
        self.assertEqual(self.kept(words), {*words})
        self.do(rows.delete, "2026-09-01T00:00:00+00:00")
        self.assertEqual(self.kept(words), {b"here-0002"})

    def test_somebody_who_reads_the_log_file_is_told_of(self) -> None:
        self.patch(sqlite, "BUSY_WITHIN", 0.01)
        self.connection.execute("PRAGMA busy_timeout = 10")
        self.write()
        reader = sqlite3.connect(self.database.path, isolation_level=None)
        self.addCleanup(reader.close)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM calls").fetchall()
        error = self.assertRaises(
            Unavailable, self.do, rows.erase, [ID], thoroughly=True
        )
        self.assertIn("locked", str(error))
        self.assertEqual(self.kept((b"Acme",)), {b"Acme"})
        reader.execute("COMMIT")
        self.do(rows.erase, [ID], thoroughly=True)
        self.assertEqual(self.kept((b"Acme",)), set())

    def test_only_its_owner_reads_it(self) -> None:
        self.write()
        for more in ("", "-wal", "-shm"):
            mode = os.stat(self.database.path + more).st_mode
            self.assertEqual(mode & 0o777, 0o600)

    def test_a_file_of_something_else_is_refused(self) -> None:
        path = Path(self.mktemp())
        path.write_text("Dear diary, " * 100)
        with self.assertRaises(Unavailable), RecordFile(str(path), None).at_once():
            pass
        self.assertTrue(path.read_text().startswith("Dear diary"))

    def test_a_missing_folder_is_said(self) -> None:
        database = RecordFile("/nowhere/x", None)
        with self.assertRaises(RecordsError) as raised, database.at_once():
            pass
        self.assertEqual(str(raised.exception), "No such file or directory")


class PageTests(SynchronousTestCase):
    """What docs/records.rst says works."""

    page = (Path(__file__).parent.parent / "docs" / "records.rst").read_text("utf-8")

    def setUp(self) -> None:
        self.connection = connect(self.mktemp())
        self.addCleanup(self.connection.close)

    def test_each_question_has_an_answer(self) -> None:
        said = {"role": "user", "item": "u", "text": "My delivery is late"}
        began = datetime.now(UTC).isoformat(timespec="seconds")
        turn = {"turn": 1, "came_ms": 9, "sounded_ms": 9}
        with self.connection:
            for kept in (
                past(figures=LegFigures(underruns=9), began=BEGAN),
                past("b", began, talk=[(0.0, "said", said), (1.0, "turn", turn)]),
            ):
                rows.write(self.connection.cursor(), kept)
                self.connection.commit()
        questions = re.findall(r"code-block:: sql\n\n((?: {4}.*\n|\n)+)", self.page)
        self.assertGreater(len(questions), 3)
        for question in questions:
            self.assertTrue(self.connection.execute(question).fetchall(), question)

    def test_each_column_is_named(self) -> None:
        found = self.connection.execute("SELECT * FROM calls").description
        for name, *_ in found:
            self.assertIn(f"``{name}``", self.page)

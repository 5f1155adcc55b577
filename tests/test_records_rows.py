"""Calls as rows: what is written is read again, found, and deleted for good."""

from __future__ import annotations

import os
import re
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.interfaces import LegFigures
from portero.record import Outcome
from portero.records import database, rows
from portero.records.archive import Query
from portero.records.database import MIGRATIONS, connect
from portero.records.past import discreet
from portero.records.rows import AT_ONCE, Wanted
from tests.kept_calls import BEGAN, CALLER, ID, TALK, past


class RowsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()
        self.connection = connect(self.path)
        self.addCleanup(self.connection.close)

    def do(self, what: Any, *arguments: Any, **more: Any) -> Any:
        with self.connection:
            return what(self.connection.cursor(), *arguments, **more)

    def write(self, *arguments: Any, **more: Any) -> None:
        self.do(rows.write, past(*arguments, **more))

    def found(self, **wanted: Any) -> list[str]:
        """@return: The ids, newest first."""
        pairs = self.do(rows.find, Wanted(**wanted))
        return [found.record.call_id for found, _ in pairs]

    def bytes(self) -> bytes:
        """@return: All that is on the disk."""
        return b"".join(
            Path(self.path + more).read_bytes()
            for more in ("", "-wal")
            if os.path.exists(self.path + more)
        )


class FileTests(RowsCase):
    def test_only_its_owner_reads_it(self) -> None:
        self.write()
        for more in ("", "-wal", "-shm"):
            self.assertEqual(os.stat(self.path + more).st_mode & 0o777, 0o600)

    def test_it_is_opened_again_as_it_is(self) -> None:
        self.write()
        again = connect(self.path)
        self.addCleanup(again.close)
        (version,) = again.execute("PRAGMA user_version").fetchone()
        self.assertEqual(version, len(MIGRATIONS))
        self.assertEqual(self.found(), [ID])

    def test_a_newer_one_is_left_alone(self) -> None:
        self.connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
        error = self.assertRaises(sqlite3.NotSupportedError, connect, self.path)
        self.assertIn("newer version", str(error))

    def test_an_older_one_gets_what_is_new(self) -> None:
        self.write()
        newer = (*MIGRATIONS, ("ALTER TABLE calls ADD COLUMN mood TEXT",))
        self.patch(database, "MIGRATIONS", newer)
        again = connect(self.path)
        self.addCleanup(again.close)
        self.assertEqual(
            again.execute("SELECT id, mood FROM calls").fetchall(), [(ID, None)]
        )

    def test_a_migration_that_fails_leaves_it_as_it_was(self) -> None:
        broken = (*MIGRATIONS, ("CREATE TABLE half (x)", "CREATE TABLE calls (x)"))
        self.patch(database, "MIGRATIONS", broken)
        self.assertRaises(sqlite3.OperationalError, connect, self.path)
        self.assertRaises(
            sqlite3.OperationalError, self.connection.execute, "SELECT * FROM half"
        )

    def test_a_file_of_something_else_is_refused(self) -> None:
        path = Path(self.mktemp())
        path.write_text("Dear diary, " * 100)
        self.assertRaises(sqlite3.DatabaseError, connect, str(path))
        self.assertTrue(path.read_text().startswith("Dear diary"))

    def test_a_missing_folder_is_said(self) -> None:
        error = self.assertRaises(sqlite3.OperationalError, connect, "/nowhere/x")
        self.assertEqual(str(error), "No such file or directory")


class WriteTests(RowsCase):
    def test_what_is_written_is_read_again(self) -> None:
        written = past(recording="a.wav", consent="announced")
        self.do(rows.write, written)
        read = self.do(rows.read, ID)
        facts = read.record.facts
        self.assertEqual(facts.caller_number, CALLER.caller_number)
        self.assertEqual(facts.channel, "")
        self.assertEqual(read.happened, written.happened)
        self.assertEqual(read.figures, written.figures)
        self.assertEqual(read.outline(), written.outline())
        self.assertEqual((read.recording, read.consent), ("a.wav", "announced"))

    def test_figures_of_another_version_do_no_harm(self) -> None:
        self.write()
        self.connection.execute(
            """UPDATE calls SET figures = '{"underruns": 7, "warmth": 1}'"""
        )
        read = self.do(rows.read, ID)
        self.assertEqual(read.figures, LegFigures(underruns=7))

    def test_an_id_that_comes_again_is_another_call(self) -> None:
        self.write(began="2026-11-20T10:00:00+00:00")
        self.write(reason="again")
        self.assertEqual(self.found(), [ID, ID])
        self.assertEqual(self.do(rows.read, ID).record.reason, "again")

    def test_nobody_knows_another_id(self) -> None:
        self.assertIs(self.do(rows.read, ID), None)

    def test_half_a_character_is_no_obstacle(self) -> None:
        said = {"role": "user", "item": "u", "text": "smile \ud83d"}
        self.write(talk=[(0.0, "said", said)])
        (told,) = self.do(rows.read, ID).happened
        self.assertEqual(told.data["text"], "smile ?")

    def test_a_call_that_cannot_be_written_leaves_nothing(self) -> None:
        broken = [*TALK, (9.0, "said", {"role": None, "text": "x"})]
        self.assertRaises(sqlite3.IntegrityError, self.write, talk=broken)
        for table in ("calls", "turns", "tools", "said", "happenings", "said_words"):
            rows = self.connection.execute(f"SELECT * FROM {table}").fetchall()
            self.assertEqual(rows, [], table)


class FindTests(RowsCase):
    def test_the_newest_come_first(self) -> None:
        for day in ("19", "21", "20"):
            self.write(day, f"2026-11-{day}T10:00:00+00:00")
        self.assertEqual(self.found(), ["21", "20", "19"])
        self.assertEqual(self.found(most=2), ["21", "20"])
        last = ("2026-11-20T10:00:00+00:00", "20")
        self.assertEqual(self.found(before=last), ["19"])
        self.assertEqual(self.found(since=last[0]), ["21", "20"])
        self.assertEqual(self.found(until=last[0]), ["19"])

    def test_agent_and_outcome(self) -> None:
        self.write("a", agent="door")
        self.write("b", outcome=Outcome.FAILED)
        self.assertEqual(self.found(agent="door"), ["a"])
        self.assertEqual(self.found(outcome="failed"), ["b"])
        self.assertEqual(self.found(agent="door", outcome="failed"), [])

    def test_the_end_of_a_number(self) -> None:
        self.do(
            rows.write,
            discreet(past("short"), keep_words=False, whole_numbers=False),
        )
        self.do(
            rows.write,
            discreet(past("whole"), keep_words=False, whole_numbers=True),
        )
        for digits in ("678", "0123678", "34600123678"):
            self.assertEqual(self.found(digits=digits), ["whole", "short"], digits)
        self.assertEqual(self.found(digits="4567"), ["whole", "short"])  # the called
        self.assertEqual(self.found(digits="9999678"), ["short"])
        self.assertEqual(self.found(digits="78"), ["whole", "short"])
        self.assertEqual(self.found(digits="679"), [])

    def test_words_without_accents_and_capitals(self) -> None:
        self.write()
        for words in (["cafe"], ["CAFÉ"], ["table", "caf"], ["please", "table"]):
            self.assertEqual(self.found(words=tuple(words)), [ID], words)
        for words in (["tea"], ["acme", "table"], ["tab", "café"]):
            self.assertEqual(self.found(words=tuple(words)), [], words)

    def test_the_utterance_comes_along(self) -> None:
        self.write()
        ((_, text),) = self.do(rows.find, Wanted(words=("cafe",)))
        self.assertEqual(text, "A table at the café, please")

    @given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=4))
    def test_no_text_is_a_syntax_error(self, words: list[str]) -> None:
        connection = connect(":memory:")
        try:
            wanted = Query(" ".join(words)).wanted()
            rows.find(connection.cursor(), wanted)
        finally:
            connection.close()


class PageTests(RowsCase):
    """What docs/records.rst says works."""

    page = (Path(__file__).parent.parent / "docs" / "records.rst").read_text("utf-8")

    def test_each_question_has_an_answer(self) -> None:
        self.write(figures=LegFigures(underruns=9), began=BEGAN)
        said = {"role": "user", "item": "u", "text": "My delivery is late"}
        began = datetime.now(UTC).isoformat(timespec="seconds")
        turn = {"turn": 1, "came_ms": 9, "sounded_ms": 9}
        self.write("b", began, talk=[(0.0, "said", said), (1.0, "turn", turn)])
        questions = re.findall(r"code-block:: sql\n\n((?: {4}.*\n|\n)+)", self.page)
        self.assertGreater(len(questions), 3)
        for question in questions:
            self.assertTrue(self.connection.execute(question).fetchall(), question)

    def test_each_column_is_named(self) -> None:
        found = self.connection.execute("SELECT * FROM calls").description
        for name, *_ in found:
            self.assertIn(f"``{name}``", self.page)

    def test_a_call_is_deleted_as_it_says(self) -> None:
        self.write()
        by_hand = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(by_hand.close)
        self.assertIn(b"caf\xc3\xa9", self.bytes())
        for line in re.findall(r"sqlite> (.*)", self.page):
            for statement in filter(None, line.split(";")):
                by_hand.execute(statement).fetchall()
        self.assertEqual(self.found(), [])
        for word in (b"caf", b"Acme", ID.encode()):
            self.assertNotIn(word, self.bytes())


class DeleteTests(RowsCase):
    def test_what_is_old_goes_and_the_rest_stays(self) -> None:
        self.write("old", "2026-08-01T10:00:00+00:00")
        self.write("new", BEGAN)
        deleted = self.do(rows.delete, "2026-09-01T00:00:00+00:00")
        self.assertEqual(deleted, 1)
        self.assertEqual(self.found(), ["new"])
        self.assertEqual(self.found(words=("cafe",)), ["new"])
        self.assertEqual(self.do(rows.delete, "2026-09-01T00:00:00+00:00"), 0)

    def test_no_byte_of_it_is_left(self) -> None:
        secret = "xylophone zebra quixotic"
        said = {"role": "user", "item": "u", "text": secret}
        for number in range(20):
            self.write(f"keep{number}")
        self.write("gone", "2026-08-01T10:00:00+00:00", talk=[(0.0, "said", said)])
        self.assertIn(b"xylophone", self.bytes())
        self.do(rows.delete, "2026-09-01T00:00:00+00:00")
        left = self.bytes()
        for part in (b"xyloph", b"zebra", b"quixot", b"gone"):
            self.assertNotIn(part, left)
        self.assertEqual(len(self.found(words=("cafe",))), 20)

    def test_many_are_deleted_in_parts(self) -> None:
        for number in range(AT_ONCE + 1):
            self.write(str(number), "2026-08-01T10:00:00+00:00", talk=TALK[:4])
        deleted = self.do(rows.delete, "2026-09-01T00:00:00+00:00")
        self.assertEqual((deleted, self.found()), (AT_ONCE + 1, []))

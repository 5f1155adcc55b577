"""
What every database of records has to do.

A test module derives L{RecordsConformance}, by the name of this module: a test case in
its own namespace would be run there as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.interfaces import LegFigures
from portero.record import Outcome
from portero.records import rows
from portero.records.archive import Query
from portero.records.database import Database, RecordsError, Unavailable
from portero.records.past import discreet
from portero.records.rows import AT_ONCE, READ_AT_ONCE, Wanted
from tests.kept_calls import BEGAN, CALLER, ID, TALK, past

LIMIT = "2026-09-01T00:00:00+00:00"
OLD = "2026-08-01T10:00:00+00:00"
TABLES = ("calls", "turns", "tools", "said", "happenings", "said_words")


class RecordsConformance(SynchronousTestCase):
    """A leaf provides the first ones of its methods."""

    database: Database

    def made(self) -> Database:
        """@return: An empty one."""
        raise NotImplementedError

    def again(self) -> Database:
        """@return: The same one, as another program has it."""
        raise NotImplementedError

    def migrate_with(self, migrations: tuple[tuple[str, ...], ...]) -> None:
        """From now on, its tables are made by these."""
        raise NotImplementedError

    def migrations(self) -> tuple[tuple[str, ...], ...]:
        raise NotImplementedError

    def kept(self, words: Sequence[bytes]) -> set[bytes]:
        """@return: Which of the words its files hold."""
        raise NotImplementedError

    def setUp(self) -> None:
        self.database = self.made()
        self.connection = self.database.connect()
        self.addCleanup(self.connection.close)

    def do(self, what: Any, *arguments: Any, **more: Any) -> Any:
        """As a database's thread does it."""
        try:
            found = what(self.connection.cursor(), *arguments, **more)
            self.connection.commit()
        except Exception as error:
            self.connection.rollback()
            raise self.database.judged(error) from error
        return found

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self.do(
            lambda cursor: cursor.execute(sql).fetchall()
        )
        return found

    def write(self, *arguments: Any, **more: Any) -> None:
        self.do(rows.write, past(*arguments, **more))

    def found(self, **wanted: Any) -> list[str]:
        """@return: The ids, newest first."""
        pairs = self.do(rows.find, Wanted(**wanted))
        return [found.record.call_id for found, _ in pairs]

    # Tables

    def test_it_is_opened_again_as_it_is(self) -> None:
        self.write()
        with self.again().at_once() as cursor:
            self.assertEqual(rows.read(cursor, ID), self.do(rows.read, ID))

    def test_an_older_one_gets_what_is_new(self) -> None:
        self.write()
        newer = "ALTER TABLE calls ADD COLUMN mood TEXT"
        self.migrate_with((*self.migrations(), (newer,)))
        with self.again().at_once() as cursor:
            found = cursor.execute("SELECT id, mood FROM calls").fetchall()
        self.assertEqual(found, [(ID, None)])

    def test_each_version_becomes_the_next(self) -> None:
        versions = self.migrations()
        self.assertGreater(len(versions), 1)
        for version in range(1, len(versions) + 1):
            self.migrate_with(versions[:version])
            database = self.made()
            with database.at_once():
                pass
            self.migrate_with(versions)
            with database.at_once() as cursor:
                rows.write(cursor, past(host="bell"))
                cursor.execute("COMMIT")
                read = rows.read(cursor, ID)
            assert read is not None
            self.assertEqual((version, read.host), (version, "bell"))

    def test_a_newer_one_is_left_alone(self) -> None:
        self.migrate_with((*self.migrations(), ("CREATE TABLE newer (x INTEGER)",)))
        with self.again().at_once():
            pass
        self.migrate_with(self.migrations()[:-1])
        with self.assertRaises(Unavailable) as raised, self.again().at_once():
            pass
        self.assertIn("newer version", str(raised.exception))
        self.assertIn("[records]", raised.exception.remedy)

    def test_a_migration_that_fails_leaves_it_as_it_was(self) -> None:
        broken = ("CREATE TABLE half (x INTEGER)", "CREATE TABLE calls (x INTEGER)")
        self.migrate_with((*self.migrations(), broken))
        with self.assertRaises(RecordsError), self.again().at_once():
            pass
        self.assertRaises(RecordsError, self.rows, "SELECT * FROM half")

    # Writing

    def test_what_is_written_is_read_again(self) -> None:
        written = past(recording="a.wav", consent="announced", host="bell")
        self.do(rows.write, written)
        read = self.do(rows.read, ID)
        facts = read.record.facts
        self.assertEqual(facts.caller_number, CALLER.caller_number)
        self.assertEqual(facts.channel, "")
        self.assertEqual(read.happened, written.happened)
        self.assertEqual(read.figures, written.figures)
        self.assertEqual(read.outline(), written.outline())
        rest = read.recording, read.consent, read.host
        self.assertEqual(rest, ("a.wav", "announced", "bell"))

    def test_figures_of_another_version_do_no_harm(self) -> None:
        self.write()
        figures = '{"underruns": 7, "warmth": 1}'
        change = "UPDATE calls SET figures = ?"
        self.do(lambda cursor: cursor.execute(change, (figures,)))
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
        said = {"role": "user", "item": "u", "text": "smile \ud83d\0"}
        self.write(talk=[(0.0, "said", said)])
        (told,) = self.do(rows.read, ID).happened
        self.assertEqual(told.data["text"], "smile ? ")

    def test_a_call_that_cannot_be_written_leaves_nothing(self) -> None:
        broken = [*TALK, (9.0, "said", {"role": None, "text": "x"})]
        error = self.assertRaises(RecordsError, self.write, talk=broken)
        self.assertNotIsInstance(error, Unavailable)
        for table in TABLES:
            self.assertEqual(self.rows(f"SELECT * FROM {table}"), [], table)

    def test_what_is_there_already_is_not_written_twice(self) -> None:
        self.write()
        self.write()
        self.assertEqual(self.found(), [ID])
        self.assertEqual(self.rows("SELECT count(*) FROM said"), [(2,)])

    def test_an_utterance_may_have_any_length(self) -> None:
        long = " ".join([*map(str, range(30_000)), "x" * 5000])
        self.write(talk=[(0.0, "said", {"role": "user", "item": "u", "text": long})])
        self.assertEqual(self.do(rows.read, ID).happened[0].data["text"], long)
        self.assertEqual(self.found(words=("17",)), [ID])

    # Reading all

    def test_all_are_read_oldest_first_and_whole(self) -> None:
        self.write("c", BEGAN)
        for call_id in ("b", "a"):
            self.write(call_id, OLD)
        read = list(self.do(lambda cursor: list(rows.oldest_first(cursor))))
        self.assertEqual([one.record.call_id for one in read], ["b", "a", "c"])
        self.assertEqual(read[2].happened, past("c").happened)
        since = self.do(lambda cursor: list(rows.oldest_first(cursor, since=LIMIT)))
        self.assertEqual([one.record.call_id for one in since], ["c"])
        until = self.do(lambda cursor: list(rows.oldest_first(cursor, until=LIMIT)))
        self.assertEqual([one.record.call_id for one in until], ["b", "a"])

    def test_however_many_there_are_each_comes_once(self) -> None:
        count = 2 * READ_AT_ONCE
        for number in range(count):
            self.write(str(number), talk=TALK[:1])
        read = self.do(lambda cursor: list(rows.oldest_first(cursor)))
        ids = [one.record.call_id for one in read]
        self.assertEqual(ids, [str(number) for number in range(count)])

    # Finding

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
    @settings(
        deadline=None,
        suppress_health_check=[HealthCheck.differing_executors],  # as is its purpose
    )
    def test_no_text_is_a_syntax_error(self, words: list[str]) -> None:
        self.do(rows.find, Query(" ".join(words)).wanted())

    # Deleting

    def test_what_is_old_goes_and_the_rest_stays(self) -> None:
        self.write("old", OLD)
        self.write("new", BEGAN)
        deleted = self.do(rows.delete, LIMIT)
        self.assertEqual(deleted, 1)
        self.assertEqual(self.found(), ["new"])
        self.assertEqual(self.found(words=("cafe",)), ["new"])
        self.assertEqual(self.do(rows.delete, LIMIT), 0)

    def test_no_byte_of_it_is_left(self) -> None:
        said = {"role": "user", "item": "u", "text": "xylophone zebra quixotic"}
        for number in range(20):
            self.write(f"keep{number}")
        self.write("gone-0001", OLD, talk=[(0.0, "said", said)], reason="unkempt")
        words = (b"xyloph", b"zebra", b"quixot", b"gone-0001", b"unkempt")
        self.assertEqual(self.kept(words), {*words})
        self.do(rows.erase, ["gone-0001"], thoroughly=True)
        self.assertEqual(self.kept(words), set())
        self.assertEqual(len(self.found(words=("cafe",))), 20)

    def test_many_are_deleted_in_parts(self) -> None:
        for number in range(AT_ONCE + 1):
            self.write(str(number), OLD, talk=TALK[:4])
        deleted = self.do(rows.delete, LIMIT)
        self.assertEqual((deleted, self.found()), (AT_ONCE + 1, []))

    def test_calls_are_erased_by_their_ids(self) -> None:
        for call_id in ("a", "b", "c"):
            self.write(call_id)
        self.write("b", OLD)
        self.assertEqual(self.do(rows.erase, ["b", "c", "x"], thoroughly=True), 3)
        self.assertEqual(self.found(), ["a"])
        self.assertEqual(self.found(words=("cafe",)), ["a"])
        for table in TABLES[1:]:
            left = self.rows(f"SELECT count(*) FROM {table}")
            self.assertGreater(left[0][0], 0, table)
        self.assertEqual(self.do(rows.erase, ["a"], thoroughly=False), 1)
        for table in TABLES:
            self.assertEqual(self.rows(f"SELECT count(*) FROM {table}"), [(0,)], table)

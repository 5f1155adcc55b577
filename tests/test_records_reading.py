"""A call of the records, as a person names it."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from portero.records import rows
from portero.records.past import Past
from portero.records.reading import NoCall, find
from portero.records.sqlite import RecordFile, connect
from tests.kept_calls import ID, past

OTHER = "6f1c2d3e-0000-4000-8000-000000000002"
FAR = "a0000000-0000-4000-8000-000000000003"


class ReadingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        connection = connect(self.path)
        for number, call_id in enumerate((ID, OTHER, FAR)):
            given = past(call_id, f"2026-11-2{number}T10:00:00+00:00")
            with connection:
                rows.write(connection.cursor(), given)
        connection.close()

    def find(self, wanted: str) -> Past:
        with RecordFile(self.path, None).at_once() as cursor:
            return find(cursor, wanted)

    def test_a_call_by_its_id_or_the_beginning_of_one(self) -> None:
        for wanted in (FAR, FAR.upper(), "a", "a0000000-0"):
            self.assertEqual(self.find(wanted).record.call_id, FAR)
        self.assertEqual(self.find(ID).record.call_id, ID)
        self.assertTrue(self.find(ID).happened)

    def test_the_last_one(self) -> None:
        self.assertEqual(self.find("last").record.call_id, FAR)

    def test_a_beginning_that_several_have(self) -> None:
        error = self.assertRaises(NoCall, self.find, "6f1c")
        self.assertIn("several calls begin with 6f1c:\n", str(error))
        for call_id in (ID, OTHER):
            self.assertIn(call_id, str(error))
        self.assertNotIn(FAR, str(error))

    def test_an_id_that_has_several_records_is_the_newest(self) -> None:
        connection = connect(self.path)
        with connection:
            given = past(ID, "2026-11-29T10:00:00+00:00")
            rows.write(connection.cursor(), given)
        connection.close()
        self.assertEqual(self.find(ID[:36]).record.began, given.record.began)

    def test_no_such_call_and_the_nearest(self) -> None:
        error = str(self.assertRaises(NoCall, self.find, "a0000001"))
        self.assertIn("no call in the records begins with a0000001", error)
        self.assertIn("These begin with a000000:", error)
        self.assertIn(FAR, error)
        self.assertNotIn(ID, error)

    def test_no_such_call_and_the_last_ones(self) -> None:
        error = str(self.assertRaises(NoCall, self.find, "zzz"))
        self.assertIn("These are the last ones:", error)
        listed = [line.split()[0] for line in error.splitlines()[1:]]
        self.assertEqual(listed, [FAR, OTHER, ID])

    def test_a_percent_sign_is_nothing_special(self) -> None:
        self.assertRaises(NoCall, self.find, "%")

    def test_a_long_list_is_cut(self) -> None:
        connection = connect(self.path)
        for number in range(9):
            with connection:
                given = past(f"b{number}", f"2026-12-0{number + 1}T10:00:00+00:00")
                rows.write(connection.cursor(), given)
        connection.close()
        error = str(self.assertRaises(NoCall, self.find, "b"))
        self.assertEqual(len(error.splitlines()), 7)
        self.assertTrue(error.endswith("\n  ..."))

    def test_no_calls_yet(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        connect(self.path).close()
        for wanted in ("last", "a"):
            error = self.assertRaises(NoCall, self.find, wanted)
            self.assertIn("there is no call in the records yet", str(error))

    def test_while_it_is_written(self) -> None:
        connection = connect(self.path)
        self.addCleanup(connection.close)
        with connection:
            rows.write(connection.cursor(), past("c1", "2026-11-30T10:00:00+00:00"))
        self.assertEqual(self.find("last").record.call_id, "c1")
        with connection:
            rows.write(connection.cursor(), past("c2", "2026-12-01T10:00:00+00:00"))
            self.assertEqual(self.find("last").record.call_id, "c1")

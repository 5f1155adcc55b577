"""What of PostgreSQL needs no server; the rest is in tests/real."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from twisted.trial.unittest import SynchronousTestCase

from portero.errors import ConfigError
from portero.records.database import RecordsError, Unavailable
from tests.parts import need

if TYPE_CHECKING or find_spec("psycopg"):
    import psycopg
    from psycopg import errors

    from portero.records import postgres
    from portero.records.postgres import RecordServer

URL = "postgresql://portero@db.example/portero"


class PostgresTests(SynchronousTestCase):
    def setUp(self) -> None:
        need(find_spec("psycopg") is not None, "the PyPI package psycopg[binary]")

    def given(self, url: str, password: str = "") -> dict[str, Any]:
        return RecordServer(url, password, None)._given

    def test_to_another_machine_the_certificate_is_verified(self) -> None:
        given = self.given(URL, "secret")
        self.assertEqual(given["sslmode"], "verify-full")
        self.assertTrue(given["sslrootcert"])
        self.assertEqual(given["password"], "secret")
        self.assertEqual((given["host"], given["dbname"]), ("db.example", "portero"))
        self.assertEqual(given["connect_timeout"], 5)

    def test_the_url_may_say_otherwise(self) -> None:
        given = self.given(f"{URL}?sslmode=disable&connect_timeout=9")
        self.assertEqual((given["sslmode"], given["connect_timeout"]), ("disable", "9"))
        self.assertNotIn("sslrootcert", given)
        given = self.given(f"{URL}?sslrootcert=/etc/portero/db.pem")
        self.assertEqual(given["sslrootcert"], "/etc/portero/db.pem")
        self.assertEqual(given["sslmode"], "verify-full")

    def test_on_this_machine_no_certificate_is_needed(self) -> None:
        for url in (
            "postgresql://portero@127.0.0.1/portero",
            "postgresql://portero@localhost:5433/portero",
            "postgresql://portero@[::1]/portero",
            "postgresql:///portero?host=/run/postgresql",
            "postgresql:///portero",
        ):
            self.assertNotIn("sslmode", self.given(url), url)
        two = "postgresql://portero@127.0.0.1,db.example/portero"
        self.assertEqual(self.given(two)["sslmode"], "verify-full")

    def test_its_name_in_the_log_is_without_what_follows(self) -> None:
        self.assertEqual(RecordServer(f"{URL}?sslmode=disable", "x", None).name, URL)

    def test_a_url_that_libpq_cannot_read_is_refused(self) -> None:
        error = self.assertRaises(ConfigError, self.given, f"{URL}?colour=red")
        self.assertIn("[records] url cannot be read", str(error))
        self.assertIn("colour", str(error))

    def test_errors_say_whether_another_try_may_help(self) -> None:
        database = RecordServer(URL, "", None)
        for passing in (
            psycopg.OperationalError("server closed\nthe connection"),
            psycopg.InterfaceError("the connection is closed"),
            psycopg.NotSupportedError("newer"),
            errors.DiskFull("full"),
            errors.LockNotAvailable("locked"),
            errors.InsufficientPrivilege("denied"),
            errors.ReadOnlySqlTransaction("standby"),
        ):
            judged = database.judged(passing)
            assert isinstance(judged, Unavailable), passing
            self.assertTrue(judged.remedy)
            self.assertNotIn("\n", str(judged))
        for lasting in (
            psycopg.IntegrityError("null"),
            psycopg.DataError("0x00"),
            errors.ProgramLimitExceeded("too large"),
        ):
            judged = database.judged(lasting)
            self.assertIsInstance(judged, RecordsError)
            self.assertNotIsInstance(judged, Unavailable)
        other = ValueError("x")
        self.assertIs(database.judged(other), other)

    def test_what_a_word_is_found_by_is_bounded(self) -> None:
        words = [*map(str, range(postgres.MOST_WORDS)), "x", "CAFÉ" * 100]
        found = postgres._lexemes(["Ñ", *words])
        self.assertEqual(len(found), postgres.MOST_WORDS)
        self.assertEqual(found[0], "n")
        (long,) = postgres._lexemes(["CAFÉ" * 100])
        self.assertEqual(long, ("cafe" * 100)[: postgres.LONGEST_WORD])

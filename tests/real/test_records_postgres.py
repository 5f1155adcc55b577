"""Records in a real PostgreSQL server, from Debian."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from OpenSSL.crypto import FILETYPE_PEM
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from portero.observers import records
from portero.observers.records import Records
from portero.records.database import RecordsError, Unavailable
from portero.sections import AgentSettings
from tests import records_conformance
from tests.lab.postgres import PASSWORD, Postgres
from tests.test_observers_records import hold
from tests.test_webhooks_client import certificate

if TYPE_CHECKING or find_spec("psycopg"):
    import psycopg

    from portero.records import postgres
    from portero.records.postgres import RecordServer


@functools.cache
def the_postgres() -> Postgres:
    """@return: The one of this run."""
    server = Postgres()
    atexit.register(server.stop)
    return server


@functools.cache
def the_unsteady_postgres() -> Postgres:
    """@return: One that comes and goes."""
    server = Postgres()
    atexit.register(server.stop)
    return server


def name_of(url: str) -> str:
    """@return: Of the database."""
    return url.rpartition("/")[2]


class PostgresTests(records_conformance.RecordsConformance):
    def made(self) -> RecordServer:
        self.url = the_postgres().database()
        return self.again()

    def again(self) -> RecordServer:
        return RecordServer(self.url, PASSWORD, None)

    def migrations(self) -> tuple[tuple[str, ...], ...]:
        return postgres.MIGRATIONS

    def migrate_with(self, migrations: tuple[tuple[str, ...], ...]) -> None:
        self.patch(postgres, "MIGRATIONS", migrations)

    def kept(self, words: Sequence[bytes]) -> set[bytes]:
        return the_postgres().holds(name_of(self.url), words)


class ConnectTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.url = the_postgres().database()

    def refused(self, url: str, password: str = PASSWORD) -> Unavailable:
        database = RecordServer(url, password, None)
        with self.assertRaises(Unavailable) as raised, database.at_once():
            pass
        error: Unavailable = raised.exception
        self.assertNotIn("\n", str(error))
        return error

    def test_what_the_server_says_is_told_with_what_to_do(self) -> None:
        for url, password, said in (
            (self.url, "wrong", "password authentication failed"),
            (self.url, "", "no password supplied"),
            (f"{self.url}0", PASSWORD, "does not exist"),
            ("postgresql://portero@127.0.0.1:1/portero", PASSWORD, "refused"),
        ):
            error = self.refused(url, password)
            self.assertIn(said, str(error))
            self.assertNotIn(PASSWORD, str(error))
            self.assertIn("pg_hba.conf", error.remedy)

    def test_a_user_who_may_make_no_tables_is_told_so(self) -> None:
        owner = f"ALTER DATABASE {name_of(self.url)} OWNER TO postgres"
        the_postgres().do(owner)
        error = self.refused(self.url)
        self.assertIn("permission denied for schema public", str(error))
        self.assertIn("ALTER DATABASE", error.remedy)

    def test_tls_is_not_done_without_where_the_url_wants_it(self) -> None:
        error = self.refused(f"{self.url}?sslmode=require")
        self.assertIn("does not support SSL", str(error))

    def test_only_the_server_that_its_certificate_names_is_spoken_to(self) -> None:
        server = the_unsteady_postgres()
        url = server.database().replace("127.0.0.1", "localhost")
        mine = certificate("localhost")
        authority = server.encrypt(mine.dumpPEM(), mine.privateKey.dump(FILETYPE_PEM))
        self.addCleanup(server.do, "ALTER SYSTEM RESET ssl", "SELECT pg_reload_conf()")
        verified = f"{url}?sslmode=verify-full"
        known = f"{verified}&sslrootcert={authority}"
        with RecordServer(known, PASSWORD, None).at_once() as cursor:
            how = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
            self.assertEqual(cursor.execute(how).fetchall(), [(True,)])
        error = self.refused(verified)
        self.assertIn("certificate verify failed", str(error))
        error = self.refused(known.replace("localhost", "127.0.0.1"))
        self.assertIn("does not match host name", str(error))

    def test_many_that_begin_at_once_make_the_tables_once(self) -> None:
        databases = [RecordServer(self.url, PASSWORD, None) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            made = [*pool.map(lambda database: database.connect(), databases)]
        for connection in made:
            self.addCleanup(connection.close)
        cursor = made[0].cursor()
        found = cursor.execute("SELECT * FROM records_version").fetchall()
        self.assertEqual(found, [(len(postgres.MIGRATIONS),)])


class RecordsTests(TestCase):
    """With a thread, and while the server comes and goes."""

    def setUp(self) -> None:
        self.patch(records, "FIRST_WAIT", 0.05)
        self.patch(records, "LONGEST_WAIT", 0.2)
        self.server = the_unsteady_postgres()
        self.url = self.server.database()
        self.records = [self.house("a"), self.house("b")]

    def house(self, host: str) -> Records:
        database = RecordServer(self.url, PASSWORD, reactor)
        found = Records(database, reactor, host=host)
        found.use({"reception": AgentSettings(keep_words=True)}, whole_numbers=True)
        found.startService()
        self.addCleanup(self.stop, found)
        return found

    async def stop(self, found: Records) -> None:
        if found.running:
            await found.stopService()

    def written(self) -> list[tuple[str, str]]:
        found = self.server.do(
            "SELECT host, id FROM calls ORDER BY id", database=name_of(self.url)
        )
        return [(host, call_id) for host, call_id in found]

    async def until(self, true: Any) -> None:
        while not true():
            await deferLater(reactor, 0.01)

    async def emptied(self) -> None:
        await self.until(lambda: not any(one.waiting for one in self.records))

    async def test_several_hosts_share_it(self) -> None:
        for number in range(20):
            for host, house in zip("ab", self.records, strict=True):
                hold(house, f"{host}{number:02}")
        await self.emptied()
        expected = [(host, f"{host}{n:02}") for host in "ab" for n in range(20)]
        self.assertEqual(self.written(), expected)
        for house in self.records:
            await house.stopService()
        self.assertEqual(len(self.written()), 40)

    async def test_a_server_that_stops_and_comes_back_loses_nothing(self) -> None:
        hold(self.records[0], "before")
        await self.emptied()
        with capturedLogs() as events:
            await deferToThread(self.server.halt)
            for number in range(10):
                for host, house in zip("ab", self.records, strict=True):
                    hold(house, f"{host}{number}")
            await self.until(lambda: len(events) >= 2)
            await deferLater(reactor, 0.5)
            self.assertEqual([one.waiting for one in self.records], [10, 10])
            self.server.start()
            await self.emptied()
        said = [
            formatEvent(event)
            for event in events
            if event["log_level"] >= LogLevel.warn
        ]
        self.assertEqual(len(said), 4, said)
        self.assertTrue(all("wait in memory" in line for line in said[:2]), said)
        self.assertTrue(all("written to" in line for line in said[2:]), said)
        self.assertIn("; 0 calls have none", said[3])
        self.assertEqual(len(self.written()), 21)

    async def test_a_call_is_whole_or_absent_whenever_the_server_dies(self) -> None:
        house = self.records[0]
        for number in range(200):
            hold(house, f"{number:03}")
        await self.until(lambda: 200 - house.waiting > 20)
        await deferToThread(self.server.kill)
        self.server.start()
        await self.emptied()
        self.assertEqual(house.lost, 0)
        self.assertEqual(len(self.written()), 200)
        counts = self.server.do(
            "SELECT c.call, (SELECT count(*) FROM said s WHERE s.call = c.call), "
            "(SELECT count(*) FROM tools t WHERE t.call = c.call), "
            "(SELECT count(*) FROM said_words w WHERE w.call = c.call) FROM calls c",
            database=name_of(self.url),
        )
        self.assertEqual({tuple(rest) for _, *rest in counts}, {(2, 2, 2)})

    async def test_what_hangs_is_broken_off_at_the_stop(self) -> None:
        house = self.records[0]
        await self.emptied()
        database: RecordServer = house._database  # type: ignore[assignment]
        sleeping = database.run(lambda cursor: cursor.execute("SELECT pg_sleep(25)"))
        await deferLater(reactor, 0.2)
        self.patch(records, "STOP_WITHIN", 0.2)
        await house.stopService()
        await self.assertFailure(sleeping, Unavailable)

    async def test_a_locked_table_is_waited_for(self) -> None:
        self.patch(postgres, "BUSY_WITHIN", 0.1)
        house = self.house("c")
        self.records.append(house)
        hold(house, "before")
        await self.emptied()
        place = f"host=127.0.0.1 port={self.server.port} user=postgres"
        with psycopg.connect(f"{place} dbname={name_of(self.url)}") as other:
            other.execute("LOCK calls")
            with capturedLogs() as events:
                hold(house, "patient")
                await self.until(lambda: events)
            self.assertIn("lock", formatEvent(events[0]))
        await self.emptied()
        self.assertEqual(self.written(), [("c", "before"), ("c", "patient")])

    async def test_a_call_that_is_to_blame_is_given_up_alone(self) -> None:
        house = self.records[0]
        said = {"role": None, "item": "u", "text": "x"}
        hold(house, "broken", [(0.0, "said", said)])
        hold(house, "good")
        await self.emptied()
        self.assertEqual(house.lost, 1)
        self.assertEqual(len(self.flushLoggedErrors(RecordsError)), 1)
        self.assertEqual([call_id for _, call_id in self.written()], ["good"])

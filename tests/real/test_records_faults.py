"""Records whose writer is killed at any moment, or whose disk is full."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from portero.observers import records
from portero.observers.records import Records
from portero.records import rows
from portero.records.database import Database
from portero.records.sqlite import RecordFile
from portero.sections import AgentSettings
from tests.kept_calls import TALK, past
from tests.lab.postgres import PASSWORD
from tests.parts import need
from tests.real.test_records_postgres import the_postgres
from tests.test_observers_records import hold

CHECKOUT: Final = Path(__file__).resolve().parents[2]
ROUNDS: Final = 5
WRITTEN: Final = 20
"""Records at least, before it is killed."""
WITHIN: Final = 0.05
"""Seconds of writing after that: any moment in them."""
SEED: Final = 6


class KillTests(SynchronousTestCase):
    def kill_again_and_again(self, place: str, found: Database, rounds: int) -> None:
        """Each record that it said it wrote is there; each that is there is whole."""
        moments = random.Random(SEED)
        told: set[str] = set()
        for _ in range(rounds):
            with subprocess.Popen(
                [sys.executable, "-m", "tests.crash_writer", place],
                stdout=subprocess.PIPE,
                text=True,
                cwd=CHECKOUT,
                env={
                    **os.environ,
                    "PYTHONPATH": str(CHECKOUT),
                    "PGPASSWORD": PASSWORD,
                },
            ) as child:
                assert child.stdout is not None
                lines = [child.stdout.readline() for _ in range(WRITTEN)]
                time.sleep(moments.uniform(0, WITHIN))
                child.kill()
                lines += child.stdout.readlines()
            told |= {f"{child.pid}-{line.strip()}" for line in lines if "\n" in line}
            self.check(found, told)

    def check(self, database: Database, told: set[str]) -> None:
        with database.at_once() as cursor:
            found = list(rows.oldest_first(cursor))
            said = rows.Wanted(words=("cafe",), most=100_000)
            by_words = {one.record.call_id for one, _ in rows.find(cursor, said)}
        ids = {one.record.call_id for one in found}
        self.assertEqual(len(found), len(ids))
        self.assertEqual(told - ids, set())
        # What was written when it was killed it had no time to tell.
        self.assertLessEqual(len(ids - told), ROUNDS)
        for one in found:
            whole = past(one.record.call_id)
            self.assertEqual(
                (one.happened, one.figures), (whole.happened, whole.figures)
            )
        self.assertEqual(by_words, ids)

    def test_a_file(self) -> None:
        path = os.path.abspath(self.mktemp())
        database = RecordFile(path, None)
        self.kill_again_and_again(path, database, ROUNDS)
        with database.at_once() as cursor:
            found = cursor.execute("PRAGMA integrity_check").fetchall()
        self.assertEqual(found, [("ok",)])

    def test_a_postgresql_database(self) -> None:
        url = the_postgres().database()
        from portero.records.postgres import RecordServer

        self.kill_again_and_again(url, RecordServer(url, PASSWORD, None), 2)


class FullDiskTests(TestCase):
    """On a real file system that is too small."""

    timeout = 30

    def setUp(self) -> None:
        self.patch(records, "FIRST_WAIT", 0.05)
        self.patch(records, "LONGEST_WAIT", 0.1)
        self.folder = Path(tempfile.mkdtemp(prefix="portero-full-"))
        self.addCleanup(self.folder.rmdir)
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(self.folder)],
            capture_output=True,
            check=False,
        )
        need(mounted.returncode == 0, "root, who may mount a small tmpfs")
        unmount = ["umount", "-l", str(self.folder)]
        self.addCleanup(subprocess.run, unmount, check=True)
        self.file = RecordFile(str(self.folder / "records.sqlite"), reactor)
        self.records = Records(self.file, reactor)
        self.records.use({"reception": AgentSettings()}, whole_numbers=False)
        self.records.startService()
        self.addCleanup(self.stop)

    async def stop(self) -> None:
        if self.records.running:
            await self.records.stopService()

    async def until(self, true: Any) -> None:
        while not true():
            await deferLater(reactor, 0.01)

    async def test_what_does_not_fit_waits_until_there_is_room(self) -> None:
        hold(self.records, "first")
        await self.until(lambda: not self.records.waiting)
        ballast = self.folder / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError:
                pass
        with capturedLogs() as events:
            for number in range(30):
                hold(self.records, str(number), TALK * 5)
            await self.until(lambda: events)
            await deferLater(reactor, 0.3)
            self.assertGreater(self.records.waiting, 20)
            ballast.unlink()
            await self.until(lambda: not self.records.waiting)
        said = [formatEvent(event) for event in events]
        self.assertEqual(len(said), 2, said)
        self.assertIn("full", said[0])
        self.assertIn("written to", said[1])
        self.assertIn("; 0 calls have none", said[1])
        await self.records.stopService()
        with RecordFile(self.file.path, None).at_once() as cursor:
            found = {one.record.call_id for one in rows.oldest_first(cursor)}
            check = cursor.execute("PRAGMA integrity_check").fetchall()
        self.assertEqual(found, {"first", *map(str, range(30))})
        self.assertEqual(check, [("ok",)])

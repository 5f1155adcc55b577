"""
A program that is killed at any moment leaves records that are whole, and recordings
that can be played up to their last second. So does one whose disk is full.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import wave
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from portero.observers.recording import PIECE
from portero.records.tape import HEADER
from tests.kept_calls import TALK

ROUNDS: Final = 3
AFTER: Final = (40, 75, 110)
"""Frames, of 20 ms, after which it is killed: within a piece and near its end."""
SLACK: Final = 25
"""Frames that a busy machine may need to write a piece."""
CHECKOUT: Final = Path(__file__).resolve().parent.parent


class Child:
    """The program, and what it said."""

    def __init__(self, *arguments: str) -> None:
        self.process = Popen(
            [sys.executable, "-m", "tests.kept_process", *arguments],
            stdin=PIPE,
            stdout=PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        )
        self.call_id = ""
        self.numbers: dict[str, int] = {}
        """Of each kind of line: the last."""

    def read(self, kind: str, at_least: int) -> None:
        """Read until it has said so much, which takes it some seconds at most."""
        for line in self.process.stdout or ():
            self._take(line)
            if self.numbers.get(kind, -1) >= at_least:
                return
        raise AssertionError(f"it ended before {kind} {at_least}: {self.numbers}")

    def _take(self, line: str) -> None:
        kind, word = line.split()
        if kind == "records":
            self.call_id = word
        else:
            self.numbers[kind] = int(word)

    def end(self, how: signal.Signals) -> None:
        self.process.send_signal(how)
        assert self.process.stdin is not None and self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith("\n"):
                self._take(line)
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(20)

    def lift_limit(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


class CrashTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def child(self, *arguments: str) -> Child:
        child = Child(str(self.folder), *arguments)
        self.addCleanup(child.process.kill)
        return child

    def records(self) -> int:
        """@return: How many there are. All are whole, and so is the file."""
        connection = sqlite3.connect(self.folder / "records.sqlite")
        try:
            self.assertEqual(
                connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)]
            )
            connection.execute(
                "INSERT INTO said_words (said_words) VALUES ('integrity-check')"
            )
            (count,) = connection.execute("SELECT count(*) FROM calls").fetchone()
            kinds = [kind for _, kind, _ in TALK]
            for table, kind in (
                ("turns", "turn"),
                ("said", "said"),
                ("tools", "tool_began"),
            ):
                rows = connection.execute(
                    f"SELECT call, count(*) FROM {table} GROUP BY call"
                ).fetchall()
                self.assertEqual(len(rows), count)
                self.assertEqual({rows for _, rows in rows}, {kinds.count(kind)})
            found = connection.execute(
                "SELECT count(*) FROM said_words WHERE said_words MATCH 'cafe'"
            ).fetchone()
            self.assertEqual(found, (count,))
        finally:
            connection.close()
        return int(count)

    def playable(self, child: Child) -> int:
        """@return: Frames of its recording."""
        (path,) = (self.folder / "sound").glob(f"*-{child.call_id}.wav")
        with wave.open(str(path), "rb") as file:
            length = file.getnframes()
            self.assertEqual(len(file.readframes(length)), 4 * length)
        return length // 160

    def test_killed_at_any_moment(self) -> None:
        kept = 0
        for number in range(ROUNDS):
            child = self.child()
            child.read("gave", AFTER[number])
            child.end(signal.SIGKILL)
            kept += child.numbers["kept"]
            count = self.records()
            self.assertGreaterEqual(count, kept)
            kept = count
            given = child.numbers["gave"]
            if given > PIECE + SLACK:
                played = self.playable(child)
                self.assertGreaterEqual(played, given - PIECE - SLACK)
                self.assertLessEqual(played, given + 1)

    def test_a_full_disk(self) -> None:
        fits = (100_000 - HEADER.size) // 640
        child = self.child("100000")
        child.read("ended", fits + PIECE + 2 * SLACK)
        self.assertGreater(child.numbers["gave"], fits)
        self.assertLess(child.numbers["gave"], fits + PIECE + SLACK)
        ended = child.numbers["ended"]
        self.assertLess(child.numbers["kept"], ended - PIECE)
        child.lift_limit()
        child.read("kept", ended)
        child.end(signal.SIGKILL)
        self.assertGreaterEqual(self.records(), ended)
        played = self.playable(child)
        self.assertLessEqual(played, fits)
        self.assertGreater(played, fits - PIECE - SLACK)

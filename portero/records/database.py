"""The SQLite file with the records of calls: its tables, and the thread that has it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from typing import Any, Final, TypeVar

from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred, fail

Result = TypeVar("Result")

BUSY_WITHIN: Final = 1.0
"""Seconds that a lock of somebody else's is waited for, in the thread."""

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE calls (
            call INTEGER PRIMARY KEY,
            id TEXT NOT NULL,
            agent TEXT NOT NULL,
            caller_name TEXT NOT NULL,
            caller_number TEXT NOT NULL,
            called_number TEXT NOT NULL,
            began TEXT NOT NULL,
            seconds REAL NOT NULL,
            outcome TEXT NOT NULL,
            reason TEXT NOT NULL,
            next TEXT NOT NULL,
            turns INTEGER NOT NULL,
            barge_ins INTEGER NOT NULL,
            latency_ms INTEGER,
            tokens INTEGER NOT NULL,
            dollars REAL,
            has_words INTEGER NOT NULL,
            recording TEXT NOT NULL,
            consent TEXT NOT NULL,
            figures TEXT NOT NULL)""",
        "CREATE INDEX calls_began ON calls (began, id)",
        "CREATE INDEX calls_id ON calls (id)",
        """CREATE TABLE turns (
            call INTEGER NOT NULL REFERENCES calls ON DELETE CASCADE,
            n INTEGER NOT NULL,
            at REAL NOT NULL,
            turn INTEGER NOT NULL,
            came_ms INTEGER,
            sounded_ms INTEGER,
            PRIMARY KEY (call, n)) WITHOUT ROWID""",
        """CREATE TABLE tools (
            call INTEGER NOT NULL REFERENCES calls ON DELETE CASCADE,
            n INTEGER NOT NULL,
            at REAL NOT NULL,
            tool INTEGER NOT NULL,
            name TEXT NOT NULL,
            arguments TEXT NOT NULL,
            ended_n INTEGER,
            ended_at REAL,
            result TEXT,
            ok INTEGER,
            ms INTEGER,
            PRIMARY KEY (call, n)) WITHOUT ROWID""",
        """CREATE TABLE said (
            said INTEGER PRIMARY KEY,
            call INTEGER NOT NULL REFERENCES calls ON DELETE CASCADE,
            n INTEGER NOT NULL,
            at REAL NOT NULL,
            role TEXT NOT NULL,
            item TEXT NOT NULL,
            text TEXT NOT NULL)""",
        "CREATE INDEX said_call ON said (call, n)",
        """CREATE VIRTUAL TABLE said_words USING fts5 (
            text, content='said', content_rowid='said',
            tokenize="unicode61 remove_diacritics 2")""",
        """CREATE TRIGGER said_added AFTER INSERT ON said BEGIN
            INSERT INTO said_words (rowid, text) VALUES (new.said, new.text);
        END""",
        """CREATE TRIGGER said_deleted AFTER DELETE ON said BEGIN
            INSERT INTO said_words (said_words, rowid, text)
                VALUES ('delete', old.said, old.text);
        END""",
        """CREATE TABLE happenings (
            call INTEGER NOT NULL REFERENCES calls ON DELETE CASCADE,
            n INTEGER NOT NULL,
            at REAL NOT NULL,
            kind TEXT NOT NULL,
            data TEXT NOT NULL,
            PRIMARY KEY (call, n)) WITHOUT ROWID""",
    ),
)
"""What makes version 1 of the tables, and of each version the next."""

_SETTINGS: Final = (
    "PRAGMA auto_vacuum = INCREMENTAL",  # counts in a new file only
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",
)


def connect(path: str) -> sqlite3.Connection:
    """
    Open a file, which is made if it is not there, and bring its tables up to date.

    @raise sqlite3.Error: It is none of ours, or cannot be had now.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite asks the umask
    except OSError as error:
        raise sqlite3.OperationalError(error.strerror) from None
    connection = sqlite3.connect(
        path,
        timeout=BUSY_WITHIN,
        isolation_level=None,  # transactions begin where it is written
        check_same_thread=False,
    )
    try:
        for setting in _SETTINGS:
            connection.execute(setting)
        _migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection) -> None:
    """@raise sqlite3.Error: It is as it was."""
    if _version(connection) < len(MIGRATIONS):
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            # Perhaps another one has done it by now.
            for migration in MIGRATIONS[_version(connection) :]:
                for statement in migration:
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    if _version(connection) > len(MIGRATIONS):
        raise sqlite3.NotSupportedError("a newer version of portero wrote it")


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


class _Pool(ConnectionPool):
    """Of one connection. A file that was moved away meanwhile is made anew."""

    _file: tuple[int, int] | None = None

    def connect(self) -> sqlite3.Connection:
        thread, (path,) = self.threadID(), self.connargs
        connection: sqlite3.Connection | None = self.connections.get(thread)
        if connection is not None and self._file != _identity(path):
            self.disconnect(connection)
            connection = None
        if connection is None:
            connection = self.connections[thread] = connect(path)
            self._file = _identity(path)
        return connection


def _identity(path: str) -> tuple[int, int] | None:
    """@return: Which file has this name now."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


class RecordFile:
    """Of records. What is done with it is done in a thread, one after another."""

    def __init__(self, path: str, reactor: Any) -> None:
        """@param path: Its folder has to be there, and to be writable."""
        self.path = path
        self._reactor = reactor
        self._pool: Any = None
        self._doing = 0

    def open(self) -> None:
        """From now on it can be used; whether it can be had shows then."""
        if self._pool is None:
            self._pool = _Pool(
                "sqlite3", self.path, cp_min=1, cp_max=1, cp_reactor=self._reactor
            )

    def run(self, do: Callable[[sqlite3.Cursor], Result]) -> Deferred[Result]:
        """
        @param do: Is given a cursor, in the thread. When it raises, what it began is
            rolled back.
        @return: What it returned; or fails, with C{sqlite3.Error} where the file
            cannot be had.
        """
        if self._pool is None:
            return fail(sqlite3.OperationalError("it is closed"))
        self._doing += 1
        running: Deferred[Result] = self._pool.runInteraction(do)
        return running.addBoth(self._done)

    def _done(self, result: Any) -> Any:
        self._doing -= 1
        return result

    def close(self) -> None:
        """What is being done is broken off; what waits is not done."""
        pool, self._pool = self._pool, None
        if pool is not None:
            # Without need it would keep the log from being written to the file.
            for connection in pool.connections.values() if self._doing else ():
                connection.interrupt()
            pool.close()

"""The SQLite file with the records of calls."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from portero.records import tables
from portero.records.database import Database, RecordsError, Unavailable

BUSY_WITHIN: Final = 1.0
"""Seconds that a lock of somebody else's is waited for, in the thread."""

NOT_OURS: Final = (
    "move that file away and a new one is made, or name another ([records] file)"
)
NOT_WRITABLE: Final = (
    "the folder must be there, writable for portero's user, on a disk with room, and "
    "nobody may lock the file ([records] file)"
)

MIGRATIONS: Final = tables.migrations(
    {
        "key": "INTEGER PRIMARY KEY",
        "number": "INTEGER",
        "real": "REAL",
        "truth": "INTEGER",
        "plain": "",
        "together": " WITHOUT ROWID",
    },
    (
        (
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
        ),
    ),
)

_SETTINGS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",
)


class Cursor(sqlite3.Cursor):
    """As L{portero.records.cursor.Cursor} has it."""

    def begin(self) -> None:
        self.execute("BEGIN IMMEDIATE")

    def last_call(self) -> int:
        assert self.lastrowid is not None  # something was inserted
        return self.lastrowid

    def index(self, call: int, said: Sequence[tuple[int, str]]) -> None:
        """A trigger did it."""

    def where_said(self, words: Sequence[str]) -> tuple[str, str]:
        condition = (
            "call IN (SELECT call FROM said WHERE said IN "
            "(SELECT rowid FROM said_words WHERE said_words MATCH ?))"
        )
        return condition, _match(words)

    def utterance(self, call: int, words: Sequence[str]) -> str:
        # All of a call was written at once, so it stands together.
        self.execute(
            "SELECT text FROM said WHERE said = (SELECT min(rowid) FROM said_words "
            "WHERE said_words MATCH ? AND rowid BETWEEN "
            "(SELECT min(said) FROM said WHERE call = ?) AND "
            "(SELECT max(said) FROM said WHERE call = ?))",
            (_match(words), call, call),
        )
        found = self.fetchone()
        return str(found[0]) if found else ""

    def shred(self, thoroughly: bool) -> None:
        """@raise sqlite3.OperationalError: Somebody else reads the log file."""
        # The index of the words keeps what was deleted until its parts are merged, and
        # the log file until it is written over.
        self.execute("INSERT INTO said_words (said_words) VALUES ('optimize')")
        self.execute("PRAGMA incremental_vacuum").fetchall()
        ((busy, *_),) = self.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if busy:
            raise sqlite3.OperationalError("database is locked")


def _match(words: Sequence[str]) -> str:
    """@return: What FTS5 is asked for: only words, whatever they look like."""
    return " ".join(f'"{word}"' for word in words) + "*"


class Connection(sqlite3.Connection):
    """Its cursors are L{Cursor}s."""

    def cursor(self, factory: Any = Cursor) -> Any:
        return super().cursor(factory)


def connect(path: str) -> Connection:
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
        factory=Connection,
    )
    try:
        if not _version(connection):  # a new file; of another it takes a lock
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
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


class RecordFile(Database):
    """One that was moved away meanwhile is made anew."""

    def __init__(self, path: str, reactor: Any) -> None:
        """@param path: Its folder has to be there, and to be writable."""
        super().__init__(path, "sqlite3", reactor)
        self.path = path
        self._file: tuple[int, int] | None = None

    @property
    def is_there(self) -> bool:
        return os.path.exists(self.path)

    def connect(self) -> Connection:
        connection = connect(self.path)
        self._file = _identity(self.path)
        return connection

    def is_good(self, connection: Any) -> bool:
        return self._file == _identity(self.path)

    def interrupt(self, connection: Any) -> None:
        connection.interrupt()

    def judged(self, error: Exception) -> Exception:
        if isinstance(error, sqlite3.OperationalError):
            return Unavailable(str(error), NOT_WRITABLE)
        if isinstance(error, sqlite3.NotSupportedError) or (
            type(error) is sqlite3.DatabaseError
        ):
            return Unavailable(str(error), NOT_OURS)
        return RecordsError(str(error)) if isinstance(error, sqlite3.Error) else error


def _identity(path: str) -> tuple[int, int] | None:
    """@return: Which file has this name now."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino

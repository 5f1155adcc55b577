"""The records of calls in a PostgreSQL database, which several hosts may share."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from portero.errors import ConfigError
from portero.records import tables
from portero.records.database import Database, RecordsError, Unavailable
from portero.records.words import fold, split
from portero.sections import is_loopback

BUSY_WITHIN: Final = 1.0
"""Seconds that a lock of somebody else's is waited for, in the thread."""
CONNECT_WITHIN: Final = 5
STATEMENT_WITHIN: Final = 30.0
"""Seconds, but for what may take long."""
SILENT_WITHIN: Final = 10
"""Seconds until a server that says nothing any more counts as lost."""

MOST_WORDS: Final = 2000
"""Of an utterance, that it is found by; with the next, PostgreSQL's limit of 1 MB."""
LONGEST_WORD: Final = 100

NOT_REACHED: Final = (
    "the server must run, let this machine and this user in (pg_hba.conf), and have "
    "the database ([records] url, docs/records.rst)"
)
NOT_ALLOWED: Final = (
    "the user must own the database: ALTER DATABASE ... OWNER TO ... ([records] url)"
)
NOT_OURS: Final = "go back to that version, or name another database ([records] url)"

_LOCK: Final = 0x706F7274
"""Held by who makes the tables: any number, but always the same."""

MIGRATIONS: Final = tables.migrations(
    {
        "key": "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
        "number": "BIGINT",
        "real": "DOUBLE PRECISION",
        "truth": "BOOLEAN",
        "plain": ' COLLATE "C"',
        "together": "",
    },
    (
        (
            """CREATE TABLE said_words (
                call BIGINT NOT NULL REFERENCES calls ON DELETE CASCADE,
                n INTEGER NOT NULL,
                words TSVECTOR NOT NULL,
                PRIMARY KEY (call, n))""",
            "CREATE INDEX said_words_words ON said_words USING gin (words)",
        ),
    ),
)

TABLES: Final = ("calls", "turns", "tools", "said", "said_words", "happenings")

_AUTHORITIES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where systems have the authorities that they trust; libpq has its own opinion."""


class Cursor(psycopg.Cursor[Any]):
    """As L{portero.records.cursor.Cursor} has it."""

    def execute(self, query: Any, params: Any = None, **more: Any) -> Any:
        return super().execute(_placed(query), params, **more)

    def executemany(self, query: Any, params_seq: Iterable[Any], **more: Any) -> None:
        super().executemany(_placed(query), params_seq, **more)

    def begin(self) -> None:
        self.execute("BEGIN")

    def last_call(self) -> int:
        # Of the sequences that this connection used: that of calls was the last.
        self.execute("SELECT lastval()")
        return int(self.only())

    def index(self, call: int, said: Sequence[tuple[int, str]]) -> None:
        rows = [(call, n, _lexemes(split(text))) for n, text in said]
        if rows:
            self.executemany(
                "INSERT INTO said_words VALUES (?, ?, array_to_tsvector(?::text[]))",
                rows,
            )

    def where_said(self, words: Sequence[str]) -> tuple[str, str]:
        condition = "call IN (SELECT call FROM said_words WHERE words @@ ?::tsquery)"
        return condition, _match(words)

    def utterance(self, call: int, words: Sequence[str]) -> str:
        self.execute(
            "SELECT text FROM said JOIN said_words USING (call, n) "
            "WHERE call = ? AND words @@ ?::tsquery ORDER BY n LIMIT 1",
            (call, _match(words)),
        )
        found = self.fetchone()
        return str(found[0]) if found else ""

    def shred(self, thoroughly: bool) -> None:
        """
        @param thoroughly: The tables are written anew. Without, the places of what was
            deleted are free to be written over.
        """
        self.execute("SET statement_timeout = 0")
        self.execute("SET lock_timeout = '30s'")
        how = "VACUUM (FULL, ANALYZE)" if thoroughly else "VACUUM"
        for table in TABLES:
            self.execute(f"{how} {table}")
        self.execute("RESET statement_timeout")
        self.execute("RESET lock_timeout")

    def only(self) -> Any:
        """@return: The value of a question that has one."""
        row = self.fetchone()
        assert row is not None  # there is always one
        return row[0]


def _placed(query: Any) -> Any:
    return query.replace("?", "%s").encode() if isinstance(query, str) else query


def _lexemes(words: Iterable[str]) -> list[str]:
    """@return: Without what is there twice, or too much."""
    found = dict.fromkeys(fold(word)[:LONGEST_WORD] for word in words)
    return list(filter(None, found))[:MOST_WORDS]


def _match(words: Sequence[str]) -> str:
    """@return: A query for the index. Words are letters and digits only."""
    folded = [fold(word)[:LONGEST_WORD] for word in words]
    return " & ".join(f"'{word}'" for word in folded) + ":*"


class RecordServer(Database):
    """It may stop and come back: then there is another connection."""

    def __init__(self, url: str, password: str, reactor: Any) -> None:
        """
        @param url: C{postgresql://...}, as libpq has it, without a password.
        @raise ConfigError: It cannot be; says why.
        """
        super().__init__(url.partition("?")[0], "psycopg", reactor)
        self._given = _conninfo(url, password)

    def connect(self) -> psycopg.Connection[Any]:
        connection = psycopg.connect(
            autocommit=True,  # transactions begin where it is written
            cursor_factory=Cursor,
            prepare_threshold=None,  # a pooler between would not know them
            **self._given,
        )
        try:
            _migrate(Cursor(connection))
        except BaseException:
            connection.close()
            raise
        return connection

    def is_good(self, connection: Any) -> bool:
        return not connection.closed

    def interrupt(self, connection: Any) -> None:
        # A word to the server might take as long as what it is to end.
        with suppress(OSError, psycopg.Error):
            line = socket.socket(fileno=os.dup(connection.fileno()))
            try:
                line.shutdown(socket.SHUT_RDWR)
            finally:
                line.close()

    def judged(self, error: Exception) -> Exception:
        if not isinstance(error, psycopg.Error):
            return error
        said = " ".join(str(error).split())
        if isinstance(error, errors.ProgramLimitExceeded):
            return RecordsError(said)
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            return Unavailable(said, NOT_REACHED)
        if isinstance(error, psycopg.NotSupportedError):
            return Unavailable(said, NOT_OURS)
        if isinstance(
            error,
            errors.InsufficientPrivilege
            | errors.ReadOnlySqlTransaction
            | errors.UndefinedTable
            | errors.UndefinedColumn,
        ):
            return Unavailable(said, NOT_ALLOWED)
        return RecordsError(said)


def _conninfo(url: str, password: str) -> dict[str, Any]:
    """
    @return: What to connect with. To another machine, TLS with its certificate
        verified, unless the url says otherwise.
    @raise ConfigError: The url cannot be.
    """
    try:
        given = conninfo_to_dict(url)
    except psycopg.Error as error:
        said = " ".join(str(error).split())
        raise ConfigError(f"[records] url cannot be read: {said}") from None
    hosts = str(given.get("host") or "").split(",")
    if not all(not host or host[0] in "/@" or is_loopback(host) for host in hosts):
        given.setdefault("sslmode", "verify-full")
    if given.get("sslmode") == "verify-full":
        there = next((path for path in _AUTHORITIES if os.path.exists(path)), "system")
        given.setdefault("sslrootcert", there)
    if password:
        given["password"] = password
    limits = {"lock_timeout": BUSY_WITHIN, "statement_timeout": STATEMENT_WITHIN}
    options = [f"-c {name}={round(1000 * limit)}" for name, limit in limits.items()]
    return {
        "application_name": "portero",
        "connect_timeout": CONNECT_WITHIN,
        "tcp_user_timeout": SILENT_WITHIN * 1000,
        "keepalives_idle": SILENT_WITHIN,
        "keepalives_interval": SILENT_WITHIN // 5,
        "keepalives_count": 3,
        "options": " ".join(options),
        **given,
    }


def _migrate(cursor: Cursor) -> None:
    """@raise psycopg.Error: It is as it was."""
    version = _version(cursor)
    if version < len(MIGRATIONS):
        cursor.begin()
        cursor.execute("SELECT pg_advisory_xact_lock(?)", (_LOCK,))
        # Perhaps another host has done it by now.
        version = _version(cursor)
        if not version:
            cursor.execute("CREATE TABLE records_version (version INTEGER NOT NULL)")
            cursor.execute("INSERT INTO records_version VALUES (0)")
        for migration in MIGRATIONS[version:]:
            for statement in migration:
                cursor.execute(statement)
        if version < len(MIGRATIONS):
            version = len(MIGRATIONS)
            cursor.execute("UPDATE records_version SET version = ?", (version,))
        cursor.execute("COMMIT")
    if version > len(MIGRATIONS):
        raise psycopg.NotSupportedError("a newer version of portero made its tables")


def _version(cursor: Cursor) -> int:
    # Looked up among the rows: what a cache knows of names may be older than the lock.
    cursor.execute(
        "SELECT count(*) FROM pg_tables WHERE tablename = 'records_version' "
        "AND schemaname = ANY (current_schemas(false))"
    )
    if not cursor.only():
        return 0
    cursor.execute("SELECT version FROM records_version")
    return int(cursor.only())

"""A database with the records of calls, and the thread that has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from twisted.enterprise.adbapi import Connection, ConnectionPool
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from portero.errors import PorteroError
from portero.records.cursor import Cursor

Result = TypeVar("Result")


class RecordsError(PorteroError):
    """The database did not do what it was asked; the message says why."""


class Unavailable(RecordsError):
    """It can do nothing now. That has to do with no call, and may pass."""

    def __init__(self, why: str, remedy: str = "") -> None:
        """@param remedy: Follows what was said, after a colon."""
        super().__init__(why)
        self.remedy = remedy


class Database:
    """
    Of records. What is done with it is done in a thread, one after another. Each kind
    says in L{connect}, L{is_good}, L{interrupt} and L{judged} what is different.
    """

    def __init__(self, name: str, driver: str, reactor: Any) -> None:
        """
        @param name: For people, without a secret.
        @param driver: The module that speaks to it.
        """
        self.name = name
        self._driver = driver
        self._reactor = reactor
        self._pool: Any = None
        self._doing = 0

    # What each kind does in its own way

    def connect(self) -> Any:
        """
        @return: A connection, whose cursors are L{Cursor}s; the tables are up to date.
        @raise Exception: The driver's; L{judged} knows it.
        """
        raise NotImplementedError

    def is_good(self, connection: Any) -> bool:
        """Whether another statement may be tried with it; asked in the thread."""
        raise NotImplementedError

    def interrupt(self, connection: Any) -> None:
        """Break off what the thread does with it, without waiting."""
        raise NotImplementedError

    def judged(self, error: Exception) -> Exception:
        """
        @return: Of an error of the driver's: a L{RecordsError} that says as much;
            L{Unavailable}, if no call is to blame. Of others: themselves.
        """
        raise NotImplementedError

    @property
    def is_there(self) -> bool:
        """Whether it need not be made first."""
        return True

    # What all have in common

    def open(self) -> None:
        """From now on it can be used; whether it can be had shows then."""
        if self._pool is None:
            self._pool = _Pool(self, self._driver, self._reactor)

    def run(self, do: Callable[[Cursor], Result]) -> Deferred[Result]:
        """
        @param do: Is given a cursor, in the thread. When it raises, what it began is
            rolled back.
        @return: What it returned; or fails, with a L{RecordsError} where the database
            did not do it.
        """
        if self._pool is None:
            return fail(Unavailable("it is closed"))
        self._doing += 1
        running: Deferred[Result] = self._pool.runInteraction(do)
        return running.addBoth(self._done).addErrback(self.judge)

    def _done(self, result: Any) -> Any:
        self._doing -= 1
        return result

    def judge(self, failure: Failure) -> Any:
        """@raise Exception: As L{judged} has it."""
        error = failure.value
        found = self.judged(error) if isinstance(error, Exception) else None
        if found is None or found is error:
            return failure
        raise found from error

    @contextmanager
    def at_once(self) -> Iterator[Cursor]:
        """
        For a program without a reactor, which may wait.

        @raise RecordsError: The database did not do what was asked.
        """
        connection = None
        try:
            connection = self.connect()
            yield connection.cursor()
        except Exception as error:
            found = self.judged(error)
            if found is error:
                raise
            raise found from error
        finally:
            if connection is not None:
                connection.close()

    def close(self) -> None:
        """What is being done is broken off; what waits is not done."""
        pool, self._pool = self._pool, None
        if pool is not None:
            # Without need it would keep a log from being written to its file.
            for connection in pool.connections.values() if self._doing else ():
                self.interrupt(connection)
            pool.close()


class _Connection(Connection):
    """One that is lost has nothing to roll back."""

    def rollback(self) -> None:
        if self._pool.database.is_good(self._connection):
            super().rollback()


class _Pool(ConnectionPool):
    """Of one connection, which is made anew when the one before is good no more."""

    connectionFactory = _Connection

    def __init__(self, database: Database, driver: str, reactor: Any) -> None:
        super().__init__(driver, cp_min=1, cp_max=1, cp_reactor=reactor)
        self.database = database

    def connect(self) -> Any:
        thread = self.threadID()
        connection = self.connections.get(thread)
        if connection is not None and not self.database.is_good(connection):
            self.disconnect(connection)
            connection = None
        if connection is None:
            connection = self.connections[thread] = self.database.connect()
        return connection

"""What L{portero.records.rows} asks a database, whichever it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Cursor(Protocol):
    """
    As of Python's DB-API, with C{?} where values go, and with what each database does
    in its own way. Outside of L{begin} and C{COMMIT} each statement counts at once.
    """

    @property
    def description(self) -> Any: ...

    @property
    def rowcount(self) -> int: ...

    def execute(self, sql: str, values: Any = ..., /) -> Any: ...

    def executemany(self, sql: str, rows: Any, /) -> Any: ...

    def fetchone(self) -> Any: ...

    def fetchall(self) -> list[Any]: ...

    def begin(self) -> None:
        """Begin what counts as a whole, or not at all; it is to write."""

    def last_call(self) -> int:
        """@return: C{call} of the row that was just inserted into C{calls}."""

    def index(self, call: int, said: Sequence[tuple[int, str]]) -> None:
        """
        Make what was just inserted into C{said} be found by its words.

        @param said: C{n} and C{text} of each.
        """

    def where_said(self, words: Sequence[str]) -> tuple[str, str]:
        """
        @param words: All in one utterance; of the last one its beginning is enough.
        @return: A condition for rows of C{calls}, and the value in it.
        """

    def utterance(self, call: int, words: Sequence[str]) -> str:
        """@return: The first of a call in which they are; empty: none."""

    def shred(self, thoroughly: bool) -> None:
        """
        Have nothing left on the disk of what was deleted, as far as the database can.

        @param thoroughly: Even if others have to wait for it.
        """

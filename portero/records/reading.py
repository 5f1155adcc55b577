"""The records, for a program beside the daemon: read, and never changed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from portero.errors import PorteroError
from portero.records import rows
from portero.records.past import Past

BUSY_WITHIN: Final = 5.0
"""Seconds that a lock of somebody else's is waited for."""
LAST: Final = "last"
MOST_SHOWN: Final = 5


class NoRecords(PorteroError):
    """They cannot be had; the message says why, and what to do."""


class NoCall(PorteroError):
    """There is none with that id, or there are several; the message names others."""


@contextmanager
def reading(path: str) -> Iterator[Any]:
    """
    @return: A cursor for L{portero.records.rows}; it can change nothing.
    @raise NoRecords: The file is not there, is none of ours, or cannot be read.
    """
    if not os.path.exists(path):
        raise NoRecords(
            f"{path}: no such file. portero makes it when it starts with records; "
            "--config names the configuration, whose [records] file says where it is"
        )
    connection = None
    try:
        connection = sqlite3.connect(
            f"file:{quote(path)}?mode=ro", timeout=BUSY_WITHIN, uri=True
        )
        yield connection.cursor()
    except sqlite3.Error as error:
        raise NoRecords(f"{path}: {error}; {_remedy(path)}") from None
    finally:
        if connection is not None:
            connection.close()


def _remedy(path: str) -> str:
    # What was written last is in files beside it, and they may have to be made.
    if not os.access(path, os.R_OK) or not os.access(os.path.dirname(path), os.W_OK):
        return "read it as root, or as the user that portero runs as"
    return "is that the file that portero writes ([records] file)?"


def find(cursor: Any, wanted: str) -> Past:
    """
    @param wanted: The id of a call, the beginning of one that no other has, or C{last}.
    @raise NoCall: It is none of these.
    """
    beginning = "" if wanted == LAST else wanted.lower()
    found = _newest(cursor, beginning)
    ids = {call.call_id for call in found}
    if beginning in ids:
        call_id = beginning
    elif found and (wanted == LAST or len(ids) == 1):
        call_id = found[0].call_id
    elif found:
        raise NoCall(f"several calls begin with {beginning}:\n{_listed(found)}")
    else:
        raise NoCall(_none(cursor, beginning))
    past = rows.read(cursor, call_id)
    if past is None:
        raise NoCall(f"the record of {call_id} was deleted this very moment")
    return past


class _Call(NamedTuple):
    call_id: str
    began: str
    agent: str


def _none(cursor: Any, beginning: str) -> str:
    """@return: That there is no such call, and which ones are nearest to it."""
    for length in range(len(beginning), -1, -1):
        found = _newest(cursor, beginning[:length])
        if found:
            what = f"begin with {beginning[:length]}" if length else "are the last ones"
            return (
                f"no call in the records begins with {beginning}; each has its record "
                f"when it is over. These {what}:\n{_listed(found)}"
            )
    return "there is no call in the records yet; each has its record when it is over"


def _listed(calls: Sequence[_Call]) -> str:
    lines = [f"  {one.call_id}  {one.began}  {one.agent}" for one in calls]
    more = ["  ..."] if len(lines) > MOST_SHOWN else []
    return "\n".join(lines[:MOST_SHOWN] + more)


def _newest(cursor: Any, beginning: str) -> list[_Call]:
    """@return: Calls whose ids begin so; one more than are shown, if there are."""
    cursor.execute(
        "SELECT id, began, agent FROM calls WHERE substr(id, 1, ?) = ? "
        "ORDER BY began DESC, id DESC LIMIT ?",
        (len(beginning), beginning, MOST_SHOWN + 1),
    )
    return [_Call(*row) for row in cursor.fetchall()]

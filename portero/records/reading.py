"""One call of the records, as a person names it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from portero.errors import PorteroError
from portero.records import rows
from portero.records.cursor import Cursor
from portero.records.past import Past

LAST: Final = "last"
MOST_SHOWN: Final = 5


class NoCall(PorteroError):
    """There is none with that id, or there are several; the message names others."""


def find(cursor: Cursor, wanted: str) -> Past:
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


def _none(cursor: Cursor, beginning: str) -> str:
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


def _newest(cursor: Cursor, beginning: str) -> list[_Call]:
    """@return: Calls whose ids begin so; one more than are shown, if there are."""
    cursor.execute(
        "SELECT id, began, agent FROM calls WHERE substr(id, 1, ?) = ? "
        "ORDER BY began DESC, id DESC LIMIT ?",
        (len(beginning), beginning, MOST_SHOWN + 1),
    )
    return [_Call(*row) for row in cursor.fetchall()]

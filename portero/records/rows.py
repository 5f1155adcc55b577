"""
Calls as rows of a database. Everything here waits for a disk or a server, and may raise
what the database's driver does.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from portero.facts import Facts
from portero.interfaces import Happening, LegFigures
from portero.record import Outcome, Record
from portero.records.cursor import Cursor
from portero.records.past import LAST_DIGITS, Past

AT_ONCE: Final = 200
"""Calls that are deleted in one transaction: what is to be written waits as long."""

READ_AT_ONCE: Final = 100
"""Calls that are in memory at the same time."""


def write(cursor: Cursor, past: Past) -> None:
    """
    The whole call, or nothing of it. What is there already is not written again: the
    connection may have been lost between a server's doing and its word.
    """
    record, facts = past.record, past.record.facts
    cursor.begin()
    same = "SELECT 1 FROM calls WHERE id = ? AND began = ?"
    if cursor.execute(same, (record.call_id, record.began)).fetchone():
        return
    cursor.execute(
        "INSERT INTO calls (id, agent, caller_name, caller_number, called_number, "
        "began, seconds, outcome, reason, next, turns, barge_ins, latency_ms, tokens, "
        "dollars, has_words, recording, consent, figures, host) "
        f"VALUES ({', '.join('?' * 20)})",
        (
            record.call_id,
            record.agent,
            facts.caller_name,
            facts.caller_number,
            facts.called_number,
            record.began,
            round(record.seconds, 3),
            record.outcome.value,
            _text(record.reason),
            record.next,
            record.turns,
            record.barge_ins,
            record.latency_ms,
            record.tokens,
            record.dollars,
            past.has_words,
            past.recording,
            past.consent,
            json.dumps(asdict(past.figures)),
            past.host,
        ),
    )
    call = cursor.last_call()
    turns, tools, said, others = [], [], [], []
    ends: dict[Any, tuple[int, Happening]] = {
        each.data.get("tool"): (n, each)
        for n, each in enumerate(past.happened)
        if each.kind == "tool_ended"
    }
    for n, each in enumerate(past.happened):
        get = each.data.get
        if each.kind == "turn":
            turns.append(
                (call, n, each.at, get("turn"), get("came_ms"), get("sounded_ms"))
            )
        elif each.kind == "said":
            item, text = _text(get("item")), _text(get("text"))
            said.append((call, n, each.at, get("role"), item, text))
        elif each.kind == "tool_began":
            name, arguments = _text(get("name")), _text(get("arguments", ""))
            tool = (call, n, each.at, get("tool"), name, arguments)
            tools.append((*tool, *_end(ends.get(get("tool")))))
        elif each.kind != "tool_ended":
            others.append((call, n, each.at, each.kind, json.dumps({**each.data})))
    _insert(cursor, "turns (call, n, at, turn, came_ms, sounded_ms)", turns)
    _insert(cursor, "said (call, n, at, role, item, text)", said)
    cursor.index(call, [(n, text) for _, n, _, _, _, text in said])
    _insert(
        cursor,
        "tools (call, n, at, tool, name, arguments, ended_n, ended_at, result, ok, ms)",
        tools,
    )
    _insert(cursor, "happenings (call, n, at, kind, data)", others)


def _end(found: tuple[int, Happening] | None) -> tuple[Any, ...]:
    if found is None:
        return (None,) * 5
    n, end = found
    get = end.data.get
    return n, end.at, _text(get("result", "")), get("ok"), get("ms")


def _text(text: str | None) -> str:
    """
    @return: Without what not every database can hold: half a pair, of a text that was
        cut, and NUL.
    """
    return (text or "").encode("utf-8", "replace").decode().replace("\0", " ")


def _insert(cursor: Cursor, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if rows:
        places = ", ".join("?" * len(rows[0]))
        cursor.executemany(f"INSERT INTO {table} VALUES ({places})", rows)


def delete(cursor: Cursor, before: str) -> int:
    """
    Delete calls that began before then, so that nothing of them is left on the disk.

    @param before: Date and time, ISO 8601, in UTC.
    @return: How many there were.
    """
    deleted = _delete(cursor, "began < ?", before)
    cursor.shred(False)  # also what was deleted when that could not be done
    return deleted


def erase(cursor: Cursor, ids: Iterable[str], *, thoroughly: bool) -> int:
    """
    Delete calls, so that nothing of them is left on the disk.

    @param thoroughly: As L{Cursor.shred} has it.
    @return: How many there were.
    """
    deleted = sum(_delete(cursor, "id = ?", call_id) for call_id in ids)
    cursor.shred(thoroughly)
    return deleted


def _delete(cursor: Cursor, which: str, value: str) -> int:
    deleted = 0
    while True:
        cursor.begin()
        cursor.execute(
            "DELETE FROM calls WHERE call IN "
            f"(SELECT call FROM calls WHERE {which} LIMIT ?)",
            (value, AT_ONCE),
        )
        deleted += cursor.rowcount
        done = cursor.rowcount < AT_ONCE
        cursor.execute("COMMIT")
        if done:
            return deleted


@dataclass(frozen=True, slots=True)
class Wanted:
    """What calls are looked for. What is empty is no condition."""

    words: tuple[str, ...] = ()
    """All in one utterance; of the last one its beginning is enough."""
    agent: str = ""
    outcome: str = ""
    digits: str = ""
    """The last ones of a number."""
    since: str = ""
    """Began then or later: as the records have it."""
    until: str = ""
    """Began earlier."""
    before: tuple[str, str] | None = None
    """When another call began, and its id: those that are older."""
    most: int = 50


def find(cursor: Cursor, wanted: Wanted) -> list[tuple[Past, str]]:
    """@return: The newest that fit, each with an utterance that has the words."""
    where = ["true"]
    values: list[Any] = []

    def condition(text: str, *given: Any) -> None:
        where.append(text)
        values.extend(given)

    if wanted.agent:
        condition("agent = ?", wanted.agent)
    if wanted.outcome:
        condition("outcome = ?", wanted.outcome)
    if wanted.since:
        condition("began >= ?", wanted.since)
    if wanted.until:
        condition("began < ?", wanted.until)
    if wanted.before is not None:
        condition("(began, id) < (?, ?)", *wanted.before)
    if wanted.digits:
        for column in ("caller_number", "called_number"):
            condition(f"{column} LIKE ?", f"%{wanted.digits}")
            condition(f"{column} = ?", f"...{wanted.digits[-LAST_DIGITS:]}")
        last = where[-4:]
        where[-4:] = [f"({' OR '.join(last)})"]
    if wanted.words:
        condition(*cursor.where_said(wanted.words))
    cursor.execute(
        f"SELECT * FROM calls WHERE {' AND '.join(where)} "
        "ORDER BY began DESC, id DESC LIMIT ?",
        (*values, wanted.most),
    )
    rows = _named(cursor)
    said = wanted.words
    return [
        (_past(row), cursor.utterance(row["call"], said) if said else "")
        for row in rows
    ]


def oldest_first(cursor: Cursor, since: str = "", until: str = "") -> Iterator[Past]:
    """
    All calls with all that happened in them, a few at a time.

    @param since: As of L{Wanted}, as is C{until}.
    """
    after: tuple[str, int] = (since, 0)
    values = (until,) if until else ()
    ends = " AND began < ?" if until else ""
    while True:
        cursor.execute(
            f"SELECT * FROM calls WHERE (began, call) > (?, ?){ends} "
            "ORDER BY began, call LIMIT ?",
            (*after, *values, READ_AT_ONCE),
        )
        rows = _named(cursor)
        for row in rows:
            yield _past(row, _happened(cursor, row["id"], row["call"]))
        if len(rows) < READ_AT_ONCE:
            return
        after = rows[-1]["began"], rows[-1]["call"]


def read(cursor: Cursor, call_id: str) -> Past | None:
    """@return: The newest call with that id, with all that happened in it."""
    cursor.execute(
        "SELECT * FROM calls WHERE id = ? ORDER BY call DESC LIMIT 1", (call_id,)
    )
    rows = _named(cursor)
    if not rows:
        return None
    (row,) = rows
    return _past(row, _happened(cursor, call_id, row["call"]))


def all_of(cursor: Cursor, call_id: str) -> list[Past]:
    """@return: Each call with that id, without what happened in it."""
    cursor.execute("SELECT * FROM calls WHERE id = ? ORDER BY call", (call_id,))
    return [_past(row) for row in _named(cursor)]


def _named(cursor: Cursor) -> list[dict[str, Any]]:
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


_FIGURES: Final = frozenset(field.name for field in fields(LegFigures))


def _past(row: Mapping[str, Any], happened: tuple[Happening, ...] = ()) -> Past:
    record = Record(
        row["id"],
        row["agent"],
        Facts(row["caller_name"], row["caller_number"], row["called_number"]),
        row["began"],
        row["seconds"],
        Outcome(row["outcome"]),
        row["reason"],
        row["next"],
        row["turns"],
        row["barge_ins"],
        row["latency_ms"],
        row["tokens"],
        row["dollars"],
    )
    # Another version may have had others.
    figures = {
        name: value
        for name, value in json.loads(row["figures"]).items()
        if name in _FIGURES
    }
    return Past(
        record,
        LegFigures(**figures),
        happened,
        bool(row["has_words"]),
        row["recording"],
        row["consent"],
        row["host"],
    )


def _happened(cursor: Cursor, call_id: str, call: int) -> tuple[Happening, ...]:
    found: list[tuple[int, Happening]] = []

    def add(n: int, at: float, kind: str, data: Mapping[str, Any]) -> None:
        found.append((n, Happening(call_id, kind, at, data)))

    def rows(table: str) -> list[dict[str, Any]]:
        cursor.execute(f"SELECT * FROM {table} WHERE call = ?", (call,))
        return _named(cursor)

    for row in rows("happenings"):
        add(row["n"], row["at"], row["kind"], json.loads(row["data"]))
    for row in rows("turns"):
        figures = {name: row[name] for name in ("turn", "came_ms", "sounded_ms")}
        add(row["n"], row["at"], "turn", figures)
    for row in rows("said"):
        said = {name: row[name] for name in ("role", "item", "text")}
        add(row["n"], row["at"], "said", said)
    for row in rows("tools"):
        tool = {"tool": row["tool"], "name": row["name"]}
        began = {**tool, "arguments": row["arguments"]}
        add(row["n"], row["at"], "tool_began", began)
        if row["ended_n"] is not None:
            ok = bool(row["ok"])
            ended = {**tool, "result": row["result"], "ok": ok, "ms": row["ms"]}
            add(row["ended_n"], row["ended_at"], "tool_ended", ended)
    return tuple(happening for _, happening in sorted(found, key=lambda one: one[0]))

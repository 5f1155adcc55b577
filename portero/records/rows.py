"""
Calls as rows of the file with the records. Everything here waits for a disk, and may
raise C{sqlite3.Error}.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from portero.facts import Facts
from portero.interfaces import Happening, LegFigures
from portero.record import Outcome, Record
from portero.records.past import LAST_DIGITS, Past

AT_ONCE: Final = 200
"""Calls that are deleted in one transaction: what is to be written waits as long."""


def write(cursor: sqlite3.Cursor, past: Past) -> None:
    """The whole call, or nothing of it."""
    record, facts = past.record, past.record.facts
    cursor.execute("BEGIN IMMEDIATE")
    cursor.execute(
        "INSERT INTO calls (id, agent, caller_name, caller_number, called_number, "
        "began, seconds, outcome, reason, next, turns, barge_ins, latency_ms, tokens, "
        "dollars, has_words, recording, consent, figures) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
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
        ),
    )
    call = cursor.lastrowid
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
            item, text = get("item", ""), _text(get("text", ""))
            said.append((call, n, each.at, get("role"), item, text))
        elif each.kind == "tool_began":
            name, arguments = _text(get("name")), _text(get("arguments", ""))
            tool = (call, n, each.at, get("tool"), name, arguments)
            tools.append((*tool, *_end(ends.get(get("tool")))))
        elif each.kind != "tool_ended":
            others.append((call, n, each.at, each.kind, json.dumps({**each.data})))
    _insert(cursor, "turns (call, n, at, turn, came_ms, sounded_ms)", turns)
    _insert(cursor, "said (call, n, at, role, item, text)", said)
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
    """@return: Without what no file can hold: half a pair, of a text that was cut."""
    return (text or "").encode("utf-8", "replace").decode()


def _insert(
    cursor: sqlite3.Cursor, table: str, rows: Sequence[tuple[Any, ...]]
) -> None:
    if rows:
        places = ", ".join("?" * len(rows[0]))
        cursor.executemany(f"INSERT INTO {table} VALUES ({places})", rows)


def delete(cursor: sqlite3.Cursor, before: str) -> int:
    """
    Delete calls that began before then, so that nothing of them is left in the file.

    @param before: Date and time, ISO 8601, in UTC.
    @return: How many there were.
    """
    deleted = 0
    while True:
        cursor.execute("BEGIN IMMEDIATE")
        cursor.execute(
            "DELETE FROM calls WHERE call IN "
            "(SELECT call FROM calls WHERE began < ? LIMIT ?)",
            (before, AT_ONCE),
        )
        deleted += cursor.rowcount
        done = cursor.rowcount < AT_ONCE
        cursor.execute("COMMIT")
        if done:
            break
    if deleted:
        # The index of the words keeps what was deleted until its parts are merged, and
        # the log file until it is written over.
        cursor.execute("INSERT INTO said_words (said_words) VALUES ('optimize')")
        cursor.execute("PRAGMA incremental_vacuum")
        cursor.fetchall()
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        cursor.fetchall()
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


def find(cursor: sqlite3.Cursor, wanted: Wanted) -> list[tuple[Past, str]]:
    """@return: The newest that fit, each with an utterance that has the words."""
    where = ["1"]
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
        condition(
            "call IN (SELECT call FROM said WHERE said IN "
            "(SELECT rowid FROM said_words WHERE said_words MATCH ?))",
            match(wanted.words),
        )
    cursor.execute(
        f"SELECT * FROM calls WHERE {' AND '.join(where)} "
        "ORDER BY began DESC, id DESC LIMIT ?",
        (*values, wanted.most),
    )
    rows = _named(cursor)
    return [(_past(row), _utterance(cursor, row, wanted.words)) for row in rows]


def match(words: Iterable[str]) -> str:
    """@return: What FTS5 is asked for: only words, whatever they look like."""
    return " ".join(f'"{word}"' for word in words) + "*"


def _utterance(
    cursor: sqlite3.Cursor, row: Mapping[str, Any], words: Sequence[str]
) -> str:
    if not words:
        return ""
    # All of a call was written at once, so it stands together.
    cursor.execute(
        "SELECT text FROM said WHERE said = (SELECT min(rowid) FROM said_words "
        "WHERE said_words MATCH ? AND rowid BETWEEN "
        "(SELECT min(said) FROM said WHERE call = ?) AND "
        "(SELECT max(said) FROM said WHERE call = ?))",
        (match(words), row["call"], row["call"]),
    )
    found = cursor.fetchone()
    return str(found[0]) if found else ""


def read(cursor: sqlite3.Cursor, call_id: str) -> Past | None:
    """@return: The newest call with that id, with all that happened in it."""
    cursor.execute(
        "SELECT * FROM calls WHERE id = ? ORDER BY call DESC LIMIT 1", (call_id,)
    )
    rows = _named(cursor)
    if not rows:
        return None
    (row,) = rows
    return _past(row, _happened(cursor, call_id, row["call"]))


def _named(cursor: sqlite3.Cursor) -> list[dict[str, Any]]:
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
    )


def _happened(cursor: sqlite3.Cursor, call_id: str, call: int) -> tuple[Happening, ...]:
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

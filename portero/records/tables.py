"""
The tables of the records, in the words of each database: C{key} is a number that it
gives itself, C{number} a reference to one, C{real} and C{truth} are types, C{plain} has
texts compared by their characters, and C{together} has rows stand in the order of their
key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Final

VERSIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """CREATE TABLE calls (
            call {key},
            id TEXT NOT NULL{plain},
            agent TEXT NOT NULL,
            caller_name TEXT NOT NULL,
            caller_number TEXT NOT NULL,
            called_number TEXT NOT NULL,
            began TEXT NOT NULL{plain},
            seconds {real} NOT NULL,
            outcome TEXT NOT NULL,
            reason TEXT NOT NULL,
            next TEXT NOT NULL,
            turns INTEGER NOT NULL,
            barge_ins INTEGER NOT NULL,
            latency_ms INTEGER,
            tokens INTEGER NOT NULL,
            dollars {real},
            has_words {truth} NOT NULL,
            recording TEXT NOT NULL,
            consent TEXT NOT NULL,
            figures TEXT NOT NULL)""",
        "CREATE INDEX calls_began ON calls (began, id)",
        "CREATE INDEX calls_id ON calls (id)",
        """CREATE TABLE turns (
            call {number} NOT NULL REFERENCES calls ON DELETE CASCADE,
            n INTEGER NOT NULL,
            at {real} NOT NULL,
            turn INTEGER NOT NULL,
            came_ms INTEGER,
            sounded_ms INTEGER,
            PRIMARY KEY (call, n)){together}""",
        """CREATE TABLE tools (
            call {number} NOT NULL REFERENCES calls ON DELETE CASCADE,
            n INTEGER NOT NULL,
            at {real} NOT NULL,
            tool INTEGER NOT NULL,
            name TEXT NOT NULL,
            arguments TEXT NOT NULL,
            ended_n INTEGER,
            ended_at {real},
            result TEXT,
            ok {truth},
            ms INTEGER,
            PRIMARY KEY (call, n)){together}""",
        """CREATE TABLE said (
            said {key},
            call {number} NOT NULL REFERENCES calls ON DELETE CASCADE,
            n INTEGER NOT NULL,
            at {real} NOT NULL,
            role TEXT NOT NULL,
            item TEXT NOT NULL,
            text TEXT NOT NULL)""",
        "CREATE INDEX said_call ON said (call, n)",
        """CREATE TABLE happenings (
            call {number} NOT NULL REFERENCES calls ON DELETE CASCADE,
            n INTEGER NOT NULL,
            at {real} NOT NULL,
            kind TEXT NOT NULL,
            data TEXT NOT NULL,
            PRIMARY KEY (call, n)){together}""",
    ),
    ("ALTER TABLE calls ADD COLUMN host TEXT NOT NULL DEFAULT ''",),
)
"""What makes version 1 of the tables, and of each version the next."""


def migrations(
    words: Mapping[str, str], own: Sequence[tuple[str, ...]]
) -> tuple[tuple[str, ...], ...]:
    """
    @param words: Of one database.
    @param own: By version: what it has besides, after the rest.
    """
    return tuple(
        tuple(statement.format(**words) for statement in shared) + more
        for shared, more in zip_longest(VERSIONS, own, fillvalue=())
    )

"""Files of calls besides their records: found by the id of a call, and removed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Final

from portero.outbox.folder import FAILED

_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}")


def of_call(folders: Iterable[str], call_id: str) -> list[Path]:
    """
    @param folders: With files like C{20261121T100000Z-ID.wav}, a date and the id before
        the first point. They need not be there.
    @raise OSError: One of them cannot be looked into.
    """
    if not _ID.fullmatch(call_id):
        return []
    return [
        path
        for folder in folders
        if os.path.isdir(folder)
        for path in sorted(Path(folder).iterdir())
        if path.name.partition(".")[0].endswith(f"Z-{call_id}")
    ]


def unsent(queue: str, call_id: str) -> list[Path]:
    """
    @param queue: Folder of records that the webhook has not taken yet.
    @return: Those of a call, and what stands beside them.
    @raise OSError: It cannot be looked into.
    """
    found = []
    for path in _queued(queue):
        try:
            same = json.loads(path.read_bytes())["call"]["id"] == call_id
        except (ValueError, KeyError, TypeError, FileNotFoundError):
            continue  # none of ours, or sent meanwhile
        if same:
            found += _with_reason(path)
    return found


def delete_unsent(queue: str, before: str) -> int:
    """
    @param queue: As of L{unsent}.
    @param before: Date and time, ISO 8601: what was queued earlier is deleted.
    @return: How many there were.
    @raise OSError: One of them is still there.
    """
    limit = datetime.fromisoformat(before).timestamp()
    old = [path for path in _queued(queue) if int(path.name.partition("-")[0]) < limit]
    for path in old:
        remove(_with_reason(path))
    return len(old)


def _queued(queue: str) -> list[Path]:
    """@return: What waits there, and what was put aside."""
    folders = (Path(queue), Path(queue, FAILED)) if queue else ()
    found = [path for folder in folders for path in sorted(folder.glob("*.json"))]
    return [path for path in found if path.name.partition("-")[0].isdecimal()]


def _with_reason(path: Path) -> list[Path]:
    reason = path.with_name(f"{path.name}.reason")
    return [path, *([reason] if reason.exists() else [])]


def remove(paths: Iterable[Path]) -> int:
    """
    @return: How many there were.
    @raise OSError: One of them is still there.
    """
    removed = 0
    for path in paths:
        path.unlink(missing_ok=True)
        removed += 1
    return removed

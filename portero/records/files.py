"""Files of calls besides their records: found by the id of a call, and removed."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
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
    for folder in (queue, os.path.join(queue, FAILED)):
        for path in sorted(Path(folder).glob("*.json")) if queue else ():
            try:
                same = json.loads(path.read_bytes())["call"]["id"] == call_id
            except (ValueError, KeyError, TypeError, FileNotFoundError):
                continue  # none of ours, or sent meanwhile
            if same:
                reason = path.with_name(f"{path.name}.reason")
                found += [path, *([reason] if reason.exists() else [])]
    return found


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

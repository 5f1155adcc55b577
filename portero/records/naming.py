"""The names of files with what is kept of one call, and their end."""

from __future__ import annotations

import os
import re
from datetime import datetime
from typing import Final

_NAME: Final = re.compile(r"([0-9]{8}T[0-9]{6}Z)-[0-9A-Za-z-]{1,64}")
_WHEN: Final = "%Y%m%dT%H%M%SZ"


def file_name(began: str, call_id: str, suffix: str) -> str:
    """
    @param began: Date and time, ISO 8601, in UTC.
    @raise ValueError: The id is not fit for the name of a file.
    """
    name = f"{datetime.fromisoformat(began).strftime(_WHEN)}-{call_id}"
    if not _NAME.fullmatch(name):
        raise ValueError(f"{call_id!r} is no id of a call")
    return name + suffix


def delete(folder: str, before: str, suffix: str, also: tuple[str, ...] = ()) -> int:
    """
    Waits for a disk.

    @param before: Date and time, ISO 8601, in UTC: of calls that began earlier.
    @param also: Suffixes of what was made of these files.
    @return: How many there were, without what was made of them.
    @raise OSError: One of them is still there.
    """
    limit = datetime.fromisoformat(before).strftime(_WHEN)
    deleted = 0
    if not os.path.isdir(folder):
        return 0
    for name in os.listdir(folder):
        ending = next((end for end in (suffix, *also) if name.endswith(end)), None)
        found = _NAME.fullmatch(name.removesuffix(ending)) if ending else None
        if found is not None and found[1] < limit:
            os.unlink(os.path.join(folder, name))
            deleted += ending == suffix
    return deleted

"""Settings of what is kept of calls: as L{portero.sections}."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final

from portero.settings import setting

NOWHERE: Final = "none"
"""Instead of a file: there is to be none."""


def _check_path(path: str) -> str:
    if path and path != NOWHERE and not (os.path.isabs(path) and path.isprintable()):
        return "must be a whole path, which begins with /"
    return ""


@dataclass(frozen=True, slots=True)
class RecordSettings:
    """
    What is kept of calls when they are over: no words, no sound and no whole number,
    unless you say so. docs/records.rst has the details.
    """

    file: str = setting(
        "",
        "SQLite file with a record of every call; empty: records.sqlite in the state "
        'folder that systemd gives, else none; "none": none at all.',
        check=_check_path,
        example="/var/lib/portero/records.sqlite",
    )
    numbers: str = setting(
        "short",
        "short: the last three digits of telephone numbers, and no name of the caller; "
        "whole: all of it.",
        choices=("short", "whole"),
    )
    days: int = setting(
        90,
        "Older records, recordings and captures are deleted, once a day.",
        unit="days",
        least=1,
        most=36500,
    )
    recordings: str = setting(
        "",
        "Folder for the sound of agents with record = true; empty: recordings in the "
        "state folder that systemd gives.",
        check=_check_path,
        example="/var/lib/portero/recordings",
    )
    captures: str = setting(
        "",
        "Folder for the calls of agents with capture = true; empty: captures in the "
        "state folder that systemd gives.",
        check=_check_path,
        example="/var/lib/portero/captures",
    )

"""Where what is kept of calls is, as the configuration says."""

from __future__ import annotations

import os
import socket
from typing import Any, Final

from portero.config import Config
from portero.record_sections import NOWHERE, RecordSettings
from portero.records.database import Database
from portero.records.sqlite import RecordFile

FOLDERS: Final = ("recordings", "captures")
"""Settings, and default names, of folders with files of calls: each file has the call's
id in its name."""


def place(named: str, state_folder: str, name: str) -> str:
    """
    @param named: As a setting has it.
    @return: Path, or empty: nowhere.
    """
    if named == NOWHERE:
        return ""
    return named or (os.path.join(state_folder, name) if state_folder else "")


def folders(settings: RecordSettings, state_folder: str) -> tuple[str, ...]:
    """@return: All that may hold files of calls; they need not be there."""
    named = {name: getattr(settings, name) for name in FOLDERS}
    found = [place(path, state_folder, name) for name, path in named.items()]
    return tuple(filter(None, found))


def database(config: Config, state_folder: str, reactor: Any = None) -> Database | None:
    """
    @param reactor: L{None}: it is used at once only.
    @return: The one with the records; L{None}: there is none.
    @raise ConfigError: It cannot be.
    """
    settings = config.records
    if settings.url:
        from portero.records.postgres import RecordServer  # who has none lacks psycopg

        return RecordServer(settings.url, config.secrets.records, reactor)
    path = place(settings.file, state_folder, "records.sqlite")
    return RecordFile(path, reactor) if path else None


def this_host() -> str:
    """@return: What records call this machine."""
    return socket.gethostname()

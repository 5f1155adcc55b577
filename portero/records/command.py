"""What commands have in common that look at the records without a reactor."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar, Final

from twisted.python import usage

from portero.config import Config, load
from portero.errors import ConfigError
from portero.explain import CONFIG, environment
from portero.record_sections import NOWHERE
from portero.records import places
from portero.records.database import Database, Unavailable

STATE: Final = "/var/lib/portero"
"""As the shipped unit has it."""


class Options(usage.Options):
    optParameters: ClassVar[list[list[Any]]] = [
        ["config", "c", None, f"Configuration file ({CONFIG}, if it is there)."],
        ["env", None, None, "Take the environment from this file, not this shell."],
        ["state", None, None, f"The service's state folder ({STATE}, if there)."],
    ]
    compData: ClassVar[Any] = usage.Completions(
        optActions={
            "config": usage.CompleteFiles("*.toml"),
            "env": usage.CompleteFiles(),
            "state": usage.CompleteDirs(),
        }
    )

    @property
    def state_folder(self) -> str:
        given: str = self["state"] or os.environ.get("STATE_DIRECTORY", "")
        return given or (STATE if os.path.isdir(STATE) else "")

    def read(self) -> Config:
        """@raise ConfigError: It is wrong."""
        path = self["config"] or (CONFIG if Path(CONFIG).exists() else "")
        return load(path, environment(self["env"]))

    def database(self, config: Config) -> Database:
        """@raise ConfigError: There is none, or it cannot be."""
        if config.records.file == NOWHERE and not config.records.url:
            raise ConfigError(
                '[records] file is "none": no records are kept. Name a file there, and '
                "ask of the calls from then on"
            )
        found = places.database(config, self.state_folder)
        if found is None or not found.is_there:
            where = "no place for records is known" if found is None else found.name
            raise ConfigError(
                f"{where}: there are no records; name the service's configuration "
                "(--config) and its state folder (--state)"
            )
        return found


def told(error: Exception) -> str:
    """@return: What is wrong, and what to do."""
    remedy = error.remedy if isinstance(error, Unavailable) else ""
    return f"{error}: {remedy}" if remedy else str(error)

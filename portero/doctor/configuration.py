"""The configuration, read as the service reads it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from portero import envfile
from portero.announcement import NO_NVX, warnings
from portero.config import Config, check_keys, load
from portero.doctor.report import Finding, fail, ok, warn
from portero.errors import ConfigError
from portero.explain import CONFIG
from portero.roster import Roster
from portero.wiring import Wiring

ENVIRONMENT: Final = "/etc/portero/environment"
OF_SYSTEMD: Final = {
    "CREDENTIALS_DIRECTORY": "/run/credentials/portero.service",
    "STATE_DIRECTORY": "/var/lib/portero",
}
"""What C{conf/portero.service} has in its environment, and this shell has not."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What the checks are about."""

    config: Config
    roster: Roster
    state_folder: str
    """As portero has it; empty: there is none."""


def read(
    reactor: Any,
    path: str | None,
    env: str | None,
    options: Mapping[str, Mapping[str, Any]],
) -> tuple[Installation | None, list[Finding]]:
    """
    @param path: Of the file; C{None}: the usual one, if it is there.
    @param env: File of the service's environment; C{None}: this shell's own, or the
        usual file if the configuration is the usual one.
    @param options: By section and key, as the command line of the service has them.
    @return: Without an installation when something is wrong.
    """
    usual = path is None and Path(CONFIG).exists()
    path = CONFIG if usual else path or ""
    if env is None and usual and os.access(ENVIRONMENT, os.R_OK):
        env = ENVIRONMENT
    try:
        environ = surroundings(envfile.read(env) if env else os.environ)
        config = load(path, environ, options)
        check_keys(config)
        state_folder = environ.get("STATE_DIRECTORY", "").partition(":")[0]
        roster = Wiring(reactor, state_folder).build(config).roster
    except ConfigError as error:
        see = f"portero check-config {path or 'FILE'}" + (
            f" --env {env}" if env else ""
        )
        problems = str(error).splitlines()
        return None, [fail("configuration", problem, see) for problem in problems]
    told = warnings(config)
    found = [
        warn("configuration", told_now, "see docs/configuration.rst")
        for told_now in told
        if told_now != NO_NVX  # which has a check of its own
    ]
    who = [f"{name} ({roster.describe(name)})" for name in config.agents]
    said = f"{path or 'no file, so all is the default'}; agents: {', '.join(who)}"
    found.insert(0, ok("configuration", said))
    return Installation(config, roster, state_folder), found


def surroundings(given: Mapping[str, str]) -> dict[str, str]:
    """@return: With what systemd adds for the service, where that is here."""
    found = dict(given)
    for name, folder in OF_SYSTEMD.items():
        if not found.get(name) and os.access(folder, os.R_OK | os.X_OK):
            found[name] = folder
    return found

"""The C{portero} command: what is not the daemon itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

USAGE = """\
portero call [options] [host:port]     place a call without an Asterisk
portero doctor [options]               say what is wrong with an installation
portero check-config FILE [--env FILE] say all that is wrong with a configuration
portero default-config                 print the commented configuration file
portero explain AGENT [options]        what an agent has, and where it was set
portero explain --did NUMBER           which agent answers that number, and why
portero passwd [--token] [NAME]        make a user of the page: print his section
portero why CALL [options]             what happened in a call, and what was wrong
portero replay CALL|FILE [options]     play a captured call again: what differs
portero export [--since DAY] [options] print the record of each call as a line of JSON
portero erase CALL|NUMBER [options]    delete for good all that is kept of calls

Those with options have a --help of their own.
The daemon is: twistd -n portero --port 8089 (options: twistd portero --help)
"""

COMMANDS: Final = {
    "call": "portero.placecall",
    "doctor": "portero.doctor.command",
    "erase": "portero.erase",
    "explain": "portero.explain",
    "export": "portero.export",
    "passwd": "portero.passwd",
    "replay": "portero.replay",
    "why": "portero.why",
}
"""By name: a module with C{run}, which takes the rest of the line and returns the exit
status. None is imported but the one that is wanted."""


def main(arguments: Sequence[str] | None = None) -> int:
    """@return: The exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command, rest = (given[0], given[1:]) if given else ("", [])
    if command in COMMANDS:
        status: int = import_module(COMMANDS[command]).run(rest)
        return status
    match command, rest:
        case "check-config", [path]:
            return check_config(path)
        case "check-config", [path, "--env", env] | ["--env", env, path]:
            return check_config(path, env)
        case "default-config", []:
            from portero.reference import default_config

            print(default_config(), end="")
            return 0
    wanted = command in ("", "help", "--help", "-h")
    print(USAGE, file=sys.stdout if wanted else sys.stderr, end="")
    return 0 if wanted else 1


def check_config(path: str, env: str = "") -> int:
    """
    Print all that is wrong with a file, or that nothing is.

    @param env: File of the service's environment. This shell's own is left out of it,
        and without a file nothing is said of keys that are missing.
    """
    from twisted.internet.task import Clock

    from portero import envfile
    from portero.announcement import warnings
    from portero.config import check_keys, load
    from portero.errors import ConfigError
    from portero.wiring import Wiring

    try:
        config = load(path, envfile.read(env) if env else {})
        if env:
            check_keys(config)
        Wiring(Clock()).build(config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{path}: nothing wrong")
    print(f"agents: {', '.join(config.agents)}")
    for warning in warnings(config):
        print(f"warning: {warning}")
    return 0

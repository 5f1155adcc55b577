"""The C{portero} command: what is not the daemon itself."""

from __future__ import annotations

import sys
from collections.abc import Sequence

USAGE = """\
portero call [options] [host:port]   place a call without an Asterisk
portero check-config FILE            say what is wrong with a configuration file

The daemon is: twistd -n portero --port 8089 (options: twistd portero --help)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """@return: The exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command, rest = (given[0], given[1:]) if given else ("", [])
    if command == "call":
        from portero import placecall

        return placecall.run(rest)
    if command == "check-config" and len(rest) == 1:
        return check_config(rest[0])
    wanted = command in ("", "help", "--help", "-h")
    print(USAGE, file=sys.stdout if wanted else sys.stderr, end="")
    return 0 if wanted else 1


def check_config(path: str) -> int:
    """
    Print all that is wrong with a file, or that nothing is.

    The environment is left out of it: it is this shell's, not the service's.
    """
    from twisted.internet.task import Clock

    from portero import tap
    from portero.config import load
    from portero.errors import ConfigError

    try:
        config = load(path)
        tap.check(config)
        tap.build(config, Clock())
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{path}: nothing wrong")
    return 0

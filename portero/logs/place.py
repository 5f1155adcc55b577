"""Where the log goes, as twistd was told: its output, the journal, a file, syslog."""

from __future__ import annotations

import os
import signal
import sys
import syslog
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

from twisted.python.logfile import LogFile

PRIORITIES: Final = {
    "debug": syslog.LOG_DEBUG,
    "info": syslog.LOG_INFO,
    "warn": syslog.LOG_WARNING,
    "error": syslog.LOG_ERR,
    "critical": syslog.LOG_CRIT,
}
"""By level: as syslog(3) and the journal have them."""


@dataclass(frozen=True, slots=True)
class Place:
    """Takes lines."""

    write: Callable[[str, Sequence[str]], None]
    """Given the level, and the lines of one event. They are whole when it returns."""
    timed: bool
    """The lines need a time of their own."""


Later = Callable[[Callable[[], None]], Any]


def place(
    twistd: Mapping[str, Any], environ: Mapping[str, str], in_reactor: Later
) -> Place:
    """
    @param twistd: Its options.
    @param in_reactor: Has something done there, from a signal's handler.
    @return: The same place that twistd itself would choose.
    """
    if twistd.get("syslog"):
        return to_syslog(twistd.get("prefix") or "")
    name, in_front = twistd.get("logfile"), twistd.get("nodaemon")
    if name == "-" and not in_front:
        sys.exit("Daemons cannot log to stdout, exiting!")
    if name == "-" or (in_front and not name):
        return to_stream(sys.stdout, environ)
    return to_file(name or "twistd.log", in_reactor)


def to_stream(stream: IO[str], environ: Mapping[str, str]) -> Place:
    """Without a time, but with a priority, where the journal reads: sd-daemon(3)."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:  # of an output that is not UTF-8
        reconfigure(errors="backslashreplace")
    is_journal = _is_journal(stream, environ)

    def write(level: str, lines: Sequence[str]) -> None:
        begin = f"<{PRIORITIES[level]}>" if is_journal else ""
        stream.write("".join(f"{begin}{line}\n" for line in lines))
        stream.flush()

    return Place(write, timed=not is_journal)


def _is_journal(stream: IO[str], environ: Mapping[str, str]) -> bool:
    """Whether systemd connected it: it says which file that is."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):  # it is closed, or no file
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def to_file(name: str, in_reactor: Later) -> Place:
    """One that is put aside when it is full, or at SIGUSR1."""
    file = LogFile.fromFullPath(name)
    if signal.getsignal(signal.SIGUSR1) in (None, signal.SIG_DFL):
        signal.signal(signal.SIGUSR1, lambda *_: in_reactor(file.rotate))

    def write(level: str, lines: Sequence[str]) -> None:
        file.write("".join(f"{line}\n" for line in lines).encode())
        file.flush()

    return Place(write, timed=True)


def to_syslog(prefix: str) -> Place:
    syslog.openlog(prefix, 0, syslog.LOG_USER)

    def write(level: str, lines: Sequence[str]) -> None:
        for line in lines:
            syslog.syslog(PRIORITIES[level], line)

    return Place(write, timed=False)

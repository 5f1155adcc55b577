"""The machine: what portero runs on and with. Reads files of Linux; no network."""

from __future__ import annotations

import ctypes
import os
import re
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Final

from portero.config import Config
from portero.doctor.report import Finding, fail, ok, skip, warn
from portero.record_sections import NOWHERE

FLOORS: Final = {"Twisted": (26, 4), "autobahn": (26, 7, 1)}
"""The oldest that setup.cfg allows."""
PYTHON: Final = (3, 11)

FILES_A_CALL: Final = 4
"""Two connections, its recording, and one more while a connection is made anew."""
FILES_BESIDES: Final = 100

LEAST_DISK: Final = 100 * 1024**2
"""Bytes; less is a failure."""
GOOD_DISK: Final = 1024**3
"""A recording takes 115 MB an hour."""
GOOD_MEMORY: Final = 256 * 1024**2

NOT_SYNCHRONISED: Final = 5
"""What adjtimex(2) answers (TIME_ERROR)."""
STEP: Final = 0.5
"""Seconds that the clock on the wall may move against the other while we look."""


def examine(config: Config) -> Iterator[Finding]:
    yield versions()
    yield nvx()
    yield files(running_limit() or own_limit(), config.listen.max_calls)
    yield memory(_read("/proc/meminfo"))


def examine_disks(config: Config, state_folder: str) -> Iterator[Finding]:
    """
    Blocks for as long as the disks take.

    @param state_folder: As portero has it; or empty.
    """
    wanted = folders(config, state_folder)
    if not wanted:
        yield ok("disk", "nothing is configured to be written")
    for folder, what in wanted.items():
        yield disk(folder, what)


def versions(
    python: tuple[int, ...] = sys.version_info[:3],
    installed: Mapping[str, str] | None = None,
) -> Finding:
    """@param installed: By package; by default what this Python finds."""
    found = installed or {name: metadata.version(name) for name in FLOORS}
    told = [f"Python {_dotted(python)}", *(f"{n} {v}" for n, v in found.items())]
    said = ", ".join(told)
    old = [name for name in FLOORS if _numbers(found[name]) < FLOORS[name]]
    if python < PYTHON:
        old.insert(0, "Python")
    if old:
        wanted = {"Python": PYTHON, **FLOORS}
        needed = ", ".join(f"{name} {_dotted(wanted[name])}" for name in old)
        return fail(
            "versions", said, f"install portero anew; it needs {needed} or newer"
        )
    return ok("versions", said)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _dotted(version: Iterable[int]) -> str:
    return ".".join(map(str, version))


def nvx(uses: bool | None = None) -> Finding:
    """@param uses: By default as Autobahn says."""
    if uses is None:
        from autobahn.websocket import USES_NVX as uses

    if uses:
        return ok("nvx", "Autobahn uses its compiled part")
    return warn(
        "nvx",
        "Autobahn runs without its compiled part (NVX): each call costs several times "
        "the CPU",
        "install a binary wheel of autobahn, and unset AUTOBAHN_USE_NVX",
    )


def running_limit(proc: Path = Path("/proc")) -> int:
    """@return: Files that a portero which runs here may open; 0: it cannot be known."""
    for folder in proc.glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            if b"portero" not in words or not any(b"twistd" in word for word in words):
                continue
            limits = (folder / "limits").read_text()
        except OSError:  # it has ended, or is somebody else's
            continue
        found = re.search(r"^Max open files\s+(\d+)", limits, re.MULTILINE)
        if found:
            return int(found[1])
    return 0


def own_limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def files(limit: int, max_calls: int) -> Finding:
    needed = FILES_A_CALL * max_calls + FILES_BESIDES
    if limit >= needed:
        return ok("files", f"enough may be open for {max_calls} calls")
    return warn(
        "files",
        f"{limit} may be open, and {max_calls} calls ([listen] max_calls) need "
        f"{needed}",
        f"LimitNOFILE={max(65536, needed)} in the unit of portero, as in "
        f"conf/portero.service (elsewhere ulimit -n {needed}); or lower max_calls",
    )


def memory(text: str) -> Finding:
    """@param text: Of /proc/meminfo."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    if found is None:
        return skip("memory", "this machine does not tell how much is free")
    free = int(found[1]) * 1024
    if free >= GOOD_MEMORY:
        return ok("memory", f"{_bytes(free)} are free")
    return warn(
        "memory",
        f"only {_bytes(free)} are free: the kernel may end portero, and its calls",
        "ps aux --sort -rss | head shows who has it",
    )


def folders(config: Config, state_folder: str) -> dict[Path, str]:
    """@return: Where something is written, each with what."""
    places: list[tuple[str, str]] = []
    for what, named, usual in (
        ("records", config.records.file, "records.sqlite"),
        ("recordings", config.records.recordings, "recordings/"),
        ("today's spending", config.limits.spending_file, "spending.json"),
        ("mail", f"{config.mail.queue}/" if config.mail.queue else "", "mail/"),
    ):
        path = "" if named == NOWHERE else named
        if what == "recordings" and path:
            path += "/"
        if not named and state_folder:
            path = os.path.join(state_folder, usual)
        if path:
            places.append((os.path.dirname(path), what))
    found: dict[Path, list[str]] = {}
    for folder, what in places:
        found.setdefault(_there(Path(folder or ".")), []).append(what)
    return {folder: ", ".join(what) for folder, what in found.items()}


def _there(folder: Path) -> Path:
    """A folder that is made when it is needed; so long, the one that it will be in."""
    absolute = folder.absolute()
    return next((each for each in (absolute, absolute.parent) if each.exists()), folder)


def disk(folder: Path, what: str, free: int | None = None) -> Finding:
    """@param free: Bytes; by default as the disk says."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"portero")
        if free is None:
            free = shutil.disk_usage(folder).free
    except OSError as error:
        return fail(
            "disk",
            f"{folder} (for {what}) cannot be written: {error.strerror}",
            f"make it, for the user that portero runs as: install -d -m 700 -o USER "
            f"{folder}; with systemd, StateDirectory= does so",
        )
    said = f"{_bytes(free)} free in {folder}, for {what}"
    if free >= GOOD_DISK:
        return ok("disk", said)
    remedy = "make room, or keep less: [records] days, record of the agents"
    if free < LEAST_DISK:
        return fail("disk", said, remedy)
    return warn("disk", said, remedy)


def _bytes(count: int) -> str:
    if count >= 1024**3:
        return f"{count / 1024**3:.1f} GB"
    return f"{count / 1024**2:.0f} MB"


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def synchronised() -> bool | None:
    """@return: Whether something sets this clock; C{None}: the kernel does not tell."""
    try:
        # A struct timex of zeros, which asks and sets nothing; it has 208 bytes.
        state = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (AttributeError, OSError):
        return None
    return None if state < 0 else state != NOT_SYNCHRONISED


def clock(kept: bool | None, stepped: float) -> Finding:
    """
    @param kept: As L{synchronised}.
    @param stepped: Seconds that the clock on the wall moved against the one that does
        not step, while we looked.
    """
    set_it = (
        "timedatectl set-ntp true (Debian: apt install systemd-timesyncd, or chrony)"
    )
    if abs(stepped) > STEP:
        return warn(
            "clock",
            f"it was set by {stepped:+.1f} s in these seconds: times in log and "
            "records are not to be trusted",
            f"see who sets it; one is enough: {set_it}",
        )
    if kept is False:
        return warn("clock", "nobody sets the clock of this machine", set_it)
    if kept is None:
        return skip(
            "clock", "this machine does not tell whether somebody sets its clock"
        )
    return ok("clock", "it is set by a time server")

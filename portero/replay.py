"""
C{portero replay}: a captured call once more, with the code of this portero, and what
differs.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from twisted.python import usage

import portero
from portero.captures.differences import Comparison, compare
from portero.captures.entries import CaptureError, read
from portero.captures.folder import SUFFIX
from portero.captures.header import Header
from portero.captures.player import play
from portero.config import load
from portero.errors import ConfigError
from portero.explain import CONFIG
from portero.record_sections import NOWHERE

SAME: Final = 0
WRONG: Final = 1
DIFFERS: Final = 3
STATE_FOLDER: Final = "/var/lib/portero"
"""The one that the shipped systemd unit has."""
MOST_SHOWN: Final = 20
"""Differences: the first ones tell, the others follow from them."""
MOST_BYTES: Final = 2**31


class Options(usage.Options):
    """What C{portero replay} takes."""

    synopsis = "Usage: portero replay CALL|FILE [options]"
    longdesc = (
        "Plays a call of an agent with capture = true once more, with the code of this "
        "portero and no service, and shows what differs. CALL is its id. The exit "
        f"status is {SAME} when nothing does, {DIFFERS} when something does, and "
        f"{WRONG} when it could not be played."
    )
    optParameters: ClassVar[list[list[Any]]] = [
        ["config", "c", None, f"Configuration file ({CONFIG}, if it is there)."],
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        ["json", None, "For programs."],
    ]
    compData: ClassVar[Any] = usage.Completions(
        optActions={"config": usage.CompleteFiles("*.toml")}
    )

    def parseArgs(self, call: str = "", *given: str) -> None:
        """The call may stand before options, between them or after them."""
        if not call:
            return
        if "call" in self:
            raise usage.UsageError(f"one call at a time: {self['call']} or {call}?")
        self["call"] = call
        self.parseOptions(list(given))

    def postOptions(self) -> None:
        if "call" not in self:
            raise usage.UsageError("which call? Give its id, or the file of a capture")


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a replay."""

    header: Header
    seconds: float
    """Of the captured call."""
    missing: str
    """Why the capture is not whole; or empty."""
    comparison: Comparison

    @property
    def same(self) -> bool:
        return not self.comparison.differences


def replay(content: bytes) -> Replayed:
    """
    @param content: Of a capture.
    @raise CaptureError: It cannot be played.
    """
    entries, missing = read(content)
    if not entries:
        raise CaptureError("holds nothing; the call was only beginning")
    comparison = compare(entries, play(entries))
    return Replayed(
        Header.read(entries[0].value()),
        entries[-1].at - entries[0].at,
        missing,
        comparison,
    )


def run(arguments: Sequence[str]) -> int:
    """@return: The exit status."""
    options = Options()
    try:
        options.parseOptions(list(arguments))
    except usage.UsageError as error:
        print(f"{options.synopsis}\n{error}", file=sys.stderr)
        return WRONG
    try:
        path = find(options["call"], options["config"] or "")
        began = time.monotonic()
        try:
            found = replay(_content(path))
        except CaptureError as error:
            raise ConfigError(f"{path}: {error}") from None
        took = time.monotonic() - began
    except ConfigError as error:
        print(error, file=sys.stderr)
        return WRONG
    if options["json"]:
        print(json.dumps(_plain(found, path), indent=2))
    else:
        print("\n".join(_lines(found, took)))
    return SAME if found.same else DIFFERS


def find(call: str, config: str) -> Path:
    """
    @param call: The id of a call, or a path.
    @param config: Path; empty: the usual one, if it is there.
    @raise ConfigError: There is none.
    """
    path = Path(call)
    if path.is_file():
        return path
    if "/" in call:
        raise ConfigError(f"{call}: there is no such file")
    config = config or (CONFIG if Path(CONFIG).exists() else "")
    settings = load(config, dict(os.environ)).records if config else None
    folder = Path(settings.captures if settings else "")
    if str(folder) in ("", ".", NOWHERE):
        state = os.environ.get("STATE_DIRECTORY", "").partition(":")[0] or STATE_FOLDER
        folder = Path(state, "captures")
    try:
        found = sorted(p for p in folder.iterdir() if _is_of(p, call))
    except OSError as error:
        raise ConfigError(
            f"{folder}: {error.strerror}. Give the path of a capture, or --config with "
            "the configuration whose [records] captures it is in"
        ) from None
    if not found:
        raise ConfigError(
            f"call {call} has no capture in {folder}. Calls are captured whose agent "
            "has capture = true, from the next call after that was set"
        )
    return found[-1]


def _is_of(path: Path, call: str) -> bool:
    return path.name.endswith(f"-{call.lower()}{SUFFIX}")


def _content(path: Path) -> bytes:
    """@raise ConfigError: It cannot be read."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ConfigError(f"{path}: is too large for a capture")
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None


def _plain(found: Replayed, path: Path) -> dict[str, Any]:
    header, comparison = found.header, found.comparison
    return {
        "call": header.call_id,
        "agent": header.agent,
        "began": header.began,
        "seconds": round(found.seconds, 3),
        "file": str(path),
        "captured_by": header.portero,
        "replayed_by": portero.__version__,
        "missing": found.missing,
        "same": found.same,
        "differences": [
            {**asdict(difference), "at": round(difference.at, 3)}
            for difference in comparison.differences
        ],
    }


def _lines(found: Replayed, took: float) -> Iterator[str]:
    header, comparison = found.header, found.comparison
    yield (
        f"call {header.call_id} of {header.began}, agent {header.agent}: "
        f"{found.seconds:.1f} s, replayed in {took:.1f} s"
    )
    if header.portero != portero.__version__:
        yield f"captured by portero {header.portero}; this is {portero.__version__}"
    if found.missing:
        yield f"The capture is not whole: {found.missing}. What is there was played."
    if found.same:
        yield (
            f"The same: {comparison.acts} things that it did, {comparison.frames} "
            "frames to the caller."
        )
        return
    if comparison.before:
        yield "Before that, both did the same:"
        for act in comparison.before:
            yield f"{act.at:9.3f} s  {act.what}"
    yield "Then:"
    for difference in comparison.differences[:MOST_SHOWN]:
        yield f"{difference.at:9.3f} s  captured: {difference.captured}"
        yield f"             replayed: {difference.replayed}"
    more = len(comparison.differences) - MOST_SHOWN
    if more > 0:
        yield f"             ... and {more} more, which may all follow from these"

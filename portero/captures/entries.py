"""
What is in a capture: entries, in blocks that are written one after another. A file can
be read up to its last whole block, whenever its writer died.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Sequence
from enum import IntEnum
from struct import Struct
from typing import Any, Final, NamedTuple

from portero.errors import PorteroError

VERSION: Final = 1
_MARK: Final = b"portero capture "
MAGIC: Final = _MARK + b"%d\n" % VERSION
"""What a file begins with."""
MOST_BLOCK: Final = 64 * 1024 * 1024
"""Bytes of a block, before and after it was compressed."""
LEVEL: Final = 1
"""Of the compression: speech becomes hardly smaller with more effort."""

_BLOCK: Final = Struct("<II")
"""Length and CRC-32 of what follows, which is compressed."""
_ENTRY: Final = Struct("<BIdI")
"""Kind, number, time, length of the data."""
_FLOAT: Final = Struct("<d")


class CaptureError(PorteroError):
    """A capture cannot be read; says what is wrong, and not where the file is."""


class Kind(IntEnum):
    """Of an entry. What its number and its data are, where it has any."""

    CALL = 1
    """What the call was made of: L{portero.captures.header.Header}, as JSON."""
    GREETING = 2
    """The greeting at hand: its rate in Hz; PCM."""

    # What came from outside

    BEGAN = 10
    """The leg takes audio."""
    HEARD = 11
    """Of the caller: the rate in Hz; PCM."""
    PREFERRED = 12
    """The far end takes frames of this rate, in Hz."""
    FRAME = 13
    """A frame was due, and left: PCM. When it did came from outside."""
    KEY = 14
    """The caller pressed it."""
    GONE = 15
    """The leg ended from its other side: why, and whether in order."""
    WOKEN = 16
    """Timers were due: for when the first of them was set."""
    ACT = 17
    """An operator, or the service that stops: a method of the call, its arguments."""
    OPENED = 18
    """Number of the socket; the date there."""
    TEXT = 19
    """Number of the socket; a message."""
    BINARY = 20
    """The same, of bytes."""
    STUCK = 21
    """Number of the socket; something: it does not read, nothing: it does again."""
    CLOSED = 22
    """Number of the socket; how it ended."""
    STEP = 23
    """Number of the use of a tool; what it did, with what, and whether at once."""

    # What the call did

    CONNECTED = 40
    """Number of the socket."""
    SENT = 41
    """Number of the socket; a message."""
    UPLOADED = 42
    """Number of the socket; digest of a message with the caller's audio."""
    LEFT = 43
    """Number of the socket, which was closed."""
    RAN = 44
    """Number of the use; name of the tool, arguments."""
    REDIRECTING = 45
    """Channel, target."""
    HUNG_UP = 46
    HAPPENED = 47
    """As L{portero.interfaces.HAPPENINGS} has it: kind, seconds, data."""
    ENDED = 48
    """The record of the call."""

    @property
    def came(self) -> bool:
        """It came from outside, so a replay plays it."""
        return Kind.BEGAN <= self < Kind.CONNECTED


class Entry(NamedTuple):
    """One thing, at one moment."""

    kind: Kind
    at: float
    """Seconds, by the clock of the machine."""
    number: int = 0
    data: bytes = b""

    def value(self) -> Any:
        """
        @return: What the data is, of kinds that have JSON.
        @raise CaptureError: It is none.
        """
        try:
            return json.loads(self.data)
        except (ValueError, RecursionError):
            raise self.broken() from None

    def parts(self, *kinds: type | tuple[type, ...]) -> list[Any]:
        """
        @return: The same, of kinds that have a list.
        @raise CaptureError: It is none, or not of these kinds.
        """
        value = self.value()
        if not is_of(value, kinds):
            raise self.broken()
        found: list[Any] = value
        return found

    def broken(self) -> CaptureError:
        """To be raised: nobody but portero wrote this."""
        return CaptureError(f"an entry {self.kind.name} is broken")

    def as_float(self) -> float:
        """@raise CaptureError: The data is no such number."""
        if len(self.data) != _FLOAT.size:
            raise self.broken()
        number: float = _FLOAT.unpack(self.data)[0]
        return number


class Reading(NamedTuple):
    """What was found in a file."""

    entries: list[Entry]
    missing: str
    """Why it is not whole, in words; empty: it is."""


def jsonable(value: object) -> bytes:
    """@return: C{value} as L{Entry.value} reads it; it never fails."""
    text = json.dumps(value, separators=(",", ":"), default=repr, skipkeys=True)
    return text.encode()


def is_of(value: object, kinds: Sequence[type | tuple[type, ...]]) -> bool:
    """@return: Whether it is a list of values of these kinds."""
    return (
        isinstance(value, list)
        and len(value) == len(kinds)
        and all(map(isinstance, value, kinds))
    )


def of_float(number: float) -> bytes:
    return _FLOAT.pack(number)


def block(entries: Iterable[Entry]) -> bytes:
    """@return: What is written of these entries, after L{MAGIC} or another block."""
    parts: list[bytes] = []
    for kind, at, number, data in entries:
        parts += (_ENTRY.pack(kind, number, at, len(data)), data)
    packed = zlib.compress(b"".join(parts), LEVEL)
    return _BLOCK.pack(len(packed), zlib.crc32(packed)) + packed


def read(content: bytes) -> Reading:
    """
    @param content: Of a file; its end may be missing.
    @return: All of its entries up to the last whole block.
    @raise CaptureError: It is no capture, one of another version, or not of ours.
    """
    start = _start(content)
    entries: list[Entry] = []
    while start < len(content):
        if len(content) - start < _BLOCK.size:
            return Reading(entries, "its end is missing")
        length, checksum = _BLOCK.unpack_from(content, start)
        start += _BLOCK.size
        packed = content[start : start + length]
        if len(packed) < length:
            return Reading(entries, "its end is missing")
        if zlib.crc32(packed) != checksum:
            return Reading(entries, f"what comes after byte {start} is damaged")
        entries += _entries(packed)
        start += length
    return Reading(entries, "")


def _start(content: bytes) -> int:
    """@return: Where the first block begins."""
    if content.startswith(MAGIC):
        return len(MAGIC)
    if MAGIC.startswith(content):
        return len(content)
    line = content[:40].partition(b"\n")[0]
    if not line.startswith(_MARK):
        raise CaptureError("is no capture of portero's")
    version = line.removeprefix(_MARK).decode("ascii", "replace")
    raise CaptureError(
        f"is a capture of version {version}, this portero reads version {VERSION}: "
        "replay it with the portero that wrote it, or with a newer one"
    )


def _entries(packed: bytes) -> list[Entry]:
    unpacker = zlib.decompressobj()
    try:
        content = unpacker.decompress(packed, MOST_BLOCK)
    except zlib.error as error:
        raise CaptureError(f"a block cannot be unpacked: {error}") from None
    if not unpacker.eof:
        raise CaptureError(f"a block has more than {MOST_BLOCK} bytes")
    found: list[Entry] = []
    start = 0
    while start < len(content):
        if len(content) - start < _ENTRY.size:
            raise CaptureError("a block is broken")
        kind, number, at, length = _ENTRY.unpack_from(content, start)
        start += _ENTRY.size
        data = content[start : start + length]
        if len(data) < length:
            raise CaptureError("a block is broken")
        try:
            found.append(Entry(Kind(kind), at, number, data))
        except ValueError:
            raise CaptureError(f"there is no kind {kind} of entry") from None
        start += length
    return found

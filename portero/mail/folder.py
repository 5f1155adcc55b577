"""
The folder where mail waits: a file each, which is there whole or not at all.

Every method waits for a disk.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from pathlib import Path
from threading import Lock
from typing import Final

from portero.errors import PorteroError
from portero.mail.address import parse

MOST_MAILS: Final = 1000
"""Of those that wait; and of those that failed."""
LARGEST: Final = 1_000_000
"""Bytes of a mail."""

FAILED: Final = "failed"
"""Folder within: mail that cannot be delivered, each with its reason."""


class CannotKeep(PorteroError):
    """There is no room for a mail, or no folder: the message says which."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A mail as it is handed to a server."""

    sender: str
    to: str
    content: bytes = field(repr=False)
    """With C{\\n} at the end of each line."""


class MailFolder:
    """Only its owner can read what is in it."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.failed = self.path / FAILED
        self._half_written = Lock()
        """Held while there is a file that may look as if a crash had left it."""

    def open(self) -> list[str]:
        """
        Make it, and clear away what a crash left half written.

        @return: Names of the mails in it, oldest first.
        @raise OSError: It cannot be had.
        """
        self._make()
        with self._half_written:
            for path in self.path.glob("*.eml.new"):
                path.unlink(missing_ok=True)
        names = (path.name for path in self.path.glob("*.eml"))
        return sorted(name for name in names if name.partition("-")[0].isdecimal())

    def check(self) -> None:
        """@raise OSError, CannotKeep: A mail could not be written now."""
        self._make()
        found = os.statvfs(self.path)
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise CannotKeep("the folder is not writable")
        if found.f_bavail * found.f_frsize < LARGEST:
            raise CannotKeep("the disk is full")

    def write(self, name: str, content: bytes) -> None:
        """
        It is then there also after a power cut.

        @param name: Begins with seconds since 1970 and a hyphen, ends with C{.eml}.
        @raise OSError: It is not there.
        """
        self._make()
        with self._half_written:
            self._write(self.path / f"{name}.new", content)
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _make(self) -> None:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _write(self, new: Path, content: bytes) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(new, new.with_suffix(""))
        except OSError:
            with suppress(OSError):
                new.unlink()
            raise

    def read(self, name: str) -> Envelope:
        """
        @raise OSError: It is not there.
        @raise ValueError: It is no mail of ours.
        """
        with (self.path / name).open("rb") as file:
            content = file.read(LARGEST + 1)
        try:
            message = message_from_bytes(content, policy=policy.default)
            (sender,), (to,) = message["From"].addresses, message["To"].addresses
            return Envelope(parse(sender.addr_spec), parse(to.addr_spec), content)
        except Exception as error:  # the parser may raise anything
            raise ValueError(f"it is no mail of portero's: {error}") from None

    def remove(self, name: str) -> None:
        """@raise OSError: It is still there."""
        (self.path / name).unlink()

    def put_aside(self, name: str, why: str) -> None:
        """
        @param why: Is written beside it.
        @raise OSError: It stays where it is.
        """
        self.failed.mkdir(mode=0o700, exist_ok=True)
        os.replace(self.path / name, self.failed / name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        reason = os.open(self.failed / f"{name}.reason", flags, 0o600)
        with os.fdopen(reason, "w", encoding="utf-8") as file:
            file.write(f"{why}\n")
        # Perhaps nobody ever looks here: the oldest make room.
        for old in sorted(self.failed.glob("*.eml"))[:-MOST_MAILS]:
            old.unlink(missing_ok=True)
            old.with_name(f"{old.name}.reason").unlink(missing_ok=True)

"""
The folder where things wait: a file each, which is there whole or not at all.

Every method waits for a disk.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final

from portero.errors import PorteroError

MOST: Final = 1000
"""Of those that wait; and of those that failed."""
LARGEST: Final = 1_000_000
"""Bytes of one."""

FAILED: Final = "failed"
"""Folder within: what cannot be delivered, each with its reason."""


class CannotKeep(PorteroError):
    """There is no room for it, or no folder: the message says which."""


class OutFolder:
    """Only its owner can read what is in it."""

    def __init__(self, path: str, suffix: str) -> None:
        """@param suffix: Of the names of its files, with the point."""
        self.suffix = suffix
        self.path = Path(path)
        self.failed = self.path / FAILED
        self._half_written = Lock()
        """Held while there is a file that may look as if a crash had left it."""

    def open(self) -> list[str]:
        """
        Make it, and clear away what a crash left half written.

        @return: Names of the files in it, oldest first.
        @raise OSError: It cannot be had.
        """
        self._make()
        with self._half_written:
            for path in self.path.glob(f"*{self.suffix}.new"):
                path.unlink(missing_ok=True)
        names = (path.name for path in self.path.glob(f"*{self.suffix}"))
        return sorted(name for name in names if name.partition("-")[0].isdecimal())

    def check(self) -> None:
        """@raise OSError, CannotKeep: Nothing could be written now."""
        self._make()
        found = os.statvfs(self.path)
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise CannotKeep("the folder is not writable")
        if found.f_bavail * found.f_frsize < LARGEST:
            raise CannotKeep("the disk is full")

    def write(self, name: str, content: bytes) -> None:
        """
        It is then there also after a power cut.

        @param name: Begins with seconds since 1970 and a hyphen, ends with the suffix.
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

    def content(self, name: str) -> bytes:
        """@raise OSError: It is not there."""
        with (self.path / name).open("rb") as file:
            return file.read(LARGEST + 1)

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
        for old in sorted(self.failed.glob(f"*{self.suffix}"))[:-MOST]:
            old.unlink(missing_ok=True)
            old.with_name(f"{old.name}.reason").unlink(missing_ok=True)

"""Text from a file that somebody named, whatever it turns out to be."""

from __future__ import annotations

from pathlib import Path

from portero.errors import ConfigError


def read(path: str | Path, most: int = 1_000_000) -> str:
    """
    @param most: Bytes; a longer file is refused.
    @return: As it stands, but with C{\\n} at the end of each line.
    @raise ConfigError: It cannot be had; the message says why, and not where.
    """
    try:
        return content(path, most).decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"is not UTF-8 text, in its line {line}") from None


def content(path: str | Path, most: int) -> bytes:
    """
    The bytes of any file.

    @param most: Bytes; a longer file is refused.
    @raise ConfigError: It cannot be had; the message says why, and not where.
    """
    path = Path(path)
    try:
        # Of all but files a read may block, or have no end.
        if not path.is_file():
            path.stat()
            raise ConfigError("is a folder" if path.is_dir() else "is no plain file")
        with path.open("rb") as file:
            found = file.read(most + 1)
    except OSError as error:
        raise ConfigError(error.strerror or str(error)) from None
    except ValueError:
        raise ConfigError("is not the name of a file") from None
    if len(found) > most:
        raise ConfigError(f"is larger than {most} bytes")
    return found

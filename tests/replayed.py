"""Captured calls as tests: C{tests/captures}, and what a replay of them finds."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from twisted.trial.unittest import SynchronousTestCase

from portero.captures.entries import Entry, Kind, read
from portero.replay import Replayed, replay

FOLDER: Final = Path(__file__).parent / "captures"


def content(name: str) -> bytes:
    """@param name: Of a file in C{tests/captures}, without its end."""
    return (FOLDER / f"{name}.capture").read_bytes()


def entries(name: str) -> list[Entry]:
    """@return: What is in it."""
    return read(content(name)).entries


def is_whole(path: Path) -> bool:
    """Whether the end of the call is in the file."""
    found = read(path.read_bytes()).entries
    return bool(found) and found[-1].kind is Kind.ENDED


class ReplayTestCase(SynchronousTestCase):
    """
    A bug as a test: put the capture of a call that went wrong into C{tests/captures},
    and say what the replay finds, or that it finds nothing any more.
    """

    def replayed(self, name: str) -> Replayed:
        return replay(content(name))

    def differences(self, name: str) -> str:
        """@return: One a line: what was captured, then what came of it now."""
        found = self.replayed(name).comparison.differences
        return "\n".join(f"{each.captured} -> {each.replayed}" for each in found)

    def assert_same(self, name: str) -> Replayed:
        """Fail with what differs."""
        self.assertEqual(self.differences(name), "", name)
        return self.replayed(name)

"""Whether the machine had time for what was measured on it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

PRESSURE: Final = Path("/proc/pressure/cpu")
"""For how long somebody waited for a processor (Linux, accounting/psi.rst)."""
TOLD_WITHIN: Final = 2.0
"""Seconds: the kernel counts that together only so often."""
STATISTICS: Final = Path("/proc/stat")
CROWDED: Final = 0.25
"""Of a time, in which somebody waited. Alone on two processors, tests come to less."""
STOLEN: Final = 0.03
"""Of a time, that another virtual machine had (proc(5), C{steal})."""


class Crowd:
    """
    What others have of the machine, from now on. Where the kernel does not tell, there
    is nobody.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._waited, self._stolen = _waited(), _stolen()

    def is_too_much(self) -> bool:
        """
        To be asked L{TOLD_WITHIN} later.

        @return: Whether holes in sound, and lateness, can be the machine's doing.
        """
        passed = time.monotonic() - self._began
        waited, stolen = _waited() - self._waited, _stolen() - self._stolen
        return waited > CROWDED * passed or stolen > STOLEN * passed


class Patience:
    """Waits until the machine is less crowded, but in all waits not for ever."""

    def __init__(self, seconds: float) -> None:
        self._left = seconds

    def wait_for_room(self, seconds: float) -> None:
        """
        @param seconds: At the most.
        """
        began = time.monotonic()
        end = began + min(seconds, self._left)
        while time.monotonic() < end:
            crowd = Crowd()
            time.sleep(2 * TOLD_WITHIN)
            if not crowd.is_too_much():
                break
        self._left -= time.monotonic() - began


def _waited() -> float:
    """@return: Seconds, since the machine started."""
    try:
        some, _, _ = PRESSURE.read_text().partition("\n")
    except OSError:
        return 0.0
    return int(some.rpartition("total=")[2]) / 1e6


def _stolen() -> float:
    """@return: Seconds, of all processors together."""
    try:
        processors, _, _ = STATISTICS.read_text().partition("\n")
    except OSError:
        return 0.0
    return int(processors.split()[8]) / os.sysconf("SC_CLK_TCK")

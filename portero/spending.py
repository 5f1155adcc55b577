"""What was spent today, in a file: the ceiling of a day has to outlive a restart."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import date
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from portero import textfile
from portero.errors import ConfigError
from portero.money import Ledger, Page

KEEP_EVERY: Final = 2.0
"""Seconds. A crash loses what was spent in the last of them, less than in a turn."""
STOP_WITHIN: Final = 5.0
"""Seconds that a folder over a network, for instance, may hold up the stop."""


class SpendingFile(Service):
    """
    Restores a ledger when it starts, and keeps it while it runs and when it stops.

    No call is harmed when that cannot be done: it is a warning in the log.
    """

    log = Logger()

    def __init__(
        self,
        ledger: Ledger,
        path: str,
        clock: IReactorTime,
        in_thread: Callable[[Callable[[], None]], Deferred[None]],
    ) -> None:
        """
        @param path: Its folder has to be there, and to be writable.
        @param in_thread: Runs a function where it may wait for a disk.
        """
        self._ledger = ledger
        self._path = Path(path)
        self._clock = clock
        self._in_thread = in_thread
        self._kept: Page | None = None
        self._fails = False
        self._loop = LoopingCall(self._keep)
        self._loop.clock = clock
        self._looping: Deferred[Any] | None = None

    def startService(self) -> None:
        super().startService()
        if self._path.exists() and not self._path.is_file():
            self._say_that_it_fails("it is no plain file")
            return
        self._restore()
        self._looping = self._loop.start(KEEP_EVERY, now=False)

    def stopService(self) -> Deferred[None]:
        """@return: Fires when all is kept, or cannot be."""
        super().stopService()
        stopped = Deferred.fromCoroutine(self._stop())
        stopped.addTimeout(STOP_WITHIN, self._clock)
        return stopped.addErrback(self._failed)

    async def _stop(self) -> None:
        looping, self._looping = self._looping, None
        if looping is not None:
            self._loop.stop()
            await looping
            writing = self._keep()
            if writing is not None:
                await writing

    def _restore(self) -> None:
        if not self._path.exists():
            return
        try:
            page = _read(self._path)
        except (ConfigError, ValueError, RecursionError) as error:
            self.log.warn(
                "{path}: {error}; so what was spent today begins at zero. {aside}",
                path=str(self._path),
                error=str(error),
                aside=self._put_aside(),
            )
            return
        self._ledger.restore(page)
        self._kept = self._ledger.page()

    def _put_aside(self) -> str:
        aside = self._path.with_name(f"{self._path.name}.broken")
        try:
            os.replace(self._path, aside)
        except OSError as error:
            return f"It cannot be renamed: {error.strerror}"
        return f"It is now {aside}"

    def _keep(self) -> Deferred[None] | None:
        page = self._ledger.page()
        if page == self._kept or not page.spent:
            return None
        writing = self._in_thread(partial(_write, self._path, page))
        return writing.addCallbacks(self._done, self._failed, callbackArgs=(page,))

    def _done(self, _: None, page: Page) -> None:
        self._kept = page
        if self._fails:
            self._fails = False
            self.log.info(
                "what is spent today is kept in {path} again", path=str(self._path)
            )

    def _failed(self, failure: Failure) -> None:
        """It is tried again, and not spoken of again."""
        self._say_that_it_fails(failure.getErrorMessage())

    def _say_that_it_fails(self, why: str) -> None:
        if not self._fails:
            self._fails = True
            self.log.warn(
                "what is spent today cannot be kept in {path}: {why}; after a restart "
                "the ceilings of the day begin at zero. The folder must be there, "
                "writable for portero's user, on a disk with room ([limits] "
                "spending_file)",
                path=str(self._path),
                why=why,
            )


def _read(path: Path) -> Page:
    """@raise ConfigError, ValueError, RecursionError: It holds no page."""
    found = json.loads(textfile.read(path), parse_int=float)
    if not (isinstance(found, dict) and isinstance(found.get("day"), str)):
        raise ValueError("it holds no day")
    spent = found.get("spent")
    if not isinstance(spent, dict) or not all(map(_is_sum, spent.values())):
        raise ValueError("it does not hold what was spent")
    return Page(date.fromisoformat(found["day"]), spent)


def _is_sum(value: object) -> bool:
    return isinstance(value, float) and isfinite(value) and value >= 0


def _write(path: Path, page: Page) -> None:
    """
    The file is then whole, with this page or as it was.

    @raise OSError: It is as it was.
    """
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)  # of a crash, or not ours at all
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with os.fdopen(os.open(new, flags, 0o600), "w") as file:
        json.dump({"day": page.day.isoformat(), "spent": page.spent}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)

"""A thread for what waits for a disk, so that nothing else has to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

Result = TypeVar("Result")


class DiskThread(Service):
    """
    Does one thing after another. The reactor's own threads look up names as well: a
    disk that hangs must not keep calls from being answered.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._pool = ThreadPool(0, 1, "portero-disk")

    def startService(self) -> None:
        super().startService()
        self._pool.start()

    def stopService(self) -> None:
        """What was begun is done first."""
        super().stopService()
        self._pool.stop()

    def __call__(self, do: Callable[[], Result]) -> Deferred[Result]:
        """@return: What it returned, or raised."""
        running: Deferred[Result] = deferToThreadPool(self._reactor, self._pool, do)
        return running

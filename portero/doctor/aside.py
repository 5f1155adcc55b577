"""What may wait long is done in a thread for which nobody waits at the end."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

Result = TypeVar("Result")


def aside(reactor: Any, do: Callable[[], Result]) -> Deferred[Result]:
    """
    The reactor's own threads are waited for when it stops, so that a name that cannot
    be looked up would hold up the end of the program.

    @return: What it returned, or raised. Cancelled, the thread goes on unheard.
    """
    found: Deferred[Result] = Deferred()

    def told(result: Any) -> None:
        if not found.called:
            found.callback(result)

    def work() -> None:
        try:
            result: Any = do()
        except Exception:
            result = Failure()
        reactor.callFromThread(told, result)

    Thread(target=work, daemon=True).start()
    return found

"""The fault boundary of a call: what goes wrong inside ends that call, and no other."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol, TypeVar, cast

Method = TypeVar("Method", bound=Callable[..., None])


class Guarded(Protocol):
    """A call, or a part of one."""

    @property
    def crashed(self) -> Callable[[], None]:
        """Called while handling what a method raised: logs it, and ends the call."""


def guarded(method: Method) -> Method:
    """An exception becomes the end of this call; for methods that answer nothing."""

    @wraps(method)
    def inside(self: Guarded, *args: Any) -> None:
        try:
            method(self, *args)
        except Exception:
            self.crashed()

    return cast(Method, inside)  # the same signature, which mypy cannot see

"""What an outbox needs of a kind of things: who keeps them, and who delivers them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred

from portero.errors import PorteroError

Target = TypeVar("Target")
Thing = TypeVar("Thing")
Read = TypeVar("Read", covariant=True)


class Undelivered(PorteroError):
    """The message says why."""


class Rejected(Undelivered):
    """The server will never take this one."""


class Postponed(Undelivered):
    """The server does not take this one now."""


class Unreachable(Undelivered):
    """The server takes nothing at all, for a reason that has to do with none of it."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.remedy = remedy


class Folder(Protocol[Read]):
    """As L{portero.outbox.folder.OutFolder}, which can read what is in it."""

    suffix: str
    path: Path
    failed: Path

    def open(self) -> list[str]: ...
    def check(self) -> None: ...
    def write(self, name: str, content: bytes) -> None: ...
    def remove(self, name: str) -> None: ...
    def put_aside(self, name: str, why: str) -> None: ...

    def read(self, name: str) -> Read:
        """
        @raise OSError: It is not there.
        @raise ValueError: It is none of ours.
        """


Deliver = Callable[[Target, Thing], Coroutine[Deferred[Any], Any, None]]
"""Hands it to a server; raises L{Rejected}, L{Postponed} or L{Unreachable}."""
InThread = Callable[[Callable[[], Any]], Deferred[Any]]

"""
The voice service of the tests, in a process of its own, so that nothing the test does
delays it: L{portero.simulator} with a diary. Run as a module it is that process.
"""

from __future__ import annotations

import ast
import itertools
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import portero
import tests
from tests.lab.process import Process, wait_until

HOMES = [str(Path(str(module.__file__)).parents[1]) for module in (portero, tests)]
"""Where the tests lie, and where portero does: it may be installed."""

Models = Mapping[str, Mapping[str, Any]]
"""Knobs by the name of a model."""


@dataclass
class Told:
    """
    What portero told one session.

    @ivar asked: Of each C{response.create}, what to say.
    @ivar items: Added to the conversation.
    """

    instructions: str = ""
    voice: str = ""
    asked: list[str] = field(default_factory=list)
    items: list[dict[str, Any]] = field(default_factory=list)


class Service(Process):
    """
    Starts in the constructor, listening when that returns.

    @ivar url: For C{OPENAI_REALTIME_URL}.
    """

    def __init__(self, models: Models | None = None, **knobs: object) -> None:
        """
        @param models: Other knobs for those who ask for a model of this name. Those
            that act before a session's first event have no effect. C{then} among them:
            what is in force from the second reply on, from the third and so on.
        @param knobs: Fields of L{portero.simulator.Knobs}, of plain Python literals.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="service-lab-"))
        super().__init__(
            [sys.executable, "-u", "-m", __name__, repr((knobs, models or {}))],
            self._folder / "service.log",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(HOMES)},
            cwd=self._folder,
        )
        self.url = ""
        try:
            self.wait_for("the voice service", lambda: bool(self.diary()), 20)
        except BaseException:
            self.stop()
            raise
        self.url = str(self.diary()[0]["url"])

    @property
    def env(self) -> dict[str, str]:
        """What makes portero use it."""
        return {"OPENAI_API_KEY": "test", "OPENAI_REALTIME_URL": self.url}

    def diary(self) -> list[dict[str, Any]]:
        """
        @return: What it did, with the monotonic C{time} and the C{peer} of each: a
            connection that C{joined}, C{sent} names the type of an event that was
            written then, C{received} is an event that came.
        """
        return [
            json.loads(line)
            for line in self.log.splitlines()
            if line.startswith("{") and line.endswith("}")
        ]

    def sent(self, type: str, after: float = 0.0) -> list[float]:
        """
        @return: When events of this type were written.
        """
        return [
            entry["time"]
            for entry in self.diary()
            if entry.get("sent") == type and entry["time"] > after
        ]

    def received(self, type: str) -> list[dict[str, Any]]:
        """
        @return: Diary entries of events of this type that came.
        """
        return [
            entry
            for entry in self.diary()
            if entry.get("received", {}).get("type") == type
        ]

    @property
    def connections(self) -> int:
        """How many came, whatever became of them."""
        return sum("joined" in entry for entry in self.diary())

    def told(self) -> list[Told]:
        """
        @return: For each connection that came and said something, what its agent was
            told; in the order of the first words.
        """
        by_peer: dict[int, Told] = {}
        for entry in self.diary():
            event = entry.get("received")
            if event is None:
                continue
            told = by_peer.setdefault(entry["peer"], Told())
            if event["type"] == "session.update":
                session = event["session"]
                told.instructions = session["instructions"]
                told.voice = session["audio"]["output"]["voice"]
            elif event["type"] == "response.create":
                told.asked.append(event.get("response", {}).get("instructions", ""))
            elif event["type"] == "conversation.item.create":
                told.items.append(event["item"])
        return list(by_peer.values())

    def wait_until_sent(self, type: str, after: float, seconds: float) -> bool:
        """
        @return: Whether such an event was written in time.
        """
        return wait_until(lambda: bool(self.sent(type, after)), seconds)

    def stop(self, seconds: float = 5.0) -> int:
        status = super().stop(seconds)
        shutil.rmtree(self._folder, ignore_errors=True)
        return status


class _Diary(list[Any]):
    """Tells of what is appended, at once."""

    def __init__(self, peer: int, name: str) -> None:
        super().__init__()
        self._peer = peer
        self._name = name

    def append(self, event: Any) -> None:
        super().append(event)
        note(peer=self._peer, **{self._name: event})


def note(**entry: object) -> None:
    print(json.dumps({"time": time.monotonic(), **entry}))


def main(knobs: dict[str, Any], models: Models) -> None:
    from twisted.internet import reactor

    from portero.simulator import Connection, Knobs, Simulator

    peers = itertools.count()

    class Received(_Diary):
        """Each event comes by here before the session sees it."""

        def __init__(self, peer: int, connection: Connection) -> None:
            super().__init__(peer, "received")
            self._connection = connection
            self._then: Iterator[Mapping[str, Any]] = iter(())

        def append(self, event: Any) -> None:
            if not self:
                first = dict(models.get(self._connection.model, {}))
                self._then = iter(first.pop("then", ()))
                self._turn(first)
            super().append(event)

        def reply_began(self) -> None:
            own = next(self._then, None)
            if own is not None:
                self._turn(own)

        def _turn(self, own: Mapping[str, Any]) -> None:
            self._connection.knobs = Knobs(**{**knobs, **own})

    class Sent(_Diary):
        """Each event comes by here just before it is written."""

        def __init__(self, peer: int, received: Received) -> None:
            super().__init__(peer, "sent")
            self._received = received

        def append(self, event: Any) -> None:
            super().append(event)
            if event == "response.created":
                self._received.reply_began()

    class Diarist(Simulator):
        def joined(self, connection: Any) -> None:
            super().joined(connection)
            peer = next(peers)
            note(peer=peer, joined=True)
            if isinstance(connection, Connection):
                connection.received = received = Received(peer, connection)
                connection.sent_types = Sent(peer, received)

    loop: Any = reactor  # the module is typed as neither of its interfaces
    service = Diarist(loop, Knobs(**knobs))
    service.startService()
    note(url=service.url)
    loop.run()


if __name__ == "__main__":
    main(*ast.literal_eval(sys.argv[1]))

"""
The voice service of the tests, in a process of its own, so that nothing the test does
delays it: L{portero.simulator} with a diary. Run as a module it is that process.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import portero
import tests
from tests.lab.process import Process, wait_until

HOMES = [str(Path(str(module.__file__)).parents[1]) for module in (portero, tests)]
"""Where the tests lie, and where portero does: it may be installed."""


class Service(Process):
    """
    Starts in the constructor, listening when that returns.

    @ivar url: For C{OPENAI_REALTIME_URL}.
    """

    def __init__(self, **knobs: object) -> None:
        """
        @param knobs: Fields of L{portero.simulator.Knobs}, of plain Python literals.
        """
        self._folder = Path(tempfile.mkdtemp(prefix="service-lab-"))
        super().__init__(
            [sys.executable, "-u", "-m", __name__, repr(knobs)],
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
        @return: What it did, with the monotonic C{time} of each: C{sent} names the type
            of an event that was written then, C{received} is an event that came.
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

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def append(self, event: Any) -> None:
        super().append(event)
        print(json.dumps({"time": time.monotonic(), self._name: event}))


def main(knobs: dict[str, Any]) -> None:
    from twisted.internet import reactor

    from portero.simulator import Connection, Knobs, Simulator

    class Diarist(Simulator):
        def joined(self, connection: Any) -> None:
            super().joined(connection)
            if isinstance(connection, Connection):
                # Connection notes an event's type there just before it writes it.
                connection.sent_types = _Diary("sent")
                connection.received = _Diary("received")

    loop: Any = reactor  # the module is typed as neither of its interfaces
    service = Diarist(loop, Knobs(**knobs))
    service.startService()
    print(json.dumps({"time": time.monotonic(), "url": service.url}))
    loop.run()


if __name__ == "__main__":
    main(ast.literal_eval(sys.argv[1]))

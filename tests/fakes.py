"""Stand-ins that record what they were told: one for each seam that tests meet."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from portero.interfaces import IAudioTap, ILegEvents


class FakeTransport(StringTransport):
    """
    A TCP transport that keeps each write apart, and the order of what was asked.

    Set C{reads} to C{False} for a far end that takes nothing any more.
    """

    bufferSize = 65536

    def __init__(self, host: str = "192.0.2.1", port: int = 40000) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", host, port))
        self.writes: list[bytes] = []
        self.asked: list[str] = []
        self.no_delay = False
        self.reads = True
        self._waiting = 0

    def write(self, data: bytes) -> None:
        super().write(data)
        self.writes.append(data)
        self.asked.append("write")
        if not self.reads:
            self._waiting += len(data)
            if self._waiting > self.bufferSize and self.producer is not None:
                self.producer.pauseProducing()

    def take(self) -> list[bytes]:
        """What was written since the last time, write by write."""
        taken, self.writes = self.writes, []
        self.clear()
        return taken

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def getHandle(self) -> None:
        """There is no socket."""

    def loseConnection(self) -> None:
        super().loseConnection()
        self.asked.append("loseConnection")

    def loseWriteConnection(self) -> None:
        self.disconnecting = True
        self.asked.append("loseWriteConnection")

    def abortConnection(self) -> None:
        self.disconnecting = True
        self.asked.append("abortConnection")


@implementer(ILegEvents)
class FakeLegEvents:
    """What a leg told, in order; its audio apart."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.audio: list[bytes] = []

    def identified(self) -> None:
        self.told.append(("identified",))

    def caller_audio(self, pcm: bytes) -> None:
        self.audio.append(pcm)

    def dtmf(self, digit: str) -> None:
        self.told.append(("dtmf", digit))

    def sounding(self, item: str) -> None:
        self.told.append(("sounding", item))

    def played_out(self, item: str) -> None:
        self.told.append(("played_out", item))

    def gone(self, reason: str, in_order: bool) -> None:
        self.told.append(("gone", reason, in_order))


@implementer(IAudioTap)
class FakeTap:
    """Keeps both sides of what it was given."""

    def __init__(self) -> None:
        self.caller: list[bytes] = []
        self.agent: list[bytes] = []
        self.rates: list[tuple[int, int]] = []

    def frame(
        self, caller: bytes, caller_rate: int, agent: bytes, agent_rate: int
    ) -> None:
        self.caller.append(caller)
        self.agent.append(agent)
        self.rates.append((caller_rate, agent_rate))

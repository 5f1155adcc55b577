"""One good call among hundreds of bad connections, on real sockets, in real time."""

from __future__ import annotations

import gc
import os
import random
import struct
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import Any, Self

from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.tcp import Port
from twisted.logger import LogEvent, LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from portero.call import Call
from portero.config import Config
from portero.linecheck import Report
from portero.phone import Phone, Plan
from portero.providers.openai import Conversation
from portero.record import Outcome
from portero.sections import ListenSettings, ProviderSettings
from portero.service import Bridge
from portero.simulator.connection import Connection
from portero.transports._admission import MOST_UNIDENTIFIED
from portero.transports.audiosocket import IDENTIFY_WITHIN, AudioSocketLeg
from portero.web.site import SiteRequest
from portero.wiring import Wiring

SEED = 20261121
DESCRIPTORS = Path("/proc/self/fd")
SILENT = 300
HOME = "127.0.0.1"
CROWD = "127.0.3.1"
GONE_WITHIN = IDENTIFY_WITHIN + 1
PTIME = 0.02
LOOK_EVERY = 0.01
BAD_CALLS = 12
"""Bad peers that say a call id first, so that each is a call until it misbehaves."""
KEPT = (AudioSocketLeg, Bridge, Call, Connection, Conversation, SiteRequest)


def message(kind: int, payload: bytes) -> bytes:
    return struct.pack(">BH", kind, len(payload)) + payload


def call_id() -> bytes:
    return message(0x01, uuid.uuid4().bytes)


def garbage(chance: random.Random) -> Iterator[bytes]:
    """What bad peers send before they have said which call they are."""
    good = call_id() + message(0x10, bytes(320))
    for cut in range(1, 19):
        yield good[:cut]  # and then nothing more
    for length in (0, 1, 15, 17, 36, 65535):
        yield message(0x01, bytes(length))
    yield message(0x10, bytes(320))
    yield message(0x03, b"5")
    yield message(0x10, bytes(65535))
    yield b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    yield b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    for _ in range(60):
        yield chance.randbytes(chance.randrange(1, 4000))


def misbehaviour(chance: random.Random) -> Iterator[bytes]:
    """What bad peers send after it. The call ends by it, or by their going away."""
    yield message(0x10, bytes(65535))
    yield b"\xff\xff\xff" + bytes(65535)
    yield message(0x10, b"") * 50
    yield message(0x10, bytes(1)) + message(0x10, bytes(321)) * 50
    yield call_id() * 3
    yield b"".join(message(kind, b"\x00") for kind in range(256) if kind > 0x18)
    yield message(0x03, b"\x00") + message(0x03, b"") + message(0x03, b"55")
    for _ in range(BAD_CALLS - 7):
        yield chance.randbytes(3000)


def is_socket(descriptor: str) -> bool:
    try:
        return os.readlink(DESCRIPTORS / descriptor).startswith("socket:")
    except FileNotFoundError:  # that of the listing itself
        return False


class StoodStill:
    """
    What the machine took from this process while it looked: turns of the reactor that
    came late although nothing was worked on before them. Where it took nothing, a call
    may miss nothing.

    @ivar frames: So many of a call are late by that at the most.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self.frames = 0
        self._clock = clock
        self._loop = LoopingCall(self._look)

    def __enter__(self) -> Self:
        self._seen = self._clock.seconds(), time.process_time()
        self._loop.start(LOOK_EVERY, now=False)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.stop()

    def _look(self) -> None:
        seen, self._seen = self._seen, (self._clock.seconds(), time.process_time())
        passed, worked = (
            now - then for now, then in zip(self._seen, seen, strict=True)
        )
        taken = passed - LOOK_EVERY - worked
        if taken > PTIME / 2:
            self.frames += ceil(taken / PTIME)


class Peer(Protocol):
    """Sends what it was given, and waits to be got rid of."""

    def __init__(self, data: bytes = b"", reads: bool = True) -> None:
        self.data = data
        self.reads = reads
        self.gone: Deferred[None] = Deferred()
        self.is_gone = False

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if not self.reads:
            transport.pauseProducing()
        transport.write(self.data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_gone = True
        self.gone.callback(None)


class FloodTests(TestCase):
    timeout = 60

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.chance = random.Random(SEED)
        self.peers: list[Peer] = []
        self.bridge: Bridge | None = None
        self.addCleanup(self.stop)

    def census(self) -> dict[str, int]:
        """@return: How many there are of what a connection may leave behind."""
        gc.collect()
        found = dict.fromkeys((kind.__name__ for kind in KEPT), 0)
        for each in gc.get_objects():
            if isinstance(each, KEPT):
                found[type(each).__name__] += 1
        found["sockets"] = sum(map(is_socket, os.listdir(DESCRIPTORS)))
        found["delayed calls"] = len(self.reactor.getDelayedCalls())
        return found

    def start(self) -> tuple[Bridge, int]:
        ports = {each for each in self.reactor.getReaders() if isinstance(each, Port)}
        bridge = Wiring(self.reactor).build(
            Config(
                listen=ListenSettings(port="tcp:0:interface=127.0.0.1:backlog=512"),
                providers={"": ProviderSettings(kind="demo")},
            )
        )
        bridge.privilegedStartService()
        (port,) = {
            each for each in self.reactor.getReaders() if isinstance(each, Port)
        } - ports
        bridge.startService()
        return bridge, port.getHost().port

    async def send(
        self, port: int, data: bytes = b"", reads: bool = True, source: str = HOME
    ) -> Peer:
        peer = Peer(data, reads)
        endpoint = TCP4ClientEndpoint(self.reactor, HOME, port, bindAddress=(source, 0))
        await connectProtocol(endpoint, peer)
        self.peers.append(peer)
        return peer

    async def flood(self, port: int) -> list[Peer]:
        """
        Bad peers of every kind that never become a call; from many addresses, as only
        so many from each are listened to.
        """
        peers = [
            await self.send(port, data, source=f"127.0.1.{number}")
            for number, data in enumerate(garbage(self.chance), 1)
        ]
        for number in range(SILENT):
            address = f"127.0.2.{1 + number // MOST_UNIDENTIFIED}"
            peers.append(await self.send(port, source=address))
        peers += [
            await self.send(port, source=CROWD) for _ in range(MOST_UNIDENTIFIED + 50)
        ]
        peers += [await self.send(port, source="127.0.4.1", reads=False)]
        return peers

    async def got_rid_of(self, peers: list[Peer]) -> None:
        for peer in peers:
            if not peer.reads:  # it cannot see its end without reading
                peer.transport.resumeProducing()  # type: ignore[union-attr]  # is there
        ends = DeferredList([peer.gone for peer in peers])
        await ends.addTimeout(0.5, self.reactor)

    def stop(self) -> Deferred[None]:
        """However the test ended, nothing of it stays."""
        for peer in self.peers:
            if peer.transport is not None and not peer.is_gone:
                peer.transport.abortConnection()  # type: ignore[attr-defined]  # TCP
        if self.bridge is None:
            return succeed(None)
        stopped = self.bridge.stopService()
        self.bridge.hang_up()
        return stopped

    async def call_among_bad_ones(self) -> Report:
        """@return: What the good caller measured."""
        bridge, port = self.start()
        self.bridge = bridge
        phone = Phone(self.reactor, Plan(say_after=0, seconds=60))
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port)
        await connectProtocol(endpoint, phone)
        await self.until(lambda: bool(bridge.calls))
        (good,) = bridge.calls
        calls = [
            await self.send(port, call_id() + data)
            for data in misbehaviour(self.chance)
        ]
        calls.append(await self.send(port, call_id(), reads=False))
        strangers = await self.flood(port)
        await deferLater(self.reactor, GONE_WITHIN)
        await self.got_rid_of(strangers)
        for peer in calls:
            peer.transport.abortConnection()  # type: ignore[union-attr]  # is there
        await self.got_rid_of(calls)
        await self.until(lambda: list(bridge.calls) == [good])
        phone.hang_up()
        report = await phone.ended
        await self.until(lambda: not bridge.calls)
        self.assertIs(bridge.ended[good].outcome, Outcome.WELL)
        await bridge.stopService()
        self.bridge = None
        return report

    async def until(self, true: Callable[[], bool]) -> None:
        """An end of a connection is seen a moment later on its other side."""
        for _ in range(100):
            if true():
                return
            await deferLater(self.reactor, 0.02)
        self.fail("it never was so")

    async def test_a_good_call_hears_nothing_of_the_bad_ones(self) -> None:
        await deferLater(self.reactor, 0)  # trial's own timeout is set from then on
        # As at portero's start: to look for garbage among all that other tests loaded
        # stops the process for longer than a call may be without frames.
        gc.collect()
        gc.freeze()
        self.addCleanup(gc.unfreeze)
        before = self.census()
        began = self.reactor.seconds()
        with capturedLogs() as events, StoodStill(self.reactor) as machine:
            report = await self.call_among_bad_ones()
        seconds = ceil(self.reactor.seconds() - began)
        self.assertLessEqual(report.missing, machine.frames, str(report))
        self.assertGreater(report.frames, GONE_WITHIN / 0.02)
        self.check_log(events, seconds)
        del events
        self.peers.clear()
        for _ in range(50):  # what was closed is gone a moment later
            if self.census() == before:
                break
            await deferLater(self.reactor, 0.1)
        self.assertEqual(self.census(), before)

    def check_log(self, events: Sequence[LogEvent], seconds: int) -> None:
        """Every bad peer is told of, and none of them fills the log."""
        told = [event for event in events if event["log_level"] > LogLevel.info]
        self.assertEqual({event["log_level"] for event in told}, {LogLevel.warn})
        sources = Counter(event["address"] for event in told if "address" in event)
        self.assertLessEqual(max(sources.values()), seconds)
        self.assertIn(CROWD, sources)
        silent = [source for source in sources if source.startswith("127.0.2.")]
        self.assertEqual(len(silent), SILENT // MOST_UNIDENTIFIED)
        garbled = [source for source in sources if source.startswith("127.0.1.")]
        self.assertEqual(len(garbled), len(list(garbage(self.chance))))
        calls = Counter(formatEvent(event) for event in told if "call_id" in event)
        self.assertEqual(set(calls.values()), {1})

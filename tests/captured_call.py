"""A call that is captured, with the test at each of its doors."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from twisted.internet.task import Clock

from portero.assignment import Assignment
from portero.call import Call
from portero.captures.call import capture_call
from portero.captures.capture import Capture
from portero.captures.entries import Entry, Kind, jsonable
from portero.captures.played import PlayedLeg, PlayedSockets
from portero.facts import Facts
from portero.interfaces import IPbxControl, ITool, LegMake, McpServer
from portero.providers.openai import Provider
from portero.sections import ProviderSettings
from portero.simulator.persona import tone
from portero.toolbox import Toolbox
from portero.watching import Watchers
from tests.fake_call import NOBODY, assignment
from tests.test_providers_openai import session

CALL_ID = "11111111-2222-3333-4444-555555555555"
FRAME = 320
FORMAT = "audio/pcmu"


class CapturedCase:
    """
    Nothing happens by itself: L{go_on} sends and takes frames.

    @ivar entries: What was captured.
    """

    def __init__(
        self,
        *tools: ITool,
        pbx: IPbxControl | None = None,
        facts: Facts = NOBODY,
        mcp: tuple[McpServer, ...] = (),
        **settings: Any,
    ) -> None:
        """@param settings: Of L{portero.assignment.CallSettings}."""
        self.world = Clock()
        self.world.rightNow = 1000.0
        self.entries: list[Entry] = []
        self.capture = Capture(self.world, self._keep, CALL_ID)
        self.leg = PlayedLeg(self.world, CALL_ID, "a test", LegMake(8000))
        self.sockets = PlayedSockets()
        self.ended: list[Call] = []
        given = self._assignment(tools, pbx, facts, settings)
        self.given = replace(given, brief=replace(given.brief, mcp=mcp))
        watchers = Watchers()
        watchers.add(self.capture)
        self.call = self.make_call(watchers)

    def make_call(self, watchers: Watchers) -> Call:
        return capture_call(
            self.capture, self.leg, self.given, self.ended.append, watchers
        )

    def _assignment(
        self,
        tools: tuple[ITool, ...],
        pbx: IPbxControl | None,
        facts: Facts,
        settings: dict[str, Any],
    ) -> Assignment:
        provider = Provider(self.world, ProviderSettings(audio_format="pcmu"), "secret")
        return assignment(
            provider.by_way_of(self.world, self.sockets.connect),
            Toolbox(tools, self.world, 5.0),
            call_id=CALL_ID,
            facts=facts,
            pbx=pbx,
            **settings,
        )

    def _keep(self, entry: Entry) -> None:
        if Kind.ENDED not in self.kinds():  # the file was closed
            self.entries.append(entry)

    # What a test does

    def begin(self) -> None:
        """The call comes, and its service is ready."""
        self.leg.begin(self.call)
        self.go_on(0.1)
        self.connect()

    def connect(self, number: int = 1) -> None:
        """A socket opens, and the service takes what it is told."""
        self.socket(Kind.OPENED, bytes(8), number)
        self.say({"type": "session.created", "session": {}}, number)
        self.go_on(0.02)
        self.say(session(FORMAT, FORMAT), number)

    def say(self, event: dict[str, Any], number: int = 1) -> None:
        """The service does."""
        self.socket(Kind.TEXT, jsonable({"event_id": "event", **event}), number)

    def socket(self, kind: Kind, data: bytes = b"", number: int = 1) -> None:
        self.sockets.came(Entry(kind, 0.0, number, data))

    def go_on(self, seconds: float, speaks: bool = False) -> None:
        """So much time passes, a frame each way in 20 ms; timers are a little late."""
        pcm = tone(20) if speaks else bytes(FRAME)
        for _ in range(round(seconds * 50)):
            self.world.advance(0.013)
            self.leg.hear(pcm, 8000, self.world.seconds())
            self.world.advance(0.007)
            self.leg.frame_due(self.world.seconds())

    # What it looks at

    def kinds(self) -> list[Kind]:
        return [entry.kind for entry in self.entries]

    def of(self, kind: Kind) -> list[Any]:
        """@return: What the data of this kind is, of kinds that have JSON."""
        return [entry.value() for entry in self.entries if entry.kind is kind]

    def happened(self, kind: str) -> list[dict[str, Any]]:
        return [data for what, _, data in self.of(Kind.HAPPENED) if what == kind]

    def sent(self) -> list[str]:
        """@return: The types of messages to the service."""
        texts = (e.data for e in self.entries if e.kind is Kind.SENT)
        return [json.loads(text)["type"] for text in texts]

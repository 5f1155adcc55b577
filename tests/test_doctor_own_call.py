"""Tests of L{portero.doctor.own_call}: with a whole portero, and with what is none."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from portero.config import Config, load
from portero.doctor import own_call
from portero.doctor.report import Finding
from portero.doctor.where import Place
from portero.linecheck import LineCheck, Report
from portero.record import Outcome
from portero.service import Bridge
from portero.transports.audiosocket import AudioSocketReceiver
from portero.wire import audiosocket as wire
from portero.wiring import Wiring
from tests.lab.process import free_port

at: Any = reactor  # it provides more interfaces than its type says
TOKEN = "the-token"


def summary(found: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.check, finding.level) for finding in found]


class Case(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.port, self.web = free_port(), free_port()
        # However busy this machine is.
        self.patch(own_call, "GOOD_FRAME_WITHIN", 10.0)
        self.patch(own_call, "LONGEST", 10.0)

    def config(self, more: str = "", token: str = "", web: bool = True) -> Config:
        """@param more: TOML, which begins in C{[listen]}."""
        path = self.mktemp()
        Path(path).write_text(
            f'[provider]\nkind = "demo"\n[listen]\nport = {self.port}\n'
            + f"web = {self.web}\n" * web
            + more
        )
        return load(path, {"PORTERO_WEB_TOKEN": token})

    async def examine(self, config: Config) -> list[Finding]:
        return await own_call.examine(at, config)


class PorteroTests(Case):
    def start(self, config: Config) -> Bridge:
        bridge = Wiring(at).build(config)
        bridge.startService()
        self.addCleanup(bridge.stopService)
        return bridge

    async def test_one_that_is_well_takes_the_call_and_knows_of_it(self) -> None:
        agi = free_port()
        config = self.config(f"agi = {agi}\nrequire_registration = true\n", TOKEN)
        bridge = self.start(config)
        found = await self.examine(config)
        self.assertEqual(
            summary(found),
            [(name, "ok") for name in ("port", "status", "agi", "call", "next")],
            found,
        )
        (record,) = bridge.ended.values()
        self.assertEqual(record.outcome, Outcome.WELL)
        self.assertEqual(bridge.answered, 1)

    async def test_without_a_status_resource_the_call_is_placed_all_the_same(
        self,
    ) -> None:
        config = self.config(web=False)
        self.patch(own_call, "Places", _Elsewhere(self.port, self.web))
        self.start(config)
        found = await self.examine(config)
        self.assertEqual(
            summary(found), [("port", "ok"), ("status", "warn"), ("call", "ok")]
        )
        self.assertIn("the dialplan cannot ask", found[1].said)

    async def test_a_status_resource_that_is_not_there_though_it_should_be(
        self,
    ) -> None:
        self.start(self.config(web=False))
        found = await self.examine(self.config())
        self.assertEqual(
            summary(found), [("port", "ok"), ("status", "fail"), ("call", "ok")]
        )

    async def test_one_that_takes_only_announced_calls_refuses_others(self) -> None:
        more = f"require_registration = true\nagi = {free_port()}\n"
        self.start(self.config(more, web=False))
        found = await self.examine(self.config())
        self.assertEqual(summary(found)[-1], ("call", "fail"))
        self.assertIn("as one that was not announced may be", found[-1].said)

    async def test_a_wrong_token_is_the_dialplans_trouble_too(self) -> None:
        self.start(self.config(token=TOKEN))
        found = await self.examine(self.config(token="another"))
        self.assertEqual(
            summary(found), [("port", "ok"), ("status", "ok"), ("call", "fail")]
        )
        self.assertIn("forbidden, PORTERO_TOKEN is not the token", found[-1].said)
        self.assertIn("PORTERO_WEB_TOKEN", found[-1].remedy)

    async def test_one_that_runs_empty_says_so(self) -> None:
        config = self.config()
        self.start(config).drain(True, "test")
        found = await self.examine(config)
        self.assertEqual(
            summary(found), [("port", "ok"), ("status", "fail"), ("call", "fail")]
        )
        self.assertIn("draining", found[1].said)
        self.assertIn("switch Drain off", found[1].remedy)

    async def test_nobody_there_is_one_failure(self) -> None:
        found = await self.examine(self.config())
        self.assertEqual(
            summary(found), [("port", "fail"), ("status", "skip"), ("call", "skip")]
        )
        self.assertIn("is free", found[0].said)
        self.assertIn("systemctl start portero", found[0].remedy)


class _Elsewhere:
    """In the place of L{Places}, which would look at the usual port."""

    def __init__(self, calls: int, web: int) -> None:
        self.calls = Place("127.0.0.1", calls)
        self.web = Place("127.0.0.1", web)
        self.agi = None

    def of(self, listen: object) -> _Elsewhere:
        return self


class Says(Resource):
    """Anything, to anybody."""

    isLeaf = True

    def __init__(self, code: int, text: bytes) -> None:
        super().__init__()
        self.code = code
        self.text = text

    def render(self, request: Request) -> bytes:
        request.setResponseCode(self.code)
        return self.text


class FarEnd(AudioSocketReceiver):
    """Takes a call, and sends what it is told to, or resets it."""

    def __init__(self, messages: list[tuple[int, bytes]] | None) -> None:
        super().__init__()
        self.messages = messages

    def messageReceived(self, kind: int, payload: bytes) -> None:
        if kind != wire.UUID:
            return
        if self.messages is None:
            self._connected_transport().abortConnection()
            return
        for message in self.messages:
            self.sendMessage(*message)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._decoder.stop()


class OtherTests(Case):
    """Something else has the ports."""

    def answers(self, messages: list[tuple[int, bytes]] | None) -> None:
        factory = Factory.forProtocol(lambda: FarEnd(messages))
        self.listen(self.port, factory)

    def listen(self, port: int, factory: Any) -> None:
        factory.noisy = False
        listening = at.listenTCP(port, factory, interface="127.0.0.1")
        self.addCleanup(listening.stopListening)

    def serve(self, **pages: tuple[int, bytes]) -> None:
        root = Resource()
        for name, (code, text) in pages.items():
            root.putChild(name.encode(), Says(code, text))
        site = Site(root)
        self.listen(self.web, site)

    async def test_a_web_server_that_is_not_portero_is_told(self) -> None:
        self.answers([(wire.SLIN, bytes(320))])
        for page in (b"<html>", b"[]", b'{"service": "another"}'):
            self.serve(health=(200, page), readyz=(200, b"ready"))
            found = await self.examine(self.config())
            self.assertEqual(summary(found)[1], ("status", "fail"))
            self.assertIn("nothing of portero answers", found[1].said)
            self.web = free_port()

    async def test_what_speaks_no_http_is_told(self) -> None:
        self.answers([(wire.SLIN, bytes(320))])
        with socket.create_server(("127.0.0.1", self.web)) as mute:
            self.patch(own_call, "ANSWERS_WITHIN", 0.2)
            found = await self.examine(self.config())
            mute.close()
        self.assertEqual(summary(found)[1], ("status", "fail"))

    async def test_a_port_that_sends_no_sound_is_told(self) -> None:
        self.patch(own_call, "LONGEST", 0.2)
        self.answers([])
        found = await self.examine(self.config())
        self.assertEqual(summary(found)[-1], ("call", "fail"))
        self.assertIn("is it portero that listens?", found[-1].said)

    async def test_a_call_that_is_reset_is_told(self) -> None:
        self.answers(None)
        found = await self.examine(self.config())
        self.assertIn("it was not taken, as one", found[-1].said)
        self.assertIn("(RST)", found[-1].said)

    async def test_two_porteros_with_a_port_each_are_told(self) -> None:
        """The one that was told of the call did not get it."""
        self.patch(own_call, "OVER_WITHIN", 0.3)
        self.answers([(wire.SLIN, bytes(320))])
        uuid = b"uuid=40325ec2-5efd-4bd3-805f-53576e581d13"
        self.serve(
            health=(200, b'{"service": "portero"}'),
            readyz=(200, b"ready\n"),
            register=(200, uuid),
            next=(200, b"outcome=unknown&reason="),
        )
        found = await self.examine(self.config())
        self.assertEqual(
            summary(found),
            [("port", "ok"), ("status", "ok"), ("call", "ok"), ("next", "fail")],
        )
        self.assertIn("unknown", found[-1].said)

    async def test_what_cannot_be_tried_is_left_open(self) -> None:
        path = self.mktemp()
        Path(path).write_text('[listen]\nport = "unix:/run/portero.sock"\n')
        found = await self.examine(load(path))
        self.assertEqual(summary(found), [("port", "skip")])


class PortTests(SynchronousTestCase):
    def test_one_that_cannot_be_had_says_why(self) -> None:
        found = own_call.port(Place("192.0.2.1", 1))
        self.assertEqual((found.check, found.level), ("port", "fail"))
        reason = own_call._not_free(Place("192.0.2.1", 18089))
        self.assertIn("no such address", reason)

    def test_one_that_is_taken_says_so(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            place = Place("127.0.0.1", other.getsockname()[1])
            self.assertEqual(own_call.port(place).level, "ok")
            self.assertIn("another program", own_call._not_free(place))

    def test_fastagi_that_does_not_answer_fails(self) -> None:
        found = own_call.fastagi(Place("127.0.0.1", free_port()))
        self.assertEqual((found.check, found.level), ("agi", "fail"))


class CallTests(SynchronousTestCase):
    def report(self, **changes: Any) -> Report:
        line = LineCheck(0.0)
        line.frame_received(0.02, 8000, bytes(320))
        return replace(line.report(0.1, "hung up by us (0x00, FIN)"), **changes)

    def test_a_frame_in_time_is_enough(self) -> None:
        found = own_call.judge_call(self.report(), announced=True)
        self.assertEqual(found.level, "ok")
        self.assertIn("after 20 ms", found.said)

    def test_one_that_is_late_is_told(self) -> None:
        found = own_call.judge_call(self.report(first_frame_ms=1001.0), True)
        self.assertEqual(found.level, "warn")
        self.assertIn("too busy", found.remedy)

    def test_what_asterisk_would_not_like_is_told(self) -> None:
        odd = self.report(oddities={"it ends the call at kind 0x02": 1})
        found = own_call.judge_call(odd, True)
        self.assertEqual(found.level, "warn")
        self.assertIn("kind 0x02", found.said)

"""Tests of L{portero.transports.browser}."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from struct import pack, unpack_from
from typing import Any

from autobahn.twisted.websocket import WebSocketClientFactory, WebSocketClientProtocol
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionAborted
from twisted.internet.protocol import connectionDone
from twisted.internet.task import Clock, LoopingCall, deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface.verify import verifyClass

from portero.audio import level_dbfs
from portero.config import Config
from portero.errors import Refused
from portero.facts import Facts
from portero.interfaces import IMediaTransport
from portero.pacing import PTIME, TICK, MediaClock
from portero.sections import ListenSettings, ProviderSettings
from portero.transports.browser import (
    CLOSE_WITHIN,
    HEADER,
    MOST_MESSAGE,
    MOST_REASON,
    PING_ANSWERED_WITHIN,
    PING_EVERY,
    RATE,
    Transport,
)
from portero.web.site import PorteroSite
from portero.wiring import Wiring
from tests import leg_conformance
from tests.fakes import FakeLegEvents, FakeTransport
from tests.leg_conformance import FarEnd, speech

CALL_ID = "6f9b1f0e-58a5-4a5e-9a3c-0b7d2f0c1e55"
SILENT_FRAME = bytes(960)
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MASK = b"\x11\x22\x33\x44"
UPGRADE = {
    "Host": "192.0.2.9:8091",
    "Origin": "http://192.0.2.9:8091",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Extensions": "permessage-deflate",
}


def message(opcode: int, payload: bytes) -> bytes:
    """One whole message as a browser sends it: masked (RFC 6455, 5.3)."""
    masked = bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))
    if not any(payload):
        masked = (MASK * (len(payload) // 4 + 1))[: len(payload)]
    if len(payload) < 126:
        head = pack("!BB", 0x80 | opcode, 0x80 | len(payload))
    elif len(payload) < 65536:
        head = pack("!BBH", 0x80 | opcode, 0x80 | 126, len(payload))
    else:
        head = pack("!BBQ", 0x80 | opcode, 0x80 | 127, len(payload))
    return head + MASK + masked


def messages(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Those that a server sent: opcode and payload."""
    while stream:
        size, start = stream[1], 2
        if size == 126:
            (size,), start = unpack_from("!H", stream, 2), 4
        yield stream[0] & 15, stream[start : start + size]
        stream = stream[start + size :]


class Wire(FakeTransport):
    """A connection whose protocol is changed by an upgrade."""

    protocol: Any

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def unregisterProducer(self) -> None:
        """Real transports do not mind when there is none."""
        self.producer = None


class Browser(FarEnd):
    """A page that calls, at the other end of a connection to a web site."""

    rate = RATE

    def __init__(self, site: Site, path: str = "/", **fields: str) -> None:
        """@param fields: Of the request, in place of the usual; empty: left out."""
        self.wire = self.transport = Wire()
        protocol: Any = site.buildProtocol(IPv4Address("TCP", "192.0.2.1", 40000))
        self.wire.protocol = protocol
        protocol.makeConnection(self.transport)
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        request = f"GET {path} HTTP/1.1\r\n" + "".join(
            f"{name}: {value}\r\n"
            for name, value in {**UPGRADE, **named}.items()
            if value
        )
        self.receive(request.encode() + b"\r\n")
        self.answer, _, rest = b"".join(self.transport.take()).partition(b"\r\n\r\n")
        self.got = list(messages(rest)) if self.status == 101 else []

    @property
    def status(self) -> int:
        return int(self.answer.split()[1])

    def receive(self, data: bytes) -> None:
        self.wire.protocol.dataReceived(data)

    def send(self, opcode: int, payload: bytes) -> None:
        self.receive(message(opcode, payload))

    def tell(self, told: object) -> None:
        self.send(TEXT, json.dumps(told).encode())

    def take(self) -> list[tuple[int, bytes]]:
        """The messages since the last time."""
        got, self.got = self.got, []
        return got + list(messages(b"".join(self.transport.take())))

    def answer_pings(self) -> int:
        """@return: How many there were since the last time."""
        pings = [payload for opcode, payload in self.take() if opcode == PING]
        for payload in pings:
            self.send(PONG, payload)
        return len(pings)

    def closing(self) -> tuple[int, str]:
        """Code and reason of the close message, the last one that came."""
        opcode, payload = self.take()[-1]
        assert opcode == CLOSE
        return unpack_from("!H", payload)[0], payload[2:].decode()

    def speak(self, pcm: bytes) -> None:
        self.send(BINARY, pcm)

    def press(self, key: str) -> None:
        self.tell({"dtmf": key})

    def send_nonsense(self) -> None:
        self.tell({"sing": True})

    def hang_up(self) -> None:
        self.tell({"hang_up": True})

    def lose(self, reason: Failure | None = None) -> None:
        self.wire.protocol.connectionLost(reason or connectionDone)

    def frames(self) -> list[bytes]:
        return [payload for opcode, payload in self.take() if opcode == BINARY]


class ConformanceTests(leg_conformance.LegConformance):
    def far_end(self) -> FarEnd:
        resource = Transport(self.clock, self.media).resource(
            self.calls, lambda facts: CALL_ID
        )
        browser = Browser(Site(resource, reactor=self.clock))
        browser.leg = self.taken[-1][0]
        return browser


class BrowserCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100.0)
        self.media = MediaClock(self.clock)
        self.events = FakeLegEvents()
        self.takes = True
        self.announced: list[Facts] = []
        self.refusal: Exception | None = None
        self.legs: list[Any] = []
        self.transport = Transport(self.clock, self.media)
        self.resource = self.transport.resource(self.calls, self.announce)
        self.site = Site(self.resource, reactor=self.clock)

    def announce(self, facts: Facts) -> str:
        self.announced.append(facts)
        if self.refusal is not None:
            raise self.refusal
        return CALL_ID

    def calls(self, leg: Any, call_id: str) -> FakeLegEvents | None:
        self.legs.append(leg)
        return self.events if self.takes else None

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.clock.advance(TICK)

    def assert_released(self) -> None:
        self.assertEqual(self.media.legs, 0)
        self.clock.advance(20)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class BeginningTests(BrowserCase):
    def test_the_module_provides_a_transport(self) -> None:
        self.assertTrue(verifyClass(IMediaTransport, Transport))

    def test_it_listens_where_it_is_told(self) -> None:
        memory = MemoryReactorClock()
        transport = Transport(memory, self.media)
        service = transport.listen("tcp:8099:interface=127.0.0.1", self.calls)
        service.startService()
        port: int
        site: Any
        port, site, *_ = memory.tcpServers[0]
        self.assertEqual(port, 8099)
        site.startFactory()
        self.addCleanup(site.stopFactory)
        self.assertEqual(Browser(site).status, 101)
        self.assertEqual(len(self.legs), 1)

    def test_the_first_message_says_which_call_it_is_and_the_rate(self) -> None:
        browser = Browser(self.site)
        self.assertNotIn(b"Server:", browser.answer)  # nobody needs to know versions
        ((opcode, payload),) = browser.take()
        self.assertEqual(opcode, TEXT)
        self.assertEqual(json.loads(payload), {"call_id": CALL_ID, "rate": 24000})
        self.assertEqual(self.legs[0].call_id, CALL_ID)
        self.pass_time(TICK)
        self.assertEqual(browser.take(), [(BINARY, SILENT_FRAME)])

    def test_a_frame_has_the_header_that_autobahn_would_write(self) -> None:
        self.assertEqual(
            list(messages(HEADER + SILENT_FRAME)), [(BINARY, SILENT_FRAME)]
        )

    def test_the_agent_is_named_in_the_query(self) -> None:
        Browser(self.site, "/?agent=sales%22%0a")
        Browser(self.site, "/?agent=a&agent=b")
        Browser(self.site, "/?other=x")
        named = [facts.agent for facts in self.announced]
        self.assertEqual(named, ["sales", "a", ""])
        self.assertEqual({facts.caller_name for facts in self.announced}, {"browser"})

    def test_a_site_may_say_who_calls(self) -> None:
        case = self

        class Place(Resource):
            isLeaf = True

            def render_GET(self, request: Any) -> Any:
                return case.resource.upgrade(request, "sales", "Ana {maria}")

        Browser(Site(Place(), reactor=self.clock))
        self.assertEqual(
            self.announced, [Facts(caller_name="Ana maria", agent="sales")]
        )

    def test_the_buffers_are_for_two_seconds(self) -> None:
        browser = Browser(self.site)
        self.assertEqual(browser.transport.bufferSize, 96000)

    def test_playout_is_as_the_options_say(self) -> None:
        transport = Transport(
            self.clock, self.media, prebuffer_frames=7, queue_frames=100
        )
        resource = transport.resource(self.calls, self.announce)
        Browser(Site(resource, reactor=self.clock))
        (leg,) = self.legs
        self.assertEqual(leg.figures().prefill_ms, 140)
        self.assertTrue(leg.play("a", bytes(100 * 960)))
        self.assertFalse(leg.play("a", bytes(2)))


class RefusingTests(BrowserCase):
    def test_a_call_that_is_not_taken_is_told_why(self) -> None:
        self.refusal = Refused("full", "there are 3 calls already")
        browser = Browser(self.site)
        self.assertEqual(browser.closing(), (1013, "there are 3 calls already"))
        self.assertEqual(self.legs, [])
        browser.send(CLOSE, pack("!H", 1013))
        self.assertEqual(browser.transport.asked[-1], "abortConnection")
        browser.lose()
        self.assert_released()

    def test_a_long_reason_is_cut_between_letters(self) -> None:
        self.refusal = Refused("full", "ñ" * 200)
        _, reason = Browser(self.site).closing()
        self.assertEqual(reason, "ñ" * (MOST_REASON // 2))

    def test_one_that_is_refused_at_last_is_told_to_look_into_the_log(self) -> None:
        self.takes = False
        code, reason = Browser(self.site).closing()
        self.assertEqual(code, 1013)
        self.assertIn("the log says why", reason)
        self.assertEqual(self.media.legs, 0)

    def test_what_it_says_nevertheless_is_not_heard(self) -> None:
        self.takes = False
        browser = Browser(self.site)
        browser.speak(SILENT_FRAME)
        browser.hang_up()
        self.assertEqual(len(self.announced), 1)

    def test_an_error_on_our_side_is_logged_and_closes(self) -> None:
        self.refusal = ValueError("what")
        code, reason = Browser(self.site).closing()
        self.assertEqual(code, 1011)
        self.assertNotIn("what", reason)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_an_error_at_its_beginning_leaves_no_call(self) -> None:
        self.patch(MediaClock, "join", lambda clock, leg: 1 // 0)
        browser = Browser(self.site)
        self.assertEqual(browser.closing()[0], 1011)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.events.told, [("gone", "internal error", False)])

    def test_one_that_never_answers_the_closing_is_cut_off(self) -> None:
        self.takes = False
        browser = Browser(self.site)
        self.clock.advance(CLOSE_WITHIN + 0.5)
        self.assertEqual(browser.transport.asked[-1], "abortConnection")
        browser.lose(Failure(ConnectionAborted()))
        self.assert_released()

    def test_a_page_of_another_site_is_refused_before_anything(self) -> None:
        for origin in (
            "http://evil.example",
            "http://192.0.2.9:8092",
            "http://192.0.2.9",
            "null",
            "http://192.0.2.9:8091.evil.example",
            "http://evil.example/http://192.0.2.9:8091",
        ):
            browser = Browser(self.site, Origin=origin)
            self.assertEqual(browser.status, 403, origin)
        self.assertEqual(self.announced, [])

    def test_a_program_that_is_no_page_may_call(self) -> None:
        self.assertEqual(Browser(self.site, Origin="").status, 101)

    def test_capital_letters_make_no_other_site(self) -> None:
        for host, origin in (
            ("Portero.example", "https://portero.example"),
            ("portero.example", "HTTPS://PORTERO.example"),
        ):
            browser = Browser(self.site, Host=host, Origin=origin)
            self.assertEqual(browser.status, 101)

    def test_a_plain_request_is_told_what_this_is(self) -> None:
        browser = Browser(self.site, Upgrade="")
        self.assertEqual(browser.status, 426)
        self.assertIn(b"Upgrade: websocket", browser.answer)
        self.assertEqual(self.announced, [])

    def test_what_is_no_websocket_of_today_is_refused(self) -> None:
        for fields in (
            {"Sec_WebSocket_Version": "8888"},
            {"Sec_WebSocket_Key": "short"},
            {"Connection": "close"},
        ):
            self.assertEqual(Browser(self.site, **fields).status, 400, fields)
        self.assertEqual(self.announced, [])


class TalkingTests(BrowserCase):
    def setUp(self) -> None:
        super().setUp()
        self.browser = Browser(self.site)
        self.browser.take()
        (self.leg,) = self.legs

    def gone(self) -> list[tuple[Any, ...]]:
        return [told for told in self.events.told if told[0] == "gone"]

    def test_a_microphone_that_is_off_is_no_end(self) -> None:
        for _ in range(20):
            self.pass_time(3)
            self.browser.answer_pings()
        self.assertEqual(self.gone(), [])
        heard = sum(map(len, self.events.audio)) / 48000
        self.assertApproximates(heard, 60, 0.1)

    def test_one_that_answers_no_ping_is_dead(self) -> None:
        self.pass_time(PING_EVERY + 0.5)
        self.assertIn(PING, [opcode for opcode, _ in self.browser.take()])
        self.pass_time(PING_ANSWERED_WITHIN + 0.5)
        self.assertEqual(self.browser.transport.asked[-1], "abortConnection")
        self.browser.lose(Failure(ConnectionAborted()))
        ((_, reason, in_order),) = self.gone()
        self.assertEqual(reason, "no answer of the browser for 10 s")
        self.assertFalse(in_order)
        self.assert_released()

    def test_pings_that_are_answered_keep_it_for_hours(self) -> None:
        """Also under a web site that has little patience with requests."""
        self.browser.lose()
        root = Resource()
        root.putChild(b"talk", self.resource)
        site: Any = PorteroSite(root, lambda peer: True)
        site.reactor = self.clock
        self.events = FakeLegEvents()
        impatient = Browser(site, "/talk", Upgrade="")
        impatient.receive(b"GET /talk HTTP/1.1\r\n")
        browser = Browser(site, "/talk")
        pings = 0
        for _ in range(3 * 720):
            self.clock.advance(5)
            pings += browser.answer_pings()
        self.assertEqual(impatient.transport.asked[-1], "abortConnection")
        self.assertEqual(self.events.told, [("identified",)])
        self.assertGreater(pings, 700)
        self.pass_time(0.1)
        self.assertEqual(len(browser.frames()), 5)

    def test_texts_that_mean_nothing_are_counted_whatever_they_hold(self) -> None:
        with capturedLogs():
            for text in (
                *(b"", b"{", b"[]", b"null", b"1e999", b'"dtmf"', b"{}", b"[" * 50000),
                *(b'{"dtmf":5}', b'{"dtmf":null}', b'{"dtmf":["5"]}'),
                *(b'{"hang_up":1}', b'{"hang_up":"true"}', b'{"hang_up":false}'),
                b"9" * 60000,
            ):
                self.browser.send(TEXT, text)
        self.assertEqual(self.leg.figures().oddities, {"unknown texts": 15})
        self.assertEqual(self.events.told, [("identified",)])

    def test_an_error_in_the_call_ends_it(self) -> None:
        self.patch(self.events, "dtmf", lambda digit: 1 // 0)
        self.browser.press("1")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.gone(), [("gone", "internal error", False)])

    def test_a_message_that_is_too_long_ends_it(self) -> None:
        self.browser.speak(bytes(MOST_MESSAGE))
        self.assertEqual(self.gone(), [])
        self.browser.take()
        self.browser.speak(bytes(MOST_MESSAGE + 2))
        code, _ = self.browser.closing()
        self.assertEqual(code, 1009)
        ((_, reason, in_order),) = self.gone()
        self.assertIn("protocol error", reason)
        self.assertFalse(in_order)
        self.pass_time(CLOSE_WITHIN + 0.5)
        self.assertEqual(self.browser.frames(), [])
        self.browser.lose(Failure(ConnectionAborted()))
        self.assert_released()

    def test_one_that_is_too_long_in_pieces_ends_it_too(self) -> None:
        piece = message(BINARY, bytes(MOST_MESSAGE // 2))
        begun = bytes([BINARY]) + piece[1:]
        went_on = b"\x00" + piece[1:]
        self.browser.receive(begun + went_on)
        self.assertEqual(self.gone(), [])
        self.browser.take()
        self.browser.receive(went_on)
        self.assertEqual(self.browser.closing()[0], 1009)
        self.assertEqual(len(self.gone()), 1)

    def test_what_is_no_websocket_message_ends_it(self) -> None:
        for data in (b"\x81\x01x", b"\xf1\x80\0\0\0\0", message(TEXT, b"\xff\xfe")):
            self.setUp()
            self.browser.receive(data)
            ((_, reason, _),) = self.gone()
            self.assertIn("protocol error", reason)
            self.browser.lose()
            self.assert_released()

    def test_a_page_that_is_left_hangs_up(self) -> None:
        self.browser.send(CLOSE, pack("!H", 1001))
        self.assertEqual(self.gone(), [("gone", "caller hung up", True)])
        # The answer to it is the last thing that is sent.
        self.pass_time(0.1)
        self.assertEqual(self.browser.closing(), (1000, ""))
        self.browser.lose()
        self.assert_released()

    def test_our_hang_up_says_why(self) -> None:
        self.leg.hang_up()
        self.assertEqual(self.browser.closing(), (1000, "agent hung up"))
        self.browser.send(CLOSE, pack("!H", 1000))
        self.assertEqual(self.browser.transport.asked[-1], "abortConnection")
        self.browser.lose()
        self.assertEqual(len(self.gone()), 1)
        self.assert_released()

    @settings(deadline=None)
    @given(st.binary(max_size=300))
    def test_no_bytes_raise(self, data: bytes) -> None:
        self.setUp()
        with capturedLogs():
            self.browser.receive(data)
            self.pass_time(0.1)
            self.leg.hang_up()
            self.browser.lose()
        self.assertEqual(len(self.gone()), 1)
        self.assert_released()


class Page(WebSocketClientProtocol):
    """A page in real time: keeps what it hears, and says what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[Any] = []
        self.heard: list[bytes] = []
        self.saying = b""
        self.over: Deferred[tuple[int, str]] = Deferred()
        self._speaking = LoopingCall(self._speak)

    def onOpen(self) -> None:
        self._speaking.start(PTIME)

    def _speak(self) -> None:
        frame, self.saying = self.saying[:960], self.saying[960:]
        if self.state == self.STATE_OPEN:
            self.sendMessage(frame or SILENT_FRAME, True)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if isBinary:
            self.heard.append(payload)
        else:
            self.texts.append(json.loads(payload))

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        if self._speaking.running:
            self._speaking.stop()
        self.over.callback((code, reason))


class RealCallTests(TestCase):
    """A client that others wrote, and the demo agent, on real sockets."""

    timeout = 30
    reactor: Any
    port: Any

    async def until(self, true: Callable[[], bool]) -> None:
        while not true():
            await deferLater(self.reactor, PTIME)

    def loud(self, frames: int = 5) -> bool:
        """Whether each of the last ones heard has more than a whisper in it."""
        last = self.page.heard[-frames:]
        return len(last) == frames and all(level_dbfs(pcm) > -50 for pcm in last)

    def silent(self, frames: int = 10) -> bool:
        last = self.page.heard[-frames:]
        return len(last) == frames and not any(map(any, last))

    async def connect(self, query: str) -> Page:
        port = self.port.getHost().port
        factory = WebSocketClientFactory(f"ws://127.0.0.1:{port}/{query}")
        factory.noisy = False
        factory.protocol = Page
        endpoint = TCP4ClientEndpoint(self.reactor, "127.0.0.1", port)
        page = await endpoint.connect(factory)
        assert isinstance(page, Page)
        return page

    async def test_a_page_talks_with_the_demo_agent(self) -> None:
        from twisted.internet import reactor

        self.reactor = reactor
        bridge = Wiring(self.reactor).build(
            Config(
                listen=ListenSettings(port="tcp:0:interface=127.0.0.1"),
                providers={"": ProviderSettings(kind="demo")},
            )
        )
        resource = Transport(self.reactor, MediaClock(self.reactor)).resource(
            bridge.accept, bridge.announce
        )
        self.port = self.reactor.listenTCP(0, Site(resource), interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)
        bridge.privilegedStartService()
        bridge.startService()
        self.addCleanup(bridge.stopService)

        self.page = await self.connect("?agent=nobody")
        code, reason = await self.page.over
        self.assertEqual(code, 1013)
        self.assertIn("there is no agent 'nobody'", reason)

        self.page = await self.connect("?agent=default")
        await self.until(self.loud)
        ((call_id, call),) = bridge.calls.items()
        self.assertEqual(self.page.texts, [{"call_id": call_id, "rate": RATE}])
        self.assertEqual(call.facts.caller_name, "browser")
        self.assertEqual({len(pcm) for pcm in self.page.heard}, {960})
        # It is interrupted, and answers what interrupted it.
        self.page.saying = speech(RATE, RATE)
        await self.until(self.silent)
        await self.until(self.loud)
        self.page.sendMessage(b'{"hang_up": true}')
        self.assertEqual(await self.page.over, (1000, "caller hung up"))
        record = call.record
        assert record is not None
        self.assertEqual((record.turns, record.barge_ins), (1, 1))
        self.assertEqual(record.reason, "caller hung up")
        self.assertEqual(bridge.calls, {})

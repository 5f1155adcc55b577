"""Tests of L{portero.web}, through its own HTTP, without a socket."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from portero.call import CallSettings
from portero.service import Bridge
from portero.web import IDLE, MOST_BODY, MOST_HEADERS, StatusSite, is_address
from tests.fake_call import FakeLeg, FakeProvider

ID = "6f1c0f5e-0c4e-4f5a-9a59-1f2d3c4b5a69"


class WebCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.provider = FakeProvider()
        self.bridge = Bridge(
            self.clock, self.provider, CallSettings(instructions=""), max_calls=2
        )
        self.site = StatusSite(self.bridge)
        # Site's own way to get a clock is to import the reactor.
        cast(Any, self.site)._reactor = self.clock

    def connect(self) -> tuple[Any, StringTransport]:
        transport = StringTransport(
            hostAddress=IPv4Address("TCP", "127.0.0.1", 8091),
            peerAddress=IPv4Address("TCP", "127.0.0.1", 40000),
        )
        cast(Any, transport).abortConnection = transport.loseConnection
        protocol: Any = self.site.buildProtocol(transport.getPeer())
        protocol.callLater = self.clock.callLater
        protocol.makeConnection(transport)
        return protocol, transport

    def ask(
        self, path: str, *headers: str, method: str = "GET", body: bytes = b""
    ) -> tuple[int, dict[str, str], str]:
        """@return: The status, the header fields in lower case, and the body."""
        lines = [f"{method} {path} HTTP/1.1", *(headers or ("Host: 127.0.0.1:8091",))]
        protocol, transport = self.connect()
        protocol.dataReceived("\r\n".join([*lines, "", ""]).encode() + body)
        head, _, text = transport.value().decode().partition("\r\n\r\n")
        status, *fields = head.split("\r\n")
        named = dict(field.lower().split(": ", 1) for field in fields)
        if named.get("transfer-encoding") == "chunked":
            self.fail("a short answer has a length")
        return int(status.split()[1]), named, text

    def call(self, call_id: str = ID) -> FakeLeg:
        leg = FakeLeg()
        call = self.bridge.accept(leg, call_id)
        assert call is not None
        leg.events = call
        call.identified()
        self.provider.conversations[-1].events.ready()
        return leg


class AnswerTests(WebCase):
    def test_healthz_answers(self) -> None:
        status, fields, text = self.ask("/healthz")
        self.assertEqual((status, text), (200, "ok\n"))
        self.assertEqual(fields["content-type"], "text/plain; charset=utf-8")
        self.assertEqual(fields["cache-control"], "no-store")

    def test_readyz_is_200_when_a_call_would_be_answered(self) -> None:
        status, _, text = self.ask("/readyz")
        self.assertEqual((status, text), (200, "ready\n"))

    def test_readyz_is_503_and_says_why_not(self) -> None:
        cast(Any, self.provider).health = lambda: "HTTP 401"
        self.assertEqual(self.ask("/readyz")[::2], (503, "HTTP 401\n"))
        self.call("1")
        self.call("2")
        self.assertEqual(self.ask("/readyz")[::2], (503, "full\n"))
        self.bridge.stopService()
        self.assertEqual(self.ask("/readyz")[::2], (503, "stopping\n"))

    def test_calls_lists_those_under_way(self) -> None:
        self.call()
        self.bridge.accept(FakeLeg(), ID)
        status, fields, text = self.ask("/calls")
        found = json.loads(text)
        self.assertEqual((status, found["answered"], found["refused"]), (200, 1, 1))
        (call,) = found["calls"]
        self.assertEqual((call["id"], call["state"]), (ID, "talking"))
        self.assertEqual(fields["content-type"], "application/json; charset=utf-8")

    def test_ended_tells_well_from_failed_and_from_unknown(self) -> None:
        leg = self.call()
        self.assertEqual(self.ask(f"/ended/{ID}")[::2], (404, "unknown"))
        leg.drop()
        self.assertEqual(self.ask(f"/ended/{ID}")[::2], (200, "well"))
        self.call().drop("Asterisk stopped reading", in_order=False)
        self.assertEqual(self.ask(f"/ended/{ID}")[::2], (200, "failed"))
        self.assertEqual(self.ask("/ended/")[::2], (404, "unknown"))
        self.assertEqual(self.ask("/ended")[::2], (404, "unknown"))

    def test_ended_takes_ids_in_upper_case(self) -> None:
        self.call().drop()
        self.assertEqual(self.ask(f"/ended/{ID.upper()}")[::2], (200, "well"))

    def test_other_paths_are_404_and_say_which_there_are(self) -> None:
        for path in ("/", "/nope", "/%2e%2e/etc", "/healthz2", "/call%C3%A9"):
            status, _, text = self.ask(path)
            self.assertEqual(status, 404)
            self.assertIn("/ended/CALL-ID", text)

    def test_head_is_get_without_the_body_and_without_a_log_line(self) -> None:
        with capturedLogs() as events:
            for path, expected in (("/healthz", 200), ("/nope", 404)):
                _, fields, text = self.ask(path)
                length = str(len(text))
                status, fields, text = self.ask(path, method="HEAD")
                self.assertEqual((status, text), (expected, ""))
                self.assertEqual(fields["content-length"], length)
        self.assertEqual(events, [])

    def test_nothing_can_be_done_by_post(self) -> None:
        for method, expected in (("POST", 405), ("PUT", 501), ("DELETE", 501)):
            for path in ("/calls", "/readyz", f"/ended/{ID}"):
                self.assertEqual(self.ask(path, method=method)[0], expected)


class DefenceTests(WebCase):
    def test_only_those_who_ask_by_address_are_answered(self) -> None:
        for host, expected in [
            ("127.0.0.1", 200),
            ("127.0.0.1:8091", 200),
            ("10.1.2.3:8091", 200),
            ("localhost:8091", 200),
            ("LOCALHOST", 200),
            ("[::1]:8091", 200),
            ("[::1]", 200),
            ("evil.example", 403),
            ("evil.example:8091", 403),
            ("localhost.evil.example", 403),
            ("127.0.0.1.evil.example", 403),
            ("1.2.3.4.5", 403),
            ("127.0.0.1:8091@evil.example", 403),
            ("", 403),
        ]:
            self.assertEqual(is_address(host), expected == 200, host)
            for path in ("/calls", "/nope"):
                status = self.ask(path, f"Host: {host}")[0]
                wanted = 404 if expected == 200 and path == "/nope" else expected
                self.assertEqual(status, wanted, host)

    def test_of_two_host_fields_both_must_be_right(self) -> None:
        two = ("Host: evil.example", "Host: 127.0.0.1")
        self.assertNotEqual(self.ask("/calls", *two)[0], 200)

    def test_a_body_beyond_the_limit_is_refused_unread(self) -> None:
        for length, expected in ((MOST_BODY, b""), (MOST_BODY + 1, b"HTTP/1.1 413 ")):
            protocol, transport = self.connect()
            protocol.dataReceived(
                b"POST /calls HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                b"Content-Length: %d\r\n\r\n" % length
            )
            self.assertEqual(transport.value()[:13], expected)
            self.assertEqual(transport.disconnecting, bool(expected))
            protocol.connectionLost(None)

    def test_a_body_in_pieces_is_refused_at_the_limit(self) -> None:
        protocol, transport = self.connect()
        protocol.dataReceived(
            b"POST /calls HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        piece = b"400\r\n" + bytes(0x400) + b"\r\n"
        for _ in range(MOST_BODY // 0x400):
            protocol.dataReceived(piece)
        self.assertEqual(transport.value(), b"")
        protocol.dataReceived(piece)
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 413 "))
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost(None)

    def test_a_small_body_is_thrown_away(self) -> None:
        status, _, _ = self.ask(
            *("/calls", "Host: 127.0.0.1", "Content-Length: 5"),
            method="POST",
            body=b"hello",
        )
        self.assertEqual(status, 405)

    def test_too_many_header_fields_are_refused(self) -> None:
        for count, expected in ((MOST_HEADERS - 1, 200), (MOST_HEADERS + 1, 400)):
            fields = [f"X-{n}: y" for n in range(count)]
            self.assertEqual(self.ask("/calls", "Host: [::1]", *fields)[0], expected)

    def test_a_silent_connection_is_closed(self) -> None:
        protocol, transport = self.connect()
        protocol.dataReceived(b"GET /calls HTTP/1.1\r\nHost: 127")
        self.clock.advance(IDLE - 0.1)
        self.assertFalse(transport.disconnecting)
        self.clock.advance(0.2)
        self.assertTrue(transport.disconnecting)

    def test_a_fault_shows_no_traceback(self) -> None:
        self.bridge.calls["x"] = cast(Any, SimpleNamespace())
        status, _, text = self.ask("/calls")
        self.assertEqual(status, 500)
        self.assertNotIn("snapshot", text)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

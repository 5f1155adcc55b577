"""Tests of L{portero.web}, through its own HTTP, without a socket."""

from __future__ import annotations

import json
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qsl

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs

from portero.reception import MOST_FORM, UNKNOWN
from portero.web.site import (
    FORM,
    MOST_BODY,
    MOST_HEADERS,
    WITHIN,
    StatusSite,
    is_address,
)
from tests.fake_call import FakeLeg
from tests.test_reception import ID, ReceptionCase, record

HOST = "Host: 127.0.0.1:8091"
TOKEN = "sesame"


class WebCase(ReceptionCase):
    def setUp(self) -> None:
        super().setUp()
        self.bridge.max_calls = 2
        self.site = self.make_site()

    def make_site(self, token: str = "") -> StatusSite:
        site = StatusSite(self.bridge, self.with_token(token))
        # Site's own way to get a clock is to import the reactor.
        cast(Any, site)._reactor = self.clock
        return site

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
        lines = [f"{method} {path} HTTP/1.1", *(headers or (HOST,))]
        protocol, transport = self.connect()
        protocol.dataReceived("\r\n".join([*lines, "", ""]).encode() + body)
        head, _, text = transport.value().decode().partition("\r\n\r\n")
        status, *fields = head.split("\r\n")
        pairs = (field.split(": ", 1) for field in fields)
        named = {name.lower(): value for name, value in pairs}
        if named.get("transfer-encoding") == "chunked":
            self.fail("a short answer has a length")
        return int(status.split()[1]), named, text

    def post(self, body: bytes, *headers: str, path: str = "/register") -> Any:
        """@return: The status and the answer, as a form."""
        status, fields, text = self.ask(
            *(path, HOST, f"Content-Type: {FORM}", f"Content-Length: {len(body)}"),
            *headers,
            method="POST",
            body=body,
        )
        self.assertEqual(fields["content-type"], "text/plain; charset=utf-8")
        return status, dict(parse_qsl(text, keep_blank_values=True))


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
        self.provider.trouble = "HTTP 401"
        self.assertEqual(self.ask("/readyz")[::2], (503, "HTTP 401\n"))
        self.call("1")
        self.call("2")
        self.assertEqual(self.ask("/readyz")[::2], (503, "full\n"))
        self.bridge.stopService()
        self.assertEqual(self.ask("/readyz")[::2], (503, "stopping\n"))

    def test_calls_lists_those_under_way(self) -> None:
        self.call(ID)
        self.bridge.accept(FakeLeg(), ID)
        for path in ("/calls", "/calls/"):
            status, fields, text = self.ask(path)
            found = json.loads(text)
            counts = found["answered"], found["refused"]
            self.assertEqual((status, *counts), (200, 1, 1))
            (call,) = found["calls"]
            self.assertEqual((call["id"], call["state"]), (ID, "talking"))
            kind = "application/json; charset=utf-8"
            self.assertEqual(fields["content-type"], kind)

    def test_one_call_is_shown_under_way_and_when_it_is_over(self) -> None:
        path = f"/calls/{ID.upper()}"
        self.assertEqual(self.ask(path)[0], 404)
        leg, call = self.call(ID)
        status, _, text = self.ask(path)
        self.assertEqual((status, json.loads(text)), (200, call.snapshot()))
        leg.drop()
        status, _, text = self.ask(path)
        expected = self.bridge.ended[ID].as_json()
        self.assertEqual((status, json.loads(text)), (200, expected))
        self.assertEqual(self.ask(path + "/x")[0], 404)

    def test_next_tells_how_a_call_ended_as_a_form(self) -> None:
        self.bridge.ended[ID] = record(reason="to sales, & more")
        for path in (f"/next/{ID}", f"/next/{ID.upper()}"):
            status, fields, text = self.ask(path)
            self.assertEqual(status, 200)
            self.assertEqual(fields["content-type"], "text/plain; charset=utf-8")
            self.assertTrue(text.startswith("outcome=transferred&next=sales%2C200%2C1"))
            self.assertIn("&reason=to%20sales%2C%20%26%20more&", text)
            form = dict(parse_qsl(text))
            self.assertEqual(form, self.reception.next(ID))

    def test_next_of_no_call_or_one_under_way_is_unknown(self) -> None:
        self.call(ID)
        for path in ("/next", "/next/", "/next/x", f"/next/{ID}", "/next/%C3%A9/x"):
            status, _, text = self.ask(path)
            form = dict(parse_qsl(text, keep_blank_values=True))
            self.assertEqual((status, form), (200, UNKNOWN))

    def test_other_paths_are_404_and_say_which_there_are(self) -> None:
        for path in ("/", "/nope", "/%2e%2e/etc", "/healthz2", "/call%C3%A9"):
            status, _, text = self.ask(path)
            self.assertEqual(status, 404)
            self.assertIn("/next/CALL-ID", text)

    def test_head_is_get_without_the_body_and_without_a_log_line(self) -> None:
        with capturedLogs() as events:
            for path, expected in (("/healthz", 200), ("/nope", 404)):
                _, fields, text = self.ask(path)
                length = str(len(text))
                status, fields, text = self.ask(path, method="HEAD")
                self.assertEqual((status, text), (expected, ""))
                self.assertEqual(fields["content-length"], length)
        self.assertEqual(events, [])

    def test_only_register_takes_a_post(self) -> None:
        for method, expected in (("POST", 405), ("PUT", 501), ("DELETE", 501)):
            for path in ("/calls", "/readyz", f"/next/{ID}"):
                self.assertEqual(self.ask(path, method=method)[0], expected)


class RegisterTests(WebCase):
    def test_the_answer_is_the_id_to_come_with(self) -> None:
        status, form = self.post(b"caller_name=M%C3%BCller&vip=yes&")
        self.assertEqual((status, form["refused"], form["reason"]), (200, "", ""))
        _, call = self.call(form["uuid"])
        self.assertEqual(call.snapshot()["caller_name"], "M\u00fcller")

    def test_a_body_in_pieces_is_a_form_too(self) -> None:
        body = b"5\r\nuuid=\r\n24\r\n" + ID.encode() + b"\r\n0\r\n\r\n"
        status, _, text = self.ask(
            *("/register", HOST, f"Content-Type: {FORM.upper()}; charset=utf-8"),
            "Transfer-Encoding: chunked",
            method="POST",
            body=body,
        )
        self.assertEqual((status, text), (200, f"uuid={ID}&refused=&reason="))

    def test_a_refusal_is_503_and_readable_by_the_dialplan(self) -> None:
        self.bridge.max_calls = 0
        status, form = self.post(b"caller_number=1234")
        self.assertEqual(status, 503)
        self.assertEqual((form["uuid"], form["refused"]), ("", "full"))
        self.assertIn("max_calls", form["reason"])

    def test_without_the_token_it_is_403(self) -> None:
        self.site = self.make_site(TOKEN)
        for body in (b"", b"token=", b"token=sesam", b"token=Sesame"):
            status, form = self.post(body)
            self.assertEqual((status, form["refused"]), (403, "forbidden"))
        self.assertEqual(self.post(b"token=" + TOKEN.encode())[0], 200)

    def test_a_body_of_another_kind_is_not_read(self) -> None:
        self.site = self.make_site(TOKEN)
        body = b"token=" + TOKEN.encode()
        for kind in ("text/plain", "multipart/form-data; boundary=x", ""):
            status = self.ask(
                *("/register", HOST, f"Content-Type: {kind}"),
                f"Content-Length: {len(body)}",
                method="POST",
                body=body,
            )[0]
            self.assertEqual(status, 403)

    def test_get_says_what_to_do(self) -> None:
        status, fields, text = self.ask("/register")
        self.assertEqual((status, fields["allow"]), (405, "POST"))
        self.assertIn("POST a form: token, uuid", text)

    def test_a_web_page_may_not(self) -> None:
        for origin in ("http://127.0.0.1:8091", "null", ""):
            fields = [HOST, f"Origin: {origin}", f"Content-Type: {FORM}"]
            for path in ("/register", "/calls", "/nope"):
                status = self.ask(path, *fields, method="POST")[0]
                self.assertEqual(status, 403)
        self.assertEqual(self.ask("/healthz", HOST, "Origin: null")[0], 200)
        self.assertEqual(len(self.bridge._registry), 0)

    def test_a_form_of_the_most_bytes_is_read_and_a_longer_one_is_not(self) -> None:
        longest = b"x=".ljust(MOST_FORM, b"y")
        self.assertEqual(self.post(longest)[0], 200)
        protocol, transport = self.connect()
        protocol.dataReceived(
            f"POST /register HTTP/1.1\r\n{HOST}\r\nContent-Type: {FORM}\r\n"
            f"Content-Length: {MOST_FORM + 1}\r\n\r\n".encode()
        )
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 413 "))
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost(None)

    def test_a_form_in_pieces_is_not_read_beyond_the_limit(self) -> None:
        protocol, transport = self.connect()
        piece = b"1000\r\n" + bytes(0x1000) + b"\r\n"
        protocol.dataReceived(
            f"POST /register HTTP/1.1\r\n{HOST}\r\nContent-Type: {FORM}\r\n"
            f"Transfer-Encoding: chunked\r\n\r\n".encode()
            + piece * (MOST_FORM // 0x1000)
        )
        self.assertEqual(transport.value(), b"")
        # What comes in one read with the rest must not make it count after all.
        protocol.dataReceived(piece + b"0\r\n\r\n")
        self.assertEqual(transport.value().count(b"HTTP/1.1 "), 1)
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 413 "))
        self.assertEqual(len(self.bridge._registry), 0)
        protocol.connectionLost(None)

    @given(st.binary(max_size=200))
    @settings(max_examples=100, deadline=None)
    def test_any_body_is_answered(self, body: bytes) -> None:
        self.bridge.max_calls = 1000
        status, form = self.post(body)
        self.assertEqual([*form], ["uuid", "refused", "reason"])
        self.assertEqual(status, 200 if form["uuid"] else 503)


class PrivacyTests(WebCase):
    def setUp(self) -> None:
        super().setUp()
        self.site = self.make_site(TOKEN)
        self.bridge.ended[ID] = record()

    def test_calls_are_shown_to_those_with_the_token(self) -> None:
        for path in ("/calls", f"/calls/{ID}", "/calls/x"):
            for wrong in ("", "Bearer", "Bearer ", "Bearer x", f"Basic {TOKEN}", TOKEN):
                status, fields, text = self.ask(path, HOST, f"Authorization: {wrong}")
                self.assertEqual((status, fields["www-authenticate"]), (401, "Bearer"))
                self.assertNotIn("Ana", text)
            status = self.ask(path, HOST, f"Authorization: bearer {TOKEN}")[0]
            self.assertEqual(status, 404 if path == "/calls/x" else 200)

    def test_what_has_no_names_needs_none(self) -> None:
        for path in ("/healthz", "/readyz", f"/next/{ID}"):
            self.assertEqual(self.ask(path)[0], 200)


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

    def test_fields_of_any_bytes_are_answered(self) -> None:
        self.site = self.make_site(TOKEN)
        for name, expected in (
            (b"Host", b"403"),
            (b"Authorization", b"401"),
            (b"Content-Type", b"401"),
        ):
            protocol, transport = self.connect()
            protocol.dataReceived(b"GET /calls HTTP/1.1\r\n%s: \xff\r\n\r\n" % name)
            self.assertEqual(transport.value()[9:12], expected)
            protocol.connectionLost(None)

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

    def test_a_request_has_to_be_there_in_time(self) -> None:
        head = f"POST /register HTTP/1.1\r\n{HOST}\r\nContent-Type: {FORM}\r\n"
        for begun in ("", "GET /calls HTTP/1.1\r\nHost: 127", f"{head}X: "):
            self.slow(begun.encode())
        for begun in ("Content-Length: 99", "Transfer-Encoding: chunked"):
            self.slow(f"{head}{begun}\r\n\r\n".encode())

    def slow(self, begun: bytes) -> None:
        """One byte a second is not enough."""
        protocol, transport = self.connect()
        protocol.dataReceived(begun)
        for _ in range(WITHIN - 1):
            self.clock.advance(1)
            if begun:
                protocol.dataReceived(b"1")
        self.clock.advance(0.9)
        self.assertFalse(transport.disconnecting)
        self.clock.advance(0.2)
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost(None)

    def test_a_connection_may_ask_again_and_again(self) -> None:
        protocol, transport = self.connect()
        for count in range(1, 5):
            protocol.dataReceived(f"GET /healthz HTTP/1.1\r\n{HOST}\r\n\r\n".encode())
            self.assertEqual(transport.value().count(b"200 OK"), count)
            self.clock.advance(WITHIN - 1)
        self.assertFalse(transport.disconnecting)
        self.clock.advance(1.1)
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost(None)

    def test_other_machines_connect_only_when_named(self) -> None:
        stranger = IPv4Address("TCP", "10.1.2.3", 40000)
        with capturedLogs() as events:
            self.assertIsNone(self.site.buildProtocol(stranger))
        self.assertEqual(len(events), 1)
        site = StatusSite(self.bridge, self.reception, [ip_network("10.0.0.0/8")])
        self.assertIsNotNone(site.buildProtocol(stranger))

    def test_a_fault_shows_no_traceback(self) -> None:
        self.bridge.calls["x"] = cast(Any, SimpleNamespace())
        status, _, text = self.ask("/calls")
        self.assertEqual(status, 500)
        self.assertNotIn("snapshot", text)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

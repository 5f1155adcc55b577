"""Tests of L{portero.web.site}: what holds for every request and every answer."""

from __future__ import annotations

import json
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from portero.web.problem import KIND, Problem
from portero.web.site import (
    HEADERS,
    MOST_BODY,
    MOST_HEADERS,
    MOST_SILENT,
    WITHIN,
    PorteroSite,
    Root,
)
from portero.web_sections import UserSettings
from tests.test_reception import ID
from tests.web_case import HOST, JSON, TOKEN, WebCase

GONE = Failure(ConnectionDone())
FORM = "Content-Type: application/x-www-form-urlencoded"


class Echo(Resource):
    """Answers with the body that it was given."""

    isLeaf = True

    def render_POST(self, request: Request) -> bytes:
        assert request.content is not None
        content: bytes = request.content.read()
        return content


class Streaming(Resource):
    """Answers for ever."""

    isLeaf = True
    request: Any = None
    ended = False

    def render_GET(self, request: Request) -> int:
        self.request = request
        request.notifyFinish().addErrback(self._end)
        request.write(b"begun")
        return NOT_DONE_YET

    def _end(self, reason: object) -> None:
        self.ended = True


class Faulty(Resource):
    """Fails in all the ways there are."""

    isLeaf = True

    def __init__(self, fault: Exception, begin: bytes = b"") -> None:
        super().__init__()
        self._fault = fault
        self._begin = begin

    def render_GET(self, request: Request) -> bytes:
        if self._begin:
            request.write(self._begin)
        raise self._fault


class SiteCase(WebCase):
    def setUp(self) -> None:
        super().setUp()
        self.streaming = Streaming()
        self.root.hang("echo", Echo())
        self.root.hang("stream", self.streaming)


class HeaderTests(SiteCase):
    def test_every_answer_has_them(self) -> None:
        self.root.hang("broken", Faulty(ValueError("hidden")))
        for path, method, more, expected in (
            ("/healthz", "GET", (), 200),
            ("/healthz", "HEAD", (), 200),
            ("/nope", "GET", (), 404),
            ("/api/v1", "GET", (), 404),
            ("/api/v1/nope", "GET", (), 404),
            ("/calls", "PUT", (JSON,), 405),
            ("/calls", "GET", ("Host: evil.test",), 403),
            ("/calls", "POST", (JSON, "Origin: http://evil.test"), 403),
            ("/calls", "POST", (), 415),
            ("/echo", "POST", (JSON, f"Content-Length: {MOST_BODY + 1}"), 413),
            ("/broken", "GET", (), 500),
            ("*", "OPTIONS", (), 200),
        ):
            status, fields, _ = self.ask(path, *more, method=method)
            self.assertEqual(status, expected, (method, path))
            for name, value in HEADERS.items():
                self.assertEqual(fields[name.lower()], value, (method, path))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_no_version_is_told(self) -> None:
        for path in ("/healthz", "/nope"):
            self.assertEqual(self.ask(path)[1]["server"], "portero")

    def test_a_stream_has_them(self) -> None:
        protocol, transport = self.connect()
        protocol.dataReceived(f"GET /stream HTTP/1.1\r\n{HOST}\r\n\r\n".encode())
        for name, value in HEADERS.items():
            self.assertIn(f"{name}: {value}\r\n".encode(), transport.value())
        protocol.connectionLost(GONE)

    def test_nothing_is_allowed_that_is_not_of_this_site(self) -> None:
        policy = dict(
            part.split(" ", 1)
            for part in HEADERS["Content-Security-Policy"].split("; ")
        )
        self.assertNotIn("unsafe", HEADERS["Content-Security-Policy"])
        self.assertEqual(policy["default-src"], "'none'")
        self.assertEqual(policy["script-src"], "'self'")
        self.assertEqual(policy["connect-src"], "'self'")
        self.assertEqual(policy["frame-ancestors"], "'none'")
        self.assertEqual(policy["form-action"], "'none'")

    def test_no_other_site_is_told_that_it_may_read(self) -> None:
        _, fields, _ = self.ask("/calls", "Origin: http://evil.test")
        self.assertEqual([name for name in fields if "allow" in name], [])


class ProblemTests(SiteCase):
    def test_what_is_not_there_is_404_and_says_what_is(self) -> None:
        for path in ("/", "/nope", "/%2e%2e/etc", "/healthz2", "/call%C3%A9", "/api"):
            status, fields, text = self.ask(path)
            found = json.loads(text)
            self.assertEqual((status, fields["content-type"]), (404, KIND))
            self.assertEqual((found["status"], found["title"]), (404, "Not Found"))
            self.assertIn("/next/CALL-ID", found["detail"])

    def test_a_refusal_that_a_resource_raises_is_the_answer(self) -> None:
        problem = Problem(409, "it is ending", {"Retry-After": "3"})
        self.root.hang("refuses", Faulty(problem))
        status, fields, text = self.ask("/refuses")
        self.assertEqual((status, fields["retry-after"]), (409, "3"))
        self.assertEqual(json.loads(text)["detail"], "it is ending")

    def test_a_fault_shows_no_traceback(self) -> None:
        self.bridge.calls["x"] = cast(Any, SimpleNamespace())
        status, fields, text = self.ask("/calls")
        self.assertEqual((status, fields["content-type"]), (500, KIND))
        self.assertNotIn("snapshot", text)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_a_fault_within_an_answer_ends_the_connection(self) -> None:
        self.root.hang("broken", Faulty(ValueError(), b"half of it"))
        protocol, transport = self.connect()
        protocol.dataReceived(f"GET /broken HTTP/1.1\r\n{HOST}\r\n\r\n".encode())
        self.assertTrue(transport.disconnecting)
        self.assertEqual(transport.value().count(b"HTTP/1.1"), 1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        protocol.connectionLost(GONE)

    def test_what_is_hung_beneath_another_is_found(self) -> None:
        above, below = Resource(), Echo()
        self.root.hang("a/b", above)
        self.root.hang("a/b/c/d", below)
        self.assertEqual(self.ask("/a/b/c/d", JSON, method="POST")[0], 200)
        self.assertEqual(self.ask("/a/b/c", JSON, method="POST")[0], 404)

    def test_the_page_is_at_the_root(self) -> None:
        site = Root(self.access, {"": Echo()})
        self.site.resource = site
        self.assertEqual(self.ask("/", JSON, method="POST", body=b"{}")[2], "{}")


class BodyTests(SiteCase):
    def test_json_is_kept_up_to_the_limit(self) -> None:
        for kind in (JSON, JSON.upper() + ";charset=utf-8"):
            body = b'"' + b"x" * (MOST_BODY - 2) + b'"'
            status, _, text = self.ask("/echo", kind, method="POST", body=body)
            self.assertEqual((status, text), (200, body.decode()))

    def test_what_nobody_would_read_is_thrown_away(self) -> None:
        self.site = self.make_site(TOKEN, more={"echo": Echo()})
        for kind in ("text/plain", "application/jsonx", "multipart/form-data", ""):
            status, _, text = self.ask(
                *("/echo", f"Content-Type: {kind}", f"Authorization: Bearer {TOKEN}"),
                method="POST",
                body=b"hello",
            )
            self.assertEqual((status, text), (200, ""))

    def test_a_body_beyond_the_limit_is_refused_unread(self) -> None:
        for kind in ("", f"{JSON}\r\n"):
            for length, expected in (
                (MOST_BODY, b""),
                (MOST_BODY + 1, b"HTTP/1.1 413 "),
                (10**18, b"HTTP/1.1 413 "),
            ):
                protocol, transport = self.connect()
                protocol.dataReceived(
                    f"POST /echo HTTP/1.1\r\n{HOST}\r\n{kind}"
                    f"Content-Length: {length}\r\n\r\n".encode()
                )
                self.assertEqual(transport.value()[:13], expected)
                self.assertEqual(transport.disconnecting, bool(expected))
                protocol.connectionLost(GONE)

    def test_a_body_in_pieces_is_refused_at_the_limit(self) -> None:
        for kind in ("", f"{JSON}\r\n"):
            protocol, transport = self.connect()
            protocol.dataReceived(
                f"POST /echo HTTP/1.1\r\n{HOST}\r\n{kind}"
                "Transfer-Encoding: chunked\r\n\r\n".encode()
            )
            (request,) = protocol.requests
            piece = b"400\r\n" + bytes(0x400) + b"\r\n"
            for _ in range(MOST_BODY // 0x400):
                protocol.dataReceived(piece)
            self.assertEqual(transport.value(), b"")
            protocol.dataReceived(piece)
            self.assertTrue(transport.value().startswith(b"HTTP/1.1 413 "))
            self.assertTrue(transport.disconnecting)
            # What comes before the connection is closed is not kept either.
            protocol.dataReceived(piece * 100)
            self.assertLessEqual(request.content.tell(), MOST_BODY)
            protocol.connectionLost(GONE)

    def test_nothing_is_done_for_a_body_that_was_too_large(self) -> None:
        protocol, transport = self.connect()
        protocol.dataReceived(
            f"POST /echo HTTP/1.1\r\n{HOST}\r\n{JSON}\r\n"
            f"Content-Length: {MOST_BODY + 1}\r\n\r\n".encode()
            + bytes(MOST_BODY + 1)
        )
        self.assertEqual(transport.value().count(b"HTTP/1.1 "), 1)
        protocol.connectionLost(GONE)


class PatienceTests(SiteCase):
    def test_a_request_has_to_be_there_in_time(self) -> None:
        head = f"POST /register HTTP/1.1\r\n{HOST}\r\n{FORM}\r\n"
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
        protocol.connectionLost(GONE)

    def test_a_stream_may_last_for_hours(self) -> None:
        protocol, transport = self.connect()
        self.clock.advance(WITHIN - 1)
        protocol.dataReceived(f"GET /stream HTTP/1.1\r\n{HOST}\r\n\r\n".encode())
        for _ in range(12):
            self.clock.advance(3600)
            self.streaming.request.write(b"still here")
        self.assertFalse(transport.disconnecting)
        self.assertFalse(self.streaming.ended)
        self.streaming.request.finish()
        self.clock.advance(WITHIN + 0.1)
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost(GONE)

    def test_a_stream_hears_that_nobody_listens_any_more(self) -> None:
        protocol, _ = self.connect()
        protocol.dataReceived(f"GET /stream HTTP/1.1\r\n{HOST}\r\n\r\n".encode())
        protocol.connectionLost(GONE)
        self.assertTrue(self.streaming.ended)

    def test_a_connection_may_ask_again_and_again(self) -> None:
        protocol, transport = self.connect()
        for count in range(1, 5):
            protocol.dataReceived(f"GET /healthz HTTP/1.1\r\n{HOST}\r\n\r\n".encode())
            self.assertEqual(transport.value().count(b"200 OK"), count)
            self.clock.advance(WITHIN - 1)
        self.assertFalse(transport.disconnecting)
        self.clock.advance(1.1)
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost(GONE)


class DefenceTests(SiteCase):
    def test_too_many_header_fields_are_refused(self) -> None:
        for count, expected in ((MOST_HEADERS - 1, 200), (MOST_HEADERS + 1, 400)):
            fields = [f"X-{n}: y" for n in range(count)]
            self.assertEqual(self.ask("/calls", *fields)[0], expected)

    def test_http_2_is_not_offered(self) -> None:
        self.assertEqual(self.site.acceptableProtocols(), [b"http/1.1"])

    def test_other_machines_connect_only_when_named(self) -> None:
        stranger = IPv4Address("TCP", "10.1.2.3", 40000)
        with capturedLogs() as events:
            self.assertIsNone(self.site.buildProtocol(stranger))
        self.assertEqual(len(events), 1)
        networks = [ip_network("10.0.0.0/8")]
        site = PorteroSite(
            self.root, lambda peer: self.reception.admits(peer, networks)
        )
        self.assertIsNotNone(site.buildProtocol(stranger))

    def test_one_machine_has_only_so_many_connections_that_ask_nothing(self) -> None:
        there, other = (
            IPv4Address("TCP", host, 40000) for host in ("127.0.0.2", "127.0.0.3")
        )
        asked, _ = self.connect()
        asked.dataReceived(f"GET /stream HTTP/1.1\r\n{HOST}\r\n\r\n".encode())
        open_ = [self.site.buildProtocol(there) for _ in range(MOST_SILENT)]
        self.assertNotIn(None, open_)
        with capturedLogs() as events:
            for _ in range(3):
                self.assertIsNone(self.site.buildProtocol(there))
        self.assertEqual(len(events), 1)
        self.assertIn("from 127.0.0.2", str(formatEvent(events[0])))
        self.assertIsNotNone(self.site.buildProtocol(other))
        self.assertIsNotNone(self.connect()[0])
        for protocol in open_[:2]:
            protocol.callLater = self.clock.callLater
            protocol.makeConnection(StringTransport())
        open_[0].dataReceived(f"GET /stream HTTP/1.1\r\n{HOST}\r\n\r\n".encode())
        open_[1].connectionLost(GONE)
        open_[0].connectionLost(GONE)
        again = [self.site.buildProtocol(there) for _ in range(3)]
        self.assertEqual([each is None for each in again], [False, False, True])
        asked.connectionLost(GONE)

    def test_who_has_asked_and_gone_leaves_no_trace(self) -> None:
        for request in ("GET /healthz HTTP/1.1", "GET / HTTP/9", "POST /register"):
            protocol, _ = self.connect()
            protocol.dataReceived(f"{request}\r\n{HOST}\r\n\r\n".encode())
            protocol.connectionLost(GONE)
        self.assertEqual(self.site._silent, {})
        self.assertEqual(self.site._refused, set())

    def test_fields_of_any_bytes_are_answered(self) -> None:
        self.site = self.make_site(TOKEN)
        for name, expected in (
            (b"Host", b"403"),
            (b"Authorization", b"401"),
            (b"Cookie", b"401"),
            (b"Content-Type", b"401"),
            (b"X-Forwarded-For", b"401"),
        ):
            protocol, transport = self.connect()
            protocol.dataReceived(b"GET /calls HTTP/1.1\r\n%s: \xff\r\n\r\n" % name)
            self.assertEqual(transport.value()[9:12], expected)
            protocol.connectionLost(GONE)


class AnythingTests(SiteCase):
    """Nobody who asks here has a right."""

    def setUp(self) -> None:
        super().setUp()
        self.site = self.make_site(TOKEN, {"ana": UserSettings()})
        self.call("secret")

    FIELDS = st.sampled_from(
        [
            *("Host", "Origin", "Cookie", "Authorization", "Content-Type"),
            *("Sec-Fetch-Site", "Sec-Fetch-Mode", "Upgrade", "Connection"),
            *("X-Forwarded-For", "Forwarded", "Via", "X-Forwarded-Proto"),
        ]
    )
    VALUES = st.one_of(
        st.binary(max_size=40).map(lambda b: b.translate(None, b"\r\n\0")),
        st.sampled_from(
            [
                *(b"127.0.0.1", b"localhost", b"[::1]:80", b"[", b"]:", b":", b"[::"),
                *(b"http://127.0.0.1:8091", b"null", b"https://", b"http://[::1"),
                *(b"Bearer ", b"bearer x", b"Basic YTpi", b"Bearer \xc3\xa9"),
                *(b"portero=", b"portero=x", b"portero=x; portero=y", b";;=;portero"),
                *(b"application/json", b"same-origin", b"cross-site", b"websocket"),
                *(b"10.0.0.1, 127.0.0.1", b"for=127.0.0.1", b"1.1 x", b"fe80::1%lo"),
            ]
        ),
    )

    @given(
        st.lists(st.tuples(FIELDS, VALUES), max_size=6),
        st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS"]),
        st.sampled_from(["/calls", f"/calls/{ID}", "/api/v1/me", "/api/v1/logout"]),
    )
    @settings(max_examples=300, deadline=None)
    def test_whatever_the_header_nobody_gains_a_right(
        self, fields: list[tuple[str, bytes]], method: str, path: str
    ) -> None:
        self.clock.advance(3600)  # what failed before counts no more
        protocol, transport = self.connect()
        lines = [name.encode() + b": " + value for name, value in fields]
        request = b"\r\n".join([f"{method} {path} HTTP/1.1".encode(), *lines, b"", b""])
        protocol.dataReceived(request)
        answer = transport.value()
        self.assertRegex(answer, rb"\AHTTP/1.1 (200|204|400|401|403|404|405|415|429) ")
        self.assertNotIn(b"secret", answer)
        if b"HTTP/1.1 200" in answer and b"me" in path.encode() and method == "GET":
            me = json.loads(answer.partition(b"\r\n\r\n")[2])
            self.assertEqual((me["name"], me["rights"]), ("", []))
        self.assertEqual(self.flushLoggedErrors(), [])
        protocol.connectionLost(GONE)

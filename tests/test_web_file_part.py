"""Tests of L{portero.web.file_part}: files in parts, and at the reader's pace."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from portero.web.file_part import PIECE, FilePart, part
from portero.web.problem import Problem
from tests.api_case import GONE
from tests.web_case import HOST, WebCase


class PartTests(SynchronousTestCase):
    def test_what_is_asked_for(self) -> None:
        for field, expected in (
            ("", None),
            ("bytes=0-", (0, 10)),
            ("bytes=0-0", (0, 1)),
            ("bytes=3-5", (3, 6)),
            ("bytes=3-99", (3, 10)),
            ("bytes=9-", (9, 10)),
            ("bytes=-1", (9, 10)),
            ("bytes=-99", (0, 10)),
            (" bytes=1-2 ", (1, 3)),
            # What cannot be understood, or is not worth it, does not count.
            ("bytes=5-3", None),
            ("bytes=-", None),
            ("bytes=0-1,3-4", None),
            ("items=0-1", None),
            ("bytes=a-b", None),
            ("bytes=0-" + 30 * "9", None),
        ):
            self.assertEqual(part(field, 10), expected, field)

    def test_where_there_is_nothing(self) -> None:
        for field, size in (("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0)):
            problem = self.assertRaises(Problem, part, field, size)
            self.assertEqual(problem.status, 416)
            self.assertEqual(problem.headers, {"Content-Range": f"bytes */{size}"})

    @given(st.text(), st.integers(0, 100))
    def test_any_field_is_judged(self, field: str, size: int) -> None:
        try:
            found = part(field, size)
        except Problem:
            return
        if found is not None:
            begin, end = found
            self.assertTrue(0 <= begin < end <= size)


class Place(Resource):
    isLeaf = True

    def __init__(self, path: str, in_thread: Any) -> None:
        super().__init__()
        self.path = path
        self.in_thread = in_thread
        self.done: Any = None

    def render_GET(self, request: Request) -> int:
        sending = FilePart(request, self.path, self.in_thread).send("x/y")
        self.done = Deferred.fromCoroutine(sending)
        return NOT_DONE_YET


class SendTests(WebCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = self.mktemp()
        self.content = os.urandom(3 * PIECE + 5)
        Path(self.path).write_bytes(self.content)
        self.place = Place(self.path, self.threads)
        self.root.hang("file", self.place)

    def begin(self, method: str = "GET") -> tuple[Any, Any]:
        protocol, transport = self.connect()
        protocol.dataReceived(f"{method} /file HTTP/1.1\r\n{HOST}\r\n\r\n".encode())
        return protocol, transport

    def body(self, transport: Any) -> bytes:
        whole: bytes = transport.value().partition(b"\r\n\r\n")[2]
        return whole

    def test_it_is_sent_piece_by_piece(self) -> None:
        _, transport = self.begin()
        self.successResultOf(self.place.done)
        self.assertEqual(self.body(transport), self.content)
        self.assertEqual(self.threads.done, 1 + 4)
        self.assertIn(b"Content-Length: %d\r\n" % len(self.content), transport.value())

    def test_it_is_not_read_faster_than_it_is_taken(self) -> None:
        self.threads.held = True
        protocol, transport = self.begin()
        self.threads.go()
        protocol.pauseProducing()
        self.threads.go()
        self.assertEqual(len(self.body(transport)), PIECE)
        self.assertEqual(self.threads.waiting, [])
        protocol.resumeProducing()
        self.threads.held = False
        self.threads.go()
        self.successResultOf(self.place.done)
        self.assertEqual(self.body(transport), self.content)

    def test_who_goes_away_has_nothing_read_for_them(self) -> None:
        self.threads.held = True
        protocol, transport = self.begin()
        self.threads.go()
        protocol.connectionLost(GONE)
        self.threads.go()
        self.successResultOf(self.place.done)
        self.assertEqual((self.threads.waiting, transport.value()), ([], b""))

    def test_who_goes_away_while_they_do_not_read(self) -> None:
        self.threads.held = True
        protocol, _ = self.begin()
        self.threads.go()
        protocol.pauseProducing()
        self.threads.go()
        protocol.connectionLost(GONE)
        self.successResultOf(self.place.done)
        self.assertEqual(self.threads.waiting, [])

    def test_who_goes_away_at_once(self) -> None:
        self.threads.held = True
        protocol, _ = self.begin()
        protocol.connectionLost(GONE)
        self.threads.go()
        self.successResultOf(self.place.done)
        self.assertEqual(self.threads.waiting, [])

    def test_a_file_that_shrinks_ends_the_connection(self) -> None:
        self.threads.held = True
        _, transport = self.begin()
        self.threads.go()
        Path(self.path).write_bytes(b"short")
        self.threads.held = False
        self.threads.go()
        self.successResultOf(self.place.done)
        self.assertEqual(self.body(transport), b"short")
        self.assertTrue(transport.disconnecting)

    def test_head_has_the_length_alone(self) -> None:
        _, transport = self.begin("HEAD")
        self.assertIn(b"Content-Length: %d\r\n" % len(self.content), transport.value())
        self.assertEqual(self.body(transport), b"")

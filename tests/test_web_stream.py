"""Tests of L{portero.web.stream}: those who read, and those who do not."""

from __future__ import annotations

from typing import Any

from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from portero.web.access import Access
from portero.web.operation import Asked
from portero.web.stream import MOST_WAITING, Stream
from tests.api_case import GONE
from tests.web_case import HOST, WebCase


class Endless(Resource):
    isLeaf = True
    stream: Stream

    def __init__(self, access: Access) -> None:
        super().__init__()
        self.access = access
        self.gone = 0

    def render_GET(self, request: Request) -> int:
        asked = Asked(request, self.access, "", {}, {})
        self.stream = Stream(asked, "text/x-test", self._gone)
        return NOT_DONE_YET

    def _gone(self) -> None:
        self.gone += 1


class StreamTests(WebCase):
    def setUp(self) -> None:
        super().setUp()
        self.leaf = Endless(self.access)
        self.root.hang("endless", self.leaf)
        self.protocol, self.transport = self.connect()
        self.protocol.dataReceived(f"GET /endless HTTP/1.1\r\n{HOST}\r\n\r\n".encode())

    def body(self, transport: StringTransport) -> bytes:
        """@return: What came after the head, out of its chunks."""
        head, _, rest = transport.value().partition(b"\r\n\r\n")
        self.assertIn(b"Transfer-Encoding: chunked", head)
        found = b""
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            found += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
        return found

    def test_pieces_are_sent_as_they_come(self) -> None:
        self.leaf.stream.write(b"one")
        self.assertIn(b"content-type: text/x-test", self.transport.value().lower())
        self.leaf.stream.write(b"two")
        self.assertEqual(self.body(self.transport), b"onetwo")
        self.leaf.stream.end()
        self.assertTrue(self.transport.value().endswith(b"\r\n0\r\n\r\n"))
        self.assertEqual(self.leaf.gone, 1)

    def test_what_waits_is_sent_when_it_is_read_again(self) -> None:
        self.leaf.stream.write(b"one")
        self.protocol.pauseProducing()
        self.leaf.stream.write(b"two")
        self.leaf.stream.write(b"three")
        self.assertEqual(self.body(self.transport), b"one")
        self.protocol.resumeProducing()
        self.leaf.stream.write(b"four")
        self.assertEqual(self.body(self.transport), b"onetwothreefour")

    def test_what_waits_at_the_end_is_sent(self) -> None:
        self.protocol.pauseProducing()
        self.leaf.stream.write(b"last")
        self.leaf.stream.end()
        self.assertEqual(self.body(self.transport), b"last")
        self.assertEqual(self.leaf.gone, 1)

    def test_who_does_not_read_is_dropped_at_the_limit(self) -> None:
        self.leaf.stream.write(b"one")
        self.protocol.pauseProducing()
        with capturedLogs() as events:
            self.leaf.stream.write(bytes(MOST_WAITING))
            self.assertFalse(self.transport.disconnecting)
            self.leaf.stream.write(b"x")
        self.assertTrue(self.transport.disconnecting)
        said = [str(formatEvent(one)) for one in events]
        self.assertIn("/endless: 127.0.0.1 does not read", said[0])
        self.leaf.stream.write(b"more")
        self.leaf.stream.end()
        self.assertEqual(self.leaf.gone, 0)  # the connection is there as yet
        self.protocol.connectionLost(GONE)
        self.assertEqual(self.leaf.gone, 1)
        self.assertEqual(self.body(self.transport), b"one")

    def test_what_comes_after_the_end_is_nothing(self) -> None:
        self.protocol.connectionLost(GONE)
        self.assertEqual(self.leaf.gone, 1)
        self.leaf.stream.write(b"x")
        self.leaf.stream.end()
        self.leaf.stream.drop()
        self.assertEqual(self.transport.value(), b"")

    def tearDown(self) -> Any:
        self.assertEqual(self.leaf.stream._waiting, [])

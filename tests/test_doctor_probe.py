"""Tests of L{portero.doctor.probe}: real connections, certificates of all kinds."""

from __future__ import annotations

import socket
from email.utils import formatdate
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from portero.doctor import probe
from portero.doctor.probe import Seen, Unreachable
from tests.lab.process import free_port
from tests.smtp_server import certificate

at: Any = reactor  # it provides more interfaces than its type says
NOW = 1_795_262_400.0


class Answers(Protocol):
    """Says the time, and that there is nothing to be had."""

    def __init__(self, head: bytes) -> None:
        self.head = head

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None  # it is connected
        self.transport.write(self.head)
        self.transport.loseConnection()


def head(date: str) -> bytes:
    return f"HTTP/1.1 401 No\r\nDATE: {date}\r\n\r\n".encode()


class ProbeTests(TestCase):
    timeout = 20

    def listen(self, tls: PrivateCertificate | None, said: bytes = b"") -> int:
        factory = Factory.forProtocol(lambda: Answers(said))
        factory.noisy = False
        if tls is None:
            port = at.listenTCP(0, factory, interface="127.0.0.1")
        else:
            port = at.listenSSL(0, factory, tls.options(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def look(
        self,
        tls: PrivateCertificate,
        said: bytes = b"",
        host: str = "localhost",
        trusted: PrivateCertificate | None = None,
    ) -> Seen:
        ca_file = ""
        if trusted is not None:
            ca_file = self.mktemp()
            Path(ca_file).write_bytes(trusted.dumpPEM())
        port = self.listen(tls, said)
        seen: Seen = await deferToThread(
            probe.look, host, port, "/v1", True, ca_file, lambda: NOW
        )
        return seen

    async def test_one_that_is_trusted_is_told_with_its_end(self) -> None:
        shown = certificate("localhost")
        seen = await self.look(shown, head(formatdate(NOW)), trusted=shown)
        self.assertEqual((seen.flaws, seen.holder), ((), "localhost"))
        assert seen.expires is not None
        until = shown.original.get_notAfter() or b""
        self.assertEqual(seen.expires.strftime("%Y%m%d%H%M%SZ"), until.decode())
        self.assertEqual(seen.ahead, 0.0)
        self.assertGreater(seen.connect_ms, 0)
        self.assertGreater(seen.tls_ms, 0)

    async def test_what_is_wrong_is_said_in_words(self) -> None:
        fine, old = certificate("localhost"), certificate("localhost", days=-1)
        other = certificate("example.net")
        for shown, trusted, flaws in [
            (fine, None, (probe.SELF_SIGNED,)),
            (fine, other, (probe.SELF_SIGNED,)),
            (old, old, (probe.EXPIRED,)),
            (other, other, (probe.OTHER_NAME,)),
            (other, None, (probe.SELF_SIGNED, probe.OTHER_NAME)),
        ]:
            seen = await self.look(shown, head(formatdate(NOW)), trusted=trusted)
            self.assertEqual(seen.flaws, flaws)
            self.assertIsNone(seen.ahead)

    async def test_an_address_is_no_name(self) -> None:
        shown = certificate("localhost")
        seen = await self.look(shown, host="127.0.0.1", trusted=shown)
        self.assertEqual(seen.flaws, (probe.OTHER_NAME,))

    async def test_a_clock_that_differs_is_measured(self) -> None:
        shown = certificate("localhost")
        for off in (3600.0, -45.0):
            said = head(formatdate(NOW + off))
            seen = await self.look(shown, said, trusted=shown)
            self.assertEqual(seen.ahead, off)

    async def test_who_tells_no_time_is_not_asked_again(self) -> None:
        shown = certificate("localhost")
        for said in (
            b"",
            b"HTTP/1.1 200 Fine\r\n\r\n",
            head("yesterday"),
            b"\xff" * 99,
        ):
            self.assertIsNone((await self.look(shown, said, trusted=shown)).ahead)

    async def test_without_tls_only_the_way_is_measured(self) -> None:
        port = self.listen(None)
        seen: Seen = await deferToThread(probe.look, "127.0.0.1", port, "/", False)
        self.assertEqual((seen.tls_ms, seen.expires, seen.ahead), (0.0, None, None))

    async def test_who_cannot_be_reached_is_said(self) -> None:
        plain = self.listen(None, b"HTTP/1.1 400 What?\r\n\r\n")
        for host, port, words in [
            ("127.0.0.1", free_port(), "127.0.0.1: Connection refused"),
            ("nobody.invalid", 443, "no address is known for nobody.invalid"),
            ("x" * 70, 443, "no address is known for xxx"),
            ("localhost", plain, "no TLS there: wrong version number"),
        ]:
            found = deferToThread(probe.look, host, port, "/", True)
            error = await self.assertFailure(found, Unreachable)
            self.assertIn(words, str(error))

    async def test_who_says_nothing_is_not_waited_for_for_long(self) -> None:
        self.patch(probe, "WITHIN", 0.1)
        with socket.create_server(("127.0.0.1", 0)) as mute:
            port = mute.getsockname()[1]
            found = deferToThread(probe.look, "localhost", port, "/", True)
            error = await self.assertFailure(found, Unreachable)
        self.assertEqual(str(error), "no TLS there: it says nothing")

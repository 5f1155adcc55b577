"""The WebSocket that voice services share: handshake, limits, certificates, ends."""

from __future__ import annotations

import datetime
from base64 import b64encode
from collections.abc import Callable
from hashlib import sha1
from struct import pack
from typing import Any, ClassVar

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import PrivateCertificate
from twisted.internet.task import deferLater
from twisted.internet.tcp import Client as TCPClient
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from portero.errors import ConfigError
from portero.providers import _websocket as ws
from portero.providers._websocket import Ending, Socket, Target

clock: Any = reactor  # it provides more interfaces than its type says

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3
HEADERS = {"Authorization": "Bearer secret-words"}
Told = tuple[Any, ...]


class User:
    """Keeps what a socket tells."""

    call_id = "c1"

    def __init__(self) -> None:
        self.told: list[Told] = []
        self.do: Callable[[str], None] = lambda name: None

    def _tell(self, *event: Any) -> None:
        self.told.append(event)
        self.do(event[0])

    def opened(self) -> None:
        self._tell("opened")

    def received(self, payload: bytes, is_binary: bool) -> None:
        self._tell("received", payload, is_binary)

    def stuck(self, waiting: bool) -> None:
        self._tell("stuck", waiting)

    def closed(self, ending: Ending) -> None:
        self._tell("closed", ending)


class Peer(Protocol):
    """A service that says just what a test wants: pieces, one after the other."""

    def __init__(self, pieces: list[bytes], then: str) -> None:
        self.pieces = pieces
        self.then = then
        self.got = b""
        self.is_open = False
        self.next: IDelayedCall | None = None

    def connectionMade(self) -> None:
        self.is_open = True

    def dataReceived(self, data: bytes) -> None:
        asked, self.got = b"\r\n\r\n" in self.got, self.got + data
        if not asked and b"\r\n\r\n" in self.got:
            self._answer()

    def _answer(self) -> None:
        if self.is_open and self.pieces:
            key = self.got.partition(b"Sec-WebSocket-Key: ")[2].split(b"\r\n")[0]
            piece = self.pieces[0].replace(b"ACCEPT", accept(key))
            self.transport.write(piece)  # type: ignore[union-attr]  # it is connected
            self.next = clock.callLater(0.005, self._answer)
            self.pieces = self.pieces[1:]
        elif self.is_open and self.then == "end":
            self.transport.loseConnection()  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.is_open = False
        if self.next is not None and self.next.active():
            self.next.cancel()


def accept(key: bytes) -> bytes:
    return b64encode(sha1(key + GUID).digest())


WELCOME = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\n"
    b"Date: Sat, 21 Nov 2026 12:00:00 GMT\r\n\r\n"
)
MASKED = b"\x81\x82\0\0\0\0{}"


def frame(payload: bytes, opcode: int = 1) -> bytes:
    size = len(payload)
    head = pack("!BB", 0x80 | opcode, size) if size < 126 else b""
    return (head or pack("!BBQ", 0x80 | opcode, 127, size)) + payload


class NetCase(TestCase):
    """Real sockets on loopback."""

    timeout = 30

    def setUp(self) -> None:
        self.peers: list[Peer] = []
        self.sockets: list[Socket] = []
        self.addCleanup(self.gone)

    async def gone(self) -> None:
        """Whatever happened: no socket is left here, nor a timer."""
        for socket in self.sockets:
            socket.close()
        for peer in self.peers:
            if peer.is_open:
                peer.transport.abortConnection()  # type: ignore[union-attr]
        await self.until(lambda: not self.clients())
        await self.until(lambda: not any(peer.is_open for peer in self.peers))

    def clients(self) -> list[Any]:
        return [r for r in clock.getReaders() if isinstance(r, TCPClient)]

    async def until(self, true: Callable[[], bool]) -> None:
        for _ in range(800):
            if true():
                return
            await deferLater(clock, 0.01, lambda: None)
        self.fail("it did not come true")

    def listen(self, factory: Any, tls: PrivateCertificate | None = None) -> int:
        if tls is None:
            port = clock.listenTCP(0, factory, interface="127.0.0.1")
        else:
            port = clock.listenSSL(0, factory, tls.options(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    def peer(
        self, *pieces: bytes, then: str = "", tls: PrivateCertificate | None = None
    ) -> int:
        case = self

        class Peers(Factory):
            noisy = False

            def buildProtocol(self, addr: object) -> Peer:
                case.peers.append(Peer(list(pieces), then))
                return case.peers[-1]

        return self.listen(Peers(), tls)

    def connect(self, url: str, ca_file: str = "") -> tuple[Socket, User]:
        user = User()
        socket = Socket(clock, Target(url, HEADERS, ca_file), user)
        self.sockets.append(socket)
        return socket, user

    async def ending(self, *pieces: bytes, then: str = "") -> Ending:
        """How a connection ends at a peer that says this."""
        port = self.peer(*pieces, then=then)
        _, user = self.connect(f"ws://127.0.0.1:{port}/x")
        return await self.end_of(user)

    async def end_of(self, user: User) -> Ending:
        await self.until(lambda: bool(user.told) and user.told[-1][0] == "closed")
        ending = user.told[-1][1]
        assert isinstance(ending, Ending)
        return ending


class RefusalTests(NetCase):
    BODY = b'{"error":{"message":"No credits remaining."}}'

    async def test_the_body_is_waited_for(self) -> None:
        body, head = self.BODY, b"HTTP/1.1 429 Too Many Requests\r\n"
        size = b"Content-Length: %d\r\n\r\n" % len(body)
        chunk = b"%x\r\n%s\r\n" % (len(body) - 9, body[9:])
        chunked = b"Transfer-Encoding: chunked\r\n\r\n9\r\n" + body[:9] + b"\r\n"
        for pieces, then in (
            ((head + size + body,), ""),
            ((head[:20], head[20:] + size, body[:5], body[5:]), ""),
            ((head + chunked, chunk[:7], chunk[7:], b"0\r\n\r\n"), ""),
            ((head + b"\r\n", body[:5], body[5:]), "end"),
            ((head + b"Connection: close\r\n\r\n" + body,), ""),  # stays open: late
        ):
            found = await self.ending(*pieces, then=then)
            self.assertEqual((found.status, found.body), (429, body))

    async def test_a_body_that_stops_short_is_used_as_far_as_it_came(self) -> None:
        head = b"HTTP/1.1 500 Oops\r\nContent-Length: 99\r\nRetry-After: 7\r\n\r\n"
        for then in ("", "end"):
            found = await self.ending(head + b'{"err', then=then)
            self.assertEqual(found, Ending("", 0, 500, b'{"err', 7.0))

    async def test_answers_that_make_no_sense_end_in_words(self) -> None:
        for answer in (
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
            b"HTTP/1.1 101 Fine\r\n\r\n",
            b"HTTP/1.1 101 Fine\r\nX: \xff\r\n\r\n",
            b"HTTP/1.1 101 Fine\r\nno colon\r\n\r\n",
            b"HTTP/1.1 abc\r\n\r\n",
            WELCOME.replace(b"ACCEPT", b"wrong"),
            b"\r\n\r\n",
            *2 * (b"x" * 70_000,),
        ):
            found = await self.ending(answer)
            self.assertNotEqual(found.reason or found.status, "")
            self.assertEqual(found.code, 0)

    async def test_a_body_without_end_is_cut(self) -> None:
        head = b"HTTP/1.1 500 Oops\r\nContent-Length: 999999999\r\n\r\n"
        found = await self.ending(head + b"x" * 200_000)
        self.assertEqual(found.status, 500)
        self.assertLessEqual(len(found.body), ws.MAX_REFUSAL)

    async def test_a_connection_that_ends_before_an_answer_is_told(self) -> None:
        found = await self.ending(b"HTT", then="end")
        self.assertEqual(
            found, Ending("the service ended the connection without a word")
        )

    async def test_a_name_that_does_not_exist_is_told(self) -> None:
        for host in ("localhost.invalid", "a..b", "x" * 70 + ".invalid"):
            _, user = self.connect(f"ws://{host}:9/")
            found = await self.end_of(user)
            self.assertIn(f"cannot connect to {host}:9: ", found.reason)
        self.flushLoggedErrors()


class Echo(WebSocketServerProtocol):
    """Sends every message back; keeps how it was closed."""

    codes: ClassVar[list[int | None]] = []

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        self.codes.append(code)


class MessageTests(NetCase):
    async def test_messages_of_every_size_arrive_as_they_were_sent(self) -> None:
        Echo.codes.clear()
        factory = WebSocketServerFactory(reactor=clock)
        factory.protocol = Echo
        port = self.listen(factory)
        socket, user = self.connect(f"ws://127.0.0.1:{port}/x")
        await self.until(lambda: bool(user.told))
        sent = []
        for size in (0, 1, 2, 3, 4, 5, 124, 125, 126, 127, 65535, 65536, 300_001):
            sent.append((b"0123456789abc" * (size // 13 + 1))[:size])
            socket.send(sent[-1])
        got: list[Told] = []
        while len(got) < len(sent):
            await deferLater(clock, 0.01, lambda: None)
            got = [event for event in user.told if event[0] == "received"]
        for payload, event in zip(sent, got, strict=True):
            self.assertTrue(event == ("received", payload, False), len(payload))
        socket.close()
        socket.send(b"too late")
        await self.until(lambda: bool(Echo.codes))
        self.assertEqual(Echo.codes, [1000])
        self.assertNotIn("closed", [event[0] for event in user.told])

    async def test_the_date_of_the_service_is_kept(self) -> None:
        for date, seconds in (
            (b"Sat, 21 Nov 2026 12:00:00 GMT", 1795262400.0),
            (b"yesterday", 0.0),
        ):
            welcome = WELCOME.replace(b"Sat, 21 Nov 2026 12:00:00 GMT", date)
            socket, user = self.connect(f"ws://127.0.0.1:{self.peer(welcome)}/x")
            await self.until(lambda: bool(user.told))  # noqa: B023
            self.assertEqual(socket.date, seconds)
            socket.close()

    async def test_messages_before_the_handshake_is_read_are_not_lost(self) -> None:
        port = self.peer(WELCOME + frame(b"one") + frame(b"two", 2)[:3], b"wo")
        _, user = self.connect(f"ws://127.0.0.1:{port}/x")
        await self.until(lambda: len(user.told) == 3)
        self.assertEqual(
            user.told[1:], [("received", b"one", False), ("received", b"two", True)]
        )


class EndTests(NetCase):
    async def test_a_closing_is_told_at_once_by_its_code_and_reason(self) -> None:
        for payload, code, words in (
            (b"", ws.NO_CODE, "closed by the service: no reason given (code 1005)"),
            (pack("!H", 1001) + b"Too long.", 1001, "Too long. (code 1001)"),
            (pack("!H", 4000) + b"Beta.", 4000, "Beta. (code 4000)"),
        ):
            found = await self.ending(WELCOME, frame(payload, 8))
            self.assertEqual(found.code, code)
            self.assertIn(words, found.reason)
            self.assertTrue(self.peers[-1].is_open)
        # The service need not end the connection for that.
        await self.until(lambda: not self.clients())

    async def test_broken_rules_are_named(self) -> None:
        for junk, words in (
            (MASKED, "masked server-to-client frame"),
            (b"\xf1\x00", "RSV"),
            (b"\x83\x00", "reserved opcode"),
            (b"\x80\x00", "continuation"),
            (b"\x09\x00", "fragmented control frame"),
            (b"\x89\x7e\x00\xff", "control frame with payload"),
            (b"\x81\x7f" + b"\x7f" * 8, "1009"),
            (frame(pack("!H", 1001) + b"\xff", 8), "close reason"),
        ):
            found = await self.ending(WELCOME, junk, junk)
            self.assertIn("closed, because of what came: ", found.reason)
            self.assertIn(words, found.reason)
            self.assertEqual((found.code, found.final), (0, False))

    async def test_a_connection_that_breaks_is_told(self) -> None:
        found = await self.ending(WELCOME + frame(b"x"), then="end")
        self.assertIn("ended the connection", found.reason)

    async def test_nothing_of_autobahn_is_logged(self) -> None:
        """Its lines name no call."""
        with capturedLogs() as logs:
            await self.ending(WELCOME, MASKED)
            await self.ending(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
            socket, _ = self.connect(f"ws://127.0.0.1:{self.peer()}/x")
            await self.until(lambda: bool(self.peers[-1].got))
            socket.close()
            await self.gone()
        texts = [formatEvent(event) for event in logs]
        self.assertEqual([text for text in texts if "Peers" not in text], [])

    async def test_close_in_any_callback_is_the_end(self) -> None:
        story = WELCOME + frame(b"one") + frame(b"two") + frame(b"", 8)
        for at in range(3):
            port = self.peer(story, then="end")
            socket, user = self.connect(f"ws://127.0.0.1:{port}/x")

            def close(name: str) -> None:
                if len(user.told) > at:  # noqa: B023
                    socket.close()  # noqa: B023

            user.do = close
            await self.until(lambda: not self.clients() and bool(user.told))  # noqa: B023
            self.assertEqual(len(user.told), at + 1)

    async def test_close_before_anything_happened(self) -> None:
        socket, user = self.connect("ws://127.0.0.1:9/x")
        socket.close()
        socket.close()
        self.assertEqual((user.told, self.clients()), ([], []))


class Authority:
    """Signs certificates for the tests."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        words = f"authority {x509.random_serial_number()}"
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, words)])
        self.certificate = self._built(self.name, self.key, None)

    def _built(self, subject: x509.Name, key: Any, host: str | None) -> Any:
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - day)
            .not_valid_after(now + day)
            .add_extension(x509.BasicConstraints(host is None, None), critical=True)
        )
        if host is not None:
            names = x509.SubjectAlternativeName([x509.DNSName(host)])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def pem(self) -> bytes:
        return bytes(self.certificate.public_bytes(Encoding.PEM))

    def issue(self, host: str) -> PrivateCertificate:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        certificate = self._built(name, key, host)
        form = (Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        pem = key.private_bytes(*form) + certificate.public_bytes(Encoding.PEM)
        certificate = PrivateCertificate.loadPEM(pem)
        assert isinstance(certificate, PrivateCertificate)
        return certificate


class CertificateTests(NetCase):
    def setUp(self) -> None:
        super().setUp()
        self.authority = Authority()
        self.ca_file = self.mktemp()
        with open(self.ca_file, "wb") as file:
            file.write(Authority().pem() + b"\n" + self.authority.pem())

    async def refused(self, tls: PrivateCertificate, ca_file: str) -> Ending:
        port = self.peer(WELCOME, tls=tls)
        _, user = self.connect(f"wss://localhost:{port}/x", ca_file)
        ending = await self.end_of(user)
        self.assertEqual(user.told, [("closed", ending)])
        self.assertTrue(self.peers)
        self.assertEqual([peer.got for peer in self.peers], [b""] * len(self.peers))
        return ending

    async def test_a_trusted_certificate_for_the_name_is_accepted(self) -> None:
        port = self.peer(
            WELCOME, frame(b"hello"), tls=self.authority.issue("localhost")
        )
        _, user = self.connect(f"wss://localhost:{port}/x", self.ca_file)
        await self.until(lambda: len(user.told) == 2)
        self.assertEqual(user.told, [("opened",), ("received", b"hello", False)])
        self.assertIn(b"Authorization: Bearer secret-words", self.peers[0].got)

    async def test_one_of_an_unknown_authority_is_refused(self) -> None:
        for ca_file in ("", self.ca_file):
            ending = await self.refused(Authority().issue("localhost"), ca_file)
            self.assertIn("not signed by an authority that is trusted", ending.reason)
            self.assertTrue(ending.final)

    async def test_one_for_another_name_is_refused(self) -> None:
        ending = await self.refused(self.authority.issue("example.net"), self.ca_file)
        self.assertIn("for another host name", ending.reason)
        self.assertTrue(ending.final)

    async def test_a_service_without_tls_is_told(self) -> None:
        port = self.peer(WELCOME)
        _, user = self.connect(f"wss://localhost:{port}/x", self.ca_file)
        await self.until(lambda: bool(self.peers and self.peers[0].got))
        self.peers[0].transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")  # type: ignore[union-attr]  # it is connected
        ending = await self.end_of(user)
        self.assertIn("TLS failed: ", ending.reason)
        self.assertFalse(ending.final)

    async def test_close_during_the_handshake_leaves_nothing(self) -> None:
        for ms in (0.5, 1, 2, 3, 4, 6, 10):
            port = self.peer(WELCOME, tls=self.authority.issue("localhost"))
            socket, user = self.connect(f"wss://localhost:{port}/x", self.ca_file)
            await deferLater(clock, ms / 1000, lambda: None)
            socket.close()
            await self.until(lambda: not self.clients())
            self.assertNotIn("closed", [event[0] for event in user.told])

    def test_certificate_files_that_cannot_be_used_are_named(self) -> None:
        empty, broken = self.mktemp(), self.mktemp()
        for name, text in (
            (empty, b"nothing"),
            (broken, b"-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----"),
        ):
            with open(name, "wb") as file:
                file.write(text)
        for name in (empty, broken, self.mktemp()):
            error = self.assertRaises(ConfigError, Target, "wss://x/", {}, name)
            self.assertIn(name, str(error))

    def test_certificates_are_read_once(self) -> None:
        target = Target("wss://localhost/", {}, self.ca_file)
        target.endpoint(clock)
        options = target._options
        target.endpoint(clock)
        self.assertIs(target._options, options)


class Wire(StringTransport):
    """What Autobahn needs besides."""

    bufferSize = 0

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass

    def unregisterProducer(self) -> None:
        """Real transports do not mind when there is none."""
        self.producer = None


class _Caught:
    """An endpoint that keeps the factory."""

    host, port, url, headers = "localhost", 1, "ws://localhost/", HEADERS

    def endpoint(self, reactor: Any) -> Any:
        return self

    def connect(self, factory: Any) -> Deferred[Any]:
        self.factory = factory
        return Deferred(lambda _: None)


class AnyBytesTests(SynchronousTestCase):
    def link(self) -> tuple[Any, User]:
        target: Any = _Caught()
        user = User()
        socket = Socket(clock, target, user)
        socket._start.cancel()
        socket._connect()
        link = target.factory.buildProtocol(None)
        link.makeConnection(Wire())
        return link, user

    def lose(self, link: Any, user: User) -> None:
        link.connectionLost(Failure(ConnectionLost()))
        self.assertEqual([e[0] for e in user.told].count("closed"), 1)
        self.assertEqual(user.told[-1][0], "closed")

    @given(st.lists(st.binary(max_size=40), max_size=5), st.booleans())
    def test_as_the_answer_to_the_handshake(
        self, pieces: list[bytes], is_http: bool
    ) -> None:
        link, user = self.link()
        for piece in [b"HTTP/1.1 "] * is_http + [*pieces, b"\r\n\r\n"]:
            link.dataReceived(piece)
        self.lose(link, user)

    @settings(max_examples=300)
    @given(
        st.lists(
            st.binary(max_size=12)
            | st.builds(frame, st.binary(max_size=20), st.integers(0, 15)),
            max_size=8,
        ),
        st.integers(1, 40),
    )
    def test_as_frames(self, frames: list[bytes], size: int) -> None:
        link, user = self.link()
        welcome = WELCOME.replace(b"ACCEPT", accept(link.websocket_key))
        data = welcome + b"".join(frames)
        for start in range(0, len(data), size):
            link.dataReceived(data[start : start + size])
        self.assertEqual(user.told[0], ("opened",))
        self.lose(link, user)

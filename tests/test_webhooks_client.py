"""Tests of L{portero.webhooks.client}, against servers that do what they like."""

from __future__ import annotations

import datetime
import gzip
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from typing import Any, Final

from twisted.internet import reactor as global_reactor
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    trustRootFromCertificates,
)
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import directlyProvides, implementer

from portero.webhooks.client import LARGEST, Answer, NotSafe, Server, Unreachable

reactor: Any = global_reactor
HERE: Final = [ip_network("127.0.0.1")]


def certificate(name: str) -> PrivateCertificate:
    """@return: One that it signed itself, for a host."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    owner = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(owner)
        .issuer_name(owner)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    found: PrivateCertificate = PrivateCertificate.loadPEM(private + pem)
    return found


class Host(Protocol):
    """Does with each request what the test says."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.received = b""
        self.gone: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        self.site.hosts.append(self)

    def dataReceived(self, data: bytes) -> None:
        self.site.bytes += len(data)
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        lengths = [
            int(line.split(b":")[1])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        ]
        if end and len(body) >= sum(lengths):
            self.site.requests.append(self.received)
            self.received = b""
            self.site.do(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone.callback(None)

    def say(self, *lines: str, body: bytes = b"") -> None:
        assert self.transport is not None
        self.transport.write("".join(f"{line}\r\n" for line in lines).encode())
        self.transport.write(b"\r\n" + body)

    def ok(self, body: bytes = b"yes", *lines: str) -> None:
        self.say("HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *lines, body=body)

    def end(self) -> None:
        assert self.transport is not None
        self.transport.loseConnection()


class Site(Factory):
    noisy = False

    def __init__(self, do: Callable[[Host], None]) -> None:
        self.do = do
        self.hosts: list[Host] = []
        self.requests: list[bytes] = []
        self.bytes = 0

    def buildProtocol(self, addr: Any) -> Host:
        return Host(self)


@implementer(IHostResolution)
class _Resolution:
    name = "test"

    def cancel(self) -> None:
        """It is over already."""


@implementer(IHostnameResolver)
class Names:
    """Gives the next address each time that it is asked, as for DNS rebinding."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)

    def resolveHostName(
        self,
        receiver: Any,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> Any:
        receiver.resolutionBegan(_Resolution())
        several = len(self.addresses) > 1
        for host in (self.addresses.pop(0) if several else self.addresses[0]).split():
            kind = IPv6Address if ":" in host else IPv4Address
            receiver.addressResolved(kind("TCP", host, portNumber))
        receiver.resolutionComplete()
        return _Resolution()


class NamedClock(MemoryReactorClock):
    """That of older versions of Twisted knows no names."""

    def __init__(self, names: Names) -> None:
        super().__init__()
        self.nameResolver = names
        directlyProvides(self, IReactorPluggableNameResolver)


class NetCase(TestCase):
    def serve(self, do: Callable[[Host], None], tls: Any = None) -> Site:
        site = Site(do)
        if tls is None:
            port: Any = reactor.listenTCP(0, site, interface="127.0.0.1")
        else:
            port = reactor.listenSSL(0, site, tls.options(), interface="127.0.0.1")
        self.port = port.getHost().port
        self.url = f"http://127.0.0.1:{self.port}/a"

        async def stop() -> None:
            await port.stopListening()
            for host in site.hosts:
                if host.transport is not None and not host.gone.called:
                    host.transport.abortConnection()  # type: ignore[attr-defined]  # TCP's or TLS's
                await host.gone

        self.addCleanup(lambda: Deferred.fromCoroutine(stop()))
        return site

    async def ask(
        self,
        do: Callable[[Host], None],
        method: str = "GET",
        body: bytes | None = None,
        within: float = 5.0,
        headers: Mapping[str, str] | None = None,
        follow: bool = True,
    ) -> Answer:
        self.site = self.serve(do)
        server = Server(reactor, self.url, HERE)
        return await server.request(
            method, self.url, headers or {}, body, within, follow=follow
        )

    async def problem(
        self, kind: type[Exception], do: Callable[[Host], None], **given: Any
    ) -> str:
        """@return: Why there was no answer."""
        try:
            await self.ask(do, **given)
        except kind as error:
            return str(error)
        raise AssertionError("there was an answer")

    async def all_gone(self) -> None:
        for host in self.site.hosts:
            await host.gone


class RequestTests(NetCase):
    async def test_what_is_sent_is_this_and_no_more(self) -> None:
        answer = await self.ask(
            Host.ok, "POST", b'{"a":1}', headers={"Content-Type": "application/json"}
        )
        self.assertEqual(answer, Answer(200, "OK", "", b"yes"))
        head, _, body = self.site.requests[0].partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.assertEqual(first, "POST /a HTTP/1.1")
        self.assertEqual(
            sorted(line.lower() for line in lines),
            [
                "connection: close",
                "content-length: 7",
                "content-type: application/json",
                f"host: 127.0.0.1:{self.port}",
                "user-agent: portero",
            ],
        )
        self.assertEqual(body, b'{"a":1}')
        await self.all_gone()

    async def test_an_address_without_a_path_is_that_of_the_root(self) -> None:
        site = self.serve(Host.ok)
        here = f"http://127.0.0.1:{self.port}"
        for url in (f"{here}?q=1", here, f"{here}/?q=1", f"{here}/a%2Fb//c?d?e"):
            await Server(reactor, url, HERE).request("GET", url, {}, None, 5)
        self.assertEqual(
            [request.split(b" ")[1] for request in site.requests],
            [b"/?q=1", b"/", b"/?q=1", b"/a%2Fb//c?d?e"],
        )

    async def test_an_address_elsewhere_is_not_asked(self) -> None:
        site = self.serve(Host.ok)
        server = Server(reactor, self.url, HERE)
        for url in (
            f"http://127.0.0.1:{self.port + 1}/a",
            f"http://127.0.0.2:{self.port}/a",
            f"https://127.0.0.1:{self.port}/a",
            f"http://x@127.0.0.1:{self.port}/a",
            f"http://127.0.0.1:{self.port}/a b\r\nX: 1",
            "http://[::1",
            "",
        ):
            with self.assertRaises(NotSafe):
                await server.request("GET", url, {}, None, 5)
        self.assertEqual(site.hosts, [])


class AnswerTests(NetCase):
    async def test_one_that_ends_with_the_connection_is_whole(self) -> None:
        def do(host: Host) -> None:
            host.say("HTTP/1.0 200 OK", "Content-Type: text/plain", body=b"words")
            host.end()

        self.assertEqual(
            await self.ask(do), Answer(200, "OK", "text/plain", b"words", True)
        )

    async def test_nothing_is_an_answer_too(self) -> None:
        answer = await self.ask(lambda host: host.say("HTTP/1.1 204 No Content"))
        self.assertEqual(answer, Answer(204, "No Content", "", b""))

    async def test_too_large_a_one_is_cut_while_it_comes(self) -> None:
        size = 5_000_000
        answer = await self.ask(lambda host: host.ok(b"x" * size))
        self.assertEqual((len(answer.content), answer.whole), (LARGEST, False))
        await self.all_gone()

    async def test_just_as_large_as_may_be_is_whole(self) -> None:
        answer = await self.ask(lambda host: host.ok(b"x" * LARGEST))
        self.assertEqual((len(answer.content), answer.whole), (LARGEST, True))

    async def test_a_head_without_end_is_cut(self) -> None:
        def do(host: Host) -> None:
            host.say("HTTP/1.1 200 OK", *["X-Line: " + "x" * 1000] * 600, "X: 1")

        self.assertEqual(await self.problem(NotSafe, do), "it sends without end")
        await self.all_gone()

    async def test_what_is_compressed_is_refused_unread(self) -> None:
        bomb = gzip.compress(bytes(10_000_000))
        said = await self.problem(
            NotSafe, lambda host: host.ok(bomb, "Content-Encoding: gzip")
        )
        self.assertIn("is compressed", said)

    async def test_one_longer_than_it_says_is_cut_there(self) -> None:
        answer = await self.ask(
            lambda host: host.say(
                "HTTP/1.1 200 OK", "Content-Length: 3", body=b"yes and more"
            )
        )
        self.assertEqual(answer.content, b"yes")

    async def test_one_shorter_than_it_says_is_none(self) -> None:
        def do(host: Host) -> None:
            host.say("HTTP/1.1 200 OK", "Content-Length: 30", body=b"half")
            host.end()

        said = await self.problem(Unreachable, do)
        self.assertIn("in the middle of the answer", said)

    async def test_a_server_that_closes_at_once_is_told(self) -> None:
        said = await self.problem(Unreachable, Host.end)
        self.assertEqual(said, "the connection ended without an answer")

    async def test_one_that_is_no_http_is_told(self) -> None:
        for line in ("SSH-2.0-x", "220 mail ESMTP", "HTTP/1.1 twohundred OK", "\x00"):
            said = await self.problem(Unreachable, lambda host: host.say(line))  # noqa: B023  # called before the next
            self.assertIn("no answer that can be read", said)

    async def test_whatever_comes_ends_in_an_answer_or_in_words(self) -> None:
        ok = "HTTP/1.1 200 OK"
        for lines in (
            (ok, "Content-Length: -5"),
            (ok, "Content-Length: 1", "Content-Length: 2"),
            (ok, "Content-Length: x"),
            (ok, "Content-Length: " + "9" * 5000),
            (ok, "Transfer-Encoding: chunked", "", "zz"),
            (ok, "Transfer-Encoding: chunked", "", "-1"),
            (ok, "Transfer-Encoding: chunked", "", "f" * 40),
            (ok, "Transfer-Encoding: gzip, chunked", "", "0", ""),
            (ok, "no colon"),
            (ok, ": no name"),
            (ok, " folded: 1"),
            (ok, "Content-Type: \xff\udcff\x00"),
            ("HTTP/1.1 302 Go", "Location: \udcff\xff"),
            ("HTTP/1.1 302 Go", "Location: ///"),
            ("HTTP/1.1 302 Go",),
            ("HTTP/1.1 99 Low", "Content-Length: 0"),
            ("HTTP/1.1 999999999 High", "Content-Length: 0"),
            ("HTTP/1.1 200",),
            ("HTTP/9.9 200 OK", "Content-Length: 0"),
            ("HTTP/1.1 101 Switching Protocols", "Upgrade: x"),
            ("HTTP/1.1 100 Continue", "", ok, "Content-Length: 0"),
            (*["HTTP/1.1 100 Continue", ""] * 30_000,),
            ("HTTP/1.1 304 Not Modified",),
            (ok, "X: " + "x" * 70_000),
        ):
            payload = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")

            def do(host: Host, payload: bytes = payload) -> None:
                assert host.transport is not None
                host.transport.write(payload)
                host.end()

            try:
                answer = await self.ask(do)
                self.assertIsInstance(answer, Answer)
            except (NotSafe, Unreachable) as error:
                self.assertTrue(str(error).isprintable())
                self.assertLess(len(str(error)), 300)
            await self.all_gone()

    async def test_a_slow_one_is_not_waited_for(self) -> None:
        said = await self.problem(Unreachable, lambda host: None, within=0.05)
        self.assertEqual(said, "no answer within 0.05 s")
        await self.all_gone()

    async def test_a_slow_body_is_not_waited_for(self) -> None:
        def do(host: Host) -> None:
            host.say("HTTP/1.1 200 OK", "Content-Length: 30", body=b"half")

        said = await self.problem(Unreachable, do, within=0.05)
        self.assertEqual(said, "no answer within 0.05 s")
        await self.all_gone()

    async def test_nobody_there_is_told(self) -> None:
        port = reactor.listenTCP(0, Site(Host.ok), interface="127.0.0.1")
        url = f"http://127.0.0.1:{port.getHost().port}/"
        await port.stopListening()
        with self.assertRaises(Unreachable) as caught:
            await Server(reactor, url, HERE).request("GET", url, {}, None, 5)
        self.assertIn("refused", str(caught.exception))


class RedirectTests(NetCase):
    def redirecting(self, status: int, *targets: str) -> Callable[[Host], None]:
        waiting = list(targets)

        def do(host: Host) -> None:
            if waiting:
                to = waiting.pop(0).replace("PORT", str(self.port))
                host.say(
                    f"HTTP/1.1 {status} Go", f"Location: {to}", "Content-Length: 0"
                )
            else:
                host.ok()

        return do

    def lines(self) -> list[str]:
        return [request.decode().split(" HTTP")[0] for request in self.site.requests]

    async def test_the_same_server_is_followed(self) -> None:
        do = self.redirecting(302, "/b", "c?x=1", "http://127.0.0.1:PORT/d#e")
        self.assertEqual((await self.ask(do)).content, b"yes")
        self.assertEqual(self.lines(), ["GET /a", "GET /b", "GET /c?x=1", "GET /d"])
        await self.all_gone()

    async def test_not_for_ever(self) -> None:
        do = self.redirecting(302, "/b", "/c", "/d", "/e")
        said = await self.problem(NotSafe, do)
        self.assertEqual(said, "it redirects more than 3 times")

    async def test_no_other_server_is_asked(self) -> None:
        for to in (
            "http://127.0.0.2:PORT/",
            "http://localhost:PORT/",
            "https://127.0.0.1:PORT/",
            "http://127.0.0.1/",
            "http://169.254.169.254/latest/meta-data/",
            "//evil.example/",
            "http://127.0.0.1:PORT@evil.example/",
            "file:///etc/passwd",
            "http://[",
            "/a b",
            "/\u00f1",
        ):
            said = await self.problem(NotSafe, self.redirecting(307, to))
            self.assertIn("it redirects to", said, to)
            self.assertEqual(len(self.site.requests), 1)

    async def test_it_is_not_followed_where_that_is_not_wanted(self) -> None:
        for status in (301, 307):
            do = self.redirecting(status, "/b")
            answer = await self.ask(do, "POST", b"{}", follow=False)
            self.assertEqual((answer.status, self.lines()), (status, ["POST /a"]))

    async def test_what_was_posted_is_posted_again_only_if_that_is_asked(self) -> None:
        for status, expected in [
            (301, "GET /b"),
            (302, "GET /b"),
            (303, "GET /b"),
            (307, "POST /b"),
            (308, "POST /b"),
        ]:
            do = self.redirecting(status, "/b")
            await self.ask(do, "POST", b"{}", headers={"Content-Type": "text/x"})
            self.assertEqual(self.lines(), ["POST /a", expected])
            again = expected.startswith("POST")
            self.assertEqual(b"text/x" in self.site.requests[1], again)


class AddressTests(SynchronousTestCase):
    """What is connected to counts."""

    def connected(self, url: str, *names: str, allow: tuple[str, ...] = ()) -> Any:
        clock = NamedClock(Names(*names))
        server = Server(clock, url, [ip_network(network) for network in allow])
        self.asked = [
            Deferred.fromCoroutine(server.request("GET", url, {}, None, 5))
            for _ in names
        ]
        clock.advance(1)
        for asked in self.asked:
            asked.addErrback(lambda failure: failure.value)
        clock.advance(10)
        return [f"{host}:{port}" for host, port, *_ in clock.tcpClients]

    def test_a_public_one_is_fine(self) -> None:
        for address in ("93.184.216.34", "2606:2800:220:1::1"):
            found = self.connected("https://shop.example/", address)
            self.assertEqual(found, [f"{address}:443"])

    def test_a_private_one_is_not_connected_to(self) -> None:
        for address in (
            *("127.0.0.1", "127.9.9.9", "10.0.0.5", "172.16.0.1", "192.168.1.1"),
            *("169.254.169.254", "0.0.0.0", "100.64.0.1", "100.100.100.200"),
            *("224.0.0.1", "239.255.255.250", "255.255.255.255", "240.0.0.1"),
            *("192.0.0.192", "198.18.0.1", "168.63.129.16", "203.0.113.1"),
            *("::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1"),
            *("::ffff:127.0.0.1", "::ffff:10.0.0.5", "::ffff:169.254.169.254"),
            *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "::127.0.0.1"),
            *("2002:7f00:1::1", "2002:a00:5::", "2001:0:1::1", "2001:db8::1"),
            *("fec0::1", "100::1", "4000::1", "5f00::1"),
        ):
            found = self.connected("https://shop.example/", address)
            self.assertEqual(found, [], address)
            error = self.successResultOf(self.asked[0])
            self.assertIsInstance(error, NotSafe)
            self.assertIn(address, str(error))

    def test_the_private_ones_among_several_are_left_out(self) -> None:
        found = self.connected("https://shop.example/", "10.0.0.5 93.184.216.34")
        self.assertEqual(found, ["93.184.216.34:443"])

    def test_a_name_that_changes_its_address_is_looked_at_each_time(self) -> None:
        found = self.connected(
            "https://shop.example/", "93.184.216.34", "127.0.0.1", "93.184.216.34"
        )
        self.assertEqual(found, ["93.184.216.34:443"] * 2)

    def test_what_is_allowed_is_connected_to(self) -> None:
        for url, port in (("https://nas.local/", 443), ("http://nas.local/", 80)):
            for address in ("10.0.0.5", "::ffff:10.0.0.5"):
                found = self.connected(url, address, allow=("10.0.0.5/32",))
                self.assertEqual(found, [f"{address}:{port}"])
            self.assertEqual(
                self.connected(url, "10.0.0.6", allow=("10.0.0.5/32",)), []
            )

    def test_without_tls_only_what_is_allowed_is_connected_to(self) -> None:
        found = self.connected(
            "http://shop.example/", "93.184.216.34", allow=("10.0.0.0/8",)
        )
        self.assertEqual(found, [])


class TlsTests(NetCase):
    async def tls(self, name: str, trusted: bool) -> Answer:
        """Ask shop.example, which is on this machine, and shows a certificate."""
        shown = certificate(name)
        self.site = self.serve(Host.ok, shown)
        root: Any = None
        if trusted:
            root = trustRootFromCertificates([Certificate(shown.original)])
        url = f"https://shop.example:{self.port}/a"
        before = reactor.nameResolver
        self.addCleanup(reactor.installNameResolver, before)
        reactor.installNameResolver(Names("127.0.0.1"))
        server = Server(reactor, url, HERE, root)
        secret = {"Authorization": "Bearer secret"}
        return await server.request("GET", url, secret, None, 5)

    async def test_the_right_certificate_is_trusted(self) -> None:
        self.assertEqual((await self.tls("shop.example", trusted=True)).content, b"yes")
        self.assertIn(b"Host: shop.example:", self.site.requests[0])
        self.assertIn(b"Bearer secret", self.site.requests[0])
        await self.all_gone()

    async def test_one_of_another_name_gets_no_secret(self) -> None:
        with self.assertRaises(NotSafe) as caught:
            await self.tls("evil.example", trusted=True)
        self.assertIn("is for another name", str(caught.exception))
        self.assertEqual(self.site.bytes, 0)
        await self.all_gone()

    async def test_one_that_nobody_signed_gets_no_secret(self) -> None:
        with self.assertRaises(NotSafe) as caught:
            await self.tls("shop.example", trusted=False)
        self.assertIn("is not signed by an authority", str(caught.exception))
        self.assertEqual(self.site.bytes, 0)
        await self.all_gone()

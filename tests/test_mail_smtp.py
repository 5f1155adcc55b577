"""L{portero.mail.smtp} and a real mail server, over real sockets and real TLS."""

from __future__ import annotations

import base64
from collections.abc import Callable
from email import message_from_bytes, policy
from functools import partial
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.task import deferLater
from twisted.protocols.policies import WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase

from portero.mail import smtp
from portero.mail.folder import Envelope
from portero.mail.queue import Server
from portero.outbox.delivery import Postponed, Rejected, Unreachable
from tests.smtp_server import PASSWORD, USER, MailServer, certificate

HOST = "localhost"
TO = "juan@x.example"
SECRETS = (
    PASSWORD.encode(),
    base64.b64encode(PASSWORD.encode()),
    base64.b64encode(f"{USER}\0{USER}\0{PASSWORD}".encode()),
    b"AUTH",
)


def envelope(body: str = "Hello.\n") -> Envelope:
    head = f"From: p@acme.example\nTo: {TO}\nSubject: Hi\n\n"
    return Envelope("p@acme.example", TO, (head + body).encode())


class SmtpCase(TestCase):
    timeout = 20

    async def listen(self, factory: Any) -> int:
        """@return: The port."""
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        watched = WrappingFactory(factory)
        watched.noisy = False
        port: Any = await endpoint.listen(watched)
        self.addCleanup(self._end, watched)
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def _end(self, watched: WrappingFactory) -> None:
        for connection in [*watched.protocols]:
            connection.transport.abortConnection()
        while watched.protocols:
            await deferLater(reactor, 0.001, lambda: None)

    async def send(
        self,
        server: MailServer,
        tls: str = "starttls",
        *,
        what: Envelope | None = None,
        context_for: Callable[[str], Any] | None = None,
        **given: str,
    ) -> None:
        factory: Any = server
        if tls == "tls":
            assert server.own is not None
            factory = TLSMemoryBIOFactory(server.own.options(), False, server)
        port = await self.listen(factory)
        find = context_for or server.trusted
        await smtp.deliver(
            reactor,
            Server(HOST, port, tls, **given),
            what or envelope(),
            None if tls == "none" else find(HOST),
        )

    async def trouble(self, *args: Any, **given: Any) -> Unreachable:
        """@return: Why the server cannot be had."""
        try:
            await self.send(*args, **given)
        except Unreachable as error:
            self.assertTrue(error.remedy)
            return error
        raise AssertionError("it was sent")


class DeliveryTests(SmtpCase):
    async def test_it_comes_as_it_was_sent(self) -> None:
        for tls in ("starttls", "tls", "none"):
            server = MailServer(certificate(HOST) if tls != "none" else None)
            await self.send(server, tls)
            ((to, content),) = server.received
            self.assertEqual(to, TO)
            message = message_from_bytes(content, policy=policy.default)
            self.assertEqual(message["Subject"], "Hi")
            self.assertEqual(message.get_content().strip(), "Hello.")

    async def test_the_server_is_told_who_sends(self) -> None:
        for tls in ("starttls", "tls"):
            server = MailServer(certificate(HOST), login=True)
            await self.send(server, tls, user=USER, password=PASSWORD)
            self.assertEqual(len(server.received), 1)

    async def test_this_machines_name_stays_here(self) -> None:
        server = MailServer()
        await self.send(server, "none")
        self.assertEqual(server.lines[0], b"EHLO acme.example")

    async def test_no_line_of_a_mail_is_taken_for_a_command(self) -> None:
        """
        Wherever a lone point falls: twisted.mail sends pieces of 16 KiB, and would
        leave one at the beginning of a piece as it is.
        """
        evil = "\n.\nMAIL FROM:<evil@x.example>\nRCPT TO:<evil@x.example>\nDATA\nx\n.\n"
        head = len(envelope("").content)
        for shift in range(-3, 4):
            for lines in (1, 0):  # as the pieces are cut with CR LF, or without
                room = 2**14 - head - 4 * lines + shift
                body = "x" * room + evil
                # A line may be so long here: it is portero's own that are short.
                server = MailServer()
                server.longest = 2**15
                await self.send(server, "none", what=envelope(body))
                ((to, content),) = server.received
                self.assertEqual(to, TO)
                self.assertIn(evil.encode(), content)
        self.assertEqual(server.lines.count(b"."), 1)


class RefusalTests(SmtpCase):
    async def refused(self, where: str, code: int) -> str:
        server = MailServer()
        server.refuses[where] = code
        wanted = Rejected if code >= 500 else Postponed
        try:
            await self.send(server, "none")
        except wanted as error:
            self.assertEqual(server.received, [])
            return str(error)
        raise AssertionError(f"{code} at {where} did no harm")

    async def test_never_and_not_now_are_told_apart(self) -> None:
        for where in ("from", "to", "data"):
            for code in (421, 451, 550, 554):
                self.assertTrue(
                    (await self.refused(where, code)).startswith(f"{code} ")
                )

    async def test_what_the_server_says_is_told_without_the_address(self) -> None:
        said = await self.refused("to", 550)
        self.assertEqual(said, "550 <...@x.example>: not here")


class TrustTests(SmtpCase):
    def assertNothingTold(self, server: MailServer) -> None:
        told = b"\n".join(server.lines)
        for secret in (*SECRETS, TO.encode(), b"Hello."):
            self.assertNotIn(secret, told)
        self.assertEqual(server.received, [])

    async def test_without_starttls_the_server_is_told_nothing(self) -> None:
        server = MailServer(None, login=True)
        error = await self.trouble(
            server, context_for=optionsForClientTLS, user=USER, password=PASSWORD
        )
        self.assertIn("does not offer STARTTLS", str(error))
        self.assertIn('tls = "tls"', error.remedy)
        self.assertNothingTold(server)

    async def test_a_certificate_of_nobody_knows_whom_is_not_trusted(self) -> None:
        for tls in ("starttls", "tls"):
            server = MailServer(certificate(HOST), login=True)
            error = await self.trouble(
                server,
                tls,
                context_for=optionsForClientTLS,
                user=USER,
                password=PASSWORD,
            )
            self.assertIn("certificate is not to be trusted", str(error))
            self.assertNothingTold(server)

    async def test_nor_is_that_of_another_server(self) -> None:
        for tls in ("starttls", "tls"):
            server = MailServer(certificate("other.example"), login=True)
            error = await self.trouble(server, tls, user=USER, password=PASSWORD)
            self.assertIn("certificate is not one of localhost", str(error))
            self.assertNothingTold(server)

    async def test_nor_one_that_is_over(self) -> None:
        server = MailServer(certificate(HOST, days=-1), login=True)
        error = await self.trouble(server, user=USER, password=PASSWORD)
        self.assertIn("certificate is not to be trusted", str(error))
        self.assertNothingTold(server)

    async def test_a_wrong_password_is_named_and_not_repeated(self) -> None:
        server = MailServer(certificate(HOST), login=True)
        error = await self.trouble(server, user=USER, password="wrong one")
        self.assertIn("does not accept the user and password: 535", str(error))
        self.assertNotIn("wrong one", f"{error!r} {error.__cause__!r}")
        self.assertIn("password_file", error.remedy)
        self.assertEqual(server.received, [])

    async def test_what_was_said_before_the_handshake_is_forgotten(self) -> None:
        """Whoever is between could otherwise say that the mail is delivered."""
        said: list[bytes] = []

        class Between(Protocol):
            transport: Any

            def connectionMade(self) -> None:
                self.transport.write(b"220 x ESMTP\r\n")

            def dataReceived(self, data: bytes) -> None:
                said.append(data)
                if data.startswith(b"EHLO"):
                    self.transport.write(b"250-x\r\n250 STARTTLS\r\n")
                elif data.startswith(b"STARTTLS"):
                    injected = b"220 go\r\n250 x\r\n" + b"250 ok\r\n" * 4
                    self.transport.write(injected)
                else:  # the handshake
                    self.transport.loseConnection()

        port = await self.listen(Factory.forProtocol(Between))
        server = Server(HOST, port)
        context = optionsForClientTLS(HOST)
        try:
            await smtp.deliver(reactor, server, envelope(), context)
        except Unreachable:
            self.assertTrue(said[-1].startswith(b"\x16\x03"), said)
        else:
            raise AssertionError("it was taken for delivered")


class UnreachableTests(SmtpCase):
    async def test_nobody_listens(self) -> None:
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port: Any = await endpoint.listen(MailServer())
        number = port.getHost().port
        await port.stopListening()
        error = await self.fails(number)
        self.assertIn("refused", str(error))
        self.assertIn("firewall", error.remedy)

    async def test_the_server_has_no_time(self) -> None:
        port = await self.listen(Saying(b"421 too many of you\r\n"))
        error = await self.fails(port)
        self.assertEqual(str(error), "421 too many of you")

    async def test_it_speaks_another_language(self) -> None:
        port = await self.listen(Saying(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        await self.fails(port)

    async def test_it_hangs_up(self) -> None:
        port = await self.listen(Saying(b""))
        error = await self.fails(port)
        self.assertIn("the connection ended", str(error))

    async def test_its_port_is_for_the_other_kind_of_tls(self) -> None:
        port = await self.listen(Saying(b"220 x ESMTP\r\n", stays=True))
        error = await self.fails(port, "tls")
        self.assertIn("no TLS with it", str(error))
        self.assertIn('tls = "starttls"', error.remedy)

    async def test_it_says_nothing(self) -> None:
        self.patch(smtp.Client, "timeout", 0.05)
        port = await self.listen(Saying(b"", stays=True))
        error = await self.fails(port)
        self.assertEqual(str(error), "it does not answer")

    async def test_waiting_for_it_can_be_ended_at_any_time(self) -> None:
        for greeting, until in ((b"", "met"), (b"220 x ESMTP\r\n", "heard")):
            silent = Saying(greeting, stays=True)
            server = Server(HOST, await self.listen(silent), "none")
            sending = Deferred.fromCoroutine(
                smtp.deliver(reactor, server, envelope(), None)
            )
            await getattr(silent, until)
            sending.cancel()
            error: Any = await self.assertFailure(sending, Unreachable)
            self.assertEqual(str(error), "it takes too long")
            await silent.left

    async def fails(self, port: int, tls: str = "none") -> Unreachable:
        context = optionsForClientTLS(HOST) if tls != "none" else None
        try:
            await smtp.deliver(reactor, Server(HOST, port, tls), envelope(), context)
        except Unreachable as error:
            return error
        raise AssertionError("it was sent")


class Saying(Factory):
    """No mail server: says one thing, and leaves."""

    noisy = False

    def __init__(self, what: bytes, *, stays: bool = False) -> None:
        self.met: Deferred[None] = Deferred()
        self.heard: Deferred[None] = Deferred()
        self.left: Deferred[None] = Deferred()
        self._what = what
        self._stays = stays

    def buildProtocol(self, addr: Any) -> Any:
        made: Any = Protocol()
        made.connectionMade = partial(self._speak, made)
        made.dataReceived = self._hear
        made.connectionLost = self._gone
        return made

    def _speak(self, protocol: Any) -> None:
        self.met.callback(None)
        protocol.transport.write(self._what)
        if not self._stays:
            protocol.transport.loseConnection()

    def _hear(self, _: bytes) -> None:
        self.heard.callback(None)

    def _gone(self, _: Any) -> None:
        self.left.callback(None)

"""A real mail server on loopback, which takes, refuses or postpones as a test says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS
from twisted.mail import smtp
from twisted.mail.imap4 import PLAINCredentials
from zope.interface import implementer

USER, PASSWORD = "portero", "secret word"


def certificate(name: str, *, days: int = 1) -> PrivateCertificate:
    """@param days: That it is good for; less than none: it is over."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    end = datetime.now(UTC) + timedelta(days=days)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=2))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(Encoding.PEM)
    private = key.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )
    loaded: PrivateCertificate = PrivateCertificate.loadPEM(pem + private)
    return loaded


@implementer(smtp.IMessage)
class Mail:
    def __init__(self, server: MailServer, to: str) -> None:
        self._server = server
        self._to = to
        self._lines: list[bytes] = []

    def lineReceived(self, line: bytes) -> None:
        self._lines.append(line)

    def eomReceived(self) -> Deferred[None]:
        self._server.received.append((self._to, b"\n".join(self._lines) + b"\n"))
        told, self._server.told = self._server.told, Deferred()
        told.callback(None)
        return succeed(None)

    def connectionLost(self) -> None:
        self._lines.clear()


@implementer(smtp.IMessageDelivery)
class Delivery:
    def __init__(self, server: MailServer) -> None:
        self._server = server

    def receivedHeader(self, helo: Any, origin: Any, recipients: Any) -> bytes:
        return b"Received: by a test"

    def validateFrom(self, helo: Any, origin: Any) -> Any:
        self._server.answer("from")
        return origin

    def validateTo(self, user: Any) -> Callable[[], Mail]:
        self._server.answer("to")
        return lambda: Mail(self._server, str(user.dest))


class MailServer(Factory):
    """
    @ivar received: Address and content of what it has taken.
    @ivar lines: All that clients sent, in clear or decrypted.
    @ivar refuses: By C{from}, C{to} or C{data}: a code that it answers there.
    @ivar longest: Bytes of a line.
    @ivar told: Fires when it has taken the next one.
    """

    noisy = False

    def __init__(
        self, own: PrivateCertificate | None = None, *, login: bool = False
    ) -> None:
        """
        @param own: With it, the server offers STARTTLS.
        @param login: It has to be known who sends.
        """
        self.received: list[tuple[str, bytes]] = []
        self.lines: list[bytes] = []
        self.refuses: dict[str, int] = {}
        self.told: Deferred[None] = Deferred()
        self.longest = 1000
        self.own = own
        self._login = login

    def answer(self, where: str) -> None:
        code = self.refuses.get(where)
        if code is not None:
            raise smtp.SMTPServerError(code, "<juan@x.example>: not here")

    def trusted(self, host: str) -> Any:
        """As the system's store would, had somebody put this server into it."""
        assert self.own is not None
        return optionsForClientTLS(host, trustRoot=Certificate(self.own.original))

    def buildProtocol(self, addr: Any) -> Any:
        lines, refuses = self.lines, self.refuses

        class Connection(smtp.ESMTP):
            def lineReceived(self, line: bytes) -> Any:
                lines.append(line)
                return super().lineReceived(line)

            def do_DATA(self, rest: bytes) -> None:
                code = refuses.get("data")
                if code is None:
                    super().do_DATA(rest)
                else:
                    self.sendCode(code, b"not this one")

        context = self.own.options() if self.own else None
        challengers = {b"PLAIN": PLAINCredentials, b"LOGIN": smtp.LOGINCredentials}
        made: Any = Connection(challengers if self._login else {}, context)
        made.delivery = Delivery(self)
        made.MAX_LENGTH = self.longest
        made.host = b"mail.example"
        made.factory = self
        if self._login:
            made.portal = Portal(Realm(self))
            known = InMemoryUsernamePasswordDatabaseDontUse()
            known.addUser(USER.encode(), PASSWORD.encode())
            made.portal.registerChecker(known)
            made.delivery = None
        return made


@implementer(IRealm)
class Realm:
    def __init__(self, server: MailServer) -> None:
        self._server = server

    def requestAvatar(self, who: Any, mind: Any, *interfaces: Any) -> Any:
        return smtp.IMessageDelivery, Delivery(self._server), lambda: None

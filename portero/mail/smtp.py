"""
One mail to one server, and what came of it.

twisted.mail looks up this machine's name when it is imported, which may take as long as
the resolver likes: whoever runs in the reactor imports this module in a thread.
"""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any, Final

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    DNSLookupError,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.mail import smtp
from twisted.python.failure import Failure

from portero.mail.folder import Envelope
from portero.mail.queue import Server
from portero.outbox.delivery import Postponed, Rejected, Undelivered, Unreachable

CONNECT_WITHIN: Final = 30
"""Seconds for each of the server's addresses."""
ANSWER_WITHIN: Final = 60.0
"""Seconds of silence from a server; it may look for viruses in the meantime."""
LEAVE_WITHIN: Final = 5.0
"""Seconds for taking leave, when all is said."""
LONGEST_REASON: Final = 200
"""Characters of what a server says."""

LOOK: Final = "look at the server and its log"


class Client(smtp.ESMTPSender):
    """Sends one mail, says with C{outcome} how that went, and leaves."""

    # Without: twisted.mail puts the last lines, a password among them, into its errors.
    debug = False
    timeout: Any = ANSWER_WITHIN
    transport: Any

    def __init__(
        self, server: Server, envelope: Envelope, context: Any, clock: Any
    ) -> None:
        user = server.user.encode()
        super().__init__(user, server.password.encode(), context, b"", 0)
        # Not this machine's own name, which strangers need not know.
        self.identity = envelope.sender.rpartition("@")[2].encode()
        self.requireTransportSecurity = server.tls != "none"
        self.requireAuthentication = bool(server.user)
        self.heloFallback = server.tls == "none"
        self._clock = clock
        self.outcome: Deferred[None] = Deferred(lambda _: self._break_off())
        self._result: Undelivered | None = None
        self._knows = False
        self._envelope: Envelope | None = envelope
        self._to = envelope.to
        self._server = server

    def _break_off(self) -> None:
        self._finish(unreachable(CancelledError(), self._server))
        self._abort()
        self._tell()

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abortConnection()

    def _finish(self, result: Undelivered | None) -> None:
        """The first word counts; what remains is to take leave."""
        if not self._knows:
            self._knows, self._result = True, result
            self.setTimeout(LEAVE_WITHIN)

    def _tell(self) -> None:
        if self.outcome.called:
            return
        if self._result is None:
            self.outcome.callback(None)
        else:
            self.outcome.errback(self._result)

    # What twisted.mail asks and tells

    def callLater(self, period: float, func: Any) -> Any:
        return self._clock.callLater(period, func)

    def getMailFrom(self) -> str | None:
        return self._envelope.sender if self._envelope else None

    def getMailTo(self) -> list[bytes]:
        return [self._to.encode()]

    def getMailData(self) -> BytesIO:
        """
        A point at the beginning of a line is doubled here (RFC 5321, 4.5.2), because
        twisted.mail misses one that begins a piece of 16 KiB: a line with nothing else
        would end the mail, and what follows would be commands.
        """
        content = self._envelope.content if self._envelope else b""
        content = re.sub(rb"^\.", b"..", content, flags=re.MULTILINE)
        return BytesIO(content.replace(b"\n", b"\r\n"))

    def transformChunk(self, chunk: bytes) -> bytes:
        self.resetTimeout()
        return chunk

    def esmtpState_starttls(self, code: int, resp: bytes) -> None:
        # Lines that came in the same breath would be taken for what the server says
        # after the handshake.
        self.clearLineBuffer()
        super().esmtpState_starttls(code, resp)

    def sentMail(
        self, code: int, resp: bytes | str, good: int, addresses: Any, log: Any
    ) -> None:
        self._envelope = None
        if addresses and not good:
            _, code, resp = addresses[-1]
        reason = self._said(code, resp)
        if code in smtp.SUCCESS:
            self._finish(None)
        elif code >= 500:
            self._finish(Rejected(reason))
        else:
            self._finish(Postponed(reason))

    def sendError(self, error: Exception) -> None:
        self._finish(self._trouble(error))
        smtp.SMTPClient.sendError(self, error)

    def timeoutConnection(self) -> None:
        self._finish(Unreachable("it does not answer", LOOK))
        self._abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._finish(unreachable(reason.value, self._server))
        super().connectionLost(reason)
        self._tell()

    def _said(self, code: int, resp: bytes | str) -> str:
        """A server likes to repeat the address, which the log is not to have."""
        text = resp.decode("utf-8", "replace") if isinstance(resp, bytes) else resp
        text = re.sub(re.escape(self._to.rpartition("@")[0]) + "@", "...@", text)
        text = "".join(c if c.isprintable() else " " for c in text)
        return f"{code} {' '.join(text.split())}"[:LONGEST_REASON]

    def _trouble(self, error: Exception) -> Unreachable:
        said = ""
        if isinstance(error, smtp.SMTPClientError):
            said = self._said(error.code, error.resp or "")
        if isinstance(error, smtp.TLSRequiredError | smtp.EHLORequiredError):
            return Unreachable(
                "it does not offer STARTTLS, so nothing was sent to it",
                'perhaps its port is 465, with tls = "tls"',
            )
        if isinstance(error, smtp.AUTHRequiredError):
            return Unreachable(
                "it offers no way to log in that portero knows", "leave out user"
            )
        if isinstance(error, smtp.AUTHDeclinedError | smtp.AuthenticationError):
            return Unreachable(
                f"it does not accept the user and password: {said}",
                "check user and password_file",
            )
        return Unreachable(said or str(error), LOOK)


def unreachable(error: BaseException | None, server: Server) -> Unreachable:
    """@return: In words: why there is no connection, and what to do."""
    if isinstance(error, VerificationError):
        return Unreachable(
            f"its certificate is not one of {server.host}",
            "write the name that stands in the certificate into server",
        )
    if isinstance(error, SSL.Error):
        said = "; ".join(part[-1] for part in error.args[0]) if error.args else ""
        if "certificate" in said:
            return Unreachable(
                f"its certificate is not to be trusted: {said}",
                "have this machine trust who signed it (update-ca-certificates), or "
                "renew it",
            )
        return Unreachable(
            f"no TLS with it: {said or 'the connection ended'}",
            'perhaps its port is 587, with tls = "starttls"',
        )
    if isinstance(error, DNSLookupError):
        return Unreachable("its name is not known", "check server, and DNS")
    if isinstance(error, ConnectError):
        return Unreachable(str(error), "check server, its port and the firewall")
    if isinstance(error, CancelledError | ConnectingCancelledError):
        return Unreachable("it takes too long", LOOK)
    return Unreachable(f"the connection ended: {error}", LOOK)


async def deliver(
    reactor: Any, server: Server, envelope: Envelope, context: Any
) -> None:
    """
    Wait until the server has taken a mail. It can be cancelled.

    @param context: Makes TLS connections that are verified; L{None} with C{tls} "none".
    @raise Rejected, Postponed, Unreachable: It has not.
    """
    made = HostnameEndpoint(reactor, server.host, server.port, CONNECT_WITHIN)
    endpoint = wrapClientTLS(context, made) if server.tls == "tls" else made
    factory = Factory.forProtocol(lambda: Client(server, envelope, context, reactor))
    factory.noisy = False
    try:
        client: Any = await endpoint.connect(factory)
        await client.outcome
    except Undelivered:
        raise
    except Exception as error:
        raise unreachable(error, server) from None

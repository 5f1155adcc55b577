"""
Mail on its way out. One that a crash has sent twice has the same Message-ID then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import EmailMessage
from functools import partial
from importlib import import_module
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.ssl import optionsForClientTLS

from portero.mail.address import outline
from portero.mail.folder import Envelope
from portero.outbox.delivery import Deliver, InThread
from portero.outbox.queue import Outbox
from portero.tool_sections import MailSettings


@dataclass(frozen=True, slots=True)
class Server:
    """That takes the mail, and passes it on."""

    host: str
    port: int
    tls: str = "starttls"
    user: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def of(cls, settings: MailSettings, password: str) -> Server:
        """@param settings: With a server."""
        return cls(settings.host, settings.port, settings.tls, settings.user, password)


def by_smtp(
    reactor: Any,
    in_thread: InThread,
    context_for: Callable[[str], Any] = optionsForClientTLS,
) -> Deliver[Server, Envelope]:
    """
    @param context_for: Takes the server's name; makes TLS connections that are
        verified.
    """

    async def deliver(server: Server, envelope: Envelope) -> None:
        smtp = await in_thread(partial(import_module, "portero.mail.smtp"))
        context = None if server.tls == "none" else context_for(server.host)
        await smtp.deliver(reactor, server, envelope, context)

    return deliver


class MailQueue(Outbox[Server, Envelope]):
    """There is one for the process."""

    thing = "mail"
    things = "mails"
    of = "[mail]"
    not_found = (
        "mail cannot be kept in {folder}: {why}; agents tell callers so. Make the "
        "folder, owned by portero's user ([mail] queue), and reload portero"
    )
    not_kept = "a mail cannot be kept in {folder}: {why}; the agent was told so"

    def server_name(self, target: Server) -> str:
        return f"mail server {target.host}:{target.port}"

    def receiver(self, thing: Envelope) -> str:
        return outline(thing.to)

    def put(self, message: EmailMessage) -> Deferred[None]:
        """
        Have it delivered.

        @param message: To one address.
        @return: As of L{add}.
        """
        content = message.as_bytes()
        return self.add(lambda: content)

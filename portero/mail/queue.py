"""
Mail on its way out: kept in a folder, a file each, until a server has taken it.

A mail that a crash finds between the server's word and the removal of its file is sent
twice, with the same Message-ID; none is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from email.message import EmailMessage
from functools import partial
from importlib import import_module
from secrets import token_hex
from typing import Any, Final, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.ssl import optionsForClientTLS
from twisted.logger import Logger
from twisted.python.failure import Failure

from portero.errors import PorteroError
from portero.mail.address import outline
from portero.mail.folder import (
    LARGEST,
    MOST_MAILS,
    CannotKeep,
    Envelope,
    MailFolder,
)
from portero.tool_sections import MailSettings

Result = TypeVar("Result")

FIRST_WAIT: Final = 60.0
"""Seconds until the second try; each further one waits twice as long."""
LONGEST_WAIT: Final = 3600.0
GIVE_UP_AFTER: Final = 3 * 86400.0
"""Seconds."""
DELIVER_WITHIN: Final = 300.0
"""Seconds for one try."""
STOP_WITHIN: Final = 5.0
"""Seconds that a delivery or a slow disk may hold up the stop."""


class MailTrouble(PorteroError):
    """A mail was not delivered: the message says why."""


class Rejected(MailTrouble):
    """The server will never take this mail."""


class Postponed(MailTrouble):
    """The server does not take this mail now."""


class Unreachable(MailTrouble):
    """The server takes no mail at all, for a reason that has to do with no mail."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(why)
        self.remedy = remedy


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


@dataclass(slots=True)
class _Waiting:
    name: str
    """Of its file: seconds since 1970, and what makes it unique."""
    tried: int = 0
    not_before: float = 0.0
    """On the reactor's clock."""

    @property
    def since(self) -> float:
        """On the wall's clock."""
        return float(self.name.partition("-")[0])


Deliver = Callable[[Server, Envelope], Coroutine[Deferred[Any], Any, None]]
"""Hands a mail to a server; raises L{Rejected}, L{Postponed} or L{Unreachable}."""
InThread = Callable[[Callable[[], Any]], Deferred[Any]]


def by_smtp(
    reactor: Any,
    in_thread: InThread,
    context_for: Callable[[str], Any] = optionsForClientTLS,
) -> Deliver:
    """
    @param context_for: Takes the server's name; makes TLS connections that are
        verified.
    """

    async def deliver(server: Server, envelope: Envelope) -> None:
        smtp = await in_thread(partial(import_module, "portero.mail.smtp"))
        context = None if server.tls == "none" else context_for(server.host)
        await smtp.deliver(reactor, server, envelope, context)

    return deliver


class MailQueue(Service):
    """
    Delivers one mail after another. There is one for the process, which goes on when
    the configuration changes.
    """

    log = Logger()

    def __init__(
        self,
        folder: MailFolder,
        clock: IReactorTime,
        in_thread: InThread,
        deliver: Deliver,
        now: Callable[[], float] = time.time,
    ) -> None:
        """
        @param in_thread: Runs a function where it may wait for a disk.
        @param now: Seconds on the wall's clock.
        """
        self.folder = folder
        self._clock = clock
        self._in_thread = in_thread
        self._send = deliver
        self._now = now
        self._stopped: Deferred[None] | None = None
        self._server: Server | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._writing: set[Deferred[Any]] = set()
        self._delivering: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None
        self._server_tried = 0
        self._server_not_before = 0.0

    def use(self, server: Server) -> None:
        """
        From now on, mail goes there. What waits is tried at once, because something
        may have been put right, and mails may have been put back into the folder.
        """
        self._server = server
        self._server_answers()
        for mail in self._waiting.values():
            mail.not_before = 0.0
        if self.running:
            self._open()

    # Service

    def startService(self) -> None:
        super().startService()
        self._open()

    def stopService(self) -> Deferred[Any]:
        """@return: Fires when nothing is being written or delivered any more."""
        super().stopService()
        self._stop_waiting()
        stopped = self._stopped = Deferred()
        stopped.addTimeout(STOP_WITHIN, self._clock)
        stopped.addErrback(self._break_off)
        self._note_end()
        return stopped

    def _note_end(self) -> None:
        stopped = self._stopped
        if stopped is not None and not self._writing and self._delivering is None:
            self._stopped = None
            stopped.callback(None)

    def _break_off(self, _: Failure) -> None:
        """What was not delivered is still there at the next start."""
        self._stopped = None
        if self._delivering is not None:
            self._delivering.cancel()

    def _open(self) -> None:
        found = self._thread(self.folder.open)
        found.addCallbacks(self._found, self._not_found)

    def _found(self, names: list[str]) -> None:
        for name in names:
            self._waiting.setdefault(name, _Waiting(name))
        if names:
            self.log.info(
                "{count} mails wait in {folder}",
                count=len(names),
                folder=str(self.folder.path),
            )
        self._look()

    def _not_found(self, failure: Failure) -> None:
        self.log.warn(
            "mail cannot be kept in {folder}: {why}; agents tell callers so. Make the "
            "folder, owned by portero's user ([mail] queue), and reload portero",
            folder=str(self.folder.path),
            why=failure.getErrorMessage(),
        )

    # What tools do

    def ready(self) -> Deferred[None]:
        """
        @return: Fires when a mail could be kept now; fails with L{CannotKeep}, which
            was logged.
        """
        return self._kept(self.folder.check)

    def put(self, message: EmailMessage) -> Deferred[None]:
        """
        Have it delivered.

        @param message: To one address.
        @return: Fires when it is on the disk; fails with L{CannotKeep}, which was
            logged.
        """
        content = message.as_bytes()
        if len(content) > LARGEST:
            return self._kept(partial(_too_large, len(content)))
        name = f"{round(self._now()):010d}-{token_hex(6)}.eml"
        written = self._kept(partial(self.folder.write, name, content))
        written.addCallback(lambda _: self._add(name))
        # Whoever waits for it may lose patience, but then it is there all the same.
        told: Deferred[None] = Deferred()
        written.chainDeferred(told)
        return told

    def _add(self, name: str) -> None:
        self._waiting[name] = _Waiting(name)
        self._look()

    def _kept(self, do: Callable[[], None]) -> Deferred[None]:
        if len(self._waiting) + len(self._writing) >= MOST_MAILS:
            do = partial(_too_many, len(self._waiting))
        return self._thread(do).addErrback(self._not_kept)

    def _not_kept(self, failure: Failure) -> None:
        """@raise CannotKeep: Always."""
        failure.trap(OSError, CannotKeep)
        self.log.warn(
            "a mail cannot be kept in {folder}: {why}; the agent was told so",
            folder=str(self.folder.path),
            why=failure.getErrorMessage(),
        )
        raise CannotKeep(failure.getErrorMessage())

    def _thread(self, do: Callable[[], Result]) -> Deferred[Result]:
        running = self._in_thread(do)
        self._writing.add(running)

        def ended(result: Any) -> Any:
            self._writing.discard(running)
            self._note_end()
            return result

        return running.addBoth(ended)

    # Delivery

    def _stop_waiting(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _look(self) -> None:
        """Deliver the next one, or wait until it is time."""
        self._stop_waiting()
        idle = self.running and self._delivering is None and self._server is not None
        if not idle or not self._waiting:
            return
        mail = min(self._waiting.values(), key=lambda each: each.not_before)
        at = max(mail.not_before, self._server_not_before)
        wait = at - self._clock.seconds()
        if wait > 0:
            self._timer = self._clock.callLater(wait, self._look)
            return
        delivering = self._delivering = Deferred.fromCoroutine(self._deliver(mail))
        delivering.addErrback(self._broke, mail)
        delivering.addBoth(self._delivered)

    def _delivered(self, _: object) -> None:
        self._delivering = None
        self._note_end()
        # Not from within: a thousand mails would be as many calls deep.
        if self.running:
            self._stop_waiting()
            self._timer = self._clock.callLater(0, self._look)

    def _broke(self, failure: Failure, mail: _Waiting) -> None:
        """Of a mistake in here: it stays where it is, and the others go on."""
        if failure.check(CancelledError) and not self.running:
            return
        self.log.failure("mail {name}", failure, name=mail.name)
        self._later(mail)

    async def _deliver(self, mail: _Waiting) -> None:
        server = self._server
        if server is None:
            return
        try:
            envelope = await self._in_thread(partial(self.folder.read, mail.name))
        except FileNotFoundError:
            del self._waiting[mail.name]
            self.log.info("mail {name} was taken away", name=mail.name)
            return
        except OSError as error:
            del self._waiting[mail.name]
            self.log.error(
                "mail {name} cannot be read from {folder}: {why}. When that is put "
                "right, reload portero",
                name=mail.name,
                folder=str(self.folder.path),
                why=error.strerror,
            )
            return
        except ValueError as error:
            await self._give_up(mail, str(error), "...")
            return
        to = outline(envelope.to)
        sending = Deferred.fromCoroutine(self._send(server, envelope))
        sending.addTimeout(
            DELIVER_WITHIN, self._clock, onTimeoutCancel=lambda result, _: result
        )
        try:
            await sending
        except Rejected as error:
            self._server_answers()
            await self._give_up(mail, str(error), to)
        except Postponed as error:
            self._server_answers()
            await self._try_again(mail, str(error), to)
        except Unreachable as error:
            await self._server_fails(server, mail, error, to)
        else:
            self._server_answers()
            await self._done(mail, to)

    def _server_answers(self) -> None:
        self._server_tried, self._server_not_before = 0, 0.0

    async def _server_fails(
        self, server: Server, mail: _Waiting, error: Unreachable, to: str
    ) -> None:
        if not self.running or server != self._server:
            return  # it was broken off, or another one is tried at once
        if self._is_old(mail):
            await self._give_up(mail, str(error), to)
        else:
            self._later(mail)  # another one goes first: perhaps it lies with this one
        wait = _wait(self._server_tried)
        self._server_tried += 1
        self._server_not_before = self._clock.seconds() + wait
        self.log.warn(
            "mail server {host}:{port}: {why}; {count} mails wait, the next try is in "
            "{minutes:.0f} min: {remedy} ([mail])",
            host=server.host,
            port=server.port,
            why=str(error),
            remedy=error.remedy,
            count=len(self._waiting),
            minutes=wait / 60,
        )

    def _is_old(self, mail: _Waiting) -> bool:
        return self._now() - mail.since > GIVE_UP_AFTER

    def _later(self, mail: _Waiting) -> float:
        wait = _wait(mail.tried)
        mail.tried += 1
        mail.not_before = self._clock.seconds() + wait
        return wait

    async def _try_again(self, mail: _Waiting, why: str, to: str) -> None:
        if self._is_old(mail):
            await self._give_up(mail, why, to)
            return
        self.log.warn(
            "mail {name} to {to} is not taken yet: {why}; the next try is in "
            "{minutes:.0f} min",
            name=mail.name,
            to=to,
            why=why,
            minutes=self._later(mail) / 60,
        )

    async def _give_up(self, mail: _Waiting, why: str, to: str) -> None:
        del self._waiting[mail.name]
        aside = "it is now in {folder}"
        try:
            await self._in_thread(partial(self.folder.put_aside, mail.name, why))
        except OSError as error:
            aside = f"it cannot be moved into {{folder}}: {error.strerror}"
        self.log.error(
            "mail {name} to {to} cannot be delivered: {why}; {aside}. When that is put "
            "right, move it back and reload portero",
            name=mail.name,
            to=to,
            why=why,
            aside=aside.format(folder=self.folder.failed),
        )

    async def _done(self, mail: _Waiting, to: str) -> None:
        del self._waiting[mail.name]
        self.log.info("mail {name} to {to} is delivered", name=mail.name, to=to)
        try:
            await self._in_thread(partial(self.folder.remove, mail.name))
        except OSError as error:
            self.log.error(
                "mail {name} was delivered, but cannot be removed from {folder}: "
                "{why}. Remove it, or it is sent again at the next start or reload",
                name=mail.name,
                folder=str(self.folder.path),
                why=error.strerror,
            )


def _wait(tried: int) -> float:
    return float(min(FIRST_WAIT * 2 ** min(tried, 20), LONGEST_WAIT))


def _too_large(size: int) -> None:
    raise CannotKeep(f"it has {size} bytes, more than {LARGEST}")


def _too_many(waiting: int) -> None:
    raise CannotKeep(f"{waiting} mails wait already")

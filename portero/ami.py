"""
Asterisk's manager interface (AMI), for one purpose: to take a caller's channel out of
C{AudioSocket()} where Asterisk is too old to go on in the dialplan by itself.

Each action has a connection of its own: nothing is kept alive or restored, and no
events come.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from twisted.internet import error
from twisted.internet.defer import Deferred, DeferredSemaphore, fail
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import ITransport
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure
from zope.interface import implementer

from portero.interfaces import IPbxControl
from portero.sections import AmiSettings

Answer = dict[str, str]
"""Asterisk's: values by the names of their headers."""
T = TypeVar("T")

WITHIN: Final = 2.0
"""Seconds for all of an action, its turn included. Asterisk takes one to refuse a
login."""
AT_ONCE: Final = 5
"""Connections; the rest wait their turn. Asterisk's queue for new ones is short, and it
drops them when 50 have not logged in yet (C{authlimit})."""
LONGEST: Final = 500
"""Bytes of a value that we send; Asterisk cuts lines at 1024."""
LARGEST: Final = 65536
"""Bytes that may come; most are those of C{ListCommands}, at about 90 a command."""

_BANNER: Final = b"Asterisk Call Manager/"
_TARGET: Final = re.compile(r"([\w-]+),([\w*#+-]+),([\w-]+)", re.ASCII)
_NO_RIGHT: Final = "its user needs write = call in manager.conf"
_REMEDIES: Final = {
    "Authentication failed": "[ami] user and secret must be those of a section of "
    "manager.conf, whose permit and deny must let this machine in",
    "Permission denied": _NO_RIGHT,
    "channel": "the caller has hung up, or the dialplan announced another name",
    "priority": "the dialplan has no such label or number there",
}
"""By a word of Asterisk's message."""
_NO_ANSWER: Final = error.ConnectingCancelledError, error.TimeoutError


class NotDone(Exception):
    """Asterisk did not do it: why, for an operator."""


def message(**headers: str) -> bytes:
    """
    @raise NotDone: A value could begin a header of its own, or is too long; it is not
        quoted, as it may be a secret.
    """
    for name, value in headers.items():
        if not value.isprintable() or len(value.encode()) > LONGEST:
            raise NotDone(
                f"{name} has a control character, or more than {LONGEST} bytes"
            )
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    return "".join([*lines, "\r\n"]).encode()


class Session(LineOnlyReceiver):
    """One connection, on which one thing is asked after another."""

    transport: ITransport
    MAX_LENGTH = 4096

    def __init__(self) -> None:
        self._asked = 0
        self._received = 0
        self._greeted = False
        self._headers: Answer = {}
        self._answer: Deferred[Answer] | None = None
        self._lost = ""

    def ask(self, action: str, **headers: str) -> Deferred[Answer]:
        """
        @return: What Asterisk answers, be it a refusal. Fails with L{NotDone} when the
            connection is lost, or the other side is no AMI.
        @raise NotDone: See L{message}; nothing was sent.
        """
        if self._lost:
            return fail(NotDone(self._lost))
        self._asked += 1
        request = message(Action=action, ActionID=str(self._asked), **headers)
        answer: Deferred[Answer] = Deferred()
        self._answer = answer
        self.transport.write(request)
        return answer

    def leave(self) -> None:
        self.transport.write(message(Action="Logoff"))
        self.transport.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > LARGEST:
            self._give_up("it sends more than any answer has")
        else:
            super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        if not self._greeted:
            self._greeted = line.startswith(_BANNER)
            if not self._greeted:
                self._give_up(f"what answers there is no AMI: {line[:40]!r}")
        elif line:
            name, _, value = line.decode("utf-8", "replace").partition(":")
            self._headers[name] = value.strip()
        else:
            headers, self._headers = self._headers, {}
            # All else is an event, or answers what was asked of nobody.
            if "Response" in headers and headers.get("ActionID") == str(self._asked):
                self._settle(headers)

    def lineLengthExceeded(self, line: bytes) -> None:
        self._give_up(f"what answers there is no AMI: {line[:40]!r}")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._give_up("it closed the connection; Asterisk's own log may say why")

    def _give_up(self, why: str) -> None:
        if not self._lost:
            self._lost = why
            self.transport.loseConnection()
            self._settle(Failure(NotDone(why)))

    def _settle(self, outcome: Answer | Failure) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.callback(outcome)  # a Failure fails it


class _Sessions(Factory):
    protocol = Session
    noisy = False


@implementer(IPbxControl)
class Manager:
    """
    What portero may do to Asterisk: its user in C{manager.conf} needs C{write = call},
    and no C{read}.
    """

    log = Logger()

    def __init__(self, reactor: Any, settings: AmiSettings, secret: str) -> None:
        """@param settings: With a C{host}."""
        self._reactor = reactor
        self._settings = settings
        self._secret = secret
        self._turn = DeferredSemaphore(AT_ONCE)
        self._place = f"{settings.host}:{settings.port}"

    def redirect(self, channel: str, target: str) -> Deferred[bool]:
        """
        When the dialplan has no such target, the caller goes to C{fallback}: Asterisk
        itself would hang up, and call that a success.
        """

        async def go(session: Session) -> bool:
            return await self._go(session, channel, target)

        def failed(failure: Failure) -> bool:
            self.log.error(
                "AMI: channel {channel!r} does not go to {target!r}: {why}",
                channel=channel[:LONGEST],
                target=target,
                why=self._in_words(failure),
            )
            return False

        return self._logged_in(go).addErrback(failed)

    def check(self) -> Deferred[str]:
        """
        Log in, and look whether a L{redirect} could be made.

        @return: Empty, or for an operator why not. It never fails.
        """
        return self._logged_in(self._look).addErrback(self._in_words)

    def verify(self) -> Deferred[None]:
        """L{check} at the start, and log what it found."""

        def told(why: str) -> None:
            if why:
                self.log.warn("AMI: callers cannot be handed over: {why}", why=why)
            else:
                self.log.info("AMI: {place} will redirect callers", place=self._place)

        return self.check().addCallback(told)

    def _logged_in(self, act: Callable[[Session], Awaitable[T]]) -> Deferred[T]:
        doing = Deferred.fromCoroutine(self._in_turn(act))
        return doing.addTimeout(WITHIN, self._reactor)

    async def _in_turn(self, act: Callable[[Session], Awaitable[T]]) -> T:
        if not self._secret:
            raise NotDone("no secret: set [ami] secret_file or PORTERO_AMI_SECRET")
        await self._turn.acquire()
        try:
            return await self._connected(act)
        finally:
            self._turn.release()

    async def _connected(self, act: Callable[[Session], Awaitable[T]]) -> T:
        settings = self._settings
        endpoint = HostnameEndpoint(self._reactor, settings.host, settings.port)
        session: Any = await endpoint.connect(_Sessions())
        try:
            user, secret = settings.user, self._secret
            await _done(session, "Login", Username=user, Secret=secret, Events="off")
            return await act(session)
        finally:
            session.leave()

    async def _go(self, session: Session, channel: str, target: str) -> bool:
        for place in dict.fromkeys((target, self._settings.fallback or target)):
            if not await _exists(session, place, Channel=channel):
                self.log.error("AMI: the dialplan has no {place!r}", place=place)
                continue
            context, extension, priority = place.split(",")
            await _done(
                session,
                "Redirect",
                Channel=channel,
                Context=context,
                Exten=extension,
                Priority=priority,
            )
            self.log.info(
                "AMI: channel {channel} goes to {place}", channel=channel, place=place
            )
            return True
        raise NotDone("there is no such place, and no other in [ami] fallback")

    async def _look(self, session: Session) -> str:
        """A user sees the commands that it may use."""
        if "Redirect" not in await _done(session, "ListCommands"):
            raise NotDone(_NO_RIGHT)
        fallback = self._settings.fallback
        if fallback and not await _exists(session, fallback):
            raise NotDone(f"[ami] fallback: the dialplan has no {fallback}")
        return ""

    def _in_words(self, failure: Failure) -> str:
        if failure.check(NotDone):
            why = str(failure.value)
        elif failure.check(TookTooLong, *_NO_ANSWER):
            why = (
                f"no answer within {WITHIN:.0f} s; does Asterisk run, and does a "
                "firewall let portero through?"
            )
        elif failure.check(error.ConnectionRefusedError):
            why = (
                "nobody listens there; manager.conf needs enabled = yes, and bindaddr "
                "and port as in [ami]"
            )
        elif failure.check(error.ConnectError, error.DNSLookupError):
            why = str(failure.value)
        else:
            self.log.failure("AMI", failure=failure)
            why = "an error in portero"
        return f"{self._place}: {why}"


async def _done(session: Session, action: str, **headers: str) -> Answer:
    """@raise NotDone: Asterisk refused."""
    answer = await session.ask(action, **headers)
    if answer["Response"] != "Error":
        return answer
    words = answer.get("Message", "")
    for word, remedy in _REMEDIES.items():
        if word.lower() in words.lower():
            words = f"{words} ({remedy})"
            break
    raise NotDone(f"Asterisk to {action}: {words}")


async def _exists(session: Session, place: str, **channel: str) -> bool:
    """An Asterisk without func_dialplan answers with an empty value: perhaps."""
    if not _TARGET.fullmatch(place):
        return False
    variable = f"DIALPLAN_EXISTS({place})"
    answer = await _done(session, "Getvar", Variable=variable, **channel)
    return answer.get("Value") != "0"

"""A gate that opens when a URL is asked for: a relay in the local network."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse
from zope.interface import implementer

WITHIN: Final = 5.0
"""Seconds for everything."""


class _Unread(Protocol):
    """What a relay says beside its status is of no interest, and may have no end."""

    def connectionMade(self) -> None:
        cast(ITCPTransport, self.transport).loseConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """As wanted."""


class _QuietPool(HTTPConnectionPool):
    """Agent's factories would log their start and their end."""

    def getConnection(self, key: Any, endpoint: Any) -> Deferred[Any]:
        connecting: Deferred[Any] = super().getConnection(key, _Quiet(endpoint))
        return connecting


@implementer(IStreamClientEndpoint)
class _Quiet:
    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        protocolFactory.noisy = False
        connecting: Deferred[Any] = self._endpoint.connect(protocolFactory)
        return connecting


@dataclass(frozen=True, slots=True)
class Relay:
    """How it is asked. All of it is from the configuration."""

    url: str
    method: str = "POST"
    credentials: bytes = field(default=b"", repr=False)
    """C{USER:PASSWORD}, for basic authentication (RFC 7617); or empty."""

    async def open(self, reactor: Any) -> None:
        """
        Ask once. No redirect is followed: it would lead elsewhere with our request.

        @raise Exception: It did not answer in time with a status 2xx; says why.
        """
        headers = Headers({b"User-Agent": [b"portero"]})
        if self.credentials:
            headers.addRawHeader(
                b"Authorization", b"Basic " + b64encode(self.credentials)
            )
        agent = Agent(reactor, connectTimeout=WITHIN, pool=_QuietPool(reactor, False))
        asking: Deferred[IResponse] = agent.request(
            self.method.encode(), self.url.encode(), headers
        )
        asking.addTimeout(WITHIN, reactor, _late)
        answer = await asking
        answer.deliverBody(_Unread())
        if not 200 <= answer.code < 300:
            raise RelayError(f"answered {answer.code}")


class RelayError(Exception):
    """The relay said no, or nothing."""


def _late(failure: object, within: float) -> NoReturn:
    raise RelayError(f"no answer within {within:g} s")

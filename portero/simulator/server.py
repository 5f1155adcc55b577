"""The demo agent as a service."""

from __future__ import annotations

from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.internet.protocol import Protocol

from portero.simulator.connection import PATH, Connection, Silent
from portero.simulator.knobs import Knobs

MESSAGE_LIMIT = 16 * 1024 * 1024
"""Bytes: one append may hold 15 MiB."""
HANDSHAKE_S, CLOSE_S = 10, 5


class _Factory(WebSocketServerFactory):
    """Builds connections that belong to one simulator."""

    noisy = False

    def __init__(self, owner: Simulator) -> None:
        super().__init__(reactor=owner.clock)
        self._owner = owner
        self.setProtocolOptions(
            openHandshakeTimeout=HANDSHAKE_S,
            closeHandshakeTimeout=CLOSE_S,
            maxFramePayloadSize=MESSAGE_LIMIT,
            maxMessagePayloadSize=MESSAGE_LIMIT,
            webStatus=False,
        )

    def buildProtocol(self, addr: object) -> Protocol:
        if not self._owner.knobs.handshake:
            return Silent(self._owner)
        connection = Connection(self._owner)
        connection.factory = self
        return connection


class Simulator(Service):
    """
    An OpenAI Realtime service in this process: the demo agent, and a partner for tests.

    @ivar url: Where to connect; known once C{startService} has returned.
    @ivar knobs: For connections opened from now on.
    @ivar sessions: The connections that are open, oldest first.
    @ivar opened: How many were accepted since the start.
    @ivar refused: How many handshakes were refused.
    @ivar connections: TCP connections that are open, whatever their state.
    """

    def __init__(
        self,
        reactor: Any,
        knobs: Knobs | None = None,
        *,
        language: str = "en",
        interface: str = "127.0.0.1",
        port: int = 0,
        tls: IOpenSSLContextFactory | None = None,
    ) -> None:
        """
        @param reactor: Provides C{IReactorTime}, C{IReactorTCP} and, for TLS,
            C{IReactorSSL}.
        @param language: C{en} or C{es}, spoken unless a session asks for the other.
        @param port: 0 for any that is free.
        @param tls: With the certificate; the service is C{wss} then.
        """
        self.clock = reactor
        self.knobs = knobs or Knobs()
        self.language = language
        self.url = ""
        self.sessions: list[Connection] = []
        self.opened = 0
        self.refused = 0
        self.connections: set[Connection | Silent] = set()
        self._interface = interface
        self._wanted_port = port
        self._tls = tls
        self._port: Any = None
        self._empty: Deferred[None] | None = None

    def startService(self) -> None:
        """
        Listen at once.

        @raise twisted.internet.error.CannotListenError: The port is taken.
        """
        where = {"interface": self._interface, "backlog": 512}
        if self._tls is None:
            scheme = "ws"
            self._port = self.clock.listenTCP(
                self._wanted_port, _Factory(self), **where
            )
        else:
            scheme = "wss"
            self._port = self.clock.listenSSL(
                self._wanted_port, _Factory(self), self._tls, **where
            )
        host = f"[{self._interface}]" if ":" in self._interface else self._interface
        self.url = f"{scheme}://{host}:{self._port.getHost().port}{PATH}"
        super().startService()

    def stopService(self) -> Deferred[None]:
        """
        Stop listening and drop every connection.

        @return: Fires when nothing is left.
        """
        super().stopService()
        waiting: list[Deferred[Any]] = []
        if self._port is not None:
            waiting.append(self._port.stopListening() or succeed(None))
            self._port = None
        if self.connections:
            self._empty = self._empty or Deferred()
            waiting.append(self._empty)
            for connection in tuple(self.connections):
                connection.transport.abortConnection()
        return gatherResults(waiting).addCallback(lambda _: None)

    def joined(self, connection: Connection | Silent) -> None:
        """A TCP connection is there."""
        self.connections.add(connection)

    def left(self, connection: Connection | Silent) -> None:
        """It is gone."""
        self.connections.discard(connection)
        if not self.connections and self._empty is not None:
            empty, self._empty = self._empty, None
            empty.callback(None)

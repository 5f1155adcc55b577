"""Asking the site through its own HTTP, without a socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.testing import StringTransport
from twisted.web.resource import IResource
from zope.interface import alsoProvides

from portero.web import login, status
from portero.web.access import Access
from portero.web.site import PorteroSite, Root
from portero.web_sections import UserSettings
from tests.test_reception import ReceptionCase

HOST = "Host: 127.0.0.1:8091"
ORIGIN = "Origin: http://127.0.0.1:8091"
JSON = "Content-Type: application/json"
TOKEN = "sesame"


class Threads:
    """Where work goes that takes long: done at once, or when the test says so."""

    def __init__(self) -> None:
        self.held = False
        self.waiting: list[Callable[[], None]] = []
        self.done = 0

    def __call__(self, do: Callable[[], Any]) -> Deferred[Any]:
        if not self.held:
            self.done += 1
            return maybeDeferred(do)
        later: Deferred[Any] = Deferred()

        def go() -> None:
            self.done += 1
            maybeDeferred(do).chainDeferred(later)

        self.waiting.append(go)
        return later

    def go(self) -> None:
        """Do what was begun first."""
        self.waiting.pop(0)()


class WebCase(ReceptionCase):
    """With a bridge beneath it, which has places for two calls."""

    def setUp(self) -> None:
        super().setUp()
        self.bridge.max_calls = 2
        self.threads = Threads()
        self.site = self.make_site()

    def make_site(
        self,
        token: str = "",
        users: Mapping[str, UserSettings] | None = None,
        hosts: tuple[str, ...] = (),
        more: Mapping[str, IResource] | None = None,
    ) -> PorteroSite:
        self.access = Access(self.clock, self.threads, users, token, hosts)
        reception = self.with_token(token)
        children: dict[str, IResource] = {
            **status.resources(self.bridge, reception, self.access, self.lag),
            **(more or {}),
        }
        for path, leaf in login.resources(self.access).items():
            children[f"api/v1/{path}"] = leaf
        self.root = Root(self.access, children)
        site = PorteroSite(self.root, lambda peer: reception.admits(peer, ()))
        # Site's own way to get a clock is to import the reactor.
        cast(Any, site)._reactor = self.clock
        return site

    def lag(self) -> str:
        """That the reactor is late, in words."""
        return ""

    def connect(
        self, peer: str = "127.0.0.1", tls: bool = False
    ) -> tuple[Any, StringTransport]:
        transport = StringTransport(
            hostAddress=IPv4Address("TCP", "127.0.0.1", 8091),
            peerAddress=IPv4Address("TCP", peer, 40000),
        )
        if tls:
            alsoProvides(transport, ISSLTransport)
            cast(Any, transport).setTcpNoDelay = bool
        cast(Any, transport).abortConnection = transport.loseConnection
        # Whether a machine may connect is a question of its own.
        home = IPv4Address("TCP", "127.0.0.1", 40000)
        protocol: Any = self.site.buildProtocol(home)
        protocol.callLater = self.clock.callLater
        protocol.makeConnection(transport)
        return protocol, transport

    def ask(
        self,
        path: str,
        *headers: str,
        method: str = "GET",
        body: bytes = b"",
        peer: str = "127.0.0.1",
        tls: bool = False,
        version: str = "1.1",
    ) -> tuple[int, dict[str, str], str]:
        """
        @param headers: Beside C{Host}, unless there is one among them.
        @return: The status, the header fields in lower case, and the body.
        """
        lines = [f"{method} {path} HTTP/{version}", *headers]
        if not any(line.lower().startswith("host:") for line in headers):
            lines.insert(1, HOST)
        if body and not any(
            "-length" in h.lower() or ": chunked" in h for h in headers
        ):
            lines.append(f"Content-Length: {len(body)}")
        protocol, transport = self.connect(peer, tls)
        protocol.dataReceived("\r\n".join([*lines, "", ""]).encode() + body)
        return self.parse(transport)

    def parse(self, transport: StringTransport) -> tuple[int, dict[str, str], str]:
        """@return: As L{ask}."""
        head, _, text = transport.value().decode().partition("\r\n\r\n")
        status, *fields = head.split("\r\n")
        named: dict[str, str] = {}
        for field in fields:
            name, value = field.split(": ", 1)
            self.assertNotIn(name.lower(), named, "twice")
            named[name.lower()] = value
        if named.get("transfer-encoding") == "chunked":
            self.fail("a short answer has a length")
        return int(status.split()[1]), named, text

    def send(
        self, path: str, value: Any, *headers: str, **more: Any
    ) -> tuple[int, dict[str, str], Any]:
        """
        POST some JSON.

        @return: The status, the header fields in lower case, and what the JSON says.
        """
        body = json.dumps(value).encode()
        if not any(line.lower().startswith("content-type:") for line in headers):
            headers = (JSON, *headers)
        status, fields, text = self.ask(
            path, *headers, method="POST", body=body, **more
        )
        return status, fields, json.loads(text) if text else None

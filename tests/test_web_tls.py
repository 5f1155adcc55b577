"""Tests of the site on real sockets: with TLS, and as a WebSocket that stays."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from typing import Any

from autobahn.twisted.resource import WebSocketResource
from autobahn.twisted.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    WebSocketServerFactory,
    WebSocketServerProtocol,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint, serverFromString, wrapClientTLS
from twisted.internet.ssl import PrivateCertificate, optionsForClientTLS
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.web.client import (
    Agent,
    BrowserLikePolicyForHTTPS,
    FileBodyProducer,
    HTTPConnectionPool,
    readBody,
)
from twisted.web.http_headers import Headers

from portero.endpoints import endpoint_string, exposed
from portero.web import login, site
from portero.web.access import Access
from portero.web.site import PorteroSite, Root
from portero.web_sections import RIGHTS, UserSettings
from tests.smtp_server import certificate
from tests.test_web_passwords import quick

PATIENCE = 0.6
"""For requests, in seconds: a handshake takes some milliseconds of it."""
USERS = {"ana": UserSettings(password=str(quick("open sesame")), rights=RIGHTS)}
clock: Any = reactor


class Echo(WebSocketServerProtocol):
    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)


class Client(WebSocketClientProtocol):
    def onOpen(self) -> None:
        self.factory.opened.callback(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.factory.received.callback(payload)

    def onClose(self, clean: bool, code: int | None, reason: str | None) -> None:
        self.factory.closed.callback(code)


class RealSiteTests(TestCase):
    timeout = 30

    async def listen(self, endpoint: str) -> int:
        """@return: The port."""
        access = Access(clock, lambda do: maybeDeferred(do), USERS)
        factory = WebSocketServerFactory()
        factory.protocol = Echo
        children: dict[str, Any] = {"talk": WebSocketResource(factory)}
        for path, leaf in login.resources(access).items():
            children[f"api/v1/{path}"] = leaf
        root = Root(access, children)
        listening = await serverFromString(clock, endpoint).listen(
            PorteroSite(root, lambda peer: True)
        )
        self.addCleanup(listening.stopListening)
        port: int = listening.getHost().port
        return port

    async def listen_with_tls(self) -> tuple[PrivateCertificate, int]:
        """@return: The certificate to trust, and the port."""
        made = certificate("localhost")
        key, cert = Path(self.mktemp()), Path(self.mktemp())
        private = made.privateKey.original.to_cryptography_key()
        key.write_bytes(
            private.private_bytes(
                Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
            )
        )
        cert.write_bytes(made.dumpPEM().partition(b"-----BEGIN PRIVATE")[0])
        endpoint = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={cert}"
        self.assertEqual(endpoint_string(endpoint), endpoint)
        self.assertFalse(exposed(endpoint))
        self.assertTrue(exposed(endpoint.replace(":interface=127.0.0.1", "")))
        return made, await self.listen(endpoint)

    async def test_a_login_with_tls_has_a_cookie_for_tls_alone(self) -> None:
        made, port = await self.listen_with_tls()
        pool = HTTPConnectionPool(clock, persistent=False)
        agent = Agent(clock, BrowserLikePolicyForHTTPS(made), pool=pool)
        place = f"https://localhost:{port}"

        async def ask(method: bytes, path: str, body: Any = None, **fields: str) -> Any:
            headers = Headers({"content-type": ["application/json"]})
            for name, value in fields.items():
                headers.setRawHeaders(name, [value])
            content = None
            if body is not None:
                content = FileBodyProducer(BytesIO(json.dumps(body).encode()))
            response = await agent.request(
                method, f"{place}{path}".encode(), headers, content
            )
            found = json.loads(await readBody(response))
            return response, found

        given = {"name": "ana", "password": "open sesame"}
        foreign = f"http://localhost:{port}"
        response, _ = await ask(b"POST", "/api/v1/login", given, origin=foreign)
        self.assertEqual(response.code, 403)
        response, _ = await ask(b"POST", "/api/v1/login", given, origin=place)
        self.assertEqual(response.code, 200)
        (cookie,) = response.headers.getRawHeaders("set-cookie")
        self.assertIn("; Secure", cookie)
        _, me = await ask(b"GET", "/api/v1/me", cookie=cookie.partition(";")[0])
        self.assertEqual(me["name"], "ana")

    async def test_a_websocket_outlives_the_patience_for_requests(self) -> None:
        self.patch(site, "WITHIN", PATIENCE)
        for tls in (False, True):
            if tls:
                made, port = await self.listen_with_tls()
            else:
                port = await self.listen("tcp:0:interface=127.0.0.1")
            scheme = "wss" if tls else "ws"
            client: Any = WebSocketClientFactory(
                f"{scheme}://localhost:{port}/talk",
                origin=f"http{'s' * tls}://localhost:{port}",
            )
            client.protocol = Client
            client.opened, client.received, client.closed = (
                Deferred(),
                Deferred(),
                Deferred(),
            )
            endpoint: Any = HostnameEndpoint(clock, "127.0.0.1", port)
            if tls:
                endpoint = wrapClientTLS(
                    optionsForClientTLS("localhost", made), endpoint
                )
            await endpoint.connect(client)
            protocol = await client.opened
            await deferLater(clock, PATIENCE + 0.2)
            protocol.sendMessage(b"still here")
            self.assertEqual(await client.received, b"still here")
            protocol.sendClose(1000)
            self.assertEqual(await client.closed, 1000)

"""The simulator as a service, on real sockets."""

from __future__ import annotations

import datetime
import ipaddress
import json
from base64 import b64encode
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from autobahn.twisted.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    connectWS,
)
from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from portero.audio import level_dbfs, silence, ulaw_encode
from portero.prompts import WORDS, load
from portero.simulator import Connection, Knobs, Simulator
from portero.simulator.persona import tone

Event = dict[str, Any]

QUICK = Knobs(first_delta_s=0.0, speed=200.0)


class Client(WebSocketClientProtocol):
    """Collects what the service sends, and waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[tuple[bytes, bool]] = []
        self.opened: Deferred[Client] = Deferred()
        self.closed: Deferred[int] = Deferred()
        self._taken = 0
        self._waiting: tuple[str, Deferred[Event]] | None = None

    def onOpen(self) -> None:
        self.opened.callback(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.messages.append((payload, isBinary))
        self._look()

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if not self.opened.called:
            self.opened.errback(ConnectionError(reason))
        self.closed.callback(code or 0)

    def until(self, kind: str) -> Deferred[Event]:
        """
        @return: Fires with the next event of this type.
        """
        found: Deferred[Event] = Deferred()
        self._waiting = kind, found
        self._look()
        return found

    def _look(self) -> None:
        while self._waiting is not None and self._taken < len(self.messages):
            kind, found = self._waiting
            event = json.loads(self.messages[self._taken][0])
            self._taken += 1
            if event["type"] == kind:
                self._waiting = None
                found.callback(event)

    def say(self, kind: str, **fields: Any) -> None:
        self.sendMessage(json.dumps({"type": kind, **fields}).encode())

    def agree(self, format: str = "audio/pcmu") -> Deferred[Event]:
        """
        @return: Fires with C{session.updated}.
        """
        audio = {side: {"format": {"type": format}} for side in ("input", "output")}
        self.say("session.update", session={"type": "realtime", "audio": audio})
        return self.until("session.updated")

    def hear(self, pcm: bytes) -> None:
        audio = b64encode(ulaw_encode(pcm)).decode()
        self.say("input_audio_buffer.append", audio=audio)


class RawClient(Protocol):
    """Sends a handshake of its own and keeps the answer's bytes."""

    def __init__(self, request: str) -> None:
        self.answer = b""
        self.closed: Deferred[bytes] = Deferred()
        self._request = request

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._request.encode("ascii"))

    def dataReceived(self, data: bytes) -> None:
        self.answer += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.closed.callback(self.answer)


class ServiceCase(TestCase):
    timeout = 20

    def setUp(self) -> None:
        self.simulator = self.started(Simulator(reactor, QUICK))

    def started(self, simulator: Simulator) -> Simulator:
        simulator.startService()
        self.addCleanup(simulator.stopService)
        return simulator

    def connect(
        self,
        query: str = "?model=gpt-realtime-2.1",
        headers: dict[str, str] | None = None,
        simulator: Simulator | None = None,
        tls: Any = None,
    ) -> Deferred[Client]:
        url = (simulator or self.simulator).url + query
        headers = {"Authorization": "Bearer any"} if headers is None else headers
        factory = WebSocketClientFactory(url, headers=headers, reactor=reactor)
        factory.noisy = False
        factory.setProtocolOptions(
            closeHandshakeTimeout=10, serverConnectionDropTimeout=10
        )
        client = Client()
        client.factory = factory
        self.patch(factory, "buildProtocol", lambda addr: client)
        self.addCleanup(lambda: client.closed)
        self.addCleanup(client.dropConnection, True)
        connectWS(factory, contextFactory=tls)
        return client.opened

    def request(self, head: str) -> Deferred[bytes]:
        """
        @return: Fires with all the service answered, when it has closed.
        """
        parts = urlsplit(self.simulator.url)
        assert parts.port is not None
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", parts.port)
        client = RawClient(head)
        connected: Deferred[Any] = connectProtocol(endpoint, client)
        return connected.addCallback(lambda _: client.closed)

    def handshake(self, path: str, *headers: str) -> Deferred[bytes]:
        return self.request(
            "\r\n".join(
                [
                    f"GET {path} HTTP/1.1",
                    "Host: 127.0.0.1",
                    "Upgrade: websocket",
                    "Connection: Upgrade",
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                    "Sec-WebSocket-Version: 13",
                    *headers,
                    "",
                    "",
                ]
            )
        )

    def live(self) -> Connection:
        (connection,) = self.simulator.sessions
        return connection


def asynchronous(test: Any) -> Any:
    """
    Let trial run a test that is a coroutine.
    """

    def run(self: TestCase) -> Deferred[None]:
        coroutine: Coroutine[Deferred[Any], Any, None] = test(self)
        return Deferred.fromCoroutine(coroutine)

    run.__name__ = test.__name__
    return run


class HandshakeTests(ServiceCase):
    @asynchronous
    async def test_a_client_with_key_and_model_is_let_in(self) -> None:
        client = await self.connect()
        event = await client.until("session.created")
        self.assertEqual(event["session"]["model"], "gpt-realtime-2.1")
        self.assertEqual(self.simulator.opened, 1)
        self.assertEqual(self.live().headers["authorization"], "Bearer any")

    def refused_with(self, answer: bytes, status: int, code: str) -> None:
        head, _, body = answer.partition(b"\r\n\r\n")
        self.assertEqual(int(head.split()[1]), status)
        self.assertEqual(json.loads(body)["error"]["code"], code)
        self.assertEqual(self.simulator.sessions, [])

    @asynchronous
    async def test_a_client_without_a_key_gets_401_and_the_reason(self) -> None:
        answer = await self.handshake("/v1/realtime?model=m")
        self.refused_with(answer, 401, "missing_api_key")
        self.assertEqual(self.simulator.refused, 1)

    @asynchronous
    async def test_a_wrong_key_gets_401(self) -> None:
        self.simulator.knobs = Knobs(key="right")
        answer = await self.handshake(
            "/v1/realtime?model=m", "Authorization: Bearer wrong"
        )
        self.refused_with(answer, 401, "invalid_api_key")
        headers = {"Authorization": "Bearer right"}
        await (await self.connect(headers=headers)).until("session.created")

    @asynchronous
    async def test_another_path_gets_404(self) -> None:
        answer = await self.handshake("/v1/other", "Authorization: Bearer any")
        self.refused_with(answer, 404, "not_found")

    @asynchronous
    async def test_any_refusal_can_be_played(self) -> None:
        for status, code in ((403, "a"), (429, "insufficient_quota"), (500, "b")):
            body = {"error": {"code": code, "message": "No."}}
            self.simulator.knobs = Knobs(refuse=(status, body))
            self.refused_with(await self.handshake("/v1/realtime"), status, code)
        failed = self.connect()
        await self.assertFailure(failed, ConnectionError)

    @asynchronous
    async def test_the_beta_header_is_told_off_and_closed_with_4000(self) -> None:
        headers = {"Authorization": "Bearer any", "OpenAI-Beta": "realtime=v1"}
        client = await self.connect(headers=headers)
        event = await client.until("error")
        self.assertEqual(event["error"]["code"], "beta_api_shape_disabled")
        self.assertEqual(await client.closed, 4000)

    @asynchronous
    async def test_a_missing_model_is_told_off_and_closed_with_4000(self) -> None:
        client = await self.connect(query="")
        event = await client.until("error")
        self.assertEqual(event["error"]["code"], "missing_model")
        self.assertEqual(await client.closed, 4000)

    @asynchronous
    async def test_a_handshake_can_stay_without_answer(self) -> None:
        self.simulator.knobs = Knobs(handshake=False)
        silent = self.handshake("/v1/realtime?model=m", "Authorization: Bearer any")
        while not self.simulator.connections:
            await moment()
        await self.simulator.stopService()
        self.assertEqual(await silent, b"")

    @asynchronous
    async def test_tls_is_served_with_the_certificate_given(self) -> None:
        key, certificate = certificate_for("127.0.0.1")
        simulator = self.started(
            Simulator(reactor, QUICK, tls=ssl.PrivateCertificate.loadPEM(key).options())
        )
        self.assertEqual(urlsplit(simulator.url).scheme, "wss")
        trust = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(certificate)])
        tls = ssl.optionsForClientTLS("127.0.0.1", trustRoot=trust)
        client = await self.connect(simulator=simulator, tls=tls)
        await client.until("session.created")


class CallTests(ServiceCase):
    @asynchronous
    async def test_a_call_is_greeted_and_parroted(self) -> None:
        client = await self.connect()
        await client.agree()
        client.say("response.create")
        done = await client.until("response.done")
        content = done["response"]["output"][0]["content"][0]
        self.assertEqual(content["transcript"], WORDS["en"]["greeting"])
        client.hear(silence(2400) + tone(800) + silence(6400))
        item = (await client.until("response.output_item.added"))["item"]["id"]
        await client.until("response.done")
        self.assertEqual(self.live().audio_ms[item], 800 + 260)

    @asynchronous
    async def test_a_test_can_look_at_everything(self) -> None:
        client = await self.connect()
        await client.agree()
        client.say("response.create")
        item = (await client.until("response.output_item.added"))["item"]["id"]
        await client.until("response.done")
        client.hear(tone(100))
        client.hear(tone(100))
        client.say(
            "conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=9
        )
        await client.until("conversation.item.truncated")
        live = self.live()
        self.assertEqual(live.model, "gpt-realtime-2.1")
        self.assertEqual(
            [event["type"] for event in live.received],
            ["session.update", "response.create", "conversation.item.truncate"],
        )
        self.assertEqual(live.appends, 2)
        self.assertEqual(live.truncations, [(item, 9)])
        self.assertEqual(live.sent_types[:2], ["session.created", "session.updated"])
        rate, heard = live.heard
        self.assertEqual((rate, len(heard)), (8000, 3200))
        self.assertApproximates(level_dbfs(heard), -21.3, 0.3)
        prompt_rate, pcm = load("greeting", "en")
        self.assertApproximates(
            live.audio_ms[item], len(pcm) / 2 / prompt_rate * 1000, 0.2
        )

    @asynchronous
    async def test_a_reply_is_spread_over_time_and_faster_than_speech(self) -> None:
        # All of it takes a second, in which whoever is late still sees the beginning.
        self.simulator.knobs = Knobs(first_delta_s=0.0, reply=((0.0, 8000),))
        client = await self.connect()
        await client.agree()
        client.say("response.create")
        await client.until("response.output_audio.delta")
        self.assertNotIn("response.done", self.live().sent_types)
        await client.until("response.done")

    @asynchronous
    async def test_many_calls_go_on_at_once(self) -> None:
        async def one_call(number: int) -> None:
            client = await self.connect()
            await client.agree()
            client.hear(silence(2400) + tone(500 + 20 * number) + silence(6400))
            item = (await client.until("response.output_item.added"))["item"]["id"]
            await client.until("response.done")
            (live,) = [c for c in self.simulator.sessions if item in c.audio_ms]
            self.assertEqual(live.audio_ms[item], 500 + 20 * number + 260)

        await gatherResults(
            [Deferred.fromCoroutine(one_call(number)) for number in range(20)]
        )
        self.assertEqual(self.simulator.opened, 20)

    @asynchronous
    async def test_a_client_that_leaves_is_forgotten(self) -> None:
        client = await self.connect()
        await client.until("session.created")
        client.say("response.create")
        client.sendClose(1000)
        self.assertEqual(await client.closed, 1000)
        while self.simulator.connections:
            await moment()
        self.assertEqual(self.simulator.sessions, [])

    @asynchronous
    async def test_stopping_drops_everybody(self) -> None:
        clients = [await self.connect() for _ in range(3)]
        clients[0].say("response.create")
        await clients[0].until("response.created")
        await self.simulator.stopService()
        self.assertEqual(self.simulator.connections, set())
        for client in clients:
            await client.closed

    @asynchronous
    async def test_it_can_be_started_again(self) -> None:
        await self.simulator.stopService()
        self.simulator.startService()
        await (await self.connect()).until("session.created")

    @asynchronous
    async def test_what_is_no_json_is_an_error_and_the_call_goes_on(self) -> None:
        client = await self.connect()
        deep = b'{"type":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
        for payload in (b"{", b"\x00\x01", b"NaN", b'{"type": NaN}', b"", deep):
            client.sendMessage(payload)
            error = (await client.until("error"))["error"]
            self.assertEqual(error["code"], "invalid_json")
        client.sendMessage(b"[]")
        error = (await client.until("error"))["error"]
        self.assertEqual(error["code"], "invalid_type")
        await client.agree()


class FaultTests(ServiceCase):
    async def talking(self, **changes: Any) -> Client:
        self.simulator.knobs = replace(QUICK, chunk_ms=100, **changes)
        client = await self.connect()
        await client.agree()
        client.say("response.create")
        return client

    def heard_ms(self, client: Client) -> int:
        events = [json.loads(payload) for payload, _ in client.messages]
        audio = [e for e in events if e["type"] == "response.output_audio.delta"]
        return len(audio) * 100

    @asynchronous
    async def test_it_can_drop_the_line_in_mid_word(self) -> None:
        for how, code in (("abort", 1006), ("fin", 1006), ("close", 1011)):
            client = await self.talking(drop_after_ms=300, drop=how)
            self.assertEqual(await client.closed, code, how)
            if how != "abort":  # RST may overtake what was sent
                self.assertEqual(self.heard_ms(client), 300)

    @asynchronous
    async def test_it_can_drop_the_line_after_a_time(self) -> None:
        self.simulator.knobs = Knobs(drop_after_s=0.01, drop="close")
        client = await self.connect()
        self.assertEqual(await client.closed, 1011)

    @asynchronous
    async def test_it_can_fall_silent(self) -> None:
        client = await self.talking(mute_after_ms=300)
        live = self.live()
        assert live.session is not None
        await client.until("response.created")
        while live.session.due is not None:
            await moment()
        client.say("response.cancel")
        while len(live.received) < 3:
            await moment()
        self.assertEqual(self.heard_ms(client), 300)
        self.assertEqual(live.sent_types[-1], "response.output_audio.delta")

    @asynchronous
    async def test_it_can_stop_reading(self) -> None:
        self.simulator.knobs = Knobs(deaf=True)
        client = await self.connect()
        await client.until("session.created")
        client.say("response.create")
        for _ in range(10):
            await moment()
        self.assertEqual(self.live().received, [])

    @asynchronous
    async def test_a_session_expires_with_1001(self) -> None:
        self.simulator.knobs = Knobs(expires_in_s=0.05)
        client = await self.connect()
        event = await client.until("error")
        self.assertEqual(event["error"]["code"], "session_expired")
        self.assertEqual(await client.closed, 1001)

    @asynchronous
    async def test_any_message_can_be_injected(self) -> None:
        deep = "[" * 200_000
        self.simulator.knobs = Knobs(inject=("no json", b"\x01\x02", deep))
        client = await self.connect()
        await client.agree()
        self.live().send_raw('{"type": "response.done"}')
        while len(client.messages) < 6:
            await moment()
        self.assertEqual(
            client.messages[2:],
            [
                (b"no json", False),
                (b"\x01\x02", True),
                (deep.encode(), False),
                (b'{"type": "response.done"}', False),
            ],
        )

    @asynchronous
    async def test_the_knobs_of_an_open_session_can_be_turned(self) -> None:
        client = await self.connect()
        await client.agree()
        self.live().knobs = replace(self.live().knobs, response_failed="server_error")
        client.say("response.create")
        done = await client.until("response.done")
        self.assertEqual(done["response"]["status"], "failed")


class PromptTests(SynchronousTestCase):
    def test_every_prompt_is_there_in_both_languages(self) -> None:
        self.assertEqual(set(WORDS["en"]), set(WORDS["es"]))
        for language, texts in WORDS.items():
            for name in texts:
                rate, pcm = load(name, language)
                self.assertEqual(rate, 16000)
                self.assertApproximates(level_dbfs(pcm), -21.0, 2.0)

    def test_a_longer_tag_and_an_unknown_language_are_understood(self) -> None:
        self.assertEqual(load("5", "es-MX"), load("5", "es"))
        self.assertEqual(load("5", "tlh"), load("5", "en"))
        self.assertNotEqual(load("5", "es"), load("5", "en"))

    def test_an_unknown_prompt_is_an_error(self) -> None:
        self.assertRaises(FileNotFoundError, load, "weather", "en")


def moment() -> Deferred[None]:
    """
    @return: Fires after the reactor has looked round.
    """
    soon: Deferred[None] = Deferred()
    reactor.callLater(0.01, soon.callback, None)
    return soon


def certificate_for(address: str) -> tuple[bytes, bytes]:
    """
    @return: Key and certificate together, and the certificate alone, as PEM.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "simulator")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    alternative = x509.IPAddress(ipaddress.ip_address(address))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private + pem, pem

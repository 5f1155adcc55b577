"""Tests of L{portero.relay}, against a real server on loopback."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from portero.relay import WITHIN, Relay, RelayError


class RelayServer(Resource):
    """
    A relay with a web page, as they are sold.

    @ivar asked: Of each request: method, path with query, and its Authorization.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str, str | None]] = []
        self.status = 200
        self.endless = False
        self.silent = False

    def render(self, request: Request) -> Any:
        self.asked.append(
            (
                request.method.decode(),
                request.uri.decode(),
                request.getHeader("authorization"),
            )
        )
        if self.silent:
            return NOT_DONE_YET
        request.setResponseCode(self.status)
        if 300 <= self.status < 400:
            request.setHeader("location", "/elsewhere")
        if self.endless:
            request.write(b"<html>")
            return NOT_DONE_YET
        return b"<html>on</html>"


class _Hurried:
    """A reactor of which a second takes a tenth of one, so that nobody waits."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def callLater(self, seconds: float, *rest: Any, **more: Any) -> Any:
        return self._real.callLater(seconds / 10, *rest, **more)


def listen(case: TestCase, server: RelayServer) -> tuple[str, Any]:
    """@return: The URL of it, and its port."""
    at: Any = reactor
    port = at.listenTCP(0, Site(server), interface="127.0.0.1")
    case.addCleanup(port.stopListening)
    return f"http://127.0.0.1:{port.getHost().port}", port


class RelayTests(TestCase):
    def setUp(self) -> None:
        self.server = RelayServer()
        self.url, self.port = listen(self, self.server)

    async def fails(self, relay: Relay) -> Exception:
        try:
            await relay.open(reactor)
        except Exception as error:
            return error
        self.fail("it opened")

    async def test_it_asks_once_as_it_is_told(self) -> None:
        for method in ("POST", "GET", "PUT"):
            await Relay(f"{self.url}/relay/0?turn=on&timer=1", method).open(reactor)
        self.assertEqual(
            self.server.asked,
            [
                ("POST", "/relay/0?turn=on&timer=1", None),
                ("GET", "/relay/0?turn=on&timer=1", None),
                ("PUT", "/relay/0?turn=on&timer=1", None),
            ],
        )

    async def test_its_credentials_are_those_of_the_file(self) -> None:
        await Relay(self.url, credentials=b"Aladdin:open sesame").open(reactor)
        # The example of RFC 7617.
        expected = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
        self.assertEqual(self.server.asked, [("POST", "/", expected)])

    async def test_any_status_of_success_is_one(self) -> None:
        for self.server.status in (200, 202, 204):
            await Relay(self.url).open(reactor)

    async def test_another_is_none_and_no_redirect_is_followed(self) -> None:
        for self.server.status in (302, 307, 401, 404, 500):
            error = await self.fails(Relay(self.url))
            self.assertIsInstance(error, RelayError)
            self.assertEqual(str(error), f"answered {self.server.status}")
        self.assertEqual({uri for _, uri, _ in self.server.asked}, {"/"})

    async def test_an_answer_without_an_end_is_not_waited_for(self) -> None:
        self.server.endless = True
        await Relay(self.url).open(reactor)

    async def test_one_that_takes_the_request_and_says_nothing_is_given_up(
        self,
    ) -> None:
        self.server.silent = True
        clock: Any = reactor
        opening = Deferred.fromCoroutine(Relay(self.url).open(_Hurried(clock)))
        try:
            await opening
        except RelayError as error:
            self.assertEqual(str(error), "no answer within 5 s")
        else:
            self.fail("it opened")
        self.assertEqual(len(self.server.asked), 1)

    async def test_nobody_there_is_an_error(self) -> None:
        await self.port.stopListening()
        error = await self.fails(Relay(self.url))
        self.assertIsInstance(error, ConnectionRefusedError)

    def test_the_password_is_not_shown(self) -> None:
        self.assertNotIn("sesame", repr(Relay("http://a", credentials=b"a:sesame")))


class SilentRelayTests(SynchronousTestCase):
    def test_one_that_does_not_answer_is_given_up(self) -> None:
        memory = MemoryReactorClock()
        opening = Deferred.fromCoroutine(Relay("http://192.0.2.1/on").open(memory))
        clock: Clock = memory
        clock.advance(WITHIN - 0.1)
        self.assertNoResult(opening)
        clock.advance(0.2)
        error = self.failureResultOf(opening, RelayError)
        self.assertEqual(error.getErrorMessage(), "no answer within 5 s")

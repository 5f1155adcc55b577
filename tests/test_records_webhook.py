"""Each record is sent when its call is over, and nothing that is not kept."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import textwrap
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from portero.outbox import folder
from portero.outbox import queue as outbox
from portero.outbox.delivery import Postponed, Rejected, Unreachable
from portero.outbox.queue import GIVE_UP_AFTER
from portero.record_sections import RecordSettings
from portero.records.document import document
from portero.records.webhook import (
    WITHIN,
    Receiver,
    WebhookFolder,
    WebhookQueue,
    by_http,
    servers,
    signature,
)
from portero.webhooks import client
from portero.webhooks.client import Answer
from tests.kept_calls import ID, past

URL = "https://crm.example/calls?key=hidden"
HERE = Receiver(URL, (), "s3cret")
NOW = 1_790_000_000.0


class FakeServer:
    """
    @ivar asked: Of each request: its method, address, headers and body.
    @ivar answer: What it says, or what is raised.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Mapping[str, str], bytes]] = []
        self.answer: Answer | Exception = Answer(204, "No Content", "", b"")

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        within: float,
        *,
        follow: bool = True,
    ) -> Answer:
        assert body is not None and within == WITHIN and not follow
        self.asked.append((method, url, headers, body))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class RequestTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = FakeServer()
        self.deliver = by_http(lambda receiver: self.server, lambda: NOW)

    def send(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.deliver(HERE, b'{"x": 1}'))

    def test_it_is_posted_and_signed(self) -> None:
        self.successResultOf(self.send())
        ((method, url, headers, body),) = self.server.asked
        self.assertEqual((method, url, body), ("POST", URL, b'{"x": 1}'))
        self.assertEqual(headers["Content-Type"], "application/json")
        self.assertEqual(headers["Portero-Timestamp"], "1790000000")
        signed = b'1790000000.{"x": 1}'
        expected = hmac.new(b"s3cret", signed, hashlib.sha256).hexdigest()
        self.assertEqual(headers["Portero-Signature"], f"sha256={expected}")

    def test_the_lines_of_the_page_verify_it(self) -> None:
        page = Path(__file__).parent.parent / "docs" / "records.rst"
        (code,) = re.findall(
            r"code-block:: python\n\n((?: {4}.*\n|\n)+)", page.read_text("utf-8")
        )
        said: dict[str, Any] = {}
        exec(textwrap.dedent(code), said)  # what the page says is tried
        deliver = by_http(lambda receiver: self.server)
        body = b'{"x": 1}'
        self.successResultOf(Deferred.fromCoroutine(deliver(HERE, body)))
        ((_, _, headers, _),) = self.server.asked
        verify = said["is_from_portero"]
        self.assertIs(verify("s3cret", headers, body), True)
        self.assertIs(verify("other", headers, body), False)
        self.assertIs(verify("s3cret", headers, b'{"x": 2}'), False)
        old = {
            "Portero-Timestamp": "1600000000",
            "Portero-Signature": signature("s3cret", "1600000000", body),
        }
        self.assertIs(verify("s3cret", old, body), False)

    def test_answers_say_whether_another_try_may_help(self) -> None:
        for status, kind in (
            (400, Rejected),
            (413, Rejected),
            (422, Rejected),
            (429, Postponed),
            (301, Unreachable),
            (401, Unreachable),
            (404, Unreachable),
            (500, Unreachable),
            (503, Unreachable),
        ):
            phrase = HTTPStatus(status).phrase
            self.server.answer = Answer(status, phrase, "", b"")
            error = self.failureResultOf(self.send(), kind).value
            self.assertIn(f"it answers {status} {phrase}", str(error))

    def test_a_server_that_cannot_be_asked_is_asked_again(self) -> None:
        for problem in (client.Unreachable("no answer"), client.NotSafe("expired")):
            self.server.answer = problem
            error = self.failureResultOf(self.send(), Unreachable).value
            self.assertIn(str(problem), str(error))
            self.assertIn("docs/records.rst", error.remedy)

    def test_one_server_is_made_until_it_is_another(self) -> None:
        server = servers(Clock())
        first = server(HERE)
        self.assertIs(server(Receiver(URL, (), "another secret")), first)
        self.assertIsNot(server(Receiver(URL, ("10.0.0.0/8",))), first)


class QueueTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(os, "fsync", lambda _: None)
        self.clock = Clock()
        self.server = FakeServer()
        self.path = Path(self.mktemp())

    def now(self) -> float:
        return NOW + self.clock.seconds()

    def start(self) -> WebhookQueue:
        """@return: That of another run of the program."""
        queue = WebhookQueue(
            WebhookFolder(str(self.path)),
            self.clock,
            lambda do: maybeDeferred(do),
            by_http(lambda receiver: self.server, self.now),
            self.now,
        )
        queue.use(HERE)
        queue.startService()
        return queue

    def stop(self, queue: WebhookQueue) -> None:
        self.successResultOf(queue.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def files(self) -> list[Path]:
        return sorted(self.path.glob("*.json"))

    def told(self, do: Callable[[], object]) -> list[str]:
        """@return: What the log says."""
        with capturedLogs() as events:
            do()
        return [formatEvent(event) for event in events]

    def test_a_record_is_sent_as_it_is_exported(self) -> None:
        queue = self.start()
        queue.put(past())
        ((_, _, _, body),) = self.server.asked
        self.assertEqual(json.loads(body), document(past()))
        self.assertEqual((self.files(), queue.waiting), ([], 0))
        self.stop(queue)

    def test_it_waits_on_the_disk_over_a_restart(self) -> None:
        self.server.answer = client.Unreachable("connection refused")
        queue = self.start()
        said = self.told(lambda: queue.put(past()))
        self.assertEqual(
            said,
            [
                "webhook crm.example: connection refused; 1 records wait, the next "
                "try is in 5 s: look at its log, and at url and secret "
                "(docs/records.rst) ([records] webhook)"
            ],
        )
        self.stop(queue)
        (path,) = self.files()
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.server.answer = Answer(200, "OK", "", b"")
        queue = self.start()
        self.assertEqual(len(self.server.asked), 2)
        self.assertEqual((self.files(), queue.lost), ([], 0))
        self.stop(queue)

    def test_it_is_tried_again_and_signed_anew(self) -> None:
        self.server.answer = Answer(500, "Oops", "", b"")
        queue = self.start()
        queue.put(past())
        for wait in (5, 10, 20):
            self.clock.advance(wait)
        stamps = [
            headers["Portero-Timestamp"] for _, _, headers, _ in self.server.asked
        ]
        self.assertEqual(stamps, [str(1_790_000_000 + n) for n in (0, 5, 15, 35)])
        _, _, headers, body = self.server.asked[-1]
        expected = signature("s3cret", stamps[-1], body)
        self.assertEqual(headers["Portero-Signature"], expected)
        self.stop(queue)

    def test_one_that_is_refused_is_put_aside_and_the_next_goes_on(self) -> None:
        self.server.answer = Answer(422, "Unprocessable Entity", "", b"")
        queue = self.start()
        said = self.told(lambda: queue.put(past()))
        self.assertIn("to the webhook cannot be delivered: it answers 422", said[-1])
        self.assertEqual(queue.lost, 1)
        (aside,) = (self.path / "failed").glob("*.json")
        self.assertEqual(json.loads(aside.read_bytes())["call"]["id"], ID)
        self.server.answer = Answer(204, "", "", b"")
        queue.put(past("next"))
        self.clock.advance(0)
        self.assertEqual(len(self.server.asked), 2)
        self.stop(queue)

    def test_after_days_it_is_given_up(self) -> None:
        self.server.answer = client.Unreachable("no answer")
        queue = self.start()
        queue.put(past())
        self.clock.advance(GIVE_UP_AFTER + 1)
        self.assertEqual((queue.waiting, queue.lost), (0, 1))
        self.stop(queue)

    def test_there_are_only_so_many(self) -> None:
        self.patch(folder, "MOST", 3)
        self.patch(outbox, "MOST", 3)
        self.server.answer = client.Unreachable("no answer")
        queue = self.start()
        for number in range(4):
            queue.put(past(str(number)))
        (said,) = self.told(lambda: queue.put(past("last")))
        self.assertEqual((queue.waiting, queue.lost), (3, 2))
        self.assertIn("3 records wait already; it is not sent", said)
        self.stop(queue)

    def test_neither_address_nor_secret_is_logged(self) -> None:
        self.server.answer = Answer(401, "Unauthorized", "", b"")
        queue = self.start()
        said = "\n".join(self.told(lambda: queue.put(past())))
        self.assertIn("crm.example", said)
        for secret in ("hidden", "s3cret", "sha256"):
            self.assertNotIn(secret, said)
        self.assertNotIn("s3cret", repr(HERE))
        self.stop(queue)

    def test_what_is_none_of_ours_is_not_sent(self) -> None:
        self.path.mkdir()
        (self.path / "1-a.json").write_text('{"call": 3}')
        queue = self.start()
        self.assertEqual(self.server.asked, [])
        self.assertEqual(len(list((self.path / "failed").glob("*.json"))), 1)
        self.stop(queue)

    def test_who_gets_them_is_what_the_settings_say(self) -> None:
        settings = RecordSettings(webhook=URL, webhook_allow=("10.0.0.0/8",))
        receiver = Receiver.of(settings, "x")
        self.assertEqual(receiver, Receiver(URL, ("10.0.0.0/8",), "x"))
        self.assertEqual(receiver.host, "crm.example")

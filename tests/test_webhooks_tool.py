"""Tests of L{portero.webhooks.tool}: what is asked, tried again, and told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from portero.errors import ConfigError
from portero.facts import Facts
from portero.interfaces import ICallControl, ITool, Said
from portero.tool_sections import WebhookSettings
from portero.toolbox import Toolbox
from portero.webhooks import answers
from portero.webhooks.client import Answer, NotSafe, Unreachable
from portero.webhooks.tool import NOT_ASKED, NOT_KNOWN, NOT_REACHED, Webhook, make
from tests.hostile import ARGUMENTS
from tests.test_webhooks_client import Host, NetCase, reactor

JSON: Final = "application/json"
FACTS: Final = Facts(
    caller_name="José Ruiz",
    caller_number="+34600111222",
    called_number="200",
    variables={"flat": "3B"},
)
TOKEN: Final = "s3cr3t-token"


@implementer(ICallControl)
class FakeCall:
    call_id = "call-1"
    agent = "reception"

    def __init__(self, facts: Facts = FACTS) -> None:
        self.facts = facts

    def said(self) -> tuple[Said, ...]:
        return ()

    def __getattr__(self, name: str) -> Any:
        """A webhook does nothing to its call."""
        raise AttributeError(name)


class FakeServer:
    """Answers, or raises, what the test says, one after the other."""

    def __init__(self, clock: Clock, *outcomes: Answer | Exception) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes | None, float]] = []
        self.takes = 0.0
        self._clock = clock
        self._outcomes = list(outcomes)

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        within: float,
    ) -> Answer:
        self.asked.append((method, url, dict(headers), body, within))
        if self.takes:
            wait: Deferred[None] = Deferred()
            self._clock.callLater(min(self.takes, within), wait.callback, None)
            await wait
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def ok(content: bytes = b'{"status": "sent"}', kind: str = JSON) -> Answer:
    return Answer(200, "OK", kind, content)


BUSY: Final = Answer(503, "Busy", "text/html", b"<h1>busy</h1>")
GONE: Final = Unreachable("the connection ended without an answer")


class WebhookCase(SynchronousTestCase):
    def made(self, *outcomes: Answer | Exception, **settings: Any) -> Webhook:
        given = {
            "description": "Says where an order is",
            "parameters": {"order": "The number of the order"},
            "url": "https://shop.example/orders/{order}",
            "method": "GET",
            **settings,
        }
        self.clock = Clock()
        self.server = FakeServer(self.clock, *outcomes)
        return Webhook(
            "order_status",
            WebhookSettings(**given),
            self.server,
            self.clock,
            token=TOKEN,
            variables={"shop": "Madrid", "flat": "unknown"},
        )

    def run_with(
        self, tool: Webhook, arguments: Mapping[str, Any], facts: Facts = FACTS
    ) -> Deferred[str]:
        call: Any = FakeCall(facts)
        return Deferred.fromCoroutine(tool.run(call, arguments))

    def told(self, *outcomes: Answer | Exception, **settings: Any) -> str:
        running = self.run_with(self.made(*outcomes, **settings), {"order": "4711"})
        return self.successResultOf(running)


class RequestTests(WebhookCase):
    def test_it_is_a_tool(self) -> None:
        tool = self.made()
        verifyObject(ITool, tool)
        self.assertEqual(tool.parameters["required"], ["order"])

    def test_a_get_has_its_parameters_in_the_address(self) -> None:
        self.told(ok(), headers={"X-Caller": "{caller_name}, {flat}, {shop}"})
        ((method, url, headers, body, within),) = self.server.asked
        self.assertEqual((method, url), ("GET", "https://shop.example/orders/4711"))
        self.assertEqual(
            headers,
            {"X-Caller": "Jose Ruiz, 3B, Madrid", "Authorization": f"Bearer {TOKEN}"},
        )
        self.assertIsNone(body)
        self.assertEqual(within, 5.0)

    def test_a_post_tells_all_that_is_known(self) -> None:
        self.told(ok(), method="POST", url="https://shop.example/")
        ((_, _, headers, body, _),) = self.server.asked
        self.assertEqual(headers["Content-Type"], JSON)
        self.assertEqual(
            json.loads(body or b""),
            {
                "arguments": {"order": "4711"},
                "call": {
                    "call_id": "call-1",
                    "agent": "reception",
                    "caller_name": "José Ruiz",
                    "caller_number": "+34600111222",
                    "called_number": "200",
                    "variables": {"flat": "3B", "shop": "Madrid"},
                },
            },
        )

    def test_a_body_of_ones_own_has_values_in_its_places(self) -> None:
        self.told(
            ok(),
            method="PUT",
            url="https://shop.example/",
            body='{"id": {order}, "note": "from {caller_number}, flat {flat}"}',
            headers={"content-type": "application/vnd.shop+json"},
        )
        ((_, _, headers, body, _),) = self.server.asked
        self.assertNotIn("Content-Type", headers)
        expected = {"id": "4711", "note": "from +34600111222, flat 3B"}
        self.assertEqual(json.loads(body or b""), expected)

    def test_what_the_agent_says_is_never_what_is_known_of_the_call(self) -> None:
        tool = self.made(ok(), url="https://shop.example/{caller_number}?{order}")
        self.run_with(tool, {"order": "1", "caller_number": "112", "flat": "9Z"})
        ((_, url, *_),) = self.server.asked
        self.assertEqual(url, "https://shop.example/%2B34600111222?1")

    def test_hostile_arguments_are_values_or_are_refused(self) -> None:
        settings: dict[str, Any] = {
            "method": "PUT",
            "url": "https://shop.example/orders/{order}/note?by={order}",
            "headers": {"X-Call": "{call_id}"},
            "body": '{"order": {order}, "text": "{order}"}',
        }
        sent = 0
        for value in ARGUMENTS:
            tool = self.made(ok(), **settings)
            told = self.successResultOf(self.run_with(tool, {"order": value}))
            if not self.server.asked:
                self.assertIn("error: order ", told)
                continue
            sent += 1
            ((_, url, headers, body, _),) = self.server.asked
            self.assertRegex(
                url, r"\Ahttps://shop\.example/orders/[^/?#]+/note\?by=[^&=?#/]+\Z"
            )
            self.assertEqual(headers["X-Call"], "call-1")
            self.assertEqual(len(headers), 3)
            self.assertEqual(json.loads(body or b""), {"order": value, "text": value})
        self.assertGreater(sent, 100)

    def test_a_caller_that_hides_its_number_has_no_place_in_a_path(self) -> None:
        tool = self.made(url="https://shop.example/{caller_number}")
        told = self.successResultOf(self.run_with(tool, {}, Facts()))
        self.assertEqual(told, "error: caller_number is missing")
        self.assertEqual(self.server.asked, [])


class MakeTests(SynchronousTestCase):
    def test_a_host_that_cannot_be_is_a_mistake_of_the_configuration(self) -> None:
        settings = WebhookSettings(description="d", url="https://xn--a.example/")
        with self.assertRaises(ConfigError) as caught:
            make("ask", settings, Clock())
        self.assertIn("[webhooks.ask] url has a host", str(caught.exception))


class AnswerTests(WebhookCase):
    def test_a_part_of_the_answer_is_told(self) -> None:
        self.assertEqual(self.told(ok(), answer="status"), "sent")
        self.assertEqual(self.told(ok()), '{"status": "sent"}')
        self.assertEqual(self.told(ok(b"", "")), "done")

    def test_an_answer_that_is_not_as_it_should_be_is_told(self) -> None:
        for answer in (ok(b"<html>"), ok(b"{}"), ok(b"[" * 99999), ok(b"")):
            with capturedLogs() as events:
                told = self.told(answer, answer="status")
            self.assertIn("error: the server's answer cannot be used", told)
            warning = str(events[-1]["log_format"]).format(**events[-1])
            self.assertIn("see answer in [webhooks.order_status]", warning)

    def test_an_error_of_the_server_is_told_with_its_words(self) -> None:
        answer = Answer(404, "Nope", JSON, b'{"error": "no such order"}')
        self.assertEqual(
            self.told(answer),
            'error: the server answered 404 Not Found: {"error": "no such order"}',
        )
        answer = Answer(799, "Odd", "", b"")
        self.assertEqual(self.told(answer), "error: the server answered 799 Odd")


class TryTests(WebhookCase):
    def tried(self, *outcomes: Answer | Exception, **settings: Any) -> str:
        tool = self.made(*outcomes, **settings)
        running = self.run_with(tool, {"order": "1"})
        self.clock.pump([0.1] * 60)
        return self.successResultOf(running)

    def test_what_can_be_done_twice_is_tried_again(self) -> None:
        for method in ("GET", "PUT", "DELETE"):
            for first in (GONE, BUSY):
                told = self.tried(first, ok(), method=method)
                self.assertEqual(told, '{"status": "sent"}')
                self.assertEqual(len(self.server.asked), 2)

    def test_what_cannot_is_not(self) -> None:
        for method in ("POST", "PATCH"):
            self.assertEqual(self.tried(GONE, ok(), method=method), NOT_KNOWN)
            self.assertIn("503", self.tried(BUSY, ok(), method=method))
            self.assertEqual(len(self.server.asked), 1)

    def test_there_is_a_last_try(self) -> None:
        self.assertEqual(self.tried(GONE, GONE, GONE, ok(), retries=2), NOT_REACHED)
        self.assertEqual(len(self.server.asked), 3)
        self.assertIn("503 Service Unavailable: busy", self.tried(BUSY, BUSY))
        self.tried(GONE, ok(), retries=0)
        self.assertEqual(len(self.server.asked), 1)

    def test_an_answer_that_means_no_is_taken(self) -> None:
        for status in (400, 401, 404, 409, 429, 500, 501):
            self.tried(Answer(status, "", "", b""), ok(), retries=5)
            self.assertEqual(len(self.server.asked), 1)

    def test_each_pause_is_longer(self) -> None:
        tool = self.made(*[GONE] * 4, retries=3)
        running = self.run_with(tool, {"order": "1"})
        for pause, tries in ((0.19, 1), (0.02, 2), (0.38, 2), (0.03, 3), (0.7, 3)):
            self.clock.advance(pause)
            self.assertEqual(len(self.server.asked), tries)
        self.clock.advance(0.2)
        self.assertEqual(self.successResultOf(running), NOT_REACHED)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_all_tries_end_with_the_time_of_the_tool(self) -> None:
        tool = self.made(*[GONE] * 9, retries=5, timeout=4.0)
        self.server.takes = 60.0
        running = self.run_with(tool, {"order": "1"})
        self.clock.pump([0.1] * 110)
        self.assertEqual(self.successResultOf(running), NOT_REACHED)
        first, second, last = [within for *_, within in self.server.asked]
        self.assertEqual((first, second), (4.0, 4.0))
        # What is left after both and their pauses, to the tick of this clock.
        self.assertApproximates(last, 10.0 - 8.6, 0.35)

    def test_what_is_not_safe_is_not_tried_again(self) -> None:
        told = self.tried(NotSafe("its certificate is for another name"), retries=5)
        self.assertEqual(told, NOT_ASKED)
        self.assertEqual(len(self.server.asked), 1)


class LogTests(WebhookCase):
    def test_a_line_says_why_and_holds_no_secret_and_no_argument(self) -> None:
        for outcomes in ((GONE, GONE), (BUSY, ok()), (NotSafe("it redirects"),)):
            tool = self.made(*outcomes)
            with capturedLogs() as events:
                self.run_with(tool, {"order": "TOP-4711"})
                self.clock.advance(1)
            lines = [str(event["log_format"]).format(**event) for event in events]
            self.assertTrue(lines)
            for line in [*lines, repr(events)]:
                self.assertNotIn(TOKEN, line)
                self.assertNotIn("4711", line)
                self.assertNotIn("600111222", line)
        self.assertIn(
            "call call-1: webhook order_status: GET https://shop.example failed: it "
            "redirects (tries: 1)",
            lines,
        )


class RealServerTests(NetCase):
    """The whole of it, through the toolbox, on a real socket."""

    async def told(self, do: Any, path: str = "{order}", **settings: Any) -> str:
        self.site = self.serve(do)
        given: dict[str, Any] = {
            "description": "d",
            "parameters": {"order": "o"},
            "url": f"http://127.0.0.1:{self.port}/{path}",
            "method": "GET",
            "allow": ("127.0.0.1/32",),
            "timeout": 0.5,
            **settings,
        }
        tool = make("ask", WebhookSettings(**given), reactor, token=TOKEN)
        call: Any = FakeCall()
        toolbox = Toolbox([tool], reactor, 10.0)
        return await toolbox.run(call, "ask", {"order": "47 11"})

    async def test_it_asks_and_tells(self) -> None:
        told = await self.told(
            lambda host: host.ok(b'{"a": {"b": "sent"}}', f"Content-Type: {JSON}"),
            answer="a.b",
        )
        self.assertEqual(told, "sent")
        head = self.site.requests[0].split(b"\r\n")
        self.assertEqual(head[0], b"GET /47%2011 HTTP/1.1")
        self.assertIn(b"Authorization: Bearer s3cr3t-token", head)

    async def test_a_server_that_closes_is_asked_twice(self) -> None:
        self.assertEqual(await self.told(Host.end), NOT_REACHED)
        self.assertEqual(len(self.site.requests), 2)

    async def test_a_server_that_is_slow_is_given_up(self) -> None:
        self.assertEqual(await self.told(lambda host: None, retries=0), NOT_REACHED)

    async def test_five_megabytes_become_four_thousand_characters(self) -> None:
        told = await self.told(lambda host: host.ok(b"word " * 1_000_000))
        self.assertEqual(len(told), answers.MOST_CHARACTERS)
        self.assertTrue(told.startswith("word word"))

    async def test_a_page_is_read_as_words(self) -> None:
        page = b"<html><body><h1>Open</h1><script>x()</script> today</body></html>"
        told = await self.told(lambda host: host.ok(page, "Content-Type: text/html"))
        self.assertEqual(told.split(), ["Open", "today"])

    async def test_a_server_that_sends_elsewhere_is_not_followed(self) -> None:
        def do(host: Host) -> None:
            host.say(
                "HTTP/1.1 302 Found",
                "Location: http://169.254.169.254/latest/",
                "Content-Length: 0",
            )

        self.assertEqual(await self.told(do), NOT_ASKED)

    async def test_a_private_address_that_is_not_allowed_is_not_asked(self) -> None:
        for given in ({"allow": ()}, {"allow": ("10.0.0.0/8",)}):
            self.assertEqual(await self.told(Host.ok, **given), NOT_ASKED)
            self.assertEqual(self.site.hosts, [])

    async def test_hostile_arguments_make_one_request_line(self) -> None:
        self.site = self.serve(Host.ok)
        settings = WebhookSettings(
            description="d",
            parameters={"order": "o"},
            url=f"http://127.0.0.1:{self.port}/orders/{{order}}/x?q={{order}}",
            method="PUT",
            headers={"X-Caller": "{caller_name}"},
            body='{"order": {order}}',
            allow=("127.0.0.1/32",),
        )
        tool = make("ask", settings, reactor, token=TOKEN)
        for value in ARGUMENTS:
            before = len(self.site.requests)
            call: Any = FakeCall(Facts(caller_name=value))
            await tool.run(call, {"order": value})
            for request in self.site.requests[before:]:
                head, _, body = request.partition(b"\r\n\r\n")
                first, *lines = head.split(b"\r\n")
                self.assertRegex(
                    first, rb"\APUT /orders/[^/? ]+/x\?q=[^&=? ]+ HTTP/1\.1\Z"
                )
                names = sorted(line.split(b":")[0].lower() for line in lines)
                self.assertEqual(
                    names,
                    sorted(
                        b"authorization connection content-length content-type host "
                        b"user-agent x-caller".split()
                    ),
                )
                self.assertIn(f"Host: 127.0.0.1:{self.port}".encode(), lines)
                self.assertEqual(json.loads(body), {"order": value})
            self.assertLessEqual(len(self.site.requests), before + 1)
        self.assertGreater(len(self.site.requests), 100)

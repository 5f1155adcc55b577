"""Agents send mail: to the office, or to an address that the caller agreed to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from portero.config import Config
from portero.facts import Facts
from portero.interfaces import ITool, Said
from portero.outbox.folder import CannotKeep
from portero.sections import AgentSettings
from portero.tool_sections import MailSettings
from portero.toolbox import Toolbox
from portero.tools import request_transcript, send_email_summary
from portero.tools._maildesk import MOST_PER_CALL, NOT_NOW, MailDesk
from tests.fake_call import FakeControl
from tests.test_mail_address import HOSTILE

NOW = datetime(2026, 11, 21, 17, 5, 2, tzinfo=UTC)
MAIL = MailSettings(server="mail.example", sender="portero@acme.example")
TO = "juan@x.example"


class FakeQueue:
    """
    @ivar sent: Mails, in their order.
    @ivar full: It takes none.
    """

    def __init__(self) -> None:
        self.sent: list[EmailMessage] = []
        self.full = False

    def ready(self) -> Deferred[None]:
        return fail(CannotKeep("the disk is full")) if self.full else succeed(None)

    def put(self, message: EmailMessage) -> Deferred[None]:
        if not self.full:
            self.sent.append(message)
        return self.ready()


class MailCase(SynchronousTestCase):
    kind: Any = send_email_summary.Tool
    rest: Mapping[str, Any] = {"summary": "He wants a quote."}

    def setUp(self) -> None:
        self.queue: Any = FakeQueue()
        facts = Facts(caller_name="Juan", caller_number="+34911234567")
        self.call = FakeControl(facts=facts)
        self.make()

    def make(self, **agent: Any) -> None:
        """A tool of such an agent."""
        settings = AgentSettings(**agent)
        desk = MailDesk(self.kind.name, settings, MAIL.sender, self.queue, lambda: NOW)
        self.tool = self.kind(desk)

    def ask(self, **arguments: Any) -> str:
        running = Deferred.fromCoroutine(
            self.tool.run(self.call, {**self.rest, **arguments})
        )
        return str(self.successResultOf(running))

    def caller_speaks(self) -> None:
        self.call.caller_turns += 1

    def agreed(self, **arguments: Any) -> str:
        """@return: The answer, once the caller has agreed."""
        self.ask(to=TO, **arguments)
        self.caller_speaks()
        return self.ask(to=TO, confirmed=True, **arguments)

    def hang_up(self) -> None:
        promises, self.call.promises = self.call.promises, []
        for promise in promises:
            promise()

    def sent_to(self) -> list[str]:
        self.hang_up()
        return [str(message["To"]) for message in self.queue.sent]


class AddressTests(MailCase):
    def test_it_is_a_tool(self) -> None:
        self.assertTrue(verifyObject(ITool, self.tool))

    def test_a_fixed_address_is_not_the_models_to_choose(self) -> None:
        self.make(mail_to="office@acme.example")
        names = self.tool.parameters["properties"]
        self.assertEqual(names.keys() & {"to", "confirmed"}, set())
        self.assertNotIn("office@", f"{self.tool.description}{self.tool.parameters}")
        self.ask(to=TO, confirmed=True)
        self.assertEqual(self.sent_to(), ["office@acme.example"])

    def test_the_caller_has_to_agree_to_another(self) -> None:
        answer = self.ask(to=TO)
        self.assertIn("j u a n at x dot example", answer)
        self.assertIn(f"call {self.kind.name} again", answer)
        self.assertEqual(self.sent_to(), [])
        self.caller_speaks()
        self.assertIn("by mail", self.ask(to=TO, confirmed=True))
        self.assertEqual(self.sent_to(), [TO])

    def test_that_the_model_says_so_is_not_enough(self) -> None:
        for _ in range(3):
            self.assertIn("Nothing is sent yet", self.ask(to=TO, confirmed=True))
        self.caller_speaks()
        self.assertIn(
            "Nothing is sent yet", self.ask(to="eve@x.example", confirmed=True)
        )
        self.assertEqual(self.sent_to(), [])

    def test_agreeing_is_good_for_one_call_and_one_address(self) -> None:
        self.ask(to=TO)
        self.caller_speaks()
        self.call, other = FakeControl("call-2"), self.call
        self.call.caller_turns = other.caller_turns
        self.assertIn("Nothing is sent yet", self.ask(to=TO, confirmed=True))
        self.assertEqual(self.sent_to(), [])

    def test_the_log_has_neither_the_address_nor_the_text(self) -> None:
        toolbox = Toolbox([self.tool], Clock(), 10.0)
        said = []
        for turn in range(2):
            self.caller_speaks()
            given = {**self.rest, "to": TO, "confirmed": bool(turn)}
            with capturedLogs() as events:
                running = toolbox.run(self.call, self.kind.name, given)
            self.assertFalse(self.successResultOf(running).startswith("error"))
            said += [formatEvent(event) for event in events]
        self.assertEqual(self.sent_to(), [TO])
        self.assertEqual(len(said), 2)
        for line in said:
            self.assertIn(self.kind.name, line)
            for word in ("juan", "quote", "j u a n"):
                self.assertNotIn(word, line)

    def test_no_hostile_address_is_asked_about(self) -> None:
        for text in (*HOSTILE, None, 5, [TO], {"to": TO}, [TO, "eve@x.example"]):
            for _ in range(2):
                self.assertTrue(
                    self.ask(to=text, confirmed=True).startswith("error: to "),
                    repr(text)[:80],
                )
                self.caller_speaks()
        self.assertEqual(self.sent_to(), [])


class TranscriptAddressTests(AddressTests):
    kind = request_transcript.Tool
    rest: Mapping[str, Any] = {}


class SummaryTests(MailCase):
    @given(st.lists(st.tuples(st.text() | st.just(TO), st.booleans(), st.booleans())))
    def test_whatever_comes_only_what_was_agreed_to_gets_mail(
        self, asked: list[tuple[str, bool, bool]]
    ) -> None:
        self.setUp()
        for to, confirmed, speaks in asked:
            self.ask(to=to, confirmed=confirmed)
            self.call.caller_turns += speaks
        self.assertLessEqual(set(self.sent_to()), {TO})
        if not any(speaks for *_, speaks in asked):
            self.assertEqual(self.sent_to(), [])

    def test_the_mail_has_what_the_model_wrote_and_what_is_known(self) -> None:
        self.make(company_name="Acme", time_zone="Europe/Madrid")
        self.call.lasts = 62.0
        self.agreed(subject="A quote")
        (message,) = self.queue.sent
        self.assertEqual(message["Subject"], "A quote")
        self.assertEqual(message["From"], "Acme <portero@acme.example>")
        body = message.get_body(("plain",)).get_content()
        for part in (
            *("He wants a quote.", "Juan +34911234567", "1:02 min", "reception"),
            "2026-11-21 18:04 CET",
        ):
            self.assertIn(part, body)

    def test_it_is_sent_before_the_call_ends(self) -> None:
        self.agreed()
        self.assertEqual((len(self.queue.sent), self.call.promises), (1, []))

    def test_of_nothing_there_is_no_summary(self) -> None:
        self.make(mail_to=TO)
        for text in ("", " \n"):
            self.assertEqual(self.ask(summary=text), "error: summary is empty")

    def test_a_caller_fills_nobodys_mailbox(self) -> None:
        for _ in range(MOST_PER_CALL):
            self.assertIn("on its way", self.agreed())
        self.assertIn("no more", self.agreed())
        self.assertEqual(len(self.queue.sent), MOST_PER_CALL)

    def test_the_model_is_told_when_it_cannot_be_sent(self) -> None:
        self.queue.full = True
        for _ in range(MOST_PER_CALL + 1):
            self.assertEqual(self.agreed(), NOT_NOW)
        self.queue.full = False
        self.assertIn("on its way", self.agreed())

    def test_it_is_made_of_the_configuration(self) -> None:
        tool = self.kind.with_mail(
            AgentSettings(mail_to=TO), Config(mail=MAIL), self.queue
        )
        self.tool = tool
        self.ask()
        self.assertEqual(self.sent_to(), [TO])
        self.assertEqual(self.queue.sent[0]["From"], MAIL.sender)


class TranscriptTests(MailCase):
    kind = request_transcript.Tool
    rest: Mapping[str, Any] = {}

    def test_the_whole_call_is_in_it(self) -> None:
        self.call.words = (Said("user", "Send me this."),)
        self.assertIn("when the call is over", self.agreed())
        self.assertEqual(self.queue.sent, [])
        self.call.words += (Said("assistant", "Goodbye."),)
        self.call.lasts = 125.0
        self.hang_up()
        (message,) = self.queue.sent
        body = message.get_body(("plain",)).get_content()
        self.assertIn("Caller: Send me this.\n\nAgent: Goodbye.", body)
        self.assertIn("2:05 min", body)
        self.assertEqual(message["Subject"], "Transcript of a telephone call")

    def test_twice_asked_for_is_once_sent(self) -> None:
        self.agreed()
        for _ in range(MOST_PER_CALL):
            self.assertIn("promised already", self.agreed())
        self.assertEqual(self.sent_to(), [TO])

    def test_it_is_not_promised_when_it_could_not_be_sent(self) -> None:
        self.queue.full = True
        self.assertEqual(self.agreed(), NOT_NOW)
        self.assertEqual(self.call.promises, [])

    def test_a_promise_that_cannot_be_kept_is_logged(self) -> None:
        self.agreed()
        self.queue.full = True
        self.hang_up()
        (error,) = self.flushLoggedErrors(CannotKeep)
        self.assertIn("the disk is full", str(error))

"""The queue: what is in it is delivered, or somebody is told why not."""

from __future__ import annotations

import os
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from portero.config import Config
from portero.mail.folder import Envelope, MailFolder
from portero.mail.queue import MailQueue, Server, by_smtp
from portero.outbox.delivery import Postponed, Rejected, Unreachable
from portero.outbox.folder import LARGEST, MOST, CannotKeep
from portero.outbox.queue import (
    DELIVER_WITHIN,
    FIRST_WAIT,
    GIVE_UP_AFTER,
    LONGEST_WAIT,
    STOP_WITHIN,
)
from portero.sections import AgentSettings
from portero.tool_sections import MailSettings
from portero.tools.request_transcript import Tool
from tests.fake_call import Story
from tests.smtp_server import MailServer, certificate

SERVER = Server("mail.example", 587, password="secret word")
DOWN = Unreachable("connection refused", "check server")


def letter(subject: str = "Hi", body: str = "Hello.") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"] = "p@acme.example", "juan@x.example"
    message["Subject"] = subject
    message.set_content(body)
    return message


class QueueCase(SynchronousTestCase):
    """
    @ivar tries: Of each attempt: the server, the mail, and what a test says of it.
    @ivar answer: What is said at once of those that come; L{None}: a test says it.
    """

    def setUp(self) -> None:
        # Thousands of them take seconds; that it is done, another test sees.
        self.patch(os, "fsync", lambda _: None)
        self.clock = Clock()
        self.wall = 1_790_000_000.0
        self.path = Path(self.mktemp())
        self.tries: list[tuple[Server, Envelope, Deferred[None]]] = []
        self.answer: Callable[[str], Exception | None] | None = None
        self.hangs: Deferred[Any] | None = None
        self.said: list[str] = []

    async def deliver(self, server: Server, envelope: Envelope) -> None:
        told: Deferred[None] = Deferred()
        self.tries.append((server, envelope, told))
        if self.answer is not None:
            error = self.answer(envelope.content.decode())
            told.callback(None) if error is None else told.errback(error)
        await told

    def in_thread(self, do: Callable[[], Any]) -> Deferred[Any]:
        if self.hangs is not None:
            return self.hangs.addCallback(lambda _: do())
        return maybeDeferred(do)

    def start(self, server: Server | None = SERVER) -> MailQueue:
        """@return: That of another run of the program."""
        queue = MailQueue(
            MailFolder(str(self.path)),
            self.clock,
            self.in_thread,
            self.deliver,
            lambda: self.wall + self.clock.seconds(),
        )
        if server is not None:
            queue.use(server)
        queue.startService()
        return queue

    def put(self, queue: MailQueue, subject: str = "Hi") -> None:
        self.successResultOf(queue.put(letter(subject)))

    def stop(self, queue: MailQueue) -> None:
        self.successResultOf(queue.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def names(self) -> list[str]:
        return [path.name for path in self.path.iterdir() if path.is_file()]

    def failed(self) -> list[str]:
        """@return: The reasons."""
        found = sorted((self.path / "failed").glob("*.reason"))
        return [path.read_text().strip() for path in found]

    def subjects(self) -> list[str]:
        """@return: Of each attempt."""
        found = [envelope.content.decode() for _, envelope, _ in self.tries]
        return [content.split("Subject: ")[1].split("\n")[0] for content in found]

    def told(self, do: Callable[[], object]) -> list[str]:
        """@return: What the log says."""
        with capturedLogs() as events:
            do()
        return [_in_words(event) for event in events]


def _in_words(event: LogEvent) -> str:
    return formatEvent(event)


class DeliveryTests(QueueCase):
    def test_a_mail_is_on_the_disk_before_it_is_delivered_and_not_after(self) -> None:
        queue = self.start()
        self.put(queue)
        ((server, envelope, told),) = self.tries
        self.assertEqual(server, SERVER)
        self.assertEqual(envelope.sender, "p@acme.example")
        self.assertEqual(envelope.to, "juan@x.example")
        (name,) = self.names()
        self.assertEqual((self.path / name).read_bytes(), envelope.content)
        said = self.told(lambda: told.callback(None))
        self.assertEqual(self.names(), [])
        self.assertIn("to ...@x.example is delivered", said[0])
        self.stop(queue)

    def test_one_goes_after_the_other(self) -> None:
        queue = self.start()
        for subject in ("a", "b", "c"):
            self.put(queue, subject)
        self.assertEqual(self.subjects(), ["a"])
        for _ in range(3):
            self.tries[-1][2].callback(None)
            self.clock.advance(0)
        self.assertEqual(self.subjects(), ["a", "b", "c"])
        self.assertEqual(self.names(), [])
        self.stop(queue)

    def test_a_thousand_are_no_deeper_than_one(self) -> None:
        queue = self.start(None)
        for _ in range(MOST):
            self.put(queue)
        self.answer = lambda _: None
        queue.use(SERVER)
        self.clock.pump([0] * MOST)
        self.assertEqual(len(self.tries), MOST)
        self.assertEqual(self.names(), [])
        self.stop(queue)

    def test_a_mail_is_not_lost_with_whoever_waited_for_it(self) -> None:
        queue = self.start()
        slow: Deferred[None] = Deferred()
        self.hangs = slow
        waiting = queue.put(letter())
        self.hangs = None
        waiting.cancel()
        self.failureResultOf(waiting)
        slow.callback(None)
        self.assertEqual(len(self.tries), 1)

    def test_no_log_line_names_who_it_goes_to(self) -> None:
        queue = self.start()
        for error in (Postponed("451 later"), DOWN, Rejected("550 no"), None):
            self.answer = lambda _, error=error: error
            said = self.told(lambda: self.put(queue))
            said += self.told(lambda: self.clock.advance(LONGEST_WAIT))
            self.assertTrue(said)
            self.assertNotIn("juan", "".join(said))


class RetryTests(QueueCase):
    def test_not_now_is_tried_again_less_and_less_often(self) -> None:
        self.answer = lambda _: Postponed("451 later")
        queue = self.start()
        said = self.told(lambda: self.put(queue))
        self.assertIn("is not taken yet: 451 later; the next try is in 1 min", said[0])
        waits = []
        for _ in range(9):
            before, count = self.clock.seconds(), len(self.tries)
            while len(self.tries) == count:
                self.clock.advance(FIRST_WAIT)
            waits.append((self.clock.seconds() - before) / 60)
        self.assertEqual(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60])
        self.answer = lambda _: None
        self.clock.advance(LONGEST_WAIT)
        self.assertEqual(self.names(), [])
        self.stop(queue)

    def test_others_do_not_wait_for_one_that_is_postponed(self) -> None:
        self.answer = lambda mail: Postponed("451 x") if "Subject: a" in mail else None
        queue = self.start()
        for subject in "abc":
            self.put(queue, subject)
            self.clock.advance(0)
        self.assertEqual(self.subjects(), ["a", "b", "c"])
        self.assertEqual(len(self.names()), 1)
        self.stop(queue)

    def test_a_server_that_is_down_is_tried_once_for_all_of_them(self) -> None:
        self.answer = lambda _: DOWN
        queue = self.start()
        said = self.told(lambda: self.put(queue))
        self.assertIn(
            "mail server mail.example:587: connection refused; 1 mails wait, the next "
            "try is in 1 min: check server ([mail])",
            said[0],
        )
        for _ in range(5):
            self.put(queue)
        self.assertEqual(len(self.tries), 1)
        self.clock.advance(FIRST_WAIT)
        self.assertEqual(len(self.tries), 2)
        self.answer = lambda _: None
        self.clock.advance(2 * FIRST_WAIT)
        self.clock.pump([0] * 5)
        self.assertEqual(self.names(), [])
        self.stop(queue)

    def test_a_mail_that_makes_the_server_drop_does_not_hold_up_others(self) -> None:
        self.answer = lambda mail: DOWN if "Subject: evil" in mail else None
        queue = self.start()
        for subject in ("evil", "b", "c"):
            self.put(queue, subject)
        self.clock.advance(FIRST_WAIT)
        self.clock.pump([0] * 3)
        self.assertEqual(self.subjects()[:3], ["evil", "b", "c"])
        self.stop(queue)

    def test_a_try_has_an_end(self) -> None:
        queue = self.start()
        self.put(queue)
        self.clock.advance(DELIVER_WITHIN)
        self.assertTrue(self.tries[0][2].called)
        self.assertEqual(len(self.names()), 1)
        self.flushLoggedErrors()

    def test_an_error_in_here_harms_no_other_mail(self) -> None:
        self.answer = lambda mail: KeyError() if "Subject: a" in mail else None
        queue = self.start()
        for subject in "ab":
            self.put(queue, subject)
        self.clock.advance(0)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.assertEqual(len(self.names()), 1)
        self.stop(queue)


class GivingUpTests(QueueCase):
    def test_never_is_believed_and_told_once_with_what_to_do(self) -> None:
        self.answer = lambda _: Rejected("550 no such user")
        queue = self.start()
        (said,) = self.told(lambda: self.put(queue))
        self.assertIn("cannot be delivered: 550 no such user; it is now in", said)
        self.assertIn("move it back and reload portero", said)
        self.assertEqual(self.failed(), ["550 no such user"])
        self.assertEqual(self.names(), [])
        self.clock.advance(LONGEST_WAIT)
        self.assertEqual(len(self.tries), 1)
        self.stop(queue)

    def test_what_is_put_back_is_tried_again_when_the_settings_are_read(self) -> None:
        self.answer = lambda _: Rejected("550 no")
        queue = self.start()
        self.put(queue)
        (mail,) = (self.path / "failed").glob("*.eml")
        mail.rename(self.path / mail.name)
        self.answer = lambda _: None
        queue.use(SERVER)
        self.assertEqual(len(self.tries), 2)
        self.assertEqual(self.names(), [])
        self.stop(queue)

    def test_after_three_days_it_is_given_up(self) -> None:
        for error in (Postponed("451 later"), DOWN):
            self.answer = lambda _, error=error: error
            queue = self.start()
            self.put(queue)
            while not self.failed():
                self.assertLess(self.clock.seconds(), GIVE_UP_AFTER + 2 * LONGEST_WAIT)
                self.clock.advance(FIRST_WAIT * 10)
            self.assertGreater(self.clock.seconds(), GIVE_UP_AFTER)
            self.assertEqual(self.failed(), [str(error)])
            self.assertEqual(self.names(), [])
            self.stop(queue)
            self.setUp()

    def test_a_file_that_is_no_mail_of_ours_is_put_aside(self) -> None:
        self.path.mkdir()
        (self.path / "17-x.eml").write_bytes(b"\xff\x00\nTo: a@b.c, d@e.f\n\n")
        (self.path / "README.eml").write_text("not touched")
        queue = self.start()
        self.assertIn("it is no mail of portero's", self.failed()[0])
        self.assertEqual((self.names(), self.tries), (["README.eml"], []))
        self.stop(queue)

    def test_a_mail_that_somebody_took_away_is_forgotten(self) -> None:
        queue = self.start(None)
        self.put(queue)
        (name,) = self.names()
        (self.path / name).unlink()
        queue.use(SERVER)
        self.assertEqual((queue._waiting, self.tries), ({}, []))
        self.stop(queue)


class RestartTests(QueueCase):
    def test_what_waits_is_taken_up_by_the_next_run(self) -> None:
        queue = self.start(None)
        for subject in "ab":
            self.put(queue, subject)
        # It was killed: nothing was stopped.
        self.answer = lambda _: None
        said = self.told(self.start)
        self.assertIn(f"2 mails wait in {self.path}", said[0])
        self.clock.advance(0)
        self.assertEqual(sorted(self.subjects()), ["a", "b"])
        self.assertEqual(self.names(), [])

    def test_what_a_crash_left_half_written_is_no_mail(self) -> None:
        self.path.mkdir()
        (self.path / "17-x.eml.new").write_text("From: p@acme.exa")
        queue = self.start()
        self.assertEqual((self.names(), self.tries), ([], []))
        self.stop(queue)

    def test_a_stop_waits_for_a_delivery_but_not_for_ever(self) -> None:
        queue = self.start()
        self.put(queue)
        stopped = queue.stopService()
        self.assertNoResult(stopped)
        self.tries[0][2].callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.names(), [])
        queue = self.start()
        self.put(queue)
        stopped = queue.stopService()
        self.clock.advance(STOP_WITHIN)
        self.successResultOf(stopped)
        self.assertEqual(len(self.names()), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_stop_waits_until_a_mail_is_written(self) -> None:
        queue = self.start(None)
        slow: Deferred[None] = Deferred()
        self.hangs = slow
        queue.put(letter())
        stopped = queue.stopService()
        self.assertNoResult(stopped)
        slow.callback(None)
        self.successResultOf(stopped)

    def test_another_server_is_tried_at_once(self) -> None:
        self.answer = lambda _: DOWN
        queue = self.start()
        self.put(queue)
        other = Server("other.example", 25)
        self.answer = lambda _: None
        queue.use(other)
        self.assertEqual(self.tries[-1][0], other)
        self.assertEqual(self.names(), [])
        self.stop(queue)


class BoundTests(QueueCase):
    def refused(self, message: EmailMessage, queue: MailQueue) -> str:
        (said,) = self.told(
            lambda: self.failureResultOf(queue.put(message), CannotKeep)
        )
        self.assertIn("a mail cannot be kept in", said)
        return said

    def test_so_many_and_no_more(self) -> None:
        queue = self.start(None)
        for _ in range(MOST):
            self.put(queue)
        self.assertIn("1000 mails wait already", self.refused(letter(), queue))
        self.failureResultOf(queue.ready(), CannotKeep)
        self.assertEqual(len(self.names()), MOST)

    def test_so_large_and_no_larger(self) -> None:
        queue = self.start(None)
        self.assertIn("bytes, more", self.refused(letter(body="x" * LARGEST), queue))
        self.assertEqual(self.names(), [])

    def test_a_full_disk_is_told(self) -> None:
        queue = self.start(None)

        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", full)
        self.assertIn("No space left on device", self.refused(letter(), queue))
        self.assertEqual(self.names(), [])

    def test_a_folder_that_cannot_be_is_told_at_the_start_and_after(self) -> None:
        self.path.write_text("a file")
        (said,) = self.told(self.start)
        self.assertIn("mail cannot be kept in", said)
        self.assertIn("[mail] queue", said)
        queue = self.start()
        self.refused(letter(), queue)
        self.failureResultOf(queue.ready(), CannotKeep)

    def test_a_folder_with_room_is_ready(self) -> None:
        self.successResultOf(self.start().ready())


class ServerTests(SynchronousTestCase):
    def test_its_port_is_that_of_the_kind_of_tls_unless_it_is_given(self) -> None:
        for server, tls, expected in (
            ("mail.example", "starttls", ("mail.example", 587)),
            ("mail.example", "tls", ("mail.example", 465)),
            ("localhost", "none", ("localhost", 25)),
            ("mail.example:2525", "tls", ("mail.example", 2525)),
            ("[::1]:26", "none", ("::1", 26)),
        ):
            made = Server.of(MailSettings(server=server, tls=tls), "")
            self.assertEqual((made.host, made.port), expected)

    def test_its_password_is_not_shown(self) -> None:
        self.assertNotIn("secret", repr(SERVER))


class WholeTests(TestCase):
    """With a real server, real threads and a real disk."""

    timeout = 20

    async def test_it_waits_while_the_server_is_down_and_comes_when_it_is_back(
        self,
    ) -> None:
        server = MailServer(certificate("localhost"))
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port: Any = await endpoint.listen(server)
        number = port.getHost().port
        await port.stopListening()
        folder = self.mktemp()
        clock = Clock()
        tried: list[Deferred[None]] = [Deferred(), Deferred()]
        send = by_smtp(reactor, deferToThread, server.trusted)

        async def deliver(to: Server, envelope: Envelope) -> None:
            try:
                await send(to, envelope)
            finally:
                reactor.callLater(0, tried.pop(0).callback, None)

        queue = MailQueue(MailFolder(folder), clock, deferToThread, deliver)
        queue.use(Server("localhost", number))
        queue.startService()
        first, second = tried
        await queue.put(letter("Später"))
        await first
        self.assertEqual(len(os.listdir(folder)), 1)
        endpoint = TCP4ServerEndpoint(reactor, number, interface="127.0.0.1")
        port = await endpoint.listen(server)
        self.addCleanup(port.stopListening)
        clock.advance(FIRST_WAIT)
        await second
        await queue.stopService()
        self.assertEqual(os.listdir(folder), [])
        ((to, content),) = server.received
        self.assertEqual(to, "juan@x.example")
        self.assertIn(b"Hello.", content)

    async def test_a_transcript_that_was_promised_comes_after_the_call(self) -> None:
        server = MailServer(certificate("localhost"))
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port: Any = await endpoint.listen(server)
        self.addCleanup(port.stopListening)
        settings = MailSettings(
            server=f"localhost:{port.getHost().port}", sender="p@acme.example"
        )
        send = by_smtp(reactor, deferToThread, server.trusted)
        queue = MailQueue(MailFolder(self.mktemp()), Clock(), deferToThread, send)
        queue.use(Server.of(settings, ""))
        queue.startService()
        agent = AgentSettings(mail_to="office@x.example")
        story = Story(Tool.with_mail(agent, Config(mail=settings), queue)).greeted()
        answered: Deferred[None] = Deferred()
        story.service.on["tool_result"] = lambda: answered.callback(None)
        story.service.events.transcript("user", "Send me this, please.", "item")
        story.service.events.tool_called("1", Tool.name, {})
        await answered
        self.assertEqual(server.received, [])
        story.service.events.transcript(
            "assistant", "You will have it. Goodbye.", "reply"
        )
        told = server.told
        story.leg.drop()
        await told
        await queue.stopService()
        ((to, content),) = server.received
        self.assertEqual(to, "office@x.example")
        said = b"Caller: Send me this, please.\n\nAgent: You will have it. Goodbye.\n"
        self.assertIn(said, content)

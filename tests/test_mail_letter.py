"""What is mailed of a call, whatever was said in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email import message_from_bytes, policy
from email.message import EmailMessage
from html.parser import HTMLParser
from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.interfaces import Said
from portero.mail.letter import LONGEST_SUBJECT, WORDS, Letter
from portero.outbox.folder import LARGEST
from portero.templates import FALLBACKS

NOW = datetime(2026, 11, 21, 17, 5, tzinfo=UTC)
HEADERS: Final = {
    *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"),
    *("MIME-Version", "Content-Type"),
}


def letter(**given: Any) -> Letter:
    values = {
        "sender": "portero@acme.example",
        "to": "juan@x.example",
        "subject": "",
        "kind": "summary",
        "language": "en",
        "began": datetime(2026, 11, 21, 18, 2, tzinfo=timezone(timedelta(0, 3600))),
        "seconds": 125.4,
        "agent": "reception",
        "caller": "Juan +34911234567",
        **given,
    }
    return Letter(**values)


def received(made: Letter) -> EmailMessage:
    """As it is read at the other end."""
    found = message_from_bytes(made.message(NOW).as_bytes(), policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


def bodies(message: EmailMessage) -> tuple[str, str]:
    plain, html = (
        message.get_body((kind,)).get_content()  # type: ignore[union-attr]
        for kind in ("plain", "html")
    )
    return plain, html


class Page(HTMLParser):
    """@ivar tags: All there are. @ivar text: What a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.text += "\n" if tag == "br" else ""

    def handle_data(self, data: str) -> None:
        self.text += data


class SummaryTests(SynchronousTestCase):
    def test_it_says_what_is_known_and_what_was_written(self) -> None:
        message = received(
            letter(text="He wants a quote.\nCall back.", subject="Quote")
        )
        self.assertEqual(message["From"], "portero@acme.example")
        self.assertEqual(message["To"], "juan@x.example")
        self.assertEqual(message["Subject"], "Quote")
        self.assertEqual(message["Date"].datetime, NOW)
        self.assertTrue(message["Message-ID"].endswith("@acme.example>"))
        for body in bodies(message):
            for part in (
                *("Summary of a telephone call", "2026-11-21 18:02 UTC+01:00"),
                *("2:05 min", "Juan +34911234567", "reception", "He wants a quote."),
            ):
                self.assertIn(part, body)
        self.assertIn("He wants a quote.\nCall back.\n", bodies(message)[0])

    def test_it_is_in_the_agents_language(self) -> None:
        self.assertEqual(WORDS.keys(), FALLBACKS.keys())
        self.assertEqual(WORDS["es"].keys(), WORDS["en"].keys())
        message = received(letter(language="es", text="Ñandú", sender_name="Peña"))
        self.assertEqual(message["Subject"], "Resumen de una llamada")
        self.assertEqual(message["From"].addresses[0].display_name, "Peña")
        for body in bodies(message):
            self.assertIn("Ñandú", body)

    def test_what_is_not_known_has_no_line(self) -> None:
        plain, _ = bodies(received(letter(caller="", text="x")))
        self.assertNotIn("Caller", plain)

    def test_two_mails_have_two_ids(self) -> None:
        one, other = (letter().message(NOW)["Message-ID"] for _ in range(2))
        self.assertNotEqual(one, other)


class TranscriptTests(SynchronousTestCase):
    def test_it_says_who_said_what_and_nothing_of_porteros(self) -> None:
        said = (
            Said("assistant", "Hello."),
            Said("system", "This call must end soon."),
            Said("user", "One & <two>"),
        )
        message = received(letter(kind="transcript", said=said))
        plain, html = bodies(message)
        self.assertIn("Agent: Hello.\n\nCaller: One & <two>\n", plain)
        self.assertIn("Agent: Hello.\nCaller: One & <two>\n", Page(html).text)
        self.assertNotIn("must end", plain + html)

    def test_of_nothing_it_says_so(self) -> None:
        for body in bodies(received(letter(kind="transcript"))):
            self.assertIn("Nothing was written down of this call.", body)

    def test_it_is_never_larger_than_a_mail_may_be(self) -> None:
        for text in ("\U0001f600", "&", "=", "\n"):
            said = tuple(Said("user", text * 1000) for _ in range(200))
            made = letter(kind="transcript", said=said).message(NOW)
            self.assertLess(len(made.as_bytes()), LARGEST)
            made = letter(text=text * 1_000_000).message(NOW)
            self.assertLess(len(made.as_bytes()), LARGEST)


class HostileTests(SynchronousTestCase):
    CORPUS = (
        "x\r\nBcc: evil@x.example",
        "x\nTo: evil@x.example\n\nbody",
        "x\r\n\r\n<script>",
        "x\rBcc: evil@x.example",
        "=?utf-8?q?x=0D=0ABcc:_evil@x.example?=",
        "x\u2028Bcc: evil@x.example",
        "x\x00y\x1b[2J\u202e",
        "x\ud800",
        "=?utf-8?q?=3Cscript=3E?=",
        "=\n?utf-8?q?x=0D=0ABcc:_evil@x.example?=",
        "=\u200b?utf-8?q?x=0D=0ABcc:_evil@x.example?=",
        "x =??= =?utf-8?b?eA0KQmNjOiBldmlsQHguZXhhbXBsZQ==?= y",
        "x" * 10_000,
        "--===============0==\nContent-Type: text/html",
        "</title><script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "{{7*7}}${7*7}",
        ".",
    )

    def test_no_text_becomes_a_header_or_a_part(self) -> None:
        for text in self.CORPUS:
            for key in ("subject", "caller", "agent", "sender_name", "text"):
                made = letter(**{key: text})
                message = received(made)
                self.assertEqual(set(message.keys()), HEADERS, (key, repr(text)))
                self.assertEqual(len(message.keys()), len(HEADERS))
                self.assertEqual(len([*message.walk()]), 3)
                self.assertEqual(message["To"].addresses[0].addr_spec, made.to)
                self.assertEqual(message["From"].addresses[0].addr_spec, made.sender)
                self.assertLessEqual(len(message["Subject"]), LONGEST_SUBJECT)

    def test_no_text_becomes_markup(self) -> None:
        expected = Page(bodies(received(letter(text="x")))[1]).tags
        for text in self.CORPUS:
            html = bodies(received(letter(text=text, caller=text, agent=text)))[1]
            tags = [tag for tag in Page(html).tags if tag != "br"]
            self.assertEqual(tags, expected, repr(text))

    def test_no_line_is_longer_than_a_server_takes(self) -> None:
        for text in ("x" * 5000, "ñ" * 5000, "." * 5000):
            made = letter(text=text, subject=text, sender_name=text).message(NOW)
            longest = max(map(len, made.as_bytes().split(b"\n")))
            self.assertLessEqual(longest, 998)

    @given(st.text(), st.text(), st.text(max_size=200))
    def test_whatever_is_said_it_is_the_mail_that_was_meant(
        self, subject: str, text: str, name: str
    ) -> None:
        message = received(
            letter(subject=subject, text=text, sender_name=name, caller=name)
        )
        self.assertEqual(len(message.keys()), len(HEADERS))
        self.assertEqual(message["To"], "juan@x.example")
        self.assertEqual(message["From"].addresses[0].addr_spec, "portero@acme.example")
        self.assertEqual(len([*message.walk()]), 3)

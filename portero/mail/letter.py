"""What is mailed about a call: one message, as text and as HTML, whatever was said."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from html import escape
from typing import Final

from portero.interfaces import Said

LONGEST_SUBJECT: Final = 120
"""Characters."""
LONGEST_TEXT: Final = 30_000
"""Characters of what was said or written; what is longer loses its end. A mail has
them twice, with up to 12 bytes for each."""
LONGEST_NAME: Final = 60

WORDS: Final[Mapping[str, Mapping[str, str]]] = {
    "en": {
        "summary": "Summary of a telephone call",
        "transcript": "Transcript of a telephone call",
        "date": "Date",
        "duration": "Duration",
        "caller": "Caller",
        "agent": "Answered by",
        "user": "Caller",
        "assistant": "Agent",
        "nothing": "Nothing was written down of this call.",
        "machine": "Written by a machine, which may have misheard.",
    },
    "es": {
        "summary": "Resumen de una llamada",
        "transcript": "Transcripción de una llamada",
        "date": "Fecha",
        "duration": "Duración",
        "caller": "Número",
        "agent": "Atendió",
        "user": "Cliente",
        "assistant": "Agente",
        "nothing": "De esta llamada no quedó nada escrito.",
        "machine": "Escrito por una máquina, que puede haber entendido mal.",
    },
}
"""By language: what stands in a mail beside what was said."""

_STYLE: Final = "font-family: sans-serif; max-width: 40em; line-height: 1.4"


@dataclass(frozen=True, slots=True)
class Letter:
    """Of one call, to one address."""

    sender: str
    to: str
    """Both as of L{portero.mail.address.parse}."""
    subject: str
    """Empty: the heading."""
    kind: str
    """C{summary} or C{transcript}."""
    language: str
    began: datetime
    """Of the call, with its time zone."""
    seconds: float
    """That it lasted so far."""
    agent: str
    caller: str
    """Name and number, as far as they are known."""
    text: str = ""
    said: Sequence[Said] = field(default=())
    sender_name: str = ""

    def message(self, now: datetime) -> EmailMessage:
        """@param now: The date of the mail, with its time zone."""
        words = WORDS[self.language]
        message = EmailMessage()
        name = one_line(self.sender_name, LONGEST_NAME)
        message["From"] = Address(name, addr_spec=self.sender)
        message["To"] = Address(addr_spec=self.to)
        subject = one_line(self.subject, LONGEST_SUBJECT)
        message["Subject"] = subject or words[self.kind]
        message["Date"] = format_datetime(now)
        message["Message-ID"] = make_msgid(domain=self.sender.rpartition("@")[2])
        # RFC 3834: keeps absence notices from being answered to it.
        message["Auto-Submitted"] = "auto-generated"
        # Quoted-printable passes every server, and is still read by eye in the queue.
        message.set_content(self._plain(words), cte="quoted-printable")
        message.add_alternative(
            self._html(words), subtype="html", cte="quoted-printable"
        )
        return message

    def _facts(self, words: Mapping[str, str]) -> list[tuple[str, str]]:
        minutes, seconds = divmod(round(self.seconds), 60)
        facts = {
            "date": self.began.strftime("%Y-%m-%d %H:%M %Z").strip(),
            "duration": f"{minutes}:{seconds:02d} min",
            "caller": one_line(self.caller, LONGEST_SUBJECT),
            "agent": one_line(self.agent, LONGEST_NAME),
        }
        return [(words[name], value) for name, value in facts.items() if value]

    def _paragraphs(self, words: Mapping[str, str]) -> Iterable[tuple[str, str]]:
        """@return: Of each: who, or nothing; and what."""
        if self.text:
            yield "", lines(self.text)
        left = LONGEST_TEXT
        for said in self.said:
            # What the agent was told by portero, nobody has said.
            if said.role in ("user", "assistant") and left > 0:
                text = lines(said.text)[:left]
                left -= len(text)
                yield words[said.role], text
        if not self.text and left == LONGEST_TEXT:
            yield "", words["nothing"]

    def _plain(self, words: Mapping[str, str]) -> str:
        facts = [f"{name}: {value}" for name, value in self._facts(words)]
        parts = [
            f"{who}: {text}" if who else text for who, text in self._paragraphs(words)
        ]
        above = [words[self.kind], "\n".join(facts)]
        return "\n\n".join([*above, *parts, "-- \n" + words["machine"]]) + "\n"

    def _html(self, words: Mapping[str, str]) -> str:
        facts = "\n".join(
            f"<tr><th align=left>{escape(name)}</th><td>{escape(value)}</td></tr>"
            for name, value in self._facts(words)
        )
        parts = "\n".join(
            f"<p>{f'<b>{escape(who)}:</b> ' if who else ''}"
            f"{escape(text).replace(chr(10), '<br>')}</p>"
            for who, text in self._paragraphs(words)
        )
        title = escape(words[self.kind])
        return (
            f'<!DOCTYPE html>\n<html lang="{self.language}"><head><meta '
            f'charset="utf-8"><title>{title}</title></head>\n<body style="{_STYLE}">'
            f"\n<h2>{title}</h2>\n<table>\n{facts}\n</table>\n{parts}\n"
            f"<p><small>{escape(words['machine'])}</small></p>\n</body></html>\n"
        )


def one_line(text: str, most: int) -> str:
    """
    @return: A text without what could end a header's line, or turn it round. Nor has it
        an encoded word (RFC 2047): Python decodes one on its way into a header, and a
        line break in it would then begin another header.
    """
    text = text[: 4 * most].replace("=?", "= ?")
    kept = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(kept.split())[:most].rstrip()


def lines(text: str) -> str:
    """@return: Printable lines, of which there may be several."""
    found = text[:LONGEST_TEXT].splitlines()
    return "\n".join(
        "".join(c if c.isprintable() else " " for c in line).rstrip() for line in found
    ).strip()

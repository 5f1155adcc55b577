"""The agent writes a summary of the call, which goes out by mail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from zope.interface import implementer

from portero.config import Config
from portero.interfaces import ICallControl, ITool
from portero.mail.queue import MailQueue
from portero.outbox.folder import CannotKeep
from portero.sections import AgentSettings
from portero.tools._maildesk import NOT_NOW, MailDesk

LONGEST: Final = 10_000
"""Characters of a summary."""


@implementer(ITool)
class Tool:
    """It is sent at once: whoever reads it does not wait for the end of the call."""

    name: Final = "send_email_summary"
    private: Final = ("to", "subject", "summary")
    """Of its arguments: what is no business of the log."""

    def __init__(self, desk: MailDesk) -> None:
        self._desk = desk
        self.description = (
            "Send a summary of this call by mail: who called, what they want, what was "
            f"agreed, what is to be done. {desk.goes_to}"
        )
        self.parameters = desk.parameters(
            subject={
                "type": "string",
                "description": "A line that says what it is about.",
                "maxLength": 200,
            },
            summary={
                "type": "string",
                "description": "The summary, in the language of the call; plain text.",
                "maxLength": LONGEST,
            },
        )

    @classmethod
    def with_mail(cls, agent: AgentSettings, config: Config, mail: MailQueue) -> Tool:
        """@param config: With a mail server and a sender."""
        return cls(MailDesk(cls.name, agent, config.mail.sender, mail))

    async def run(self, call: ICallControl, arguments: Mapping[str, Any]) -> str:
        summary = str(arguments.get("summary", ""))[:LONGEST]
        if not summary.strip():
            return "error: summary is empty"
        to, answer = self._desk.address(call, arguments)
        if not to:
            return answer
        letter = self._desk.letter(
            call,
            "summary",
            to,
            subject=str(arguments.get("subject", "")),
            text=summary,
        )
        self._desk.sent(call, to)  # before the wait: another one may come meanwhile
        try:
            await self._desk.send(letter)
        except CannotKeep:
            self._desk.unsent(call, to)
            return NOT_NOW
        return "The summary is on its way by mail."

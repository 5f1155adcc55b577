"""What the tools that send mail have in common: to whom it goes, and how it begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo

from portero.confirmation import Confirmation
from portero.interfaces import ICallControl
from portero.mail.address import parse, spelled
from portero.mail.letter import Letter
from portero.mail.queue import MailQueue
from portero.sections import AgentSettings

MOST_PER_CALL: Final = 3
"""Mails of one tool: whoever calls is not to fill a stranger's mailbox."""

NOT_NOW: Final = (
    "error: mail cannot be sent at present; tell the caller so, and offer another way"
)


class MailDesk:
    """Of one tool of one agent."""

    def __init__(
        self,
        tool: str,
        agent: AgentSettings,
        sender: str,
        mail: MailQueue,
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        """
        @param tool: Its name.
        @param agent: With C{mail_to}, mail goes there and the model names no address.
        @param now: The time on the wall, with its zone.
        """
        self.mail = mail
        self._tool = tool
        self._agent = agent
        self._sender = parse(sender)
        self._fixed = parse(agent.mail_to) if agent.mail_to else ""
        self._now = now
        self._confirmation = Confirmation()
        self._sent: WeakKeyDictionary[Any, list[str]] = WeakKeyDictionary()

    def parameters(self, **own: Mapping[str, Any]) -> Mapping[str, Any]:
        """@param own: By name, what else the tool takes; all but C{subject} it must."""
        required = [name for name in own if name != "subject"]
        if not self._fixed:
            own["to"] = {
                "type": "string",
                "description": "The mail address that the caller said.",
                "maxLength": 254,
            }
            own["confirmed"] = {
                "type": "boolean",
                "description": "True only after the caller was asked about this "
                "address, read back, and agreed.",
            }
            required.append("to")
        return {
            "type": "object",
            "properties": own,
            "required": required,
            "additionalProperties": False,
        }

    @property
    def goes_to(self) -> str:
        """For the tool's description."""
        if self._fixed:
            return "It goes to the office, not to the caller."
        return (
            "It goes to an address that the caller says: call this first without "
            "confirmed, read the address back, and call it again when the caller has "
            "agreed."
        )

    def address(
        self, call: ICallControl, arguments: Mapping[str, Any]
    ) -> tuple[str, str]:
        """
        @return: Where to send it; or empty, and what the model is told instead.
        """
        to = self._fixed
        if not to:
            try:
                to = parse(str(arguments.get("to", "")))
            except ValueError as error:
                return "", f"error: to {error}; ask the caller for it again"
        sent = self._sent.setdefault(call, [])
        if len(sent) >= MOST_PER_CALL:
            return "", f"error: {len(sent)} mails were sent in this call: no more"
        confirmed = arguments.get("confirmed") is True
        if self._fixed or self._confirmation.given(call, to, confirmed):
            return to, ""
        return "", (
            f"Nothing is sent yet. Read the address back to the caller: {spelled(to)}. "
            f"Ask whether it is right, and wait for the answer. If it is, call "
            f"{self._tool} again with the same values and confirmed true; if not, with "
            "the right address."
        )

    def sent(self, call: ICallControl, to: str) -> bool:
        """
        Note that a mail was sent, or promised.

        @return: Whether it is the first to that address in this call.
        """
        before = self._sent.setdefault(call, [])
        before.append(to)
        return before.count(to) == 1

    def unsent(self, call: ICallControl, to: str) -> None:
        """It was not, after all."""
        self._sent[call].remove(to)

    def letter(self, call: ICallControl, kind: str, to: str, **rest: Any) -> Letter:
        """
        @param kind: As of L{Letter.kind}.
        @param rest: What else a L{Letter} has.
        """
        zone = ZoneInfo(self._agent.time_zone) if self._agent.time_zone else None
        lasts = call.seconds()
        facts = call.facts
        return Letter(
            self._sender,
            to,
            kind=kind,
            language=self._agent.language,
            began=(self._now() - timedelta(seconds=lasts)).astimezone(zone),
            seconds=lasts,
            agent=call.agent,
            caller=" ".join(filter(None, [facts.caller_name, facts.caller_number])),
            sender_name=self._agent.company_name,
            **rest,
        )

    async def send(self, letter: Letter) -> None:
        """@raise CannotKeep: It is not on the disk, so it will not be sent."""
        await self.mail.put(letter.message(self._now()))

"""The caller gets by mail what was said, when the call is over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from portero.config import Config
from portero.interfaces import ICallControl, ITool
from portero.mail.queue import MailQueue
from portero.outbox.folder import CannotKeep
from portero.sections import AgentSettings
from portero.tools._maildesk import NOT_NOW, MailDesk


@implementer(ITool)
class Tool:
    """
    A promise for the end of the call, so that the whole of it is in the mail. It is
    made only while a mail could be kept.
    """

    log = Logger()

    name: Final = "request_transcript"
    private: Final = ("to",)
    """Of its arguments: what is no business of the log."""

    def __init__(self, desk: MailDesk) -> None:
        self._desk = desk
        self.description = (
            "Have what was said in this call sent by mail when the call is over. "
            f"{desk.goes_to}"
        )
        self.parameters = desk.parameters()

    @classmethod
    def with_mail(cls, agent: AgentSettings, config: Config, mail: MailQueue) -> Tool:
        """@param config: With a mail server and a sender."""
        return cls(MailDesk(cls.name, agent, config.mail.sender, mail))

    async def run(self, call: ICallControl, arguments: Mapping[str, Any]) -> str:
        to, answer = self._desk.address(call, arguments)
        if not to:
            return answer
        if not self._desk.sent(call, to):
            self._desk.unsent(call, to)
            return "That is promised already: it is sent when the call is over."
        try:
            await self._desk.mail.ready()
        except CannotKeep:
            self._desk.unsent(call, to)
            return NOT_NOW
        call.at_end(lambda: self._send(call, to))
        return "The transcript is sent by mail when the call is over."

    def _send(self, call: ICallControl, to: str) -> None:
        letter = self._desk.letter(call, "transcript", to, subject="", said=call.said())
        sending = Deferred.fromCoroutine(self._desk.send(letter))
        sending.addErrback(self._failed, call.call_id)

    def _failed(self, failure: Failure, call_id: str) -> None:
        self.log.failure(
            "call {call_id}: the transcript that was promised cannot be sent",
            failure,
            call_id=call_id,
        )

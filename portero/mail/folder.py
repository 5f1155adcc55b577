"""The folder where mail waits until a server has taken it."""

from __future__ import annotations

from dataclasses import dataclass, field
from email import message_from_bytes, policy

from portero.mail.address import parse
from portero.outbox.folder import OutFolder


@dataclass(frozen=True, slots=True)
class Envelope:
    """A mail as it is handed to a server."""

    sender: str
    to: str
    content: bytes = field(repr=False)
    """With C{\\n} at the end of each line."""


class MailFolder(OutFolder):
    def __init__(self, path: str) -> None:
        super().__init__(path, ".eml")

    def read(self, name: str) -> Envelope:
        """
        @raise OSError: It is not there.
        @raise ValueError: It is no mail of ours.
        """
        content = self.content(name)
        try:
            message = message_from_bytes(content, policy=policy.default)
            (sender,), (to,) = message["From"].addresses, message["To"].addresses
            return Envelope(parse(sender.addr_spec), parse(to.addr_spec), content)
        except Exception as error:  # the parser may raise anything
            raise ValueError(f"it is no mail of portero's: {error}") from None

"""Each record is sent to a server of the house when its call is over, signed."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from ipaddress import ip_network
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from twisted.python.failure import Failure

from portero.outbox.delivery import Deliver, Postponed, Rejected, Unreachable
from portero.outbox.folder import CannotKeep, OutFolder
from portero.outbox.queue import Outbox
from portero.record_sections import RecordSettings
from portero.records.document import document
from portero.records.past import Past
from portero.webhooks import client

WITHIN: Final = 20.0
"""Seconds for one try."""
OUR_FAULT: Final = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
)
"""Of one record: another try would be answered the same. All else may be put right."""
REMEDY: Final = "look at its log, and at url and secret (docs/records.rst)"


@dataclass(frozen=True, slots=True)
class Receiver:
    """Who gets the records."""

    url: str
    allow: tuple[str, ...] = ()
    secret: str = field(default="", repr=False)

    @classmethod
    def of(cls, settings: RecordSettings, secret: str) -> Receiver:
        return cls(settings.webhook, settings.webhook_allow, secret)

    @property
    def host(self) -> str:
        """@return: For the log: what follows may be a secret."""
        return urlsplit(self.url).netloc


class WebhookFolder(OutFolder):
    def __init__(self, path: str) -> None:
        super().__init__(path, ".json")

    def read(self, name: str) -> bytes:
        """
        @raise OSError: It is not there.
        @raise ValueError: It is no record of ours.
        """
        content = self.content(name)
        try:
            json.loads(content)["call"]["id"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ValueError("it is no record of portero's") from None
        return content


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """@return: As the header C{Portero-Signature} has it."""
    signed = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


class Asked(Protocol):
    """As L{portero.webhooks.client.Server}."""

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        within: float,
        *,
        follow: bool = True,
    ) -> client.Answer: ...


def by_http(
    server: Callable[[Receiver], Asked], now: Callable[[], float] = time.time
) -> Deliver[Receiver, bytes]:
    """
    @param server: Makes the one that is asked.
    @param now: Seconds on the wall's clock.
    """

    async def deliver(receiver: Receiver, body: bytes) -> None:
        timestamp = f"{now():.0f}"
        headers = {
            "Content-Type": "application/json",
            "Portero-Timestamp": timestamp,
            "Portero-Signature": signature(receiver.secret, timestamp, body),
        }
        try:
            answer = await server(receiver).request(
                "POST", receiver.url, headers, body, WITHIN, follow=False
            )
        except (client.Unreachable, client.NotSafe) as error:
            raise Unreachable(str(error), REMEDY) from None
        status = answer.status
        if 200 <= status < 300:
            return
        said = f"it answers {status} {answer.phrase}"
        if status in OUR_FAULT:
            raise Rejected(said)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            raise Postponed(said)
        raise Unreachable(said, REMEDY)

    return deliver


def servers(reactor: Any) -> Callable[[Receiver], Asked]:
    """@return: Makes one of a receiver; of the same one, the same."""
    made: dict[tuple[str, Sequence[str]], Asked] = {}

    def server(receiver: Receiver) -> Asked:
        key = receiver.url, receiver.allow
        if key not in made:
            made.clear()
            allow = [ip_network(network) for network in receiver.allow]
            made[key] = client.Server(reactor, receiver.url, allow)
        return made[key]

    return server


class WebhookQueue(Outbox[Receiver, bytes]):
    """Records on their way; there is one for the process."""

    thing = "record"
    things = "records"
    of = "[records] webhook"
    not_found = (
        "records for the webhook cannot be kept in {folder}: {why}; they are not sent. "
        "Make the folder, owned by portero's user ([records] webhook_queue), and "
        "reload portero"
    )
    not_kept = (
        "a record for the webhook cannot be kept in {folder}: {why}; it is not sent"
    )
    first_wait = 5.0

    def server_name(self, target: Receiver) -> str:
        return f"webhook {target.host}"

    def receiver(self, thing: bytes) -> str:
        return "the webhook"

    def put(self, past: Past) -> None:
        """@param past: Without what is not to be kept."""
        self.add(partial(_content, past)).addErrback(self._lose)

    def _lose(self, failure: Failure) -> None:
        failure.trap(CannotKeep)  # which was logged
        self.lost += 1


def _content(past: Past) -> bytes:
    return json.dumps(document(past), ensure_ascii=False).encode("utf-8", "replace")

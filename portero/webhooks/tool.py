"""A tool made of one C{[webhooks.NAME]}: the agent asks a server of the house."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from ipaddress import ip_network
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from portero.errors import ConfigError
from portero.interfaces import ICallControl, ITool
from portero.tool_sections import WebhookSettings
from portero.webhooks import answers, parameters, request_text
from portero.webhooks.client import Answer, NotSafe, Server, Unreachable

AGAIN: Final = ("GET", "PUT", "DELETE")
"""Methods that change no more when they are sent twice (RFC 9110, 9.2.2)."""
BUSY: Final = (502, 503, 504)
FIRST_PAUSE: Final = 0.2
"""Seconds before the second try; twice as long before each further one."""

NOT_REACHED: Final = (
    "error: the server cannot be reached; tell the caller that it does not work at the "
    "moment"
)
NOT_KNOWN: Final = (
    "error: the server did not answer, so it is not known whether it was done; tell "
    "the caller so"
)
NOT_ASKED: Final = (
    "error: the server was not asked, as portero's configuration does not permit it; "
    "tell the caller that it does not work"
)


class Asked(Protocol):
    """What a webhook needs of L{Server}."""

    async def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        within: float,
    ) -> Answer: ...


@implementer(ITool)
class Webhook:
    """The agent gives the parameters; all else is what the configuration says."""

    log = Logger()

    def __init__(
        self,
        name: str,
        settings: WebhookSettings,
        server: Asked,
        clock: IReactorTime,
        *,
        token: str = "",
        variables: Mapping[str, str] | None = None,
        within: float = 10.0,
    ) -> None:
        """
        @param token: Sent as C{Authorization: Bearer}.
        @param variables: Of the agent: what they are where a call does not say it.
        @param within: Seconds for all tries.
        """
        self.name = name
        self.description = settings.description
        self.parameters: Mapping[str, Any] = parameters.schema(settings.parameters)
        self._settings = settings
        self._server = server
        self._clock = clock
        self._token = token
        self._variables = variables or {}
        self._within = within
        parts = urlsplit(settings.url)
        self._place = f"{settings.method} {parts.scheme}://{parts.netloc}"

    async def run(self, call: ICallControl, arguments: Mapping[str, Any]) -> str:
        try:
            url, headers, body = self._request(call, arguments)
        except request_text.Unfit as error:
            self._log_failed(call, str(error), 0)
            return f"error: {error}"
        try:
            answer = await self._asked(call, url, headers, body)
        except Unreachable:
            return NOT_REACHED if self._settings.method == "GET" else NOT_KNOWN
        except NotSafe as error:
            self._log_failed(call, str(error), 1)
            return NOT_ASKED
        return self._told(call, answer)

    def _request(
        self, call: ICallControl, arguments: Mapping[str, Any]
    ) -> tuple[str, dict[str, str], bytes | None]:
        settings = self._settings
        facts = call.facts
        of_call = {
            "call_id": call.call_id,
            "agent": call.agent,
            "caller_name": facts.caller_name,
            "caller_number": facts.caller_number,
            "called_number": facts.called_number,
        }
        variables = {**self._variables, **facts.variables}
        given = {name: arguments.get(name) for name in settings.parameters}
        # What is known of the call is what it is, whatever the agent was told.
        known = {**variables, **given, **of_call}
        url = request_text.url(settings.url, _of(settings.url, known))
        headers = {
            name: request_text.header(text, _of(text, {**variables, **of_call}))
            for name, text in settings.headers.items()
        }
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        body = None
        if settings.body:
            body = request_text.body(settings.body, _of(settings.body, known))
        elif settings.method in ("POST", "PUT", "PATCH"):
            told = {name: value for name, value in given.items() if value is not None}
            document = {"arguments": told, "call": {**of_call, "variables": variables}}
            body = request_text.document(document)
        if body is not None and "content-type" not in map(str.lower, headers):
            headers["Content-Type"] = "application/json"
        return url, headers, body

    async def _asked(
        self,
        call: ICallControl,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> Answer:
        """
        @raise Unreachable: No try succeeded; that was logged.
        """
        settings, clock = self._settings, self._clock
        end = clock.seconds() + self._within
        left = settings.retries if settings.method in AGAIN else 0
        tries, pause = 0, FIRST_PAUSE
        while True:
            tries += 1
            begun = clock.seconds()
            within = min(settings.timeout, end - begun)
            try:
                answer = await self._server.request(
                    settings.method, url, headers, body, within
                )
            except Unreachable as error:
                if tries > left or clock.seconds() + pause >= end:
                    self._log_failed(call, str(error), tries)
                    raise
            else:
                self._log_answered(call, answer, clock.seconds() - begun)
                over = tries > left or clock.seconds() + pause >= end
                if over or answer.status not in BUSY:
                    return answer
            await deferLater(clock, pause)
            pause *= 2

    def _told(self, call: ICallControl, answer: Answer) -> str:
        kind = answer.kind
        if not 200 <= answer.status < 300:
            said = f"error: the server answered {answer.status} {_phrase(answer)}"
            more = answers.excerpt(answer.content, kind)
            return f"{said}: {more}" if more else said
        if not answer.content.strip() and not self._settings.answer:
            return "done"
        try:
            return answers.part_of(
                answer.content, kind, answer.whole, self._settings.answer
            )
        except answers.Unreadable as error:
            self.log.warn(
                "call {call_id}: webhook {name}: {place} gave an answer that cannot be "
                "used: {reason} (type {kind!r}; see answer in [webhooks.{name}])",
                call_id=call.call_id,
                name=self.name,
                place=self._place,
                reason=str(error),
                kind=kind[:80],
            )
            return f"error: the server's answer cannot be used: {error}"

    def _log_answered(self, call: ICallControl, answer: Answer, seconds: float) -> None:
        self.log.info(
            "call {call_id}: webhook {name}: {place} answered {status} with {size} "
            "bytes{cut} in {ms:.0f} ms",
            call_id=call.call_id,
            name=self.name,
            place=self._place,
            status=answer.status,
            size=len(answer.content),
            cut="" if answer.whole else " and more, which were not read,",
            ms=seconds * 1000,
        )

    def _log_failed(self, call: ICallControl, reason: str, tries: int) -> None:
        self.log.warn(
            "call {call_id}: webhook {name}: {place} failed: {reason} (tries: {tries})",
            call_id=call.call_id,
            name=self.name,
            place=self._place,
            reason=reason,
            tries=tries,
        )


def _of(text: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """@return: What a text has places for; a variable may be unknown in a call."""
    return {name: known.get(name) for name in request_text.names(text)}


def _phrase(answer: Answer) -> str:
    try:
        return HTTPStatus(answer.status).phrase
    except ValueError:
        return answer.phrase


def make(
    name: str,
    settings: WebhookSettings,
    reactor: Any,
    *,
    token: str = "",
    variables: Mapping[str, str] | None = None,
    within: float = 10.0,
) -> Webhook:
    """
    @param settings: Checked.
    @raise ConfigError: Its host has a name that no host has.
    """
    try:
        server = Server(reactor, settings.url, _networks(settings.allow))
    except ValueError as error:
        said = f"[webhooks.{name}] url has a host that cannot be asked: {error}"
        raise ConfigError(said) from None
    return Webhook(
        name,
        settings,
        server,
        reactor,
        token=token,
        variables=variables,
        within=within,
    )


def _networks(texts: Iterable[str]) -> list[Any]:
    return [ip_network(text) for text in texts]

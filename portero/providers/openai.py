"""OpenAI Realtime, and services that speak its dialect."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from portero.interfaces import (
    Brief,
    IConversationEvents,
    IWireProvider,
    ProviderReport,
)
from portero.providers._conversation import Conversation
from portero.providers._health import Health
from portero.providers._websocket import Socket, SocketEvents, Target
from portero.sections import ProviderSettings

__all__ = ["Conversation", "Provider"]

MOST_TARGETS: Final = 16
"""Addresses kept: there is one for each model."""


Way = Callable[[Any, Callable[[Any], Any]], Any]
"""As L{IWireProvider.by_way_of} takes it: of a C{SocketEvents}, what makes a C{Socket}
for such a one, and a C{Socket}."""


@implementer(IWireProvider)
class Provider:
    """Opens a conversation for each call."""

    def __init__(
        self,
        reactor: Any,
        settings: ProviderSettings,
        key: str,
        *,
        find_url: Callable[[], str] | None = None,
        summary: str = "",
    ) -> None:
        """
        @param key: The service's secret; sent in a header, never logged.
        @param find_url: Asked at each connection, for a service whose port is known
            only when it runs; by default the settings' own.
        @param summary: Who answers, whichever the model.
        @raise ConfigError: The settings' C{ca_file} cannot be used.
        """
        self.settings = settings
        self._reactor = reactor
        self._clock = reactor
        self._way: Way = lambda user, connect: connect(user)
        self._find_url = find_url or (lambda: settings.url)
        self.state = Health(reactor)
        self._summary = summary
        self._headers = {"Authorization": f"Bearer {key}"}
        self._targets: OrderedDict[str, Target] = OrderedDict()
        if settings.ca_file:
            Target(settings.url, {}, settings.ca_file)  # now, not in the first call

    def describe(self, model: str) -> str:
        return self._summary or f"{model} at {urlsplit(self.settings.url).hostname}"

    def converse(self, brief: Brief, events: IConversationEvents) -> Conversation:
        return Conversation(self, self._clock, self.settings, brief, events)

    def by_way_of(self, clock: IReactorTime, way: Way) -> Provider:
        one, beyond = copy(self), self._way
        one._clock = clock
        one._way = lambda user, connect: way(user, lambda user: beyond(user, connect))
        return one

    def connect(self, conversation: Conversation) -> Socket:
        """Begin to connect, for one conversation."""
        connect = partial(self._connect, conversation.model)
        socket: Socket = self._way(conversation, connect)
        return socket

    def _connect(self, model: str, user: SocketEvents) -> Socket:
        return Socket(self._reactor, self._target(model), user)

    def health(self) -> str:
        return self.state.problem

    def report(self) -> ProviderReport:
        service = self._summary or urlsplit(self.settings.url).hostname or ""
        return self.state.report(service)

    def _target(self, model: str) -> Target:
        parts = urlsplit(self._find_url())
        query = parts.query or urlencode({"model": model})
        url = urlunsplit(parts._replace(query=query))
        target = self._targets.pop(url, None)
        if target is None:
            target = Target(url, self._headers, self.settings.ca_file)
        self._targets[url] = target
        if len(self._targets) > MOST_TARGETS:
            self._targets.popitem(last=False)
        return target

"""Makes what a configuration asks for, at the start and when it is read again."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from datetime import date
from ipaddress import ip_network
from typing import Any, Final

from twisted.application.service import IService
from twisted.application.strports import service as listening
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.web.resource import IResource

from portero import plugins
from portero.agi import AgiFactory
from portero.ami import Manager
from portero.announcement import DEMO, Announcement
from portero.config import Config
from portero.endpoints import endpoint_string
from portero.errors import ConfigError
from portero.greeting import Shelf
from portero.interfaces import ITool, IVoiceProvider
from portero.lag import ReactorLag
from portero.logs.log import Log
from portero.mail.folder import MailFolder
from portero.mail.queue import MailQueue, Server, by_smtp
from portero.money import Ledger
from portero.observers.house import House
from portero.observers.metrics import Metrics
from portero.observers.story import Story
from portero.pacing import MediaClock
from portero.reception import Reception
from portero.records.keeping import Keeping
from portero.roster import Roster
from portero.sections import AgentSettings
from portero.service import Bridge, Listener
from portero.simulator import Simulator
from portero.spending import SpendingFile
from portero.web import api_v1, login, status
from portero.web.access import Access
from portero.web.metrics import MetricsResource
from portero.web.page import page
from portero.web.site import PorteroSite, Root

AT_ONCE: Final = ("max_calls", "require_registration")
"""Of C{[listen]}: what needs no restart."""


class Wiring:
    """Holds what outlives one configuration."""

    log = Logger()

    def __init__(self, reactor: Any, state_folder: str = "") -> None:
        """@param state_folder: For what a restart must not forget; or empty."""
        self.logs = Log(reactor)
        self._reactor = reactor
        self._state_folder = state_folder
        self._ledger = Ledger(date.today)
        self._shelf = Shelf()
        self._demos: dict[str, Simulator] = {}
        self._config = Config()
        self._access: Access | None = None
        self._keeping: Keeping | None = None
        self._pbx: Manager | None = None
        self._mail: MailQueue | None = None

    def build(self, config: Config) -> Bridge:
        """
        Make everything; bind and start nothing.

        @raise ConfigError: A named transport, provider or tool cannot be had.
        """
        reactor, listen = self._reactor, config.listen
        roster = self._roster(config)
        who = {name: roster.describe(name) for name in config.agents}
        bridge = Bridge(
            reactor,
            roster,
            max_calls=listen.max_calls,
            stop_within=config.limits.stop_within,
            require_registration=listen.require_registration,
        )
        self.logs.use(config.log, config.secrets.words)
        bridge.runs_on(self.logs)  # the last to stop
        for demo in self._demos.values():
            bridge.runs_on(demo)
        path = self._spending_file(config)
        if path:
            bridge.runs_on(SpendingFile(self._ledger, path, reactor, self._in_thread))
        if config.mail.server:
            mail = self._mail_queue(config)
            mail.use(Server.of(config.mail, config.secrets.mail))
            bridge.runs_on(mail)
        keeping = self._keeping = Keeping(config, reactor, self._state_folder)
        keeping.begin(bridge)
        allow = [ip_network(network) for network in listen.allow]
        reception = Reception(bridge, config.secrets.web_token)
        media = MediaClock(reactor)
        # Beneath the calls, so that the last one can still be asked about.
        if listen.web:
            root = self._root(config, bridge, reception, media, keeping)
            site = PorteroSite(root, lambda peer: reception.admits(peer, allow))
            bridge.runs_on(self._listener("the status resource", "web", config, site))
        if listen.agi:
            agi = AgiFactory(reception, allow)
            bridge.runs_on(self._listener("FastAGI", "agi", config, agi))
        transport = plugins.find("transports", "audiosocket")(
            reactor,
            media,
            allow=allow,
            downlink_rate=listen.downlink_rate,
            prebuffer_frames=listen.prebuffer_frames,
            queue_frames=listen.queue_frames,
        )
        endpoint = endpoint_string(listen.port, listen.interface)
        Listener(
            "calls (--port)",
            endpoint,
            lambda: transport.listen(endpoint, bridge.accept),
        ).setServiceParent(bridge)
        self._config = config
        Announcement(config, who, self._verify).setServiceParent(bridge)
        return bridge

    def reload(self, bridge: Bridge, config: Config) -> None:
        """
        From now on, calls are answered as C{config} says; those under way go on.

        @raise ConfigError: A named provider or tool cannot be had; nothing changed.
        """
        running, queue = set(self._demos), self._mail
        # Without a server, what waits goes where it went.
        mail = self._mail_queue(config) if config.mail.server else None
        try:
            if self._keeping is not None:
                self._keeping.check(config)
            roster = self._roster(config)
        except Exception:
            # What was made for it is not what the next one is served with.
            self._mail = queue
            for language in self._demos.keys() - running:
                del self._demos[language]
            raise
        self.logs.use(config.log, config.secrets.words)
        if mail is not None:
            mail.use(Server.of(config.mail, config.secrets.mail))
            if not mail.running:
                bridge.runs_on(mail)
        for language in self._demos.keys() - running:
            bridge.runs_on(self._demos[language])
        bridge.roster = roster
        bridge.max_calls = config.listen.max_calls
        bridge.require_registration = config.listen.require_registration
        bridge.stop_within = config.limits.stop_within
        if self._access is not None:
            self._access.use(config.users, config.web.hosts)
        if self._keeping is not None:
            self._keeping.use(config)
        before, self._config = self._config, config
        self._verify()
        self.log.info(
            "the configuration was read again; calls from now on are answered by "
            "{agents}",
            agents=", ".join(config.agents),
        )
        changed = [
            item.name
            for item in fields(config.listen)
            if item.name not in AT_ONCE
            and getattr(config.listen, item.name) != getattr(before.listen, item.name)
        ]
        if config.mail.queue != before.mail.queue and before.mail.server:
            self.log.warn("[mail] queue: changed, which takes a restart")
        if self._spending_file(config) != self._spending_file(before):
            self.log.warn("[limits] spending_file: changed, which takes a restart")
        if config.secrets.web_token != before.secrets.web_token:
            changed.append("the web token")
        if changed:
            self.log.warn(
                "[listen] {changed}: changed, which takes a restart",
                changed=", ".join(changed),
            )

    def _root(
        self,
        config: Config,
        bridge: Bridge,
        reception: Reception,
        media: MediaClock,
        keeping: Keeping,
    ) -> Root:
        access = self._access = Access(
            self._reactor,
            self._in_thread,
            config.users,
            config.secrets.web_token,
            config.web.hosts,
        )
        lag = ReactorLag(self._reactor)
        bridge.runs_on(lag)
        story, house = Story(), House(bridge, lag)
        metrics = Metrics(bridge, media, lag, keeping)
        archive = keeping.archive(bridge, story, self._in_thread)
        for observer in (story, archive, house, metrics):
            bridge.watchers.add(observer)
        browsers = plugins.find("transports", "browser")(
            self._reactor,
            media,
            prebuffer_frames=config.listen.prebuffer_frames,
            queue_frames=config.listen.queue_frames,
        )
        talk = browsers.resource(bridge.accept, bridge.announce)
        api = api_v1.make(
            bridge,
            access,
            house,
            story,
            archive,
            talk,
            self.logs,
            self._reactor,
            self._in_thread,
        )
        children: dict[str, IResource] = {
            **page(),
            **status.resources(bridge, reception, access, lag.problem),
            "metrics": MetricsResource(access, metrics),
            "api/v1": api,
            **{f"api/v1/{path}": one for path, one in login.resources(access).items()},
        }
        for path in ("register", "next"):
            children[f"api/v1/{path}"] = children[path]
        return Root(access, children)

    def _listener(self, what: str, key: str, config: Config, factory: Any) -> IService:
        endpoint = endpoint_string(getattr(config.listen, key))
        return Listener(
            f"{what} (--{key})",
            endpoint,
            lambda: listening(endpoint, factory, reactor=self._reactor),
        )

    def _roster(self, config: Config) -> Roster:
        """@raise ConfigError: A named provider or tool cannot be had."""
        made: dict[tuple[str, str], IVoiceProvider] = {}
        providers: dict[str, IVoiceProvider] = {}
        tools: dict[str, list[ITool]] = {}
        for name, agent in config.agents.items():
            kind = config.kind_of(agent.provider)
            which = agent.provider, agent.language if kind == "demo" else ""
            if which not in made:
                made[which] = self._provider(config, *which)
            providers[name] = made[which]
            tools[name] = [self._tool(config, name, tool) for tool in agent.tools]
        self._pbx = None
        if config.ami.host:
            self._pbx = Manager(self._reactor, config.ami, config.secrets.ami)
        ledger, pbx = self._ledger, self._pbx
        return Roster(
            config,
            providers,
            tools,
            self._reactor,
            ledger,
            pbx,
            shelf=self._shelf,
        )

    def _verify(self) -> None:
        """What is not as it should be, though calls work."""
        if self._pbx is not None:
            self._pbx.verify()
        if self._keeping is not None:
            self._keeping.verify()
        config = self._config
        ceilings = [agent.most_per_day for agent in config.agents.values()]
        if any([*ceilings, config.limits.most_per_day]) and not self._spending_file(
            config
        ):
            self.log.warn(
                "what is spent today is kept nowhere: after a restart the ceilings of "
                "the day begin at zero. Name a file in [limits] spending_file"
            )

    def _spending_file(self, config: Config) -> str:
        """@return: Its path, or empty."""
        named = config.limits.spending_file
        if named or not self._state_folder:
            return named
        return os.path.join(self._state_folder, "spending.json")

    def _mail_queue(self, config: Config) -> MailQueue:
        """@raise ConfigError: There is no folder for it."""
        if self._mail is None:
            folder = config.mail.queue
            if not folder and self._state_folder:
                folder = os.path.join(self._state_folder, "mail")
            if not folder:
                raise ConfigError(
                    "[mail] queue is missing: name a folder where mail waits until it "
                    "is delivered (systemd's StateDirectory= would be one)"
                )
            deliver = by_smtp(self._reactor, self._in_thread)
            self._mail = MailQueue(
                MailFolder(folder), self._reactor, self._in_thread, deliver
            )
        return self._mail

    def _in_thread(self, do: Callable[[], Any]) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), do)

    def _provider(self, config: Config, name: str, language: str) -> IVoiceProvider:
        kind = config.kind_of(name)
        settings = config.providers.get(name, config.provider)
        found: IVoiceProvider
        if kind != "demo":
            key = config.secrets.api_keys.get(name, "")
            found = plugins.find("providers", kind)(self._reactor, settings, key)
            return found
        demo = self._demos.get(language)
        if demo is None:
            demo = self._demos[language] = Simulator(self._reactor, language=language)
        service = demo
        found = plugins.find("providers", "openai")(
            self._reactor, settings, "demo", find_url=lambda: service.url, summary=DEMO
        )
        return found

    def _webhook(self, config: Config, agent: AgentSettings, name: str) -> ITool:
        from portero.webhooks import tool as webhook  # takes a while, and few have one

        return webhook.make(
            name,
            config.webhooks[name],
            self._reactor,
            token=config.secrets.tokens.get(f"webhooks.{name}", ""),
            variables=agent.variables,
            within=agent.tool_within,
        )

    def _tool(self, config: Config, agent: str, name: str) -> ITool:
        if name in config.webhooks:
            return self._webhook(config, config.agents[agent], name)
        kind: Any = plugins.find("tools", name)
        if hasattr(kind, "with_mail"):
            agent_settings, mail = config.agents[agent], self._mail_queue(config)
            sends: ITool = kind.with_mail(agent_settings, config, mail)
            return sends
        if hasattr(kind, "for_agent"):
            made: ITool = kind.for_agent(config.agents[agent], config, self._reactor)
            return made
        return kind()  # type: ignore[no-any-return]  # of a site's own, perhaps

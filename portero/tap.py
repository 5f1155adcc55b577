"""
Options of C{twistd portero}, and the wiring. Only here is the reactor imported.

C{twistd --help} imports this module, so whatever needs numpy, scipy or Autobahn is
imported where it is used.
"""

from __future__ import annotations

import gc
import os
import signal
import stat
import time
from collections.abc import Mapping
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, ClassVar, Final

from twisted.application.service import IService, Service
from twisted.application.strports import service as listening
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.logger import Logger
from twisted.python import usage

from portero import plugins
from portero.config import Config, is_loopback, load
from portero.errors import CannotStart, ConfigError

if TYPE_CHECKING:
    from portero.service import Bridge

log = Logger(namespace="portero")

DEMO: Final = "the built-in demo agent"


class Options(usage.Options):
    synopsis = "[options]"
    longdesc = (
        "Answers telephone calls from Asterisk (AudioSocket) with a realtime voice "
        "agent. Without OPENAI_API_KEY a built-in demo agent answers."
    )
    optParameters: ClassVar[list[list[Any]]] = [
        ["port", "p", None, "TCP port for calls, or a Twisted endpoint (8089)."],
        ["interface", None, None, "Address to listen on (127.0.0.1)."],
        ["provider", None, None, "Voice service: openai, or demo."],
        ["config", "c", None, "Configuration file, TOML (see conf/portero.toml)."],
        ["web", None, None, "Port or endpoint of the status resource (none)."],
    ]
    compData: ClassVar[Any] = usage.Completions(
        optActions={"config": usage.CompleteFiles("*.toml")}
    )

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self._environ = environ
        self.allowed: list[str] = []
        self.settings = Config()

    def opt_allow(self, network: str) -> None:
        """Network that may connect, for instance 192.168.1.0/24; may be repeated."""
        self.allowed.append(network)

    def postOptions(self) -> None:
        listen = {
            name: self[name]
            for name in ("port", "interface", "web")
            if self[name] is not None
        }
        if self.allowed:
            listen["allow"] = tuple(self.allowed)
        options: dict[str, dict[str, Any]] = {"listen": listen}
        if self["provider"] is not None:
            options["provider"] = {"name": self["provider"]}
        try:
            self.settings = load(self["config"] or "", self._environ, options)
            check(self.settings)
            check_key(self.settings)
        except ConfigError as error:
            raise usage.UsageError(str(error)) from None


def endpoint_string(name: str, port: str, interface: str) -> str:
    """
    @param name: Of the option, for the error.
    @param port: A port number, or already an endpoint string.
    @raise ConfigError: It is neither.
    """
    if port.isascii() and port.isdigit() and 0 < int(port[:6]) <= 65535:
        kind = "tcp6" if ":" in interface else "tcp"
        return f"{kind}:{port}:interface={quoteStringArgument(interface)}:backlog=512"
    if ":" not in port:
        raise ConfigError(
            f"--{name} {port}: is neither a port, 1 to 65535, nor a Twisted endpoint "
            "such as unix:/run/portero.sock"
        )
    try:
        serverFromString(None, port)
    except Exception as error:  # anything, as endpoints may come from plugins
        if port.startswith("systemd:") and isinstance(error, LookupError):
            error = ConfigError("systemd handed over no such socket")
        raise ConfigError(f"--{name} {port}: is no Twisted endpoint: {error}") from None
    return port


def exposed(endpoint: str) -> bool:
    """Whether other machines may reach it: all but Unix sockets and loopback."""
    words = endpoint.replace("\\:", ";").split(":")
    if words[0] == "haproxy":
        words = words[1:]
    if words[0] == "unix" or (words[0] == "systemd" and "domain=UNIX" in words):
        return False
    interfaces = [
        value.replace(";", ":")
        for name, _, value in (word.partition("=") for word in words)
        if name == "interface"
    ]
    return not interfaces or not all(map(is_loopback, interfaces))


def check(config: Config) -> None:
    """
    What can only be judged of several settings together.

    @raise ConfigError: Something does not go together.
    """
    listen = config.listen
    endpoint = endpoint_string("port", listen.port, listen.interface)
    if exposed(endpoint):
        where = f"--port {listen.port}"
        if listen.port.isdigit():
            where = f"--interface {listen.interface}"
        if endpoint.startswith("haproxy:"):
            raise ConfigError(
                f"{where}: with haproxy: whoever connects says which address it has, "
                "so it must be on loopback: haproxy:tcp:8089:interface=127.0.0.1"
            )
        if not listen.allow:
            raise ConfigError(
                f"{where} can be reached by other machines, and AudioSocket has no "
                "password: name the machines that may connect, for instance --allow "
                "192.168.1.10/32, or listen on --interface 127.0.0.1"
            )
    if listen.web and exposed(endpoint_string("web", listen.web, "127.0.0.1")):
        raise ConfigError(
            f"--web {listen.web}: the status resource has no password, so it must "
            "listen on this machine only: give a port alone, --web 8091"
        )
    if config.provider.name:
        plugins.check("providers", config.provider.name, also=["demo"])
    for name in config.agent.tools:
        plugins.check("tools", name)


def check_key(config: Config) -> None:
    """
    @raise ConfigError: The provider needs a key, and there is none.
    """
    if config.provider.name == "openai" and not config.api_key:
        raise ConfigError(
            "provider openai needs a key: set OPENAI_API_KEY in the environment, or "
            "[provider] api_key_file; without one, --provider demo answers"
        )


def makeService(options: Options, reactor: Any = None) -> IService:
    """
    Build everything; bind and start nothing.

    @param reactor: By default the global one, whose time is made monotonic here, and
        whose process is taught what a second signal means.
    @raise CannotStart: Something named in the settings cannot be had.
    """
    own = reactor is None
    if own:
        from twisted.internet import reactor
    try:
        bridge = build(options.settings, reactor)
    except ConfigError as error:
        raise CannotStart(f"portero: {error}") from None
    if own:
        # The wall clock steps, and a loop waits as long as it stepped back.
        reactor.seconds = time.monotonic
        # The reactor sets its own handlers when it starts, after the services.
        reactor.callWhenRunning(end_calls_at_second_signal, reactor, bridge)
    return bridge


def end_calls_at_second_signal(reactor: Any, bridge: Bridge) -> None:
    """The first signal stops the reactor, which waits for the calls under way."""

    def stop(number: int, frame: Any) -> None:
        before[number](number, frame)
        for each in before:
            signal.signal(each, lambda *_: reactor.callFromThread(bridge.hang_up))

    before: dict[int, Any] = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)
        if callable(handler):
            before[number] = handler
            signal.signal(number, stop)


def build(config: Config, reactor: Any) -> Bridge:
    """
    @raise ConfigError: A named transport, provider or tool cannot be had.
    """
    from portero.call import CallSettings
    from portero.pacing import MediaClock
    from portero.service import Bridge, Listener
    from portero.web import StatusSite

    listen, limits, agent = config.listen, config.limits, config.agent
    provider, beneath = _provider(config, reactor)
    bridge = Bridge(
        reactor,
        provider,
        CallSettings(
            instructions=agent.instructions,
            voice=config.provider.voice,
            greeting=agent.greeting,
            language=agent.language,
            reply_within=limits.reply_within,
            connect_within=limits.connect_within,
            drain_within=limits.goodbye_within,
            silence=limits.silence,
            longest=limits.longest_call,
        ),
        tools=[plugins.find("tools", name)() for name in agent.tools],
        max_calls=listen.max_calls,
        stop_within=limits.stop_within,
    )
    for service in beneath:
        bridge.runs_on(service)
    if listen.web:
        # Beneath the calls, so that the last one can still be asked about.
        web = endpoint_string("web", listen.web, "127.0.0.1")
        bridge.runs_on(
            Listener(
                "the status resource (--web)",
                web,
                lambda: listening(web, StatusSite(bridge), reactor=reactor),
            )
        )
    transport = plugins.find("transports", "audiosocket")(
        reactor,
        MediaClock(reactor),
        allow=[ip_network(network) for network in listen.allow],
        downlink_rate=listen.downlink_rate,
    )
    endpoint = endpoint_string("port", listen.port, listen.interface)
    Listener(
        "calls (--port)", endpoint, lambda: transport.listen(endpoint, bridge.accept)
    ).setServiceParent(bridge)
    Announcement(config, provider.summary).setServiceParent(bridge)
    return bridge


def _provider(config: Config, reactor: Any) -> tuple[Any, list[IService]]:
    """@return: The provider, and the services it needs to run."""
    settings = config.provider
    name = settings.name or ("openai" if config.api_key else "demo")
    if name != "demo":
        return plugins.find("providers", name)(reactor, settings, config.api_key), []
    from portero.simulator import Simulator

    demo = Simulator(reactor, language=config.agent.language)
    provider = plugins.find("providers", "openai")(
        reactor, settings, "demo", find_url=lambda: demo.url, summary=DEMO
    )
    return provider, [demo]


class Announcement(Service):
    """Says at the start, in plain words, what runs and what to do next."""

    def __init__(self, config: Config, summary: str) -> None:
        self._config = config
        self._summary = summary

    def startService(self) -> None:
        super().startService()
        # What was loaded stays: looking through it again for garbage takes 20 ms, a
        # whole frame of every call.
        gc.collect()
        gc.freeze()
        for line in announcement(self._config, self._summary):
            log.info("{line}", line=line)
        for line in warnings(self._config):
            log.warn("{line}", line=line)


def announcement(config: Config, summary: str) -> list[str]:
    """
    @param summary: Who answers.
    @return: The lines that an administrator reads at the start.
    """
    listen = config.listen
    host = f"[{listen.interface}]" if ":" in listen.interface else listen.interface
    where = dial = f"{host}:{listen.port}"
    if listen.interface in ("0.0.0.0", "::"):
        dial = f"ADDRESS:{listen.port}"
    if not listen.port.isdigit():
        where, dial = listen.port, "ADDRESS:PORT"
    lines = [
        f"Calls are answered by {summary}.",
        f"portero is listening for AudioSocket on {where}. For Asterisk's dialplan:",
        "    exten => 100,1,Answer()",
        f"     same => n,TryExec(AudioSocket(${{UUID()}},{dial}))",
    ]
    if "ADDRESS" in dial:
        lines.append("with the address by which Asterisk reaches this machine.")
    lines.append("conf/extensions_portero.conf explains each line and has a fallback.")
    if listen.web:
        web = f"http://127.0.0.1:{listen.web}/calls"
        lines.append(f"Status: {web if listen.web.isdigit() else listen.web}")
    if summary == DEMO:
        call = "HOST:PORT" if "ADDRESS" in dial else where
        call = "" if call == "127.0.0.1:8089" else f" {call}"
        lines.append(f"Hear it without a telephone: portero call{call}")
        lines.append(
            "For a real agent take --provider demo away."
            if config.api_key
            else "For a real agent set OPENAI_API_KEY in the environment and start "
            "again."
        )
    return lines


def warnings(config: Config) -> list[str]:
    """@return: What is not as it should be, though calls work."""
    from autobahn.websocket import USES_NVX

    found = []
    if not USES_NVX:
        found.append(
            "Autobahn runs without its compiled part (NVX), which costs several times "
            "the CPU: install a binary wheel of autobahn, and unset AUTOBAHN_USE_NVX"
        )
    path = config.provider.api_key_file
    if path and os.path.isfile(path) and os.stat(path).st_mode & stat.S_IRWXO:
        found.append(f"{path} is open to every user of this machine: chmod 600 it")
    return found

"""
Options of C{twistd portero}, and the wiring. Only here is the reactor imported.

C{twistd --help} imports this module, so whatever needs numpy, scipy or Autobahn is
imported where it is used.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.application.service import IService, MultiService
from twisted.internet.threads import deferToThreadPool
from twisted.logger import ILogObserver, Logger
from twisted.python import usage
from twisted.python.components import Componentized
from twisted.python.failure import Failure

from portero.config import Config, check_keys, load
from portero.errors import CannotStart, ConfigError

if TYPE_CHECKING:
    from portero.logs.log import Log
    from portero.service import Bridge
    from portero.wiring import Wiring

log = Logger(namespace="portero")


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
        ["web", None, None, "Port or endpoint of the page and the API (none)."],
    ]
    compData: ClassVar[Any] = usage.Completions(
        optActions={"config": usage.CompleteFiles("*.toml")}
    )

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        self.environ = environ
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
        self._given: dict[str, dict[str, Any]] = {"listen": listen}
        if self["provider"] is not None:
            self._given["provider"] = {"kind": self["provider"]}
        if self["config"]:  # it may be read again from another folder
            self["config"] = os.path.abspath(self["config"])
        try:
            self.settings = self.load()
        except ConfigError as error:
            raise usage.UsageError(str(error)) from None

    @property
    def state_folder(self) -> str:
        """As systemd gives it; empty: there is none."""
        return self.environ.get("STATE_DIRECTORY", "").partition(":")[0]

    def load(self) -> Config:
        """
        Read the configuration, the first time or again.

        @raise ConfigError: Something is wrong with it.
        """
        config = load(self["config"] or "", self.environ, self._given)
        check_keys(config)
        return config


class Program(MultiService):
    """What twistd runs, and what it logs with unless it has a C{--logger}."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self.log = log

    def setServiceParent(self, parent: Any) -> None:
        super().setServiceParent(parent)
        if self.log.is_written and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self.log)


def makeService(options: Options, reactor: Any = None) -> IService:
    """
    Build everything; bind and start nothing.

    @param reactor: By default the global one, whose time is made monotonic here, and
        whose process is taught what SIGHUP and a second signal mean.
    @raise CannotStart: Something named in the settings cannot be had.
    """
    own = reactor is None
    if own:
        from twisted.internet import reactor
    from portero.logs.place import place as log_place
    from portero.wiring import Wiring

    wiring = Wiring(reactor, options.state_folder)
    try:
        bridge = wiring.build(options.settings)
    except ConfigError as error:
        raise CannotStart(f"portero: {error}") from None
    program = Program(wiring.logs)
    bridge.setServiceParent(program)
    if own:
        twistd: Mapping[str, Any] = options.parent or {}
        if not twistd.get("logger"):
            later = reactor.callFromThread
            wiring.logs.write_to(log_place(twistd, options.environ, later))
        # The wall clock steps, and a loop waits as long as it stepped back.
        reactor.seconds = time.monotonic
        # The reactor sets its own handlers when it starts, after the services.
        reactor.callWhenRunning(end_calls_at_second_signal, reactor, bridge)
        read_again_at_hangup(reactor, wiring, bridge, options)
    return program


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


def read_again_at_hangup(
    reactor: Any, wiring: Wiring, bridge: Bridge, options: Options
) -> None:
    """SIGHUP, which C{systemctl reload} sends, has the configuration read again."""

    def read(*_: Any) -> None:
        reactor.callFromThread(read_again, reactor, wiring, bridge, options)

    signal.signal(signal.SIGHUP, read)


def read_again(reactor: Any, wiring: Wiring, bridge: Bridge, options: Options) -> Any:
    """
    In a thread, as a long file would be heard. What is wrong leaves all as it was.

    @return: Fires when it is done.
    """

    def wrong(failure: Failure) -> None:
        if not failure.check(ConfigError):
            log.failure("reading the configuration again", failure=failure)
            return
        for line in str(failure.value).splitlines():
            log.error("{line}", line=line)
        log.error("the configuration was not taken over: all goes on as it was")

    loaded = deferToThreadPool(reactor, reactor.getThreadPool(), options.load)
    loaded.addCallback(lambda config: wiring.reload(bridge, config))
    return loaded.addErrback(wrong)

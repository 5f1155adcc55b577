"""C{portero doctor}: its options, and what is looked at."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Final, TextIO

from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import deferLater
from twisted.python import usage
from twisted.python.failure import Failure

from portero.doctor import report
from portero.doctor.report import Finding

BAD_OPTIONS: Final = 1

ASTERISK_WITHIN: Final = 12.0
DISKS_WITHIN: Final = 5.0
CALL_WITHIN: Final = 12.0
SERVICE_WITHIN: Final = 14.0
PAUSE: Final = 0.2
"""Seconds after the last check, in which connections are closed in good order."""


class Options(usage.Options):
    """What C{portero doctor} takes."""

    synopsis = "Usage: portero doctor [options]"
    longdesc = (
        "Says what is wrong with this installation, and what to do. Exit code: 0 "
        f"nothing fails, {report.SOMETHING_FAILS} something does, {BAD_OPTIONS} wrong "
        "options. It costs nothing: docs/doctor.rst."
    )
    optParameters: ClassVar[list[list[Any]]] = [
        ["config", "c", None, "Configuration file (/etc/portero/portero.toml)."],
        ["env", None, None, "Take the environment from this file, not this shell."],
        ["asterisk", None, None, "Command that runs Asterisk (asterisk, if there)."],
        ["port", "p", None, "As portero was started with."],
        ["interface", None, None, "The same."],
        ["web", None, None, "The same."],
        ["provider", None, None, "The same."],
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        ["json", None, "Print it as JSON."],
    ]
    compData: ClassVar[Any] = usage.Completions(
        optActions={
            "config": usage.CompleteFiles("*.toml"),
            "env": usage.CompleteFiles(),
        }
    )
    asterisk: Sequence[str] = ()

    def postOptions(self) -> None:
        try:
            self.asterisk = shlex.split(self["asterisk"] or "asterisk")
        except ValueError as error:
            raise usage.UsageError(f"--asterisk {self['asterisk']}: {error}") from None
        if not self.asterisk:
            raise usage.UsageError("--asterisk: name a command")

    def of_service(self) -> dict[str, dict[str, Any]]:
        """@return: By section and key, as the daemon has them."""
        given: dict[str, dict[str, Any]] = {
            "listen": {
                name: self[name]
                for name in ("port", "interface", "web")
                if self[name] is not None
            }
        }
        if self["provider"] is not None:
            given["provider"] = {"kind": self["provider"]}
        return given


async def examine(
    reactor: Any, options: Options, tell: Callable[[Finding], None]
) -> list[Finding]:
    """
    @param tell: Is told of each finding as it comes.
    @return: All of them, in the order in which they are documented.
    """
    from portero.doctor import configuration  # loads all of portero: half a second

    began = time.time() - time.monotonic()
    installation, found = configuration.read(
        reactor, options["config"], options["env"], options.of_service()
    )
    for finding in found:
        tell(finding)
    if installation is None:
        last = report.skip("the rest", "needs a configuration that can be read")
        tell(last)
        return [*found, last]
    from portero.doctor import examine as checks

    found += await checks.run(reactor, [*_checks(reactor, options, installation)], tell)
    from portero.doctor import machine

    stepped = time.time() - time.monotonic() - began
    last = machine.clock(machine.synchronised(), stepped)
    tell(last)
    return [*found, last]


def _checks(reactor: Any, options: Options, installation: Any) -> Iterator[Any]:
    from portero.doctor import asterisk, machine, own_call, voice
    from portero.doctor.aside import aside
    from portero.doctor.examine import Check
    from portero.doctor.where import Places

    config = installation.config

    async def call() -> list[Finding]:
        return await own_call.examine(reactor, config)

    async def disks() -> list[Finding]:
        folder = installation.state_folder
        return await aside(reactor, lambda: [*machine.examine_disks(config, folder)])

    async def rest() -> list[Finding]:
        return [*machine.examine(config)]

    async def pbx() -> list[Finding]:
        given, places = options["asterisk"] is not None, Places.of(config.listen)
        return await aside(
            reactor,
            lambda: [*asterisk.examine(options.asterisk, given, config, places)],
        )

    async def demo() -> Iterator[Finding]:
        return voice.demo(config)

    yield Check("call", CALL_WITHIN, call)
    yield Check("service", DISKS_WITHIN, demo)
    for provider, agents in voice.services(config).items():

        async def service(
            provider: str = provider, agents: Sequence[str] = agents
        ) -> list[Finding]:
            roster = installation.roster
            return await voice.examine(reactor, config, roster, provider, agents)

        yield Check("service", SERVICE_WITHIN, service)
    yield Check("machine", DISKS_WITHIN, rest)
    yield Check("disk", DISKS_WITHIN, disks)
    yield Check("asterisk", ASTERISK_WITHIN, pbx)


async def consult(reactor: Any, options: Options, out: TextIO) -> int:
    """
    Look at everything, and say on C{out} what was found.

    @return: The exit code.
    """

    def tell(finding: Finding) -> None:
        if not options["json"]:
            out.write("\n".join(report.lines(finding)) + "\n")
            out.flush()

    found = await examine(reactor, options, tell)
    out.write(report.as_json(found) if options["json"] else report.summary(found))
    out.write("\n")
    await deferLater(reactor, PAUSE)
    return report.exit_status(found)


def run(arguments: Sequence[str]) -> int:
    """
    The command itself; it runs the reactor, so once in a process.

    @param arguments: Those after C{portero doctor}.
    @return: The exit code.
    """
    options = Options()
    try:
        options.parseOptions(list(arguments))
    except usage.UsageError as problem:
        sys.stderr.write(f"portero doctor: {problem}\n")
        return BAD_OPTIONS
    from twisted.internet import reactor

    at: Any = reactor
    at.seconds = time.monotonic  # Twisted's own steps with the wall clock
    code = [BAD_OPTIONS]

    def begin() -> None:
        consulted = Deferred.fromCoroutine(consult(at, options, sys.stdout))
        consulted.addCallback(lambda result: code.__setitem__(0, result))
        consulted.addErrback(failed)
        consulted.addCallback(lambda _: at.stop())
        consulted.addErrback(lambda failure: failure.trap(ReactorNotRunning))

    def failed(failure: Failure) -> None:
        failure.printTraceback(sys.stderr)

    at.callWhenRunning(begin)
    at.run()
    return code[0]

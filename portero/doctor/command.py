"""C{portero doctor}: its options, and what is looked at."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from typing import Any, ClassVar, Final, TextIO

from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.internet.task import deferLater
from twisted.python import usage
from twisted.python.failure import Failure

from portero.doctor import report
from portero.doctor.report import Finding

BAD_OPTIONS: Final = 1

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

    def __init__(self) -> None:
        super().__init__()
        self.asterisk: Sequence[str] = ()
        self.allowed: list[str] = []

    def opt_allow(self, network: str) -> None:
        """As portero was started with."""
        self.allowed.append(network)

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
        if self.allowed:
            given["listen"]["allow"] = tuple(self.allowed)
        if self["provider"] is not None:
            given["provider"] = {"kind": self["provider"]}
        return given


async def consult(reactor: Any, options: Options, out: TextIO) -> int:
    """
    Look at everything, and say on C{out} what was found.

    @return: The exit code.
    """

    def tell(finding: Finding) -> None:
        if not options["json"]:
            out.write("\n".join(report.lines(finding)) + "\n")
            out.flush()

    from portero.doctor import checks  # loads all of portero, which takes a second

    found = await checks.run_all(reactor, options, tell)
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

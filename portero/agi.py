"""FastAGI: the questions of the dialplan, where Asterisk has no C{CURL()}."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from portero.networks import Network
from portero.reception import MOST_FORM, Reception, read_form

WITHIN: Final = 10.0
"""Seconds that a connection may last: questions and answers take milliseconds."""
MOST_LINES: Final = 200
"""Of what Asterisk says first; it has about 25, and one for each argument."""


class AgiProtocol(LineReceiver, TimeoutMixin):
    """
    One script run by C{AGI()}: C{agi://HOST:PORT/register,FORM} or C{.../next,UUID}.

    Asterisk describes the call line by line, up to an empty line. Then it takes
    commands and answers each. That has to be waited for: Asterisk 22 waits for the
    socket before each, and so for ever for those that it has read with the first.
    """

    transport: Any  # a TCP or Unix one, with abortConnection
    delimiter = b"\n"
    MAX_LENGTH = MOST_FORM

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._told = {b"agi_network_script": b"", b"agi_arg_1": b""}
        self._lines = 0
        self._asked = False
        self._commands: list[bytes] = []

    def connectionMade(self) -> None:
        self.setTimeout(WITHIN)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.setTimeout(None)

    def timeoutConnection(self) -> None:
        self._refuse(f"it did not end within {WITHIN:.0f} s")
        self.transport.abortConnection()

    def lineLengthExceeded(self, line: bytes) -> None:
        self._give_up(f"more than {MOST_FORM} bytes of facts")

    def lineReceived(self, line: bytes) -> None:
        line = line.removesuffix(b"\r")
        self._lines += 1
        if self._lines > MOST_LINES:
            self._give_up(f"more than {MOST_LINES} lines")
        elif self._asked:
            self._answered(line)
        elif line:
            name, _, value = line.partition(b": ")
            if name in self._told:
                self._told[name] = value
        else:
            self._asked = True
            self._commands = self._answer()
            self._send()

    def _answered(self, line: bytes) -> None:
        if line == b"HANGUP":
            return  # of the caller; the dialplan's h extension may still want to know
        if line.startswith(b"200 "):
            self._send()
        else:
            answer = line[:100].decode("ascii", "backslashreplace")
            self._give_up(f"Asterisk answered: {answer}")

    def _send(self) -> None:
        if self._commands:
            self.sendLine(self._commands.pop(0))
        else:
            self.transport.loseConnection()

    def _answer(self) -> list[bytes]:
        """@return: Commands."""
        script = self._told[b"agi_network_script"].strip(b"/")
        argument = self._told[b"agi_arg_1"]
        if script == b"register":
            answer = self._reception.register(read_form(argument))
            return [set_variable(name, value) for name, value in answer.items()]
        if script == b"next":
            answer = self._reception.next(argument.decode("ascii", "replace"))
            return [set_variable(name, value) for name, value in answer.items()]
        why = "no such script; there are: /register,FORM and /next,UUID"
        self._refuse(why)
        return [b'VERBOSE "portero: %s" 1' % why.encode()]

    def _give_up(self, why: str) -> None:
        self._refuse(why)
        self.transport.loseConnection()

    def _refuse(self, why: str) -> None:
        script = self._told[b"agi_network_script"][:50]
        what = "FastAGI script /" + script.decode("ascii", "backslashreplace")
        self._reception.refused(what, why)


def set_variable(name: str, value: str) -> bytes:
    """
    @param value: One line.
    @return: The command that sets C{PORTERO_NAME} on the caller's channel. Asterisk
        takes quotes and backslashes in it like a shell (res_agi.c, parse_args).
    """
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'SET VARIABLE PORTERO_{name.upper()} "{quoted}"'.encode("utf-8", "replace")


class AgiFactory(Factory):
    """Makes a protocol of each connection that is allowed."""

    noisy = False

    def __init__(self, reception: Reception, allow: Sequence[Network] = ()) -> None:
        """@param allow: Networks beside this machine that may connect."""
        self._reception = reception
        self._allow = tuple(allow)

    def buildProtocol(self, addr: IAddress | None) -> AgiProtocol | None:
        if not self._reception.admits(addr, self._allow):
            return None
        return AgiProtocol(self._reception)

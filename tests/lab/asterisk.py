"""A private Asterisk on loopback, made and ended by the tests."""

from __future__ import annotations

import functools
import os
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from string import Template
from urllib.parse import parse_qsl

from tests.lab.process import LabError, Process, free_port
from tests.parts import need

HERE = Path(__file__).parent
SHIPPED_DIALPLAN = HERE.parents[1] / "conf" / "extensions_portero.conf"

BOOTSTRAP_SECONDS = 300.0
RTP_PORTS = 400
"""Two a call, and Asterisk wants some choice."""

PREFIXES = {"plain": 2, "slin16": 3, "slin24": 4, "codecless": 5}
"""How an extension begins that goes on with portero's port (conf/extensions.conf)."""
AMI_USER, AMI_SECRET = "lab", "lab-secret"
ECHO, SHORT, RINGING = "600", "800", "900"
SOMEBODY, BUSY = "lab,700,1", "lab,750,1"
"""Who may be the fallback."""
SOMEBODY_HZ = 1004
SALES, OFFICE = "lab,710,1", "lab,711,1"
"""Where calls may be transferred."""


class _Template(Template):
    """Dialplan is full of dollar signs."""

    delimiter = "@"


def command() -> str:
    """
    @return: The command that runs Asterisk, unpacked now when it was not yet.

    @raise unittest.SkipTest: It cannot be had on this machine.
    """
    done = _bootstrap()
    said = done.stderr.strip().splitlines()
    why = said[-1] if said else f"tests/lab/bootstrap: status {done.returncode}"
    need(done.returncode == 0, why)
    return done.stdout.strip()


@functools.cache
def _bootstrap() -> subprocess.CompletedProcess[str]:
    """
    @return: What the script answered, asked once: failing may take it long.
    """
    return subprocess.run(
        [HERE / "bootstrap"],
        capture_output=True,
        text=True,
        timeout=BOOTSTRAP_SECONDS,
        check=False,
    )


def _free_range(size: int) -> int:
    """
    @return: The first of C{size} UDP ports, none of which was taken a moment ago.
    """
    for _ in range(50):
        start = free_port(socket.SOCK_DGRAM) & ~1
        if start + size > 65535:
            continue
        probes = []
        try:
            for port in range(start, start + size):
                probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                probes.append(probe)
                probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
        return start
    raise LabError(f"no {size} free UDP ports in a row")


class Asterisk:
    """
    Starts in the constructor, fully booted when that returns.

    @ivar sip_port: Where it takes calls, UDP on 127.0.0.1.
    @ivar ami_port: Where L{AMI_USER} may redirect channels, TCP on 127.0.0.1.
    @ivar sounds: The folder of its recorded prompts, 8 kHz WAV.
    """

    def __init__(self, command: str) -> None:
        self._command = command
        # The control socket's path may have 107 bytes, so this stays out of the
        # test's own, long temporary folder.
        self._run = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp"))
        self.sip_port = free_port(socket.SOCK_DGRAM)
        self.ami_port = free_port()
        self._tests: list[str] = []
        self._contexts: list[str] = []
        self.sounds = Path(self._ask("--share")) / "sounds" / "en"
        self._conf = self._configure()
        self._process = Process(
            [command, "-f", "-C", str(self._conf)], self._run / "stdout"
        )
        try:
            self._process.wait_for("Asterisk's control socket", self._booted, 30)
        except BaseException:
            self.stop()
            raise

    @property
    def command_line(self) -> str:
        """What runs this one, for C{portero doctor --asterisk}."""
        return f"{self._command} -C {self._conf}"

    def uri(self, extension: str) -> str:
        return f"sip:{extension}@127.0.0.1:{self.sip_port}"

    def to_portero(
        self, how: str, port: int, web_port: int = 9, **variables: str
    ) -> str:
        """
        @param how: C{shipped}, or a key of L{PREFIXES}.
        @param port: Where portero listens on 127.0.0.1.
        @param web_port: As for L{to_dialplan}.
        @param variables: As for L{to_dialplan}.

        @return: The URI to call.
        """
        if how != "shipped":
            return self.uri(f"{PREFIXES[how]}{port}")
        return self.to_dialplan(port, web_port, **variables)

    def to_dialplan(
        self, port: int, web_port: int, context: str = "portero", **variables: str
    ) -> str:
        """
        @param port: Where portero listens on 127.0.0.1.
        @param web_port: Where its status resource is, which the shipped dialplan asks.
        @param context: Where that dialplan is, or one like it.
        @param variables: What it finds set on the channel: its own settings,
            C{FROM_DID}, C{CALLERID(name)}... Values are dialplan.

        @return: The URI to call.
        """
        settings = {
            "PORTERO": f"127.0.0.1:{port}",
            "PORTERO_STATUS": f"http://127.0.0.1:{web_port}",
            "PORTERO_FALLBACK": SOMEBODY,
            **variables,
        }
        steps = ["Set(CHANNEL(hangup_handler_push)=told,s,1(${EXTEN}))"]
        steps += [f"Set({name}={value})" for name, value in settings.items()]
        return self.uri(self.extension(*steps, f"Goto({context},s,1)"))

    def told(self, uri: str) -> list[dict[str, str]]:
        """
        @param uri: Of L{to_dialplan}.

        @return: Of each call there that is over, what the dialplan knew in the end:
            values of C{PORTERO_...}, by the rest of the name in small letters.
        """
        number = uri.partition(":")[2].partition("@")[0]
        found = re.findall(rf"LAB told {number} (\S*)$", self.log, re.MULTILINE)
        return [dict(parse_qsl(form, keep_blank_values=True)) for form in found]

    def listen(self, uri: str, codec: str, most: int, within: int) -> str:
        """
        Call over a line that carries digits as sound, and have Asterisk's own detector
        listen there.

        @param uri: As a phone would call it.
        @param codec: C{ulaw} or C{alaw}.
        @param most: Digits after which it hangs up.
        @param within: Seconds for each.

        @return: What to ask L{recognised} with.
        """
        done = "Verbose(1,LAB recognised ${EXTEN} ${KEYS} ${READSTATUS})"
        # t() takes away the digit that would end it.
        reader = self.extension(f"Read(KEYS,,{most},t(),1,{within})", done)
        self.rx(f"channel originate PJSIP/line-{codec}/{uri} extension {reader}@lab")
        return reader

    def recognised(self, reader: str) -> str | None:
        """
        @return: The digits of a L{listen} that is over.
        """
        line = rf"LAB recognised {reader} (\S*) \S+$"
        found = re.search(line, self.log, re.MULTILINE)
        return found[1] if found else None

    def extension(self, *steps: str) -> str:
        """
        @param steps: Applications of the dialplan, one after another.

        @return: A new extension that a phone can call.
        """
        number = f"1{len(self._tests)}"
        lines = [f"exten => {number},1,NoOp()", *(f" same => n,{s}" for s in steps)]
        self._tests.append("\n".join(lines).replace(";", "\\;"))
        self._load()
        return number

    def add(self, dialplan: str) -> None:
        """
        @param dialplan: Contexts, as a file has them.
        """
        self._contexts.append(dialplan)
        self._load()

    def _load(self) -> None:
        text = "\n".join([*self._contexts, "[lab](+)", *self._tests, ""])
        (self._run / "etc" / "extensions_tests.conf").write_text(text)
        self.rx("dialplan reload")

    def rx(self, line: str) -> str:
        """
        @return: What Asterisk's command line answers.

        @raise LabError: It does not answer.
        """
        done = self._console(line)
        if done.returncode:
            raise LabError(f"asterisk -rx {line!r}: {done.stdout}{done.stderr}")
        return done.stdout

    def channels(self) -> int:
        """
        @return: How many channels are up.
        """
        found = re.search(
            r"^(\d+) active channels?$", self.rx("core show channels"), re.MULTILINE
        )
        if found is None:
            raise LabError("no count in 'core show channels'")
        return int(found[1])

    @property
    def log(self) -> str:
        return (self._run / "full").read_text("utf-8", "replace")

    def tail(self, lines: int = 40) -> str:
        """
        @return: The end of the log under a headline, for the message of a failure.
        """
        return "--- Asterisk ---\n" + "\n".join(self.log.splitlines()[-lines:])

    def stop(self) -> int:
        """
        End it by SIGTERM, reap it and remove its files.

        @return: Its exit status.
        """
        status = self._process.stop()
        shutil.rmtree(self._run, ignore_errors=True)
        return status

    def _configure(self) -> Path:
        for name in ("etc", "var", "spool"):
            (self._run / name).mkdir()
        rtp_start = _free_range(RTP_PORTS)
        values = {
            "run": self._run,
            "lib": self._ask("--lib"),
            "share": self._ask("--share"),
            "sip_port": self.sip_port,
            "ami_port": self.ami_port,
            "ami_user": AMI_USER,
            "ami_secret": AMI_SECRET,
            "rtp_start": rtp_start,
            "rtp_end": rtp_start + RTP_PORTS - 1,
            "portero_dialplan": SHIPPED_DIALPLAN,
        }
        for template in (HERE / "conf").glob("*.conf"):
            text = _Template(template.read_text()).substitute(values)
            (self._run / "etc" / template.name).write_text(text)
        return self._run / "etc" / "asterisk.conf"

    def _booted(self) -> bool:
        return self._console("core waitfullybooted").returncode == 0

    def _console(self, line: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._command, "-C", str(self._conf), "-rx", line],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )

    def _ask(self, option: str) -> str:
        return subprocess.run(
            [self._command, option], capture_output=True, text=True, check=True
        ).stdout.strip()

"""
C{portero call}: a call to portero without an Asterisk.

It plays a WAV file, records what comes back and reports what the line is worth. So one
knows that portero works before touching the PBX.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Final, TextIO

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.python import usage
from twisted.python.failure import Failure

from portero.audio import WavError, read_wav, write_wav
from portero.linecheck import SOUND_DBFS, LineCheck, Voice
from portero.pacing import PTIME
from portero.phone import LONGEST_CALL, Phone, Plan
from portero.resample import Resampler
from portero.wire import audiosocket as wire

HEARD = 0
BAD_OPTIONS = 1
NOT_REACHED = 2
NOTHING_HEARD = 3

HOST: Final = "127.0.0.1"
PORT: Final = 8089
CONNECT_WITHIN = 5.0
LIMIT = 3600.0
METER_WIDTH: Final = 10
METER_FLOOR: Final = -60.0


class Meters:
    """Two level meters in one line of a terminal."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def draw(self, line: LineCheck, now: float) -> None:
        """Draw over what was drawn before."""
        self._out.write("\r" + meter_line(line, now) + "\x1b[K")
        self._out.flush()

    def clear(self) -> None:
        """Leave an empty line."""
        self._out.write("\r\x1b[K")


def meter_line(line: LineCheck, now: float) -> str:
    """The time, both levels, and who speaks; less than 80 columns."""
    sides = [(line.caller, "caller"), (line.agent, "agent")]
    speaking = [name for voice, name in sides if voice.sounds(now)]
    minutes, seconds = divmod(int(now - line.connected), 60)
    bars = "  ".join(f"{name} {_bar(voice)}" for voice, name in sides)
    return f"{minutes}:{seconds:02} {bars}  {' and '.join(speaking)}"


def _bar(voice: Voice) -> str:
    level = max(METER_FLOOR, voice.level_dbfs)
    full = round((1 - level / METER_FLOOR) * METER_WIDTH)
    return f"[{'#' * full:<{METER_WIDTH}}] {level:3.0f} dB"


class Options(usage.Options):
    """What C{portero call} takes."""

    synopsis = "Usage: portero call [options] [host:port]"
    longdesc = (
        "Calls portero as Asterisk would, and reports what the line is worth. "
        f"The default is {HOST}:{PORT}. Exit code: 0 sound was heard, 1 wrong options "
        "or files, 2 nobody could be reached, 3 nothing was heard."
    )
    optParameters: ClassVar[list[list[Any]]] = [
        ["play", None, None, "WAV file to say, of any rate (default: be silent)."],
        ["say-after", None, None, "Seconds until then (default: after the greeting)."],
        ["repeat", None, 1, "Say it this many times, each after an answer.", int],
        ["record", None, None, "Write what was heard to this WAV file."],
        ["dtmf", None, "", "Digits to press when all has been said and answered."],
        ["seconds", None, LONGEST_CALL, "The longest call.", float],
        ["rate", None, 8000, "Sampling rate to send, in Hz.", int],
        ["uuid", None, None, "Call id (default: a new one)."],
    ]
    optFlags: ClassVar[list[list[Any]]] = [
        ["barge-in", None, "Say it again as soon as an answer sounds (twice or more)."],
        ["quiet", None, "No level meters."],
        ["json", None, "Print the report as JSON."],
    ]
    host: str
    port: int
    plan: Plan
    _where = ""

    def parseArgs(self, *where: str) -> None:
        for one in where[:1]:
            if self._where:
                raise usage.UsageError(
                    f"only one host:port can be called, not {self._where} and {one}"
                )
            self._where = one
        self.host, self.port = _host_and_port(self._where)
        if where[1:]:  # options may follow, too
            self.parseOptions(list(where[1:]))

    def postOptions(self) -> None:
        if self["rate"] not in wire.KINDS:
            known = ", ".join(str(rate) for rate in wire.KINDS)
            raise usage.UsageError(f"--rate {self['rate']}: one of {known}")
        if not 0 < self["seconds"] <= LIMIT:
            raise usage.UsageError(f"--seconds: more than 0, at most {LIMIT:.0f}")
        if self["repeat"] < 1:
            raise usage.UsageError("--repeat: 1 or more")
        if not self["play"] and (self["repeat"] > 1 or self["barge-in"]):
            raise usage.UsageError("--repeat and --barge-in need something to --play")
        digits = self["dtmf"].upper()
        if not set(digits) <= wire.DIGITS:
            raise usage.UsageError(f"--dtmf {self['dtmf']}: only 0-9, *, # and A-D")
        _check_writable(self["record"])
        self.plan = Plan(
            speech=_speech(self["play"], self["rate"]) if self["play"] else (),
            rate=self["rate"],
            say_after=self._say_after(),
            plays=max(self["repeat"], 2 if self["barge-in"] else 1),
            barge_in=bool(self["barge-in"]),
            digits=digits,
            seconds=self["seconds"],
            call_id=self._call_id(),
            keep_audio=bool(self["record"]),
        )

    def _say_after(self) -> float | None:
        if self["say-after"] is None:
            return None
        try:
            seconds = float(self["say-after"])
        except ValueError:
            seconds = -1
        if not 0 <= seconds <= LIMIT:
            raise usage.UsageError(f"--say-after: seconds, 0 to {LIMIT:.0f}")
        return seconds

    def _call_id(self) -> uuid.UUID:
        if self["uuid"] is None:
            return uuid.uuid4()
        try:
            return uuid.UUID(self["uuid"])
        except ValueError as problem:
            raise usage.UsageError(
                f"--uuid {self['uuid']}: not a UUID such as {uuid.uuid4()}"
            ) from problem


def _host_and_port(where: str) -> tuple[str, int]:
    host, colon, port = where.rpartition(":")
    if not colon or where.endswith("]"):
        host, port = where, str(PORT)
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise usage.UsageError(f"{where}: the port must be a number from 1 to 65535")
    if ":" in host and not host.startswith("["):
        raise usage.UsageError(f"{where}: write an IPv6 address as [{host}]:{port}")
    return host.strip("[]") or HOST, int(port)


def _check_writable(path: str | None) -> None:
    """Before the call, not after it."""
    if not path:
        return
    folder = Path(path).absolute().parent
    if not folder.is_dir() or Path(path).is_dir() or not os.access(folder, os.W_OK):
        raise usage.UsageError(
            f"--record {path}: cannot be written; give a file in a folder that exists"
        )


def _speech(path: str, rate: int) -> tuple[bytes, ...]:
    """
    @return: A WAV file as frames of 20 ms at this rate.
    @raise usage.UsageError: It cannot be read, or there is no sound in it.
    """
    try:
        given, pcm = read_wav(path)
    except OSError as problem:
        raise usage.UsageError(f"--play {path}: {problem.strerror}") from problem
    except WavError as problem:
        raise usage.UsageError(f"--play {problem}") from problem
    try:
        # The filter's tail would otherwise stay inside.
        pcm = Resampler(given, rate).process(pcm + bytes(2 * round(given * PTIME)))
    except ValueError as problem:
        raise usage.UsageError(f"--play {path}: {problem}") from problem
    size = 2 * round(rate * PTIME)
    frames = tuple(
        pcm[start : start + size].ljust(size, b"\0")
        for start in range(0, len(pcm), size)
    )
    voice = Voice()
    for frame in frames:
        voice.frame(0.0, PTIME, frame)
    if voice.began < 0:
        raise usage.UsageError(
            f"--play {path}: nothing in it is louder than {SOUND_DBFS:.0f} dBFS"
        )
    return frames


async def place(reactor: Any, options: Options, out: TextIO, err: TextIO) -> int:
    """
    Call, and say on C{out} what happened.

    @return: The exit code.
    """
    words = not options["json"]
    meters = Meters(out) if words and not options["quiet"] and out.isatty() else None
    phone = Phone(reactor, options.plan, meters.draw if meters else None)
    if words:
        out.write(_announcement(options))
    endpoint = HostnameEndpoint(
        reactor, options.host.encode(), options.port, timeout=CONNECT_WITHIN
    )
    try:
        await connectProtocol(endpoint, phone)
    except (error.ConnectError, error.TimeoutError, OSError, ValueError) as problem:
        err.write(_remedy(options, problem))
        return NOT_REACHED
    interrupt = reactor.addSystemEventTrigger("before", "shutdown", phone.stop)
    report = await phone.ended
    if not phone.stopped:
        reactor.removeSystemEventTrigger(interrupt)
    if meters is not None:
        meters.clear()
    out.write(report.in_words() if words else json.dumps(asdict(report)))
    out.write("\n")
    if options["record"] and not _write_recording(options, phone.line, out, err):
        return BAD_OPTIONS
    if not phone.line.heard:
        err.write("Nothing was heard: portero's own log says why.\n")
        return NOTHING_HEARD
    return HEARD


def _announcement(options: Options) -> str:
    said = "Ctrl-C ends the call."
    if not options["play"]:
        said = f"Nothing to --play: the caller is silent, no microphone is used. {said}"
    return f"Call {options.plan.call_id} to {_place(options)}. {said}\n"


def _place(options: Options) -> str:
    host = f"[{options.host}]" if ":" in options.host else options.host
    return f"{host}:{options.port}"


def _remedy(options: Options, problem: Exception) -> str:
    if isinstance(problem, error.ConnectionRefusedError):
        return (
            f"Nothing listens on {_place(options)}: is portero running? "
            f"Start it with: twistd -n portero --port {options.port}\n"
        )
    if isinstance(problem, error.DNSLookupError | ValueError):
        return f"No address is known for {options.host}: is it spelled right?\n"
    return (
        f"{_place(options)} cannot be reached ({problem}): is the address right, and "
        "does a firewall let you through?\n"
    )


def _write_recording(
    options: Options, line: LineCheck, out: TextIO, err: TextIO
) -> bool:
    recording = line.recording()
    try:
        if recording is not None:
            write_wav(options["record"], *recording)
    except OSError as problem:
        err.write(f"--record {options['record']}: {problem.strerror}\n")
        return False
    if not options["json"]:
        out.write(
            f"Nothing to record: {options['record']} was not written.\n"
            if recording is None
            else f"Recording: {options['record']} ({recording[0]} Hz).\n"
        )
    return True


def run(arguments: list[str]) -> int:
    """
    The command itself; it runs the reactor, so once in a process.

    @param arguments: Those after C{portero call}.
    @return: The exit code.
    """
    options = Options()
    try:
        options.parseOptions(arguments)
    except usage.UsageError as problem:
        sys.stderr.write(f"portero call: {problem}\n")
        return BAD_OPTIONS
    from twisted.internet import reactor

    at: Any = reactor
    at.seconds = time.monotonic  # Twisted's own steps with the wall clock
    code = [NOT_REACHED]

    def begin() -> None:
        placed = Deferred.fromCoroutine(place(at, options, sys.stdout, sys.stderr))
        placed.addCallback(lambda result: code.__setitem__(0, result))
        placed.addErrback(failed)
        placed.addCallback(lambda _: at.stop())
        placed.addErrback(lambda failure: failure.trap(error.ReactorNotRunning))

    def failed(failure: Failure) -> None:
        code[0] = BAD_OPTIONS
        failure.printTraceback(sys.stderr)

    at.callWhenRunning(begin)
    at.run()
    return code[0]

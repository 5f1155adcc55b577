"""Tests of L{portero.placecall}: its options, and calls on loopback."""

from __future__ import annotations

import contextlib
import json
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ProcessExitedAlready
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, ProcessProtocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase, TestCase

from portero import placecall
from portero.audio import read_wav, silence, write_wav
from portero.linecheck import LineCheck
from portero.placecall import Options, meter_line, place
from portero.transports.audiosocket import AudioSocketReceiver
from portero.wire import audiosocket as wire

SILENCE = silence(160)
SOUND = np.full(160, 3000, "<i2").tobytes()
SPEECH = tuple(np.full(160, 1000 + n, "<i2").tobytes() for n in range(50))


class MeterTests(SynchronousTestCase):
    def test_shows_both_levels_and_who_speaks(self) -> None:
        line = LineCheck(100.0)
        line.frame_received(165.0, 8000, SOUND)
        shown = meter_line(line, 165.1)
        self.assertEqual(
            shown,
            "1:05 caller [          ] -60 dB  agent [#######   ] -21 dB  agent",
        )
        line.frame_sent(165.1, 8000, SOUND)
        self.assertTrue(meter_line(line, 165.1).endswith("caller and agent"))
        self.assertLess(len(meter_line(line, 100.0 + 3600)), 80)


class OptionsTests(SynchronousTestCase):
    def parse(self, *arguments: str) -> Options:
        options = Options()
        options.parseOptions(list(arguments))
        return options

    def test_options_may_stand_on_both_sides_of_the_address(self) -> None:
        options = self.parse("--quiet", "10.0.0.1:9000", "--dtmf", "12#")
        self.assertEqual((options.host, options.port), ("10.0.0.1", 9000))
        self.assertEqual((options["quiet"], options["dtmf"]), (1, "12#"))

    def wav(self, rate: int, pcm: bytes) -> str:
        path: str = self.mktemp()
        write_wav(path, rate, pcm)
        return path

    def refused(self, *arguments: str) -> str:
        return str(self.assertRaises(UsageError, self.parse, *arguments))

    def test_defaults_to_the_local_portero(self) -> None:
        options = self.parse()
        self.assertEqual((options.host, options.port), ("127.0.0.1", 8089))
        self.assertEqual(options.plan.speech, ())
        self.assertFalse(options.plan.keep_audio)

    def test_takes_names_and_addresses(self) -> None:
        for where, expected in [
            ("pbx.example:9000", ("pbx.example", 9000)),
            ("pbx.example", ("pbx.example", 8089)),
            (":9000", ("127.0.0.1", 9000)),
            ("[::1]:9000", ("::1", 9000)),
            ("[::1]", ("::1", 8089)),
        ]:
            options = self.parse(where)
            self.assertEqual((options.host, options.port), expected)

    def test_resamples_the_file_to_the_rate_of_the_call(self) -> None:
        tone = np.sin(np.arange(24000) * 2 * np.pi * 440 / 24000) * 8000
        path = self.wav(24000, tone.astype("<i2").tobytes())
        for rate in (8000, 16000, 44100):
            plan = self.parse("--play", path, "--rate", str(rate)).plan
            self.assertEqual(len(plan.speech), 51)
            self.assertEqual({len(frame) for frame in plan.speech}, {rate * 4 // 100})
            middle = np.frombuffer(b"".join(plan.speech[10:40]), "<i2")
            self.assertEqual(round(float(middle.std()) / 100), 57)

    def test_barge_in_plays_at_least_twice(self) -> None:
        path = self.wav(8000, SOUND)
        self.assertEqual(self.parse("--play", path, "--barge-in").plan.plays, 2)
        plan = self.parse("--play", path, "--barge-in", "--repeat", "3").plan
        self.assertEqual(plan.plays, 3)

    def test_wrong_options_say_what_would_be_right(self) -> None:
        speech = self.wav(8000, SOUND)
        for arguments, expected in [
            (["--rate", "11025"], "one of 8000, 12000"),
            (["--dtmf", "12x"], "only 0-9, *, # and A-D"),
            (["--seconds", "0"], "more than 0"),
            (["--seconds", "nan"], "more than 0"),
            (["--say-after", "soon"], "--say-after: seconds"),
            (["--say-after", "-1"], "--say-after: seconds"),
            (["--repeat", "2"], "need something to --play"),
            (["--play", speech, "--repeat", "0"], "--repeat: 1 or more"),
            (["--barge-in"], "need something to --play"),
            (["--uuid", "17"], "not a UUID"),
            (["--record", "no/such/folder.wav"], "cannot be written"),
            (["one", "two"], "only one host:port"),
            (["host:0"], "from 1 to 65535"),
            (["host:http"], "from 1 to 65535"),
            (["::1:8089"], "[::1]:8089"),
        ]:
            self.assertIn(expected, self.refused(*arguments))

    def test_a_file_that_is_no_wav_is_refused(self) -> None:
        path = self.mktemp()
        Path(path).write_bytes(b"ID3 this is no WAV")
        self.assertIn(path, self.refused("--play", path))

    def test_a_file_that_is_not_there_is_refused(self) -> None:
        self.assertIn("No such file", self.refused("--play", "nowhere.wav"))

    def test_a_file_of_a_rate_that_cannot_be_converted_is_refused(self) -> None:
        self.assertIn("ratio", self.refused("--play", self.wav(7919, SOUND)))

    def test_a_file_without_sound_is_refused(self) -> None:
        self.assertIn("louder", self.refused("--play", self.wav(8000, SILENCE * 50)))


class Echo(AudioSocketReceiver):
    """A far end that sends back what it hears, or silence."""

    def __init__(self, far: FarEnd) -> None:
        super().__init__()
        self.far = far

    def connectionMade(self) -> None:
        self.far.connected.callback(self)

    def messageReceived(self, kind: int, payload: bytes) -> None:
        self.far.kinds.append(kind)
        if kind in wire.RATES:
            self.sendMessage(kind, payload if self.far.echoes else bytes(len(payload)))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.far.lost.callback(type(reason.value))


class FarEnd(Factory):
    """Takes one call."""

    def __init__(self, echoes: bool = True) -> None:
        self.echoes = echoes
        self.kinds: list[int] = []
        self.connected: Deferred[Echo] = Deferred()
        self.lost: Deferred[type] = Deferred()

    def buildProtocol(self, addr: object) -> Echo:
        return Echo(self)


class Run(ProcessProtocol):
    """The command in a process of its own."""

    def __init__(self) -> None:
        self.out = b""
        self.err = b""
        self.done: Deferred[int] = Deferred()

    def outReceived(self, data: bytes) -> None:
        self.out += data

    def errReceived(self, data: bytes) -> None:
        self.err += data

    def processEnded(self, reason: Failure) -> None:
        self.done.callback(getattr(reason.value, "exitCode", -1))


class LoopbackTests(TestCase):
    """On real sockets, in real time."""

    timeout = 30

    def setUp(self) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor

    def listen(self, far: FarEnd) -> str:
        port: IListeningPort = self.reactor.listenTCP(0, far, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        return f"127.0.0.1:{port.getHost().port}"  # type: ignore[attr-defined]  # IAddress

    async def unused(self) -> str:
        port = self.reactor.listenTCP(0, Factory(), interface="127.0.0.1")
        address = f"127.0.0.1:{port.getHost().port}"
        await port.stopListening()
        return address

    async def place(self, *arguments: str) -> tuple[int, str, str]:
        options = Options()
        options.parseOptions(list(arguments))
        out, err = StringIO(), StringIO()
        code = await place(self.reactor, options, out, err)
        return code, out.getvalue(), err.getvalue()

    def speech(self) -> str:
        path = str(Path(self.mktemp()).absolute())
        write_wav(path, 8000, b"".join(SPEECH))
        return path

    def spawn(self, *arguments: str) -> tuple[Run, Any]:
        run = Run()
        code = (
            "import sys; from portero.placecall import run; sys.exit(run(sys.argv[1:]))"
        )
        process = self.reactor.spawnProcess(
            run,
            sys.executable,
            [sys.executable, "-c", code, *arguments],
            env=None,
            path=str(Path(placecall.__file__).parent.parent),
        )
        return run, process

    def end(self, process: Any) -> None:
        """After a failure, nothing stays behind."""
        with contextlib.suppress(ProcessExitedAlready):
            process.signalProcess("KILL")

    async def test_an_echo_is_heard_and_recorded(self) -> None:
        far = FarEnd()
        recording = self.mktemp()
        code, out, err = await self.place(
            *("--play", self.speech(), "--say-after", "0.2", "--seconds", "1.5"),
            *("--record", recording, self.listen(far)),
        )
        self.assertEqual((code, err), (placecall.HEARD, ""))
        self.assertIn("First sound after", out)
        self.assertIn("limit of --seconds", out)
        self.assertNotIn("\r", out)
        self.assertIs(await far.lost, ConnectionDone)
        self.assertEqual(far.kinds[0], wire.UUID)
        self.assertEqual(far.kinds[-1], wire.HANGUP)
        rate, pcm = read_wav(recording)
        self.assertEqual(rate, 8000)
        for frame in SPEECH:
            self.assertIn(frame, pcm)

    async def test_silence_is_exit_code_3(self) -> None:
        far = FarEnd(echoes=False)
        code, out, err = await self.place("--seconds", "0.3", self.listen(far))
        self.assertEqual(code, placecall.NOTHING_HEARD)
        self.assertIn("no microphone", out)
        self.assertIn("all was silence", out)
        self.assertIn("Nothing was heard", err)

    async def test_the_report_can_be_json(self) -> None:
        far = FarEnd()
        _, out, _ = await self.place(
            *("--play", self.speech(), "--say-after", "0", "--seconds", "0.4"),
            *("--json", self.listen(far)),
        )
        report = json.loads(out)
        self.assertEqual(report["rates"], [8000])
        self.assertGreater(report["frames"], 0)

    async def test_nobody_there_is_exit_code_2_with_the_remedy(self) -> None:
        where = await self.unused()
        code, _, err = await self.place(where)
        self.assertEqual(code, placecall.NOT_REACHED)
        self.assertEqual(
            err,
            f"Nothing listens on {where}: is portero running? Start it with: "
            f"twistd -n portero --port {where.rpartition(':')[2]}\n",
        )

    async def test_a_name_that_cannot_be_is_exit_code_2(self) -> None:
        code, _, err = await self.place("no such host:8089")
        self.assertEqual(code, placecall.NOT_REACHED)
        self.assertIn("No address is known for no such host", err)

    async def test_the_command_says_nobody_is_there(self) -> None:
        run, process = self.spawn(await self.unused())
        self.addCleanup(self.end, process)
        self.assertEqual(await run.done, placecall.NOT_REACHED)
        self.assertIn(b"is portero running?", run.err)

    async def test_the_command_refuses_wrong_options(self) -> None:
        run, process = self.spawn("--rate", "1")
        self.addCleanup(self.end, process)
        self.assertEqual(await run.done, placecall.BAD_OPTIONS)
        self.assertEqual(run.out, b"")
        self.assertEqual(len(run.err.splitlines()), 1)

    async def test_an_interrupt_ends_the_call_politely(self) -> None:
        far = FarEnd()
        recording = self.mktemp()
        run, process = self.spawn(
            *("--play", self.speech(), "--say-after", "0"),
            *("--record", str(Path(recording).absolute()), self.listen(far)),
        )
        await far.connected
        self.addCleanup(self.end, process)
        # Half a second of speech, the first of which has come back by then.
        while far.kinds.count(wire.SLIN) < 25:
            await deferLater(self.reactor, 0.01)
        process.signalProcess("INT")
        self.assertEqual(await run.done, placecall.HEARD)
        self.assertEqual(far.kinds[-1], wire.HANGUP)
        self.assertIs(await far.lost, ConnectionDone)
        self.assertIn(b"interrupted", run.out)
        self.assertEqual(run.err, b"")
        self.assertIn(SPEECH[5], read_wav(recording)[1])

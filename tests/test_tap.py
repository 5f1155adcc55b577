"""Tests of L{portero.tap}: the options, the wiring, and the program that it makes."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from twisted.application.service import Application, IService, MultiService
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

import portero
from portero import tap
from portero.announcement import DEMO
from portero.config import DEFAULT, Config
from portero.errors import CannotStart
from portero.logs.log import Log
from portero.logs.place import Place
from portero.sections import ListenSettings
from portero.service import Bridge
from portero.tap import Options


def parse(*arguments: str, **environ: str) -> Options:
    options = Options(environ)
    options.parseOptions(list(arguments))
    return options


class OptionsTests(SynchronousTestCase):
    def refused(self, *arguments: str, **environ: str) -> str:
        return str(self.assertRaises(UsageError, parse, *arguments, **environ))

    def test_without_options_it_listens_on_loopback_only(self) -> None:
        self.assertEqual(parse().settings, Config())

    def test_options_become_settings(self) -> None:
        settings = parse(
            *("-p", "9000", "--interface", "0.0.0.0", "--allow", "10.0.0.0/8"),
            *("--allow", "192.168.1.1/32", "--provider", "demo", "--web", "8091"),
        ).settings
        self.assertEqual(
            settings.listen,
            ListenSettings(
                port="9000",
                interface="0.0.0.0",
                allow=("10.0.0.0/8", "192.168.1.1/32"),
                web="8091",
            ),
        )
        self.assertEqual(settings.provider.kind, "demo")

    def test_options_win_over_the_file(self) -> None:
        path = self.mktemp()
        Path(path).write_text('[listen]\nport = "9001"\nmax_calls = 3\n')
        listen = parse("--config", path, "--port", "9000").settings.listen
        self.assertEqual((listen.port, listen.max_calls), ("9000", 3))

    def test_wrong_options_say_what_would_be_right(self) -> None:
        for arguments, expected in [
            (
                ["--port", "0"],
                "--port: [listen] port 0 is neither a port, 1 to 65535, nor",
            ),
            (["--port", "65536"], "such as unix:/run/portero.sock"),
            (["--port", "\u0663"], "such as unix:/run/portero.sock"),
            (["--port", "9" * 5000], "such as unix:/run/portero.sock"),
            (["--port", "sip"], "such as unix:/run/portero.sock"),
            (["--port", "tcp:sip"], "port tcp:sip is no Twisted endpoint"),
            (["--port", "foo:1"], "Unknown endpoint type: 'foo'"),
            (["--port", "tcp:1:colour=red"], "is no Twisted endpoint"),
            (["--port", "systemd:domain=INET:index=0"], "handed over no such socket"),
            (["--interface", "0.0.0.0"], "interface 0.0.0.0 can be reached by"),
            (["--interface", "10.0.0.1"], "for instance --allow 192.168.1.10/32"),
            (["--interface", "::"], "interface :: can be reached by other machines"),
            (["--interface", "pbx"], 'interface "pbx" is no IP address'),
            (["--port", "tcp:8089"], "port tcp:8089 can be reached by"),
            (["--port", "haproxy:tcp:8089"], "haproxy:tcp:8089:interface=127.0.0.1"),
            (["--allow", "everyone"], "it looks like 192.168.1.0/24"),
            (["--web", "0.0.0.0:80"], "web 0.0.0.0:80 is no Twisted endpoint"),
            (["--web", "tcp:8091"], "or give a port alone, which is for this machine"),
            (["--web", "web"], "web web is neither a port"),
            (["--provider", "opneai"], "there are: demo, openai; did you mean"),
            (["--provider", "openai"], "set OPENAI_API_KEY in the environment"),
            (["--config", "nope.toml"], "nope.toml: No such file or directory"),
            (["--colour"], "option --colour not recognized"),
            (["extra"], "Wrong number of arguments"),
        ]:
            self.assertIn(expected, self.refused(*arguments))

    def test_haproxy_beyond_loopback_is_refused_whatever_is_allowed(self) -> None:
        # Its header says an address of the sender's choice, which --allow would trust.
        said = self.refused("--port", "haproxy:tcp:8089", "--allow", "10.0.0.0/8")
        self.assertIn("on loopback", said)

    def test_a_tool_that_does_not_exist_is_refused(self) -> None:
        path = self.mktemp()
        Path(path).write_text('[agent]\ntools = ["hangupp"]\n')
        self.assertIn("did you mean hangup?", self.refused("--config", path))

    def test_a_url_of_the_environment_is_checked(self) -> None:
        said = self.refused(OPENAI_REALTIME_URL="ws://x.example/")
        self.assertIn("must begin with wss://", said)


class MakeServiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()

    def make(self, *arguments: str, **environ: str) -> Bridge:
        program = tap.makeService(parse(*arguments, **environ), self.reactor)
        self.assertTrue(IService.providedBy(program))
        assert isinstance(program, tap.Program)
        (bridge,) = program
        assert isinstance(bridge, Bridge)
        return bridge

    def ports(self) -> list[tuple[int, str]]:
        return [(port, interface) for port, _, _, interface in self.reactor.tcpServers]

    def test_binds_and_starts_nothing(self) -> None:
        self.make("--web", "8091")
        self.assertEqual(self.reactor.tcpServers, [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_binds_where_it_was_told_and_on_loopback_else(self) -> None:
        bridge = self.make(
            *("--web", "8091", "--interface", "0.0.0.0", "--allow", "10.0.0.0/8")
        )
        bridge.privilegedStartService()
        self.assertEqual(self.ports(), [(8091, "127.0.0.1"), (8089, "0.0.0.0")])
        bridge.startService()
        self.assertEqual(self.ports()[2:], [(0, "127.0.0.1")])  # the demo agent

    def test_without_web_there_is_no_status_resource(self) -> None:
        bridge = self.make()
        bridge.privilegedStartService()
        self.assertEqual(self.ports(), [(8089, "127.0.0.1")])

    def test_endpoint_strings_are_taken_as_they_are(self) -> None:
        self.make("--port", "unix:/run/portero.sock").privilegedStartService()
        self.assertEqual(self.reactor.unixServers[0][0], "/run/portero.sock")
        self.make("--port", "tcp6:7:interface=\\:\\:1").privilegedStartService()
        self.assertEqual(self.ports(), [(7, "::1")])
        self.make(
            "--port", "haproxy:tcp:8:interface=127.0.0.1"
        ).privilegedStartService()
        self.assertEqual(self.ports()[1:], [(8, "127.0.0.1")])

    def test_with_a_key_openai_answers_and_no_demo_runs(self) -> None:
        bridge = self.make(OPENAI_API_KEY="sk-1")
        said = bridge.roster.describe(DEFAULT)
        self.assertEqual(said, "gpt-realtime-2.1 at api.openai.com")
        bridge.startService()
        self.assertEqual(self.ports(), [(8089, "127.0.0.1")])

    def test_with_a_key_the_demo_answers_when_asked_for(self) -> None:
        bridge = self.make("--provider", "demo", OPENAI_API_KEY="sk-1")
        self.assertEqual(bridge.roster.describe(DEFAULT), DEMO)

    def test_what_cannot_be_loaded_ends_the_program_in_one_line(self) -> None:
        options = parse("--provider", "acme.voice:Provider")
        error = self.assertRaises(CannotStart, tap.makeService, options, self.reactor)
        self.assertTrue(str(error).startswith("portero: provider 'acme.voice:"))
        self.assertEqual(len(str(error).splitlines()), 1)


class ProgramLogTests(SynchronousTestCase):
    def program(self) -> tap.Program:
        return tap.Program(Log(MemoryReactorClock()))

    def test_twistd_logs_with_ours(self) -> None:
        program, application = self.program(), Application("portero")
        program.log.write_to(Place(lambda level, lines: None, timed=True))
        program.setServiceParent(application)
        components: Any = application
        self.assertIs(components.getComponent(ILogObserver), program.log)

    def test_but_not_if_it_was_told_to_log_with_another(self) -> None:
        program, application = self.program(), Application("portero")
        program.setServiceParent(application)
        components: Any = application
        self.assertIsNone(components.getComponent(ILogObserver, None))

    def test_it_may_be_a_part_of_something_else(self) -> None:
        program = self.program()
        program.log.write_to(Place(lambda level, lines: None, timed=True))
        program.setServiceParent(MultiService())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


class ProgramTests(SynchronousTestCase):
    """The program in a process of its own, as C{twistd} runs it."""

    def setUp(self) -> None:
        self.folder = self.mktemp()
        os.mkdir(self.folder)
        own = ("OPENAI_", "PORTERO_", "VAD_", "DEFAULT_VOICE", "COVERAGE_")
        self.environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(own)
        }
        self.environ["PYTHONPATH"] = str(Path(portero.__file__).parents[1])

    def start(self, *arguments: str, foreground: bool = True) -> subprocess.Popen[str]:
        code = "from twisted.scripts.twistd import run; run()"
        process = subprocess.Popen(
            [
                *(sys.executable, "-u", "-c", code, *(["-n"] if foreground else [])),
                *("--pidfile=", "portero", *arguments),
            ],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Where the tests run in the background of a shell, SIGINT is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.addCleanup(self.end, process)
        return process

    def end(self, process: subprocess.Popen[str]) -> None:
        if process.poll() is None:
            process.kill()
        process.communicate()

    def run_to_end(self, *arguments: str) -> str:
        """@return: The last line of a program that must fail, in words."""
        process = self.start(*arguments)
        out, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 1, out)
        self.assertNotIn("Traceback", out)
        self.assertNotIn("Unhandled", out)
        return out.rstrip().splitlines()[-1]

    def calling(self, port: int) -> socket.socket:
        """@return: A caller's connection, when a frame has come back."""
        end = time.monotonic() + 60
        while True:
            try:
                caller = socket.create_connection(("127.0.0.1", port), 60)
                break
            except OSError:
                self.assertLess(time.monotonic(), end, "it does not listen")
                time.sleep(0.05)
        self.addCleanup(caller.close)
        caller.sendall(struct.pack(">BH16s", 1, 16, uuid.uuid4().bytes))
        self.assertEqual(caller.recv(1), b"\x10")
        return caller

    def test_a_busy_port_ends_it_with_one_line_that_says_what_to_do(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            for arguments in (
                ("--port", str(port)),
                ("--port", str(free_port()), "--web", str(port)),
            ):
                line = self.run_to_end(*arguments)
                self.assertIn(f"{arguments[-2]}) on tcp:{port}:", line)
                self.assertIn("has this port: stop that one, or choose another", line)

    def test_an_address_of_another_machine_ends_it_with_one_line(self) -> None:
        line = self.run_to_end("--interface", "192.0.2.1", "--allow", "10.0.0.0/8")
        self.assertIn("this machine has no such address", line)

    def test_a_wrong_setting_ends_it_with_one_line(self) -> None:
        for arguments, expected in [
            (("--provider", "acme.voice:P"), "portero: provider 'acme.voice:P' cannot"),
            (("--prot", "8089"), "option --prot not recognized"),
            (("--interface", "0.0.0.0"), "for instance --allow 192.168.1.10/32"),
        ]:
            self.assertIn(expected, self.run_to_end(*arguments))

    def test_in_the_background_a_busy_port_is_a_failure_too(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = str(taken.getsockname()[1])
            process = self.start("--port", port, foreground=False)
            out, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 1, out)

    def test_a_second_signal_ends_the_calls_at_once(self) -> None:
        port = free_port()
        for number in (signal.SIGTERM, signal.SIGINT):
            process = self.start("--port", str(port))
            caller = self.calling(port)
            process.send_signal(number)
            assert process.stdout is not None
            for line in process.stdout:
                if "a second signal ends them now" in line:
                    break
            process.send_signal(number)
            out, _ = process.communicate(timeout=60)
            self.assertIn("ended badly: portero is stopping", out)
            self.assertNotIn("Traceback", out)
            caller.close()

    def test_a_call_may_end_by_itself_after_the_first_signal(self) -> None:
        port = free_port()
        process = self.start("--port", str(port))
        caller = self.calling(port)
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        for line in process.stdout:
            if "a second signal ends them now" in line:
                break
        self.assertIsNone(process.poll())
        caller.sendall(b"\x00\x00\x00")
        out, _ = process.communicate(timeout=60)
        self.assertIn("ended well: caller hung up", out)
        self.assertNotIn("Traceback", out)

    def test_at_sighup_the_configuration_is_read_again(self) -> None:
        path = Path(self.folder, "portero.toml")
        path.write_text("")
        process = self.start("--port", str(free_port()), "--config", path.name)
        assert process.stdout is not None
        told: list[str] = []

        def read_until(end: str) -> None:
            for line in process.stdout or ():
                told.append(line)
                if end in line:
                    return
            self.fail("".join(told))

        read_until("is listening")
        path.write_text("[agents.night]\nvoise = 1\n")
        process.send_signal(signal.SIGHUP)
        read_until("not taken over: all goes on as it was")
        self.assertIn('portero.toml:2: [agents.night] unknown key "voise"', told[-2])
        path.write_text("[agents.night]\nvoice = 'ash'\n")
        process.send_signal(signal.SIGHUP)
        read_until("answered by default, night")
        process.terminate()
        out, _ = process.communicate(timeout=60)
        self.assertNotIn("Traceback", "".join(told) + out)

    def test_help_loads_nothing_heavy(self) -> None:
        code = (
            "import sys\n"
            "from portero import tap\n"
            "try: tap.Options().parseOptions(['--help'])\n"
            "except SystemExit: pass\n"
            "heavy = 'numpy scipy autobahn twisted.web twisted.internet.reactor'\n"
            "print('heavy:', [name for name in heavy.split() if name in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=self.environ,
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertIn("--allow", done.stdout)
        self.assertEqual(done.stdout.splitlines()[-1], "heavy: []")

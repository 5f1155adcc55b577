"""The log of portero as twistd runs it, in a process of its own, with a call."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

from twisted.trial.unittest import SynchronousTestCase

import portero
from portero.logs.lines import BAR
from tests.lab.portero import OWN_VARIABLES
from tests.lab.process import Process, free_port

KEY = "sk-lab-0123456789abcdef"
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4} \[[\w.]+#(\w+)\] .*")
LEAKY = """
import os
from twisted.internet import reactor

def leak():
    print("the key is", os.environ["OPENAI_API_KEY"])
    raise ValueError("Authorization: Bearer " + os.environ["OPENAI_API_KEY"])

class Tool:
    name, description, parameters = "leaky", "Tells the key.", {}

    def __init__(self):
        reactor.callWhenRunning(leak)
"""
"""A tool of a site's own, which does as it should not."""
CONFIG = '[agent]\ntools = ["hangup", "leaky:Tool"]\n'


class ProgramLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        (self.folder / "leaky.py").write_text(LEAKY)
        (self.folder / "portero.toml").write_text(CONFIG)
        self.output = self.folder / "output"
        self.port, self.web_port = free_port(), free_port()
        self.call_id = str(uuid4())
        paths = [str(self.folder), str(Path(portero.__file__).parents[1])]
        self.environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(OWN_VARIABLES)
        }
        self.environ |= {"PYTHONPATH": os.pathsep.join(paths), "OPENAI_API_KEY": KEY}

    def start(self, *options: str, where: str = "output", **environ: str) -> Process:
        """
        @param options: Of twistd.
        @param where: The file that the log is in.
        """
        code = "from twisted.scripts.twistd import run; run()"
        process = Process(
            [
                *(sys.executable, "-c", code, "-n", "--pidfile=", *options, "portero"),
                *("--port", str(self.port), "--web", str(self.web_port)),
                *("--provider", "demo", "--config", "portero.toml"),
            ],
            self.output,
            env={**self.environ, **environ},
            cwd=self.folder,
        )
        self.addCleanup(process.stop)
        log = self.folder / where
        process.wait_for(
            "portero to listen",
            lambda: log.exists() and "is listening" in log.read_text("utf-8"),
            30,
        )
        return process

    def call(self) -> None:
        """A short one: the caller hangs up."""
        code = "from portero.cli import main; raise SystemExit(main())"
        subprocess.run(
            [
                *(sys.executable, "-c", code, "call", "--json", "--seconds=1"),
                *(f"--uuid={self.call_id}", f"127.0.0.1:{self.port}"),
            ],
            env=self.environ,
            check=False,
            capture_output=True,
            timeout=60,
        )

    def test_in_front_of_a_terminal(self) -> None:
        process = self.start()
        self.call()
        process.stop()
        self.check_human(process.log)

    def test_in_a_file_that_is_put_aside_at_a_signal(self) -> None:
        process = self.start("--logfile=portero.log", where="portero.log")
        file, old = self.folder / "portero.log", self.folder / "portero.log.1"
        os.kill(process.pid, signal.SIGUSR1)
        process.wait_for("another file", old.exists, 10)
        self.call()
        process.stop()
        self.assertIn("is listening", old.read_text("utf-8"))
        self.check_human(old.read_text("utf-8") + file.read_text("utf-8"))
        self.assertEqual(process.log, "")

    def check_human(self, text: str) -> None:
        lines = text.splitlines()
        self.assertTrue(lines)
        levels = set()
        for line in lines:
            found = LINE.fullmatch(line)
            self.assertTrue(found or line.startswith(BAR), line)
            levels |= {found[1]} if found else set()
        self.assertEqual(levels, {"info", "critical"})
        self.assertIn(f"] call {self.call_id} ended well: caller hung up", text)
        self.check_masked(text)

    def check_masked(self, text: str) -> None:
        self.assertNotIn(KEY, text)
        self.assertIn("the key is ***", text)
        self.assertIn("ValueError: Authorization: ***", text)

    def test_in_json_with_more_of_one_part_for_a_while(self) -> None:
        process = self.start(PORTERO_LOG_FORMAT="json")
        self.assertEqual(self.set_level("debug")[0]["namespace"], "portero.call")
        self.call()
        self.assertEqual(self.set_level("debug", 0), [])
        process.stop()
        self.check_masked(process.log)
        found = [json.loads(line) for line in process.log.splitlines()]
        for one in found:
            self.assertLessEqual(
                {"time", "level", "namespace", "message"}, one.keys(), one
            )
        of_call = [one for one in found if self.call_id in json.dumps(one)]
        for one in of_call:
            self.assertEqual(one["call_id"], self.call_id)
        words = {one["event"]: one for one in of_call}
        self.assertGreater(len(words), 2)
        (over,) = (words[key] for key in words if key.startswith("call {call_id} end"))
        self.assertIsInstance(over["seconds"], float)
        self.assertIsInstance(over["turns"], int)
        more = [one for one in found if one["level"] == "debug"]
        self.assertTrue(more)
        self.assertEqual({one["namespace"] for one in more}, {"portero.call"})

    def set_level(self, level: str, seconds: int = 60) -> list[dict[str, Any]]:
        """@return: The namespaces that have a level now."""
        asked = {"namespace": "portero.call", "level": level, "for": seconds}
        request = Request(
            f"http://127.0.0.1:{self.web_port}/api/v1/log",
            json.dumps(asked).encode(),
            {"Content-Type": "application/json"},
            method="PUT",
        )
        with urlopen(request, timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)["namespaces"]
        return found

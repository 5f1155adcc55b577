"""A real portero keeps records, sends them on, and others erase and export them."""

from __future__ import annotations

import json
import re
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

from twisted.trial.unittest import SynchronousTestCase

from portero.records.webhook import signature
from tests.lab.portero import Portero
from tests.lab.postgres import PASSWORD, Postgres
from tests.lab.process import wait_until
from tests.lab.website import Website

CHECKOUT: Final = Path(__file__).resolve().parents[2]
SECRET: Final = "a-secret-of-the-webhook"
FRAME: Final = b"\x10" + struct.pack(">H", 320) + bytes(320)
"""20 ms of silence, as Asterisk sends it."""
CONFIG: Final = """
[records]
{place}
numbers = "whole"
{more}
[agent]
keep_words = true
"""
NUMBER: Final = "+34600123678"
COMMAND: Final = "import sys; from portero.cli import main; sys.exit(main())"


class RecordsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="portero-kept-"))
        self.addCleanup(subprocess.run, ["rm", "-r", str(self.folder)], check=True)

    def start(self, place: str, more: str = "", **env: str) -> None:
        self.portero = Portero(
            *("--provider", "demo"),
            config=CONFIG.format(place=place, more=more),
            env={"STATE_DIRECTORY": str(self.folder), **env},
        )
        self.addCleanup(self.portero.stop)
        self.env = env

    def call(self, number: str = NUMBER) -> str:
        """
        A caller hears the greeting and hangs up.

        @return: The call's id.
        """
        call_id = str(uuid4())
        self.portero.announce(uuid=call_id, caller_number=number, called_number="100")
        with socket.create_connection(("127.0.0.1", self.portero.port), 5) as line:
            line.sendall(b"\x01" + struct.pack(">H", 16) + UUID(call_id).bytes)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                line.sendall(FRAME)
                time.sleep(0.02)
                if "said" in self.happened(call_id):
                    break
            line.sendall(b"\x00\x00\x00")
        self.assertTrue(self.portero.wait_until_idle())
        return call_id

    def happened(self, call_id: str) -> set[str]:
        """@return: The kinds of what happened in a call so far."""
        status, text = self.portero.get(f"/api/v1/calls/{call_id}")
        if status != 200:
            return set()
        return {one["kind"] for one in json.loads(text)["happened"]}

    def metric(self, name: str) -> float:
        _, text = self.portero.get("/metrics")
        (found,) = re.findall(rf"^portero_{name} (\S+)$", text, re.M)
        return float(found)

    def all_is_written(self) -> None:
        self.assertTrue(wait_until(lambda: self.metric("records_waiting") == 0, 10))

    def run_cli(self, *arguments: str) -> tuple[int, str, str]:
        """@return: Of the command portero: exit status, and both outputs."""
        done = subprocess.run(
            [
                *(sys.executable, "-c", COMMAND, *arguments),
                *("--config", str(self.portero.config), "--state", str(self.folder)),
            ],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env={"PYTHONPATH": str(CHECKOUT), "PATH": "/usr/bin:/bin", **self.env},
            timeout=30,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def exported(self) -> list[dict[str, Any]]:
        status, out, err = self.run_cli("export")
        self.assertEqual((status, err), (0, ""))
        return [json.loads(line) for line in out.splitlines()]

    def ids(self) -> list[str]:
        return [one["call"]["id"] for one in self.exported()]

    def kept(self, words: Sequence[str]) -> set[str]:
        """@return: Those words that stand in a file of the state folder."""
        content = b"".join(
            path.read_bytes() for path in self.folder.rglob("*") if path.is_file()
        )
        return {word for word in words if word.encode() in content}

    def test_a_file_is_erased_from_while_it_is_written_to(self) -> None:
        self.start("")
        first, second = self.call(), self.call("+34699888777")
        self.all_is_written()
        exported = self.exported()
        self.assertEqual([one["call"]["id"] for one in exported], [first, second])
        call = exported[0]
        self.assertEqual(call["call"]["caller_number"], NUMBER)
        self.assertIn(call["said"][0]["role"], ("assistant", "user"))
        words = (first, NUMBER, second, "+34699888777")
        self.assertEqual(self.kept(words), {*words})
        status, out, err = self.run_cli("erase", NUMBER, "--yes")
        self.assertEqual((status, err), (0, ""), out)
        self.assertEqual(self.kept(words), {second, "+34699888777"})
        third = self.call()
        self.all_is_written()
        self.assertEqual(self.ids(), [second, third])
        # And from within, which forgets it as well.
        self.assertEqual(self.delete(third), 200)
        self.assertEqual(self.portero.get(f"/api/v1/calls/{third}")[0], 404)
        self.assertEqual(self.kept((third, NUMBER)), set())
        self.assertIn(f"call {third}: operator", self.portero.log)
        self.assertEqual(self.delete(third), 404)
        self.assertNotIn("Traceback", self.portero.log)

    def delete(self, call_id: str) -> int:
        """@return: The HTTP status."""
        status, _ = self.portero._request("DELETE", f"/api/v1/calls/{call_id}")
        return status

    def test_a_server_that_comes_and_goes_and_a_webhook(self) -> None:
        server, website = Postgres(), Website()
        self.addCleanup(server.stop)
        self.start(
            f'url = "{server.database()}"',
            f'webhook = "{website.url}/calls"\nwebhook_allow = ["127.0.0.1/32"]',
            PORTERO_RECORDS_PASSWORD=PASSWORD,
            PORTERO_RECORDS_WEBHOOK_SECRET=SECRET,
        )
        first = self.call()
        self.all_is_written()
        server.halt()
        second = self.call()
        self.assertTrue(wait_until(lambda: self.metric("records_waiting") == 1, 5))
        self.assertIn("wait in memory", self.portero.log)
        self.assertEqual(self.portero.get("/readyz")[0], 200)
        server.start()
        self.all_is_written()
        self.assertIn("0 calls have none", self.portero.log)
        calls = self.exported()
        self.assertEqual([one["call"]["id"] for one in calls], [first, second])
        self.assertEqual(calls[0]["call"]["host"], socket.gethostname())
        # The webhook got both, as they are exported.
        self.assertTrue(wait_until(lambda: len(website.asked) == 2, 5))
        for asked, exported in zip(website.asked, calls, strict=True):
            stamp = asked.headers["portero-timestamp"]
            expected = signature(SECRET, stamp, asked.body)
            self.assertEqual(asked.headers["portero-signature"], expected)
            self.assertEqual(json.loads(asked.body), exported)
        status, _, err = self.run_cli("erase", first, "--yes")
        self.assertEqual((status, err), (0, ""))
        left = server.do("SELECT id FROM calls", database="portero1")
        self.assertEqual(left, [(second,)])
        self.assertEqual(server.holds("portero1", [first.encode()]), set())
        self.assertNotIn(PASSWORD, self.portero.log)
        self.assertNotIn("Traceback", self.portero.log)

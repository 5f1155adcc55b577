"""Tests of L{portero.doctor.checks}: all of them together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from portero.doctor import checks, configuration
from portero.doctor.command import Options
from portero.doctor.report import Finding
from tests.lab.process import free_port


class AllTests(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.told: list[Finding] = []
        self.patch(configuration, "OF_SYSTEMD", {})

    async def run_all(self, text: str, *arguments: str) -> list[Finding]:
        path, env = self.mktemp(), self.mktemp()
        Path(path).write_text(text)
        Path(env).write_text("")
        options = Options()
        options.parseOptions(["--config", path, "--env", env, *arguments])
        at: Any = reactor  # it provides more interfaces than its type says
        return await checks.run_all(at, options, self.told.append)

    async def test_the_order_is_always_the_same(self) -> None:
        text = f"[listen]\nport = {free_port()}\nweb = {free_port()}\n"
        found = await self.run_all(text, "--asterisk", "/not/there")
        self.assertEqual(
            [finding.check for finding in found],
            [
                *("configuration", "versions", "nvx", "files", "memory", "disk"),
                *("port", "status", "call", "service", "asterisk", "clock"),
            ],
        )
        self.assertEqual(
            sorted(self.told, key=lambda finding: finding.check),
            sorted(found, key=lambda finding: finding.check),
        )

    async def test_options_of_the_daemon_count(self) -> None:
        found = await self.run_all(
            "",
            *("--port", "70000", "--web", str(free_port())),
        )
        self.assertEqual([f.check for f in found], ["configuration", "the rest"])
        self.assertEqual(found, self.told)
        self.assertIn("--port", found[0].said)

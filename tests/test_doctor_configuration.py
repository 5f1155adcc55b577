"""Tests of L{portero.doctor.configuration}."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from portero.doctor import configuration
from portero.doctor.configuration import Installation, surroundings
from portero.doctor.report import Finding
from tests.lab.portero import OWN_VARIABLES


class ReadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.usual = Path(self.mktemp())
        self.environment = Path(self.mktemp())
        self.patch(configuration, "CONFIG", str(self.usual))
        self.patch(configuration, "ENVIRONMENT", str(self.environment))
        self.patch(configuration, "OF_SYSTEMD", {})
        own = {n: v for n, v in os.environ.items() if not n.startswith(OWN_VARIABLES)}
        self.patch(os, "environ", own)

    def read(
        self, text: str | None = None, env: str | None = None, port: str = ""
    ) -> tuple[Installation | None, list[Finding]]:
        path = None
        if text is not None:
            path = self.mktemp()
            Path(path).write_text(text)
        options = {"listen": {"port": port}} if port else {}
        return configuration.read(Clock(), path, env, options)

    def test_what_is_right_names_the_agents_and_who_they_are(self) -> None:
        installation, (found,) = self.read("[agents.night]\n", port="9000")
        assert installation is not None
        self.assertEqual(found.level, "ok")
        self.assertIn("night (the built-in demo agent)", found.said)
        self.assertEqual(installation.config.listen.port, "9000")
        self.assertIn("night", {a.name for a in installation.roster.agents()})

    def test_each_mistake_is_a_failure_with_its_place(self) -> None:
        installation, found = self.read("[agent]\nvoise = 1\nspeed = 9\n")
        self.assertIsNone(installation)
        self.assertEqual([f.level for f in found], ["fail", "fail"])
        self.assertIn(":2: [agent] unknown key", found[0].said)
        self.assertIn("portero check-config", found[0].remedy)

    def test_a_missing_key_is_one(self) -> None:
        _, found = self.read('[provider]\nkind = "openai"\n')
        self.assertEqual([f.level for f in found], ["fail"])
        self.assertIn("needs a key", found[0].said)

    def test_what_only_the_wiring_finds_is_one(self) -> None:
        _, found = self.read('[agent]\nrecord = true\nconsent = "agreement"\n')
        self.assertEqual([f.level for f in found], ["fail"])
        self.assertIn("[records] recordings", found[0].said)

    def test_what_is_not_as_it_should_be_is_told_too(self) -> None:
        installation, found = self.read("[listen]\nqueue_frames = 100\n")
        self.assertIsNotNone(installation)
        self.assertEqual([f.level for f in found], ["ok", "warn"])

    def test_the_environment_may_be_a_file(self) -> None:
        Path(self.environment).write_text(
            "OPENAI_API_KEY=sk-1\nSTATE_DIRECTORY=/x:/y\n"
        )
        installation, _ = self.read("", str(self.environment))
        assert installation is not None
        self.assertEqual(installation.config.kind_of(""), "openai")
        self.assertEqual(installation.state_folder, "/x")

    def test_the_usual_files_are_taken_when_none_is_named(self) -> None:
        self.environment.write_text("OPENAI_API_KEY=sk-1\n")
        installation, (found,) = self.read()
        assert installation is not None
        self.assertIn("no file, so all is the default", found.said)
        self.assertEqual(installation.config.kind_of(""), "demo")
        self.usual.write_text("[agents.usual]\n")
        installation, (found,) = self.read()
        assert installation is not None
        self.assertIn("usual", installation.config.agents)
        self.assertEqual(installation.config.kind_of(""), "openai")

    def test_a_file_of_the_environment_that_is_wrong_is_told(self) -> None:
        self.environment.write_text("export A=1\n")
        _, (found,) = self.read("", str(self.environment))
        self.assertIn("export belongs to the shell", found.said)


class SurroundingsTests(SynchronousTestCase):
    def test_what_systemd_gives_the_service_is_added(self) -> None:
        folder = self.mktemp()
        Path(folder).mkdir()
        self.patch(
            configuration,
            "OF_SYSTEMD",
            {"STATE_DIRECTORY": folder, "CREDENTIALS_DIRECTORY": "/not/there"},
        )
        self.assertEqual(surroundings({}), {"STATE_DIRECTORY": folder})
        own = {"STATE_DIRECTORY": "/own"}
        self.assertEqual(surroundings(own), own)

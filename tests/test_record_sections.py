"""Settings of what is kept: what does not go together is said before any call."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from portero.config import Config, load
from portero.errors import ConfigError
from portero.record_sections import RecordSettings


class RecordSectionTests(SynchronousTestCase):
    def load(self, text: str) -> Config:
        path = Path(self.mktemp())
        path.write_text(text)
        return load(str(path))

    def said(self, text: str) -> str:
        return str(self.assertRaises(ConfigError, self.load, text))

    def folder(self) -> str:
        path = Path(self.mktemp()).absolute()
        path.mkdir()
        return str(path)

    def test_by_default_little_is_kept(self) -> None:
        config = Config()
        self.assertEqual(config.records, RecordSettings("", "short", 90, ""))
        agent = config.agents["default"]
        self.assertEqual((agent.keep_words, agent.record, agent.consent), (0, 0, ""))

    def test_paths_that_can_be_had(self) -> None:
        folder = self.folder()
        found = self.load(
            f'[records]\nfile = "{folder}/r.sqlite"\nrecordings = "{folder}/sound"\n'
            '[agent]\nrecord = true\nconsent = "asked"\n'
        )
        self.assertEqual(found.records.recordings, f"{folder}/sound")
        self.load(f'[records]\nfile = "none"\nrecordings = "{folder}"')

    def test_a_place_for_recordings_counts_only_where_there_are_any(self) -> None:
        self.load('[records]\nrecordings = "/nowhere/at/all"')

    def test_a_folder_of_somebody_elses(self) -> None:
        folder = self.folder()
        self.patch(os, "access", lambda path, mode: path != folder)
        said = self.said(f'[records]\nfile = "{folder}/r.sqlite"')
        self.assertIn("cannot be written to by this user (id ", said)
        said = self.said(
            f'[records]\nrecordings = "{folder}"\n'
            '[agent]\nrecord = true\nconsent = "asked"\n'
        )
        self.assertIn("[records] recordings is", said)

    def test_captures_need_the_same(self) -> None:
        folder = self.folder()
        said = self.said("[agents.a]\ncapture = true")
        self.assertIn("[agents.a] capture = true needs consent", said)
        self.assertIn("docs/capture.rst", said)
        captured = '[agent]\ncapture = true\nconsent = "asked"\n'
        found = self.load(f'{captured}[records]\ncaptures = "{folder}/c"')
        self.assertEqual(found.records.captures, f"{folder}/c")
        said = self.said(f'{captured}[records]\ncaptures = "none"')
        self.assertIn('captures is "none", but an agent has capture = true', said)
        said = self.said(f'{captured}[records]\ncaptures = "/nowhere/at/all"')
        self.assertIn("[records] captures is", said)

    def test_each_agent_says_how_its_callers_know(self) -> None:
        self.load('[agent]\nconsent = "asked"\n[agents.a]\nrecord = true')
        said = self.said('[agents.a]\nrecord = true\n[agents.b]\nconsent = "asked"')
        self.assertIn("[agents.a] record = true needs consent", said)
        self.assertEqual(len(said.splitlines()), 1)

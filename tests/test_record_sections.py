"""Settings of what is kept: what does not go together is said before any call."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from portero.config import Config, check_keys, load
from portero.errors import ConfigError


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
        kept = config.records
        self.assertEqual((kept.file, kept.url, kept.recordings), ("", "", ""))
        self.assertEqual((kept.numbers, kept.days, kept.webhook), ("short", 90, ""))
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

    def test_a_database_that_several_hosts_share(self) -> None:
        environ = {"PORTERO_RECORDS_PASSWORD": "hunter22"}
        path = Path(self.mktemp())
        path.write_text('[records]\nurl = "postgresql://p@db.example/portero"')
        config = load(str(path), environ)
        self.assertEqual(config.secrets.records, "hunter22")
        self.assertNotIn("hunter22", repr(config))

    def test_a_url_that_cannot_be(self) -> None:
        for url, said in (
            ("mysql://db.example/portero", "must look like postgresql://"),
            ("postgresql://db.example:x/portero", "must look like postgresql://"),
            ("postgresql://p@db.example", "has no database in it"),
            ("postgresql://p@db.example/", "has no database in it"),
        ):
            self.assertIn(said, self.said(f'[records]\nurl = "{url}"'), url)

    def test_a_password_in_the_url_is_refused_and_not_repeated(self) -> None:
        for url in (
            "postgresql://p:hunter22@db.example/portero",
            "postgresql://p@db.example/portero?password=hunter22",
        ):
            said = self.said(f'[records]\nurl = "{url}"')
            self.assertIn(":2: [records] url may have no password in it", said)
            self.assertIn("PORTERO_RECORDS_PASSWORD", said)
            self.assertNotIn("hunter22", said)

    def test_there_is_one_place_for_records(self) -> None:
        url = "postgresql://p@db.example/portero"
        folder = self.folder()
        said = self.said(f'[records]\nurl = "{url}"\nfile = "{folder}/r.sqlite"')
        self.assertIn("url stands beside file", said)
        self.load(f'[records]\nurl = "{url}"\nfile = "none"')

    def test_what_is_not_installed_is_told_with_how_to_get_it(self) -> None:
        before = sys.modules.pop("psycopg", None)

        def back() -> None:
            del sys.modules["psycopg"]
            if before is not None:
                sys.modules["psycopg"] = before

        sys.modules["psycopg"] = None  # type: ignore[assignment]  # cannot be imported
        self.addCleanup(back)
        said = self.said('[records]\nurl = "postgresql://p@db.example/portero"')
        self.assertIn("url needs psycopg: pip install 'portero[postgres]'", said)

    def test_where_records_are_sent(self) -> None:
        for text, said in (
            ('webhook = "crm.example"', "is no address of a server"),
            ('webhook = "https://u:p@crm.example/"', "user or password"),
            ('webhook = "https://crm.example/{call_id}"', "may have no {NAME}"),
            ('webhook = "http://crm.example/"', "in webhook_allow"),
            ('webhook = "https://10.0.0.5/"', 'webhook_allow = ["10.0.0.5"]'),
            ('webhook = "https://crm.example/"\nfile = "none"', "needs records"),
        ):
            self.assertIn(said, self.said(f"[records]\n{text}"), text)
        self.load(
            '[records]\nwebhook = "http://10.0.0.5/x"\nwebhook_allow = ["10.0.0.0/8"]'
        )

    def test_what_is_sent_is_signed(self) -> None:
        config = self.load('[records]\nwebhook = "https://crm.example/calls"')
        error = self.assertRaises(ConfigError, check_keys, config)
        self.assertIn("PORTERO_RECORDS_WEBHOOK_SECRET", str(error))

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

"""Where what is kept of calls is."""

from __future__ import annotations

from importlib.util import find_spec

from twisted.trial.unittest import SynchronousTestCase

from portero.config import Config
from portero.keys import Secrets
from portero.record_sections import RecordSettings
from portero.records.places import database, folders, place, this_host
from portero.records.sqlite import RecordFile
from tests.parts import need


class PlaceTests(SynchronousTestCase):
    def test_a_name_wins_over_the_state_folder(self) -> None:
        self.assertEqual(place("/a", "/state", "x"), "/a")
        self.assertEqual(place("", "/state", "x"), "/state/x")
        self.assertEqual(place("", "", "x"), "")
        self.assertEqual(place("none", "/state", "x"), "")

    def test_all_folders_with_files_of_calls(self) -> None:
        found = folders(RecordSettings(recordings="/sound"), "/state")
        self.assertEqual(found, ("/sound", "/state/captures"))
        self.assertEqual(folders(RecordSettings(), ""), ())

    def test_a_file_is_what_the_settings_name(self) -> None:
        found = database(Config(), "/state")
        assert isinstance(found, RecordFile)
        self.assertEqual((found.path, found.is_there), ("/state/records.sqlite", False))
        self.assertIs(database(Config(), ""), None)

    def test_a_url_wins_over_the_state_folder(self) -> None:
        need(find_spec("psycopg") is not None, "the PyPI package psycopg[binary]")
        url = "postgresql://portero@db.example/portero"
        config = Config(records=RecordSettings(url=url), secrets=Secrets(records="x"))
        found = database(config, "/state")
        assert found is not None
        self.assertEqual((found.name, found.is_there), (url, True))

    def test_this_machine_has_a_name(self) -> None:
        self.assertNotEqual(this_host(), "")

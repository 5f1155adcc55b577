"""Tests of L{portero.logs.levels}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from portero.log_sections import LEVELS
from portero.logs import levels as module
from portero.logs.levels import Levels


class LevelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.levels = Levels()

    def test_info_and_more_is_logged_at_first(self) -> None:
        passing = [level for level in LEVELS if self.levels.passes("portero", level)]
        self.assertEqual(passing, ["info", "warn", "error", "critical"])

    def test_the_nearest_name_decides(self) -> None:
        self.levels.configure(
            "warn", {"portero": "info", "portero.web": "error", "twisted": "critical"}
        )
        for namespace, expected in (
            ("autobahn", "warn"),
            ("", "warn"),
            ("portero", "info"),
            ("portero.call.Call", "info"),
            ("portero.website", "info"),
            ("portero.web", "error"),
            ("portero.web.site.Root", "error"),
            ("twisted.internet", "critical"),
        ):
            self.assertEqual(self.levels.of(namespace), expected)

    def test_what_is_set_wins_until_it_is_taken_back(self) -> None:
        self.levels.configure("info", {"portero.web": "error"})
        self.assertFalse(self.levels.passes("portero.web.site", "debug"))
        self.levels.set_for_now("portero.web", "debug", 1.0)
        self.assertTrue(self.levels.passes("portero.web.site", "debug"))
        self.assertFalse(self.levels.passes("portero.call", "debug"))
        self.levels.configure("info", {"portero.web": "warn"})
        self.assertTrue(self.levels.passes("portero.web.site", "debug"))
        self.levels.unset("portero.web")
        self.assertFalse(self.levels.passes("portero.web.site", "info"))
        self.levels.unset("portero.web")

    def test_namespaces_without_end_are_not_all_remembered(self) -> None:
        self.patch(module, "MOST_KNOWN", 3)
        for n in range(10):
            self.assertTrue(self.levels.passes(f"n{n}", "info"))
        self.assertLessEqual(len(self.levels._known), 3)

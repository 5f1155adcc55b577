"""Tests of L{portero.log_sections}: a mistyped name logs nothing, so it is refused."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from portero.config import load
from portero.errors import ConfigError
from portero.log_sections import LogSettings, namespace_problem


class LogSectionTests(SynchronousTestCase):
    def load(self, text: str, **environ: str) -> LogSettings:
        path = Path(self.mktemp())
        path.write_text(text)
        return load(str(path), environ).log

    def said(self, text: str) -> str:
        return str(self.assertRaises(ConfigError, self.load, text))

    def test_by_default_a_person_can_read_it(self) -> None:
        self.assertEqual(self.load(""), LogSettings("human", "info", {}))

    def test_the_environment_wins(self) -> None:
        text = '[log]\nformat = "human"\nlevel = "error"\n'
        found = self.load(text, PORTERO_LOG_FORMAT="json", PORTERO_LOG_LEVEL="debug")
        self.assertEqual((found.format, found.level), ("json", "debug"))

    def test_a_level_of_a_part(self) -> None:
        found = self.load(
            '[log]\nlevels = { "portero.providers" = "debug", twisted = "warn" }'
        )
        levels = {"portero.providers": "debug", "twisted": "warn"}
        self.assertEqual(found.levels, levels)

    def test_what_is_wrong_is_named(self) -> None:
        for text, expected in (
            ('levels = { "portero.provider" = "debug" }', "did you mean portero.pr"),
            ('levels = { "portero..x" = "debug" }', "looks like portero.providers"),
            ('levels = { twisted = "warning" }', 'has "warning"; there are: debug'),
            ('level = "warning"', '"warning" must be'),
            ('format = "text"', '"text" must be one of "human", "json"'),
        ):
            self.assertIn(expected, self.said(f"[log]\n{text}\n"))

    def test_parts_of_the_program(self) -> None:
        for namespace in (
            *("portero", "portero.web", "portero.web.site", "portero.call.Call"),
            *("portero.audit", "portero.access", "twisted.internet", "acme.voice"),
        ):
            self.assertEqual(namespace_problem(namespace), "", namespace)
        for namespace in (
            *("", ".", "portero.", "por tero", "portero.kall", "portero.kall.Call"),
            *("a" * 101, "p\n", "portero.web.Site.site"),
        ):
            self.assertNotEqual(namespace_problem(namespace), "", namespace)

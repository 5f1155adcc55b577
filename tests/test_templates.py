"""Tests of L{portero.templates}: names in texts, and that values stay values."""

from __future__ import annotations

from datetime import datetime
from string import Formatter

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.prompts import WORDS
from portero.templates import BUILT_IN, FALLBACKS, moment, names, render

TEXTS = st.text("{}ab \n", max_size=12)


class NamesTests(SynchronousTestCase):
    def test_names_are_found_and_doubled_braces_are_none(self) -> None:
        for text, expected in [
            ("", set()),
            ("Hello", set()),
            ("{a} and {b}{a}", {"a", "b"}),
            ("{{a}}", set()),
            ("{{{a}}}", {"a"}),
            ("{café}", {"café"}),
        ]:
            self.assertEqual(names(text), expected)

    def test_other_braces_are_said_with_their_line(self) -> None:
        for text in ("{", "}", "{}", "{a", "a}", "{a b}", "{0}", "{a.b}", "{a!r}"):
            error = self.assertRaises(ValueError, names, f"one\ntwo {text}\n{{c}}")
            self.assertIn("has in its line 2 a brace", str(error), text)
        self.assertRaises(ValueError, names, "{a:>999999999}")

    @given(TEXTS)
    @settings(deadline=None)
    def test_what_is_right_means_what_it_does_in_python(self, text: str) -> None:
        try:
            found = names(text)
        except ValueError:
            return
        self.assertEqual(found, {n for _, n, _, _ in Formatter().parse(text) if n})
        self.assertEqual(
            render(text, dict.fromkeys(found, "-")),
            text.format_map(dict.fromkeys(found, "-")),
        )


class RenderTests(SynchronousTestCase):
    def test_a_value_is_never_read_as_a_template(self) -> None:
        values = {"a": "{b} {{b}} {0} {", "b": "secret"}
        self.assertEqual(render("<{a}>{{{b}", values), "<{b} {{b}} {0} {>{secret")

    @given(TEXTS, st.text(max_size=20))
    @settings(deadline=None)
    def test_all_but_the_places_stays(self, text: str, value: str) -> None:
        doubled = text.replace("{", "{{").replace("}", "}}")
        self.assertEqual(render(doubled + "{x}", {"x": value}), text + value)


class MomentTests(SynchronousTestCase):
    def test_is_spoken_in_each_language(self) -> None:
        now = datetime(2026, 3, 1, 9, 5)
        self.assertEqual(
            moment(now, "en"),
            {"date": "1 March 2026", "time": "09:05", "weekday": "Sunday"},
        )
        self.assertEqual(
            moment(now, "es"),
            {"date": "1 de marzo de 2026", "time": "09:05", "weekday": "domingo"},
        )

    def test_every_language_has_every_name(self) -> None:
        for language in WORDS:
            known = {*FALLBACKS[language], *moment(datetime(2026, 12, 31), language)}
            self.assertEqual(known, set(BUILT_IN))

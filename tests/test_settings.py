"""Tests of L{portero.settings}: what fits, and how it is said when it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.config import FAMILIES, SECTIONS
from portero.errors import ConfigError
from portero.settings import (
    MOST_FOUND,
    SHOWN,
    Wrong,
    fitting,
    from_text,
    nearest,
    setting,
    shown,
    table,
)


def _no_word(words: tuple[str, ...]) -> str:
    return "has a word" if words else ""


@dataclass(frozen=True, slots=True)
class Section:
    word: str = setting("a", "A word.", choices=("a", "abc"))
    port: str = setting("1", "A port.", number_too=True)
    whole: int = setting(1, "A count.", unit="ms", least=1, most=1000000)
    part: float = setting(0.5, "A part.", least=0, most=1)
    yes: bool = setting(True, "A choice.")
    words: tuple[str, ...] = setting((), "Words.", check=_no_word)
    names: Mapping[str, str] = setting({}, "Names.")


class TableTests(SynchronousTestCase):
    def test_every_default_of_portero_is_allowed(self) -> None:
        kinds = [*SECTIONS.values(), *(kind for kind, _ in FAMILIES.values())]
        for kind in kinds:
            for name, about in table(kind).items():
                if (kind.__name__, name) != ("TargetSettings", "to"):  # has none
                    self.assertEqual(about.problem(about.default), "", name)

    def test_every_setting_of_portero_is_told_of(self) -> None:
        for kind in (*SECTIONS.values(), *(kind for kind, _ in FAMILIES.values())):
            for name, about in table(kind).items():
                self.assertTrue(about.doc.endswith((".", "}}.")), name)
                self.assertEqual(about.least is None, about.most is None, name)
                if about.example is not None:
                    example = fitting(about.example, about.kind, about.number_too)
                    self.assertEqual(about.problem(example), "", name)

    def test_no_variable_is_of_two_settings(self) -> None:
        found = [a.env for kind in SECTIONS.values() for a in table(kind).values()]
        used = list(filter(None, found))
        self.assertEqual(len(used), len(set(used)))


class ProblemTests(SynchronousTestCase):
    def said(self, name: str, value: Any) -> str:
        about = table(Section)[name]
        return about.problem(fitting(value, about.kind, about.number_too))

    def test_what_fits_is_no_problem(self) -> None:
        for name, value in [
            ("word", "abc"),
            ("port", 8089),
            ("port", "x"),
            ("whole", 1),
            ("whole", 1000000),
            ("part", 1),
            ("part", 0.0),
            ("yes", False),
            ("words", []),
            ("names", {"a": ""}),
        ]:
            self.assertEqual(self.said(name, value), "", name)

    def test_what_does_not_is_said_with_what_is_allowed(self) -> None:
        for name, value, expected in [
            ("word", 1, 'must be one of "a", "abc"'),
            ("word", "ABD", 'must be one of "a", "abc"; did you mean abc?'),
            ("word", "xyz", 'must be one of "a", "abc"'),
            ("port", True, "must be text in quotes"),
            ("port", 2**53, "must be text in quotes"),
            ("whole", 0, "must be a whole number from 1 to 1000000 ms"),
            ("whole", 1.0, "must be a whole number from 1 to 1000000 ms"),
            ("whole", True, "must be a whole number from 1 to 1000000 ms"),
            ("part", 2**2000, "must be a number from 0 to 1"),
            ("part", float("nan"), "must be a number from 0 to 1"),
            ("yes", 1, "must be true or false"),
            ("words", "a", 'must be a list of texts: ["...", "..."]'),
            ("words", [1], 'must be a list of texts: ["...", "..."]'),
            ("words", ["a"], "has a word"),
            ("names", {"a": 1}, 'must be a table of texts: { name = "..." }'),
            ("names", ["a"], 'must be a table of texts: { name = "..." }'),
        ]:
            self.assertIn(expected, self.said(name, value), name)

    def test_texts_of_the_environment_mean_what_they_say(self) -> None:
        for text, kind, expected in [
            ("1", "int", 1),
            ("1.5", "int", "1.5"),
            ("9" * 5000, "int", "9" * 5000),
            ("0,5", "float", "0,5"),
            ("1", "float", 1.0),
            ("TRUE", "bool", True),
            ("0", "bool", False),
            ("yes", "bool", "yes"),
            ("1", "str", "1"),
        ]:
            found = from_text(text, kind)
            self.assertEqual((type(found), found), (type(expected), expected))


class ShownTests(SynchronousTestCase):
    def test_a_value_is_one_short_line(self) -> None:
        deep: list[Any] = []
        for _ in range(5000):
            deep = [deep]
        for value in ("\n\u2028\u202e\x7f\x85", "x" * 999, 16**5000, deep, "\ud800"):
            said = shown(value)
            self.assertLessEqual(len(said), SHOWN + 3)
            self.assertTrue(said.isprintable())

    def test_what_looks_secret_is_not_shown(self) -> None:
        for text in (
            "sk-proj-abc_DEF-123",
            "wss://me:sk-password@host/x",
            "https://host/?api_key=hunter2hunter2&x=1",
            "https://host/?token=hunter2hunter2",
            "x" * 70 + " sk-abcdefghijkl",
        ):
            said = shown({"x": [text]})
            for secret in ("abc_DEF", "password", "hunter2", "sk-abc"):
                self.assertNotIn(secret, said)
        self.assertEqual(shown("task-force ask-me@x"), '"task-force ask-me@x"')

    @given(st.text())
    @settings(deadline=None)
    def test_any_text_is_one_line(self, text: str) -> None:
        self.assertTrue(shown(text).isprintable())

    def test_a_name_gets_the_nearest_or_all(self) -> None:
        self.assertEqual(nearest("PROT", ["port", "host"]), "; did you mean port?")
        self.assertEqual(nearest("x", ["port", "host"]), "; there are: port, host")
        self.assertEqual(nearest("x", []), "; there are none")


class WrongTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.origins: dict[tuple[str, str], str] = {}
        self.wrong = Wrong(self.origins)

    def lines(self) -> list[str]:
        error = self.assertRaises(ConfigError, self.wrong.check)
        return str(error).splitlines()

    def test_nothing_wrong_raises_nothing(self) -> None:
        self.wrong.check()

    def test_lines_are_in_the_order_of_the_file_and_the_others_follow(self) -> None:
        for place in ("VAD_THRESHOLD", "a.toml:10", "a.toml:9", "--port", "a.toml:9"):
            self.wrong.say(place, f"of {place}")
        places = [line.split(": ")[0] for line in self.lines()]
        expected = ["a.toml:9", "a.toml:10", "VAD_THRESHOLD", "--port"]
        self.assertEqual(places, expected)

    def test_what_is_inherited_is_said_once_and_of_its_own_section(self) -> None:
        self.origins["agent", "voice"] = "a.toml:2"
        for name in ("a", "b"):
            self.origins[f"agents.{name}", "voice"] = "a.toml:2"
            self.wrong.of(f"agents.{name}", "voice", "is wrong", f"; try {name}")
        self.origins["agents.c", "voice"] = "a.toml:9"
        self.wrong.of("agents.c", "voice", "is wrong")
        expected = [
            "a.toml:2: [agent] voice is wrong; try a",
            "a.toml:9: [agents.c] voice is wrong",
        ]
        self.assertEqual(self.lines(), expected)

    def test_of_what_was_refused_nothing_more_is_said(self) -> None:
        self.wrong.refuse("agent", "voice", "is wrong")
        self.wrong.of("agent", "voice", "is not there")
        self.assertEqual(self.lines(), ["default: [agent] voice is wrong"])

    def test_what_is_missing_is_said_at_its_section(self) -> None:
        self.origins["targets.a", ""] = "a.toml:3"
        self.wrong.of("targets.a", "to", "is missing")
        self.assertEqual(self.lines(), ["a.toml:3: [targets.a] to is missing"])

    def test_a_line_is_one_line_and_has_no_secret(self) -> None:
        self.wrong.say("x", "a\nb\u2028 sk-proj-abcdefghijkl \x1b[2J")
        self.assertEqual(self.lines(), ["x: a\\nb\\u2028 sk-*** \\x1b[2J"])

    def test_enough_is_enough(self) -> None:
        for number in range(MOST_FOUND - 1):
            self.wrong.say(f"a.toml:{number}", "is wrong")
        error = self.assertRaises(ConfigError, self.wrong.say, "x", "is wrong")
        lines = str(error).splitlines()
        self.assertEqual(len(lines), MOST_FOUND + 1)
        self.assertTrue(lines[-1].startswith("there may be more"))

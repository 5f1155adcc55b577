"""What a model gives to a tool is judged before anything happens."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Final

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.arguments import GREATEST, MOST_CHARACTERS, problem, shown

SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "order": {"type": "string", "pattern": "[0-9]{6}"},
        "size": {"type": "string", "enum": ["small", "large"]},
        "note": {"type": "string", "minLength": 2, "maxLength": 10},
        "free": {"type": "string"},
        "count": {"type": "integer", "minimum": 1, "maximum": 9},
        "share": {"type": "number", "minimum": 0, "maximum": 1.5},
        "sure": {"type": "boolean"},
        "grade": {"type": "integer", "enum": [1, 2]},
    },
    "required": ["order"],
    "additionalProperties": False,
}


def said(**values: Any) -> str:
    return problem(SCHEMA, {"order": "123456", **values})


class ArgumentTests(SynchronousTestCase):
    RIGHT: ClassVar[list[tuple[str, list[Any]]]] = [
        ("order", ["000000"]),
        ("size", ["small", "large"]),
        ("note", ["ab", "a" * 10, "mañana"]),
        ("free", ["", "a" * MOST_CHARACTERS, "a\nb", "\U0001f525"]),
        ("count", [1, 9]),
        ("share", [0, 1, 1.5]),
        ("sure", [True, False]),
        ("grade", [1, 2]),
    ]
    WRONG: ClassVar[list[tuple[str, list[Any], str]]] = [
        ("order", ["12345", "1234567", "123456\n", " 123456", "x"], "match [0-9]{6}"),
        ("order", [123456, None, ["123456"], {}], "must be text"),
        ("size", ["Small", "small ", ""], 'must be one of "small", "large"'),
        ("note", ["a", ""], "must have 2 characters at least"),
        ("note", ["a" * 11], "must have 10 characters at most"),
        ("free", ["a" * (MOST_CHARACTERS + 1)], "must have 1000 characters at most"),
        ("free", ["a\ud800b"], "must be text"),
        ("count", [0, -1], "must be 1 at least"),
        ("count", [10], "must be 9 at most"),
        ("count", [1.0, "1", True, None, float("nan")], "must be a whole number"),
        ("share", [-0.1], "must be 0 at least"),
        ("share", [1.6], "must be 1.5 at most"),
        ("share", [float("nan"), float("inf"), 10**400], "out of all bounds"),
        ("share", ["1", True], "must be a number"),
        ("sure", [1, 0, "true", None], "must be true or false"),
        ("grade", [3], "must be one of 1, 2"),
        ("grade", [True], "must be a whole number"),
    ]

    def test_what_fits_is_let_through(self) -> None:
        for name, values in self.RIGHT:
            for value in values:
                self.assertEqual(said(**{name: value}), "", (name, value))

    def test_what_does_not_fit_is_told_with_what_would(self) -> None:
        for name, values, words in self.WRONG:
            for value in values:
                found = said(**{name: value})
                self.assertTrue(found.startswith(f"{name} "), found)
                self.assertIn(words, found, (name, value))

    def test_all_that_is_wrong_is_told_at_once(self) -> None:
        found = problem(SCHEMA, {"count": 0, "sure": 1})
        self.assertEqual(
            found,
            "order is missing; count must be 1 at least; sure must be true or false",
        )

    def test_what_nobody_asked_for_is_refused_by_name(self) -> None:
        found = said(context="internal")
        self.assertTrue(found.startswith('there is no argument "context"; there are: '))
        self.assertIn("order, size, note", found)
        empty = {"type": "object", "properties": {}, "additionalProperties": False}
        self.assertEqual(problem(empty, {}), "")
        self.assertIn("there are: none", problem(empty, {"a": 1}))

    def test_where_the_schema_allows_more_that_is_bounded_too(self) -> None:
        schema = {"type": "object", "properties": {}}
        self.assertEqual(problem(schema, {"a": "b", "c": 1, "d": [1, 2]}), "")
        self.assertIn("1000 characters", problem(schema, {"a": "b" * 1001}))
        self.assertIn("bounds", problem(schema, {"a": GREATEST + 1}))

    @given(
        st.dictionaries(
            st.sampled_from([*SCHEMA["properties"]]) | st.text(),
            st.recursive(
                st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
                lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
                max_leaves=4,
            ),
        )
    )
    def test_whatever_comes_it_is_judged_in_one_line(
        self, arguments: dict[str, Any]
    ) -> None:
        found = problem(SCHEMA, arguments)
        self.assertEqual(found.splitlines(), [found] if found else [])
        self.assertLess(len(found), 2000)
        if not found:
            self.assertLessEqual(arguments.keys(), SCHEMA["properties"].keys())
            self.assertRegex(arguments["order"], r"\A[0-9]{6}\Z")


class ShownTests(SynchronousTestCase):
    def test_it_is_one_line_of_ascii_cut_in_length(self) -> None:
        for value in ("a\r\nAction: x", "\x1b[2J\u2028", "é", {"a": ["\n"]}):
            text = shown(value)
            self.assertTrue(text.isascii() and text.isprintable(), text)
            self.assertEqual(json.loads(text), value)
        self.assertEqual(len(shown("x" * 1000)), 80)
        self.assertEqual(shown(b"x"), '"?"')

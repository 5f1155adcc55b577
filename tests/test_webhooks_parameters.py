"""Tests of L{portero.webhooks.parameters}."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from portero import arguments
from portero.webhooks import parameters


class SchemaTests(SynchronousTestCase):
    def test_a_description_alone_is_a_short_text(self) -> None:
        schema = parameters.schema({"name": "The customer's name"})
        self.assertEqual(
            schema,
            {
                "type": "object",
                "properties": {
                    "name": {
                        "type": "string",
                        "description": "The customer's name",
                        "maxLength": parameters.MOST_CHARACTERS,
                    }
                },
                "required": ["name"],
                "additionalProperties": False,
            },
        )

    def test_a_table_becomes_what_json_schema_calls_it(self) -> None:
        schema = parameters.schema(
            {
                "id": {"description": "a", "pattern": "[0-9]{6}", "most": 6},
                "size": {"description": "b", "one_of": ["s", "m"], "optional": True},
                "n": {
                    "description": "c",
                    "type": "integer",
                    "least": 1,
                    "most": 9,
                },
                "now": {"description": "d", "type": "boolean"},
            }
        )
        self.assertEqual(schema["required"], ["id", "n", "now"])
        found = schema["properties"]
        for about in found.values():
            del about["description"]
        self.assertEqual(
            found,
            {
                "id": {
                    "type": "string",
                    "pattern": "^(?:[0-9]{6})$",
                    "maxLength": 6,
                },
                "size": {"type": "string", "enum": ["s", "m"]},
                "n": {"type": "integer", "minimum": 1, "maximum": 9},
                "now": {"type": "boolean"},
            },
        )

    def test_the_toolbox_understands_every_word_of_it(self) -> None:
        schema = parameters.schema(
            {
                "id": {"description": "a", "pattern": "[0-9]{6}|none"},
                "n": {
                    "description": "c",
                    "type": "integer",
                    "least": 1,
                    "most": 9,
                },
                "size": {"description": "b", "one_of": ["s", "m"], "optional": True},
            }
        )
        right = {"id": "123456", "n": 2}
        self.assertEqual(arguments.problem(schema, right), "")
        for name, value in [
            ("id", "1234567"),
            ("id", "x123456"),
            ("id", "123456\n"),
            ("id", "none/.."),
            ("id", 123456),
            ("n", 0),
            ("n", 10),
            ("n", 1.5),
            ("n", True),
            ("size", "xl"),
            ("other", "x"),
        ]:
            wrong = {**right, name: value}
            self.assertNotEqual(arguments.problem(schema, wrong), "", repr(wrong))


class ProblemTests(SynchronousTestCase):
    def test_what_is_right_has_none(self) -> None:
        about = {"description": "a", "type": "number", "least": 0.5, "most": 2}
        self.assertEqual(parameters.problem({"a": "b", "c": about}), "")

    def test_each_mistake_is_named(self) -> None:
        for about, said in [
            (1, "a description in quotes, or a table"),
            ("", "no description"),
            ({}, "no description"),
            ({"type": "text"}, "no description"),
            ({"description": "a", "type": "text"}, "string, integer"),
            ({"description": "a", "type": "str"}, "string, integer"),
            ({"description": "a", "typ": "string"}, "did you mean type?"),
            ({"description": "a", "optional": "yes"}, "true or false"),
            ({"description": "a", "one_of": []}, "a list of values"),
            ({"description": "a", "one_of": [1]}, "of the type string"),
            ({"description": "a", "type": "integer", "one_of": [True]}, "integer"),
            ({"description": "a", "pattern": "("}, "no regular expression"),
            ({"description": "a", "pattern": 6}, "text in quotes"),
            ({"description": "a", "pattern": "([a-z]+ ?)+"}, "([a-z]++ ?)+"),
            ({"description": "a", "type": "integer", "pattern": "1"}, "for a string"),
            ({"description": "a", "most": "6"}, "must be a number"),
            ({"description": "a", "most": -1}, "a number of characters"),
            ({"description": "a", "type": "integer", "most": float("inf")}, "a number"),
            ({"description": "a", "type": "boolean", "most": 1}, "no most"),
            ({"description": "a", "least": 3, "most": 2}, "more than its most"),
        ]:
            found = parameters.problem({"size": about})
            self.assertIn(said, found, repr(about))
            self.assertIn("has size, ", found)

    def test_names_are_such_as_fit_into_braces(self) -> None:
        for name in ("", "a-b", "1", "ñ", "a b", "_a", "x" * 65):
            self.assertIn("a name is", parameters.problem({name: "b"}))

    def test_there_cannot_be_any_number(self) -> None:
        many: dict[str, Any] = {f"a{n}": "b" for n in range(31)}
        self.assertIn("more than 30", parameters.problem(many))

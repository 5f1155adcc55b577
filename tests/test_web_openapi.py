"""Tests of the document that describes the API: that it is right, and whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

import portero
from portero.interfaces import HAPPENINGS, LegFigures
from portero.web.schemas import DATA
from portero.web_sections import RIGHTS
from tests.api_case import ApiCase
from tests.test_reception import ID

DOCS = Path(__file__).resolve().parent.parent / "docs"


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from references(part)
    elif isinstance(value, list):
        for part in value:
            yield from references(part)


class DocumentTests(ApiCase):
    def setUp(self) -> None:
        super().setUp()
        self.whole = self.document()
        self.operations = [
            (method.upper(), path, about)
            for path, item in self.whole["paths"].items()
            for method, about in item.items()
        ]

    def test_it_is_openapi_of_this_version(self) -> None:
        self.assertEqual(self.whole["openapi"], "3.1.0")
        self.assertEqual(self.whole["info"]["version"], portero.__version__)
        self.assertEqual(self.whole["servers"], [{"url": "/api/v1"}])

    def test_every_schema_is_one(self) -> None:
        for schema in self.whole["components"]["schemas"].values():
            Draft202012Validator.check_schema(schema)
        for _, _, about in self.operations:
            for response in about["responses"].values():
                for content in response.get("content", {}).values():
                    Draft202012Validator.check_schema(content["schema"])

    def test_every_reference_leads_somewhere_and_every_schema_is_used(self) -> None:
        found = set(references(self.whole))
        components = self.whole["components"]
        for reference in found:
            kind, name = reference.removeprefix("#/components/").split("/")
            self.assertIn(name, components[kind], reference)
        for name in components["schemas"]:
            self.assertIn(f"#/components/schemas/{name}", found)

    def test_operations_have_names_of_their_own(self) -> None:
        names = [about["operationId"] for _, _, about in self.operations]
        self.assertEqual(len(names), len(set(names)))

    def test_what_needs_a_right_says_so_and_may_be_refused(self) -> None:
        for method, path, about in self.operations:
            right = about["description"].startswith("Needs the right to ")
            self.assertEqual(right, "security" not in about, (method, path))
            if right:
                self.assertLessEqual({"401", "403"}, about["responses"].keys())

    def test_every_operation_is_there(self) -> None:
        """None of them answers that there is no such path, or no such method."""
        for method, path, about in self.operations:
            if path in ("/events", "/calls/{id}/listen"):
                continue  # which do not end
            real = "/api/v1" + path.replace("{id}", ID)
            status, _, text = self.ask(real, method=method)
            self.assertNotEqual(status, 405, (method, path))
            self.assertNotIn("there is nothing here", text)
            self.assertIn("default", about["responses"])

    def test_every_kind_of_happening_is_described_with_what_it_tells(self) -> None:
        self.assertEqual(list(DATA), list(HAPPENINGS))
        for kind, words in HAPPENINGS.items():
            for name in DATA[kind]:
                self.assertIn(name, words, kind)

    def test_every_figure_is_described(self) -> None:
        described = self.whole["components"]["schemas"]["Figures"]["properties"]
        self.assertEqual([*described], [item.name for item in fields(LegFigures)])

    def test_the_rights_are_those_that_there_are(self) -> None:
        me = self.whole["components"]["schemas"]["Me"]["properties"]
        self.assertEqual(set(me["rights"]["items"]["enum"]), set(RIGHTS))


class PageTests(ApiCase):
    """C{docs/api.rst} and the document say the same."""

    def setUp(self) -> None:
        super().setUp()
        self.text = (DOCS / "api.rst").read_text("utf-8")

    def test_it_names_every_path_with_its_methods(self) -> None:
        for path, item in self.document()["paths"].items():
            for method in item:
                self.assertIn(f"``{method.upper()} {path}``", self.text)

    def test_it_names_every_query_and_every_body(self) -> None:
        for path, item in self.document()["paths"].items():
            for about in item.values():
                for one in about.get("parameters", ()):
                    self.assertIn(f"``{one['name']}``", self.text, path)
                body = about.get("requestBody", {"content": {}})
                for content in body["content"].values():
                    for name in content["schema"].get("properties", {}):
                        self.assertIn(name, self.text, path)

    def test_it_names_every_happening_and_all_that_it_tells(self) -> None:
        for kind, data in DATA.items():
            self.assertIn(f"   * - ``{kind}``\n", self.text)
            for name in data:
                self.assertIn(f"``{name}``", self.text, kind)

    def test_it_names_every_property_of_a_call(self) -> None:
        schemas = self.document()["components"]["schemas"]
        for shape in ("Call", "Ended", "Figures"):
            for name in schemas[shape]["properties"]:
                self.assertIn(f"``{name}``", self.text, shape)

"""Tests of L{portero.toml_lines}: each key on its line, however it is written."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero import toml_lines
from portero.errors import ConfigError
from portero.toml_lines import DEEPEST, TooDeep, lines, read

SCALARS = (
    "1",
    "-1.5e3",
    "true",
    "1979-05-27 07:32:00",
    '"#] = }"',
    r'"\"\\"',
    "''",
    '\'""" \\\'',
    '"""one line"""',
    '""""quotes" at both ends"""""',
    "''''x''''",
    '"""\n[no.header]\nno = 1 # \\"""\n"" \' \\\n  """',
    "'''\n[no.header]\n'' \"\"\" no = [\n'''",
    "[]",
    "[ 1, # no = ]\n  '''x\n]''', [ 2 ],\n\n]",
)
NAMES = st.text("ab-_0", min_size=1, max_size=3)
ODD_NAMES = st.text("ab =.#[]{}'\"\\\n\té", max_size=4)


class Writer:
    """Writes TOML down, and where it put what."""

    def __init__(self, data: st.DataObject) -> None:
        self.text = ""
        self.expected: dict[toml_lines.Path, int] = {}
        self._draw: Any = data.draw
        self._number = 0
        self._tables: list[toml_lines.Path] = [()]

    def document(self) -> None:
        self._keys(())
        for _ in range(self._draw(st.integers(0, 4))):
            self._blank()
            parent = self._draw(st.sampled_from(self._tables))
            brackets = self._draw(st.sampled_from([("[", "]"), ("[[", "]]")]))
            self.text += self._indent() + brackets[0]
            path = self._key(parent, whole=True)
            self.text += brackets[1] + self._end()
            if brackets[0] == "[":
                self._tables.append(path)
            self._keys(path)

    def _keys(self, table: toml_lines.Path) -> None:
        for _ in range(self._draw(st.integers(0, 3))):
            self._blank()
            self.text += self._indent()
            self._pair(table, 2)
            self.text += self._end()

    def _pair(self, table: toml_lines.Path, depth: int) -> None:
        path = self._key(table)
        self.text += self._draw(st.sampled_from(["=", " = ", "\t="]))
        self._value(path, depth)

    def _value(self, path: toml_lines.Path, depth: int) -> None:
        kind = self._draw(st.integers(0, 3)) if depth else 0
        if kind == 1:
            self._inline(path, depth)
        elif kind == 2:
            self.text += "[ # {\n"
            for _ in range(2):
                self._value(path, depth - 1)
                self.text += " ,\n"
            self.text += "]"
        else:
            self.text += self._draw(st.sampled_from(SCALARS))

    def _inline(self, path: toml_lines.Path, depth: int) -> None:
        self.text += "{ "
        for comma in self._draw(st.sampled_from([[], [""], [", ", ""]])):
            self._pair(path, depth - 1)
            self.text += comma
        self.text += " }"

    def _key(self, table: toml_lines.Path, whole: bool = False) -> toml_lines.Path:
        """@param whole: Written with all the names above it."""
        line = self.text.count("\n") + 1
        new = [self._name() for _ in range(self._draw(st.integers(1, 2)))]
        names = [*(table if whole else ()), *new]
        dots = st.sampled_from([".", " . "])
        self.text += self._draw(dots).join(map(self._written, names))
        for length in range(len(new)):
            self.expected.setdefault((*table, *new[: length + 1]), line)
        return (*table, *new)

    def _name(self) -> str:
        self._number += 1  # so that none comes twice
        return f"{self._draw(NAMES | ODD_NAMES)}{self._number}"

    def _written(self, name: str) -> str:
        bare = all(c.isascii() and (c.isalnum() or c in "-_") for c in name)
        ways = [json.dumps(name)]
        ways += [name] if bare else []
        ways += [] if set(name) & set("'\n") else [f"'{name}'"]
        written: str = self._draw(st.sampled_from(ways))
        return written

    def _indent(self) -> str:
        indent: str = self._draw(st.sampled_from(["", "  ", "\t"]))
        return indent

    def _end(self) -> str:
        end: str = self._draw(st.sampled_from(["\n", " # no = \"'[{\n", "\t\n\n"]))
        return end

    def _blank(self) -> None:
        self.text += self._draw(st.sampled_from(["", "\n", '# """ no = 1\n']))


def paths(table: dict[str, Any]) -> Iterator[toml_lines.Path]:
    """All that tomllib found, the elements of an array as one."""
    for key, value in table.items():
        yield (key,)
        yield from ((key, *path) for path in _within(value))


def _within(value: Any) -> Iterator[toml_lines.Path]:
    if isinstance(value, dict):
        yield from paths(value)
    elif isinstance(value, list):
        for element in value:
            yield from _within(element)


class LineTests(SynchronousTestCase):
    @given(st.data(), st.booleans())
    @settings(max_examples=300, deadline=None)
    def test_every_key_is_on_the_line_where_it_was_put(
        self, data: st.DataObject, windows: bool
    ) -> None:
        writer = Writer(data)
        writer.document()
        text = writer.text.replace("\n", "\r\n") if windows else writer.text
        self.assertEqual(set(paths(tomllib.loads(text))), set(writer.expected))
        self.assertEqual(lines(text), writer.expected)

    @given(st.text(max_size=200) | st.text("[]{}=.,#'\"\\\n a1", max_size=200))
    @settings(max_examples=300, deadline=None)
    def test_any_text_gives_lines_that_it_has(self, text: str) -> None:
        try:
            found = lines(text)
        except TooDeep as error:
            self.assertLessEqual(error.line, text.count("\n") + 1)
        else:
            self.assertLessEqual(set(found.values()), set(range(1, len(text) + 2)))

    def test_the_first_of_an_array_of_tables_counts(self) -> None:
        text = "[[a]]\nx = 1\n[[a]]\nx = 2\ny = 3\n[a.b]\n"
        expected = {("a",): 1, ("a", "x"): 2, ("a", "y"): 5, ("a", "b"): 6}
        self.assertEqual(lines(text), expected)

    def test_as_deep_as_is_allowed_and_no_deeper(self) -> None:
        for text in (
            "\n" + ".".join("a" * (DEEPEST + 1)) + " = 1",
            "\n[" + ".".join("a" * (DEEPEST + 1)) + "]",
            "\na = " + "[\n" * (DEEPEST + 1),
            "\n" + "a = {" * (DEEPEST + 1),
        ):
            self.assertEqual(self.assertRaises(TooDeep, lines, text).line, 2, text)
        deep = ".".join("a" * DEEPEST)
        self.assertEqual(len(lines(f"[{deep}]")), DEEPEST)
        lines("a = " + "[" * DEEPEST + "]" * DEEPEST)

    def test_hostile_megabytes_are_walked_through_once(self) -> None:
        # Each would take hours of a reader that goes back over what it has read.
        most = 1_000_000
        for part in (
            '"""',
            "'''x",
            "[{",
            ".a",
            "{a=",
            '"\\',
            '"\n',
            "a=[\n",
            "]]",
            "#",
        ):
            for text in (part * (most // len(part)), "a = " + part * (most // 4)):
                try:
                    found = lines(text[:most])
                except TooDeep:
                    continue
                self.assertLess(len(found), most)


class ReadTests(SynchronousTestCase):
    def file(self, text: str) -> str:
        path = Path(self.mktemp())
        path.write_bytes(text.encode())
        return str(path)

    def test_gives_what_the_file_says_and_its_lines(self) -> None:
        for text in ("\n[a]\nb = 1", "\r\n[a]\r\nb = 1\r\n", "\ufeff\n[a]\nb = 1"):
            found = read(self.file(text))
            self.assertEqual(found, ({"a": {"b": 1}}, {("a",): 2, ("a", "b"): 3}))

    def said(self, text: str) -> str:
        path = self.file(text)
        error = str(self.assertRaises(ConfigError, read, path))
        self.assertTrue(error.startswith(f"{path}:"), error)
        return error.removeprefix(f"{path}:")

    def test_a_mistake_in_the_last_line_has_its_line_too(self) -> None:
        for text in ("a = 1\na = 2", "a = 1\nb", "a = 1\nb = yes", "a = 1\n[b"):
            self.assertTrue(self.said(text).startswith("2: "), text)

    def test_what_has_no_end_is_named_where_it_begins(self) -> None:
        for value in ('"""', "'''x\n[d]", "[1,\n2", "[{ x = '''\n", '"""\\'):
            self.assertTrue(
                self.said(f"a = 1\nb = {value}\n\n").startswith("2: "), value
            )

    def test_a_mistake_before_what_looks_deep_is_told_instead(self) -> None:
        text = "[agent]\ngreeting = Hello\n" + ". . . a" * 100
        self.assertIn("2: Invalid value, at column 12; a text stands", self.said(text))

    @given(st.text(max_size=60) | st.text("[]{}=.,#'\"\\\n a1", max_size=200))
    @settings(deadline=None)
    def test_any_text_is_read_or_refused_in_one_line(self, text: str) -> None:
        Path("any.toml").write_text(text, "utf-8")
        try:
            document, found = read("any.toml")
        except ConfigError as error:
            self.assertRegex(str(error), r"\Aany\.toml:\d+: [^\n]+\Z")
        else:
            self.assertEqual(set(paths(document)), set(found))

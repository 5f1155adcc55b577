"""Tests of L{portero.reference}, and of what the documentation shows."""

from __future__ import annotations

import ast
import re
import tomllib
from importlib import import_module
from pathlib import Path
from textwrap import dedent
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from portero import reference
from portero.audio import write_wav
from portero.config import FAMILIES, SECTIONS, load
from portero.settings import table

CHECKOUT = Path(__file__).resolve().parent.parent
DOCS = CHECKOUT / "docs"
PAGES = [CHECKOUT / "README.rst", *sorted(DOCS.glob("*.rst"))]
TOML = re.compile(r"^\.\. code-block:: toml\n\n((?:    .*\n|\n)+)", re.MULTILINE)
STALE = "is not what the tables say: python -m portero.reference writes it anew"


class WrittenTests(SynchronousTestCase):
    def test_the_configuration_file_is_what_the_tables_say(self) -> None:
        text = (CHECKOUT / "conf" / "portero.toml").read_text("utf-8")
        self.assertTrue(
            text == reference.default_config(), f"conf/portero.toml {STALE}"
        )

    def test_the_page_is_what_the_tables_say(self) -> None:
        text = (DOCS / "configuration.rst").read_text("utf-8")
        above, _, below = text.partition(reference.MARK)
        self.assertTrue(below == reference.page(), f"docs/configuration.rst {STALE}")
        self.assertIn("What wins\n---------\n", above)

    def test_writing_leaves_what_is_above_the_mark(self) -> None:
        checkout = Path(self.mktemp())
        (checkout / "conf").mkdir(parents=True)
        (checkout / "docs").mkdir()
        page = checkout / "docs" / "configuration.rst"
        page.write_text(f"Mine.\n\n{reference.MARK}stale", "utf-8")
        reference.write(checkout)
        expected = f"Mine.\n\n{reference.MARK}{reference.page()}"
        self.assertEqual(page.read_text("utf-8"), expected)
        written = (checkout / "conf" / "portero.toml").read_text("utf-8")
        self.assertEqual(written, reference.default_config())


class CompletenessTests(SynchronousTestCase):
    def test_every_section_and_family_has_one_place(self) -> None:
        placed = [name for names in reference.CHAPTERS.values() for name in names]
        self.assertEqual(sorted(placed), sorted([*SECTIONS, *FAMILIES]))
        self.assertEqual(set(reference.FAMILY_TEXTS), set(FAMILIES))

    def test_every_heading_stands_before_a_setting_that_there_is(self) -> None:
        for section, key in reference.GROUPS:
            self.assertIn(key, table(SECTIONS[section]))

    def test_the_page_has_every_setting_once_a_section(self) -> None:
        kinds = {f"[{name}]": kind for name, kind in SECTIONS.items()}
        for family, (kind, parent) in FAMILIES.items():
            if not parent:
                kinds[f"[{family}.NAME]"] = kind
        for title, kind in kinds.items():
            start = f"\n{title}\n{'-' * len(title)}\n"
            part = reference.page().partition(start)[2]
            part = re.split(r"\n\[.+\]\n-", part)[0]
            found = re.findall(r"^``(\w+)``$", part, re.MULTILINE)
            self.assertEqual(found[: len(table(kind))], [*table(kind)], title)

    def test_every_setting_says_what_it_is(self) -> None:
        kinds = [*SECTIONS.values(), *(kind for kind, _ in FAMILIES.values())]
        for kind in kinds:
            for name, about in table(kind).items():
                self.assertRegex(about.doc, r"(?s)^\S.+\.$", f"{kind.__name__}.{name}")


class TomlTests(SynchronousTestCase):
    def test_values_are_written_as_toml_reads_them(self) -> None:
        for value in (
            *("", 'say "hi"\\', "Ruiz, Ferretería\n", "8089"),
            *(0, -1, 100, 0.5, 3600.0, True, False),
            *([], ["a", "b"], {}, {"flat": "unknown", "b": 'x"'}),
            {"a.b": "not b of a", "ñ": "", '"': "c"},
        ):
            written = f"key = {reference.toml(value)}"
            self.assertEqual(tomllib.loads(written), {"key": value})

    def test_a_long_text_is_several_lines_that_read_as_one(self) -> None:
        about = table(SECTIONS["agent"])["instructions"]
        lines = [*reference._entry(about, about.default, told=False)]
        self.assertGreater(len(lines), 3)
        written = "\n".join(line.removeprefix("# ") for line in lines)
        self.assertEqual(tomllib.loads(written), {"instructions": about.default})


class MarkupTests(SynchronousTestCase):
    def test_names_and_values_become_code_and_nothing_else_is_markup(self) -> None:
        for text, expected in [
            ('like "+34*", or *', 'like ``"+34*"``, or \\*'),
            ("voice_... of your own", "``voice_...`` of your own"),
            ("see api_key_file.", "see ``api_key_file``."),
            ("of {date}; {{ }}", "of ``{date}``; ``{{ }}``"),
            ("[listen] max_calls.", "``[listen]`` ``max_calls``."),
            ("a `b` |c|", "a \\`b\\` \\|c\\|"),
        ]:
            self.assertEqual(reference._rst(text), expected)

    def test_the_pages_are_well_formed(self) -> None:
        try:
            core = import_module("docutils.core")
        except ImportError:
            raise SkipTest("needs docutils") from None
        for page in PAGES:
            tree = core.publish_doctree(
                page.read_text("utf-8"),
                settings_overrides={"report_level": 5, "syntax_highlight": "none"},
            )
            found = [
                message.astext()
                for message in tree.findall()
                if message.tagname == "system_message" and message["level"] > 1
            ]
            self.assertEqual(found, [], page.name)


class ExampleTests(SynchronousTestCase):
    """All TOML in the documentation stands in blocks that are marked as such."""

    def test_every_example_loads(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        write_wav(folder / "welcome.wav", 8000, bytes(320))
        path = folder / "portero.toml"
        loaded = 0
        for page in PAGES:
            for block in TOML.findall(page.read_text("utf-8")):
                path.write_text(dedent(block), "utf-8")
                load(str(path))
                loaded += 1
        self.assertGreater(loaded, 2)

    def test_no_example_is_left_unmarked(self) -> None:
        names = "|".join([*SECTIONS, *FAMILIES])
        header = re.compile(rf"^ +\[({names})[.\]]", re.MULTILINE)
        for page in PAGES:
            unmarked = TOML.sub("", page.read_text("utf-8"))
            self.assertEqual(header.findall(unmarked), [], page.name)


class TroubleshootingTests(SynchronousTestCase):
    """What the page says that the log says, it says: it stands in the code."""

    def setUp(self) -> None:
        page = (DOCS / "troubleshooting.rst").read_text("utf-8")
        self.rows: list[dict[str, str]] = []
        for block in page.split(".. list-table::\n")[1:]:
            lines = re.split(r"\n(?=\S)", block)[0]
            titles, *rows = [
                [" ".join(cell.split()) for cell in re.split(r"(?m)^     - ", row)]
                for row in re.split(r"(?m)^   \* - ", lines)[1:]
            ]
            self.rows += [dict(zip(titles, row, strict=True)) for row in rows]
        self.texts: set[str] = set()
        self.words = {"forbidden"}
        code = Path(reference.__file__).parent
        for path in {*code.rglob("*.py")} - {*code.glob("simulator/*")}:
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    self.texts.add(node.value)
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    first = node.args[0] if node.args else None
                    if node.func.id == "Refused" and isinstance(first, ast.Constant):
                        self.words.add(str(first.value))

    def test_each_quoted_line_of_the_log_is_in_the_code(self) -> None:
        dialplan = (CHECKOUT / "conf" / "extensions_portero.conf").read_text("utf-8")
        quoted = 0
        for row in self.rows:
            cell = row["portero's log says"]
            texts = {dialplan} if "Asterisk's log" in cell else self.texts
            for line in re.findall(r"``(.+?)``", cell):
                quoted += 1
                for part in filter(None, map(str.strip, line.split("..."))):
                    self.assertTrue(any(part in text for text in texts), part)
        self.assertGreater(quoted, 40)

    def test_a_row_quotes_the_log_or_says_that_there_is_nothing(self) -> None:
        for row in self.rows:
            self.assertRegex(row["portero's log says"], "``|nothing|a reason of")
            self.assertNotIn("", row.values())

    def test_each_word_that_the_dialplan_is_told_is_explained(self) -> None:
        cells = [row["``refused=``"] for row in self.rows if "``refused=``" in row]
        explained = set(re.findall(r"``([a-z-]+)``", " ".join(cells)))
        # Those are not said to a dialplan: a connection is refused, or a browser.
        self.assertEqual(explained, self.words - {"not-announced", "refused"})

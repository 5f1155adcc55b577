"""Tests of L{portero.web.page}, and of its files as far as they can be read."""

from __future__ import annotations

import json
import re
from configparser import ConfigParser
from fnmatch import fnmatch
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import portero
from portero.callstate import State
from portero.interfaces import HAPPENINGS
from portero.record import Outcome
from portero.records.archive import IN_RECORDS, ONLY_MEMORY
from portero.turns import Floor
from portero.web.page import FILES, LANGUAGES, page, preferred
from portero.web.schemas import SCHEMAS
from tests.web_case import WebCase

FOLDER = Path(portero.__file__).parent / "web" / "static"
CHECKOUT = Path(__file__).resolve().parent.parent
MOST_SCRIPT = 25_000
"""Bytes of the page's module."""
UNSEEN = {"floor", "used"}
"""Happenings that come in the figures of a call too, and show there."""
PROGRAMS = ("page.js", "worklet.js")


def read(name: str) -> str:
    return (FOLDER / name).read_text("utf-8")


class Markup(HTMLParser):
    """What is where in the page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.inline: list[str] = []
        """Texts within scripts."""
        self.feed(read("page.html"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in ("script", "style") and data.strip():
            self.inline.append(data)

    def values(self, *names: str) -> list[str]:
        """@return: Of all attributes with one of these names."""
        return [
            value
            for _, attributes in self.tags
            for name, value in attributes.items()
            if name in names
        ]


class ServingTests(WebCase):
    def setUp(self) -> None:
        super().setUp()
        self.site = self.make_site(more=page())

    def test_the_page_comes_in_the_language_that_the_browser_asks_for(self) -> None:
        for wish, language in (("es-MX,es;q=0.9,en;q=0.8", "es"), ("fr, en", "en")):
            status, fields, text = self.ask("/", f"Accept-Language: {wish}")
            self.assertEqual(status, 200)
            self.assertEqual(fields["content-type"], "text/html; charset=utf-8")
            self.assertEqual(fields["vary"], "accept-language")
            self.assertIn(f'<html lang="{language}"', text)

    def test_each_file_comes_as_it_is_with_its_type(self) -> None:
        for path, kind in FILES.items():
            status, fields, text = self.ask(f"/{path}")
            self.assertEqual((status, text), (200, read(path)), path)
            self.assertEqual(fields["content-type"], f"{kind}; charset=utf-8")
            self.assertEqual(fields["cache-control"], "no-cache")
            self.assertEqual(fields["x-content-type-options"], "nosniff")

    def test_the_site_forbids_the_page_what_it_does_not_need(self) -> None:
        policy = self.ask("/")[1]["content-security-policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertIn("script-src 'self';", policy)

    def test_head_has_the_fields_alone(self) -> None:
        for path in ("/", "/page.js"):
            _, fields, _ = self.ask(path)
            status, head, nothing = self.ask(path, method="HEAD")
            self.assertEqual((status, nothing), (200, ""))
            self.assertEqual(head["content-length"], fields["content-length"])
            self.assertEqual(head["etag"], fields["etag"])

    def test_who_has_it_already_gets_nothing_again(self) -> None:
        for path in ("/", "/page.css"):
            etag = self.ask(path)[1]["etag"]
            status, fields, text = self.ask(path, f"If-None-Match: {etag}")
            self.assertEqual((status, text), (304, ""))
            self.assertEqual(fields["etag"], etag)
            self.assertEqual(self.ask(path, 'If-None-Match: "old"')[0], 200)

    def test_another_text_has_another_etag(self) -> None:
        etags = {self.ask(f"/{path}")[1]["etag"] for path in FILES}
        etags |= {
            self.ask("/", f"Accept-Language: {one}")[1]["etag"] for one in LANGUAGES
        }
        self.assertEqual(len(etags), len(FILES) + len(LANGUAGES))

    def test_nothing_else_is_served(self) -> None:
        for path in (
            "/page.html",
            "/page.py",
            "/static/page.js",
            "/texts",
            "/texts/",
            "/texts/fr.json",
            "/../page.py",
            "/texts/../../page.py",
            "/texts/%2e%2e/%2e%2e/page.py",
            "/texts%2fen.json",
            "/page.js/x",
        ):
            status, _, text = self.ask(path)
            self.assertNotIn("from __future__", text, path)
            self.assertEqual(status, 404, path)

    def test_it_is_only_read(self) -> None:
        status, _, _ = self.ask(
            "/page.js", "Content-Type: application/json", method="POST", body=b"{}"
        )
        self.assertEqual(status, 405)


class LanguageTests(SynchronousTestCase):
    def test_the_best_liked_language_that_the_page_has(self) -> None:
        for wish, language in (
            ("", "en"),
            ("es", "es"),
            ("ES-es", "es"),
            ("en;q=0.5, es;q=0.6", "es"),
            ("es;q=0.5, en", "en"),
            ("de, fr;q=0.9, es;q=0.1", "es"),
            ("es;q=0, en;q=0.1", "en"),
            ("es;q=much, en;q=0.1", "en"),
            ("es ; q=0.7 , en ; q=0.2", "es"),
            ("est, eng", "en"),
        ):
            self.assertEqual(preferred(wish), language, wish)

    @given(st.text())
    def test_any_wish_has_an_answer(self, wish: str) -> None:
        self.assertIn(preferred(wish), LANGUAGES)


class FileTests(SynchronousTestCase):
    def test_the_module_is_small(self) -> None:
        self.assertLess(len(read("page.js").encode()), MOST_SCRIPT)

    def test_each_file_is_served_and_packaged(self) -> None:
        there = {
            path.relative_to(FOLDER).as_posix()
            for path in FOLDER.rglob("*")
            if path.is_file()
        }
        self.assertEqual(there, {*FILES, "page.html"})
        setup = ConfigParser()
        setup.read(CHECKOUT / "setup.cfg")
        globs = setup["options.package_data"]["portero.web"].split(",")
        for path in there:
            # fnmatch's * would cross a slash, the one of setuptools does not.
            fits = [
                one
                for one in (glob.strip() for glob in globs)
                if fnmatch(f"static/{path}", one)
                and one.count("/") == f"static/{path}".count("/")
            ]
            self.assertTrue(fits, path)

    def test_uplot_is_the_release_of_its_author_with_its_licence(self) -> None:
        self.assertIn("uPlot (v1.6.32)", read("uplot.js")[:80])
        self.assertEqual(
            sha256(read("uplot.js").encode()).hexdigest(),
            "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
        )
        licence = read("uplot.LICENSE.txt")
        self.assertIn("MIT License", licence)
        self.assertIn("Leon Sorokin", licence)

    def test_what_a_call_says_cannot_become_markup_or_program(self) -> None:
        for name in PROGRAMS:
            found = re.search(
                r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc"
                r"|\beval\b|\bFunction\(|setHTML|createContextualFragment|DOMParser",
                read(name),
            )
            self.assertIsNone(found, name)

    def test_the_page_keeps_its_own_policy(self) -> None:
        markup = Markup()
        self.assertEqual(markup.inline, [])
        for tag, attributes in markup.tags:
            for name, value in attributes.items():
                self.assertFalse(name.startswith("on"), f"{tag} {name}")
                self.assertNotEqual(name, "style", tag)
                self.assertNotIn("javascript:", value)
        for path in markup.values("src"):
            self.assertIn(path.removeprefix("/"), FILES)
        for link in markup.values("href"):
            self.assertTrue(link.startswith("#") or link[1:] in FILES, link)

    def test_no_other_machine_is_asked_for_anything(self) -> None:
        for name in ("page.html", "page.css", *PROGRAMS):
            self.assertNotIn("//", re.sub(r"(?m)(^|\s)//.*$", "", read(name)), name)


class MarkupTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.markup = Markup()
        self.ids = self.markup.values("id")

    def test_an_id_is_there_once(self) -> None:
        self.assertEqual(len(self.ids), len(set(self.ids)))

    def test_what_the_module_looks_for_is_there(self) -> None:
        program = read("page.js")
        asked = set(re.findall(r'(?:\$|\bwrite)\("([^"]+)"[,)]', program))
        asked |= {f"{kind}-row" for kind in re.findall(r'stamp\("(\w+)"', program)}
        asked |= {
            f"{kind}-row" for kind in re.findall(r'list\([\w"]+, "(\w+)"', program)
        }
        self.assertGreater(len(asked), 50)
        self.assertEqual(asked - set(self.ids), set())

    def test_what_the_markup_points_to_is_there(self) -> None:
        for name in ("aria-labelledby", "aria-describedby", "popovertarget", "list"):
            for target in " ".join(self.markup.values(name)).split():
                self.assertIn(target, self.ids, name)

    def test_each_figure_of_a_call_is_shown(self) -> None:
        figures = SCHEMAS["Figures"]["properties"]
        numbers = {
            name
            for name, figure in figures.items()
            if figure["type"] in ("number", "integer")
        }
        self.assertIn("jitter_ms", numbers)
        shown = {value.partition("|")[0] for value in self.markup.values("data-v")}
        self.assertEqual(numbers - shown, set())

    def test_what_takes_a_right_names_one_that_there_is(self) -> None:
        rights = self.markup.values("data-right", "data-without")
        self.assertEqual(set(rights), {"act", "listen"})


class TextTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.texts = {
            language: json.loads(read(f"texts/{language}.json"))
            for language in LANGUAGES
        }
        self.english = self.texts["en"]
        self.program = read("page.js")

    def begins(self, prefix: str) -> set[str]:
        return {key for key in self.english if key.startswith(prefix)}

    def test_both_languages_say_the_same_things(self) -> None:
        spanish = self.texts["es"]
        self.assertEqual(list(self.english), list(spanish))
        for key, text in self.english.items():
            values = re.findall(r"\{[^}]*\}", text)
            self.assertEqual(
                sorted(values), sorted(re.findall(r"\{[^}]*\}", spanish[key])), key
            )
            self.assertTrue(text.strip() and spanish[key].strip(), key)

    def test_each_text_that_is_used_is_there_and_none_more(self) -> None:
        used = set(
            Markup().values("data-t", "data-s", "data-label", "data-hint")
        ) | set(re.findall(r'\bt\("([\w.]+)"', self.program))
        for one, other in re.findall(
            r'\bt\([^;]*?\? "([\w.]+)" : "([\w.]+)"', self.program
        ):
            used |= {one, other}
        used |= set(re.findall(r'limit\("([\w.]+)"', self.program))
        for prefix in re.findall(r"`(\w+\.)\$\{", self.program):
            found = self.begins(prefix)
            self.assertTrue(found, prefix)
            used |= found
        used |= {"NotAllowedError", "NotFoundError", "NotReadableError"}
        used |= {IN_RECORDS, ONLY_MEMORY}
        self.assertEqual(used, set(self.english))

    def test_each_value_in_a_text_is_written_in_a_way_that_there_is(self) -> None:
        match = re.search(r"const AS = \{(.*?)\n\};", self.program, re.S)
        assert match is not None
        ways = set(re.findall(r"^  (\w+)[:(]", match[1], re.M))
        self.assertIn("clock", ways)
        texts = [*self.english.values(), *self.texts["es"].values()]
        values = re.findall(r"\{([^}]*)\}", " ".join(texts))
        for value in [*values, *Markup().values("data-v")]:
            fits = re.fullmatch(r"[\w.]+(?:\|(\w+))?", value)
            assert fits is not None, value
            self.assertIn(fits[1] or "text", ways, value)

    def test_all_that_a_call_can_be_has_words(self) -> None:
        words = {f"state.{state.value}" for state in State}
        words -= {"state.talking"}  # then it says who has the floor
        words |= {f"floor.{floor.value.split(',')[0]}" for floor in Floor}
        words |= {f"outcome.{outcome.value}" for outcome in Outcome}
        words |= {f"mark.{did}" for did in ("say", "transfer", "hang_up")}
        words |= {"mark.paused", "mark.resumed"}
        self.assertEqual(words - set(self.english), set())

    def test_all_that_can_happen_is_shown(self) -> None:
        match = re.search(r"const TOLD = \{(.*?)\n\};", self.program, re.S)
        assert match is not None
        told = set(re.findall(r"^  (\w+)[:(]", match[1], re.M))
        marked = {key.removeprefix("mark.") for key in self.begins("mark.")}
        self.assertEqual(set(HAPPENINGS) - told - marked, UNSEEN)

"""Tests of L{portero.webhooks.request_text}: words of strangers stay what they are."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.webhooks import request_text
from portero.webhooks.request_text import Unfit
from tests.hostile import ARGUMENTS

URL: Final = "https://shop.example:8443/orders/{order}/status?by={order}&v=1"
DOTS: Final = {"", ".", ".."}


def reached(value: Any, url: str = URL) -> str:
    """@return: The address; empty: it was refused."""
    try:
        return request_text.url(url, {"order": value})
    except Unfit:
        return ""


class UrlTests(SynchronousTestCase):
    def assertInPlace(self, value: str, url: str) -> None:
        parts = urlsplit(url)
        self.assertEqual(parts.netloc, "shop.example:8443", value)
        self.assertEqual(parts.scheme, "https", value)
        self.assertTrue(url.isascii() and url.isprintable() and " " not in url, value)
        before, segment, after = parts.path.split("/")[1:]
        self.assertEqual((before, after), ("orders", "status"), value)
        self.assertNotIn(unquote(unquote(unquote(segment))).strip(), DOTS, value)
        self.assertNotIn("/", unquote(unquote(unquote(segment))), value)
        self.assertNotIn("\\", unquote(unquote(unquote(segment))), value)
        by, version = parts.query.split("&")
        self.assertEqual(version, "v=1", value)
        self.assertEqual(by.split("=")[0], "by", value)
        self.assertEqual(len(by.split("=")), 2, value)
        self.assertEqual(parts.fragment, "", value)

    def test_there_are_enough_hostile_ones(self) -> None:
        self.assertGreaterEqual(len(ARGUMENTS), 200)

    def test_no_hostile_one_leaves_its_place(self) -> None:
        sent = [(value, reached(value)) for value in ARGUMENTS]
        for value, url in sent:
            if url:
                self.assertInPlace(value, url)
        refused = [value for value, url in sent if not url]
        self.assertIn("..", refused)
        self.assertNotIn("1&order=2", refused)

    @given(st.text(max_size=50))
    def test_nothing_at_all_leaves_its_place(self, value: str) -> None:
        url = reached(value)
        if url:
            self.assertInPlace(value, url)

    def test_no_hostile_one_leaves_the_query(self) -> None:
        for value in ARGUMENTS:
            url = reached(value, "https://shop.example?q={order}&v=1")
            self.assertRegex(
                url, r"\Ahttps://shop\.example\?q=[A-Za-z0-9%._~-]*&v=1\Z", repr(value)
            )

    def test_plain_values_arrive_as_they_are(self) -> None:
        for value, expected in [
            ("4711", "4711"),
            (4711, "4711"),
            (1.5, "1.5"),
            (True, "true"),
            ("Calle Mayor 3", "Calle%20Mayor%203"),
            ("A+B", "A%2BB"),
            ("Ñandú", "%C3%91and%C3%BA"),
            ("50%", "50%25"),
            ("a.b", "a.b"),
            ("..a", "..a"),
        ]:
            url = reached(value, "https://a.example/{order}")
            self.assertEqual(url, f"https://a.example/{expected}")

    def test_two_places_cannot_make_dots_together(self) -> None:
        with self.assertRaises(Unfit):
            request_text.url("https://a.example/{a}{b}/x", {"a": ".", "b": "."})

    def test_what_is_missing_or_no_value_is_named(self) -> None:
        for value in ("", None, [], {}, ["a"], {"a": 1}):
            with self.assertRaises(Unfit) as caught:
                request_text.url(URL, {"order": value})
            self.assertIn("order", str(caught.exception))

    def test_too_long_an_address_is_refused(self) -> None:
        self.assertEqual(reached("x" * request_text.LONGEST_URL), "")

    def test_templates_that_could_go_elsewhere_are_no_templates(self) -> None:
        for url, said in [
            ("shop.example/orders", "is no address"),
            ("ftp://shop.example/", "is no address"),
            ("https:///orders", "has no host"),
            ("https://{shop}/orders", "only after the host"),
            ("https://shop.example{x}/orders", "only after the host"),
            ("https://shop.example:{port}/", "only after the host"),
            ("https://user:secret@shop.example/", "token_file"),
            ("https://shop.example\\@evil.example/", "token_file"),
            ("https://shop.example\\.evil/", "no host"),
            ("https://my_shop.example/", "no host"),
            ("https://a..example/", "no host"),
            ("https://-a.example/", "no host"),
            ("https://a.example:0/", "no host"),
            ("https://[1.2.3.4]/", "rackets"),
            ("https://shop.example/a b", "%20"),
            ("https://shop.example/ñ", "%20"),
            ("https://shop.example/\n", "%20"),
            ("https://shop.example/#a", "after #"),
            ("https://shop.example/{", "a brace"),
            ("https://shop.example/{a-b}", "a brace"),
            ("https://shop.example/{{a}}", "a brace"),
            ("https://shop.example:99999/", "ort"),
        ]:
            self.assertIn(said, request_text.url_problem(url), url)
        for url in (
            URL,
            "https://a.example?x={y}",
            "http://[fd00::1]:80/",
            "https://a",
        ):
            self.assertEqual(request_text.url_problem(url), "")


class HeaderTests(SynchronousTestCase):
    def test_no_hostile_one_is_more_than_a_word(self) -> None:
        for value in ARGUMENTS:
            line = request_text.header("caller {name}.", {"name": value})
            self.assertTrue(line.isascii() and line.isprintable(), repr(value))
            self.assertTrue(line.startswith("caller ") and line.endswith("."))

    def test_letters_lose_their_accents(self) -> None:
        line = request_text.header("{name}", {"name": "José Ñúñez Ł"})
        self.assertEqual(line, "Jose Nunez")

    def test_headers_that_are_not_free_are_named(self) -> None:
        for name in ("Authorization", "HOST", "cookie", "Content-Length", "a b", "a\n"):
            self.assertIn(repr(name)[1:-1], request_text.headers_problem({name: "x"}))
        self.assertIn("X-A", request_text.headers_problem({"X-A": "a\r\nb"}))
        self.assertEqual(request_text.headers_problem({"X-A": "{agent}: a"}), "")


class BodyTests(SynchronousTestCase):
    BODY: Final = '{"order": {order}, "text": "for {order}, \\"now\\"", "v": [1]}'

    def test_hostile_ones_are_nothing_but_values(self) -> None:
        for value in (*ARGUMENTS, 1, -1.5, True, None):
            found = json.loads(request_text.body(self.BODY, {"order": value}))
            words = "" if value is None else value
            words = json.dumps(value) if isinstance(value, int | float) else words
            expected = {"order": value, "text": f'for {words}, "now"', "v": [1]}
            self.assertEqual(found, expected, repr(value))

    @given(st.text(max_size=50))
    def test_nothing_at_all_is_more_than_a_value(self, value: str) -> None:
        found = json.loads(request_text.body(self.BODY, {"order": value}))
        self.assertEqual((found["order"], found["v"]), (value, [1]))

    def test_a_body_that_is_no_json_is_refused_with_the_configuration(self) -> None:
        for body in ("{", "order={order}", "{{order}: 1}", '{"a": x{order}}', '"{a}'):
            self.assertIn("is no JSON", request_text.body_problem(body), body)
        for body in (self.BODY, "{a}", '["{a}{b}"]', '{"{a}": "\\\\", "b": {b}}', "1"):
            self.assertEqual(request_text.body_problem(body), "", body)

    def test_the_document_is_bounded(self) -> None:
        with self.assertRaises(Unfit):
            request_text.document({"a": "x" * request_text.LARGEST_BODY})
        with self.assertRaises(Unfit):
            request_text.document({"a": object()})

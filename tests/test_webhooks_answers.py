"""Tests of L{portero.webhooks.answers}."""

from __future__ import annotations

import json
from typing import Final

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.webhooks.answers import CUT, MOST_CHARACTERS, Unreadable, excerpt, part_of

JSON: Final = "application/json"
KINDS: Final = ("", JSON, "text/html", "text/plain; charset=latin-1", "image/png")


class JsonTests(SynchronousTestCase):
    ORDER: Final = json.dumps(
        {"order": {"status": "sent", "items": [{"name": "Tür"}], "late": False}}
    ).encode()

    def test_a_path_leads_to_a_part(self) -> None:
        for path, expected in [
            ("order.status", "sent"),
            ("order.items.0.name", "Tür"),
            ("order.items", '[{"name": "Tür"}]'),
            ("order.late", "false"),
            (
                "",
                '{"order": {"status": "sent", "items": [{"name": "Tür"}], '
                '"late": false}}',
            ),
        ]:
            self.assertEqual(part_of(self.ORDER, JSON, True, path), expected)

    def test_a_path_that_leads_nowhere_is_told(self) -> None:
        for path in (
            "x",
            "order.x.y",
            "order.items.1",
            "order.items.x",
            "order.late.a",
        ):
            with self.assertRaises(Unreadable) as caught:
                part_of(self.ORDER, JSON, True, path)
            self.assertIn("it has no ", str(caught.exception))

    def test_what_is_no_json_is_told(self) -> None:
        for content in (b"", b"{", b"[" * 200_000, b"1" * 5000, b"<html>"):
            with self.assertRaises(Unreadable):
                part_of(content, JSON, True, "")
            with self.assertRaises(Unreadable):
                part_of(content, "text/html", True, "order")

    def test_a_part_of_json_that_is_cut_off_cannot_be_had(self) -> None:
        with self.assertRaises(Unreadable):
            part_of(self.ORDER, JSON, False, "order")
        self.assertIn("sent", part_of(self.ORDER, JSON, False, ""))


class TextTests(SynchronousTestCase):
    def test_html_is_read_without_its_tags(self) -> None:
        page = (
            b"<html><head><style>p{}</style><title>Shop</title></head><body>"
            b"<script>if (a<b) alert('x')</script><p>Open &amp; <b>well</b>\n\n until "
            b"20&nbsp;h</p></body>"
        )
        words = part_of(page, "text/html; charset=utf-8", True, "")
        self.assertEqual(" ".join(words.split()), "Shop Open & well until 20 h")

    def test_html_that_is_broken_takes_no_longer(self) -> None:
        size = 262_144
        for piece in (b"<", b"<a", b"<script>", b"&#9", b"<!--", b"</", b"a<b ", b"&"):
            page = (piece * size)[:size]
            self.assertLessEqual(len(part_of(page, "text/html", True, "")), 4000)
        self.assertEqual(part_of(b"<" + b"a" * size, "text/html", True, "")[:2], "<a")

    def test_a_long_answer_is_cut_and_says_so(self) -> None:
        words = part_of(b"x" * 5_000_000, "text/plain", False, "")
        self.assertEqual(len(words), MOST_CHARACTERS)
        self.assertTrue(words.endswith(CUT))

    def test_the_charset_counts(self) -> None:
        self.assertEqual(part_of("ñ".encode(), "text/plain", True, ""), "ñ")
        latin = "text/plain; charset=ISO-8859-1"
        self.assertEqual(part_of("ñ".encode("latin-1"), latin, True, ""), "ñ")

    def test_an_excerpt_is_one_short_line(self) -> None:
        self.assertEqual(excerpt(b"<p>no\r\n such order", "text/html"), "no such order")
        self.assertEqual(len(excerpt(b"x" * 9999, "text/plain")), 300)

    @given(st.binary(max_size=200), st.sampled_from(KINDS), st.booleans())
    def test_whatever_comes_becomes_text_that_can_be_sent(
        self, content: bytes, kind: str, whole: bool
    ) -> None:
        try:
            words = part_of(content, kind, whole, "")
        except Unreadable:
            words = ""
        (words + excerpt(content, kind)).encode()

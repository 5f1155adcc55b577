"""Tests of L{portero.webhooks.repeats}."""

from __future__ import annotations

import re
import time

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.webhooks.repeats import take_for_ever

FOR_EVER = (
    r"([A-Za-z]+ ?)+",
    r"(?i)([a-z]+-?)+",
    r"(\w+\s*)*",
    r"(\d+[.,]?)+",
    r"(a+)+",
    r"(a*?)*?",
    r"(.*)*",
    r"(\w\w?)+",
    r"(a|aa)+",
    r"(a|b+)*",
    r"(x+x+)+y",
    r"((a?){1,20}b?)*",
    r"ORD-([a-z]+ ?)*x",
    r"(?:(?:[0-9]+)*)",
    r"(([a-z]+)(-?))+",
)
IN_TIME = (
    r"",
    r"[0-9]{6}",
    r"\d{4}-\d\d-\d\d",
    r"\d\d:\d\d",
    r"(foo|bar)+",
    r"(\d{1,3}\.){3}\d{1,3}",
    r"(\d{3}[ -]?)+",
    r"[a-z]+(-[a-z]+)*",
    r"([A-Za-z]+ )*[A-Za-z]+",
    r"([A-Za-z]++ ?)+",
    r"(?>a+)+",
    r"(\w ?)+",
    r"((ab)+c)*",
    r"([0-9A-F]{2}:)*",
    r"(x?){0,10}",
    r"(?=.*\d).{6,}",
    r"[^@\s]+@[^@\s]+\.[a-z]{2,}",
)
SECONDS = 5.0
"""Of processor time: more than any of them takes, less than for ever."""


class RepeatsTests(SynchronousTestCase):
    def test_what_doubles_with_each_letter_is_found(self) -> None:
        for pattern in FOR_EVER:
            self.assertTrue(take_for_ever(pattern), pattern)

    def test_what_is_usual_is_not(self) -> None:
        for pattern in IN_TIME:
            self.assertFalse(take_for_ever(pattern), pattern)

    @given(st.sampled_from(IN_TIME), st.text("aZ0 -:.,@x", max_size=40))
    @settings(max_examples=200, deadline=None)
    def test_what_is_not_found_ends_soon(self, pattern: str, text: str) -> None:
        began = time.thread_time()
        for longer in (text, text[:1] * 500, text[:2] * 250, f"{text[:1] * 499}!"):
            re.fullmatch(pattern, longer)
        self.assertLess(time.thread_time() - began, SECONDS)

    @given(st.from_regex(r"[ab()|*+?.\\d-]{0,12}", fullmatch=True))
    def test_whatever_re_takes_is_judged(self, pattern: str) -> None:
        try:
            re.compile(pattern)
        except re.error:
            return
        self.assertIn(take_for_ever(pattern), (True, False))

"""Tests of L{portero.logs.masking}: what is secret, and what only resembles it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.logs.masking import Mask

WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6)


class MaskTests(SynchronousTestCase):
    def test_what_looks_like_a_secret_is_taken_out(self) -> None:
        mask = Mask()
        for text, expected in (
            ("the key sk-proj-abc_DEF-123 is wrong", "the key sk-*** is wrong"),
            ("Authorization: Bearer abc.def-1", "Authorization: ***"),
            ("got bearer abc.def-1, hm", "got bearer *** hm"),
            ("{b'authorization': [b'Basic Zm9v']}", "{b'authorization': [b'***']}"),
            ("{'Authorization': 'Bearer x1'}", "{'Authorization': '***'}"),
            ("Headers({b'cookie': [b'portero=a']})", "Headers({b'cookie': [b'***']})"),
            ("wss://me:pass@host/v1?model=m", "wss://***@host/v1?model=m"),
            ("/x?token=abcdef&to=b", "/x?token=***&to=b"),
            ("password=hunter22", "password=***"),
            ("OPENAI_API_KEY=abcdefgh", "OPENAI_API_KEY=***"),
        ):
            self.assertEqual(mask(text), expected)

    def test_what_only_resembles_one_stays(self) -> None:
        for text in (
            "a risk-averse task-force, sk-1",
            "check OPENAI_API_KEY",
            "see https://platform.openai.com/account/api-keys.",
            "mail ana@example.com waits",
            "4210 tokens for $0.02, 1234 ms",
            "the bearer of bad news",
        ):
            self.assertEqual(Mask(["1234", ""])(text), text)

    def test_known_secrets_are_taken_out_wherever_they_are(self) -> None:
        mask = Mask(["pässwörd", 'a"b\\c/d+e', "abcdefgh", "abcdefghij"])
        self.assertEqual(mask("xpässwördx"), "x***x")
        self.assertEqual(mask('{"it": "a\\"b\\\\c/d+e"}'), '{"it": "***"}')
        self.assertEqual(mask("/?q=a%22b%5Cc%2Fd%2Be"), "/?q=***")
        self.assertEqual(mask("abcdefghij"), "***")

    @given(st.lists(WORDS, min_size=1, max_size=5), st.text(), st.text())
    def test_no_known_secret_is_ever_left(
        self, secrets: list[str], before: str, after: str
    ) -> None:
        found = Mask(secrets)(before + secrets[0] + after)
        self.assertNotIn(max(secrets, key=len), found)

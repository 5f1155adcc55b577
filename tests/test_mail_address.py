"""One address, and nothing beside it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.mail.address import LONGEST, outline, parse, problem, spelled

HOSTILE = (
    *("", " ", "@", "a@", "@b.example", "a", "a@b", "a b@c.example", "a@b c.example"),
    *("a@b.example,c@d.example", "a@b.example;c@d.example", "a@b.example c@d.example"),
    *("<a@b.example>", "A <a@b.example>", "a@b.example>", "a@b.example (x)", "a@@b.c"),
    *('"a"@b.example', '"a b"@b.example', "a\\@b.example", "a@[127.0.0.1]", "a@[::1]"),
    *("a@127.0.0.1", "a@b.1", "a@-b.example", "a@b-.example", "a@.example", "a@b..c"),
    *("a@b.example\n", "a@b.example\r\nBcc: c@d.example", "a\r\n@b.example", "a\n@b.c"),
    *("a@b.example\r\nRCPT TO:<c@d.example>", "a@b.example\x00", "a\x00@b.example"),
    *("a@b.example\x85", "a@b.example\u2028c@d.example", "a@b.example\x0bc", "\ta@b.c"),
    *(".a@b.example", "a.@b.example", "a..b@c.example", "jos\xe9@b.example", "a%@"),
    *("group:a@b.example;", "mailto:a@b.example", "a@b.example?bcc=c@d.example"),
    *("=?utf-8?q?a?=@b.example\n", "a@b.example/x", "a@user:b.example", "a@b\u3002"),
    *("a@\u200b.example", "a@" + "b" * 64 + ".example", "a" * 65 + "@b.example"),
    *("a@" + ".".join(["b" * 60] * 5), "x" * 100_000, "a@" + "b." * 50_000 + "c"),
    *("a@xn--a.example", "a@b\uff0eexample,c", "\ud800@b.example", "a@\ud800.example"),
    *("a|b@c.example x", "a@b_c.example", "a@b.example:25", "(a)@b.example", "-@-"),
)


class ParseTests(SynchronousTestCase):
    def test_plain_ones_are_taken_as_they_are(self) -> None:
        for text in (
            "juan@acme.example",
            "juan.ruiz+calls@mail.acme.example",
            "o'neill@acme.example",
            "_x-1@1a.example",
            "a" * 64 + "@b.example",
        ):
            self.assertEqual(parse(text), text)
        self.assertEqual(parse(" Juan@ACME.example "), "Juan@acme.example")

    def test_a_domain_of_other_letters_is_encoded(self) -> None:
        for text, expected in (
            ("a@\xf1u.example", "a@xn--u-qga.example"),
            # The older rule would have made it strasse.example, which is another's.
            ("a@stra\xdfe.example", "a@xn--strae-oqa.example"),
            ("a@\uff41cme.example", "a@acme.example"),
        ):
            self.assertEqual(parse(text), expected)

    def test_nothing_else_is_taken(self) -> None:
        for text in HOSTILE:
            self.assertRaises(ValueError, parse, text)

    @given(st.text() | st.from_regex(r"\A.{1,9}@.{1,9}\.[a-z]{2}\Z"))
    def test_what_is_taken_can_stand_in_a_header_and_a_command(self, text: str) -> None:
        try:
            found = parse(text)
        except ValueError:
            return
        self.assertTrue(found.isascii() and found.isprintable())
        self.assertEqual(found.count("@"), 1)
        self.assertEqual(set(found) & set(' ,;:<>()[]"\\'), set())
        self.assertLessEqual(len(found), LONGEST)
        self.assertEqual(parse(found), found)

    def test_in_the_configuration_it_may_be_missing(self) -> None:
        self.assertEqual((problem(""), problem("a@b.example")), ("", ""))
        self.assertIn("it looks like name@company.example", problem("a@b"))


class SayingTests(SynchronousTestCase):
    def test_it_is_spelled_for_the_ear(self) -> None:
        self.assertEqual(
            spelled("j.r-1@acme.example"), "j dot r hyphen 1 at acme dot example"
        )

    def test_the_log_gets_its_domain_alone(self) -> None:
        self.assertEqual(outline("juan@acme.example"), "...@acme.example")

"""Which kept numbers are the one that is meant."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from portero.facts import Facts
from portero.records.numbers import Match, digits, is_short, match, of_call
from portero.records.past import short
from tests.kept_calls import past

WHOLE = "34600123678"


class NumberTests(SynchronousTestCase):
    def test_the_same_number_may_be_written_in_many_ways(self) -> None:
        for kept in ("+34600123678", "34600123678", "0034600123678", "600123678"):
            self.assertIs(match(WHOLE, kept), Match.YES, kept)
            self.assertIs(match(digits(kept), "+34600123678"), Match.YES, kept)

    def test_another_number_is_another(self) -> None:
        for kept in ("", "anonymous", "+34600123679", "123678", "678", "1"):
            self.assertIs(match(WHOLE, kept), Match.NO, kept)

    def test_an_extension_is_only_itself(self) -> None:
        self.assertIs(match("678", "678"), Match.YES)
        self.assertIs(match("678", "+34600123678"), Match.NO)
        self.assertIs(match("123678", "+34600123678"), Match.NO)

    def test_of_the_last_digits_nobody_knows_whose_they_are(self) -> None:
        self.assertTrue(is_short(short("+34600123678")))
        self.assertIs(match(WHOLE, short("+34600123678")), Match.PERHAPS)
        self.assertIs(match(WHOLE, short("+34600123679")), Match.NO)
        self.assertIs(match("12", short("12")), Match.PERHAPS)

    def test_nothing_matches_nothing(self) -> None:
        self.assertIs(match("", "...678"), Match.NO)
        self.assertIs(match("", ""), Match.NO)

    def test_of_a_call_both_numbers_count(self) -> None:
        kept = past(facts=Facts("", "...678", "+34911234567"))
        self.assertIs(of_call(WHOLE, kept), Match.PERHAPS)
        self.assertIs(of_call("34911234567", kept), Match.YES)
        self.assertIs(of_call("34911234568", kept), Match.NO)

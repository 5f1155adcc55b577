"""Tests of L{portero.web.passwords}."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.web.passwords import (
    HASH,
    LONGEST,
    MOST_MEMORY,
    NO_PASSWORD,
    SALT,
    Kept,
    new_token,
    problem,
    token_hash,
    token_problem,
)

# By `openssl kdf -kdfopt pass:open-sesame-1 -kdfopt hexsalt:000102...0f -kdfopt n:16384
# -kdfopt r:8 -kdfopt p:1 -kdfopt maxmem_bytes:67108864 -keylen 24 SCRYPT`
FOREIGN = "scrypt:14:8:1:AAECAwQFBgcICQoLDA0ODw:IcNxIzG0sOTkMSiFr339wm2Lcz1-csmh"


def quick(password: str) -> Kept:
    """As L{Kept.of}, with far less work."""
    return Kept.of(password, log_n=4, r=1, p=1)


class PasswordTests(SynchronousTestCase):
    def test_what_is_kept_of_a_password_fits_it_and_no_other(self) -> None:
        kept = Kept.parse(str(quick("open sesame")))
        self.assertTrue(kept.fits("open sesame"))
        for other in ("", "open sesam", "Open sesame", "open sesame ", "\0"):
            self.assertFalse(kept.fits(other), other)

    def test_the_password_is_not_in_it_and_no_two_are_alike(self) -> None:
        one, other = str(quick("sesame")), str(quick("sesame"))
        self.assertNotEqual(one, other)
        self.assertNotIn("sesame", one)

    def test_a_new_one_takes_as_much_work_as_is_advised(self) -> None:
        kept = Kept.of("open sesame")
        self.assertEqual((kept.log_n, kept.r, kept.p), (15, 8, 3))
        self.assertEqual((len(kept.salt), len(kept.hash)), (SALT, HASH))
        self.assertTrue(Kept.parse(str(kept)).fits("open sesame"))

    def test_one_for_nobody_takes_as_much_work_and_fits_nothing(self) -> None:
        kept, nobody = Kept.of("open sesame"), Kept.like()
        self.assertEqual(
            (nobody.log_n, nobody.r, nobody.p), (kept.log_n, kept.r, kept.p)
        )
        self.assertFalse(nobody.fits(""))

    def test_it_is_scrypt_as_others_have_it(self) -> None:
        self.assertTrue(Kept.parse(FOREIGN).fits("open-sesame-1"))

    def test_a_letter_typed_in_two_ways_is_one(self) -> None:
        self.assertTrue(quick("contrase\u00f1a").fits("contrasen\u0303a"))

    def test_no_more_than_the_longest_is_looked_at(self) -> None:
        self.assertTrue(quick("x" * LONGEST).fits("x" * LONGEST + "y"))

    def test_lone_surrogates_are_no_fault(self) -> None:
        self.assertFalse(quick("sesame").fits("\ud800"))

    def test_what_is_no_kept_password_is_told(self) -> None:
        good = str(quick("open sesame"))
        self.assertEqual(problem(good), "")
        self.assertEqual(problem(""), "")
        for bad in (
            *("hunter2", "scrypt:", good[:-2], good + "x", good.upper(), " " + good),
            *(good.replace("scrypt", "argon2"), good.replace(":4:", ":four:")),
            *(good.replace(":4:", ":\u0664:"), "sha256:" + "0" * 64),
        ):
            self.assertIn(NO_PASSWORD, problem(bad), bad)

    def test_one_that_takes_too_much_work_is_told(self) -> None:
        _, _, _, _, salt, kept = str(quick("open sesame")).split(":")
        for cost in ("0:8:1", "15:0:1", "15:8:0", "19:8:1", "99:99:99", "15:8:99"):
            self.assertIn("asks scrypt for", problem(f"scrypt:{cost}:{salt}:{kept}"))
        for cost in ("14:8:5", "15:8:3", "17:8:1", "18:8:1"):
            self.assertEqual(problem(f"scrypt:{cost}:{salt}:{kept}"), "")
        self.assertEqual(128 * 8 << 18, MOST_MEMORY)

    @given(st.text(max_size=80))
    @settings(max_examples=200, deadline=None)
    def test_any_text_is_judged(self, text: str) -> None:
        self.assertEqual(bool(problem(text)), bool(text))
        self.assertEqual(bool(problem(f"scrypt:4:1:1:{text}")), True)

    @given(st.text(max_size=20), st.text(max_size=20))
    @settings(max_examples=50, deadline=None)
    def test_any_password_can_be_kept(self, one: str, other: str) -> None:
        self.assertTrue(Kept.parse(str(quick(one))).fits(one))


class TokenTests(SynchronousTestCase):
    def test_tokens_are_long_and_differ(self) -> None:
        found = {new_token() for _ in range(100)}
        self.assertEqual(len(found), 100)
        for token in found:
            self.assertRegex(token, r"\A[\w-]{43}\Z")

    def test_what_is_kept_is_a_hash(self) -> None:
        kept = "sha256:" + sha256(b"sesame").hexdigest()
        self.assertEqual(token_hash("sesame"), kept)
        self.assertEqual(token_problem(kept), "")
        self.assertEqual(token_problem(""), "")

    def test_what_is_no_kept_token_is_told(self) -> None:
        good = token_hash("sesame")
        for bad in ("sesame", good[:-1], good + "0", good.upper(), new_token()):
            self.assertIn("portero passwd --token", token_problem(bad))

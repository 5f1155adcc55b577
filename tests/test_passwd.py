"""Tests of L{portero.passwd}: a user, for the configuration."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from portero import cli
from portero.config import load
from portero.web.passwords import LONGEST, Kept, token_hash
from portero.web_sections import RIGHTS, UserSettings


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


class PasswdTests(SynchronousTestCase):
    def run_cli(self, *arguments: str, given: str = "") -> tuple[int, str, str]:
        """
        @param given: To the standard input, which is no terminal.
        @return: The exit status, and what was printed on both outputs.
        """
        return self._passwd(arguments, StringIO(given))

    def at_terminal(self, *typed: str) -> tuple[int, str, str]:
        """@param typed: What is answered, one after another."""
        answers, asked = list(typed), []

        def ask(prompt: str) -> str:
            asked.append(prompt)
            if not answers:
                raise EOFError
            return answers.pop(0)

        self.patch(getpass, "getpass", ask)
        found = self._passwd((), Terminal("in the clear\n"))
        self.assertEqual(asked, ["Password: ", "Again: "][: len(asked)])
        return found

    def _passwd(
        self, arguments: Sequence[str], given: StringIO
    ) -> tuple[int, str, str]:
        self.patch(sys, "stdin", given)
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            status = cli.main(["passwd", *arguments])
        return status, out.getvalue(), err.getvalue()

    def users(self, text: str) -> dict[str, UserSettings]:
        """@return: What a configuration has with this in it."""
        path = Path(self.mktemp())
        path.write_text("[limits]\nconnect_within = 5.0\n" + text, "utf-8")
        return dict(load(str(path)).users)

    def test_what_is_printed_is_a_user_with_that_password(self) -> None:
        status, out, err = self.run_cli("ana", given="open sesame\n")
        self.assertEqual((status, err), (0, ""))
        self.assertNotIn("sesame", out)
        user = self.users(out)["ana"]
        self.assertTrue(Kept.parse(user.password).fits("open sesame"))
        self.assertEqual((user.token, user.rights), ("", RIGHTS))

    def test_without_a_name_it_is_the_admin(self) -> None:
        for given in ("contrase\u00f1a larga", "contrase\u00f1a larga\r\nmore\n"):
            user = self.users(self.run_cli(given=given)[1])["admin"]
            self.assertTrue(Kept.parse(user.password).fits("contrase\u00f1a larga"))

    def test_a_name_with_a_dot_is_one_name(self) -> None:
        out = self.run_cli("ana.ruiz", given="open sesame\n")[1]
        self.assertEqual(list(self.users(out)), ["ana.ruiz"])

    def test_at_a_terminal_it_is_asked_for_twice(self) -> None:
        status, out, err = self.at_terminal("open sesame", "open sesame")
        self.assertEqual((status, err), (0, ""))
        self.assertTrue(
            Kept.parse(self.users(out)["admin"].password).fits("open sesame")
        )

    def test_two_different_ones_are_refused(self) -> None:
        status, out, err = self.at_terminal("open sesame", "open Sesame")
        self.assertEqual((status, out), (1, ""))
        self.assertIn("two different ones", err)

    def test_one_that_is_too_short_is_refused_at_once(
        self,
    ) -> None:
        for status, out, err in (
            self.at_terminal("sesame"),
            self.run_cli(given="sesame\n"),
            self.run_cli(),
        ):
            self.assertEqual((status, out), (1, ""))
            self.assertIn("at least 10 characters", err)
        status, _, err = self.run_cli(given="x" * (LONGEST + 1))
        self.assertEqual(status, 1)
        self.assertIn("at most", err)

    def test_who_thinks_better_of_it_is_told_nothing(self) -> None:
        self.assertEqual(self.at_terminal(), (1, "", "\n"))

    def test_a_token_is_shown_once_beside_what_is_to_be_kept(self) -> None:
        status, out, err = self.run_cli("--token", "prometheus")
        self.assertEqual(status, 0)
        token = err.split()[-1]
        user = self.users(out)["prometheus"]
        self.assertEqual(user.token, token_hash(token))
        self.assertEqual((user.password, user.rights), ("", ("read",)))
        self.assertNotIn(token, out)
        self.assertNotIn(token, self.run_cli("--token", "prometheus")[2])

    def test_other_arguments_are_told(self) -> None:
        for arguments, expected in (
            (["a", "b"], "one NAME"),
            (["open sesame"], "no password"),
            (["x" * 50], "no password"),
            (["--colour"], "option --colour not recognized"),
        ):
            status, out, err = self.run_cli(*arguments)
            self.assertEqual((status, out), (1, ""))
            self.assertIn(expected, err)
            self.assertIn("portero passwd [--token] [NAME]", err)

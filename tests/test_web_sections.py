"""Tests of L{portero.web_sections}: who may, as the configuration has it."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from portero import explain
from portero.config import Config, check_keys, load
from portero.errors import ConfigError
from portero.settings import table
from portero.web.passwords import Kept, token_hash
from portero.web_sections import RIGHTS, UserSettings, WebSettings

KEPT = str(Kept.like())
USER = f'[users.ana]\npassword = "{KEPT}"\n'
BEYOND = '[listen]\nweb = "tcp:8091"\nallow = ["10.0.0.0/8"]\n'


class UserTests(SynchronousTestCase):
    def load(self, text: str, **environ: str) -> Config:
        path = Path(self.mktemp())
        path.write_text(text, "utf-8")
        config = load(str(path), environ)
        check_keys(config)
        return config

    def test_a_user_may_read_unless_it_says_otherwise(self) -> None:
        users = self.load(
            f'{USER}[users.robot]\ntoken = "{token_hash("x")}"\n'
            'rights = ["listen", "act"]'
        ).users
        self.assertEqual(users["ana"], UserSettings(password=KEPT, rights=("read",)))
        self.assertEqual(users["robot"].rights, ("listen", "act"))

    def test_a_user_may_have_both_a_password_and_a_token(self) -> None:
        user = self.load(f'{USER}token = "{token_hash("x")}"').users["ana"]
        self.assertEqual((user.password, user.token), (KEPT, token_hash("x")))

    def test_beyond_this_machine_somebody_must_be_named(self) -> None:
        said = str(self.assertRaises(ConfigError, self.load, BEYOND))
        self.assertIn("needs a user (portero passwd NAME makes one) or a token", said)
        for more, environ in (
            (USER, {}),
            ("", {"PORTERO_WEB_TOKEN": "sesame"}),
        ):
            self.load(BEYOND + more, **environ)
        self.load('[listen]\nweb = "8091"')

    def test_a_user_does_not_open_fastagi_to_others(self) -> None:
        text = BEYOND.replace("web", "agi") + USER
        said = str(self.assertRaises(ConfigError, self.load, text))
        self.assertIn("agi tcp:8091 can be reached by other machines", said)
        self.assertNotIn("a user", said)

    def test_with_tls_it_is_beyond_this_machine_too(self) -> None:
        said = str(
            self.assertRaises(
                ConfigError,
                self.load,
                '[listen]\nweb = "ssl:8443:privateKey=nope.pem:certKey=nope.pem"',
            )
        )
        self.assertIn("nope.pem", said)

    def test_no_hash_is_shown(self) -> None:
        token = token_hash("x")
        text = f'{USER}token = "{token}"\n'
        config = self.load(text)
        path = Path(self.mktemp())
        path.write_text(text, "utf-8")
        out = StringIO()
        with redirect_stdout(out):
            for arguments in ((), ("default",)):
                self.assertEqual(explain.run([*arguments, "-c", str(path)]), 0)
        self.assertGreater(len(out.getvalue()), 1000)
        for shown in (repr(config), repr(config.users), out.getvalue()):
            for secret in (KEPT, token, KEPT[-20:], token[-20:]):
                self.assertNotIn(secret, shown)

    def test_what_stands_where_a_hash_belongs_is_not_repeated(self) -> None:
        for text in (
            '[users.ana]\npassword = "hunter2 hunter2"',
            "[users.ana]\npassword = 4711815",
            '[users.ana]\ntoken = ["hunter2"]',
        ):
            said = str(self.assertRaises(ConfigError, self.load, text))
            self.assertIn("[users.ana]", said)
            for secret in ("hunter2", "4711815"):
                self.assertNotIn(secret, said)


class RightTests(SynchronousTestCase):
    def test_there_are_three(self) -> None:
        rights = table(UserSettings)["rights"]
        self.assertEqual(rights.problem(RIGHTS), "")
        self.assertIn("there are: read, act, listen", rights.problem(("write",)))
        self.assertIn("is empty", rights.problem(()))


class HostTests(SynchronousTestCase):
    def test_names_of_machines_and_nothing_else(self) -> None:
        hosts = table(WebSettings)["hosts"]
        for good in ("pbx", "portero.example.com", "PBX-1.example", "xn--bcher-kva.ch"):
            self.assertEqual(hosts.problem((good,)), "", good)
        for bad in (
            *("", "https://pbx", "pbx:8443", "pbx/", "a..b", "-pbx", "pbx-", "p bx"),
            *("*.example.com", "b\u00fccher.ch", "a" * 64, "a." * 130 + "a", "pbx\n"),
        ):
            self.assertIn("no name of a machine", hosts.problem((bad,)), bad)

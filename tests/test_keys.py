"""Tests of L{portero.keys}: where secrets come from, and that none is shown."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from portero.config import Config, check_keys, load
from portero.errors import ConfigError
from portero.keys import FILES, LARGEST

CREDENTIALS = {
    "OPENAI_API_KEY": "openai_api_key",
    "PORTERO_WEB_TOKEN": "web_token",
    "PORTERO_AMI_SECRET": "ami_secret",
    "PORTERO_MAIL_PASSWORD": "mail_password",
    "PORTERO_RECORDS_PASSWORD": "records_password",
    "PORTERO_RECORDS_WEBHOOK_SECRET": "records_webhook_secret",
}


def secret(config: Config, variable: str) -> str:
    """@return: The secret that a variable sets."""
    found = {
        "OPENAI_API_KEY": config.secrets.api_keys.get("", ""),
        "PORTERO_WEB_TOKEN": config.secrets.web_token,
        "PORTERO_AMI_SECRET": config.secrets.ami,
        "PORTERO_MAIL_PASSWORD": config.secrets.mail,
        "PORTERO_RECORDS_PASSWORD": config.secrets.records,
        "PORTERO_RECORDS_WEBHOOK_SECRET": config.secrets.records_webhook,
    }
    return found[variable]


class KeysCase(SynchronousTestCase):
    def file(self, text: str | bytes) -> str:
        path = Path(self.mktemp()).absolute()
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    def configured(self, variable: str, file: str) -> str:
        """@return: A configuration that names a file with a secret."""
        section, key = FILES[variable]
        return self.file(f"[{section}]\n{key} = '{file}'")

    def credentials(self, name: str, text: str) -> str:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / name).write_text(text)
        return str(folder)

    def refused(self, path: str, **environ: str) -> str:
        return str(self.assertRaises(ConfigError, load, path, environ))


class SourceTests(KeysCase):
    def test_the_environment_then_the_file_then_systemd(self) -> None:
        for variable, credential in CREDENTIALS.items():
            config = self.configured(variable, self.file("of-file\n"))
            environ = {
                variable: " of-environment\n",
                "CREDENTIALS_DIRECTORY": self.credentials(credential, "of-systemd\n"),
            }
            found = load(config, environ)
            self.assertEqual(secret(found, variable), "of-environment")
            del environ[variable]
            self.assertEqual(secret(load(config, environ), variable), "of-file")
            self.assertEqual(secret(load("", environ), variable), "of-systemd")
            self.assertEqual(secret(load("", {}), variable), "")

    def test_an_empty_variable_is_none(self) -> None:
        config = self.configured("OPENAI_API_KEY", self.file("of-file"))
        found = load(config, {"OPENAI_API_KEY": " "})
        self.assertEqual(found.secrets.api_keys, {"": "of-file"})

    def test_a_relative_file_is_found_from_the_configurations_folder(self) -> None:
        key = Path(self.file("of-file"))
        config = key.parent / "portero.toml"
        config.write_text(f"[provider]\napi_key_file = '{key.name}'")
        self.assertEqual(load(str(config)).secrets.api_keys, {"": "of-file"})

    def test_credentials_of_others_are_none_of_ours(self) -> None:
        folder = self.credentials("other", "x")
        for name in (folder, f"{folder}/other", "/no/such/folder", "x" * 200):
            found = load("", {"CREDENTIALS_DIRECTORY": name})
            self.assertEqual(found, Config())

    def test_a_credential_that_cannot_be_read_is_said(self) -> None:
        folder = self.credentials("web_token", "two words")
        said = self.refused("", CREDENTIALS_DIRECTORY=folder)
        self.assertIn("web_token: a secret is one word", said)
        self.assertNotIn("two", said)
        self.refused("", CREDENTIALS_DIRECTORY="x" * 5000)


class NamedProviderTests(KeysCase):
    def keys(self, text: str) -> dict[str, str]:
        config = self.file(text)
        return dict(load(config, {"OPENAI_API_KEY": "first"}).secrets.api_keys)

    def test_the_same_house_gets_the_same_key(self) -> None:
        text = "[providers.mini]\nupload_ms = 20\n[providers.other]\n"
        text += "url = 'wss://api.openai.com/v2/realtime'"
        expected = {"": "first", "mini": "first", "other": "first"}
        self.assertEqual(self.keys(text), expected)

    def test_another_house_does_not_get_it(self) -> None:
        for url in (
            "wss://voice.example/v1",
            "wss://api.openai.com.example/",
            "wss://api.openai.com:444/v1/realtime",
            "ws://localhost:9000/",
        ):
            text = f"[providers.other]\nurl = '{url}'"
            self.assertEqual(self.keys(text), {"": "first"}, url)

    def test_its_own_file_is_its_own(self) -> None:
        key = self.file("own")
        text = f"[providers.other]\nurl = 'wss://x.example/'\napi_key_file = '{key}'"
        self.assertEqual(self.keys(text), {"": "first", "other": "own"})

    def test_naming_the_same_file_gives_leave_to_use_it(self) -> None:
        key = f"api_key_file = '{self.file('shared')}'"
        other = "[providers.other]\nurl = 'wss://x.example/'\n"
        config = load(self.file(f"[provider]\n{key}\n{other}{key}"))
        expected = {"": "shared", "other": "shared"}
        self.assertEqual(config.secrets.api_keys, expected)
        config = load(self.file(f"[provider]\n{key}\n{other}"))
        self.assertEqual(config.secrets.api_keys, {"": "shared"})


class MistakeTests(KeysCase):
    def test_a_secret_that_would_break_a_header_is_refused(self) -> None:
        for variable in CREDENTIALS:
            for text in ("sk1\r\nX: y", "sk1 sk2", "sk1\u00e9", "sk1\x00", "sk1\x7f"):
                config = self.configured(variable, self.file(text))
                for said in (
                    self.refused("", **{variable: text}),
                    self.refused(config),
                ):
                    self.assertIn("a secret is one word", said)
                    self.assertNotIn("sk1", said)

    def test_a_file_that_cannot_be_read_is_said_where_it_is_named(self) -> None:
        for variable, (section, key) in FILES.items():
            for file, expected in [
                ("/no/such/sk-file", "cannot be read: No such file or directory"),
                ("/", "cannot be read: is a folder"),
                ("/dev/zero", "cannot be read: is no plain file"),
                (self.file("\n"), "is empty"),
                (
                    self.file(b"\xff"),
                    "cannot be read: is not UTF-8 text, in its line 1",
                ),
                (self.file("x" * (LARGEST + 1)), "is larger than"),
            ]:
                config = self.configured(variable, file)
                said = self.refused(config)
                self.assertTrue(
                    said.startswith(f"{config}:2: [{section}] {key} "), said
                )
                self.assertIn(expected, said)

    def test_a_secret_in_the_place_of_its_file_is_not_shown(self) -> None:
        for variable in CREDENTIALS:
            said = self.refused(self.configured(variable, "hunter2"))
            self.assertNotIn("hunter2", said)

    def test_no_secret_is_shown_with_the_settings(self) -> None:
        found = load("", dict.fromkeys(CREDENTIALS, "hunter2"))
        self.assertEqual(found.secrets.ami, "hunter2")
        for text in (repr(found), str(found), repr(found.secrets)):
            self.assertNotIn("hunter2", text)

    def test_all_of_them_are_known_to_who_masks_them(self) -> None:
        environ = {name: f"hunter{n}" for n, name in enumerate(CREDENTIALS)}
        self.assertEqual(sorted(load("", environ).secrets.words), [*environ.values()])


class CheckTests(KeysCase):
    def missing(self, text: str, **environ: str) -> list[str]:
        """@return: What is said of the secrets, without the file's name."""
        path = self.file(text)
        try:
            check_keys(load(path, environ))
        except ConfigError as error:
            return [line.removeprefix(path) for line in str(error).splitlines()]
        return []

    def test_without_openai_no_key_is_needed(self) -> None:
        self.assertEqual(self.missing(""), [])
        self.assertEqual(self.missing("[provider]\nkind = 'demo'"), [])

    def test_openai_needs_a_key_and_it_is_said_once(self) -> None:
        text = "[provider]\nkind = 'openai'\n[agents.a]\n[agents.b]"
        (line,) = self.missing(text)
        self.assertIn(
            ":2: [provider] kind openai needs a key: set OPENAI_API_KEY", line
        )
        self.assertEqual(self.missing(text, OPENAI_API_KEY="x"), [])

    def test_a_service_elsewhere_needs_a_key_of_its_own(self) -> None:
        text = "[agents.a]\nprovider = 'x'\n[providers.x]\nurl = 'wss://x.example/'"
        (line,) = self.missing(text, OPENAI_API_KEY="x")
        self.assertIn(":3: [providers.x] kind openai needs a key: api_key_file", line)

    def test_a_service_on_this_machine_may_do_without(self) -> None:
        text = "[agents.a]\nprovider = 'x'\n[providers.x]\nurl = 'ws://127.0.0.1:9/'"
        self.assertEqual(self.missing(text), [])

    def test_a_service_that_no_agent_uses_needs_none(self) -> None:
        self.assertEqual(self.missing("[providers.x]\nurl = 'wss://x.example/'"), [])

    def test_what_others_can_reach_needs_a_token(self) -> None:
        for key in ("web", "agi"):
            text = f"[listen]\nallow = ['10.0.0.0/8']\n{key} = 'tcp:8091'"
            (line,) = self.missing(text)
            self.assertIn(f":3: [listen] {key} tcp:8091 can be reached by", line)
            self.assertEqual(self.missing(text, PORTERO_WEB_TOKEN="x"), [])
            self.assertEqual(self.missing(f"[listen]\n{key} = 8091"), [])

    def test_ami_needs_a_secret(self) -> None:
        (line,) = self.missing("[ami]\nhost = '127.0.0.1'")
        self.assertIn(':2: [ami] host "127.0.0.1" needs its user\'s secret: set', line)
        self.assertEqual(
            self.missing("[ami]\nhost = '127.0.0.1'", PORTERO_AMI_SECRET="x"), []
        )

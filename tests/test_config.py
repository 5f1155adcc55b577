"""Tests of L{portero.config}: what wins, and what is said about what is wrong."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero import config
from portero.config import Config, is_loopback, load
from portero.errors import ConfigError


class ConfigCase(SynchronousTestCase):
    def file(self, text: str | bytes) -> str:
        path = Path(self.mktemp())
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    def refused(self, *arguments: Any, **named: Any) -> list[str]:
        """@return: The lines of the error, all of them about one file at most."""
        error = self.assertRaises(ConfigError, load, *arguments, **named)
        return str(error).splitlines()

    def said(self, text: str | bytes) -> str:
        """@return: The only complaint about this file, without its name."""
        path = self.file(text)
        (line,) = self.refused(path)
        self.assertTrue(line.startswith(path), line)
        return line.removeprefix(path)


class PrecedenceTests(ConfigCase):
    def test_without_anything_all_is_default(self) -> None:
        self.assertEqual(load(), Config())

    def test_an_empty_file_changes_nothing(self) -> None:
        self.assertEqual(load(self.file("")), Config())

    def test_the_file_wins_over_the_default(self) -> None:
        found = load(self.file('[provider]\nvoice = "verse"'))
        self.assertEqual(found.provider.voice, "verse")
        self.assertEqual(found.provider.model, "gpt-realtime-2.1")

    def test_the_environment_wins_over_the_file(self) -> None:
        path = self.file('[provider]\nvoice = "verse"')
        found = load(path, {"DEFAULT_VOICE": " ash "})
        self.assertEqual(found.provider.voice, "ash")

    def test_an_option_wins_over_the_environment(self) -> None:
        options = {"provider": {"voice": "coral"}}
        found = load("", {"DEFAULT_VOICE": "ash"}, options)
        self.assertEqual(found.provider.voice, "coral")

    def test_an_empty_variable_is_none(self) -> None:
        path = self.file('[provider]\nvoice = "verse"')
        self.assertEqual(load(path, {"DEFAULT_VOICE": " "}).provider.voice, "verse")

    def test_every_documented_variable_is_read(self) -> None:
        read = {
            item.metadata["env"]: item.name
            for kind in config.SECTIONS.values()
            for item in fields(kind)
            if item.metadata["env"]
        }
        documented = {
            "OPENAI_REALTIME_MODEL": ("model", "m", "m"),
            "OPENAI_REALTIME_URL": ("url", "wss://x.example/v", "wss://x.example/v"),
            "DEFAULT_VOICE": ("voice", "ash", "ash"),
            "VAD_THRESHOLD": ("vad_threshold", "0.7", 0.7),
            "VAD_SILENCE_DURATION_MS": ("vad_silence_ms", "700", 700),
            "VAD_PREFIX_PADDING_MS": ("vad_prefix_ms", "200", 200),
        }
        for name, (setting, text, value) in documented.items():
            self.assertEqual(read[name], setting)
            self.assertEqual(getattr(load("", {name: text}).provider, setting), value)


class ValueTests(ConfigCase):
    def test_every_kind_of_value_is_read(self) -> None:
        found = load(
            self.file(
                '[listen]\nallow = ["10.0.0.0/8", "fd00::/8"]\nmax_calls = 7\n'
                "[provider]\ninterrupt_response = false\nvad_threshold = 0.25\n"
                '[agent]\nlanguage = "es"\ninstructions = """\nOne\ntwo."""\n'
                "[limits]\nstop_within = 0\n"
            )
        )
        self.assertEqual(found.listen.allow, ("10.0.0.0/8", "fd00::/8"))
        self.assertEqual(found.listen.max_calls, 7)
        self.assertIs(found.provider.interrupt_response, False)
        self.assertEqual(found.provider.vad_threshold, 0.25)
        self.assertEqual(found.agent.instructions, "One\ntwo.")
        self.assertEqual(found.limits.stop_within, 0.0)
        self.assertIs(type(found.limits.stop_within), float)

    def test_a_port_may_be_a_bare_number(self) -> None:
        listen = load(self.file("[listen]\nport = 9000\nweb = 8091")).listen
        self.assertEqual((listen.port, listen.web), ("9000", "8091"))

    def test_a_mark_of_the_byte_order_is_no_matter(self) -> None:
        found = load(self.file(b"\xef\xbb\xbf[listen]\nmax_calls = 3"))
        self.assertEqual(found.listen.max_calls, 3)

    def test_wrong_values_name_the_place_and_what_is_right(self) -> None:
        cases: list[tuple[str | bytes, str]] = [
            ("[listen]\nmax_calls = 0", ", [listen] max_calls: 0 must be from 1 to"),
            ("[listen]\nmax_calls = 10001", "10001 must be from 1 to 10000"),
            ("[listen]\nmax_calls = 1.5", "1.5 must be a whole number"),
            ("[listen]\nmax_calls = true", "true must be a whole number"),
            ("[listen]\nport = true", "true must be text in quotes"),
            ("[listen]\ndownlink_rate = 16000", "is not one of: 8000, 24000"),
            ("[listen]\nallow = '10.0.0.0/8'", '"10.0.0.0/8" must be a list of texts'),
            ("[listen]\nallow = [1]", "[1] must be a list of texts"),
            ("[listen]\nallow = ['10.0.0.1/8']", "it looks like 192.168.1.0/24"),
            ("[listen]\ninterface = 'pbx'", "is no IP address of this machine"),
            ("[provider]\nvad_threshold = nan", "must be from 0 to 1"),
            ("[provider]\nvad_threshold = inf", "must be from 0 to 1"),
            ("[provider]\nvad_threshold = '0.5'", '"0.5" must be a number'),
            ("[provider]\nmodel = 3", "3 must be text in quotes"),
            ("[provider]\ninterrupt_response = 1", "1 must be true or false"),
            ("[provider]\naudio_format = 'mp3'", "'auto', 'pcm', 'pcmu', 'pcma'"),
            ("[limits]\nlongest_call = 9" + "9" * 400, "must be a number"),
            ("[limits]\nconnect_within = 1979-05-27", "must be a number"),
            ("[agent]\ngreeting = {a = 1}", "must be text in quotes"),
            ("listen = 3", ": listen must be a section: [listen]"),
            ("[[limits]]", ": limits must be a section: [limits]"),
            ("x = " + "1" * 5000, "4300 digits"),
            ("x = " + "[" * 100000, ""),
            ("[listen", "at end of document"),
            (b"\xff", ": is not UTF-8 text"),
        ]
        for text, expected in cases:
            said = self.said(text)
            self.assertIn(expected, said)
            self.assertLess(len(said), 250)

    def test_a_wrong_name_gets_the_nearest_right_one(self) -> None:
        for text, expected in [
            ("[listn]", ': unknown section "listn"; did you mean listen?'),
            ("[Limits]", ': unknown section "Limits"; did you mean limits?'),
            ("[zzz]", ': unknown section "zzz"; there are: listen, provider, '),
            (
                "[listen]\nprot = 1",
                ', [listen]: unknown key "prot"; did you mean port?',
            ),
            ("[provider]\napi_key = 'x'", "did you mean api_key_file?"),
            ("[limits]\nzzz = 1", "there are: connect_within, reply_within, "),
        ]:
            self.assertIn(expected, self.said(text))

    def test_everything_wrong_is_said_at_once(self) -> None:
        path = self.file("[listn]\n[listen]\nprot = 1\n[provider]\nmodel = 3")
        lines = self.refused(path, {"VAD_THRESHOLD": "loud"})
        self.assertEqual(len(lines), 4)
        self.assertIn('VAD_THRESHOLD: "loud" must be a number', lines)

    def test_a_line_break_in_a_name_stays_in_its_line(self) -> None:
        self.assertIn("\\n", self.said('["a\\nb"]'))

    def test_a_file_that_cannot_be_read_is_said(self) -> None:
        self.assertEqual(self.refused("nope"), ["nope: No such file or directory"])
        folder = self.mktemp()
        Path(folder).mkdir()
        self.assertEqual(self.refused(folder), [f"{folder}: Is a directory"])

    @given(st.text(max_size=60))
    def test_any_text_is_read_or_refused_by_name(self, text: str) -> None:
        path = Path("any.toml")
        path.write_text(text, "utf-8")
        try:
            load(str(path), {"VAD_THRESHOLD": text, "OPENAI_REALTIME_URL": text})
        except ConfigError as error:
            self.assertTrue(str(error))


class KeyTests(ConfigCase):
    def key_file(self, text: str) -> tuple[str, str]:
        """@return: The configuration, and the file of the key."""
        key = self.file(text)
        return self.file(f'[provider]\napi_key_file = "{key}"'), key

    def test_the_key_comes_from_the_environment(self) -> None:
        self.assertEqual(load("", {"OPENAI_API_KEY": " sk-1\n"}).api_key, "sk-1")

    def test_the_key_comes_from_its_file(self) -> None:
        path, _ = self.key_file("sk-2\n")
        self.assertEqual(load(path).api_key, "sk-2")
        self.assertEqual(load(path, {"OPENAI_API_KEY": "sk-1"}).api_key, "sk-1")

    def test_an_empty_key_file_is_an_error(self) -> None:
        path, key = self.key_file("\n")
        self.assertIn(f"{key}: is empty", self.refused(path)[0])

    def test_a_key_file_that_is_not_there_is_an_error(self) -> None:
        path = self.file('[provider]\napi_key_file = "/no/such/key"')
        self.assertIn("/no/such/key: No such file", self.refused(path)[0])

    def test_a_key_that_would_break_the_header_is_refused_and_not_shown(self) -> None:
        for key in ("sk-1\r\nX: y", "sk 1", "sk-\u00e9", "sk-1\x00"):
            (line,) = self.refused("", {"OPENAI_API_KEY": key})
            self.assertIn("OPENAI_API_KEY: a key is one word", line)
            self.assertNotIn("sk", line)

    def test_the_key_is_not_shown_with_the_settings(self) -> None:
        self.assertNotIn("sk-1", repr(load("", {"OPENAI_API_KEY": "sk-1"})))


class UrlTests(ConfigCase):
    def test_unencrypted_only_to_this_machine(self) -> None:
        for url in (
            "ws://127.0.0.1:9/x",
            "ws://127.9.9.9/",
            "ws://localhost:9",
            "ws://[::1]:9/",
            "wss://x.example/v1?model=a",
        ):
            found = load("", {"OPENAI_REALTIME_URL": url})
            self.assertEqual(found.provider.url, url)

    def test_others_are_refused(self) -> None:
        for url, expected in [
            ("ws://x.example/", "must begin with wss://"),
            ("ws://10.0.0.1/", "must begin with wss://"),
            ("ws://localhost.example/", "must begin with wss://"),
            ("ws://127.0.0.1@x.example/", "must begin with wss://"),
            ("https://x.example/", "wss://api.openai.com"),
            ("x.example", "wss://api.openai.com"),
            ("wss://", "wss://api.openai.com"),
            ("wss://x:port/", "Port could not be"),
            ("wss://[x/", "Invalid IPv6"),
            ("wss://x.example/#a", "after #"),
        ]:
            (line,) = self.refused("", {"OPENAI_REALTIME_URL": url})
            self.assertTrue(line.startswith(f'OPENAI_REALTIME_URL: "{url}" '), line)
            self.assertIn(expected, line)


class LoopbackTests(SynchronousTestCase):
    def test_only_loopback_is_loopback(self) -> None:
        for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
            self.assertTrue(is_loopback(host), host)
        for host in ("0.0.0.0", "::", "10.0.0.1", "", "localhost.example", "127.1"):
            self.assertFalse(is_loopback(host), host)

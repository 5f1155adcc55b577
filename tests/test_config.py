"""Tests of L{portero.config}: what wins, and what is said about what is wrong."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.config import DEFAULT, FAMILIES, SECTIONS, Config, load
from portero.errors import ConfigError
from portero.keys import FILES
from portero.prices import SHIPPED
from portero.sections import INSTRUCTIONS, AgentSettings, is_loopback
from portero.settings import table

BROKEN = Path(__file__).parent / "broken"


class ConfigCase(SynchronousTestCase):
    def file(self, text: str | bytes) -> str:
        path = Path(self.mktemp())
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return str(path)

    def load(self, text: str, **environ: str) -> Config:
        return load(self.file(text), environ)

    def refused(self, *arguments: Any) -> list[str]:
        """@return: The lines of the error."""
        error = self.assertRaises(ConfigError, load, *arguments)
        return str(error).splitlines()

    def said(self, text: str | bytes) -> str:
        """@return: The only complaint about this file, without its name."""
        path = self.file(text)
        (line,) = self.refused(path)
        self.assertTrue(line.startswith(f"{path}:"), line)
        return line.removeprefix(f"{path}:")


class PrecedenceTests(ConfigCase):
    def test_without_anything_all_is_default(self) -> None:
        self.assertEqual(load(), Config())

    def test_an_empty_file_changes_nothing(self) -> None:
        for text in ("", "\n", "# nothing\r\n", "[listen]\n[agent]\n[agents]"):
            self.assertEqual(self.load(text), Config())

    def test_the_file_wins_over_the_default(self) -> None:
        found = self.load('[agent]\nvoice = "verse"')
        self.assertEqual(found.agent.voice, "verse")
        self.assertEqual(found.agent.model, "gpt-realtime-2.1")

    def test_the_environment_wins_over_the_file(self) -> None:
        found = self.load('[agent]\nvoice = "verse"', DEFAULT_VOICE=" ash ")
        self.assertEqual(found.agent.voice, "ash")

    def test_an_option_wins_over_the_environment(self) -> None:
        options = {"agent": {"voice": "coral"}}
        found = load("", {"DEFAULT_VOICE": "ash"}, options)
        self.assertEqual(found.agent.voice, "coral")

    def test_an_empty_variable_is_none(self) -> None:
        found = self.load('[agent]\nvoice = "verse"', DEFAULT_VOICE=" ")
        self.assertEqual(found.agent.voice, "verse")

    def test_what_one_agent_says_wins_over_what_holds_for_all(self) -> None:
        text = '[agents.a]\nvoice = "verse"\n[agents.b]'
        found = self.load(text, DEFAULT_VOICE="ash").agents
        self.assertEqual(found["a"].voice, "verse")
        self.assertEqual(found["b"].voice, "ash")

    def test_the_names_that_such_bridges_have_are_read(self) -> None:
        for name, section, key, text, value in [
            ("OPENAI_REALTIME_MODEL", "agent", "model", "m", "m"),
            ("OPENAI_REALTIME_URL", "provider", "url", "wss://x.y/", "wss://x.y/"),
            ("DEFAULT_VOICE", "agent", "voice", "ash", "ash"),
            ("VAD_THRESHOLD", "agent", "vad_threshold", "0.7", 0.7),
            ("VAD_SILENCE_DURATION_MS", "agent", "vad_silence_ms", "700", 700),
            ("VAD_PREFIX_PADDING_MS", "agent", "vad_prefix_ms", "200", 200),
            ("NOISE_GATE_THRESHOLD", "agent", "noise_gate", "900", 900),
            ("PLAYBACK_PREBUFFER_FRAMES", "listen", "prebuffer_frames", "5", 5),
            ("OUTPUT_AUDIO_QUEUE_MAXSIZE", "listen", "queue_frames", "400", 400),
            ("AUDIO_BRIDGE_HOST", "listen", "interface", "::1", "::1"),
            ("AUDIO_BRIDGE_PORT", "listen", "port", "9092", "9092"),
        ]:
            found = load("", {name: text})
            self.assertEqual(getattr(getattr(found, section), key), value, name)
            self.assertEqual(found.origins[section, key], name)

    def test_every_variable_changes_its_setting_and_no_other(self) -> None:
        texts = {
            "AUDIO_BRIDGE_HOST": "::1",
            "AUDIO_BRIDGE_PORT": "9092",
            "OPENAI_REALTIME_URL": "wss://x.example/",
        }
        for section, kind in SECTIONS.items():
            for key, about in table(kind).items():
                if not about.env:
                    continue
                likely = about.choices[-1] if about.choices else about.most or "x"
                found = load("", {about.env: texts.get(about.env, str(likely))})
                self.assertNotEqual(
                    getattr(getattr(found, section), key), about.default
                )
                changed = {place for place in found.origins if place[0] in SECTIONS}
                self.assertEqual(changed, {(section, key)})


class OriginTests(ConfigCase):
    def test_each_value_knows_where_it_was_set(self) -> None:
        path = self.file('\n[agent]\nvoice = "ash"\n[agents.a]\nlanguage = "es"\n')
        environ = {"VAD_THRESHOLD": "0.4"}
        found = load(path, environ, {"listen": {"port": "9092"}}).origins
        for section in ("agent", "agents.a", f"agents.{DEFAULT}"):
            self.assertEqual(found[section, "voice"], f"{path}:3")
            self.assertEqual(found[section, "vad_threshold"], "VAD_THRESHOLD")
        self.assertEqual(found["agents.a", "language"], f"{path}:5")
        self.assertEqual(found["agents.a", ""], f"{path}:4")
        self.assertNotIn(("agent", "language"), found)
        self.assertEqual(found["listen", "port"], "--port")
        found = load("", {}, {"provider": {"kind": "demo"}}).origins
        self.assertEqual(found, {("provider", "kind"): "--provider"})


class FamilyTests(ConfigCase):
    def test_an_agent_says_only_what_is_different(self) -> None:
        text = (
            '[agent]\nvoice = "ash"\nlanguage = "es"\n'
            '[agents.sales]\ncalled = ["100"]\nvoice = "coral"\n'
        )
        found = self.load(text).agents
        self.assertEqual(list(found), [DEFAULT, "sales"])
        self.assertEqual(found[DEFAULT], AgentSettings(voice="ash", language="es"))
        sales = AgentSettings(called=("100",), voice="coral", language="es")
        self.assertEqual(found["sales"], sales)

    def test_the_default_agent_may_be_written_down(self) -> None:
        found = self.load('[agent]\nlanguage = "es"\n[agents.default]\nvoice = "ash"')
        expected = {DEFAULT: AgentSettings(language="es", voice="ash")}
        self.assertEqual(found.agents, expected)
        self.assertEqual(found.agent.voice, "marin")

    def test_a_provider_says_only_what_is_different(self) -> None:
        found = self.load("[provider]\nupload_ms = 20\n[providers.x]\nkind = 'openai'")
        self.assertEqual(found.providers[""], found.provider)
        self.assertEqual(found.providers["x"].upload_ms, 20)
        self.assertEqual((found.kind_of("x"), found.kind_of("")), ("openai", "demo"))

    def test_a_price_changes_what_is_shipped_and_adds_to_it(self) -> None:
        text = (
            "[prices.'gpt-realtime-2.1']\naudio_out = 70\n[prices.'a/b:c']\nminute = 1"
        )
        found = self.load(text).prices
        self.assertEqual(set(found), {*SHIPPED, "a/b:c"})
        price = found["gpt-realtime-2.1"]
        self.assertEqual((price.audio_out, price.audio_in), (70.0, 32))
        self.assertEqual(found["a/b:c"].minute, 1.0)


class InstructionsTests(ConfigCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "portero.toml"
        (self.folder / "sales.txt").write_bytes("\ufeffSell.\r\nÑ\n\n".encode())

    def agents(self, text: str) -> Mapping[str, AgentSettings]:
        self.path.write_text(text)
        return load(str(self.path)).agents

    def test_a_file_is_found_from_the_configurations_folder(self) -> None:
        text = "[agents.a]\ninstructions_file = 'sales.txt'"
        found = self.agents(text)
        self.assertEqual(found["a"].instructions, "Sell.\nÑ")
        self.assertEqual(found[DEFAULT].instructions, INSTRUCTIONS)
        here = os.getcwd()
        self.addCleanup(os.chdir, here)
        os.chdir(self.folder)
        self.assertEqual(load("portero.toml").agents["a"], found["a"])

    def test_a_whole_path_is_taken_as_it_is(self) -> None:
        whole = (self.folder / "sales.txt").absolute()
        (self.folder / "other").mkdir()
        self.path = self.folder / "other" / "portero.toml"
        found = self.agents(f"[agent]\ninstructions_file = '{whole}'")
        self.assertEqual(found[DEFAULT].instructions, "Sell.\nÑ")
        self.assertEqual(found[DEFAULT].instructions_file, str(whole))

    def test_an_agents_own_words_win_over_the_file_of_all(self) -> None:
        text = "[agent]\ninstructions_file = 'sales.txt'\n"
        found = self.agents(text + "[agents.a]\ninstructions = 'Hi'\n[agents.b]")
        self.assertEqual(found["a"].instructions, "Hi")
        self.assertEqual(found["a"].instructions_file, "")
        self.assertEqual(found["b"].instructions, "Sell.\nÑ")

    def test_an_agents_own_file_wins_over_the_words_of_all(self) -> None:
        text = "[agent]\ninstructions = 'Hi'\n"
        found = self.agents(text + "[agents.a]\ninstructions_file = 'sales.txt'")
        self.assertEqual(found["a"].instructions, "Sell.\nÑ")

    def test_a_pipe_is_not_waited_for(self) -> None:
        os.mkfifo(self.folder / "pipe")
        text = "[agent]\ninstructions_file = 'pipe'"
        error = self.assertRaises(ConfigError, self.agents, text)
        self.assertIn(":2: [agent] instructions_file", str(error))
        self.assertIn("is no plain file", str(error))


class ValueTests(ConfigCase):
    def test_every_kind_of_value_is_read(self) -> None:
        found = self.load(
            '[listen]\nallow = ["10.0.0.0/8", "fd00::/8"]\nmax_calls = 7\n'
            "[agent]\ninterrupt_response = false\nvad_threshold = 0.25\n"
            'language = "es"\ninstructions = """\nOne\ntwo."""\n'
            'variables = { flat = "unknown" }\n'
            "[limits]\nstop_within = 0\n"
        )
        self.assertEqual(found.listen.allow, ("10.0.0.0/8", "fd00::/8"))
        self.assertEqual(found.listen.max_calls, 7)
        self.assertIs(found.agent.interrupt_response, False)
        self.assertEqual(found.agent.vad_threshold, 0.25)
        self.assertEqual(found.agent.instructions, "One\ntwo.")
        self.assertEqual(found.agent.variables, {"flat": "unknown"})
        self.assertEqual(found.limits.stop_within, 0.0)
        self.assertIs(type(found.limits.stop_within), float)

    def test_a_port_may_be_a_bare_number(self) -> None:
        listen = self.load("[listen]\nport = 9000\nweb = 8091").listen
        self.assertEqual((listen.port, listen.web), ("9000", "8091"))

    def test_a_file_that_cannot_be_read_is_said(self) -> None:
        folder = self.mktemp()
        os.mkdir(folder)
        fifo = os.path.join(folder, "fifo")
        os.mkfifo(fifo)
        for path, expected in [
            ("nope", "nope: No such file or directory"),
            (folder, f"{folder}: is a folder"),
            (fifo, f"{fifo}: is no plain file"),
            ("/dev/zero", "/dev/zero: is no plain file"),
            (self.file(b"a\n\xff"), "is not UTF-8 text, in its line 2"),
            (self.file("#" * 1_000_001), "is larger than 1000000 bytes"),
        ]:
            (line,) = self.refused(path)
            self.assertIn(expected, line)

    def test_a_hundred_mistakes_are_enough(self) -> None:
        lines = self.refused(
            self.file("[listen]\n" + "".join(f"x{n}=1\n" for n in range(999)))
        )
        self.assertEqual(len(lines), 101)

    def test_a_name_that_is_odd_stays_in_its_line(self) -> None:
        self.assertIn('"a\\nb\\u202e"', self.said('["a\\nb\\u202e"]'))

    def test_a_mistake_outside_of_the_file_has_its_place_too(self) -> None:
        environ = {"VAD_THRESHOLD": "loud", "OPENAI_REALTIME_URL": "ws://x.example/"}
        lines = self.refused("", environ, {"listen": {"port": "http"}})
        places = [line.split(" ", 2)[:2] for line in lines]
        self.assertEqual(
            places,
            [
                ["OPENAI_REALTIME_URL:", "[provider]"],
                ["VAD_THRESHOLD:", "[agent]"],
                ["--port:", "[listen]"],
            ],
        )


class BrokenTests(SynchronousTestCase):
    """The files of C{tests/broken}: what is said of each stands beside it."""

    def test_each_is_told_what_is_wrong_with_it(self) -> None:
        paths = sorted(BROKEN.glob("*.toml"))
        self.assertGreater(len(paths), 100)
        folder = f"{BROKEN}{os.sep}"
        for path in paths:
            error = self.assertRaises(ConfigError, load, str(path))
            said = str(error).replace(folder, "") + "\n"
            self.assertEqual(said, path.with_suffix(".txt").read_text("utf-8"))

    def test_each_line_has_a_place_and_no_secret(self) -> None:
        for path in BROKEN.glob("*.txt"):
            said = path.read_text("utf-8")
            for line in said.splitlines():
                self.assertRegex(line, rf"\A{path.stem}\.toml:[1-9]\d*: \S")
            for secret in ("abcdefgh", "secretword", "this is not"):
                self.assertNotIn(secret, said)


# Values and names that administrators and their editors may come up with.
WORDS = st.sampled_from(
    [*SECTIONS, *FAMILIES, *(key for kind in SECTIONS.values() for key in table(kind))]
)
NAMES = WORDS | st.sampled_from(["default", "demo", "x", "gpt-realtime-2.1"])
STRAY = st.text(st.characters(codec="utf-8"), max_size=10)
LIKELY = st.sampled_from(
    [
        *(
            "",
            "0",
            "8089",
            "tcp:1",
            "unix:x",
            "::",
            "{caller_name}",
            "{x}",
            "{",
            "+34*",
        ),
        *(
            "wss://x.example/",
            "ws://[::1",
            "//",
            "hangup",
            "transfer",
            "demo",
            "Europe",
        ),
        *("from-internal,1,1", ".", "/dev/zero", "\0", "sk-proj-0123456789"),
    ]
)
SCALARS = (
    STRAY
    | LIKELY
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.sampled_from([0, 1, 16**1000, math.nan, math.inf, 0.5, date(2026, 1, 1)])
    | st.floats()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES | STRAY, inner, max_size=3)
    ),
    max_leaves=5,
)
TABLES = st.dictionaries(NAMES | STRAY, VALUES, max_size=5)
DOCUMENTS = st.dictionaries(
    st.sampled_from([*SECTIONS, *FAMILIES]) | STRAY,
    TABLES | st.dictionaries(NAMES, TABLES, max_size=3) | VALUES,
    max_size=4,
)
VARIABLES = [*FILES, "CREDENTIALS_DIRECTORY"] + [
    about.env for kind in SECTIONS.values() for about in table(kind).values()
]
ENVIRONMENTS = st.dictionaries(
    st.sampled_from(VARIABLES),
    LIKELY | st.text(max_size=10) | st.sampled_from(["\udcff", "x" * 5000]),
    max_size=4,
)
PLACE = re.compile(
    r"any\.toml:([1-9]\d*)|[A-Z_]+|--[a-z-]+|default"
    r"|.*/(openai_api_key|web_token|ami_secret|mail_password)"
    r"|.*/(records_password|records_webhook_secret)"
)


def toml(value: Any) -> str:
    """A value in one line of TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        # JSON's pairs of surrogates are no TOML.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, int) and value > 2**64:
        return hex(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        pairs = (f"{toml(key)} = {toml(each)}" for key, each in value.items())
        return f"{{ {', '.join(pairs)} }}"
    return str(value)


class AnythingTests(ConfigCase):
    """Whatever is there: a configuration, or lines that an administrator can use."""

    def taken_or_refused(
        self, text: str, environ: Mapping[str, str], options: Any = None
    ) -> Config | None:
        Path("any.toml").write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            return load("any.toml", environ, options)
        except ConfigError as error:
            lines = str(error).split("\n")
        self.assertEqual(len(lines), len(set(lines)))
        numbers = []
        for line in lines:
            self.assertTrue(line.isprintable(), ascii(line))
            self.assertNotIn("0123456789", line)
            place, _, message = line.partition(": ")
            self.assertNotEqual(message, "")
            found = PLACE.fullmatch(place)
            self.assertIsNotNone(found, ascii(line))
            if found and found[1]:
                numbers.append(int(found[1]))
        self.assertEqual(numbers, sorted(numbers))
        self.assertLessEqual(max(numbers, default=0), text.count("\n") + 1)
        return None

    @given(st.text(max_size=60), ENVIRONMENTS)
    @settings(deadline=None)
    def test_any_text(self, text: str, environ: dict[str, str]) -> None:
        self.taken_or_refused(text, environ)

    @given(DOCUMENTS, ENVIRONMENTS)
    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def test_any_document(self, document: Any, environ: dict[str, str]) -> None:
        text = "".join(
            f"{toml(key)} = {toml(each)}\n" for key, each in document.items()
        )
        self.taken_or_refused(text, environ)

    @given(st.data())
    @settings(max_examples=300, deadline=None)
    def test_any_value_of_any_setting(self, data: st.DataObject) -> None:
        section, key = data.draw(st.sampled_from(list(everything())))
        value = data.draw(VALUES)
        found = self.taken_or_refused(f"[{section}]\n{key} = {toml(value)}\n", {})
        if found and isinstance(value, str | bool) and not key.endswith("_file"):
            home, _, name = section.partition(".")
            settings = getattr(found, home)
            settings = settings[name] if name else settings
            self.assertEqual(getattr(settings, key), value)

    @given(ENVIRONMENTS)
    @settings(deadline=None)
    def test_any_environment(self, environ: dict[str, str]) -> None:
        self.taken_or_refused("", environ)

    @given(st.text(max_size=20) | LIKELY)
    @settings(deadline=None)
    def test_any_option(self, text: str) -> None:
        for section, key in (
            ("listen", "port"),
            ("listen", "web"),
            ("provider", "kind"),
        ):
            self.taken_or_refused("", {}, {section: {key: text}})


def everything() -> Iterator[tuple[str, str]]:
    """Each section and key."""
    for section, kind in SECTIONS.items():
        yield from ((section, key) for key in table(kind))
    for family, (kind, _) in FAMILIES.items():
        yield from ((f"{family}.x", key) for key in table(kind))


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
            ("ws://127.0.0.1@x.example/", "may not have a user or password"),
            ("wss://user:password@x.example/", "may not have a user or password"),
            ("https://x.example/", "wss://api.openai.com"),
            ("x.example", "wss://api.openai.com"),
            ("wss://", "wss://api.openai.com"),
            ("wss://x:port/", "Port could not be"),
            ("wss://x:99999/", "Port out of range"),
            ("wss://[x/", "Invalid IPv6"),
            ("wss://x.example/#a", "after #"),
            ("wss://x.example/a b", "must be one word"),
            ("wss://x.exa\nmple/", "must be one word"),
            ("wss://ñ.example/", "must be one word"),
        ]:
            (line,) = self.refused("", {"OPENAI_REALTIME_URL": url})
            self.assertTrue(
                line.startswith("OPENAI_REALTIME_URL: [provider] url "), line
            )
            self.assertIn(expected, line)


class LoopbackTests(SynchronousTestCase):
    def test_only_loopback_is_loopback(self) -> None:
        for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
            self.assertTrue(is_loopback(host), host)
        for host in ("0.0.0.0", "::", "10.0.0.1", "", "localhost.example", "127.1"):
            self.assertFalse(is_loopback(host), host)

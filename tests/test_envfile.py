"""Tests of L{portero.envfile}: what systemd would read, and what it would pass over."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero import envfile
from portero.errors import ConfigError

NAMES = st.text("ABC_", min_size=1, max_size=4)
VALUES = st.text(st.characters(exclude_characters="\0\r", codec="utf-8"))


class EnvFileCase(SynchronousTestCase):
    def read(self, text: str) -> dict[str, str]:
        path = Path(self.mktemp())
        path.write_bytes(text.encode())
        return envfile.read(str(path))

    def refused(self, text: str) -> list[str]:
        """@return: The lines of the error, without the file's name."""
        path = Path("some.env")
        path.write_bytes(text.encode())
        error = str(self.assertRaises(ConfigError, envfile.read, "some.env"))
        return [line.removeprefix("some.env:") for line in error.splitlines()]


class ReadTests(EnvFileCase):
    def test_an_old_file_is_read(self) -> None:
        text = (
            "# OpenAI\nOPENAI_API_KEY=sk-1234\n\n; Asterisk\n"
            'DEFAULT_VOICE="marin"\r\nVAD_THRESHOLD = 0.6\n  AUDIO_BRIDGE_PORT=9092'
        )
        expected = {
            "OPENAI_API_KEY": "sk-1234",
            "DEFAULT_VOICE": "marin",
            "VAD_THRESHOLD": "0.6",
            "AUDIO_BRIDGE_PORT": "9092",
        }
        self.assertEqual(self.read(text), expected)

    def test_a_file_without_anything_sets_nothing(self) -> None:
        for text in ("", "\n\n", "# A=1", "#\n;A=1\n", " \t\r\n"):
            self.assertEqual(self.read(text), {})

    def test_values_are_those_of_systemd(self) -> None:
        for written, expected in [
            ("", ""),
            ("  x  y \t", "x  y"),
            ("x # no comment", "x # no comment"),
            ("a=b=c", "a=b=c"),
            ("$HOME ${HOME} `id`", "$HOME ${HOME} `id`"),
            (r"a\b\ ", "ab "),
            (r"a\\", "a\\"),
            (r"a\  ", "a "),
            (r"a\\  ", "a\\"),
            ("a \\\n  b", "a   b"),
            ("\\\n'a'", "'a'"),
            ('it\'s "x"', 'it\'s "x"'),
            ("'a b '", "a b "),
            (r"'a\n\'", "a\\n\\"),
            ("'a\n# b\n'", "a\n# b\n"),
            ('"a # b"', "a # b"),
            (r'"\" \\ \` \$ \n \x"', '" \\ ` $ \\n \\x'),
            ('"a\\\nb"', "ab"),
            ("'a' \"b\"\t'c'  d", "abcd"),
            ("'a' # b", "a# b"),
            ("''", ""),
            ("ñ😀", "ñ😀"),
        ]:
            self.assertEqual(self.read(f"A={written}\nB=2"), {"A": expected, "B": "2"})

    def test_the_later_one_of_a_name_counts(self) -> None:
        self.assertEqual(self.read("A=1\nB=2\nA=3\n"), {"A": "3", "B": "2"})

    @given(st.dictionaries(NAMES, VALUES))
    @settings(deadline=None)
    def test_what_is_quoted_comes_out_as_it_was(self, values: dict[str, str]) -> None:
        text = ""
        for name, value in values.items():
            escaped = re.sub(r'(["\\`$])', r"\\\1", value)
            text += f'{name}="{escaped}"\n'
            if "'" not in value:
                text += f"{name} = '{value}'\n"
        self.assertEqual(self.read(text), values)


class MistakeTests(EnvFileCase):
    def test_what_systemd_passes_over_is_said_with_its_line(self) -> None:
        for text, expected in [
            (
                "\nVOICE marin\n",
                "2: is neither NAME=VALUE nor a comment, which begins ",
            ),
            ("A=1\nexport B=2", "2: export belongs to the shell: systemd wants NAME="),
            (
                "A='x\ny'\n1B=2",
                '3: "1B" is no name: it has plain letters, digits and _',
            ),
            ("A.B=2", '1: "A.B" is no name'),
            ("Ñ=2", '1: "Ñ" is no name'),
            ("=2", '1: "" is no name'),
            ("\ufeffA=2", '1: "\\ufeffA" is no name'),
            ("A=1\nB='x\nC=2\n", "2: the ' has no end"),
            ('A= "x\\"', '1: the " has no end'),
            ("A='x' 'y", "1: the ' has no end"),
            ("A=1\n# x \\\nB=2", "2: a comment that ends with \\ takes the next line"),
            ("A=x\\", "1: is neither NAME=VALUE nor a comment"),
            ("A=1\nB=\0", "2: has a NUL character"),
        ]:
            (line,) = self.refused(text)
            self.assertTrue(line.startswith(expected), line)

    def test_all_is_said_at_once_and_no_value(self) -> None:
        lines = self.refused("sk-secret\nexport KEY=sk-secret\nA B=sk-secret\nC='sk-se")
        self.assertEqual([line[:2] for line in lines], ["1:", "2:", "3:", "4:"])
        self.assertNotIn("sk-se", "".join(lines))

    def test_a_file_that_cannot_be_read_is_said(self) -> None:
        for path, expected in [
            ("nope.env", "nope.env: No such file or directory"),
            (".", ".: is a folder"),
            ("/dev/zero", "/dev/zero: is no plain file"),
        ]:
            error = self.assertRaises(ConfigError, envfile.read, path)
            self.assertEqual(str(error), expected)

    @given(st.text(max_size=80) | st.text("A=# \\\"'\n\r\t;x$", max_size=80))
    @settings(max_examples=300, deadline=None)
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        Path("any.env").write_bytes(text.encode("utf-8", "replace"))
        try:
            found = envfile.read("any.env")
        except ConfigError as error:
            for line in str(error).splitlines():
                self.assertRegex(line, r"\Aany\.env:\d+: .")
        else:
            for name in found:
                self.assertRegex(name, r"\A[A-Za-z_][A-Za-z0-9_]*\Z")

"""Tests of L{portero.permits}: lists in files, and what they let happen how often."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from portero.errors import ConfigError
from portero.permits import (
    LOCKED_FOR,
    MOST_WRONG,
    Pins,
    Residents,
    Watch,
    credentials,
    seen_by_all,
    watch,
)

PLACE = "[gates.street] key"


class FileCase(SynchronousTestCase):
    def file(self, text: str) -> str:
        path = Path(self.mktemp())
        path.write_text(text, "utf-8")
        return str(path)

    def said(self, read: object, text: str) -> str:
        """@return: Of the error, what comes after the file's name."""
        path = self.file(text)
        assert callable(read)
        error = self.assertRaises(ConfigError, read, path, PLACE)
        self.assertTrue(str(error).startswith(f"{PLACE}: {path}"), str(error))
        return str(error).removeprefix(f"{PLACE}: {path}")


class PinsTests(FileCase):
    def test_a_name_may_have_several_words_and_comments_do_not_count(self) -> None:
        text = "# who may\n\nAna 1234\r\nJosé Luis\t 98765  \n#Eva 5555\n"
        pins = Pins.read(self.file(text), PLACE)
        self.assertEqual(pins.whose("1234"), "Ana")
        self.assertEqual(pins.whose("98765"), "José Luis")
        self.assertEqual(pins.longest, 5)

    def test_nothing_else_is_a_pin(self) -> None:
        pins = Pins.read(self.file("Ana 1234\n"), PLACE)
        for typed in ("", "123", "12345", "1235", "1234#", "*1234", "0"):
            self.assertEqual(pins.whose(typed), "", typed)

    def test_what_is_wrong_is_told_with_its_line_and_without_the_pin(self) -> None:
        for text, said in (
            ("Ana 1234\nEva 123\n", ":2: a PIN is 4 to 16 digits, the last word"),
            ("Ana 12345678901234567", ":1: a PIN is 4 to 16 digits"),
            ("Ana 12a4", ":1: a PIN is 4 to 16 digits"),
            ("Ana ١٢٣٤", ":1: a PIN is 4 to 16 digits"),
            ("\n1234\n", ':2: must be "NAME PIN"'),
            ("Ana 1234\nAna 5678", ":2: 'Ana' has a line already"),
            ("Ana 1234\nEva 1234", ":2: somebody else has the same PIN"),
            ("# nobody\n", " has no PIN in it"),
        ):
            found = self.said(Pins.read, text)
            self.assertIn(said, found)
            self.assertNotIn("1234", found)

    def test_a_file_that_is_not_there_is_named(self) -> None:
        error = self.assertRaises(ConfigError, Pins.read, "/nowhere/pins", PLACE)
        self.assertEqual(
            str(error), "[gates.street] key: /nowhere/pins: No such file or directory"
        )

    def test_they_are_not_shown(self) -> None:
        pins = Pins.read(self.file("Ana 1234\n"), PLACE)
        self.assertNotIn("1234", repr(pins))

    def test_whether_all_can_read_a_file_is_seen(self) -> None:
        path = self.file("Ana 1234")
        for mode, seen in ((0o600, False), (0o640, False), (0o644, True)):
            os.chmod(path, mode)
            self.assertIs(seen_by_all(path), seen)


class ResidentsTests(FileCase):
    def test_numbers_are_compared_without_what_helps_reading(self) -> None:
        text = "3B +34-600-111-222 0034600333444\n4A (600)555.666\n"
        residents = Residents.read(self.file(text), PLACE)
        for number, flats in (
            ("+34600111222", ("3B",)),
            ("+34 600 111 222", ("3B",)),
            ("0034-600-333-444", ("3B",)),
            ("600555666", ("4A",)),
            ("34600111222", ()),
            ("600111222", ()),
            ("", ()),
            ("anonymous", ()),
        ):
            self.assertEqual(residents.flats_of(number), flats, number)

    def test_one_number_may_have_several_flats(self) -> None:
        residents = Residents.read(self.file("3B 600\n4A 601 600\n3B 600"), PLACE)
        self.assertEqual(residents.flats_of("600"), ("3B", "4A"))
        self.assertEqual(residents.flats_of("601"), ("4A",))

    def test_what_is_wrong_is_told_with_its_line(self) -> None:
        for text, said in (
            ("3B 600\n4A\n", ':2: must be "FLAT NUMBER NUMBER..."'),
            ("3B 600 twelve", ":1: 'twelve' is no telephone number"),
            ("3B 60", ":1: '60' is no telephone number"),
            ("3B -", ":1: '' is no telephone number"),
            ("", " has no number in it"),
        ):
            self.assertIn(said, self.said(Residents.read, text))


class CredentialsTests(FileCase):
    def test_they_are_one_line_with_a_colon(self) -> None:
        found = credentials(self.file("relay:a b:c é\n"), PLACE)
        self.assertEqual(found, "relay:a b:c é".encode())
        for text in ("", "relay", "relay:a\nX-Header: 1"):
            said = self.said(credentials, text)
            self.assertEqual(said, " must have one line, USER:PASSWORD")


class WatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.watch = Watch("street", self.clock)

    def test_it_rests_after_it_was_opened_and_not_before(self) -> None:
        self.assertEqual(self.watch.rests_for(10.0), 0.0)
        self.watch.opens()
        self.clock.advance(4.0)
        self.assertEqual(self.watch.rests_for(10.0), 6.0)
        self.clock.advance(6.0)
        self.assertEqual(self.watch.rests_for(10.0), 0.0)

    def test_one_that_did_not_open_need_not_rest(self) -> None:
        self.watch.opens()
        self.watch.did_not_open()
        self.assertEqual(self.watch.rests_for(10.0), 0.0)

    def test_many_wrong_pins_lock_it_for_a_while_with_a_line_in_the_log(self) -> None:
        with capturedLogs() as events:
            for _ in range(MOST_WRONG):
                self.assertFalse(self.watch.locked)
                self.clock.advance(50.0)
                self.watch.wrong_pin()
        self.assertTrue(self.watch.locked)
        self.assertEqual(
            [formatEvent(event) for event in events],
            [
                "gate street: 10 wrong PINs within 10 min; it takes no PIN for 10 min",
            ],
        )
        self.clock.advance(LOCKED_FOR - 1)
        self.assertTrue(self.watch.locked)
        self.clock.advance(1.1)
        self.assertFalse(self.watch.locked)
        self.watch.wrong_pin()
        self.assertFalse(self.watch.locked)

    def test_wrong_pins_now_and_then_do_not(self) -> None:
        for _ in range(5 * MOST_WRONG):
            self.clock.advance(70.0)
            self.watch.wrong_pin()
            self.assertFalse(self.watch.locked)

    def test_it_is_one_for_all_agents_and_configurations_of_a_process(self) -> None:
        self.assertIs(watch("street", self.clock), watch("street", self.clock))
        self.assertIsNot(watch("street", self.clock), watch("yard", self.clock))
        self.assertIsNot(watch("street", self.clock), watch("street", Clock()))

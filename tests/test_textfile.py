"""Tests of L{portero.textfile}: whatever a path turns out to be."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from portero.errors import ConfigError
from portero.textfile import read


class ReadTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def refused(self, path: str | Path, most: int = 100) -> str:
        return str(self.assertRaises(ConfigError, read, path, most))

    def test_lines_end_in_one_way(self) -> None:
        self.path.write_bytes("a\r\nñ\n\r".encode())
        self.assertEqual(read(self.path), "a\nñ\n\r")

    def test_as_much_as_is_allowed_and_no_more(self) -> None:
        self.path.write_bytes(b"x" * 100)
        self.assertEqual(len(read(self.path, 100)), 100)
        self.assertEqual(self.refused(self.path, 99), "is larger than 99 bytes")

    def test_bytes_that_are_no_text_are_named_by_their_line(self) -> None:
        self.path.write_bytes(b"a\nb\xff\n")
        self.assertEqual(self.refused(self.path), "is not UTF-8 text, in its line 2")

    def test_what_is_no_file_is_not_opened(self) -> None:
        self.path.mkdir()
        fifo = self.path / "fifo"
        os.mkfifo(fifo)
        cases: list[tuple[str | Path, str]] = [
            (self.path, "is a folder"),
            (fifo, "is no plain file"),
            ("/dev/zero", "is no plain file"),
            ("", "is a folder"),
            (self.path / "nope", "No such file or directory"),
            (fifo / "below", "Not a directory"),
            ("x" * 5000, "File name too long"),
            ("a\0b", "is not the name of a file"),
            ("\ud800", "is not the name of a file"),
        ]
        for path, expected in cases:
            self.assertEqual(self.refused(path), expected)

    def test_a_link_is_followed_and_a_ring_of_links_is_not(self) -> None:
        self.path.write_text("x")
        link, ring = Path(self.mktemp()), Path(self.mktemp())
        link.symlink_to(self.path.absolute())
        ring.symlink_to(ring.absolute())
        self.assertEqual(read(link), "x")
        self.assertIn("symbolic links", self.refused(ring))

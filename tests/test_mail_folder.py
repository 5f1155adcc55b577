"""The folder of waiting mail: what is in it is whole, and for its owner alone."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from portero.mail.folder import MailFolder
from portero.outbox import folder
from portero.outbox.folder import LARGEST, MOST, CannotKeep

NAME = "1790000000-ab.eml"
MAIL = b"From: p@acme.example\nTo: juan@x.example\n\nHello.\n"


class FolderCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "mail"
        self.folder = MailFolder(str(self.path))
        self.assertEqual(self.folder.open(), [])

    def names(self) -> list[str]:
        return sorted(path.name for path in self.path.iterdir())


class KeepingTests(FolderCase):
    def test_only_its_owner_may_read_it(self) -> None:
        self.folder.write(NAME, MAIL)
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o700)
        self.assertEqual((self.path / NAME).stat().st_mode & 0o777, 0o600)
        self.folder.put_aside(NAME, "550 no")
        self.assertEqual(self.folder.failed.stat().st_mode & 0o777, 0o700)
        for path in self.folder.failed.iterdir():
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)

    def test_it_gets_its_name_when_it_is_whole_and_on_the_disk(self) -> None:
        seen: list[tuple[list[str], int]] = []
        really = os.fsync

        def look(number: int) -> None:
            really(number)
            size = sum(path.stat().st_size for path in self.path.iterdir())
            seen.append((self.names(), size))

        self.patch(os, "fsync", look)
        self.folder.write(NAME, MAIL)
        whole = len(MAIL)
        # The last one is of the folder: the name would not outlive a power cut else.
        self.assertEqual(seen, [([f"{NAME}.new"], whole), ([NAME], whole)])

    def test_what_cannot_be_written_leaves_nothing(self) -> None:
        def full(_: int) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", full)
        self.assertRaises(OSError, self.folder.write, NAME, MAIL)
        self.assertEqual(self.names(), [])

    def test_a_link_where_it_is_prepared_leads_nowhere(self) -> None:
        victim = self.path.parent / "victim"
        victim.write_text("precious")
        (self.path / f"{NAME}.new").symlink_to(victim)
        self.assertRaises(OSError, self.folder.write, NAME, MAIL)
        self.assertEqual(victim.read_text(), "precious")

    def test_the_oldest_come_first_and_only_those_of_ours(self) -> None:
        for name in ("20-a.eml", "3-b.eml", "0000000100-c.eml", "x.eml", "5-d.txt"):
            (self.path / name).write_bytes(MAIL)
        names = self.folder.open()
        self.assertEqual(names, sorted(names))
        self.assertEqual(set(names), {"20-a.eml", "3-b.eml", "0000000100-c.eml"})

    def test_what_fails_is_bounded_and_the_oldest_make_room(self) -> None:
        self.patch(folder, "MOST", 3)
        self.assertEqual(MOST, 1000)
        for number in range(5):
            self.folder.write(f"1{number}-a.eml", MAIL)
            self.folder.put_aside(f"1{number}-a.eml", "550 no")
        left = sorted(path.name for path in self.folder.failed.iterdir())
        expected = [f"1{n}-a.eml{end}" for n in (2, 3, 4) for end in ("", ".reason")]
        self.assertEqual(left, expected)


class CheckTests(FolderCase):
    def test_a_folder_that_is_gone_is_made_again(self) -> None:
        for do in (self.folder.check, lambda: self.folder.write(NAME, MAIL)):
            self.path.rmdir()
            do()
        self.assertEqual(self.names(), [NAME])

    def test_one_that_cannot_be_made_is_no_place(self) -> None:
        self.path.rmdir()
        self.path.write_text("a file")
        self.assertRaises(OSError, self.folder.check)
        self.assertRaises(OSError, self.folder.write, NAME, MAIL)

    def test_a_full_disk_is_no_place(self) -> None:
        real = os.statvfs(self.path)

        class Full:
            f_bavail = LARGEST // real.f_frsize
            f_frsize = real.f_frsize

        self.patch(os, "statvfs", lambda _: Full)
        self.assertRaises(CannotKeep, self.folder.check)


class ReadingTests(FolderCase):
    def refused(self, content: bytes) -> str:
        (self.path / NAME).write_bytes(content)
        return str(self.assertRaises(ValueError, self.folder.read, NAME))

    def test_it_says_itself_who_it_is_from_and_to(self) -> None:
        self.folder.write(NAME, MAIL)
        envelope = self.folder.read(NAME)
        self.assertEqual(
            (envelope.sender, envelope.to, envelope.content),
            ("p@acme.example", "juan@x.example", MAIL),
        )
        self.assertNotIn("Hello", repr(envelope))

    def test_what_is_none_of_ours_is_told(self) -> None:
        for content in (
            b"",
            b"\xff\xfe",
            b"To: a@b.c\n\nx",
            b"From: p@acme.example\nTo: a@x.example, b@x.example\n\nx",
            b'From: p@acme.example\nTo: "a b"@x.example\n\nx',
        ):
            self.assertIn("it is no mail of portero's", self.refused(content))

    def test_what_is_not_there_is_another_matter(self) -> None:
        self.assertRaises(FileNotFoundError, self.folder.read, NAME)

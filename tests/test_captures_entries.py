"""What is in a capture, wherever its writer died."""

from __future__ import annotations

import struct
import zlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.captures import entries
from portero.captures.entries import (
    MAGIC,
    CaptureError,
    Entry,
    Kind,
    block,
    jsonable,
    of_float,
    read,
)

ENTRIES = st.lists(
    st.builds(
        Entry,
        st.sampled_from(Kind),
        st.floats(allow_nan=False),
        st.integers(0, 2**32 - 1),
        st.binary(max_size=200),
    ),
    max_size=8,
)
SOME = [Entry(Kind.HEARD, 1.5, 8000, b"\1\0"), Entry(Kind.KEY, 1.7, 0, b"5")]
MORE = [Entry(Kind.HUNG_UP, 2.0), Entry(Kind.ENDED, 2.0, 0, b"{}")]


class EntriesTests(SynchronousTestCase):
    @given(st.lists(ENTRIES, max_size=4))
    def test_what_was_written_is_read(self, blocks: list[list[Entry]]) -> None:
        content = MAGIC + b"".join(map(block, blocks))
        found, missing = read(content)
        self.assertEqual(found, [entry for part in blocks for entry in part])
        self.assertEqual(missing, "")

    def test_cut_anywhere_it_holds_what_was_whole(self) -> None:
        first, second = block(SOME), block(MORE)
        content = MAGIC + first + second
        for length in range(len(content) + 1):
            found, missing = read(content[:length])
            whole = [*SOME] if length >= len(MAGIC + first) else []
            whole += MORE if length == len(content) else []
            self.assertEqual(found, whole, length)
            ends = (*range(len(MAGIC) + 1), len(MAGIC + first), len(content))
            self.assertEqual(missing == "", length in ends, length)

    def test_what_is_damaged_is_not_believed(self) -> None:
        first = MAGIC + block(SOME)
        content = bytearray(first + block(MORE) + block(SOME))
        content[len(first) + 9] ^= 0x40
        found, missing = read(bytes(content))
        self.assertEqual(found, SOME)
        self.assertEqual(missing, f"what comes after byte {len(first) + 8} is damaged")

    def test_another_file_is_none(self) -> None:
        for content in (b"RIFF and so on", b"portero", b"portero capture"):
            if MAGIC.startswith(content):
                self.assertEqual(read(content).entries, [])
            else:
                error = self.assertRaises(CaptureError, read, content)
                self.assertEqual(str(error), "is no capture of portero's")

    def test_another_version_says_what_to_do(self) -> None:
        error = self.assertRaises(CaptureError, read, b"portero capture 2\n" + b"x")
        self.assertIn("is a capture of version 2", str(error))
        self.assertIn("or with a newer one", str(error))

    def test_a_block_of_others_is_refused(self) -> None:
        long = struct.pack("<BIdI", Kind.KEY, 0, 0.0, 9) + b"short"
        for packed, why in (
            (b"not zlib", "cannot be unpacked"),
            (zlib.compress(b"short"), "is broken"),
            (zlib.compress(long), "is broken"),
            (zlib.compress(struct.pack("<BIdI", 99, 0, 0.0, 0)), "no kind 99"),
        ):
            content = struct.pack("<II", len(packed), zlib.crc32(packed)) + packed
            error = self.assertRaises(CaptureError, read, MAGIC + content)
            self.assertIn(why, str(error))

    def test_what_would_fill_the_memory_is_refused(self) -> None:
        self.patch(entries, "MOST_BLOCK", 1000)
        read(MAGIC + block([Entry(Kind.FRAME, 0.0, 0, bytes(900))]))
        content = MAGIC + block([Entry(Kind.FRAME, 0.0, 0, bytes(1000))])
        error = self.assertRaises(CaptureError, read, content)
        self.assertIn("more than 1000 bytes", str(error))

    def test_values_come_back(self) -> None:
        value = ["a", {"b": [1, 2.5, None, "ñ\ud800"]}]
        self.assertEqual(Entry(Kind.ACT, 0.0, 0, jsonable(value)).value(), value)
        self.assertEqual(Entry(Kind.WOKEN, 0.0, 0, of_float(0.1)).as_float(), 0.1)

    def test_values_that_are_broken_say_where(self) -> None:
        entry = Entry(Kind.ACT, 0.0, 0, b"{")
        error = self.assertRaises(CaptureError, entry.value)
        self.assertIn("an entry ACT is broken", str(error))
        self.assertRaises(CaptureError, entry.as_float)

    def test_what_came_is_told_from_what_was_done(self) -> None:
        came = [kind for kind in Kind if kind.came]
        self.assertEqual((came[0], came[-1]), (Kind.BEGAN, Kind.STEP))

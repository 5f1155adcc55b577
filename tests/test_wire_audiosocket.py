"""Tests for L{portero.wire.audiosocket}."""

from __future__ import annotations

from itertools import pairwise
from struct import Struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.errors import FramingError
from portero.wire import audiosocket as wire

Event = tuple[Any, ...]

CONVERSATION = [
    (wire.UUID, bytes(range(16))),
    (wire.SLIN, b"\x01\x02" * 160),
    (wire.DTMF, b"5"),
    (wire.SLIN, b""),
    (0x42, b"what is this"),
    (0x16, b"\x03\x04" * 960),
    (wire.ERROR, b"\x04"),
    (wire.HANGUP, b""),
]
STREAM = b"".join(wire.encode(*message) for message in CONVERSATION)


class Recorder:
    """A decoder, and the events it told."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.decoder = wire.Decoder(
            lambda kind, payload: self.events.append((kind, payload)),
            lambda kind, length: self.events.append(("too long", kind, length)),
        )

    def feed(self, *pieces: bytes) -> list[Event]:
        for piece in pieces:
            self.decoder.feed(piece)
        return self.events


def header(kind: int, length: int) -> bytes:
    return bytes([kind, length >> 8, length & 0xFF])


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


class CountingHeader:
    """Counts how often a header is looked at; each look is one pass over a buffer."""

    size = wire.HEADER.size

    def __init__(self, header: Struct) -> None:
        self.looks = 0
        self._header = header

    def unpack_from(self, data: bytes, start: int) -> Any:
        self.looks += 1
        return self._header.unpack_from(data, start)


class DecoderTests(SynchronousTestCase):
    def test_a_stream_cut_at_any_byte_gives_the_same_messages(self) -> None:
        for place in range(len(STREAM) + 1):
            events = Recorder().feed(STREAM[:place], STREAM[place:])
            self.assertEqual(events, CONVERSATION)

    def test_a_stream_fed_byte_by_byte_gives_the_same_messages(self) -> None:
        pieces = [bytes([byte]) for byte in STREAM]
        self.assertEqual(Recorder().feed(*pieces), CONVERSATION)

    @given(st.lists(st.integers(0, 1 << 16), max_size=40))
    def test_a_stream_cut_in_any_way_gives_the_same_messages(
        self, places: list[int]
    ) -> None:
        self.assertEqual(Recorder().feed(*cut(STREAM, places)), CONVERSATION)

    @given(
        st.lists(
            st.one_of(
                st.binary(max_size=64),
                st.tuples(st.integers(0, 255), st.binary(max_size=64)).map(
                    lambda message: wire.encode(*message)
                ),
                st.builds(header, st.integers(0, 255), st.integers(0, 0xFFFF)),
            ),
            max_size=20,
        ).map(b"".join),
        st.lists(st.integers(0, 1 << 16), max_size=10),
    )
    def test_any_bytes_cut_in_any_way_give_the_same_events(
        self, data: bytes, places: list[int]
    ) -> None:
        whole, pieces = Recorder(), Recorder()
        self.assertEqual(whole.feed(data), pieces.feed(*cut(data, places)))
        self.assertEqual(whole.decoder.waiting, pieces.decoder.waiting)

    def test_a_message_is_given_as_soon_as_it_is_whole(self) -> None:
        recorder = Recorder()
        self.assertEqual(recorder.feed(b"\x10\x00\x02a"), [])
        self.assertEqual(recorder.feed(b"b\x03"), [(wire.SLIN, b"ab")])
        self.assertEqual(recorder.decoder.waiting, 1)

    def test_audio_up_to_200_ms_is_taken_and_a_byte_more_is_not(self) -> None:
        for kind, rate in wire.RATES.items():
            most = min(0xFFFF, rate * 2 // 5)
            self.assertEqual(wire.length_limit(kind), most)
            for length in (most - 1, most):
                events = Recorder().feed(header(kind, length), bytes(length))
                self.assertEqual(events, [(kind, bytes(length))])
            if most < 0xFFFF:
                events = Recorder().feed(header(kind, most + 1))
                self.assertEqual(events, [("too long", kind, most + 1)])

    def test_other_kinds_may_have_any_length(self) -> None:
        for kind in (wire.HANGUP, wire.UUID, 0x02, wire.DTMF, 0x0F, 0x19, wire.ERROR):
            self.assertEqual(wire.length_limit(kind), 0xFFFF)
            events = Recorder().feed(header(kind, 0xFFFF), bytes(0xFFFF))
            self.assertEqual(events, [(kind, bytes(0xFFFF))])

    def test_nothing_is_decoded_after_a_message_that_is_too_long(self) -> None:
        recorder = Recorder()
        recorder.feed(wire.encode(wire.DTMF, b"1") + header(wire.SLIN, 3201) + STREAM)
        recorder.feed(STREAM)
        self.assertEqual(
            recorder.events, [(wire.DTMF, b"1"), ("too long", wire.SLIN, 3201)]
        )
        self.assertEqual(recorder.decoder.waiting, 0)

    def test_a_message_that_is_too_long_is_refused_by_its_header_alone(self) -> None:
        recorder = Recorder()
        recorder.feed(b"\x10\x0c")
        self.assertEqual(recorder.events, [])
        recorder.feed(b"\x81")
        self.assertEqual(recorder.events, [("too long", wire.SLIN, 3201)])

    def test_stopped_within_a_read_it_gives_nothing_more_of_it(self) -> None:
        seen: list[int] = []

        def stop(kind: int, payload: bytes) -> None:
            seen.append(kind)
            if kind == wire.DTMF:
                decoder.stop()

        decoder = wire.Decoder(stop, lambda kind, length: None)
        decoder.feed(STREAM)
        decoder.feed(STREAM)
        self.assertEqual(seen, [wire.UUID, wire.SLIN, wire.DTMF])
        self.assertEqual(decoder.waiting, 0)

    def test_byte_by_byte_the_buffer_is_gone_through_twice_a_message(self) -> None:
        counting = CountingHeader(wire.HEADER)
        self.patch(wire, "HEADER", counting)
        recorder = Recorder()
        for byte in STREAM:
            recorder.feed(bytes([byte]))
        self.assertEqual(len(recorder.events), len(CONVERSATION))
        self.assertLessEqual(counting.looks, 2 * len(CONVERSATION))

    def test_in_one_read_each_header_is_looked_at_once(self) -> None:
        counting = CountingHeader(wire.HEADER)
        self.patch(wire, "HEADER", counting)
        Recorder().feed(STREAM)
        self.assertEqual(counting.looks, len(CONVERSATION))

    def test_it_never_holds_more_than_one_message(self) -> None:
        recorder = Recorder()
        for start in range(0, 400_000, 1000):
            recorder.feed((wire.encode(0x42, bytes(65535)) * 7)[start : start + 1000])
            self.assertLess(recorder.decoder.waiting, 65538)


class EncodeTests(SynchronousTestCase):
    def test_header_and_payload_are_one_piece(self) -> None:
        self.assertEqual(wire.encode(wire.SLIN, b"abcd"), b"\x10\x00\x04abcd")
        self.assertEqual(wire.encode(wire.HANGUP), b"\x00\x00\x00")

    def test_the_longest_payload_is_what_16_bits_can_say(self) -> None:
        self.assertEqual(wire.encode(1, bytes(0xFFFF))[:3], b"\x01\xff\xff")
        self.assertRaises(FramingError, wire.encode, 1, bytes(0x10000))

    @given(st.integers(0, 255), st.binary(max_size=3200))
    def test_what_was_encoded_is_decoded(self, kind: int, payload: bytes) -> None:
        self.assertEqual(Recorder().feed(wire.encode(kind, payload)), [(kind, payload)])

    def test_each_rate_has_its_kind(self) -> None:
        self.assertEqual(wire.KINDS[8000], wire.SLIN)
        self.assertEqual(
            {wire.RATES[wire.KINDS[rate]] for rate in wire.KINDS}, {*wire.KINDS}
        )
        self.assertEqual(len(wire.KINDS), 9)

"""What differs between two calls, in plain words."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from portero.captures.differences import NOTHING, Comparison, compare
from portero.captures.entries import Entry, Kind, jsonable
from portero.simulator.persona import tone

START = Entry(Kind.CALL, 100.0)
END = Entry(Kind.ENDED, 110.0, 0, b'{"outcome": "well", "seconds": 10.0}')
SILENT = bytes(320)


def happened(at: float, kind: str, **data: Any) -> Entry:
    return Entry(Kind.HAPPENED, 100.0 + at, 0, jsonable([kind, at, data]))


def sent(at: float, kind: str, number: int = 1, **fields: Any) -> Entry:
    data = json.dumps({"type": kind, **fields}).encode()
    return Entry(Kind.SENT, 100.0 + at, number, data)


def frame(at: float, pcm: bytes = SILENT) -> Entry:
    return Entry(Kind.FRAME, 100.0 + at, 0, pcm)


class CompareTests(SynchronousTestCase):
    def compared(self, captured: list[Entry], replayed: list[Entry]) -> Comparison:
        return compare([START, *captured, END], [START, *replayed, END])

    def told(
        self, captured: list[Entry], replayed: list[Entry]
    ) -> list[tuple[str, str]]:
        found = self.compared(captured, replayed).differences
        return [(each.captured, each.replayed) for each in found]

    def test_the_same_differs_in_nothing(self) -> None:
        call = [happened(1.0, "barge_in"), frame(1.01), sent(1.1, "response.create")]
        found = self.compared(call, [*call])
        self.assertEqual((found.differences, found.acts, found.frames), ((), 3, 1))

    def test_a_frame_sooner_or_later_is_the_same(self) -> None:
        captured = [happened(1.0, "cut", item="a", heard_ms=420, given_ms=900)]
        replayed = [happened(1.02, "cut", item="a", heard_ms=440, given_ms=900)]
        self.assertEqual(self.told(captured, replayed), [])

    def test_more_than_that_is_not(self) -> None:
        captured = [happened(1.0, "cut", item="a", heard_ms=420)]
        replayed = [happened(1.0, "cut", item="a", heard_ms=480)]
        self.assertEqual(
            self.told(captured, replayed),
            [
                (
                    'cut: item "a", heard_ms 420 (at 1.000 s)',
                    'cut: item "a", heard_ms 480 (at 1.000 s)',
                )
            ],
        )
        late = self.told([happened(1.0, "barge_in")], [happened(1.5, "barge_in")])
        self.assertEqual(late, [("barge_in (at 1.000 s)", "barge_in (at 1.500 s)")])

    def test_what_is_missing_and_what_is_more(self) -> None:
        one, two = happened(1.0, "barge_in"), sent(2.0, "response.create")
        self.assertEqual(self.told([one], []), [("barge_in", NOTHING)])
        more = [(NOTHING, "to the service (1): response.create")]
        self.assertEqual(self.told([], [two]), more)

    def test_what_is_of_the_same_sort_stands_side_by_side(self) -> None:
        captured = [happened(1.0, "state", state="talking")]
        replayed = [happened(1.0, "state", state="draining")]
        (found,) = self.told(captured, replayed)
        self.assertEqual(found, ('state: state "talking"', 'state: state "draining"'))

    def test_numbers_of_messages_are_no_difference(self) -> None:
        captured = [sent(1.0, "response.create", event_id="p1")]
        replayed = [sent(1.0, "response.create", event_id="p2")]
        self.assertEqual(self.told(captured, replayed), [])

    def test_what_is_no_json_is_compared_all_the_same(self) -> None:
        one, two = (Entry(Kind.SENT, 101.0, 1, data) for data in (b"\xff", b"[]"))
        (found,) = self.told([one], [two])
        self.assertIn('bytes "ff"', found[0])

    def test_sound_is_compared_in_stretches(self) -> None:
        loud = [frame(n / 50, tone(20)) for n in range(1, 4)]
        still = [frame(n / 50) for n in range(1, 4)]
        same = [frame(1.0)]
        found = self.compared(
            [*loud, *same, *still], [*still, *same, *still]
        ).differences
        (only,) = found
        self.assertEqual(only.captured, "3 frames to the caller: -21 dBFS")
        self.assertEqual(only.replayed, "3 frames to the caller: silence")
        self.assertAlmostEqual(only.at, 0.02)

    def test_frames_that_one_of_them_has_not(self) -> None:
        (found,) = self.told([frame(1.0)], [frame(1.0), frame(1.02)])
        self.assertEqual(
            found, ("no frames to the caller", "1 frames to the caller: silence")
        )

    def test_of_the_callers_audio_the_first_is_told(self) -> None:
        def uploaded(at: float, digest: bytes, number: int = 1) -> Entry:
            return Entry(Kind.UPLOADED, 100.0 + at, number, digest)

        captured = [uploaded(1.0, b"a"), uploaded(1.1, b"b"), uploaded(2.0, b"c", 2)]
        replayed = [uploaded(1.0, b"a"), uploaded(1.1, b"x"), uploaded(2.0, b"c", 2)]
        (found,) = self.compared(captured, replayed).differences
        self.assertAlmostEqual(found.at, 1.1)
        self.assertIn("2 messages with the caller's audio", found.captured)
        self.assertIn("of which 1 differ", found.replayed)

    def test_they_come_in_the_order_of_time_after_what_was_the_same(self) -> None:
        same = [happened(n / 10, "words", text=str(n)) for n in range(9)]
        captured = [*same, happened(1.0, "barge_in"), frame(1.5)]
        replayed = [*same, frame(1.5, tone(20))]
        found = self.compared(captured, replayed)
        self.assertEqual([round(each.at, 3) for each in found.differences], [1.0, 1.5])
        self.assertEqual(len(found.before), 5)
        self.assertIn('text "8"', found.before[-1].what)

    def test_the_end_is_compared_without_its_date(self) -> None:
        def ended(**more: Any) -> list[Entry]:
            record = {"outcome": "well", "began": "now", "seconds": 3.0, **more}
            return [START, Entry(Kind.ENDED, 103.0, 0, jsonable(record))]

        self.assertEqual(compare(ended(), ended(began="then")).differences, ())
        (found,) = compare(ended(), ended(outcome="failed")).differences
        self.assertIn('outcome "failed"', found.replayed)

    def test_where_the_capture_was_cut_off_nothing_is_missed(self) -> None:
        captured = [START, frame(1.0)]
        replayed = [START, frame(1.0), happened(1.5, "barge_in"), frame(2.0), END]
        self.assertEqual(compare(captured, replayed).differences, ())

    def test_words_are_cut(self) -> None:
        long = happened(1.0, "words", text="x" * 1000)
        (found,) = self.told([long], [])
        self.assertLess(len(found[0]), 200)

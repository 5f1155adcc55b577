"""Tests of L{portero.line}, by a leg that has no protocol."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from portero.interfaces import LegMake
from portero.line import Line
from portero.pacing import HOLE, MAX_BEHIND, PTIME, TICK, MediaClock
from portero.taps import DELAY
from tests.fakes import FakeLegEvents, FakeTap, FakeTransport
from tests.test_taps import counted

HALF_A_TICK = TICK / 2


class PlainLeg(Line):
    """Sends PCM as it is."""

    silent_for = 0.0

    def __init__(self, clock: Clock, media: MediaClock, rate: int) -> None:
        super().__init__(clock, media, "192.0.2.1:40000", rate)
        self.transport = FakeTransport()
        self.heard_now: list[float] = []
        self._opened(self.transport)
        self._frames_begin_with(b"")

    def begin(self, events: FakeLegEvents) -> None:
        self._begin(events)

    def hear(self, pcm: bytes, rate: int) -> None:
        self._heard(pcm, rate, self._clock.seconds())

    def _part(self, abort: bool) -> None:
        self.transport.loseConnection()

    def _broken(self, why: str) -> None:
        self._end(why)

    def _not_heard(self, seconds: float) -> None:
        self.silent_for = seconds


class LineCase(SynchronousTestCase):
    rate = 8000

    def setUp(self) -> None:
        self.clock = Clock()
        # Between two ticks, so that no rounding decides what a tick still sees.
        self.clock.advance(100 + HALF_A_TICK)
        self.media = MediaClock(self.clock)
        self.events = FakeLegEvents()
        self.leg = PlainLeg(self.clock, self.media, self.rate)
        self.leg.begin(self.events)
        self.clock.advance(HALF_A_TICK)
        self.said = 0

    def say(self, seconds: float, rate: int = 0) -> None:
        """The caller goes on."""
        count = round(seconds * (rate or self.rate))
        self.leg.hear(counted(count, 1 + self.said), rate or self.rate)
        self.said += count

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.clock.advance(TICK)

    def talk(self, seconds: float) -> None:
        """The caller speaks in packets of 20 ms."""
        for _ in range(round(seconds / PTIME)):
            self.say(PTIME)
            self.pass_time(PTIME)


class FiguresTests(LineCase):
    def test_what_waits_is_in_ms(self) -> None:
        self.leg.play("a", bytes(16000))
        self.assertEqual(self.leg.figures().waiting_ms, 1000)
        self.pass_time(0.2)
        sent = self.leg.figures().frames_sent
        self.assertGreater(sent, 9)
        self.assertEqual(self.leg.figures().waiting_ms, 1000 - 20 * sent)
        self.leg.flush()
        self.assertEqual(self.leg.figures().waiting_ms, 0)

    def test_an_even_caller_has_no_jitter(self) -> None:
        self.pass_time(0.05)
        self.talk(2)
        self.assertAlmostEqual(self.leg.figures().jitter_ms, 0)

    def test_jitter_is_that_of_rfc_3550(self) -> None:
        """Every second packet is 10 ms late: each differs by 10 ms from its time."""
        wanted = 0.0
        for n in range(100):
            self.say(PTIME)
            self.pass_time(PTIME + (0.01 if n % 2 else -0.01))
            self.assertAlmostEqual(self.leg.figures().jitter_ms, wanted)
            wanted += (10 - wanted) / 16
        self.assertGreater(wanted, 9.9)

    def test_long_packets_and_pauses_are_no_jitter(self) -> None:
        for _ in range(20):
            self.say(0.06)
            self.pass_time(0.06)
        self.pass_time(0.5)
        self.say(0.06)
        self.pass_time(0.06)
        self.assertAlmostEqual(self.leg.figures().jitter_ms, 0)

    def test_the_tail_ends_with_the_frame_that_fades(self) -> None:
        self.leg.play("a", counted(8000))
        self.pass_time(0.1)
        self.assertEqual(self.leg.figures().tail_ms, 0)
        self.leg.flush()
        # The frame before was sent with this tick, and the next has the end of it.
        self.pass_time(PTIME)
        self.assertAlmostEqual(self.leg.figures().tail_ms, 40)
        self.leg.play("b", counted(8000))
        self.pass_time(0.1 + 0.015)
        self.leg.flush()
        self.pass_time(PTIME)
        self.assertAlmostEqual(self.leg.figures().tail_ms, 25)

    def test_what_did_not_sound_has_no_tail(self) -> None:
        self.leg.play("a", counted(8000))
        self.pass_time(0.1)
        self.leg.flush()
        self.pass_time(0.1)
        self.leg.play("b", counted(8))
        self.leg.flush()
        self.pass_time(0.1)
        self.assertEqual(self.leg.figures().tail_ms, 0)

    def test_a_pause_is_no_tail(self) -> None:
        self.leg.flush()
        self.leg.play("a", counted(8000))
        self.pass_time(0.1)
        self.leg.pause()
        self.pass_time(0.1)
        self.leg.resume()
        self.pass_time(0.1)
        self.assertEqual(self.leg.figures().tail_ms, 0)


class Witness:
    """Remembers what it was told, with the times."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.told: list[tuple[str, float]] = []
        self.frames: list[bytes] = []
        self.heard_pcm: list[tuple[int, bytes]] = []

    def seconds(self) -> float:
        return self.clock.seconds() - 1000

    def began(self, now: float) -> None:
        self.told.append(("began", now))

    def heard(self, rate: int, pcm: bytes, now: float) -> None:
        self.told.append(("heard", now))
        self.heard_pcm.append((rate, pcm))

    def preferred(self, rate: int) -> None:
        self.told.append(("preferred", rate))

    def frame(self, frame: bytes, now: float) -> None:
        self.told.append(("frame", now))
        self.frames.append(frame)

    def hung_up(self) -> None:
        self.told.append(("hung up", self.clock.seconds()))


class CaptureTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100)
        self.leg = PlainLeg(self.clock, MediaClock(self.clock), 8000)
        self.witness = Witness(self.clock)
        capture: Any = self.witness
        self.make = self.leg.be_captured(capture)
        self.leg.begin(FakeLegEvents())

    def test_all_that_comes_and_leaves_is_told(self) -> None:
        self.assertEqual(self.make, LegMake(8000, 0, 0))
        pcm = counted(160, 1)
        self.leg.hear(pcm, 8000)
        self.clock.pump([TICK] * 8)
        self.leg._prefer(24000)
        self.leg.hang_up()
        self.leg.hang_up()
        kinds = [kind for kind, _ in self.witness.told]
        self.assertEqual(kinds[:2], ["began", "heard"])
        self.assertEqual(kinds[-2:], ["preferred", "hung up"])
        self.assertEqual(set(kinds[2:-2]), {"frame"})
        self.assertEqual(self.witness.heard_pcm, [(8000, pcm)])
        self.assertEqual(b"".join(self.witness.frames), self.leg.transport.value())

    def test_what_fills_a_hole_did_not_come(self) -> None:
        self.clock.pump([TICK] * 100)
        self.assertGreater(self.leg.figures().filled_ms, 0)
        self.assertNotIn("heard", [kind for kind, _ in self.witness.told])

    def test_what_is_played_begins_at_the_time_of_the_capture(self) -> None:
        times: list[float] = []
        before = self.leg._playout.play

        def play(item: str, pcm: bytes, now: float) -> bool:
            times.append(now)
            return before(item, pcm, now)

        self.patch(self.leg._playout, "play", play)
        self.leg.play("a", bytes(320))
        self.assertEqual(times, [-900.0])


class QuietTests(LineCase):
    def test_a_leg_is_told_how_long_nothing_came(self) -> None:
        self.talk(1)
        self.pass_time(3)
        self.assertApproximates(self.leg.silent_for, 3, 0.05)
        self.assertApproximates(self.leg.figures().filled_ms, 3000, 60)


class TapCase(LineCase):
    """
    What taps get, told apart by content: counted samples of both sides.
    """

    def setUp(self) -> None:
        super().setUp()
        self.tap = FakeTap()
        self.leg.tap(self.tap)

    def assert_whole(self, skipped_before: Sequence[int]) -> None:
        """
        The leg has ended: nothing of either side was lost, doubled or moved.

        @param skipped_before: For each frame sent, how many had been given up.
        """
        frame = round(self.rate * PTIME) * 2
        sent = [write[:frame] for write in self.leg.transport.writes]
        self.assertEqual(len(sent), len(skipped_before))
        due = sent and len(sent) + skipped_before[-1]
        wanted = [bytes(frame)] * (due or 0)
        for n, skipped in enumerate(skipped_before):
            wanted[n + skipped] = sent[n]
        self.assertEqual(self.tap.agent[: len(wanted)], wanted)
        self.assertFalse(any(map(any, self.tap.agent[len(wanted) :])))

        stream = b"".join(self.events.audio)
        given = b"".join(self.tap.caller)
        whole = len(stream) - len(stream) % frame
        self.assertEqual(given[: len(stream)], stream[: len(given)])
        self.assertGreaterEqual(len(given), whole)
        self.assertFalse(any(given[len(stream) :]))
        self.assertEqual(len(self.tap.caller), max(len(wanted), whole // frame))


class AlignmentTests(TapCase):
    def test_both_sides_of_the_same_20_ms_come_together(self) -> None:
        """
        A click on each side at the same moment: said within the 20 ms that the frame
        before took, and received as the next one is due.
        """
        for moment in (5, 50, 51, 97):
            click = b"\xff\x7f" + bytes(318)
            while len(self.tap.agent) < moment:
                self.leg.hear(bytes(320), 8000)
                self.pass_time(PTIME)
            left = self.leg.figures().frames_sent
            self.leg.play(f"click {moment}", click)
            self.leg.end_of_item(f"click {moment}")
            self.leg.hear(click, 8000)
            self.pass_time(PTIME)
            for _ in range(DELAY + 2):
                self.leg.hear(bytes(320), 8000)
                self.pass_time(PTIME)
            self.assertTrue(any(self.tap.agent[left]))
            self.assertTrue(any(self.tap.caller[left - 1]))

    def test_it_comes_a_fixed_while_later_whatever_the_jitter(self) -> None:
        delays: set[int] = set()
        for n in range(400):
            self.say(PTIME)
            # Up to 55 ms late, and early again.
            before = len(self.tap.agent)
            self.pass_time((0.02, 0.055, 0.005, 0, 0.02)[n % 5])
            if n > 20 and len(self.tap.agent) > before:
                delays.add(self.leg.figures().frames_sent - len(self.tap.agent))
        self.assertEqual(delays, {DELAY})

    def test_not_even_the_latest_audio_makes_it_later(self) -> None:
        """
        Packets lost one by one leave as much missing as may be without being filled;
        then comes the longest pause without being filled, to the tick.
        """
        waiting: set[int] = set()
        for first in range(4):
            self.setUp()
            self.pass_time(HOLE + first * TICK)
            for late in range(40):
                for gap in [0.03] * (late % 8) + [HOLE + PTIME]:
                    self.say(PTIME)
                    for _ in range(round(gap / TICK)):
                        self.pass_time(TICK)
                        given = len(self.tap.agent)
                        if given:
                            waiting.add(self.leg.figures().frames_sent - given)
        self.assertEqual(waiting, {DELAY})

    def test_it_comes_a_fixed_while_later_when_nothing_comes(self) -> None:
        self.talk(0.5)
        for _ in range(100):
            self.pass_time(PTIME)
            waiting = self.leg.figures().frames_sent - len(self.tap.agent)
            self.assertEqual(waiting, DELAY)

    def test_it_is_later_for_a_phone_with_long_packets_only(self) -> None:
        for _ in range(20):
            self.pass_time(0.2)
            self.say(0.2)
        self.pass_time(PTIME)
        waiting = self.leg.figures().frames_sent - len(self.tap.agent)
        self.assertEqual(waiting, DELAY)

    def test_what_came_before_the_tap_is_not_given(self) -> None:
        self.talk(1)
        late = FakeTap()
        self.leg.untap(self.tap)
        self.leg.tap(late)
        first = self.leg.figures().frames_sent
        self.leg.play("a", counted(80000))
        self.talk(1)
        self.leg.hang_up()
        sent = self.leg.transport.writes[first:]
        self.assertEqual(late.agent[: len(sent)], sent)
        # It is cut as when the tap had been there from the beginning.
        stream = b"".join(self.events.audio)
        last = self.leg.figures().frames_sent
        frames = [stream[320 * n :][:320].ljust(320, b"\0") for n in range(last)]
        self.assertEqual(late.caller, frames[first:])

    def test_a_stall_before_the_tap_moves_nothing(self) -> None:
        late = FakeTap()
        self.talk(1)
        self.leg.untap(self.tap)
        self.clock.advance(1)
        self.talk(1)
        self.leg.tap(late)
        figures = self.leg.figures()
        first = figures.frames_sent + figures.frames_skipped
        self.talk(1)
        self.leg.hang_up()
        stream = b"".join(self.events.audio)
        self.assertEqual(late.caller[0], stream[320 * first :][:320])

    def test_what_is_private_is_silence_on_both_sides_and_as_long(self) -> None:
        """To the very frame, although taps get it later."""
        loud = b"\x01\x10" * 160
        self.leg.play("agent", loud * 60)
        left: list[int] = []
        for n in range(60):
            if n in (20, 40):
                self.leg.keep_private(n == 20)
                left.append(self.leg.figures().frames_sent)
            self.leg.hear(loud, 8000)
            self.pass_time(PTIME)
        self.leg.hang_up()
        begins, ends = left
        for side, silent in (
            (self.tap.caller, range(20, 40)),
            (self.tap.agent, range(begins, ends)),
        ):
            found = [n for n in range(10, 50) if not any(side[n])]
            self.assertEqual(found, [*silent])
        self.assertEqual(len(self.tap.caller), len(self.tap.agent))

    def test_who_comes_while_it_is_private_gets_silence_too(self) -> None:
        self.leg.keep_private(True)
        late = FakeTap()
        self.leg.tap(late)
        for _ in range(20):
            self.leg.hear(b"\x01\x10" * 160, 8000)
            self.pass_time(PTIME)
        self.leg.hang_up()
        self.assertFalse(any(map(any, late.caller)))
        self.assertGreater(len(late.caller), 15)
        self.assertEqual(self.events.audio[-1], b"\x01\x10" * 160)

    def test_without_a_tap_nothing_is_kept(self) -> None:
        self.leg.untap(self.tap)
        self.assertIsNone(self.leg._taps)
        self.leg.untap(self.tap)

    def test_after_the_last_one_failed_nothing_is_kept(self) -> None:
        self.tap.rates = None  # type: ignore[assignment]  # so that it fails
        self.talk(1)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        self.assertIsNone(self.leg._taps)

    def test_a_leg_that_ended_has_nothing_to_give(self) -> None:
        self.leg.hang_up()
        late = FakeTap()
        self.leg.tap(late)
        self.leg.untap(late)
        self.assertEqual(late.agent, [])


class TimeMachine:
    """Lets packets, ticks and stalls come in any order, and notes what was sent."""

    def __init__(self, case: TapCase) -> None:
        self.case = case
        self.skipped_before: list[int] = []

    def note(self) -> None:
        figures = self.case.leg.figures()
        new = figures.frames_sent - len(self.skipped_before)
        # Of the frames of one advance at most the first comes after some given up.
        self.skipped_before += [figures.frames_skipped] * new

    def advance(self, seconds: float) -> None:
        self.case.clock.advance(seconds)
        self.note()

    def run(self, steps: Sequence[tuple[str, int]]) -> None:
        case = self.case
        self.note()
        for what, n in steps:
            if what == "packets":
                for _ in range(n):
                    case.say(PTIME)
            elif what == "odd packet":
                case.say(n / case.rate)
            elif what == "ticks":
                for _ in range(n):
                    self.advance(TICK)
            else:
                self.advance(n / 1000)
        self.note()
        case.leg.hang_up()
        case.assert_whole(self.skipped_before)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("packets"), st.integers(1, 12)),
        st.tuples(st.just("odd packet"), st.integers(1, 700)),
        st.tuples(st.just("ticks"), st.integers(1, 60)),
        st.tuples(st.just("stall"), st.integers(1, 700)),
    ),
    max_size=60,
)


class AnyTimeTests(TapCase):
    """Whatever the jitter, the holes, the bursts and the stalls."""

    @settings(deadline=None)
    @given(st.sampled_from((8000, 24000)), STEPS)
    def test_nothing_is_lost_or_doubled_or_moved(
        self, rate: int, steps: list[tuple[str, int]]
    ) -> None:
        self.rate = rate
        self.setUp()
        self.leg.play("a", counted(600000))
        TimeMachine(self).run(steps)

    def test_it_holds_however_long_the_trouble(self) -> None:
        self.leg.play("a", counted(600000))
        machine = TimeMachine(self)
        steps = [("packets", 3), ("ticks", 12), ("packets", 1), ("ticks", 4)] * 40
        steps += [("ticks", 100), ("stall", 333), ("packets", 16), ("stall", 60)]
        machine.run(steps * 6)


class DriftTests(TapCase):
    def test_the_callers_side_keeps_the_time_of_the_agents(self) -> None:
        """
        A click of the caller each second, by packets with jitter and lost packets: each
        is in the frame of its moment, two minutes later too.
        """
        click = b"\xff\x7f" * 160
        late = (0, 1, 2, 1, 0, 2, 0, 0, 1, 2)  # ticks
        for second in range(120):
            for n in range(50):
                # Now and then three are lost, and one by one some more.
                lost = n in (20, 21, 22) and second % 7 == 0
                if not lost and not (n == 40 and second % 3 == 0):
                    self.pass_time(late[n % 10] * TICK)
                    self.leg.hear(bytes(320) if n else click, 8000)
                    self.pass_time(PTIME - late[n % 10] * TICK)
                else:
                    self.pass_time(PTIME)
        self.leg.hang_up()
        clicks = [n for n, pcm in enumerate(self.tap.caller) if any(pcm)]
        moments = sorted({(n + 5) // 50 for n in clicks})
        self.assertEqual(moments, list(range(120)))
        # Lost packets are filled when they are as many as a hole is long.
        hole = round(HOLE / PTIME)
        self.assertTrue(all(-hole - 1 <= (n + 5) % 50 - 5 <= 1 for n in clicks), clicks)


class StallTests(TapCase):
    def test_frames_given_up_are_silence_for_the_agent(self) -> None:
        self.leg.play("a", counted(80000))
        self.talk(1)
        self.clock.advance((MAX_BEHIND + 1) * PTIME)
        skipped = self.leg.figures().frames_skipped
        self.assertGreaterEqual(skipped, MAX_BEHIND)
        self.talk(1)
        self.leg.hang_up()
        silent = [n for n, pcm in enumerate(self.tap.agent) if not any(pcm)]
        self.assertEqual(len(silent[:skipped]), skipped)
        self.assertEqual(silent[:skipped], list(range(51, 51 + skipped)))

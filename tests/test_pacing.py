"""Tests for L{portero.pacing}."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from portero.pacing import (
    MAX_BEHIND,
    PTIME,
    TICK,
    CallerTime,
    Lateness,
    MediaClock,
)


class TestCase(SynchronousTestCase):
    def assert_near(self, found: float, expected: float, within: float) -> None:
        self.assertLessEqual(abs(found - expected), within, f"{found} != {expected}")


class FakeLeg:
    """Writes down when it got its frames."""

    call_id = "c1"

    def __init__(self, do: Callable[[], None] = lambda: None) -> None:
        self.frames: list[float] = []
        self.failed = 0
        self._do = do

    def frame_due(self, now: float) -> None:
        self.frames.append(now)
        self._do()

    def pacing_failed(self) -> None:
        self.failed += 1


class MediaClockTests(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.media = MediaClock(self.clock)

    def join(self, do: Callable[[], None] = lambda: None) -> FakeLeg:
        leg = FakeLeg(do)
        self.media.join(leg)
        return leg

    def run_for(self, seconds: float) -> None:
        """Tick by tick, as an idle reactor would."""
        for _ in range(round(seconds / TICK)):
            self.clock.advance(TICK)

    def assert_asleep(self) -> None:
        self.assertFalse(self.media.running)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_sleeps_until_a_leg_joins_and_when_the_last_has_left(self) -> None:
        self.assert_asleep()
        one, two = self.join(), self.join()
        self.assertTrue(self.media.running)
        self.assertEqual(self.media.legs, 2)
        self.media.leave(one)
        self.assertTrue(self.media.running)
        self.media.leave(two)
        self.assert_asleep()

    def test_it_wakes_again(self) -> None:
        for _ in range(3):
            leg = self.join()
            self.run_for(0.09)
            self.assertEqual(len(leg.frames), 5)
            self.media.leave(leg)
            self.run_for(1)
            self.assertEqual(len(leg.frames), 5)
        self.assert_asleep()

    def test_leaving_twice_is_leaving_once(self) -> None:
        leg = self.join()
        self.media.leave(leg)
        self.media.leave(leg)
        self.assert_asleep()

    def test_a_frame_every_20_ms(self) -> None:
        leg = self.join()
        self.run_for(0.99)
        gaps = [b - a for a, b in pairwise(leg.frames)]
        self.assertEqual(len(leg.frames), 50)
        self.assertTrue(all(abs(gap - PTIME) < 1e-6 for gap in gaps[1:]))

    def test_the_first_frame_comes_within_one_tick(self) -> None:
        self.join()
        for offset in (0.0, 0.001, 0.0024, 0.0026, 0.004, 0.0049, 0.013):
            self.clock.advance(offset)
            leg, joined = self.join(), self.clock.seconds()
            while not leg.frames:
                self.clock.advance(0.0001)
            self.assertLess(leg.frames[0] - joined, TICK + 0.0002)

    def test_60_s_of_a_jittering_clock_do_not_drift(self) -> None:
        leg = self.join()
        jitter = random.Random(1)
        begin = self.clock.seconds()
        while self.clock.seconds() < begin + 60:
            self.clock.advance(jitter.uniform(0.0005, 0.019))
        elapsed = self.clock.seconds() - begin
        self.assertEqual(self.media.lateness(leg)[1], 0)
        self.assert_near(len(leg.frames), elapsed / PTIME, within=2)
        for n, sent in enumerate(leg.frames):
            self.assertGreater(sent, begin + n * PTIME - 1e-5)
            self.assertLess(sent, begin + n * PTIME + 0.03)

    def test_a_clock_that_is_always_late_loses_no_frame(self) -> None:
        leg = self.join()
        begin = self.clock.seconds()
        for n in range(1, 301):
            self.clock.advance(begin + n * PTIME + 0.007 - self.clock.seconds())
        self.assert_near(len(leg.frames), 300, within=1)
        p99, skipped = self.media.lateness(leg)
        self.assertEqual(skipped, 0)
        self.assertGreater(p99, 6.9)

    def stall(self, seconds: float) -> tuple[FakeLeg, float]:
        """
        A second of frames, nothing for some time, then as ever.

        @return: The leg, and when the stall was over.
        """
        leg = self.join()
        self.run_for(1)
        self.clock.advance(seconds)
        over = self.clock.seconds()
        self.run_for(0.5)
        return leg, over

    def test_short_stalls_are_made_up_for_one_frame_a_tick(self) -> None:
        for seconds in (0.03, 0.07, 0.09):
            leg, over = self.stall(seconds)
            after = [sent - over for sent in leg.frames if sent >= over]
            self.assertEqual(self.media.lateness(leg)[1], 0)
            self.assert_near(len(leg.frames), (1.5 + seconds) / PTIME, within=1)
            gaps = [b - a for a, b in pairwise(after)]
            self.assertGreater(min(gaps), TICK - 1e-6)
            self.assertEqual(len(set(leg.frames)), len(leg.frames))
            self.media.leave(leg)

    def test_long_stalls_are_skipped_and_counted(self) -> None:
        for seconds in (0.125, 0.15, 1.0):
            leg, over = self.stall(seconds)
            skipped = self.media.lateness(leg)[1]
            self.assert_near(skipped, seconds / PTIME, within=2)
            self.assert_near(
                len(leg.frames) + skipped, (1.5 + seconds) / PTIME, within=1
            )
            after = [sent for sent in leg.frames if sent >= over]
            gaps = [b - a for a, b in pairwise(after)]
            self.assertGreater(min(gaps), TICK + 0.001)
            self.media.leave(leg)

    def test_100_ms_leave_at_most_five_frames_due_and_no_burst(self) -> None:
        leg, over = self.stall(0.1)
        self.assertEqual(len(set(leg.frames)), len(leg.frames))
        within = [sent for sent in leg.frames if over <= sent < over + PTIME - 1e-6]
        self.assertLessEqual(len(within), MAX_BEHIND - 1)

    def test_after_a_stall_the_grid_is_the_same(self) -> None:
        leg, over = self.stall(0.15)
        begin = leg.frames[1]
        for sent in leg.frames:
            if sent > over + 0.2:
                off = (sent - begin) / PTIME
                self.assertAlmostEqual(off, round(off), places=3)

    def test_legs_are_spread_over_the_slots_and_stay_there(self) -> None:
        legs = []
        for _ in range(4):
            legs.append(self.join())
            self.clock.advance(TICK)
        self.run_for(2)
        for leg in legs:
            phases = {round((sent - 1000) / TICK) % 4 for sent in leg.frames[1:]}
            self.assertEqual(len(phases), 1)
        first = [leg.frames[1] for leg in legs]
        self.assertEqual(len({round(when / TICK) for when in first}), 4)

    def test_a_leg_that_joins_during_a_stall_gets_its_frames(self) -> None:
        old = self.join()
        self.run_for(0.5)
        self.clock.rightNow += 0.07  # the reactor is busy; then it reads a socket
        new = self.join()
        self.run_for(0.2)
        self.assert_near(len(new.frames), 10, within=1)
        self.assertEqual(len(set(new.frames)), len(new.frames))
        self.assertEqual(self.media.lateness(old)[1], 0)

    def test_legs_may_join_and_leave_within_a_frame(self) -> None:
        late: list[FakeLeg] = []

        def replace() -> None:
            self.media.leave(first)
            late.append(self.join())

        first = self.join(replace)
        self.run_for(0.2)
        self.assertEqual(len(first.frames), 1)
        self.assert_near(len(late[0].frames), 9, within=1)
        self.assertEqual(len(set(late[0].frames)), len(late[0].frames))
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.media.leave(late[0])
        self.assert_asleep()

    def test_a_leg_may_remove_another_that_is_due_in_the_same_tick(self) -> None:
        first = self.join(lambda: self.media.leave(second))
        second = self.join()
        self.run_for(0.09)
        self.assertEqual(len(first.frames), 5)
        self.assertEqual(second.frames, [])

    def test_an_error_in_one_leg_ends_that_leg_only(self) -> None:
        good, bad = self.join(), self.join(lambda: 1 // 0)  # type: ignore[arg-type] # raises
        also_good = self.join()
        self.run_for(0.19)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual((len(bad.frames), bad.failed), (1, 1))
        self.assertEqual((len(good.frames), len(also_good.frames)), (10, 10))
        self.assertEqual(self.media.legs, 2)

    def test_an_error_in_ending_a_leg_is_no_harm_either(self) -> None:
        class Worse(FakeLeg):
            def pacing_failed(self) -> None:
                raise ValueError("worse")

        bad = Worse(lambda: 1 // 0)  # type: ignore[arg-type] # raises
        self.media.join(bad)
        good = self.join()
        self.run_for(0.19)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual((len(good.frames), self.media.legs), (10, 1))
        self.media.leave(good)
        self.assert_asleep()

    def test_the_loop_comes_back_when_it_fails_itself(self) -> None:
        leg = self.join()
        self.run_for(0.1)
        self.patch(self.media, "_serve", lambda *_: 1 // 0)
        self.run_for(0.02)
        self.assertNotEqual(self.flushLoggedErrors(ZeroDivisionError), [])
        del self.media._serve
        self.run_for(0.1)
        self.assert_near(len(leg.frames), 11, within=1)
        self.media.leave(leg)
        self.assert_asleep()

    def test_lateness_of_a_leg_that_is_not_there_is_nothing(self) -> None:
        self.assertEqual(self.media.lateness(FakeLeg()), (0.0, 0))

    def test_lateness_of_all_has_the_frames_of_legs_here_and_gone_once(self) -> None:
        first = self.join()
        self.run_for(0.1)
        second = self.join()
        self.run_for(0.2)
        sent = len(first.frames) + len(second.frames)
        self.assertEqual(self.media.lateness_of_all().count, sent)
        self.media.leave(first)
        self.assertEqual(self.media.lateness_of_all().count, sent)
        self.run_for(0.1)
        sent = len(first.frames) + len(second.frames)
        self.assertEqual(self.media.lateness_of_all().count, sent)

    def test_lateness_of_all_shows_what_was_late(self) -> None:
        leg = self.join()
        self.run_for(0.04)
        found = self.media.lateness_of_all()
        self.assertEqual(found.below([0.01]), [len(leg.frames)])
        self.clock.advance(0.035)
        found = self.media.lateness_of_all()
        self.assertEqual(found.count - found.below([0.01])[0], 1)
        self.assertEqual(found.count, len(leg.frames))


class LatenessTests(TestCase):
    def test_without_frames_it_is_nothing(self) -> None:
        self.assertEqual(Lateness().quantile_ms(0.99), 0.0)

    def test_a_quantile_is_the_upper_edge_of_its_bin(self) -> None:
        lateness = Lateness()
        for n in range(100):
            lateness.add(n / 10_000)  # 0 to 9.9 ms
        for share, ms in ((0.01, 0.25), (0.5, 5.0), (0.99, 10.0), (1.0, 10.0)):
            self.assert_near(lateness.quantile_ms(share), ms, within=0.26)

    def test_what_is_beyond_its_range_counts_as_its_end(self) -> None:
        lateness = Lateness()
        for seconds in (0.0, 0.05, 3.0):
            lateness.add(seconds)
        self.assertEqual(lateness.quantile_ms(0.99), 50.25)

    def test_a_little_early_is_on_time(self) -> None:
        lateness = Lateness()
        lateness.add(-1e-7)
        self.assertEqual(lateness.quantile_ms(1.0), 0.25)


class CallerTimeTests(TestCase):
    def setUp(self) -> None:
        self.now = 50.0
        self.time = CallerTime(self.now)
        self.length = 0.0

    def speak(self, seconds: float, packet: float = PTIME) -> None:
        """A phone that sends; our frames are asked for in between."""
        end = self.now + seconds
        packet_at = self.now + packet
        while self.now < end - 1e-9:
            self.now += PTIME
            self.length += self.time.quiet(self.now)
            if self.now >= packet_at - 1e-9:
                self.length += self.time.arrived(self.now, packet) + packet
                packet_at += packet

    def be_quiet(self, seconds: float) -> list[float]:
        fillings = []
        for _ in range(round(seconds / PTIME)):
            self.now += PTIME
            fillings.append(self.time.quiet(self.now))
        self.length += sum(fillings)
        return fillings

    def assert_real_time(self, within: float = PTIME) -> None:
        elapsed = self.now - 50.0
        self.assert_near(self.length, elapsed, within=within + 1e-6)
        self.assertAlmostEqual(
            self.time.ahead(self.now), self.length - elapsed, places=6
        )

    def test_steady_audio_is_left_alone(self) -> None:
        self.speak(10)
        self.assertEqual(self.time.filled, 0.0)
        self.assert_real_time()

    def test_jitter_is_left_alone(self) -> None:
        jitter = random.Random(2)
        for n in range(1, 500):
            now = 50.0 + n * PTIME + jitter.uniform(0, 0.019)
            self.assertEqual(self.time.arrived(now, PTIME), 0.0)
            self.assertEqual(self.time.quiet(now + 0.001), 0.0)

    def test_a_digit_is_a_hole_of_240_ms_and_is_filled(self) -> None:
        self.speak(2)
        fillings = self.be_quiet(0.24)
        self.speak(2)
        self.assert_real_time()
        self.assert_near(self.time.filled, 0.24, within=PTIME + 1e-6)
        self.assertEqual(fillings[:2], [0.0, 0.0])

    def test_a_muted_phone_is_filled_for_ever_a_frame_at_a_time(self) -> None:
        self.speak(1)
        fillings = self.be_quiet(3600)
        self.assert_real_time()
        self.assertAlmostEqual(max(fillings[5:]), PTIME)
        self.assertAlmostEqual(self.time.silent_for(self.now), 3600, places=3)

    def test_one_that_never_speaks_is_filled_too(self) -> None:
        self.be_quiet(5)
        self.assert_real_time()

    def test_many_digits_do_not_add_up(self) -> None:
        for _ in range(100):
            self.speak(0.5)
            self.be_quiet(0.24)
        self.speak(0.5)
        self.assert_real_time()

    def test_long_packets_are_no_holes(self) -> None:
        for packet in (0.04, 0.06, 0.1, 0.2):
            self.now, self.length = 50.0, 0.0
            self.time = CallerTime(self.now)
            self.speak(packet, packet)
            before = self.time.filled
            self.speak(20, packet)
            self.assertEqual(self.time.filled, before)
            self.assert_real_time(within=packet + PTIME)

    def test_a_hole_between_long_packets_is_filled(self) -> None:
        for packet in (0.04, 0.06, 0.1, 0.2):
            self.now, self.length = 50.0, 0.0
            self.time = CallerTime(self.now)
            self.speak(4, packet)
            self.be_quiet(2)
            self.speak(4, packet)
            self.assert_real_time(within=packet + PTIME)

    def test_a_burst_after_a_stall_is_compensated_at_the_next_hole(self) -> None:
        self.speak(1)
        self.be_quiet(0.4)
        for _ in range(20):
            self.length += self.time.arrived(self.now, PTIME) + PTIME
        self.assertGreater(self.time.ahead(self.now), 0.3)
        self.speak(1)
        self.be_quiet(1)
        self.assert_real_time()

    def test_many_stalls_do_not_add_up(self) -> None:
        for _ in range(50):
            self.speak(1)
            self.be_quiet(0.4)
            for _ in range(20):
                self.length += self.time.arrived(self.now, PTIME) + PTIME
        self.assertLess(self.time.ahead(self.now), 0.45)

    def test_packets_lost_one_by_one_are_made_up_for(self) -> None:
        for n in range(1, 5000):
            self.now += PTIME
            self.length += self.time.quiet(self.now)
            if n % 20:
                self.length += self.time.arrived(self.now, PTIME) + PTIME
        self.assert_real_time(within=0.1)

    def test_a_slow_phone_is_made_up_for(self) -> None:
        for _ in range(20_000):
            self.now += PTIME * 1.002
            self.length += self.time.quiet(self.now)
            self.length += self.time.arrived(self.now, PTIME) + PTIME
        self.assert_real_time(within=0.1)

    def test_fillings_are_whole_frames(self) -> None:
        self.speak(0.5)
        self.now += 0.3333
        filling = self.time.arrived(self.now, PTIME)
        self.assertAlmostEqual(filling / PTIME, round(filling / PTIME), places=6)
        self.assertGreater(filling, 0.28)

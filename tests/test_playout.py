"""Tests for L{portero.playout}."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from numpy.typing import NDArray
from twisted.trial.unittest import SynchronousTestCase

from portero.interfaces import Heard
from portero.pacing import PTIME
from portero.playout import (
    FADE,
    LEAST_PREFILL,
    MAX_WAITING,
    MOST_PREFILL,
    Notice,
    Playout,
)

RATE = 8000
FRAME = 320
SILENCE = bytes(FRAME)
FADE_SAMPLES = round(RATE * FADE)


def samples(pcm: bytes) -> NDArray[np.int64]:
    return np.frombuffer(pcm, "<i2").astype(np.int64)


def counted(n: int, start: int = 1) -> bytes:
    """C{n} samples that can be told apart, none of them silent."""
    return ((np.arange(start - 1, start - 1 + n) % 30000) + 1).astype("<i2").tobytes()


def level(n: int, value: int = 8000) -> bytes:
    return np.full(n, value, "<i2").tobytes()


def tone(n: int) -> bytes:
    wave: NDArray[np.float64] = 8000 * np.sin(np.arange(n) * 2 * np.pi * 400 / RATE)
    return bytes(np.rint(wave).astype("<i2").tobytes())


class PlayoutCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.playout = Playout(RATE)
        self.now = 100.0

    def play(self, name: str, pcm: bytes, *, end: bool = False) -> None:
        self.assertTrue(self.playout.play(name, pcm, self.now))
        if end:
            self.playout.end_of_item(name)

    def frame(self) -> bytes:
        frame = self.playout.frame(self.now)
        self.assertEqual(len(frame), round(self.playout.rate * PTIME) * 2)
        self.now += PTIME
        return frame

    def frames(self, n: int) -> bytes:
        return b"".join(self.frame() for _ in range(n))

    def notices(self) -> list[tuple[str, str]]:
        notices, self.playout.notices = self.playout.notices, []
        return [(what, name) for what, name in notices]


class AccountTests(PlayoutCase):
    def test_it_knows_how_much_waits(self) -> None:
        self.play("a", counted(8000))
        self.play("b", counted(80))
        self.assertEqual(self.playout.waiting_ms, 1010)
        self.frames(10)
        self.assertEqual(self.playout.waiting_ms, 810)
        self.playout.flush()
        self.assertEqual(self.playout.waiting_ms, 0)

    def test_without_audio_there_is_silence(self) -> None:
        self.assertEqual(self.frames(3), SILENCE * 3)
        self.assertTrue(self.playout.idle)
        self.assertEqual(self.playout.flush(), ())

    def test_an_item_leaves_sample_for_sample(self) -> None:
        pcm = counted(1600)
        self.play("a", pcm, end=True)
        sent = self.frames(10)
        self.assertEqual(sent[: -2 * FADE_SAMPLES], pcm[: -2 * FADE_SAMPLES])
        self.assertEqual(self.frame(), SILENCE)
        self.assertTrue(self.playout.idle)

    def test_it_says_when_an_item_begins_to_sound_and_when_it_is_played_out(
        self,
    ) -> None:
        self.play("a", counted(480), end=True)
        told = []
        for _ in range(4):
            self.frame()
            told.append(self.notices())
        self.assertEqual(told, [[("sounding", "a")], [], [("played out", "a")], []])

    def test_items_follow_each_other_in_the_next_frame(self) -> None:
        self.play("a", level(400), end=True)
        self.play("b", level(400, 5000), end=True)
        self.frames(3)
        self.assertEqual(samples(self.frame())[0], 5000)
        self.frames(2)
        self.assertEqual(
            self.notices(),
            [
                ("sounding", "a"),
                ("played out", "a"),
                ("sounding", "b"),
                ("played out", "b"),
            ],
        )

    def test_the_end_may_be_said_after_the_audio_has_left(self) -> None:
        self.play("a", counted(640))
        self.frames(6)
        self.assertEqual(self.notices(), [("sounding", "a")])
        self.playout.end_of_item("a")
        self.assertEqual(self.frame(), SILENCE)
        self.assertEqual(self.notices(), [("played out", "a")])
        self.assertEqual(self.playout.underruns, 0)

    def test_a_new_item_ends_the_one_before_it(self) -> None:
        self.play("a", level(640))
        self.frames(6)
        self.play("b", level(640, 5000))
        self.assertEqual(samples(self.frame())[0], 5000)
        self.assertEqual(
            self.notices(), [("sounding", "a"), ("played out", "a"), ("sounding", "b")]
        )

    def test_late_audio_of_an_ended_item_is_a_new_item(self) -> None:
        self.play("a", level(640), end=True)
        self.play("a", level(640), end=True)
        self.frames(9)
        self.assertEqual(self.notices(), [("sounding", "a"), ("played out", "a")] * 2)

    def test_an_item_without_audio_is_played_out_too(self) -> None:
        self.play("a", b"", end=True)
        self.assertEqual(self.frame(), SILENCE)
        self.assertEqual(self.notices(), [("played out", "a")])
        self.play("b", b"")
        self.assertEqual(self.frame(), SILENCE)
        self.assertEqual(self.playout.flush(), ())

    def test_the_end_of_an_unknown_item_is_nothing(self) -> None:
        self.playout.end_of_item("a")
        self.play("b", counted(640))
        self.playout.end_of_item("a")
        self.assertFalse(self.playout.idle)

    def test_halves_of_samples_wait_for_each_other(self) -> None:
        pcm = counted(3200)
        for start in range(0, len(pcm), 333):
            self.play("a", pcm[start : start + 333])
        self.playout.end_of_item("a")
        sent = self.frames(20)
        self.assertEqual(sent[: -2 * FADE_SAMPLES], pcm[: -2 * FADE_SAMPLES])

    def test_a_half_sample_is_no_harm_at_an_underrun_nor_at_the_end(self) -> None:
        pcm = counted(2000)
        self.play("a", pcm[:1001])
        self.frames(8)
        self.play("a", pcm[1001:2402] + b"\x01")
        self.playout.end_of_item("a")
        sent = samples(self.frames(10))
        self.assertEqual(sent[60:600].tolist(), samples(pcm)[540:1080].tolist())
        self.assertTrue(self.playout.idle)

    def test_half_a_sample_at_the_end_is_dropped(self) -> None:
        for _ in range(3):
            self.play("a", level(320) + b"\x7f", end=True)
            self.frames(2)
            self.assertEqual(self.notices(), [("sounding", "a"), ("played out", "a")])
            self.assertTrue(self.playout.idle)
        self.play("b", level(round(MAX_WAITING * RATE)))

    def test_pieces_of_any_size_make_whole_frames(self) -> None:
        pcm, at = counted(8000), 0
        sizes = random.Random(3)
        while at < len(pcm):
            size = sizes.choice((1, 2, 7, 100, 319, 320, 321, 5000))
            self.play("a", pcm[at : at + size])
            at += size
        self.playout.end_of_item("a")
        sent = self.frames(50)
        self.assertEqual(sent[: -2 * FADE_SAMPLES], pcm[: -2 * FADE_SAMPLES])

    def test_what_is_too_much_is_refused_whole_and_nothing_is_lost(self) -> None:
        minute = level(RATE * 60)
        for _ in range(round(MAX_WAITING / 60)):
            self.play("a", minute)
        self.assertFalse(self.playout.play("a", b"\1\0", self.now))
        self.assertFalse(self.playout.play("b", b"\1\0", self.now))
        self.frame()
        self.assertTrue(self.playout.play("a", level(160), self.now))
        self.assertFalse(self.playout.play("a", b"\1\0", self.now))
        (heard,) = self.playout.flush()
        self.assertEqual(heard, Heard("a", 20, 600_020))
        self.play("a", minute * 10)

    def test_how_much_may_wait_can_be_chosen_to_the_sample(self) -> None:
        for frames in (1, 7, 29, 100, 30000):
            for rate in (8000, 16000, 24000):
                self.playout = Playout(8000, most_waiting=frames * PTIME)
                self.playout.set_rate(rate)
                most = bytes(frames * rate // 25)
                self.assertFalse(self.playout.play("a", most + b"\0", self.now))
                self.assertTrue(self.playout.play("a", most, self.now))
                self.assertFalse(self.playout.play("b", b"\0", self.now))

    def test_the_rate_changes_only_when_nothing_waits(self) -> None:
        self.play("a", counted(160), end=True)
        self.assertRaises(ValueError, self.playout.set_rate, 24000)
        self.frames(2)
        self.playout.set_rate(24000)
        self.assertEqual(self.playout.rate, 24000)
        pcm = counted(4800)
        self.play("b", pcm, end=True)
        self.assertEqual(self.frame(), pcm[:960])
        self.assertEqual(self.playout.flush(), (Heard("b", 20, 200),))

    def test_the_rate_does_not_change_while_a_fade_is_to_be_sent(self) -> None:
        self.play("a", level(1600))
        self.frame()
        self.playout.flush()
        self.assertRaises(ValueError, self.playout.set_rate, 24000)
        self.frame()
        self.playout.set_rate(24000)


class FlushTests(PlayoutCase):
    def test_it_says_what_was_sent_and_given_of_each_item(self) -> None:
        self.play("a", counted(1000), end=True)
        self.play("b", counted(801))
        self.frames(2)
        self.assertEqual(
            self.playout.flush(), (Heard("a", 40, 125), Heard("b", 0, 100))
        )
        self.assertEqual(self.playout.flush(), ())

    def test_an_item_played_out_is_not_told_again(self) -> None:
        self.play("a", counted(320), end=True)
        self.play("b", counted(640))
        self.frames(3)
        self.assertEqual(self.playout.flush(), (Heard("b", 20, 80),))

    def test_a_notice_not_taken_yet_is_kept(self) -> None:
        self.play("a", counted(160), end=True)
        self.frame()
        self.assertEqual(self.playout.flush(), ())
        self.assertEqual(self.notices(), [("sounding", "a"), ("played out", "a")])

    def test_the_rest_is_five_ms_that_fade_out(self) -> None:
        self.play("a", level(8000))
        self.frame()
        self.playout.flush()
        tail = samples(self.frame())
        self.assertEqual(np.count_nonzero(tail[FADE_SAMPLES:]), 0)
        self.assertGreater(tail[0], 7800)
        self.assertEqual(self.notices(), [("sounding", "a"), ("faded", "")])
        self.assertEqual(self.frame(), SILENCE)
        self.assertEqual(self.notices(), [])

    def test_what_did_not_sound_leaves_nothing(self) -> None:
        self.play("a", level(100))
        self.frame()
        self.playout.flush()
        self.assertEqual(self.frame(), SILENCE)

    def test_the_next_item_gathers_its_prefill_again(self) -> None:
        self.play("a", level(8000))
        self.frame()
        self.playout.flush()
        self.frame()
        self.play("b", level(160))
        self.assertEqual(self.frame(), SILENCE)

    def test_pausing_after_it_is_no_harm(self) -> None:
        self.play("a", level(8000))
        self.frame()
        self.playout.flush()
        self.playout.pause()
        self.frames(2)
        self.assertTrue(self.playout.idle)

    def test_it_ends_a_pause(self) -> None:
        self.play("a", level(8000))
        self.frame()
        self.playout.pause()
        self.frame()
        self.assertEqual(self.playout.flush(), (Heard("a", 20, 1000),))
        self.play("b", level(8000, 5000))
        self.assertEqual(samples(self.frame())[0], 5000)


class PauseTests(PlayoutCase):
    def test_it_goes_on_at_the_sample_where_it_stopped(self) -> None:
        pcm = counted(1600)
        self.play("a", pcm, end=True)
        before = self.frames(3)
        self.playout.pause()
        during = self.frames(50)
        self.playout.resume()
        after = self.frames(7)
        self.assertEqual(before, pcm[: 3 * FRAME])
        self.assertEqual(np.count_nonzero(samples(during)[FADE_SAMPLES:]), 0)
        self.assertEqual(
            after[2 * FADE_SAMPLES : -2 * FADE_SAMPLES],
            pcm[3 * FRAME + 2 * FADE_SAMPLES : -2 * FADE_SAMPLES],
        )
        self.assertEqual(
            self.notices(), [("sounding", "a"), ("faded", ""), ("played out", "a")]
        )

    def test_it_may_begin_before_anything_sounds(self) -> None:
        self.playout.pause()
        pcm = counted(1600)
        self.play("a", pcm, end=True)
        self.assertEqual(self.frames(5), SILENCE * 5)
        self.playout.resume()
        self.assertEqual(self.frame(), pcm[:FRAME])

    def test_pausing_and_resuming_between_frames_loses_nothing(self) -> None:
        pcm = counted(1600)
        self.play("a", pcm, end=True)
        self.frame()
        for _ in range(3):
            self.playout.pause()
            self.playout.resume()
        self.frame()
        after = self.frame()
        self.assertEqual(
            after[2 * FADE_SAMPLES :], pcm[FRAME:][2 * FADE_SAMPLES : FRAME]
        )


class FadeTests(PlayoutCase):
    """A fade of 5 ms from 8000 has steps of 200; two at once have 400."""

    def assert_smooth(self, pcm: bytes, most: int = 410) -> None:
        steps = np.abs(np.diff(samples(pcm), prepend=0, append=0))
        self.assertLessEqual(int(steps[1:].max()), most)

    def test_level_audio_is_smooth_through_underruns(self) -> None:
        for n in (480, 485, 500, 519, 520, 521, 600, 639, 640):
            self.playout = Playout(RATE)
            self.play("a", level(n))
            sent = self.frames(8)
            self.play("a", level(1000))
            sent += self.frames(12)
            self.playout.end_of_item("a")
            sent += self.frames(3)
            self.assert_smooth(sent)
            self.assertEqual(self.playout.underruns, 1)

    def test_level_audio_is_smooth_through_flushes_and_pauses(self) -> None:
        actions = [
            self.playout.flush,
            self.playout.pause,
            self.playout.resume,
        ]
        choice = random.Random(4)
        sent = b""
        for _ in range(3000):
            if choice.random() < 0.3:
                choice.choice(actions)()
            if choice.random() < 0.5:
                # 200 samples and more: what begins and ends an item is its own.
                self.play("a", level(choice.randrange(200, 500)))
            sent += self.frame()
        # Beginnings of items are theirs, so only falling steps are ours.
        fallen = -np.diff(samples(sent)).min()
        self.assertLessEqual(fallen, 410)
        self.assertGreater(np.count_nonzero(samples(sent)), 50_000)

    def test_an_item_cut_by_its_service_does_not_break_off(self) -> None:
        self.play("a", level(800), end=True)
        self.assert_smooth(self.frames(6))

    def test_audio_that_never_runs_dry_is_not_touched(self) -> None:
        pcm = tone(16000)
        sent = b""
        for start in range(0, len(pcm), 640):
            self.play("a", pcm[start : start + 640])
            if start >= 1280:
                sent += self.frames(2)
        self.assertEqual(sent, pcm[: len(sent)])


Pattern = Callable[[random.Random], Iterator[tuple[float, int]]]


def steady(faster: float, piece_ms: int, jitter: float = 0.0) -> Pattern:
    """Pieces as a service sends them: when, in seconds, and how many ms of audio."""

    def reply(chance: random.Random) -> Iterator[tuple[float, int]]:
        last = 0.0
        for n in range(4000 // piece_ms):
            when = n * piece_ms / 1000 / faster + chance.uniform(0, jitter)
            last = max(last, when)  # one connection: nothing overtakes
            yield last, piece_ms

    return reply


def stalling(after: float, seconds: float) -> Pattern:
    """In real time, with one stall."""

    def reply(chance: random.Random) -> Iterator[tuple[float, int]]:
        for n in range(100):
            when = n * 0.04
            yield when + (seconds if when >= after else 0.0), 40

    return reply


class ReplyCase(PlayoutCase):
    def reply(self, pattern: Pattern, chance: random.Random) -> tuple[int, float]:
        """
        Play one reply.

        @return: How many gaps it had, and how long its start waited, in seconds.
        """
        before, began = self.playout.underruns, self.now
        pieces = list(pattern(chance))
        offset = chance.uniform(0, PTIME)
        started, frame_at = -1.0, began + offset
        while not self.playout.idle or pieces:
            while pieces and began + pieces[0][0] <= frame_at:
                when, ms = pieces.pop(0)
                self.playout.play("a", level(ms * 8), began + when)
                if not pieces:
                    self.playout.end_of_item("a")
            self.playout.frame(frame_at)
            if started < 0 and ("sounding", "a") in self.notices():
                started = frame_at
            frame_at += PTIME
        self.now = frame_at
        return self.playout.underruns - before, started - began


class PrefillTests(ReplyCase):
    def learn(self, pattern: Pattern) -> tuple[int, float]:
        """
        @return: The gaps of twenty replies after eight to learn from, and the longest
            wait for a start among them.
        """
        chance = random.Random(5)
        self.playout = Playout(RATE)
        for _ in range(8):
            self.reply(pattern, chance)
        found = [self.reply(pattern, chance) for _ in range(20)]
        return sum(gaps for gaps, _ in found), max(wait for _, wait in found)

    def test_a_fast_service_is_not_waited_for(self) -> None:
        for piece_ms in (40, 100, 400):
            gaps, wait = self.learn(steady(4.0, piece_ms))
            self.assertEqual(gaps, 0)
            self.assertLessEqual(wait, PTIME)
        self.assertEqual(self.playout.prefill_ms, round(LEAST_PREFILL * 1000))

    def test_a_fast_service_that_jitters_is_waited_for_a_little(self) -> None:
        gaps, wait = self.learn(steady(1.5, 40, jitter=0.05))
        self.assertEqual(gaps, 0)
        self.assertLess(wait, 0.12)

    def test_one_in_real_time_has_no_gap_once_it_is_known(self) -> None:
        for piece_ms in (20, 60, 100, 200):
            gaps, wait = self.learn(steady(1.0, piece_ms))
            self.assertEqual(gaps, 0)
            self.assertLess(wait, 0.1)

    def test_a_stall_in_every_reply_is_allowed_for(self) -> None:
        for seconds in (0.03, 0.1, 0.2, 0.3):
            gaps, wait = self.learn(stalling(2.0, seconds))
            self.assertEqual(gaps, 0)
            self.assertLess(wait, seconds + 0.07)

    def test_a_big_first_piece_does_not_hide_what_comes_late(self) -> None:
        def late(chance: random.Random) -> Iterator[tuple[float, int]]:
            yield from ((0.0, 200), (0.25, 200), (0.45, 200))

        self.assertGreater(self.reply(late, random.Random(6))[0], 0)
        self.assertEqual(self.learn(late)[0], 0)

    def test_a_slow_service_has_gaps_but_no_endless_wait(self) -> None:
        gaps, wait = self.learn(steady(0.7, 100))
        self.assertGreater(gaps, 0)
        self.assertLessEqual(wait, MOST_PREFILL + 2 * PTIME)
        self.assertEqual(self.playout.prefill_ms, round(MOST_PREFILL * 1000))

    def test_a_bad_reply_is_forgotten_after_eight_good_ones(self) -> None:
        chance = random.Random(7)
        self.reply(stalling(1.0, 0.3), chance)
        self.assertGreater(self.playout.prefill_ms, 300)
        for _ in range(8):
            self.reply(steady(4.0, 100), chance)
        self.assertEqual(self.playout.prefill_ms, round(LEAST_PREFILL * 1000))

    def test_items_given_in_one_piece_teach_nothing(self) -> None:
        self.play("prompt", level(8000), end=True)
        self.assertEqual(self.playout.prefill_ms, 60)

    def test_after_a_gap_it_gathers_the_prefill_again(self) -> None:
        self.play("a", level(480))
        self.frames(4)
        self.play("a", level(160))
        self.assertEqual(self.frame(), SILENCE)
        self.play("a", level(480))
        self.assertNotEqual(self.frame(), SILENCE)
        self.assertEqual(self.playout.underruns, 1)

    def test_a_rest_too_short_to_fade_counts_from_the_end_of_the_gap(self) -> None:
        self.play("a", level(490))
        self.frames(20)
        self.play("a", level(160))
        self.assertEqual(self.frame(), SILENCE)
        self.play("a", level(480))
        self.assertNotEqual(self.frame(), SILENCE)
        self.assertEqual(self.playout.underruns, 1)

    def test_little_audio_does_not_wait_for_ever(self) -> None:
        self.play("a", level(100))
        self.assertEqual(self.frames(3), SILENCE * 3)
        self.now += 0.001
        self.assertNotEqual(self.frame(), SILENCE)


class FixedPrebufferTests(ReplyCase):
    def fix(self, frames: int) -> None:
        self.playout = Playout(RATE, prebuffer=frames * PTIME)

    def test_it_is_gathered_to_the_byte(self) -> None:
        for frames in range(1, 51):
            self.fix(frames)
            self.assertEqual(self.playout.prefill_ms, frames * 20)
            pcm = counted(frames * 160)
            self.play("a", pcm[:-2])
            self.assertEqual(self.playout.frame(self.now), SILENCE)
            self.play("a", pcm[-2:])
            self.assertNotEqual(self.playout.frame(self.now), SILENCE)

    def test_it_is_waited_for_so_long_at_most(self) -> None:
        self.fix(10)
        pcm = counted(800)
        self.play("a", pcm)
        self.assertEqual(self.frames(10), SILENCE * 10)
        self.now += 0.001
        self.assertEqual(self.frame(), pcm[:FRAME])

    def test_an_item_that_is_ended_is_not_waited_for(self) -> None:
        self.fix(10)
        pcm = counted(800)
        self.play("a", pcm, end=True)
        self.assertEqual(self.frame(), pcm[:FRAME])

    def test_it_is_gathered_again_after_a_gap(self) -> None:
        self.fix(10)
        self.play("a", level(1600))
        self.frames(12)
        self.play("a", level(1599))
        self.assertEqual(self.frame(), SILENCE)
        self.play("a", level(1))
        self.assertNotEqual(self.frame(), SILENCE)
        self.assertEqual(self.playout.underruns, 1)

    def test_neither_late_nor_early_audio_changes_it(self) -> None:
        chance = random.Random(8)
        self.fix(5)
        for pattern in (stalling(1.0, 0.3), steady(0.7, 100), steady(4.0, 100)):
            for _ in range(10):
                self.reply(pattern, chance)
            self.assertEqual(self.playout.prefill_ms, 100)
            self.play("a", level(799))
            self.assertEqual(self.playout.frame(self.now), SILENCE)
            self.play("a", level(1))
            self.assertNotEqual(self.playout.frame(self.now), SILENCE)
            self.playout.flush()
            self.frames(2)

    def test_it_covers_stalls_that_are_shorter(self) -> None:
        chance = random.Random(9)
        self.fix(20)
        self.assertEqual(self.reply(stalling(1.0, 0.3), chance)[0], 0)
        self.fix(10)
        self.assertEqual(self.reply(stalling(1.0, 0.3), chance)[0], 1)

    def test_a_fast_service_fills_it_with_its_first_piece(self) -> None:
        self.fix(5)
        _, wait = self.reply(steady(4.0, 100), random.Random(10))
        self.assertLessEqual(wait, PTIME)


class Operations(RuleBasedStateMachine):
    """
    Any order of operations. Each frame is compared with the next samples of what was
    given; only within 5 ms of an edge may it be quieter.
    """

    def __init__(self) -> None:
        super().__init__()
        self.playout = Playout(RATE)
        self.now = 0.0
        self.given: dict[str, bytearray] = {}
        self.ended: list[str] = []
        self.position: dict[str, int] = {}
        self.out: list[str] = []
        self.item = 0

    @property
    def name(self) -> str:
        return f"item {self.item}"

    @rule(size=st.integers(0, 2000), wait=st.floats(0, 0.3))
    def play(self, size: int, wait: float) -> None:
        self.now += wait
        given = self.given.setdefault(self.name, bytearray())
        # A counter in odd bytes: a shift by half a sample would be seen at once.
        start = len(given)
        pcm = bytes(
            (start + i) % 251 if (start + i) % 2 == 0 else 31 for i in range(size)
        )
        assert self.playout.play(self.name, pcm, self.now)
        given += pcm

    @rule()
    def end(self) -> None:
        self.playout.end_of_item(self.name)
        if self.name in self.given:
            self.item += 1

    @rule()
    def begin_another(self) -> None:
        self.item += 1

    @rule()
    def pause(self) -> None:
        self.playout.pause()

    @rule()
    def resume(self) -> None:
        self.playout.resume()

    @rule()
    def flush(self) -> None:
        for item, heard_ms, given_ms in self.playout.flush():
            assert item not in self.out
            assert heard_ms == self.position.get(item, 0) // 16
            assert given_ms == len(self.given[item]) // 16
            assert heard_ms <= given_ms
        self.given.clear()
        self.position.clear()
        self.item += 1
        assert self.playout.prefill_ms <= MOST_PREFILL * 1000

    @rule(n=st.integers(1, 12))
    def frames(self, n: int) -> None:
        for _ in range(n):
            self.frame()

    def frame(self) -> None:
        self.now += PTIME
        frame = samples(self.playout.frame(self.now))
        assert len(frame) == FRAME // 2
        notices, self.playout.notices = self.playout.notices, []
        # What began to sound is in this frame; what is told after it ended with it.
        begun = max(
            (i for i, n in enumerate(notices) if n[0] == "sounding"), default=-1
        )
        self.take(notices[: begun + 1])
        if ("faded", "") in notices:
            # The end of what was flushed or paused, which is not counted as heard.
            assert frame.any()
            assert not frame[FADE_SAMPLES:].any()
        elif frame.any():
            self.check(frame)
        self.take(notices[begun + 1 :])

    def take(self, notices: list[Notice]) -> None:
        for what, name in notices:
            if what == "sounding":
                assert name not in self.position
                self.position[name] = 0
            elif what == "played out":
                assert self.position.pop(name, 0) == len(self.given[name]) & ~1
                del self.given[name]
                self.out.append(name)

    def check(self, frame: NDArray[np.int64]) -> None:
        (name,) = self.position
        at = self.position[name]
        waiting = bytes(self.given[name][at : at + FRAME])
        wanted = samples(waiting[: len(waiting) & ~1])
        n = len(wanted)
        assert not frame[n:].any()
        edge = np.zeros(n, bool)
        edge[:FADE_SAMPLES] = edge[max(0, n - FADE_SAMPLES) :] = True
        assert (frame[:n][~edge] == wanted[~edge]).all()
        assert (np.abs(frame[:n]) <= np.abs(wanted)).all()
        self.position[name] = at + 2 * n

    @invariant()
    def never_both_idle_and_waiting(self) -> None:
        if self.playout.idle:
            assert not self.position


class OperationsTests(SynchronousTestCase):
    def test_any_order_of_operations_sends_what_was_given(self) -> None:
        run_state_machine_as_test(
            Operations,
            settings=settings(
                max_examples=80,
                stateful_step_count=40,
                deadline=None,
                database=None,
                # A busy machine is no fault of what is tested.
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )

"""What comes back of what was played: found, measured, and not imagined."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.echo import LONGEST_MS, RATE, Echo, Samples
from tests.spoken import noise, speech

SECONDS = 12


def heard(
    caller: Samples, agent: Samples, marks: tuple[float, ...] = (), piece: int = RATE
) -> Echo:
    """@param marks: Seconds at which the caller was heard to speak."""
    echo = Echo()
    for at in marks:
        echo.mark(round(at * RATE))
    for start in range(0, len(agent), piece):
        end = start + piece
        echo.add(caller[start:end], agent[start:end])
    return echo


def returned(agent: Samples, down: float, ms: float) -> Samples:
    """@return: What a line makes of it that returns it so much weaker and later."""
    before = np.zeros(round(ms * RATE / 1000), np.float32)
    late: Samples = np.concatenate((before, agent))[: len(agent)]
    return late * np.float32(10 ** (-down / 20))


class EchoTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.agent = speech(SECONDS, RATE, seed=1)

    @settings(max_examples=15, deadline=None)
    @given(
        down=st.floats(6, 38), ms=st.floats(1, LONGEST_MS - 1), loud=st.floats(0, 30)
    )
    def test_it_is_measured_whatever_the_line_does(
        self, down: float, ms: float, loud: float
    ) -> None:
        caller = returned(self.agent, down, ms) + noise(len(self.agent), loud)
        found = heard(np.rint(caller), self.agent).found()
        assert found is not None
        self.assertLess(abs(found[0] - down), 1.5)
        self.assertLess(abs(found[1] - ms), 0.5)

    def test_however_the_time_is_cut(self) -> None:
        caller = returned(self.agent, 25, 140)
        for piece in (RATE // 4, RATE, 3 * RATE):
            found = heard(caller, self.agent, piece=piece).found()
            assert found is not None, piece
            self.assertLess(abs(found[0] - 25), 0.5)
            self.assertEqual(found[1], 140)

    def test_also_while_the_caller_talks(self) -> None:
        caller = speech(SECONDS, RATE, seed=2, language="es") * 0.5
        found = heard(caller + returned(self.agent, 25, 140), self.agent).found()
        assert found is not None
        self.assertLess(abs(found[0] - 25), 1.5)
        self.assertEqual(found[1], 140)

    def test_a_room_returns_it_many_times_over(self) -> None:
        decay = np.random.default_rng(1).normal(size=320) * np.exp(-np.arange(320) / 40)
        room = np.concatenate(((1.0,), 0.3 * decay))
        caller = np.convolve(returned(self.agent, 26, 160), room)[: len(self.agent)]
        found = heard(caller.astype(np.float32), self.agent, (3.0, 7.0)).found()
        assert found is not None
        self.assertLess(abs(found[0] - 26), 3)
        self.assertLess(abs(found[1] - 160), 2)
        self.assertEqual(found[2], 2)

    def test_two_who_talk_at_once_are_no_echo(self) -> None:
        for seed in range(20):
            agent = speech(SECONDS, RATE, seed=seed)
            caller = speech(SECONDS, RATE, seed=100 + seed, language="es")
            self.assertIsNone(heard(caller, agent).found(), seed)

    def test_noise_is_none_and_neither_is_silence(self) -> None:
        for level in (0, 3, 300):
            caller = noise(len(self.agent), level)
            self.assertIsNone(heard(caller, self.agent).found(), level)

    def test_one_that_nobody_would_hear_is_none(self) -> None:
        self.assertIsNone(heard(returned(self.agent, 60, 100), self.agent).found())

    def test_the_callers_sound_may_stand_too_early(self) -> None:
        early: Samples = np.concatenate((self.agent[160:], self.agent[:160] * 0))
        found = heard(early * np.float32(0.1), self.agent, (4.0,)).found()
        assert found is not None
        self.assertLess(abs(found[0] - 20), 0.5)
        self.assertEqual(found[1:], (0, 1))

    def test_one_that_is_later_than_we_look_is_not_found(self) -> None:
        caller = returned(self.agent, 20, LONGEST_MS + 100)
        self.assertIsNone(heard(caller, self.agent).found())

    def test_an_agent_who_is_cut_short_again_and_again_says_enough(self) -> None:
        agent = np.zeros(6 * RATE, np.float32)
        caller = agent.copy()
        for start in (1, 3):
            began, length = start * RATE, RATE // 2
            agent[began : began + length] = self.agent[began : began + length]
            late = slice(began + 600, began + 600 + length)
            caller[late] = agent[began : began + length] / 10
        found = heard(caller, agent, (1.4, 3.4)).found()
        assert found is not None
        self.assertLess(abs(found[0] - 20), 3)
        self.assertEqual(found[1:], (150, 2))

    def test_a_line_whose_delay_changes_has_one_all_the_same(self) -> None:
        caller = self.agent * 0
        for second, ms in ((1, 120), (4, 180), (7, 310), (9, 60)):
            part = slice(second * RATE, (second + 1) * RATE)
            caller[part] = returned(self.agent, 22, ms)[part]
        found = heard(caller, self.agent, (1.9, 7.5)).found()
        assert found is not None
        self.assertLess(abs(found[0] - 22), 2)
        self.assertEqual(found[1:], (60, 2))

    def test_few_words_of_two_who_talk_at_once_are_no_echo(self) -> None:
        for seed in range(30):
            for seconds in (1, 2, 3):
                agent = speech(seconds, RATE, seed=seed)
                caller = speech(seconds, RATE, seed=100 + seed, language="es")
                self.assertIsNone(heard(caller, agent).found(), (seed, seconds))

    def test_while_the_agent_is_silent_nothing_is_compared(self) -> None:
        echo = heard(self.agent, np.zeros(len(self.agent), np.float32))
        self.assertEqual(echo.compared, 0)
        self.assertIsNone(echo.found())

    def test_a_constant_in_the_sound_hides_nothing(self) -> None:
        found = heard(returned(self.agent, 25, 140) + 900, self.agent + 300).found()
        assert found is not None
        self.assertLess(abs(found[0] - 25), 0.5)


class InterruptionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.agent = speech(SECONDS, RATE, seed=1)
        self.echo = returned(self.agent, 25, 140)

    def mostly(self, caller: Samples, *marks: float) -> int:
        found = heard(caller, self.agent, marks).found()
        assert found is not None
        return found[2]

    def test_those_that_are_echo_are_counted(self) -> None:
        self.assertEqual(self.mostly(self.echo, 2.5, 6.0, 9.2), 3)

    def test_those_where_the_caller_speaks_are_not(self) -> None:
        caller = self.echo.copy()
        said = speech(4, RATE, seed=3, language="es")
        caller[5 * RATE : 9 * RATE] += said
        self.assertEqual(self.mostly(caller, 2.5, 7.0, 8.0), 1)

    def test_what_is_said_to_happen_before_its_sound_came_is_counted_then(self) -> None:
        echo = Echo()
        for second in range(SECONDS):
            if second in (3, 6):
                echo.mark(round((second + 0.5) * RATE))
            piece = slice(second * RATE, (second + 1) * RATE)
            echo.add(self.echo[piece], self.agent[piece])
        found = echo.found()
        assert found is not None
        self.assertEqual(found[2], 2)

    def test_they_are_bounded(self) -> None:
        marks = [4.0] * (Echo.MOST_MOMENTS + 10)
        self.assertEqual(self.mostly(self.echo, *marks), Echo.MOST_MOMENTS)

    def test_the_longest_delay_is_looked_at(self) -> None:
        found = heard(returned(self.agent, 20, LONGEST_MS), self.agent).found()
        assert found is not None
        self.assertEqual(found[1], LONGEST_MS)

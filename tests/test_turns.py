"""Who has the floor, and how long the caller waited."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from portero.turns import TABLE, Effect, Event, Floor, Latency, advance

L, E, F = Floor, Event, Effect


class TableTests(SynchronousTestCase):
    def test_it_is_total_and_an_unlisted_pair_changes_nothing(self) -> None:
        for floor in Floor:
            for event in Event:
                following, effects = advance(floor, event)
                self.assertIsInstance(following, Floor)
                if (floor, event) not in TABLE:
                    self.assertEqual((following, effects), (floor, ()))

    def test_every_floor_event_and_effect_is_used(self) -> None:
        self.assertEqual({floor for floor, _ in TABLE}, set(Floor))
        self.assertEqual({event for _, event in TABLE}, set(Event))
        used = {effect for _, effects in TABLE.values() for effect in effects}
        self.assertEqual(used, set(Effect))

    def test_every_change_of_the_floor_starts_the_watchdog_anew(self) -> None:
        for (floor, event), (following, effects) in TABLE.items():
            same_reply = (floor, event) == (L.OWING, E.AGENT_BUSY)
            if floor is not following and not same_reply:
                self.assertIn(F.WATCH, effects, (floor, event))

    def test_a_caller_who_speaks_always_gets_the_floor(self) -> None:
        for floor in Floor:
            following, effects = advance(floor, E.CALLER_STARTED)
            self.assertIs(following, L.LISTENING)
            self.assertIn(F.FORGET_REPLY, effects)
            self.assertEqual(F.CUT in effects, floor in (L.SPEAKING, L.OWING))

    def test_agent_audio_always_makes_the_agent_the_speaker(self) -> None:
        for floor in Floor:
            self.assertIs(advance(floor, E.AGENT_AUDIO)[0], L.SPEAKING)

    def test_a_turn(self) -> None:
        story = [
            (E.CALLER_STARTED, L.LISTENING, (F.FORGET_REPLY, F.WATCH)),
            (E.CALLER_STOPPED, L.WAITING, (F.TIME_REPLY, F.WATCH)),
            (E.AGENT_AUDIO, L.SPEAKING, (F.WATCH,)),
            (E.AGENT_BUSY, L.SPEAKING, ()),
            (E.ASKED, L.OWING, (F.WATCH,)),
            (E.SPOKEN, L.WAITING, (F.WATCH,)),
            (E.AGENT_BUSY, L.LISTENING, (F.WATCH,)),
            (E.ASKED, L.WAITING, (F.WATCH,)),
            (E.AGENT_AUDIO, L.SPEAKING, (F.WATCH,)),
            (E.SPOKEN, L.LISTENING, (F.WATCH,)),
        ]
        floor = L.LISTENING
        for event, following, effects in story:
            self.assertEqual(advance(floor, event), (following, effects), event)
            floor = following


class LatencyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.latency = Latency()

    def test_it_counts_from_the_end_of_the_callers_speech(self) -> None:
        self.latency.caller_stopped(10.0)
        self.latency.audio_came(10.25)
        self.latency.audio_came(10.3)
        self.assertEqual(self.latency.sounding(10.31), (250, 310))

    def test_a_turn_is_reported_once(self) -> None:
        self.latency.caller_stopped(1.0)
        self.latency.audio_came(1.1)
        self.latency.sounding(1.2)
        self.assertIsNone(self.latency.sounding(1.3))

    def test_what_nobody_asked_for_is_not_reported(self) -> None:
        self.latency.audio_came(1.0)
        self.assertIsNone(self.latency.sounding(1.1))

    def test_a_prompt_that_sounds_before_the_reply_is_not_the_reply(self) -> None:
        self.latency.caller_stopped(1.0)
        self.assertIsNone(self.latency.sounding(1.5))
        self.latency.audio_came(2.0)
        self.assertEqual(self.latency.sounding(2.1), (1000, 1100))

    def test_a_dropped_turn_is_not_reported(self) -> None:
        self.latency.caller_stopped(1.0)
        self.latency.audio_came(1.1)
        self.latency.dropped()
        self.assertIsNone(self.latency.sounding(1.2))

    def test_audio_from_before_the_turn_is_not_its_reply(self) -> None:
        self.latency.audio_came(1.0)
        self.latency.caller_stopped(2.0)
        self.assertIsNone(self.latency.sounding(2.1))

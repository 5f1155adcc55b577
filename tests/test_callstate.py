"""The life of a call, row by row."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from portero.callstate import TABLE, Effect, Event, State, advance

S, E, F = State, Event, Effect


class TableTests(SynchronousTestCase):
    def test_it_is_total_and_an_unlisted_pair_changes_nothing(self) -> None:
        for state in State:
            for event in Event:
                following, effects = advance(state, event)
                self.assertIsInstance(following, State)
                if (state, event) not in TABLE:
                    self.assertEqual((following, effects), (state, ()))

    def test_an_ended_call_stays_ended_and_does_nothing(self) -> None:
        for event in Event:
            self.assertEqual(advance(S.ENDED, event), (S.ENDED, ()))

    def test_every_way_to_the_end_closes_records_and_forgets_last(self) -> None:
        for (state, event), (following, effects) in TABLE.items():
            if following is S.ENDED:
                wanted = (F.CLOSE, F.RECORD, F.FORGET)
                self.assertEqual(effects[-3:], wanted, (state, event))
                self.assertEqual(F.HANG_UP in effects, event is not E.GONE)
            else:
                self.assertNotIn(F.RECORD, effects)
                self.assertNotIn(F.FORGET, effects)

    def test_every_way_into_draining_watches_for_its_end(self) -> None:
        for (state, event), (following, effects) in TABLE.items():
            if following is S.DRAINING:
                self.assertEqual(effects[-1], F.DRAIN, (state, event))

    def test_every_way_into_transferring_watches_for_its_end_too(self) -> None:
        for (state, event), (following, effects) in TABLE.items():
            if following is S.TRANSFERRING and state is not following:
                self.assertEqual(effects, (F.DRAIN,), (state, event))

    def test_only_who_is_being_handed_over_can_stay(self) -> None:
        for state in State:
            wanted: tuple[State, tuple[Effect, ...]] = (state, ())
            if state is S.TRANSFERRING:
                wanted = (S.TALKING, (F.STAY,))
            self.assertEqual(advance(state, E.TRANSFER_CANCELLED), wanted)

    def test_a_transfer_that_nothing_cancels_ends_the_call_whatever_else_happens(
        self,
    ) -> None:
        for event in set(Event) - {E.TRANSFER_CANCELLED}:
            following, effects = advance(S.TRANSFERRING, event)
            self.assertIn(following, (S.TRANSFERRING, S.DRAINING, S.ENDED))
            self.assertNotIn(F.APOLOGISE, effects)
            self.assertNotIn(F.BID_FAREWELL, effects)

    def test_every_way_into_connecting_opens_a_conversation(self) -> None:
        for (state, event), (following, effects) in TABLE.items():
            if following is S.CONNECTING and event is not E.WAITED:
                self.assertIn(effects[-1], (F.CONVERSE, F.REOPEN), (state, event))

    def test_from_every_state_but_the_last_the_call_can_be_lost_or_crash(self) -> None:
        for state in set(State) - {S.ENDED}:
            self.assertIs(advance(state, E.GONE)[0], S.ENDED)
            self.assertIn(advance(state, E.CRASHED)[0], (S.DRAINING, S.ENDED))
        self.assertIs(advance(S.DRAINING, E.CRASHED)[0], S.ENDED)

    def test_no_state_but_the_last_is_left_by_nothing(self) -> None:
        for state in set(State) - {S.ENDED}:
            reached, new = {state}, {state}
            while new:
                new = {advance(one, event)[0] for one in new for event in Event}
                new -= reached
                reached |= new
            self.assertIn(S.ENDED, reached)

    def test_every_event_and_every_effect_is_used(self) -> None:
        self.assertEqual({event for _, event in TABLE}, set(Event))
        used = {effect for _, effects in TABLE.values() for effect in effects}
        self.assertEqual(used, set(Effect))

    def test_the_rows_of_an_ordinary_call(self) -> None:
        story = [
            (E.IDENTIFIED, S.CONNECTING, (F.WELCOME, F.CONVERSE)),
            (E.WAITED, S.CONNECTING, (F.ASK_PATIENCE,)),
            (E.LOST, S.CONNECTING, (F.REOPEN,)),
            (E.READY, S.TALKING, (F.GREET,)),
            (E.NO_REPLY, S.TALKING, (F.ASK_AGAIN,)),
            (E.SILENT, S.TALKING, (F.CALL_OUT,)),
            (E.RENEWAL_DUE, S.CONNECTING, (F.CLOSE, F.CONVERSE)),
            (E.READY, S.TALKING, (F.GREET,)),
            (E.STALLED, S.CONNECTING, (F.CLOSE, F.REOPEN)),
            (E.READY, S.TALKING, (F.GREET,)),
            (E.HANG_UP_ASKED, S.DRAINING, (F.DRAIN,)),
            (E.LOST, S.DRAINING, (F.CLOSE, F.MAKE_UP_FAREWELL, F.DRAIN)),
            (E.PLAYED_OUT, S.ENDED, (F.HANG_UP, F.CLOSE, F.RECORD, F.FORGET)),
        ]
        state = S.IDENTIFYING
        for event, following, effects in story:
            self.assertEqual(advance(state, event), (following, effects), event)
            state = following

    def test_the_rows_of_a_transfer_that_is_cancelled_once(self) -> None:
        story: list[tuple[Event, State, tuple[Effect, ...]]] = [
            (E.TRANSFER_ASKED, S.TRANSFERRING, (F.DRAIN,)),
            (E.HANG_UP_ASKED, S.TRANSFERRING, ()),
            (E.TRANSFER_CANCELLED, S.TALKING, (F.STAY,)),
            (E.TRANSFER_ASKED, S.TRANSFERRING, (F.DRAIN,)),
            (E.NEARLY_SPENT, S.TRANSFERRING, (F.WIND_UP,)),
            (E.PLAYED_OUT, S.ENDED, (F.HANG_UP, F.CLOSE, F.RECORD, F.FORGET)),
        ]
        state = S.TALKING
        for event, following, effects in story:
            self.assertEqual(advance(state, event), (following, effects), event)
            state = following

    def test_time_and_silence_end_a_call_with_a_farewell(self) -> None:
        farewell = (S.DRAINING, (F.BID_FAREWELL, F.DRAIN))
        for event in (E.TIME_IS_UP, E.SILENT_AGAIN):
            self.assertEqual(advance(S.TALKING, event), farewell)

    def test_a_farewell_that_will_not_come_is_made_up_for(self) -> None:
        made_up = (S.DRAINING, (F.CLOSE, F.MAKE_UP_FAREWELL, F.DRAIN))
        for event in (E.LOST, E.LOST_FOR_GOOD, E.STALLED, E.NO_REPLY):
            self.assertEqual(advance(S.DRAINING, event), made_up)

    def test_at_the_end_of_the_money_the_service_is_left_before_the_goodbye(
        self,
    ) -> None:
        self.assertEqual(advance(S.TALKING, E.NEARLY_SPENT), (S.TALKING, (F.WIND_UP,)))
        state, effects = advance(S.TALKING, E.SPENT)
        self.assertIs(state, S.DRAINING)
        self.assertEqual(effects[-3:], (F.CLOSE, F.SAY_GOODBYE, F.DRAIN))
        self.assertEqual(advance(S.DRAINING, E.SPENT), (S.DRAINING, ()))

    def test_whatever_cannot_be_mended_costs_an_apology(self) -> None:
        apology = (S.DRAINING, (F.CLOSE, F.APOLOGISE, F.DRAIN))
        for state in (S.CONNECTING, S.TALKING):
            for event in (E.LOST_FOR_GOOD, E.STOPPING, E.CRASHED):
                self.assertEqual(advance(state, event), apology)
        self.assertEqual(advance(S.TALKING, E.NO_REPLY_AGAIN), apology)
        self.assertEqual(advance(S.CONNECTING, E.TIME_IS_UP), apology)

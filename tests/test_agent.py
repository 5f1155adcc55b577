"""One voice, over as many conversations as it takes."""

from __future__ import annotations

import numpy as np
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from portero.agent import RENEW_LOOK_EVERY, Agent
from portero.audio import level_dbfs
from portero.backoff import ATTEMPTS
from portero.callstate import Event
from portero.gate import Gate
from portero.interfaces import Brief, Loss, Said
from portero.timers import Timers
from tests.fake_call import (
    Broken,
    FakeConversation,
    FakeLeg,
    FakeProvider,
    Story,
    unwatched,
)

DROPPED = Loss("dropped", final=False)

_WAVE = np.sin(np.arange(160) * 0.3)
LOUD = (8000 * _WAVE).astype("<i2").tobytes()
QUIET = (100 * _WAVE).astype("<i2").tobytes()
"""20 ms each."""


class AgentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Story().clock
        self.provider = FakeProvider()
        self.posted: list[Event] = []
        self.pause = True
        self.timers = Timers(self.clock, lambda: self.fail("a timer's function raised"))
        self.agent = self.make()

    def make(self, noise_gate: int = 0) -> Agent:
        return Agent(
            self.provider,
            Brief("c1", "Be brief.", "marin"),
            self.timers,
            connect_within=8.0,
            patience=1.5,
            noise_gate=noise_gate,
            at_pause=lambda: self.pause,
            post=self.posted.append,
            events=lambda: Story().identified().service.events,
            watch=unwatched(),
        )

    @property
    def service(self) -> FakeConversation:
        return self.provider.conversations[-1]

    def lose(self, loss: Loss = DROPPED) -> None:
        """And do what the table says of it."""
        self.agent.lost(loss)
        if self.posted.pop() is Event.LOST:
            self.agent.reopen()

    def test_a_conversation_that_is_ready_leaves_no_timer(self) -> None:
        self.agent.open()
        self.agent.ready()
        self.assertEqual(self.posted, [Event.READY])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_caller_is_asked_for_a_moment_once_however_many_attempts(self) -> None:
        self.agent.open()
        self.clock.advance(1.0)
        self.lose()
        self.clock.advance(0.0)
        self.assertEqual(len(self.provider.conversations), 2)
        self.clock.advance(0.6)
        self.assertEqual(self.posted, [Event.WAITED])
        self.lose()
        self.clock.advance(3.0)
        self.assertEqual(self.posted, [Event.WAITED])

    def test_the_time_to_be_ready_is_for_all_attempts_together(self) -> None:
        self.agent.open()
        self.clock.advance(7.0)
        self.lose()
        self.clock.advance(0.9)
        self.assertNotIn(Event.LOST_FOR_GOOD, self.posted)
        self.clock.advance(0.2)
        self.assertEqual(self.posted[-1], Event.LOST_FOR_GOOD)
        self.assertEqual(
            self.agent.loss.reason,
            "the voice service was not ready within 8 s; last: dropped",
        )

    def test_a_service_that_asks_for_too_much_patience_is_not_waited_for(self) -> None:
        self.agent.open()
        self.agent.ready()
        self.lose(Loss("busy", final=False, retry_after=60.0))
        self.clock.advance(8.1)
        self.assertEqual(self.posted[-1], Event.LOST_FOR_GOOD)
        self.assertEqual(len(self.provider.conversations), 1)

    def test_the_services_own_wish_is_respected(self) -> None:
        self.agent.open()
        self.lose(Loss("busy", final=False, retry_after=3.0))
        self.clock.advance(2.9)
        self.assertEqual(len(self.provider.conversations), 1)
        self.clock.advance(0.2)
        self.assertEqual(len(self.provider.conversations), 2)

    def test_it_gives_up_after_so_many_losses_without_a_whole_reply(self) -> None:
        self.agent.open()
        for _ in range(ATTEMPTS + 1):
            self.agent.ready()
            self.lose()
            self.clock.advance(7.0)
        self.assertEqual(len(self.provider.conversations), ATTEMPTS + 1)
        self.assertEqual(self.posted[-1], Event.LOST_FOR_GOOD)

    def test_a_whole_reply_makes_it_hopeful_again(self) -> None:
        self.agent.open()
        for _ in range(3 * ATTEMPTS):
            self.agent.ready()
            self.agent.worked()
            self.lose()
            self.clock.advance(0.0)
        self.assertEqual(len(self.provider.conversations), 3 * ATTEMPTS + 1)

    def test_an_account_error_is_final(self) -> None:
        self.agent.open()
        self.agent.lost(Loss("no credit", final=True))
        self.assertEqual(self.posted, [Event.LOST_FOR_GOOD])

    def test_each_attempt_but_the_last_is_one_log_line(self) -> None:
        self.agent.open()
        with capturedLogs() as events:
            self.lose()
        self.assertEqual(
            [formatEvent(event) for event in events],
            ["call c1: lost the voice service: dropped; trying again in 0.0 s"],
        )

    def test_what_a_reply_is_to_be_about_is_told_to_this_conversation_only(
        self,
    ) -> None:
        self.agent.ask("Nobody there.")
        self.agent.open()
        self.agent.ask("Are they there?")
        self.agent.ask()
        self.assertEqual(
            self.service.told,
            [("add_text", "system", "Are they there?"), ("ask",), ("ask",)],
        )
        self.agent.open()
        self.assertEqual(self.service.brief.history, ())

    def test_the_next_conversation_is_told_what_was_said(self) -> None:
        self.agent.open()
        self.agent.history.add("user", "Hello?", "i1")
        self.agent.tell("user", "The key 5.")
        self.agent.ready()
        self.lose()
        self.clock.advance(0.0)
        said = (Said("user", "Hello?"), Said("user", "The key 5."))
        self.assertEqual(self.service.brief.history, said)
        self.assertEqual(self.service.brief.instructions, "Be brief.")

    def test_a_lost_or_replaced_conversation_is_closed(self) -> None:
        self.agent.open()
        self.agent.open()
        self.lose()
        self.clock.advance(0.0)
        self.agent.close()
        self.assertEqual(len(self.provider.conversations), 3)
        for conversation in self.provider.conversations:
            self.assertFalse(conversation.is_open)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_conversation_that_cannot_be_closed_is_left_behind(self) -> None:
        self.agent.open()
        self.service.breaks.add("close")
        self.agent.close()
        self.assertIsNone(self.agent.conversation)
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)

    def test_a_loss_told_twice_counts_once(self) -> None:
        self.agent.open()
        self.agent.lost(DROPPED)
        self.agent.lost(DROPPED)
        self.assertEqual(self.posted, [Event.LOST])

    def test_a_session_is_renewed_at_a_pause_before_it_expires(self) -> None:
        self.provider.expires_in = 3600.0
        self.agent.open()
        self.agent.ready()
        self.pause = False
        self.clock.advance(3479.9)
        self.assertEqual(self.posted, [Event.READY])
        self.service.expires_in = 120.0
        self.clock.advance(0.2)
        self.clock.pump([RENEW_LOOK_EVERY] * 20)
        self.assertEqual(self.posted, [Event.READY])
        self.pause = True
        self.clock.advance(RENEW_LOOK_EVERY)
        self.assertEqual(self.posted, [Event.READY, Event.RENEWAL_DUE])

    def test_without_a_pause_it_is_renewed_at_the_last_moment(self) -> None:
        self.provider.expires_in = 600.0
        self.agent.open()
        self.agent.ready()
        self.pause = False
        self.clock.advance(480.1)
        self.service.expires_in = 4.9
        self.clock.advance(RENEW_LOOK_EVERY)
        self.assertEqual(self.posted, [Event.READY, Event.RENEWAL_DUE])

    def test_a_session_that_expires_at_once_is_not_renewed_for_ever(self) -> None:
        self.provider.expires_in = 0.01
        self.agent.open()
        self.agent.ready()
        self.clock.advance(0.9)
        self.assertEqual(self.posted, [Event.READY])
        self.agent.close()

    def test_a_session_without_end_is_not_renewed(self) -> None:
        self.agent.open()
        self.agent.ready()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_each_conversation_is_told_the_legs_rates_once(self) -> None:
        leg = FakeLeg()
        leg.caller_rate, leg.agent_rate = 16000, 24000
        self.agent.open()
        self.agent.hear(bytes(640), leg)
        self.agent.hear(bytes(640), leg)
        self.assertEqual(self.service.of("begin"), [(16000, 24000)])
        self.assertEqual(
            [len(pcm) for (pcm,) in self.service.of("send_audio")], [320] * 2
        )
        self.agent.open()
        self.agent.hear(bytes(640), leg)
        self.assertEqual(self.service.of("begin"), [(16000, 24000)])

    def sent(self) -> list[bytes]:
        return [pcm for (pcm,) in self.service.of("send_audio")]

    def test_without_a_noise_gate_the_service_hears_what_the_caller_does(self) -> None:
        self.agent.open()
        for _ in range(100):
            self.agent.hear(QUIET, FakeLeg())
        self.assertEqual(self.sent(), [QUIET] * 100)

    def test_a_noise_gate_lowers_what_is_no_speech(self) -> None:
        agent, leg = self.make(noise_gate=1000), FakeLeg()
        agent.open()
        gate = Gate(8000, 1000)
        heard = [LOUD] * 10 + [QUIET] * 100 + [LOUD] * 10
        for pcm in heard:
            agent.hear(pcm, leg)
        self.assertEqual(self.sent(), [gate.process(pcm) for pcm in heard])
        self.assertEqual((self.sent()[0], self.sent()[-1]), (LOUD, LOUD))
        self.assertLess(level_dbfs(self.sent()[100]), level_dbfs(QUIET) - 11)

    def test_it_knows_the_line_of_the_call_after_a_lost_conversation_too(self) -> None:
        agent, leg = self.make(noise_gate=1000), FakeLeg()
        agent.open()
        for pcm in [LOUD] * 10 + [QUIET] * 100:
            agent.hear(pcm, leg)
        agent.open()
        agent.hear(QUIET, leg)
        self.assertLess(level_dbfs(self.sent()[0]), level_dbfs(QUIET) - 11)

    def test_a_new_rate_takes_a_new_gate(self) -> None:
        agent, leg = self.make(noise_gate=1000), FakeLeg()
        agent.open()
        agent.hear(QUIET[:-2], leg)  # a part of a frame, which the gate keeps
        leg.caller_rate = self.service.caller_rate = 16000
        agent.hear(3 * QUIET, leg)  # a frame and a half of the new rate
        self.assertEqual([len(pcm) for pcm in self.sent()], [2 * len(QUIET)])

    def test_the_agents_voice_comes_at_the_legs_rate(self) -> None:
        self.agent.open()
        self.assertEqual(len(self.agent.voice(bytes(320), 24000)), 960)

    def test_without_a_conversation_commands_go_nowhere(self) -> None:
        agent = self.agent
        agent.ask()
        agent.greet("Hello.")
        agent.cancel()
        agent.cut("i1", 0, 0)
        agent.hear(bytes(320), FakeLeg())
        self.assertEqual(agent.voice(bytes(320), 8000), b"")
        agent.ready()
        self.assertEqual((self.posted, self.provider.told), ([], []))

"""Calls from their first moment to the line that sums them up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, TimeoutError
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from portero.backoff import ATTEMPTS
from portero.call import Call
from portero.callstate import State
from portero.facts import Facts
from portero.interfaces import (
    HAPPENINGS,
    ICallControl,
    IConversation,
    IConversationEvents,
    ILeg,
    ILegEvents,
    IPbxControl,
    ITool,
    IVoiceProvider,
    Loss,
)
from portero.money import Budget, Ledger
from portero.record import Outcome, Record
from portero.tool_sections import TargetSettings
from portero.tools._handover import Handover
from portero.tools.cancel_transfer import Tool as CancelTransfer
from portero.tools.transfer import Tool as Transfer
from tests.fake_call import AGENT, TOOL_WITHIN, Broken, FakePbx, Story

APOLOGY = "prompt apology"
DROPPED = Loss("dropped", final=False)
STATES = ("identified", "talking", "greeted", "waiting", "speaking", "draining")


class FakeTests(SynchronousTestCase):
    def test_the_fakes_and_the_call_are_what_they_stand_for(self) -> None:
        story = Story().talking()
        for interface, thing in (
            (ILeg, story.leg),
            (IConversation, story.service),
            (IVoiceProvider, story.provider),
            (ITool, story.tool),
            (IPbxControl, FakePbx()),
            (ILegEvents, story.call),
            (IConversationEvents, story.service.events),
            (ICallControl, story.call.control),
        ):
            self.assertTrue(verifyObject(interface, thing))


class CallCase(SynchronousTestCase):
    @contextmanager
    def ends(self, story: Story) -> Iterator[list[str]]:
        """
        What is done within ends the call, with nothing left behind.

        @return: The log, as an operator reads it, once that is done.
        """
        lines: list[str] = []
        with capturedLogs() as events:
            yield lines
        lines += [
            formatEvent(event)
            for event in events
            if event["log_level"] is not LogLevel.debug
        ]
        self.check_over(story, lines)

    def check_over(self, story: Story, lines: list[str]) -> None:
        self.assertIs(story.call.state, State.ENDED)
        self.assertEqual(story.over, [story.call])
        self.assertFalse(story.leg.is_up)
        for conversation in story.provider.conversations:
            self.assertFalse(conversation.is_open)
        summaries = [line for line in lines if line.startswith("call call-1 ended ")]
        self.assertEqual(len(summaries), 1, lines)
        self.assertEqual(story.clock.getDelayedCalls(), [])


class LifeTests(CallCase):
    def test_a_caller_who_hangs_up(self) -> None:
        story = Story(greeting="Hello.").greeted()
        self.assertEqual(story.service.of("say"), [("Hello.",)])
        with self.ends(story) as lines:
            story.leg.drop()
        self.assertEqual(
            lines,
            [
                "call call-1 ended well: caller hung up; agent reception, 0.0 s, 0 "
                "turns, reply after - ms (median), 0 barge-ins and 0 false ones, 2 "
                "underruns, 7 frames sent and 0 skipped, lateness p99 0.50 ms, 0 ms of "
                "caller audio filled in, 0 tokens for $0.0000"
            ],
        )
        self.assertEqual(story.leg.count("hang_up"), 0)

    def test_a_leg_that_fails(self) -> None:
        story = Story().greeted()
        with self.ends(story) as lines:
            story.leg.drop("protocol error", in_order=False)
        self.assertIn("ended badly: protocol error", lines[-1])
        self.assertEqual(story.call.failure, "protocol error")

    def test_a_caller_who_hangs_up_in_every_state(self) -> None:
        with self.ends(story := Story()):
            story.leg.drop()
        for state in STATES:
            story = Story()
            getattr(story, state)()
            with self.ends(story):
                story.leg.drop()

    def test_a_caller_who_hangs_up_between_two_conversations(self) -> None:
        for delay in (0.0, 0.4):
            story = Story().greeted()
            story.service.events.lost(DROPPED)
            story.clock.advance(delay)
            with self.ends(story):
                story.leg.drop()

    def test_a_caller_who_hangs_up_during_the_apology(self) -> None:
        story = Story().greeted()
        story.service.events.lost(Loss("no credit", final=True))
        with self.ends(story) as lines:
            story.leg.drop()
        self.assertIn("ended badly: no credit", lines[-1])

    def test_portero_stops_in_every_state(self) -> None:
        with self.ends(story := Story()):
            story.call.stop()
        for state in STATES[:-1]:
            story = Story()
            getattr(story, state)()
            with self.ends(story) as lines:
                story.call.stop()
                self.assertEqual(story.leg.items[-1], APOLOGY)
                story.leg.play_out()
            self.assertIn("ended badly: portero is stopping", lines[-1])

    def test_portero_stops_while_the_goodbye_sounds(self) -> None:
        story = Story().draining()
        with self.ends(story) as lines:
            story.call.stop()
            self.assertNotIn(APOLOGY, story.leg.items)
            story.leg.play_out()
        self.assertIn("ended well: the agent hung up", lines[-1])

    def test_portero_stops_between_two_conversations(self) -> None:
        story = Story().greeted()
        story.service.events.lost(DROPPED)
        with self.ends(story):
            story.call.stop()
            story.leg.play_out()

    def test_the_longest_call_ends_with_a_goodbye(self) -> None:
        story = Story(longest=60.0).speaking(100.0)
        story.service.events.agent_done("reply")
        story.service.events.reply_ended(1, "")
        with self.ends(story) as lines:
            story.clock.advance(59.1)
            self.assertFalse(story.service.is_open)
            self.assertEqual(story.leg.items[-2:], ["reply", "prompt goodbye"])
            story.leg.play_out()
        self.assertIn("ended well: the longest time for a call is over", lines[-1])

    def test_the_apology_that_is_never_played_out_is_capped(self) -> None:
        story = Story(drain_within=20.0).greeted()
        story.service.events.lost(Loss("no credit", final=True))
        with self.ends(story):
            story.clock.advance(20.1)

    def test_nothing_that_happens_meanwhile_moves_the_cap(self) -> None:
        story = Story(drain_within=20.0, reply_within=8.0).speaking(15.0)
        story.call.control.end_after_speech("the agent hung up")
        with self.ends(story):
            story.clock.advance(15.0)
            story.service.events.lost(DROPPED)
            story.clock.advance(5.1)

    def test_caller_audio_goes_to_the_conversation_also_while_the_agent_speaks(
        self,
    ) -> None:
        story = Story().speaking()
        story.call.caller_audio(b"ab")
        self.assertEqual(story.service.of("send_audio")[-1], (b"ab",))

    def test_usage_is_added_up(self) -> None:
        story = Story().talking()
        story.service.events.usage({"total_tokens": 10})
        story.service.events.usage({"total_tokens": 5})
        self.assertEqual(story.call.snapshot()["tokens"], 15)


class ConnectingTests(CallCase):
    def test_the_caller_is_asked_for_a_moment_and_then_greeted(self) -> None:
        story = Story(patience=1.5).identified()
        story.clock.advance(1.4)
        self.assertEqual(story.leg.items, [])
        story.clock.advance(0.2)
        self.assertEqual(story.leg.items, ["prompt moment"])
        story.service.events.ready()
        story.service.reply("greeting")
        self.assertEqual(story.leg.items, ["prompt moment", "greeting"])

    def test_a_service_that_is_never_ready_costs_an_apology(self) -> None:
        story = Story(connect_within=8.0).identified()
        with self.ends(story) as lines:
            story.clock.advance(7.9)
            self.assertNotIn(APOLOGY, story.leg.items)
            story.clock.advance(0.2)
            self.assertEqual(story.leg.items[-1], APOLOGY)
            story.leg.play_out()
        self.assertEqual(
            lines[0],
            "call call-1: giving the call back to Asterisk with an apology: the voice "
            "service was not ready within 8 s",
        )

    def test_an_account_error_is_not_tried_again_and_logged_once(self) -> None:
        story = Story().identified()
        with self.ends(story) as lines:
            story.service.events.lost(Loss("wrong key", final=True))
            story.clock.advance(1.0)
            story.leg.play_out()
        self.assertEqual(len(story.provider.conversations), 1)
        self.assertEqual(len(lines), 2)
        self.assertIn("with an apology: wrong key", lines[0])

    def test_a_service_that_connects_and_drops_for_ever_costs_an_apology(self) -> None:
        story = Story().identified()
        with self.ends(story):
            for _ in range(ATTEMPTS + 1):
                story.service.events.ready()
                story.service.speak("greeting", 0.1)
                story.leg.play_out()
                story.service.events.lost(DROPPED)
                story.clock.advance(7.0)
            self.assertEqual(len(story.provider.conversations), ATTEMPTS + 1)
            self.assertEqual(story.leg.items[-1], APOLOGY)
            story.leg.play_out()

    def test_a_service_that_drops_between_whole_replies_is_tried_again(self) -> None:
        story = Story().greeted()
        for number in range(3 * ATTEMPTS):
            story.service.events.lost(DROPPED)
            story.clock.advance(0.0)
            story.service.events.ready()
            story.caller_speaks(0.1)
            story.service.reply(f"reply {number}")
            story.leg.play_out()
        self.assertIs(story.call.state, State.TALKING)

    def test_keys_pressed_before_the_service_is_ready_are_told_after_the_greeting(
        self,
    ) -> None:
        story = Story(greeting="Hello.").identified()
        for key in "1#":
            story.call.dtmf(key)
        story.service.events.ready()
        told = [name for name, *_ in story.service.told if name != "send_audio"]
        self.assertEqual(told, ["begin", "say", "add_text", "ask"])

    def test_a_hang_up_asked_for_between_two_conversations_is_done(self) -> None:
        story = Story().greeted()
        story.service.events.lost(DROPPED)
        with self.ends(story):
            story.call.control.end_after_speech("the agent hung up")


class GoodbyeTests(CallCase):
    def test_it_is_played_out_and_then_the_line_drops(self) -> None:
        story = Story().draining()
        story.clock.advance(0.9)
        self.assertEqual(story.leg.count("hang_up"), 0)
        with self.ends(story) as lines:
            story.leg.play_out()
        self.assertEqual(story.leg.count("hang_up"), 1)
        self.assertIn("ended well: the agent hung up", lines[-1])

    def test_a_caller_who_talks_over_it_neither_stops_nor_prolongs_it(self) -> None:
        story = Story().draining()
        with self.ends(story):
            story.caller_speaks()
            story.call.dtmf("5")
            story.service.reply("another")
            story.service.events.tool_called("t1", "look_up", {})
            story.leg.play_out()
        self.assertEqual(story.leg.count("flush"), 0)
        self.assertEqual(story.tool.told, [])
        self.assertNotIn("another", story.leg.items)

    def test_the_rest_of_it_may_still_come(self) -> None:
        story = Story().waiting()
        story.service.speak("bye", 0.5)
        story.call.control.end_after_speech("the agent hung up")
        story.service.speak("bye", 0.5)
        story.leg.play_out()
        self.assertIs(story.call.state, State.DRAINING)
        story.service.events.agent_done("bye")
        with self.ends(story):
            story.service.events.reply_ended(1, "")
            story.leg.play_out()
        self.assertEqual(len(story.leg.of("play")), 3)

    def test_a_service_lost_meanwhile_leaves_what_came_of_it(self) -> None:
        for loss in (DROPPED, Loss("no credit", final=True)):
            story = Story().waiting()
            story.service.speak("bye", 0.5)
            story.call.control.end_after_speech("the agent hung up")
            with self.ends(story):
                story.service.events.lost(loss)
                self.assertEqual(story.leg.count("hang_up"), 0)
                story.leg.play_out()
            self.assertNotIn(APOLOGY, story.leg.items)

    def test_a_service_lost_before_any_of_it_came_ends_the_call(self) -> None:
        story = Story().waiting()
        story.service.events.tool_called("t1", "look_up", {})
        story.call.control.end_after_speech("the agent hung up")
        with self.ends(story):
            story.service.events.lost(DROPPED)
            story.tool.answer.callback("42")

    def test_a_service_that_stalls_in_it_ends_the_call_before_the_cap(self) -> None:
        story = Story(reply_within=4.0, drain_within=60.0).speaking(1.0)
        story.call.control.end_after_speech("the agent hung up")
        with self.ends(story):
            story.clock.advance(5.1)
            story.leg.play_out()


class FaultTests(CallCase):
    """An exception anywhere ends this call, kindly if that can be, and no other."""

    LEG = ("play", "end_of_item", "flush", "hang_up", "figures")
    SERVICE = (
        "begin",
        "send_audio",
        "interrupt",
        "cancel",
        "add_text",
        "ask",
        "say",
        "tool_result",
        "close",
    )

    def live(self, story: Story) -> None:
        """All of a call, as far as it goes."""
        story.identified()
        story.service.events.ready()
        story.service.reply("greeting")
        story.leg.play_out()
        story.caller_speaks()
        story.service.speak("reply", 2.0)
        story.caller_speaks()
        story.service.events.tool_called("t1", "look_up", {})
        if not story.tool.answer.called:
            story.tool.answer.callback("42")
        story.service.events.reply_ended(1, "")
        for key in "5#":
            story.call.dtmf(key)
        story.service.events.lost(DROPPED)
        story.clock.advance(0.0)
        story.call.caller_audio(bytes(320))
        story.service.events.ready()
        story.service.reply("more")
        story.call.control.end_after_speech("the agent hung up")
        story.leg.play_out()
        story.clock.advance(30.0)
        story.leg.play_out()
        if story.leg.is_up:
            # A leg that could not even be hung up ends by its own timers.
            story.leg.drop("gone at last")
        story.clock.advance(30.0)

    def test_without_a_fault_it_ends_well(self) -> None:
        story = Story(greeting="Hello.")
        with self.ends(story) as lines:
            self.live(story)
        self.assertIn("ended well: the agent hung up", lines[-1])

    def test_every_method_of_the_leg_may_fail(self) -> None:
        for name in self.LEG:
            story = Story(greeting="Hello.")
            story.leg.breaks.add(name)
            with self.ends(story):
                self.live(story)
            self.assertGreater(len(self.flushLoggedErrors(Broken)), 0, name)

    def test_every_method_of_the_conversation_may_fail(self) -> None:
        for name in self.SERVICE:
            story = Story(greeting="Hello.")
            converse = story.provider.converse

            def converse_broken(
                brief: Any,
                events: Any,
                name: str = name,
                converse: Callable[..., Any] = converse,
            ) -> Any:
                conversation = converse(brief, events)
                conversation.breaks.add(name)
                return conversation

            self.patch(story.provider, "converse", converse_broken)
            with self.ends(story):
                self.live(story)
            self.assertGreater(len(self.flushLoggedErrors(Broken)), 0, name)
            if name != "close":
                self.assertIn(APOLOGY, story.leg.items, name)

    def test_a_provider_that_fails_costs_an_apology(self) -> None:
        story = Story()
        story.provider.breaks.add("converse")
        with self.ends(story) as lines:
            story.call.identified()
            self.assertEqual(story.leg.items, [APOLOGY])
            story.leg.play_out()
        self.assertIn("ended badly: internal error", lines[-1])
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)

    def test_a_fault_before_the_call_is_identified_ends_it_at_once(self) -> None:
        story = Story()
        del type(story.leg).peer
        try:
            with self.ends(story):
                story.call.identified()
        finally:
            type(story.leg).peer = "192.0.2.1:5060"
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_whoever_is_told_of_the_end_may_fail(self) -> None:
        story = Story().greeted()

        def ended(call: Call) -> None:
            story.over.append(call)
            raise Broken

        self.patch(story.call, "_ended", ended)
        with self.ends(story):
            story.leg.drop()
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)

    def test_a_leg_may_be_gone_within_any_of_its_methods(self) -> None:
        for name in self.LEG:
            story = Story(greeting="Hello.")
            story.leg.on[name] = story.leg.drop
            with self.ends(story):
                self.live(story)
            self.assertEqual(story.call.failure, "", name)

    def test_a_conversation_may_be_lost_within_any_of_its_methods(self) -> None:
        for name in self.SERVICE:
            story = Story(greeting="Hello.")
            converse = story.provider.converse

            def converse_lost(
                brief: Any,
                events: Any,
                name: str = name,
                converse: Callable[..., Any] = converse,
            ) -> Any:
                conversation = converse(brief, events)
                conversation.on[name] = lambda: events.lost(DROPPED)
                return conversation

            self.patch(story.provider, "converse", converse_lost)
            with self.ends(story):
                self.live(story)

    def test_a_sound_that_cannot_be_played_was_not_heard(self) -> None:
        story = Story().greeted()
        story.leg.breaks.add("play")
        with self.ends(story):
            heard = story.call.control.play("beep", 8000, bytes(160))
            self.assertIs(self.successResultOf(heard), False)
            story.clock.advance(20.0)
        self.assertEqual(story.call.failure, "internal error")
        self.assertTrue(self.flushLoggedErrors(Broken))

    def test_a_fault_is_one_log_line_with_the_call_id(self) -> None:
        story = Story().greeted()
        story.service.breaks.add("send_audio")
        with self.ends(story) as lines:
            story.call.caller_audio(bytes(320))
            story.call.caller_audio(bytes(320))
            story.leg.play_out()
        self.assertEqual(lines[0], "call call-1: internal error")
        self.assertEqual(lines.count(lines[0]), 1)
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)

    def test_no_transcript_is_logged(self) -> None:
        story = Story().talking()
        with capturedLogs() as events:
            story.service.events.transcript("user", "my secret", "i1")
            story.leg.drop()
        for event in events:
            self.assertNotIn("my secret", formatEvent(event) or "")
            self.assertIsNot(event["log_level"], LogLevel.error)


Step = tuple[str, Any]

BREAKABLE = ("converse", *FaultTests.LEG, *FaultTests.SERVICE, "run", "redirect")

STEPS: st.SearchStrategy[Step] = st.one_of(
    st.tuples(st.just("advance"), st.sampled_from([0.0, 0.3, 1.6, 4.1, 9.0, 61.0])),
    st.tuples(st.just("break"), st.sampled_from(BREAKABLE)),
    st.tuples(st.just("mend"), st.sampled_from(BREAKABLE)),
    st.tuples(
        st.sampled_from(
            (
                "ready",
                "speak",
                "done",
                "ended",
                "started",
                "stopped",
                "said",
                "tool",
                "answer",
                "lost",
                "lost for good",
                "audio",
                "key",
                "play out",
                "full",
                "hang up",
                "transfer",
                "cancel transfer",
                "whisper",
                "hand over",
                "dismiss",
                "transfer tool",
                "cancel tool",
                "sound",
                "collect",
                "fetched",
                "spend",
                "stop",
                "gone",
                "cut loose",
            )
        ),
        st.sampled_from(("a", "b")),
    ),
)

BEGINNINGS: tuple[list[Step], ...] = (
    [],
    [("ready", ""), ("speak", "a"), ("done", "a"), ("ended", "")],
    [("ready", ""), ("speak", "a"), ("transfer tool", "a"), ("ended", "")],
    [("ready", ""), ("speak", "a"), ("done", "a"), ("hand over", "")],
)
"""Chance alone seldom comes far: in the last two the caller is being handed over."""


class AnyCall:
    """A call that lives through any sequence of steps."""

    def __init__(self, old_asterisk: bool, farewell: str, interruption: str) -> None:
        self.pbx = FakePbx()
        targets = {"sales": TargetSettings("house,100,1")}
        self.story = Story(
            Transfer(Handover("transfer", targets, datetime.now)),
            CancelTransfer(),
            interruption=interruption,
            reply_within=4.0,
            silence=30.0,
            longest=120.0,
            filler="sound",
            filler_after=1.0,
            greeting="Hello.",
            farewell=farewell,
            fallback="house,1,1",
            budget=Budget(Ledger(), AGENT, per_call=10.0, per_day=12.0),
            pbx=self.pbx if old_asterisk else None,
            facts=Facts(channel="PJSIP/100-00000001"),
        )
        self.heard: list[bool] = []
        """Of the sounds."""
        self.sounds = 0
        self.typed: list[str] = []
        """By the caller, for a tool."""
        self.collected = 0
        self.story.provider.expires_in = 100.0
        self.story.call.identified()

    def do(self, step: Step) -> None:
        kind, value = step
        story = self.story
        if kind == "advance":
            story.clock.advance(value)
        elif kind in ("break", "mend"):
            for fake in (story.leg, story.provider, story.tool, self.pbx):
                getattr(fake.breaks, "add" if kind == "break" else "discard")(value)
            for conversation in story.provider.conversations:
                conversation.breaks = set(story.leg.breaks)
        elif kind in self.LEG:
            if story.leg.is_up:
                self.LEG[kind](self, value)
        elif kind in self.SERVICE and story.provider.conversations:
            # Those that were closed may say something too: it must do no harm.
            conversation = story.provider.conversations[-1 if value == "a" else 0]
            self.SERVICE[kind](conversation, value)
        elif kind == "answer" and not story.tool.answer.called:
            story.tool.answer.callback(value)
        elif kind == "hang up":
            story.call.control.end_after_speech("the agent hung up")
        elif kind == "transfer":
            story.call.control.transfer("house,100,1", "transferred to sales")
        elif kind == "cancel transfer":
            story.call.control.cancel_transfer()
        elif kind == "sound":
            story.call.control.play(value, 8000, bytes(160)).addCallback(
                self.heard.append
            )
            self.sounds += 1
        elif kind == "collect":
            story.call.control.collect_digits(4, 5.0).addCallback(self.typed.append)
            self.collected += 1
        elif kind == "fetched" and not self.pbx.done.called:
            self.pbx.done.callback(value == "a")
        elif kind == "stop":
            story.call.stop()
        elif kind == "whisper":
            story.call.whisper(value, "Ana")
        elif kind == "hand over":
            story.call.hand_over("house,100,1", "sales", "Ana")
        elif kind == "dismiss":
            story.call.dismiss("Ana")

    LEG: ClassVar[dict[str, Callable[[AnyCall, str], None]]] = {
        "audio": lambda self, _: self.story.call.caller_audio(bytes(320)),
        "key": lambda self, _: self.story.call.dtmf("5"),
        "play out": lambda self, _: self.story.leg.play_out(),
        "full": lambda self, _: setattr(
            self.story.leg, "full", not self.story.leg.full
        ),
        "gone": lambda self, _: self.story.leg.drop(),
        "cut loose": lambda self, _: self.story.leg.drop("reset", False),
    }

    SERVICE: ClassVar[dict[str, Callable[[Any, str], None]]] = {
        "ready": lambda service, _: service.events.ready(),
        "speak": lambda service, item: service.speak(item, 0.5),
        "done": lambda service, item: service.events.agent_done(item),
        "ended": lambda service, _: service.events.reply_ended(1, ""),
        "started": lambda service, _: service.events.caller_started(),
        "stopped": lambda service, _: service.events.caller_stopped(),
        "said": lambda service, item: service.events.transcript("user", item, item),
        "spend": lambda service, _: service.events.usage({"input.text_tokens": 4}),
        "tool": lambda service, item: service.events.tool_called(item, "look_up", {}),
        "transfer tool": lambda service, id: service.events.tool_called(
            id, "transfer", {"target": "sales"}
        ),
        "cancel tool": lambda service, id: service.events.tool_called(
            id, "cancel_transfer", {}
        ),
        "lost": lambda service, _: service.events.lost(DROPPED),
        "lost for good": lambda service, _: service.events.lost(
            Loss("no credit", final=True)
        ),
    }


class AnyCallTests(CallCase):
    ENOUGH = 120.0 + 20.0 + 1.0

    @settings(max_examples=300, deadline=None)
    @given(
        st.sampled_from(BEGINNINGS),
        st.lists(STEPS, max_size=40),
        st.booleans(),
        st.booleans(),
        st.sampled_from(("", "Bye.")),
        st.sampled_from(("instant", "polite", "off")),
    )
    def test_whatever_happens_a_call_ends_once_and_leaves_nothing(
        self,
        beginning: list[Step],
        steps: list[Step],
        caller_hangs_up: bool,
        old_asterisk: bool,
        farewell: str,
        interruption: str,
    ) -> None:
        with capturedLogs() as events:
            any_call = AnyCall(old_asterisk, farewell, interruption)
            story = any_call.story
            for step in (*beginning, *steps):
                any_call.do(step)
            if caller_hangs_up:
                story.leg.drop()
            else:
                story.clock.advance(self.ENOUGH)
                story.clock.advance(self.ENOUGH)
            # A tool that was begun may still run, for as long as tools may.
            story.clock.advance(TOOL_WITHIN)
        self.flushLoggedErrors(Broken, CancelledError, TimeoutError)
        if story.leg.count("hang_up"):
            story.leg.drop()  # it was told, but may have been broken just then
        if not caller_hangs_up:
            self.assertEqual(len(story.over), 1)
        self.check_over(story, [formatEvent(event) or "" for event in events])
        self.check_record(story.call.record)
        self.check_seen(story)
        self.assertEqual(len(any_call.heard), any_call.sounds)
        self.assertEqual(len(any_call.typed), any_call.collected)

    def check_record(self, record: Record | None) -> None:
        """It says where the caller goes: nowhere only after a good end."""
        assert record is not None
        places = {
            Outcome.WELL: "",
            Outcome.TRANSFERRED: "house,100,1",
            Outcome.FAILED: "house,1,1",
        }
        self.assertEqual(record.next, places[record.outcome])
        self.assertTrue(record.reason)

    def check_seen(self, story: Story) -> None:
        """Who watches sees a call that begins once and ends once, and no key."""
        seen = story.seen
        self.assertEqual((len(seen.started), len(seen.ended)), (1, 1))
        self.assertIs(seen.ended[0][0], story.call.record)
        self.assertEqual(seen.of("state")[-1].data["state"], "ended")
        self.assertLessEqual({one.kind for one in seen.happened}, set(HAPPENINGS))
        for one in seen.of("said"):
            self.assertNotIn("typed 5", one.data["text"])

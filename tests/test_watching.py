"""Those who watch calls: when they are told what, and that they harm nobody."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from portero.callstate import State
from portero.digits import TYPED, sentence
from portero.interfaces import (
    HAPPENINGS,
    Happening,
    IAudioTap,
    IObserver,
    LegFigures,
    Loss,
)
from portero.record import Outcome
from portero.watching import Watch, Watchers
from tests.fake_call import AGENT, Broken, FakeObserver, FakeTool, Story
from tests.test_call import CallCase
from tests.test_reference import DOCS
from tests.test_tally import RECORD


class BrokenObserver(FakeObserver):
    """Raises at all that it is told."""

    def call_started(self, call: Any) -> None:
        raise Broken("started")

    def call_event(self, happening: Happening) -> None:
        raise Broken("event")

    def call_ended(self, record: Any, figures: LegFigures) -> None:
        raise Broken("ended")


class WatchCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100.0)
        self.watchers = Watchers()
        self.one, self.other = FakeObserver(), FakeObserver()
        self.watch = Watch("c1", self.watchers, self.clock)
        self.call: Any = object()


class WatchTests(WatchCase):
    def test_the_fake_is_an_observer(self) -> None:
        self.assertTrue(verifyObject(IObserver, self.one))

    def test_they_are_told_of_the_beginning_of_all_that_happens_and_of_the_end(
        self,
    ) -> None:
        self.watchers.add(self.one)
        self.watch.started(self.call)
        self.clock.advance(1.23456)
        self.watch.tell("said", role="user", item="i", text="Hello.")
        self.watch.ended(RECORD, LegFigures(underruns=3))
        self.assertEqual(self.one.started, [self.call])
        said = {"role": "user", "item": "i", "text": "Hello."}
        self.assertEqual(self.one.happened, [Happening("c1", "said", 1.235, said)])
        self.assertEqual(self.one.ended, [(RECORD, LegFigures(underruns=3))])

    def test_in_the_order_in_which_they_came_and_each_once(self) -> None:
        told: list[FakeObserver] = []
        for observer in (self.one, self.other, self.one):
            self.watchers.add(observer)
        self.watchers.tell(lambda observer: told.append(FakeObserver()))
        self.assertEqual(len(told), 2)
        found: list[Any] = []
        self.watchers.tell(found.append)
        self.assertEqual(found, [self.other, self.one])

    def test_who_left_is_told_nothing_more(self) -> None:
        self.watchers.add(self.one)
        self.watchers.add(self.other)
        self.watch.started(self.call)
        self.watchers.remove(self.one)
        self.watchers.remove(self.one)
        self.watch.tell("key")
        self.watch.ended(RECORD, LegFigures())
        self.assertEqual((self.one.happened, self.one.ended), ([], []))
        self.assertEqual(len(self.other.happened), 1)

    def test_who_leaves_while_being_told_keeps_nobody_from_being_told(self) -> None:
        found: list[Any] = []

        def leave(observer: Any) -> None:
            found.append(observer)
            self.watchers.remove(observer)

        self.watchers.add(self.one)
        self.watchers.add(self.other)
        self.watchers.tell(leave)
        self.assertEqual(found, [self.one, self.other])
        self.assertFalse(self.watchers)

    def test_nothing_comes_before_the_beginning_or_after_the_end(self) -> None:
        self.watchers.add(self.one)
        self.watch.tell("key")
        self.watch.ended(RECORD, LegFigures())
        self.assertFalse(self.watch)
        self.watch.started(self.call)
        self.assertTrue(self.watch)
        self.watch.ended(RECORD, LegFigures())
        self.watch.tell("key")
        self.watch.ended(RECORD, LegFigures())
        self.assertFalse(self.watch)
        self.assertEqual((len(self.one.happened), len(self.one.ended)), (0, 1))

    def test_without_observers_nothing_is_made_of_it(self) -> None:
        self.watch.started(self.call)
        self.assertFalse(self.watch)
        self.watch._clock = None  # type: ignore[assignment]  # not even the time
        self.watch.tell("key")


class FaultTests(WatchCase):
    def test_one_that_fails_keeps_no_other_from_being_told(self) -> None:
        for observer in (self.one, BrokenObserver(), self.other):
            self.watchers.add(observer)
        self.watch.started(self.call)
        self.watch.tell("key")
        self.watch.ended(RECORD, LegFigures())
        for observer in (self.one, self.other):
            counts = len(observer.started), len(observer.happened), len(observer.ended)
            self.assertEqual(counts, (1, 1, 1))
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)

    def test_it_is_spoken_of_at_the_first_the_tenth_and_the_hundredth_time(
        self,
    ) -> None:
        self.watchers.add(BrokenObserver())
        self.watch.started(self.call)
        with capturedLogs() as events:
            for _ in range(99):
                self.watch.tell("key")
        lines = [formatEvent(event) or "" for event in events]
        self.assertEqual(len(lines), 2)
        self.assertIn("an observer of calls failed 10 times by now", lines[0])
        self.assertIn("failed 100 times", lines[1])
        self.assertIn("BrokenObserver", lines[0])
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 3)


Scene = Callable[[], Story]


def heard_in_part() -> Story:
    story = Story().speaking()
    story.leg.heard_ms = 400
    story.service.events.caller_started()
    return story


def replied_to() -> Story:
    story = Story().waiting()
    story.clock.advance(0.3)
    story.service.speak("reply")
    story.clock.advance(0.1)
    story.leg.play_out()
    return story


def coughed_at() -> Story:
    story = Story(interruption="polite").speaking(9.0)
    story.service.events.caller_started("u1")
    story.clock.advance(0.1)
    story.service.events.caller_stopped()
    return story


def talked_with() -> Story:
    story = Story().greeted()
    events = story.service.events
    for role, item, words, pieces in (
        ("user", "u1", events.caller_words, ("Is it ", "open?")),
        ("assistant", "i1", events.agent_words, ("Until ", "six.")),
    ):
        for text in pieces:
            words(text, item)
        events.transcript(role, "".join(pieces), item)
    events.transcript("user", "", "u2")  # nothing was understood
    story.call.control.inform("The mail was delivered.")
    return story


class Secretive(FakeTool):
    name = "look_up"
    parameters: Mapping[str, Any] = {
        "type": "object",
        "properties": {"what": {"type": "string"}, "pin": {"type": "string"}},
    }
    private = ("pin",)


def looked_up() -> Story:
    story = Story()
    story.tool.parameters, story.tool.private = Secretive.parameters, Secretive.private
    story.waiting()
    events = story.service.events
    events.tool_called("t1", "look_up", {"what": "piso 3º", "pin": "4711"})
    story.clock.advance(0.25)
    story.tool.answer.callback('Está "abierto"\n\ud800 hoy.')
    events.tool_called("t2", "no such tool", {})
    return story


def connected_twice() -> Story:
    story = Story().identified()
    story.clock.advance(0.25)
    story.service.events.ready()
    story.service.events.lost(Loss("dropped", final=False))
    story.clock.advance(1.0)
    return story


def never_connected() -> Story:
    story = Story(connect_within=3.0).identified()
    story.clock.advance(3.0)
    return story


def stalled() -> Story:
    story = Story(reply_within=4.0).speaking()
    story.clock.advance(5.5)
    return story


def billed() -> Story:
    story = Story().talking()
    for _ in range(2):
        counts = {"input.text_tokens": 2, "total_tokens": 3}
        story.service.events.usage(counts)
    return story


def steered() -> Story:
    story = Story().greeted()
    story.call.whisper("Be quick.", "Ana\nRuiz")
    story.call.hand_over("house,100,1", "sales", "Ana")
    story.call.dismiss("Ben")
    return story


def discreet() -> Story:
    story = Story().greeted()
    story.call.control.pause_recording(True)
    story.call.pause_recording(False, "Ana\nRuiz")
    return story


def crashed() -> Story:
    story = Story().speaking()
    story.service.breaks.add("interrupt")
    story.service.events.caller_started()
    return story


def pressed() -> Story:
    story = Story().greeted()
    story.call.dtmf("7")
    return story


def by(who: str, did: str, target: str = "") -> dict[str, Any]:
    return {"who": who, "did": did, "target": target}


SAID = {"role": "user", "item": "u1", "text": "Is it open?"}
TOLD = {"role": "system", "item": "", "text": "The mail was delivered."}
COUNTS = {"input.text_tokens": 2, "total_tokens": 3}
SHOWN = 'what="piso 3º", pin=...'
NO_TOOL = {"tool": 2, "name": "no such tool"}

SCENES: list[tuple[str, Scene, list[dict[str, Any]]]] = [
    (
        "state",
        lambda: Story().draining(),
        [{"state": name} for name in ("connecting", "talking", "draining")],
    ),
    (
        "floor",
        lambda: Story().speaking(),
        [
            {"floor": name}
            for name in (
                *("waiting", "speaking", "listening"),  # the greeting
                *("waiting", "speaking"),
            )
        ],
    ),
    (
        "caller",
        lambda: Story().waiting(),
        [{"speaking": True, "item": "asked"}, {"speaking": False}],
    ),
    ("key", pressed, [{}]),
    (
        "words",
        talked_with,
        [
            {"role": role, "item": item, "text": text}
            for role, item, text in (
                ("user", "u1", "Is it "),
                ("user", "u1", "open?"),
                ("assistant", "i1", "Until "),
                ("assistant", "i1", "six."),
            )
        ],
    ),
    (
        "said",
        talked_with,
        [SAID, {"role": "assistant", "item": "i1", "text": "Until six."}, TOLD],
    ),
    ("sounding", lambda: Story().greeted(), [{"item": "greeting"}]),
    ("played_out", lambda: Story().greeted(), [{"item": "greeting"}]),
    ("cut", heard_in_part, [{"item": "reply", "heard_ms": 400, "given_ms": 1000}]),
    ("turn", replied_to, [{"turn": 1, "came_ms": 300, "sounded_ms": 400}]),
    ("barge_in", heard_in_part, [{}]),
    ("false_alarm", coughed_at, [{}]),
    (
        "tool_began",
        looked_up,
        [
            {"tool": 1, "name": "look_up", "arguments": SHOWN},
            {**NO_TOOL, "arguments": ""},
        ],
    ),
    (
        "tool_ended",
        looked_up,
        [
            {
                **{"tool": 1, "name": "look_up", "result": 'Está "abierto" ? hoy.'},
                **{"ok": True, "ms": 250},
            },
            {
                **NO_TOOL,
                "result": 'error: there is no tool "no such tool"; there are: look_up',
                **{"ok": False, "ms": 0},
            },
        ],
    ),
    (
        "service",
        connected_twice,
        [{"ready_ms": 250}, {"lost": "dropped", "final": False}],
    ),
    (
        "service",
        never_connected,
        [{"lost": "the voice service was not ready within 3 s", "final": True}],
    ),
    (
        "service",
        stalled,
        [
            {"ready_ms": 0},
            {"lost": "it stopped in the middle of a reply", "final": False},
        ],
    ),
    (
        "used",
        billed,
        [
            {"tokens": 3, "dollars": 2.0, "counts": COUNTS},
            {"tokens": 6, "dollars": 4.0, "counts": COUNTS},
        ],
    ),
    (
        "operator",
        steered,
        [by("Ana Ruiz", "say"), by("Ana", "transfer", "sales"), by("Ben", "hang_up")],
    ),
    (
        "recording",
        discreet,
        [
            {"did": "paused", "by": "agent", "who": ""},
            {"did": "resumed", "by": "operator", "who": "Ana Ruiz"},
        ],
    ),
    ("error", crashed, [{"reason": "internal error"}]),
]
"""Of each kind: a call, and all of that kind that happens in it."""


class HappeningTests(CallCase):
    def test_each_kind_is_told_at_its_moment_with_its_data(self) -> None:
        for kind, scene, wanted in SCENES:
            with capturedLogs():
                found = scene().seen.of(kind)
            self.assertEqual([dict(one.data) for one in found], wanted, kind)
        self.flushLoggedErrors(Broken)

    def test_there_is_a_scene_of_each_kind_and_no_other_kind_in_any(self) -> None:
        self.assertEqual({kind for kind, _, _ in SCENES}, set(HAPPENINGS))
        with capturedLogs():
            stories = [scene() for _, scene, _ in SCENES]
        kinds = {one.kind for story in stories for one in story.seen.happened}
        self.assertEqual(kinds, set(HAPPENINGS))
        self.flushLoggedErrors(Broken)

    def test_the_descriptions_name_the_data(self) -> None:
        for kind, _, wanted in SCENES:
            names = {name for data in wanted for name in data}
            for name in names:
                self.assertRegex(HAPPENINGS[kind], rf"\b{name}\b", kind)

    def test_so_does_the_page_of_the_api(self) -> None:
        page = (DOCS / "api.rst").read_text("utf-8")
        part = page.partition("\nWhat happens in a call\n---")[2].partition("\n---")[0]
        _, _heading, *rows = re.split(r"(?m)^   \* - ", part)
        told: dict[str, set[str]] = {}
        for row in rows:
            kind, tells, _ = re.split(r"(?m)^     -", row, maxsplit=2)
            told[kind.strip().strip("`")] = set(re.findall(r"``(\w+)``", tells))
        wanted: dict[str, set[str]] = {kind: set() for kind in HAPPENINGS}
        for kind, _, found in SCENES:
            wanted[kind] |= {name for data in found for name in data}
        self.assertEqual(told, wanted)

    def test_all_of_it_is_plain_json_and_has_its_time(self) -> None:
        for _, scene, _ in SCENES:
            with capturedLogs():
                story = scene()
            times = [one.at for one in story.seen.happened]
            self.assertEqual(times, sorted(times))
            self.assertLessEqual(times[-1], story.clock.seconds())
            for one in story.seen.happened:
                self.assertEqual(one.call_id, "call-1")
                self.assertEqual(json.loads(json.dumps(one.data)), one.data)
        self.flushLoggedErrors(Broken)

    def test_what_is_dropped_at_the_end_is_known_to_have_been_cut(self) -> None:
        story = Story().speaking(2.0)
        story.leg.heard_ms = 300
        story.service.events.lost(Loss("no credit", final=True))
        cut = {"item": "reply", "heard_ms": 300, "given_ms": 2000}
        self.assertEqual([one.data for one in story.seen.of("cut")], [cut])

    def test_the_keys_themselves_are_in_none_of_it(self) -> None:
        story = Story(digits_pause=1.0).greeted()
        for key in "4711#":
            story.call.dtmf(key)
        self.assertEqual(story.service.of("add_text"), [("user", sentence("4711#"))])
        self.assertEqual(len(story.seen.of("key")), 5)
        said = {"role": "user", "item": "", "text": TYPED}
        self.assertEqual([one.data for one in story.seen.of("said")], [said])
        self.assertNotIn("4711", str(story.seen.happened))

    def test_nor_those_typed_before_the_service_could_be_reached(self) -> None:
        story = Story().identified()
        for key in "4711#":
            story.call.dtmf(key)
        story.service.events.ready()
        self.assertIn("4711", str(story.service.told))
        self.assertEqual(len(story.seen.of("said")), 1)
        self.assertNotIn("4711", str(story.seen.happened))

    def test_nor_are_the_private_arguments_of_a_tool(self) -> None:
        story = looked_up()
        self.assertEqual(story.tool.of("run")[0][0]["pin"], "4711")
        self.assertNotIn("4711", str(story.seen.happened))


@implementer(IAudioTap)
class FakeTap:
    def frame(
        self, caller: bytes, caller_rate: int, agent: bytes, agent_rate: int
    ) -> None:
        """Nothing comes of a fake leg."""


class CallTests(CallCase):
    def test_a_call_is_told_from_its_first_moment_to_its_record(self) -> None:
        story = Story()
        self.assertEqual(story.seen.started, [])
        story.greeted()
        self.assertEqual(story.seen.started, [story.call])
        with self.ends(story):
            story.leg.drop()
        record, figures = story.seen.ended[0]
        self.assertIs(record, story.call.record)
        self.assertEqual(figures, story.leg.figures())
        self.assertEqual(story.seen.of("state")[-1].data, {"state": "ended"})

    def test_the_end_is_told_once_the_call_is_among_those_that_ended(self) -> None:
        story = Story().greeted()
        over: list[int] = []

        class Looks(FakeObserver):
            def call_ended(self, record: Any, figures: LegFigures) -> None:
                over.append(len(story.over))

        story.watchers.add(Looks())
        with self.ends(story):
            story.leg.drop()
        self.assertEqual(over, [1])

    def test_a_call_that_never_began_is_told_to_nobody(self) -> None:
        story = Story()
        with self.ends(story):
            story.call.stop()
        self.assertEqual(story.seen.happened, [])
        self.assertEqual((story.seen.started, story.seen.ended), ([], []))

    def test_a_tool_that_outlives_its_call_is_told_to_nobody(self) -> None:
        story = Story().waiting()
        story.service.events.tool_called("t1", "look_up", {})
        story.leg.drop()
        story.tool.answer.callback("late")
        self.assertEqual(len(story.seen.of("tool_began")), 1)
        self.assertEqual(story.seen.of("tool_ended"), [])
        self.assertEqual(len(story.seen.ended), 1)

    def test_observers_that_fail_harm_no_call(self) -> None:
        story = Story()
        story.watchers.remove(story.seen)
        story.watchers.add(BrokenObserver())
        story.speaking()
        story.service.events.caller_started()
        self.assertIs(story.call.state, State.TALKING)
        with self.ends(story):
            story.leg.drop()
        assert story.call.record is not None
        self.assertIs(story.call.record.outcome, Outcome.WELL)
        self.assertTrue(self.flushLoggedErrors(Broken))

    def test_a_call_without_observers_is_as_any_other(self) -> None:
        story = Story()
        story.watchers.remove(story.seen)
        story.speaking()
        with self.ends(story):
            story.leg.drop()
        self.assertEqual(story.seen.happened, [])

    def test_one_who_comes_later_sees_what_comes_later(self) -> None:
        story, late = Story().greeted(), FakeObserver()
        story.watchers.add(late)
        story.caller_speaks()
        self.assertEqual(len(late.of("caller")), 2)
        self.assertEqual((late.started, late.of("state")), ([], []))

    def test_who_watches_may_ask_how_it_stands(self) -> None:
        story = Story().greeted()
        (call,) = story.seen.started
        story.clock.advance(2.5)
        self.assertEqual((call.call_id, call.agent), ("call-1", AGENT))
        self.assertEqual(call.seconds(), 2.5)
        self.assertEqual(call.figures(), story.leg.figures())
        self.assertEqual(call.snapshot()["state"], "talking")

    def test_taps_go_to_the_leg_while_there_is_one(self) -> None:
        story, tap = Story().greeted(), FakeTap()
        story.seen.started[0].tap(tap)
        story.seen.started[0].untap(tap)
        self.assertEqual(story.leg.of("tap"), [(tap,)])
        self.assertEqual(story.leg.of("untap"), [(tap,)])
        with self.ends(story):
            story.leg.drop()
        story.call.tap(tap)
        story.call.untap(tap)
        self.assertEqual(story.leg.count("tap"), 1)

"""Tests of L{portero.web.events}: what viewers are told, and what it costs."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

from twisted.internet.task import LoopingCall
from twisted.internet.testing import StringTransport

from portero import __version__
from portero.interfaces import LegFigures
from portero.web.events import (
    CALLS_A_TICK,
    CALLS_A_TURN,
    EVERY,
    HOUSE_EVERY,
    MOST_VIEWERS,
    PING,
)
from portero.web.stream import MOST_WAITING
from tests.api_case import GONE, LISTENER, READER, ApiCase
from tests.test_reception import ID

LOUD = b"\xff\x7f" * 160
SECOND = round(1 / EVERY)


class Viewer:
    """Reads events."""

    def __init__(self, protocol: Any, transport: StringTransport) -> None:
        self.protocol = protocol
        self.transport = transport
        self.head = b""

    def pieces(self) -> list[bytes]:
        """What was sent since the last time, each piece for itself."""
        rest = self.transport.value()
        self.transport.clear()
        if not self.head:
            self.head, _, rest = rest.partition(b"\r\n\r\n")
        found = []
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            found.append(rest[: int(size, 16)])
            rest = rest[int(size, 16) + 2 :]
        return found

    def read(self) -> list[tuple[str, Any]]:
        """Names and data of the events since the last time."""
        found = []
        for block in b"".join(self.pieces()).decode().split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines())
            if "event" in lines:
                found.append((lines["event"], json.loads(lines["data"])))
        return found

    def of(self, name: str) -> list[Any]:
        """The data of those events since the last time that have this name."""
        return [data for kind, data in self.read() if kind == name]

    def leave(self) -> None:
        self.protocol.connectionLost(GONE)


class EventsCase(ApiCase):
    def view(self, query: str = "", *headers: str) -> Viewer:
        return Viewer(*self.stream(f"/events{query}", *headers))

    def ticks(self, count: int) -> None:
        self.clock.pump([EVERY] * count)

    def loops(self) -> int:
        """@return: How many tickers run."""
        delayed: Any = self.clock.getDelayedCalls()
        return sum(isinstance(call.func, LoopingCall) for call in delayed)

    def tap(self, leg: Any) -> Any:
        """@return: The newest that a leg was given."""
        return leg.of("tap")[-1][0]


class HouseViewTests(EventsCase):
    def test_at_once_there_is_all_that_is_known(self) -> None:
        _, call = self.call(ID)
        viewer = self.view()
        found = viewer.read()
        self.assertIn(b"Content-Type: text/event-stream", viewer.head)
        self.assertIn(b"x-accel-buffering: no", viewer.head.lower())
        self.assertEqual(
            found,
            [
                ("hello", {"version": __version__}),
                ("calls", {"calls": [call.snapshot()]}),
                ("house", self.house.report()),
            ],
        )
        schema = "#/components/schemas/"
        self.fits({"$ref": f"{schema}Calls"}, found[1][1])
        self.fits({"$ref": f"{schema}House"}, found[2][1])

    def test_a_call_comes_changes_and_goes(self) -> None:
        viewer = self.view()
        viewer.read()
        leg, call = self.call(ID)
        self.ticks(1)
        (calls,) = viewer.of("calls")
        self.assertEqual(calls["calls"][0]["state"], "talking")
        self.ticks(1)
        self.assertEqual(viewer.of("calls"), [])
        call.whisper("x", "rita")  # the floor changes
        call.stop()
        self.ticks(1)
        (calls,) = viewer.of("calls")
        self.assertEqual(calls["calls"][0]["state"], "draining")
        leg.drop()
        (gone,) = viewer.of("gone")
        self.assertEqual((gone["id"], gone["call"]["outcome"]), (ID, "failed"))
        self.fits({"$ref": "#/components/schemas/Ended"}, gone["call"])
        self.ticks(1)
        self.assertEqual(viewer.of("calls"), [{"calls": []}])
        self.ticks(2 * SECOND)
        self.assertEqual(viewer.of("calls"), [])

    def test_who_comes_takes_no_news_from_the_others(self) -> None:
        leg, _ = self.call(ID)
        first = self.view()
        first.read()
        leg.drop()
        self.assertEqual(self.view().of("calls"), [{"calls": []}])
        self.assertEqual(first.of("calls"), [{"calls": []}])

    def test_each_second_all_calls_are_told_anew(self) -> None:
        self.call(ID)
        viewer = self.view()
        viewer.read()
        self.ticks(3 * SECOND)
        seconds = [calls["calls"][0]["seconds"] for calls in viewer.of("calls")]
        self.assertEqual(len(seconds), 3)
        self.assertEqual(seconds, sorted(set(seconds)))

    def test_with_many_calls_changes_wait_but_no_longer_than_a_second(self) -> None:
        viewer = self.view()
        calls = [self.call(str(n))[1] for n in range(CALLS_A_TICK + 1)]
        self.ticks(SECOND)
        viewer.read()
        for _ in range(SECOND):
            calls[0].dtmf("5")
            self.provider.conversations[0].events.caller_started("x")
            self.provider.conversations[0].events.caller_stopped()
            self.ticks(1)
        self.assertEqual(len(viewer.of("calls")), SECOND // 2)

    def test_with_many_calls_levels_are_told_half_as_often(self) -> None:
        viewer = self.view()
        for n in range(CALLS_A_TICK + 1):
            self.call(str(n))
        self.ticks(SECOND)
        self.assertEqual(len(viewer.of("levels")), SECOND // 2)

    def test_of_many_calls_some_are_looked_at_in_a_turn_of_the_reactor(self) -> None:
        done: list[str] = []

        def watched(figures: Callable[[], LegFigures]) -> LegFigures:
            done.append("look")
            return figures()

        def something_else() -> None:
            done.append("frame")
            if done.count("frame") < 20:
                self.clock.callLater(0, something_else)

        viewer = self.view()
        for n in range(3 * CALLS_A_TURN):
            leg: Any = self.call(str(n))[0]
            leg.figures = partial(watched, leg.figures)
        self.ticks(SECOND - 1)
        viewer.read()
        done.clear()
        self.clock.callLater(EVERY, something_else)
        self.ticks(2)
        self.assertEqual(done.count("look"), 3 * CALLS_A_TURN)
        at_once = "".join(word[0] for word in done).split("f")
        self.assertEqual(max(map(len, at_once)), CALLS_A_TURN)
        self.assertEqual(len(viewer.of("calls")[-1]["calls"]), 3 * CALLS_A_TURN)

    def test_who_ends_while_others_are_looked_at_is_told_of_no_more(self) -> None:
        viewer = self.view()
        legs = [self.call(str(n))[0] for n in range(3 * CALLS_A_TURN)]
        self.ticks(2)
        viewer.read()
        legs[0].drop()
        self.clock.pump([0] * 20)
        for told in viewer.of("levels"):
            self.assertNotIn("0", told)
            self.assertIn("1", told)

    def test_whose_viewers_leave_while_it_looks_tells_nobody(self) -> None:
        viewer = self.view()
        for n in range(3 * CALLS_A_TURN):
            self.call(str(n))
        self.ticks(2)
        viewer.leave()
        self.clock.pump([0] * 20)
        self.assertEqual(self.loops(), 0)
        self.assertEqual(len(self.view().of("calls")[0]["calls"]), 3 * CALLS_A_TURN)

    def test_levels_are_told_four_times_a_second_while_there_are_calls(self) -> None:
        viewer = self.view()
        self.ticks(SECOND)
        self.assertEqual(viewer.of("levels"), [])
        leg, _ = self.call(ID)
        other, _ = self.call("other")
        for _ in range(2):
            self.tap(leg).frame(LOUD, 8000, bytes(320), 8000)
            self.ticks(1)
        found = [{ID: [0, -96], "other": [-96, -96]}] * 2
        self.assertEqual(viewer.of("levels"), found)
        leg.drop()
        other.drop()
        self.ticks(1)
        self.assertEqual(viewer.of("levels"), [])

    def test_the_house_is_told_every_two_seconds(self) -> None:
        viewer = self.view()
        viewer.read()
        self.bridge.drain(True, "rita")
        self.ticks(2 * HOUSE_EVERY)
        houses = viewer.of("house")
        self.assertEqual([house["draining"] for house in houses], [True, True])

    def test_a_comment_keeps_the_line_open(self) -> None:
        viewer = self.view()
        self.ticks(20 * SECOND)
        self.assertEqual(b"".join(viewer.pieces()).count(PING), 2)


class ChosenCallTests(EventsCase):
    def test_its_story_so_far_and_then_what_happens(self) -> None:
        _, call = self.call(ID)
        viewer = self.view(f"?call={ID.upper()}")
        (story,) = viewer.of("story")
        self.fits({"$ref": "#/components/schemas/Story"}, story)
        self.assertEqual((story["live"], story["call"]["id"]), (True, ID))
        self.assertEqual(story["happened"][0]["kind"], "state")
        call.whisper("x", "rita")
        happened = viewer.of("happened")
        for one in happened:
            self.fits({"$ref": "#/components/schemas/Happened"}, one)
        self.assertEqual(happened[0]["kind"], "operator")
        self.assertEqual(happened[0]["who"], "rita")

    def test_others_are_not_told(self) -> None:
        self.call(ID)
        _, other = self.call("other")
        everybody, chooser = self.view(), self.view(f"?call={ID}")
        everybody.read(), chooser.read()
        other.whisper("x", "rita")
        self.ticks(1)
        for viewer in (everybody, chooser):
            names = {name for name, _ in viewer.read()}
            self.assertIn("levels", names)
            self.assertNotIn("happened", names)

    def test_its_wave_goes_on_without_holes(self) -> None:
        leg, call = self.call(ID)
        self.clock.advance(10)
        viewer = self.view(f"?call={ID}")
        for count in (12, 13, 12):
            for _ in range(count):
                self.tap(leg).frame(LOUD, 8000, bytes(960), 24000)
            self.ticks(1)
        waves = viewer.of("wave")
        self.assertEqual([len(wave["caller"]) for wave in waves], [12, 13, 12])
        self.assertEqual(waves[0]["caller"][0], 100)
        self.assertEqual(waves[0]["agent"][0], 0)
        self.assertEqual(waves[0]["at"], round(call.seconds() - 0.74, 2))
        for before, after in pairwise(waves):
            lasts = len(before["caller"]) * before["step_ms"] / 1000
            self.assertApproximates(after["at"], before["at"] + lasts, 0.011)

    def test_after_a_hole_the_wave_is_at_its_place_again(self) -> None:
        leg, call = self.call(ID)
        viewer = self.view(f"?call={ID}")
        for _ in range(2):
            self.clock.advance(5)
            self.tap(leg).frame(LOUD, 8000, LOUD, 8000)
            self.ticks(1)
        at = [wave["at"] for wave in viewer.of("wave")]
        self.assertEqual(len(at), 2)
        self.assertApproximates(at[1], call.seconds() - 0.02, 0.01)

    def test_its_end_is_told_to_the_last(self) -> None:
        leg, _ = self.call(ID)
        viewer = self.view(f"?call={ID}")
        viewer.read()
        leg.drop()
        events = viewer.read()
        self.assertEqual(events[0][1]["state"], "ended")
        self.assertEqual(events[-1][0], "gone")
        self.assertEqual(self.story._live, {})
        viewer.leave()

    def test_one_that_is_over_is_told_at_once_and_no_more(self) -> None:
        leg, _ = self.call(ID)
        leg.drop()
        viewer = self.view(f"?call={ID}&language=es")
        (story,) = viewer.of("story")
        self.assertEqual((story["live"], story["call"]["outcome"]), (False, "well"))

    def test_one_that_nobody_knows_is_404(self) -> None:
        self.get("/events?call=x", expect=404)
        self.assertEqual(len(self.bridge.watchers._observers), 3)


class CostTests(EventsCase):
    def test_without_viewers_nothing_is_done(self) -> None:
        leg, _ = self.call(ID)
        watched = self.bridge.watchers._observers
        self.assertEqual(self.loops(), 0)
        first, second = self.view(), self.view(f"?call={ID}")
        self.assertEqual(leg.count("tap"), 1)
        self.assertEqual(self.loops(), 1)
        first.leave()
        self.assertEqual(leg.count("untap"), 0)
        second.leave()
        self.assertEqual(leg.of("untap"), leg.of("tap"))
        self.assertEqual(self.loops(), 0)
        self.assertEqual(self.bridge.watchers._observers, watched)
        leg.drop()
        self.call("later")

    def test_all_get_the_same_bytes(self) -> None:
        """Which are made once, and counted by what is asked of a call."""
        leg, _ = self.call(ID)
        viewers = [self.view() for _ in range(5)]
        for viewer in viewers:
            viewer.read()
        before = leg.count("figures")
        self.ticks(HOUSE_EVERY)
        once = leg.count("figures") - before
        told = [viewer.pieces() for viewer in viewers]
        self.assertEqual(told[1:], told[:-1])
        viewers[0].leave()
        self.ticks(HOUSE_EVERY)
        self.assertEqual(leg.count("figures") - before, 2 * once)

    def test_a_viewer_that_does_not_read_is_dropped_and_the_others_go_on(self) -> None:
        for n in range(50):
            self.call(str(n))
        stuck, other = self.view(), self.view()
        stuck.protocol.pauseProducing()
        seconds = 0
        while not stuck.transport.disconnecting:
            self.ticks(SECOND)
            seconds += 1
            self.assertLess(seconds, 60)
            self.assertNotEqual(other.of("calls"), [])
        stuck.leave()
        self.ticks(SECOND)
        self.assertEqual(len(other.of("calls")), 1)
        self.assertLess(len(stuck.transport.value()), MOST_WAITING)

    def test_there_are_only_so_many_viewers(self) -> None:
        viewers = [self.view() for _ in range(MOST_VIEWERS)]
        problem = self.get("/events", expect=503)
        self.detail(problem, f"{MOST_VIEWERS} look on already")
        viewers[0].leave()
        self.assertEqual(self.view().of("hello"), [{"version": __version__}])

    def test_what_goes_wrong_is_logged_and_the_rest_goes_on(self) -> None:
        viewer = self.view()

        def broken() -> dict[str, Any]:
            raise ValueError("the house is on fire")

        self.patch(self.house, "report", broken)
        self.ticks(HOUSE_EVERY)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        viewer.read()
        self.call(ID)
        self.ticks(2)
        self.assertNotEqual(viewer.of("levels"), [])
        viewer.leave()
        self.assertEqual(self.loops(), 0)


class RightTests(EventsCase):
    def test_it_needs_the_right_to_read(self) -> None:
        self.with_users()
        self.get("/events", expect=401)
        self.get("/events", LISTENER, expect=403)
        self.assertEqual(len(self.view("", READER).of("hello")), 1)

    def test_who_loses_the_right_is_told_no_more(self) -> None:
        self.with_users()
        viewer = self.view("", READER)
        self.access.use({}, ())
        self.assertTrue(viewer.transport.value().endswith(b"\r\n0\r\n\r\n"))
        self.assertEqual(self.loops(), 0)

"""
What happens, as it happens: Server-Sent Events for the page, and for C{curl -N}.

All viewers share one ticker, and what they get is written as JSON once. Of many calls
that takes several turns of the reactor, so that frames leave in between. Without
viewers nothing is counted, tapped or written, and nobody is told of any call.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Cooperator, LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from portero import __version__
from portero.interfaces import Happening, IObserver, IWatchedCall, LegFigures
from portero.observers.house import House
from portero.record import Record
from portero.service import Bridge
from portero.web.api_calls import LANGUAGE, CallStories, flat, language
from portero.web.meter import STEP_MS, Meter, Sides, levels, peaks
from portero.web.operation import READ, Answer, Asked, Operation, Parameter
from portero.web.problem import Problem
from portero.web.stream import Stream

EVERY: Final = 0.25
"""Seconds between two ticks: levels and waves."""
HOUSE_EVERY: Final = 8
"""Ticks."""
PING_EVERY: Final = 40
"""Ticks: proxies close what says nothing."""
REFRESH_EVERY: Final = 4
"""Ticks between two looks at every call, changed or not."""
CALLS_A_TICK: Final = 25
"""From so many calls on, changes and levels are told every other tick; from twice as
many on, changes once a second: all calls are in each such event."""
CALLS_A_TURN: Final = 10
"""That are looked at in one turn of the reactor, when there are many: half a
millisecond."""
ADRIFT: Final = 0.2
"""Seconds that a wave may be from the time of its call."""
MOST_VIEWERS: Final = 100
KIND: Final = "text/event-stream"
AGAIN: Final = b"retry: 2000\n\n"
"""In so many ms a browser whose connection was lost asks again."""
PING: Final = b": ping\n\n"
SHOWN: Final = frozenset({"state", "floor", "turn", "barge_in", "false_alarm", "used"})
"""Happenings that change what is shown of a call among others."""


def event(name: str, value: Any) -> bytes:
    """@return: One event, as it is sent."""
    return _event(name, _json(value))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()


def _some(calls: Iterable[str]) -> Iterator[list[str]]:
    """@return: All of them, as many as are looked at in a turn at a time."""
    waiting = [*calls]
    while waiting:
        yield waiting[:CALLS_A_TURN]
        del waiting[:CALLS_A_TURN]


class _Chosen:
    """A call that some viewers look at closely."""

    def __init__(self, call_id: str, stories: CallStories) -> None:
        self.viewers: set[Stream] = set()
        self._stop = stories.story.listen(call_id, self._happened)
        self._at: float | None = None

    def stop(self) -> None:
        self._stop()

    def send(self, data: bytes) -> None:
        for viewer in tuple(self.viewers):
            viewer.write(data)

    def wave(self, seconds: float, sides: Sides) -> None:
        """@param seconds: Of the call."""
        caller, agent = sides
        lasts = len(caller) * STEP_MS / 1000
        if not lasts:
            return
        at = self._at
        if at is None or abs(at + lasts - seconds) > ADRIFT:
            at = seconds - lasts
        self._at = at + lasts
        wave = {
            "at": round(at, 2),
            "step_ms": STEP_MS,
            "caller": peaks(caller),
            "agent": peaks(agent),
        }
        self.send(event("wave", wave))

    def _happened(self, happening: Happening) -> None:
        self.send(event("happened", flat(happening)))


@implementer(IObserver)
class Feed:
    """Tells all viewers."""

    log = Logger()

    def __init__(
        self, bridge: Bridge, house: House, stories: CallStories, clock: IReactorTime
    ) -> None:
        self._bridge = bridge
        self._house = house
        self._stories = stories
        self._clock = clock
        self._viewers: set[Stream] = set()
        self._chosen: dict[str, _Chosen] = {}
        self._meters: dict[str, tuple[IWatchedCall, Meter]] = {}
        self._written: dict[str, str] = {}
        """Each call as it was told last, as JSON."""
        self._changed: set[str] = set()
        """Calls that are to be looked at again; those that ended too."""
        self._house_told = b""
        self._tick = 0
        self._loop: LoopingCall | None = None
        self._bit_by_bit = Cooperator(
            lambda: lambda: True, lambda do: clock.callLater(0, do)
        )

    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation(
                "GET",
                "/events",
                "events",
                READ,
                "What happens, as it happens: Server-Sent Events, whose data is JSON.",
                self._watch,
                Answer("Events, without an end.", {"type": "string"}, kind=KIND),
                query=(
                    Parameter(
                        "call",
                        {"type": "string", "minLength": 1, "maxLength": 100},
                        "The id of a call to be told of in full.",
                    ),
                    LANGUAGE,
                ),
                endless=True,
                problems={
                    404: "There is no such call.",
                    503: f"There are {MOST_VIEWERS} viewers already.",
                },
            ),
        )

    async def _watch(self, asked: Asked) -> Any:
        """@raise Problem: The call is not known, or there are too many viewers."""
        call_id = asked.query.get("call", "").lower()
        story = None
        if call_id:
            story = await self._stories.of(call_id, language(asked))
        if len(self._viewers) >= MOST_VIEWERS:
            raise Problem(503, f"{MOST_VIEWERS} look on already: try again later")
        if asked.request.channel is None:
            return NOT_DONE_YET  # they did not wait for the story
        self._add(asked, call_id, story)
        return NOT_DONE_YET

    def _add(self, asked: Asked, call_id: str, story: dict[str, Any] | None) -> None:
        stream = Stream(asked, KIND, lambda: self._remove(stream, call_id))
        if self._loop is None:
            self._begin()
        if self._changed:
            self._send(self._calls())  # it is news for the others too
        self._viewers.add(stream)
        first = [AGAIN, event("hello", {"version": __version__})]
        first += [self._calls(), self._house_told]
        if story is not None:
            first.append(event("story", story))
            if story["live"]:
                chosen = self._chosen.get(call_id)
                if chosen is None:
                    chosen = _Chosen(call_id, self._stories)
                    self._chosen[call_id] = chosen
                chosen.viewers.add(stream)
        stream.write(b"".join(first))

    def _remove(self, stream: Stream, call_id: str) -> None:
        self._viewers.discard(stream)
        chosen = self._chosen.get(call_id)
        if chosen is not None:
            chosen.viewers.discard(stream)
            if not chosen.viewers:
                self._let_go(call_id)
        if not self._viewers and self._loop is not None:
            self._end()

    def _let_go(self, call_id: str) -> None:
        chosen = self._chosen.pop(call_id, None)
        if chosen is not None:
            chosen.stop()

    def _begin(self) -> None:
        """The first viewer comes."""
        self._bridge.watchers.add(self)
        for call in tuple(self._bridge.calls.values()):
            self.call_started(call)
        self._house_told = event("house", self._house.report())
        self._tick = 0
        self._start()

    def _start(self, failure: Failure | None = None) -> None:
        if failure is not None:
            self.log.failure("telling those who look on", failure=failure)
            if not self._viewers:
                return
        loop = self._loop = LoopingCall(self._look)
        loop.clock = self._clock
        loop.start(EVERY, now=False).addErrback(self._start)

    def _end(self) -> None:
        """The last viewer has gone."""
        self._bridge.watchers.remove(self)
        loop, self._loop = self._loop, None
        if loop is not None and loop.running:
            loop.stop()
        for call, meter in self._meters.values():
            call.untap(meter)
        self._meters.clear()
        self._written.clear()
        self._changed.clear()

    def _send(self, data: bytes) -> None:
        for viewer in tuple(self._viewers):
            viewer.write(data)

    # Ticks

    def _look(self) -> Deferred[Any] | None:
        """@return: Fires when all is told; the next tick waits for it."""
        self._tick += 1
        bits = self._tell()
        if len(self._meters) >= CALLS_A_TICK:
            return self._bit_by_bit.coiterate(bits)
        for _ in bits:
            pass
        return None

    def _tell(self) -> Iterator[None]:
        """What there is to tell now; other things may be done at each C{yield}."""
        loop = self._loop
        slowly = 1 << min(len(self._meters) // CALLS_A_TICK, 2)
        loud: dict[str, list[int]] = {}
        if self._tick % min(slowly, 2) == 0:
            for some in _some(self._meters):
                loud.update(self._listen(some))
                yield
        if self._tick % REFRESH_EVERY == 0:
            self._changed.update(self._meters)
        is_news = bool(self._changed) and self._tick % slowly == 0
        if is_news:
            for some in _some(self._changed):
                self._write(some)
                yield
        if self._loop is not loop:
            return  # nobody looks on any more, or others do
        news = []  # in one piece, as each write to each viewer costs
        if loud:
            kept = {
                call_id: loud[call_id] for call_id in loud if call_id in self._meters
            }
            news.append(event("levels", kept))
        if is_news:
            news.append(self._calls())
        if self._tick % HOUSE_EVERY == 0:
            self._house_told = event("house", self._house.report())
            news.append(self._house_told)
        if self._tick % PING_EVERY == 0:
            news.append(PING)
        if news:
            self._send(b"".join(news))

    def _listen(self, some: list[str]) -> dict[str, list[int]]:
        """
        How the sound of these calls went on, for whom looks closely.

        @return: How loud they are.
        """
        live = [call_id for call_id in some if call_id in self._meters]
        sides = [self._meters[call_id][1].take() for call_id in live]
        for call_id, sound in zip(live, sides, strict=True):
            chosen = self._chosen.get(call_id)
            call = self._bridge.calls.get(call_id)
            if call is not None and chosen is not None:
                chosen.wave(call.seconds(), sound)
        return dict(zip(live, levels(sides), strict=True))

    def _calls(self) -> bytes:
        """Only what changed is written anew."""
        self._write([*self._changed])
        return _event("calls", f'{{"calls":[{",".join(self._written.values())}]}}')

    def _write(self, some: list[str]) -> None:
        for call_id in some:
            call = self._bridge.calls.get(call_id)
            if call is None:
                self._written.pop(call_id, None)
            else:
                self._written[call_id] = _json(call.snapshot())
        self._changed.difference_update(some)

    # IObserver

    def call_started(self, call: IWatchedCall) -> None:
        if call.call_id in self._meters:
            return  # it was found among those under way
        meter = Meter()
        self._meters[call.call_id] = call, meter
        self._changed.add(call.call_id)
        call.tap(meter)

    def call_event(self, happening: Happening) -> None:
        if happening.kind in SHOWN:
            self._changed.add(happening.call_id)

    def call_ended(self, record: Record, figures: LegFigures) -> None:
        self._meters.pop(record.call_id, None)
        self._changed.add(record.call_id)
        ended = self._stories.archive.outline(record)
        self._send(event("gone", {"id": record.call_id, "call": ended}))
        self._let_go(record.call_id)

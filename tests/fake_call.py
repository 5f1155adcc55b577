"""Fakes of what a call meets: a leg, a voice service and its conversations, a tool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from zope.interface import implementer

from portero.assignment import Assignment, CallSettings
from portero.call import Call
from portero.facts import Facts
from portero.interfaces import (
    Brief,
    Happening,
    Heard,
    IAudioTap,
    ICallControl,
    IConversation,
    IConversationEvents,
    ILeg,
    ILegCapture,
    ILegEvents,
    IObserver,
    IPbxControl,
    ITool,
    IVoiceProvider,
    IWatchedCall,
    LegFigures,
    LegMake,
    ProviderReport,
    Said,
)
from portero.money import Budget, Ledger, Meter
from portero.record import Record
from portero.sections import PriceSettings
from portero.toolbox import Toolbox
from portero.watching import Watch, Watchers

RATE = 8000
TOOL_WITHIN = 10.0
AGENT = "reception"
PRICE = PriceSettings(text_in=1_000_000)
"""A dollar for each token of text in, and nothing else costs anything."""
NOBODY = Facts()


class Broken(Exception):
    """What a fake raises when a test wants it to."""


class Recorder:
    """
    Remembers what it was told, as tuples that begin with the method's name.

    @ivar breaks: Names of methods that raise L{Broken}.
    @ivar on: By a method's name: called at its end, for events within calls.
    """

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.breaks: set[str] = set()
        self.on: dict[str, Callable[[], None]] = {}

    def tell(self, name: str, *values: Any) -> None:
        self.told.append((name, *values))
        if name in self.breaks:
            raise Broken(name)
        if name in self.on:
            self.on[name]()

    def of(self, name: str) -> list[tuple[Any, ...]]:
        """What came with every call of one method."""
        return [values[1:] for values in self.told if values[0] == name]

    def count(self, name: str) -> int:
        return len(self.of(name))


@implementer(ILeg)
class FakeLeg(Recorder):
    """Plays nothing by itself: L{play_out} says that the caller heard it all."""

    peer = "192.0.2.1:5060"
    caller_rate = RATE
    agent_rate = RATE

    def __init__(self) -> None:
        super().__init__()
        self.events: ILegEvents | None = None
        self.full = False
        self.waiting: dict[str, int] = {}
        self.ended: set[str] = set()
        self.heard_ms = 0
        """Of the item that sounds, when it is cut."""
        self.is_up = True

    def play(self, item: str, pcm: bytes) -> bool:
        self.tell("play", item, pcm)
        if self.full or not self.is_up:
            return False
        self.waiting[item] = self.waiting.get(item, 0) + len(pcm) // (RATE // 500)
        return True

    def end_of_item(self, item: str) -> None:
        self.tell("end_of_item", item)
        self.ended.add(item)

    def flush(self) -> tuple[Heard, ...]:
        self.tell("flush")
        heard, left = [], self.heard_ms
        for item, given in self.waiting.items():
            heard.append(Heard(item, min(left, given), given))
            left = 0
        self.waiting.clear()
        return tuple(heard)

    def pause(self) -> None:
        self.tell("pause")

    def resume(self) -> None:
        self.tell("resume")

    def hang_up(self) -> None:
        self.tell("hang_up")
        self.drop("agent hung up")

    def tap(self, tap: IAudioTap) -> None:
        self.tell("tap", tap)

    def untap(self, tap: IAudioTap) -> None:
        self.tell("untap", tap)

    def keep_private(self, private: bool) -> None:
        self.tell("keep_private", private)

    def be_captured(self, capture: ILegCapture) -> LegMake:
        self.tell("be_captured", capture)
        return LegMake(self.agent_rate)

    def figures(self) -> LegFigures:
        self.tell("figures")
        return LegFigures(frames_sent=7, underruns=2, lateness_p99_ms=0.5)

    # What a test does

    @property
    def items(self) -> list[str]:
        """Played so far, in order, each once."""
        return list(dict.fromkeys(item for item, _ in self.of("play")))

    def drop(self, reason: str = "caller hung up", in_order: bool = True) -> None:
        """The leg ends."""
        events, self.events = self.events, None
        self.is_up = False
        if events is not None:
            events.gone(reason, in_order)

    def play_out(self) -> None:
        """The caller hears what waits, as far as the items have ended."""
        for item in tuple(self.waiting):
            if self.events is not None:
                self.events.sounding(item)
            if item not in self.ended:
                return
            self.waiting.pop(item, None)
            if self.events is not None:
                self.events.played_out(item)


@implementer(IConversation)
class FakeConversation(Recorder):
    """Says only what a test has it say, through L{events}."""

    piece = 0.0
    caller_rate = RATE
    agent_rate = RATE
    paced = False

    def __init__(
        self, brief: Brief, events: IConversationEvents, expires_in: float
    ) -> None:
        super().__init__()
        self.brief = brief
        self.events = events
        self.expires_in = expires_in
        self.is_open = True

    def begin(self, caller_rate: int, agent_rate: int) -> None:
        self.tell("begin", caller_rate, agent_rate)

    def send_audio(self, pcm: bytes) -> None:
        self.tell("send_audio", pcm)

    def interrupt(self, item: str, heard_ms: int) -> None:
        self.tell("interrupt", item, heard_ms)

    def amend(self, text: str, heard: str) -> None:
        self.tell("amend", text, heard)

    def cancel(self) -> None:
        self.tell("cancel")

    def add_text(self, role: str, text: str) -> None:
        self.tell("add_text", role, text)

    def ask(self) -> None:
        self.tell("ask")

    def say(self, text: str) -> None:
        self.tell("say", text)

    def tool_result(self, id: str, value: str) -> None:
        self.tell("tool_result", id, value)

    def close(self) -> None:
        self.is_open = False
        self.tell("close")

    # What a test does

    def speak(self, item: str, seconds: float = 1.0) -> None:
        """A piece of a reply comes."""
        self.events.agent_audio(item, bytes(round(seconds * RATE) * 2))

    def reply(self, item: str, seconds: float = 1.0) -> None:
        """A whole reply comes."""
        self.speak(item, seconds)
        self.events.agent_done(item)
        self.events.reply_ended(1, "")


@implementer(IVoiceProvider)
class FakeProvider(Recorder):
    """
    @ivar conversations: All that were opened, oldest first.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conversations: list[FakeConversation] = []
        self.expires_in = inf

    def describe(self, model: str) -> str:
        return f"a fake {model}"

    def converse(self, brief: Brief, events: IConversationEvents) -> FakeConversation:
        self.tell("converse", brief)
        conversation = FakeConversation(brief, events, self.expires_in)
        self.conversations.append(conversation)
        return conversation

    def health(self) -> str:
        return ""

    def report(self) -> ProviderReport:
        return ProviderReport("a fake", self.health())


@implementer(ITool)
class FakeTool(Recorder):
    """Answers when the test fires C{answer}, or at once when that has fired."""

    name = "look_up"
    description = "Look something up."
    parameters: Mapping[str, Any] = {"type": "object", "properties": {}}
    within: float
    """Unless a test sets it, what the toolbox allows."""
    private: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.answer: Deferred[str] = Deferred()

    async def run(self, call: ICallControl, arguments: Mapping[str, Any]) -> str:
        self.tell("run", arguments)
        told: Deferred[str] = Deferred()

        def tell(answer: str) -> str:
            told.callback(answer)
            return answer  # for whoever asks next

        self.answer.addCallbacks(tell, told.errback)
        return await told


@implementer(ICallControl)
class FakeControl(Recorder):
    """
    A call as a tool sees it, with nothing behind it.

    @ivar heard: What L{play} answers.
    @ivar digits: What L{collect_digits} answers, one after the other; then nothing.
    @ivar takes: What L{transfer}, L{cancel_transfer}, L{pause_recording} answer.
    """

    def __init__(self, call_id: str = "call-1", facts: Facts = NOBODY) -> None:
        super().__init__()
        self.call_id = call_id
        self.agent = AGENT
        self.facts = facts
        self.caller_turns = 0
        self.words: tuple[Said, ...] = ()
        self.lasts = 62.0
        self.promises: list[Callable[[], None]] = []
        """What was asked for with L{at_end}."""
        self.heard = True
        self.digits: list[str] = []
        self.takes = True

    def said(self) -> tuple[Said, ...]:
        return self.words

    def seconds(self) -> float:
        return self.lasts

    def at_end(self, do: Callable[[], None]) -> None:
        self.promises.append(do)

    def play(self, name: str, rate: int, pcm: bytes) -> Deferred[bool]:
        self.tell("play", name, rate, pcm)
        return succeed(self.heard)

    def collect_digits(self, most: int, within: float) -> Deferred[str]:
        self.tell("collect_digits", most, within)
        return succeed(self.digits.pop(0) if self.digits else "")

    def pause_recording(self, paused: bool) -> bool:
        self.tell("pause_recording", paused)
        return self.takes

    def inform(self, text: str) -> None:
        self.tell("inform", text)

    def cancel_transfer(self) -> bool:
        self.tell("cancel_transfer")
        return self.takes

    def transfer(self, target: str, reason: str) -> bool:
        self.tell("transfer", target, reason)
        return self.takes

    def end_after_speech(self, reason: str) -> None:
        self.tell("end_after_speech", reason)


@implementer(IPbxControl)
class FakePbx(Recorder):
    """It has done what it was told once the test fires C{done}."""

    def __init__(self) -> None:
        super().__init__()
        self.done: Deferred[bool] = Deferred()

    def redirect(self, channel: str, target: str) -> Deferred[bool]:
        self.tell("redirect", channel, target)
        return self.done


def assignment(
    provider: IVoiceProvider,
    toolbox: Toolbox,
    *,
    call_id: str = "call-1",
    facts: Facts = NOBODY,
    budget: Budget | None = None,
    pbx: IPbxControl | None = None,
    **settings: Any,
) -> Assignment:
    """
    @param budget: Default: one without a ceiling.
    @param settings: Of L{CallSettings}.
    """
    return Assignment(
        AGENT,
        facts,
        Brief(call_id, "Be brief.", model="model-1", tools=toolbox.tools),
        CallSettings(**settings),
        provider,
        toolbox,
        Meter(budget or Budget(Ledger(), AGENT), PRICE),
        pbx,
    )


def unwatched() -> Watch:
    """@return: Over a call that nobody watches."""
    return Watch("call-1", Watchers(), Clock())


@implementer(IObserver)
class FakeObserver:
    """Remembers all that it was told."""

    def __init__(self) -> None:
        self.started: list[IWatchedCall] = []
        self.happened: list[Happening] = []
        self.ended: list[tuple[Record, LegFigures]] = []

    def call_started(self, call: IWatchedCall) -> None:
        self.started.append(call)

    def call_event(self, happening: Happening) -> None:
        self.happened.append(happening)

    def call_ended(self, record: Record, figures: LegFigures) -> None:
        self.ended.append((record, figures))

    def of(self, kind: str) -> list[Happening]:
        """Those of one kind, in order."""
        return [one for one in self.happened if one.kind == kind]


class Story:
    """
    A call among fakes, told by a test.

    @ivar seen: What an observer saw of it.

    @ivar over: The call, once for each time that it said it was over.
    """

    def __init__(self, *tools: Any, call_id: str = "call-1", **given: Any) -> None:
        """@param given: Of L{assignment}."""
        self.clock = Clock()
        self.leg = FakeLeg()
        self.provider = FakeProvider()
        self.tool = FakeTool()
        self.over: list[Call] = []
        self.seen, self.watchers = FakeObserver(), Watchers()
        self.watchers.add(self.seen)
        toolbox = Toolbox((self.tool, *tools), self.clock, TOOL_WITHIN)
        self.call = Call(
            call_id,
            self.leg,
            assignment(self.provider, toolbox, call_id=call_id, **given),
            self.clock,
            self.over.append,
            self.watchers,
        )
        self.leg.events = self.call

    @property
    def service(self) -> FakeConversation:
        """The newest conversation."""
        return self.provider.conversations[-1]

    def identified(self) -> Story:
        self.call.identified()
        self.call.caller_audio(bytes(320))
        return self

    def talking(self) -> Story:
        """It greets."""
        self.identified()
        self.service.events.ready()
        return self

    def greeted(self) -> Story:
        """It has greeted, and listens."""
        self.talking()
        self.service.reply("greeting")
        self.leg.play_out()
        return self

    def waiting(self) -> Story:
        """The caller has spoken, and waits for a reply."""
        self.greeted()
        self.caller_speaks()
        return self

    def speaking(self, seconds: float = 1.0) -> Story:
        """A part of a reply came, and sounds."""
        self.waiting()
        self.service.speak("reply", seconds)
        self.call.sounding("reply")
        return self

    def draining(self) -> Story:
        """The agent's goodbye sounds."""
        self.waiting()
        self.service.reply("goodbye")
        self.call.control.end_after_speech("the agent hung up")
        return self

    def caller_speaks(self, seconds: float = 1.0) -> None:
        self.service.events.caller_started("asked")
        self.clock.advance(seconds)
        self.service.events.caller_stopped()

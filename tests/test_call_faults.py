"""
What a service may do wrong, over real sockets: the caller hears an apology and goes
back to Asterisk, or the call goes on; another call does not notice; nothing is left.
"""

from __future__ import annotations

import gc
import json
import os
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from twisted.internet import reactor as global_reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import LogEvent, LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from portero import backoff, prompts, sounds
from portero.audio import level_dbfs
from portero.call import Call
from portero.config import DEFAULT, Config
from portero.interfaces import (
    Brief,
    IConversationEvents,
    IVoiceProvider,
    ProviderReport,
)
from portero.money import Ledger
from portero.pacing import PTIME, MediaClock
from portero.playout import Playout
from portero.providers.openai import Conversation, Provider
from portero.record import Outcome
from portero.roster import Roster
from portero.sections import LimitSettings, ProviderSettings
from portero.service import Bridge
from portero.simulator import Knobs, Simulator
from portero.transports.audiosocket import (
    AudioSocketLeg,
    AudioSocketReceiver,
    Transport,
)
from portero.wire import audiosocket as wire

reactor: Any = global_reactor  # it has all interfaces, which mypy cannot know

WELL: Final = uuid.UUID(int=1)
SICK: Final = uuid.UUID(int=2)
PROMPT_S: Final = 0.3
WITHIN: Final = 8.0
"""Seconds that anything waited for may take, on a busy machine too."""
LONGEST_GAP: Final = 0.5
"""Seconds without a frame that only another call's trouble could explain."""
COUNTED: Final = (Call, Conversation, AudioSocketLeg, Playout)


class Caller(AudioSocketReceiver):
    """Asterisk's part: says its call id, sends silence, keeps what comes."""

    def __init__(self, call_id: uuid.UUID) -> None:
        super().__init__()
        self.call_id = call_id
        self.heard = bytearray()
        self.longest_gap = 0.0
        self.hung_up = False
        """By portero, with 0x00."""
        self.is_up = False
        self._last = 0.0
        self._loop = LoopingCall(self._frame)

    def connectionMade(self) -> None:
        self.is_up = True
        self._last = reactor.seconds()
        self.sendMessage(wire.UUID, self.call_id.bytes)
        self._loop.start(PTIME)

    def _frame(self) -> None:
        self.sendMessage(wire.SLIN, bytes(320))

    def messageReceived(self, kind: int, payload: bytes) -> None:
        if kind == wire.SLIN:
            now = reactor.seconds()
            self.longest_gap = max(self.longest_gap, now - self._last)
            self._last = now
            self.heard += payload
        elif kind == wire.HANGUP:
            self.hung_up = True

    def hang_up(self) -> None:
        self.sendMessage(wire.HANGUP)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.is_up = False
        self._loop.stop()

    def heard_sound(self) -> bool:
        return level_dbfs(bytes(self.heard)) > -50.0


@implementer(IVoiceProvider)
class TwoServices:
    """The service for one call is sick, for all others it is well."""

    def __init__(self, well: Provider, sick: Provider) -> None:
        self.well = well
        self.sick = sick

    def describe(self, model: str) -> str:
        return "two simulators"

    def converse(self, brief: Brief, events: IConversationEvents) -> Conversation:
        provider = self.sick if brief.call_id == str(SICK) else self.well
        return provider.converse(brief, events)

    def health(self) -> str:
        return ""

    def report(self) -> ProviderReport:
        return ProviderReport()


def sockets() -> int:
    """@return: How many are open in this process."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:
            continue  # the one that listed them
    return found


def objects() -> Counter[str]:
    """@return: How many there are of the types that live as long as a call."""
    gc.collect()
    return Counter(
        type(thing).__name__ for thing in gc.get_objects() if type(thing) in COUNTED
    )


def brief_prompt(load: Callable[[str, str], tuple[int, bytes]]) -> Any:
    """@return: The same prompts, only shorter, because these tests wait for them."""

    def loaded(name: str, language: str) -> tuple[int, bytes]:
        rate, pcm = load(name, language)
        return rate, pcm[: round(rate * PROMPT_S) * 2]

    return loaded


class FaultCase(TestCase):
    timeout = 30

    def setUp(self) -> None:
        if not os.path.isdir("/proc/self/fd"):
            self.skipTest("counting sockets needs /proc")
        # To look for garbage among all that other tests loaded is a gap of its own.
        gc.collect()
        gc.freeze()
        self.addCleanup(gc.unfreeze)
        self.patch(prompts, "load", brief_prompt(prompts.load))
        self.patch(backoff, "FIRST", 0.02)
        sounds.prompt.cache_clear()
        self.addCleanup(sounds.prompt.cache_clear)
        _, apology = prompts.load("apology", "en")
        self.apology = sounds.prompt("apology", "en", 8000)
        self.assertGreater(level_dbfs(apology), -50.0, "the prompt is silent")

    async def until(self, what: str, true: Callable[[], bool]) -> None:
        deadline = reactor.seconds() + WITHIN
        while not true():
            self.assertLess(reactor.seconds(), deadline, f"never: {what}")
            await deferLater(reactor, 0.01)

    async def suffer(
        self,
        knobs: Knobs,
        then: Knobs | None = None,
        *,
        goes_on: bool = False,
        down: bool = False,
    ) -> list[LogEvent]:
        """
        One call meets a sick service while another one is well.

        @param knobs: Of the sick service.
        @param then: Its knobs from the second connection on.
        @param goes_on: The call survives, and the agent is heard in it.
        @param down: Nothing listens where the sick service should be.
        @return: What was logged of the sick call from C{warn} up.
        """
        await deferLater(reactor, 0)  # trial's own timer starts after the test
        before = objects(), sockets(), len(reactor.getDelayedCalls())
        with capturedLogs() as events:
            await self._suffer(knobs, then or knobs, goes_on, down)
        worse = (LogLevel.warn, LogLevel.error, LogLevel.critical)
        found = [
            {"line": formatEvent(event), "level": event["log_level"]}
            for event in events
            if event["log_level"] in worse
            # Autobahn's server, the simulator's, has lines of its own.
            and event["log_namespace"].startswith("portero.")
        ]
        del events
        await self._check_nothing_is_left(*before)
        for event in found:
            self.assertIn(str(SICK), event["line"])
        return found

    async def _suffer(
        self, knobs: Knobs, then: Knobs, goes_on: bool, down: bool
    ) -> None:
        well, sick = Simulator(reactor), Simulator(reactor, knobs)
        for service in (well, sick):
            service.startService()
        providers = [
            Provider(reactor, replace(ProviderSettings(), url=service.url), "key")
            for service in (well, sick)
        ]
        if down:
            await sick.stopService()
        limits = LimitSettings(reply_within=0.5, connect_within=1.5, goodbye_within=3.0)
        roster = Roster(
            Config(limits=limits),
            {DEFAULT: TwoServices(*providers)},
            {DEFAULT: ()},
            reactor,
            Ledger(),
        )
        bridge = Bridge(reactor, roster)
        media = MediaClock(reactor)
        listener: Any = Transport(reactor, media).listen(
            "tcp:0:interface=127.0.0.1", bridge.accept
        )
        listener.startService()
        port = (await listener._waitingForPort).getHost().port
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        first = await connectProtocol(endpoint, Caller(WELL))
        await self.until("the call that is well heard the agent", first.heard_sound)
        second = await connectProtocol(endpoint, Caller(SICK))
        if then is not knobs:
            await self.until("a first session", lambda: sick.opened > 0)
            sick.knobs = then
        if goes_on:
            await self._goes_on(second, sick)
        else:
            await self.until("the call is over", lambda: not second.is_up)
            self.assertTrue(second.hung_up, "without 0x00")
            # Without its first frame, which may be faded in.
            self.assertIn(self.apology[640:-640], second.heard)
        self.assertTrue(first.is_up)
        self.assertLess(first.longest_gap, LONGEST_GAP)
        self.assertIn(str(WELL), bridge.calls)
        first.hang_up()
        await self.until("no call", lambda: not bridge.calls and not first.is_up)
        self.assertIs(bridge.ended[str(WELL)].outcome, Outcome.WELL)
        wanted = Outcome.WELL if goes_on else Outcome.FAILED
        self.assertIs(bridge.ended[str(SICK)].outcome, wanted)
        self.assertEqual(media.legs, 0)
        await listener.stopService()
        for service in (well, sick):
            await service.stopService()

    async def _goes_on(self, caller: Caller, service: Simulator) -> None:
        """The present session of the call is heard to its end, and answers."""
        greeting = sounds.prompt("greeting", "en", 8000)
        length = len(greeting)
        await self.until("the agent is heard", caller.heard_sound)
        await self.until(
            "the greeting in full",
            lambda: any(
                session.audio_ms and max(session.audio_ms.values()) >= PROMPT_S * 1000
                for session in service.sessions
            ),
        )
        frames = len(caller.heard)
        await self.until("frames", lambda: len(caller.heard) > frames + length)
        self.assertTrue(caller.is_up)
        self.assertNotIn(self.apology[640:-640], caller.heard)
        caller.hang_up()
        await self.until("it is over", lambda: not caller.is_up)

    async def _check_nothing_is_left(
        self, things: Counter[str], n_sockets: int, n_delayed: int
    ) -> None:
        await self.until("all sockets are closed", lambda: sockets() <= n_sockets)
        await self.until(
            "no delayed call is left",
            lambda: len(reactor.getDelayedCalls()) <= n_delayed,
        )
        self.assertEqual(objects() - things, Counter())

    def check_one_apology(self, found: list[LogEvent], reason: str) -> None:
        """@param reason: Something that the one line must say."""
        self.assertEqual([event["level"] for event in found], [LogLevel.error])
        self.assertIn("with an apology: ", found[0]["line"])
        self.assertIn(reason, found[0]["line"])

    def check_tried_again(self, found: list[LogEvent], reason: str) -> None:
        """One line for each attempt, and one for the apology."""
        *attempts, last = found
        self.assertGreater(len(attempts), 0)
        for event in attempts:
            self.assertIs(event["level"], LogLevel.warn)
            self.assertIn("lost the voice service: ", event["line"])
            self.assertIn(reason, event["line"])
        self.check_one_apology([last], reason)

    def check_one_warning(self, found: list[LogEvent], reason: str) -> None:
        self.assertEqual([event["level"] for event in found], [LogLevel.warn])
        self.assertIn(reason, found[0]["line"])


def refusal(status: int, code: str) -> Knobs:
    error = {"code": code, "message": f"Because: {code}"}
    return Knobs(refuse=(status, {"error": error}))


class HandshakeTests(FaultCase):
    async def test_a_wrong_key(self) -> None:
        found = await self.suffer(refusal(401, "invalid_api_key"))
        self.check_one_apology(found, "invalid_api_key")

    async def test_a_forbidden_model(self) -> None:
        found = await self.suffer(refusal(403, "model_not_allowed"))
        self.check_one_apology(found, "model_not_allowed")

    async def test_an_unknown_model(self) -> None:
        found = await self.suffer(refusal(404, "model_not_found"))
        self.check_one_apology(found, "model_not_found")

    async def test_an_account_without_credit(self) -> None:
        found = await self.suffer(refusal(429, "insufficient_quota"))
        self.check_one_apology(found, "insufficient_quota")

    async def test_too_many_sessions(self) -> None:
        found = await self.suffer(refusal(429, "rate_limit_exceeded"))
        self.check_tried_again(found, "rate_limit_exceeded")

    async def test_a_service_in_trouble(self) -> None:
        found = await self.suffer(refusal(500, "server_error"))
        self.check_tried_again(found, "server_error")

    async def test_nothing_listens_there(self) -> None:
        self.check_tried_again(await self.suffer(Knobs(), down=True), "connect")

    async def test_a_service_that_never_speaks(self) -> None:
        found = await self.suffer(Knobs(handshake=False))
        self.check_one_apology(found, "not ready within 1.5 s")

    async def test_a_service_that_never_begins_the_session(self) -> None:
        found = await self.suffer(Knobs(hide=frozenset({"session.created"})))
        self.check_one_apology(found, "not ready within 1.5 s")


class MessageTests(FaultCase):
    async def test_what_is_no_json(self) -> None:
        found = await self.suffer(Knobs(inject=("{not json",)), goes_on=True)
        self.check_one_warning(found, "what is no event")

    async def test_json_200000_deep(self) -> None:
        found = await self.suffer(Knobs(inject=("[" * 200_000,)), goes_on=True)
        self.check_one_warning(found, "what is no event")

    async def test_a_binary_message(self) -> None:
        found = await self.suffer(Knobs(inject=(b"\0\1\2",)), goes_on=True)
        self.check_one_warning(found, "binary")

    async def test_nothing_but_nonsense(self) -> None:
        found = await self.suffer(Knobs(inject=("nonsense",) * 30))
        self.assertIn("what is no event", found[0]["line"])
        self.assertIn("what are no events", found[-1]["line"])
        self.assertEqual(found[-1]["level"], LogLevel.error)

    async def test_audio_without_a_response(self) -> None:
        stray = {
            "type": "response.output_audio.delta",
            "event_id": "e1",
            "response_id": "r-none",
            "item_id": "i-none",
            "output_index": 0,
            "content_index": 0,
            "delta": "////",
        }
        done = {**stray, "type": "response.done", "response": {"id": "r-none"}}
        inject = (json.dumps(stray), json.dumps(done))
        await self.suffer(Knobs(inject=inject), goes_on=True)

    async def test_events_out_of_order(self) -> None:
        types = (
            "response.done",
            "response.output_audio.done",
            "input_audio_buffer.speech_stopped",
            "conversation.item.truncated",
            "session.created",
            "session.updated",
            "of.the.future",
        )
        inject = tuple(json.dumps({"type": type, "event_id": "e"}) for type in types)
        await self.suffer(Knobs(inject=inject), goes_on=True)


class ReplyTests(FaultCase):
    async def test_no_reply_ever(self) -> None:
        found = await self.suffer(Knobs(answers=False))
        self.check_one_warning(found[:1], "asking once more")
        self.check_one_apology(found[1:], "does not reply")

    async def test_a_reply_in_writing(self) -> None:
        found = await self.suffer(Knobs(text_only=True))
        self.assertIn("in writing only; asking for it", found[0]["line"])
        self.assertIn("in writing only; no more", found[1]["line"])
        self.check_one_apology(found[2:], "does not reply")

    async def test_one_reply_in_writing(self) -> None:
        found = await self.suffer(Knobs(text_replies=1), goes_on=True)
        self.check_one_warning(found, "in writing only; asking for it as speech")

    async def test_a_stall_in_mid_word(self) -> None:
        sick = Knobs(chunk_ms=50, mute_after_ms=100)
        found = await self.suffer(sick, Knobs(), goes_on=True)
        self.check_one_warning(found, "stopped in the middle of a reply")

    async def test_a_close_in_mid_word(self) -> None:
        sick = Knobs(chunk_ms=50, drop_after_ms=100, drop="close")
        found = await self.suffer(sick, Knobs(), goes_on=True)
        self.check_one_warning(found, "1011")

    async def test_a_socket_closed_in_mid_word(self) -> None:
        sick = Knobs(chunk_ms=50, drop_after_ms=100, drop="fin")
        found = await self.suffer(sick, Knobs(), goes_on=True)
        self.check_one_warning(found, "lost the voice service")

    async def test_a_socket_reset_in_mid_word(self) -> None:
        sick = Knobs(chunk_ms=50, drop_after_ms=100, drop="abort")
        found = await self.suffer(sick, Knobs(), goes_on=True)
        self.check_one_warning(found, "lost the voice service")

    async def test_every_reply_broken_in_mid_word(self) -> None:
        sick = Knobs(chunk_ms=50, drop_after_ms=100, drop="abort")
        self.check_tried_again(await self.suffer(sick), "")

    async def test_every_reply_fails(self) -> None:
        found = await self.suffer(Knobs(response_failed="insufficient_quota"))
        self.check_one_apology(found[-1:], "insufficient_quota")

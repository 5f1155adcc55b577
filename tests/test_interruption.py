"""
A caller who coughs, and one who speaks, while the agent does: a call from the bytes of
AudioSocket to the events of the service, on a clock that the test moves.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from portero.call import Call
from portero.interfaces import Brief, Transcription, TurnDetection
from portero.pacing import PTIME, TICK, MediaClock
from portero.providers._websocket import Socket
from portero.providers.openai import Conversation, Provider
from portero.sections import ProviderSettings
from portero.simulator.knobs import Knobs
from portero.simulator.persona import tone
from portero.simulator.session import Session
from portero.toolbox import Toolbox
from portero.transports.audiosocket import AudioSocketFactory, AudioSocketLeg
from portero.wire import audiosocket as wire
from tests.fake_call import assignment
from tests.fakes import FakeTransport

CALL_ID: Final = uuid.UUID(int=7)
FRAME: Final = 320
FADE: Final = 80
"""Bytes of 5 ms, by which sound is faded out before a pause and in after it."""
SILENT: Final = bytes(FRAME)
REPLY_MS: Final = 4000
HEADER: Final = 3


class Wire(Socket):
    """To a simulator without a network: what is due is said when the clock moves."""

    def __init__(self, conversation: Conversation, clock: Clock, knobs: Knobs) -> None:
        self.date = 0.0
        self.session = Session(knobs, "gpt-realtime-2.1", "en", 0)
        self.told: list[str] = []
        """Types of what the service was told, except for audio."""
        self._conversation = conversation
        self._clock = clock
        self._waiting: list[Any] = self.session.begin()

    def send(self, payload: bytes) -> None:
        event = json.loads(payload)
        if event["type"] != "input_audio_buffer.append":
            self.told.append(event["type"])
        self._waiting += self.session.receive(event, self._clock.seconds())

    def close(self) -> None:
        self._waiting.clear()

    def deliver(self) -> None:
        self._waiting += self.session.advance(self._clock.seconds())
        while self._waiting:
            event = self._waiting.pop(0)
            self._conversation.received(json.dumps(event).encode(), False)


class Service(Provider):
    """Whose conversations lead to simulators."""

    knobs = Knobs(reply=((0.0, REPLY_MS),))

    def connect(self, conversation: Conversation) -> Socket:
        self.wire = Wire(conversation, self._reactor, self.knobs)
        return self.wire


class House:
    """One call, with all that is between its caller and the service."""

    def __init__(self, interruption: str, idle_ms: int = 0, **settings: Any) -> None:
        self.clock = Clock()
        self.clock.advance(100.0)
        media = MediaClock(self.clock)
        service = Service(self.clock, ProviderSettings(), "key")
        instant = interruption == "instant"
        brief = Brief(
            str(CALL_ID),
            "Be brief.",
            turn_detection=TurnDetection(
                idle_timeout_ms=idle_ms,
                interrupt_response=instant,
                create_response=instant,
            ),
            transcription=Transcription("gpt-transcribe"),
        )
        toolbox = Toolbox((), self.clock, 1.0)
        settings["interruption"] = interruption
        given = replace(assignment(service, toolbox, **settings), brief=brief)
        self.calls: list[Call] = []
        self.over: list[Call] = []

        def answer(leg: AudioSocketLeg, call_id: str) -> Call:
            self.calls.append(Call(call_id, leg, given, self.clock, self.over.append))
            return self.calls[-1]

        factory = AudioSocketFactory(self.clock, media, answer)
        leg = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 40000))
        assert leg is not None
        self.leg = leg
        self.transport = FakeTransport()
        leg.makeConnection(self.transport)
        leg.dataReceived(wire.encode(wire.UUID, CALL_ID.bytes))
        self.call = self.calls[0]
        service.wire._conversation.opened()
        self.service = service.wire

    def say(self, seconds: float, pcm: bytes = b"") -> None:
        """The caller's side, for so long: this, and silence after it."""
        pcm = pcm.ljust(round(seconds / PTIME) * FRAME, b"\0")
        for start in range(0, len(pcm), FRAME):
            self.leg.dataReceived(wire.encode(wire.SLIN, pcm[start : start + FRAME]))
            for _ in range(round(PTIME / TICK)):
                self.clock.advance(TICK)
                self.service.deliver()

    @property
    def heard(self) -> list[bytes]:
        """All frames that left, each 20 ms."""
        return [
            data[HEADER:]
            for data in self.transport.writes
            if data[0] == wire.SLIN and len(data) == HEADER + FRAME
        ]

    @property
    def figures(self) -> tuple[int, int]:
        """Interruptions, and false ones."""
        found = self.call.snapshot()
        return found["barge_ins"], found["false_alarms"]


def first(frames: list[bytes], true: Callable[[bytes], bool], start: int = 0) -> int:
    return next(n for n in range(start, len(frames)) if true(frames[n]))


def differs(frames: list[bytes], others: list[bytes]) -> int:
    return next(n for n, frame in enumerate(frames) if frame != others[n])


def sounds(frame: bytes) -> bool:
    return frame != SILENT


class PoliteTests(SynchronousTestCase):
    def undisturbed(self) -> list[bytes]:
        house = House("polite")
        house.say(6.0)
        self.assertEqual(house.figures, (0, 0))
        return house.heard

    def test_a_cough_pauses_the_agent_which_resumes_at_the_exact_sample(self) -> None:
        calm = self.undisturbed()
        house = House("polite")
        house.say(1.0)
        house.say(7.0, tone(150))
        heard = house.heard
        tail = differs(heard, calm)
        # It faded out within one frame; that sound is heard again later, in full.
        self.assertEqual(heard[tail][FADE:], SILENT[FADE:])
        resumed = first(heard, sounds, tail + 1)
        self.assertGreater(resumed, tail + 5)
        self.assertEqual(heard[resumed][FADE:], calm[tail][FADE:])
        rest = calm[tail + 1 : first(calm, lambda f: not sounds(f), tail + 1)]
        self.assertGreater(len(rest), 100)
        self.assertEqual(heard[resumed + 1 : resumed + 1 + len(rest)], rest)
        self.assertEqual(house.figures, (0, 1))
        self.assertEqual(house.service.session.truncations, [])
        self.assertEqual(house.service.told.count("response.create"), 1)
        self.assertNotIn("response.cancel", house.service.told)
        self.assertEqual(house.leg.figures().underruns, 0)

    def test_it_pauses_within_a_frame_of_the_service_s_word(self) -> None:
        calm = self.undisturbed()
        house = House("polite")
        house.say(1.0)
        started = len(house.heard)
        house.say(1.0, tone(150))
        heard = house.heard
        tail = differs(heard, calm)
        # The simulator says so after three frames of sound.
        self.assertLessEqual(tail - started, 4)

    def test_a_sentence_cuts_where_it_paused_and_is_answered(self) -> None:
        house = House("polite")
        house.say(1.0)
        house.say(1.0, tone(1000))
        self.assertEqual(house.figures, (1, 0))
        ((_, cut_ms),) = house.service.session.truncations
        voiced = [frame for frame in house.heard if sounds(frame)]
        # All but the fade, which is not counted as heard.
        self.assertEqual(cut_ms, 20 * (len(voiced) - 1))
        before = len(house.heard)
        house.say(1.5)
        self.assertEqual(house.service.told.count("response.create"), 2)
        self.assertTrue(any(map(sounds, house.heard[before:])))

    def test_so_does_one_that_begins_while_the_service_still_replies(self) -> None:
        house = House("polite")
        house.service.session.knobs = Knobs(reply=((0.0, 60_000),), speed=1.1)
        house.say(1.0)
        house.say(1.0, tone(1000))
        self.assertEqual(house.service.told.count("response.cancel"), 1)
        self.assertEqual(len(house.service.session.truncations), 1)
        self.assertEqual(house.figures, (1, 0))

    def test_a_longer_sound_may_be_let_pass(self) -> None:
        house = House("polite", barge_in=0.8)
        house.say(1.0)
        house.say(3.0, tone(600))
        self.assertEqual(house.figures, (0, 1))
        self.assertEqual(house.service.session.truncations, [])

    def test_two_coughs_are_two_coughs(self) -> None:
        house = House("polite")
        house.say(1.0)
        for _ in range(2):
            house.say(1.2, tone(250))
        self.assertEqual(house.figures, (0, 2))


class SilentTests(SynchronousTestCase):
    """Nobody says anything; each reply, the greeting too, lasts 4 s."""

    def check_hung_up(self, house: House) -> None:
        self.assertEqual(house.transport.writes[-1], wire.encode(wire.HANGUP))
        self.assertEqual(house.call.reason, "nobody was speaking")

    def test_the_agent_asks_twice_and_then_it_is_over(self) -> None:
        house = House("instant", silence=10.0)
        asked = []
        for _ in range(50):
            house.say(1.0)
            asked.append(house.service.told.count("response.create"))
            if house.over:
                break
        # A greeting, and the questions 10 s after the end of what was heard.
        self.assertEqual([asked.count(n) for n in (1, 2)], [14, 14])
        # The goodbye lasts nearly 2 s.
        self.assertApproximates(house.call.seconds(), 3 * (4 + 10) + 1.7, 1.0)
        self.check_hung_up(house)

    def test_the_service_may_ask_instead(self) -> None:
        house = House("instant", idle_ms=5000, silence=60.0)
        for _ in range(50):
            house.say(1.0)
            if house.over:
                break
        self.assertEqual(house.service.told.count("response.create"), 1)
        # It counts from the end of what it sent, to which it adds the length.
        self.assertApproximates(house.call.seconds(), 3 * (0.65 + 4 + 5) + 1.7, 1.0)
        self.check_hung_up(house)

    def test_a_caller_who_coughs_is_there(self) -> None:
        house = House("polite", silence=10.0)
        for _ in range(12):
            house.say(5.0, tone(150))
        self.assertEqual(house.over, [])


class OtherTests(SynchronousTestCase):
    def test_at_once_a_cough_is_an_interruption(self) -> None:
        house = House("instant")
        house.say(1.0)
        house.say(1.0, tone(150))
        self.assertEqual(house.figures, (1, 0))
        self.assertEqual(len(house.service.session.truncations), 1)

    def test_off_the_agent_speaks_to_its_end_and_answers_then(self) -> None:
        calm = House("off")
        calm.say(6.0)
        house = House("off")
        house.say(1.0)
        house.say(8.0, tone(1000))
        end = max(n for n, frame in enumerate(calm.heard) if sounds(frame))
        self.assertEqual(house.heard[: end + 1], calm.heard[: end + 1])
        self.assertEqual(house.figures, (0, 0))
        self.assertEqual(house.service.session.truncations, [])
        self.assertEqual(house.service.told.count("response.create"), 2)
        self.assertTrue(any(map(sounds, house.heard[end + 1 :])))

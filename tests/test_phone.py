"""Tests of L{portero.phone}: the script on a fake clock."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from portero.audio import silence
from portero.linecheck import Report
from portero.phone import Phone, Plan
from portero.wire import audiosocket as wire

SILENCE = silence(160)
SOUND = np.full(160, 3000, "<i2").tobytes()
SPEECH = tuple(np.full(160, 1000 + n, "<i2").tobytes() for n in range(50))
TICK = 0.005

Agent = Callable[[float], bool]


def quiet(at: float) -> bool:
    return False


def between(*spans: tuple[float, float]) -> Agent:
    return lambda at: any(start <= at < end for start, end in spans)


class PhoneTransport(StringTransport):
    """Records what C{StringTransport} does not know."""

    no_delay = False
    write_closed = False

    def setTcpNoDelay(self, enabled: bool) -> None:
        self.no_delay = enabled

    def loseWriteConnection(self) -> None:
        self.write_closed = True


class ScriptTests(SynchronousTestCase):
    def call(self, **plan: Any) -> None:
        self.clock = Clock()
        self.transport = PhoneTransport()
        self.watched: list[float] = []
        self.phone = Phone(
            self.clock, Plan(**plan), lambda line, now: self.watched.append(now)
        )
        self.reports: list[Report] = []
        self.phone.ended.addCallback(self.reports.append)
        self.sent: list[tuple[float, int, bytes]] = []
        self.decoder = wire.Decoder(
            lambda kind, payload: self.sent.append(
                (self.clock.seconds(), kind, payload)
            ),
            lambda kind, length: self.fail("too long"),
        )
        self.phone.makeConnection(self.transport)
        self.collect()

    def collect(self) -> None:
        self.decoder.feed(self.transport.value())
        self.transport.clear()

    def talk(self, seconds: float, agent: Agent = quiet) -> None:
        """Let time pass; C{agent} says when the far side sounds."""
        for tick in range(round(seconds / TICK)):
            if tick % 4 == 0 and not self.transport.write_closed:
                sound = SOUND if agent(self.clock.seconds()) else SILENCE
                self.phone.dataReceived(wire.encode(wire.SLIN, sound))
            self.clock.advance(TICK)
            self.collect()

    def lose(self, kind: type[Exception] = ConnectionDone) -> Report:
        self.phone.connectionLost(Failure(kind()))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        (report,) = self.reports
        return report

    def moments(self, payload: bytes) -> list[float]:
        return [round(at, 3) for at, _, sent in self.sent if sent == payload]

    def hung_up_at(self) -> float | None:
        moments = [at for at, kind, _ in self.sent if kind == wire.HANGUP]
        return moments[0] if moments else None

    def test_says_its_call_id_first_and_at_once(self) -> None:
        call_id = uuid.uuid4()
        self.call(call_id=call_id)
        self.assertEqual(self.sent, [(0.0, wire.UUID, call_id.bytes)])
        self.assertTrue(self.transport.no_delay)
        self.lose()

    def test_sends_a_frame_every_20_ms(self) -> None:
        self.call()
        self.talk(0.99)
        audio = [(at, payload) for at, kind, payload in self.sent if kind == wire.SLIN]
        self.assertEqual(len(audio), 50)
        for n, (at, payload) in enumerate(audio):
            self.assertLess(abs(at - n * 0.02), 0.0051)
            self.assertEqual(payload, SILENCE)
        self.lose()

    def test_sends_the_kind_of_its_rate(self) -> None:
        self.call(rate=16000)
        self.talk(0.1)
        self.assertEqual(
            {(kind, len(payload)) for _, kind, payload in self.sent[1:]}, {(0x12, 640)}
        )
        self.lose()

    def test_speaks_when_the_greeting_has_been_over_for_a_second(self) -> None:
        self.call(speech=SPEECH)
        self.talk(6, between((0.5, 1.5), (1.8, 3.0)))
        (began,) = self.moments(SPEECH[0])
        self.assertTrue(4.0 <= began < 4.05, began)
        self.lose()

    def test_sends_the_speech_whole_and_in_order(self) -> None:
        self.call(speech=SPEECH, say_after=0.0)
        self.talk(2)
        self.assertEqual([payload for _, _, payload in self.sent[1:51]], list(SPEECH))
        self.assertEqual(self.sent[51][2], SILENCE)
        self.lose()

    def test_speaks_at_a_given_moment(self) -> None:
        self.call(speech=SPEECH, say_after=0.5)
        self.talk(2, between((0.0, 2.0)))
        (began,) = self.moments(SPEECH[0])
        self.assertTrue(0.5 <= began < 0.53, began)
        self.lose()

    def test_speaks_after_ten_seconds_at_the_latest(self) -> None:
        self.call(speech=SPEECH)
        self.talk(11, between((9.5, 11.0)))
        (began,) = self.moments(SPEECH[0])
        self.assertTrue(10.0 <= began < 10.03, began)
        self.lose()

    def test_hangs_up_when_the_answer_has_been_over_for_three_seconds(self) -> None:
        self.call(speech=SPEECH, say_after=0.0)
        self.talk(9, between((2.0, 4.0)))
        hung_up = self.hung_up_at()
        assert hung_up is not None
        # One second to know that the answer is over; from then on it lingers.
        self.assertTrue(8.0 <= hung_up < 8.07, hung_up)
        self.assertTrue(self.transport.write_closed)
        self.assertFalse(self.transport.disconnecting)
        report = self.lose()
        self.assertEqual(report.ended, "hung up by us (0x00, FIN)")
        self.assertEqual(len(report.answers_ms), 1)

    def test_sends_nothing_after_its_hang_up(self) -> None:
        self.call(seconds=0.5)
        self.talk(1)
        self.assertEqual(self.sent[-1][1], wire.HANGUP)
        self.assertIn("limit", self.lose().ended)

    def test_repeats_after_each_answer(self) -> None:
        self.call(speech=SPEECH, say_after=0.0, plays=2)
        self.talk(6, between((2.0, 3.0)))
        _, second = self.moments(SPEECH[0])
        self.assertTrue(4.0 <= second < 4.07, second)
        self.lose()

    def test_barges_in_as_soon_as_the_answer_sounds(self) -> None:
        self.call(speech=SPEECH, say_after=0.0, plays=2, barge_in=True)
        self.talk(5, between((2.0, 2.2)))
        _, second = self.moments(SPEECH[0])
        self.assertTrue(2.0 <= second < 2.05, second)
        (tail,) = self.lose().tails_ms
        assert tail is not None
        self.assertLess(abs(tail - (2.2 - second) * 1000), 25)

    def test_presses_digits_after_the_answer(self) -> None:
        self.call(speech=SPEECH, say_after=0.0, digits="1#")
        self.talk(6, between((2.0, 3.0)))
        (one,), (hash,) = self.moments(b"1"), self.moments(b"#")
        self.assertGreater(one, 4.0)
        self.assertTrue(0.5 <= hash - one < 0.53, hash - one)
        self.lose()

    def test_sends_no_audio_during_a_digit(self) -> None:
        self.call(say_after=0.0, digits="5")
        self.talk(1)
        pressed = [at for at, kind, _ in self.sent if kind == wire.DTMF]
        audio = [at for at, kind, _ in self.sent if kind == wire.SLIN]
        self.assertEqual(len(pressed), 1)
        self.assertAlmostEqual(pressed[0], 0.16, 2)
        self.assertAlmostEqual(audio[0], 0.24, 2)
        self.lose()

    def test_a_far_end_that_hangs_up_is_reported(self) -> None:
        self.call()
        self.talk(1)
        self.phone.dataReceived(wire.encode(wire.HANGUP))
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.lose().ended, "the far end hung up (0x00)")

    def test_a_far_end_that_closes_is_reported(self) -> None:
        self.call()
        self.assertIn("(FIN, without 0x00)", self.lose().ended)

    def test_a_far_end_that_resets_is_reported(self) -> None:
        self.call()
        self.assertIn("(RST)", self.lose(ConnectionLost).ended)

    def test_does_not_wait_for_ever_for_a_far_end_that_never_closes(self) -> None:
        self.call(seconds=1)
        self.talk(2.5)
        self.assertFalse(self.transport.disconnecting)
        self.talk(1)
        self.assertTrue(self.transport.disconnecting)
        self.lose()

    def test_stops_politely_and_says_when_it_has(self) -> None:
        self.call()
        self.talk(1)
        stopped = self.phone.stop()
        self.collect()
        self.assertEqual(self.sent[-1][1], wire.HANGUP)
        self.assertNoResult(stopped)
        self.assertIn("interrupted", self.lose().ended)
        self.successResultOf(stopped)

    def test_messages_that_asterisk_does_not_take_are_counted(self) -> None:
        self.call()
        self.phone.dataReceived(wire.encode(wire.DTMF, b"1") * 2)
        self.assertEqual(list(self.lose().oddities.values()), [2])

    def test_hangs_up_on_what_is_no_audiosocket(self) -> None:
        self.call()
        self.phone.dataReceived(b"\x10\xff\xff")
        self.assertIn("is this AudioSocket?", self.lose().ended)

    def test_hangs_up_on_a_flood(self) -> None:
        self.call()
        self.phone.dataReceived(wire.encode(wire.SLIN, SOUND) * 50 * 61)
        self.assertIn("ahead of its time", self.lose().ended)

    def test_is_watched_ten_times_a_second(self) -> None:
        self.call()
        self.talk(1)
        self.assertEqual(len(self.watched), 10)
        self.lose()

"""Tests for L{portero.transports.audiosocket}."""

from __future__ import annotations

import gc
import socket
import struct
import uuid
import weakref
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any, cast

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.application.service import IService
from twisted.internet import reactor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyClass, verifyObject

from portero.audio import alaw_encode, ulaw_encode
from portero.interfaces import ILeg, ILegEvents, IMediaTransport
from portero.networks import Network
from portero.pacing import PTIME, TICK, MediaClock
from portero.transports._admission import MOST_UNIDENTIFIED
from portero.transports.audiosocket import (
    CLOSE_WITHIN,
    IDENTIFY_WITHIN,
    SILENT_LINE,
    AudioSocketFactory,
    AudioSocketLeg,
    AudioSocketReceiver,
    Transport,
)
from portero.wire import audiosocket as wire
from tests import leg_conformance
from tests.fakes import FakeLegEvents, FakeTransport
from tests.leg_conformance import GONE_BY_HANG_UP, FarEnd, speech

CALL_ID = uuid.UUID("6f9b1f0e-58a5-4a5e-9a3c-0b7d2f0c1e55")
IDENTITY = wire.encode(wire.UUID, CALL_ID.bytes)
SILENT_FRAME = wire.encode(wire.SLIN, bytes(320))


class LegCase(SynchronousTestCase):
    """A factory whose calls are all taken, and time that passes tick by tick."""

    allow: Sequence[Network] = ()
    downlink_rate = 0

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(100.0)
        self.media = MediaClock(self.clock)
        self.taken: list[tuple[Any, str]] = []
        self.events = FakeLegEvents()
        self.takes = True
        self.factory = AudioSocketFactory(
            self.clock,
            self.media,
            self.calls,
            allow=self.allow,
            downlink_rate=self.downlink_rate,
        )

    def calls(self, leg: Any, call_id: str) -> FakeLegEvents | None:
        self.taken.append((leg, call_id))
        return self.events if self.takes else None

    def connect(self, host: str = "192.0.2.1") -> tuple[AudioSocketLeg, FakeTransport]:
        leg = self.factory.buildProtocol(IPv4Address("TCP", host, 40000))
        assert leg is not None
        transport = FakeTransport(host)
        leg.makeConnection(transport)
        return leg, transport

    def call(self) -> tuple[AudioSocketLeg, FakeTransport]:
        leg, transport = self.connect()
        leg.dataReceived(IDENTITY)
        return leg, transport

    def talk(
        self, leg: AudioSocketLeg, seconds: float, message: bytes = SILENT_FRAME
    ) -> None:
        """The far end sends C{message} every 20 ms."""
        for _ in range(round(seconds / PTIME)):
            leg.dataReceived(message)
            self.pass_time(PTIME)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.clock.advance(TICK)

    def logged(self, captured: Sequence[Any]) -> list[str]:
        return [
            event["log_format"].format(**event)
            for event in captured
            if event["log_level"].name in ("warn", "error", "critical")
        ]

    def assert_released(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.media.legs, 0)


class FakesTests(SynchronousTestCase):
    def test_the_fakes_provide_what_they_stand_for(self) -> None:
        self.assertTrue(verifyObject(ILegEvents, FakeLegEvents()))
        self.assertTrue(issubclass(FakeTransport, StringTransport))


class InterfaceTests(LegCase):
    def test_the_module_provides_a_transport_and_a_leg(self) -> None:
        leg, _ = self.call()
        self.assertTrue(verifyClass(IMediaTransport, Transport))
        self.assertTrue(verifyObject(ILeg, leg))
        self.assertTrue(verifyObject(IPushProducer, leg))

    def test_it_listens_where_it_is_told(self) -> None:
        memory = MemoryReactorClock()
        service = Transport(memory, self.media, allow=()).listen(
            "tcp:8089:interface=127.0.0.1", self.calls
        )
        self.assertTrue(verifyObject(IService, service))
        service.startService()
        self.assertEqual(memory.tcpServers[0][0], 8089)


class AsteriskEnd(FarEnd):
    rate = 8000

    def __init__(self, leg: AudioSocketLeg, transport: FakeTransport) -> None:
        self.leg = leg
        self.transport = transport

    def speak(self, pcm: bytes) -> None:
        self.leg.dataReceived(wire.encode(wire.SLIN, pcm))

    def press(self, key: str) -> None:
        self.leg.dataReceived(wire.encode(wire.DTMF, key.encode("latin-1")))

    def send_nonsense(self) -> None:
        self.leg.dataReceived(wire.encode(0x42, b"?"))

    def hang_up(self) -> None:
        self.leg.dataReceived(wire.encode(wire.HANGUP))

    def lose(self, reason: Failure | None = None) -> None:
        self.leg.connectionLost(*([reason] if reason else []))

    def frames(self) -> list[bytes]:
        audio = wire.HEADER.pack(wire.SLIN, 320)
        writes = self.transport.take()
        return [write[3:] for write in writes if write.startswith(audio)]


class ConformanceTests(leg_conformance.LegConformance):
    """As a leg that has said its id."""

    def far_end(self) -> FarEnd:
        factory = AudioSocketFactory(self.clock, self.media, self.calls)
        leg = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 40000))
        assert leg is not None
        transport = FakeTransport()
        leg.makeConnection(transport)
        leg.dataReceived(IDENTITY)
        return AsteriskEnd(leg, transport)


class ReceiverTests(SynchronousTestCase):
    def test_it_closes_at_a_message_that_is_too_long(self) -> None:
        receiver, transport = AudioSocketReceiver(), FakeTransport()
        receiver.makeConnection(transport)
        receiver.dataReceived(b"\x10\xff\xff")
        self.assertEqual(transport.asked, ["loseConnection"])

    def test_a_message_is_sent_in_one_write(self) -> None:
        receiver, transport = AudioSocketReceiver(), FakeTransport()
        receiver.makeConnection(transport)
        receiver.sendMessage(wire.DTMF, b"1")
        self.assertEqual(transport.writes, [b"\x03\x00\x011"])

    def test_messages_may_be_ignored(self) -> None:
        receiver = AudioSocketReceiver()
        receiver.makeConnection(FakeTransport())
        receiver.dataReceived(IDENTITY + SILENT_FRAME)


class IdentifyingTests(LegCase):
    def test_the_call_id_is_asked_about_once_and_the_leg_is_told(self) -> None:
        leg, transport = self.call()
        self.assertEqual(self.taken, [(leg, str(CALL_ID))])
        self.assertEqual(self.events.told, [("identified",)])
        self.assertEqual(leg.call_id, str(CALL_ID))
        self.assertEqual(leg.peer, "192.0.2.1:40000")
        self.assertTrue(transport.no_delay)

    def test_without_an_id_nothing_is_sent_and_two_seconds_are_the_limit(self) -> None:
        leg, transport = self.connect()
        leg.dataReceived(IDENTITY[:18])
        self.pass_time(IDENTIFY_WITHIN - 0.1)
        self.assertEqual(transport.asked, [])
        with capturedLogs() as captured:
            self.pass_time(0.2)
        self.assertEqual(transport.asked, ["abortConnection"])
        (line,) = self.logged(captured)
        self.assertIn("192.0.2.1 refused: said no call id", line)
        leg.connectionLost()
        self.assert_released()

    def test_an_id_just_in_time_is_taken(self) -> None:
        leg, transport = self.connect()
        self.pass_time(IDENTIFY_WITHIN - 0.01)
        leg.dataReceived(IDENTITY)
        self.talk(leg, 5)
        self.assertNotIn("abortConnection", transport.asked)

    def assert_refused(self, data: bytes, why: str) -> None:
        leg, transport = self.connect()
        with capturedLogs() as captured:
            leg.dataReceived(data + IDENTITY + SILENT_FRAME)
        self.assertEqual(transport.asked, ["abortConnection"])
        self.assertEqual(self.taken, [])
        (line,) = self.logged(captured)
        self.assertIn(why, line)
        leg.connectionLost()
        self.assert_released()
        self.clock.advance(2)

    def test_what_is_no_audiosocket_is_refused_with_the_reason(self) -> None:
        for length in (0, 15, 17, 36):
            data = wire.encode(wire.UUID, bytes(length))
            self.assert_refused(data, f"a call id has 16 bytes, not {length}")
        self.assert_refused(SILENT_FRAME, "audio came before the call id")
        self.assert_refused(wire.encode(wire.SLIN), "audio came before the call id")
        self.assert_refused(wire.encode(wire.DTMF, b"1"), "a digit came before")
        self.assert_refused(b"\x10\xff\xff", "65535 bytes, 3200 is the most")

    def test_unknown_kinds_before_the_id_are_skipped(self) -> None:
        leg, _ = self.connect()
        leg.dataReceived(wire.encode(0x42, b"?") + IDENTITY)
        self.assertEqual(self.events.told, [("identified",)])
        self.assertEqual(leg.figures().oddities, {"unknown kinds": 1})

    def test_a_hang_up_before_the_id_closes(self) -> None:
        leg, transport = self.connect()
        leg.dataReceived(wire.encode(wire.HANGUP))
        self.assertEqual(transport.asked[-1], "loseWriteConnection")
        leg.connectionLost()
        self.assert_released()

    def test_a_refused_call_is_reset(self) -> None:
        self.takes = False
        leg, transport = self.connect()
        leg.dataReceived(IDENTITY + SILENT_FRAME)
        self.assertEqual(transport.asked, ["abortConnection"])
        leg.connectionLost()
        self.assert_released()
        self.assertEqual(self.events.told, [])

    def test_a_second_id_is_ignored_and_counted(self) -> None:
        leg, _ = self.call()
        with capturedLogs() as captured:
            leg.dataReceived(wire.encode(wire.UUID, bytes(16)) * 2)
        self.assertEqual(len(self.taken), 1)
        self.assertEqual(leg.figures().oddities, {"repeated call ids": 2})
        self.assertEqual(len(self.logged(captured)), 1)


class AdmissionTests(LegCase):
    allow = (ip_network("192.0.2.0/28"), ip_network("2001:db8::/32"))

    def build(self, host: str, kind: Any = IPv4Address) -> Any:
        return self.factory.buildProtocol(kind("TCP", host, 40000))

    def test_only_the_allowed_networks_are_let_in(self) -> None:
        self.assertIsNotNone(self.build("192.0.2.15"))
        self.assertIsNone(self.build("192.0.2.16"))
        self.assertIsNotNone(self.build("2001:db8::1", IPv6Address))
        self.assertIsNone(self.build("2001:db9::1", IPv6Address))
        self.assertIsNone(self.build("::1", IPv6Address))

    def test_a_mapped_address_is_the_ipv4_address_it_stands_for(self) -> None:
        self.assertIsNotNone(self.build("::ffff:192.0.2.1", IPv6Address))
        self.assertIsNone(self.build("::ffff:192.0.3.1", IPv6Address))

    def test_an_address_may_have_a_zone(self) -> None:
        self.assertIsNone(self.build("fe80::1%eth0", IPv6Address))

    def test_a_local_socket_needs_no_network(self) -> None:
        self.assertIsNotNone(self.factory.buildProtocol(UNIXAddress("/run/portero")))

    def test_each_source_is_told_of_at_most_once_a_second(self) -> None:
        with capturedLogs() as captured:
            for _ in range(20):
                self.build("198.51.100.1")
                self.build("198.51.100.2")
                self.pass_time(0.1)
        lines = self.logged(captured)
        self.assertEqual(len(lines), 4)
        self.assertIn("198.51.100.1 refused: not in the allowed networks", lines[0])
        self.assertIn("10 more", lines[2])

    def test_many_sources_are_not_remembered_for_ever(self) -> None:
        with capturedLogs():
            for n in range(3000):
                self.build(f"10.0.{n // 256}.{n % 256}")
        self.assertLessEqual(len(self.factory.admission._refused), 1000)


class UnidentifiedLimitTests(LegCase):
    def test_a_source_may_have_so_many_and_others_are_not_touched(self) -> None:
        legs = [self.connect()[0] for _ in range(MOST_UNIDENTIFIED)]
        address = IPv4Address("TCP", "192.0.2.1", 1)
        with capturedLogs() as captured:
            self.assertIsNone(self.factory.buildProtocol(address))
        self.assertIn("too many connections", self.logged(captured)[0])
        self.connect("192.0.2.2")
        legs[0].dataReceived(IDENTITY)
        legs[1].connectionLost()
        self.connect()
        self.connect()
        self.assertIsNone(self.factory.buildProtocol(address))

    def test_nothing_is_left_of_connections_that_ended(self) -> None:
        for _ in range(3 * MOST_UNIDENTIFIED):
            leg, _ = self.connect()
            leg.connectionLost()
            leg, _ = self.call()
            leg.connectionLost()
        self.assertEqual(self.factory.admission._unidentified, {})
        self.assert_released()


class DownlinkTests(LegCase):
    downlink_rate = 24000

    def test_the_option_sends_24_khz_to_an_8_khz_caller(self) -> None:
        leg, transport = self.call()
        self.talk(leg, 0.1)
        self.assertEqual(set(transport.writes), {wire.encode(0x13, bytes(960))})
        self.assertEqual((leg.agent_rate, leg.caller_rate), (24000, 8000))
        self.assertEqual(transport.bufferSize, 96000)


class PlayoutOptionsTests(LegCase):
    """The options of the transport, as each of its legs obeys them."""

    far: FakeTransport

    def leg(self, **options: Any) -> AudioSocketLeg:
        memory = MemoryReactorClock()
        service = Transport(memory, self.media, **options).listen(
            "tcp:8089:interface=127.0.0.1", self.calls
        )
        service.startService()
        factory = memory.tcpServers[0][1]
        leg = factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 1))
        assert isinstance(leg, AudioSocketLeg)
        self.far = FakeTransport()
        leg.makeConnection(self.far)
        leg.dataReceived(IDENTITY)
        self.far.take()
        return leg

    def frame(self, leg: AudioSocketLeg) -> bytes:
        leg.frame_due(0.0)
        (frame,) = self.far.take()
        return bytes(frame)

    def test_as_many_frames_are_gathered_as_are_asked_for(self) -> None:
        leg = self.leg(prebuffer_frames=7)
        self.assertEqual(leg.figures().prefill_ms, 140)
        leg.play("a", speech(7 * 160 - 1))
        self.assertEqual(self.frame(leg), SILENT_FRAME)
        leg.play("a", speech(1))
        self.assertNotEqual(self.frame(leg), SILENT_FRAME)

    def test_usually_it_is_found_out_how_many_are_needed(self) -> None:
        leg = self.leg()
        self.assertEqual(leg.figures().prefill_ms, 60)
        leg.play("a", speech(3 * 160))
        self.assertNotEqual(self.frame(leg), SILENT_FRAME)

    def test_no_more_frames_wait_than_are_asked_for(self) -> None:
        leg = self.leg(queue_frames=100, downlink_rate=24000)
        self.assertFalse(leg.play("a", bytes(100 * 960 + 2)))
        self.assertTrue(leg.play("a", bytes(100 * 960)))
        self.assertFalse(leg.play("a", bytes(2)))

    def test_usually_ten_minutes_may_wait(self) -> None:
        for options in ({}, {"queue_frames": 0}):
            leg = self.leg(**options)
            self.assertTrue(leg.play("a", bytes(600 * 16000)))
            self.assertFalse(leg.play("a", bytes(2)))


class WidebandTests(LegCase):
    def test_a_wider_kind_is_answered_with_24_khz(self) -> None:
        for kind in range(0x11, 0x19):
            leg, transport = self.call()
            frame = wire.encode(kind, bytes(round(wire.RATES[kind] * PTIME) * 2))
            self.pass_time(0.04)
            self.assertEqual(leg.agent_rate, 8000)
            transport.take()
            self.talk(leg, 0.1, frame)
            self.assertEqual(set(transport.writes), {wire.encode(0x13, bytes(960))})
            self.assertEqual(leg.caller_rate, wire.RATES[kind])
            self.assertEqual(leg.agent_rate, 24000)
            self.assertEqual(transport.bufferSize, 96000)
            leg.connectionLost()

    def test_the_rate_changes_after_what_is_sounding(self) -> None:
        leg, transport = self.call()
        leg.play("a", speech(1600))
        self.talk(leg, 0.1, wire.encode(0x12, bytes(640)))
        self.assertEqual(leg.agent_rate, 8000)
        leg.end_of_item("a")
        self.talk(leg, 0.2, wire.encode(0x12, bytes(640)))
        self.assertEqual({write[0] for write in transport.take()}, {wire.SLIN})
        self.assertEqual(leg.agent_rate, 24000)
        self.talk(leg, 0.1, wire.encode(0x12, bytes(640)))
        self.assertEqual({write[0] for write in transport.take()}, {0x13})

    def test_the_callers_kind_may_change_in_mid_call(self) -> None:
        leg, _ = self.call()
        leg.dataReceived(
            wire.encode(0x12, speech(320)) + wire.encode(0x10, speech(160))
        )
        self.assertEqual(leg.caller_rate, 8000)
        self.assertEqual(self.events.audio, [speech(320), speech(160)])


class HearingTests(LegCase):
    def test_audio_of_any_length_is_passed_on_at_once(self) -> None:
        leg, _ = self.call()
        for size in (2, 320, 480, 640, 3200):
            leg.dataReceived(wire.encode(wire.SLIN, speech(size // 2)))
            self.assertEqual(self.events.audio.pop(), speech(size // 2))
        self.assertEqual(leg.figures().frames_received, 5)

    def test_after_ten_seconds_without_audio_the_call_is_hung_up(self) -> None:
        leg, transport = self.call()
        self.talk(leg, 1)
        self.pass_time(SILENT_LINE - 0.1)
        self.assertEqual(len(self.events.told), 1)
        self.pass_time(0.2)
        self.assertEqual(
            self.events.told[1:], [("gone", "no audio from Asterisk for 10 s", False)]
        )
        self.assertEqual(transport.writes[-1], wire.encode(wire.HANGUP))
        self.assertLessEqual(abs(sum(map(len, self.events.audio)) / 16000 - 11), 0.05)

    def test_one_that_says_its_id_and_no_more_is_hung_up_too(self) -> None:
        self.call()
        self.pass_time(SILENT_LINE + 0.1)
        self.assertEqual(self.events.told[-1][0], "gone")

    def test_other_messages_are_no_audio(self) -> None:
        leg, _ = self.call()
        self.talk(leg, SILENT_LINE + 0.1, wire.encode(0x42) + wire.encode(wire.SLIN))
        self.assertEqual(self.events.told[-1][0], "gone")

    def test_digits_are_told_and_what_is_none_is_counted(self) -> None:
        leg, _ = self.call()
        for digit in b"0123456789*#ABCDabcd":
            leg.dataReceived(wire.encode(wire.DTMF, bytes([digit])))
        told = "".join(event[1] for event in self.events.told[1:])
        self.assertEqual(told, "0123456789*#ABCDABCD")
        with capturedLogs() as captured:
            for broken in (b"", b"E", b"12", b"\n", b"\xdf", bytes(65535)):
                leg.dataReceived(wire.encode(wire.DTMF, broken))
        self.assertEqual(len(self.events.told), 21)
        self.assertEqual(leg.figures().oddities, {"broken digits": 6})
        self.assertEqual(len(self.logged(captured)), 1)

    def test_unknown_kinds_are_counted_and_logged_once(self) -> None:
        leg, _ = self.call()
        with capturedLogs() as captured:
            for kind in (0x02, 0x04, 0x0F, 0x19, 0xFE) * 10:
                leg.dataReceived(wire.encode(kind, b"?" * 100))
        self.assertEqual(leg.figures().oddities, {"unknown kinds": 50})
        (line,) = self.logged(captured)
        self.assertIn(str(CALL_ID), line)
        self.assertIn("kind 0x02", line)

    def test_an_error_message_is_counted_and_short_in_the_log(self) -> None:
        leg, _ = self.call()
        with capturedLogs() as captured:
            leg.dataReceived(wire.encode(wire.ERROR, b"\x04" * 60000))
        self.assertEqual(leg.figures().oddities, {"errors from Asterisk": 1})
        (line,) = self.logged(captured)
        self.assertIn("error 0404", line)
        self.assertLess(len(line), 200)

    def test_a_message_that_is_too_long_ends_the_call(self) -> None:
        leg, transport = self.call()
        with capturedLogs() as captured:
            leg.dataReceived(wire.encode(0x10, bytes(3202)) + SILENT_FRAME)
        self.assertEqual(self.events.told[1:], [("gone", "protocol error", False)])
        self.assertEqual(self.events.audio, [])
        self.assertEqual(transport.writes[-1], wire.encode(wire.HANGUP))
        self.assertIn(str(CALL_ID), self.logged(captured)[0])

    @settings(deadline=None)
    @given(st.binary(max_size=300), st.booleans())
    def test_no_bytes_raise(self, data: bytes, identified: bool) -> None:
        self.setUp()
        leg, _ = self.call() if identified else self.connect()
        with capturedLogs():
            leg.dataReceived(data)
            self.pass_time(0.1)
            leg.hang_up()
            leg.connectionLost()
        self.assert_released()


class CompandedTests(LegCase):
    """20 ms of G.711 under the name of slin, and 10 ms of slin, have 160 bytes."""

    def send(self, data: bytes, interval: float, n: int) -> list[str]:
        self.leg, _ = self.call()
        with capturedLogs() as captured:
            for i in range(n):
                self.leg.dataReceived(wire.encode(0x10, data[i * 160 : (i + 1) * 160]))
                self.pass_time(interval)
        self.heard = b"".join(self.events.audio)
        return self.logged(captured)

    def assert_level(self, most: int) -> None:
        self.assertLess(int(np.abs(np.frombuffer(self.heard, "<i2")).max()), most)

    def test_speech_in_either_law_is_recognised_and_decoded(self) -> None:
        for encode, law in ((ulaw_encode, "mu-law"), (alaw_encode, "A-law")):
            self.setUp()
            (line,) = self.send(encode(speech(16000)), PTIME, 100)
            self.assertIn(f"sends {law} under the name of slin", line)
            self.assertIn("Dial(AudioSocket/HOST:PORT/${UUID()}/c(slin16),,g)", line)
            self.assertEqual(self.leg.figures().oddities, {"companded audio": 1})
            self.assertLessEqual(abs(len(self.heard) / 16000 - 2), 0.021)
            # Not a moment of it is the noise that the wrong reading gives.
            self.assert_level(15000)
            # Speech of the second half, to the quantiser's step.
            end = np.frombuffer(self.heard[-8000:], "<i2").astype(float)
            meant = np.frombuffer(speech(16000)[-8000:], "<i2").astype(float)
            self.assertLess(np.abs(end - meant).max(), 600)

    def test_only_what_is_called_slin_is_decoded(self) -> None:
        self.send(ulaw_encode(speech(8000)), PTIME, 50)
        self.leg.dataReceived(wire.encode(0x12, speech(320, 16000)))
        self.assertEqual(self.events.audio[-1], speech(320, 16000))

    def test_a_silent_mu_law_caller_is_recognised_by_the_time_between_frames(
        self,
    ) -> None:
        (line,) = self.send(b"\xff" * 160 * 60, PTIME, 60)
        self.assertIn("mu-law", line)
        self.assert_level(10)
        self.assertLessEqual(abs(len(self.heard) / 16000 - 1.2), 0.021)

    def test_ten_ms_of_slin_are_not_mistaken(self) -> None:
        self.assertEqual(self.send(speech(16000), 0.01, 200), [])
        self.assertEqual(self.heard[-8000:], speech(16000)[-8000:])
        self.assertLessEqual(abs(len(self.heard) / 16000 - 2), 0.041)

    def test_a_silent_caller_with_ten_ms_packets_is_not_mistaken(self) -> None:
        self.assertEqual(self.send(b"\xff" * 160 * 100, 0.01, 100), [])
        self.assertEqual(self.leg.figures().oddities, {})
        self.assertLessEqual(abs(len(self.heard) / 16000 - 1), 0.041)

    def test_usual_frames_are_not_looked_at(self) -> None:
        leg, _ = self.call()
        mu_law = ulaw_encode(speech(320))
        with capturedLogs() as captured:
            self.talk(leg, 0.2, wire.encode(0x10, mu_law))
        self.assertEqual(self.logged(captured), [])
        self.assertEqual(self.events.audio[0], mu_law)


class EndingTests(LegCase):
    def test_we_hang_up_with_0x00_and_then_close_our_half(self) -> None:
        leg, transport = self.call()
        self.talk(leg, 0.1)
        leg.play("a", speech(8000))
        transport.asked.clear()
        leg.hang_up()
        self.assertEqual(transport.asked, ["write", "loseWriteConnection"])
        self.assertEqual(transport.writes[-1], wire.encode(wire.HANGUP))
        self.assertEqual(self.events.told[1:], [GONE_BY_HANG_UP])
        leg.dataReceived(SILENT_FRAME * 10)
        self.pass_time(1)
        leg.connectionLost()
        self.assert_released()
        self.assertEqual(len(self.events.told), 2)
        self.assertEqual(transport.asked, ["write", "loseWriteConnection"])

    def test_fin_rst_and_0x00_are_normal_ends(self) -> None:
        for how in (None, Failure(ConnectionLost())):
            self.setUp()
            leg, _ = self.call()
            leg.connectionLost(*([how] if how else []))
            self.assertEqual(self.events.told[1:], [("gone", "caller hung up", True)])
            self.assert_released()
        self.setUp()
        leg, _ = self.call()
        leg.dataReceived(wire.encode(wire.HANGUP) + SILENT_FRAME)
        self.assertEqual(self.events.told[1:], [("gone", "caller hung up", True)])
        self.assertEqual(self.events.audio, [])
        leg.connectionLost()
        self.assert_released()

    def test_another_failure_of_the_connection_is_a_fault(self) -> None:
        leg, _ = self.call()
        leg.connectionLost(Failure(ValueError("what is that")))
        self.assertEqual(
            self.events.told[1:],
            [("gone", "the connection failed (what is that)", False)],
        )

    def test_a_leg_that_ended_can_be_collected(self) -> None:
        legs = []
        for how in range(4):
            leg, transport = self.call() if how else self.connect()
            leg.play("a", speech(8000))
            self.talk(leg, 0.1) if how else self.pass_time(3)
            if how == 2:
                leg.hang_up()
                self.pass_time(CLOSE_WITHIN + 1)
            elif how == 3:
                leg.dataReceived(b"\x10\xff\xff")
            leg.connectionLost()
            legs.append(weakref.ref(leg))
            self.taken.clear()
            del leg, transport
        self.assert_released()
        gc.collect()
        self.assertEqual([ref() for ref in legs], [None] * 4)
        self.assertEqual(self.factory.admission._unidentified, {})


class RealSocketTests(TestCase):
    """What only a kernel can show. Frames are asked for as fast as the test runs."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.media = MediaClock(self.clock)
        self.events = FakeLegEvents()
        self.legs: list[Any] = []
        self.gone: Deferred[None] = Deferred()
        case = self

        class Watched(AudioSocketFactory):
            def closed(self, leg: AudioSocketLeg) -> None:
                super().closed(leg)
                case.real.callLater(0, case.gone.callback, None)

        self.real = cast(Any, reactor)  # its type is made at run time
        factory = Watched(self.clock, self.media, self.calls)
        port = self.real.listenTCP(0, factory, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.socket = socket.socket()
        self.addCleanup(self.socket.close)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", port.getHost().port))
        self.socket.sendall(IDENTITY)

    def calls(self, leg: Any, call_id: str) -> FakeLegEvents:
        self.legs.append(leg)
        return self.events

    async def turn(self) -> None:
        await deferLater(self.real, 0.0005, lambda: None)

    async def identify(self) -> Any:
        for _ in range(2000):
            if self.legs:
                return self.legs[0]
            await self.turn()
        raise AssertionError("the leg was not identified")

    def assert_released(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.media.legs, 0)

    async def test_a_peer_that_never_reads_is_ended_and_little_is_kept(self) -> None:
        leg = await self.identify()
        frames = 0
        while len(self.events.told) < 2 and frames < 1500:
            leg.frame_due(self.clock.seconds())
            frames += 1
            if frames % 20 == 0:
                await self.turn()
        self.assertIn("stopped reading", self.events.told[1][1])
        # 2 s in our buffer, the rest in the two kernel buffers.
        self.assertGreaterEqual(frames, 100)
        self.assertLess(frames * len(SILENT_FRAME), 256_000)
        await self.gone
        self.assert_released()

    async def test_a_reset_is_a_normal_end(self) -> None:
        await self.identify()
        self.socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.socket.close()
        await self.gone
        self.assertEqual(self.events.told[1:], [("gone", "caller hung up", True)])
        self.assert_released()

    async def test_our_hang_up_is_no_reset_though_audio_is_on_its_way(self) -> None:
        leg = await self.identify()
        self.socket.setblocking(False)
        self.socket.sendall(SILENT_FRAME)
        leg.hang_up()
        got = b""
        for _ in range(2000):
            await self.turn()
            self.socket.send(b"\x10\x00\x02\0\0")
            try:
                piece = self.socket.recv(65536)
            except BlockingIOError:
                continue
            got += piece
            if not piece:
                break
        self.assertEqual(got, wire.encode(wire.HANGUP))
        self.socket.close()
        await self.gone
        self.assert_released()

"""Tests of L{portero.web.listen}: both sides of a call as they are."""

from __future__ import annotations

import io
import math
import wave
from typing import Any

import numpy as np
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from portero.interfaces import IAudioTap
from portero.web.listen import HEADER, MOST_LISTENERS, RATE, Listeners, StereoTap
from portero.web.stream import MOST_WAITING
from tests.api_case import ACTOR, GONE, LISTENER, ApiCase
from tests.test_reception import ID


def tone(hz: float, rate: int, seconds: float) -> bytes:
    phase = np.arange(round(rate * seconds)) * (2 * math.pi * hz / rate)
    pcm: bytes = (np.sin(phase) * 16000).astype("<i2").tobytes()
    return pcm


def pitch(samples: Any) -> float:
    """@return: The strongest frequency, in Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * RATE / len(samples)


class TapTests(SynchronousTestCase):
    def test_it_is_a_tap(self) -> None:
        written: list[bytes] = []
        verifyObject(IAudioTap, StereoTap(written.append))

    def test_left_is_the_caller_and_right_the_agent_whatever_their_rates(self) -> None:
        for caller_rate, agent_rate in ((8000, 24000), (16000, 16000), (48000, 8000)):
            written: list[bytes] = []
            tap = StereoTap(written.append)
            caller = tone(440, caller_rate, 1.0)
            agent = tone(1000, agent_rate, 1.0)
            for n in range(50):
                tap.frame(
                    caller[n * caller_rate // 25 : (n + 1) * caller_rate // 25],
                    caller_rate,
                    agent[n * agent_rate // 25 : (n + 1) * agent_rate // 25],
                    agent_rate,
                )
            both = np.frombuffer(b"".join(written), "<i2").reshape(-1, 2)
            self.assertApproximates(len(both), RATE, RATE // 50)
            self.assertApproximates(pitch(both[:, 0]), 440, 4)
            self.assertApproximates(pitch(both[:, 1]), 1000, 4)

    def test_a_rate_may_change_while_one_listens(self) -> None:
        written: list[bytes] = []
        tap = StereoTap(written.append)
        for rate in (8000, 16000, 8000):
            for _ in range(50):
                tap.frame(bytes(rate // 25), rate, bytes(rate // 25), rate)
        samples = sum(map(len, written)) // 4
        self.assertApproximates(samples, 3 * RATE, RATE // 25)


class ListenTests(ApiCase):
    def setUp(self) -> None:
        super().setUp()
        self.with_users()
        self.leg, _ = self.call(ID)

    def listen(self, *headers: str) -> tuple[Any, Any]:
        return self.stream(f"/calls/{ID}/listen", *(headers or (LISTENER,)))

    def body(self, transport: Any) -> bytes:
        found, rest = b"", transport.value().partition(b"\r\n\r\n")[2]
        while rest:
            size, _, rest = rest.partition(b"\r\n")
            found += rest[: int(size, 16)]
            rest = rest[int(size, 16) + 2 :]
        return found

    def test_it_is_a_wav_without_an_end(self) -> None:
        with wave.open(io.BytesIO(HEADER + bytes(4))) as file:
            shape = file.getnchannels(), file.getsampwidth(), file.getframerate()
        self.assertEqual(shape, (2, 2, RATE))
        _, transport = self.listen()
        self.assertIn(b"Content-Type: audio/wav", transport.value())
        self.assertEqual(self.body(transport), HEADER)
        ((tap,),) = self.leg.of("tap")
        tap.frame(b"\1\0" * 320, 16000, b"\2\0" * 320, 16000)
        self.assertEqual(self.body(transport)[len(HEADER) :], b"\1\0\2\0" * 320)

    def test_begin_and_end_are_in_the_audit_with_the_name(self) -> None:
        with capturedLogs() as events:
            protocol, _ = self.listen()
            protocol.connectionLost(GONE)
        audit = [one for one in events if one["log_namespace"] == "portero.audit"]
        self.assertEqual(
            [formatEvent(one) for one in audit],
            [
                f"call {ID}: operator lisa: begins to listen",
                f"call {ID}: operator lisa: listens no more",
            ],
        )
        self.assertEqual(self.leg.of("untap"), self.leg.of("tap"))

    def test_with_the_call_it_ends(self) -> None:
        watched = self.bridge.watchers._observers
        _, transport = self.listen()
        other, _ = self.call("other")
        other.drop()
        self.assertEqual(self.body(transport), HEADER)
        self.leg.drop()
        self.assertTrue(transport.value().endswith(b"\r\n0\r\n\r\n"))
        self.assertEqual(self.bridge.watchers._observers, watched)

    def test_it_needs_the_right_to_listen(self) -> None:
        self.get(f"/calls/{ID}/listen", expect=401)
        self.get(f"/calls/{ID}/listen", ACTOR, expect=403)
        self.assertEqual(self.leg.count("tap"), 0)

    def test_one_call_that_is_over_cannot_be_heard(self) -> None:
        self.leg.drop()
        problem = self.get(f"/calls/{ID}/listen", LISTENER, expect=404)
        self.detail(problem, "under way any more")

    def test_who_does_not_read_is_dropped(self) -> None:
        protocol, transport = self.listen()
        protocol.pauseProducing()
        ((tap,),) = self.leg.of("tap")
        frames = MOST_WAITING // (RATE // 50 * 4)
        for _ in range(frames):
            tap.frame(bytes(640), RATE, bytes(640), RATE)
        self.assertFalse(transport.disconnecting)
        tap.frame(bytes(640), RATE, bytes(640), RATE)
        self.assertTrue(transport.disconnecting)

    def test_only_so_many_listen_at_once(self) -> None:
        first, _ = self.listen()
        for _ in range(MOST_LISTENERS - 1):
            self.listen()
        problem = self.get(f"/calls/{ID}/listen", LISTENER, expect=503)
        self.detail(problem, "one of them has to stop")
        first.connectionLost(GONE)
        self.assertEqual(self.body(self.listen()[1]), HEADER)

    def test_who_loses_the_right_hears_no_more(self) -> None:
        _, transport = self.listen()
        self.access.use({}, ())
        self.assertTrue(transport.value().endswith(b"\r\n0\r\n\r\n"))
        self.assertEqual(self.leg.count("untap"), 1)

    def test_without_listeners_nothing_is_told(self) -> None:
        Listeners(self.bridge)
        self.assertEqual(self.leg.count("tap"), 0)

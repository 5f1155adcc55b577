"""
The caller interrupts: how fast the old reply is gone, at the caller's own ear.

The clock starts when the voice service writes C{speech_started}: all before it is the
service's own listening, which portero cannot hasten. Service and phone are different
processes on one machine, so both read the same monotonic clock; the service notes the
moment just before its write, and the phone's packets are stamped by the kernel. What is
between the two is portero, Asterisk, and both of their sockets.
"""

from __future__ import annotations

import numpy as np

from tests.lab.phone import Phone
from tests.lab.quality import noise_burst, pcm
from tests.real.case import RealTestCase, measured

GONE_WITHIN = 0.060
TRUNCATED_WITHIN_MS = 40
"""Two frames: the one being faded out, and the one being counted."""
REPLY_MS = 20000
BURST_SECONDS = 1.0
AUDIBLE = 100
"""Of 32767: -50 dB."""


class BargeInTests(RealTestCase):
    def setUp(self) -> None:
        super().setUp()
        # Every reply is one long tone; it is delivered eight times too fast, so that
        # most of it is in portero's queue, and all of it soon.
        self.service = self.own_service(reply=((0.15, REPLY_MS),))
        self.own_portero(service=self.service)

    @measured
    def test_the_old_reply_is_gone_within_60_ms(self) -> None:
        phone = self.phone()
        self.call(phone)
        tails = [self._interrupt(phone)[0] for _ in range(3)]
        self.assertLess(max(tails), GONE_WITHIN, f"{tails}; phone late {phone.late}")
        self.assertGreater(min(tails), 0.0, "sound ended before speech_started?")

    @measured
    def test_a_reply_that_only_portero_still_plays_is_cut_as_fast(self) -> None:
        """
        The service has sent it all and thinks it is over.
        """
        phone = self.phone()
        self.call(phone)
        began = phone.wait_for_sound(3)
        self.assertTrue(self.service.wait_until_sent("response.done", 0.0, 10))
        self.assertLess(phone.heard.arrivals[-1].time - began, REPLY_MS / 2000)
        tail, _ = self._interrupt(phone)
        self.assertLess(tail, GONE_WITHIN, f"phone late {phone.late}")

    @measured
    def test_the_service_is_told_what_was_heard(self) -> None:
        phone = self.phone()
        self.call(phone)
        heard = [self._interrupt(phone)[1] for _ in range(2)]
        self.wait_until("two truncations", lambda: len(self._truncations()) > 1)
        told = self._truncations()
        for told_ms, heard_ms in zip(told, heard, strict=True):
            self.assertApproximates(
                told_ms, heard_ms, TRUNCATED_WITHIN_MS, f"{told} {heard}"
            )

    def _truncations(self) -> list[int]:
        return [
            entry["received"]["audio_end_ms"]
            for entry in self.service.received("conversation.item.truncate")
        ]

    def _interrupt(self, phone: Phone) -> tuple[float, float]:
        """
        Wait for a reply, let it sound for a second, and speak into it.

        @return: From C{speech_started} to the last sample that is heard, in seconds;
            and how much of the reply came, in ms.
        """
        now = phone.heard.arrivals[-1].time if phone.heard.arrivals else 0.0
        began = phone.wait_for_sound(5, after=now)
        self.hear_until(phone, began + 1)
        spoke = phone.heard.arrivals[-1].time
        phone.play(pcm(noise_burst(BURST_SECONDS, phone.sample_rate)))
        started = "input_audio_buffer.speech_started"
        self.assertTrue(self.service.wait_until_sent(started, spoke, 2))
        told = self.service.sent(started, spoke)[0]
        phone.wait_for_quiet(0.3, 3)
        sounding = [a for a in phone.heard.arrivals if a.sounding and a.time >= began]
        last = sounding[-1]
        audible = int(np.flatnonzero(np.abs(last.samples) > AUDIBLE)[-1])
        return last.time + audible / phone.sample_rate - told, len(sounding) * 20.0

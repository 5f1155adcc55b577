"""The instruments themselves, without portero: what they measure is the line's."""

from __future__ import annotations

import time

from tests.lab.asterisk import ECHO, RINGING, SHORT
from tests.lab.phone import Phone, Refused
from tests.lab.quality import align, pcm, tone
from tests.lab.recording import level_dbfs, tone_share
from tests.real.case import RealTestCase, measured

RATES = {"ulaw": 8000, "alaw": 8000, "slin16": 16000, "slin24": 24000, "g722": 16000}
WITHIN_DB = 0.3
"""G.711 at this level, A-law in particular."""


class PhoneTests(RealTestCase):
    @measured
    def test_every_codec_carries_a_tone_at_its_level(self) -> None:
        phones: dict[str, Phone] = {}
        for codec, rate in RATES.items():
            phones[codec] = self.phone(codec)
            phones[codec].call(
                self.asterisk.uri(ECHO), pcm(tone(rate * 0.375 - 50, 0.5, rate))
            )
        for codec, rate in RATES.items():
            said = tone(rate * 0.375 - 50, 0.5, rate)
            phones[codec].wait_until_played(3)
            phones[codec].wait_for_quiet(0.2, 3)
            heard, _ = align(phones[codec].heard.sound(), said)
            middle = heard[rate // 10 : -rate // 10]
            hz = rate * 0.375 - 50
            self.assertGreater(tone_share(middle, hz, rate), 0.98, codec)
            self.assertApproximates(
                level_dbfs(middle), level_dbfs(said), WITHIN_DB, codec
            )
            self.assertEqual(phones[codec].heard.lost(), 0, codec)

    @measured
    def test_it_receives_in_the_rhythm_it_sends(self) -> None:
        """
        Asterisk answers each packet at once, so what comes back shows how evenly this
        phone sends, on this machine, now.
        """
        phone = self.phone()
        phone.call(self.asterisk.uri(ECHO), pcm(tone(1000, 2.0, 8000)))
        phone.wait_until_played(4)
        sent = next(s.time for s in phone.sent if s.sounding)
        heard = phone.heard.first_sound() or 0.0
        self.assertLess(heard - sent, 0.02)
        self.assertEqual(phone.heard.gaps(0.06), [], f"phone late: {phone.late}")

    def test_an_unknown_extension_is_refused(self) -> None:
        error = self.assertRaises(
            Refused, self.phone().call, self.asterisk.uri("nobody")
        )
        self.assertEqual(error.status, 404)

    def test_a_ringing_call_can_be_given_up(self) -> None:
        phone = self.phone()
        phone.dial(self.asterisk.uri(RINGING))
        self.wait_until("ringing", lambda: any("180" in line for line in phone.story))
        phone.cancel()
        self.wait_until("no channel is up", lambda: self.asterisk.channels() == 0)

    def test_the_other_side_can_hang_up(self) -> None:
        phone = self.phone()
        phone.call(self.asterisk.uri(SHORT))
        phone.wait_for_bye(5)
        count = len(phone.sent)
        time.sleep(0.1)
        self.assertEqual(len(phone.sent), count)

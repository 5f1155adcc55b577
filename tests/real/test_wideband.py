"""The AudioSocket channel with a wideband codec: what a narrow line cannot carry."""

from __future__ import annotations

from tests.lab.quality import align, band_dbfs, pesq, stoi, tone
from tests.lab.recording import level_dbfs, tone_share
from tests.real.case import RealTestCase, measured

HIGH_HZ = 6000
"""Above all that fits into 8 kHz."""
LEVEL_WITHIN_DB = 1.0
LEAST_STOI, LEAST_PESQ = 0.95, 4.0


class WidebandTests(RealTestCase):
    @measured
    def test_a_high_tone_comes_back_at_16_khz(self) -> None:
        self._high_tone_comes_back("slin16")

    @measured
    def test_a_high_tone_comes_back_at_24_khz(self) -> None:
        self._high_tone_comes_back("slin24")

    def _high_tone_comes_back(self, codec: str) -> None:
        phone = self.phone(codec)
        rate = phone.sample_rate
        said = tone(HIGH_HZ, 1.2, rate)
        self.call(phone, codec)
        heard, _ = align(self.reply_to(phone, said), said)
        # Not its two ends: they may be faded, and the tone only fits to a period.
        middle = heard[rate // 10 : -rate // 10]
        self.assertGreater(tone_share(middle, HIGH_HZ, rate), 0.99)
        self.assertApproximates(
            level_dbfs(middle), level_dbfs(said), LEVEL_WITHIN_DB, "dBFS"
        )
        self.assertEqual(self.portero.calls()[0]["caller_rate"], rate)
        self.assertEqual(phone.heard.lost(), 0)
        self.assertEqual(phone.heard.gaps(0.06), [], f"phone late: {phone.late}")

    @measured
    def test_speech_comes_back_at_16_khz_as_it_was(self) -> None:
        phone = self.phone("slin16")
        speech = self.speech(16000)
        self.call(phone, "slin16")
        heard, _ = align(self.reply_to(phone, speech), speech)
        figures = stoi(speech, heard, 16000), pesq(speech, heard, 16000)
        self.assertGreaterEqual(figures[0], LEAST_STOI, f"STOI, PESQ: {figures}")
        self.assertGreaterEqual(figures[1], LEAST_PESQ, f"STOI, PESQ: {figures}")

    @measured
    def test_the_application_sends_wideband_to_a_g722_caller_when_told_to(self) -> None:
        """
        Only downlink: Asterisk's application takes 24 kHz frames and resamples them.
        """
        levels = {}
        for rate in (8000, 24000):
            self.own_portero(config=f"[listen]\ndownlink_rate = {rate}\n")
            phone = self.phone("g722")
            self.call(phone)
            began = phone.wait_for_sound(3)
            self.hear_until(phone, began + 2)
            sound = phone.heard.sound(since=began)
            levels[rate] = band_dbfs(sound, 5000, 7000, phone.sample_rate)
            phone.close()
        self.assertGreater(levels[24000], levels[8000] + 15, f"dBFS: {levels}")

"""The instruments themselves, without portero: what they measure is the line's."""

from __future__ import annotations

import os
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.lab import machine
from tests.lab.asterisk import ECHO, RINGING, SHORT
from tests.lab.phone import Phone, Refused
from tests.lab.quality import align, pcm, tone
from tests.lab.recording import level_dbfs, tone_share
from tests.real import case
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


class Measuring:
    """
    A test that is too late so many times.

    @ivar tries: How often it was run.
    """

    def __init__(self, late: int) -> None:
        self.tries = 0
        self._late = late

    def id(self) -> str:
        return "one that measures"

    def setUp(self) -> None:
        """There is nothing to be made."""

    def doCleanups(self) -> None:
        """Nothing is left."""

    @measured
    def run(self) -> None:
        self.tries += 1
        if self.tries <= self._late:
            raise AssertionError("late")


class MachineTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.pressure, self.statistics = Path(self.mktemp()), Path(self.mktemp())
        self.patch(machine, "PRESSURE", self.pressure)
        self.patch(machine, "STATISTICS", self.statistics)

    def others_had(self, waited: float, stolen: float) -> None:
        """
        @param waited, stolen: Seconds, since the machine started.
        """
        some = f"some avg10=0.00 avg60=0.00 avg300=0.00 total={waited * 1e6:.0f}\n"
        self.pressure.write_text(f"{some}full avg10=0.00 total=0\n")
        ticks = stolen * os.sysconf("SC_CLK_TCK")
        self.statistics.write_text(f"cpu  9 9 9 9 9 9 9 {ticks:.0f} 0 0\ncpu0 9 9\n")

    def test_it_is_crowded_when_others_wait_or_another_machine_has_it(self) -> None:
        for waited, stolen in ((5.0, 0.0), (0.0, 5.0)):
            self.others_had(50.0, 50.0)
            crowd = machine.Crowd()
            self.assertFalse(crowd.is_too_much())
            self.others_had(50.0 + waited, 50.0 + stolen)
            self.assertTrue(crowd.is_too_much(), (waited, stolen))

    def test_where_the_kernel_does_not_tell_nobody_else_is_there(self) -> None:
        self.assertFalse(machine.Crowd().is_too_much())

    def test_who_waits_for_room_has_patience_once(self) -> None:
        self.patch(machine, "TOLD_WITHIN", 0.01)
        looks: list[machine.Crowd] = []

        def is_too_much(crowd: machine.Crowd) -> bool:
            looks.append(crowd)
            return True

        self.patch(machine.Crowd, "is_too_much", is_too_much)
        patience = machine.Patience(0.1)
        patience.wait_for_room(5.0)
        looked = len(looks)
        self.assertGreater(looked, 0)
        patience.wait_for_room(5.0)
        self.assertEqual(len(looks), looked)

    def tries(self, late: int, crowded: bool) -> int:
        """
        @return: Of a test that is late so often; negative: and then it failed.
        """
        self.patch(case, "TOLD_WITHIN", 0.0)
        self.patch(case, "PATIENCE", machine.Patience(0.0))
        self.patch(machine.Crowd, "is_too_much", lambda crowd: crowded)
        test = Measuring(late)
        try:
            test.run()
        except AssertionError:
            return -test.tries
        return test.tries

    def test_only_a_crowd_has_a_test_measure_again_and_not_for_ever(self) -> None:
        self.assertEqual(self.tries(0, crowded=True), 1)
        self.assertEqual(self.tries(1, crowded=False), -1)
        self.assertEqual(self.tries(2, crowded=True), 3)
        self.assertEqual(self.tries(3, crowded=True), -3)

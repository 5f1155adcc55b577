"""An ordinary call: greeted, understood, answered, ended by either side."""

from __future__ import annotations

import time
from functools import partial

from tests.lab.asterisk import ECHO
from tests.lab.phone import Phone
from tests.lab.quality import align, pcm, pesq, stoi, tone
from tests.lab.recording import Sound, tone_share
from tests.real.case import MARGIN, QUIET_SECONDS, SAME_SPEECH, RealTestCase, measured

GREETED_WITHIN = 1.0
LEAST_STOI = 0.9
LEAST_PESQ = 3.5
"""Of the parrot against the same words through the line alone; 4.5 is no difference.
What is lost is one more G.711 coding."""
LOOK_EVERY, MOST_LOOKS = 0.2, 25
"""Seconds, and how often portero's sockets are looked at until they are the same."""


class GreetingTests(RealTestCase):
    @measured
    def test_is_heard_within_a_second_of_the_answer(self) -> None:
        for codec in ("ulaw", "alaw"):
            phone = self.phone(codec)
            self.call(phone)
            heard = phone.wait_for_sound(5) - (phone.answered_at or 0.0)
            self.assertLess(heard, GREETED_WITHIN, codec)
            phone.close()

    @measured
    def test_is_the_prompt_without_a_hole(self) -> None:
        phone = self.phone()
        self.call(phone)
        said = self.prompt("greeting")
        began = phone.wait_for_sound(5)
        ended = phone.wait_for_quiet(QUIET_SECONDS, 15)
        heard = phone.heard.sound(since=began - 0.2, until=ended + 0.2)
        self.assertGreater(self.likeness(heard, said), SAME_SPEECH)
        self.assertEqual(phone.heard.lost(), 0)
        self.assertEqual(phone.heard.gaps(0.06), [], f"phone late: {phone.late}")


class ParrotTests(RealTestCase):
    """The demo agent repeats what it was told: the whole way, there and back."""

    @measured
    def test_mu_law_speech_comes_back_intelligible(self) -> None:
        self._speech_comes_back("ulaw")

    @measured
    def test_a_law_speech_comes_back_intelligible(self) -> None:
        self._speech_comes_back("alaw")

    def _speech_comes_back(self, codec: str) -> None:
        reference = self._through_the_line(codec)
        phone = self.phone(codec)
        self.call(phone)
        heard, _ = align(self.reply_to(phone, self.speech()), reference)
        figures = stoi(reference, heard, 8000), pesq(reference, heard, 8000)
        self.assertGreaterEqual(figures[0], LEAST_STOI, f"STOI, PESQ: {figures}")
        self.assertGreaterEqual(figures[1], LEAST_PESQ, f"STOI, PESQ: {figures}")

    def _through_the_line(self, codec: str) -> Sound:
        """
        @return: The words as a phone hears them that are only echoed by Asterisk.
        """
        phone = self.phone(codec)
        speech = self.speech()
        phone.call(self.asterisk.uri(ECHO), play=pcm(speech))
        phone.wait_for_sound(3)
        phone.wait_until_played(6)
        phone.wait_for_quiet(0.3, 5)
        heard, _ = align(phone.heard.sound(), speech)
        phone.close()
        return heard

    @measured
    def test_speech_in_packets_of_10_30_and_40_ms_comes_back(self) -> None:
        speech = self.speech()
        phones = {ptime: self.phone(ptime=ptime) for ptime in (10, 30, 40)}
        for phone in phones.values():
            self.call(phone)
            phone.play(pcm(speech))
        for ptime, phone in phones.items():
            heard = self.answer(phone)
            self.assertGreater(self.likeness(heard, speech), SAME_SPEECH, ptime)

    @measured
    def test_a_phone_that_was_silent_for_three_seconds_is_still_heard(self) -> None:
        """
        While it sends nothing Asterisk sends nothing, and would end the call after
        2 s in which portero was silent too.
        """
        phone = self.phone()
        self.call(phone)
        began = phone.wait_for_sound(3)
        phone.mute()
        self.hear_until(phone, began + 3)
        phone.mute(False)
        heard = self.reply_to(phone, self.speech())
        self.assertGreater(self.likeness(heard, self.speech()), SAME_SPEECH)
        self.assertEqual(phone.heard.gaps(0.06), [], f"phone late: {phone.late}")

    @measured
    def test_a_dial_line_without_a_codec_is_understood_and_named(self) -> None:
        before = len(self.portero.log)
        phone = self.phone("ulaw")
        self.call(phone, "codecless")
        heard = self.reply_to(phone, self.speech())
        self.assertGreater(self.likeness(heard, self.speech()), SAME_SPEECH)
        self.assertIn("c(slin", self.portero.log[before:])


class DigitTests(RealTestCase):
    @measured
    def test_each_key_is_named_as_itself(self) -> None:
        phone = self.phone()
        self.call(phone)
        phone.wait_for_sound(3)
        names = {key: self.prompt(key) for key in "0123456789"}
        for key in "5", "0", "9":
            before = len(phone.sent)
            phone.send_dtmf(key)
            self.wait_until("the key left", partial(self._has_pressed, phone, before))
            began = phone.wait_for_sound(3, after=phone.sent[-1].time + 0.1)
            ended = phone.wait_for_quiet(QUIET_SECONDS, 10)
            heard = phone.heard.sound(since=began - MARGIN, until=ended + MARGIN)
            likeness = {
                name: self.likeness(heard, said) for name, said in names.items()
            }
            best = max(likeness, key=lambda name: likeness[name])
            self.assertEqual(best, key, str(likeness))
            self.assertGreater(likeness[key], SAME_SPEECH)

    def _has_pressed(self, phone: Phone, before: int) -> bool:
        """
        @param before: How many packets it had sent then.
        """
        sent = phone.sent[before:]
        return any(packet.digit for packet in sent) and not sent[-1].digit


class EndTests(RealTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.nothing_is_left()
        self.before = self._at_rest()

    def _at_rest(self) -> tuple[int, int]:
        """
        The connection that asked last may still be closing.

        @return: As L{_held}, when that changes no more.
        """
        held = self._held()
        for _ in range(MOST_LOOKS):
            time.sleep(LOOK_EVERY)
            before, held = held, self._held()
            if before == held:
                return held
        self.fail("sockets and threads come and go without a call")

    def _held(self) -> tuple[int, int]:
        """
        @return: portero's sockets and threads, without a call.
        """
        return self.portero.sockets(), self.portero.threads()

    def _nothing_is_left_but_what_was(self) -> None:
        self.nothing_is_left()
        self.wait_until(
            f"sockets and threads are {self.before} again",
            lambda: self._held() == self.before,
        )

    def test_the_caller_hangs_up_and_nothing_is_left(self) -> None:
        phone = self.phone()
        self.call(phone)
        phone.wait_for_sound(3)
        self.assertGreater(self.portero.sockets(), self.before[0])
        self.assertEqual(len(self.portero.calls()), 1)
        phone.hang_up()
        self._nothing_is_left_but_what_was()

    @measured
    def test_the_agent_hangs_up_after_its_goodbye_and_nothing_is_left(self) -> None:
        phone = self.phone()
        self.call(phone)
        phone.wait_for_sound(3)
        phone.send_dtmf("#")
        ended = phone.wait_for_bye(12)
        heard = phone.heard.sound(since=ended - 6, until=ended)
        self.assertGreater(
            self.likeness(heard, self.prompt("goodbye")), SAME_SPEECH, "cut short?"
        )
        self._nothing_is_left_but_what_was()

    def test_the_dialplan_goes_on_after_a_goodbye(self) -> None:
        before = len(self.asterisk.log)
        phone = self.phone()
        self.call(phone)
        phone.wait_for_sound(3)
        phone.send_dtmf("#")
        phone.wait_for_bye(12)
        line = "LAB after trystatus=SUCCESS"
        self.wait_until(line, lambda: line in self.asterisk.log[before:])

    def test_a_call_given_up_while_it_connects_leaves_nothing(self) -> None:
        for _ in range(5):
            phone = self.phone()
            self.call(phone)
            phone.close()
        self._nothing_is_left_but_what_was()


class CrowdTests(RealTestCase):
    CALLERS = 20

    @measured
    def test_twenty_callers_at_once_are_each_greeted_and_understood(self) -> None:
        phones = [self.phone() for _ in range(self.CALLERS)]
        for phone in phones:
            self.call(phone)
        waits = [
            phone.wait_for_sound(5) - (phone.answered_at or 0.0) for phone in phones
        ]
        self.assertLess(max(waits), GREETED_WITHIN)
        self.assertEqual(len(self.portero.calls()), self.CALLERS)
        # A tone of one's own each, so that nobody hears somebody else's answer.
        for number, phone in enumerate(phones):
            phone.play(pcm(tone(400 + 100 * number, 1.0, 8000)))
        for number, phone in enumerate(phones):
            heard = self.answer(phone)
            share = tone_share(heard, 400 + 100 * number, 8000)
            self.assertGreater(share, 0.9, f"caller {number}")
            self.assertGreater(len(heard) / 8000, 0.9, f"caller {number}")
        for number, phone in enumerate(phones):
            gaps, late = phone.heard.gaps(0.08), phone.late
            self.assertEqual(gaps, [], f"caller {number}; the phone's own: {late}")
            self.assertEqual(phone.heard.lost(), 0, f"caller {number}")
            phone.close()
        self.nothing_is_left()

"""Where a call goes that portero refuses, ends or loses: the shipped dialplan as is."""

from __future__ import annotations

import re
import socket
import time

from tests.lab.asterisk import OFFICE, SALES, SHIPPED_DIALPLAN, SOMEBODY_HZ
from tests.lab.phone import Phone
from tests.lab.portero import Portero
from tests.lab.process import free_port
from tests.lab.quality import pcm, tone
from tests.real.case import SAME_SPEECH
from tests.real.house import SENTENCE_MS, WAYS, HouseTestCase, give_token

COLLEAGUE_HZ = 440
"""The caller's words to a colleague, who echoes them."""
PACKET_MS = 20
FADED_MS = 60
"""Of a sentence, at its ends, may be too soft to count."""


class EndTests(HouseTestCase):
    def test_a_good_end_hangs_up(self) -> None:
        for way in WAYS:
            door = self.door(way, PORTERO_AGENT="brief")
            phone = self.ends(door)
            self.assertGreaterEqual(self._heard_ms(phone), SENTENCE_MS - FADED_MS, way)
            known = self.known(door)
            self.assertEqual(known["outcome"], "well", way)
            self.assertEqual(known["reason"], "the agent hung up", way)
            self.assertEqual(known["agent"], "brief", way)
            self.assertEqual((known["next"], known["refused"]), ("", ""), way)

    def test_a_transfer_by_the_agent_follows_its_sentence(self) -> None:
        for way in WAYS:
            before = len(self.asterisk.log)
            phone = self.phone()
            door = self.door(way, PORTERO_AGENT="to_sales")
            phone.call(door)
            self._lands(before, SALES)
            self.assertGreaterEqual(self._heard_ms(phone), SENTENCE_MS - FADED_MS, way)
            self._talks_to_a_colleague(phone)
            phone.hang_up()
            known = self.known(door)
            self.assertEqual((known["outcome"], known["next"]), ("transferred", SALES))

    def test_a_target_that_is_not_there_costs_nobody_the_call(self) -> None:
        before = len(self.asterisk.log)
        phone = self.phone()
        phone.call(
            self.door(PORTERO_AGENT="to_nowhere", PORTERO_FALLBACK=OFFICE),
        )
        self._lands(before, OFFICE)
        self._talks_to_a_colleague(phone)
        self.assertIn(
            "cannot go to lab,nowhere,1: it does not exist", self.asterisk.log[before:]
        )

    def test_a_call_that_fails_goes_to_its_agents_own_fallback(self) -> None:
        """
        And the next, while the service is known to be ill, to that of the dialplan.
        """
        before = len(self.asterisk.log)
        phone = self.phone()
        door = self.door(PORTERO_AGENT="broken")
        phone.call(door)
        self._lands(before, OFFICE)
        heard = phone.heard.sound()
        self.assertGreater(self.likeness(heard, self.prompt("apology")), SAME_SPEECH)
        phone.hang_up()
        known = self.known(door)
        self.assertEqual((known["outcome"], known["next"]), ("failed", OFFICE))
        self.assertIn("Incorrect API key", known["reason"])
        known = self.is_turned_away(PORTERO_AGENT="broken")
        self.assertEqual(known["refused"], "unhealthy")

    def test_curl_and_fastagi_tell_the_dialplan_the_same(self) -> None:
        told: dict[str, list[dict[str, str]]] = {}
        for way in WAYS:
            door = self.door(way, PORTERO_AGENT="priced")
            self.ends(door)
            told[way] = [
                self.known(door),
                self.is_turned_away(way, PORTERO_AGENT="nobody"),
                self.is_turned_away(way, PORTERO_TOKEN="wrong"),
            ]
            for known in told[way]:
                known["summary"] = re.sub(r"\d+ s", "N s", known["summary"])
                del known["seconds"], known["uuid"]
        self.assertEqual(told["curl"], told["agi"])
        self.assertEqual(told["curl"][0]["cost"], "1.0000")
        self.assertIn("1.0000", told["curl"][0]["summary"])

    def _heard_ms(self, phone: Phone) -> int:
        return PACKET_MS * sum(a.sounding for a in phone.heard.arrivals)

    def _lands(self, before: int, target: str) -> None:
        line = f"LAB landed at {target.split(',')[1]}"
        self.wait_until(line, lambda: line in self.asterisk.log[before:], 15)

    def _talks_to_a_colleague(self, phone: Phone) -> None:
        phone.play(pcm(tone(COLLEAGUE_HZ, 8.0, phone.sample_rate)))
        phone.wait_for_tone(COLLEAGUE_HZ, 8)


class KeepingTests(HouseTestCase):
    """The lines that the shipped dialplan has as comments, taken in."""

    def setUp(self) -> None:
        super().setUp()
        shipped = SHIPPED_DIALPLAN.read_text().replace("[portero]", "[keeping]")
        taken_in, count = re.subn("^;(same|exten) =>", r"\1 =>", shipped, flags=re.M)
        self.assertEqual(count, 3)
        self.asterisk.add(taken_in)

    def test_something_is_kept_whoever_hangs_up(self) -> None:
        before = len(self.asterisk.log)
        for way in WAYS:
            self._is_kept(way, "brief", "the agent hung up")
            self._is_kept(way, "night", "caller hung up")

        def noted(agent: str) -> int:
            return self.asterisk.log[before:].count(f"CDR(userfield)={agent} well ")

        self.wait_until("CDRs of one agent", lambda: noted("brief") == len(WAYS))
        self.wait_until("CDRs of the other", lambda: noted("night") == len(WAYS))

    def _is_kept(self, way: str, agent: str, reason: str) -> None:
        number = f"600{time.monotonic_ns()}"
        phone = self.phone()
        phone.caller = f"<sip:{number}@127.0.0.1>"
        phone.call(self.door(way, "keeping", PORTERO_AGENT=agent))
        phone.wait_for_sound(5)
        if agent == "night":
            phone.hang_up()

        def kept() -> str:
            return self.asterisk.rx(f"database get portero_last {number}")

        self.wait_until(reason, lambda: f"well: {reason}" in kept(), 10)
        self.assertIn(f"Value: {agent}: ", kept())


class RefusalTests(HouseTestCase):
    def test_an_unknown_agent(self) -> None:
        known = self.is_turned_away(PORTERO_AGENT="brif")
        self.assertEqual(known["refused"], "unknown-agent")
        self.assertIn("brief", known["reason"])

    def test_an_agent_that_is_busy(self) -> None:
        phone = self.phone()
        door = self.door(PORTERO_AGENT="narrow")
        phone.call(door)
        known = self.is_turned_away(PORTERO_AGENT="narrow")
        self.assertEqual(known["refused"], "full")
        phone.hang_up()
        self.assertTrue(self.portero.wait_until_idle())
        self.phone().call(door)

    def test_a_wrong_token_and_none(self) -> None:
        self.addCleanup(give_token, self.house.token)
        for token in "wrong", "":
            give_token(token)
            for way in WAYS:
                known = self.is_turned_away(way, PORTERO_AGENT="brief")
                self.assertEqual(known["refused"], "forbidden", (token, way))

    def test_the_token_stays_out_of_asterisks_log(self) -> None:
        for way in WAYS:
            door = self.door(way, PORTERO_AGENT="brief")
            self.ends(door)
            self.assertEqual(self.known(door)["outcome"], "well")
        self.assertNotIn(self.house.token, self.asterisk.log)

    def test_nobody_there(self) -> None:
        """
        One that takes the connection and says nothing holds the caller up for 2 s.
        """
        nobody = f"127.0.0.1:{free_port()}"
        with socket.create_server(("127.0.0.1", 0)) as mute:
            for status in (
                f"http://127.0.0.1:{mute.getsockname()[1]}",
                f"http://{nobody}",
                f"agi://{nobody}",
            ):
                known = self.is_turned_away(PORTERO_STATUS=status)
                self.assertEqual((known["uuid"], known["refused"]), ("", ""), status)


class OwnPorteroTests(HouseTestCase):
    """Here it does not survive."""

    def start(self, more: str = "") -> Portero:
        self.agi_port = free_port()
        listen = f"[listen]\nagi = {self.agi_port}\n"
        return self.own_portero(config=f"{listen}{more}")

    def test_full_and_stopping_it_takes_no_call(self) -> None:
        """
        The call under way is not hurt, and still asked about when it ends.
        """
        portero = self.start("max_calls = 1\n[limits]\nstop_within = 60\n")
        phone, door = self.phone(), self.door()
        phone.call(door)
        began = phone.wait_for_sound(5)
        for way in WAYS:
            self.assertEqual(self.is_turned_away(way)["refused"], "full")
        portero.terminate()
        self.wait_until("it stops", lambda: "may take 60 s more" in portero.log)
        for way in WAYS:
            self.assertEqual(self.is_turned_away(way)["refused"], "stopping")
        self.hear_until(phone, began + 1)
        phone.send_dtmf("#")
        phone.wait_for_bye(15)
        self.assertEqual(self.known(door)["outcome"], "well")
        self.wait_until("portero ends", lambda: not portero.alive)

    def test_killed_in_mid_call_it_leaves_the_caller_to_the_fallback(self) -> None:
        """
        Asterisk sees what it sees at an orderly end, so the dialplan has to ask.
        """
        portero = self.start()
        phones = {self.door(way): self.phone() for way in WAYS}
        for door, phone in phones.items():
            phone.call(door)
            phone.wait_for_sound(3)
        portero.kill()
        for door, phone in phones.items():
            phone.wait_for_tone(SOMEBODY_HZ, 5)
            phone.hang_up()
            known = self.known(door)
            self.assertEqual((known["outcome"], known["next"]), ("", ""))

"""Something dies: the caller is never left in silence, nor hung up on."""

from __future__ import annotations

import contextlib
import random
import re
import socket

from tests.lab.asterisk import SOMEBODY_HZ
from tests.lab.phone import Phone
from tests.lab.process import free_port
from tests.real.case import SAME_SPEECH, RealTestCase, measured


class FallbackTests(RealTestCase):
    def test_the_shipped_dialplan_reaches_portero(self) -> None:
        phone = self.phone()
        self.call(phone, "shipped")
        began = phone.wait_for_sound(3)
        self.wait_until("a call", lambda: len(self.portero.calls()) == 1)
        phone.send_dtmf("#")
        phone.wait_for_bye(12)
        self.assertGreater(phone.ended_at or 0.0, began)
        self.nothing_is_left()

    def test_the_shipped_dialplan_has_the_documented_defaults(self) -> None:
        """
        Whoever listens there, or nobody: the log tells where Asterisk went.
        """
        number = self.asterisk.extension("Goto(portero,s,1)")
        log = self._log_of(number, "AudioSocket\\(|does not exist")
        self.assertIn("PORTERO=127.0.0.1:8089", log)
        self.assertIn("PORTERO_STATUS=http://127.0.0.1:8091", log)
        self.assertIn("PORTERO_FALLBACK=from-internal,100,1", log)

    def test_the_shipped_dialplan_can_do_without_the_status_resource(self) -> None:
        steps = "Set(PORTERO_STATUS=none)", "Goto(portero,s,1)"
        number = self.asterisk.extension(*steps)
        log = self._log_of(number, "AudioSocket\\(")
        self.assertRegex(log, r"AudioSocket\([0-9a-f-]{36},127\.0\.0\.1:8089\)")
        self.assertNotIn("CURL", log)

    def _log_of(self, number: str, until: str) -> str:
        """
        Call until Asterisk logs this.
        """
        before = len(self.asterisk.log)
        phone = self.phone()
        phone.dial(self.asterisk.uri(number))
        self.wait_until(
            until, lambda: bool(re.search(until, self.asterisk.log[before:]))
        )
        return self.asterisk.log[before:]

    def test_a_stopped_portero_sends_the_caller_to_the_fallback(self) -> None:
        for how in ("plain", "shipped"):
            phone = self.phone()
            phone.call(self.asterisk.to_portero(how, free_port(), free_port()))
            phone.wait_for_tone(SOMEBODY_HZ, 4)
            phone.close()

    @measured
    def test_a_stopping_portero_gives_its_calls_back(self) -> None:
        portero = self.own_portero(config="[limits]\nstop_within = 1\n")
        phone = self.phone()
        self.call(phone, "shipped")
        phone.wait_for_sound(3)
        since = phone.heard.arrivals[-1].time
        portero.terminate()
        phone.wait_for_tone(SOMEBODY_HZ, 15)
        self.assertGreater(
            self.likeness(phone.heard.sound(since=since), self.prompt("apology")),
            SAME_SPEECH,
        )
        self.wait_until("portero ends", lambda: not portero.alive, 5)


class ServiceTests(RealTestCase):
    @measured
    def test_a_service_that_dies_costs_an_apology_and_the_fallback_follows(
        self,
    ) -> None:
        service = self.own_service()
        self.own_portero(service=service)
        phone = self.phone()
        self.call(phone, "shipped")
        phone.wait_for_sound(3)
        since = phone.heard.arrivals[-1].time
        service.kill()
        self._apology_then_fallback(since, phone)

    @measured
    def test_a_service_that_refuses_the_key_costs_an_apology(self) -> None:
        error = {"message": "Incorrect API key provided.", "code": "invalid_api_key"}
        service = self.own_service(refuse=(401, {"error": error}))
        self.own_portero(service=service)
        phone = self.phone()
        self.call(phone, "shipped")
        self._apology_then_fallback(0.0, phone)
        self.assertIn("Incorrect API key", self.portero.log)

    @measured
    def test_a_service_that_drops_the_connection_is_called_again(self) -> None:
        service = self.own_service(drop_after_s=2.0)
        self.own_portero(service=service)
        phone = self.phone()
        self.call(phone)
        phone.wait_for_sound(3)
        self.wait_until(
            "a second session", lambda: len(service.sent("session.created")) > 1, 10
        )
        self.assertIsNone(phone.ended_at)
        self.assertEqual(phone.heard.gaps(0.1), [], f"phone late: {phone.late}")

    def _apology_then_fallback(self, since: float, phone: Phone) -> None:
        phone.wait_for_tone(SOMEBODY_HZ, 40)
        heard = phone.heard.sound(since=since)
        self.assertGreater(self.likeness(heard, self.prompt("apology")), SAME_SPEECH)
        self.assertEqual(self.portero.calls(), [])


class NeighbourTests(RealTestCase):
    @measured
    def test_garbage_from_another_connection_does_not_disturb_a_call(self) -> None:
        phone = self.phone()
        self.call(phone)
        phone.wait_for_sound(3)
        noise = random.Random(1)
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", self.portero.port), 2) as peer:
                peer.settimeout(2)
                with contextlib.suppress(ConnectionError):
                    peer.sendall(noise.randbytes(5000))
        heard = self.reply_to(phone, self.speech())
        self.assertGreater(self.likeness(heard, self.speech()), SAME_SPEECH)
        self.assertEqual(phone.heard.gaps(0.06), [], f"phone late: {phone.late}")

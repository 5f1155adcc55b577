"""The configuration is read again under calls: only new ones notice."""

from __future__ import annotations

from tests.lab.phone import Phone
from tests.real.case import RealTestCase, measured

CALLERS = 10
HOLE = 0.1
"""In seconds; a phone of this lab that is late makes smaller ones."""


def configuration(greeting: str, voice: str, more: str = "") -> str:
    return f"""[agents.default]
greeting = "{greeting}"
voice = "{voice}"
{more}
"""


class ReloadTests(RealTestCase):
    def setUp(self) -> None:
        super().setUp()
        # One long reply, most of which waits in portero: a stall would be heard.
        self.service = self.own_service(reply=((0.1, 60_000),))
        config = configuration("Good day.", "marin")
        self.own_portero(service=self.service, config=config)
        port, web_port = self.portero.port, self.portero.web_port
        self.door = self.asterisk.to_portero("shipped", port, web_port)

    @measured
    def test_ten_calls_go_on_while_a_new_file_is_taken_over_and_a_broken_one_is_not(
        self,
    ) -> None:
        phones = [self._caller() for _ in range(CALLERS)]
        for phone in phones:
            phone.wait_for_sound(10)
        self._read_again(configuration("Good evening.", "cedar"), "was read again")
        phones.append(self._caller())
        phones[-1].wait_for_sound(5)
        self._read_again(
            configuration("Good night.", "ash", "voise = 1"), "all goes on as it was"
        )
        self.assertIn(f"{self.portero.config}:4: ", self.portero.log)
        self.assertIn("voise", self.portero.log)
        phones[0].send_dtmf("5")
        phones.append(self._caller())
        began = phones[-1].wait_for_sound(5)
        self._every_call_goes_on(phones, began)
        told = self.service.told()
        self.assertEqual([t.voice for t in told], ["marin"] * CALLERS + ["cedar"] * 2)
        for session in told[:CALLERS]:
            self.assertIn("Good day.", session.asked[0])
        (key,) = [item for session in told[:CALLERS] for item in session.items]
        self.assertIn("typed 5", key["content"][0]["text"])
        for session in told[CALLERS:]:
            self.assertIn("Good evening.", session.asked[0])

    def _caller(self) -> Phone:
        phone = self.phone()
        phone.call(self.door)
        return phone

    def _read_again(self, config: str, until: str) -> None:
        before = len(self.portero.log)
        self.portero.read_again(config)
        self.wait_until(until, lambda: until in self.portero.log[before:])

    def _every_call_goes_on(self, phones: list[Phone], since: float) -> None:
        for phone in phones:
            self.hear_until(phone, since + 1)
            self.assertIsNone(phone.ended_at)
            phone.hang_up()
            self.assertEqual(phone.heard.lost(), 0)
            self.assertEqual(phone.heard.gaps(HOLE), [], f"phone late: {phone.late}")
        self.nothing_is_left()
        log = self.portero.log
        self.assertEqual(log.count(" ended well: "), len(phones))
        self.assertEqual(log.count(" frames sent and 0 skipped, "), len(phones))
        self.assertEqual(log.count(" 0 underruns, "), len(phones))

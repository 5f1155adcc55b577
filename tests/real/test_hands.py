"""What the agent does to the world: keys, gates, transfers, a web server asked."""

from __future__ import annotations

import base64
import functools
import json
import socket
import time
from datetime import datetime
from pathlib import Path

from portero.hours import DAYS
from tests.lab.asterisk import OFFICE, SALES
from tests.lab.mailbox import Mailbox
from tests.lab.phone import Phone
from tests.lab.quality import noise_burst, pcm
from tests.lab.service import Models, Told
from tests.lab.website import Website
from tests.real.case import SAME_SPEECH, measured
from tests.real.house import House, HouseTestCase

KEYS = "0123456789ABCD*#"
LOUDNESS = ("1", "-2", "-8")
"""Asterisk's VOLUME() on the way: as sent, a half (-6 dB), an eighth (-18 dB)."""
KEY_SECONDS = 0.2
"""A tone and its pause."""
GATE_KEYS = "159#"
PIN, WRONG_PIN = "83104627", "60284713"
"""Long, so that no other number in a log has one in it by chance."""
RELAY_USER = "portero:secret"
ORDER = {"order": {"status": "on its way", "secret": "not asked for"}}
TOKEN = "the-token-of-the-shop"
SLOW, FILLER_AFTER = 2.5, 0.3
"""Seconds that a server takes, and after which the caller hears something else."""
SUMMARY = {"subject": "A leak", "summary": "Water in flat 3B; Ana waits for a plumber."}
MAIL_TO = "office@acme.example"
SOON = 8.0
"""Seconds for what should happen at once."""
SHORT = ((0.1, 300),)
LONG_MS = 4000


def reply(
    *function_call: str, reply: tuple[tuple[float, int], ...] = SHORT
) -> dict[str, object]:
    """
    @return: Knobs of a service that speaks and then calls this once.
    """
    told: dict[str, object] = {"reply": reply}
    if function_call:
        told |= {"function_call": function_call, "then": ({"reply": SHORT},)}
    return told


def models() -> Models:
    """
    @return: What the service does, by the name of the agent.
    """
    return {
        "dials": reply("send_dtmf", json.dumps({"digits": KEYS})),
        "street": reply("open_gate", '{"gate": "street"}'),
        "yard": reply("open_gate", '{"gate": "yard"}'),
        "garage": reply("open_gate", '{"gate": "garage"}'),
        "barn": reply("open_gate", '{"gate": "barn"}'),
        "to_sales": reply("transfer", '{"target": "sales"}'),
        "misled": reply("transfer", json.dumps({"target": SALES})),
        "asks_first": {
            "reply": SHORT,
            "function_call": ("transfer", '{"target": "board", "confirmed": true}'),
            "then": (
                {"reply": SHORT},
                {
                    "reply": SHORT,
                    "function_call": (
                        "transfer",
                        '{"target": "board", "confirmed": true}',
                    ),
                },
            ),
        },
        "to_closed": reply("transfer", '{"target": "workshop"}'),
        "records": reply("leave_voicemail", "{}"),
        "gives_way": {
            "reply": ((0.1, LONG_MS),),
            "function_call": ("transfer", '{"target": "sales"}'),
            "then": (
                {"reply": SHORT, "function_call": ("cancel_transfer", "{}")},
                {"reply": SHORT},
            ),
        },
        "menu": reply(reply=((0.1, 30_000),)),
        "shop": reply("order_status", '{"order": "123456"}'),
        "shop_slow": reply("slow_status", "{}"),
        "writes": reply("send_email_summary", json.dumps(SUMMARY)),
        "shop_misled": reply("order_status", '{"order": "../../admin"}'),
    }


def closed_now() -> str:
    """
    @return: Hours of a day that is neither today nor near it.
    """
    return f"{DAYS[(datetime.now().weekday() + 3) % 7]} 09:00-10:00"


@functools.cache
def the_website() -> Website:
    """
    @return: Where the relays of gates are, and the shop.
    """
    site = Website()
    answer = json.dumps(ORDER).encode()
    site.answers["/orders/123456"] = ("application/json", answer)
    site.delays["/slow"] = SLOW
    return site


@functools.cache
def the_mute_service() -> socket.socket:
    """
    @return: A voice service that takes connections and says nothing.
    """
    return socket.create_server(("127.0.0.1", 0))


@functools.cache
def the_mailbox() -> Mailbox:
    return Mailbox()


def _slow_webhook(site: str) -> str:
    return f"""
[webhooks.slow_status]
description = "Takes long."
method = "GET"
url = "{site}/slow"
allow = ["127.0.0.1/32"]
"""


def _agent(name: str, tool: str, more: str = "") -> str:
    return f"""
[agents.{name}]
model = "{name}"
instructions = "You are {name}."
tools = [{tool}]
{more}
"""


def configuration(agi_port: int, url: str, folder: Path) -> str:
    """
    @param folder: For files that gates need.
    """
    site = the_website().url
    for name, content in (
        ("pins", f"Ana {PIN}\n"),
        ("relay", RELAY_USER),
        ("token", TOKEN),
        ("key", "test"),
        ("wrong-key", "wrong"),
    ):
        (folder / name).write_text(content)
        (folder / name).chmod(0o600)
    mute = the_mute_service().getsockname()[1]
    gate = '"open_gate"'
    return f"""
[listen]
agi = "{agi_port}"
[targets.sales]
to = "{SALES}"
[targets.office]
to = "{OFFICE}"
[targets.board]
to = "{OFFICE}"
confirm = true
[targets.workshop]
to = "{SALES}"
hours = "{closed_now()}"
closed = "Nobody is in the workshop today."
[gates.street]
url = "{site}/street?turn=on"
password_file = "{folder / "relay"}"
pins_file = "{folder / "pins"}"
[gates.yard]
url = "{site}/yard"
who = "always"
cool_down = 60
[gates.barn]
url = "{site}/barn"
who = "always"
hours = "{closed_now()}"
[gates.garage]
dtmf = "{GATE_KEYS}"
who = "always"
cool_down = 0
[webhooks.order_status]
description = "The state of an order."
parameters = {{ order = {{ description = "Its number", pattern = "[0-9]{{6}}" }} }}
method = "GET"
url = "{site}/orders/{{order}}"
headers = {{ X-Agent = "{{agent}}" }}
token_file = "{folder / "token"}"
answer = "order.status"
allow = ["127.0.0.1/32"]
{_slow_webhook(site)}
[mail]
server = "127.0.0.1:{the_mailbox().port}"
tls = "none"
sender = "portero@acme.example"
queue = "{folder / "mail"}"
[providers.mute]
kind = "openai"
url = "ws://127.0.0.1:{mute}/v1/realtime"
api_key_file = "{folder / "key"}"
[providers.refusing]
kind = "openai"
url = "{url}"
api_key_file = "{folder / "wrong-key"}"
[agent]
{_agent("dials", '"send_dtmf"')}
{_agent("street", gate, 'gates = ["street"]')}
{_agent("yard", gate, 'gates = ["yard"]')}
{_agent("barn", gate, 'gates = ["barn"]')}
{_agent("garage", gate, 'gates = ["garage"]')}
{_agent("to_sales", '"transfer"')}
{_agent("misled", '"transfer"')}
{_agent("asks_first", '"transfer"')}
{_agent("to_closed", '"transfer"')}
{_agent("records", '"leave_voicemail"', 'voicemail = "office"')}
{_agent("gives_way", '"transfer", "cancel_transfer"')}
{_agent("menu", "", 'menu = { 0 = "office", 7 = "workshop" }')}
{_agent("menu_down", "", 'provider = "mute"' + chr(10) + 'menu = { 0 = "office" }')}
{_agent("menu_ill", "", 'provider = "refusing"' + chr(10) + 'menu = { 0 = "office" }')}
{_agent("shop", '"order_status"')}
{_agent("shop_misled", '"order_status"')}
{_agent("shop_slow", '"slow_status"', f"filler_after = {FILLER_AFTER}")}
{_agent("writes", '"send_email_summary"', f'mail_to = "{MAIL_TO}"')}
"""


@functools.cache
def the_house() -> House:
    return House.for_all(models(), configuration)


class HandsTestCase(HouseTestCase):
    def its_house(self) -> House:
        return the_house()

    def setUp(self) -> None:
        super().setUp()
        self.site = the_website()
        self.site.asked.clear()
        self.before = len(self.asterisk.log)

    def rings(self, agent: str) -> Phone:
        """
        @return: A phone in a call with this agent, which has begun to speak.
        """
        phone = self.phone()
        phone.call(self.door(PORTERO_AGENT=agent))
        phone.wait_for_sound(5)
        return phone

    def told(self, agent: str) -> Told:
        """
        @return: What portero told the newest session of this agent.
        """
        return self.sessions(agent)[-1]

    def sessions(self, agent: str) -> list[Told]:
        told = self.service.told()
        return [one for one in told if f"You are {agent}." in one.instructions]

    def answered(self, agent: str) -> str:
        """
        Wait for what a tool answers the agent.
        """
        self.wait_until(
            f"a tool's answer to {agent}", lambda: bool(self.outputs(agent)), SOON
        )
        return self.outputs(agent)[-1]

    def outputs(self, agent: str) -> list[str]:
        """
        @return: What tools have answered the agent so far.
        """
        return [
            item["output"]
            for item in self.told(agent).items
            if item["type"] == "function_call_output"
        ]

    def informed_of_result(self, agent: str, words: str) -> None:
        """
        Wait until a tool's answer, of several, has these words.
        """
        self.wait_until(
            f"{words!r}, from a tool, to {agent}",
            lambda: any(words in output for output in self.outputs(agent)),
            SOON,
        )

    def informed(self, agent: str, words: str) -> None:
        """
        Wait until the agent is told something with these words.
        """

        def found() -> bool:
            texts = [
                part.get("text", "")
                for item in self.told(agent).items
                for part in item.get("content", ())
            ]
            return any(words in text for text in texts)

        self.wait_until(f"{agent} is told: {words}", found, SOON)

    def lands(self, target: str) -> None:
        line = f"LAB landed at {target.split(',')[1]}"
        self.wait_until(line, lambda: line in self.asterisk.log[self.before :], SOON)

    def stays(self, phone: Phone) -> None:
        """
        Fail unless the caller is still in portero's hands.
        """
        time.sleep(0.5)
        self.assertNotIn("LAB landed", self.asterisk.log[self.before :])
        self.assertIsNone(phone.ended_at)
        self.assertEqual(self.states(), ["talking"])

    def states(self) -> list[str]:
        """
        @return: Of the calls under way.
        """
        return [call["state"] for call in self.portero.calls()]


class ToneTests(HandsTestCase):
    """What Asterisk's own detector makes of tones, at the other end of the line."""

    def heard(self, reader: str, seconds: float) -> str:
        self.wait_until(
            "Read() is done",
            lambda: self.asterisk.recognised(reader) is not None,
            seconds,
        )
        return self.asterisk.recognised(reader) or ""

    @measured
    def test_every_key_is_recognised_over_g711_at_several_levels(self) -> None:
        readers = {}
        for codec in "ulaw", "alaw":
            for volume in LOUDNESS:
                variables = {"PORTERO_AGENT": "dials", "VOLUME(TX)": volume}
                door = self.door(**variables)
                readers[codec, volume] = self.asterisk.listen(door, codec, len(KEYS), 5)
        for how, reader in readers.items():
            heard = self.heard(reader, 10 + len(KEYS) * KEY_SECONDS)
            self.assertEqual(heard, KEYS, how)

    @measured
    def test_a_gate_is_opened_by_tones(self) -> None:
        door = self.door(PORTERO_AGENT="garage")
        reader = self.asterisk.listen(door, "ulaw", len(GATE_KEYS), 5)
        self.assertEqual(self.heard(reader, 10), GATE_KEYS)


class GateTests(HandsTestCase):
    def paths(self) -> list[str]:
        return [asked.path for asked in self.site.asked]

    def type_in(self, phone: Phone, keys: str) -> None:
        for key in keys:
            phone.send_dtmf(key)

    def test_a_pin_opens_a_gate_over_http_and_a_wrong_one_does_not(self) -> None:
        phone = self.rings("street")
        self.assertIn("type the PIN", self.answered("street"))
        self.type_in(phone, f"{WRONG_PIN}#")
        self.informed("street", "is wrong")
        self.assertEqual(self.site.asked, [])
        self.type_in(phone, f"{PIN}#")
        self.informed("street", "street is open")
        (asked,) = self.site.asked
        self.assertEqual((asked.method, asked.path), ("POST", "/street?turn=on"))
        basic = base64.b64encode(RELAY_USER.encode()).decode()
        self.assertEqual(asked.headers["authorization"], f"Basic {basic}")
        self.assertNotIn(PIN, self.portero.log)
        self.assertNotIn("Starting factory", self.portero.log)

    def test_a_gate_that_was_just_opened_is_not_opened_again(self) -> None:
        self.rings("yard")
        self.assertIn("yard is open", self.answered("yard"))
        self.rings("yard")
        self.wait_until("two sessions", lambda: len(self.sessions("yard")) == 2)
        self.assertIn("opened just now", self.answered("yard"))
        self.assertEqual(self.paths(), ["/yard"])

    def test_a_gate_is_not_opened_outside_its_hours(self) -> None:
        self.rings("barn")
        self.assertIn("barn was not opened: it may be from", self.answered("barn"))
        self.assertEqual(self.paths(), [])


class TransferTests(HandsTestCase):
    def test_it_lands_at_its_extension(self) -> None:
        phone = self.phone()
        door = self.door(PORTERO_AGENT="to_sales")
        phone.call(door)
        self.lands(SALES)
        phone.hang_up()
        self.assertEqual(self.known(door)["outcome"], "transferred")

    def test_only_names_in_the_configuration_are_targets(self) -> None:
        phone = self.rings("misled")
        self.assertIn("transfer was not run", self.answered("misled"))
        self.stays(phone)

    def test_a_caller_who_has_to_agree_first_is_asked(self) -> None:
        """
        Whatever the agent says at first.
        """
        phone = self.rings("asks_first")
        self.assertIn("not yet: ask the caller", self.answered("asks_first"))
        phone.wait_for_quiet(0.3, 5)
        self.stays(phone)
        phone.play(pcm(noise_burst(0.6, phone.sample_rate)))
        self.lands(OFFICE)

    def test_the_caller_stays_when_nobody_is_there(self) -> None:
        phone = self.rings("to_closed")
        answer = self.answered("to_closed")
        self.assertIn("workshop is closed", answer)
        self.assertIn("Nobody is in the workshop today.", answer)
        self.stays(phone)

    def test_a_caller_who_objects_in_time_stays(self) -> None:
        phone = self.rings("gives_way")
        self.wait_until("the transfer", lambda: self.states() == ["transferring"])
        phone.play(pcm(noise_burst(0.6, phone.sample_rate)))
        self.wait_until("the caller stays", lambda: self.states() == ["talking"])
        self.informed_of_result("gives_way", "cancelled: the caller stays")
        phone.wait_for_quiet(1.0, 5)
        self.stays(phone)

    def test_a_message_is_left_where_the_configuration_says(self) -> None:
        phone = self.phone()
        door = self.door(PORTERO_AGENT="records")
        phone.call(door)
        self.lands(OFFICE)
        phone.hang_up()
        self.assertEqual(self.known(door)["next"], OFFICE)


class MenuTests(HandsTestCase):
    def test_a_key_leads_to_its_target_at_once(self) -> None:
        phone = self.rings("menu")
        phone.send_dtmf("0")
        self.lands(OFFICE)

    def test_a_key_of_a_closed_target_leads_nowhere(self) -> None:
        phone = self.rings("menu")
        phone.send_dtmf("7")
        self.stays(phone)

    def test_it_works_while_the_service_is_down(self) -> None:
        phone = self.phone()
        phone.call(self.door(PORTERO_AGENT="menu_down"))
        self.wait_until("a call", lambda: len(self.portero.calls()) == 1)
        phone.send_dtmf("0")
        self.lands(OFFICE)

    def test_it_works_while_the_caller_hears_the_apology(self) -> None:
        phone = self.rings("menu_ill")
        phone.send_dtmf("0")
        self.lands(OFFICE)


class WebhookTests(HandsTestCase):
    def test_a_server_is_asked_and_a_part_of_its_answer_goes_to_the_agent(self) -> None:
        self.rings("shop")
        self.assertEqual(self.answered("shop"), "on its way")
        (asked,) = self.site.asked
        self.assertEqual((asked.method, asked.path), ("GET", "/orders/123456"))
        self.assertEqual(asked.headers["x-agent"], "shop")
        self.assertEqual(asked.headers["authorization"], f"Bearer {TOKEN}")
        self.assertNotIn(TOKEN, self.portero.log)
        self.assertNotIn("Starting factory", self.portero.log)

    def test_an_argument_that_does_not_fit_never_reaches_it(self) -> None:
        self.rings("shop_misled")
        self.assertIn("order_status was not run", self.answered("shop_misled"))
        self.assertEqual(self.site.asked, [])

    def test_the_caller_hears_something_while_it_takes_long(self) -> None:
        phone = self.rings("shop_slow")
        self.assertEqual(self.answered("shop_slow"), "done")
        heard = self.likeness(phone.heard.sound(), self.prompt("moment"))
        self.assertGreater(heard, SAME_SPEECH)

    def test_a_result_is_not_lost_with_the_service(self) -> None:
        service = self.own_service(
            reply=SHORT, function_call=("slow_status", "{}"), drop_after_s=1.5
        )
        config = f'[agent]\ntools = ["slow_status"]\n{_slow_webhook(self.site.url)}'
        self.own_portero(service=service, config=config)
        self.call(self.phone())

        def told() -> bool:
            texts = [
                part["text"]
                for session in service.told()[1:]
                for item in session.items
                for part in item.get("content", ())
            ]
            return any("result of slow_status" in text for text in texts)

        self.wait_until("another session is told", told, SOON)


class MailTests(HandsTestCase):
    def test_a_summary_is_sent_where_the_configuration_says(self) -> None:
        mail = the_mailbox().mail
        self.rings("writes")
        self.assertIn("on its way", self.answered("writes"))
        self.wait_until("mail", lambda: bool(mail), SOON)
        (letter,) = mail
        self.assertEqual(letter["To"], MAIL_TO)
        self.assertIn(SUMMARY["subject"], letter["Subject"])
        body = letter.get_body(("plain",))
        self.assertIsNotNone(body)
        self.assertIn(SUMMARY["summary"], body.get_content() if body else "")

"""Who is calling: from the SIP From header and the dialplan to the agent's ear."""

from __future__ import annotations

import re
import socket
import time
from urllib.parse import quote
from uuid import UUID, uuid4

from portero.wire import audiosocket as wire
from tests.lab.asterisk import SOMEBODY, SOMEBODY_HZ
from tests.real.house import WAYS, HouseTestCase

HOSTILE = {
    'a" quoted " name\\': "a quoted name",
    "brackets ] [ ) ( )": "brackets ) ( )",
    "commas, and; semicolons": "commas, and; semicolons",
    "${SHELL(echo $((6*7))hacked)} $[1/0]": "SHELL(echo ((6*7))hacked) 1/0",
    "${CURL(http://127.0.0.1:1)}": "CURL(http://127.0.0.1:1)",
    "{company_name} {{x}} }": "company_name x",
    '1" = "1"]?fallback:s,1': "1 = 1 ?fallback:s,1",
    "x&agent=night&token=x&uuid=1#%00%0a+": "x&agent=night&token=x&uuid=1#%00%0a+",
    "N" * 79: "N" * 79,
    "Зоя Ünïcødé 李 \u202egnp.exe\u200b": "Зоя Ünïcødé 李 gnp.exe",
    "' or 1=1; -- <b>": "' or 1=1; -- b",
}
"""Names that a caller chose, and what the agent is told."""
HOSTILE_NUMBERS = {
    '6"]?fallback:s,1': "6 ?fallback:s,1",
    "${SHELL(echo $((6*7))hacked)}": "SHELL(echo ((6*7))hacked)",
    "1&agent=night&uuid=1,2": "1&agent=night&uuid=1,2",
    '6\\"$[1/0](': "6 1/0 (",
}
"""The same of numbers: what stands before the @ in SIP, where most can be encoded."""


class FactTests(HouseTestCase):
    def test_name_and_variables_reach_the_agent_and_the_record(self) -> None:
        """
        The number called chooses the agent, as FreePBX passes it on.
        """
        for way in WAYS:
            phone = self.phone()
            phone.caller = f'"Ana Pérez {way}" <sip:600123456@127.0.0.1>'
            door = self.door(
                way,
                FROM_DID="+34911234567",
                PORTERO_VARIABLES="flat=${URIENCODE(3 B & C)}&vip=yes",
            )
            phone.call(door)
            session = self.session(f"Good day, Ana Pérez {way}, this is Acme.")
            self.assertIn("Somebody rings for flat “3 B & C”.", session.instructions)
            phone.hang_up()
            record = self.portero.call_record(self.known(door)["uuid"])
            self.assertEqual(record["agent"], "reception")
            self.assertEqual(record["facts"]["caller_name"], f"Ana Pérez {way}")
            self.assertEqual(record["facts"]["caller_number"], "600123456")
            self.assertEqual(record["facts"]["called_number"], "+34911234567")
            variables = {"flat": "3 B & C", "vip": "yes"}
            self.assertEqual(record["facts"]["variables"], variables)
            self.assertEqual(record["outcome"], "well")

    def test_three_thousand_characters_of_variables_arrive(self) -> None:
        given = {f"v{n}": f"{n:094}" for n in range(10, 40)}
        text = "&".join(f"{name}={value}" for name, value in given.items())
        for way in WAYS:
            door = self.door(way, PORTERO_AGENT="brief", PORTERO_VARIABLES=text)
            self.ends(door)
            record = self.portero.call_record(self.known(door)["uuid"])
            self.assertEqual(record["facts"]["variables"], given, way)

    def test_the_dialplan_may_name_the_agent_or_the_number_called(self) -> None:
        for way in WAYS:
            for agent, variables in (
                ("night", {"PORTERO_AGENT": "night", "FROM_DID": "+34911234567"}),
                ("reception", {"PORTERO_CALLED": "+34 911-234-567"}),
                ("default", {}),
            ):
                phone, door = self.phone(), self.door(way, **variables)
                phone.call(door)
                self.wait_until("a call", lambda: bool(self.portero.calls()))
                (call,) = self.portero.calls()
                self.assertEqual(call["agent"], agent, way)
                phone.hang_up()
                self.assertTrue(self.portero.wait_until_idle())
        # Nobody told another number, so it is the one that was dialled.
        self.assertEqual(
            call["called_number"], door.removeprefix("sip:").partition("@")[0]
        )

    def test_hostile_names_do_no_harm(self) -> None:
        before = len(self.asterisk.log)
        for way in WAYS:
            self._call_with_hostile_names(way)
        log = self.asterisk.log[before:]
        self.assertNotIn("42hacked", log)
        self.assertEqual(
            re.findall(r"^.*(?:WARNING|ERROR)\[\d+\]\[C-.*", log, re.M), []
        )

    def test_hostile_numbers_do_no_harm(self) -> None:
        before = len(self.asterisk.log)
        calls = []
        for way in WAYS:
            for number, harmless in HOSTILE_NUMBERS.items():
                phone, door = self.phone(), self.door(way, PORTERO_AGENT="brief")
                phone.caller = f"<sip:{quote(number, safe='')}@127.0.0.1>"
                phone.call(door)
                calls.append((phone, door, harmless))
        for phone, door, harmless in calls:
            phone.wait_for_bye(10)
            known = self.known(door)
            self.assertEqual((known["outcome"], known["agent"]), ("well", "brief"))
            record = self.portero.call_record(known["uuid"])
            self.assertEqual(record["facts"]["caller_number"], harmless)
        log = self.asterisk.log[before:]
        self.assertNotIn("42hacked", log)
        self.assertEqual(
            re.findall(r"^.*(?:WARNING|ERROR)\[\d+\]\[C-.*", log, re.M), []
        )

    def _call_with_hostile_names(self, way: str) -> None:
        doors: list[str] = []
        phones = [self.phone() for _ in HOSTILE]
        for number, (phone, name) in enumerate(zip(phones, HOSTILE, strict=True)):
            quoted = name.replace("\\", "\\\\").replace('"', '\\"')
            phone.caller = f'"{quoted}" <sip:6001@127.0.0.1>'
            variables = f"flat={number}{way}"
            doors.append(
                self.door(way, PORTERO_AGENT="brief", PORTERO_VARIABLES=variables)
            )
            phone.call(doors[-1])
        for number, (name, harmless) in enumerate(HOSTILE.items()):
            phones[number].wait_for_bye(10)
            known = self.known(doors[number])
            self.assertEqual(known["outcome"], "well", name)
            self.assertEqual(known["agent"], "brief", name)
            self.assertEqual(known["fallback"], SOMEBODY, name)
            flat = f"Flat {number}{way}:"
            (said,) = self.session(flat).asked
            self.assertTrue(said.endswith(f"{flat} {harmless}."), said)


class UuidTests(HouseTestCase):
    def test_one_that_nobody_announced(self) -> None:
        self._opens_no_session(str(uuid4()))

    def test_one_that_came_before(self) -> None:
        call_id = self.portero.announce(agent="brief")["uuid"]
        self.assertTrue(self._gets_in(call_id))
        self.assertTrue(self.portero.wait_until_idle())
        self._opens_no_session(call_id)

    def test_one_that_came_before_where_others_need_no_announcement(self) -> None:
        self._own = None
        call_id = self.portero.announce()["uuid"]
        self.assertTrue(self._gets_in(call_id))
        self.assertTrue(self.portero.wait_until_idle())
        self.assertFalse(self._gets_in(call_id))
        self.assertTrue(self._gets_in(str(uuid4())))

    def test_one_that_comes_late(self) -> None:
        time.sleep(max(0.0, self.house.late_at - time.monotonic()))
        self._opens_no_session(self.house.late)

    def test_a_dialplan_that_announces_nothing_keeps_its_caller(self) -> None:
        connections = self.service.connections
        phone = self.phone()
        self.call(phone, "plain")
        phone.wait_for_tone(SOMEBODY_HZ, 5)
        self._only_the_announced_one_comes(connections)

    def _opens_no_session(self, call_id: str) -> None:
        connections = self.service.connections
        self.assertFalse(self._gets_in(call_id))
        self._only_the_announced_one_comes(connections)

    def _only_the_announced_one_comes(self, connections: int) -> None:
        """
        Of one that was not announced, the connection would have been first.
        """
        self.assertTrue(self._gets_in(self.portero.announce(agent="brief")["uuid"]))
        self.wait_until("a session", lambda: self.service.connections > connections)
        self.assertTrue(self.portero.wait_until_idle())
        self.assertEqual(self.service.connections, connections + 1)

    def _gets_in(self, call_id: str) -> bool:
        """
        Play Asterisk's part, until portero sends sound or ends the connection.
        """
        identity = UUID(call_id).bytes
        with socket.create_connection(("127.0.0.1", self.portero.port), 5) as peer:
            peer.sendall(wire.HEADER.pack(wire.UUID, len(identity)) + identity)
            try:
                return peer.recv(1) == bytes([wire.SLIN])
            except ConnectionResetError:
                return False

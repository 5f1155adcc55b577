"""C{portero doctor} with an Asterisk and a portero: one thing wrong at a time."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import portero
from tests.lab.asterisk import SOMEBODY, Asterisk, command
from tests.lab.front import Front
from tests.lab.portero import OWN_VARIABLES, Portero
from tests.lab.process import free_port
from tests.lab.service import Service
from tests.real.case import RealTestCase

KEY = "test"
"""What C{Service.env} has."""


@functools.cache
def the_patient() -> Asterisk:
    """@return: One for this file alone, as things are broken in it."""
    asterisk = Asterisk(command())
    atexit.register(asterisk.stop)
    asterisk.extension("Goto(portero,s,1)")
    return asterisk


@functools.cache
def the_service() -> Service:
    service = Service(key=KEY)
    atexit.register(service.stop)
    return service


@functools.cache
def the_house() -> Portero:
    house = Portero(env=the_service().env)
    atexit.register(house.stop)
    return house


class DoctorTests(RealTestCase):
    def setUp(self) -> None:
        self.asterisk = the_patient()
        self._own = the_house()
        self.env = the_service().env
        self.point_to(self.portero.port)

    def logs(self) -> dict[str, str]:
        return {"Asterisk": self.asterisk.log, "portero": self.portero.log}

    def point_to(self, port: int) -> None:
        """The dialplan sends calls to this port."""
        for name, value in (
            ("PORTERO", f"127.0.0.1:{port}"),
            ("PORTERO_STATUS", self.portero.url),
            ("PORTERO_FALLBACK", SOMEBODY),
        ):
            self.asterisk.rx(f"dialplan set global {name} {value}")

    def without(self, module: str) -> None:
        """An Asterisk that has not loaded it, for this test."""
        self.asterisk.rx(f"module unload {module}.so")
        self.addCleanup(self.asterisk.rx, f"module load {module}.so")

    def doctor(self, port: int = 0) -> list[dict[str, Any]]:
        """@return: What it finds, after a look at its exit status."""
        code = "import sys; from portero.cli import main; sys.exit(main(sys.argv[1:]))"
        env = {n: v for n, v in os.environ.items() if not n.startswith(OWN_VARIABLES)}
        env["PYTHONPATH"] = str(Path(portero.__file__).parents[1])
        arguments = ["--port", str(port or self.portero.port)]
        arguments += ["--web", str(self.portero.web_port)]
        arguments += ["--asterisk", self.asterisk.command_line]
        done = subprocess.run(
            [sys.executable, "-c", code, "doctor", "--json", *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            env={**env, **self.env},
        )
        self.assertEqual(done.stderr, "")
        document = json.loads(done.stdout)
        fails = document["status"] == "fail"
        self.assertEqual(done.returncode, 2 if fails else 0)
        found: list[dict[str, Any]] = document["findings"]
        return found

    def only(self, check: str, level: str = "fail", port: int = 0) -> str:
        """@return: What is said by the one that is so bad; no other is."""
        found = self.doctor(port)
        bad = [each for each in found if each["level"] == level]
        if level == "warn":  # a machine of the lab has no time server, say
            bad = [each for each in bad if each["check"] == check]
            self.assertEqual([f for f in found if f["level"] == "fail"], [])
        self.assertEqual([each["check"] for each in bad], [check], bad)
        self.assertTrue(bad[0]["remedy"])
        return str(bad[0]["said"])

    def test_where_all_is_well_nothing_fails(self) -> None:
        found = {each["check"]: each for each in self.doctor()}
        for check in (
            *("configuration", "port", "status", "call", "next", "service"),
            *("handshake", "versions", "asterisk", "modules", "address", "dialplan"),
            *("fallback", "token", "codecs"),
        ):
            self.assertEqual(found[check]["level"], "ok", found[check])

    def test_a_module_that_is_not_loaded(self) -> None:
        self.without("app_exec")
        self.without("func_curl")
        self.assertEqual(
            self.only("modules"),
            "not loaded: app_exec (for TryExec()), func_curl (for CURL())",
        )

    def test_a_codec_that_is_not_loaded(self) -> None:
        self.without("codec_ulaw")
        self.assertIn("cannot convert ulaw", self.only("codecs"))

    def test_a_line_that_is_missing_in_the_dialplan(self) -> None:
        self.asterisk.rx("dialplan remove extension next@portero")
        self.addCleanup(self.asterisk.rx, "dialplan reload")
        self.assertIn("/next", self.only("dialplan"))

    def test_a_fallback_that_is_not_there(self) -> None:
        self.asterisk.rx("dialplan set global PORTERO_FALLBACK lab,799,1")
        self.assertIn("lab,799,1 is not in the dialplan", self.only("fallback"))

    def test_a_port_on_which_nothing_listens(self) -> None:
        port = free_port()
        self.point_to(port)
        self.assertIn("which is free", self.only("port", port=port))

    def test_a_dialplan_that_leads_to_another_port(self) -> None:
        self.point_to(free_port())
        self.assertIn("and portero listens on", self.only("address"))

    def test_a_token_that_the_dialplan_has_not(self) -> None:
        self.env = {**self.env, "PORTERO_WEB_TOKEN": "the-token"}
        self.assertIn("the dialplan has none", self.only("token"))

    def test_a_dial_that_names_no_codec(self) -> None:
        self.asterisk.extension("Dial(AudioSocket/127.0.0.1:9/${UUID()},,g)")
        self.assertIn("names no codec", self.only("codecs", "warn"))

    def test_a_wrong_key(self) -> None:
        self.env = {**self.env, "OPENAI_API_KEY": "wrong"}
        self.assertIn("Incorrect API key", self.only("handshake"))

    def front(self, **options: Any) -> Front:
        """The voice service, over TLS."""
        front = Front(the_service().url, **options)
        self.addCleanup(front.stop)
        self.env = {**self.env, "OPENAI_REALTIME_URL": front.url}
        return front

    def test_a_certificate_that_is_not_to_be_trusted(self) -> None:
        self.front(name="example.net")
        said = self.only("certificate")
        self.assertIn("signed by itself and for another host name", said)

    def test_a_clock_that_is_off(self) -> None:
        self.env["PORTERO_CA_FILE"] = self.front(ahead=3600.0).ca_file
        self.assertIn("behind localhost", self.only("clock"))

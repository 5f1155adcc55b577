"""Tests of L{portero.doctor.voice}, with the simulator behind it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from portero.config import Config, load
from portero.doctor import probe, voice
from portero.doctor.probe import Seen
from portero.doctor.report import Finding
from portero.simulator import Connection, Knobs, Simulator
from portero.wiring import Wiring
from tests.lab.front import Front
from tests.lab.process import free_port

at: Any = reactor  # it provides more interfaces than its type says
KEY = "right"
SEEN = Seen(3.0, 12.4, 30.6, (), "example.net", datetime.now(UTC) + timedelta(99))


def judged(seen: Seen, own: bool = False) -> dict[str, Finding]:
    found = [*voice.judge("api.example.net", 443, seen, own)]
    return {finding.check: finding for finding in found}


class JudgeTests(SynchronousTestCase):
    def test_how_far_it_is_is_told(self) -> None:
        self.assertEqual(
            judged(SEEN)["service"].said,
            "api.example.net:443 is reached: name 3 ms, TCP 12 ms, TLS 31 ms",
        )
        plain = judged(Seen(0.1, 0.4))
        self.assertEqual([*plain], ["service"])
        self.assertEqual(
            plain["service"].said, "api.example.net:443 is reached: TCP 0 ms"
        )

    def test_a_certificate_that_is_trusted_tells_its_end(self) -> None:
        found = judged(SEEN)["certificate"]
        self.assertEqual(found.level, "ok")
        assert SEEN.expires is not None
        self.assertIn(SEEN.expires.strftime("%Y-%m-%d"), found.said)

    def test_one_that_expires_soon_is_told(self) -> None:
        for days, level in ((13, "warn"), (15, "ok")):
            expires = datetime.now(UTC) + timedelta(days, seconds=60)
            found = judged(replace(SEEN, expires=expires))["certificate"]
            self.assertEqual(found.level, level)

    def test_each_flaw_has_its_remedy(self) -> None:
        self.patch(probe, "AUTHORITIES", (__file__,))
        for flaws, own, remedy in [
            ((probe.EXPIRED,), False, "date of this machine"),
            ((probe.TOO_EARLY, probe.OTHER_NAME), False, "date of this machine"),
            ((probe.OTHER_NAME,), False, "name the host as its certificate does"),
            ((probe.SELF_SIGNED,), True, "ca_file in [provider] is not of"),
            ((probe.SELF_SIGNED, probe.OTHER_NAME), False, "set ca_file"),
            ((probe.UNKNOWN_AUTHORITY,), False, "such as a firewall"),
        ]:
            found = judged(replace(SEEN, flaws=flaws), own)["certificate"]
            self.assertEqual(found.level, "fail")
            self.assertIn(flaws[0], found.said)
            self.assertIn(remedy, found.remedy)

    def test_a_machine_without_authorities_is_told_what_to_install(self) -> None:
        self.patch(probe, "AUTHORITIES", ("/not/there",))
        found = judged(replace(SEEN, flaws=(probe.UNKNOWN_AUTHORITY,)))["certificate"]
        self.assertIn("apt install ca-certificates", found.remedy)

    def test_clocks_may_differ_by_half_a_minute(self) -> None:
        for ahead, level, words in [
            (0.0, "ok", "within 30 s"),
            (30.0, "ok", "within 30 s"),
            (30.1, "fail", "is 30 s behind api.example.net"),
            (-3600.0, "fail", "is 3600 s ahead of api.example.net"),
        ]:
            found = judged(replace(SEEN, ahead=ahead))["clock"]
            self.assertEqual(found.level, level)
            self.assertIn(words, found.said)


class DemoTests(SynchronousTestCase):
    def levels(self, text: str = "", **environ: str) -> list[str]:
        path = self.mktemp()
        Path(path).write_text(text)
        return [finding.level for finding in voice.demo(load(path, environ))]

    def test_without_a_key_the_demo_agent_is_told(self) -> None:
        self.assertEqual(self.levels(), ["warn"])

    def test_one_that_was_chosen_is_fine(self) -> None:
        self.assertEqual(self.levels('[provider]\nkind = "demo"\n'), ["ok"])
        self.assertEqual(self.levels('[agents.default]\nprovider = "demo"\n'), ["ok"])

    def test_with_a_key_there_is_nothing_to_say(self) -> None:
        self.assertEqual(self.levels(OPENAI_API_KEY="sk-1"), [])


class Diarist(Simulator):
    """Keeps who came."""

    def __init__(self, knobs: Knobs) -> None:
        super().__init__(at, knobs)
        self.came: list[Any] = []

    def joined(self, connection: Any) -> None:
        super().joined(connection)
        self.came.append(connection)


class ServiceTests(TestCase):
    timeout = 30

    def simulator(self, **knobs: Any) -> Diarist:
        simulator = Diarist(Knobs(**{"key": KEY, **knobs}))
        simulator.startService()
        self.addCleanup(simulator.stopService)
        return simulator

    def config(self, url: str, key: str = KEY, ca_file: str = "") -> Config:
        path = self.mktemp()
        Path(path).write_text(
            "[limits]\nconnect_within = 1\n[agents.day]\n[agents.night]\n"
            '[agents.demo]\nprovider = "demo"\n'
        )
        environ = {
            "OPENAI_REALTIME_URL": url,
            "OPENAI_API_KEY": key,
            "PORTERO_CA_FILE": ca_file,
        }
        return load(path, environ)

    async def examine(self, config: Config) -> dict[str, Finding]:
        """@return: By check; there is one of each."""
        roster = Wiring(at).build(config).roster
        found: list[Finding] = []
        for provider, agents in voice.services(config).items():
            self.assertEqual((provider, agents), ("", ["default", "day", "night"]))
            found += await voice.examine(at, config, roster, provider, agents)
        # Closing in good order takes a moment.
        await deferLater(at, 0.1)
        by_check = {finding.check: finding for finding in found}
        self.assertEqual(len(by_check), len(found))
        return by_check

    async def test_each_agent_has_a_session_and_nothing_is_said(self) -> None:
        simulator = self.simulator()
        found = await self.examine(self.config(simulator.url))
        self.assertEqual([*found], ["service", "handshake"])
        self.assertEqual({f.level for f in found.values()}, {"ok"})
        self.assertIn("takes default, day, night: ready after", found["handshake"].said)
        asked = [
            [event["type"] for event in connection.received]
            for connection in simulator.came
            if isinstance(connection, Connection)
        ]
        # The first only looked at the way there.
        self.assertEqual(asked, [[], *[["session.update"]] * 3])

    async def test_a_wrong_key_is_said_once_for_all(self) -> None:
        simulator = self.simulator()
        found = await self.examine(self.config(simulator.url, "wrong"))
        self.assertEqual(found["service"].level, "ok")
        failed = found["handshake"]
        self.assertEqual(failed.level, "fail")
        self.assertIn("does not take default, day, night: refused by", failed.said)
        self.assertIn("Incorrect API key", failed.said)
        self.assertIn("portero explain default", failed.remedy)

    async def test_a_session_that_is_refused_is_said(self) -> None:
        simulator = self.simulator(update_error="model_not_found")
        found = await self.examine(self.config(simulator.url))
        self.assertIn("model_not_found", found["handshake"].said)

    async def test_one_that_never_comes_has_an_end(self) -> None:
        simulator = self.simulator(hide=frozenset({"session.updated"}))
        found = await self.examine(self.config(simulator.url))
        self.assertIn("it is not ready within 1 s", found["handshake"].said)

    async def test_nobody_there_is_said_and_no_session_is_tried(self) -> None:
        url = f"ws://127.0.0.1:{free_port()}/v1"
        found = await self.examine(self.config(url))
        self.assertEqual([*found], ["service"])
        self.assertEqual(found["service"].level, "fail")
        self.assertIn("cannot be reached: 127.0.0.1: Conn", found["service"].said)

    def front(self, **options: Any) -> Front:
        front = Front(self.simulator().url, **options)
        self.addCleanup(front.stop)
        return front

    async def test_over_tls_certificate_and_clock_are_looked_at(self) -> None:
        front = self.front()
        found = await self.examine(self.config(front.url, ca_file=front.ca_file))
        self.assertEqual(
            [(f.check, f.level) for f in found.values() if f.check != "certificate"],
            [("service", "ok"), ("clock", "ok"), ("handshake", "ok")],
        )
        # It is good for a day.
        self.assertEqual(found["certificate"].level, "warn")

    async def test_one_that_is_not_trusted_is_said_and_no_session_is_tried(
        self,
    ) -> None:
        front, other = self.front(), self.front(name="example.net")
        for config, words in (
            (self.config(front.url), probe.SELF_SIGNED),
            (self.config(other.url, ca_file=other.ca_file), probe.OTHER_NAME),
        ):
            found = await self.examine(config)
            self.assertEqual([*found], ["service", "certificate"])
            self.assertEqual(found["certificate"].level, "fail")
            self.assertIn(words, found["certificate"].said)

    async def test_a_clock_that_is_off_is_said_and_the_session_works(self) -> None:
        front = self.front(ahead=3600.0)
        found = await self.examine(self.config(front.url, ca_file=front.ca_file))
        self.assertEqual(found["clock"].level, "fail")
        self.assertIn("behind localhost", found["clock"].said)
        self.assertEqual(found["handshake"].level, "ok")

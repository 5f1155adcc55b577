"""
Faults made on purpose, and C{portero why} names each of them, and nothing else; and a
replay of each is the same call.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from portero import why
from portero.replay import replay
from tests.lab.phone import Phone
from tests.lab.portero import Portero
from tests.lab.quality import pcm, tone
from tests.lab.recording import Sound
from tests.real.case import RealTestCase
from tests.replayed import is_whole

OF_A_BUSY_MACHINE = {
    *("late", "stood_still", "uneven", "ran_dry", "held_back", "slow_to_connect"),
}
"""What tests on a machine with other things to do cannot rule out."""
BEFORE = 1.5
"""Seconds until callers speak: over the greeting, as some do."""
LASTS = 14.0
"""Seconds."""
ECHO_DB, ECHO_MS = 22.0, 140
STOOD_STILL_MS = 300

Does = Callable[[Phone], None]


@dataclass
class Made:
    """A call that was made on purpose."""

    phone: Phone
    portero: Portero
    call_id: str


class WhyTests(RealTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.captures = Path(self.mktemp()).absolute()

    def test_every_fault_is_named_and_of_a_clean_call_nothing_is_said(self) -> None:
        """All calls go on at the same time."""
        words = self.speech()
        silence = bytes(round(16000 * BEFORE))
        talk = silence + pcm(words)
        services = self.own_service(first_delta_s=2.2), None
        of_slow, portero = (self.keeping(service) for service in services)
        made = {
            "slow_service": self.begin(of_slow, lambda p: p.play(talk)),
            "echo_cut": self.begin(portero, lambda p: self.return_sound(p, talk)),
            "dead_caller": self.begin(portero, lambda p: None),
            "not_heard": self.begin(portero, lambda p: p.mute()),
            "hum": self.begin(portero, lambda p: p.play(pcm(self.humming(words)))),
            "clipped": self.begin(portero, lambda p: p.play(silence + pcm(12 * words))),
            "quiet": self.begin(portero, lambda p: p.play(silence + pcm(words / 16))),
            "lossy": self.begin(portero, lambda p: self.lose(p, words)),
            "": self.begin(portero, lambda p: p.play(talk)),
        }
        for one in made.values():
            self.end(one)
        said = {name: self.why(one) for name, one in made.items()}
        found = {
            name: {one["name"] for one in each["problems"]} - OF_A_BUSY_MACHINE
            for name, each in said.items()
        }
        right = {name: {name} if name else set() for name in made}
        figures = said["echo_cut"]["figures"]
        if figures["filled_ms"] > STOOD_STILL_MS:
            # This machine stood still, and the echo is later than it is looked for.
            del found["echo_cut"], right["echo_cut"]
        self.assertEqual(found, right, json.dumps(said))
        if "echo_cut" in found:
            self.echo_is_right(figures["sound"])
        differ = {name: self.differences(one) for name, one in made.items()}
        self.assertEqual(differ, {name: [] for name in made})

    def echo_is_right(self, echo: dict[str, float]) -> None:
        self.assertLess(abs(echo["echo_db"] - ECHO_DB), 2)
        # What is missing of the caller's sound is put in when it is 60 ms.
        self.assertGreater(echo["echo_ms"], ECHO_MS - 60)
        self.assertLess(echo["echo_ms"], ECHO_MS + 150)

    def humming(self, words: Sound) -> Sound:
        """@return: The words at their time, over a hum that is always there."""
        hum = tone(50, LASTS, 8000, 0.003) + tone(150, LASTS, 8000, 0.002)
        begin = round(8000 * BEFORE)
        hum[begin : begin + len(words)] += words
        return hum

    def return_sound(self, phone: Phone, talk: bytes) -> None:
        phone.return_sound(ECHO_DB, ECHO_MS)
        phone.play(talk + talk)

    def lose(self, phone: Phone, words: Sound) -> None:
        phone.lose(0.15)
        phone.play(pcm(words) * 3)

    def keeping(self, service: Any) -> Portero:
        """@return: One that keeps records of its own, and captures."""
        records = os.path.abspath(self.mktemp())
        return self.own_portero(
            service=service,
            config='[agent]\ncapture = true\nconsent = "agreement"\n'
            f'[records]\nfile = "{records}"\ncaptures = "{self.captures}"\n',
        )

    def begin(self, portero: Portero, does: Does) -> Made:
        phone = self.phone()
        does(phone)
        before = {call["id"] for call in portero.calls()}
        phone.call(self.asterisk.to_portero("plain", portero.port))
        self.wait_until("a call", lambda: len(portero.calls()) > len(before))
        (call_id,) = {call["id"] for call in portero.calls()} - before
        return Made(phone, portero, call_id)

    def end(self, made: Made) -> None:
        phone = made.phone
        end = (phone.answered_at or 0.0) + LASTS
        self.wait_until(
            "the end",
            lambda: bool(phone.ended_at) or phone.heard.arrivals[-1].time > end,
            15,
        )
        phone.hang_up()

    def why(self, made: Made) -> dict[str, Any]:
        """@return: What C{portero why --json} says, once there is a record."""
        config = str(made.portero.config)
        said = StringIO()

        def known() -> bool:
            said.seek(0)
            said.truncate()
            with redirect_stdout(said), redirect_stderr(StringIO()):
                status = why.run([made.call_id, "--json", "--config", config])
            return status != why.NOT_FOUND

        self.wait_until("its record", known)
        found: dict[str, Any] = json.loads(said.getvalue())
        return found

    def differences(self, made: Made) -> list[str]:
        """@return: Of its replay, once its capture is whole."""
        (path,) = self.captures.glob(f"*-{made.call_id}.capture")
        self.wait_until("the end of its capture", lambda: is_whole(path))
        found = replay(path.read_bytes()).comparison
        self.assertGreater(found.frames, 50)
        return [f"{one.captured} -> {one.replayed}" for one in found.differences]

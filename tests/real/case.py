"""What all tests on real parts share: one Asterisk, one portero, and their logs."""

from __future__ import annotations

import atexit
import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from twisted.trial.unittest import SynchronousTestCase

from portero import prompts
from tests.lab.asterisk import Asterisk, command
from tests.lab.machine import TOLD_WITHIN, Crowd, Patience
from tests.lab.phone import Phone
from tests.lab.portero import Portero
from tests.lab.process import LabError, wait_until
from tests.lab.quality import align, load, pcm, resampled
from tests.lab.recording import Sound
from tests.lab.service import Service

SPOKEN = "cannot-complete-as-dialed"
"""What the caller says: 2.6 s without a pause that would end a turn."""
QUIET_SECONDS = 0.7
"""Silence after which a reply is over; its own pauses are shorter."""
MARGIN = 0.4
"""Round the packets that sound: words begin and end softly. In seconds."""
LINES = 30
"""Of each log, in the message of a failure."""
MOST_TRIES, ROOM_WITHIN = 3, 30.0
"""To measure something on a machine that is busy with something else; and the seconds
in which it should have less to do, before each further one."""
PATIENCE = Patience(120.0)
"""Of all tests together: the run has an end of its own."""
SAME_SPEECH = 0.95
"""Correlation above which two recordings are of the same words."""


@functools.cache
def the_asterisk() -> Asterisk:
    """
    @return: The one of this run; trial knows no fixtures for several tests.
    """
    asterisk = Asterisk(command())
    atexit.register(asterisk.stop)
    return asterisk


@functools.cache
def the_portero() -> Portero:
    """
    @return: The one with the demo agent, of all tests that don't harm it.
    """
    portero = Portero()
    atexit.register(portero.stop)
    return portero


def measured(method: Callable[[Any], None]) -> Callable[[Any], None]:
    """
    @return: The same test, which measures sound or time. It measures again when it
        failed and the machine had so much else to do meanwhile that this may be why.
    """

    @functools.wraps(method)
    def measures(self: RealTestCase) -> None:
        for _ in range(MOST_TRIES - 1):
            crowd = Crowd()
            try:
                method(self)
            except (AssertionError, LabError) as error:
                time.sleep(TOLD_WITHIN)
                if not crowd.is_too_much():
                    raise
                print(f"\ntoo busy, once more: {self.id()}: {str(error)[:200]}")
            else:
                return
            self.doCleanups()
            PATIENCE.wait_for_room(ROOM_WITHIN)
            self.setUp()
        method(self)

    return measures


def _explained(method: Callable[[RealTestCase], None]) -> Any:
    """
    @return: The same test, with the logs in the message of its failure.
    """

    @functools.wraps(method)
    def explained(self: RealTestCase) -> None:
        marks = {name: len(log) for name, log in self.logs().items()}
        try:
            method(self)
        except (AssertionError, LabError) as error:
            message = [str(error)]
            for name, log in self.logs().items():
                lines = log[marks.get(name, 0) :].splitlines()
                message += [f"--- {name} ---", *lines[-LINES:]]
            raise self.failureException("\n".join(message)) from error

    return explained


class RealTestCase(SynchronousTestCase):
    """
    A failure's message ends with what Asterisk and portero logged meanwhile.
    """

    def __init_subclass__(cls) -> None:
        for name, method in tuple(vars(cls).items()):
            if name.startswith("test"):
                setattr(cls, name, _explained(method))

    def setUp(self) -> None:
        self.asterisk = the_asterisk()
        self._own: Portero | None = None

    @property
    def portero(self) -> Portero:
        """Who answers: the common one, unless the test started its own."""
        return self._own or the_portero()

    def own_portero(
        self, *options: str, service: Service | None = None, config: str = ""
    ) -> Portero:
        """
        Start another portero for this test, and make it the one that answers.

        @param service: Where it finds its voice; L{None}: the demo agent.
        @param config: TOML.
        """
        env = service.env if service else None
        self._own = Portero(*options, env=env, config=config)
        self.addCleanup(self._own.stop)
        return self._own

    def own_service(self, **knobs: Any) -> Service:
        """
        Start a voice service for this test.

        @param knobs: As for L{Service}.
        """
        service = Service(**knobs)
        self.addCleanup(service.stop)
        return service

    def phone(self, codec: str = "ulaw", ptime: int = 20) -> Phone:
        phone = Phone(codec, ptime)
        self.addCleanup(phone.close)
        return phone

    def call(self, phone: Phone, how: str = "plain") -> None:
        """
        Call portero.

        @param how: As for L{Asterisk.to_portero}.
        """
        port, web_port = self.portero.port, self.portero.web_port
        phone.call(self.asterisk.to_portero(how, port, web_port))

    def speech(self, sample_rate: int = 8000) -> Sound:
        return load(self.asterisk.sounds / f"{SPOKEN}.wav", sample_rate)

    def reply_to(self, phone: Phone, sound: Sound) -> Sound:
        """
        Speak, over the agent if need be, and wait for all of the answer.

        @return: The answer, with a little silence at both ends.
        """
        phone.play(pcm(sound))
        return self.answer(phone)

    def answer(self, phone: Phone) -> Sound:
        """
        Wait until the caller has spoken, and for all of the answer.

        @return: The answer, with a little silence at both ends.
        """
        spoken = phone.wait_until_played(10)
        began = phone.wait_for_sound(4, after=spoken + 0.1)
        ended = phone.wait_for_quiet(QUIET_SECONDS, 15)
        return phone.heard.sound(since=began - MARGIN, until=ended + MARGIN)

    def prompt(self, name: str, sample_rate: int = 8000) -> Sound:
        """
        @return: What portero says for C{name} in English.
        """
        rate, pcm = prompts.load(name, "en")
        return resampled(np.frombuffer(pcm, "<i2") / 32768, rate, sample_rate)

    def likeness(self, heard: Sound, said: Sound) -> float:
        """
        @return: The correlation of C{said} with the part of C{heard} most like it.
        """
        found, _ = align(heard, said)
        scale = float(np.sqrt((found**2).sum() * (said**2).sum()))
        return float((found * said).sum()) / scale if scale else 0.0

    def hear_until(self, phone: Phone, time: float) -> None:
        """
        Wait until there is sound that is later than a monotonic C{time}.
        """
        self.wait_until("more sound", lambda: (phone.heard.last_sound() or 0.0) > time)

    def wait_until(
        self, what: str, true: Callable[[], bool], seconds: float = 5.0
    ) -> None:
        """
        Fail unless something becomes true in time.
        """
        self.assertTrue(wait_until(true, seconds), f"not within {seconds} s: {what}")

    def nothing_is_left(self) -> None:
        """
        Fail unless Asterisk has no channel and portero no call any more.
        """
        self.wait_until("portero has no call", lambda: not self.portero.calls())
        self.wait_until("no channel is up", lambda: self.asterisk.channels() == 0)

    def logs(self) -> dict[str, str]:
        """
        @return: By whose they are.
        """
        logs = {"Asterisk": the_asterisk().log}
        if the_portero.cache_info().currsize:
            logs["the common portero"] = the_portero().log
        if self._own:
            logs["the test's portero"] = self._own.log
        return logs

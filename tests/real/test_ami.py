"""Asterisk's manager interface takes a caller out of AudioSocket()."""

from __future__ import annotations

import re
import socket
from dataclasses import replace
from typing import Any

from twisted.internet import reactor
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase

from portero.ami import Manager
from portero.sections import AmiSettings
from tests.lab.asterisk import AMI_SECRET, AMI_USER
from tests.lab.phone import Phone
from tests.lab.process import free_port, wait_until
from tests.real.case import the_asterisk

FALLBACK, FALLBACK_HZ = "lab,700,1", 1004
"""Asterisk's test tone (conf/extensions.conf)."""
READER = "reader", "reader-secret"


class AmiTestCase(TestCase):
    """These need a reactor; phone and Asterisk run meanwhile, on their own."""

    timeout = 60

    def setUp(self) -> None:
        self.asterisk = the_asterisk()
        self.seen = len(self.asterisk.log)

    def manager(self, secret: str = AMI_SECRET, **changes: Any) -> Manager:
        port = self.asterisk.ami_port
        settings = AmiSettings(host="127.0.0.1", port=port, user=AMI_USER)
        return Manager(reactor, replace(settings, **changes), secret)

    def log(self) -> str:
        return self.asterisk.log[self.seen :]


class RedirectTests(AmiTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.phone = Phone()
        self.addCleanup(self.phone.close)

    def call(self, how: str = "plain") -> str:
        """
        Call a media server that sends nothing.

        @return: The caller's channel.
        """
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.phone.call(self.asterisk.to_portero(how, server.getsockname()[1]))
            server.settimeout(5)
            self.media, _ = server.accept()
        self.addCleanup(self.media.close)
        self.media.settimeout(5)
        # The one of a call before may take a moment to go.
        self.assertTrue(wait_until(lambda: len(self.callers()) == 1, 5))
        return self.callers()[0]

    def callers(self) -> list[str]:
        """
        @return: Their channels.
        """
        channels = self.asterisk.rx("core show channels concise").splitlines()
        return [c.split("!")[0] for c in channels if c.startswith("PJSIP/")]

    def media_ends(self) -> None:
        while self.media.recv(65536):
            pass

    async def test_the_caller_goes_on_where_it_was_sent(self) -> None:
        for how in ("plain", "slin16"):
            self.seen = len(self.asterisk.log)
            channel = self.call(how)
            self.assertTrue(await self.manager().redirect(channel, FALLBACK), how)
            self.media_ends()
            self.phone.wait_for_tone(FALLBACK_HZ, 4)
            self.assertIn("LAB fallback", self.log())
            self.phone.close()
            self.phone = Phone()
            self.addCleanup(self.phone.close)

    async def test_a_priority_may_be_a_label(self) -> None:
        steps = "Verbose(1,LAB first)", "Answer()\n same => n(here),Milliwatt()"
        extension = self.asterisk.extension(*steps)
        channel = self.call()
        target = f"lab,{extension},here"
        self.assertTrue(await self.manager().redirect(channel, target))
        self.phone.wait_for_tone(FALLBACK_HZ, 4)
        self.assertNotIn("LAB first", self.log())

    async def test_a_place_that_is_not_there_costs_nobody_the_call(self) -> None:
        """
        Asterisk would answer Success, and hang up.
        """
        channel = self.call()
        for target in ("lab,nowhere,1", "lab,700,77", "lab,700,label", "no,700,1"):
            self.assertFalse(await self.manager().redirect(channel, target), target)
        manager = self.manager(fallback=FALLBACK)
        self.assertTrue(await manager.redirect(channel, "lab,nowhere,1"))
        self.phone.wait_for_tone(FALLBACK_HZ, 4)

    async def test_an_asterisk_without_func_dialplan_redirects_too(self) -> None:
        self.asterisk.rx("module unload func_dialplan.so")
        self.addCleanup(self.asterisk.rx, "module load func_dialplan.so")
        channel = self.call()
        with capturedLogs() as events:
            self.assertFalse(await self.manager().redirect(channel, "lab,700,label"))
        self.assertIn("no such label", formatEvent(events[-1]))
        self.assertTrue(await self.manager().redirect(channel, FALLBACK))
        self.phone.wait_for_tone(FALLBACK_HZ, 4)

    async def test_nothing_stays_open_and_asterisk_finds_nothing_wrong(self) -> None:
        await self.manager().redirect(self.call(), FALLBACK)

        def all_gone() -> bool:
            connected = self.asterisk.rx("manager show connected")
            return "0 users connected" in connected

        self.assertTrue(await deferToThread(wait_until, all_gone, 3))
        wrong = re.findall(r"(?:WARNING|ERROR|NOTICE).*manager.*", self.log())
        self.assertEqual(wrong, [])


class TroubleTests(AmiTestCase):
    async def finds(self, manager: Manager, *words: str) -> None:
        """
        Both, a look at the start and a redirection, say this to the operator.
        """
        with capturedLogs() as events:
            done = await manager.redirect("PJSIP/none-1", FALLBACK)
        self.assertFalse(done)
        lines = [formatEvent(event) for event in events]
        for text in (await manager.check(), *lines):
            for word in words:
                self.assertIn(word, text)

    async def test_all_is_well(self) -> None:
        self.assertEqual(await self.manager(fallback=FALLBACK).check(), "")

    async def test_a_fallback_that_is_not_there_is_found_at_the_start(self) -> None:
        why = await self.manager(fallback="lab,nowhere,1").check()
        self.assertIn("[ami] fallback: the dialplan has no lab,nowhere,1", why)

    async def test_no_such_channel(self) -> None:
        with capturedLogs() as events:
            done = await self.manager().redirect("PJSIP/none-1", FALLBACK)
        self.assertFalse(done)
        (line,) = [formatEvent(event) for event in events]
        self.assertIn("channel 'PJSIP/none-1' does not go to 'lab,700,1'", line)
        self.assertIn("No such channel (the caller has hung up, or", line)

    async def test_a_wrong_secret(self) -> None:
        words = "Authentication failed", "[ami] user and secret"
        await self.finds(self.manager("wrong-secret"), *words)
        await self.finds(self.manager(user="nobody"), *words)

    async def test_a_user_without_the_right(self) -> None:
        user, secret = READER
        conf = self.asterisk._run / "etc" / "manager.conf"
        before = conf.read_text()
        conf.write_text(f"{before}\n[{user}]\nsecret = {secret}\nwrite = log\n")
        self.addCleanup(self.asterisk.rx, "manager reload")
        self.addCleanup(conf.write_text, before)
        self.asterisk.rx("manager reload")
        await self.finds(self.manager(secret, user=user), "write = call")

    async def test_nobody_there(self) -> None:
        await self.finds(self.manager(port=free_port()), "nobody listens", "enabled")

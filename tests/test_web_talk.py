"""Tests of C{/api/v1/talk}: who may call from a browser, through the whole site."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from portero.web.site import PorteroSite, Root
from tests.api_case import ACTOR, READER, ApiCase
from tests.test_transport_browser import Browser

TALK = "/api/v1/talk"


class ClockedSite(PorteroSite):
    """Whose connections leave no timer in the reactor."""

    def __init__(self, root: Root, clock: Clock) -> None:
        super().__init__(root, lambda peer: True)
        self._clock: Any = clock
        self._reactor = self._clock

    def buildProtocol(self, addr: Any) -> Any:
        protocol = super().buildProtocol(addr)
        protocol.callLater = self._clock.callLater
        return protocol


class TalkTests(ApiCase):
    def setUp(self) -> None:
        super().setUp()
        self.with_users()

    def browser(self, path: str = TALK, **fields: str) -> Browser:
        return Browser(ClockedSite(self.root, self.clock), path, **fields)

    def call_with(self, path: str = TALK) -> Browser:
        return self.browser(path, Authorization="Bearer a")

    def test_who_may_act_talks_with_the_agent_of_their_choice(self) -> None:
        browser = self.call_with(f"{TALK}?agent=door")
        self.assertEqual(browser.status, 101)
        ((call_id, call),) = self.bridge.calls.items()
        self.assertEqual((call.agent, call.facts.caller_name), ("door", "browser"))
        self.assertEqual(self.get("/calls", READER)["calls"][0]["id"], call_id)
        browser.hang_up()
        self.assertEqual(self.bridge.calls, {})

    def test_who_may_not_act_does_not(self) -> None:
        for token, expected in (("Bearer r", 403), ("", 401), ("Bearer x", 401)):
            browser = self.browser(Authorization=token)
            self.assertEqual(browser.status, expected)
        self.assertEqual(self.bridge.calls, {})

    def test_a_page_of_another_site_may_not(self) -> None:
        browser = self.browser(Authorization="Bearer a", Origin="http://evil.test")
        self.assertEqual((browser.status, self.bridge.calls), (403, {}))

    def test_it_is_no_place_to_look_at(self) -> None:
        problem = self.get("/talk", ACTOR, expect=426)
        self.detail(problem, "docs/api.rst")
        self.get("/talk?agnet=door", ACTOR, expect=400)

    def test_while_calls_are_refused_the_reason_is_told(self) -> None:
        self.bridge.drain(True, "axel")
        code, reason = self.call_with().closing()
        self.assertEqual(code, 1013)
        self.assertIn("run empty", reason)

    def test_an_agent_that_there_is_not_is_told(self) -> None:
        code, reason = self.call_with(f"{TALK}?agent=dor").closing()
        self.assertEqual(code, 1013)
        self.assertIn("did you mean door?", reason)

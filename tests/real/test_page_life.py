"""The page as it lives: reloaded, cut off, left open, in both languages, for all."""

from __future__ import annotations

import json
import socket
import time
from uuid import uuid4

from portero.wire import audiosocket as wire
from tests.lab.browser import DESK, TELEPHONE, Page
from tests.lab.portero import Portero
from tests.lab.quality import noise_burst, pcm
from tests.real.page import PageTestCase
from tests.real.test_page_acts import the_guarded

QUICK_CALLS = 150
KEYS = (8, 2)
"""Pressed with each of them, in the call that the page shows: the first time more than
it lists in all."""
MORE_NODES = 400
MORE_BYTES = 1_500_000
"""A page may hold so much more after as many calls again."""


def _message(kind: int, payload: bytes) -> bytes:
    return wire.HEADER.pack(kind, len(payload)) + payload


SILENCE = _message(wire.SLIN, bytes(320))


class ConnectionTests(PageTestCase):
    def test_a_reload_shows_the_same_call(self) -> None:
        page = self.page()
        phone, call_id = self.rings("shop")
        self.choose(page, call_id)
        page.appears("#story li[data-kind=said]")
        phone.wait_for_sound(5)
        phone.wait_for_quiet(0.7, 10)
        before = page.texts("#story li")
        page.reload()
        self.is_ready(page)
        page.appears(f"#call[data-call='{call_id}'][data-live='true'] #call-view")
        page.until(f"document.querySelectorAll('#story li').length >= {len(before)}")
        self.assertEqual(page.texts("#story li")[: len(before)], before)

    def test_a_portero_that_was_started_again_is_found_again(self) -> None:
        self.forgiven += ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE", "ERR_EMPTY"]
        before = self.own_portero()
        page = self.page()
        page.appears("#link[data-link=live]")
        before.stop()
        page.appears("#link[data-link=lost]")
        page.shows("#link-words", "Reconnecting")
        self._own = Portero(ports=(before.port, before.web_port))
        self.addCleanup(self._own.stop)
        page.appears("#link[data-link=live]", 20)
        phone, call_id = self.rings()
        page.appears(f"#calls-body tr[data-call='{call_id}']")
        phone.hang_up()
        page.vanishes(f"#calls-body tr[data-call='{call_id}']")


class LanguageTests(PageTestCase):
    def test_it_speaks_the_language_of_its_reader(self) -> None:
        for language, word in (("es-AR", "Llamadas"), ("en-US", "Calls")):
            page = self.page(language=language)
            self.assertEqual(
                page.evaluate("document.documentElement.lang"), language[:2]
            )
            self.assertIn(word, page.text("#calls-title"))

    def test_a_choice_of_language_and_colours_stays(self) -> None:
        page = self.page()
        page.choose("#language", "es")
        page.shows("#calls-title", "Llamadas")
        page.choose("#theme", "dark")
        page.reload()
        self.is_ready(page)
        page.shows("#calls-title", "Llamadas")
        self.assertEqual(
            page.evaluate("document.documentElement.dataset.theme"), "dark"
        )
        page.choose("#language", "en")
        page.shows("#calls-title", "Calls")

    def test_no_text_is_missing(self) -> None:
        """A text without a translation is shown by its key."""
        for language in ("en", "es"):
            page = self.page(language=language)
            phone, call_id = self.rings("shop")
            self.choose(page, call_id)
            page.appears("#story li[data-kind=said]")
            keys = page.evaluate(f"fetch('/texts/{language}.json').then(a => a.json())")
            dotted = [key for key in keys if "." in key]
            shown = page.evaluate("document.body.innerText")
            self.assertEqual([key for key in dotted if key in shown.split()], [])
            phone.hang_up()


class EverybodyTests(PageTestCase):
    """
    What the rules for readers with disabilities ask for (WCAG, as far as axe-core can
    see), in light and dark, and on a small screen: every part of the page.
    """

    def test_a_call_under_way(self) -> None:
        page = self.page()
        self._is_for_everybody(page)  # nothing is there yet
        phone, call_id = self.rings("shop", "Ana Pérez")
        self.choose(page, call_id)
        page.appears("#story li[data-kind=said]")
        began = phone.wait_for_sound(5)
        self.hear_until(phone, began + 0.5)
        phone.play(pcm(noise_burst(1.0, phone.sample_rate)))
        page.appears("#story li[data-kind=tool]")
        self._is_for_everybody(page)
        page.click("#hang-up")
        page.appears("#ask")
        self._is_for_everybody(page)

    def test_a_call_that_is_over_and_the_history(self) -> None:
        phone, call_id = self.rings("kept", "Ana Pérez")
        phone.wait_for_sound(5)
        phone.wait_for_quiet(0.7, 10)
        phone.hang_up()
        self.assertTrue(self.portero.wait_until_idle())
        page = self.page()
        page.click("#tab-history")
        page.click(f"#found li[data-call='{call_id}'] .pick")
        page.appears("#recording")
        self._is_for_everybody(page)

    def test_a_call_from_here(self) -> None:
        page = self.page()
        page.click("#talk-open")
        self.pick(page, "#talk-agent", "parrot")
        page.click("#talk-start")
        page.appears("#talk[data-talk=talking]")
        page.appears("#story li[data-kind=said]")
        self._is_for_everybody(page)
        page.click("#talk-end")
        self.assertTrue(self.portero.wait_until_idle())

    def test_the_login(self) -> None:
        self._own = the_guarded()
        self.forgiven.append("status of 401")
        page = self.page()
        page.appears("#login-name")
        self._is_for_everybody(page)

    def test_all_can_be_done_with_the_keyboard(self) -> None:
        page = self.page()
        phone, call_id = self.rings("brief")
        page.appears(f"#calls-body tr[data-call='{call_id}']")
        self._tab_to(page, f"tr[data-call='{call_id}'] .pick")
        page.press("Enter")
        page.appears("#call[data-live=true] #call-view")
        self._tab_to(page, "#hang-up")
        page.press("Enter")
        page.appears("#ask")
        self._tab_to(page, "#ask-yes")
        page.press("Enter")
        phone.wait_for_bye(5)

    def _tab_to(self, page: Page, at: str) -> None:
        """
        Press Tab until the focus is there, and can be seen.
        """
        for _ in range(60):
            if page.evaluate(f"document.activeElement.matches({json.dumps(at)})"):
                break
            page.press("Tab")
        else:
            self.fail(f"no Tab leads to {at}")
        style = "getComputedStyle(document.activeElement)"
        shown = page.evaluate(f"[{style}.outlineStyle, {style}.boxShadow]")
        self.assertNotEqual(shown, ["none", "none"], f"the focus at {at} is not shown")

    def _is_for_everybody(self, page: Page) -> None:
        for dark in (False, True):
            page.dark(dark)
            self.assertEqual(page.axe(), [], "dark" if dark else "light")
            self.shot(page)
        page.dark(False)
        page.resize(TELEPHONE)
        wide = page.evaluate("document.documentElement.scrollWidth")
        self.assertLessEqual(wide, TELEPHONE[0], "scrolls sideways on a telephone")
        self.shot(page)
        page.resize(DESK)


class NightTests(PageTestCase):
    def test_a_page_left_open_holds_no_more_after_many_calls(self) -> None:
        page = self.page()
        page.appears("#link[data-link=live]")
        with self._connected(str(uuid4())) as peer:
            self.wait_until("a call", lambda: bool(self.portero.calls()))
            (call,) = self.portero.calls()
            self.choose(page, call["id"])
            weights = []
            for keys in KEYS:
                for _ in range(QUICK_CALLS):
                    peer.sendall(SILENCE + _message(wire.DTMF, b"5") * keys)
                    self._connected(str(uuid4())).close()
                self._catches_up(page, peer)
                weights.append(page.weight())
            self.assertLess(page.count("#story > li"), QUICK_CALLS * KEYS[0])
        first, second = weights
        self.assertLess(second["nodes"], first["nodes"] + MORE_NODES, weights)
        self.assertLessEqual(second["listeners"], first["listeners"] + 20, weights)
        self.assertLess(second["bytes"], first["bytes"] + MORE_BYTES, weights)

    def _catches_up(self, page: Page, peer: socket.socket) -> None:
        """
        Wait until the page shows one call, and let that one not end meanwhile.
        """
        for _ in range(400):
            peer.sendall(SILENCE)
            if page.evaluate("document.querySelector('#calls-count').innerText") == "1":
                return
            time.sleep(0.1)
        self.fail("other calls stay on the page")

    def _connected(self, call_id: str) -> socket.socket:
        """
        @return: A call, as Asterisk makes it, that was answered.
        """
        peer = socket.create_connection(("127.0.0.1", self.portero.port), 5)
        peer.sendall(_message(wire.UUID, bytes.fromhex(call_id.replace("-", ""))))
        peer.recv(1)
        return peer

"""Calls that are over, on the page: found by their words, opened, heard, taken away."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np

from tests.lab.browser import Page
from tests.real.page import PageTestCase

SPOKEN_WORDS = "seconds of speech"
SAME_SPEECH = 0.95
SOUND = "document.querySelector('#recording')"
DRAWN = (
    "performance.getEntriesByType('resource').some("
    "(one) => one.name.endsWith('/waveform') && one.responseEnd)"
)
"""Whether the page has got what the recording looks like."""
KEPT: dict[str, str] = {}
"""The call that all tests here are about."""


class HistoryTests(PageTestCase):
    def setUp(self) -> None:
        super().setUp()
        if "id" not in KEPT:
            KEPT["id"] = self._a_call()

    def _a_call(self) -> str:
        phone, call_id = self.rings("kept", "Zoë Kept")
        phone.wait_for_sound(5)
        phone.wait_for_quiet(0.7, 15)
        self.reply_to(phone, self.speech())
        phone.hang_up()
        self.assertTrue(self.portero.wait_until_idle())
        return call_id

    def history(self) -> Page:
        page = self.page()
        page.click("#tab-history")
        return page

    def search(self, page: Page, **fields: str) -> None:
        for name, text in fields.items():
            page.fill(f"#{name.replace('_', '-')}", text)
        page.press("Enter")

    def opened(self) -> Page:
        page = self.history()
        page.click(f"#found li[data-call='{KEPT['id']}'] .pick")
        page.appears(f"#call[data-call='{KEPT['id']}'][data-live='false'] #call-view")
        return page

    def test_a_call_is_found_by_what_was_said(self) -> None:
        page = self.history()
        found = f"#found li[data-call='{KEPT['id']}']"
        self.search(page, q=SPOKEN_WORDS)
        page.shows(f"{found} [data-v=snippet]", "speech")
        page.shows(found, "Zoë Kept")
        self.search(page, q="nobody said such a thing")
        page.appears("#found-none")
        page.vanishes(found)
        self.search(page, q="")
        page.appears(found)
        page.shows("#kept", "all calls in the records")

    def test_what_is_looked_for_is_text(self) -> None:
        page = self.history()
        for words in ('" OR 1 NOT (', "<img src=x onload=nobody(7)>", "a* NEAR/2 -b"):
            self.search(page, q=words)
            page.appears("#found-none")
            self.search(page, q="")
            page.appears("#found li")

    def test_calls_are_filtered(self) -> None:
        page = self.history()
        found = f"#found li[data-call='{KEPT['id']}']"
        page.appears(found)
        for outcome, see in (("failed", page.vanishes), ("well", page.appears)):
            page.choose("#of-outcome", outcome)
            page.click("#search button")
            see(found)
        self.search(page, since="2099-01-01")
        page.vanishes(found)
        self.search(page, since="2020-01-01")
        page.appears(found)

    def test_an_old_call_is_heard_and_read(self) -> None:
        page = self.opened()
        page.shows("#story li[data-role=user]", SPOKEN_WORDS)
        page.shows("#story li[data-what=over]", "caller hung up")
        page.shows("#figures dd[data-figure=jitter]", "ms")
        page.appears("#verdict li, #verdict-none")
        page.appears("#turns li[data-turn='1']")
        page.appears("#recording")
        page.evaluate(f"{SOUND}.play()")
        page.until(f"{SOUND}.currentTime > 0.3")
        self.assertGreater(page.evaluate(f"{SOUND}.duration"), 4)
        page.evaluate(f"{SOUND}.pause()")
        page.until(DRAWN)
        page.click("#wave")  # in its middle
        page.until(f"Math.abs({SOUND}.currentTime - {SOUND}.duration / 2) < 1.5")

    def test_an_old_call_is_taken_away_in_three_forms(self) -> None:
        page = self.opened()
        folder = Path(self.mktemp())
        folder.mkdir()
        for name in ("call.json", "transcript.txt", "recording.wav"):
            page.download(f"#downloads [data-what='{name}']", (folder / name).resolve())
        told = json.loads((folder / "call.json").read_text())
        self.assertIn(KEPT["id"], json.dumps(told))
        self.assertIn(SPOKEN_WORDS, (folder / "transcript.txt").read_text("utf-8"))
        with wave.open(str(folder / "recording.wav")) as file:
            self.assertEqual(file.getnchannels(), 2)
            rate = file.getframerate()
            sound = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
        for side in (sound[::2], sound[1::2]):
            likeness = self.likeness(side, self.speech(rate))
            self.assertGreater(likeness, SAME_SPEECH)

    def test_an_agent_that_keeps_nothing_is_not_found_by_words(self) -> None:
        phone, call_id = self.rings("shop", "Nobody Kept")
        phone.wait_for_sound(5)
        phone.hang_up()
        self.assertTrue(self.portero.wait_until_idle())
        page = self.history()
        found = f"#found li[data-call='{call_id}']"
        page.appears(found)
        self.search(page, q="Acme")
        page.vanishes(found)

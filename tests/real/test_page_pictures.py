"""
The pictures of the documentation, as a real page looked. They know what they were taken
of: when that changes they have to be taken anew, by

    PORTERO_PICTURES=docs/pictures python -m twisted.trial tests.real.test_page_pictures

from the checkout. Otherwise they are only taken for whoever looks at the screenshots.
"""

from __future__ import annotations

import atexit
import functools
import os
import struct
import time
import zlib
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.lab.asterisk import SALES
from tests.lab.browser import DESK, SCREENSHOTS, Page
from tests.lab.phone import Phone
from tests.lab.quality import load, pcm
from tests.lab.recording import Sound
from tests.lab.service import Models
from tests.real.page import (
    SENTENCE,
    SHOP,
    WATCH_SOUND,
    PageTestCase,
    Stage,
    webhook,
)

CHECKOUT = Path(__file__).resolve().parents[2]
COMMITTED = CHECKOUT / "docs" / "pictures"
NAMES = ("page", "call")
MOST_BYTES = 250_000
DRAWN_BY = ("page.html", "page.css", "page.js", "texts/en.json")
"""What they look like is in these."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEYWORD = b"Drawn by\x00"
HEAD = len(SIGNATURE) + 25
"""Where a PNG's header ends."""

MODELS: Models = {
    "shop": SHOP,
    "night": {
        "reply": SENTENCE,
        "words": "Good evening. We are closed: may I take a message?",
    },
    "brief": {"reply": SENTENCE, "words": "Good morning, this is Acme."},
}
TRANSCRIBER = "gpt-transcribe"
"""The usual one; the service of the tests counts its tokens, not minutes."""
PRICES = "audio_in = 32.0\naudio_out = 64.0\ntext_in = 4.0\ntext_out = 16.0"


def configuration(site: str, folder: Path) -> str:
    prices = "\n".join(f"[prices.{name}]\n{PRICES}" for name in (*MODELS, TRANSCRIBER))
    return f"""
[records]
file = "{folder}/records.sqlite"
recordings = "{folder}/recordings"
[agent]
company_name = "Acme"
model = "brief"
most_per_day = 20.0
keep_words = true
record = true
consent = "agreement"
[agents.shop]
model = "shop"
tools = ["order_status"]
[agents.night]
model = "night"
[targets.sales]
to = "{SALES}"
{prices}
{webhook("order_status", site + "/orders")}
"""


@functools.cache
def the_stage() -> Stage:
    stage = Stage(MODELS, configuration)
    atexit.register(stage.stop)
    return stage


def drawn_by() -> bytes:
    """
    @return: A digest of all that decides what the page looks like.
    """
    folder = files("portero.web") / "static"
    found = sha256()
    for name in DRAWN_BY:
        found.update(folder.joinpath(*name.split("/")).read_bytes())
    return found.hexdigest().encode()


def marked(picture: bytes) -> bytes:
    """
    @return: The PNG, with L{drawn_by} in a chunk of text.
    """
    told = b"tEXt" + KEYWORD + drawn_by()
    chunk = (
        struct.pack(">I", len(told) - 4) + told + struct.pack(">I", zlib.crc32(told))
    )
    return picture[:HEAD] + chunk + picture[HEAD:]


class CommittedTests(SynchronousTestCase):
    def test_they_are_of_this_page(self) -> None:
        for name in NAMES:
            picture = (COMMITTED / f"{name}.png").read_bytes()
            self.assertTrue(picture.startswith(SIGNATURE), name)
            self.assertEqual(struct.unpack(">II", picture[16:24]), DESK, name)
            self.assertLess(len(picture), MOST_BYTES, name)
            self.assertIn(KEYWORD + drawn_by(), picture, f"take it anew: {__doc__}")


class PicturesTests(PageTestCase):
    def its_stage(self) -> Stage:
        return the_stage()

    def test_they_can_be_taken(self) -> None:
        for agent, name in (
            ("night", "Lucía Romero"),
            ("default", "Tom Baker"),
            ("default", "600100200"),
        ):
            phone, _ = self.rings(agent, name)
            phone.wait_for_sound(5)
            phone.hang_up()
        others = [self.rings("default", "Tom Baker"), self.rings("night", "Jan Visser")]
        phone, call_id = self.rings("shop", "Ana Pérez")
        page = self.page()
        page.evaluate(WATCH_SOUND)
        self.choose(page, call_id)
        self._speaks(phone, self.speech())
        page.shows("#story li[data-kind=tool]", "on its way")
        page.shows("#story", "It left our warehouse")
        self._speaks(phone, self.speech())
        page.shows("#story", "Of course.")
        began = phone.wait_for_sound(5, after=time.monotonic())
        self.hear_until(phone, began + 1)
        for speaking in (phone, others[1][0]):
            speaking.play(pcm(self.sentence()))
        page.shows("#story", "No, that is all.")
        page.shows("#story", "You are welcome.")
        page.until("window.loudest.peak > 5")
        self._taken(page, "page")
        phone.hang_up()
        page.appears(f"#call[data-call='{call_id}'][data-live=false] #recording")
        page.click("#tab-history")
        page.appears(f"#found li[data-call='{call_id}']")
        self._taken(page, "call")

    def sentence(self) -> Sound:
        return load(self.asterisk.sounds / "vm-goodbye.wav", 8000)

    def _speaks(self, phone: Phone, sound: Sound) -> None:
        """
        When it was greeted.
        """
        phone.wait_for_sound(5)
        phone.wait_for_quiet(0.7, 15)
        phone.play(pcm(sound))

    def _taken(self, page: Page, name: str) -> None:
        page.evaluate("document.activeElement.blur()")
        path = SCREENSHOTS / f"{name}.png"
        page.screenshot(path)
        wanted = os.environ.get("PORTERO_PICTURES")
        if wanted:
            folder = CHECKOUT / wanted  # trial works in a folder of its own
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.png").write_bytes(marked(path.read_bytes()))

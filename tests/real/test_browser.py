"""The browser as an instrument, without portero: what it must notice, it notices."""

from __future__ import annotations

import atexit
import functools
import wave
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.lab.browser import Browser, Page
from tests.lab.process import LabError, wait_until
from tests.lab.quality import pcm, tone
from tests.lab.website import Website

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>A page</title>
<link rel="icon" href="data:,">{policy}
<main><h1>Hello</h1><p hidden>hidden</p><button disabled>Off</button>{more}</main>"""
POLICY = (
    '<meta http-equiv="Content-Security-Policy"'
    " content=\"default-src 'none'; img-src data:\">"
)
SCRIPT = "<img src=x onerror=\"alert('ran')\">"
HZ = 620.0
LISTEN = """(async () => {
    const stream = await navigator.mediaDevices.getUserMedia({audio: {
        echoCancellation: false, noiseSuppression: false, autoGainControl: false}});
    const context = new AudioContext();
    const ear = new AnalyserNode(context, {fftSize: 8192});
    context.createMediaStreamSource(stream).connect(ear);
    const power = new Float32Array(ear.frequencyBinCount);
    for (let looked = 0; looked < 160; looked++) {
        await new Promise((later) => setTimeout(later, 50));
        ear.getFloatFrequencyData(power);
        const loudest = power.indexOf(Math.max(...power));
        if (power[loudest] > -40) return loudest * context.sampleRate / 8192;
    }
    return 0;
})()"""
"""The loudest frequency, when there is something loud."""


@functools.cache
def the_browser() -> Browser:
    """
    @return: The one of these tests.
    """
    browser = Browser()
    atexit.register(browser.stop)
    return browser


class BrowserTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.site = Website()

    def page(
        self, more: str = "", policy: str = "", browser: Browser | None = None
    ) -> Page:
        content = PAGE.format(more=more, policy=policy)
        self.site.answers["/"] = ("text/html", content.encode())
        page = (browser or the_browser()).open(self.site.url)
        if browser is None:
            self.addCleanup(page.close)
        return page

    def started(self, microphone: Path | None = None) -> Browser:
        browser = Browser(microphone)
        self.addCleanup(browser.stop)
        return browser

    def test_a_clean_page_is_found_clean(self) -> None:
        page = self.page(policy=POLICY)
        self.assertEqual(page.axe(), [])
        self.assertEqual({name for name, told in page.told().items() if told}, set())

    def test_a_script_that_runs_is_noticed(self) -> None:
        page = self.page(SCRIPT)
        self.assertTrue(wait_until(lambda: bool(page.told()["dialogs"]), 5))
        self.assertEqual(page.told()["dialogs"], ["ran"])

    def test_a_script_that_the_policy_stops_is_reported(self) -> None:
        page = self.page(SCRIPT, POLICY)
        noticed = wait_until(lambda: len(page.told()["reports"]) == 2, 5)
        self.assertTrue(noticed, page.told())
        self.assertEqual(page.told()["dialogs"], [])

    def test_what_a_reader_with_disabilities_cannot_use_is_found(self) -> None:
        page = self.page("<input><p style='color: #999'>pale</p>")
        found = {finding["id"] for finding in page.axe()}
        self.assertEqual(found, {"label", "color-contrast"})

    def test_only_what_a_reader_sees_is_shown(self) -> None:
        page = self.page()
        page.shows("h1", "Hello", 1)
        for hidden in ("p", "h2"):
            self.assertRaises(LabError, page.appears, hidden, 0.1)
            page.vanishes(hidden, 1)
        self.assertFalse(page.enabled("button"))
        self.assertRaises(LabError, page.click, "button", 0.2)

    def test_windows_share_no_cookies(self) -> None:
        page = self.page()
        page.evaluate("document.cookie = 'a=b'")
        self.assertEqual([cookie["name"] for cookie in page.cookies()], ["a"])
        self.assertEqual(self.page().cookies(), [])

    def test_the_microphone_hears_the_file(self) -> None:
        file = Path(self.mktemp())
        with wave.open(str(file), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(48000)
            sound.writeframes(pcm(tone(HZ, 10.0, 48000)))
        page = self.page(browser=self.started(file.resolve()))
        self.assertApproximates(page.evaluate(LISTEN), HZ, 10)

    def test_it_ends_and_leaves_nothing(self) -> None:
        browser = self.started()
        self.page(browser=browser)
        folder = browser.log_path.parent
        self.assertEqual(browser.stop(), 0)
        self.assertFalse(folder.exists())
        self.assertRaises(LabError, browser.open)

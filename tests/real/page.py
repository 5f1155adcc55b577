"""
The live page in a real browser: the portero behind it, and what every test wants of a
page, whatever else it looks at: no script that fails, nothing that its policy stops.
"""

from __future__ import annotations

import atexit
import functools
import itertools
import json
import re
import tempfile
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.lab.asterisk import OFFICE, SALES
from tests.lab.browser import DESK, SCREENSHOTS, Browser, Page
from tests.lab.phone import Phone
from tests.lab.portero import Portero
from tests.lab.quality import load, pcm
from tests.lab.service import Models, Service
from tests.lab.website import Website
from tests.real.case import SPOKEN, RealTestCase, the_asterisk

LONG_MS = 30_000
SENTENCE = ((0.1, 900),)
MICROPHONE_RATE = 48000
HOSTILE_WORDS = (
    "<img src=x onerror=\"document.title='hacked'\"> \"quoted\" 'too' & &lt;b&gt;"
    " </script><script>alert(1)</script> \u202egnp.exe {{x}} ${1+1}"
)
ORDER = json.dumps({"order": "123456"})
HOSTILE_ORDER = json.dumps({"order": HOSTILE_WORDS})
WEBHOOK_SECONDS = 0.3
SHOP: dict[str, Any] = {
    "reply": ((0.1, 1500),),
    "words": "Good morning, this is Acme. What can I do for you?",
    "then": (
        {
            "caller_words": "Hello! I would like to know where my order is. The number"
            " is one two three four five six.",
            "words": "One moment, I am looking it up.",
            "function_call": ("order_status", ORDER),
        },
        {
            "words": "It left our warehouse this morning: it should be with you"
            " tomorrow before noon.",
        },
        {
            "caller_words": "I am not at home tomorrow. Could it come on Thursday?",
            "words": "Of course. I have put it down for Thursday, between nine and"
            " twelve. Would you like to have a message on the day before, or is there"
            " anything else that I can do for you?",
        },
        {
            "caller_words": "No, that is all. Thank you.",
            "words": "You are welcome. Goodbye!",
        },
    ),
}
"""A conversation."""

MODELS: Models = {
    "talks": {"reply": ((0.1, LONG_MS),)},
    "brief": {"reply": SENTENCE},
    "parrot": {"reply": SENTENCE, "then": ({"speed": 2.0},)},
    "asks": {
        "reply": SENTENCE,
        "words": HOSTILE_WORDS,
        "caller_words": HOSTILE_WORDS,
        "function_call": ("hostile_status", HOSTILE_ORDER),
    },
    "shop": SHOP,
}
WATCH_SOUND = """(() => {
    const loudest = window.loudest = {caller: -Infinity, agent: -Infinity, peak: 0};
    const keep = (name, value) => {
        loudest[name] = Math.max(loudest[name], Number(value ?? -Infinity));
    };
    const look = (changes) => changes.forEach(({target}) => {
        if (target.matches(".bars i")) keep(target.className, target.dataset.db);
        if (target.id === "wave") keep("peak", target.dataset.peak);
    });
    new MutationObserver(look).observe(document.body,
        {subtree: true, attributeFilter: ["data-db", "data-peak"]});
})()"""
"""Remember the highest levels, in dBFS, and the highest peak that the page shows: sound
may be over before somebody looks."""
NUMBERS = itertools.count(600_000_001)
"""Of callers: each call has its own."""


def webhook(name: str, url: str) -> str:
    return f"""
[webhooks.{name}]
description = "Where an order is."
url = "{url}"
body = '{{"order": {{order}}}}'
allow = ["127.0.0.1/32"]
[webhooks.{name}.parameters]
order = "Its number"
"""


def configuration(site: str, folder: Path) -> str:
    """
    @param site: Where orders are asked for.
    @param folder: For what is kept of calls.
    """
    return f"""
[records]
file = "{folder}/records.sqlite"
recordings = "{folder}/recordings"
[agent]
company_name = "Acme"
model = "talks"
[agents.parrot]
model = "parrot"
[agents.brief]
model = "brief"
[agents.asks]
model = "asks"
tools = ["hostile_status"]
[agents.shop]
model = "shop"
tools = ["order_status"]
[agents.kept]
model = "parrot"
keep_words = true
record = true
consent = "agreement"
[targets.sales]
to = "{SALES}"
[targets.office]
to = "{OFFICE}"
{webhook("order_status", site + "/orders")}
{webhook("hostile_status", site + "/hostile")}
"""


class Stage:
    """
    A portero with a voice service that does what tests want, open to this machine.

    @ivar site: The web server that one of its tools asks.
    """

    def __init__(
        self, models: Models, configuration: Callable[[str, Path], str]
    ) -> None:
        """
        @param models: As for L{Service}.
        @param configuration: As the function of that name: makes TOML.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="page-lab-")
        self.site = Website()
        answers = {"/orders": "on its way", "/hostile": HOSTILE_WORDS}
        for path, words in answers.items():
            answer = json.dumps({"status": words}).encode()
            self.site.answers[path] = ("application/json", answer)
            self.site.delays[path] = WEBHOOK_SECONDS
        self.service = Service(models)
        try:
            config = configuration(self.site.url, Path(self._folder.name))
            self.portero = Portero(env=self.service.env, config=config)
        except BaseException:
            self.service.stop()
            raise

    def stop(self) -> None:
        self.portero.stop()
        self.service.stop()
        self._folder.cleanup()


@functools.cache
def the_stage() -> Stage:
    """
    @return: The one of all tests of the page that don't harm it.
    """
    stage = Stage(MODELS, configuration)
    atexit.register(stage.stop)
    return stage


@functools.cache
def the_browser() -> Browser:
    """
    @return: The one of all tests of the page. Its microphone hears, after a second,
        what callers say in other tests.
    """
    folder = tempfile.TemporaryDirectory(prefix="microphone-lab-")
    atexit.register(folder.cleanup)
    file = Path(folder.name) / "speech.wav"
    speech = load(the_asterisk().sounds / f"{SPOKEN}.wav", MICROPHONE_RATE)
    with wave.open(str(file), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(MICROPHONE_RATE)
        sound.writeframes(bytes(2 * MICROPHONE_RATE) + pcm(speech))
    browser = Browser(file)
    atexit.register(browser.stop)
    return browser


class PageTestCase(RealTestCase):
    """
    @ivar forgiven: Regular expressions of errors on a page's console that belong to
        the test.
    """

    def setUp(self) -> None:
        super().setUp()
        self._shots = itertools.count(1)
        self.forgiven: list[str] = []
        self.stage = self.its_stage()
        self.answers(self.stage.portero)

    def its_stage(self) -> Stage:
        return the_stage()

    def answers(self, portero: Portero) -> None:
        """
        Have this one answer in this test, once calls of others are over.
        """
        self._own = portero
        self.assertTrue(portero.wait_until_idle(), "a call of another test goes on")

    def page(
        self,
        path: str = "",
        size: tuple[int, int] = DESK,
        language: str = "en-GB",
        dark: bool = False,
    ) -> Page:
        """
        Open portero's page, and wait until it is ready.

        @param path: After the slash.
        """
        page = the_browser().open(size=size, language=language, dark=dark)
        self.addCleanup(self._leave, page)
        page.goto(f"{self.portero.url}/{path}")
        self.is_ready(page)
        return page

    def is_ready(self, page: Page) -> None:
        page.until("'ready' in document.documentElement.dataset")

    def shot(self, page: Page) -> None:
        """
        Keep what it looks like, for people.
        """
        name = re.sub(r".*\.(test_page\w*)\.", r"\1.", self.id())
        page.screenshot(SCREENSHOTS / f"{name}-{next(self._shots)}.png")

    def _leave(self, page: Page) -> None:
        self.shot(page)
        told = page.told()
        page.close()
        self.assertEqual(told["reports"], [], "against its own policy")
        self.assertEqual(told["dialogs"], [], "a script of somebody else's ran")
        errors = [
            error
            for error in told["errors"]
            if not any(re.search(known, error) for known in self.forgiven)
        ]
        self.assertEqual(errors, [])

    def rings(self, agent: str = "default", name: str = "Ana") -> tuple[Phone, str]:
        """
        Call through the shipped dialplan.

        @param name: Of the caller.

        @return: The phone, answered; and the call's id.
        """
        number = str(next(NUMBERS))
        phone = self.phone()
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        phone.caller = f'"{quoted}" <sip:{number}@127.0.0.1>'
        port, web_port = self.portero.port, self.portero.web_port
        phone.call(self.asterisk.to_dialplan(port, web_port, PORTERO_AGENT=agent))
        return phone, self.call_of(number)["id"]

    def call_of(self, number: str) -> dict[str, Any]:
        """
        Wait for the call of this caller.

        @return: As the status resource tells it.
        """

        def found() -> list[dict[str, Any]]:
            calls = self.portero.calls()
            return [call for call in calls if call["caller_number"] == number]

        self.wait_until(f"a call of {number}", lambda: bool(found()))
        return found()[0]

    def choose(self, page: Page, call_id: str) -> None:
        """
        Have the page show all of this call under way.
        """
        page.click(f"#calls-body tr[data-call='{call_id}'] .pick")
        page.appears(f"#call[data-call='{call_id}'][data-live='true'] #call-view")

    def pick(self, page: Page, at: str, value: str) -> None:
        """
        Choose in a list, as soon as it has this.
        """
        options = f"[...document.querySelector({json.dumps(at)}).options]"
        page.until(f"{options}.some((option) => option.value === {json.dumps(value)})")
        page.choose(at, value)

    def api(self, path: str) -> Any:
        """
        @return: What the API answers.
        """
        status, body = self.portero.get(f"/api/v1/{path}")
        self.assertEqual(status, 200, body)
        return json.loads(body)

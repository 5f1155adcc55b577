"""Real calls on the live page: who calls, who speaks, what is said and done."""

from __future__ import annotations

import json

from tests.lab.browser import Page
from tests.lab.quality import noise_burst, pcm, tone
from tests.real.page import HOSTILE_WORDS, WEBHOOK_SECONDS, PageTestCase

SPEAKING_DBFS = -40
SILENT_DBFS = -70
SPOKEN_WORDS = "seconds of speech)"
"""In what the parrot understood of the caller."""


def row(call_id: str, part: str = "") -> str:
    """
    @return: The selector of a part of the call's row.
    """
    return f"#calls-body tr[data-call='{call_id}'] {part}".strip()


def level(call_id: str, side: str) -> str:
    """
    @return: JavaScript: the level shown for C{caller} or C{agent}, in dBFS.
    """
    at = json.dumps(row(call_id, f".bars .{side}"))
    return f"Number(document.querySelector({at})?.dataset.db ?? NaN)"


WATCH = """(() => {
    window.lab = {};
    const look = () => {
        for (const said of document.querySelectorAll("#story [data-item]")) {
            const seen = window.lab[said.dataset.item] ??= [];
            const text = said.querySelector(".text").textContent;
            if (seen.at(-1) !== text) seen.push(text);
        }
    };
    new MutationObserver(look).observe(document.querySelector("#story"),
        {subtree: true, childList: true, characterData: true});
    look();
})()"""
"""Note each text that an utterance had, as long as it grew."""


class CallTests(PageTestCase):
    def test_a_call_appears_and_goes(self) -> None:
        page = self.page()
        page.appears("#calls-none")
        phone, call_id = self.rings("brief", "Ana Pérez")
        page.shows(row(call_id, ".pick"), "Ana Pérez")
        page.shows(row(call_id, "[data-col=agent]"), "brief")
        page.shows("#calls-count", "1")
        page.vanishes("#calls-none")
        time = page.text(row(call_id, "[data-col=seconds]"))
        now = (
            f'document.querySelector("{row(call_id, "[data-col=seconds]")}").innerText'
        )
        page.until(f"{now} > {json.dumps(time)}")
        phone.hang_up()
        page.vanishes(row(call_id))
        page.shows("#calls-count", "0")

    def test_the_level_of_who_speaks_moves(self) -> None:
        page = self.page()
        phone, call_id = self.rings("brief")
        page.until(f"{level(call_id, 'agent')} > {SPEAKING_DBFS}")
        self.assertLess(page.evaluate(level(call_id, "caller")), SILENT_DBFS)
        page.until(f"{level(call_id, 'agent')} < {SILENT_DBFS}")
        phone.play(pcm(tone(400, 1.5, phone.sample_rate)))
        page.until(f"{level(call_id, 'caller')} > {SPEAKING_DBFS}")
        page.until(f"{level(call_id, 'caller')} < {SILENT_DBFS}")

    def test_what_is_said_appears_as_it_is_said(self) -> None:
        page = self.page()
        phone, call_id = self.rings("parrot")
        self.choose(page, call_id)
        page.evaluate(WATCH)
        page.appears("#story li[data-kind=said][data-role=assistant]")
        phone.wait_for_sound(5)
        phone.wait_for_quiet(0.7, 15)
        phone.play(pcm(self.speech()))
        page.shows("#story li[data-role=user] .text", SPOKEN_WORDS)
        page.shows("#story li[data-role=assistant] .text", SPOKEN_WORDS)
        texts = page.evaluate("Object.values(window.lab)")
        grown = [seen for seen in texts if len(seen) > 1]
        self.assertTrue(grown, texts)
        for before, after in zip(grown[0], grown[0][1:], strict=False):
            self.assertTrue(after.startswith(before), texts)
        page.until("Number(document.querySelector('#wave').dataset.peak) > 5")
        page.appears("#turns li[data-turn='1']")

    def test_an_interruption_is_marked_where_it_was_heard(self) -> None:
        page = self.page()
        phone, call_id = self.rings("default")
        self.choose(page, call_id)
        began = phone.wait_for_sound(5)
        self.hear_until(phone, began + 1)
        phone.play(pcm(noise_burst(1.0, phone.sample_rate)))
        page.appears("#story li[data-kind=mark][data-what=barge_in]")
        page.appears("#strip [data-mark=barge_in]")
        page.shows("#story li[data-role=assistant] .here", "heard until here")
        page.appears("#story li[data-role=assistant] .unheard")

    def test_a_tool_is_shown_with_its_result_and_time(self) -> None:
        page = self.page()
        phone, call_id = self.rings("shop")
        self.choose(page, call_id)
        phone.wait_for_sound(5)
        phone.play(pcm(self.speech()))
        at = "#story li[data-kind=tool]"
        page.shows(f"{at} [data-v=name]", "order_status")
        page.shows(f"{at} .result", "on its way")
        took = page.text(f"{at} [data-v=took]")
        self.assertGreaterEqual(_number(took), WEBHOOK_SECONDS * 1000, took)
        self.assertLess(_number(took), 5000, took)


def _number(text: str) -> float:
    return float("".join(c for c in text if c.isdigit() or c == "."))


class HostileTests(PageTestCase):
    """
    What callers, services and shops write is shown as they wrote it, and does nothing:
    L{PageTestCase} fails for a script that ran, or that only the policy stopped.
    """

    def test_words_and_tools(self) -> None:
        page = self.page()
        phone, call_id = self.rings("asks")
        self.choose(page, call_id)
        self._is_text(page, "#story li[data-role=assistant] .text")
        phone.play(pcm(self.speech()))
        self._is_text(page, "#story li[data-role=user] .text")
        self._is_text(page, "#story li[data-kind=tool] code")
        self._is_text(page, "#story li[data-kind=tool] .result")

    def test_names(self) -> None:
        name = "' or 1=1; -- <b> &lt; {{x}} \u202egnp.exe Ünïcødé 李"
        page = self.page()
        phone, call_id = self.rings("brief", name)
        told = self.api(f"calls/{call_id}")["call"]["caller_name"]
        self.assertIn("' or 1=1; --", told)
        self.choose(page, call_id)
        for at in (row(call_id, ".pick"), "#call-title"):
            page.until(f"{_text(at)}?.includes({json.dumps(told)})")
        page.fill("#filter", "1=1")
        page.appears(row(call_id))
        page.fill("#filter", "somebody else")
        page.vanishes(row(call_id))
        phone.hang_up()

    def test_what_an_operator_says(self) -> None:
        page = self.page()
        _, call_id = self.rings("default")
        self.choose(page, call_id)
        page.fill("#say-text", HOSTILE_WORDS)
        page.click("#say")
        page.shows("#story", "<img src=x")

    def _is_text(self, page: Page, at: str) -> None:
        page.until(f"{_text(at)}?.includes({json.dumps('<img src=x onerror=')})")
        self.assertEqual(page.count(f"{at} img, {at} b, {at} script"), 0)
        self.assertEqual(page.evaluate("document.title.includes('hacked')"), False)


def _text(at: str) -> str:
    """
    @return: JavaScript: what is written there, exactly.
    """
    return f"document.querySelector({json.dumps(at)})?.textContent"

"""What one may do on the live page, and what one may not."""

from __future__ import annotations

import atexit
import functools
import json
from collections.abc import Iterable

from portero.simulator.persona import TONE_HZ
from portero.web.passwords import Kept
from tests.lab.asterisk import SOMEBODY_HZ
from tests.lab.browser import Page
from tests.lab.portero import Portero
from tests.lab.quality import pcm, tone
from tests.real.house import TOKEN, give_token
from tests.real.page import PageTestCase

EAR = """(() => {
    const connect = AudioNode.prototype.connect;
    AudioNode.prototype.connect = function (to, ...more) {
        if (to === this.context.destination) {
            const ear = new AnalyserNode(this.context, {fftSize: 8192});
            connect.call(this, ear);
            window.lab = ear;
        }
        return connect.call(this, to, ...more);
    };
})()"""
"""Hear what the page plays from now on."""
HEARD = """(() => {
    if (!window.lab) return 0;
    const power = new Float32Array(window.lab.frequencyBinCount);
    window.lab.getFloatFrequencyData(power);
    const loudest = power.indexOf(Math.max(...power));
    return power[loudest] > -50 ? loudest * window.lab.context.sampleRate / 8192 : 0;
})()"""
"""The loudest frequency in Hz; 0: nothing is loud."""
CALLER_HZ = 440

PASSWORD = "a long enough password"


def user(name: str, rights: Iterable[str]) -> str:
    """
    @return: TOML; their password is L{PASSWORD}.
    """
    kept = Kept.of(PASSWORD, log_n=10)
    return f"""
[users.{name}]
password = "{kept}"
rights = {json.dumps(list(rights))}
"""


@functools.cache
def the_guarded() -> Portero:
    """
    @return: One where people have to say who they are.
    """
    users = (
        user("ana", ("read", "act", "listen")),
        user("viewer", ("read",)),
        user("operator", ("read", "act")),
    )
    portero = Portero(config="\n".join(users), token=TOKEN)
    atexit.register(portero.stop)
    give_token(TOKEN)
    return portero


class ActTests(PageTestCase):
    def test_hang_up_ends_the_call(self) -> None:
        page = self.page()
        phone, call_id = self.rings("default")
        self.choose(page, call_id)
        page.click("#hang-up")
        page.click("#ask-yes")
        phone.wait_for_bye(5)
        page.appears("#call[data-live='false']")
        page.vanishes(f"tr[data-call='{call_id}']")
        self.nothing_is_left()
        acts = [h["did"] for h in self._happened(call_id, "operator")]
        self.assertEqual(len(acts), 1, acts)

    def test_hang_up_can_be_thought_over(self) -> None:
        page = self.page()
        phone, call_id = self.rings("default")
        self.choose(page, call_id)
        page.click("#hang-up")
        page.click("#ask-no")
        page.vanishes("#ask")
        self.assertEqual([call["id"] for call in self.portero.calls()], [call_id])
        self.assertIsNone(phone.ended_at)

    def test_what_is_said_to_the_agent_reaches_it(self) -> None:
        page = self.page()
        _, call_id = self.rings("default")
        self.choose(page, call_id)
        words = f"Ask for the name. ({call_id})"
        page.fill("#say-text", words)
        page.press("Enter")
        page.until("!document.querySelector('#say-text').value")
        self.wait_until("the service has it", lambda: bool(self._told(words)))
        (item,) = self._told(words)
        self.assertEqual(item["role"], "system")
        page.shows("#story li[data-role=system] .text", words)

    def _told(self, words: str) -> list[dict[str, object]]:
        """
        @return: The items with these words that the voice service was told.
        """
        return [
            item
            for told in self.stage.service.told()
            for item in told.items
            if words in json.dumps(item)
        ]

    def test_transfer_lands_at_the_target(self) -> None:
        before = len(self.asterisk.log)
        page = self.page()
        phone, call_id = self.rings("brief")
        self.choose(page, call_id)
        self.pick(page, "#target", "sales")
        page.click("#transfer")
        self.wait_until(
            "it landed", lambda: "LAB landed at 710" in self.asterisk.log[before:], 10
        )
        self.assertNotIn("LAB landed at 711", self.asterisk.log[before:])
        self.assertIsNone(phone.ended_at)
        page.appears("#call[data-live='false']")
        self.assertEqual(self.portero.call_record(call_id)["outcome"], "transferred")

    def test_listening_gives_both_sides(self) -> None:
        page = self.page()
        phone, call_id = self.rings("default")
        self.choose(page, call_id)
        page.evaluate(EAR)
        page.click("#listen")
        page.appears("#listen[aria-pressed=true]")
        self._hears(page, TONE_HZ)
        phone.play(pcm(tone(CALLER_HZ, 15.0, phone.sample_rate)))
        self._hears(page, CALLER_HZ)
        page.click("#listen")
        page.appears("#listen[aria-pressed=false]")
        page.until(f"window.lab.context.state === 'closed' || {HEARD} === 0")

    def _hears(self, page: Page, hz: float) -> None:
        page.until(f"Math.abs({HEARD} - {hz}) < 20")

    def test_draining_turns_new_callers_away_until_it_is_taken_back(self) -> None:
        self.own_portero()
        page = self.page()
        page.appears("#drain[aria-checked=false]")
        page.click("#drain")
        page.appears("#drain[aria-checked=true]")
        page.appears("#state[data-state=draining]")
        self.assertNotEqual(self.portero.get("/readyz")[0], 200)
        phone = self.phone()
        self.call(phone, "shipped")
        phone.wait_for_tone(SOMEBODY_HZ, 5)
        phone.hang_up()
        page.click("#drain")
        page.appears("#drain[aria-checked=false]")
        self.assertEqual(self.portero.get("/readyz")[0], 200)
        phone, _ = self.rings()
        phone.hang_up()

    def _happened(self, call_id: str, kind: str) -> list[dict[str, str]]:
        happened = self.api(f"calls/{call_id}")["happened"]
        return [one for one in happened if one["kind"] == kind]


class RightsTests(PageTestCase):
    def setUp(self) -> None:
        super().setUp()
        self._own = the_guarded()
        self.forgiven.append(r"status of 40[13]")

    def log_in(self, page: Page, name: str, password: str = PASSWORD) -> None:
        page.appears("#login-name")
        page.fill("#login-name", name)
        page.fill("#login-password", password)
        page.click("#login-send")

    def test_a_password_opens_the_page_and_logging_out_closes_it(self) -> None:
        page = self.page()
        phone, call_id = self.rings()
        self.log_in(page, "ana", "a wrong password")
        page.until("document.querySelector('#login-words').textContent")
        self.assertEqual(page.count("#calls-body tr"), 0)
        self.log_in(page, "ana")
        page.vanishes("#login")
        page.shows("#who", "ana")
        page.appears(f"#calls-body tr[data-call='{call_id}']")
        (cookie,) = page.cookies()
        self.assertTrue(cookie["httpOnly"])
        self.assertEqual(cookie["sameSite"], "Strict")
        self.assertEqual(page.evaluate("document.cookie"), "")
        page.click("#logout")
        page.appears("#login-name, #login-open")
        self.assertEqual(page.count("#calls-body tr"), 0)
        status = page.evaluate("fetch('/api/v1/calls').then((a) => a.status)")
        self.assertEqual(status, 401)
        phone.hang_up()

    def test_who_may_only_look_cannot_act_nor_listen(self) -> None:
        page = self.page()
        phone, call_id = self.rings()
        self.log_in(page, "viewer")
        self.choose(page, call_id)
        for button in ("#listen", "#say", "#transfer", "#hang-up", "#drain"):
            self.assertFalse(page.enabled(button), button)
        self.assertTrue(page.text("#why"))
        for path, body in (
            (f"calls/{call_id}/hang_up", {}),
            (f"calls/{call_id}/say", {"text": "x"}),
            (f"calls/{call_id}/transfer", {"target": "sales"}),
            ("drain", {"draining": True}),
        ):
            self.assertEqual(self._post(page, path, body), 403, path)
        listened = f"fetch('/api/v1/calls/{call_id}/listen').then((a) => a.status)"
        self.assertEqual(page.evaluate(listened), 403)
        self.assertIsNone(phone.ended_at)
        self.assertEqual(len(self.portero.calls()), 1)
        phone.hang_up()

    def test_who_may_act_but_not_listen_acts(self) -> None:
        page = self.page()
        phone, call_id = self.rings()
        self.log_in(page, "operator")
        self.choose(page, call_id)
        self.assertFalse(page.enabled("#listen"))
        page.click("#hang-up")
        page.click("#ask-yes")
        phone.wait_for_bye(5)

    def _post(self, page: Page, path: str, body: object) -> int:
        status: int = page.evaluate(
            f"fetch('/api/v1/{path}', {{method: 'POST', headers: {{'Content-Type':"
            f" 'application/json'}}, body: {json.dumps(json.dumps(body))}}})"
            ".then((answer) => answer.status)"
        )
        return status

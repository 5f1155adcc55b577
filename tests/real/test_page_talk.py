"""A call from the browser: its microphone, the agent, and what it plays."""

from __future__ import annotations

import base64
import wave
from io import BytesIO
from urllib.request import urlopen

import numpy as np

from tests.lab.browser import Page
from tests.lab.quality import align, resampled
from tests.lab.recording import Sound, level_dbfs
from tests.real.page import PageTestCase

RATE = 8000
SAME_WORDS = 0.3
"""Correlation of what came from the microphone with what went into it: a browser takes
out what it thinks is noise."""
SAME_SPEECH = 0.9
"""The same of what the page played with what was sent to it: clocks of its own, and two
changes of rate, are between."""
PIECE = RATE // 2
"""So much is compared at a time: on a machine that is too busy there are holes."""
RECORD = """(() => {
    const connect = AudioNode.prototype.connect;
    window.lab = [];
    AudioNode.prototype.connect = function (to, ...more) {
        const context = this.context;
        if (to === context.destination) {
            const tape = context.createScriptProcessor(4096, 1, 1);
            const kept = {tape, rate: context.sampleRate, pieces: [], loudest: 0};
            window.lab.push(kept);
            tape.onaudioprocess = ({inputBuffer}) => {
                const piece = inputBuffer.getChannelData(0).slice();
                kept.pieces.push(piece);
                kept.loudest = Math.max(kept.loudest, ...piece);
            };
            connect.call(this, tape);
            connect.call(tape, to);
        }
        return connect.call(this, to, ...more);
    };
})()"""
"""Keep what the page plays from now on, of each of its audio contexts apart."""
LOUD = "window.lab.some(({loudest}) => loudest > 0.05)"
PLAYED = """(() => {
    const {rate, pieces} = window.lab.find(({loudest}) => loudest > 0.05);
    const all = new Int16Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
    let at = 0;
    for (const piece of pieces)
        for (const sample of piece)
            all[at++] = Math.max(-1, Math.min(1, sample)) * 32767;
    const bytes = new Uint8Array(all.buffer);
    let text = "";
    for (let from = 0; from < bytes.length; from += 8192)
        text += String.fromCharCode(...bytes.subarray(from, from + 8192));
    return {rate, pcm: btoa(text)};
})()"""


class TalkTests(PageTestCase):
    def test_the_agent_hears_the_microphone_and_is_heard(self) -> None:
        page = self._calls("kept")
        page.until(LOUD)  # the greeting
        (call,) = self.portero.calls()
        self.assertEqual(call["agent"], "kept")
        call_id = call["id"]
        page.appears(f"#calls-body tr[data-call='{call_id}']")
        played = self._until_repeated(page, call_id)
        page.click("#talk-end")
        page.appears("#talk[data-talk=idle]")
        self.assertTrue(self.portero.wait_until_idle())
        heard, said = self._recording(call_id)
        speech = self.speech(RATE)
        came, at = align(heard, speech)
        self.assertGreater(self.likeness(came, speech), SAME_WORDS)
        self.assertGreater(level_dbfs(came), level_dbfs(speech) - 6)
        # The agent repeats it, and the page plays what the agent says.
        answer = said[at + len(came) // 2 :]
        repeated, _ = align(answer, came)
        self._is_in(answer, came)
        self._is_in(played, repeated)
        record = self.portero.call_record(call_id)
        self.assertEqual(record["outcome"], "well")

    def _is_in(self, whole: Sound, part: Sound) -> None:
        pieces = [part[at : at + PIECE] for at in range(0, len(part), PIECE)]
        alike = [self.likeness(whole, piece) for piece in pieces]
        self.assertGreater(np.median(alike), SAME_SPEECH, str(alike))

    def test_keys_reach_the_agent(self) -> None:
        page = self._calls("parrot")
        (call,) = self.portero.calls()
        page.click("#talk-keys [data-key='5']")
        self.wait_until("a key", lambda: "key" in self._kinds(call["id"]))
        page.click("#talk-end")
        self.assertTrue(self.portero.wait_until_idle())

    def test_leaving_the_page_ends_the_call(self) -> None:
        page = self._calls("default")
        page.goto("about:blank")
        self.assertTrue(self.portero.wait_until_idle())

    def test_the_call_ended_by_somebody_else(self) -> None:
        page = self._calls("default")
        (call,) = self.portero.calls()
        self.choose(page, call["id"])
        page.click("#hang-up")
        page.click("#ask-yes")
        page.appears("#talk[data-talk=idle]")

    def _calls(self, agent: str) -> Page:
        self.assertTrue(self.portero.wait_until_idle())
        page = self.page()
        page.evaluate(RECORD)
        page.click("#talk-open")
        self.pick(page, "#talk-agent", agent)
        page.click("#talk-start")
        page.appears("#talk[data-talk=talking]")
        self.wait_until("a call", lambda: bool(self.portero.calls()))
        return page

    def _until_repeated(self, page: Page, call_id: str) -> Sound:
        """
        Wait until the agent has said what it heard.

        @return: All that the page played.
        """

        def done() -> bool:
            happened = self.api(f"calls/{call_id}")["happened"]
            heard = [one for one in happened if one.get("role") == "user"]
            if not any(one["kind"] == "said" for one in heard):
                return False
            last = happened.index(heard[-1])
            return any(one["kind"] == "played_out" for one in happened[last:])

        self.wait_until("all is repeated", done, 15)
        told = page.evaluate(PLAYED)
        pcm = np.frombuffer(base64.b64decode(told["pcm"]), "<i2") / 32768
        return resampled(pcm, int(told["rate"]), RATE)

    def _recording(self, call_id: str) -> tuple[Sound, Sound]:
        """
        @return: Of both sides, at L{RATE}.
        """
        url = f"{self.portero.url}/api/v1/calls/{call_id}/recording.wav"
        with (
            urlopen(url, timeout=5) as answer,
            wave.open(BytesIO(answer.read())) as file,
        ):
            pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
            rate = file.getframerate()
        return resampled(pcm[::2], rate, RATE), resampled(pcm[1::2], rate, RATE)

    def _kinds(self, call_id: str) -> set[str]:
        return {one["kind"] for one in self.api(f"calls/{call_id}")["happened"]}

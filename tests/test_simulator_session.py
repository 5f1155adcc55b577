"""The simulator's protocol, without a socket: events and times in, events out."""

from __future__ import annotations

import ast
import copy
import json
from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero import simulator
from portero.audio import alaw_decode, level_dbfs, silence, ulaw_decode, ulaw_encode
from portero.prompts import WORDS, load
from portero.resample import Resampler
from portero.simulator.knobs import Knobs
from portero.simulator.persona import language_of, pressed, tone
from portero.simulator.session import Session
from portero.simulator.vad import LevelDetector, Started, Stopped

Event = dict[str, Any]

HANG_UP = {
    "type": "function",
    "name": "hang_up",
    "description": "End the call.",
    "parameters": {"type": "object", "properties": {}},
}
REPLY_TYPES = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "response.output_item.done",
    "conversation.item.done",
    "response.done",
    "rate_limits.updated",
]


def once_each(events: list[Event]) -> list[str]:
    """
    @return: The types in the order in which each first came.
    """
    return list(dict.fromkeys(event["type"] for event in events))


def of_type(events: list[Event], kind: str) -> list[Event]:
    return [event for event in events if event["type"] == kind]


def audio_of(events: list[Event]) -> bytes:
    """
    @return: All audio in these events, in its own format.
    """
    deltas = of_type(events, "response.output_audio.delta")
    return b"".join(b64decode(event["delta"]) for event in deltas)


class Line:
    """A client of a session, with its own time; G.711 mu-law unless told."""

    def __init__(
        self, knobs: Knobs | None = None, format: str = "audio/pcmu", **audio_input: Any
    ) -> None:
        self.now = 100.0
        self.session = Session(knobs or Knobs(), "gpt-realtime-2.1", "en", 4_000_000)
        self.first = self.session.begin()
        self.updated = self.update(
            audio={
                "input": {"format": {"type": format}, **audio_input},
                "output": {"format": {"type": format}},
            },
            tools=[HANG_UP],
        )

    def send(self, kind: str, **fields: Any) -> list[Event]:
        return self.session.receive({"type": kind, **fields}, self.now)

    def update(self, **session: Any) -> list[Event]:
        return self.send("session.update", session={"type": "realtime", **session})

    def wait(self, seconds: float = 60.0) -> list[Event]:
        """
        Let time pass, waking the session when it wants to be.
        """
        events: list[Event] = []
        end = self.now + seconds
        while (due := self.session.due) is not None and due <= end:
            self.now = max(self.now, due)
            events += self.session.advance(self.now)
        self.now = end
        return events

    def hear(self, pcm: bytes) -> list[Event]:
        """
        Send 8 kHz audio as mu-law in pieces of 40 ms, in no time.
        """
        data = ulaw_encode(pcm)
        events: list[Event] = []
        for start in range(0, len(data), 320):
            audio = b64encode(data[start : start + 320]).decode()
            events += self.send("input_audio_buffer.append", audio=audio)
        return events

    def greeted(self) -> list[Event]:
        return [*self.send("response.create"), *self.wait(5)]

    def turn(self, ms: int = 800) -> list[Event]:
        """
        Silence, a tone, and silence enough to end the turn.
        """
        return self.hear(silence(2400) + tone(ms) + silence(6400))

    def text(self, words: str) -> list[Event]:
        content = [{"type": "input_text", "text": words}]
        item = {"type": "message", "role": "user", "content": content}
        return self.send("conversation.item.create", item=item)


class LayerTests(SynchronousTestCase):
    def test_only_the_shell_knows_twisted(self) -> None:
        folder = Path(simulator.__file__).parent
        shell = {"__init__.py", "connection.py", "server.py"}
        ours = ("audio", "resample", "prompts", "errors", "simulator")
        for path in folder.glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module:
                    top, *rest = node.module.split(".")
                    if top == "portero":
                        self.assertIn(rest[0], ours, path.name)
                    if path.name not in shell:
                        self.assertNotIn(top, ("twisted", "autobahn", "time"))
                elif isinstance(node, ast.Import) and path.name not in shell:
                    names = {name.name.split(".")[0] for name in node.names}
                    self.assertFalse(names & {"twisted", "autobahn", "time"}, path.name)


class DetectorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.detector = LevelDetector(8000)

    def test_a_tone_is_a_turn_with_exact_times(self) -> None:
        found = self.detector.feed(silence(8000) + tone(800) + silence(8000))
        self.assertEqual(found, [Started(700), Stopped(2300, 1000, 1800)])

    def test_the_settings_move_the_times(self) -> None:
        self.detector.prefix_padding_ms = 100
        self.detector.silence_duration_ms = 200
        found = self.detector.feed(silence(8000) + tone(800) + silence(8000))
        self.assertEqual(found, [Started(900), Stopped(2000, 1000, 1800)])

    def test_a_start_never_lies_before_the_end_of_the_last_turn(self) -> None:
        self.detector.silence_duration_ms = 100
        found = self.detector.feed((tone(400) + silence(960)) * 2 + silence(800))
        first_end, second = found[1], found[2]
        assert isinstance(first_end, Stopped) and isinstance(second, Started)
        self.assertEqual(first_end.end_ms, 500)
        self.assertEqual(second.start_ms, 500)

    def test_a_click_is_no_turn(self) -> None:
        self.assertEqual(
            self.detector.feed(silence(8000) + tone(40) + silence(800)), []
        )

    def test_a_pause_shorter_than_the_silence_is_part_of_the_turn(self) -> None:
        sound = silence(8000) + tone(400) + silence(3200) + tone(400) + silence(8000)
        found = self.detector.feed(sound)
        self.assertEqual([type(change) for change in found], [Started, Stopped])

    def test_steady_noise_ends_as_silence_and_speech_over_it_is_found(self) -> None:
        noise = np.random.default_rng(1).normal(0, 200, 8000 * 20)
        self.detector.feed(noise.astype("<i2").tobytes())
        self.assertFalse(self.detector.speaking)
        louder = noise[: 8000 * 2].copy()
        louder[4000:12000] += np.frombuffer(tone(1000), "<i2")
        found = self.detector.feed(louder.astype("<i2").tobytes())
        self.assertEqual([type(change) for change in found], [Started, Stopped])

    def test_a_higher_threshold_wants_louder_speech(self) -> None:
        faint = (np.frombuffer(tone(800), "<i2") // 16).astype("<i2").tobytes()
        self.assertEqual(len(self.detector.feed(silence(8000) + faint)), 1)
        deaf = LevelDetector(8000)
        deaf.threshold = 1.0
        self.assertEqual(deaf.feed(silence(8000) + faint), [])

    def test_real_speech_is_one_turn(self) -> None:
        rate, pcm = load("moment", "en")
        detector = LevelDetector(rate)
        found = detector.feed(silence(rate) + pcm + silence(rate))
        self.assertEqual([type(change) for change in found], [Started, Stopped])

    @given(st.lists(st.integers(0, 3000), max_size=30))
    def test_any_split_gives_the_same_turns(self, sizes: list[int]) -> None:
        sound = silence(4000) + tone(500) + silence(6000) + tone(300) + silence(6000)
        whole = LevelDetector(8000).feed(sound)
        split, found, start = LevelDetector(8000), [], 0
        for size in sizes:
            found += split.feed(sound[start : start + 2 * size])
            start += 2 * size
        found += split.feed(sound[start:])
        self.assertEqual(found, whole)


class ConfigurationTests(SynchronousTestCase):
    def test_the_first_event_tells_the_defaults(self) -> None:
        line = Line()
        self.assertEqual(once_each(line.first), ["session.created"])
        session = line.first[0]["session"]
        self.assertEqual(session["object"], "realtime.session")
        self.assertEqual(session["model"], "gpt-realtime-2.1")
        self.assertEqual(session["expires_at"], 4_000_000)
        self.assertEqual(
            session["audio"]["output"]["format"], {"type": "audio/pcm", "rate": 24000}
        )
        self.assertEqual(
            session["audio"]["input"]["turn_detection"]["type"], "server_vad"
        )

    def test_an_update_changes_only_what_it_names(self) -> None:
        line = Line()
        before = copy.deepcopy(line.session.config)
        (event,) = line.update(instructions="Be brief.")
        self.assertEqual(event["type"], "session.updated")
        self.assertEqual(event["session"], {**before, "instructions": "Be brief."})

    def test_turn_detection_keeps_what_is_not_named(self) -> None:
        line = Line()
        turns = {"type": "server_vad", "threshold": 0.8}
        (event,) = line.update(audio={"input": {"turn_detection": turns}})
        effective = event["session"]["audio"]["input"]["turn_detection"]
        self.assertEqual(effective["threshold"], 0.8)
        self.assertEqual(effective["prefix_padding_ms"], 300)
        self.assertEqual(line.session.hearing._detector.threshold, 0.8)

    def test_empty_values_clear(self) -> None:
        line = Line()
        (event,) = line.update(
            tools=[], instructions="", audio={"input": {"turn_detection": None}}
        )
        self.assertEqual(event["session"]["tools"], [])
        self.assertEqual(event["session"]["instructions"], "")
        self.assertIsNone(event["session"]["audio"]["input"]["turn_detection"])

    def test_the_model_stays(self) -> None:
        (event,) = Line().update(model="gpt-realtime-9")
        self.assertEqual(event["session"]["model"], "gpt-realtime-2.1")

    def test_a_wrong_update_is_refused_as_a_whole(self) -> None:
        unknown, wrong = "unknown_parameter", "invalid_value"
        turns = "session.audio.input.turn_detection"
        for session, code, param in (
            ({}, "missing_required_parameter", "session.type"),
            ({"type": "conversation"}, wrong, "session.type"),
            ({"temperature": 0.8}, unknown, "session.temperature"),
            ({"voice": "marin"}, unknown, "session.voice"),
            ({"modalities": ["audio"]}, unknown, "session.modalities"),
            (
                {"max_response_output_tokens": 9},
                unknown,
                "session.max_response_output_tokens",
            ),
            ({"output_modalities": ["audio", "text"]}, wrong, None),
            ({"reasoning": {"effort": "none"}}, wrong, "session.reasoning.effort"),
            (
                {"tools": [{**HANG_UP, "strict": True}]},
                unknown,
                "session.tools[0].strict",
            ),
            ({"max_output_tokens": 5000}, "integer_above_max_value", None),
            ({"max_output_tokens": True}, "invalid_type", None),
            ({"instructions": 5}, "invalid_type", "session.instructions"),
            (
                {"audio": {"input": {"format": {"type": "audio/pcmu", "rate": 8000}}}},
                unknown,
                "session.audio.input.format.rate",
            ),
            (
                {"audio": {"output": {"format": {"type": "audio/pcm", "rate": 8000}}}},
                wrong,
                "session.audio.output.format.rate",
            ),
            (
                {"audio": {"output": {"format": "pcm16"}}},
                "invalid_type",
                "session.audio.output.format",
            ),
            ({"audio": {"output": {"voice": "nobody"}}}, wrong, None),
            ({"audio": {"output": {"speed": 2}}}, "decimal_above_max_value", None),
            (
                {
                    "audio": {
                        "input": {
                            "turn_detection": {
                                "type": "semantic_vad",
                                "idle_timeout_ms": 6000,
                            }
                        }
                    }
                },
                unknown,
                f"{turns}.idle_timeout_ms",
            ),
            (
                {
                    "audio": {
                        "input": {
                            "turn_detection": {
                                "type": "server_vad",
                                "idle_timeout_ms": 100,
                            }
                        }
                    }
                },
                "integer_below_min_value",
                f"{turns}.idle_timeout_ms",
            ),
            (
                {
                    "audio": {
                        "input": {
                            "transcription": {"language": "es", "languages": ["es"]}
                        }
                    }
                },
                wrong,
                "session.audio.input.transcription",
            ),
        ):
            line = Line()
            before = copy.deepcopy(line.session.config)
            good = {"instructions": "This must not be taken."}
            kind = {} if param == "session.type" else {"type": "realtime"}
            update = {**kind, **good, **session}
            (event,) = line.send("session.update", session=update, event_id="cfg-1")
            self.assertEqual(event["type"], "error", session)
            error = event["error"]
            self.assertEqual(error["type"], "invalid_request_error")
            self.assertEqual(error["code"], code, session)
            self.assertEqual(error["event_id"], "cfg-1")
            if param is not None:
                self.assertEqual(error["param"], param)
            self.assertEqual(line.session.config, before)

    def test_only_reasoning_models_reason(self) -> None:
        for model in ("gpt-realtime-1.5", "gpt-realtime-2025-08-28"):
            session = Session(Knobs(), model, "en", 0)
            update = {"type": "realtime", "reasoning": {"effort": "low"}}
            (event,) = session.receive(
                {"type": "session.update", "session": update}, 0.0
            )
            self.assertEqual(event["error"]["code"], "unsupported_parameter")

    def test_semantic_turn_detection_knows_no_levels(self) -> None:
        line = Line()
        for field in ("threshold", "silence_duration_ms", "idle_timeout_ms"):
            turns = {"type": "semantic_vad", field: 0}
            (event,) = line.update(audio={"input": {"turn_detection": turns}})
            self.assertEqual(event["error"]["code"], "unknown_parameter", field)

    def test_each_transcription_model_knows_its_own_settings(self) -> None:
        line = Line()
        some: dict[str, Any] = {
            "languages": ["es"],
            "keywords": ["Ana"],
            "prompt": "Ana",
            "language": "es",
            "delay": "low",
        }
        for model, known in {
            "gpt-transcribe": {"languages", "keywords", "prompt", "language"},
            "gpt-live-transcribe": {"languages", "keywords", "prompt", "language"},
            "gpt-4o-transcribe": {"prompt", "language"},
            "gpt-4o-transcribe-diarize": {"language"},
            "whisper-1": {"prompt", "language"},
            "gpt-realtime-whisper": {"language", "delay"},
        }.items():
            for name, value in some.items():
                told = {"model": model, name: value}
                (event,) = line.update(audio={"input": {"transcription": told}})
                taken = event["type"] == "session.updated"
                self.assertEqual(taken, name in known, (model, name))

    def test_the_speed_is_changed_only_between_replies(self) -> None:
        line = Line()
        line.send("response.create")
        for speed, taken in ((1.0, True), (1.2, False)):
            (event,) = line.update(audio={"output": {"speed": speed}})[:1]
            self.assertEqual(event["type"] == "session.updated", taken)
        line.wait(60)
        (event,) = line.update(audio={"output": {"speed": 1.2}})
        self.assertEqual(event["session"]["audio"]["output"]["speed"], 1.2)

    def test_the_voice_is_fixed_once_it_was_heard(self) -> None:
        line = Line()
        voice = {"output": {"voice": "cedar"}}
        self.assertEqual(once_each(line.update(audio=voice)), ["session.updated"])
        line.greeted()
        (event,) = line.update(audio={"output": {"voice": "marin"}})
        self.assertEqual(event["error"]["code"], "cannot_update_voice")
        self.assertEqual(once_each(line.update(audio=voice)), ["session.updated"])

    def test_tracing_cannot_be_changed_once_it_is_on(self) -> None:
        line = Line()
        line.update(tracing={"group_id": "call-1"})
        (event,) = line.update(tracing=None)
        self.assertEqual(event["error"]["param"], "session.tracing")


class ReplyTests(SynchronousTestCase):
    def test_a_greeting_comes_in_the_order_of_the_protocol(self) -> None:
        line = Line()
        events = line.greeted()
        self.assertEqual(once_each(events), REPLY_TYPES)
        ids = [event["event_id"] for event in events]
        self.assertEqual(len(set(ids)), len(ids))

    def test_the_greeting_is_the_spoken_prompt(self) -> None:
        events = Line().greeted()
        rate, pcm = load("greeting", "en")
        expected = Resampler(rate, 8000).process(pcm)
        self.assertEqual(audio_of(events), ulaw_encode(expected))
        (done,) = of_type(events, "response.output_audio_transcript.done")
        self.assertEqual(done["transcript"], WORDS["en"]["greeting"])
        deltas = of_type(events, "response.output_audio_transcript.delta")
        self.assertEqual("".join(e["delta"] for e in deltas), done["transcript"])

    def test_its_words_are_those_of_the_knobs_and_its_sound_is_not(self) -> None:
        events = Line(Knobs(words="Something else.")).greeted()
        (done,) = of_type(events, "response.output_audio_transcript.done")
        self.assertEqual(done["transcript"], "Something else.")
        self.assertEqual(audio_of(events), audio_of(Line().greeted()))

    def test_audio_comes_at_the_pace_of_the_knobs(self) -> None:
        line = Line(Knobs(first_delta_s=0.5, chunk_ms=100, speed=2.0, reply=None))
        began = line.now
        line.send("response.create")
        self.assertEqual(line.session.due, began + 0.5)
        self.assertEqual(len(audio_of(line.wait(0.51))), 800)
        self.assertEqual(len(audio_of(line.wait(0.50))), 8000)

    def test_a_reply_of_tones_is_exact(self) -> None:
        line = Line(Knobs(reply=((0.4, 300), (1.0, 100)), chunk_ms=100))
        events = line.send("response.create")
        self.assertEqual(audio_of([*events, *line.wait(0.39)]), b"")
        first = audio_of(line.wait(0.5))
        second = audio_of(line.wait(2.0))
        self.assertEqual((len(first), len(second)), (2400, 800))
        self.assertApproximates(level_dbfs(ulaw_decode(first)), -21.3, 0.3)
        joined = np.frombuffer(ulaw_decode(first + second), "<i2").astype(int)
        wanted = np.frombuffer(tone(400), "<i2").astype(int)
        self.assertLess(int(np.abs(joined - wanted).max()), 200)

    def test_each_format_is_spoken(self) -> None:
        for format, length, decode in (
            ("audio/pcm", 48_000, bytes),
            ("audio/pcmu", 8000, ulaw_decode),
            ("audio/pcma", 8000, alaw_decode),
        ):
            said = audio_of(Line(Knobs(reply=((0.1, 1000),)), format).greeted())
            self.assertEqual(len(said), length)
            self.assertApproximates(level_dbfs(decode(said)), -21.3, 0.3)

    def test_usage_counts_and_caches(self) -> None:
        line = Line(Knobs(reply=((0.1, 1000),)))
        (first,) = of_type(line.greeted(), "response.done")
        usage = first["response"]["usage"]
        self.assertEqual(usage["output_token_details"]["audio_tokens"], 20)
        self.assertEqual(
            usage["total_tokens"], usage["input_tokens"] + usage["output_tokens"]
        )
        self.assertEqual(usage["input_token_details"]["cached_tokens"], 0)
        line.turn(1000)
        (second,) = of_type(line.wait(5), "response.done")
        details = second["response"]["usage"]["input_token_details"]
        self.assertGreater(details["cached_tokens"], 0)
        self.assertLess(details["cached_tokens"], details["text_tokens"] + 100)
        self.assertGreaterEqual(details["audio_tokens"], 20 + 10)

    def test_a_limit_of_tokens_cuts_the_reply(self) -> None:
        line = Line(Knobs(reply=((0.1, 3000),)))
        line.send("response.create", response={"max_output_tokens": 20})
        events = line.wait(5)
        (done,) = of_type(events, "response.done")
        self.assertEqual(done["response"]["status"], "incomplete")
        self.assertEqual(
            done["response"]["status_details"]["reason"], "max_output_tokens"
        )
        self.assertEqual(len(audio_of(events)), 8000)

    def test_text_can_be_asked_for(self) -> None:
        line = Line()
        events = [
            *line.send("response.create", response={"output_modalities": ["text"]}),
            *line.wait(5),
        ]
        (done,) = of_type(events, "response.output_text.done")
        self.assertEqual(done["text"], WORDS["en"]["greeting"])
        self.assertEqual(audio_of(events), b"")

    def test_a_second_response_is_refused_while_one_runs(self) -> None:
        line = Line()
        line.send("response.create")
        (event,) = line.send("response.create", event_id="again")
        self.assertEqual(
            event["error"]["code"], "conversation_already_has_active_response"
        )
        self.assertEqual(event["error"]["event_id"], "again")
        line.wait(5)
        self.assertEqual(once_each(line.send("response.create")), ["response.created"])

    def test_an_answer_aside_runs_beside_and_leaves_no_trace(self) -> None:
        line = Line()
        line.send("response.create")
        aside = {
            "conversation": "none",
            "output_modalities": ["text"],
            "metadata": {"topic": "summary"},
            "input": [],
        }
        events = [*line.send("response.create", response=aside), *line.wait(5)]
        done = of_type(events, "response.done")
        self.assertEqual(len(done), 2)
        (summary,) = [d["response"] for d in done if d["response"]["metadata"]]
        self.assertEqual(summary["metadata"], {"topic": "summary"})
        self.assertIsNone(summary["conversation_id"])
        self.assertEqual(len(line.session.conversation.items), 1)

    def test_items_may_be_given_with_the_request(self) -> None:
        line = Line(Knobs())
        line.text("The caller typed 4 on the telephone.")
        reference = {
            "type": "item_reference",
            "id": line.session.conversation.items[0].id,
        }
        events = [
            *line.send("response.create", response={"input": [reference]}),
            *line.wait(5),
        ]
        (done,) = of_type(events, "response.output_audio_transcript.done")
        self.assertEqual(done["transcript"], "four")


class CallerTests(SynchronousTestCase):
    def test_a_turn_comes_in_the_order_of_the_protocol_and_is_answered(self) -> None:
        line = Line()
        events = line.turn()
        self.assertEqual(
            once_each(events),
            [
                "input_audio_buffer.speech_started",
                "input_audio_buffer.speech_stopped",
                "input_audio_buffer.committed",
                "conversation.item.added",
                "conversation.item.done",
                "response.created",
            ],
        )
        started, stopped, committed = events[:3]
        self.assertEqual(started["audio_start_ms"], 0)
        self.assertEqual(stopped["audio_end_ms"], 300 + 800 + 500)
        items = {started["item_id"], stopped["item_id"], committed["item_id"]}
        self.assertEqual(items, {events[3]["item"]["id"]})
        self.assertEqual(line.wait(5)[-2]["response"]["status"], "completed")

    def test_the_turn_is_parroted_sample_by_sample(self) -> None:
        line = Line()
        sound = tone(800)
        line.hear(silence(2400) + sound + silence(6400))
        said = audio_of(line.wait(5))
        heard = ulaw_encode(sound)
        self.assertIn(heard, said)
        self.assertEqual(len(said), len(heard) + (100 + 160) * 8)

    def test_each_turn_is_parroted_by_itself(self) -> None:
        line = Line()
        for ms in (400, 1000, 600):
            line.turn(ms)
            self.assertEqual(len(audio_of(line.wait(5))), (ms + 260) * 8)

    def test_other_formats_are_parroted_at_their_rate(self) -> None:
        line = Line(format="audio/pcm")
        up = Resampler(8000, 24000).process(silence(2400) + tone(800) + silence(6400))
        audio = b64encode(up).decode()
        line.send("input_audio_buffer.append", audio=audio)
        said = audio_of(line.wait(5))
        self.assertApproximates(len(said) / 48, 800 + 260, 40)
        self.assertApproximates(level_dbfs(said[9600:-12000]), -21.3, 0.3)

    def test_one_large_append_is_as_good_as_many(self) -> None:
        line = Line()
        sound = silence(2400) + tone(800) + silence(6400)
        audio = b64encode(ulaw_encode(sound)).decode()
        events = line.send("input_audio_buffer.append", audio=audio)
        self.assertEqual(once_each(events), once_each(Line().turn()))

    def test_two_turns_in_one_append_end_in_order(self) -> None:
        line = Line()
        sound = (silence(2400) + tone(800) + silence(6400)) * 2
        audio = b64encode(ulaw_encode(sound)).decode()
        events = [
            *line.send("input_audio_buffer.append", audio=audio),
            *line.wait(5),
        ]
        created = [e["response"]["id"] for e in of_type(events, "response.created")]
        done = [
            (e["response"]["id"], e["response"]["status"])
            for e in of_type(events, "response.done")
        ]
        self.assertEqual(done, [(created[0], "cancelled"), (created[1], "completed")])

    def test_a_half_sample_waits_for_its_other_half(self) -> None:
        line = Line(format="audio/pcm", turn_detection=None)
        up = Resampler(8000, 24000).process(tone(400))
        for piece in (up[:1001], up[1001:]):
            line.send("input_audio_buffer.append", audio=b64encode(piece).decode())
        self.assertEqual(line.session.hearing.take_all(), up)

    def test_a_transcript_follows_when_it_was_asked_for(self) -> None:
        line = Line(transcription={"model": "gpt-transcribe"})
        item = line.turn()[0]["item_id"]
        kind = "conversation.item.input_audio_transcription.completed"
        (done,) = of_type(line.wait(5), kind)
        self.assertEqual(done["item_id"], item)
        self.assertEqual(done["transcript"], "(1.1 seconds of speech)")
        self.assertEqual(done["usage"]["type"], "tokens")

    def test_the_transcript_is_that_of_the_knobs(self) -> None:
        line = Line(Knobs(caller_words="As told."), transcription={"model": "whisper"})
        line.turn()
        kind = "conversation.item.input_audio_transcription.completed"
        (done,) = of_type(line.wait(5), kind)
        self.assertEqual(done["transcript"], "As told.")

    def test_without_turn_detection_the_client_decides(self) -> None:
        line = Line(turn_detection=None)
        self.assertEqual(line.turn(), [])
        committed = line.send("input_audio_buffer.commit")
        self.assertEqual(
            once_each(committed),
            [
                "input_audio_buffer.committed",
                "conversation.item.added",
                "conversation.item.done",
            ],
        )
        self.assertIsNone(line.session.due)
        line.send("response.create")
        self.assertEqual(len(audio_of(line.wait(5))), (300 + 800 + 800) * 8)

    def test_a_commit_under_100_ms_is_refused(self) -> None:
        line = Line(turn_detection=None)
        line.hear(silence(799))
        (event,) = line.send("input_audio_buffer.commit")
        self.assertEqual(event["error"]["code"], "input_audio_buffer_commit_empty")
        line.hear(silence(1))
        events = line.send("input_audio_buffer.commit")
        self.assertEqual(events[0]["type"], "input_audio_buffer.committed")

    def test_clear_empties_the_buffer_but_not_the_clock(self) -> None:
        line = Line()
        line.hear(silence(2400) + tone(200))
        self.assertEqual(
            once_each(line.send("input_audio_buffer.clear")),
            ["input_audio_buffer.cleared"],
        )
        started, stopped = line.turn()[:2]
        self.assertEqual(started["audio_start_ms"], 500)
        self.assertEqual(stopped["audio_end_ms"], 500 + 300 + 800 + 500)

    def test_the_clock_runs_on_while_detection_is_off(self) -> None:
        line = Line(turn_detection=None)
        line.hear(silence(8000))
        line.update(audio={"input": {"turn_detection": {"type": "server_vad"}}})
        self.assertEqual(line.turn()[0]["audio_start_ms"], 1000)

    def test_semantic_detection_waits_by_eagerness(self) -> None:
        for eagerness, wait in (("high", 500), ("low", 2000)):
            turns = {"type": "semantic_vad", "eagerness": eagerness}
            line = Line(turn_detection=turns)
            events = line.hear(silence(2400) + tone(800) + silence(8000 * 3))
            (stopped,) = of_type(events, "input_audio_buffer.speech_stopped")
            self.assertEqual(stopped["audio_end_ms"], 1100 + wait)

    def test_responses_only_when_the_server_may_create_them(self) -> None:
        turns = {"type": "server_vad", "create_response": False}
        line = Line(turn_detection=turns)
        self.assertNotIn("response.created", once_each(line.turn()))
        self.assertIsNone(line.session.due)

    def test_an_idle_caller_is_asked(self) -> None:
        turns = {"type": "server_vad", "idle_timeout_ms": 5000}
        line = Line(Knobs(reply=((0.0, 1000),), speed=100), turn_detection=turns)
        line.greeted()
        line.session.knobs = Knobs()
        line.hear(silence(800))
        self.assertEqual(line.wait(0.9), [])
        events = line.wait(5)
        self.assertEqual(
            once_each(events)[:4],
            [
                "input_audio_buffer.timeout_triggered",
                "input_audio_buffer.committed",
                "conversation.item.added",
                "conversation.item.done",
            ],
        )
        (said,) = of_type(events, "response.output_audio_transcript.done")
        self.assertEqual(said["transcript"], WORDS["en"]["still_there"])

    def test_base64_must_be_base64(self) -> None:
        (event,) = Line().send("input_audio_buffer.append", audio="!!!")
        self.assertEqual(event["error"]["param"], "audio")

    def test_memory_for_audio_is_bounded(self) -> None:
        line = Line(Knobs(keep_s=2))
        for _ in range(70):
            line.hear(tone(1000))
        self.assertLessEqual(line.session.hearing.buffered_ms, 60_000)
        self.assertEqual(len(line.session.hearing.tape), 2 * 16000)


class InterruptionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.line = Line()
        self.line.send("response.create")
        self.early = self.line.wait(0.3)
        self.item = of_type(self.early, "response.output_item.added")[0]["item"]["id"]

    def test_speech_cancels_a_running_reply(self) -> None:
        events = self.line.hear(silence(2400) + tone(200))
        self.assertEqual(
            once_each(events),
            [
                "input_audio_buffer.speech_started",
                *REPLY_TYPES[6:],
            ],
        )
        response = events[-2]["response"]
        self.assertEqual(response["status"], "cancelled")
        self.assertEqual(
            response["status_details"], {"type": "cancelled", "reason": "turn_detected"}
        )
        self.assertEqual(response["output"][0]["status"], "incomplete")
        self.assertEqual(self.line.wait(5), [])

    def test_speech_cancels_nothing_when_it_may_not(self) -> None:
        turns = {"type": "server_vad", "interrupt_response": False}
        self.line.update(audio={"input": {"turn_detection": turns}})
        events = self.line.hear(silence(2400) + tone(200))
        self.assertEqual(once_each(events), ["input_audio_buffer.speech_started"])

    def test_the_client_may_cancel(self) -> None:
        (*_, done, _limits) = self.line.send("response.cancel")
        self.assertEqual(
            done["response"]["status_details"]["reason"], "client_cancelled"
        )
        (event,) = self.line.send("response.cancel", event_id="c2")
        self.assertEqual(event["error"]["code"], "response_cancel_not_active")

    def test_only_the_named_response_is_cancelled(self) -> None:
        (event,) = self.line.send("response.cancel", response_id="resp_other")
        self.assertEqual(event["error"]["code"], "response_cancel_not_active")

    def test_a_reply_is_truncated_to_what_was_heard(self) -> None:
        (event,) = self.line.send(
            "conversation.item.truncate",
            item_id=self.item,
            content_index=0,
            audio_end_ms=150,
        )
        self.assertEqual(event["type"], "conversation.item.truncated")
        self.assertEqual(event["audio_end_ms"], 150)
        self.assertEqual(self.line.session.truncations, [(self.item, 150)])

    def test_wrong_truncations_are_refused(self) -> None:
        sent_ms = len(audio_of(self.early)) // 8
        good = {"item_id": self.item, "content_index": 0, "audio_end_ms": sent_ms}
        for change, code in (
            ({"audio_end_ms": sent_ms + 1}, "invalid_value"),
            ({"audio_end_ms": 10.5}, "invalid_type"),
            ({"audio_end_ms": 10.0}, "invalid_type"),
            ({"audio_end_ms": -1}, "integer_below_min_value"),
            ({"content_index": 1}, "invalid_value"),
            ({"item_id": "item_nobody"}, "item_truncate_invalid_item_id"),
            ({"extra": 1}, "unknown_parameter"),
        ):
            fields = {**good, **change}
            (event,) = self.line.send("conversation.item.truncate", **fields)
            self.assertEqual(event["error"]["code"], code, change)
        del good["content_index"]
        (event,) = self.line.send("conversation.item.truncate", **good)
        self.assertEqual(event["error"]["param"], "content_index")
        self.assertEqual(self.line.session.truncations, [])

    def test_a_reply_cannot_be_truncated_twice_to_more(self) -> None:
        fields = {"item_id": self.item, "content_index": 0}
        kind = "conversation.item.truncate"
        self.line.send("response.cancel")
        self.line.send(kind, **fields, audio_end_ms=0)
        (event,) = self.line.send(kind, **fields, audio_end_ms=1)
        self.assertEqual(event["type"], "error")

    def test_a_callers_turn_cannot_be_truncated(self) -> None:
        item = self.line.turn()[0]["item_id"]
        (event,) = self.line.send(
            "conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=0
        )
        self.assertEqual(event["error"]["param"], "item_id")


class KeyTests(SynchronousTestCase):
    def test_keys_are_found_in_words(self) -> None:
        for words, keys in (
            ("The caller typed 5 on the telephone.", "5"),
            ("The caller typed 12*3 and # on the telephone.", "12*3#"),
            ("The caller typed # on the telephone.", "#"),
            ("The caller pressed the key 5 on the telephone.", "5"),
            ("The caller pressed the keys 1 2 3.", "123"),
            ("La persona que llama pulsó la tecla *.", "*"),
            ("dígitos: 12*#", "12*#"),
            ("My monkey 5", ""),
            ("key 5th", ""),
            ("hello", ""),
        ):
            self.assertEqual(pressed(words), keys, words)

    def test_a_key_is_named(self) -> None:
        line = Line()
        line.greeted()
        line.text("The caller typed 5 on the telephone.")
        line.send("response.create")
        rate, pcm = load("5", "en")
        spoken = ulaw_encode(Resampler(rate, 8000).process(pcm))
        self.assertEqual(audio_of(line.wait(5)), spoken)

    def test_hash_says_goodbye_and_then_calls_hang_up(self) -> None:
        line = Line()
        line.greeted()
        line.text("The caller typed # on the telephone.")
        line.send("response.create")
        events = line.wait(5)
        (done,) = of_type(events, "response.done")
        message, call = done["response"]["output"]
        self.assertEqual(message["content"][0]["transcript"], WORDS["en"]["goodbye"])
        self.assertEqual((call["type"], call["name"]), ("function_call", "hang_up"))
        (arguments,) = of_type(events, "response.function_call_arguments.done")
        self.assertEqual(json.loads(arguments["arguments"]), {})
        self.assertEqual(arguments["call_id"], call["call_id"])
        self.assertEqual(arguments["output_index"], 1)
        order = once_each(events)
        self.assertLess(
            order.index("response.output_audio.done"),
            order.index("response.function_call_arguments.delta"),
        )

    def test_a_number_that_ends_with_hash_is_named_before_the_goodbye(self) -> None:
        line = Line()
        line.greeted()
        line.text("The caller typed 12 and # on the telephone.")
        line.send("response.create")
        (done,) = of_type(line.wait(10), "response.done")
        keys, goodbye, call = done["response"]["output"]
        self.assertEqual(keys["content"][0]["transcript"], "one two")
        self.assertEqual(goodbye["content"][0]["transcript"], WORDS["en"]["goodbye"])
        self.assertEqual(call["name"], "hang_up")

    def test_hash_only_says_goodbye_without_the_function(self) -> None:
        changes: tuple[Event, ...] = ({"tools": []}, {"tool_choice": "none"})
        for change in changes:
            line = Line()
            line.update(**change)
            line.text("The caller typed # on the telephone.")
            line.send("response.create")
            (done,) = of_type(line.wait(5), "response.done")
            self.assertEqual(len(done["response"]["output"]), 1)

    def test_a_functions_output_is_taken_and_answered(self) -> None:
        line = Line(Knobs(function_call=("look_up", '{"name": "x"}')))
        line.greeted()
        call = line.session.conversation.items[-1].body
        self.assertEqual(call["arguments"], '{"name": "x"}')
        output = {"type": "function_call_output", "call_id": call["call_id"]}
        (event,) = line.send(
            "conversation.item.create", item={**output, "output": {"found": 1}}
        )
        self.assertEqual(event["error"]["code"], "invalid_type")
        events = line.send("conversation.item.create", item={**output, "output": "{}"})
        self.assertEqual(
            once_each(events), ["conversation.item.added", "conversation.item.done"]
        )
        line.send("response.create")
        events = line.wait(5)
        (said,) = of_type(events, "response.output_audio_transcript.done")
        self.assertEqual(said["transcript"], WORDS["en"]["done"])
        self.assertNotIn("response.function_call_arguments.done", once_each(events))

    def test_a_function_can_be_demanded(self) -> None:
        line = Line()
        for choice in ("required", {"type": "function", "name": "hang_up"}):
            line.send("response.create", response={"tool_choice": choice})
            (done,) = of_type(line.wait(5), "response.done")
            (call,) = done["response"]["output"]
            self.assertEqual(call["name"], "hang_up")


class LanguageTests(SynchronousTestCase):
    def test_spanish_instructions_make_it_speak_spanish(self) -> None:
        line = Line()
        line.update(instructions="Eres el agente de una clínica; habla con cortesía.")
        (said,) = of_type(line.greeted(), "response.output_audio_transcript.done")
        self.assertEqual(said["transcript"], WORDS["es"]["greeting"])

    def test_the_transcriptions_language_goes_first(self) -> None:
        line = Line(transcription={"model": "gpt-transcribe", "languages": ["es-MX"]})
        line.update(instructions="You are the agent of a clinic.")
        self.assertEqual(line.session.language, "es")

    def test_the_first_language_that_it_speaks_counts(self) -> None:
        for languages, spoken in (
            (["fr", "es", "en"], "es"),
            (["EN"], "en"),
            (["fr"], "es"),
            ([], "es"),
        ):
            told = {"model": "gpt-transcribe", "languages": languages}
            line = Line(transcription=told)
            config = {**line.session.config, "instructions": ""}
            self.assertEqual(language_of(config, "es"), spoken, languages)
        for language, spoken in (("en-US", "en"), ("fr", "es")):
            line = Line(transcription={"model": "whisper-1", "language": language})
            self.assertEqual(language_of(line.session.config, "es"), spoken)

    def test_a_spanish_session_is_described_in_spanish(self) -> None:
        line = Line(transcription={"model": "gpt-transcribe", "languages": ["es"]})
        line.turn(1000)
        kind = "conversation.item.input_audio_transcription.completed"
        (event,) = of_type(line.wait(5), kind)
        self.assertEqual(event["transcript"], "(1,3 segundos de voz)")

    def test_the_operators_choice_holds_whatever_the_instructions(self) -> None:
        config = Line().session.config
        english = {**config, "instructions": "You are the agent of a clinic."}
        self.assertEqual(language_of(english, "es"), "es")
        self.assertEqual(language_of(english, "en"), "en")
        self.assertEqual(language_of({**config, "instructions": ""}, "en"), "en")


class ItemTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.line = Line()

    def create(self, item: Event, **fields: Any) -> list[Event]:
        return self.line.send("conversation.item.create", item=item, **fields)

    def test_history_can_be_replayed_in_order(self) -> None:
        text = {"type": "message", "role": "user", "id": "u1"}
        said = {"type": "message", "role": "assistant", "id": "a1"}
        told = {"type": "message", "role": "system", "id": "s1"}
        words = {"type": "input_text", "text": "Hi"}
        reply = {"type": "output_text", "text": "Hello"}
        self.create({**text, "content": [words]})
        self.create({**said, "content": [reply]})
        added, _ = self.create({**told, "content": [words]}, previous_item_id="root")
        self.assertIsNone(added["previous_item_id"])
        added, done = self.create(
            {**text, "id": "u2", "content": [words]}, previous_item_id="u1"
        )
        self.assertEqual(added["previous_item_id"], "u1")
        self.assertEqual(done["type"], "conversation.item.done")
        order = [item.id for item in self.line.session.conversation.items]
        self.assertEqual(order, ["s1", "u1", "u2", "a1"])

    def test_what_the_beta_called_text_is_refused(self) -> None:
        for kind, fields in (
            ("text", {"text": "Hello"}),
            ("output_audio", {"audio": ""}),
            ("input_text", {"text": "Hello"}),
        ):
            content = [{"type": kind, **fields}]
            item = {"type": "message", "role": "assistant", "content": content}
            (event,) = self.create(item)
            self.assertEqual(event["error"]["param"], "item.content[0].type")

    def test_unknown_and_repeated_ids_are_refused(self) -> None:
        item = {"type": "message", "role": "user", "id": "u1", "content": []}
        self.create(item)
        (event,) = self.create(item)
        self.assertEqual(event["error"]["param"], "item.id")
        (event,) = self.create({**item, "id": "u2"}, previous_item_id="nobody")
        self.assertEqual(event["error"]["param"], "previous_item_id")
        output = {"type": "function_call_output", "call_id": "x", "output": ""}
        (event,) = self.create(output)
        self.assertEqual(event["error"]["param"], "item.call_id")
        self.assertEqual(len(self.line.session.conversation.items), 1)

    def test_items_can_be_looked_at_and_deleted(self) -> None:
        self.create({"type": "message", "role": "user", "id": "u1", "content": []})
        (event,) = self.line.send("conversation.item.retrieve", item_id="u1")
        self.assertEqual(event["item"]["id"], "u1")
        (event,) = self.line.send("conversation.item.delete", item_id="u1")
        self.assertEqual(event["type"], "conversation.item.deleted")
        for verb in ("retrieve", "delete"):
            (event,) = self.line.send(f"conversation.item.{verb}", item_id="u1")
            self.assertEqual(event["error"]["code"], "item_retrieve_invalid_item_id")

    def test_a_reply_may_be_deleted_while_it_is_spoken(self) -> None:
        self.line.send("response.create")
        self.line.wait(0.3)
        item = self.line.session.conversation.items[0].id
        self.line.send("conversation.item.delete", item_id=item)
        events = self.line.wait(5)
        self.assertEqual(events[-2]["response"]["status"], "completed")
        self.assertNotIn("conversation.item.done", once_each(events))

    def test_events_of_webrtc_are_unknown_here(self) -> None:
        (event,) = self.line.send("output_audio_buffer.clear")
        self.assertEqual(event["error"]["param"], "type")


class KnobTests(SynchronousTestCase):
    def test_errors_by_code_come_once(self) -> None:
        line = Line(Knobs(create_error="insufficient_quota"))
        (event,) = line.send("response.create")
        self.assertEqual(event["error"]["code"], "insufficient_quota")
        self.assertEqual(event["error"]["type"], "insufficient_quota")
        self.assertEqual(once_each(line.greeted()), REPLY_TYPES)
        line.session.knobs = replace(line.session.knobs, update_error="invalid_event")
        self.assertEqual(line.update()[0]["error"]["code"], "invalid_event")
        self.assertEqual(line.update()[0]["type"], "session.updated")

    def test_a_response_can_fail(self) -> None:
        line = Line(Knobs(response_failed="server_error"))
        created, done, _limits = line.send("response.create")
        self.assertEqual(created["type"], "response.created")
        self.assertEqual(done["response"]["status"], "failed")
        error = done["response"]["status_details"]["error"]
        self.assertEqual(error["code"], "server_error")
        self.assertEqual(line.turn()[-2]["response"]["status"], "failed")

    def test_it_can_refuse_to_answer(self) -> None:
        line = Line(Knobs(answers=False))
        self.assertNotIn("response.created", once_each(line.turn()))
        self.assertEqual(line.send("response.create"), [])
        line.session.knobs = Knobs()
        line.send("response.create")
        self.assertEqual(len(audio_of(line.wait(5))), (800 + 260) * 8)

    def test_audio_can_come_in_a_format_that_was_not_agreed(self) -> None:
        line = Line(Knobs(sent_format="audio/pcm", reply=((0.0, 1000),)))
        self.assertEqual(len(audio_of(line.greeted())), 48_000)

    def test_another_format_can_be_claimed(self) -> None:
        line = Line(Knobs(claimed_format="audio/pcm"))
        audio = line.updated[0]["session"]["audio"]
        self.assertEqual(audio["output"]["format"]["type"], "audio/pcm")
        self.assertEqual(line.session.hearing.rate, 8000)

    def test_a_reply_can_be_text_against_the_agreement(self) -> None:
        line = Line(Knobs(text_replies=1))
        self.assertEqual(audio_of(line.greeted()), b"")
        self.assertNotEqual(audio_of(line.greeted()), b"")
        events = Line(Knobs(text_only=True)).greeted()
        self.assertIn("response.output_text.delta", once_each(events))
        self.assertEqual(audio_of(events), b"")

    def test_audio_can_come_late(self) -> None:
        line = Line(Knobs(late_audio_ms=400))
        line.send("response.create")
        line.wait(0.3)
        events = line.send("response.cancel")
        kinds = [event["type"] for event in events]
        after = events[kinds.index("response.done") :]
        self.assertEqual(len(audio_of(after)), 3200)

    def test_it_can_forget_to_cancel(self) -> None:
        line = Line(Knobs(auto_cancel=False))
        line.send("response.create")
        line.wait(0.3)
        events = line.hear(silence(2400) + tone(200))
        self.assertEqual(once_each(events), ["input_audio_buffer.speech_started"])
        self.assertIn("response.done", once_each(line.send("response.cancel")))

    def test_events_can_be_hidden(self) -> None:
        hidden = frozenset({"session.created", "response.created"})
        line = Line(Knobs(hide=hidden))
        self.assertEqual(line.first, [])
        self.assertEqual(once_each(line.greeted()), REPLY_TYPES[1:])

    def test_delays_may_be_whole_numbers(self) -> None:
        for knobs in (Knobs(first_delta_s=0), Knobs(reply=((1, 400), (0, 100)))):
            events = Line(knobs).greeted()
            self.assertEqual(once_each(events), REPLY_TYPES)

    def test_jitter_is_repeatable_and_keeps_the_order(self) -> None:
        def times(seed: int) -> list[float]:
            line = Line(Knobs(jitter_s=0.2, seed=seed, speed=8))
            line.send("response.create")
            found = []
            while (due := line.session.due) is not None:
                line.session.advance(due)
                found.append(due)
            return found

        self.assertEqual(times(1), times(1))
        self.assertNotEqual(times(1), times(2))
        self.assertEqual(
            audio_of(Line(Knobs(jitter_s=0.2)).greeted()), audio_of(Line().greeted())
        )


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner)
    ),
    max_leaves=12,
)
TURNS: Event = {"type": "server_vad", "threshold": 0.5, "idle_timeout_ms": 5000}
VALID: list[Event] = [
    {
        "type": "session.update",
        "session": {
            "type": "realtime",
            "instructions": "x",
            "tools": [HANG_UP],
            "truncation": {
                "type": "retention_ratio",
                "retention_ratio": 0.5,
                "token_limits": {"post_instructions": 10},
            },
            "audio": {
                "input": {
                    "format": {"type": "audio/pcma"},
                    "turn_detection": TURNS,
                    "transcription": {"model": "gpt-transcribe", "languages": ["es"]},
                },
                "output": {"format": {"type": "audio/pcm", "rate": 24000}, "speed": 1},
            },
        },
    },
    {
        "type": "input_audio_buffer.append",
        "audio": b64encode(silence(800) + tone(300) + silence(9000)).decode(),
    },
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {
        "type": "conversation.item.create",
        "previous_item_id": "root",
        "item": {
            "type": "message",
            "role": "user",
            "id": "u1",
            "content": [
                {"type": "input_text", "text": "key #"},
                {"type": "input_audio", "audio": "AAAA"},
            ],
        },
    },
    {
        "type": "conversation.item.truncate",
        "item_id": "u1",
        "content_index": 0,
        "audio_end_ms": 0,
    },
    {"type": "conversation.item.delete", "item_id": "u1"},
    {"type": "conversation.item.retrieve", "item_id": "u1"},
    {
        "type": "response.create",
        "response": {
            "conversation": "none",
            "input": [{"type": "item_reference", "id": "u1"}],
            "metadata": {"a": "b"},
            "tool_choice": {"type": "function", "name": "hang_up"},
        },
    },
    {"type": "response.create"},
    {"type": "response.cancel"},
]


@st.composite
def mutated(draw: st.DrawFn) -> object:
    """
    A valid event, in which one place may hold anything.
    """
    event = copy.deepcopy(draw(st.sampled_from(VALID)))
    place: Any = event
    while draw(st.booleans()):
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = draw(st.sampled_from(keys))
        if isinstance(place[key], dict | list) and draw(st.booleans()):
            place = place[key]
            continue
        place[key] = draw(JSON)
        break
    return event


class BadInputTests(SynchronousTestCase):
    @settings(max_examples=200, deadline=None)
    @given(st.lists(mutated() | JSON, max_size=12), st.floats(0, 20))
    def test_anything_is_answered_and_nothing_raises(
        self, sent: list[object], step: float
    ) -> None:
        session = Session(Knobs(), "gpt-realtime-2.1", "en", 0)
        now = 0.0
        for event in sent:
            answers = session.receive(event, now)
            kind = event.get("type") if isinstance(event, dict) else None
            if kind != "input_audio_buffer.append":
                self.assertTrue(answers, event)
            now += step
            for answer in [*answers, *session.advance(now)]:
                json.dumps(answer, allow_nan=False)
                self.assertIn("event_id", answer)

    @settings(deadline=None)
    @given(JSON)
    def test_what_is_no_event_is_an_error(self, sent: object) -> None:
        (answer,) = Session(Knobs(), "m", "en", 0).receive(sent, 0.0)
        self.assertEqual(answer["type"], "error")

    def test_deep_nesting_is_refused(self) -> None:
        deep: Event = {}
        for _ in range(500):
            deep = {"x": deep}
        (event,) = Line().update(tools=[{**HANG_UP, "parameters": deep}])
        self.assertEqual(event["error"]["code"], "invalid_value")

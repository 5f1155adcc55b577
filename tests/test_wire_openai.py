"""The Realtime protocol: events to and from JSON."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from itertools import permutations
from types import UnionType
from typing import Annotated, Any, Required, Union, get_args, get_origin, get_type_hints

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.wire import openai as wire
from portero.wire import openai_commands as commands
from portero.wire import openai_errors as errors
from portero.wire.openai import (
    AudioDelta,
    AudioDone,
    EventError,
    FunctionCall,
    Ignored,
    ResponseCreated,
    ResponseDone,
    ServiceError,
    SessionCreated,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    Transcript,
)
from portero.wire.openai_errors import Action
from tests.parts import need

try:
    from openai.types import realtime
except ImportError:
    realtime = None  # type: ignore[assignment]  # the test that needs it says so

SETTINGS = commands.SessionSettings(
    instructions="Be kind. ¿Sí?",
    voice="marin",
    input_format=wire.PCMU,
    output_format=wire.PCM,
    turn_detection=commands.ServerVad(0.6, 250, 400, 8000, interrupt_response=False),
    transcription=commands.Transcription("gpt-transcribe", ("es", "en"), ("Ana",)),
    noise_reduction="near_field",
    speed=1.2,
    tools=(commands.FunctionTool("hang_up", "End the call.", {"type": "object"}),),
    reasoning_effort="low",
    max_output_tokens=900,
    truncation=commands.RetentionRatio(0.8, 8000),
)
PLAIN = commands.SessionSettings(
    "", "voice_12", wire.PCMA, wire.PCMA, commands.ServerVad()
)

CLIENT_EVENTS = {
    "SessionUpdateEventParam": [
        commands.session_update(SETTINGS, "p1"),
        commands.session_update(PLAIN, "p1"),
        commands.formats_update(wire.PCM, wire.PCMA, "p2"),
    ],
    "InputAudioBufferAppendEventParam": [commands.append(b"\x00\x01\x02\x03")],
    "InputAudioBufferCommitEventParam": [commands.commit("p12")],
    "ConversationItemCreateEventParam": [
        commands.message("user", "hello", "p3"),
        commands.message("assistant", "hello", "p4"),
        commands.message("system", "hello", "p5"),
        commands.function_output("call_1", "done", "p6"),
    ],
    "ConversationItemTruncateEventParam": [commands.truncate("item_1", 480, "p7")],
    "ResponseCreateEventParam": [
        commands.response_create("p8"),
        commands.response_create("p9", "Good morning."),
    ],
    "ResponseCancelEventParam": [
        commands.response_cancel("resp_1", "p10"),
        commands.response_cancel("", "p11"),
    ],
}


def misfit(value: object, hint: Any, path: str = "event") -> str:
    """@return: Where a value is not of a type of the official package; or nothing."""
    if hasattr(hint, "__required_keys__"):
        if not isinstance(value, dict):
            return f"{path} is no object"
        hints = get_type_hints(hint, include_extras=True)
        for name, part in hints.items():
            if get_origin(part) is Required and name not in value:
                return f"{path} lacks {name}"
        for name, part in value.items():
            if name not in hints:
                return f"{path}.{name} is unknown"
            if wrong := misfit(part, hints[name], f"{path}.{name}"):
                return wrong
        return ""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        found = [misfit(value, each, path) for each in arguments]
        return "" if "" in found else "; or ".join(found)
    if origin in (Required, Annotated):
        return misfit(value, arguments[0], path)
    if str(origin) == "typing.Literal":
        return "" if value in arguments else f"{path}: {value!r} not in {arguments}"
    if origin in (list, dict):
        return "" if isinstance(value, origin) else f"{path} is no {origin}"
    if isinstance(origin, type):  # Iterable and the like
        if not isinstance(value, list):
            return f"{path} is no array"
        return next((w for v in value if (w := misfit(v, arguments[0], path))), "")
    if hint in (Any, object):
        return ""
    if isinstance(value, bool) and hint is not bool:
        return f"{path} is a boolean"
    kinds = (int, float) if hint is float else hint
    return "" if isinstance(value, kinds) else f"{path} is no {hint}"


def server(kind: str, **fields: Any) -> bytes:
    """An event as the service sends it."""
    return json.dumps({"type": kind, "event_id": "event_1", **fields}).encode()


IN_ITEM = {
    "response_id": "resp_1",
    "item_id": "item_1",
    "output_index": 0,
    "content_index": 0,
}
CALL = {
    "id": "item_1",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_1",
    "name": "hang_up",
    "arguments": "{}",
}
FORMATS = {
    "input": {"format": {"type": "audio/pcmu"}},
    "output": {"format": {"type": "audio/pcm", "rate": 24000}},
}
FAILED = {
    "id": "resp_1",
    "status": "failed",
    "status_details": {
        "type": "failed",
        "error": {"type": "server_error", "code": None, "message": "Oh"},
    },
    "usage": {
        "total_tokens": 90,
        "input_tokens": 70,
        "output_tokens": 20,
        "input_token_details": {
            "text_tokens": 30,
            "audio_tokens": 40,
            "image_tokens": 0,
            "cached_tokens": 48,
            "cached_tokens_details": {"text_tokens": 16, "audio_tokens": 32},
        },
        "output_token_details": {"text_tokens": 5, "audio_tokens": 15},
    },
}
USAGE = {
    "total_tokens": 90,
    "input.text_tokens": 30,
    "input.audio_tokens": 40,
    "input.cached.text_tokens": 16,
    "input.cached.audio_tokens": 32,
    "output.text_tokens": 5,
    "output.audio_tokens": 15,
}
BY_TOKEN = {
    "type": "tokens",
    "total_tokens": 12,
    "input_tokens": 9,
    "output_tokens": 3,
    "input_token_details": {"text_tokens": 2, "audio_tokens": 7},
}
ERROR = {
    "type": "invalid_request_error",
    "code": "invalid_value",
    "message": "No.",
    "param": "session.voice",
    "event_id": "p1",
}
TRANSCRIPTION = "conversation.item.input_audio_transcription"
TRANSCRIBED = f"{TRANSCRIPTION}.completed"
TOLD = [
    {"type": "message", "content": [{"type": "output_text", "text": "We are closed."}]},
    {"type": "message", "content": [{"type": "output_audio", "transcript": "Bye."}]},
    {"type": "message", "content": [{"type": "text", "text": " Goodbye. "}]},
    {"type": "message", "content": None},
    CALL,
    None,
]

USED: list[tuple[bytes, wire.Event]] = [
    (
        server("session.created", session={"expires_at": 1790000000}),
        SessionCreated(1790000000.0),
    ),
    (
        server("session.updated", session={"audio": FORMATS}),
        SessionUpdated(wire.PCMU, wire.PCM),
    ),
    (
        server("input_audio_buffer.speech_started", audio_start_ms=120, item_id="i"),
        SpeechStarted(120, "i"),
    ),
    (
        server("input_audio_buffer.speech_stopped", audio_end_ms=900, item_id="i"),
        SpeechStopped(900),
    ),
    (
        server("input_audio_buffer.timeout_triggered", audio_end_ms=900, item_id="i"),
        wire.IdleTimeout(),
    ),
    (
        server(f"{TRANSCRIPTION}.delta", item_id="i", delta=" señor"),
        wire.CallerWords("i", " señor"),
    ),
    (
        f'{{"type":"{TRANSCRIPTION}.delta","item_id":"i","delta":" señor"}}'.encode(),
        wire.CallerWords("i", " señor"),
    ),
    (
        server(
            "response.done", response={"id": "r", "status": "completed", "output": TOLD}
        ),
        ResponseDone("r", "completed", "", None, {}, "We are closed. Goodbye."),
    ),
    (
        server("response.created", response={"id": "resp_1", "status": "in_progress"}),
        ResponseCreated("resp_1"),
    ),
    (
        server("response.output_audio.delta", **IN_ITEM, delta="AAECAw=="),
        AudioDelta("resp_1", "item_1", b"\0\1\2\3"),
    ),
    (server("response.output_audio.done", **IN_ITEM), AudioDone("resp_1", "item_1")),
    (
        server("response.output_audio_transcript.delta", **IN_ITEM, delta=" señor"),
        wire.AgentWords("resp_1", "item_1", " señor"),
    ),
    (
        server("response.output_audio_transcript.done", **IN_ITEM, transcript="Hi."),
        Transcript("assistant", "item_1", "Hi.", {}),
    ),
    (
        server(TRANSCRIBED, item_id="item_2", transcript="Hello.", obfuscation="xyz"),
        Transcript("user", "item_2", "Hello.", {}),
    ),
    (
        server(TRANSCRIBED, item_id="item_2", transcript="Hello.", usage=BY_TOKEN),
        Transcript(
            "user",
            "item_2",
            "Hello.",
            {
                "total_tokens": 12,
                "input.text_tokens": 2,
                "input.audio_tokens": 7,
                "output.text_tokens": 3,
            },
        ),
    ),
    (
        server("response.output_item.done", response_id="resp_1", item=CALL),
        FunctionCall("resp_1", "item_1", "call_1", "hang_up", "{}"),
    ),
    (
        server("response.done", response=FAILED),
        ResponseDone(
            "resp_1",
            "failed",
            "",
            ServiceError("server_error", "", "Oh", "", ""),
            USAGE,
        ),
    ),
    (
        server("error", error=ERROR),
        ServiceError(
            "invalid_request_error", "invalid_value", "No.", "session.voice", "p1"
        ),
    ),
]

UNUSED = [
    server("input_audio_buffer.committed", item_id="i", previous_item_id=None),
    server("input_audio_buffer.cleared"),
    b'{"type":"input_audio_buffer.dtmf_event_received","event":"1","received_at":1}',
    server("conversation.item.added", item={"id": "i"}, previous_item_id=None),
    server("conversation.item.done", item={"id": "i"}),
    server("conversation.item.deleted", item_id="i"),
    server("conversation.item.retrieved", item={"id": "i"}),
    server("conversation.item.input_audio_transcription.failed", error={}),
    server("conversation.item.input_audio_transcription.segment", text="x"),
    server("conversation.item.truncated", item_id="i", audio_end_ms=1),
    server("response.output_item.added", item={"type": "message"}),
    server("response.output_item.done", item={"type": "message"}),
    server("response.output_item.done", item={**CALL, "status": "incomplete"}),
    server("response.content_part.added", part={"type": "audio"}),
    server("response.content_part.done", part={"type": "text"}),
    server("response.output_text.delta", **IN_ITEM, delta="Good"),
    server("response.output_text.done", **IN_ITEM, text="Good"),
    server("response.function_call_arguments.delta", delta="{"),
    server("response.function_call_arguments.done", name="x", arguments="{}"),
    server("response.mcp_call_arguments.done", item_id="i", arguments="{}"),
    server("mcp_list_tools.completed"),
    server("rate_limits.updated", rate_limits=[{"name": "tokens", "limit": 1}]),
    server("output_audio_buffer.started", response_id="r"),
    server("something.new", delta="AAAA"),
]


class ClientEventTests(SynchronousTestCase):
    def test_the_official_package_takes_every_event(self) -> None:
        need(realtime is not None, "the package openai: pip install openai")
        for name, events in CLIENT_EVENTS.items():
            for event in events:
                wrong = misfit(json.loads(event), getattr(realtime, name))
                self.assertEqual(wrong, "", event)

    def test_the_comparison_finds_what_the_service_would_refuse(self) -> None:
        need(realtime is not None, "the package openai: pip install openai")
        hint = realtime.ConversationItemTruncateEventParam
        good = json.loads(commands.truncate("item_1", 480, "p1"))
        self.assertIn("no", misfit({**good, "audio_end_ms": 4.5}, hint))
        self.assertIn("unknown", misfit({**good, "more": 1}, hint))
        del good["content_index"]
        self.assertIn("lacks", misfit(good, hint))
        update = json.loads(commands.session_update(SETTINGS, "p1"))
        update["session"]["audio"]["input"]["format"]["rate"] = 8000
        self.assertNotEqual(misfit(update, realtime.SessionUpdateEventParam), "")

    def test_a_session_update_says_all_that_was_set(self) -> None:
        turn_detection = {
            "type": "server_vad",
            "threshold": 0.6,
            "prefix_padding_ms": 250,
            "silence_duration_ms": 400,
            "create_response": True,
            "interrupt_response": False,
            "idle_timeout_ms": 8000,
        }
        expected = {
            "type": "realtime",
            "output_modalities": ["audio"],
            "instructions": "Be kind. ¿Sí?",
            "audio": {
                "input": {
                    "format": {"type": "audio/pcmu"},
                    "turn_detection": turn_detection,
                    "transcription": {
                        "model": "gpt-transcribe",
                        "languages": ["es", "en"],
                        "keywords": ["Ana"],
                    },
                    "noise_reduction": {"type": "near_field"},
                },
                "output": {
                    "format": {"type": "audio/pcm", "rate": 24000},
                    "voice": "marin",
                    "speed": 1.2,
                },
            },
            "tools": [
                {
                    "type": "function",
                    "name": "hang_up",
                    "description": "End the call.",
                    "parameters": {"type": "object"},
                }
            ],
            "tool_choice": "auto",
            "reasoning": {"effort": "low"},
            "max_output_tokens": 900,
            "truncation": {
                "type": "retention_ratio",
                "retention_ratio": 0.8,
                "token_limits": {"post_instructions": 8000},
            },
        }
        event = json.loads(commands.session_update(SETTINGS, "p1"))
        self.assertEqual(event.pop("session"), expected)
        self.assertEqual(event, {"type": "session.update", "event_id": "p1"})

    def test_a_session_update_leaves_out_what_was_not_set(self) -> None:
        session = json.loads(commands.session_update(PLAIN, "p1"))["session"]
        self.assertEqual(
            set(session), {"type", "output_modalities", "instructions", "audio"}
        )
        given, wanted = session["audio"]["input"], session["audio"]["output"]
        self.assertEqual(set(given), {"format", "turn_detection"})
        self.assertNotIn("idle_timeout_ms", given["turn_detection"])
        self.assertEqual(set(wanted), {"format", "voice"})
        self.assertEqual(wanted["voice"], {"id": "voice_12"})

    def part(self, path: str, **changes: Any) -> Any:
        """@return: What is there in the session update with these settings."""
        settings = replace(SETTINGS, **changes)
        found = json.loads(commands.session_update(settings, "p1"))["session"]
        for name in path.split("."):
            found = found[name]
        return found

    def test_turn_detection_has_the_fields_of_its_kind_and_no_others(self) -> None:
        path = "audio.input.turn_detection"
        self.assertEqual(
            self.part(path, turn_detection=commands.SemanticVad("high", False)),
            {
                "type": "semantic_vad",
                "eagerness": "high",
                "create_response": True,
                "interrupt_response": False,
            },
        )
        self.assertIsNone(self.part(path, turn_detection=None))

    def test_each_transcription_model_is_told_what_it_takes(self) -> None:
        many: dict[str, object]
        many = {"languages": ["es", "en"], "keywords": ["Ana", "Gil"]}
        one: dict[str, object] = {"language": "es"}
        for model, more in {
            "gpt-transcribe": many,
            "gpt-live-transcribe": many,
            "gpt-transcribe-2026-10-01": many,
            "whisper-1": {**one, "prompt": "Ana, Gil"},
            "gpt-4o-transcribe": {**one, "prompt": "Ana, Gil"},
            "gpt-4o-mini-transcribe-2025-12-15": {**one, "prompt": "Ana, Gil"},
            "gpt-4o-transcribe-diarize": one,
            "gpt-realtime-whisper": one,
            "my-deployment": one,
        }.items():
            wanted = commands.Transcription(model, ("es", "en"), ("Ana", "Gil"))
            told = self.part("audio.input.transcription", transcription=wanted)
            self.assertEqual(told, {"model": model, **more})
            bare = commands.Transcription(model)
            told = self.part("audio.input.transcription", transcription=bare)
            self.assertEqual(told, {"model": model})

    def test_truncation_is_a_word_or_a_ratio(self) -> None:
        self.assertEqual(self.part("truncation", truncation="disabled"), "disabled")
        ratio = commands.RetentionRatio(0.5)
        self.assertEqual(
            self.part("truncation", truncation=ratio),
            {"type": "retention_ratio", "retention_ratio": 0.5},
        )

    def test_an_append_is_json_with_the_audio_in_base64(self) -> None:
        audio = bytes(range(256))
        event = json.loads(commands.append(audio))
        self.assertEqual(event["type"], "input_audio_buffer.append")
        self.assertEqual(event["audio"], b64encode(audio).decode())

    def test_half_a_surrogate_pair_can_be_sent(self) -> None:
        event = json.loads(commands.message("user", "a\ud800b", "p1"))
        self.assertEqual(event["item"]["content"][0]["text"], "a?b")


class ServerEventTests(SynchronousTestCase):
    def test_events_in_use_are_read(self) -> None:
        for payload, event in USED:
            self.assertEqual(wire.parse(payload), event)
            self.assertIs(type(wire.parse(payload)), type(event))

    def test_others_are_ignored(self) -> None:
        for payload in UNUSED:
            self.assertIsInstance(wire.parse(payload), Ignored, payload)

    def test_fields_that_are_unknown_or_null_do_no_harm(self) -> None:
        for payload, event in USED:
            fields = json.loads(payload)
            more = json.dumps({**fields, "new": {"type": "x", "delta": "AA=="}})
            self.assertEqual(wire.parse(more.encode()), event)
        error = server("error", error=dict.fromkeys(ServiceError._fields))
        self.assertEqual(wire.parse(error), ServiceError("", "", "", "", ""))

    def test_beta_names_mean_the_same(self) -> None:
        for beta, name in wire.BETA_NAMES.items():
            [payload] = [p for p, _ in USED if json.loads(p)["type"] == name]
            old = payload.replace(name.encode(), beta.encode())
            self.assertEqual(wire.parse(old), wire.parse(payload))

    def test_formats_are_read_in_every_shape(self) -> None:
        def given(session: object) -> tuple[str, ...]:
            event = wire.parse(server("session.updated", session=session))
            assert isinstance(event, SessionUpdated)
            return tuple(event)

        for format, name in (
            ({"type": "audio/pcm", "rate": None}, wire.PCM),
            ({"type": "audio/pcm", "rate": 16000}, "audio/pcm at 16000 Hz"),
            ({"type": "audio/pcmu", "rate": 8000}, wire.PCMU),
            ("g711_alaw", wire.PCMA),
            (None, ""),
        ):
            nested = {"audio": {"input": {"format": format}, "output": None}}
            self.assertEqual(given(nested), (name, ""))
        flat = {"input_audio_format": "g711_ulaw", "output_audio_format": "pcm16"}
        self.assertEqual(given(flat), (wire.PCMU, wire.PCM))

    def test_the_end_of_a_reply_is_read_whatever_it_lacks(self) -> None:
        for response in (None, 5, {}, {"status_details": "x", "usage": []}):
            event = wire.parse(server("response.done", response=response))
            self.assertEqual(event, ResponseDone("", "completed", "", None, {}))
        words = {"status": "failed", "status_details": {"error": "quota"}}
        event = wire.parse(server("response.done", response=words))
        assert isinstance(event, ResponseDone)
        assert event.error is not None
        self.assertEqual(event.error.message, "quota")

    def used(self, **details: Any) -> Mapping[str, int]:
        usage = {"input_token_details": details}
        event = wire.parse(server("response.done", response={"usage": usage}))
        assert isinstance(event, ResponseDone)
        return event.usage

    def test_cached_tokens_are_told_together_where_they_are_not_told_apart(
        self,
    ) -> None:
        for told, counts in (
            ({"cached_tokens": 30}, {"input.cached_tokens": 30}),
            ({"cached_tokens": 30, "cached_tokens_details": {}}, None),
            ({"cached_tokens": 30, "cached_tokens_details": [5]}, None),
            (
                {"cached_tokens": 30, "cached_tokens_details": {"audio_tokens": 9}},
                {"input.cached.audio_tokens": 9},
            ),
        ):
            given = {"text_tokens": 20, "audio_tokens": 40}
            expected = counts or {"input.cached_tokens": 30}
            found = self.used(**given, **told)
            cached = {n: v for n, v in found.items() if "cached" in n}
            self.assertEqual(cached, expected)

    def test_no_more_is_cached_than_was_given(self) -> None:
        apart = {"text_tokens": 50, "audio_tokens": 1 << 39}
        self.assertEqual(
            self.used(text_tokens=20, cached_tokens_details=apart),
            {
                "input.text_tokens": 20,
                "input.cached.text_tokens": 20,
                "input.cached.audio_tokens": 0,
            },
        )
        self.assertEqual(
            self.used(audio_tokens=20, cached_tokens=21)["input.cached_tokens"], 20
        )

    def transcribed(self, usage: object) -> Mapping[str, int]:
        event = wire.parse(
            server(TRANSCRIBED, item_id="i", transcript="x", usage=usage)
        )
        assert isinstance(event, Transcript)
        return event.usage

    def test_a_transcription_is_paid_by_time_or_by_token(self) -> None:
        for usage, counts in (
            ({"type": "duration", "seconds": 2.3456}, {"ms": 2346}),
            ({"type": "duration", "seconds": 3}, {"ms": 3000}),
            ({"type": "duration", "seconds": 0}, {"ms": 0}),
            (
                {"input_tokens": 9, "output_tokens": 3, "total_tokens": 12},
                {
                    "total_tokens": 12,
                    "input.audio_tokens": 9,
                    "output.text_tokens": 3,
                },
            ),
            (None, {}),
            ("free", {}),
            ({}, {}),
        ):
            self.assertEqual(self.transcribed(usage), counts, usage)

    def test_times_that_are_none_are_nothing(self) -> None:
        none: list[Any] = [-1, True, "5", None, [], float("nan"), float("inf"), 1e300]
        for seconds in none:
            usage = {"type": "duration", "seconds": seconds}
            found = self.transcribed(usage)
            self.assertIn(found, ({}, {"ms": 0}), seconds)
        self.assertEqual(self.transcribed({"seconds": 1e12}), {})

    def test_counts_that_are_none_are_left_out(self) -> None:
        none: list[Any] = [-1, True, "5", None, 2.5, [], {}, wire.MOST_TOKENS, 10**400]
        for count in none:
            self.assertEqual(
                self.used(text_tokens=count, audio_tokens=4), {"input.audio_tokens": 4}
            )
        most = wire.MOST_TOKENS - 1
        self.assertEqual(self.used(text_tokens=most), {"input.text_tokens": most})

    def test_kinds_of_tokens_that_nobody_knows_are_left_out(self) -> None:
        junk = {f"kind_{number}": number for number in range(100)}
        self.assertEqual(self.used(**junk, text_tokens=1), {"input.text_tokens": 1})

    def test_arguments_that_are_no_text_are_not_lost(self) -> None:
        item = {**CALL, "arguments": {"why": "bye"}}
        event = wire.parse(server("response.output_item.done", item=item))
        assert isinstance(event, FunctionCall)
        self.assertEqual(json.loads(event.arguments), {"why": "bye"})

    def test_what_a_log_is_told_is_one_short_line_without_keys(self) -> None:
        message = "Incorrect\x1b[31m key\n sk-proj-abcd1234 " + "x" * 900
        event = wire.parse(server("error", error={"message": message}))
        assert isinstance(event, ServiceError)
        self.assertEqual(event.message[:29], "Incorrect [31m key  (a key) x")
        self.assertEqual(len(event.message), wire.MOST_WORDS)


class AudioDeltaTests(SynchronousTestCase):
    """The short way to the audio gives what the JSON parser gives."""

    def slowly(self, payload: bytes) -> wire.Event:
        return wire._event(wire._object(payload))

    def test_every_order_and_spacing(self) -> None:
        fields = {
            "type": "response.output_audio.delta",
            "response_id": "resp_1",
            "item_id": "item_1",
            "delta": b64encode(bytes(range(256))).decode(),
            "other": {"delta": "AAAA", "item_id": "wrong", "type": "wrong"},
        }
        expected = AudioDelta("resp_1", "item_1", bytes(range(256)))
        for order in permutations(fields):
            for separators in ((",", ":"), (", ", ": "), (" ,\n", " :\t")):
                event = {name: fields[name] for name in order}
                payload = json.dumps(event, separators=separators).encode()
                self.assertEqual(wire.parse(payload), expected)
                self.assertEqual(self.slowly(payload), expected)

    def test_odd_ones(self) -> None:
        head = '{"type":"response.output_audio.delta","item_id":"i",'
        for rest in (
            '"delta":""}',
            '"delta":"A\\u0041\\/A"}',
            '"delta":"*"}',
            '"delta":"é"}',
            '"x\\"delta":"AAAA","delta":"BBBB"}',
            '"a":{"delta":"AAAA"},"delta":"BBBB"}',
            '"a":"\\"delta\\":\\"AAAA\\"","delta":"BBBB"}',
            '"delta":["AAAA"],"b":{"delta":"BBBB"}}',
            '"delta":5}',
            '"delta":"A"}',
            '"b":{"delta":"BBBB"}}',
            '"delta":"AAAA',
            '"delta":"AAAA"',
        ):
            payload = (head + rest).encode()
            results = []
            for way in (wire.parse, self.slowly):
                try:
                    results.append(repr(way(payload)))
                except EventError as error:
                    results.append(str(error).partition(":")[0])
            self.assertEqual(results[0], results[1], rest)

    @given(
        st.fixed_dictionaries(
            {"type": st.just("response.output_audio.delta")},
            optional={
                "delta": st.binary().map(lambda audio: b64encode(audio).decode())
                | st.text(),
                "response_id": st.text(),
                "item_id": st.text() | st.none(),
                "x": st.recursive(
                    st.text(),
                    lambda inner: st.dictionaries(st.just("delta") | st.text(), inner),
                    max_leaves=4,
                ),
            },
        ),
        st.booleans(),
        st.randoms(),
    )
    def test_any(self, fields: dict[str, Any], ascii: bool, random: Any) -> None:
        names = list(fields)
        random.shuffle(names)
        event = {name: fields[name] for name in names}
        text = json.dumps(event, ensure_ascii=ascii, separators=(",", ":"))
        payload = text.encode("utf-8", "surrogatepass")
        try:
            expected = self.slowly(payload)
        except EventError:
            self.assertRaises(EventError, wire.parse, payload)
        else:
            self.assertEqual(wire.parse(payload), expected)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=8,
)


class BadInputTests(SynchronousTestCase):
    def read(self, payload: bytes) -> None:
        """Only L{EventError} may come out."""
        try:
            event = wire.parse(payload)
        except EventError as error:
            self.assertTrue(str(error).isprintable())
            self.assertLess(len(str(error)), 400)
        else:
            self.assertIsInstance(event, tuple)

    @given(st.binary())
    def test_any_bytes(self, payload: bytes) -> None:
        self.read(payload)

    @given(JSON)
    def test_any_json(self, value: Any) -> None:
        self.read(json.dumps(value).encode())

    @settings(max_examples=400)
    @given(st.sampled_from(USED), st.data())
    def test_events_with_any_field_replaced(
        self, used: tuple[bytes, wire.Event], data: st.DataObject
    ) -> None:
        fields = json.loads(used[0])
        part: Any = fields
        while True:
            name = data.draw(st.sampled_from(sorted(part)))
            deeper = isinstance(part[name], dict) and part[name]
            if not deeper or data.draw(st.booleans()):
                break
            part = part[name]
        part[name] = data.draw(JSON)
        self.read(json.dumps(fields).encode())

    def test_deep_nesting_and_long_numbers_are_refused(self) -> None:
        deep = b"[" * 200_000 + b"]" * 200_000
        for payload in (
            b"[" * 200_000,
            b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
            b'{"type":"response.output_audio.delta","delta":"AA==","x":' + deep + b"}",
            b'{"type":"error","error":{"message":' + b"9" * 100_000 + b"}}",
        ):
            self.assertRaises(EventError, wire.parse, payload)

    def test_numbers_that_are_none_are_refused_or_nothing(self) -> None:
        started = b'{"type":"input_audio_buffer.speech_started","audio_start_ms":%s}'
        usage = b'{"type":"response.done","response":{"usage":{"total_tokens":%s}}}'
        for number in (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"true", b'"5"'):
            self.read(started % number)
            event = wire.parse(usage % number)
            assert isinstance(event, ResponseDone)
            self.assertEqual(event.usage, {})


class ErrorTests(SynchronousTestCase):
    def test_every_row_of_the_table(self) -> None:
        for words, action in {
            "response_cancel_not_active": Action.IGNORE,
            "input_audio_buffer_commit_empty": Action.IGNORE,
            "item_retrieve_invalid_item_id": Action.IGNORE,
            "conversation_already_has_active_response": Action.QUEUE,
            "invalid_event": Action.REPORT,
            "unknown_parameter": Action.REPORT,
            "session_expired": Action.RENEW,
            "rate_limit_exceeded": Action.RETRY,
            "server_error": Action.RETRY,
            "insufficient_quota": Action.FATAL,
            "credit_balance_exhausted": Action.FATAL,
            "billing_hard_limit_reached": Action.FATAL,
            "invalid_api_key": Action.FATAL,
            "account_deactivated": Action.FATAL,
            "beta_api_shape_disabled": Action.FATAL,
            "never_heard_of": Action.REPORT,
        }.items():
            by_code = ServiceError("invalid_request_error", words, "", "", "")
            by_type = ServiceError(words, "", "", "", "")
            self.assertIs(errors.action(by_code), action, words)
            self.assertIs(errors.action(by_type), action, words)

    def test_a_refused_session_update_is_fatal_unless_the_code_says_otherwise(
        self,
    ) -> None:
        for code, action in {
            "unknown_parameter": Action.FATAL,
            "invalid_value": Action.FATAL,
            "": Action.FATAL,
            "server_error": Action.RETRY,
        }.items():
            error = ServiceError("invalid_request_error", code, "", "", "p1")
            self.assertIs(errors.action(error, "session.update"), action, code)

    def test_a_refused_truncation_is_ignored(self) -> None:
        error = ServiceError("invalid_request_error", "invalid_value", "Long", "", "")
        self.assertIs(errors.action(error, "truncate"), Action.IGNORE)

    def test_texts_stand_in_for_codes(self) -> None:
        for text, action in {
            "Cancellation failed: No active response found": Action.IGNORE,
            "Conversation already has an active response": Action.QUEUE,
            "Your session hit the maximum duration of 60 minutes.": Action.RENEW,
        }.items():
            error = ServiceError("", "", text, "", "")
            self.assertIs(errors.action(error), action)

    def test_words_name_code_message_field_and_remedy(self) -> None:
        error = ServiceError("t", "unknown_parameter", "No such.", "session.x", "")
        self.assertEqual(
            errors.in_words(error), "unknown_parameter: No such. [session.x]"
        )
        error = ServiceError("insufficient_quota", "", "You ran out.", "", "")
        self.assertEqual(
            errors.in_words(error),
            "insufficient_quota: You ran out. (add credit to the account)",
        )

    def test_refusals_are_put_into_words(self) -> None:
        def body(code: str, message: str) -> bytes:
            return json.dumps({"error": {"code": code, "message": message}}).encode()

        for status, document, final, *words in (
            (401, body("invalid_api_key", "Incorrect."), True, "Incorrect", "_KEY"),
            (401, b"", True, "HTTP 401", "check OPENAI_API_KEY"),
            (403, body("x", "Not yours."), True, "Not yours", "may not use"),
            (404, body("model_not_found", "No such."), True, "No such", "_MODEL"),
            (429, body("rate_limit_exceeded", "Slowly."), False, "Slowly"),
            (429, body("credit_balance_exhausted", "None."), True, "add credit"),
            (500, b"<html>Oops\n</html>", False, "HTTP 500", "Oops"),
            (503, b'{"error":"busy"}', False, "busy"),
            (502, b"[" * 100_000, False, "HTTP 502"),
            (500, b"\xff\x00[]", False, "HTTP 500"),
            (500, b"[]", False, "HTTP 500"),
            (301, b"", True, "HTTP 301"),
        ):
            told, hopeless = errors.refusal(status, document)
            self.assertEqual(hopeless, final, told)
            for word in words:
                self.assertIn(word, told)
            self.assertTrue(told.isprintable(), told)

    def test_closings_are_final_by_code_or_by_what_they_name(self) -> None:
        for code in (1000, 1001, 1005, 1006, 1009, 1011, 1012, 1013, 1015, 0):
            self.assertFalse(errors.closing_is_final(code, "Going away."))
        for code in (1003, 1008, 4000):
            self.assertTrue(errors.closing_is_final(code, ""))
        self.assertTrue(errors.closing_is_final(1000, "error.insufficient_quota"))
        self.assertFalse(errors.closing_is_final(1000, "error.server_error"))

    def test_a_wish_to_wait_is_read_and_bounded(self) -> None:
        for words, seconds in {
            "Limit reached. Please try again in 1.5s.": 1.5,
            "Please try again in 20ms": 0.02,
            "Please try again in 90 s": errors.LONGEST_WISH,
            "Please try again in 1h": 0.0,
            "Please try again.": 0.0,
        }.items():
            self.assertEqual(errors.wished_pause(words), seconds, words)

"""
The simulator against OpenAI's own package: does it speak the real protocol?

The package's realtime client has a conversation with it. Every event, both ways, must
fit the package's types with no field that they don't know.
"""

from __future__ import annotations

import asyncio
import collections.abc
import importlib.util
import json
import types
import typing
from base64 import b64decode, b64encode
from dataclasses import replace
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from portero.audio import silence, ulaw_encode
from portero.prompts import load
from portero.resample import Resampler
from portero.simulator import Knobs, Simulator
from portero.simulator.session import Session
from portero.wire import openai_commands as commands
from tests.parts import need

THERE = all(importlib.util.find_spec(name) for name in ("openai", "websockets"))

Event = dict[str, Any]

UNDECLARED = {
    "session.created": {"session.id", "session.object", "session.expires_at"},
    "session.updated": {"session.id", "session.object", "session.expires_at"},
}
"""Fields that the service documents and sends, and the package's types lack."""

PATIENCE_S = 20


class Misfit(AssertionError):
    """An event does not fit the package's types."""


def check_server_event(event: Event) -> None:
    """
    @raise Misfit: A field is unknown, missing, or of a wrong type.
    """
    from openai.types.realtime import RealtimeServerEvent
    from pydantic import ValidationError

    union = typing.get_args(RealtimeServerEvent)[0]
    models = {
        typing.get_args(model.model_fields["type"].annotation)[0]: model
        for model in typing.get_args(union)
    }
    if event["type"] not in models:
        raise Misfit(f"unknown event {event['type']}")
    try:
        parsed = models[event["type"]].model_validate_json(
            json.dumps(event), strict=True
        )
    except ValidationError as error:
        raise Misfit(f"{event['type']}: {error}") from None
    unknown = set(_undeclared(parsed, "")) - UNDECLARED.get(event["type"], set())
    if unknown:
        raise Misfit(f"{event['type']}: unknown {sorted(unknown)}")


def _undeclared(value: object, path: str) -> collections.abc.Iterator[str]:
    """
    @return: The paths of fields that no model declares.
    """
    from pydantic import BaseModel

    if isinstance(value, BaseModel):
        for name in value.model_extra or ():
            yield f"{path}{name}"
        for name in type(value).model_fields:
            yield from _undeclared(getattr(value, name), f"{path}{name}.")
    elif isinstance(value, list):
        for element in value:
            yield from _undeclared(element, path)


def check_client_event(event: Event) -> None:
    """
    @raise Misfit: As L{check_server_event}; C{item_reference} is known here.
    """
    from openai.types.realtime import RealtimeClientEventParam
    from openai.types.realtime.response_create_event_with_references_param import (
        ResponseCreateEventWithReferencesParam,
    )

    known: Any = RealtimeClientEventParam
    if event.get("type") == "response.create":
        known = ResponseCreateEventWithReferencesParam
    problem = _misfit(event, known, "")
    if problem is not None:
        raise Misfit(f"{event.get('type')}: {problem}")


def _misfit(value: object, wanted: Any, path: str) -> str | None:
    """
    Compare a value with a type, where C{TypedDict}s take no other keys.

    @return: The first difference, or None.
    """
    origin, args = typing.get_origin(wanted), typing.get_args(wanted)
    if wanted in (object, Any):
        return None
    if _special(wanted) in ("Annotated", "Required", "NotRequired"):
        return _misfit(value, args[0], path)
    if origin in (typing.Union, types.UnionType):
        found = [_misfit(value, arg, path) for arg in args]
        deepest = max((p for p in found if p), key=len, default="")
        return None if None in found else deepest
    if origin is typing.Literal:
        fits = any(type(value) is type(arg) and value == arg for arg in args)
        return None if fits else f"{path}: {value!r}"
    if origin is not None and origin is not dict:  # some kind of sequence
        if not isinstance(value, list):
            return f"{path}: no list"
        found = [_misfit(part, args[0], f"{path}[]") for part in value]
        return next((problem for problem in found if problem), None)
    if origin is dict:
        if not isinstance(value, dict):
            return f"{path}: no object"
        found = [_misfit(value[key], args[1], f"{path}.{key}") for key in value]
        return next((problem for problem in found if problem), None)
    if hasattr(wanted, "__required_keys__"):
        return _misfit_fields(value, wanted, path)
    kinds = (int, float) if wanted is float else wanted
    fits = isinstance(value, kinds) and (wanted is bool or type(value) is not bool)
    return None if fits else f"{path}: {value!r} is no {wanted}"


def _special(wanted: Any) -> str:
    return str(typing.get_origin(wanted)).rpartition(".")[2].rstrip("'>")


def _misfit_fields(value: object, wanted: Any, path: str) -> str | None:
    if not isinstance(value, dict):
        return f"{path}: no object"
    hints = typing.get_type_hints(wanted, include_extras=True)
    for key, hint in hints.items():
        # Not C{__required_keys__}: it is wrong where annotations are strings.
        needed = wanted.__total__ or _special(hint) == "Required"
        if needed and _special(hint) != "NotRequired" and key not in value:
            return f"{path}.{key}: missing"
    for key, inner in value.items():
        if key not in hints:
            return f"{path}.{key}: unknown"
        problem = _misfit(inner, hints[key], f"{path}.{key}")
        if problem is not None:
            return problem
    return None


def spoken() -> bytes:
    """
    @return: A sentence and the silence after it, as mu-law.
    """
    rate, pcm = load("moment", "en")
    return ulaw_encode(Resampler(rate, 8000).process(pcm) + silence(6400))


SETTINGS = commands.SessionSettings(
    instructions="Be kind.",
    voice="marin",
    input_format="audio/pcmu",
    output_format="audio/pcm",
    turn_detection=commands.ServerVad(),
    tools=(commands.FunctionTool("look_up", "Look up.", {"type": "object"}),),
)
WORDS = ("es", "en"), ("Ana Gil", "portero")
VARIANTS: dict[str, Any] = {
    "turn_detection": [
        commands.ServerVad(0.0, 0, 200, 5000, interrupt_response=False),
        commands.ServerVad(interrupt_response=False, create_response=False),
        commands.SemanticVad(interrupt_response=False, create_response=False),
        commands.ServerVad(1.0, 300, 500, 30_000),
        *(commands.SemanticVad(how) for how in ("low", "medium", "high", "auto")),
        None,
    ],
    "transcription": [
        commands.Transcription(model, *words)
        for model in (
            "gpt-transcribe",
            "gpt-live-transcribe",
            "whisper-1",
            "gpt-4o-transcribe",
            "gpt-4o-mini-transcribe",
            "gpt-4o-transcribe-diarize",
            "gpt-realtime-whisper",
        )
        for words in (((), ()), WORDS)
    ],
    "noise_reduction": ["near_field", "far_field"],
    "speed": [0.25, 1.5],
    "voice": ["cedar", "voice_1234"],
    "reasoning_effort": ["minimal", "low", "medium", "high", "xhigh"],
    "max_output_tokens": [1, 4096],
    "truncation": [
        "disabled",
        commands.RetentionRatio(0.8),
        commands.RetentionRatio(0.5, 8000),
    ],
    "tools": [()],
}
"""What a session may be told, other than L{SETTINGS}."""


class Client:
    """A conversation held by the package's own client, in a thread of its own."""

    def __init__(self, url: str) -> None:
        self.url = url.removesuffix("/realtime")
        self.events: list[Event] = []
        self.connection: Any = None

    def run(self) -> None:
        asyncio.run(asyncio.wait_for(self.talk(), PATIENCE_S))

    async def until(self, kind: str) -> Event:
        """
        Take events up to the first of this type.
        """
        while True:
            data = await self.connection.recv_bytes()
            parsed = self.connection.parse_event(data)
            event: Event = json.loads(data)
            assert parsed.type == event["type"]
            self.events.append(event)
            if event["type"] == kind:
                return event

    async def hear(self, audio: bytes) -> None:
        encoded = b64encode(audio).decode()
        await self.connection.input_audio_buffer.append(audio=encoded)

    async def text(self, words: str) -> None:
        await self.connection.conversation.item.create(
            item={
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": words}],
            }
        )

    async def talk(self) -> None:
        from openai import AsyncOpenAI

        client = AsyncOpenAI(api_key="any", websocket_base_url=self.url)
        direct: Any = {"proxy": None}  # to loopback, whatever the environment says
        async with (
            client,
            client.realtime.connect(
                model="gpt-realtime-2.1", websocket_connection_options=direct
            ) as self.connection,
        ):
            await self.until("session.created")
            await self.set_up()
            await self.be_greeted()
            await self.take_a_turn()
            await self.interrupt()
            await self.press_hash()
            await self.do_without_turn_detection()
            await self.do_wrong()

    async def set_up(self) -> None:
        await self.connection.session.update(
            event_id="cfg-1",
            session={
                "type": "realtime",
                "output_modalities": ["audio"],
                "instructions": "You are the agent of a clinic.",
                "audio": {
                    "input": {
                        "format": {"type": "audio/pcmu"},
                        "noise_reduction": {"type": "near_field"},
                        "transcription": {
                            "model": "gpt-transcribe",
                            "languages": ["en"],
                        },
                        "turn_detection": {
                            "type": "server_vad",
                            "threshold": 0.5,
                            "prefix_padding_ms": 300,
                            "silence_duration_ms": 500,
                            "create_response": True,
                            "interrupt_response": True,
                            "idle_timeout_ms": 8000,
                        },
                    },
                    "output": {
                        "format": {"type": "audio/pcmu"},
                        "voice": "marin",
                        "speed": 1.0,
                    },
                },
                "tools": [
                    {
                        "type": "function",
                        "name": "hang_up",
                        "description": "End the call.",
                        "parameters": {"type": "object", "properties": {}},
                    }
                ],
                "tool_choice": "auto",
                "max_output_tokens": "inf",
                "reasoning": {"effort": "low"},
                "tracing": {"group_id": "call-1"},
                "truncation": {"type": "retention_ratio", "retention_ratio": 0.8},
            },
        )
        await self.until("session.updated")

    async def be_greeted(self) -> None:
        await self.connection.response.create(
            response={"instructions": "Greet the caller.", "tool_choice": "none"}
        )
        await self.until("rate_limits.updated")

    async def take_a_turn(self) -> None:
        await self.hear(spoken())
        await self.until("conversation.item.input_audio_transcription.completed")
        await self.until("rate_limits.updated")

    async def interrupt(self) -> None:
        await self.hear(spoken())
        delta = await self.until("response.output_audio.delta")
        audio = spoken()
        await self.hear(audio[:8000])
        done = await self.until("response.done")
        assert done["response"]["status_details"]["reason"] == "turn_detected"
        await self.connection.conversation.item.truncate(
            item_id=delta["item_id"],
            content_index=0,
            audio_end_ms=len(b64decode(delta["delta"])) // 8,
        )
        await self.until("conversation.item.truncated")
        await self.hear(audio[8000:])
        await self.until("response.done")
        await self.until("rate_limits.updated")

    async def press_hash(self) -> None:
        await self.text("The caller typed # on the telephone.")
        await self.connection.response.create()
        call = await self.until("response.function_call_arguments.done")
        assert call["name"] == "hang_up"
        await self.until("rate_limits.updated")
        await self.connection.conversation.item.create(
            item={
                "type": "function_call_output",
                "call_id": call["call_id"],
                "output": '{"ok": true}',
            }
        )
        await self.connection.response.create()
        await self.until("rate_limits.updated")

    async def do_without_turn_detection(self) -> None:
        connection = self.connection
        await connection.session.update(
            session={
                "type": "realtime",
                "audio": {"input": {"turn_detection": None}},
            }
        )
        await connection.input_audio_buffer.clear()
        await self.until("input_audio_buffer.cleared")
        await self.hear(spoken())
        await connection.input_audio_buffer.commit()
        await self.until("conversation.item.done")
        await connection.response.create(
            response={
                "conversation": "none",
                "output_modalities": ["text"],
                "metadata": {"topic": "summary"},
            }
        )
        await self.until("response.output_text.done")
        await self.until("rate_limits.updated")
        items = [e for e in self.events if e["type"] == "conversation.item.added"]
        item_id = items[0]["item"]["id"]
        await connection.conversation.item.retrieve(item_id=item_id)
        await self.until("conversation.item.retrieved")
        await connection.conversation.item.delete(item_id=item_id)
        await self.until("conversation.item.deleted")

    async def do_wrong(self) -> None:
        await self.connection.response.cancel(event_id="too-late")
        error = (await self.until("error"))["error"]
        assert error["code"] == "response_cancel_not_active", error
        assert error["event_id"] == "too-late", error


class ConformanceTests(TestCase):
    timeout = PATIENCE_S + 10

    def setUp(self) -> None:
        need(THERE, "the Python package openai[realtime]")
        self.simulator = Simulator(reactor, Knobs(speed=20.0, chunk_ms=100))
        self.simulator.startService()
        self.addCleanup(self.simulator.stopService)

    def test_a_whole_conversation_fits_the_packages_types(self) -> Deferred[None]:
        client = Client(self.simulator.url)

        async def converse() -> None:
            talking = deferToThread(client.run)
            while not (self.simulator.sessions or talking.called):
                await _moment()
            if talking.called:
                await talking  # which says why it did not even connect
            (session,) = self.simulator.sessions
            await talking
            for event in client.events:
                check_server_event(event)
            for event in session.received:
                check_client_event(event)
            self.assertGreater(session.appends, 0)
            self.assertEqual(len(session.truncations), 1)
            self.assertEqual(
                {event["type"] for event in session.received},
                {
                    "session.update",
                    "response.create",
                    "response.cancel",
                    "conversation.item.create",
                    "conversation.item.truncate",
                    "conversation.item.retrieve",
                    "conversation.item.delete",
                    "input_audio_buffer.clear",
                    "input_audio_buffer.commit",
                },
            )
            errors = [e for e in client.events if e["type"] == "error"]
            self.assertEqual(len(errors), 1, errors)

        return Deferred.fromCoroutine(converse())

    def test_the_rare_events_fit_too(self) -> None:
        session = Session(Knobs(), "gpt-realtime-2.1", "en", 0)
        turns = {"type": "server_vad", "idle_timeout_ms": 5000}
        update = {"type": "realtime", "audio": {"input": {"turn_detection": turns}}}
        session.receive({"type": "session.update", "session": update}, 0.0)
        session.receive({"type": "response.create"}, 0.0)
        events = [event for now in range(60) for event in session.advance(float(now))]
        session.knobs = Knobs(response_failed="server_error")
        events += session.receive({"type": "response.create"}, 60.0)
        self.assertIn(
            "input_audio_buffer.timeout_triggered", [e["type"] for e in events]
        )
        self.assertIn("failed", [e.get("response", {}).get("status") for e in events])
        for event in events:
            check_server_event(event)

    def test_what_the_bridge_sends_fits_and_is_taken(self) -> None:
        session = Session(
            Knobs(function_call=("look_up", "{}")), "gpt-realtime-2.1", "en", 0
        )
        sent = [
            commands.session_update(SETTINGS, "e1"),
            commands.formats_update("audio/pcma", "audio/pcma", "e2"),
            commands.append(bytes(800)),
            commands.commit("e0"),
            commands.message("system", "It is late.", "e3"),
            commands.message("user", "Good evening.", "e4"),
            commands.message("assistant", "Hello.", "e5"),
            commands.response_create("e6", "Good evening."),
        ]
        for payload in sent:
            self.taken(session, payload, 0.0)
        events = [event for now in range(30) for event in session.advance(float(now))]
        (done,) = [event for event in events if event["type"] == "response.done"]
        message, call = done["response"]["output"]
        self.taken(session, commands.truncate(message["id"], 10, "e7"), 30.0)
        self.taken(session, commands.function_output(call["call_id"], "{}", "e8"), 30.0)
        created = self.taken(session, commands.response_create("e9"), 30.0)[0]
        response_id = created["response"]["id"]
        self.taken(session, commands.response_cancel(response_id, "e10"), 30.0)

    def test_whatever_a_session_is_told_fits_and_is_taken(self) -> None:
        from openai.types.realtime import SessionUpdateEvent
        from pydantic import TypeAdapter

        strict: TypeAdapter[Any] = TypeAdapter(SessionUpdateEvent)
        for name, values in VARIANTS.items():
            for value in values:
                settings = replace(SETTINGS, **{name: value})
                payload = commands.session_update(settings, "e1")
                parsed = strict.validate_json(payload, strict=True)
                self.assertEqual(list(_undeclared(parsed, "")), [], payload)
                session = Session(Knobs(), "gpt-realtime-2.1", "en", 0)
                (updated,) = self.taken(session, payload, 0.0)
                check_server_event(updated)

    def taken(self, session: Session, payload: bytes, now: float) -> list[Event]:
        """
        @return: The answers to an event of ours, which fits and is no error.
        """
        event = json.loads(payload)
        check_client_event(event)
        answers = session.receive(event, now)
        self.assertNotIn("error", [answer["type"] for answer in answers], event)
        return answers

    def test_the_checks_find_what_does_not_fit(self) -> None:
        good: Event = {
            "type": "input_audio_buffer.speech_started",
            "event_id": "e",
            "item_id": "i",
            "audio_start_ms": 5,
        }
        check_server_event(good)
        changes: tuple[Event, ...] = (
            {"extra": 1},
            {"audio_start_ms": "5"},
            {"type": "x"},
        )
        for change in changes:
            self.assertRaises(Misfit, check_server_event, {**good, **change})
        sessions: tuple[Event, ...] = (
            {},
            {"type": "realtime", "temperature": 1},
            {
                "type": "realtime",
                "audio": {"input": {"format": {"type": "audio/pcmu", "rate": 8000}}},
            },
        )
        for session in sessions:
            update = {"type": "session.update", "session": session}
            self.assertRaises(Misfit, check_client_event, update)
        check_client_event({"type": "session.update", "session": {"type": "realtime"}})


def _moment() -> Deferred[None]:
    """
    @return: Fires after the reactor has looked round.
    """
    soon: Deferred[None] = Deferred()
    reactor.callLater(0.01, soon.callback, None)
    return soon

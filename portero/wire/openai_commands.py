"""OpenAI Realtime, generally available shape: what we tell the service, as JSON."""

from __future__ import annotations

import json
from binascii import b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from portero.wire.openai import PCM, PCM_RATE

SHORTEST_COMMIT: Final = 0.1
"""Seconds of caller audio."""


@dataclass(frozen=True, slots=True)
class ServerVad:
    """Turn detection by level at the service. Times in ms; C{threshold} 0 to 1."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    idle_timeout_ms: int = 0
    """Silence after which the service speaks by itself; 0: never."""
    interrupt_response: bool = True
    create_response: bool = True
    """The service replies at the end of a turn by itself."""


@dataclass(frozen=True, slots=True)
class SemanticVad:
    """Turn detection by meaning at the service."""

    eagerness: str = "auto"
    """C{low}, C{medium}, C{high} or C{auto}."""
    interrupt_response: bool = True
    create_response: bool = True


@dataclass(frozen=True, slots=True)
class Transcription:
    """Of the caller's words. Each model takes what it can of the rest."""

    model: str
    languages: tuple[str, ...] = ()
    """ISO 639-1, the likeliest first."""
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RetentionRatio:
    """Truncation that forgets more than it must, so that it is seldom needed."""

    ratio: float
    """Kept, of the most that may be kept."""
    post_instructions: int = 0
    """The most, in tokens; 0: the model's own limit."""


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A tool in the flat form of the Realtime API."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class McpTool:
    """A remote MCP server, which the service asks by itself and without approval."""

    name: str
    """Letters, digits, - and _."""
    url: str
    description: str
    allowed: tuple[str, ...]
    authorization: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """
    All that a C{session.update} of ours may say; one unknown field refuses it. What is
    left at its default is not said, where that is the service's default too.
    """

    instructions: str
    voice: str
    input_format: str
    output_format: str
    turn_detection: ServerVad | SemanticVad | None
    """C{None}: a turn ends with L{commit}."""
    transcription: Transcription | None = None
    noise_reduction: str = ""
    speed: float = 1.0
    tools: tuple[FunctionTool, ...] = ()
    mcp: tuple[McpTool, ...] = ()
    reasoning_effort: str = ""
    max_output_tokens: int = 0
    truncation: RetentionRatio | str = "auto"
    """Or C{disabled}."""


def _dump(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "replace"
    )


def session_update(settings: SessionSettings, event_id: str) -> bytes:
    session: dict[str, Any] = {
        "type": "realtime",
        "output_modalities": ["audio"],
        "instructions": settings.instructions,
        "audio": {"input": _input(settings), "output": _output(settings)},
    }
    if settings.tools or settings.mcp:
        session["tools"] = [
            *map(_function, settings.tools),
            *map(_mcp, settings.mcp),
        ]
        session["tool_choice"] = "auto"
    if settings.reasoning_effort:
        session["reasoning"] = {"effort": settings.reasoning_effort}
    if settings.max_output_tokens:
        session["max_output_tokens"] = settings.max_output_tokens
    if settings.truncation != "auto":
        session["truncation"] = _truncation(settings.truncation)
    return _dump({"type": "session.update", "event_id": event_id, "session": session})


def _function(tool: FunctionTool) -> dict[str, Any]:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }


def _mcp(tool: McpTool) -> dict[str, Any]:
    found = {
        "type": "mcp",
        "server_label": tool.name,
        "server_url": tool.url,
        "allowed_tools": list(tool.allowed),
        "require_approval": "never",
    }
    if tool.description:
        found["server_description"] = tool.description
    if tool.authorization:
        found["authorization"] = tool.authorization
    return found


def _input(settings: SessionSettings) -> dict[str, Any]:
    found: dict[str, Any] = {
        "format": _format_object(settings.input_format),
        "turn_detection": _turn_detection(settings.turn_detection),
    }
    if settings.transcription is not None:
        found["transcription"] = _transcription(settings.transcription)
    if settings.noise_reduction:
        found["noise_reduction"] = {"type": settings.noise_reduction}
    return found


def _output(settings: SessionSettings) -> dict[str, Any]:
    voice = settings.voice
    found: dict[str, Any] = {
        "format": _format_object(settings.output_format),
        "voice": {"id": voice} if voice.startswith("voice_") else voice,
    }
    if settings.speed != 1.0:
        found["speed"] = settings.speed
    return found


def _format_object(name: str) -> dict[str, Any]:
    return {"type": name, "rate": PCM_RATE} if name == PCM else {"type": name}


def _turn_detection(vad: ServerVad | SemanticVad | None) -> dict[str, Any] | None:
    if vad is None:
        return None
    answers = {
        "create_response": vad.create_response,
        "interrupt_response": vad.interrupt_response,
    }
    if isinstance(vad, SemanticVad):
        return {"type": "semantic_vad", "eagerness": vad.eagerness, **answers}
    found: dict[str, Any] = {
        "type": "server_vad",
        "threshold": vad.threshold,
        "prefix_padding_ms": vad.prefix_padding_ms,
        "silence_duration_ms": vad.silence_duration_ms,
        **answers,
    }
    if vad.idle_timeout_ms:
        found["idle_timeout_ms"] = vad.idle_timeout_ms
    return found


_MANY_LANGUAGES: Final = ("gpt-transcribe", "gpt-live-transcribe")
_PROMPTED: Final = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
_NOT_PROMPTED: Final = "gpt-4o-transcribe-diarize"
"""By how a model's name begins: a date may follow."""


def _transcription(wanted: Transcription) -> dict[str, Any]:
    model, languages, keywords = wanted.model, wanted.languages, wanted.keywords
    found: dict[str, Any] = {"model": model}
    if model.startswith(_MANY_LANGUAGES):
        more = {"languages": languages, "keywords": keywords}
        return found | {name: values for name, values in more.items() if values}
    if languages:
        found["language"] = languages[0]
    prompted = model.startswith(_PROMPTED) and not model.startswith(_NOT_PROMPTED)
    if keywords and prompted:
        found["prompt"] = ", ".join(keywords)
    return found


def _truncation(wanted: RetentionRatio | str) -> dict[str, Any] | str:
    if isinstance(wanted, str):
        return wanted
    found: dict[str, Any] = {"type": "retention_ratio", "retention_ratio": wanted.ratio}
    if wanted.post_instructions:
        found["token_limits"] = {"post_instructions": wanted.post_instructions}
    return found


def formats_update(input_format: str, output_format: str, event_id: str) -> bytes:
    """Change the formats of a session under way, and nothing else."""
    session = {
        "type": "realtime",
        "audio": {
            "input": {"format": _format_object(input_format)},
            "output": {"format": _format_object(output_format)},
        },
    }
    return _dump({"type": "session.update", "event_id": event_id, "session": session})


def append(audio: bytes) -> bytes:
    """@param audio: In the session's input format."""
    return b"".join(
        (
            b'{"type":"input_audio_buffer.append","audio":"',
            b2a_base64(audio, newline=False),
            b'"}',
        )
    )


def commit(event_id: str) -> bytes:
    """The caller's turn is over; refused for less than L{SHORTEST_COMMIT}."""
    return _dump({"type": "input_audio_buffer.commit", "event_id": event_id})


_CONTENT: Final = {
    "user": "input_text",
    "system": "input_text",
    "assistant": "output_text",
}


def message(role: str, text: str, event_id: str, item_id: str = "") -> bytes:
    """
    A text item.

    @param role: C{user}, C{assistant} or C{system}.
    @param item_id: What it is called; empty: as the service likes.
    """
    item: dict[str, Any] = {
        "type": "message",
        "role": role,
        "content": [{"type": _CONTENT[role], "text": text}],
    }
    if item_id:
        item["id"] = item_id
    return _dump(
        {"type": "conversation.item.create", "event_id": event_id, "item": item}
    )


def delete(item_id: str, event_id: str) -> bytes:
    return _dump(
        {"type": "conversation.item.delete", "event_id": event_id, "item_id": item_id}
    )


def function_output(call_id: str, output: str, event_id: str) -> bytes:
    item = {"type": "function_call_output", "call_id": call_id, "output": output}
    return _dump(
        {"type": "conversation.item.create", "event_id": event_id, "item": item}
    )


def response_create(event_id: str, exact_words: str = "") -> bytes:
    """@param exact_words: What to say, word for word; empty: what fits."""
    event: dict[str, Any] = {"type": "response.create", "event_id": event_id}
    if exact_words:
        event["response"] = {
            "instructions": f"Say exactly these words and nothing else: {exact_words}",
            "tool_choice": "none",
            "output_modalities": ["audio"],
        }
    return _dump(event)


def response_cancel(response_id: str, event_id: str) -> bytes:
    """@param response_id: Empty: the one being made, whichever it is."""
    event = {"type": "response.cancel", "event_id": event_id}
    if response_id:
        event["response_id"] = response_id
    return _dump(event)


def truncate(item_id: str, audio_end_ms: int, event_id: str) -> bytes:
    return _dump(
        {
            "type": "conversation.item.truncate",
            "event_id": event_id,
            "item_id": item_id,
            "content_index": 0,
            "audio_end_ms": audio_end_ms,
        }
    )

"""
OpenAI Realtime, generally available shape: events to and from JSON text.

Beta names of server events are accepted too. Unknown events become L{Ignored} and
unknown fields are not looked at, so that the service may add both.
"""

from __future__ import annotations

import json
import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from portero.errors import PorteroError

PCM: Final = "audio/pcm"
PCMU: Final = "audio/pcmu"
PCMA: Final = "audio/pcma"
PCM_RATE: Final = 24000
"""The only PCM rate there is, in Hz."""


class EventError(PorteroError):
    """What came is no event; the message says why, in a few words."""


# From the service


class SessionCreated(NamedTuple):
    expires_at: float
    """Unix time; 0 when not told."""


class SessionUpdated(NamedTuple):
    input_format: str
    output_format: str
    """As the service says it works from now on; empty when not told."""


class SpeechStarted(NamedTuple):
    audio_start_ms: int


class SpeechStopped(NamedTuple):
    audio_end_ms: int


class ResponseCreated(NamedTuple):
    response_id: str


class AudioDelta(NamedTuple):
    response_id: str
    item_id: str
    audio: bytes
    """In the session's output format, not decoded."""


class AudioDone(NamedTuple):
    response_id: str
    item_id: str


class Transcript(NamedTuple):
    role: str
    item_id: str
    text: str


class FunctionCall(NamedTuple):
    response_id: str
    item_id: str
    call_id: str
    name: str
    arguments: str
    """JSON, as the model wrote it: it may be broken."""


class ResponseDone(NamedTuple):
    response_id: str
    status: str
    reason: str
    error: ServiceError | None
    usage: Mapping[str, int]


class ServiceError(NamedTuple):
    type: str
    code: str
    message: str
    param: str
    event_id: str
    """Of the event of ours that it answers; empty when it answers none."""


class Ignored(NamedTuple):
    type: str


Event = (
    SessionCreated
    | SessionUpdated
    | SpeechStarted
    | SpeechStopped
    | ResponseCreated
    | AudioDelta
    | AudioDone
    | Transcript
    | FunctionCall
    | ResponseDone
    | ServiceError
    | Ignored
)

BETA_NAMES: Final = {
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.done": "response.output_audio_transcript.done",
}

_AUDIO: Final = b'"delta":"'
_NO_AUDIO: Final = "*"


def parse(payload: bytes) -> Event:
    """
    @raise EventError: It is not a JSON object with a type, or a field that we need is
        missing or of another type.
    """
    # Audio is cut out before the rest is read as JSON: it is nearly all of the traffic
    # and needs no search for escapes. What stands in its place is no base64, so it can
    # only be found where the audio was; all other cases are read as they are.
    start = payload.find(_AUDIO) + len(_AUDIO)
    end = payload.find(b'"', start) if start >= len(_AUDIO) else -1
    if end < 0 or payload.find(b"\\", start, end) >= 0:
        return _event(_object(payload))
    fields = _object(payload[:start] + _NO_AUDIO.encode() + payload[end:])
    if fields.get("delta") == _NO_AUDIO:
        fields["delta"] = payload[start:end]
        return _event(fields)
    return _event(_object(payload))


def _object(payload: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(payload)
    except RecursionError:
        raise EventError("JSON nested too deep") from None
    except ValueError as error:
        raise EventError(one_line(f"not JSON: {error}")) from None
    if not isinstance(fields, dict):
        raise EventError("JSON, but not an object")
    return fields


def _event(fields: dict[str, Any]) -> Event:
    kind = fields.get("type")
    if not isinstance(kind, str):
        raise EventError("an object without a type")
    reader = _READERS.get(BETA_NAMES.get(kind, kind))
    if reader is None:
        return Ignored(kind)
    try:
        return reader(fields)
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        why = f"{kind} that lacks what it must have: {type(error).__name__} {error}"
        raise EventError(one_line(why)) from None


MOST_WORDS: Final = 300
_KEYS: Final = re.compile(r"\bsk-\S+|Bearer\s+\S+")


def one_line(text: str) -> str:
    """What a peer wrote, fit for a log: one line, not long, and without secrets."""
    text = _KEYS.sub("(a key)", text[: 4 * MOST_WORDS])
    return "".join(c if c.isprintable() else " " for c in text)[:MOST_WORDS].strip()


def _text(value: object) -> str:
    """Half of a surrogate pair is JSON, but no text that could be sent again."""
    if not isinstance(value, str):
        return ""
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _id(fields: Mapping[str, Any], name: str) -> str:
    found = _text(fields[name])
    if not found:
        raise ValueError(f"no {name}")
    return found


def _number(value: object) -> float:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known else 0.0  # type: ignore[arg-type]  # just checked


def _part(value: object) -> Mapping[str, Any]:
    """What is optional and should be an object."""
    return value if isinstance(value, dict) else {}


_RATES: Final = {PCM: PCM_RATE, PCMU: 8000, PCMA: 8000}
_BETA_FORMATS: Final = {"pcm16": PCM, "g711_ulaw": PCMU, "g711_alaw": PCMA}


def _format(session: Mapping[str, Any], direction: str) -> str:
    found = _part(_part(session.get("audio")).get(direction)).get("format")
    if not isinstance(found, dict):
        name = _text(found) or _text(session.get(f"{direction}_audio_format"))
        return _BETA_FORMATS.get(name, name)
    name, rate = _text(found.get("type")), found.get("rate")
    expected = _RATES.get(name)
    return f"{name} at {rate} Hz" if rate and rate != expected else name


def _session_created(fields: Mapping[str, Any]) -> Event:
    return SessionCreated(_number(_part(fields.get("session")).get("expires_at")))


def _session_updated(fields: Mapping[str, Any]) -> Event:
    session = fields["session"]
    return SessionUpdated(_format(session, "input"), _format(session, "output"))


def _delta(fields: Mapping[str, Any]) -> Event:
    item, delta = _id(fields, "item_id"), fields["delta"]
    try:
        audio = a2b_base64(delta.encode() if isinstance(delta, str) else delta)
    except Base64Error:
        raise ValueError("delta is not base64") from None
    return AudioDelta(_text(fields.get("response_id")), item, audio)


def _audio_done(fields: Mapping[str, Any]) -> Event:
    return AudioDone(_text(fields.get("response_id")), _id(fields, "item_id"))


def _agent_transcript(fields: Mapping[str, Any]) -> Event:
    return Transcript("assistant", _id(fields, "item_id"), _text(fields["transcript"]))


def _caller_transcript(fields: Mapping[str, Any]) -> Event:
    return Transcript("user", _id(fields, "item_id"), _text(fields["transcript"]))


def _item_done(fields: Mapping[str, Any]) -> Event:
    item = fields["item"]
    if item.get("type") != "function_call":
        return Ignored("response.output_item.done")
    if (item.get("status") or "completed") != "completed":
        return Ignored("an unfinished function call")
    arguments = item.get("arguments") or ""
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments)
    return FunctionCall(
        _text(fields.get("response_id")),
        _text(item.get("id")),
        _id(item, "call_id"),
        _id(item, "name"),
        arguments,
    )


def service_error(error: object) -> ServiceError:
    if not isinstance(error, dict):
        return ServiceError("", "", one_line(_text(error)), "", "")
    return ServiceError(
        one_line(_text(error.get("type"))),
        one_line(_text(error.get("code"))),
        one_line(_text(error.get("message"))),
        one_line(_text(error.get("param"))),
        _text(error.get("event_id")),
    )


def _response_done(fields: Mapping[str, Any]) -> Event:
    # Only this event says that a reply ended, so it counts whatever else it lacks.
    response = _part(fields.get("response"))
    details = _part(response.get("status_details"))
    error = details.get("error")
    return ResponseDone(
        _text(response.get("id")),
        _text(response.get("status")) or "completed",
        one_line(_text(details.get("reason"))),
        service_error(error) if error else None,
        dict(_flat_usage(_part(response.get("usage")))),
    )


MOST_TOKENS: Final = 1 << 40


def _flat_usage(
    usage: Mapping[str, Any], prefix: str = ""
) -> Iterable[tuple[str, int]]:
    """C{input_token_details.audio_tokens} becomes C{input.audio_tokens}."""
    for name, value in usage.items():
        if isinstance(value, dict):
            if not prefix:
                part = name.removesuffix("_token_details")
                yield from _flat_usage(value, part + ".")
        elif type(value) is int and 0 <= value < MOST_TOKENS:
            yield prefix + str(name), value


_READERS: Final[dict[str, Callable[[Mapping[str, Any]], Event]]] = {
    "session.created": _session_created,
    "conversation.created": _session_created,  # first of all, in one dialect
    "session.updated": _session_updated,
    "input_audio_buffer.speech_started": lambda fields: SpeechStarted(
        int(_number(fields.get("audio_start_ms")))
    ),
    "input_audio_buffer.speech_stopped": lambda fields: SpeechStopped(
        int(_number(fields.get("audio_end_ms")))
    ),
    "response.created": lambda fields: ResponseCreated(
        _text(_part(fields.get("response")).get("id"))
    ),
    "response.output_audio.delta": _delta,
    "response.output_audio.done": _audio_done,
    "response.output_audio_transcript.done": _agent_transcript,
    "conversation.item.input_audio_transcription.completed": _caller_transcript,
    "response.output_item.done": _item_done,
    "response.done": _response_done,
    "error": lambda fields: service_error(fields.get("error") or fields),
}


# To the service


@dataclass(frozen=True, slots=True)
class ServerVad:
    """Turn detection by level at the service. Times in ms; C{threshold} 0 to 1."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    create_response: bool = True
    interrupt_response: bool = True


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A tool in the flat form of the Realtime API."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """All that a C{session.update} of ours may say; one unknown field refuses it."""

    instructions: str
    voice: str
    input_format: str
    output_format: str
    turn_detection: ServerVad
    transcription_model: str = ""
    noise_reduction: str = ""
    tools: tuple[FunctionTool, ...] = ()


def _format_object(name: str) -> dict[str, Any]:
    return {"type": name, "rate": PCM_RATE} if name == PCM else {"type": name}


def _dump(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "replace"
    )


def session_update(settings: SessionSettings, event_id: str) -> bytes:
    vad = settings.turn_detection
    given: dict[str, Any] = {
        "format": _format_object(settings.input_format),
        "turn_detection": {
            "type": "server_vad",
            "threshold": vad.threshold,
            "prefix_padding_ms": vad.prefix_padding_ms,
            "silence_duration_ms": vad.silence_duration_ms,
            "create_response": vad.create_response,
            "interrupt_response": vad.interrupt_response,
        },
    }
    if settings.transcription_model:
        given["transcription"] = {"model": settings.transcription_model}
    if settings.noise_reduction:
        given["noise_reduction"] = {"type": settings.noise_reduction}
    session: dict[str, Any] = {
        "type": "realtime",
        "output_modalities": ["audio"],
        "instructions": settings.instructions,
        "audio": {
            "input": given,
            "output": {
                "format": _format_object(settings.output_format),
                "voice": settings.voice,
            },
        },
    }
    if settings.tools:
        session["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
            }
            for tool in settings.tools
        ]
        session["tool_choice"] = "auto"
    return _dump({"type": "session.update", "event_id": event_id, "session": session})


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


_CONTENT: Final = {
    "user": "input_text",
    "system": "input_text",
    "assistant": "output_text",
}


def message(role: str, text: str, event_id: str) -> bytes:
    """A text item. @param role: C{user}, C{assistant} or C{system}."""
    item = {
        "type": "message",
        "role": role,
        "content": [{"type": _CONTENT[role], "text": text}],
    }
    return _dump(
        {"type": "conversation.item.create", "event_id": event_id, "item": item}
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

"""
OpenAI Realtime, generally available shape: the events of the service, from JSON text.
L{portero.wire.openai_commands} is what it is told.

Beta names are accepted too. Unknown events become L{Ignored} and unknown fields are not
looked at, so that the service may add both.
"""

from __future__ import annotations

import json
import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from portero.errors import PorteroError

PCM: Final = "audio/pcm"
PCMU: Final = "audio/pcmu"
PCMA: Final = "audio/pcma"
PCM_RATE: Final = 24000
"""The only PCM rate there is, in Hz."""


class EventError(PorteroError):
    """What came is no event; the message says why, in a few words."""


class SessionCreated(NamedTuple):
    expires_at: float
    """Unix time; 0 when not told."""


class SessionUpdated(NamedTuple):
    input_format: str
    output_format: str
    """As the service says it works from now on; empty when not told."""


class SpeechStarted(NamedTuple):
    audio_start_ms: int
    item_id: str = ""
    """Of the turn that this is going to be."""


class SpeechStopped(NamedTuple):
    audio_end_ms: int


class IdleTimeout(NamedTuple):
    """The caller says nothing for long: the service is going to reply to that."""


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


class CallerWords(NamedTuple):
    item_id: str
    text: str
    """The next piece."""


class AgentWords(NamedTuple):
    response_id: str
    item_id: str
    text: str
    """The next piece."""


class Transcript(NamedTuple):
    role: str
    item_id: str
    text: str
    usage: Mapping[str, int]
    """Of a transcription: C{input.}, C{output.} as for L{ResponseDone}, or C{ms}."""


class FunctionCall(NamedTuple):
    response_id: str
    item_id: str
    call_id: str
    name: str
    arguments: str
    """JSON, as the model wrote it: it may be broken."""


class McpCallBegun(NamedTuple):
    """The service itself asks a remote MCP server."""

    item_id: str


class McpCallEnded(NamedTuple):
    """It has an answer, or none. It does not speak of it unless it is asked to."""

    item_id: str


class McpFailed(NamedTuple):
    server: str
    """As C{server_label} in the session; empty when the service does not say it."""
    tool: str
    """Empty: its tools could not be listed."""
    why: str


class ResponseDone(NamedTuple):
    response_id: str
    status: str
    reason: str
    error: ServiceError | None
    usage: Mapping[str, int]
    """
    Tokens: C{total_tokens}; C{text_tokens} and C{audio_tokens} after C{input.},
    C{input.cached.} and C{output.}; C{input.cached_tokens} if they are not told apart.
    """
    written: str = ""
    """What its messages say in writing; what they speak is not in here."""


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
    | IdleTimeout
    | ResponseCreated
    | AudioDelta
    | AudioDone
    | CallerWords
    | AgentWords
    | Transcript
    | FunctionCall
    | McpCallBegun
    | McpCallEnded
    | McpFailed
    | ResponseDone
    | ServiceError
    | Ignored
)

BETA_NAMES: Final = {
    "response.audio.delta": "response.output_audio.delta",
    "response.audio.done": "response.output_audio.done",
    "response.audio_transcript.delta": "response.output_audio_transcript.delta",
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


def _agent_words(fields: Mapping[str, Any]) -> Event:
    item, text = _id(fields, "item_id"), _piece(fields["delta"])
    return AgentWords(_text(fields.get("response_id")), item, text)


def _agent_transcript(fields: Mapping[str, Any]) -> Event:
    words = _text(fields["transcript"])
    return Transcript("assistant", _id(fields, "item_id"), words, {})


def _caller_words(fields: Mapping[str, Any]) -> Event:
    return CallerWords(_text(fields.get("item_id")), _piece(fields["delta"]))


def _piece(delta: Any) -> str:
    return _text(
        delta.decode("utf-8", "replace") if isinstance(delta, bytes) else delta
    )


def _caller_transcript(fields: Mapping[str, Any]) -> Event:
    words, usage = _text(fields["transcript"]), _part(fields.get("usage"))
    return Transcript("user", _id(fields, "item_id"), words, _transcribed(usage))


def _item_done(fields: Mapping[str, Any]) -> Event:
    item = fields["item"]
    if item.get("type") == "mcp_call" and item.get("error"):
        return _mcp_failed(item)
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


def _mcp_failed(item: Mapping[str, Any]) -> Event:
    error = item["error"]
    told = _part(error)
    why = _text(told.get("message")) or _text(error) or "no reason given"
    kind, code = _text(told.get("type")), told.get("code")
    if kind or code:
        why += f" ({' '.join(str(part) for part in (kind, code) if part)})"
    server, tool = _text(item.get("server_label")), _text(item.get("name"))
    return McpFailed(one_line(server), one_line(tool), one_line(why))


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
        _usage(_part(response.get("usage"))),
        _written(response.get("output")),
    )


def _is_writing(content: Mapping[str, Any]) -> bool:
    """By the present name, or by the one of beta."""
    return content.get("type") in ("output_text", "text")


def _written(output: object) -> str:
    found: list[str] = []
    for item in output if isinstance(output, list) else ():
        content = _part(item).get("content")
        parts = map(_part, content) if isinstance(content, list) else ()
        found += [_text(p.get("text")).strip() for p in parts if _is_writing(p)]
    return " ".join(filter(None, found))


MOST_TOKENS: Final = 1 << 40
"""And milliseconds: more is no figure of a call."""


_KINDS: Final = ("text_tokens", "audio_tokens")


def _counts(told: Mapping[str, Any], names: Iterable[str]) -> dict[str, int]:
    found = {name: told.get(name) for name in names}
    return {
        name: value
        for name, value in found.items()
        if type(value) is int and 0 <= value < MOST_TOKENS
    }


def _usage(told: Mapping[str, Any]) -> dict[str, int]:
    """C{input_token_details.audio_tokens} becomes C{input.audio_tokens}."""
    details = _part(told.get("input_token_details"))
    given = _counts(details, _KINDS)
    made = _counts(_part(told.get("output_token_details")), _KINDS)
    found = _counts(told, ["total_tokens"])
    found.update({f"input.{name}": value for name, value in given.items()})
    found.update({f"output.{name}": value for name, value in made.items()})
    # The cached ones are among the given ones: more would be a price below nothing.
    cached = _counts(_part(details.get("cached_tokens_details")), _KINDS)
    for name, value in cached.items():
        found[f"input.cached.{name}"] = min(value, given.get(name, 0))
    if not cached:
        for value in _counts(details, ["cached_tokens"]).values():
            found["input.cached_tokens"] = min(value, sum(given.values()))
    return found


def _transcribed(told: Mapping[str, Any]) -> dict[str, int]:
    """The usage of a transcription, which is paid by time or by token."""
    if "seconds" in told:
        ms = _number(told["seconds"]) * 1000
        return {"ms": round(ms)} if 0 <= ms < MOST_TOKENS else {}
    found, whole = _usage(told), _counts(told, ["input_tokens", "output_tokens"])
    if not any(name.startswith("input.") for name in found) and "input_tokens" in whole:
        found["input.audio_tokens"] = whole["input_tokens"]
    # It has no details of its output, which is always text.
    if "output_tokens" in whole:
        found.setdefault("output.text_tokens", whole["output_tokens"])
    return found


_READERS: Final[dict[str, Callable[[Mapping[str, Any]], Event]]] = {
    "session.created": _session_created,
    "conversation.created": _session_created,  # first of all, in one dialect
    "session.updated": _session_updated,
    "input_audio_buffer.speech_started": lambda fields: SpeechStarted(
        int(_number(fields.get("audio_start_ms"))), _text(fields.get("item_id"))
    ),
    "input_audio_buffer.speech_stopped": lambda fields: SpeechStopped(
        int(_number(fields.get("audio_end_ms")))
    ),
    "input_audio_buffer.timeout_triggered": lambda fields: IdleTimeout(),
    "response.created": lambda fields: ResponseCreated(
        _text(_part(fields.get("response")).get("id"))
    ),
    "response.output_audio.delta": _delta,
    "response.output_audio.done": _audio_done,
    "response.output_audio_transcript.delta": _agent_words,
    "response.output_audio_transcript.done": _agent_transcript,
    "conversation.item.input_audio_transcription.delta": _caller_words,
    "conversation.item.input_audio_transcription.completed": _caller_transcript,
    "response.output_item.done": _item_done,
    "response.mcp_call.in_progress": lambda fields: McpCallBegun(
        _id(fields, "item_id")
    ),
    "response.mcp_call.completed": lambda fields: McpCallEnded(_id(fields, "item_id")),
    "response.mcp_call.failed": lambda fields: McpCallEnded(_id(fields, "item_id")),
    "mcp_list_tools.failed": lambda fields: McpFailed("", "", "no reason given"),
    "response.done": _response_done,
    "error": lambda fields: service_error(fields.get("error") or fields),
}

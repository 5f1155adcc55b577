"""The configuration of a session: its defaults, and what an update may change."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

from portero.simulator.formats import PCM, PCMA, PCMU, as_object
from portero.simulator.schema import (
    Check,
    Refused,
    anything,
    array,
    boolean,
    either,
    mapping,
    nullable,
    number,
    one_of,
    record,
    shallow,
    tagged,
    text,
)
from portero.simulator.tokens import longest_input, reasons

VOICES = [
    "alloy",
    "ash",
    "ballad",
    "coral",
    "echo",
    "sage",
    "shimmer",
    "verse",
    "marin",
    "cedar",
]

DEFAULT_INSTRUCTIONS = "You are a helpful, witty, and friendly AI."

FORMAT = tagged(
    {
        PCM: record({"type": anything, "rate": one_of(24000)}),
        PCMU: record({"type": anything}),
        PCMA: record({"type": anything}),
    }
)
VOICE = either(dict, record({"id": text(200, 1)}, ["id"]), one_of(*VOICES))
TOKENS = either(str, one_of("inf"), number(1, 4096, whole=True))
MODALITIES = array(one_of("audio", "text"), longest=1, shortest=1)
REASONING = record({"effort": one_of("minimal", "low", "medium", "high", "xhigh")})
PROMPT = nullable(
    record(
        {
            "id": text(),
            "version": nullable(text()),
            "variables": nullable(mapping(shallow)),
        },
        ["id"],
    )
)
_MCP = (
    "authorization",
    "headers",
    "allowed_tools",
    "require_approval",
    "connector_id",
    "defer_loading",
    "allowed_callers",
    "tunnel_id",
)
TOOL = tagged(
    {
        "function": record(
            {
                "type": anything,
                "name": text(64, 1),
                "description": text(),
                "parameters": mapping(shallow),
            },
            ["name"],
        ),
        "mcp": record(
            {
                "type": anything,
                **dict.fromkeys(_MCP, shallow),
                "server_label": text(),
                "server_url": text(),
                "server_description": text(),
            },
            ["server_label"],
        ),
    }
)
TOOLS = array(TOOL, longest=128)
TOOL_CHOICE = either(
    dict,
    tagged(
        {
            "function": record({"type": anything, "name": text()}, ["name"]),
            "mcp": record(
                {"type": anything, "server_label": text(), "name": nullable(text())},
                ["server_label"],
            ),
        }
    ),
    one_of("auto", "none", "required"),
)
_TURNS: dict[str, Check] = {
    "type": anything,
    "create_response": boolean,
    "interrupt_response": boolean,
}
TURN_DETECTION = tagged(
    {
        "server_vad": record(
            {
                **_TURNS,
                "threshold": number(0, 1),
                "prefix_padding_ms": number(0, 10_000, whole=True),
                "silence_duration_ms": number(0, 60_000, whole=True),
                "idle_timeout_ms": nullable(number(5000, 30_000, whole=True)),
            }
        ),
        "semantic_vad": record(
            {**_TURNS, "eagerness": one_of("low", "medium", "high", "auto")}
        ),
    }
)
TRANSCRIPTION = record(
    {
        "model": text(),
        "language": text(20),
        "languages": array(text(20)),
        "keywords": array(text()),
        "prompt": text(),
        "delay": one_of("minimal", "low", "medium", "high", "xhigh"),
    }
)
SESSION = record(
    {
        "type": one_of("realtime"),
        "model": text(),
        "output_modalities": MODALITIES,
        "instructions": text(),
        "max_output_tokens": TOKENS,
        "audio": record(
            {
                "input": record(
                    {
                        "format": FORMAT,
                        "noise_reduction": nullable(
                            record(
                                {
                                    "type": one_of("near_field", "far_field"),
                                    "strength": number(0, 1),
                                }
                            )
                        ),
                        "transcription": nullable(TRANSCRIPTION),
                        "turn_detection": nullable(TURN_DETECTION),
                    }
                ),
                "output": record(
                    {"format": FORMAT, "voice": VOICE, "speed": number(0.25, 1.5)}
                ),
            }
        ),
        "tools": TOOLS,
        "tool_choice": TOOL_CHOICE,
        "parallel_tool_calls": boolean,
        "reasoning": REASONING,
        "truncation": either(
            dict,
            record(
                {
                    "type": one_of("retention_ratio"),
                    "retention_ratio": number(0, 1),
                    "token_limits": record(
                        {"post_instructions": number(0, 1_000_000, whole=True)}
                    ),
                },
                ["type", "retention_ratio"],
            ),
            one_of("auto", "disabled"),
        ),
        "tracing": nullable(
            either(
                dict,
                record(
                    {
                        "workflow_name": text(),
                        "group_id": text(),
                        "metadata": mapping(shallow),
                    }
                ),
                one_of("auto"),
            )
        ),
        "include": nullable(array(one_of("item.input_audio_transcription.logprobs"))),
        "prompt": PROMPT,
    },
    ["type"],
)

TURN_DEFAULTS: dict[str, dict[str, object]] = {
    "server_vad": {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    },
    "semantic_vad": {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    },
}

TRANSCRIBERS = {
    "languages": re.compile("gpt-(live-)?transcribe"),
    "keywords": re.compile("gpt-(live-)?transcribe"),
    "prompt": re.compile("(?!gpt-realtime-whisper|gpt-4o-transcribe-diarize)"),
    "delay": re.compile("gpt-realtime-whisper"),
}
"""The models of transcription that know a setting, where not all do."""

OWN_SETTINGS = (
    "instructions",
    "output_modalities",
    "tools",
    "tool_choice",
    "max_output_tokens",
)
"""What a response may have different from its session, besides the output's audio."""


def defaults(session_id: str, model: str, expires_at: int) -> dict[str, Any]:
    """
    @param expires_at: In Unix seconds.
    @return: The session object as C{session.created} tells it.
    """
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": session_id,
        "model": model,
        "expires_at": expires_at,
        "output_modalities": ["audio"],
        "instructions": DEFAULT_INSTRUCTIONS,
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "truncation": "auto",
        "tracing": None,
        "prompt": None,
        "include": None,
        "audio": {
            "input": {
                "format": as_object(PCM),
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": dict(TURN_DEFAULTS["server_vad"]),
            },
            "output": {"format": as_object(PCM), "voice": "marin", "speed": 1.0},
        },
    }


def updated(
    config: dict[str, Any], patch: dict[str, Any], spoken: bool, busy: bool
) -> dict[str, Any]:
    """
    @param config: The present configuration; it is left as it is.
    @param patch: C{session} of the update, already through L{SESSION}.
    @param spoken: Whether the agent has been heard: its voice is fixed then.
    @param busy: Whether a response is being made: the speed is fixed meanwhile.
    @return: The new configuration: only what the patch names is different.
    @raise Refused: The update asks for something that cannot be had.
    """
    new = deepcopy(config)
    audio = patch.get("audio", {})
    plain = {key: value for key, value in patch.items() if key not in ("audio", "type")}
    plain["model"] = config["model"]  # may be named, cannot change
    _check_model(config["model"], patch)
    if (
        config["tracing"] is not None
        and patch.get("tracing", config["tracing"]) != (config["tracing"])
    ):
        raise Refused(
            "invalid_value",
            "Tracing cannot be changed once it is enabled.",
            "session.tracing",
        )
    new.update(deepcopy(plain))
    for side in ("input", "output"):
        part = deepcopy(audio.get(side, {}))
        if "format" in part:
            part["format"] = as_object(part["format"]["type"])
        if part.get("turn_detection") is not None:
            part["turn_detection"] = _turns(
                new["audio"]["input"]["turn_detection"], part["turn_detection"]
            )
        new["audio"][side].update(part)
    _check_transcription(new["audio"]["input"])
    old = config["audio"]["output"]
    _check_voice(old, audio.get("output", {}), spoken, "session")
    if busy and new["audio"]["output"]["speed"] != old["speed"]:
        raise Refused(
            "invalid_value",
            "The speed cannot be changed while a response is in progress.",
            "session.audio.output.speed",
        )
    return new


def for_response(
    config: dict[str, Any], asked: dict[str, Any], spoken: bool
) -> dict[str, Any]:
    """
    @param config: Of the session; it is left as it is.
    @param asked: C{response} of the request, already through L{vocabulary.RESPONSE}.
    @param spoken: As for L{updated}.
    @return: The configuration for one response.
    @raise Refused: It asks for another voice in mid-conversation.
    """
    own = {key: asked[key] for key in OWN_SETTINGS if key in asked}
    output = asked.get("audio", {}).get("output", {})
    old = config["audio"]["output"]
    _check_voice(old, output, spoken, "response")
    return {
        **config,
        **own,
        "audio": {**config["audio"], "output": {**old, **output}},
    }


def _check_voice(
    old: dict[str, Any], new: dict[str, Any], spoken: bool, where: str
) -> None:
    if spoken and new.get("voice", old["voice"]) != old["voice"]:
        raise Refused(
            "cannot_update_voice",
            "Cannot update a conversation's voice if assistant audio is present.",
            f"{where}.audio.output.voice",
        )


def _turns(old: dict[str, Any] | None, patch: dict[str, Any]) -> dict[str, Any]:
    if old is None or old["type"] != patch["type"]:
        old = TURN_DEFAULTS[patch["type"]]
    return {**old, **patch}


def _check_model(model: str, patch: dict[str, Any]) -> None:
    """
    Refuse what only the reasoning models know, and what is too much for this one.
    """
    for name in ("reasoning", "parallel_tool_calls"):
        if name in patch and not reasons(model):
            raise Refused(
                "unsupported_parameter",
                f"Unsupported parameter: '{name}' is not supported with this model.",
                f"session.{name}",
            )
    truncation, most = patch.get("truncation"), longest_input(model)
    limits = truncation.get("token_limits", {}) if isinstance(truncation, dict) else {}
    if limits.get("post_instructions", 0) > most:
        raise Refused(
            "integer_above_max_value",
            f"Expected a value <= {most}: this model cannot read more tokens.",
            "session.truncation.token_limits.post_instructions",
        )


def _check_transcription(audio_input: dict[str, Any]) -> None:
    """
    Refuse combinations of settings that exclude each other.
    """
    asked = audio_input["transcription"] or {}
    where = "session.audio.input.transcription"
    model = asked.get("model", "")
    if "language" in asked and "languages" in asked:
        raise Refused(
            "invalid_value", "Give 'language' or 'languages', not both.", where
        )
    for name, knows in TRANSCRIBERS.items():
        if name in asked and model and not knows.match(model):
            raise Refused(
                "unsupported_parameter",
                f"Unsupported parameter: '{name}' is not supported with {model}.",
                f"{where}.{name}",
            )

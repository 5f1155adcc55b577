"""What the service is told about a conversation at its start."""

from __future__ import annotations

import re
from typing import Final

from portero.interfaces import Brief, Truncation, TurnDetection
from portero.wire import openai_commands as commands

DOES_NOT_REASON: Final = re.compile(
    r"gpt-4o-.*|gpt-realtime(-mini|-1\.5)?(-20\d\d-\d\d-\d\d)?"
)
"""OpenAI's models that refuse a reasoning effort. Others may go by any name."""


def reasons(model: str) -> bool:
    """Whether a model can be told how much to think, as far as is known."""
    return not DOES_NOT_REASON.fullmatch(model)


def session_settings(
    brief: Brief, input_format: str, output_format: str
) -> commands.SessionSettings:
    """What of a brief concerns the session: all of it, except for the history."""
    told = brief.transcription
    return commands.SessionSettings(
        instructions=brief.instructions,
        voice=brief.voice,
        input_format=input_format,
        output_format=output_format,
        turn_detection=_turn_detection(brief.turn_detection),
        transcription=commands.Transcription(told.model, told.languages, told.keywords)
        if told.model
        else None,
        noise_reduction=brief.noise_reduction,
        speed=brief.speed,
        tools=tuple(
            commands.FunctionTool(tool.name, tool.description, tool.parameters)
            for tool in brief.tools
        ),
        mcp=tuple(
            commands.McpTool(
                server.name,
                server.url,
                server.description,
                server.tools,
                server.authorization,
            )
            for server in brief.mcp
        ),
        reasoning_effort=brief.reasoning_effort if reasons(brief.model) else "",
        max_output_tokens=brief.max_output_tokens,
        truncation=_truncation(brief.truncation),
    )


def _turn_detection(
    wanted: TurnDetection,
) -> commands.ServerVad | commands.SemanticVad | None:
    if wanted.kind == "none":
        return None
    if wanted.kind == "semantic_vad":
        return commands.SemanticVad(
            wanted.eagerness, wanted.interrupt_response, wanted.create_response
        )
    return commands.ServerVad(
        threshold=wanted.threshold,
        prefix_padding_ms=wanted.prefix_ms,
        silence_duration_ms=wanted.silence_ms,
        idle_timeout_ms=wanted.idle_timeout_ms,
        interrupt_response=wanted.interrupt_response,
        create_response=wanted.create_response,
    )


def _truncation(wanted: Truncation) -> commands.RetentionRatio | str:
    if wanted.kind == "retention_ratio":
        return commands.RetentionRatio(wanted.retention_ratio, wanted.context_tokens)
    return wanted.kind

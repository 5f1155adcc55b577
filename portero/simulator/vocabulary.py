"""Every event a client may send, and the items in them: their exact shape."""

from __future__ import annotations

from portero.simulator.schema import (
    Check,
    anything,
    array,
    boolean,
    mapping,
    nullable,
    number,
    one_of,
    record,
    tagged,
    text,
)
from portero.simulator.settings import (
    FORMAT,
    MODALITIES,
    PROMPT,
    REASONING,
    SESSION,
    TOKENS,
    TOOL_CHOICE,
    TOOLS,
    VOICE,
)

APPEND_LIMIT = 15 * 1024 * 1024
"""Bytes of base64 in one append."""

_ITEM: dict[str, Check] = {
    "type": anything,
    "id": text(64, 1),
    "object": one_of("realtime.item"),
    "status": one_of("completed", "incomplete", "in_progress"),
}
_TEXT = {"type": anything, "text": text()}


def _message(role: str, content: dict[str, Check]) -> Check:
    fields = {**_ITEM, "role": one_of(role), "content": array(tagged(content), 100)}
    return record(fields, ["role", "content"])


MESSAGE = tagged(
    {
        "user": _message(
            "user",
            {
                "input_text": record(_TEXT, ["text"]),
                "input_audio": record(
                    {"type": anything, "audio": text(), "transcript": nullable(text())},
                    ["audio"],
                ),
                "input_image": record(
                    {
                        "type": anything,
                        "image_url": text(),
                        "detail": one_of("auto", "low", "high"),
                    },
                    ["image_url"],
                ),
            },
        ),
        # An assistant's audio cannot be created, and `text` is the beta's word.
        "assistant": _message("assistant", {"output_text": record(_TEXT, ["text"])}),
        "system": _message("system", {"input_text": record(_TEXT, ["text"])}),
    },
    tag="role",
)
_ITEMS: dict[str, Check] = {
    "message": MESSAGE,
    "function_call": record(
        {**_ITEM, "call_id": text(64, 1), "name": text(64, 1), "arguments": text()},
        ["name", "arguments"],
    ),
    "function_call_output": record(
        {**_ITEM, "call_id": text(64, 1), "output": text()}, ["call_id", "output"]
    ),
    "mcp_approval_response": record(
        {
            "type": anything,
            "id": text(64, 1),
            "approval_request_id": text(),
            "approve": boolean,
            "reason": nullable(text()),
        },
        ["approval_request_id", "approve"],
    ),
}
ITEM = tagged(_ITEMS)
REFERENCE = record({"type": anything, "id": text(64, 1)}, ["id"])

RESPONSE = record(
    {
        "instructions": text(),
        "output_modalities": MODALITIES,
        "audio": record({"output": record({"format": FORMAT, "voice": VOICE})}),
        "tools": TOOLS,
        "tool_choice": TOOL_CHOICE,
        "parallel_tool_calls": boolean,
        "reasoning": REASONING,
        "max_output_tokens": TOKENS,
        "metadata": nullable(mapping(text(512), most=16, longest_key=64)),
        "conversation": one_of("auto", "none"),
        "input": array(tagged({**_ITEMS, "item_reference": REFERENCE})),
        "prompt": PROMPT,
    }
)


def _event(required: dict[str, Check], optional: dict[str, Check]) -> Check:
    fields = {"type": anything, "event_id": text(512), **required, **optional}
    return record(fields, required)


CLIENT_EVENT = tagged(
    {
        "session.update": _event({"session": SESSION}, {}),
        "input_audio_buffer.append": _event({"audio": text(APPEND_LIMIT)}, {}),
        "input_audio_buffer.commit": _event({}, {}),
        "input_audio_buffer.clear": _event({}, {}),
        "conversation.item.create": _event(
            {"item": ITEM}, {"previous_item_id": nullable(text(64))}
        ),
        "conversation.item.truncate": _event(
            {
                "item_id": text(64),
                "content_index": number(0, 1000, whole=True),
                "audio_end_ms": number(0, 2**31, whole=True),
            },
            {},
        ),
        "conversation.item.delete": _event({"item_id": text(64)}, {}),
        "conversation.item.retrieve": _event({"item_id": text(64)}, {}),
        "response.create": _event({}, {"response": RESPONSE}),
        "response.cancel": _event({}, {"response_id": text(64)}),
    }
)
"""C{output_audio_buffer.clear} is missing on purpose: WebRTC and SIP only."""

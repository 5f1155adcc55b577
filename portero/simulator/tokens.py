"""What the service counts: tokens of text and of sound."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

CALLER_TOKENS_A_SECOND = 10
AGENT_TOKENS_A_SECOND = 20
CHARACTERS_A_TOKEN = 4

LONGEST_REPLY = 4096
"""Tokens that a model's window must have left for its answer."""


def text_tokens(words: str) -> int:
    """
    @return: About how many tokens a text has.
    """
    return -(-len(words) // CHARACTERS_A_TOKEN)


def reasons(model: str) -> bool:
    """
    @return: Whether it is a reasoning model; C{gpt-realtime-2025-08-28} is none.
    """
    return re.match(r"gpt-realtime-2(?!\d)", model) is not None


def longest_input(model: str) -> int:
    """
    @return: Tokens that a model can read.
    """
    return (128_000 if reasons(model) else 32_000) - LONGEST_REPLY


class Read(NamedTuple):
    """What a model read for one response, and what of it came from the cache."""

    text: int
    audio: int
    cached_text: int = 0
    cached_audio: int = 0


def usage(read: Read, out_text: int, out_audio: int) -> dict[str, Any]:
    """
    @return: C{usage} of C{response.done}.
    """
    read_all, made_all = read.text + read.audio, out_text + out_audio
    return {
        "total_tokens": read_all + made_all,
        "input_tokens": read_all,
        "output_tokens": made_all,
        "input_token_details": {
            "text_tokens": read.text,
            "audio_tokens": read.audio,
            "image_tokens": 0,
            "cached_tokens": read.cached_text + read.cached_audio,
            "cached_tokens_details": {
                "text_tokens": read.cached_text,
                "audio_tokens": read.cached_audio,
                "image_tokens": 0,
            },
        },
        "output_token_details": {"text_tokens": out_text, "audio_tokens": out_audio},
    }


def transcription_usage(model: str, voice_ms: float, words: str) -> dict[str, Any]:
    """
    @param model: The newer ones are paid by token, the others by time.
    @return: C{usage} of a transcription.
    """
    if "transcribe" not in model:
        return {"type": "duration", "seconds": voice_ms / 1000}
    heard = round(voice_ms * CALLER_TOKENS_A_SECOND / 1000)
    written = text_tokens(words)
    return {
        "type": "tokens",
        "input_tokens": heard,
        "output_tokens": written,
        "total_tokens": heard + written,
        "input_token_details": {"text_tokens": 0, "audio_tokens": heard},
    }

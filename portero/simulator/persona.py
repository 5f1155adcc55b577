"""What the demo agent says: it greets, parrots, names keys, and says goodbye."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from portero.prompts import WORDS, load
from portero.simulator.conversation import Item
from portero.simulator.formats import duration_ms
from portero.simulator.knobs import Knobs

KEY_NAMES = {"*": "star", "#": "hash"}
KEYS = re.compile(
    r"\b(?:keys?|teclas?|digits?|d[ií]gitos?|dtmf|typed)\b[\s:'\"]*"
    r"([0-9*#](?:(?:\W{0,2}| and )[0-9*#])*)(?!\w)",
    re.IGNORECASE,
)
GAP_MS = 120
"""Between two keys that are named."""

LANGUAGE_WORDS = {
    "en": re.compile(r"\b(?:the|you|are|and|to|of|is|speak|answer|caller|call|be)\b"),
    "es": re.compile(r"\b(?:el|la|los|las|eres|que|usted|con|por|para|una|en|habla)\b"),
}
SPEECH = {"en": "({:.1f} seconds of speech)", "es": "({:.1f} segundos de voz)"}
HANG_UP = "hang_up"

TONE_HZ = 1000
TONE_PEAK = 4000
TONE_RATE = 8000


@dataclass(frozen=True, slots=True)
class Speech:
    """
    Words to be said.

    @ivar pieces: After so many seconds, this PCM; and so on.
    """

    text: str
    rate: int
    pieces: tuple[tuple[float, bytes], ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A function call; the arguments are JSON."""

    name: str
    arguments: str


Output = Speech | Call


def spoken(name: str, language: str) -> Speech:
    """
    @param name: Of a prompt.
    """
    rate, pcm = load(name, language)
    return Speech(WORDS[language][name], rate, ((0.0, pcm),))


def described(audio_ms: float, language: str) -> str:
    """
    @return: An honest transcript for one who cannot understand words.
    """
    words = SPEECH[language].format(audio_ms / 1000)
    return words.replace(".", ",") if language == "es" else words


def tone(ms: int, start_ms: int = 0) -> bytes:
    """
    @param start_ms: Where in a longer tone this piece lies, so that pieces join.
    @return: PCM at L{TONE_RATE}; its level is -21 dBFS.
    """
    first = start_ms * TONE_RATE // 1000
    when = np.arange(first, first + ms * TONE_RATE // 1000) / TONE_RATE
    wave = TONE_PEAK * np.sin(2 * np.pi * TONE_HZ * when)
    return bytes(np.rint(wave).astype("<i2").tobytes())


def tones(reply: Sequence[tuple[float, int]]) -> Speech:
    """
    @param reply: Delays in seconds, each with the ms of tone that follow it.
    """
    pieces, length = [], 0
    for delay, ms in reply:
        pieces.append((delay, tone(ms, length)))
        length += ms
    return Speech(f"({length} ms of tone)", TONE_RATE, tuple(pieces))


def language_of(config: dict[str, Any], wanted: str) -> str:
    """
    @param config: The session; its transcription's languages decide first.
    @param wanted: The operator's choice, which is next. English, what one gets without
        choosing, gives way to instructions in another language.
    """
    asked = config["audio"]["input"]["transcription"] or {}
    for tag in (asked.get("language", ""), *asked.get("languages", ())):
        if tag[:2].lower() in WORDS:
            return str(tag[:2].lower())
    if wanted != "en":
        return wanted
    instructions = config["instructions"].lower()
    counts = {
        language: len(known.findall(instructions))
        for language, known in LANGUAGE_WORDS.items()
    }
    return "es" if counts["es"] > counts["en"] else "en"


def pressed(text: str) -> str:
    """
    @return: The keys that a text says were typed, such as C{5} or C{12#}.
    """
    found = KEYS.search(text)
    return re.sub(r"[^0-9*#]", "", found[1]) if found else ""


def named(keys: str, language: str) -> Speech:
    """
    @return: The names of keys, one after the other.
    """
    rate, _ = load("0", language)
    gap = bytes(rate * GAP_MS // 1000 * 2)
    names = [KEY_NAMES.get(key, key) for key in keys]
    pcm = gap.join(load(name, language)[1] for name in names)
    words = " ".join(WORDS[language][name] for name in names)
    return Speech(words, rate, ((0.0, pcm),))


def plan(
    items: Sequence[Item], config: dict[str, Any], knobs: Knobs, language: str
) -> list[Output]:
    """
    Decide what to say and do.

    @param items: What is to be answered, oldest first.
    @param config: The session, with the settings of this response.
    """
    item = _unanswered(items)
    choice = config["tool_choice"]
    tools = [tool for tool in config["tools"] if tool["type"] == "function"]
    if choice == "none":
        tools = []
    elif choice != "auto" and tools:
        named_tool = choice["name"] if isinstance(choice, dict) else tools[0]["name"]
        return [Call(named_tool, "{}")]
    if knobs.reply is not None:
        outputs: list[Output] = [tones(knobs.reply)]
    elif item is None:
        known = any(entry.role in ("user", "assistant") for entry in items)
        outputs = [spoken("listening" if known else "greeting", language)]
    else:
        outputs = _answer(item, tools, language)
    if knobs.words:
        outputs = [
            replace(output, text=knobs.words) if isinstance(output, Speech) else output
            for output in outputs
        ]
    forced = knobs.function_call
    if forced and not (item and item.kind == "function_call_output"):
        outputs.append(Call(*forced))
    return outputs


def _unanswered(items: Sequence[Item]) -> Item | None:
    """
    @return: The newest item of the caller's side, unless the agent spoke since.
    """
    for item in reversed(items):
        if item.role == "user" or item.kind == "function_call_output":
            return item
        if item.role == "assistant" or item.kind == "function_call":
            return None
    return None


def _answer(item: Item, tools: Sequence[dict[str, Any]], language: str) -> list[Output]:
    """
    @param tools: The functions that may be called.
    """
    if item.kind == "function_call_output":
        return [spoken("done", language)]
    if item.idle:
        return [spoken("still_there", language)]
    if item.pcm:
        length = duration_ms(item.pcm, item.rate)
        return [Speech(described(length, language), item.rate, ((0.0, item.pcm),))]
    keys = pressed(item.text)
    if not keys:
        return [spoken("listening", language)]
    number = keys.removesuffix("#")
    outputs: list[Output] = [named(number, language)] if number else []
    if number == keys:
        return outputs
    outputs.append(spoken("goodbye", language))
    for tool in tools:
        if tool["name"] == HANG_UP:
            needed = tool.get("parameters", {}).get("required", ())
            values = dict.fromkeys(needed, "The caller pressed #.")
            outputs.append(Call(HANG_UP, json.dumps(values)))
    return outputs

"""What was said so far: the items of a session, in order."""

from __future__ import annotations

import itertools
import json
import secrets
from base64 import b64decode
from dataclasses import dataclass
from typing import Any

from portero.simulator.formats import DECODE, RATES, duration_ms
from portero.simulator.schema import Refused
from portero.simulator.tokens import (
    AGENT_TOKENS_A_SECOND,
    CALLER_TOKENS_A_SECOND,
    Read,
    longest_input,
    text_tokens,
)


class Names:
    """Makes ids that no other session has."""

    def __init__(self) -> None:
        self._own = secrets.token_hex(6)
        self._counter = itertools.count(1)

    def new(self, prefix: str) -> str:
        return f"{prefix}_{self._own}{next(self._counter):05d}"


@dataclass(slots=True, eq=False)
class Item:
    """
    One entry of a conversation.

    @ivar body: The item as the protocol writes it; audio itself is never in it.
    @ivar audio_ms: Its sound: a caller's turn, or what was sent of a reply.
    @ivar pcm: The sound of a caller's turn, kept for the newest one only.
    @ivar rate: Of C{pcm}, in Hz.
    @ivar idle: The caller said nothing: the idle timeout made this item.
    @ivar forgotten: The model reads it no more: its context was full.
    """

    body: dict[str, Any]
    audio_ms: float = 0.0
    pcm: bytes = b""
    rate: int = 8000
    idle: bool = False
    forgotten: bool = False

    @property
    def id(self) -> str:
        return str(self.body["id"])

    @property
    def kind(self) -> str:
        return str(self.body["type"])

    @property
    def role(self) -> str:
        return str(self.body.get("role", ""))

    @property
    def text(self) -> str:
        """All words that are written in it."""
        parts = self.body.get("content", ())
        return " ".join(p.get("text") or p.get("transcript") or "" for p in parts)

    def tokens(self) -> tuple[int, int]:
        """
        @return: About how many of text and of audio.
        """
        rate = (
            AGENT_TOKENS_A_SECOND
            if self.role == "assistant"
            else CALLER_TOKENS_A_SECOND
        )
        words = self.text or self.body.get("arguments") or self.body.get("output") or ""
        return text_tokens(words), round(self.audio_ms * rate / 1000)


def decoded(audio: str, param: str) -> bytes:
    """
    @param audio: Base64.
    @raise Refused: It is not; C{param} is named.
    """
    try:
        return b64decode(audio, validate=True)
    except ValueError:
        raise Refused(
            "invalid_value", f"Invalid '{param}': not base64.", param
        ) from None


class Conversation:
    """The items in order; L{Refused} for what does not exist."""

    def __init__(self, names: Names) -> None:
        self.id = names.new("conv")
        self._names = names
        self.items: list[Item] = []
        self._cached = (0, 0)

    def make(self, body: dict[str, Any], format: str) -> Item:
        """
        @param body: An item of the client, through L{vocabulary.ITEM}.
        @param format: Of audio in it.
        @return: The item, which is not yet part of the conversation.
        @raise Refused: Its id is taken, its call is unknown, or its audio is broken.
        """
        body = {
            "id": self._names.new("item"),
            "object": "realtime.item",
            "status": "completed",
            **body,
        }
        if self.has(body["id"]):
            raise Refused(
                "item_create_duplicate_id",
                f"Error adding item: the item with id '{body['id']}' already exists.",
                "item.id",
            )
        if body["type"] == "function_call":
            body.setdefault("call_id", self._names.new("call"))
        elif body["type"] == "function_call_output":
            self._check_call(body["call_id"])
        elif body["type"] == "mcp_approval_response":
            del body["object"], body["status"]
        pcm = b""
        for index, part in enumerate(body.get("content", ())):
            if part["type"] == "input_audio":
                pcm += DECODE[format](decoded(part["audio"], "item.content.audio"))
                body["content"] = list(body["content"])
                body["content"][index] = {
                    "type": "input_audio",
                    "transcript": part.get("transcript"),
                }
        pcm = pcm[: len(pcm) & ~1]
        return Item(body, duration_ms(pcm, RATES[format]), pcm, RATES[format])

    def _check_call(self, call_id: str) -> None:
        for item in self.items:
            if item.kind == "function_call" and item.body["call_id"] == call_id:
                return
        raise Refused(
            "invalid_tool_call_id",
            f"Tool call ID '{call_id}' not found in conversation.",
            "item.call_id",
        )

    def truncate(self, id: str, content_index: int, end_ms: int) -> None:
        """
        Cut a reply to what was heard of it; its words are forgotten, too.

        @raise Refused: It is no reply, or not that long.
        """
        item = self.find(id, "truncate")
        if item.role != "assistant":
            raise Refused(
                "invalid_value",
                "Only model output audio messages can be truncated.",
                "item_id",
            )
        if content_index != 0:
            raise Refused(
                "invalid_value", "There is no such content part.", "content_index"
            )
        if end_ms > item.audio_ms:
            raise Refused(
                "invalid_value",
                f"Audio content of {item.audio_ms:.0f}ms is already shorter than "
                f"{end_ms}ms",
                "audio_end_ms",
            )
        item.audio_ms = end_ms
        item.body["content"] = [{"type": "output_audio", "transcript": ""}]

    def add(self, item: Item, after: str | None = None) -> str | None:
        """
        @param after: The id to stand behind, C{root} for the front, None for the end.
        @return: The id of the item before it.
        """
        place = len(self.items)
        if after == "root":
            place = 0
        elif after is not None:
            place = self.items.index(self.find(after, "create")) + 1
        self.items.insert(place, item)
        if item.pcm:
            for other in self.items:
                if other is not item:
                    other.pcm = b""
        return self.before(item)

    def before(self, item: Item) -> str | None:
        """
        @return: The id of the item before one that is in the conversation.
        """
        place = self.items.index(item)
        return self.items[place - 1].id if place else None

    def has(self, id: str) -> bool:
        return any(item.id == id for item in self.items)

    def find(self, id: str, why: str = "retrieve") -> Item:
        """
        @param why: C{retrieve}, C{truncate} or C{create}: it is in the error's code.
        """
        for item in self.items:
            if item.id == id:
                return item
        raise Refused(
            f"item_{why}_invalid_item_id",
            f"Error: the item with id '{id}' does not exist.",
            "previous_item_id" if why == "create" else "item_id",
        )

    def remove(self, id: str) -> None:
        self.items.remove(self.find(id))

    def read(self, config: dict[str, Any]) -> Read:
        """
        Let the model read all, for one response; what the last one read, it has from
        the cache now.

        @param config: With the settings that are in force.
        """
        words = config["instructions"]
        if config["tools"]:
            words += json.dumps(config["tools"])
        told = text_tokens(words)
        if self._forget(config, told):
            self._cached = min(self._cached[0], told), 0  # a cache knows beginnings
        counts = [item.tokens() for item in self.items if not item.forgotten]
        text = told + sum(count[0] for count in counts)
        audio = sum(count[1] for count in counts)
        cached, self._cached = self._cached, (text, audio)
        return Read(text, audio, min(cached[0], text), min(cached[1], audio))

    def _forget(self, config: dict[str, Any], told: int) -> bool:
        """
        Truncate: forget the oldest items when there are too many tokens in them.

        @param told: Tokens of the instructions, which stay.
        @return: Whether something was forgotten.
        """
        how, most = config["truncation"], longest_input(config["model"]) - told
        kept_share = 1.0
        if isinstance(how, dict):
            limits = how.get("token_limits", {})
            most = limits.get("post_instructions", most)
            kept_share = how["retention_ratio"]
        kept = [item for item in self.items if not item.forgotten]
        size = sum(sum(item.tokens()) for item in kept)
        if size <= most or how == "disabled":
            return False
        for item in kept[:-1]:  # the newest is what is to be answered
            if size <= most * kept_share:
                break
            item.forgotten = True
            size -= sum(item.tokens())
        return len(kept) > 1

"""
The service's side of the protocol for one connection.

Pure: decoded events go in with the time, events come out. The order of what is sent
follows the real service; what it refuses, and with which code, too.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from portero.simulator.conversation import Conversation, Item, Names, decoded
from portero.simulator.formats import as_object, duration_ms
from portero.simulator.hearing import Hearing
from portero.simulator.knobs import Knobs
from portero.simulator.persona import described, language_of, plan
from portero.simulator.response import Asked, Event, Response
from portero.simulator.schema import Refused
from portero.simulator.settings import defaults, for_response, updated
from portero.simulator.tokens import transcription_usage
from portero.simulator.vad import Started
from portero.simulator.vocabulary import CLIENT_EVENT

TRANSCRIPTION_S = 0.2
"""From a committed turn to its transcript."""
SHORTEST_COMMIT_MS = 100
LEAD_MS, TAIL_MS = 100, 160
"""Kept of a parroted turn before its first and after its last sound."""


class Session:
    """
    One conversation with one client.

    @ivar knobs: May be changed at any time.
    @ivar config: The configuration in force, as C{session.updated} tells it.
    @ivar truncations: Item and C{audio_end_ms} of every truncation done.
    """

    def __init__(
        self, knobs: Knobs, model: str, language: str, expires_at: int
    ) -> None:
        """
        @param language: C{en} or C{es}: what to speak when the client does not say.
        @param expires_at: In Unix seconds; the caller of this closes then.
        """
        self.knobs = knobs
        self.names = Names()
        self.config = defaults(self.names.new("sess"), model, expires_at)
        self.conversation = Conversation(self.names)
        self.hearing = Hearing()
        self.hearing.tape_s = knobs.keep_s
        self.truncations: list[tuple[str, int]] = []
        self._language = language
        self._spoken = False
        self._configure()
        self._active: Response | None = None
        self._aside: list[Response] = []
        self._later: list[tuple[float, int, Event]] = []
        self._count = itertools.count()
        self._idle_at: float | None = None
        self._next_item = self.names.new("item")
        self._turn_start_ms = 0.0
        self._handlers: dict[str, Callable[[Event, float], list[Event]]] = {
            "session.update": self._session_update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
            "conversation.item.create": self._item_create,
            "conversation.item.truncate": self._item_truncate,
            "conversation.item.delete": self._item_delete,
            "conversation.item.retrieve": self._item_retrieve,
            "response.create": self._response_create,
            "response.cancel": self._response_cancel,
        }

    @property
    def due(self) -> float | None:
        """When L{advance} has something to do; None when it has not."""
        times = [response.due for response in self._running()]
        times.append(self._idle_at)
        if self._later:
            times.append(self._later[0][0])
        return min((time for time in times if time is not None), default=None)

    @property
    def _input_format(self) -> str:
        return str(self.config["audio"]["input"]["format"]["type"])

    @property
    def language(self) -> str:
        """What the agent speaks: the client's settings may change it."""
        return language_of(self.config, self._language)

    def begin(self) -> list[Event]:
        """
        @return: The first events of a connection.
        """
        return self._shown([self._event("session.created", session=self.config)])

    def receive(self, event: object, now: float) -> list[Event]:
        """
        @param event: A client's message, decoded: whatever it was.
        @param now: On any clock, the same one always.
        @return: The answers that are due at once.
        """
        asked_id = event.get("event_id") if isinstance(event, dict) else None
        try:
            CLIENT_EVENT(event, "")
            assert isinstance(event, dict), "the check lets only objects pass"
            answers = self._handlers[event["type"]](event, now)
        except Refused as refused:
            known_id = asked_id if isinstance(asked_id, str) else None
            answers = [self.error(refused, known_id)]
        return self._shown(answers) + self.advance(now)

    def advance(self, now: float) -> list[Event]:
        """
        @return: All that is due by now.
        """
        events: list[Event] = []
        for response in self._running():
            events += self._advanced(response, now)
        while self._later and self._later[0][0] <= now:
            events.append(heapq.heappop(self._later)[2])
        if self._idle_at is not None and self._idle_at <= now:
            events += self._idle(now)
        return self._shown(events)

    def error(self, refused: Refused, event_id: str | None = None) -> Event:
        """
        @param event_id: Of the client's event, when it had one.
        @return: The C{error} event.
        """
        error = {
            "type": refused.kind,
            "code": refused.code,
            "message": refused.message,
            "param": refused.param,
            "event_id": event_id,
        }
        return self._event("error", error=error)

    # Session

    def _session_update(self, event: Event, now: float) -> list[Event]:
        code, self.knobs = (
            self.knobs.update_error,
            replace(self.knobs, update_error=None),
        )
        if code:
            raise Refused.by_code(code)
        self.config = updated(
            self.config, event["session"], self._spoken, bool(self._active)
        )
        self._configure()
        told = self.config
        if self.knobs.claimed_format:
            format = as_object(self.knobs.claimed_format)
            audio = {k: {**v, "format": format} for k, v in told["audio"].items()}
            told = {**told, "audio": audio}
        return [self._event("session.updated", session=told)]

    def _configure(self) -> None:
        turns = self.config["audio"]["input"]["turn_detection"]
        if turns != self.hearing.turns:
            self._idle_at = None
        self.hearing.configure(self._input_format, turns)

    # The caller's audio

    def _append(self, event: Event, now: float) -> list[Event]:
        events: list[Event] = []
        for change in self.hearing.append(decoded(event["audio"], "audio")):
            if isinstance(change, Started):
                events += self._speech_started(change.start_ms, now)
            else:
                events.append(
                    self._event(
                        "input_audio_buffer.speech_stopped",
                        audio_end_ms=change.end_ms,
                        item_id=self._next_item,
                    )
                )
                pcm = self.hearing.take(
                    max(self._turn_start_ms, change.voice_start_ms - LEAD_MS),
                    min(change.end_ms, change.voice_end_ms + TAIL_MS),
                )
                events += self._committed(pcm, change.end_ms - self._turn_start_ms, now)
                events += self._auto_response(now)
        return events

    def _speech_started(self, start_ms: int, now: float) -> list[Event]:
        self._idle_at = None
        self._turn_start_ms = start_ms
        events = [
            self._event(
                "input_audio_buffer.speech_started",
                audio_start_ms=start_ms,
                item_id=self._next_item,
            )
        ]
        turns = self.hearing.turns or {}
        if self._active and turns["interrupt_response"] and self.knobs.auto_cancel:
            events += self._cancelled(self._active, "turn_detected", now)
        return events

    def _committed(
        self, pcm: bytes, audio_ms: float, now: float, idle: bool = False
    ) -> list[Event]:
        """
        Make an item of a turn.

        @param pcm: What the agent has of it.
        @param audio_ms: The length of all that was committed.
        """
        content = {"type": "input_audio", "transcript": None}
        body = {
            "id": self._next_item,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [content],
        }
        item = Item(body, audio_ms, pcm, self.hearing.rate, idle)
        self._next_item = self.names.new("item")
        before = self.conversation.add(item)
        events = [
            self._event(
                "input_audio_buffer.committed",
                item_id=item.id,
                previous_item_id=before,
            ),
            *self._told(item, before),
        ]
        if self.config["audio"]["input"]["transcription"] and not idle:
            self._transcribe(item, duration_ms(pcm, item.rate), now)
        return events

    def _transcribe(self, item: Item, voice_ms: float, now: float) -> None:
        words = self.knobs.caller_words or described(voice_ms, self.language)
        item.body["content"] = [{"type": "input_audio", "transcript": words}]
        kind = "conversation.item.input_audio_transcription"
        model = self.config["audio"]["input"]["transcription"].get("model", "")
        place = {"item_id": item.id, "content_index": 0}
        usage = self.knobs.transcription_usage
        usage = usage or transcription_usage(model, voice_ms, words)
        for event in (
            self._event(f"{kind}.delta", **place, delta=words),
            self._event(f"{kind}.completed", **place, transcript=words, usage=usage),
        ):
            when = now + TRANSCRIPTION_S
            heapq.heappush(self._later, (when, next(self._count), event))

    def _commit(self, event: Event, now: float) -> list[Event]:
        length = self.hearing.buffered_ms
        if length < SHORTEST_COMMIT_MS:
            raise Refused(
                "input_audio_buffer_commit_empty",
                "Error committing input audio buffer: buffer too small. Expected at "
                f"least {SHORTEST_COMMIT_MS}ms of audio, but buffer only has "
                f"{length:.2f}ms of audio.",
            )
        return self._committed(self.hearing.take_all(), length, now)

    def _clear(self, event: Event, now: float) -> list[Event]:
        self.hearing.clear()
        return [self._event("input_audio_buffer.cleared")]

    def _idle(self, now: float) -> list[Event]:
        self._idle_at = None
        if self._active or self.hearing.speaking:
            return []
        end = self.hearing.now_ms
        start = max(end - self.hearing.buffered_ms, 0)
        event = self._event(
            "input_audio_buffer.timeout_triggered",
            audio_start_ms=round(start),
            audio_end_ms=round(end),
            item_id=self._next_item,
        )
        committed = self._committed(b"", end - start, now, idle=True)
        answer = self._respond(self.config, self.conversation.items, now)
        return [event, *committed, *answer]

    # The conversation

    def _item_create(self, event: Event, now: float) -> list[Event]:
        item = self.conversation.make(event["item"], self._input_format)
        before = self.conversation.add(item, event.get("previous_item_id"))
        return self._told(item, before)

    def _told(self, item: Item, before: str | None) -> list[Event]:
        return [
            self._event(
                f"conversation.item.{word}",
                item=dict(item.body),
                previous_item_id=before,
            )
            for word in ("added", "done")
        ]

    def _item_truncate(self, event: Event, now: float) -> list[Event]:
        item_id, end = event["item_id"], event["audio_end_ms"]
        self.conversation.truncate(item_id, event["content_index"], end)
        self.truncations.append((item_id, end))
        return [
            self._event(
                "conversation.item.truncated",
                item_id=item_id,
                content_index=0,
                audio_end_ms=end,
            )
        ]

    def _item_delete(self, event: Event, now: float) -> list[Event]:
        self.conversation.remove(event["item_id"])
        return [self._event("conversation.item.deleted", item_id=event["item_id"])]

    def _item_retrieve(self, event: Event, now: float) -> list[Event]:
        item = self.conversation.find(event["item_id"])
        return [self._event("conversation.item.retrieved", item=dict(item.body))]

    # Responses

    def _response_create(self, event: Event, now: float) -> list[Event]:
        asked = event.get("response", {})
        aside = asked.get("conversation") == "none"
        if self._active and not aside:
            raise Refused(
                "conversation_already_has_active_response",
                "Conversation already has an active response in progress: "
                f"{self._active.id}. Wait until the response is finished before "
                "creating a new one.",
            )
        code, self.knobs = (
            self.knobs.create_error,
            replace(self.knobs, create_error=None),
        )
        if code:
            raise Refused.by_code(code)
        config = for_response(self.config, asked, self._spoken)
        items = self.conversation.items
        if "input" in asked:
            items = [
                self.conversation.find(entry["id"])
                if entry["type"] == "item_reference"
                else self.conversation.make(entry, self._input_format)
                for entry in asked["input"]
            ]
        return self._respond(config, items, now, asked.get("metadata"), not aside)

    def _auto_response(self, now: float) -> list[Event]:
        turns = self.hearing.turns
        if self._active or turns is None or not turns["create_response"]:
            return []
        return self._respond(self.config, self.conversation.items, now)

    def _respond(
        self,
        config: Event,
        items: list[Item],
        now: float,
        metadata: dict[str, str] | None = None,
        in_conversation: bool = True,
    ) -> list[Event]:
        """
        Begin a response.

        @param config: With the settings that are for this response alone.
        @param items: What is to be answered: the conversation, or other items.
        @return: Its first events; L{advance} tells the others.
        """
        if not self.knobs.answers:
            return []
        self._idle_at = None
        outputs = plan(items, config, self.knobs, self.language)
        asked = Asked(outputs, config, metadata, in_conversation)
        knobs = self.knobs
        if knobs.text_replies:
            self.knobs = replace(knobs, text_replies=knobs.text_replies - 1)
            knobs = replace(knobs, text_only=True)
        response = Response(self.names, self.conversation, asked, knobs, now)
        if in_conversation:
            self._active = response
        else:
            self._aside.append(response)
        return self._advanced(response, now)

    def _advanced(self, response: Response, now: float) -> list[Event]:
        events = response.advance(now)
        self._spoken = self._spoken or response.audio_ms > 0
        if response.due is None:
            events += self._finished(response, now)
        return events

    def _response_cancel(self, event: Event, now: float) -> list[Event]:
        wanted = event.get("response_id")
        for response in self._running():
            if response.id == wanted or (wanted is None and response is self._active):
                return self._cancelled(response, "client_cancelled", now)
        raise Refused(
            "response_cancel_not_active",
            "Cancellation failed: no active response found",
        )

    def _cancelled(self, response: Response, reason: str, now: float) -> list[Event]:
        events = response.cancel(reason)
        events += self._finished(response, now)
        return events + response.late_audio(self.knobs.late_audio_ms)

    def _finished(self, response: Response, now: float) -> list[Event]:
        if response is self._active:
            self._active = None
            idle_ms = (self.hearing.turns or {}).get("idle_timeout_ms")
            if idle_ms:
                self._idle_at = now + (response.audio_ms + idle_ms) / 1000
        else:
            self._aside.remove(response)
        limits = [
            {
                "name": name,
                "limit": limit,
                "remaining": limit - 1,
                "reset_seconds": 0.06,
            }
            for name, limit in (("requests", 5000), ("tokens", 800_000))
        ]
        return [self._event("rate_limits.updated", rate_limits=limits)]

    def _running(self) -> list[Response]:
        return [*self._aside, self._active] if self._active else list(self._aside)

    # Events

    def _event(self, kind: str, **fields: Any) -> Event:
        return {"type": kind, "event_id": self.names.new("event"), **fields}

    def _shown(self, events: list[Event]) -> list[Event]:
        hidden = self.knobs.hide
        return [event for event in events if event["type"] not in hidden]

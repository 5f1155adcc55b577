"""One response, from C{response.created} to C{response.done}, spread over time."""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

from portero.resample import Resampler
from portero.simulator.conversation import Conversation, Item, Names
from portero.simulator.formats import ENCODE, RATES, as_object
from portero.simulator.knobs import Knobs
from portero.simulator.persona import Call, Output, Speech
from portero.simulator.tokens import AGENT_TOKENS_A_SECOND, text_tokens, usage

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """
    What a response is made of.

    @ivar outputs: What the agent says and does.
    @ivar config: The session's configuration with this response's own settings in it.
    @ivar metadata: Of the request, to tell responses apart.
    @ivar in_conversation: False for an answer that leaves no trace.
    """

    outputs: list[Output]
    config: dict[str, Any]
    metadata: dict[str, str] | None = None
    in_conversation: bool = True


@dataclass(slots=True)
class _Open:
    """The output item that is being sent."""

    item: Item
    index: int
    chunks: Iterator[bytes]
    text: str = ""


class Response:
    """
    The service's side of one response.

    @ivar id: As in all its events.
    @ivar due: When the next event is to be sent; None when all are.
    @ivar audio_ms: The audio sent so far.
    """

    def __init__(
        self,
        names: Names,
        conversation: Conversation,
        asked: Asked,
        knobs: Knobs,
        now: float,
    ) -> None:
        self.id = names.new("resp")
        self.asked = asked
        self.audio_ms = 0.0
        self.due: float | None = now
        self._names = names
        self._conversation = conversation
        self._knobs = knobs
        self._random = random.Random(knobs.seed)
        self._began = now
        self._read = conversation.read(asked.config)
        self._output: list[Item] = []
        self._open: _Open | None = None
        self._text = not self._audible()
        self._format = knobs.sent_format or self._agreed()
        self._limit_ms = float("inf")
        if asked.config["max_output_tokens"] != "inf":
            tokens = asked.config["max_output_tokens"]
            self._limit_ms = tokens * 1000 / AGENT_TOKENS_A_SECOND
        self._script = self._failing() if knobs.response_failed else self._telling()

    def _agreed(self) -> str:
        return str(self.asked.config["audio"]["output"]["format"]["type"])

    def _audible(self) -> bool:
        wanted = self.asked.config["output_modalities"] == ["audio"]
        return wanted and not self._knobs.text_only

    def advance(self, now: float) -> list[Event]:
        """
        @return: The events due by now.
        """
        events: list[Event] = []
        while self.due is not None and self.due <= now:
            step = next(self._script, None)
            if step is None:
                self.due = None
            elif isinstance(step, dict):
                events.append(step)
            else:
                self.due = self._began + step
        return events

    def cancel(self, reason: str) -> list[Event]:
        """
        End it here.

        @param reason: C{turn_detected} or C{client_cancelled}.
        """
        self.due = None
        closing = self._close("incomplete") if self._open else []
        details = {"type": "cancelled", "reason": reason}
        return [*closing, *self._done("cancelled", details)]

    def late_audio(self, ms: int) -> list[Event]:
        """
        @return: Deltas that come although the response was cancelled.
        """
        if self._open is None:
            return []
        count = -(-ms // self._knobs.chunk_ms)
        parts = (next(self._open.chunks, b"") for _ in range(count))
        return [self._delta(self._open, part) for part in parts if part]

    def _telling(self) -> Iterator[Event | float]:
        """
        Events, and between them times since the beginning to wait for.
        """
        yield self._event("response.created", response=self._body("in_progress"))
        at = 0.0 if self._knobs.reply else self._knobs.first_delta_s
        yield at
        for index, output in enumerate(self.asked.outputs):
            if isinstance(output, Call):
                yield from self._calling(index, output)
            elif self._text:
                yield from self._writing(index, output)
            else:
                at = yield from self._speaking(index, output, at)
            if self.audio_ms >= self._limit_ms:
                yield from self._close("incomplete")
                details = {"type": "incomplete", "reason": "max_output_tokens"}
                yield from self._done("incomplete", details)
                return
            yield from self._close("completed")
        yield from self._done("completed", {"type": "completed"})

    def _failing(self) -> Iterator[Event | float]:
        yield self._event("response.created", response=self._body("in_progress"))
        code = self._knobs.response_failed
        details = {
            "type": "failed",
            "error": {"type": code, "code": code, "message": f"Failed: {code}."},
        }
        yield from self._done("failed", details)

    def _speaking(
        self, index: int, speech: Speech, at: float
    ) -> Generator[Event | float, None, float]:
        """
        @return: The time of the end, by way of C{yield from}.
        """
        knobs = self._knobs
        opened = self._add(index, self._message())
        yield from self._opening(opened, {"type": "audio", "transcript": ""})
        words = speech.text.split()
        total = sum(len(pcm) for _, pcm in speech.pieces)
        size = max(speech.rate * knobs.chunk_ms // 1000, 1) * 2
        resampler = Resampler(speech.rate, RATES[self._format])
        encode = ENCODE[self._format]
        done = told = 0
        for delay, pcm in speech.pieces:
            at += delay
            chunks = [pcm[i : i + size] for i in range(0, len(pcm), size)]
            opened.chunks = (encode(resampler.process(part)) for part in chunks)
            for part in chunks:
                yield at + self._random.random() * knobs.jitter_s
                done += len(part)
                say = words[told : -(-len(words) * done // total)]
                if say:
                    told += len(say)
                    text = " ".join(say) if not opened.text else " " + " ".join(say)
                    opened.text += text
                    kind = "response.output_audio_transcript.delta"
                    yield self._part(kind, opened, delta=text)
                data = next(opened.chunks)
                if data:
                    yield self._delta(opened, data)
                if self.audio_ms >= self._limit_ms:
                    return at
                at += len(part) / 2 / speech.rate / knobs.speed
        return at

    def _writing(self, index: int, speech: Speech) -> Iterator[Event | float]:
        opened = self._add(index, self._message())
        yield from self._opening(opened, {"type": "text", "text": ""})
        opened.text = speech.text
        yield self._part("response.output_text.delta", opened, delta=speech.text)

    def _calling(self, index: int, call: Call) -> Iterator[Event | float]:
        body = {
            "type": "function_call",
            "name": call.name,
            "call_id": self._names.new("call"),
            "arguments": "",
        }
        opened = self._add(index, body)
        yield from self._opening(opened, None)
        half = len(call.arguments) // 2
        for piece in (call.arguments[:half], call.arguments[half:]):
            if piece:
                opened.text += piece
                yield self._arguments("delta", opened, delta=piece)

    def _message(self) -> dict[str, Any]:
        return {"type": "message", "role": "assistant", "content": []}

    def _add(self, index: int, body: dict[str, Any]) -> _Open:
        item = Item(
            {
                "id": self._names.new("item"),
                "object": "realtime.item",
                "status": "in_progress",
                **body,
            }
        )
        self._output.append(item)
        self._open = _Open(item, index, iter(()))
        return self._open

    def _opening(
        self, opened: _Open, part: dict[str, str] | None
    ) -> Iterator[Event | float]:
        yield self._item_event("response.output_item.added", opened)
        if self.asked.in_conversation:
            before = self._conversation.add(opened.item)
            yield self._history("conversation.item.added", opened.item, before)
        if part is not None:
            yield self._part("response.content_part.added", opened, part=part)

    def _close(self, status: str) -> list[Event]:
        """
        @return: The closing events of the open item, which is marked so.
        """
        opened = self._open
        assert opened is not None, "an output was just told"
        item, text = opened.item, opened.text
        item.body["status"] = status
        events: list[Event] = []
        if item.kind == "function_call":
            item.body["arguments"] = text
            events.append(
                self._arguments("done", opened, arguments=text, name=item.body["name"])
            )
        elif self._text:
            item.body["content"] = [{"type": "output_text", "text": text}]
            events += [
                self._part("response.output_text.done", opened, text=text),
                self._part(
                    "response.content_part.done",
                    opened,
                    part={"type": "text", "text": text},
                ),
            ]
        else:
            item.body["content"] = [{"type": "output_audio", "transcript": text}]
            kind = "response.output_audio_transcript.done"
            events += [
                self._part("response.output_audio.done", opened),
                self._part(kind, opened, transcript=text),
                self._part(
                    "response.content_part.done",
                    opened,
                    part={"type": "audio", "transcript": text},
                ),
            ]
        events.append(self._item_event("response.output_item.done", opened))
        if self.asked.in_conversation and self._conversation.has(item.id):
            before = self._conversation.before(item)
            events.append(self._history("conversation.item.done", item, before))
        return events

    def _done(self, status: str, details: dict[str, Any]) -> list[Event]:
        out_text = sum(text_tokens(item.text) for item in self._output)
        out_audio = round(self.audio_ms * AGENT_TOKENS_A_SECOND / 1000)
        body = self._body(status)
        body["status_details"] = details
        if status != "failed":
            told = self._knobs.usage
            body["usage"] = told or usage(self._read, out_text, out_audio)
        return [self._event("response.done", response=body)]

    def _body(self, status: str) -> dict[str, Any]:
        config = self.asked.config
        in_conversation = self.asked.in_conversation
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": None,
            "output": [dict(item.body) for item in self._output],
            "conversation_id": self._conversation.id if in_conversation else None,
            "output_modalities": config["output_modalities"],
            "max_output_tokens": config["max_output_tokens"],
            "audio": {
                "output": {
                    "format": as_object(self._agreed()),
                    "voice": config["audio"]["output"]["voice"],
                }
            },
            "usage": None,
            "metadata": self.asked.metadata,
        }

    def _delta(self, opened: _Open, data: bytes) -> Event:
        ms = len(data) * 1000 / RATES[self._format]
        if self._format == "audio/pcm":
            ms /= 2
        self.audio_ms += ms
        opened.item.audio_ms += ms
        audio = b64encode(data).decode("ascii")
        return self._part("response.output_audio.delta", opened, delta=audio)

    def _event(self, kind: str, **fields: Any) -> Event:
        return {"type": kind, "event_id": self._names.new("event"), **fields}

    def _part(self, kind: str, opened: _Open, **fields: Any) -> Event:
        return self._event(
            kind,
            response_id=self.id,
            item_id=opened.item.id,
            output_index=opened.index,
            content_index=0,
            **fields,
        )

    def _arguments(self, kind: str, opened: _Open, **fields: Any) -> Event:
        return self._event(
            f"response.function_call_arguments.{kind}",
            response_id=self.id,
            item_id=opened.item.id,
            output_index=opened.index,
            call_id=opened.item.body["call_id"],
            **fields,
        )

    def _item_event(self, kind: str, opened: _Open) -> Event:
        return self._event(
            kind,
            response_id=self.id,
            output_index=opened.index,
            item=dict(opened.item.body),
        )

    def _history(self, kind: str, item: Item, before: str | None) -> Event:
        return self._event(kind, item=dict(item.body), previous_item_id=before)

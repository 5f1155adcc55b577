"""OpenAI Realtime, and services that speak its dialect."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum, auto
from itertools import count
from typing import Any, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from twisted.logger import Logger
from zope.interface import implementer

from portero import audio
from portero.config import ProviderSettings
from portero.interfaces import (
    Brief,
    IConversation,
    IConversationEvents,
    IVoiceProvider,
    Loss,
)
from portero.providers._formats import CODECS, Item, choose_format
from portero.providers._replies import Replies
from portero.providers._websocket import Ending, Socket, Target
from portero.wire import openai as wire
from portero.wire import openai_errors as errors

MOST_UNSENT: Final = 10.0
"""Seconds of caller audio kept while the service is not ready; older audio goes."""
MOST_BAD_EVENTS: Final = 20
"""In a row."""
REMEMBERED: Final = 32
"""Items, responses and events of ours whose account is kept."""
MOST_CALLED: Final = 256
"""Function calls remembered, so that none is done twice."""
PROBLEM_COUNTS: Final = 30.0
"""Seconds that a failure says something about the calls to come."""
RATE_LIMIT_PAUSE: Final = 1.0
"""Seconds, when the service does not ask for more."""


@implementer(IVoiceProvider)
class Provider:
    """Opens a conversation for each call."""

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        settings: ProviderSettings,
        key: str,
        *,
        find_url: Callable[[], str] | None = None,
        summary: str = "",
    ) -> None:
        """
        @param key: The service's secret; sent in a header, never logged.
        @param find_url: Asked at each connection, for a service whose port is known
            only when it runs; by default the settings' own.
        @raise ConfigError: The settings' C{ca_file} cannot be used.
        """
        self._reactor = reactor
        self._settings = settings
        self._key = key
        self._find_url = find_url or (lambda: settings.url)
        self._problem = ""
        self._problem_at = 0.0
        self._last_target: Target | None = None
        host = urlsplit(settings.url).hostname
        self.summary = summary or f"{settings.model} at {host}"
        if settings.ca_file:
            self._target()

    def converse(self, brief: Brief, events: IConversationEvents) -> Conversation:
        return Conversation(self, self._reactor, self._settings, brief, events)

    def connect(self, conversation: Conversation) -> Socket:
        """Begin to connect, for one conversation."""
        return Socket(self._reactor, self._target(), conversation)

    def report(self, problem: str) -> None:
        """A conversation says how the service does; empty: well."""
        self._problem = problem
        self._problem_at = self._reactor.seconds()

    def health(self) -> str:
        # Only a call tries the service: whoever sends none while this says no would
        # never hear that it works again.
        age = self._reactor.seconds() - self._problem_at
        return self._problem if age < PROBLEM_COUNTS else ""

    def _target(self) -> Target:
        settings = self._settings
        parts = urlsplit(self._find_url())
        query = parts.query or urlencode({"model": settings.model})
        url = urlunsplit(parts._replace(query=query))
        target = self._last_target
        if target is None or target.url != url:
            headers = {"Authorization": f"Bearer {self._key}"}
            target = self._last_target = Target(url, headers, settings.ca_file)
        return target


class _State(Enum):
    OPENING = auto()
    CONFIGURING = auto()
    READY = auto()
    CLOSED = auto()


@implementer(IConversation)
class Conversation:
    """One call's exchange with the service, over one WebSocket."""

    log = Logger()
    paced = False

    def __init__(
        self,
        provider: Provider,
        reactor: Any,
        settings: ProviderSettings,
        brief: Brief,
        events: IConversationEvents,
    ) -> None:
        self.call_id = brief.call_id
        self._provider = provider
        self._clock = reactor
        self._settings = settings
        self._brief = brief
        self._events = events
        self._state = _State.OPENING
        self._greeted = False
        self._begun = False
        self._in = self._out = CODECS[wire.PCM]
        self._unproven: bytearray | None = None
        self._found_pcm = False
        self._unsent = bytearray()
        self._upload_bytes = 0
        self._stuck = False
        self._dropped = False
        self._expires_at = float("inf")
        self._purposes: OrderedDict[str, str] = OrderedDict()
        self._numbers = count(1)
        self._bad_events = 0
        self._warned = False
        self._items: OrderedDict[str, Item] = OrderedDict()
        self._muted: OrderedDict[str, None] = OrderedDict()
        self._replies = Replies()
        self._called: OrderedDict[str, None] = OrderedDict()
        self._tools_running: set[str] = set()
        self._owes_reply = False
        """For the results of tools."""
        self._productive = 0
        self._failures = 0
        self._socket = provider.connect(self)

    # IConversation

    @property
    def caller_rate(self) -> int:
        return self._in.rate

    @property
    def piece(self) -> float:
        return self._settings.upload_ms / 1000

    @property
    def agent_rate(self) -> int:
        return self._out.rate

    @property
    def expires_in(self) -> float:
        return float(self._expires_at - self._clock.seconds())

    def begin(self, caller_rate: int, agent_rate: int) -> None:
        wanted = self._settings.audio_format
        self._use_formats(
            choose_format(wanted, caller_rate), choose_format(wanted, agent_rate)
        )
        self._begun = True
        if self._greeted:
            self._configure()

    def send_audio(self, pcm: bytes) -> None:
        if self._state is _State.CLOSED:
            return
        unsent = self._unsent
        unsent += pcm
        if self._state is _State.READY and not self._stuck:
            if len(unsent) >= self._upload_bytes:
                self._upload()
        elif len(unsent) > self._in.rate * 2 * MOST_UNSENT:
            del unsent[: len(pcm)]
            if not self._dropped:
                self._dropped = True
                self.log.warn(
                    "call {call_id}: the service takes no audio; what the caller said "
                    "more than {seconds:.0f} s ago is dropped",
                    call_id=self.call_id,
                    seconds=MOST_UNSENT,
                )

    def interrupt(self, item: str, heard_ms: int) -> None:
        account = self._items.get(item)
        if account is None or account.cut:
            return
        account.cut = True
        self._mute(item)
        received = account.received_ms
        if account.complete and heard_ms >= received:
            return
        # Beyond what it sent, or not a whole number, the service would refuse it.
        heard = max(0, min(int(heard_ms), received))
        self._send(wire.truncate, "truncate", item, heard)

    def cancel(self) -> None:
        if self._replies.cancel():
            self._cancel_current()

    def add_text(self, role: str, text: str) -> None:
        self._send(wire.message, "text", role, text)

    def ask(self) -> None:
        self._replies.want("")
        self._ask_next()

    def say(self, text: str) -> None:
        self._replies.want(text)
        self._ask_next()

    def tool_result(self, id: str, value: str) -> None:
        if id not in self._tools_running:
            return
        self._tools_running.discard(id)
        self._send(wire.function_output, "tool result", id, value)
        self._owes_reply = True
        self._ask_next()

    def close(self) -> None:
        if self._state is not _State.CLOSED:
            self._state = _State.CLOSED
            self._socket.close()

    # To the service

    def _send(self, build: Callable[..., bytes], purpose: str, *values: Any) -> None:
        if self._state in (_State.CONFIGURING, _State.READY):
            self._socket.send(build(*values, event_id=self._named(purpose)))

    def _named(self, purpose: str) -> str:
        event_id = f"p{next(self._numbers)}"
        self._purposes[event_id] = purpose
        if len(self._purposes) > REMEMBERED:
            self._purposes.popitem(last=False)
        return event_id

    def _upload(self) -> None:
        if self._state is _State.READY and self._unsent and not self._stuck:
            pcm = bytes(self._unsent)
            self._unsent.clear()
            self._socket.send(wire.append(self._in.encode(pcm)))

    def _ask_next(self) -> None:
        if self._state is not _State.READY:
            return
        replies = self._replies
        if self._owes_reply and not self._tools_running and not replies.running:
            self._owes_reply = False
            replies.want("")
        now = self._clock.seconds()
        words = replies.due(now)
        if words is not None:
            event_id = self._named("response.create")
            replies.asked(event_id, words, now)
            self._socket.send(wire.response_create(event_id, words))

    def _cancel_current(self) -> None:
        self._mute(self._replies.current)
        self._send(wire.response_cancel, "cancel", self._replies.current)

    def _use_formats(self, given: str, wanted: str) -> None:
        """Also under way; what waits unsent at another rate is lost then."""
        if CODECS[given].rate != self._in.rate:
            self._unsent.clear()
        self._in, self._out = CODECS[given], CODECS[wanted]
        self._upload_bytes = self._in.rate * 2 * self._settings.upload_ms // 1000
        self._unproven = None if wanted == wire.PCM else bytearray()

    def _configure(self) -> None:
        if self._state is not _State.OPENING:
            return
        settings, brief = self._settings, self._brief
        session = wire.SessionSettings(
            instructions=brief.instructions,
            voice=brief.voice,
            input_format=self._in.name,
            output_format=self._out.name,
            turn_detection=wire.ServerVad(
                threshold=settings.vad_threshold,
                prefix_padding_ms=settings.vad_prefix_ms,
                silence_duration_ms=settings.vad_silence_ms,
                interrupt_response=settings.interrupt_response,
            ),
            transcription_model=settings.transcription_model,
            noise_reduction=settings.noise_reduction,
            tools=tuple(
                wire.FunctionTool(tool.name, tool.description, tool.parameters)
                for tool in brief.tools
            ),
        )
        self._state = _State.CONFIGURING
        self._send(wire.session_update, "session.update", session)

    # From the socket

    def opened(self) -> None:
        """The WebSocket is open; the service speaks first."""

    def stuck(self, waiting: bool) -> None:
        self._stuck = waiting
        if not waiting:
            self._upload()

    def closed(self, ending: Ending) -> None:
        if ending.status:
            reason, final = errors.refusal(ending.status, ending.body)
            reason = f"refused by the service: {reason}"
        else:
            reason = wire.one_line(ending.reason)
            final = ending.final or errors.closing_is_final(ending.code, reason)
        self._lose(reason, final, ending.retry_after)

    def received(self, payload: bytes, is_binary: bool) -> None:
        if self._state is _State.CLOSED:
            return
        try:
            if is_binary:
                raise wire.EventError("a binary message")
            event = wire.parse(payload)
        except wire.EventError as error:
            self._bad(str(error))
            return
        self._bad_events = 0
        handler = _HANDLERS.get(type(event))
        if handler is None:
            return
        try:
            handler(self, event)
        except Exception:
            self.log.failure(
                "call {call_id}: error in handling an event of the service",
                call_id=self.call_id,
            )
            self._lose("internal error", final=False)

    def _bad(self, why: str) -> None:
        self._bad_events += 1
        if self._bad_events > MOST_BAD_EVENTS:
            self._lose(f"the service sends what are no events: {why}", final=False)
        elif not self._warned:
            self._warned = True
            self.log.warn(
                "call {call_id}: the service sent what is no event: {why} (ignored, "
                "as further ones will be)",
                call_id=self.call_id,
                why=why,
            )

    def _lose(self, reason: str, final: bool, retry_after: float = 0.0) -> None:
        if self._state is _State.CLOSED:
            return
        self._provider.report(reason)
        self._state = _State.CLOSED
        self._socket.close()
        pause = max(retry_after, errors.wished_pause(reason))
        self._events.lost(Loss(reason, final, min(pause, errors.LONGEST_WISH)))

    # Events, one method each

    def _session_created(self, event: wire.SessionCreated) -> None:
        if event.expires_at:
            # Against the service's own clock, if it told it: ours may be wrong.
            now = self._socket.date or time.time()  # a date, so the wall clock
            if event.expires_at > now:
                self._expires_at = self._clock.seconds() + event.expires_at - now
        self._greeted = True
        if self._begun:
            self._configure()

    def _session_updated(self, event: wire.SessionUpdated) -> None:
        if self._state is _State.OPENING or not self._formats_agreed(event):
            return
        if self._state is not _State.CONFIGURING:
            return
        self._state = _State.READY
        self._provider.report("")
        for said in self._brief.history:
            self._send(wire.message, "history", said.role, said.text)
        self._upload()
        self._events.ready()
        self._ask_next()

    def _formats_agreed(self, event: wire.SessionUpdated) -> bool:
        """@return: C{False} when the conversation was given up."""
        asked = (self._in.name, self._out.name)
        effective = (event.input_format or asked[0], event.output_format or asked[1])
        if effective == asked or self._found_pcm:
            return True
        if any(name not in CODECS for name in effective):
            self._lose(
                f"the service uses {effective} although {asked} was asked for; "
                "set audio_format to what it takes",
                final=True,
            )
            return False
        self.log.warn(
            "call {call_id}: the service uses {effective} although {asked} was "
            "asked for; going on with its choice",
            call_id=self.call_id,
            effective=effective,
            asked=asked,
        )
        self._use_formats(*effective)
        return True

    def _speech_started(self, event: wire.SpeechStarted) -> None:
        if self._replies.running:
            if self._settings.interrupt_response:
                self._mute(self._replies.current)  # the service cancels it by itself
            else:
                self._cancel_current()
        self._events.caller_started()

    def _speech_stopped(self, event: wire.SpeechStopped) -> None:
        self._events.caller_stopped()

    def _response_created(self, event: wire.ResponseCreated) -> None:
        if self._begin_response(event.response_id):
            self._cancel_current()

    def _begin_response(self, response_id: str) -> bool:
        self._productive = 0
        return self._replies.began(response_id)

    def _audio_delta(self, event: wire.AudioDelta) -> None:
        response_id, name = event.response_id, event.item_id
        if response_id in self._muted or name in self._muted:
            return
        item = self._items.get(name)
        if item is not None and item.complete:
            return
        if not self._replies.running:
            # A dialect without response.created, or audio that belongs to nothing.
            self._begin_response(response_id)
        if item is None:
            item = self._items[name] = Item(response_id, self._out)
            self._productive += 1
            if len(self._items) > REMEMBERED:
                self._items.popitem(last=False)
        if self._unproven is not None and self._refuted(self._unproven, event.audio):
            item.codec = self._out
        self._failures = 0
        pcm = item.decoded(event.audio)
        if pcm:
            self._events.agent_audio(name, pcm)

    def _refuted(self, seen: bytearray, data: bytes) -> bool:
        """
        Look at the first G.711 audio: services exist that agree to it and send PCM.

        @return: Whether the formats were changed just now.
        """
        seen += data
        guess = audio.guess_coding(bytes(seen))
        if guess == audio.UNSURE and len(seen) < 2 * self._out.rate:
            return False
        self._unproven = None
        if guess != audio.PCM:
            return False
        self.log.warn(
            "call {call_id}: the service agreed to {agreed} but sends PCM; going on "
            "with 24 kHz PCM. Set audio_format to pcm to ask for that at once",
            call_id=self.call_id,
            agreed=self._out.name,
        )
        self._found_pcm = True
        self._use_formats(wire.PCM, wire.PCM)
        self._send(wire.formats_update, "formats", wire.PCM, wire.PCM)
        return True

    def _audio_done(self, event: wire.AudioDone) -> None:
        item = self._items.get(event.item_id)
        if item is not None and not item.complete:
            item.complete = True
            self._events.agent_done(event.item_id)

    def _transcript(self, event: wire.Transcript) -> None:
        self._events.transcript(event.role, event.text, event.item_id)

    def _function_call(self, event: wire.FunctionCall) -> None:
        if event.call_id in self._called or event.response_id in self._muted:
            return
        self._called[event.call_id] = None
        if len(self._called) > MOST_CALLED:
            self._called.popitem(last=False)
        self._tools_running.add(event.call_id)
        self._productive += 1
        try:
            arguments = json.loads(event.arguments or "{}")
        except (ValueError, RecursionError):
            arguments = None
        if not isinstance(arguments, dict):
            self.tool_result(event.call_id, "error: the arguments are no JSON object")
            return
        self._events.tool_called(event.call_id, event.name, arguments)

    def _response_done(self, event: wire.ResponseDone) -> None:
        # One response at a time writes to a conversation, so this is the present one.
        words = self._replies.words
        self._replies.ended()
        for name, item in tuple(self._items.items()):
            ids = item.response_id, event.response_id
            if not item.complete and (ids[0] == ids[1] or "" in ids):
                item.complete = True
                if self._open and not item.cut:
                    self._events.agent_done(name)
        self._mute(event.response_id)
        if event.usage and self._open:
            self._events.usage(event.usage)
        problem = self._failed(event, words) if event.status == "failed" else ""
        if self._open:
            self._events.reply_ended(self._productive, problem)
        self._ask_next()

    def _failed(self, event: wire.ResponseDone, words: str) -> str:
        """Follow the error table for a response that failed; what went wrong."""
        error = event.error or wire.ServiceError("", "", "no reason given", "", "")
        why = errors.in_words(error)
        action = errors.action(error)
        self._failures += 1
        self.log.warn(
            "call {call_id}: the service could not reply: {why}",
            call_id=self.call_id,
            why=why,
        )
        if action in (errors.Action.FATAL, errors.Action.RETRY, errors.Action.RENEW):
            self._lose_for(error, action)
        elif self._failures > 1:
            self._lose(why, final=True)
        else:
            self._replies.want(words)
        return why

    def _error(self, event: wire.ServiceError) -> None:
        purpose = self._purposes.get(event.event_id, "")
        if self._state is _State.CONFIGURING and not event.event_id:
            purpose = "session.update"  # nothing else was sent
        action = errors.action(event, purpose)
        words = errors.in_words(event)
        if action is errors.Action.IGNORE:
            self.log.debug("call {call_id}: {words}", call_id=self.call_id, words=words)
        elif action is errors.Action.QUEUE:
            self._replies.busy(event.event_id)
            self._ask_next()
        elif action is errors.Action.REPORT:
            self.log.error(
                "call {call_id}: the service refused {purpose}: {words}",
                call_id=self.call_id,
                purpose=purpose or "something",
                words=words,
            )
            if purpose == "response.create" or not event.event_id:
                self._replies.refused(event.event_id)
                self._ask_next()
        else:
            self._lose_for(event, action)

    def _lose_for(self, error: wire.ServiceError, action: errors.Action) -> None:
        limited = "rate_limit_exceeded" in (error.code, error.type)
        pause = RATE_LIMIT_PAUSE if limited else 0.0
        self._lose(errors.in_words(error), action is errors.Action.FATAL, pause)

    @property
    def _open(self) -> bool:
        """An event told to the call may have closed this."""
        return self._state is not _State.CLOSED

    def _mute(self, id: str) -> None:
        """Drop the audio that may still come of an item or a response."""
        if not id:
            return
        self._muted[id] = None
        if len(self._muted) > 2 * REMEMBERED:
            self._muted.popitem(last=False)


_HANDLERS: Final[dict[type, Callable[[Conversation, Any], None]]] = {
    wire.SessionCreated: Conversation._session_created,
    wire.SessionUpdated: Conversation._session_updated,
    wire.SpeechStarted: Conversation._speech_started,
    wire.SpeechStopped: Conversation._speech_stopped,
    wire.ResponseCreated: Conversation._response_created,
    wire.AudioDelta: Conversation._audio_delta,
    wire.AudioDone: Conversation._audio_done,
    wire.Transcript: Conversation._transcript,
    wire.FunctionCall: Conversation._function_call,
    wire.ResponseDone: Conversation._response_done,
    wire.ServiceError: Conversation._error,
}

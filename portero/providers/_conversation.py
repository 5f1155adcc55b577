"""One call's exchange with OpenAI Realtime."""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import Any, Final, Protocol

from twisted.logger import Logger
from zope.interface import implementer

from portero.interfaces import Brief, IConversation, IConversationEvents, Loss
from portero.providers import _codes as codes
from portero.providers._agreement import Agreement
from portero.providers._calls import FunctionCalls, arguments
from portero.providers._downlink import Downlink
from portero.providers._earlier import Earlier
from portero.providers._formats import CODECS
from portero.providers._health import Health
from portero.providers._inbox import Inbox
from portero.providers._purposes import Purposes
from portero.providers._replies import Replies
from portero.providers._session import session_settings
from portero.providers._uplink import MOST_UNSENT, Uplink
from portero.providers._websocket import Ending, Socket
from portero.sections import ProviderSettings
from portero.wire import openai as wire
from portero.wire import openai_commands as commands
from portero.wire import openai_errors as errors


class Service(Protocol):
    """What a conversation needs of its provider."""

    state: Health
    """What conversations find out about the service."""

    def connect(self, conversation: Conversation) -> Socket:
        """Begin to connect, for one conversation."""


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
        provider: Service,
        reactor: Any,
        settings: ProviderSettings,
        brief: Brief,
        events: IConversationEvents,
    ) -> None:
        self.call_id = brief.call_id
        self.model = brief.model
        self._provider = provider
        self._clock = reactor
        self._settings = settings
        self._brief = brief
        self._events = events
        self._state = _State.OPENING
        self._greeted = False
        self._begun = False
        self._uplink = Uplink(CODECS[wire.PCM], settings.upload_ms)
        self._downlink = Downlink(CODECS[wire.PCM])
        self._formats = Agreement(brief.call_id, self._uplink, self._downlink)
        self._stuck = False
        self._dropped = False
        self._expires_at = float("inf")
        self._purposes = Purposes()
        self._inbox = Inbox(brief.call_id)
        self._replies = Replies()
        self._earlier = Earlier(brief.history)
        self._calls = FunctionCalls()
        self._productive = 0
        self._failures = 0
        self._handshake_from = reactor.seconds()
        self._greeted_at = 0.0
        self._socket = provider.connect(self)

    # IConversation

    @property
    def caller_rate(self) -> int:
        return self._uplink.codec.rate

    @property
    def piece(self) -> float:
        return self._settings.upload_ms / 1000

    @property
    def agent_rate(self) -> int:
        return self._downlink.codec.rate

    @property
    def expires_in(self) -> float:
        return float(self._expires_at - self._clock.seconds())

    def begin(self, caller_rate: int, agent_rate: int) -> None:
        self._formats.choose(self._settings.audio_format, caller_rate, agent_rate)
        self._begun = True
        if self._greeted:
            self._configure()

    def send_audio(self, pcm: bytes) -> None:
        if self._state is _State.CLOSED:
            return
        uplink = self._uplink
        uplink.add(pcm)
        if self._state is _State.READY and not self._stuck:
            if uplink.due:
                self._upload()
        elif uplink.shed(len(pcm)) and not self._dropped:
            self._dropped = True
            self.log.warn(
                "call {call_id}: the service takes no audio; what the caller said "
                "more than {seconds:.0f} s ago is dropped",
                call_id=self.call_id,
                seconds=MOST_UNSENT,
            )

    def interrupt(self, item: str, heard_ms: int) -> None:
        end_ms = self._downlink.cut(item, heard_ms)
        if end_ms is not None:
            self._send(commands.truncate, "truncate", item, end_ms)

    def amend(self, text: str, heard: str) -> None:
        name = self._earlier.amend(text, heard)
        if name:
            self._send(commands.delete, "amend", name)
            if heard:
                self._send(commands.message, "amend", "assistant", heard)

    def cancel(self) -> None:
        if self._replies.cancel():
            self._cancel_current()

    def add_text(self, role: str, text: str) -> None:
        self._send(commands.message, "text", role, text)

    def ask(self) -> None:
        if self._brief.turn_detection.kind == "none":
            self._end_turn()
        self._replies.want("")
        self._ask_next()

    def say(self, text: str) -> None:
        self._replies.want(text)
        self._ask_next()

    def tool_result(self, id: str, value: str) -> None:
        if self._calls.end(id):
            self._send(commands.function_output, "tool result", id, value)
            self._ask_next()

    def close(self) -> None:
        if self._state is not _State.CLOSED:
            self._state = _State.CLOSED
            self._socket.close()

    # To the service

    def _send(self, build: Callable[..., bytes], purpose: str, *values: Any) -> None:
        if self._state in (_State.CONFIGURING, _State.READY):
            self._socket.send(build(*values, event_id=self._purposes.name(purpose)))

    def _upload(self) -> None:
        if self._state is _State.READY and self._uplink.waiting and not self._stuck:
            self._socket.send(commands.append(self._uplink.take()))

    def _end_turn(self) -> None:
        """Nobody else says that the caller's turn is over."""
        self._upload()
        if self._uplink.in_turn >= commands.SHORTEST_COMMIT:
            self._uplink.end_turn()
            self._send(commands.commit, "commit")

    def _ask_next(self) -> None:
        if self._state is not _State.READY:
            return
        replies = self._replies
        if not replies.running and self._calls.reply_due():
            replies.want("")
        now = self._clock.seconds()
        words = replies.due(now)
        if words is not None:
            event_id = self._purposes.name("response.create")
            replies.asked(event_id, words, now)
            self._socket.send(commands.response_create(event_id, words))

    def _cancel_current(self) -> None:
        self._downlink.mute(self._replies.current)
        self._send(commands.response_cancel, "cancel", self._replies.current)

    def _configure(self) -> None:
        if self._state is _State.OPENING:
            # The service does not count for what it waits for the leg.
            self._handshake_from += self._clock.seconds() - self._greeted_at
            self._state = _State.CONFIGURING
            asked = session_settings(self._brief, *self._formats.names)
            self._send(commands.session_update, "session.update", asked)

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
        code = codes.of_ending(ending.status, ending.code)
        self._lose(reason, final, code, ending.retry_after)

    def received(self, payload: bytes, is_binary: bool) -> None:
        if self._state is _State.CLOSED:
            return
        try:
            event = self._inbox.read(payload, is_binary)
        except wire.EventError as error:
            why = f"the service sends what are no events: {error}"
            self._lose(why, False, codes.PROTOCOL)
            return
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
            self._lose("internal error", False, codes.INTERNAL)

    def _lose(
        self, reason: str, final: bool, code: str, retry_after: float = 0.0
    ) -> None:
        """@param code: One of L{portero.providers._codes}."""
        if self._state is _State.CLOSED:
            return
        self._provider.state.failed(reason, code)
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
        if not self._greeted:
            self._greeted, self._greeted_at = True, self._clock.seconds()
        if self._begun:
            self._configure()

    def _session_updated(self, event: wire.SessionUpdated) -> None:
        if self._state is _State.OPENING:
            return
        problem = self._formats.answered(event.input_format, event.output_format)
        if problem:
            self._lose(problem, True, codes.PROTOCOL)
        if self._state is not _State.CONFIGURING:
            return
        self._state = _State.READY
        self._provider.state.ready(self._clock.seconds() - self._handshake_from)
        for name, said in self._earlier.tell():
            message = partial(commands.message, item_id=name)
            self._send(message, "history", said.role, said.text)
        self._upload()
        # What was said before the first reply could be asked for is no turn by itself.
        self._uplink.end_turn()
        self._events.ready()
        self._ask_next()

    def _speech_started(self, event: wire.SpeechStarted) -> None:
        turns = self._brief.turn_detection
        if self._replies.running and turns.create_response:
            if turns.interrupt_response:
                # The service cancels it by itself.
                self._downlink.mute(self._replies.current)
            else:
                self._cancel_current()
        self._events.caller_started(event.item_id)

    def _speech_stopped(self, event: wire.SpeechStopped) -> None:
        self._events.caller_stopped()

    def _idle_timeout(self, event: wire.IdleTimeout) -> None:
        self._events.caller_idle()

    def _response_created(self, event: wire.ResponseCreated) -> None:
        if self._begin_response(event.response_id):
            self._cancel_current()

    def _begin_response(self, response_id: str) -> bool:
        self._productive = 0
        return self._replies.began(response_id)

    def _audio_delta(self, event: wire.AudioDelta) -> None:
        response_id, name = event.response_id, event.item_id
        if not self._downlink.wants(response_id, name):
            return
        if not self._replies.running:
            # A dialect without response.created, or audio that belongs to nothing.
            self._begin_response(response_id)
        if self._downlink.begin(response_id, name):
            self._productive += 1
        if self._downlink.refuted(event.audio):
            self._formats.refuted()
            self._send(commands.formats_update, "formats", *self._formats.names)
        self._failures = 0
        pcm = self._downlink.decoded(name, event.audio)
        if pcm:
            self._events.agent_audio(name, pcm)

    def _audio_done(self, event: wire.AudioDone) -> None:
        if self._downlink.complete(event.item_id):
            self._events.agent_done(event.item_id)

    def _caller_words(self, event: wire.CallerWords) -> None:
        if event.text:
            self._events.caller_words(event.text, event.item_id)

    def _agent_words(self, event: wire.AgentWords) -> None:
        muted = map(self._downlink.is_muted, (event.response_id, event.item_id))
        if event.text and not any(muted):
            self._events.agent_words(event.text, event.item_id)

    def _transcript(self, event: wire.Transcript) -> None:
        self._events.transcript(event.role, event.text, event.item_id)
        if event.usage and self._open:
            counts = {f"transcription.{name}": n for name, n in event.usage.items()}
            self._events.usage(counts)

    def _function_call(self, event: wire.FunctionCall) -> None:
        unwanted = self._downlink.is_muted(event.response_id)
        if unwanted or not self._calls.begin(event.call_id):
            return
        self._productive += 1
        values = arguments(event.arguments)
        if values is None:
            self.tool_result(event.call_id, "error: the arguments are no JSON object")
        else:
            self._events.tool_called(event.call_id, event.name, values)

    def _mcp_call_begun(self, event: wire.McpCallBegun) -> None:
        if self._calls.begin(event.item_id):
            self._productive += 1

    def _mcp_call_ended(self, event: wire.McpCallEnded) -> None:
        # The service makes no reply to it by itself.
        self._calls.begin(event.item_id)
        if self._calls.end(event.item_id):
            self._ask_next()

    def _mcp_failed(self, event: wire.McpFailed) -> None:
        what = f"use {event.tool} of" if event.tool else "list the tools of"
        self.log.warn(
            "call {call_id}: the service could not {what} MCP server {server}: {why}",
            call_id=self.call_id,
            what=what,
            server=event.server or "(one of " + ", ".join(self._mcp_names()) + ")",
            why=event.why,
        )

    def _mcp_names(self) -> list[str]:
        return [server.name for server in self._brief.mcp]

    def _response_done(self, event: wire.ResponseDone) -> None:
        # One response at a time writes to a conversation, so this is the present one.
        words = self._replies.words
        self._replies.ended()
        for name in self._downlink.response_ended(event.response_id):
            if self._open:
                self._events.agent_done(name)
        if event.usage and self._open:
            self._events.usage(event.usage)
        problem = self._failed(event, words) if event.status == "failed" else ""
        if self._open:
            completed = event.status == "completed" and not self._productive
            written = event.written if completed else ""
            self._events.reply_ended(self._productive, problem, written)
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
            self._lose(why, True, codes.of_error(error))
        else:
            self._provider.state.erred(why, codes.of_error(error))
            self._replies.want(words)
        return why

    def _error(self, event: wire.ServiceError) -> None:
        purpose = self._purposes.of(event.event_id)
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
            self._provider.state.erred(words, codes.of_error(event))
            if purpose == "response.create" or not event.event_id:
                self._replies.refused(event.event_id)
                self._ask_next()
        else:
            self._lose_for(event, action)

    def _lose_for(self, error: wire.ServiceError, action: errors.Action) -> None:
        final, pause = action is errors.Action.FATAL, errors.least_pause(error)
        self._lose(errors.in_words(error), final, codes.of_error(error), pause)

    @property
    def _open(self) -> bool:
        """An event told to the call may have closed this."""
        return self._state is not _State.CLOSED


_HANDLERS: Final[dict[type, Callable[[Conversation, Any], None]]] = {
    wire.SessionCreated: Conversation._session_created,
    wire.SessionUpdated: Conversation._session_updated,
    wire.SpeechStarted: Conversation._speech_started,
    wire.SpeechStopped: Conversation._speech_stopped,
    wire.IdleTimeout: Conversation._idle_timeout,
    wire.ResponseCreated: Conversation._response_created,
    wire.AudioDelta: Conversation._audio_delta,
    wire.AudioDone: Conversation._audio_done,
    wire.CallerWords: Conversation._caller_words,
    wire.AgentWords: Conversation._agent_words,
    wire.Transcript: Conversation._transcript,
    wire.FunctionCall: Conversation._function_call,
    wire.McpCallBegun: Conversation._mcp_call_begun,
    wire.McpCallEnded: Conversation._mcp_call_ended,
    wire.McpFailed: Conversation._mcp_failed,
    wire.ResponseDone: Conversation._response_done,
    wire.ServiceError: Conversation._error,
}

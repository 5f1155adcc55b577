"""
The seams: every interface, and the few value types that cross one.

PCM is always signed 16-bit little-endian mono C{bytes}. Rates are in Hz. A plain
duration is in seconds; a name that ends in C{_ms} is in milliseconds. Notifications
are named in the past tense, commands in the imperative.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from zope.interface import Attribute, Interface


class Heard(NamedTuple):
    """How much of one item left for the caller when it was cut."""

    item: str
    heard_ms: int
    given_ms: int


@dataclass(frozen=True, slots=True)
class LegFigures:
    """What a leg measured in its call; L{ILeg.figures} makes it on demand."""

    frames_sent: int = 0
    frames_received: int = 0
    frames_skipped: int = 0
    underruns: int = 0
    filled_ms: int = 0
    lateness_p99_ms: float = 0.0
    prefill_ms: int = 0
    waiting_ms: int = 0
    """Audio of the agent that was given and has not left yet."""
    jitter_ms: float = 0.0
    """Of the frames received, smoothed (RFC 3550, 6.4.1)."""
    tail_ms: float = 0.0
    """From the last L{ILeg.flush} to the end of the last frame with old audio."""
    oddities: Mapping[str, int] = field(default_factory=dict)
    sound: Mapping[str, float] = field(default_factory=dict)
    """By the names of L{portero.acoustics.FIGURES}. Who measures it adds it: a leg does
    not."""


@dataclass(frozen=True, slots=True)
class LegMake:
    """What a leg was made of, so that another one can be made like it."""

    agent_rate: int
    """In Hz, at the beginning."""
    prebuffer_frames: int = 0
    queue_frames: int = 0
    """Both as L{portero.line.Line} takes them."""


HAPPENINGS: Final[Mapping[str, str]] = {
    "state": "state: of the call (callstate.State)",
    "floor": "floor: who has it (turns.Floor)",
    "caller": "speaking: whether the caller does, as the service hears it; and if so, "
    "item: in which it will be said what they say",
    "key": "the caller pressed a key; which one is nobody's business",
    "words": "role, item, text: the next piece of what is being said; of the agent's, "
    "before it is heard",
    "said": "role, item, text: something said, complete, as it was understood; of role "
    "system, what the agent was told about the call",
    "sounding": "item: its first frame left; one of portero's own sounds is called "
    "prompt NAME or sound NUMBER: NAME",
    "played_out": "item: it was heard to its end",
    "cut": "item, heard_ms, given_ms: the caller heard only so much of it",
    "turn": "turn, came_ms, sounded_ms: from the end of the caller's speech to the "
    "first audio, and to the first frame",
    "barge_in": "the caller interrupted the agent",
    "false_alarm": "a sound of the caller that did not interrupt it after all",
    "tool_began": "tool, name, arguments: the agent asked for it; tool is a number",
    "tool_ended": "tool, name, result, ok, ms: what came of it",
    "service": "ready_ms: it took so long to be ready; or lost: why, and final",
    "used": "tokens, dollars: of the call so far; counts: of this reply alone, or of "
    "writing down what the caller said",
    "operator": "who, did, target: somebody steered the call; did is say, transfer or "
    "hang_up, target the name of where to",
    "recording": "did, by, who: its recording was paused, or resumed; by is agent, "
    "caller or operator, who that one's name. Until it is resumed, no text of what is "
    "said comes, and taps get silence",
    "error": "reason: something went wrong in portero",
}
"""What happens in a call, with the data that comes along."""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened in a call."""

    call_id: str
    kind: str
    """One of L{HAPPENINGS}, which says what is in C{data}."""
    at: float
    """Seconds from the beginning of the call."""
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """One utterance of the history that a new conversation is told."""

    role: str
    """C{user} (the caller), C{assistant} (the agent) or C{system}."""
    text: str
    private: bool = False
    """For the two sides alone: it was said while the recording was paused."""


@dataclass(frozen=True, slots=True)
class TurnDetection:
    """How the service finds the end of the caller's turn."""

    kind: str = "server_vad"
    """C{server_vad} (by level), C{semantic_vad} (by meaning), or C{none}: the caller's
    turn ends when portero asks for a reply."""
    threshold: float = 0.5
    """0 to 1; of C{server_vad}, as the next three."""
    prefix_ms: int = 300
    silence_ms: int = 500
    idle_timeout_ms: int = 0
    """Silence after which the service speaks by itself; 0: never."""
    eagerness: str = "auto"
    """Of C{semantic_vad}: C{low}, C{medium}, C{high} or C{auto}."""
    interrupt_response: bool = True
    """The service stops its reply when the caller speaks."""
    create_response: bool = True
    """It replies by itself when the caller stops. C{False}: portero asks for a reply
    when there is one to give, and decides itself what the caller interrupts."""


@dataclass(frozen=True, slots=True)
class Transcription:
    """Of the caller's words; none without a model."""

    model: str = ""
    languages: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Truncation:
    """What the service forgets when the conversation outgrows its context."""

    kind: str = "auto"
    """C{auto}, C{disabled} or C{retention_ratio}."""
    retention_ratio: float = 0.8
    context_tokens: int = 0
    """With C{retention_ratio}: kept after the instructions; 0: the model's limit."""


@dataclass(frozen=True, slots=True)
class McpServer:
    """A remote MCP server that the service asks by itself."""

    name: str
    url: str
    description: str = ""
    tools: tuple[str, ...] = ()
    """Those that may be used."""
    authorization: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Brief:
    """What the agent is told at the start. What a service has not, it leaves out."""

    call_id: str
    instructions: str
    voice: str = "marin"
    model: str = ""
    speed: float = 1.0
    turn_detection: TurnDetection = TurnDetection()
    noise_reduction: str = ""
    transcription: Transcription = Transcription()
    reasoning_effort: str = ""
    max_output_tokens: int = 0
    """Of one reply; 0: no limit of ours."""
    truncation: Truncation = Truncation()
    tools: tuple[Any, ...] = ()
    """Providers of L{ITool}."""
    mcp: tuple[McpServer, ...] = ()
    history: tuple[Said, ...] = ()


@dataclass(frozen=True, slots=True)
class Loss:
    """Why a conversation was lost."""

    reason: str
    """In words for the log: what happened, and what to do where that is known."""
    final: bool
    """Trying again cannot help (a refused key, no credit, a wrong setting)."""
    retry_after: float = 0.0
    """The service's own wish, in seconds."""


@dataclass(frozen=True, slots=True)
class ProviderReport:
    """How a voice service does, as the conversations with it found out."""

    service: str = ""
    """Which one it is, in words."""
    problem: str = ""
    """As L{IVoiceProvider.health}."""
    handshake_ms: int | None = None
    """From the attempt to connect to the session that is ready; the last one."""
    last_error: str = ""
    """In words; also one of long ago."""
    last_error_seconds: float | None = None
    """So long ago."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """Since the start, by a code of a few that there are."""


class ILeg(Interface):
    """
    The caller's side of a call. It owns playout and pacing: nobody else sees a frame.
    """

    peer: str = Attribute("Where it comes from, for the log.")
    caller_rate: int = Attribute("Of the PCM given to C{caller_audio}; may change.")
    agent_rate: int = Attribute("Of the PCM that L{play} takes; may change when idle.")

    def play(item: str, pcm: bytes) -> bool:
        """
        Queue PCM at C{agent_rate}.

        @return: C{False} when the leg holds as much as it may: nothing was taken, and
            the caller of this should stop the reply.
        """

    def end_of_item(item: str) -> None:
        """No more PCM comes for this item."""

    def flush() -> tuple[Heard, ...]:
        """
        Drop what waits, at once; ends a L{pause}.

        @return: One L{Heard} for each item cut, oldest first.
        """

    def pause() -> None:
        """Send silence and keep what waits."""

    def resume() -> None:
        """Go on at the sample where L{pause} stopped."""

    def hang_up() -> None:
        """End the leg; C{gone} follows unless it was gone already."""

    def figures() -> LegFigures:
        """What was measured so far."""

    def tap(tap: Any) -> None:
        """Give an L{IAudioTap} both sides from now on."""

    def untap(tap: Any) -> None:
        """No more for this one, if it got anything."""

    def keep_private(private: bool) -> None:
        """Whether from now on taps get silence in place of both sides."""

    def be_captured(capture: Any) -> LegMake:
        """
        Tell an L{ILegCapture} what comes and what leaves, from the beginning, which has
        not been.
        """


class ILegCapture(Interface):
    """Keeps all that comes to a leg and leaves it, so that it can be played again."""

    def seconds() -> float:
        """
        When what happens now began: the leg's time for what the call asks of it. C{now}
        below is by the leg's own clock.
        """

    def began(now: float) -> None:
        """The leg takes audio."""

    def heard(rate: int, pcm: bytes, now: float) -> None:
        """PCM came, at C{rate}; holes are not filled yet."""

    def preferred(rate: int) -> None:
        """The far end takes frames of this rate, as soon as nothing is being sent."""

    def frame(frame: bytes, now: float) -> None:
        """A frame was due, and left."""

    def hung_up() -> None:
        """The call ended the leg."""


class ILegEvents(Interface):
    """What a leg tells; provided by C{Call}."""

    def identified() -> None:
        """The leg takes audio from now on. Comes once, before anything else."""

    def caller_audio(pcm: bytes) -> None:
        """PCM at C{caller_rate}; without holes, so it is also the call's time."""

    def dtmf(digit: str) -> None:
        """The caller pressed a key: one of C{0-9 * # A-D}."""

    def sounding(item: str) -> None:
        """The first frame of this item has just been sent."""

    def played_out(item: str) -> None:
        """The last frame of an ended item has been sent."""

    def gone(reason: str, in_order: bool) -> None:
        """
        The leg ended, from either side. Nothing follows.

        @param in_order: One of the two hung up, as calls end; C{False} for faults.
        """


class IMediaTransport(Interface):
    """How calls arrive; provided by each module of C{portero.transports}."""

    def listen(endpoint: str, calls: Callable[[Any, str], Any]) -> Any:
        """
        @param endpoint: A Twisted server endpoint string.
        @param calls: Takes an L{ILeg} and its call id, once the leg has said it; gives
            its L{ILegEvents}, or C{None} to refuse.
        @return: An C{IService} that listens while it runs.
        """


class IVoiceProvider(Interface):
    """A voice service; provided by each module of C{portero.providers}."""

    def describe(model: str) -> str:
        """@return: Who answers with this model, in words for the log."""

    def converse(brief: Brief, events: Any) -> Any:
        """
        Begin to connect, at once.

        @param events: An L{IConversationEvents}; told nothing before this returns.
        @return: An L{IConversation}.
        """

    def health() -> str:
        """
        Empty when the last attempt to reach the service worked or was long ago, else
        why it did not.
        """

    def report() -> ProviderReport:
        """How the service does, and did."""


class IWireProvider(IVoiceProvider):
    """A voice service whose messages can be looked at on their way."""

    settings: Any = Attribute("Its L{portero.sections.ProviderSettings}.")

    def by_way_of(clock: Any, way: Callable[[Any, Callable[[Any], Any]], Any]) -> Any:
        """
        @param clock: The time of its conversations; not of their connections.
        @param way: Takes who uses a socket, and what connects whoever it is given to
            the service; gives what the former takes for its socket. See
            C{portero.providers._websocket}.
        @return: The same service, for one call.
        """


class IConversation(Interface):
    """
    One call's exchange with a voice service. Every method may be called in every
    state; what makes no sense any more is ignored.
    """

    caller_rate: int = Attribute("Of the PCM that L{send_audio} takes.")
    agent_rate: int = Attribute("Of the PCM given to C{agent_audio}; may change.")
    piece: float = Attribute("Seconds of caller audio that it sends at a time.")
    paced: bool = Attribute("Agent audio comes in real time, as one stream.")
    expires_in: float = Attribute("Seconds until the service ends it; may be inf.")

    def begin(caller_rate: int, agent_rate: int) -> None:
        """The leg's rates are known: choose formats. Called once."""

    def send_audio(pcm: bytes) -> None:
        """Caller audio at C{caller_rate}; kept (bounded) until the service is ready."""

    def interrupt(item: str, heard_ms: int) -> None:
        """
        The caller heard only so much of an item: cut the service's memory of it, and
        drop what may still come of it.
        """

    def amend(text: str, heard: str) -> None:
        """
        Of a text of the agent's, which was in the history, the caller heard only this.
        """

    def cancel() -> None:
        """Stop the reply being made, if there is one; its late audio is dropped."""

    def add_text(role: str, text: str) -> None:
        """Put a text into the conversation, without asking for a reply."""

    def ask() -> None:
        """Ask for a reply now (or as soon as the present one is complete)."""

    def say(text: str) -> None:
        """Ask the agent to say exactly this."""

    def tool_result(id: str, value: str) -> None:
        """The outcome of a tool call; a reply is asked for after the last one."""

    def close() -> None:
        """End it. No event comes after this."""


class IConversationEvents(Interface):
    """What a conversation tells; provided by a part of C{Call}."""

    def ready() -> None:
        """The service took the brief; audio flows."""

    def agent_audio(item: str, pcm: bytes) -> None:
        """A piece of the agent's speech, of any length, at C{agent_rate}."""

    def agent_done(item: str) -> None:
        """The item is complete; it may still be sounding."""

    def reply_ended(item_count: int, problem: str, written: str = "") -> None:
        """
        A reply ended.

        @param item_count: How many of its items had audio or called a tool.
        @param problem: Empty, or in words why it failed.
        @param written: What it said if it was complete and came in writing only.
        """

    def caller_started(item: str = "") -> None:
        """
        The service hears the caller speak.

        @param item: The item that this is going to be; empty when not known.
        """

    def caller_stopped() -> None:
        """The service thinks that the caller's turn is over."""

    def caller_idle() -> None:
        """The caller says nothing for long: the service speaks up by itself."""

    def caller_words(text: str, item: str) -> None:
        """The next piece of what the caller says or said, before it is complete."""

    def agent_words(text: str, item: str) -> None:
        """The next piece of what the agent says; it may not be heard yet."""

    def transcript(role: str, text: str, item: str) -> None:
        """What one side said, complete, as the service understood it."""

    def tool_called(id: str, name: str, arguments: Mapping[str, Any]) -> None:
        """The agent wants a tool run; answer with C{tool_result}."""

    def usage(counts: Mapping[str, int]) -> None:
        """
        What one reply, or one transcription of the caller, has used.

        @param counts: Tokens: C{total_tokens}; C{input.}, C{input.cached.} and
            C{output.} with C{text_tokens} or C{audio_tokens} (the cached ones are among
            those of the input); C{input.cached_tokens} where they are not told apart.
            The same after C{transcription.}, or C{transcription.ms} of audio.
        """

    def lost(loss: Loss) -> None:
        """The conversation ended by itself. Nothing follows."""


class IAudioTap(Interface):
    """Somebody who listens to a call."""

    def frame(caller: bytes, caller_rate: int, agent: bytes, agent_rate: int) -> None:
        """
        The same 20 ms of both sides: as the caller said it, and as it left for the
        caller. Comes for each frame sent, a fixed while later; silence is there too.

        @param caller: PCM at C{caller_rate}.
        @param agent: PCM at C{agent_rate}.
        """


class IWatchedCall(Interface):
    """A call as an observer sees it."""

    call_id: str = Attribute("Its UUID.")
    agent: str = Attribute("The agent's name.")
    facts: Any = Attribute("Its L{portero.facts.Facts}.")

    def snapshot() -> dict[str, Any]:
        """The call as it stands: plain values, as JSON has them."""

    def seconds() -> float:
        """How long it lasts so far; or did, when it is over."""

    def figures() -> LegFigures:
        """What its leg measured so far."""

    def tap(tap: Any) -> None:
        """Give an L{IAudioTap} both sides from now on."""

    def untap(tap: Any) -> None:
        """No more for this one, if it got anything."""


class IObserver(Interface):
    """
    Watches calls and changes nothing; provided by each module of C{portero.observers}.
    It is told in the middle of a call's work, so what it does is little, the same for
    each happening, and nothing that waits. Who comes later gets what happens from then
    on, also in calls of whose start it was not told.
    """

    def call_started(call: Any) -> None:
        """
        Comes once, before all else of this call.

        @param call: An L{IWatchedCall}.
        """

    def call_event(happening: Happening) -> None:
        """Something happened in a call that started and has not ended."""

    def call_ended(record: Any, figures: LegFigures) -> None:
        """
        Comes once, after all else of this call, which is then no longer among those of
        the bridge. An item that was sounding and is neither C{played_out} nor C{cut}
        ended with the call; a tool without C{tool_ended} outlived it.

        @param record: The L{portero.record.Record} of the call.
        """


class IOperatedCall(Interface):
    """
    A call as an operator steers it. C{False}: nothing was done, because the call is
    ending, or going elsewhere already. C{who} did it is for the log and the record;
    whoever offers this keeps the log C{portero.audit} of it.
    """

    def whisper(text: str, who: str) -> bool:
        """
        Tell the agent something that the caller does not hear, and have it act. Also
        while the voice service is being connected to: it is told later.
        """

    def hand_over(target: str, name: str, who: str) -> bool:
        """
        Have the agent announce it, then hand the caller over, as when the agent does:
        who objects to it in time stays. Without a voice service to announce it, what
        waits to be heard is heard first.

        @param target: C{context,extension,priority}, from the configuration.
        @param name: Of that, for people.
        """

    def pause_recording(paused: bool, who: str) -> bool:
        """
        Let nobody hear or read what is said from now on but the two sides; or end that.
        Also when it is so already. It ends with the call at the latest.
        """

    def dismiss(who: str) -> bool:
        """
        Hang up at once, in every state: what waits to be heard is dropped, and where
        the caller was to go is forgotten.
        """


class ITool(Interface):
    """
    Something that the agent can do; provided by each module of C{portero.tools}.

    One whose time limit is not the agent's C{tool_within} has an attribute C{within},
    in seconds; one that must not have some arguments in the log names them in
    C{private}. An answer that begins with C{error: } or C{not yet: } says why nothing
    was done; the log has it.
    """

    name: str = Attribute("As the model calls it.")
    description: str = Attribute("For the model: what it does and when to use it.")
    parameters: Mapping[str, Any] = Attribute(
        "JSON Schema of the arguments, in the subset that L{portero.arguments} checks: "
        "they are checked before C{run}."
    )

    def run(call: Any, arguments: Mapping[str, Any]) -> Awaitable[str]:
        """
        @param call: An L{ICallControl}.
        @return: What the agent is told; empty: nothing, the call is ending.
        """


class ICallControl(Interface):
    """What a tool may do to its call."""

    call_id: str = Attribute("The call's UUID.")
    agent: str = Attribute("The agent's name.")
    facts: Any = Attribute("The L{portero.facts.Facts} of the call.")
    caller_turns: int = Attribute("How often the caller spoke up, or pressed a key.")

    def said() -> tuple[Said, ...]:
        """
        What was said so far, oldest first, as far as it was written down, and without
        the words that are private.
        """

    def seconds() -> float:
        """How long it lasts so far; or did, when it is over."""

    def at_end(do: Callable[[], None]) -> None:
        """Call C{do} once when the call is over, which it may be already."""

    def inform(text: str) -> None:
        """
        Tell the agent of something that happened after its tool had answered, and have
        it speak; nothing when the call is ending.
        """

    def play(name: str, rate: int, pcm: bytes) -> Any:
        """
        Play a sound to the caller, after what is waiting to be heard.

        @param name: For the log; of one sound at a time.
        @return: A Deferred of whether it was heard to its end. It never fails.
        """

    def collect_digits(most: int, within: float) -> Any:
        """
        Take the next group of keys that the caller presses; the agent is not told.

        @param most: So many keys end it at once; so does C{#}, or a pause.
        @param within: Seconds for the first key, from the end of what the agent says.
        @return: A Deferred of the keys without C{#}; empty: none came in time, or the
            call is ending. It never fails.
        """

    def pause_recording(paused: bool) -> bool:
        """
        As L{IOperatedCall.pause_recording}, by the agent.

        @return: C{False}: the call is over.
        """

    def cancel_transfer() -> bool:
        """@return: Whether there was one that had not happened yet."""

    def transfer(target: str, reason: str) -> bool:
        """
        Let what the agent is saying be heard to its end, then hand the caller over.

        @param target: C{context,extension,priority}, from the configuration.
        @return: Whether it will be: not twice, and not after the call.
        """

    def end_after_speech(reason: str) -> None:
        """Let what the agent is saying be heard to its end, then hang up."""


class IPbxControl(Interface):
    """The PBX, where it can be told what to do with a channel."""

    def redirect(channel: str, target: str) -> Any:
        """
        Take a channel out of what it is doing, to go on elsewhere in the dialplan.

        @param target: C{context,extension,priority}.
        @return: A Deferred of whether it did. It never fails: that was logged.
        """

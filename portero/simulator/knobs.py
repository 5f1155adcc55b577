"""What a test can turn on the simulator: delays, refusals, faults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Knobs:
    """
    How the service behaves; the defaults are those of a healthy, quick service.

    Change a running one with C{dataclasses.replace}: C{simulator.knobs} is for
    connections opened later, C{session.knobs} for one that is open.
    """

    # The delivery of a reply.
    first_delta_s: float = 0.15
    """From the start of a response to its first audio."""
    chunk_ms: int = 200
    """Audio in one delta."""
    speed: float = 8.0
    """How many times faster than real time audio is delivered."""
    jitter_s: float = 0.0
    """Each delta after the first comes up to this much later than planned."""
    seed: int = 0
    """Of the jitter."""

    # What is said.
    reply: tuple[tuple[float, int], ...] | None = None
    """Instead of the agent's words: after so many seconds, so many ms of tone, and so
    on; all in one item. The first delay stands for C{first_delta_s}."""
    words: str = ""
    """What every reply that sounds is in writing, whatever it sounds like."""
    caller_words: str = ""
    """As what the caller is understood, whatever was said."""
    text_only: bool = False
    """Replies are text although audio was agreed."""
    text_replies: int = 0
    """So many replies are text, and then they are audio again."""
    function_call: tuple[str, str] | None = None
    """Name and JSON arguments of a function call that ends every reply, except the
    replies to a function's output."""
    answers: bool = True
    """False: no response ever starts, whatever is said or asked."""

    # What it costs.
    usage: Mapping[str, object] | None = None
    """C{usage} of every response that did not fail, instead of what was counted."""
    transcription_usage: Mapping[str, object] | None = None
    """The same of every transcription of the caller."""

    # Answers that are wrong.
    hide: frozenset[str] = frozenset()
    """Types of events that are not sent: C{session.created}, C{response.created}..."""
    sent_format: str | None = None
    """Send replies in this format (such as C{audio/pcm}), whatever was agreed."""
    claimed_format: str | None = None
    """C{session.updated} says that this format is in force, both ways."""
    inject: tuple[str | bytes, ...] = ()
    """Messages sent as they are after C{session.updated}: text, or binary if bytes."""
    late_audio_ms: int = 0
    """Audio of a cancelled response that still comes after its end."""
    auto_cancel: bool = True
    """False: speech never cancels a reply, although it was asked to."""

    # Errors by code.
    update_error: str | None = None
    """The next C{session.update} is refused with this code (once a connection)."""
    create_error: str | None = None
    """The next C{response.create} is refused with this code (once a connection)."""
    response_failed: str | None = None
    """Every response ends at once as C{failed} with this code."""

    # The connection.
    refuse: tuple[int, Mapping[str, object]] | None = None
    """The handshake is refused with this HTTP status and JSON body."""
    key: str | None = None
    """The only API key that is right; any is, when None."""
    handshake: bool = True
    """False: TCP is accepted and nothing is ever said."""
    deaf: bool = False
    """Nothing more is read from the socket, from the handshake on."""
    mute_after_ms: int | None = None
    """After so much audio of replies nothing more is sent; the socket stays open."""
    drop_after_ms: int | None = None
    """After so much audio of replies the connection is dropped."""
    drop_after_s: float | None = None
    """So long after the handshake the connection is dropped."""
    drop: Literal["close", "fin", "abort"] = "abort"
    """How: a WebSocket close 1011, TCP's FIN alone, or RST."""
    expires_in_s: float = 3600.0
    """The life of a session; at its end the service closes with 1001."""

    # What a test may look at.
    keep_s: float = 60.0
    """Seconds of the caller's audio that are kept for tests."""

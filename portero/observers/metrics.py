"""
What a Prometheus server is told: counts of what happens in calls, without a caller's
name or number, and without call ids. What is only looked at when it asks is in
L{portero.observers._scrape}.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    Summary,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from zope.interface import implementer

from portero.interfaces import Happening, IObserver, IWatchedCall, LegFigures
from portero.lag import ReactorLag
from portero.observers._scrape import Kept, Scrape
from portero.pacing import MediaClock
from portero.record import Outcome, Record
from portero.service import Bridge

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
"""Of what L{Metrics.text} gives."""

UNKNOWN: Final = "unknown"
"""Stands for each tool that the model made up, or that the service runs."""
ACTIONS: Final = ("say", "transfer", "hang_up")
"""What an operator can do to a call."""
TOKENS: Final = {
    "input_text": "input.text_tokens",
    "input_audio": "input.audio_tokens",
    "output_text": "output.text_tokens",
    "output_audio": "output.audio_tokens",
}
"""Kinds of tokens, with their names in the counts of a reply."""
CACHED: Final = (
    "input.cached.text_tokens",
    "input.cached.audio_tokens",
    "input.cached_tokens",
)
TAIL_AFTER: Final = 0.1
"""Seconds after an interruption when what the caller still heard is known."""

_SETUP: Final = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)
_LATENCY: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 5)
_PLAYOUT: Final = (0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5)
_TAIL: Final = (0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2)
_JITTER: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1)
_DURATION: Final = (5, 15, 30, 60, 120, 300, 600, 1800, 3600)


class _Agent:
    """The counts of one agent: each looked up once, and kept."""

    def __init__(self, counts: Counts, name: str) -> None:
        self.ended = {
            kind: counts.ended.labels(agent=name, outcome=kind.value)
            for kind in Outcome
        }
        self.latency = counts.latency.labels(agent=name)
        self.service = counts.service.labels(agent=name)
        self.barge_ins = counts.barge_ins.labels(agent=name)
        self.false_alarms = counts.false_alarms.labels(agent=name)
        self.losses = counts.losses.labels(agent=name)
        self.reconnects = counts.reconnects.labels(agent=name)
        self.tokens = {
            kind: counts.tokens.labels(agent=name, kind=kind)
            for kind in (*TOKENS, "transcription", "other")
        }
        self.cached = counts.cached.labels(agent=name)
        self.transcribed = counts.transcribed.labels(agent=name)


class Counts:
    """All that is counted when it happens."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, says: str, *labels: str) -> Counter:
            return Counter(f"portero_{name}", says, labels, registry=registry)

        def histogram(
            name: str, says: str, edges: Iterable[float], *labels: str
        ) -> Histogram:
            return Histogram(
                f"portero_{name}", says, labels, registry=registry, buckets=tuple(edges)
            )

        self.ended = counter(
            "calls_total", "Calls that ended, by outcome", "agent", "outcome"
        )
        self.duration = histogram(
            "call_duration_seconds", "How long calls lasted that ended", _DURATION
        )
        self.ready = histogram(
            "call_ready_seconds",
            "From the accepted call to the voice service that is ready",
            _SETUP,
        )
        self.first_frame = histogram(
            "call_first_frame_seconds",
            "From the accepted call to the first frame of speech sent to the caller",
            _SETUP,
        )
        self.latency = histogram(
            "turn_latency_seconds",
            "From the end of the caller's speech to the first frame of the reply",
            _LATENCY,
            "agent",
        )
        self.service = histogram(
            "turn_service_seconds",
            "Of the turn latency: until the voice service gave the first audio",
            _LATENCY,
            "agent",
        )
        self.playout = histogram(
            "turn_playout_seconds",
            "Of the turn latency: from the first audio to its first frame",
            _PLAYOUT,
        )
        self.barge_ins = counter(
            "barge_ins_total", "Times that a caller interrupted the agent", "agent"
        )
        self.false_alarms = counter(
            "false_alarms_total",
            "Sounds of callers that did not interrupt the agent after all",
            "agent",
        )
        self.tail = histogram(
            "barge_in_tail_seconds",
            "From an interruption to the end of the last frame with old audio",
            _TAIL,
        )
        self.jitter = histogram(
            "caller_jitter_seconds",
            "Jitter of the frames from Asterisk, at the end of calls (RFC 3550)",
            _JITTER,
        )
        self.losses = counter(
            "service_losses_total",
            "Conversations with the voice service that ended by themselves",
            "agent",
        )
        self.reconnects = counter(
            "service_reconnects_total",
            "Conversations that were ready in calls that had had one before",
            "agent",
        )
        self.internal = counter(
            "internal_errors_total", "Calls that something went wrong in portero for"
        )
        self.tools = counter(
            "tool_calls_total", "Tools that agents used, by result", "tool", "result"
        )
        self.tool_seconds = Summary(
            "portero_tool_duration_seconds",
            "How long the tools took",
            ("tool",),
            registry=registry,
        )
        self.tokens = counter("tokens_total", "Tokens used, by kind", "agent", "kind")
        self.cached = counter(
            "cached_tokens_total",
            "Of the input tokens: those that the voice service had in its cache",
            "agent",
        )
        self.transcribed = counter(
            "transcribed_seconds_total",
            "Audio of callers written down by a service paid by time",
            "agent",
        )
        self.actions = counter(
            "operator_actions_total", "What operators did to calls", "action"
        )
        for action in ACTIONS:
            self.actions.labels(action=action)


@dataclass(slots=True)
class _Live:
    """Of a call under way."""

    agent: _Agent
    call: IWatchedCall
    ready: bool = False
    sounded: bool = False
    tail_at: float = 0.0
    """Seconds from the beginning: when to look how an interruption went; 0: never."""


@implementer(IObserver)
class Metrics:
    """
    Counts for Prometheus, in a registry of its own.

    Labels have few values: agents, tools and voice services as the configuration names
    them, and fixed words.
    """

    def __init__(
        self,
        bridge: Bridge,
        media: MediaClock,
        lag: ReactorLag,
        kept: Kept | None = None,
    ) -> None:
        """
        @param media: The clock of all legs.
        @param kept: What becomes of records.
        """
        disable_created_metrics()  # twice as many series, for nothing
        self.registry = CollectorRegistry()
        self._bridge = bridge
        self._counts = Counts(self.registry)
        self._agents: dict[str, _Agent] = {}
        self._tools: set[str] = set()
        self._roster: Any = None
        self._live: dict[str, _Live] = {}
        self._scrape = Scrape(bridge, media, lag, kept)
        self.registry.register(self._scrape)
        ProcessCollector(namespace="portero", registry=self.registry)

    def text(self) -> bytes:
        """@return: What a Prometheus server reads; it is L{CONTENT_TYPE}."""
        self._know_the_roster()
        return generate_latest(self.registry)

    def _know_the_roster(self) -> None:
        """
        Whatever may be counted begins at zero: of what begins at one, the first is not
        seen by C{increase()}.
        """
        roster = self._bridge.roster
        if roster is self._roster:
            return
        self._roster = roster
        self._tools = {UNKNOWN}
        for agent in roster.agents():
            self._of(agent.name)
            self._tools.update(agent.tools)
        for tool in self._tools:
            self._counts.tool_seconds.labels(tool=tool)
            for result in ("ok", "refused"):
                self._counts.tools.labels(tool=tool, result=result)

    def _of(self, agent: str) -> _Agent:
        found = self._agents.get(agent)
        if found is None:
            found = self._agents[agent] = _Agent(self._counts, agent)
        return found

    # IObserver

    def call_started(self, call: IWatchedCall) -> None:
        self._live[call.call_id] = _Live(self._of(call.agent), call)
        self._scrape.live[call.call_id] = call

    def call_event(self, happening: Happening) -> None:
        live = self._live.get(happening.call_id)
        if live is None:
            return
        if live.tail_at and happening.at >= live.tail_at:
            self._see_tail(live, live.call.figures())
        look = _LOOKS.get(happening.kind)
        if look is not None:
            look(self, live, happening)

    def call_ended(self, record: Record, figures: LegFigures) -> None:
        agent = self._of(record.agent)
        agent.ended[record.outcome].inc()
        self._counts.duration.observe(record.seconds)
        if figures.frames_received:
            self._counts.jitter.observe(figures.jitter_ms / 1000)
        live = self._live.pop(record.call_id, None)
        if live is not None and live.tail_at:
            self._see_tail(live, figures)
        self._scrape.ended(record.call_id, figures)

    # Happenings

    def _see_tail(self, live: _Live, figures: LegFigures) -> None:
        live.tail_at = 0.0
        self._counts.tail.observe(figures.tail_ms / 1000)

    def _turn(self, live: _Live, happening: Happening) -> None:
        came, sounded = happening.data["came_ms"], happening.data["sounded_ms"]
        live.agent.latency.observe(sounded / 1000)
        live.agent.service.observe(came / 1000)
        self._counts.playout.observe((sounded - came) / 1000)

    def _sounding(self, live: _Live, happening: Happening) -> None:
        if not live.sounded:
            live.sounded = True
            self._counts.first_frame.observe(happening.at)

    def _barge_in(self, live: _Live, happening: Happening) -> None:
        live.agent.barge_ins.inc()
        live.tail_at = happening.at + TAIL_AFTER

    def _false_alarm(self, live: _Live, happening: Happening) -> None:
        live.agent.false_alarms.inc()

    def _service(self, live: _Live, happening: Happening) -> None:
        if "lost" in happening.data:
            live.agent.losses.inc()
        elif live.ready:
            live.agent.reconnects.inc()
        else:
            live.ready = True
            self._counts.ready.observe(happening.at)

    def _error(self, live: _Live, happening: Happening) -> None:
        self._counts.internal.inc()

    def _tool(self, live: _Live, happening: Happening) -> None:
        self._know_the_roster()
        data = happening.data
        tool = data["name"] if data["name"] in self._tools else UNKNOWN
        result = "ok" if data["ok"] else "refused"
        self._counts.tools.labels(tool=tool, result=result).inc()
        self._counts.tool_seconds.labels(tool=tool).observe(data["ms"] / 1000)

    def _used(self, live: _Live, happening: Happening) -> None:
        agent = live.agent
        used = happening.data["counts"].items()
        counts = collections.Counter({name: max(n, 0) for name, n in used})
        told = 0
        for kind, name in TOKENS.items():
            agent.tokens[kind].inc(counts[name])
            told += counts[name]
        agent.tokens["other"].inc(max(counts["total_tokens"] - told, 0))
        written = sum(counts[f"transcription.{name}"] for name in TOKENS.values())
        agent.tokens["transcription"].inc(
            counts["transcription.total_tokens"] or written
        )
        agent.cached.inc(sum(counts[name] for name in CACHED))
        agent.transcribed.inc(counts["transcription.ms"] / 1000)

    def _operator(self, live: _Live, happening: Happening) -> None:
        if happening.data["did"] in ACTIONS:
            self._counts.actions.labels(action=happening.data["did"]).inc()


_LOOKS: Final = {
    "turn": Metrics._turn,
    "sounding": Metrics._sounding,
    "barge_in": Metrics._barge_in,
    "false_alarm": Metrics._false_alarm,
    "service": Metrics._service,
    "error": Metrics._error,
    "tool_ended": Metrics._tool,
    "used": Metrics._used,
    "operator": Metrics._operator,
}
"""By kind of happening; the other kinds are not counted."""

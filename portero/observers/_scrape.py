"""What of the metrics is looked at only when a Prometheus server asks."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from portero import __version__
from portero.histogram import Histogram
from portero.interfaces import IWatchedCall, LegFigures
from portero.lag import ReactorLag
from portero.pacing import MediaClock
from portero.service import Bridge

Labels = Sequence[str] | None

REASONS: Final = (
    *("bad-request", "draining", "full", "not-announced", "over-budget"),
    *("stopping", "unhealthy", "unknown-agent"),
)
"""Words of L{portero.errors.Refused} for calls."""

_LATENESS: Final = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05)
_LAG: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)

_SUMS: Final = {
    "underruns": "Times that the audio of the agent ran out in the middle of a reply",
    "frames_sent": "Frames of 20 ms sent to Asterisk",
    "frames_received": "Frames received from Asterisk",
    "frames_skipped": "Frames not sent because portero was stalled",
}
"""Figures of the legs that add up, with what they say."""


class Kept(Protocol):
    """As L{portero.records.keeping.Keeping}: how the records are."""

    @property
    def waiting(self) -> int: ...

    @property
    def lost(self) -> int: ...

    @property
    def unsent(self) -> int: ...

    @property
    def given_up(self) -> int: ...


class Scrape(Collector):
    """
    @ivar live: The calls under way, by id.
    """

    def __init__(
        self,
        bridge: Bridge,
        media: MediaClock,
        lag: ReactorLag,
        kept: Kept | None = None,
    ) -> None:
        """@param kept: L{None}: nothing is said of records."""
        self.live: dict[str, IWatchedCall] = {}
        self._bridge = bridge
        self._media = media
        self._lag = lag
        self._kept = kept
        self._past: Counter[str] = Counter()
        """What the figures of the calls that ended add up to."""

    def ended(self, call_id: str, figures: LegFigures) -> None:
        """A call is over."""
        self.live.pop(call_id, None)
        self._add(self._past, figures)

    @staticmethod
    def _add(sums: Counter[str], figures: LegFigures) -> None:
        for name in (*_SUMS, "filled_ms"):
            sums[name] += getattr(figures, name)

    def describe(self) -> Iterable[Metric]:
        """None now: a registry would otherwise collect everything at once."""
        return ()

    def collect(self) -> Iterator[Metric]:
        yield from self._calls()
        yield from self._legs()
        yield from self._voices()
        yield from self._money()
        yield from self._records()
        yield from self._process()

    def _calls(self) -> Iterator[Metric]:
        bridge = self._bridge
        active = _gauge("calls_active", "Calls under way", labels=["agent"])
        for agent in bridge.roster.agents():
            active.add_metric([agent.name], bridge.busy(agent.name))
        yield active
        yield _gauge("calls_limit", "Calls that there may be at once", bridge.max_calls)
        yield _counter("calls_accepted", "Calls that were taken", bridge.answered)
        refused = _counter("calls_refused", "Calls not taken", labels=["reason"])
        for reason in REASONS:
            refused.add_metric([reason], bridge.refusals[reason])
        yield refused
        problem = bridge.problem() or self._lag.problem()
        yield _gauge("ready", "1: a new call would be taken and answered", not problem)
        yield _gauge(
            "draining", "1: an operator lets portero run empty", bridge.draining
        )
        yield _gauge("stopping", "1: portero is stopping", bridge.stopping)

    def _legs(self) -> Iterator[Metric]:
        sums = Counter(self._past)
        waiting = longest = jitter = 0.0
        for call in tuple(self.live.values()):
            figures = call.figures()
            self._add(sums, figures)
            waiting += figures.waiting_ms / 1000
            longest = max(longest, figures.waiting_ms / 1000)
            jitter = max(jitter, figures.jitter_ms / 1000)
        for name, says in _SUMS.items():
            yield _counter(name, says, sums[name])
        yield _counter(
            "caller_filled_seconds",
            "Silence put in where Asterisk sent nothing",
            sums["filled_ms"] / 1000,
        )
        yield _histogram(
            "frame_lateness_seconds",
            "How late frames left, of all that were sent",
            self._media.lateness_of_all(),
            _LATENESS,
        )
        yield _gauge(
            "caller_jitter_worst_seconds",
            "Jitter of the frames from Asterisk, in the worst call under way",
            jitter,
        )
        yield _gauge(
            "playout_waiting_seconds",
            "Audio of agents that waits to be sent, of all calls",
            waiting,
        )
        yield _gauge(
            "playout_waiting_worst_seconds", "The same, of the call with most", longest
        )

    def _voices(self) -> Iterator[Metric]:
        up = _gauge(
            "provider_up", "0: the voice service failed just now", labels=["provider"]
        )
        handshake = _gauge(
            "provider_handshake_seconds",
            "What the voice service took the last time from connect to ready",
            labels=["provider"],
        )
        errors = _counter(
            "provider_errors",
            "Errors of the voice service, by its own code",
            labels=["provider", "code"],
        )
        for name, provider in self._bridge.roster.providers().items():
            report = provider.report()
            up.add_metric([name], not report.problem)
            if report.handshake_ms is not None:
                handshake.add_metric([name], report.handshake_ms / 1000)
            for code, count in report.errors.items():
                errors.add_metric([name, code], count)
        yield from (up, handshake, errors)

    def _money(self) -> Iterator[Metric]:
        roster = self._bridge.roster
        spend, charged = roster.spent(), roster.charged()
        total = _counter(
            "spent_dollars", "What calls cost, in US dollars", labels=["agent"]
        )
        for agent in spend["agents"]:
            total.add_metric([agent["agent"]], charged.get(agent["agent"], 0.0))
        yield total
        if spend["today"] is not None:
            yield _gauge(
                "spent_today_dollars", "Of all agents, in US dollars", spend["today"]
            )
        yield _gauge(
            "spending_limit_dollars",
            "What all agents together may spend in a day; 0: there is no limit",
            spend["most"],
        )
        today = _gauge(
            "agent_spent_today_dollars", "In US dollars, by agent", labels=["agent"]
        )
        most = _gauge(
            "agent_spending_limit_dollars",
            "What an agent may spend in a day; 0: there is no limit",
            labels=["agent"],
        )
        for agent in spend["agents"]:
            most.add_metric([agent["agent"]], agent["most"])
            if agent["today"] is not None:
                today.add_metric([agent["agent"]], agent["today"])
        yield from (today, most)

    def _records(self) -> Iterator[Metric]:
        kept = self._kept
        if kept is None:
            return
        yield _gauge(
            "records_waiting",
            "Records of calls in memory that are not written yet",
            kept.waiting,
        )
        yield _counter("records_lost", "Calls that have no record", kept.lost)
        yield _gauge(
            "records_webhook_waiting",
            "Records on the disk that the webhook has not taken yet",
            kept.unsent,
        )
        yield _counter(
            "records_webhook_failed",
            "Records that the webhook never got",
            kept.given_up,
        )

    def _process(self) -> Iterator[Metric]:
        lag = self._lag
        yield _histogram(
            "reactor_lag_seconds",
            "How late the reactor did what was due, twice a second",
            lag.total,
            _LAG,
        )
        yield _gauge(
            "reactor_lag_worst_seconds",
            "The same, the worst of the last minute",
            lag.worst_ms / 1000,
        )
        build = _gauge("build_info", "Always 1", labels=["version", "python"])
        build.add_metric([__version__, platform.python_version()], 1)
        yield build


def _gauge(
    name: str, says: str, value: float | None = None, labels: Labels = None
) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"portero_{name}", says, value=value, labels=labels)


def _counter(
    name: str, says: str, value: float | None = None, labels: Labels = None
) -> CounterMetricFamily:
    return CounterMetricFamily(f"portero_{name}", says, value=value, labels=labels)


def _histogram(
    name: str, says: str, found: Histogram, edges: Sequence[float]
) -> HistogramMetricFamily:
    below = found.below(edges)
    buckets = [(str(edge), float(n)) for edge, n in zip(edges, below, strict=True)]
    buckets.append(("+Inf", float(found.count)))
    return HistogramMetricFamily(
        f"portero_{name}", says, buckets=buckets, sum_value=found.about
    )

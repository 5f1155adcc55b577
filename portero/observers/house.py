"""The house as a whole: its calls of today, how they went, and what limits them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final

from zope.interface import implementer

from portero import __version__
from portero.histogram import Histogram
from portero.interfaces import (
    Happening,
    IObserver,
    IWatchedCall,
    LegFigures,
    ProviderReport,
)
from portero.lag import ReactorLag
from portero.record import Outcome, Record
from portero.service import Bridge

HOURS: Final = 24
STATM: Final = Path("/proc/self/statm")


def resident_bytes() -> int:
    """@return: The memory of this process that is in RAM; 0 where nobody tells."""
    try:
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


class _Day:
    """What is counted from midnight to midnight."""

    def __init__(self, day: date) -> None:
        self.day = day
        self.outcomes: list[Counter[Outcome]] = [Counter() for _ in range(HOURS)]
        self.latencies = Histogram(10, 600)
        """Of the turns: ms from the end of the caller's speech to the first frame."""

    def by_hour(self) -> list[dict[str, int]]:
        return [
            {"hour": hour, **{kind.value: counts[kind] for kind in Outcome}}
            for hour, counts in enumerate(self.outcomes)
        ]

    def latency(self) -> dict[str, int | None]:
        turns = self.latencies.count
        found: dict[str, int | None] = {"turns": turns}
        for name, share in (("p50_ms", 0.5), ("p95_ms", 0.95)):
            ms = round(self.latencies.quantile(share))
            found[name] = ms if turns else None
        return found


@implementer(IObserver)
class House:
    """Counts what happens in all calls together."""

    def __init__(
        self,
        bridge: Bridge,
        lag: ReactorLag,
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        """@param now: The time on the wall, where this machine is."""
        self._bridge = bridge
        self._lag = lag
        self._now = now
        self._since = now().astimezone(UTC).isoformat(timespec="seconds")
        self._day = _Day(now().date())
        self._live: dict[str, IWatchedCall] = {}
        self._underruns = 0
        """Of the calls that are over."""
        self._barge_ins = 0
        self._errors = 0

    # IObserver

    def call_started(self, call: IWatchedCall) -> None:
        self._live[call.call_id] = call

    def call_event(self, happening: Happening) -> None:
        kind, data = happening.kind, happening.data
        if kind == "turn":
            self._today().latencies.add(data["sounded_ms"])
        elif kind == "barge_in":
            self._barge_ins += 1
        elif kind == "error" or (kind == "service" and "lost" in data):
            self._errors += 1

    def call_ended(self, record: Record, figures: LegFigures) -> None:
        self._live.pop(record.call_id, None)
        self._underruns += figures.underruns
        self._today().outcomes[self._now().hour][record.outcome] += 1

    def _today(self) -> _Day:
        today = self._now().date()
        if today != self._day.day:
            self._day = _Day(today)
        return self._day

    # For those who look

    def problem(self) -> str:
        """Empty when a new call would be taken and answered well; else why not."""
        return self._bridge.problem() or self._lag.problem()

    def report(self) -> dict[str, Any]:
        """
        The house as it stands: plain values, as JSON has them.

        C{calls.by_hour} and C{latency} are of today, where this machine is; the other
        counts since portero started. C{calls.most} is the limit; C{errors} counts
        what was lost of the voice services and what went wrong in portero.
        """
        bridge, today, problem = self._bridge, self._today(), self.problem()
        live = sum(call.figures().underruns for call in self._live.values())
        return {
            "version": __version__,
            "since": self._since,
            "ready": not problem,
            "problem": problem,
            "draining": bridge.draining,
            "stopping": bridge.stopping,
            "calls": {
                "now": len(bridge.calls),
                "most": bridge.max_calls,
                "answered": bridge.answered,
                "refused": bridge.refused,
                "by_hour": today.by_hour(),
            },
            "latency": today.latency(),
            "underruns": self._underruns + live,
            "barge_ins": self._barge_ins,
            "errors": self._errors,
            "providers": self.providers(),
            "lag_ms": self.lag_ms(),
            "spend": bridge.roster.spent(),
            "rss_mb": round(resident_bytes() / 1e6, 1),
        }

    def lag_ms(self) -> dict[str, float]:
        """Of the reactor in the last minute."""
        lag = self._lag
        return {"p99": round(lag.p99_ms, 1), "worst": round(lag.worst_ms, 1)}

    def providers(self) -> list[dict[str, Any]]:
        """Each voice service, and how it does."""
        found = self._bridge.roster.providers()
        return [_health(name, provider.report()) for name, provider in found.items()]


def _health(name: str, report: ProviderReport) -> dict[str, Any]:
    age = report.last_error_seconds
    return {
        "name": name,
        "service": report.service,
        "problem": report.problem,
        "handshake_ms": report.handshake_ms,
        "last_error": report.last_error,
        "last_error_seconds": None if age is None else round(age),
    }

"""What is known of a call when it is over."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from portero.facts import Facts


class Outcome(Enum):
    WELL = "well"
    TRANSFERRED = "transferred"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Record:
    """Of one call that ended."""

    call_id: str
    agent: str
    facts: Facts
    began: str
    """Date and time, ISO 8601."""
    seconds: float
    outcome: Outcome
    reason: str
    next: str
    """Where the dialplan should go on, C{context,extension,priority}; or empty."""
    turns: int
    barge_ins: int
    latency_ms: int | None
    """Of the replies: the median."""
    tokens: int
    dollars: float | None
    """L{None}: the model has no price."""

    @property
    def summary(self) -> str:
        """In a line."""
        price = "" if self.dollars is None else f", ${self.dollars:.4f}"
        return (
            f"{self.agent}: {self.seconds:.0f} s, {self.turns} turns{price}, "
            f"{self.outcome.value}: {self.reason}"
        )

    def answer(self) -> dict[str, str]:
        """What the dialplan is told, by name."""
        return {
            "outcome": self.outcome.value,
            "next": self.next,
            "reason": self.reason,
            "seconds": f"{self.seconds:.0f}",
            "turns": str(self.turns),
            "cost": "" if self.dollars is None else f"{self.dollars:.4f}",
            "agent": self.agent,
            "summary": self.summary,
        }

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "outcome": self.outcome.value, "summary": self.summary}

"""What one call adds up to: for its last log line and for the status resource."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.logger import Logger

from portero.interfaces import LegFigures
from portero.record import Outcome, Record
from portero.watching import Watch


class Tally:
    """Counts of one call."""

    log = Logger()

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self.caller_turns = 0
        """How often the caller spoke up, or pressed a key."""
        self.barge_ins = 0
        self.false_alarms = 0
        """Sounds of the caller that made a polite agent pause, and go on."""
        self.latencies: list[int] = []
        """Of each turn: ms from the end of the caller's speech to the first frame."""
        self.tokens: dict[str, int] = {}

    def used(self, counts: Mapping[str, int]) -> None:
        """Add the tokens of one reply."""
        for name, value in counts.items():
            self.tokens[name] = self.tokens.get(name, 0) + value

    def replied(self, call_id: str, came_ms: int, sounded_ms: int) -> None:
        """A turn was answered: one log line."""
        self.latencies.append(sounded_ms)
        self._watch.tell(
            "turn", turn=len(self.latencies), came_ms=came_ms, sounded_ms=sounded_ms
        )
        self.log.info(
            "call {call_id}: turn {turn}: {came} ms from the end of the caller's "
            "speech to the first audio, {sounded} ms to the first frame",
            call_id=call_id,
            turn=len(self.latencies),
            came=came_ms,
            sounded=sounded_ms,
        )

    @property
    def latency_ms(self) -> int | None:
        """The median of all turns; C{None} without any."""
        ordered = sorted(self.latencies)
        return ordered[len(ordered) // 2] if ordered else None

    def summary(self, record: Record, leg: LegFigures) -> None:
        """The call is over: one log line."""
        failed = record.outcome is Outcome.FAILED
        price = "" if record.dollars is None else f" for ${record.dollars:.4f}"
        self.log.info(
            "call {call_id} ended {how}: {reason}; agent {agent}, {seconds:.1f} s, "
            "{turns} turns, reply after {latency} ms (median), {barge_ins} barge-ins "
            "and {false_alarms} false ones, {underruns} underruns, {frames} frames "
            "sent and {skipped} skipped, lateness p99 {lateness:.2f} ms, {filled} ms "
            "of caller audio filled in, {tokens} tokens{price}",
            call_id=record.call_id,
            how="badly" if failed else "well",
            reason=record.reason,
            agent=record.agent,
            seconds=record.seconds,
            turns=record.turns,
            latency="-" if record.latency_ms is None else record.latency_ms,
            barge_ins=record.barge_ins,
            false_alarms=self.false_alarms,
            underruns=leg.underruns,
            frames=leg.frames_sent,
            skipped=leg.frames_skipped,
            lateness=leg.lateness_p99_ms,
            filled=leg.filled_ms,
            tokens=record.tokens,
            price=price,
        )

"""What one call adds up to: for its last log line and for the status resource."""

from __future__ import annotations

from collections.abc import Mapping

from twisted.logger import Logger

from portero.interfaces import LegFigures


class Tally:
    """Counts of one call."""

    log = Logger()

    def __init__(self) -> None:
        self.barge_ins = 0
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
        self.log.info(
            "call {call_id}: turn {turn}: {came} ms from the end of the caller's "
            "speech to the first audio, {sounded} ms to the first frame",
            call_id=call_id,
            turn=len(self.latencies),
            came=came_ms,
            sounded=sounded_ms,
        )

    def summary(
        self, call_id: str, reason: str, failed: bool, seconds: float, leg: LegFigures
    ) -> None:
        """The call is over: one log line."""
        ordered = sorted(self.latencies)
        self.log.info(
            "call {call_id} ended {how}: {reason}; {seconds:.1f} s, {turns} turns, "
            "reply after {latency} ms (median), {barge_ins} barge-ins, "
            "{underruns} underruns, {frames} frames sent and {skipped} skipped, "
            "lateness p99 {lateness:.2f} ms, {filled} ms of caller audio filled in, "
            "{tokens} tokens",
            call_id=call_id,
            how="badly" if failed else "well",
            reason=reason,
            seconds=seconds,
            turns=len(ordered),
            latency=ordered[len(ordered) // 2] if ordered else "-",
            barge_ins=self.barge_ins,
            underruns=leg.underruns,
            frames=leg.frames_sent,
            skipped=leg.frames_skipped,
            lateness=leg.lateness_p99_ms,
            filled=leg.filled_ms,
            tokens=self.tokens.get("total_tokens", 0),
        )

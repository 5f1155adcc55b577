"""A call as others see it: while it is under way, and when it is over."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from portero.assignment import Assignment
from portero.departure import Departure
from portero.interfaces import ILeg, LegFigures
from portero.record import Record
from portero.tally import Tally
from portero.watching import Watch


class Journal:
    """Of one call, which begins now."""

    log = Logger()

    def __init__(
        self,
        call_id: str,
        assignment: Assignment,
        leg: ILeg,
        clock: IReactorTime,
        tally: Tally,
    ) -> None:
        self.record: Record | None = None
        """L{None} while the call is under way."""
        self._call_id = call_id
        self._agent = assignment.agent
        self._facts = assignment.facts
        self._meter = assignment.meter
        self._leg = leg
        self._clock = clock
        self._tally = tally
        self._started = clock.seconds()
        self._began = datetime.now(UTC)

    def seconds(self) -> float:
        """@return: How long it lasts so far; or did, when it is over."""
        if self.record is not None:
            return self.record.seconds
        return self._clock.seconds() - self._started

    def snapshot(self, state: str, floor: str) -> dict[str, Any]:
        """
        The call as it stands, for the status resource.

        @param state: Of the call.
        @param floor: Who has it.
        """
        figures, tally, facts = self.figures(), self._tally, self._facts
        return {
            "id": self._call_id,
            "agent": self._agent,
            "caller_name": facts.caller_name,
            "caller_number": facts.caller_number,
            "called_number": facts.called_number,
            "peer": self._leg.peer,
            "state": state,
            "floor": floor,
            "seconds": round(self._clock.seconds() - self._started, 1),
            "turns": len(tally.latencies),
            "barge_ins": tally.barge_ins,
            "false_alarms": tally.false_alarms,
            "last_latency_ms": tally.latencies[-1] if tally.latencies else None,
            "underruns": figures.underruns,
            "lateness_p99_ms": round(figures.lateness_p99_ms, 2),
            "caller_rate": self._leg.caller_rate,
            "agent_rate": self._leg.agent_rate,
            "tokens": tally.tokens.get("total_tokens", 0),
            "dollars": None if self.dollars is None else round(self.dollars, 4),
            "began": self._began.isoformat(timespec="seconds"),
            "waiting_ms": figures.waiting_ms,
            "jitter_ms": round(figures.jitter_ms, 2),
            "filled_ms": figures.filled_ms,
            "frames_sent": figures.frames_sent,
            "frames_received": figures.frames_received,
            "frames_skipped": figures.frames_skipped,
            "prefill_ms": figures.prefill_ms,
        }

    @property
    def dollars(self) -> float | None:
        """So far; L{None}: the model has no price."""
        return self._meter.dollars if self._meter.known else None

    def publish(self, watch: Watch) -> None:
        """Give those who watch the L{record}."""
        if self.record is not None:
            watch.ended(self.record, self.figures())

    def close(self, departure: Departure) -> None:
        """The call is over: make its L{record}, and write the summary."""
        tally = self._tally
        self.record = Record(
            self._call_id,
            self._agent,
            self._facts,
            self._began.isoformat(timespec="seconds"),
            self._clock.seconds() - self._started,
            departure.outcome,
            departure.failure or departure.reason,
            departure.next,
            turns=len(tally.latencies),
            barge_ins=tally.barge_ins,
            latency_ms=tally.latency_ms,
            tokens=tally.tokens.get("total_tokens", 0),
            dollars=self.dollars,
        )
        tally.summary(self.record, self.figures())

    def figures(self) -> LegFigures:
        """What the leg measured so far."""
        try:
            return self._leg.figures()
        except Exception:
            self.log.failure("call {call_id}: no figures", call_id=self._call_id)
            return LegFigures()

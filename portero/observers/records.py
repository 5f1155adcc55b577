"""
A record of every call that ended, in a database: whole or not at all.

A database that cannot be written to harms no call. What is to be written waits in
memory, and is written as soon as that can be done.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from portero.interfaces import Happening, IObserver, IWatchedCall, LegFigures
from portero.record import Record
from portero.records import rows
from portero.records.cursor import Cursor
from portero.records.database import Database, Unavailable
from portero.records.past import UNKEPT, Past, discreet
from portero.sections import AgentSettings

MOST_HAPPENINGS: Final = 10_000
"""Of a call: an hour of lively talk has 2,000. What is more is not kept."""
MOST_CALLS: Final = 2000
MOST_WAITING: Final = 200_000
"""Happenings of calls that ended and wait to be written: about 100 MB. Then the oldest
call is lost."""
FIRST_WAIT: Final = 2.0
"""Seconds until the second try; each further one waits twice as long."""
LONGEST_WAIT: Final = 60.0
STOPPING_WAIT: Final = 0.2
STOP_WITHIN: Final = 5.0
"""Seconds that a lock or a slow disk may hold up the stop."""


@dataclass(slots=True)
class _Call:
    """One that is under way."""

    keep_words: bool
    whole_numbers: bool
    consent: str
    happened: list[Happening] = field(default_factory=list)


@implementer(IObserver)
class Records(Service):
    """Of the whole house."""

    log = Logger()

    def __init__(
        self,
        database: Database,
        clock: IReactorTime,
        recording_of: Callable[[str], str] = lambda call_id: "",
        sound_of: Callable[[str], Mapping[str, float]] = lambda call_id: {},
        host: str = "",
        tell: Callable[[Past], object] = lambda past: None,
    ) -> None:
        """
        @param recording_of: Says, when a call ends, which file has its sound; or
            nothing.
        @param sound_of: Says, when a call ends, what its sound was like.
        @param host: This machine's name.
        @param tell: Is told each record as well, when its call ends.
        """
        self.lost = 0
        """Calls whose records were given up since the start."""
        self._database = database
        self._clock = clock
        self._recording_of = recording_of
        self._sound_of = sound_of
        self._host = host
        self._tell = tell
        self._whole_numbers = False
        self._agents: Mapping[str, AgentSettings] = {}
        self._calls: dict[str, _Call] = {}
        self._waiting: deque[Past] = deque()
        self._happenings = 0
        """Of those that wait."""
        self._open = False
        self._writing = False
        self._timer: IDelayedCall | None = None
        self._failed = 0
        """Times, since it worked last."""
        self._lost_then = 0
        self._losing = False
        self._emptied: Deferred[None] | None = None
        """Fires when nothing waits; of a stop."""

    @property
    def waiting(self) -> int:
        """Calls that ended and are not written yet."""
        return len(self._waiting)

    def use(self, agents: Mapping[str, AgentSettings], *, whole_numbers: bool) -> None:
        """What is kept of calls that begin from now on."""
        self._agents = agents
        self._whole_numbers = whole_numbers

    def delete(self, before: str) -> Deferred[int]:
        """
        @param before: Date and time, ISO 8601, in UTC: records of calls that began
            earlier are deleted.
        @return: How many there were; fails with L{RecordsError}.
        """
        return self._database.run(partial(rows.delete, before=before))

    def forget(self, call_id: str) -> bool:
        """
        What waits to be written of a call is not written any more.

        @return: Whether something did.
        """
        kept = [past for past in self._waiting if past.record.call_id != call_id]
        found = len(kept) < len(self._waiting)
        self._waiting = deque(kept)
        self._happenings = sum(len(past.happened) for past in kept)
        return found

    # IObserver

    def call_started(self, call: IWatchedCall) -> None:
        settings = self._agents.get(call.agent)
        keep_words = settings is not None and settings.keep_words
        consent = settings.consent if settings is not None else ""
        kept = _Call(keep_words, self._whole_numbers, consent)
        self._calls[call.call_id] = kept

    def call_event(self, happening: Happening) -> None:
        call = self._calls.get(happening.call_id)
        if call is None or happening.kind in UNKEPT:
            return
        if len(call.happened) < MOST_HAPPENINGS:
            call.happened.append(happening)

    def call_ended(self, record: Record, figures: LegFigures) -> None:
        call = self._calls.pop(record.call_id, None)
        if call is None:
            return
        past = Past(
            record,
            replace(figures, sound=self._sound_of(record.call_id)),
            tuple(call.happened),
            recording=self._recording_of(record.call_id),
            consent=call.consent,
            host=self._host,
        )
        past = discreet(
            past, keep_words=call.keep_words, whole_numbers=call.whole_numbers
        )
        self._waiting.append(past)
        self._happenings += len(past.happened)
        while len(self._waiting) > MOST_CALLS or self._happenings > MOST_WAITING:
            if len(self._waiting) == 1:
                break  # as large as that is, it may well be written
            self._take_first()
            self._lose()
        self._go_on()
        self._tell(past)

    def _take_first(self) -> None:
        self._happenings -= len(self._waiting.popleft().happened)

    def _lose(self) -> None:
        """As memory is not without end."""
        self.lost += 1
        if not self._losing:
            self._losing = True
            self.log.error(
                "the records of {count} calls wait to be written to {place}: for each "
                "that comes now, the oldest is lost",
                count=len(self._waiting),
                place=self._database.name,
            )

    # Writing

    def startService(self) -> None:
        super().startService()
        self._database.open()
        self._open = True
        # If that cannot be done, somebody should know before the first call ends.
        self._begin(self._database.run(_nothing))

    def stopService(self) -> Deferred[None]:
        """@return: Fires when all is written, or cannot be."""
        super().stopService()
        self._stop_waiting()
        emptied: Deferred[None] = Deferred()
        self._emptied = emptied
        emptied.addTimeout(STOP_WITHIN, self._clock)
        emptied.addBoth(self._close)
        self._go_on()
        return emptied

    def _close(self, _: object) -> None:
        self._emptied = None
        self._open = False
        self._stop_waiting()
        if self._waiting:
            self.log.error(
                "the records of {count} calls are lost: they could not be written to "
                "{place} before the stop",
                count=len(self._waiting),
                place=self._database.name,
            )
        self._database.close()

    def _stop_waiting(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _go_on(self) -> None:
        """Write the next one, unless one is being written, or it is too early."""
        if self._writing or self._timer is not None or not self._open:
            return
        if self._waiting:
            past = self._waiting[0]
            writing = self._database.run(partial(rows.write, past=past))
            self._begin(writing, past)
        elif self._emptied is not None:
            self._emptied.callback(None)

    def _begin(self, writing: Deferred[None], past: Past | None = None) -> None:
        self._writing = True
        done = writing.addCallbacks(
            self._worked, self._did_not_work, errbackArgs=(past,)
        )
        done.addCallback(self._ended, past)
        done.addErrback(lambda failure: self.log.failure("records", failure))

    def _ended(self, done: bool, past: Past | None) -> None:
        """@param done: Of this one nothing more can be done."""
        self._writing = False
        # It may have had to make room for others meanwhile.
        if done and self._waiting and self._waiting[0] is past:
            self._take_first()
        self._go_on()

    def _worked(self, _: object) -> bool:
        self._losing = False
        if self._failed:
            self._failed = 0
            self.log.warn(
                "records are written to {place} again; {lost} calls have none",
                place=self._database.name,
                lost=self.lost - self._lost_then,
            )
        return True

    def _did_not_work(self, failure: Failure, past: Past | None) -> bool:
        error = failure.value
        if not isinstance(error, Unavailable):
            self.lost += 1
            self.log.failure(
                "call {call_id}: its record is given up",
                failure,
                call_id="-" if past is None else past.record.call_id,
            )
            return True
        if not self._open:
            return False
        if not self._failed:
            self._lost_then = self.lost
            self.log.warn(
                "records cannot be written to {place}: {why}; calls go on, and their "
                "records wait in memory: {remedy}",
                place=self._database.name,
                why=str(error),
                remedy=error.remedy,
            )
        wait = min(FIRST_WAIT * 2 ** min(self._failed, 20), LONGEST_WAIT)
        self._failed += 1
        self._timer = self._clock.callLater(
            wait if self.running else STOPPING_WAIT, self._try_again
        )
        return False

    def _try_again(self) -> None:
        self._timer = None
        self._go_on()


def _nothing(cursor: Cursor) -> None:
    """The tables are there then."""

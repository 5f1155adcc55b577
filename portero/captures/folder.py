"""The captures of the whole house: which calls are captured, and where it is kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from portero.assignment import Assignment
from portero.call import Call
from portero.captures.call import CapturedCall, capture_call
from portero.captures.capture import Capture
from portero.captures.entries import MAGIC, CaptureError, Entry, block
from portero.interfaces import Happening, ILeg, IObserver, IWatchedCall, LegFigures
from portero.record import Record
from portero.records.naming import delete, file_name
from portero.watching import Watchers

SUFFIX: Final = ".capture"
PIECE: Final = 128 * 1024
"""Bytes that are written together, at the latest."""
EVERY: Final = 0.5
"""Seconds after which what there is is written: as much as a crash takes away."""
MOST_WAITING: Final = 16 * 1024 * 1024
"""Bytes of a call that wait for the disk."""
STOP_WITHIN: Final = 5.0
"""Seconds that a slow disk may hold up the stop."""

InThread = Callable[[Callable[[], Any]], Deferred[Any]]


@implementer(IObserver)
class Captures(Service):
    """A disk that fails ends a capture, and no call."""

    log = Logger()

    def __init__(self, folder: str, clock: IReactorTime, in_thread: InThread) -> None:
        """
        @param folder: Is made if it is not there; only its owner can read it.
        @param in_thread: Runs functions where they may wait for a disk: one after
            another, in their order.
        """
        self.folder = folder
        self._clock = clock
        self._in_thread = in_thread
        self._agents: frozenset[str] = frozenset()
        self._open: dict[str, tuple[Capture, Spool]] = {}
        self._closing: set[Deferred[None]] = set()

    def use(self, agents: Iterable[str]) -> None:
        """@param agents: Whose calls are captured from now on."""
        self._agents = frozenset(agents)

    def make_call(
        self,
        call_id: str,
        leg: ILeg,
        assignment: Assignment,
        clock: IReactorTime,
        ended: Callable[[Call], None],
        watchers: Watchers,
    ) -> Call:
        """As L{Call} itself; one that is captured when its agent's calls are."""
        if assignment.agent in self._agents:
            try:
                return self._captured(leg, assignment, ended, watchers)
            except CaptureError as error:
                self.log.warn(
                    "call {call_id} is not captured: {why}",
                    call_id=call_id,
                    why=str(error),
                )
            except Exception:
                self.log.failure("call {call_id} is not captured", call_id=call_id)
        return Call(call_id, leg, assignment, clock, ended, watchers)

    def _captured(
        self,
        leg: ILeg,
        assignment: Assignment,
        ended: Callable[[Call], None],
        watchers: Watchers,
    ) -> CapturedCall:
        call_id = assignment.brief.call_id
        spool = Spool(call_id, self.folder, self._in_thread)
        capture = Capture(self._clock, spool.keep, call_id)
        try:
            call = capture_call(capture, leg, assignment, ended, watchers)
            spool.name = file_name(call.snapshot()["began"], call_id, SUFFIX)
        except BaseException:
            spool.give_up()
            raise
        self._open[call_id] = capture, spool
        self.log.info(
            "call {call_id} is captured: {name}", call_id=call_id, name=spool.name
        )
        return call

    def delete(self, before: str) -> Deferred[int]:
        """
        @param before: Date and time, ISO 8601, in UTC: captures of calls that began
            earlier are deleted.
        @return: How many there were; fails with C{OSError}.
        """
        return self._in_thread(partial(delete, self.folder, before, SUFFIX))

    # IObserver

    def call_started(self, call: IWatchedCall) -> None:
        pass

    def call_event(self, happening: Happening) -> None:
        found = self._open.get(happening.call_id)
        if found is None:
            return
        capture, spool = found
        capture.call_event(happening)
        if happening.kind == "recording" and happening.data["did"] == "paused":
            # There is no part of it that would not say what must not be kept.
            self._end(spool)
            self.log.info(
                "call {call_id}: its capture ends here: its recording is paused",
                call_id=happening.call_id,
            )

    def call_ended(self, record: Record, figures: LegFigures) -> None:
        found = self._open.pop(record.call_id, None)
        if found is None:
            return
        capture, spool = found
        capture.call_ended(record, figures)
        self._end(spool)

    def _end(self, spool: Spool) -> None:
        """It may have ended before."""
        closing = spool.close()
        self._closing.add(closing)
        closing.addBoth(lambda _: self._closing.discard(closing))

    def stopService(self) -> Deferred[Any]:
        """@return: Fires when all is written, or cannot be."""
        super().stopService()
        written: Deferred[Any] = DeferredList([*self._closing])
        return written.addTimeout(STOP_WITHIN, self._clock)


class Spool:
    """Of one call: gathers entries, and has them written."""

    log = Logger()

    def __init__(self, call_id: str, folder: str, in_thread: InThread) -> None:
        self.name = ""
        """Of the file; set before there is anything to write."""
        self._call_id = call_id
        self._folder = folder
        self._in_thread = in_thread
        self._entries: list[Entry] = []
        self._size = 0
        self._since = 0.0
        self._waiting = 0
        self._over = False
        self._broken = False
        self._torn = False
        """What would be written now would come after the half of something."""
        self._file = -1

    def keep(self, entry: Entry) -> None:
        if self._over:
            return
        if not self._entries:
            self._since = entry.at
        self._entries.append(entry)
        self._size += len(entry.data)
        if self.name and (self._size >= PIECE or entry.at - self._since >= EVERY):
            self._write()

    def close(self) -> Deferred[None]:
        """@return: Fires when the file is as it stays; it never fails."""
        if self._entries:
            self._write()
        self._over = True
        return self._in_thread(self._close).addErrback(self._failed)

    def give_up(self) -> None:
        """Nothing more is kept."""
        self._over = True
        self._entries.clear()

    def _write(self) -> None:
        entries, self._entries = self._entries, []
        size, self._size = self._size, 0
        if self._waiting >= MOST_WAITING:
            mib = MOST_WAITING // 2**20
            self._break(f"{mib} MiB of it wait for the disk already")
            return
        self._waiting += size
        writing = self._in_thread(partial(self._put, entries))
        writing.addCallbacks(partial(self._written, size), self._failed)

    def _written(self, size: int, _: None) -> None:
        self._waiting -= size

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            self._break("the disk takes too long, and portero stops")
        elif failure.check(OSError):
            self._break(failure.getErrorMessage())
        else:
            self.log.failure(
                "call {call_id}: capture {name}",
                failure,
                call_id=self._call_id,
                name=self.name,
            )
            self._break("internal error")

    def _break(self, why: str) -> None:
        """What was written stays; the call goes on without."""
        if self._broken:
            return
        self._broken = True
        self.give_up()
        self.log.warn(
            "call {call_id}: its capture ends here, and the call goes on: {path}: "
            "{why}. The folder must be writable for portero's user, on a disk with "
            "room ([records] captures)",
            call_id=self._call_id,
            path=os.path.join(self._folder, self.name),
            why=why,
        )

    # In the thread

    def _put(self, entries: list[Entry]) -> None:
        """@raise OSError: Not all of it is in the file."""
        if self._torn:
            return
        self._torn = True
        data = block(entries)
        if self._file < 0:
            os.makedirs(self._folder, 0o700, True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            path = os.path.join(self._folder, self.name)
            self._file = os.open(path, flags, 0o600)
            data = MAGIC + data
        while data:
            data = data[os.write(self._file, data) :]
        self._torn = False

    def _close(self) -> None:
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

"""The sound of calls, for agents that record it: caller left, agent right."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from portero.interfaces import (
    Happening,
    IAudioTap,
    IObserver,
    IWatchedCall,
    LegFigures,
)
from portero.record import Record
from portero.records.naming import delete, file_name
from portero.records.tape import Frame, Full, Tape
from portero.records.waveform import SUFFIX as PEAKS

SUFFIX: Final = ".wav"
PIECE: Final = 25
"""Frames, of 20 ms, of a call that are written at a time."""
TOGETHER: Final = 0.1
"""Seconds within which pieces of several calls are given to the thread as one: to wake
it costs more than to write (measured). With a piece, and the frames that a tap is
behind the line, that is less than a second that a crash takes away."""
MOST_WAITING: Final = 50
"""Pieces of a call that wait for the disk."""
REMEMBERED: Final = 5000
"""Calls whose recordings are known by their ids."""
STOP_WITHIN: Final = 5.0
"""Seconds that a slow disk may hold up the stop."""

InThread = Callable[[Callable[[], Any]], Deferred[Any]]


@implementer(IObserver)
class Recordings(Service):
    """Of the whole house. A disk that fails ends a recording, and no call."""

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
        self._reels: dict[str, _Reel] = {}
        self._due: list[_Reel] = []
        """Those that have a piece to be written."""
        self._soon: IDelayedCall | None = None
        self._names: OrderedDict[str, str] = OrderedDict()
        self._closing: set[Deferred[None]] = set()

    def use(self, agents: Iterable[str]) -> None:
        """@param agents: Whose calls are recorded from now on."""
        self._agents = frozenset(agents)

    def name_of(self, call_id: str) -> str:
        """@return: The file with the sound of a call; empty: there is none."""
        return self._names.get(call_id, "")

    def delete(self, before: str) -> Deferred[int]:
        """
        @param before: Date and time, ISO 8601, in UTC: recordings that began earlier
            are deleted, with what was made of them.
        @return: How many there were; fails with C{OSError}.
        """
        return self._in_thread(
            partial(delete, self.folder, before, SUFFIX, also=(SUFFIX + PEAKS,))
        )

    # IObserver

    def call_started(self, call: IWatchedCall) -> None:
        if call.agent not in self._agents:
            return
        call_id = call.call_id
        name = file_name(call.snapshot()["began"], call_id, SUFFIX)
        reel = _Reel(call, os.path.join(self.folder, name), self._has_piece)
        self._reels[call_id] = reel
        self._names[call_id] = name
        while len(self._names) > REMEMBERED:
            self._names.popitem(last=False)
        self.log.info("call {call_id} is recorded: {name}", call_id=call_id, name=name)
        call.tap(reel)

    def call_event(self, happening: Happening) -> None:
        pass

    def call_ended(self, record: Record, figures: LegFigures) -> None:
        reel = self._reels.pop(record.call_id, None)
        if reel is None:
            return
        if reel in self._due:
            self._due.remove(reel)
        closing = self._in_thread(partial(reel.close, reel.take()))
        closing.addErrback(reel.failed)
        if not reel.began:
            self._names.pop(record.call_id, None)
        self._closing.add(closing)
        closing.addBoth(lambda _: self._closing.discard(closing))

    def stopService(self) -> Deferred[Any]:
        """@return: Fires when all is written, or cannot be."""
        super().stopService()
        soon, self._soon = self._soon, None
        if soon is not None:
            soon.cancel()
            self._write_due()
        written: Deferred[Any] = DeferredList([*self._closing])
        return written.addTimeout(STOP_WITHIN, self._clock)

    # Writing

    def _has_piece(self, reel: _Reel) -> None:
        self._due.append(reel)
        if self._soon is None:
            self._soon = self._clock.callLater(TOGETHER, self._write_due)

    def _write_due(self) -> None:
        self._soon = None
        due, self._due = self._due, []
        pieces = [(reel, reel.take()) for reel in due]
        writing = self._in_thread(partial(_write, pieces))
        writing.addCallbacks(_written, partial(_unwritten, due))


@implementer(IAudioTap)
class _Reel:
    """Of one call: gathers what is heard in it, and has it written."""

    log = Logger()

    def __init__(
        self, call: IWatchedCall, path: str, has_piece: Callable[[_Reel], None]
    ) -> None:
        """@param has_piece: Called once, until L{take} is."""
        self.began = False
        """There was something to write."""
        self.waiting = 0
        """So many pieces wait for the disk."""
        self._call = call
        self._path = path
        self._tape = Tape(path)
        self._has_piece = has_piece
        self._frames: list[Frame] = []
        self._over = False
        """Nothing more is written: what was lost would be missing before it."""
        self._told = False
        """Somebody was told why."""

    def frame(
        self, caller: bytes, caller_rate: int, agent: bytes, agent_rate: int
    ) -> None:
        self._frames.append(Frame(caller, caller_rate, agent, agent_rate))
        if len(self._frames) == PIECE:
            self._has_piece(self)

    def take(self) -> list[Frame]:
        """@return: What has come since the last time."""
        frames, self._frames = self._frames, []
        self.began = self.began or bool(frames)
        if self.waiting >= MOST_WAITING:
            seconds = MOST_WAITING * PIECE // 50
            self._break(f"{seconds} s of it wait for the disk already")
            return []
        self.waiting += 1
        return frames

    # In the thread, in the order in which they were given to it

    def write(self, frames: list[Frame]) -> None:
        """@raise OSError, Full: It cannot be, and nothing after it will."""
        if self._over or not frames:
            return
        try:
            if not self._tape.began:
                os.makedirs(os.path.dirname(self._path), 0o700, True)
            self._tape.write(frames)
        except BaseException:
            self._over = True
            raise

    def close(self, frames: list[Frame]) -> None:
        """The same, and be done with the file."""
        try:
            self.write(frames)
            if not self._over:
                self._tape.close()
        finally:
            self._tape.drop()

    # Again where calls are

    def failed(self, failure: Failure) -> None:
        """What was to be written is not."""
        if failure.check(Full):
            self._break("a WAV file can hold no more")
        elif failure.check(CancelledError):
            self._break("the disk takes too long, and portero stops")
        elif failure.check(OSError):
            self._break(failure.getErrorMessage())
        else:
            self.log.failure(
                "recording {path}",
                failure,
                path=self._path,
                call_id=self._call.call_id,
            )
            self._break("internal error")

    def _break(self, why: str) -> None:
        """What was written stays; the call goes on without."""
        if self._told:
            return
        self._told = self._over = True
        self._call.untap(self)
        self.log.warn(
            "call {call_id}: its recording ends here, and the call goes on: {path}: "
            "{why}. The folder must be writable for portero's user, on a disk with "
            "room ([records] recordings)",
            call_id=self._call.call_id,
            path=self._path,
            why=why,
        )


Pieces = list[tuple[_Reel, list[Frame]]]


def _write(pieces: Pieces) -> list[tuple[_Reel, Failure | None]]:
    """In the thread. @return: Of each, why it could not be written; or nothing."""
    done: list[tuple[_Reel, Failure | None]] = []
    for reel, frames in pieces:
        try:
            reel.write(frames)
            done.append((reel, None))
        except Exception:
            done.append((reel, Failure()))
    return done


def _written(done: list[tuple[_Reel, Failure | None]]) -> None:
    for reel, failure in done:
        reel.waiting -= 1
        if failure is not None:
            reel.failed(failure)


def _unwritten(reels: list[_Reel], failure: Failure) -> None:
    """There is no thread any more, for instance."""
    for reel in reels:
        reel.failed(failure)

"""The sound of calls, for agents that record it: caller left, agent right."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.internet.interfaces import IReactorTime
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
PIECE: Final = 30
"""Frames, of 20 ms, that are written together: with those that a tap is behind the
line, less than a second that a crash takes away."""
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
        reel = _Reel(call, os.path.join(self.folder, name), self._in_thread)
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
        closing = reel.close()
        if not reel.began:
            self._names.pop(record.call_id, None)
        self._closing.add(closing)
        closing.addBoth(lambda _: self._closing.discard(closing))

    def stopService(self) -> Deferred[Any]:
        """@return: Fires when all is written, or cannot be."""
        super().stopService()
        written: Deferred[Any] = DeferredList([*self._closing])
        return written.addTimeout(STOP_WITHIN, self._clock)


@implementer(IAudioTap)
class _Reel:
    """Of one call: gathers what is heard in it, and has it written."""

    log = Logger()

    def __init__(self, call: IWatchedCall, path: str, in_thread: InThread) -> None:
        self.began = False
        """There was something to write."""
        self._call = call
        self._path = path
        self._tape = Tape(path)
        self._in_thread = in_thread
        self._frames: list[Frame] = []
        self._waiting = 0
        self._broken = False

    def frame(
        self, caller: bytes, caller_rate: int, agent: bytes, agent_rate: int
    ) -> None:
        self._frames.append(Frame(caller, caller_rate, agent, agent_rate))
        if len(self._frames) >= PIECE:
            self._write()

    def close(self) -> Deferred[None]:
        """@return: Fires when the file is as it stays; it never fails."""
        if self._frames:
            self._write()
        end = self._tape.drop if self._broken else self._tape.close
        return self._in_thread(end).addErrback(self._failed)

    def _write(self) -> None:
        frames, self._frames = self._frames, []
        if self._broken:
            return
        if self._waiting >= MOST_WAITING:
            seconds = MOST_WAITING * PIECE // 50
            self._break(f"{seconds} s of it wait for the disk already")
            return
        if not self.began:
            self.began = True
            make = partial(os.makedirs, os.path.dirname(self._path), 0o700, True)
            self._in_thread(make).addErrback(self._failed)
        self._waiting += 1
        writing = self._in_thread(partial(self._put, frames))
        writing.addCallbacks(self._written, self._failed)

    def _put(self, frames: list[Frame]) -> None:
        """In the thread."""
        if not self._broken:
            self._tape.write(frames)

    def _written(self, _: None) -> None:
        self._waiting -= 1

    def _failed(self, failure: Failure) -> None:
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
        if self._broken:
            return
        self._broken = True
        self._call.untap(self)
        self.log.warn(
            "call {call_id}: its recording ends here, and the call goes on: {path}: "
            "{why}. The folder must be writable for portero's user, on a disk with "
            "room ([records] recordings)",
            call_id=self._call.call_id,
            path=self._path,
            why=why,
        )

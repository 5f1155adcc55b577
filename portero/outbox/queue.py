"""
Things on their way out: kept in a folder, a file each, until a server has taken them.

What a crash finds between the server's word and the removal of its file is sent twice;
nothing is lost.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from secrets import token_hex
from typing import Any, Final, Generic, TypeVar

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from portero.outbox.delivery import (
    Deliver,
    Folder,
    InThread,
    Postponed,
    Rejected,
    Target,
    Thing,
    Unreachable,
)
from portero.outbox.folder import LARGEST, MOST, CannotKeep

Result = TypeVar("Result")

FIRST_WAIT: Final = 60.0
"""Seconds until the second try; each further one waits twice as long."""
LONGEST_WAIT: Final = 3600.0
GIVE_UP_AFTER: Final = 3 * 86400.0
"""Seconds."""
DELIVER_WITHIN: Final = 300.0
"""Seconds for one try."""
STOP_WITHIN: Final = 5.0
"""Seconds that a delivery or a slow disk may hold up the stop."""


@dataclass(slots=True)
class _Waiting:
    name: str
    """Of its file: seconds since 1970, and what makes it unique."""
    tried: int = 0
    not_before: float = 0.0
    """On the reactor's clock."""

    @property
    def since(self) -> float:
        """On the wall's clock."""
        return float(self.name.partition("-")[0])


class Outbox(Service, Generic[Target, Thing]):
    """
    Delivers one after another. There is one for the process, which goes on when the
    configuration changes. Each kind says what it is called.
    """

    log = Logger()
    thing = "thing"
    things = "things"
    of = ""
    """Its section, for who has to change something."""
    not_found = ""
    """Told when the folder cannot be had; with C{{folder}} and C{{why}}."""
    not_kept = ""
    """The same, of one thing."""
    first_wait = FIRST_WAIT

    def server_name(self, target: Target) -> str:
        """@return: For the log."""
        raise NotImplementedError

    def receiver(self, thing: Thing) -> str:
        """@return: Whom it is for, without more than the log may have."""
        raise NotImplementedError

    def __init__(
        self,
        folder: Folder[Thing],
        clock: IReactorTime,
        in_thread: InThread,
        deliver: Deliver[Target, Thing],
        now: Callable[[], float] = time.time,
    ) -> None:
        """
        @param in_thread: Runs a function where it may wait for a disk.
        @param now: Seconds on the wall's clock.
        """
        self.folder = folder
        self.lost = 0
        """Given up since the start."""
        self._clock = clock
        self._in_thread = in_thread
        self._send = deliver
        self._now = now
        self._stopped: Deferred[None] | None = None
        self._server: Target | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._writing: set[Deferred[Any]] = set()
        self._delivering: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None
        self._server_tried = 0
        self._server_not_before = 0.0

    def use(self, server: Target) -> None:
        """
        From now on, all goes there. What waits is tried at once, because something
        may have been put right, and some may have been put back into the folder.
        """
        self._server = server
        self._server_answers()
        for one in self._waiting.values():
            one.not_before = 0.0
        if self.running:
            self._open()

    @property
    def waiting(self) -> int:
        """How many are not delivered yet."""
        return len(self._waiting)

    # Service

    def startService(self) -> None:
        super().startService()
        self._open()

    def stopService(self) -> Deferred[Any]:
        """@return: Fires when nothing is being written or delivered any more."""
        super().stopService()
        self._stop_waiting()
        stopped = self._stopped = Deferred()
        stopped.addTimeout(STOP_WITHIN, self._clock)
        stopped.addErrback(self._break_off)
        self._note_end()
        return stopped

    def _note_end(self) -> None:
        stopped = self._stopped
        if stopped is not None and not self._writing and self._delivering is None:
            self._stopped = None
            stopped.callback(None)

    def _break_off(self, _: Failure) -> None:
        """What was not delivered is still there at the next start."""
        self._stopped = None
        if self._delivering is not None:
            self._delivering.cancel()

    def _open(self) -> None:
        found = self._thread(self.folder.open)
        found.addCallbacks(self._found, self._not_found)

    def _found(self, names: list[str]) -> None:
        for name in names:
            self._waiting.setdefault(name, _Waiting(name))
        if names:
            self.log.info(
                "{count} {things} wait in {folder}",
                count=len(names),
                things=self.things,
                folder=str(self.folder.path),
            )
        self._look()

    def _not_found(self, failure: Failure) -> None:
        self.log.warn(
            self.not_found,
            folder=str(self.folder.path),
            why=failure.getErrorMessage(),
        )

    # What others do

    def ready(self) -> Deferred[None]:
        """
        @return: Fires when one could be kept now; fails with L{CannotKeep}, which
            was logged.
        """
        return self._kept(self.folder.check)

    def add(self, make: Callable[[], bytes]) -> Deferred[None]:
        """
        Have it delivered.

        @param make: Gives its content, in the thread.
        @return: Fires when it is on the disk; fails with L{CannotKeep}, which was
            logged.
        """
        name = f"{round(self._now()):010d}-{token_hex(6)}{self.folder.suffix}"

        def write() -> None:
            content = make()
            if len(content) > LARGEST:
                raise CannotKeep(f"it has {len(content)} bytes, more than {LARGEST}")
            self.folder.write(name, content)

        written = self._kept(write)
        written.addCallback(lambda _: self._add(name))
        # Whoever waits for it may lose patience, but then it is there all the same.
        told: Deferred[None] = Deferred()
        written.chainDeferred(told)
        return told

    def _add(self, name: str) -> None:
        self._waiting[name] = _Waiting(name)
        self._look()

    def _kept(self, do: Callable[[], None]) -> Deferred[None]:
        if len(self._waiting) + len(self._writing) >= MOST:
            do = partial(_too_many, len(self._waiting), self.things)
        return self._thread(do).addErrback(self._not_kept)

    def _not_kept(self, failure: Failure) -> None:
        """@raise CannotKeep: Always."""
        failure.trap(OSError, CannotKeep)
        self.log.warn(
            self.not_kept,
            folder=str(self.folder.path),
            why=failure.getErrorMessage(),
        )
        raise CannotKeep(failure.getErrorMessage())

    def _thread(self, do: Callable[[], Result]) -> Deferred[Result]:
        running = self._in_thread(do)
        self._writing.add(running)

        def ended(result: Any) -> Any:
            self._writing.discard(running)
            self._note_end()
            return result

        return running.addBoth(ended)

    # Delivery

    def _stop_waiting(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _look(self) -> None:
        """Deliver the next one, or wait until it is time."""
        self._stop_waiting()
        idle = self.running and self._delivering is None and self._server is not None
        if not idle or not self._waiting:
            return
        one = min(self._waiting.values(), key=lambda each: each.not_before)
        at = max(one.not_before, self._server_not_before)
        wait = at - self._clock.seconds()
        if wait > 0:
            self._timer = self._clock.callLater(wait, self._look)
            return
        delivering = self._delivering = Deferred.fromCoroutine(self._deliver(one))
        delivering.addErrback(self._broke, one)
        delivering.addBoth(self._delivered)

    def _delivered(self, _: object) -> None:
        self._delivering = None
        self._note_end()
        # Not from within: a thousand of them would be as many calls deep.
        if self.running:
            self._stop_waiting()
            self._timer = self._clock.callLater(0, self._look)

    def _broke(self, failure: Failure, one: _Waiting) -> None:
        """Of a mistake in here: it stays where it is, and the others go on."""
        if failure.check(CancelledError) and not self.running:
            return
        self.log.failure("{thing} {name}", failure, thing=self.thing, name=one.name)
        self._later(one)

    async def _deliver(self, one: _Waiting) -> None:
        server = self._server
        if server is None:
            return
        try:
            thing = await self._in_thread(partial(self.folder.read, one.name))
        except FileNotFoundError:
            del self._waiting[one.name]
            self._say("info", one, "was taken away")
            return
        except OSError as error:
            del self._waiting[one.name]
            self._say(
                "error",
                one,
                "cannot be read from {folder}: {why}. When that is put right, reload "
                "portero",
                why=error.strerror,
            )
            return
        except ValueError as error:
            await self._give_up(one, str(error), "...")
            return
        to = self.receiver(thing)
        sending = Deferred.fromCoroutine(self._send(server, thing))
        sending.addTimeout(
            DELIVER_WITHIN, self._clock, onTimeoutCancel=lambda result, _: result
        )
        try:
            await sending
        except Rejected as error:
            self._server_answers()
            await self._give_up(one, str(error), to)
        except Postponed as error:
            self._server_answers()
            await self._try_again(one, str(error), to)
        except Unreachable as error:
            await self._server_fails(server, one, error, to)
        else:
            self._server_answers()
            await self._done(one, to)

    def _server_answers(self) -> None:
        self._server_tried, self._server_not_before = 0, 0.0

    async def _server_fails(
        self, server: Target, one: _Waiting, error: Unreachable, to: str
    ) -> None:
        if not self.running or server != self._server:
            return  # it was broken off, or another one is tried at once
        if self._is_old(one):
            await self._give_up(one, str(error), to)
        else:
            self._later(one)  # another one goes first: perhaps it lies with this one
        wait = self._wait(self._server_tried)
        self._server_tried += 1
        self._server_not_before = self._clock.seconds() + wait
        self.log.warn(
            "{server}: {why}; {count} {things} wait, the next try is in {wait}: "
            "{remedy} ({of})",
            server=self.server_name(server),
            why=str(error),
            remedy=error.remedy,
            count=len(self._waiting),
            things=self.things,
            wait=_in_words(wait),
            of=self.of,
        )

    def _is_old(self, one: _Waiting) -> bool:
        return self._now() - one.since > GIVE_UP_AFTER

    def _later(self, one: _Waiting) -> float:
        wait = self._wait(one.tried)
        one.tried += 1
        one.not_before = self._clock.seconds() + wait
        return wait

    async def _try_again(self, one: _Waiting, why: str, to: str) -> None:
        if self._is_old(one):
            await self._give_up(one, why, to)
            return
        self._say(
            "warn",
            one,
            "to {to} is not taken yet: {why}; the next try is in {wait}",
            to=to,
            why=why,
            wait=_in_words(self._later(one)),
        )

    async def _give_up(self, one: _Waiting, why: str, to: str) -> None:
        del self._waiting[one.name]
        self.lost += 1
        aside = "it is now in {folder}"
        try:
            await self._in_thread(partial(self.folder.put_aside, one.name, why))
        except OSError as error:
            aside = f"it cannot be moved into {{folder}}: {error.strerror}"
        self._say(
            "error",
            one,
            "to {to} cannot be delivered: {why}; {aside}. When that is put right, move "
            "it back and reload portero",
            to=to,
            why=why,
            aside=aside.format(folder=self.folder.failed),
        )

    async def _done(self, one: _Waiting, to: str) -> None:
        del self._waiting[one.name]
        self._say("info", one, "to {to} is delivered", to=to)
        try:
            await self._in_thread(partial(self.folder.remove, one.name))
        except OSError as error:
            self._say(
                "error",
                one,
                "was delivered, but cannot be removed from {folder}: {why}. Remove it, "
                "or it is sent again at the next start or reload",
                why=error.strerror,
            )

    def _wait(self, tried: int) -> float:
        return float(min(self.first_wait * 2 ** min(tried, 20), LONGEST_WAIT))

    def _say(self, level: str, one: _Waiting, what: str, **fields: str | None) -> None:
        self.log.emit(
            LogLevel.lookupByName(level),
            "{thing} {name} " + what,
            thing=self.thing,
            name=one.name,
            folder=str(self.folder.path),
            **fields,
        )


def _in_words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"


def _too_many(waiting: int, things: str) -> None:
    raise CannotKeep(f"{waiting} {things} wait already")

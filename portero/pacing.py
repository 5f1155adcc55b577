"""
The media clock, and the caller's time line.

A leg's frames are due at C{origin + n * PTIME}; how many are due is always counted from
the origin, so that no tick, late or lost, can make the grid drift.
"""

from __future__ import annotations

from math import inf
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from portero.histogram import Histogram

PTIME: Final = 0.02
"""Seconds of audio in a frame. Asterisk does not re-frame: this reaches the phone."""

TICK: Final = 0.005
SLOTS: Final = round(PTIME / TICK)

MAX_BEHIND: Final = 5
"""Frames due at once from which all but one are skipped. Fewer are caught up, one a
tick: Asterisk passes a burst on as it comes, and the phone has to throw it away."""

SLACK: Final = 1e-6
"""A timer that fires exactly on its tick must not miss it by a rounding error."""

HOLE: Final = 0.06
"""Seconds without a frame from the far end that count as a hole in its audio."""


class Lateness(Histogram):
    """How late frames left, in seconds, in bins of 0.25 ms."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(0.00025, 200)

    def quantile_ms(self, share: float) -> float:
        """
        @param share: For instance 0.99.
        @return: The upper edge, in ms, of the bin that holds it; 0 without frames.
        """
        return self.quantile(share) * 1000


class Paced(Protocol):
    """What the media clock drives: a leg."""

    call_id: str

    def frame_due(self, now: float) -> None:
        """Send one frame."""

    def pacing_failed(self) -> None:
        """L{frame_due} raised: the leg has to end, and gets no more frames."""


class _Seat:
    """A leg's place on the clock."""

    __slots__ = ("lateness", "left", "leg", "origin", "sent", "skipped", "slot")

    def __init__(self, leg: Paced, origin: float, slot: int) -> None:
        self.leg = leg
        self.origin = origin
        self.slot = slot
        self.sent = 0
        self.skipped = 0
        self.left = False
        self.lateness = Lateness()


class MediaClock:
    """
    Drives the frames of all legs from one C{LoopingCall}; asleep without legs.

    A leg takes the slot (of four in each 20 ms) nearest to the moment it joins and
    stays on that grid. The C{LoopingCall} only says "look now"; it runs while there
    are legs. No leg gets two frames in one tick.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._loop = LoopingCall(self._tick)
        self._slots: list[list[_Seat]] = [[] for _ in range(SLOTS)]
        self._behind: list[_Seat] = []
        self._seats: dict[int, _Seat] = {}
        self._left = Lateness()
        """Of the legs that are gone."""
        self._origin = 0.0
        self._ticked = -1

    @property
    def legs(self) -> int:
        """How many legs are on the clock."""
        return len(self._seats)

    @property
    def running(self) -> bool:
        return self._loop.running

    def join(self, leg: Paced) -> None:
        """Give a leg frames from now on; the first within 5 ms, on time."""
        now = self._clock.seconds()
        if not self._seats:
            self._origin, self._ticked = now, -1
            self._start()
        index = round((now - self._origin) / TICK)
        seat = _Seat(leg, self._origin + index * TICK, index % SLOTS)
        self._seats[id(leg)] = seat
        self._slots[seat.slot].append(seat)
        if index <= self._ticked:
            self._behind.append(seat)

    def leave(self, leg: Paced) -> None:
        """No more frames for this leg."""
        seat = self._seats.pop(id(leg), None)
        if seat is None:
            return
        seat.left = True
        self._left.include(seat.lateness)
        self._slots[seat.slot].remove(seat)
        if seat in self._behind:
            self._behind.remove(seat)
        if not self._seats:
            self._loop.stop()

    def lateness(self, leg: Paced) -> tuple[float, int]:
        """
        @return: The p99 lateness of a leg's frames in ms, and how many frames were
            given up after stalls. Only for a leg on the clock; zeros otherwise.
        """
        seat = self._seats.get(id(leg))
        if seat is None:
            return 0.0, 0
        return seat.lateness.quantile_ms(0.99), seat.skipped

    def skipped(self, leg: Paced) -> int:
        """@return: How many frames of a leg on the clock were given up so far."""
        return self._seats[id(leg)].skipped

    def lateness_of_all(self) -> Lateness:
        """@return: Of all frames so far, of legs that are gone too."""
        found = Lateness()
        found.include(self._left)
        for seat in self._seats.values():
            found.include(seat.lateness)
        return found

    def _start(self) -> None:
        # A new one each time: within a tick the last leg may leave, which stops the
        # old one, and another join; a LoopingCall started in its own call runs twice.
        self._loop = LoopingCall(self._tick)
        self._loop.clock = self._clock
        done: Deferred[LoopingCall] = self._loop.start(TICK, now=False)
        done.addErrback(self._died)

    def _died(self, failure: Failure) -> None:
        self.log.failure("the media clock failed; starting it again", failure=failure)
        if self._seats:
            self._start()

    def _tick(self) -> None:
        now = self._clock.seconds()
        index = int((now - self._origin + SLACK) / TICK)
        due, self._behind = self._behind, []
        caught_up = bool(due)
        for k in range(max(self._ticked + 1, index - SLOTS + 1), index + 1):
            due += self._slots[k % SLOTS]
        self._ticked = index
        for seat in dict.fromkeys(due) if caught_up else due:
            self._serve(seat, now)

    def _serve(self, seat: _Seat, now: float) -> None:
        late = now - seat.origin - seat.sent * PTIME
        if late < -SLACK or seat.left:
            return
        behind = int((late + SLACK) / PTIME)
        if behind >= MAX_BEHIND:
            seat.skipped += behind
            seat.sent += behind
            late -= behind * PTIME
        elif behind:
            self._behind.append(seat)
        seat.sent += 1
        seat.lateness.add(late)
        try:
            seat.leg.frame_due(now)
        except Exception:
            self.log.failure(
                "a frame could not be sent; ending that leg", call_id=seat.leg.call_id
            )
            self._give_up(seat.leg)

    def _give_up(self, leg: Paced) -> None:
        try:
            leg.pacing_failed()
        except Exception:
            self.log.failure(
                "a leg could not be ended after an error", call_id=leg.call_id
            )
        self.leave(leg)


class CallerTime:
    """
    Says how much silence has to be put into the caller's audio, so that its length is
    the time that passed.

    Asterisk sends nothing while the phone sends nothing: 240 ms for a digit, for ever
    when muted. Packets lost one by one, and a phone whose clock is slow, leave no hole
    but add up: that is filled too. All values are seconds; fillings are whole frames.
    """

    def __init__(self, now: float) -> None:
        self._origin = now
        self._arrived = now
        self._duration = -inf  # of what came last; nothing did
        self._hole = HOLE
        self._delivered = 0.0
        self.filled = 0.0
        self.jitter = 0.0
        """Of the arrivals, smoothed (RFC 3550, 6.4.1)."""

    def arrived(self, now: float, duration: float) -> float:
        """
        Audio came.

        @return: Silence to put before it.
        """
        gap = now - self._arrived
        missing = now - self._origin - self._delivered - duration
        filling = 0.0
        if gap > self._hole or missing > self._hole:
            filling = self._fill(missing)
        self._arrived = now
        deviation = abs(gap - self._duration)
        if deviation < HOLE:  # longer is a pause
            self.jitter += (deviation - self.jitter) / 16
        if duration != self._duration:
            self._duration = duration
            # A phone with long packets leaves long pauses between them.
            self._hole = max(HOLE, 2 * duration + PTIME)
        self._delivered += duration
        return filling

    def quiet(self, now: float) -> float:
        """
        Asked at every frame.

        @return: Silence to put in now, while nothing comes.
        """
        if now - self._arrived <= self._hole:
            return 0.0
        return self._fill(-self.ahead(now) - PTIME)

    def silent_for(self, now: float) -> float:
        """Seconds since audio came, or since the start."""
        return now - self._arrived

    def ahead(self, now: float) -> float:
        """How much longer the audio is than the time that passed, with fillings."""
        return self._origin + self._delivered - now

    def _fill(self, missing: float) -> float:
        frames = int(missing / PTIME + SLACK)
        if frames <= 0:
            return 0.0
        filling = frames * PTIME
        self._delivered += filling
        self.filled += filling
        return filling

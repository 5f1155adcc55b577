"""
The playout buffer of a leg: the only place where outbound audio waits.

It gives one frame whenever the media clock asks, and keeps the exact account of each
item: audio given, audio sent. Positions inside are bytes of 16-bit mono PCM.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

from portero.audio import fade_in, fade_out
from portero.interfaces import Heard
from portero.pacing import PTIME

FADE: Final = 0.005
FIRST_PREFILL: Final = 0.06
LEAST_PREFILL: Final = 0.04
MOST_PREFILL: Final = 0.4
PREFILL_MARGIN: Final = 0.02
"""One frame: it leaves up to that much before its audio is needed."""
REMEMBERED: Final = 8
MAX_WAITING: Final = 600.0
"""Seconds of audio that may wait; more is refused, never dropped."""

Notice = tuple[Literal["sounding", "played out", "faded"], str]
"""And the item's name. Faded: the end of what was cut off or paused has left."""

_IN_ONE_PIECE: Final = float("-inf")


class _Item:
    """One item's audio that was not sent yet, and its account."""

    __slots__ = (
        "_head",
        "_offset",
        "_pieces",
        "ended",
        "first_at",
        "gap",
        "given",
        "late",
        "name",
        "sent",
        "waiting_since",
    )

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.given = 0
        self.sent = 0
        self.ended = False
        self.gap = False
        self.late = _IN_ONE_PIECE
        self.first_at = self.waiting_since = now
        self._pieces: deque[bytes] = deque()
        self._head = b""
        self._offset = 0

    @property
    def waiting(self) -> int:
        """Whole samples only: half of one waits for its other half."""
        return (self.given - self.sent) & ~1

    def add(self, pcm: bytes, now: float, seconds_given: float) -> None:
        if not self.given:
            self.first_at = now
        else:
            self.late = max(self.late, now - self.first_at - seconds_given)
        if self.gap or not self.waiting:
            self.waiting_since = now
        self._pieces.append(pcm)
        self.given += len(pcm)

    def peek(self, size: int) -> bytes:
        """Up to C{size} bytes, which is even."""
        size = min(size, self.waiting)
        while len(self._head) - self._offset < size:
            self._head = self._head[self._offset :] + self._pieces.popleft()
            self._offset = 0
        return self._head[self._offset : self._offset + size]

    def take(self, size: int) -> bytes:
        """As L{peek}; these count as sent."""
        start, end = self._offset, self._offset + size
        if end > len(self._head):
            size = len(self.peek(size))
            start, end = self._offset, self._offset + size
        self._offset = end
        self.sent += size
        return self._head[start:end]


class Playout:
    """
    Items wait here in order; L{frame} gives their audio in frames of 20 ms.

    How late an item's pieces came, compared with playing it from its first piece on,
    is how long its start should have waited to have no gap. The worst of the last
    items says how long the next one waits; not at all, if all came ahead of time. A
    fixed prebuffer learns nothing.
    """

    def __init__(
        self, rate: int, *, prebuffer: float = 0.0, most_waiting: float = MAX_WAITING
    ) -> None:
        """
        @param rate: Of all PCM in and out, in Hz.
        @param prebuffer: Seconds of audio that an item gathers before it sounds, also
            after a gap; it waits so long at most, and not once it is ended. 0: as much
            as the last items teach.
        @param most_waiting: Seconds of audio that may wait; more is refused.
        """
        self.underruns = 0
        self.notices: list[Notice] = []
        """What L{frame} found; the leg takes it after each frame."""
        self._items: deque[_Item] = deque()
        self._sounding = False
        self._paused = False
        self._fade_in = False
        self._tail = b""
        self._waiting = 0
        self._lates: deque[float] = deque(maxlen=REMEMBERED)
        self._fixed = prebuffer > 0
        self._prefill = prebuffer or FIRST_PREFILL
        self._at_once = True
        self._most_waiting = most_waiting
        self._set_rate(rate)

    def _set_rate(self, rate: int) -> None:
        self.rate = rate
        self._per_second = 2 * rate
        self._most = round(self._most_waiting * rate) * 2
        self._frame = round(rate * PTIME) * 2
        self._fade = round(rate * FADE)
        self._silence = bytes(self._frame)

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing sounds."""
        return not self._items and not self._tail

    @property
    def prefill_ms(self) -> int:
        return round(self._prefill * 1000)

    @property
    def waiting_ms(self) -> int:
        return round(self._waiting / self._per_second * 1000)

    def set_rate(self, rate: int) -> None:
        """
        @raise ValueError: Audio at the old rate is waiting.
        """
        if not self.idle:
            raise ValueError("the rate can change only while nothing is waiting")
        self._set_rate(rate)

    def play(self, name: str, pcm: bytes, now: float) -> bool:
        """
        Queue audio of an item. An item that is not the newest one is taken as new, and
        ends the one before it.

        @return: C{False} when too much would wait: nothing was taken.
        """
        if self._waiting + len(pcm) > self._most:
            return False
        items = self._items
        if not items or items[-1].name != name or items[-1].ended:
            if items:
                self._end(items[-1])
            items.append(_Item(name, now))
        if pcm:
            item = items[-1]
            item.add(pcm, now, item.given / self._per_second)
            self._waiting += len(pcm)
            if item.gap:
                item.gap = False
                self.underruns += 1
        return True

    def end_of_item(self, name: str) -> None:
        """No more audio comes for this item; it is played out when all has left."""
        for item in self._items:
            if item.name == name and not item.ended:
                self._end(item)
                return

    def flush(self) -> tuple[Heard, ...]:
        """
        Drop all that waits; what sounds is faded out within the next frame. A pause
        ends with it: there is nothing left to resume.

        @return: One for each item that was not played out and had any audio.
        """
        self._fade_away()
        per_ms = self._per_second / 1000
        heard = tuple(
            Heard(item.name, int(item.sent / per_ms), int(item.given / per_ms))
            for item in self._items
            if item.given
        )
        self._items.clear()
        self._waiting = 0
        self._sounding = self._fade_in = self._paused = False
        return heard

    def pause(self) -> None:
        """Send silence, keep what waits. What fades out is played again later."""
        self._fade_away()
        self._paused = True

    def resume(self) -> None:
        """Go on with the sample after the last one sent."""
        self._paused = False

    def frame(self, now: float) -> bytes:
        """
        @return: The next 20 ms: speech, or silence. Always a whole frame.
        """
        if self._tail:
            tail, self._tail = self._tail, b""
            self.notices.append(("faded", ""))
            return tail
        if self._paused:
            return self._silence
        while self._items:
            item = self._items[0]
            if not self._dry(item):
                if self._sounding or self._may_start(item, now):
                    return self._speech(item)
                return self._silence
            if not item.ended:
                item.gap = item.sent > 0
                self._sounding = False
                return self._silence
            self._finish(item)
        return self._silence

    def _dry(self, item: _Item) -> bool:
        """Nothing to send; of an item that goes on, a rest too short to fade out."""
        waiting = item.waiting
        return waiting < 2 * self._fade and not (waiting and item.ended)

    def _may_start(self, item: _Item, now: float) -> bool:
        self._sounding = (
            item.ended
            or now - item.waiting_since >= self._prefill
            or (
                self._at_once
                and item.waiting >= round(self._prefill * self._per_second)
            )
        )
        return self._sounding

    def _speech(self, item: _Item) -> bytes:
        if not item.sent:
            self.notices.append(("sounding", item.name))
        pcm = item.take(self._frame)
        self._waiting -= len(pcm)
        if self._fade_in:
            pcm = fade_in(pcm, self._fade)
            self._fade_in = False
        if self._dry(item):
            # Should nothing follow in time, or the item have been cut by its service,
            # the sound must not break off.
            pcm = fade_out(pcm, self._fade)
            self._fade_in = True
            if item.ended:
                self._finish(item)
        if len(pcm) < self._frame:
            pcm += bytes(self._frame - len(pcm))
        return pcm

    def _end(self, item: _Item) -> None:
        if item.ended:
            return
        item.ended = True
        if self._fixed or item.late == _IN_ONE_PIECE:
            return
        self._lates.append(item.late)
        needed = max(self._lates) + PREFILL_MARGIN
        self._at_once = needed <= 0
        self._prefill = min(max(needed, LEAST_PREFILL), MOST_PREFILL)

    def _finish(self, item: _Item) -> None:
        self._items.popleft()
        self._waiting -= item.given - item.sent
        self._sounding = self._fade_in = False
        self.notices.append(("played out", item.name))

    def _fade_away(self) -> None:
        """Prepare the end of what sounds, unless the last frame was faded out."""
        if self._sounding and not self._fade_in and not self._paused:
            tail = fade_out(self._items[0].peek(2 * self._fade), self._fade)
            self._tail = tail + bytes(self._frame - len(tail))
            self._fade_in = True

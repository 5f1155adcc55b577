"""
What happened in each call, kept in memory: of those under way and of the last that
ended, and told on to who listens.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from sys import getsizeof
from typing import Final

from twisted.logger import Logger
from zope.interface import implementer

from portero.interfaces import Happening, IObserver, IWatchedCall, LegFigures
from portero.record import Record

MOST_HAPPENINGS: Final = 2000
"""Of a call; its beginning is forgotten first."""
MOST_ENDED: Final = 200
"""Calls."""
MOST_BYTES: Final = 16 * 1024 * 1024
"""Of all calls together. Ended calls are forgotten first, the oldest before the others;
then of the call at hand, with each thing that happens, what happened first. So much
holds the last 30 turns of each of 100 calls (measured)."""

Listener = Callable[[Happening], None]


@dataclass(slots=True)
class _Words:
    """The pieces of what one side says."""

    first: Happening
    pieces: list[str]
    size: int

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def joined(self) -> Happening:
        one = self.first
        return Happening(one.call_id, one.kind, one.at, {**one.data, "text": self.text})


_Entry = Happening | _Words


@dataclass(slots=True)
class _Tale:
    """Of one call."""

    told: deque[_Entry] = field(default_factory=deque)
    size: int = 0
    """Bytes of all that."""
    spoken: dict[tuple[str, str], _Words] = field(default_factory=dict)
    """By role and item: those to which pieces may still come."""
    listeners: dict[object, Listener] = field(default_factory=dict)

    def add(self, entry: _Entry, size: int) -> None:
        self.told.append(entry)
        self.size += size

    def speak(self, happening: Happening) -> None:
        """The next piece of words."""
        item, text = _item(happening), happening.data["text"]
        words = self.spoken.get(item)
        if words is None:
            words = self.spoken[item] = _Words(happening, [text], _size(happening))
            self.add(words, words.size)
        else:
            words.pieces.append(text)
            words.size += getsizeof(text)
            self.size += getsizeof(text)

    def complete(self, said: Happening) -> None:
        """There are no more pieces of that."""
        words = self.spoken.pop(_item(said), None)
        if words is not None:
            self.size -= words.size
            words.first = words.joined()
            words.pieces = [words.text]
            words.size = _size(words.first)
            self.size += words.size

    def drop_first(self) -> None:
        first = self.told.popleft()
        if isinstance(first, _Words):
            size = first.size
            if self.spoken.get(_item(first.first)) is first:
                del self.spoken[_item(first.first)]
        else:
            size = _size(first)
        self.size -= size


@implementer(IObserver)
class Story:
    """
    Bounded in every way. Each thing that happens costs the same, however much did.

    Pieces of words are kept joined, one C{words} for each item, where the first stood;
    who listens gets each piece.
    """

    log = Logger()

    def __init__(
        self,
        most_happenings: int = MOST_HAPPENINGS,
        most_ended: int = MOST_ENDED,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.most_bytes = most_bytes
        self.size = 0
        """Bytes of all that is kept."""
        self._most_happenings = most_happenings
        self._most_ended = most_ended
        self._live: dict[str, _Tale] = {}
        self._ended: OrderedDict[str, _Tale] = OrderedDict()

    def of(self, call_id: str) -> tuple[Happening, ...] | None:
        """
        @return: What happened in a call, oldest first; L{None}: it is not known, or
            forgotten.
        """
        tale = self._live.get(call_id) or self._ended.get(call_id)
        if tale is None:
            return None
        return tuple(
            one.joined() if isinstance(one, _Words) else one for one in tale.told
        )

    def listen(self, call_id: str, callback: Listener) -> Callable[[], None]:
        """
        Have C{callback} called with all that happens in a call from now on, once L{of}
        has it. Of one that is not under way, nothing comes.

        @return: Call it to hear no more; at any time, and more than once.
        """
        tale = self._live.get(call_id, _Tale())
        key = object()
        tale.listeners[key] = callback

        def stop() -> None:
            tale.listeners.pop(key, None)

        return stop

    def forget(self, call_id: str) -> bool:
        """
        @return: Whether a call that is over was known.
        """
        tale = self._ended.pop(call_id, None)
        self.size -= tale.size if tale else 0
        return tale is not None

    # IObserver

    def call_started(self, call: IWatchedCall) -> None:
        before = self._ended.pop(call.call_id, None)
        self.size -= before.size if before else 0
        self._live[call.call_id] = _Tale()

    def call_event(self, happening: Happening) -> None:
        tale = self._live.get(happening.call_id)
        if tale is None:
            return  # it began before anybody watched
        before = tale.size
        if happening.kind == "words":
            tale.speak(happening)
        else:
            if happening.kind == "said":
                tale.complete(happening)
            tale.add(happening, _size(happening))
        if len(tale.told) > self._most_happenings:
            tale.drop_first()
        self.size += tale.size - before
        while self.size > self.most_bytes and (self._ended or tale.told):
            self._make_room(tale)
        for listener in tuple(tale.listeners.values()):
            try:
                listener(happening)
            except Exception:
                self.log.failure(
                    "a listener failed: {listener}",
                    listener=type(listener).__name__,
                    call_id=happening.call_id,
                )

    def call_ended(self, record: Record, figures: LegFigures) -> None:
        tale = self._live.pop(record.call_id, None)
        if tale is None:
            return
        tale.listeners.clear()
        tale.spoken.clear()
        self._ended[record.call_id] = tale
        if len(self._ended) > self._most_ended:
            self._forget_oldest()

    # Within bounds

    def _make_room(self, tale: _Tale) -> None:
        if self._ended:
            self._forget_oldest()
        else:
            before = tale.size
            tale.drop_first()
            self.size += tale.size - before

    def _forget_oldest(self) -> None:
        _, tale = self._ended.popitem(last=False)
        self.size -= tale.size


def _item(happening: Happening) -> tuple[str, str]:
    return happening.data["role"], happening.data["item"]


def _size(happening: Happening) -> int:
    """@return: Bytes, without those of what is in a value."""
    values = sum(map(getsizeof, happening.data.values()))
    return getsizeof(happening) + getsizeof(happening.data) + values

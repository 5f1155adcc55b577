"""Keys that the caller presses: gathered into groups, for the agent or for a tool."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from twisted.internet.defer import Deferred

from portero.timers import Timers

MOST: Final = 32
"""Keys of a group; so many end it."""
END: Final = "#"
"""Ends a group, as on every voicemail."""

_PAUSE: Final = "pause between keys"
_FIRST_KEY: Final = "first key"
_LATE_END: Final = "an end that may still come"


class Digits:
    """
    Of one call. A group ends with C{#} or with a pause; a key of the menu that would
    begin a group is a choice instead, unless a tool waits for keys. A code is a few
    keys that nobody else gets; what was typed just before it is a group.
    """

    def __init__(
        self,
        timers: Timers,
        pause: float,
        menu: Collection[str],
        *,
        pressed: Callable[[], None],
        typed: Callable[[str], None],
        chosen: Callable[[str], None],
        codes: Collection[str] = (),
        coded: Callable[[str], None] = lambda code: None,
    ) -> None:
        """
        @param pause: Seconds without a key that end a group.
        @param menu: Keys that are choices; which ones may change.
        @param pressed: Called for each key, before anything comes of it.
        @param typed: Called with each complete group, with the C{#} that ended it;
            empty: a tool has got it, or it was a code.
        @param chosen: Called with each choice.
        @param codes: Keys that are one together; none begins with another.
        @param coded: Called with each code.
        """
        self._timers = timers
        self._pause = pause
        self._menu = menu
        self._pressed = pressed
        self._typed = typed
        self._chosen = chosen
        self._codes = tuple(codes)
        self._coded = coded
        self._keys = ""
        self._most = MOST
        self._patience = 0.0
        """Seconds for the first key."""
        self._within = 0.0
        """The same, until the agent has asked for it."""
        self._awaited: Deferred[str] | None = None

    @property
    def is_awaited(self) -> bool:
        """A tool waits for keys."""
        return self._awaited is not None

    def press(self, key: str) -> None:
        """The caller pressed a key."""
        late_end = _LATE_END in self._timers
        self._timers.cancel(_LATE_END, _FIRST_KEY)
        if late_end and key == END:
            return
        self._pressed()
        if key in self._menu and not self._keys and self._awaited is None:
            self._chosen(key)
            return
        self._keys += key
        code = next(filter(self._keys.endswith, self._codes), "")
        if code:
            self._take(code)
        elif key == END or len(self._keys) >= self._most:
            self._end()
        else:
            self._timers.start(_PAUSE, self._pause, self._end)

    def collect(self, most: int, within: float) -> Deferred[str]:
        """
        Take the next group for a tool; who waited before gets nothing.

        @param most: So many keys end it at once.
        @param within: Seconds for the first key, from now and once more from the end of
            what the agent says next: it asks for them.
        @return: The keys, without C{#}; empty: none came in time.
        """
        self._give()
        self._awaited = awaited = Deferred[str]()
        self._most, self._patience = min(most, MOST), within
        self._within = within
        if not self._keys:
            self._timers.start(_FIRST_KEY, within, self._give)
        elif len(self._keys) >= self._most:
            self._end()
        return awaited

    def agent_spoke(self) -> None:
        """All that the agent said was heard."""
        if _FIRST_KEY in self._timers and self._within:
            self._timers.start(_FIRST_KEY, self._within, self._give)
            self._within = 0.0

    def give_up(self) -> None:
        """Nobody wants what was typed so far."""
        self._keys = ""
        self._timers.cancel(_PAUSE, _LATE_END)
        self._give()

    def _take(self, code: str) -> None:
        self._keys = self._keys.removesuffix(code)
        self._timers.cancel(_PAUSE)
        if self._keys:
            self._end()
        elif self._awaited is not None:
            self._timers.start(_FIRST_KEY, self._patience, self._give)
        self._typed("")
        self._coded(code)

    def _end(self) -> None:
        keys, self._keys = self._keys, ""
        self._timers.cancel(_PAUSE)
        if self._awaited is None:
            self._typed(keys)
            return
        if not keys.endswith(END):
            # People press it because they were told so, or out of habit.
            self._timers.start(_LATE_END, self._pause, _nothing)
        self._typed("")
        self._give(keys.removesuffix(END))

    def _give(self, keys: str = "") -> None:
        self._timers.cancel(_FIRST_KEY)
        awaited, self._awaited = self._awaited, None
        self._most = MOST
        if awaited is not None:
            awaited.callback(keys)


TYPED: Final = "The caller typed on the telephone."
"""For all but the agent: which keys, as those of a card, is nobody else's business."""


def sentence(keys: str) -> str:
    """@return: What the agent is told of a group."""
    number = keys.removesuffix(END)
    both = f"{number} and {END}" if number != keys else number
    return f"The caller typed {both if number else keys} on the telephone."


def _nothing() -> None:
    """Only that the timer runs matters."""

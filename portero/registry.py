"""Calls that the dialplan has announced and that have not come yet."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final
from uuid import UUID, uuid4

from twisted.internet.interfaces import IReactorTime

from portero.facts import Facts

COMES_WITHIN: Final = 10.0
"""Seconds after which an announcement counts no more."""
REMEMBERED_FOR: Final = 3600.0
"""Seconds in which no id that was announced may come again."""
MOST_REMEMBERED: Final = 100_000
"""Ids that came: 28 calls a second, for that hour."""


class Registry:
    """Each id counts once, and not for long. Holds no more than its user announces."""

    def __init__(
        self, clock: IReactorTime, most_remembered: int = MOST_REMEMBERED
    ) -> None:
        self._clock = clock
        self._most_remembered = most_remembered
        self._expected: OrderedDict[str, tuple[float, Facts]] = OrderedDict()
        self._used: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """How many are expected now."""
        self._expire()
        return len(self._expected)

    def expected(self, agent: str) -> int:
        """How many are expected now for one agent."""
        self._expire()
        return sum(facts.agent == agent for _, facts in self._expected.values())

    def announce(self, facts: Facts, call_id: str = "") -> str:
        """
        @param call_id: Empty: one is made, which nobody can guess.
        @return: The id to come with.
        @raise ValueError: It is no UUID, or was used before.
        """
        self._expire()
        if call_id:
            try:
                call_id = str(UUID(call_id))
            except ValueError:
                raise ValueError("uuid: is no UUID; leave it out to get one") from None
        if call_id in self._used or call_id in self._expected:
            raise ValueError("this uuid was used before; each call needs its own")
        call_id = call_id or str(uuid4())
        self._expected[call_id] = self._clock.seconds(), facts
        return call_id

    def take(self, call_id: str) -> Facts | None:
        """
        A call came; no other one may come with its id.

        @return: What was announced; C{None} if nothing was, or too long ago.
        """
        self._expire()
        announced = self._expected.pop(call_id, None)
        if announced is None:
            return None
        self._used[call_id] = self._clock.seconds()
        if len(self._used) > self._most_remembered:
            self._used.popitem(last=False)
        return announced[1]

    def used(self, call_id: str) -> bool:
        """Whether a call that was announced came with this id before."""
        self._expire()
        return call_id in self._used

    def _expire(self) -> None:
        """Both are in the order in which they came."""
        now = self._clock.seconds()
        while self._expected:
            call_id, (since, _) = next(iter(self._expected.items()))
            if now - since < COMES_WITHIN:
                break
            del self._expected[call_id]
        while self._used:
            call_id, since = next(iter(self._used.items()))
            if now - since < REMEMBERED_FOR:
                break
            del self._used[call_id]

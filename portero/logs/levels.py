"""How important an event must be to be logged, by the part of the program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from portero.log_sections import LEVELS

RANKS: Final = {name: rank for rank, name in enumerate(LEVELS)}
MOST_KNOWN: Final = 2000
"""Namespaces whose level is remembered; they are modules, so there are far fewer."""


@dataclass(frozen=True, slots=True)
class Set:
    """What somebody set while the program runs."""

    level: str
    until: float
    """On the clock of who asks."""


class Levels:
    """
    What the configuration says, and what was set for a while on top of it. A namespace
    holds for all beneath it, as C{portero.web} for C{portero.web.site}, unless one of
    these has a level of its own.
    """

    def __init__(self) -> None:
        self.level = "info"
        """Of what no namespace is named for."""
        self.configured: Mapping[str, str] = {}
        self.set: dict[str, Set] = {}
        """By namespace."""
        self._known: dict[str, int] = {}

    def configure(self, level: str, levels: Mapping[str, str]) -> None:
        """What was set for a while stays."""
        self.level, self.configured = level, dict(levels)
        self._known.clear()

    def set_for_now(self, namespace: str, level: str, until: float) -> None:
        self.set[namespace] = Set(level, until)
        self._known.clear()

    def unset(self, namespace: str) -> None:
        """As configured again; if it ever was otherwise."""
        self.set.pop(namespace, None)
        self._known.clear()

    def passes(self, namespace: str, level: str) -> bool:
        """Whether such an event is logged."""
        least = self._known.get(namespace)
        if least is None:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            least = self._known[namespace] = RANKS[self.of(namespace)]
        return RANKS[level] >= least

    def of(self, namespace: str) -> str:
        """@return: The least level that is logged."""
        name = namespace
        while name:
            if name in self.set:
                return self.set[name].level
            if name in self.configured:
                return self.configured[name]
            name = name.rpartition(".")[0]
        return self.level

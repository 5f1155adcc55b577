"""What calls cost, from what they used; and when it is enough."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from typing import Final

from twisted.logger import Logger

from portero.sections import PriceSettings

WIND_UP_AT: Final = 0.8
"""Of the ceiling of a call."""
WARN_OF_DAY_AT: Final = 0.8
WIND_UP_DAY_AT: Final = 0.95
"""Of the ceiling of a day: long before callers are hurried, somebody can raise it."""

_PER: Final = 1_000_000
_MINUTE_MS: Final = 60_000


def cost(counts: Mapping[str, int], price: PriceSettings, prefix: str = "") -> float:
    """
    What is not told apart is taken for the dearest that it can be: a ceiling that is
    reached too early is found out at once, one that is never reached is not.

    @param counts: As L{portero.interfaces.IConversationEvents.usage} has them. Cached
        tokens are among those of the input; counts below nothing are nothing.
    @param prefix: C{transcription.}: of these.
    @return: US dollars.
    """

    used = Counter(
        {
            name.removeprefix(prefix): max(count, 0)
            for name, count in counts.items()
            if name.startswith(prefix)
        }
    )
    by_minute = used["ms"] * price.minute / _MINUTE_MS
    if not any(name.startswith(("input.", "output.")) for name in used):
        dearest = max(price.text_in, price.text_out, price.audio_in, price.audio_out)
        return by_minute + used["total_tokens"] * dearest / _PER
    spent = used["output.text_tokens"] * price.text_out
    spent += used["output.audio_tokens"] * price.audio_out
    kinds = [
        ("text_tokens", price.text_in, price.text_cached),
        ("audio_tokens", price.audio_in, price.audio_cached),
    ]
    kinds.sort(key=lambda kind: kind[1] - kind[2])  # what saves least comes first
    told_apart = sum(used[f"input.cached.{name}"] for name, _, _ in kinds)
    untold = max(used["input.cached_tokens"] - told_apart, 0)
    for name, full, reduced in kinds:
        given, told = used[f"input.{name}"], used[f"input.cached.{name}"]
        cached = min(told + untold, given)
        untold -= max(cached - told, 0)
        spent += (given - cached) * full + cached * reduced
    return by_minute + spent / _PER


@dataclass(frozen=True, slots=True)
class Page:
    """Of a L{Ledger}: one day."""

    day: date
    spent: Mapping[str, float]
    """By agent, in US dollars."""


class Ledger:
    """What each agent has spent today."""

    def __init__(self, today: Callable[[], date] = date.today) -> None:
        """@param today: By the clock on the wall, as invoices are."""
        self._today = today
        self._day = today()
        self._spent: dict[str, float] = {}
        self.charged: dict[str, float] = {}
        """By agent, in US dollars: since the start, whatever the day."""
        self._said: set[object] = set()

    def add(self, agent: str, dollars: float) -> None:
        self._enter(agent, dollars)
        self.charged[agent] = self.charged.get(agent, 0.0) + dollars

    def spent(self, agent: str = "") -> float:
        """@param agent: Empty: all of them. @return: US dollars."""
        self._turn_page()
        return self._spent.get(agent, 0.0) if agent else sum(self._spent.values())

    def page(self) -> Page:
        """Today's, as it stands."""
        self._turn_page()
        return Page(self._day, dict(self._spent))

    def restore(self, page: Page) -> None:
        """Go on with a page that was kept; one of another day is of no interest."""
        self._turn_page()
        if page.day == self._day:
            for agent, dollars in page.spent.items():
                self._enter(agent, dollars)

    def is_news(self, what: object) -> bool:
        """@return: Whether nobody has asked about this today."""
        self._turn_page()
        news = what not in self._said
        self._said.add(what)
        return news

    def _enter(self, agent: str, dollars: float) -> None:
        self._turn_page()
        self._spent[agent] = self._spent.get(agent, 0.0) + dollars

    def _turn_page(self) -> None:
        today = self._today()
        if today != self._day:
            self._day = today
            self._spent.clear()
            self._said.clear()


class Spent(IntEnum):
    """Of a ceiling."""

    LITTLE = 0
    NEARLY_ALL = 1
    """It is time to wind up."""
    ALL = 2


@dataclass(frozen=True, slots=True)
class Ceiling:
    """One that is set."""

    dollars: float
    agent: str
    """Whose calls it is for; empty: all."""
    of_day: bool

    def reached(self, spent: float) -> Spent:
        if spent >= self.dollars:
            return Spent.ALL
        wind_up_at = WIND_UP_DAY_AT if self.of_day else WIND_UP_AT
        near = spent >= wind_up_at * self.dollars
        return Spent.NEARLY_ALL if near else Spent.LITTLE

    @property
    def in_words(self) -> str:
        whose = "its" if self.agent else "the house's"
        every = "a day" if self.of_day else "a call"
        return f"{whose} ceiling of ${self.dollars:,.15g} {every}"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a meter goes by, so that another one can go by the same. In US dollars."""

    price: PriceSettings | None = None
    transcription: PriceSettings | None = None
    ceilings: tuple[Ceiling, ...] = ()
    spent: float = 0.0
    """By the agent, today."""
    spent_by_all: float = 0.0

    def meter(self, agent: str) -> Meter:
        """@return: Of a call that is alone with them."""
        ledger = Ledger(lambda: date.min)
        ledger.add(agent, self.spent)
        ledger.add("", self.spent_by_all - self.spent)
        budget = Budget(ledger, agent)
        budget.ceilings = self.ceilings
        return Meter(budget, self.price, self.transcription)


class Budget:
    """The ceilings of one agent's calls."""

    log = Logger()

    def __init__(
        self,
        ledger: Ledger,
        agent: str,
        *,
        per_call: float = 0.0,
        per_day: float = 0.0,
        house_per_day: float = 0.0,
    ) -> None:
        """Ceilings are in US dollars; 0: there is none."""
        self._ledger = ledger
        self._agent = agent
        ceilings = (
            Ceiling(per_call, agent, of_day=False),
            Ceiling(per_day, agent, of_day=True),
            Ceiling(house_per_day, "", of_day=True),
        )
        self.ceilings = tuple(ceiling for ceiling in ceilings if ceiling.dollars)

    @property
    def spent(self) -> tuple[float, float]:
        """Today, by the agent, and by all."""
        return self._ledger.spent(self._agent), self._ledger.spent()

    def day_is_over(self) -> str:
        """@return: Empty, or which ceiling of the day was reached, in words."""
        for ceiling in self.ceilings:
            if self._reached(ceiling) is Spent.ALL:
                return ceiling.in_words
        return ""

    def charge(self, dollars: float) -> None:
        """A call has cost so much more. What a day has left is warned of once a day."""
        self._ledger.add(self._agent, dollars)
        for ceiling in self.ceilings:
            spent = self._ledger.spent(ceiling.agent)
            if ceiling.of_day and spent >= WARN_OF_DAY_AT * ceiling.dollars:
                over = spent >= ceiling.dollars
                if self._ledger.is_news((ceiling, over)):
                    self._warn(ceiling, over)

    def nearest(self, dollars: float) -> tuple[Spent, Ceiling | None]:
        """
        @param dollars: What one call has cost.
        @return: What this call and its day have reached at most, and of which ceiling.
        """
        best: tuple[Spent, Ceiling | None] = (Spent.LITTLE, None)
        for ceiling in self.ceilings:
            reached = self._reached(ceiling, dollars)
            if reached > best[0]:
                best = reached, ceiling
        return best

    def _reached(self, ceiling: Ceiling, dollars: float = 0.0) -> Spent:
        """@param dollars: What one call has cost; 0: only days can be over."""
        spent = self._ledger.spent(ceiling.agent) if ceiling.of_day else dollars
        return ceiling.reached(spent)

    def _warn(self, ceiling: Ceiling, over: bool) -> None:
        follows = f"its calls are asked to wind up from {WIND_UP_DAY_AT:.0%} on"
        if over:
            follows = "its calls end, and new ones go to the fallback until midnight"
        self.log.warn(
            "{who} spent ${spent:.2f} today, of {ceiling}: {follows}",
            who=f"agent {ceiling.agent}" if ceiling.agent else "all agents together",
            spent=self._ledger.spent(ceiling.agent),
            ceiling=ceiling.in_words,
            follows=follows if ceiling.agent else follows.replace("its", "their"),
        )


class Meter:
    """Of one call."""

    def __init__(
        self,
        budget: Budget,
        price: PriceSettings | None,
        transcription: PriceSettings | None = None,
    ) -> None:
        """
        @param price: Of the model.
        @param transcription: Of the one that writes down the caller's words.
        """
        self.dollars = 0.0
        self.known = price is not None
        """All that was used has a price; else L{dollars} is without the rest."""
        self.ceiling: Ceiling | None = None
        """The one that was reached, or nearly."""
        self._budget = budget
        self._price = price
        self._transcription = transcription
        self._told = Spent.LITTLE

    def terms(self) -> Terms:
        """What it goes by now."""
        budget = self._budget
        return Terms(self._price, self._transcription, budget.ceilings, *budget.spent)

    def used(self, counts: Mapping[str, int]) -> Spent:
        """
        Add what was used.

        @return: What this call has reached just now; L{Spent.LITTLE}: nothing new.
        """
        dollars = cost(counts, self._price) if self._price else 0.0
        if self._transcription:
            dollars += cost(counts, self._transcription, "transcription.")
        if not dollars and any(counts.values()):
            self.known = False
        self.dollars += dollars
        self._budget.charge(dollars)
        reached, ceiling = self._budget.nearest(self.dollars)
        if reached <= self._told:
            return Spent.LITTLE
        self._told, self.ceiling = reached, ceiling
        return reached

"""What is played to the caller of one call, and who waits until it was heard."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from twisted.internet.defer import Deferred

from portero import prompts
from portero.interfaces import Heard, ILeg
from portero.rates import RateMatcher


@lru_cache(maxsize=64)
def prompt(name: str, language: str, rate: int) -> bytes:
    """@return: PCM of a shipped prompt, at so many Hz."""
    own_rate, pcm = prompts.load(name, language)
    return RateMatcher().match(pcm, own_rate, rate)


class Sounds:
    """
    Everything that the leg is given. Each sound is an item: it comes whole, or piece by
    piece as the agent speaks, and is there until the leg has played it out.
    """

    def __init__(self, leg: ILeg, language: str) -> None:
        """@param language: Of the prompts."""
        self._leg = leg
        self._language = language
        self._items: set[str] = set()
        self._awaited: dict[str, Deferred[bool]] = {}
        self._count = 0

    def __contains__(self, item: str) -> bool:
        return item in self._items

    def __bool__(self) -> bool:
        """Something given to the leg is not played out yet."""
        return bool(self._items)

    # What begins

    def give(self, item: str, pcm: bytes) -> bool:
        """
        A piece of an item, of which more may come.

        @param pcm: At the leg's rate.
        @return: C{False} when the leg takes no more: nothing of it will sound.
        """
        taken = self._leg.play(item, pcm)
        if taken:
            self._items.add(item)
        return taken

    def give_whole(self, item: str, pcm: bytes) -> bool:
        """L{give} all of an item."""
        taken = self.give(item, pcm)
        if taken:
            self.complete(item)
        return taken

    def complete(self, item: str) -> None:
        """No more of it comes."""
        self._leg.end_of_item(item)

    def complete_all(self) -> None:
        """Of nothing that sounds more comes."""
        for item in tuple(self._items):
            self.complete(item)

    def say_prompt(self, name: str) -> None:
        """Play a shipped prompt, after what is already waiting."""
        pcm = prompt(name, self._language, self._leg.agent_rate)
        self.give_whole(f"prompt {name}", pcm)

    def play(self, name: str, rate: int, pcm: bytes) -> Deferred[bool]:
        """
        Play a sound, after what is already waiting.

        @param rate: Of C{pcm}, in Hz.
        @return: Whether it was heard to its end.
        """
        self._count += 1
        item = f"sound {self._count}: {name}"
        heard = self._awaited[item] = Deferred()
        pcm = RateMatcher().match(pcm, rate, self._leg.agent_rate)
        if not self.give_whole(item, pcm):
            self._awaited.pop(item, heard)
            if not heard.called:
                heard.callback(False)
        return heard

    # What ends

    def played_out(self, item: str, first: Callable[[], None]) -> None:
        """
        An item was heard to its end.

        @param first: Done before who waits for it is told, because that may go on and
            play the next sound.
        """
        self._items.discard(item)
        heard = self._awaited.pop(item, None)
        first()
        if heard is not None:
            heard.callback(True)

    def flush(self) -> tuple[Heard, ...]:
        """
        Drop all that waits to be heard. Who waits for it has to be told, with
        L{give_up}.

        @return: What was heard of each item that was cut.
        """
        self._items.clear()
        return self._leg.flush()

    def give_up(self) -> None:
        """Who waits for a sound to be heard is told that it was not."""
        awaited, self._awaited = self._awaited, {}
        for heard in awaited.values():
            heard.callback(False)

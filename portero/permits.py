"""Who may have a gate opened, and when: lists from files, and what was tried before."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from hmac import compare_digest
from math import inf
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from portero import textfile
from portero.errors import ConfigError
from portero.facts import bare

MOST_WRONG: Final = 10
WRONG_WITHIN: Final = 600.0
LOCKED_FOR: Final = 600.0
"""Seconds: after so many wrong PINs in such a time, in all calls together, a gate takes
none for so long. Who guesses needs days of calls, and each lock is in the log."""

_PIN: Final = re.compile(r"[0-9]{4,16}", re.ASCII)
_NUMBER: Final = re.compile(r"\+?[0-9*#]{3,}", re.ASCII)


class Pins:
    """What may be typed for a gate. It shows none of them."""

    def __init__(self, pins: Mapping[str, str]) -> None:
        """@param pins: By the name of who has it."""
        self._pins = dict(pins)
        self.longest = max(map(len, self._pins.values()))

    @classmethod
    def read(cls, path: str, place: str) -> Pins:
        """
        @param path: Of a file with a line C{NAME PIN} for each.
        @param place: The setting that names it, for messages.
        @raise ConfigError: Says what is wrong in which line, without the PIN.
        """
        found: dict[str, str] = {}
        for where, words in _lines(path, place):
            name, pin = " ".join(words[:-1]), words[-1]
            if not name:
                raise ConfigError(f'{where}: must be "NAME PIN"')
            if not _PIN.fullmatch(pin):
                raise ConfigError(f"{where}: a PIN is 4 to 16 digits, the last word")
            if name in found:
                raise ConfigError(f"{where}: {name!r} has a line already")
            if pin in found.values():
                raise ConfigError(f"{where}: somebody else has the same PIN")
            found[name] = pin
        if not found:
            raise ConfigError(f"{place}: {path} has no PIN in it")
        return cls(found)

    def whose(self, typed: str) -> str:
        """
        @return: Who has that PIN; empty: nobody. How long it takes does not tell how
            much of one was right.
        """
        found = ""
        for name, pin in self._pins.items():
            if compare_digest(pin.encode(), typed.encode()):
                found = name
        return found


class Residents:
    """Who lives where, by telephone number."""

    def __init__(self, flats: Mapping[str, tuple[str, ...]]) -> None:
        """@param flats: By a bare number."""
        self._flats = dict(flats)

    @classmethod
    def read(cls, path: str, place: str) -> Residents:
        """
        @param path: Of a file with a line C{FLAT NUMBER NUMBER...} for each flat.
        @param place: The setting that names it, for messages.
        @raise ConfigError: Says what is wrong in which line.
        """
        found: dict[str, list[str]] = {}
        for where, (flat, *numbers) in _lines(path, place):
            if not numbers:
                raise ConfigError(f'{where}: must be "FLAT NUMBER NUMBER..."')
            for number in map(bare, numbers):
                if not _NUMBER.fullmatch(number):
                    raise ConfigError(
                        f"{where}: {number!r} is no telephone number; one is written "
                        "without spaces"
                    )
                flats = found.setdefault(number, [])
                if flat not in flats:
                    flats.append(flat)
        if not found:
            raise ConfigError(f"{place}: {path} has no number in it")
        return cls({number: tuple(flats) for number, flats in found.items()})

    def flats_of(self, number: str) -> tuple[str, ...]:
        """@return: Where who calls with this number lives; there may be several."""
        return self._flats.get(bare(number), ())


def credentials(path: str, place: str) -> bytes:
    """
    @param path: Of a file with C{USER:PASSWORD}.
    @raise ConfigError: It has something else in it.
    """
    try:
        found = textfile.read(path, 4096).strip()
    except ConfigError as error:
        raise ConfigError(f"{place}: {path}: {error}") from None
    if ":" not in found or not found.isprintable():
        raise ConfigError(f"{place}: {path} must have one line, USER:PASSWORD")
    return found.encode()


def seen_by_all(path: str) -> bool:
    """Whether every user of this machine may read a file."""
    return bool(Path(path).stat().st_mode & 0o004)


def _lines(path: str, place: str) -> Iterator[tuple[str, list[str]]]:
    """@return: Where it is, and its words: of each line with something in it."""
    try:
        text = textfile.read(path)
    except ConfigError as error:
        raise ConfigError(f"{place}: {path}: {error}") from None
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if words and not words[0].startswith("#"):
            yield f"{place}: {path}:{number}", words


class Watch:
    """What happened to one gate, in all calls."""

    log = Logger()

    def __init__(self, name: str, clock: IReactorTime) -> None:
        self._name = name
        self._clock = clock
        self._opened = -inf
        self._wrong: deque[float] = deque(maxlen=MOST_WRONG)
        self._locked_until = -inf

    def rests_for(self, cool_down: float) -> float:
        """@return: Seconds until it may be opened again; 0: now."""
        return max(self._opened + cool_down - self._clock.seconds(), 0.0)

    def opens(self) -> None:
        """From now on it rests."""
        self._opened = self._clock.seconds()

    def did_not_open(self) -> None:
        """It need not rest."""
        self._opened = -inf

    @property
    def locked(self) -> bool:
        """It takes no PIN now."""
        return self._clock.seconds() < self._locked_until

    def wrong_pin(self) -> None:
        """Somebody typed one. A locked gate counts none: it took none."""
        now = self._clock.seconds()
        self._wrong.append(now)
        if len(self._wrong) == MOST_WRONG and now - self._wrong[0] < WRONG_WITHIN:
            self._locked_until = now + LOCKED_FOR
            self.log.warn(
                "gate {gate}: {count} wrong PINs within {minutes:.0f} min; it takes no "
                "PIN for {locked:.0f} min",
                gate=self._name,
                count=MOST_WRONG,
                minutes=WRONG_WITHIN / 60,
                locked=LOCKED_FOR / 60,
            )


_WATCHES: Final[WeakKeyDictionary[Any, dict[str, Watch]]] = WeakKeyDictionary()


def watch(name: str, reactor: Any) -> Watch:
    """
    @return: That of a gate, one in a process: agents share it, and it outlives a
        configuration that is read again.
    """
    watches = _WATCHES.setdefault(reactor, {})
    if name not in watches:
        watches[name] = Watch(name, reactor)
    return watches[name]

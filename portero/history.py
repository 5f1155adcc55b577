"""What was said in a call, kept so that a new conversation can be told."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Final

from portero.interfaces import Said

MOST_SAID: Final = 200
MOST_CHARACTERS: Final = 16000


class History:
    """The last utterances, oldest first, bounded in number and in length."""

    def __init__(self) -> None:
        self._said: deque[tuple[str, Said]] = deque(maxlen=MOST_SAID)
        self._cut: dict[str, float] = {}

    def add(self, role: str, text: str, item: str = "", private: bool = False) -> None:
        """
        @param item: The item it belongs to, so that L{cut} finds it.
        @param private: As L{Said} has it.
        """
        text = _heard(text, self._cut.pop(item, 1.0))
        if text:
            self._said.append((item, Said(role, text, private)))

    def cut(self, item: str, share: float) -> tuple[str, str]:
        """
        The caller heard only a part of an item. Its text may come before or after.

        @param share: Of the item's audio, 0 to 1. Of nothing heard, nothing is kept.
        @return: What it said, and what of it was heard; empty if it is to come.
        """
        for index, (name, said) in enumerate(self._said):
            if name == item:
                text = _heard(said.text, share)
                if text:
                    self._said[index] = (name, replace(said, text=text))
                else:
                    del self._said[index]
                return said.text, text
        self._cut[item] = share
        while len(self._cut) > MOST_SAID:
            del self._cut[next(iter(self._cut))]
        return "", ""

    def replay(self) -> tuple[Said, ...]:
        """The newest utterances that fit into L{MOST_CHARACTERS}, oldest first."""
        left, found = MOST_CHARACTERS, []
        for _, said in reversed(self._said):
            left -= len(said.text)
            if left < 0:
                break
            found.append(said)
        return tuple(reversed(found))


def _heard(text: str, share: float) -> str:
    if share >= 1:
        return text
    text = text[: round(len(text) * share)].rstrip()
    return text and text + "…"

"""What events of ours were for: an error only names the event. Pure."""

from __future__ import annotations

from collections import OrderedDict
from itertools import count
from typing import Final

REMEMBERED: Final = 32


class Purposes:
    """Names events, and knows of the last ones why they were sent."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, str] = OrderedDict()
        self._numbers = count(1)

    def name(self, purpose: str) -> str:
        """@return: An event id."""
        event_id = f"p{next(self._numbers)}"
        self._known[event_id] = purpose
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return event_id

    def of(self, event_id: str) -> str:
        """@return: Empty when it is not known, or no event of ours."""
        return self._known.get(event_id, "")

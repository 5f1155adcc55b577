"""The agent's calls of tools. Pure."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any, Final

MOST_CALLED: Final = 256
"""Calls remembered, so that none is done twice."""


class FunctionCalls:
    """Each is run once; a reply is owed when the last result is there."""

    def __init__(self) -> None:
        self._called: OrderedDict[str, None] = OrderedDict()
        self._running: set[str] = set()
        self._owes_reply = False

    def begin(self, call_id: str) -> bool:
        """@return: Whether it is a new one."""
        if call_id in self._called:
            return False
        self._called[call_id] = None
        if len(self._called) > MOST_CALLED:
            self._called.popitem(last=False)
        self._running.add(call_id)
        return True

    def end(self, call_id: str) -> bool:
        """@return: Whether its result was waited for."""
        if call_id not in self._running:
            return False
        self._running.discard(call_id)
        self._owes_reply = True
        return True

    def reply_due(self) -> bool:
        """@return: Whether to ask for a reply to the results; says so once."""
        due = self._owes_reply and not self._running
        self._owes_reply = self._owes_reply and not due
        return due


def arguments(written: str) -> dict[str, Any] | None:
    """@return: What the model wrote; C{None} if it is no JSON object."""
    try:
        found = json.loads(written or "{}")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None

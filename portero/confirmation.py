"""What callers have agreed to: a tool asks first, and acts when it is called again."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from portero.interfaces import ICallControl


class Confirmation:
    """
    Of one tool, for all calls. That a model says that the caller has agreed is not
    enough: the tool has to have been called without before, and the caller to have
    spoken, or pressed a key, since then.
    """

    def __init__(self) -> None:
        self._asked: WeakKeyDictionary[Any, tuple[str, int]] = WeakKeyDictionary()

    def given(self, call: ICallControl, what: str, confirmed: bool) -> bool:
        """
        Each is good for one time, and asking for something else forgets it.

        @param what: What the caller is asked to agree to.
        @param confirmed: The model says so.
        @return: If not, the caller has to be asked now.
        """
        asked, turns = self._asked.pop(call, ("", 0))
        if confirmed and asked == what and call.caller_turns > turns:
            return True
        self._asked[call] = what, call.caller_turns
        return False

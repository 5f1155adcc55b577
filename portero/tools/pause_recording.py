"""What the caller says now must not be kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from zope.interface import implementer

from portero.interfaces import ICallControl, ITool


@implementer(ITool)
class Tool:
    """Of the sound and of the words; L{portero.privacy} does it."""

    name: Final = "pause_recording"
    description: Final = (
        "Pause the recording of this call, of its sound and its words. Use it before "
        "the caller says or types the number of a card or a bank account, a password, "
        "or anything else that must not be kept, and then ask for it. If the caller "
        "begins with such a thing unasked, use it at once."
    )
    parameters: Final[Mapping[str, Any]] = {
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }

    async def run(self, call: ICallControl, arguments: Mapping[str, Any]) -> str:
        if call.pause_recording(True):
            return "paused: nothing that is said or typed from now on is kept"
        return "error: the call is over"

"""The agent presses keys: as tones in its voice, for whatever listens on the line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from zope.interface import implementer

from portero import tones
from portero.interfaces import ICallControl, ITool

RATE: Final = 8000
"""In Hz, of the tones: they need no more."""

_DIGITS: Final = re.compile(r"[0-9A-D*#]{1,32}", re.ASCII)


@implementer(ITool)
class Tool:
    """AudioSocket has no message for a key that goes to the phone, so it is audio."""

    name: Final = "send_dtmf"
    within: Final = 30.0
    """Seconds: it waits for what the agent says, and 32 tones take 6.5."""
    description: Final = (
        "Play telephone key tones (DTMF) on the line, for instance to get through the "
        "menu of another machine. They are heard after what you say in the same reply, "
        "so say nothing that may not come first."
    )
    parameters: Final[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "digits": {
                "type": "string",
                "description": "The keys in order: 0-9, *, # and A-D.",
                "pattern": "^[0-9A-D*#]{1,32}$",
            }
        },
        "required": ["digits"],
        "additionalProperties": False,
    }

    async def run(self, call: ICallControl, arguments: Mapping[str, Any]) -> str:
        digits = arguments.get("digits")
        if not (isinstance(digits, str) and _DIGITS.fullmatch(digits)):
            return "error: digits must be 1 to 32 of 0-9, *, # and A-D"
        if await call.play("key tones", RATE, tones.dtmf(digits, RATE)):
            return "The tones were played to their end."
        return "error: the tones were cut off; nobody may have heard them all"

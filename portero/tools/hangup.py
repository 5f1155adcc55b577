"""The agent hangs up, after its goodbye was heard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from zope.interface import implementer

from portero.interfaces import ICallControl, ITool


@implementer(ITool)
class Tool:
    """Says nothing back to the model: the call is ending."""

    name: Final = "hang_up"
    description: Final = (
        "End the telephone call. Say goodbye first, in the same reply: it is played to "
        "its end before the line drops. Use it when the caller says goodbye or has "
        "nothing more to ask."
    )
    parameters: Final[Mapping[str, Any]] = {
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }

    async def run(self, call: ICallControl, arguments: Mapping[str, Any]) -> str:
        call.end_after_speech("the agent hung up")
        return ""

"""What had not to be kept was said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from zope.interface import implementer

from portero.interfaces import ICallControl, ITool


@implementer(ITool)
class Tool:
    """Also when the caller or an operator paused it; L{portero.privacy} does it."""

    name: Final = "resume_recording"
    description: Final = (
        "Go on with the recording of this call after a pause. Use it as soon as the "
        "caller has said or typed what must not be kept and you have no more to ask or "
        "to repeat of that. From then on, do not say it again."
    )
    parameters: Final[Mapping[str, Any]] = {
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }

    async def run(self, call: ICallControl, arguments: Mapping[str, Any]) -> str:
        if call.pause_recording(False):
            return "the recording goes on: what is said from now on is kept"
        return "error: the call is over"

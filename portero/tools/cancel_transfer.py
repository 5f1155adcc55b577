"""The caller changes their mind before they are handed over."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from zope.interface import implementer

from portero.interfaces import ICallControl, ITool


@implementer(ITool)
class Tool:
    """Works until the caller is really handed over."""

    name: Final = "cancel_transfer"
    description: Final = (
        "Cancel the transfer, or the voicemail, that you have just announced. Use it "
        "when the caller says that they do not want it, or want something else first."
    )
    parameters: Final[Mapping[str, Any]] = {
        "type": "object",
        "properties": {},
        "additionalProperties": False,
    }

    async def run(self, call: ICallControl, arguments: Mapping[str, Any]) -> str:
        if call.cancel_transfer():
            return "cancelled: the caller stays with you; ask how you can help"
        return "error: there is no transfer under way that could be cancelled"

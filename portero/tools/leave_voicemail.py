"""The agent lets the caller leave a message, where the configuration says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from zope.interface import implementer

from portero.config import Config
from portero.interfaces import ICallControl, ITool
from portero.sections import AgentSettings
from portero.tools._handover import CONFIRMED, Handover


@implementer(ITool)
class Tool:
    """Hands the caller over to the one target that records."""

    name: Final = "leave_voicemail"
    description: Final = (
        "Let the caller leave a message on the voicemail. Say in the same reply that "
        "they can speak after the tone: it is played to its end before the caller is "
        "handed over, and you do not hear the message."
    )

    def __init__(self, handover: Handover) -> None:
        """@param handover: With one target."""
        self._handover = handover
        self.parameters: Mapping[str, Any] = {
            "type": "object",
            "properties": {"confirmed": CONFIRMED} if handover.confirms else {},
            "additionalProperties": False,
        }

    @classmethod
    def for_agent(cls, agent: AgentSettings, config: Config, reactor: Any) -> Tool:
        """@param agent: Names a C{voicemail}."""
        return cls(Handover.of_agent(cls.name, [agent.voicemail], agent, config))

    async def run(self, call: ICallControl, arguments: Mapping[str, Any]) -> str:
        (name,) = self._handover.targets
        return self._handover.start(call, name, arguments)

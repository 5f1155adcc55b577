"""The agent hands the caller over: only to places that the configuration names."""

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
    """
    The model chooses a name; where that is, only the configuration says.
    """

    name: Final = "transfer"

    def __init__(self, handover: Handover) -> None:
        self._handover = handover
        places = "; ".join(
            f"{name} ({target.description})" if target.description else name
            for name, target in handover.targets.items()
        )
        self.description = (
            "Transfer the caller to somebody else. Say in the same reply that you are "
            "transferring: it is played to its end before the caller is handed over. "
            f"Targets: {places}."
        )
        properties: dict[str, Any] = {
            "target": {"type": "string", "enum": list(handover.targets)}
        }
        if handover.confirms:
            properties["confirmed"] = CONFIRMED
        self.parameters: Mapping[str, Any] = {
            "type": "object",
            "properties": properties,
            "required": ["target"],
            "additionalProperties": False,
        }

    @classmethod
    def for_agent(cls, agent: AgentSettings, config: Config, reactor: Any) -> Tool:
        """@param config: Has at least one target, and all that the agent names."""
        names = agent.transfer_to or tuple(config.targets)
        return cls(Handover.of_agent(cls.name, names, agent, config))

    async def run(self, call: ICallControl, arguments: Mapping[str, Any]) -> str:
        name = arguments.get("target")
        if not isinstance(name, str) or name not in self._handover.targets:
            known = ", ".join(self._handover.targets)
            return f"error: there is no such target; there are: {known}"
        return self._handover.start(call, name, arguments)

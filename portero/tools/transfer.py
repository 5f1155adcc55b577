"""The agent hands the caller over: only to places that the configuration names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from zope.interface import implementer

from portero.config import Config
from portero.interfaces import ICallControl, ITool
from portero.sections import AgentSettings, TargetSettings


@implementer(ITool)
class Tool:
    """
    The model chooses a name; where that is, only the configuration says.
    """

    name: Final = "transfer"

    def __init__(self, targets: Mapping[str, TargetSettings]) -> None:
        self._targets = targets
        places = "; ".join(
            f"{name} ({target.description})" if target.description else name
            for name, target in targets.items()
        )
        self.description = (
            "Transfer the caller to somebody else. Say in the same reply that you are "
            "transferring: it is played to its end before the caller is handed over. "
            f"Targets: {places}."
        )
        self.parameters: Mapping[str, Any] = {
            "type": "object",
            "properties": {"target": {"type": "string", "enum": list(targets)}},
            "required": ["target"],
            "additionalProperties": False,
        }

    @classmethod
    def for_agent(cls, agent: AgentSettings, config: Config, reactor: Any) -> Tool:
        """@param config: Has at least one target, and all that the agent names."""
        names = agent.transfer_to or tuple(config.targets)
        return cls({name: config.targets[name] for name in names})

    async def run(self, call: ICallControl, arguments: Mapping[str, Any]) -> str:
        name = arguments.get("target")
        target = self._targets.get(name) if isinstance(name, str) else None
        if target is None:
            known = ", ".join(self._targets)
            return f"error: there is no such target; there are: {known}"
        call.transfer(target.to, f"transferred to {name}")
        return ""

"""What transfer and leave_voicemail have in common: they hand the caller over."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

from portero import hours, templates
from portero.config import Config
from portero.confirmation import Confirmation
from portero.interfaces import ICallControl
from portero.sections import AgentSettings
from portero.tool_sections import TargetSettings

CONFIRMED: Final[Mapping[str, Any]] = {
    "type": "boolean",
    "description": "The caller has agreed, after you asked. Never true at first.",
}


class Handover:
    """
    To the targets that one agent has. Whoever asks knows a name; where that is, and
    whether it may be now, only the configuration says.
    """

    def __init__(
        self,
        tool: str,
        targets: Mapping[str, TargetSettings],
        now: Callable[[], datetime],
        language: str = "en",
    ) -> None:
        """
        @param tool: As the model calls it.
        @param now: The time on the wall, in the agent's time zone.
        @param language: In which the model is told when a target opens.
        """
        self.targets = targets
        self._tool = tool
        self._hours = {
            name: hours.parse(target.hours) for name, target in targets.items()
        }
        self._now = now
        self._language = language
        self._confirmation = Confirmation()

    @classmethod
    def of_agent(
        cls, tool: str, names: Sequence[str], agent: AgentSettings, config: Config
    ) -> Self:
        """@param names: Of targets in the configuration."""
        zone = ZoneInfo(agent.time_zone) if agent.time_zone else None
        return cls(
            tool,
            {name: config.targets[name] for name in names},
            lambda: datetime.now().astimezone(zone),
            agent.language,
        )

    @property
    def confirms(self) -> bool:
        """The caller of one target at least has to agree first."""
        return any(target.confirm for target in self.targets.values())

    def start(self, call: ICallControl, name: str, arguments: Mapping[str, Any]) -> str:
        """@return: For the model; empty: the caller is being handed over."""
        target = self.targets[name]
        now = self._now()
        if not self._hours[name].open_at(now):
            return (
                f"error: {name} is closed, so the caller stays with you. Tell the "
                f"caller: {target.closed or self._opens(name, now)}"
            )
        agreed = arguments.get("confirmed") is True
        if target.confirm and not self._confirmation.given(call, name, agreed):
            return (
                f"not yet: ask the caller whether to go to {name} now, and wait for "
                f"the answer. Call {self._tool} again, with confirmed true, once the "
                "caller has agreed."
            )
        if not call.transfer(target.to, f"transferred to {name}"):
            return "error: the caller is being handed over already, or the call is over"
        return ""

    def _opens(self, name: str, now: datetime) -> str:
        opens = self._hours[name].opens_next(now)
        if opens is None:
            return "it is closed."
        at = templates.moment(opens, self._language)
        return f"it opens on {at['weekday']}, {at['date']}, at {at['time']}."

"""The house as programs see it: how it does, who answers, where callers can go."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from portero.observers.house import House
from portero.service import Bridge
from portero.web import schemas
from portero.web.operation import READ, Answer, Asked, Operation


class HouseApi:
    """Nothing here is of one call."""

    def __init__(self, bridge: Bridge, house: House) -> None:
        self._bridge = bridge
        self._house = house

    def operations(self) -> tuple[Operation, ...]:
        return (
            Operation(
                "GET",
                "/house",
                "house",
                READ,
                "Calls of today, latency, trouble, voice services, money.",
                lambda asked: self._house.report(),
                Answer("As it stands.", schemas.ref("House")),
            ),
            Operation(
                "GET",
                "/health",
                "health",
                READ,
                "Whether a call would be answered now, and if not, why.",
                self._health,
                Answer("It may be ready or not.", schemas.ref("Health")),
            ),
            Operation(
                "GET",
                "/agents",
                "agents",
                READ,
                "Who answers calls, how busy they are and what they have cost today.",
                self._agents,
                Answer("All agents.", schemas.ref("Agents")),
            ),
            Operation(
                "GET",
                "/targets",
                "targets",
                READ,
                "Where callers can be transferred.",
                lambda asked: {
                    "targets": [asdict(one) for one in self._bridge.roster.targets()]
                },
                Answer("All targets.", schemas.ref("Targets")),
            ),
        )

    def _health(self, asked: Asked) -> dict[str, Any]:
        problem = self._house.problem()
        return {
            "ready": not problem,
            "problem": problem,
            "draining": self._bridge.draining,
            "stopping": self._bridge.stopping,
            "lag_ms": self._house.lag_ms(),
            "providers": self._house.providers(),
        }

    def _agents(self, asked: Asked) -> dict[str, Any]:
        bridge = self._bridge
        return {
            "agents": [
                {**asdict(agent), "calls": bridge.busy(agent.name)}
                for agent in bridge.roster.agents()
            ]
        }

"""What a call was made of, so that it can be made again. Without secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import portero
from portero.assignment import Assignment, CallSettings
from portero.captures.entries import CaptureError
from portero.captures.plainly import made, plain
from portero.facts import Facts
from portero.greeting import PLAIN, Opening, Shelf
from portero.interfaces import Brief, ILeg, ITool, IWireProvider, LegMake
from portero.money import Terms
from portero.sections import ProviderSettings

HIDDEN: Final = "***"
"""In the place of a secret."""
_SHIPPED: Final = "portero.providers."


@dataclass(frozen=True, slots=True)
class ToolMake:
    """A tool as the model and the toolbox see it."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    within: float | None = None
    private: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Header:
    """Of a capture."""

    call_id: str
    agent: str
    began: str
    """Date and time, ISO 8601, in UTC."""
    portero: str
    """Its version."""
    peer: str
    caller_rate: int
    leg: LegMake
    provider: str
    """The name of its module."""
    provider_settings: ProviderSettings
    brief: Brief
    settings: CallSettings
    facts: Facts
    tools: tuple[ToolMake, ...]
    tool_within: float
    terms: Terms
    fetched: bool
    """There is a PBX that can be told to fetch the caller."""
    words: str = ""
    """Of the greeting at hand, or to be kept."""
    protected: bool = False
    kept: bool = False
    """The greeting is at hand, or is kept when the service speaks it."""

    @classmethod
    def of(cls, assignment: Assignment, leg: ILeg, make: LegMake, began: str) -> Header:
        """
        @param began: Date and time, ISO 8601, in UTC.
        @raise CaptureError: Its voice service cannot be captured.
        """
        brief, opening = assignment.brief, assignment.settings.opening
        settings: ProviderSettings = provider_of(assignment).settings
        return cls(
            brief.call_id,
            assignment.agent,
            began,
            portero.__version__,
            leg.peer,
            leg.caller_rate,
            make,
            type(assignment.provider).__module__.removeprefix(_SHIPPED),
            replace(settings, url=settings.url.partition("?")[0], api_key_file=""),
            replace(
                brief,
                tools=(),
                mcp=tuple(
                    replace(
                        server, authorization=HIDDEN if server.authorization else ""
                    )
                    for server in brief.mcp
                ),
            ),
            replace(assignment.settings, opening=PLAIN),
            assignment.facts,
            tuple(map(_tool, assignment.toolbox.tools)),
            assignment.toolbox.within,
            assignment.meter.terms(),
            assignment.pbx is not None,
            opening.words,
            opening.protected,
            opening.sound is not None or opening.shelf is not None,
        )

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        found: dict[str, Any] = plain(self)
        found["settings"].pop("opening")
        found["brief"].pop("tools")
        return found

    @classmethod
    def read(cls, value: Any) -> Header:
        """@raise CaptureError: It is none."""
        return made(cls, value)

    def opening(self, greetings: Mapping[int, bytes]) -> Opening:
        """@param greetings: What was at hand: PCM by its rate in Hz."""
        shelf = Shelf() if self.kept else None
        found = Opening(self.words, None, self.protected, shelf)
        if shelf is not None:
            for rate, pcm in greetings.items():
                shelf.keep((found.key, self.words, rate), pcm)
        return found


def provider_of(assignment: Assignment) -> IWireProvider:
    """@raise CaptureError: Its messages cannot be looked at."""
    provider = assignment.provider
    if not IWireProvider.providedBy(provider):
        raise CaptureError(
            f"the voice service of agent {assignment.agent} lets nobody see its "
            "messages (its provider has no by_way_of)"
        )
    found: Any = provider
    wire: IWireProvider = found
    return wire


def secrets_of(brief: Brief) -> tuple[str, ...]:
    """@return: What must not be written down of the messages to the service."""
    return tuple(server.authorization for server in brief.mcp if server.authorization)


def _tool(tool: ITool) -> ToolMake:
    return ToolMake(
        tool.name,
        tool.description,
        plain(tool.parameters),
        getattr(tool, "within", None),
        tuple(getattr(tool, "private", ())),
    )

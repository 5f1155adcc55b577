"""Who answers a call, and how: chosen at its start, and then fixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from portero.facts import Facts
from portero.greeting import PLAIN, Opening
from portero.interfaces import Brief, IPbxControl, IVoiceProvider
from portero.money import Meter
from portero.toolbox import Toolbox


@dataclass(frozen=True, slots=True)
class CallSettings:
    """How a call is held. Durations in seconds."""

    greeting: str = ""
    """Said word for word at the start; empty: the agent greets in its own words."""
    opening: Opening = PLAIN
    """The same greeting, where it is at hand or to be kept or protected."""
    farewell: str = ""
    """Said word for word when portero ends the call; empty: a shipped prompt."""
    language: str = "en"
    """Of the shipped prompts."""
    noise_gate: int = 0
    """RMS amplitude that always passes the noise gate; 0: there is none."""
    fallback: str = ""
    """C{context,extension,priority} where a call goes on that failed; or empty."""
    reply_within: float = 8.0
    connect_within: float = 8.0
    patience: float = 1.5
    """Time to connect after which the caller is asked for a moment."""
    drain_within: float = 20.0
    """The longest goodbye."""
    silence: float = 60.0
    """Nobody speaks: after so long the agent asks, after as long again it asks once
    more, and after as long again it is over."""
    longest: float = 3600.0
    warn_before_end: float = 0.0
    """So long before that the agent tells the caller; 0: it does not."""
    interruption: str = "instant"
    """What the caller's voice does to the agent's speech; or C{polite}, or C{off}."""
    barge_in: float = 0.6
    """With C{polite}: so much speech interrupts."""
    filler: str = "none"
    """While a tool runs for longer than that: C{phrase}, C{sound} or C{none}."""
    filler_after: float = 2.0
    menu: Mapping[str, str] = field(default_factory=dict)
    """By key: C{context,extension,priority} where it leads now."""
    pause_keys: str = ""
    """With these the caller pauses the recording; empty: they cannot."""
    resume_keys: str = ""
    digits_pause: float = 2.0
    """Between two keys of one group; a longer one ends it."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """Of one call."""

    agent: str
    """Its name."""
    facts: Facts
    brief: Brief
    settings: CallSettings
    provider: IVoiceProvider
    toolbox: Toolbox
    meter: Meter
    pbx: IPbxControl | None = None

"""The agent opens a gate: for whom, when and how, only the configuration says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from portero import hours, permits, tones
from portero.config import Config
from portero.confirmation import Confirmation
from portero.errors import ConfigError
from portero.hours import Hours
from portero.interfaces import ICallControl, ITool
from portero.permits import Pins, Residents, Watch
from portero.relay import Relay
from portero.sections import AgentSettings
from portero.tool_sections import GateSettings

RATE: Final = 8000
"""In Hz, of tones: they need no more."""
TRIES: Final = 3
"""Wrong PINs in a call, of all gates together."""
FIRST_KEY_WITHIN: Final = 20.0
"""Seconds that a caller may look for the PIN."""
MOST_FLAT: Final = 20
"""Characters of what the model says is a flat."""

_AUDIT: Final = Logger("portero.audit")
"""As L{portero.toolbox} has: what comes of a PIN is known after the tool's answer."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One, with what its files said when they were read."""

    name: str
    settings: GateSettings
    hours: Hours
    watch: Watch
    relay: Relay | None
    """Without one it opens by tones."""
    pins: Pins | None
    residents: Residents | None


@dataclass(slots=True)
class _Visit:
    """What one call has tried."""

    wrong: int = 0
    typing: str = ""
    """The gate whose PIN is waited for; or empty."""


@implementer(ITool)
class Tool:
    """The model chooses a gate by its name, and perhaps the caller's flat."""

    log = Logger()
    name: Final = "open_gate"
    within: Final = 30.0
    """Seconds: tones wait for what the agent says."""

    def __init__(
        self, found: Mapping[str, Gate], reactor: Any, now: Callable[[], datetime]
    ) -> None:
        """
        @param found: By name.
        @param now: The time on the wall, in the agent's time zone.
        """
        self._gates = found
        self._reactor = reactor
        self._now = now
        self._confirmation = Confirmation()
        self._visits: WeakKeyDictionary[Any, _Visit] = WeakKeyDictionary()
        kinds = {gate.settings.who for gate in found.values()}
        self.description = _description(found, kinds)
        properties: dict[str, Any] = {"gate": {"type": "string", "enum": list(found)}}
        if "resident" in kinds:
            properties["flat"] = {
                "type": "string",
                "description": "The caller's flat, if you were told to ask for it.",
                "maxLength": MOST_FLAT,
            }
        if any(gate.settings.confirm for gate in found.values()):
            properties["confirmed"] = {
                "type": "boolean",
                "description": "The caller has agreed to it, after being asked.",
            }
        self.parameters: Mapping[str, Any] = {
            "type": "object",
            "properties": properties,
            "required": ["gate"],
            "additionalProperties": False,
        }

    @classmethod
    def for_agent(cls, agent: AgentSettings, config: Config, reactor: Any) -> Tool:
        """
        @param config: Has at least one gate, and all that the agent names.
        @raise ConfigError: Files of gates are not as they should be; a line for each.
        """
        zone = ZoneInfo(agent.time_zone) if agent.time_zone else None
        found: dict[str, Gate] = {}
        wrong: list[str] = []
        for name in agent.gates or config.gates:
            try:
                found[name] = _gate(name, config, reactor)
            except ConfigError as error:
                wrong.append(str(error))
        if wrong:
            raise ConfigError("\n".join(wrong))
        return cls(found, reactor, lambda: datetime.now().astimezone(zone))

    async def run(self, call: ICallControl, arguments: Mapping[str, Any]) -> str:
        name = arguments.get("gate")
        gate = self._gates.get(name) if isinstance(name, str) else None
        if gate is None:
            return f"error: there is no such gate; there are: {', '.join(self._gates)}"
        refused = self._closed(gate) or self._resting(gate)
        if refused:
            return f"error: {_not_opened(gate, refused)}"
        if gate.settings.confirm:
            confirmed = arguments.get("confirmed") is True
            if not self._confirmation.given(call, gate.name, confirmed):
                return (
                    f"not yet: ask the caller whether {gate.name} is to be opened, and "
                    "call open_gate again, with confirmed, after the caller's yes"
                )
        if gate.residents is not None:
            return await self._for_resident(call, gate, gate.residents, arguments)
        if gate.pins is not None:
            return self._ask_for_pin(call, gate, gate.pins)
        return await self._open(call, gate, "everybody may have it opened")

    # Who may

    async def _for_resident(
        self,
        call: ICallControl,
        gate: Gate,
        residents: Residents,
        arguments: Mapping[str, Any],
    ) -> str:
        flats = residents.flats_of(call.facts.caller_number)
        if not flats:
            said = "only residents may have that, from a telephone that is known here"
            return f"error: {_not_opened(gate, said)}"
        flat = arguments.get("flat")
        if len(flats) > 1 and flat not in flats:
            return "not yet: ask the caller which flat it is, and call again with flat"
        return await self._open(
            call, gate, f"flat {flat if flat in flats else flats[0]}"
        )

    def _ask_for_pin(self, call: ICallControl, gate: Gate, pins: Pins) -> str:
        """
        The answer has the agent ask for it, and what comes of it is told later: so the
        caller can ask back, and the agent need not have asked before.
        """
        visit = self._visits.setdefault(call, _Visit())
        refused = self._no_pin(gate, visit)
        if refused:
            return f"error: {_not_opened(gate, refused)}"
        if visit.typing not in ("", gate.name):
            return f"not yet: the PIN for {visit.typing} is waited for"
        if not visit.typing:
            visit.typing = gate.name
            waiting = Deferred.fromCoroutine(self._take_pin(call, gate, pins, visit))
            waiting.addErrback(partial(self._failed, call, gate, visit))
        return (
            "not yet: ask the caller now to type the PIN on the telephone, with # at "
            "its end, and wait. You will be told whether the gate opened. Never ask to "
            "hear the PIN, and do not call open_gate again meanwhile"
        )

    async def _take_pin(
        self, call: ICallControl, gate: Gate, pins: Pins, visit: _Visit
    ) -> None:
        while True:
            typed = await call.collect_digits(pins.longest, FIRST_KEY_WITHIN)
            whose = pins.whose(typed)
            if whose or not typed or self._no_pin(gate, visit):
                break
            visit.wrong += 1
            self._say(call, gate, f"wrong PIN ({visit.wrong} of {TRIES} tries)")
            gate.watch.wrong_pin()
            if self._no_pin(gate, visit):
                break
            call.inform(
                "The PIN that the caller typed is wrong. Ask for it once more, on the "
                "telephone's keys, with # at its end."
            )
        visit.typing = ""
        refused = self._no_pin(gate, visit) or self._closed(gate)
        if refused:
            self._say(call, gate, f"not opened: {refused}")
            call.inform(_not_opened(gate, refused))
        elif typed:
            call.inform(await self._open(call, gate, f"the PIN of {whose}"))
        else:
            said = (
                "no PIN was typed; if the caller still wants it, call open_gate again"
            )
            call.inform(_not_opened(gate, said))

    def _failed(
        self, call: ICallControl, gate: Gate, visit: _Visit, failure: Failure
    ) -> None:
        visit.typing = ""
        self.log.failure(
            "call {call_id}: gate {gate}: taking a PIN",
            failure=failure,
            call_id=call.call_id,
            gate=gate.name,
        )
        call.inform(_not_opened(gate, "it does not work just now"))

    # Why not: in words that end a sentence, or nothing

    def _closed(self, gate: Gate) -> str:
        now = self._now()
        if gate.hours.open_at(now):
            return ""
        again = gate.hours.opens_next(now)
        return f"it may be from {again:%A %H:%M} on" if again else "it never may be"

    def _resting(self, gate: Gate) -> str:
        left = gate.watch.rests_for(gate.settings.cool_down)
        if not left:
            return ""
        return f"it was opened just now, and is not again for {left:.0f} s"

    def _no_pin(self, gate: Gate, visit: _Visit) -> str:
        if visit.wrong >= TRIES:
            return "too many wrong PINs were typed in this call"
        if gate.watch.locked:
            return "too many wrong PINs were typed, and it takes none for some minutes"
        return ""

    # How

    async def _open(self, call: ICallControl, gate: Gate, who: str) -> str:
        """@return: For the agent: what came of it."""
        refused = self._resting(gate)  # by another call, perhaps, since it was asked
        if refused:
            return f"error: {_not_opened(gate, refused)}"
        gate.watch.opens()
        began = self._reactor.seconds()
        try:
            if gate.relay is not None:
                await gate.relay.open(self._reactor)
            elif not await self._sound(call, gate.settings.dtmf):
                gate.watch.did_not_open()
                self._say(call, gate, "the tones that open it were cut off")
                return f"error: {_not_opened(gate, 'the tones were cut off')}"
        except Exception as error:
            gate.watch.did_not_open()
            self.log.error(
                "call {call_id}: gate {gate}: it did not open: {problem}",
                call_id=call.call_id,
                gate=gate.name,
                problem=str(error) or type(error).__name__,
            )
            return f"error: {_not_opened(gate, 'it does not work just now')}"
        took = round((self._reactor.seconds() - began) * 1000)
        self._say(call, gate, f"opened ({who}) in {took} ms")
        return f"The gate {gate.name} is open: tell the caller."

    async def _sound(self, call: ICallControl, digits: str) -> bool:
        """The voice of a caller may cut them off; once more, then."""
        pcm = tones.dtmf(digits, RATE)
        for _ in range(2):
            if await call.play("gate tones", RATE, pcm):
                return True
        return False

    def _say(self, call: ICallControl, gate: Gate, what: str) -> None:
        _AUDIT.info(
            "call {call_id}{caller}: gate {gate}: {what}",
            call_id=call.call_id,
            caller=call.facts.caller_in_short,
            gate=gate.name,
            what=what,
        )


def _not_opened(gate: Gate, why: str) -> str:
    return f"The gate {gate.name} was not opened: {why}."


def _description(found: Mapping[str, Gate], kinds: set[str]) -> str:
    names = "; ".join(
        f"{name} ({gate.settings.description})" if gate.settings.description else name
        for name, gate in found.items()
    )
    pin = (
        " Of some the caller has to type a PIN on the telephone; the answer says so."
        if "pin" in kinds
        else ""
    )
    return f"Open a gate or a door for the caller, who asks for it: {names}.{pin}"


def _gate(name: str, config: Config, reactor: Any) -> Gate:
    section, settings = f"gates.{name}", config.gates[name]

    def place(key: str) -> str:
        line = config.origins.get((section, key))
        return f"{line}: [{section}] {key}" if line else f"[{section}] {key}"

    relay = pins = residents = None
    if settings.url:
        file = settings.password_file
        secret = permits.credentials(file, place("password_file")) if file else b""
        relay = Relay(settings.url, settings.method, secret)
    if settings.who == "pin":
        pins = Pins.read(settings.pins_file, place("pins_file"))
        if permits.seen_by_all(settings.pins_file):
            Tool.log.warn(
                "{place}: {path} can be read by every user of this machine; chmod 600 "
                "it, owned by the user that portero runs as",
                place=place("pins_file"),
                path=settings.pins_file,
            )
    elif settings.who == "resident":
        residents = Residents.read(settings.residents_file, place("residents_file"))
    return Gate(
        name,
        settings,
        hours.parse(settings.hours),
        permits.watch(name, reactor),
        relay,
        pins,
        residents,
    )

"""
A captured call once more, with the code of today: what came from outside comes again,
at the same times; what the call does is captured anew.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from typing import Final

from twisted.internet.task import Clock

from portero import plugins
from portero.assignment import Assignment
from portero.call import Call
from portero.captures.call import capture_call
from portero.captures.capture import Capture
from portero.captures.entries import CaptureError, Entry, Kind
from portero.captures.header import Header
from portero.captures.played import (
    PlayedLeg,
    PlayedPbx,
    PlayedSockets,
    PlayedTool,
    PlayedTools,
)
from portero.errors import ConfigError
from portero.interfaces import IVoiceProvider
from portero.pacing import PTIME
from portero.toolbox import Toolbox
from portero.watching import Watchers

LINGER: Final = 10.0
"""Seconds that a call is given that did not end when the captured one did."""
OVER: Final = "the captured call was over"
"""Why it ends then."""
ALIKE: Final = 0.002
"""Seconds: a timer set for so much before another may be the same one."""
ROUNDING: Final = 1e-6
_ACTS: Final = {
    **{"stop": 0, "whisper": 2, "hand_over": 3, "dismiss": 1},
    **{"pause_recording": 1, "resume_recording": 1},
}
"""How many texts each takes."""


def play(entries: list[Entry]) -> list[Entry]:
    """
    @param entries: Of a capture, from its beginning.
    @return: What a capture of the replay has.
    @raise CaptureError: These cannot be played.
    """
    return Player(entries).play()


class Player:
    """Of one capture, once."""

    def __init__(self, entries: list[Entry]) -> None:
        if not entries or entries[0].kind is not Kind.CALL:
            raise CaptureError("what the call was made of is missing")
        self._entries = entries
        self._world = Clock()
        self._world.rightNow = entries[0].at
        self._played: list[Entry] = []
        header = self._header = Header.read(entries[0].value())
        self._capture = Capture(self._world, self._played.append, header.call_id)
        self._leg = PlayedLeg(self._world, header.call_id, header.peer, header.leg)
        self._leg.caller_rate = header.caller_rate
        self._sockets = PlayedSockets()
        self._tools = PlayedTools(entries)
        self._wakes = [
            (entry.at, entry.as_float())
            for entry in entries
            if entry.kind is Kind.WOKEN
        ]
        self._woken = 0
        self._over = False

    def play(self) -> list[Entry]:
        """@return: What was captured anew."""
        watchers = Watchers()
        watchers.add(self._capture)
        call = capture_call(
            self._capture, self._leg, self._assignment(), self._ended, watchers
        )
        for entry in self._entries:
            if self._over:
                break
            if entry.kind.came:
                self._until(entry.at)
                self._deliver(call, entry)
        ended = self._entries[-1].kind is Kind.ENDED
        if ended and not self._over:
            self._linger()
        return self._played

    def _assignment(self) -> Assignment:
        header = self._header
        greetings = {
            entry.number: entry.data
            for entry in self._entries
            if entry.kind is Kind.GREETING
        }
        tools = tuple(PlayedTool(make, self._tools) for make in header.tools)
        return Assignment(
            header.agent,
            header.facts,
            replace(header.brief, tools=tools),
            replace(header.settings, opening=header.opening(greetings)),
            self._provider(),
            Toolbox(tools, self._world, header.tool_within),
            header.terms.meter(header.agent),
            PlayedPbx() if header.fetched else None,
        )

    def _provider(self) -> IVoiceProvider:
        name = self._header.provider
        settings = replace(self._header.provider_settings, ca_file="")
        if ":" in name:  # whose code would run here
            raise CaptureError(f"the provider {name} is none of portero's")
        try:
            provider = plugins.find("providers", name)(self._world, settings, "")
        except ConfigError as error:
            raise CaptureError(str(error)) from None
        found: IVoiceProvider = provider.by_way_of(self._world, self._sockets.connect)
        return found

    def _ended(self, call: Call) -> None:
        self._over = True

    # Time

    def _until(self, at: float) -> None:
        """It becomes C{at}; what is due before is done, unless it was late then too."""
        world = self._world
        while world.calls:
            due = world.calls[0].getTime()
            if due > at or self._was_late(due):
                break
            world.advance(max(0.0, due - world.rightNow))
        world.rightNow = max(world.rightNow, at)

    def _was_late(self, due: float) -> bool:
        """Whether a timer for this moment ran later in the captured call."""
        number = bisect_left(self._wakes, (due - ROUNDING, 0.0), self._woken)
        return number < len(self._wakes) and self._wakes[number][1] - ALIKE <= due

    def _linger(self) -> None:
        """What would become of it?"""
        frames = [entry.at for entry in self._entries if entry.kind is Kind.FRAME]
        origin = frames[-1] if frames else self._world.rightNow
        for number in range(1, round(LINGER / PTIME) + 1):
            if self._over:
                return
            self._until(origin + number * PTIME)
            self._leg.frame_due(self._world.rightNow)
        self._leg.leave(OVER, True)

    # What came

    def _deliver(self, call: Call, entry: Entry) -> None:
        kind, at, number, data = entry
        leg = self._leg
        match kind:
            case Kind.BEGAN:
                leg.begin(call)
            case Kind.HEARD:
                if not number or not data or len(data) % 2:
                    raise entry.broken()
                leg.hear(data, number, at)
            case Kind.PREFERRED:
                leg.prefer(number)
            case Kind.FRAME:
                leg.frame_due(at)
            case Kind.KEY:
                leg.press(data.decode("latin-1"))
            case Kind.GONE:
                leg.leave(*entry.parts(str, bool))
            case Kind.WOKEN:
                self._woken += 1
                self._world.advance(0)
            case Kind.ACT:
                _act(call, entry)
            case Kind.STEP:
                self._tools.came(entry)
            case _:
                self._sockets.came(entry)


def _act(call: Call, entry: Entry) -> None:
    value = entry.value()
    name = value[0] if isinstance(value, list) and value else None
    if name not in _ACTS:
        raise entry.broken()
    _, *texts = entry.parts(*[str] * (1 + _ACTS[name]))
    if name in ("pause_recording", "resume_recording"):
        call.pause_recording(name == "pause_recording", *texts)
    else:
        getattr(call, name)(*texts)

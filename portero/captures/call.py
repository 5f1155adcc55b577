"""A call that is captured: as every other, with somebody at each of its doors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.logger import Logger

from portero.assignment import Assignment
from portero.call import Call
from portero.captures.capture import Capture
from portero.captures.entries import Kind, jsonable
from portero.captures.header import Header, provider_of, secrets_of
from portero.captures.outside import CapturedPbx, CapturedTool, Wire
from portero.interfaces import ILeg
from portero.toolbox import Toolbox
from portero.watching import Watchers


class CapturedCall(Call):
    """What comes in by way of these is kept; all else comes in by other doors."""

    def __init__(
        self,
        capture: Capture,
        leg: ILeg,
        assignment: Assignment,
        ended: Callable[[Call], None],
        watchers: Watchers,
    ) -> None:
        """The arguments are those of L{Call}; its clock is that of the capture."""
        # In the log it is a call as any other.
        self.log = Logger(f"{Call.__module__}.{Call.__qualname__}", self)
        self._capture = capture
        call_id = assignment.brief.call_id
        super().__init__(call_id, leg, assignment, capture.clock, ended, watchers)

    def dtmf(self, digit: str) -> None:
        self._capture.came(Kind.KEY, digit.encode())
        super().dtmf(digit)

    def gone(self, reason: str, in_order: bool) -> None:
        self._capture.gone(reason, in_order)
        super().gone(reason, in_order)

    def stop(self) -> None:
        self._act("stop")
        super().stop()

    def whisper(self, text: str, who: str) -> bool:
        self._act("whisper", text, who)
        return super().whisper(text, who)

    def hand_over(self, target: str, name: str, who: str) -> bool:
        self._act("hand_over", target, name, who)
        return super().hand_over(target, name, who)

    def pause_recording(self, paused: bool, who: str) -> bool:
        self._act("pause_recording" if paused else "resume_recording", who)
        return super().pause_recording(paused, who)

    def dismiss(self, who: str) -> bool:
        self._act("dismiss", who)
        return super().dismiss(who)

    def _act(self, *act: Any) -> None:
        self._capture.came(Kind.ACT, jsonable(act))


def capture_call(
    capture: Capture,
    leg: ILeg,
    assignment: Assignment,
    ended: Callable[[Call], None],
    watchers: Watchers,
) -> CapturedCall:
    """
    @param ended: As L{Call} takes it.
    @raise CaptureError: It cannot be captured.
    """
    provider = provider_of(assignment)
    brief, pbx = assignment.brief, assignment.pbx
    tools = tuple(CapturedTool(tool, capture) for tool in assignment.toolbox.tools)
    way = partial(Wire, capture, secrets_of(brief))
    captured = replace(
        assignment,
        brief=replace(brief, tools=tools),
        provider=provider.by_way_of(capture.clock, way),
        toolbox=Toolbox(tools, capture.clock, assignment.toolbox.within),
        pbx=None if pbx is None else CapturedPbx(pbx, capture),
    )
    call = CapturedCall(capture, leg, captured, ended, watchers)
    began, rate = call.snapshot()["began"], leg.agent_rate
    header = Header.of(assignment, leg, leg.be_captured(capture), began)
    capture.note(Kind.CALL, jsonable(header.plain()))
    greeting = assignment.settings.opening.at_hand(rate)
    if greeting:
        capture.note(Kind.GREETING, greeting, rate)
    return call

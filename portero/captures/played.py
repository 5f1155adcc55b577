"""What a replayed call has to do with: each of these does again what was captured."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, Final, NamedTuple

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import Logger
from zope.interface import implementer

from portero.captures.entries import Entry, Kind, is_of
from portero.captures.header import ToolMake
from portero.interfaces import ICallControl, ILegEvents, IPbxControl, ITool, LegMake
from portero.line import Line
from portero.pacing import MediaClock, Paced
from portero.providers._websocket import Ending
from portero.toolbox import ERROR

_STEPS: Final[Mapping[str, tuple[type | tuple[type, ...], ...]]] = {
    "answer": (str,),
    "fail": (str,),
    "at_end": (),
    "play": (str, int, str),
    "inform": (str,),
    "collect_digits": (int, (int, float)),
    "pause_recording": (bool,),
    "cancel_transfer": (),
    "transfer": (str, str),
    "end_after_speech": (str,),
}
"""What a tool may do to its call, or about itself; and with what."""


class _Still(MediaClock):
    """A leg on it is told by others when a frame is due."""

    def join(self, leg: Paced) -> None:
        pass

    def leave(self, leg: Paced) -> None:
        pass


class _Nowhere:
    """In the place of a transport: what leaves is captured before it comes here."""

    def write(self, data: bytes) -> None:
        pass

    def unregisterProducer(self) -> None:
        pass


class PlayedLeg(Line):
    """Its far end is a capture. What comes after its end is ignored."""

    log = Logger()

    def __init__(self, clock: Clock, call_id: str, peer: str, make: LegMake) -> None:
        super().__init__(
            clock,
            _Still(clock),
            peer,
            make.agent_rate,
            prebuffer_frames=make.prebuffer_frames,
            queue_frames=make.queue_frames,
        )
        self.call_id = call_id
        self._output = _Nowhere()

    def begin(self, events: ILegEvents) -> None:
        self._begin(events)

    def hear(self, pcm: bytes, rate: int, now: float) -> None:
        if not self._over:
            self._heard(pcm, rate, now)

    def press(self, digit: str) -> None:
        if self._events is not None:
            self._events.dtmf(digit)

    def prefer(self, rate: int) -> None:
        if not self._over:
            self._prefer(rate)

    def frame_due(self, now: float) -> None:
        if not self._over:
            super().frame_due(now)

    def leave(self, reason: str, in_order: bool) -> None:
        """From its other side."""
        self._lost(reason, in_order)

    def _part(self, abort: bool) -> None:
        pass

    def _broken(self, why: str) -> None:
        self._end("protocol error")


class PlayedSocket:
    """Nobody is at its other end."""

    def __init__(self, user: Any) -> None:
        self.date = 0.0
        self.user: Any = user
        """L{None}: it was closed from here, or has ended."""

    def send(self, payload: bytes) -> None:
        pass

    def close(self) -> None:
        self.user = None


class PlayedSockets:
    """All that a call opens, by their numbers, from 1 on."""

    def __init__(self) -> None:
        self._sockets: dict[int, PlayedSocket] = {}

    def connect(self, user: Any, connect: object) -> PlayedSocket:
        """@param connect: Would connect it to the service."""
        socket = self._sockets[len(self._sockets) + 1] = PlayedSocket(user)
        return socket

    def came(self, entry: Entry) -> None:
        """
        @param entry: Of a kind that sockets have.
        @raise CaptureError: It is broken.
        """
        socket = self._sockets.get(entry.number)
        if socket is None or socket.user is None:
            return
        match entry.kind:
            case Kind.OPENED:
                socket.date = entry.as_float()
                socket.user.opened()
            case Kind.STUCK:
                socket.user.stuck(bool(entry.data))
            case Kind.CLOSED:
                user, socket.user = socket.user, None
                user.closed(_ending(entry))
            case _:
                socket.user.received(entry.data, entry.kind is Kind.BINARY)


def _ending(entry: Entry) -> Ending:
    value = entry.value()
    try:
        body = value["body"].encode("latin-1")
        return Ending(
            str(value["reason"]),
            int(value["code"]),
            int(value["status"]),
            body,
            float(value["retry_after"]),
            value["final"] is True,
        )
    except (TypeError, ValueError, KeyError, AttributeError):
        raise entry.broken() from None


@implementer(ITool)
class PlayedTool:
    """Does to the call what it did, and answers what it answered."""

    def __init__(self, make: ToolMake, tools: PlayedTools) -> None:
        self.name = make.name
        self.description = make.description
        self.parameters = make.parameters
        self.private = make.private
        if make.within is not None:
            self.within = make.within
        self._tools = tools

    def run(self, call: ICallControl, arguments: Mapping[str, Any]) -> Awaitable[str]:
        return self._tools.run(call, self.name, arguments)


class _Step(NamedTuple):
    """One, as L{portero.captures.outside.Use.did} keeps it."""

    what: str
    values: list[Any]
    at_once: bool


def _step(entry: Entry) -> _Step:
    """@raise CaptureError: It is none."""
    step = _Step(*entry.parts(str, list, bool))
    if step.what not in _STEPS or not is_of(step.values, _STEPS[step.what]):
        raise entry.broken()
    if step.what == "play":
        name, rate, pcm = step.values
        try:
            return step._replace(values=[name, rate, bytes.fromhex(pcm)])
        except ValueError:
            raise entry.broken() from None
    return step


class _Use:
    """Of a tool, once."""

    def __init__(self, name: str, arguments: Any) -> None:
        self.name = name
        self.arguments = arguments
        self.steps: list[_Step] = []
        """To be done when it is used."""
        self.call: ICallControl | None = None
        self.answer: Deferred[str] = Deferred()

    def do(self, step: _Step) -> None:
        if self.call is None:
            self.steps.append(step)
        elif self.answer.called:
            pass  # it took too long
        elif step.what == "answer":
            self.answer.callback(*step.values)
        elif step.what == "fail":
            self.answer.errback(RuntimeError(*step.values))
        elif step.what == "at_end":
            self.call.at_end(lambda: None)
        else:
            getattr(self.call, step.what)(*step.values)


class PlayedTools:
    """What all tools of a call did."""

    def __init__(self, entries: list[Entry]) -> None:
        self._uses: dict[int, _Use] = {}
        for entry in entries:
            if entry.kind is Kind.RAN:
                self._uses[entry.number] = _Use(*entry.parts(str, dict))
        for entry in entries:
            if entry.kind is Kind.STEP and entry.number in self._uses:
                step = _step(entry)
                if step.at_once:
                    self._uses[entry.number].do(step)

    def run(
        self, call: ICallControl, name: str, arguments: Mapping[str, Any]
    ) -> Deferred[str]:
        free = [
            use for use in self._uses.values() if use.call is None and use.name == name
        ]
        same = [use for use in free if use.arguments == arguments]
        if not free:
            return succeed(f"{ERROR}{name} was not used in the captured call")
        use = (same or free)[0]
        use.call = call
        for step in use.steps:
            use.do(step)
        return use.answer

    def came(self, entry: Entry) -> None:
        """A tool did something, not at once."""
        step, use = _step(entry), self._uses.get(entry.number)
        if use is not None and not step.at_once:
            use.do(step)


@implementer(IPbxControl)
class PlayedPbx:
    """Answers as late as it did: when the call is over."""

    def redirect(self, channel: str, target: str) -> Deferred[bool]:
        return Deferred()

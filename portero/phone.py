"""
A phone that plays Asterisk's part: it calls a server as C{AudioSocket()} does, speaks,
listens, and measures what the line is worth.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from twisted.internet import error
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from portero.audio import silence
from portero.linecheck import LineCheck, Report
from portero.pacing import PTIME, MediaClock
from portero.transports.audiosocket import AudioSocketReceiver
from portero.wire import audiosocket as wire

CLOSE_WITHIN = 2.0
GREETED_WITHIN = 10.0
ANSWERED_WITHIN = 10.0
UTTERANCE_OVER = 1.0
"""Seconds of silence after which a greeting or an answer has ended."""
LINGER = 3.0
"""Seconds of silence before this phone hangs up, when it has nothing more to do."""
LONGEST_CALL = 120.0
MOST_AHEAD = 60.0
"""Seconds of audio that may come faster than real time; kept in memory, so bounded."""

DIGIT_FRAMES: Final = 12
DIGIT_TOLD: Final = 8
"""A key pressed for 160 ms leaves a hole of 240 ms in the audio, and Asterisk tells it
at its end (both measured)."""
BETWEEN_DIGITS = 0.26

METERS_EVERY: Final = 5
"""Frames between two looks of whoever watches."""

Message = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the phone shall do in its call."""

    speech: tuple[bytes, ...] = ()
    """The frames of 20 ms to play, at C{rate}."""
    rate: int = 8000
    say_after: float | None = None
    """Seconds from the connection on; C{None}: when the greeting has ended."""
    plays: int = 1
    barge_in: bool = False
    digits: str = ""
    seconds: float = LONGEST_CALL
    call_id: uuid.UUID = field(default_factory=uuid.uuid4)
    keep_audio: bool = True


class Phone(AudioSocketReceiver):
    """
    One call: the caller's end of an AudioSocket connection.

    Says its call id when connected, then sends one frame every 20 ms, and hangs up
    when the plan is done.
    """

    def __init__(
        self,
        clock: IReactorTime,
        plan: Plan,
        watch: Callable[[LineCheck, float], None] | None = None,
    ) -> None:
        """
        @param watch: Told ten times a second how the line stands, and the time.
        """
        super().__init__()
        self.call_id = str(plan.call_id)
        self.ended: Deferred[Report] = Deferred()
        self.line = LineCheck(clock.seconds(), plan.keep_audio)
        self.stopped = False
        self._clock = clock
        self._plan = plan
        self._watch = watch
        self._media = MediaClock(clock)
        self._kind = wire.KINDS[plan.rate]
        self._silence = self._kind, silence(round(plan.rate * PTIME))
        self._script = self._call()
        self._now = clock.seconds()
        self._frames = 0
        self._over = ""
        self._own_lateness = (0.0, 0)
        self._timer: IDelayedCall | None = None

    # The connection

    def connectionMade(self) -> None:
        self._connected_transport().setTcpNoDelay(True)
        self._now = now = self._clock.seconds()
        self.line = LineCheck(now, self._plan.keep_audio)
        self.sendMessage(wire.UUID, self._plan.call_id.bytes)
        self._timer = self._clock.callLater(
            self._plan.seconds, self.hang_up, "hung up by us at the limit of --seconds"
        )
        self._media.join(self)

    def messageReceived(self, kind: int, payload: bytes) -> None:
        if kind in wire.RATES:
            now = self._clock.seconds()
            self.line.frame_received(now, wire.RATES[kind], payload)
            if self.line.audio_seconds > now - self.line.connected + MOST_AHEAD:
                self.hang_up(
                    f"hung up by us: {MOST_AHEAD:.0f} s of audio came ahead of its time"
                )
        elif kind == wire.HANGUP:
            self._finish("the far end hung up (0x00)")
            self._connected_transport().loseConnection()
        else:
            self.line.oddities[f"it ends the call at kind 0x{kind:02x}"] += 1

    def lengthLimitExceeded(self, kind: int, length: int) -> None:
        self.hang_up(
            f"hung up by us: a message of kind 0x{kind:02x} with {length} bytes came; "
            "is this AudioSocket?"
        )

    def hang_up(self, why: str = "hung up by us (0x00, FIN)") -> None:
        """End the call politely; nothing when it has ended."""
        if self._over:
            return
        self._finish(why)
        self.sendMessage(wire.HANGUP)
        # Only our half: closing with audio unread would be a reset.
        self._connected_transport().loseWriteConnection()

    def stop(self) -> Deferred[None]:
        """Hang up; fires when the connection is gone. For the shutdown of a reactor."""
        self.stopped = True
        gone: Deferred[None] = Deferred()
        self.ended.addBoth(lambda _: gone.callback(None))
        self.hang_up("hung up by us (interrupted)")
        return gone

    def _finish(self, how: str) -> None:
        """Nothing is sent or measured from here on; the connection closes."""
        self._over = how
        self._own_lateness = self._media.lateness(self)
        self._media.leave(self)
        self._decoder.stop()
        self._cancel_timer()
        self._now = self._clock.seconds()
        self._timer = self._clock.callLater(
            CLOSE_WITHIN, self._connected_transport().abortConnection
        )

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._over:
            self._finish(
                "the far end closed the connection (FIN, without 0x00)"
                if reason.check(error.ConnectionDone)
                else "the far end reset the connection (RST)"
            )
        self._cancel_timer()
        self.ended.callback(self.line.report(self._now, self._over, self._own_lateness))

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    # The clock

    def frame_due(self, now: float) -> None:
        """Send one frame, or what the script has in its place. Called by the clock."""
        self._now = now
        message = next(self._script, None)
        if message is not None:
            kind, payload = message
            if kind == self._kind:
                self.line.frame_sent(now, self._plan.rate, payload)
            self.sendMessage(kind, payload)
        self._frames += 1
        if self._watch is not None and self._frames % METERS_EVERY == 0:
            self._watch(self.line, now)

    def pacing_failed(self) -> None:
        """L{frame_due} raised; the clock has let go of this phone and logged it."""
        self.hang_up("hung up by us after an error in this phone")

    # The script: one message, or none, for each slot of 20 ms

    def _call(self) -> Iterator[Message | None]:
        plan, since = self._plan, self._now
        yield from self._wait_for_greeting()
        for play in range(plan.plays if plan.speech else 0):
            if play and plan.barge_in:
                yield from self._until(self._answering(since), ANSWERED_WITHIN)
            began = self._now
            yield from ((self._kind, frame) for frame in plan.speech)
            since = max(began, self.line.caller.ended)
            if not plan.barge_in or play == plan.plays - 1:
                yield from self._until(self._answered(since), ANSWERED_WITHIN)
        if plan.digits:
            since = self._now
            for digit in plan.digits:
                yield from self._press(digit)
            yield from self._until(self._answered(since), ANSWERED_WITHIN)
        done, agent = self._now, self.line.agent
        yield from self._until(
            lambda: self._now - max(done, agent.ended) >= LINGER, math.inf
        )
        self.hang_up()

    def _wait_for_greeting(self) -> Iterator[Message]:
        if self._plan.say_after is not None:
            return self._until(lambda: False, self._plan.say_after)
        return self._until(self._answered(-math.inf), GREETED_WITHIN)

    def _until(self, over: Callable[[], bool], within: float) -> Iterator[Message]:
        latest = self._now + within - PTIME / 2
        while self._now < latest and not over():
            yield self._silence

    def _answering(self, since: float) -> Callable[[], bool]:
        return lambda: self.line.agent.began >= since

    def _answered(self, since: float) -> Callable[[], bool]:
        agent = self.line.agent
        return lambda: (
            agent.ended > since and agent.silent_for(self._now) >= UTTERANCE_OVER
        )

    def _press(self, digit: str) -> Iterator[Message | None]:
        for frame in range(DIGIT_FRAMES):
            yield (wire.DTMF, digit.encode()) if frame == DIGIT_TOLD else None
        yield from self._until(lambda: False, BETWEEN_DIGITS)

"""
A leg's frames and its caller's time: what all legs share whose frames we pace.

How the far end is spoken to is the business of each leg.
"""

from __future__ import annotations

import socket
from collections import Counter
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from portero.audio import silence
from portero.interfaces import (
    Heard,
    IAudioTap,
    ILeg,
    ILegCapture,
    ILegEvents,
    LegFigures,
    LegMake,
)
from portero.pacing import PTIME, CallerTime, MediaClock
from portero.playout import MAX_WAITING, Playout
from portero.taps import Taps

SEND_BUFFER_MS: Final = 2000
MOST_AHEAD: Final = 60.0
"""Seconds of audio that may come faster than real time: what follows a stall of the
network, and never an endless supply, which the voice service would be paid for."""
QUEUE_FRAMES: Final = round(MAX_WAITING / PTIME)
DIGITS: Final = frozenset("0123456789*#ABCD")


@implementer(ILeg, IPushProducer)
class Line:
    """
    A leg without its protocol. A subclass connects it, tells it what came, and
    overrides L{_part}, L{_broken} and, if it likes, L{_not_heard} and L{_rate_chosen}.
    """

    log = Logger()
    far_end = "the far end"
    """Who that is, in words."""

    def __init__(
        self,
        clock: IReactorTime,
        media: MediaClock,
        peer: str,
        rate: int,
        *,
        prebuffer_frames: int = 0,
        queue_frames: int = 0,
    ) -> None:
        """
        @param peer: Where it comes from, for the log.
        @param rate: Of the frames sent, in Hz.
        @param prebuffer_frames: Of 20 ms, that the start of a reply waits for; 0 for as
            many as the last replies needed.
        @param queue_frames: Of 20 ms, that may wait; 0 for L{QUEUE_FRAMES}. A voice
            service that is faster than real time needs room for its longest reply.
        """
        self.peer = peer
        self.call_id = ""
        self.caller_rate = rate
        self._clock = clock
        self._media = media
        self._events: ILegEvents | None = None
        self._playout = Playout(
            rate,
            prebuffer=prebuffer_frames * PTIME,
            most_waiting=(queue_frames or QUEUE_FRAMES) * PTIME,
        )
        self._make = LegMake(rate, prebuffer_frames, queue_frames)
        self._preferred_rate = rate
        self._caller_time = CallerTime(0.0)
        self._header = b""
        self._output: Any = None
        """The transport."""
        self._direct: Any = None
        """The same, if it is plain TCP."""
        self._taps: Taps | None = None
        self._private = False
        """Nothing of what is said is for the taps."""
        self._capture: ILegCapture | None = None
        self._over = ""
        """Why it ended."""
        self._began = 0.0
        self._flushed: float | None = None
        """When, while old audio is still to be sent."""
        self._tail = 0.0
        self._received = 0
        self._sent = 0
        self._on_clock = False
        self._final_pacing = (0.0, 0)
        self._oddities: Counter[str] = Counter()

    # The connection

    def _opened(self, transport: Any) -> None:
        """
        There is a connection. C{transport} has no producer.
        """
        self._output = transport
        if isinstance(transport.getPeer(), IPv4Address | IPv6Address):
            transport.setTcpNoDelay(True)
        if isinstance(transport, Connection):
            self._direct = transport
        transport.registerProducer(self, True)

    def _frames_begin_with(self, header: bytes) -> None:
        """
        Before each frame sent goes C{header}. To be called again when the rate of the
        frames has changed: it decides how much may wait in the transport.
        """
        self._header = header
        transport = self._output
        transport.bufferSize = self._playout.rate * 2 * SEND_BUFFER_MS // 1000
        handle = transport.getHandle()
        if isinstance(handle, socket.socket):
            # Else the kernel alone keeps minutes of audio for a peer that hangs.
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, transport.bufferSize)

    def pauseProducing(self) -> None:
        """It does not read, and 2 s of audio wait. The transport says so."""
        self._end(
            f"{self.far_end} stopped reading: 2 s of audio could not be sent",
            abort=True,
        )

    def resumeProducing(self) -> None:
        """Nothing to do: a leg that was paused has ended."""

    def stopProducing(self) -> None:
        """The connection is lost; the protocol is told."""

    # Its life

    def _begin(self, events: ILegEvents) -> None:
        """It is a call: from now on a frame leaves each 20 ms."""
        self._events = events
        self._began = self._clock.seconds()
        self._caller_time = CallerTime(self._began)
        self._media.join(self)
        self._on_clock = True
        if self._capture is not None:
            self._capture.began(self._began)
        events.identified()

    def _end(self, reason: str, *, in_order: bool = False, abort: bool = False) -> None:
        """
        End it from our side, once.

        @param abort: Nothing can be sent any more.
        """
        if self._over:
            return
        self._over = reason
        self._leave_clock()
        self._output.unregisterProducer()
        self._part(abort)
        self._finish(reason, in_order)

    def _part(self, abort: bool) -> None:
        """Take leave of the far end and close the connection, or C{abort} it."""
        raise NotImplementedError

    def _broken(self, why: str) -> None:
        """The far end does what no far end does. End it."""
        raise NotImplementedError

    def _lost(self, reason: str, in_order: bool) -> None:
        """It ended from the other side; or had ended before."""
        if not self._over:
            self._over = reason
            self._finish(reason, in_order)

    def _disconnected(self, reason: Failure) -> None:
        """The connection is gone."""
        # FIN and RST are both normal: Asterisk resets when it leaves data unread.
        in_order = reason.check(ConnectionDone, ConnectionLost) is not None
        failed = f"the connection failed ({reason.getErrorMessage()[:200]})"
        self._lost("caller hung up" if in_order else failed, in_order)

    def _finish(self, reason: str, in_order: bool) -> None:
        self._leave_clock()
        events, self._events = self._events, None
        if events is not None:
            events.gone(reason, in_order)

    def _leave_clock(self) -> None:
        if self._on_clock:
            self._on_clock = False
            self._final_pacing = self._media.lateness(self)
            self._media.leave(self)
            taps, self._taps = self._taps, None
            if taps is not None:
                taps.end()

    def _note(self, what: str, text: str, detail: object) -> None:
        """Count an oddity; log its first occurrence in a call."""
        self._oddities[what] += 1
        if self._oddities[what] == 1 and self.call_id:
            self.log.warn(
                "call {call_id} from {peer}: {what} (counted; logged once)",
                call_id=self.call_id,
                peer=self.peer,
                what=text.format(detail),
            )

    # From the far end

    def _heard(self, pcm: bytes, rate: int, now: float) -> None:
        """
        Whole samples of the caller's came, at least one; C{_begin} was before that.
        """
        if self._capture is not None:
            self._capture.heard(rate, pcm, now)
        self.caller_rate = rate
        caller_time = self._caller_time
        filling = caller_time.arrived(now, len(pcm) / (2 * rate))
        if caller_time.ahead(now) > MOST_AHEAD:
            self._broken(f"{MOST_AHEAD:.0f} s of audio came ahead of its time")
            return
        if filling:
            self._fill(filling)
        if self._taps is not None:
            self._taps.heard(bytes(len(pcm)) if self._private else pcm, rate)
        if self._events is not None:
            self._events.caller_audio(pcm)

    def _fill(self, seconds: float) -> None:
        """Silence stands for what the caller did not send."""
        pcm = silence(round(seconds * self.caller_rate))
        if self._taps is not None:
            self._taps.heard(pcm, self.caller_rate)
        if self._events is not None:
            self._events.caller_audio(pcm)

    def _not_heard(self, seconds: float) -> None:
        """Nothing comes since so long; silence was put in its place."""

    def _prefer(self, rate: int) -> None:
        """Frames are to be of this rate, as soon as nothing is being sent."""
        if self._capture is not None:
            self._capture.preferred(rate)
        self._preferred_rate = rate
        self._choose_rate()

    def _choose_rate(self) -> None:
        playout, rate = self._playout, self._preferred_rate
        if playout.rate != rate and playout.idle and not self._over:
            playout.set_rate(rate)
            self._rate_chosen()

    def _rate_chosen(self) -> None:
        """Frames are of another rate from now on."""

    # To the far end

    def frame_due(self, now: float) -> None:
        """Send one frame and keep the caller's time. Called by the media clock."""
        playout = self._playout
        frame = playout.frame(now)
        if self._capture is not None:
            self._capture.frame(frame, now)
        message = self._header + frame
        # Straight to the socket when nothing waits there. By way of the reactor a frame
        # costs two changes of the poll set and another turn of the loop: a seventh of
        # all CPU, and it leaves later.
        direct, written = self._direct, 0
        if direct is not None and not (direct.dataBuffer or direct._tempDataBuffer):
            taken = direct.writeSomeData(message)
            # Otherwise it is an exception, which the reactor meets in its own write.
            written = taken if isinstance(taken, int) else 0
        if written < len(message):
            self._output.write(message[written:])
        self._sent += 1
        if self._taps is not None:
            self._give_taps(self._taps, frame)
        if playout.notices:
            self._tell(now)
        filling = self._caller_time.quiet(now)
        if filling and self._events is not None:
            self._fill(filling)
            self._not_heard(self._caller_time.silent_for(now))

    def pacing_failed(self) -> None:
        """L{frame_due} raised, which the clock has logged."""
        self._end("internal error", abort=True)

    def _tell(self, now: float) -> None:
        notices, self._playout.notices = self._playout.notices, []
        for what, item in notices:
            if what == "faded":
                if self._flushed is not None:
                    self._tail, self._flushed = now + PTIME - self._flushed, None
            elif self._events is None:
                return
            elif what == "sounding":
                self._events.sounding(item)
            else:
                self._events.played_out(item)

    def _give_taps(self, taps: Taps, frame: bytes) -> None:
        shown = bytes(len(frame)) if self._private else frame
        taps.sent(shown, self._media.skipped(self))
        if not taps:
            self._taps = None

    # ILeg

    @property
    def agent_rate(self) -> int:
        if self._preferred_rate != self._playout.rate:
            self._choose_rate()
        return self._playout.rate

    def _now(self) -> float:
        return (self._capture or self._clock).seconds()

    def play(self, item: str, pcm: bytes) -> bool:
        if self._over:
            return True  # late audio is normal, and nothing is kept of it
        return self._playout.play(item, pcm, self._now())

    def end_of_item(self, item: str) -> None:
        self._playout.end_of_item(item)

    def flush(self) -> tuple[Heard, ...]:
        heard = self._playout.flush()
        self._tail = 0.0
        self._flushed = None if self._playout.idle else self._now()
        return heard

    def pause(self) -> None:
        self._playout.pause()

    def resume(self) -> None:
        self._playout.resume()

    def hang_up(self) -> None:
        if self._capture is not None and not self._over:
            self._capture.hung_up()
        self._end("agent hung up", in_order=True)

    def tap(self, tap: IAudioTap) -> None:
        if not self._on_clock:
            return
        if self._taps is None:
            skipped, now = self._media.skipped(self), self._clock.seconds()
            heard = now - self._began + self._caller_time.ahead(now)
            left = (self._sent + skipped) * PTIME
            rate, call_id = self.caller_rate, self.call_id
            self._taps = Taps(heard - left, skipped, rate, call_id)
        self._taps.add(tap)

    def untap(self, tap: IAudioTap) -> None:
        if self._taps is not None:
            self._taps.remove(tap)
            if not self._taps:
                self._taps = None

    def keep_private(self, private: bool) -> None:
        self._private = private

    def be_captured(self, capture: ILegCapture) -> LegMake:
        self._capture = capture
        return self._make

    def figures(self) -> LegFigures:
        late, skipped = (
            self._media.lateness(self) if self._on_clock else self._final_pacing
        )
        return LegFigures(
            frames_sent=self._sent,
            frames_received=self._received,
            frames_skipped=skipped,
            underruns=self._playout.underruns,
            filled_ms=round(self._caller_time.filled * 1000),
            lateness_p99_ms=late,
            prefill_ms=self._playout.prefill_ms,
            waiting_ms=self._playout.waiting_ms,
            jitter_ms=self._caller_time.jitter * 1000,
            tail_ms=self._tail * 1000,
            oddities=dict(self._oddities),
        )

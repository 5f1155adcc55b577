"""Calls from Asterisk's C{AudioSocket()} application and channel, over TCP."""

from __future__ import annotations

import socket
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import IService
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IPushProducer,
    IReactorTime,
    ISSLTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from portero import audio
from portero.companded import COMPANDED_BYTES, CompandedCheck
from portero.interfaces import (
    Heard,
    IAudioTap,
    ILeg,
    ILegEvents,
    IMediaTransport,
    LegFigures,
)
from portero.networks import Network
from portero.pacing import PTIME, CallerTime, MediaClock
from portero.playout import MAX_WAITING, Playout
from portero.transports._admission import LOCAL, Admission
from portero.wire import audiosocket as wire

IDENTIFY_WITHIN = 2.0
SILENT_LINE = 10.0
"""Seconds without audio from Asterisk after which a call is given up: longer than any
digit, shorter than anybody's patience with a line that nobody is on."""
CLOSE_WITHIN = 5.0
WIDEBAND_RATE = 24000
SEND_BUFFER_MS = 2000
MOST_AHEAD = 60.0
"""Seconds of audio that may come faster than real time: what follows a stall of the
network, and never an endless supply, which the voice service would be paid for."""
QUEUE_FRAMES = round(MAX_WAITING / PTIME)
MOST_TEXT = 16
"""Bytes of a peer's own that are written to the log."""


class AudioSocketReceiver(Protocol):
    """
    Cuts what arrives into messages, in the manner of C{Int32StringReceiver}.

    Both ends of a connection are this: override L{messageReceived}.
    """

    def __init__(self) -> None:
        self._decoder = wire.Decoder(self.messageReceived, self.lengthLimitExceeded)

    def dataReceived(self, data: bytes) -> None:
        self._decoder.feed(data)

    def messageReceived(self, kind: int, payload: bytes) -> None:
        """A message came. Override this."""

    def lengthLimitExceeded(self, kind: int, length: int) -> None:
        """
        A message is longer than its kind allows; nothing more is decoded. Closes the
        connection unless overridden.
        """
        self._connected_transport().loseConnection()

    def sendMessage(self, kind: int, payload: bytes = b"") -> None:
        """Send a message in one write, as Asterisk needs it."""
        self._connected_transport().write(wire.encode(kind, payload))

    def _connected_transport(self) -> Any:
        return self.transport


@implementer(ILeg, IPushProducer)
class AudioSocketLeg(AudioSocketReceiver):
    """One call from Asterisk."""

    log = Logger()

    def __init__(self, factory: AudioSocketFactory, peer: str, source: str) -> None:
        """
        @param peer: Address and port, for the log.
        @param source: The address alone, for the limit on unidentified connections.
        """
        super().__init__()
        self.peer = peer
        self.source = source
        self.call_id = ""
        self.caller_rate = 8000
        self._factory = factory
        self._clock = factory.clock
        self._events: ILegEvents | None = None
        self._playout = Playout(
            factory.downlink_rate or 8000,
            prebuffer=factory.prebuffer_frames * PTIME,
            most_waiting=(factory.queue_frames or QUEUE_FRAMES) * PTIME,
        )
        self._header = b""
        self._direct: Any = None
        """The transport, if it is plain TCP."""
        self._wideband = False
        self._caller_time = CallerTime(0.0)
        self._timer: IDelayedCall | None = None
        self._over = ""
        self._received = 0
        self._sent = 0
        self._on_clock = False
        self._final_pacing = (0.0, 0)
        self._oddities: Counter[str] = Counter()
        self._companded: CompandedCheck | None = CompandedCheck()
        self._expand: Callable[[bytes], bytes] | None = None

    # The connection

    def connectionMade(self) -> None:
        transport = self._connected_transport()
        if isinstance(transport.getPeer(), IPv4Address | IPv6Address):
            transport.setTcpNoDelay(True)
        if isinstance(transport, Connection):
            self._direct = transport
        transport.registerProducer(self, True)
        self._rate_chosen()
        self._timer = self._clock.callLater(IDENTIFY_WITHIN, self._nobody)

    def _rate_chosen(self) -> None:
        """The rate of the frames sent decides their header, and how many may wait."""
        rate = self._playout.rate
        self._header = wire.HEADER.pack(wire.KINDS[rate], round(rate * PTIME) * 2)
        transport = self._connected_transport()
        transport.bufferSize = rate * 2 * SEND_BUFFER_MS // 1000
        handle = transport.getHandle()
        if isinstance(handle, socket.socket):
            # Else the kernel alone keeps minutes of audio for a peer that hangs.
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, transport.bufferSize)

    def pauseProducing(self) -> None:
        """Asterisk does not read, and 2 s of audio wait. The transport says so."""
        self._end(
            "Asterisk stopped reading: 2 s of audio could not be sent", abort=True
        )

    def resumeProducing(self) -> None:
        """Nothing to do: a leg that was paused has ended."""

    def stopProducing(self) -> None:
        """The connection is lost; C{connectionLost} follows."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._cancel_timer()
        self._decoder.stop()
        self._factory.closed(self)
        # FIN and RST are both normal: Asterisk resets when it leaves data unread.
        in_order = reason.check(ConnectionDone, ConnectionLost) is not None
        if not self._over:
            failed = f"the connection failed ({reason.getErrorMessage()[:200]})"
            self._over = "caller hung up" if in_order else failed
        self._finish(self._over, in_order)

    def _nobody(self) -> None:
        self._timer = None
        self._refuse(
            f"said no call id within {IDENTIFY_WITHIN:.0f} s; a port check or a "
            "scanner does that"
        )

    def _refuse(self, why: str) -> None:
        """End a connection that is no call, and say why unless that was done."""
        if why:
            self._factory.admission.refused(self.source, why)
        self._over = why or "refused"
        self._cancel_timer()
        self._decoder.stop()
        # A reset, not a hang-up: it makes C{TryExec} fail, so that the caller goes to
        # the fallback.
        self._connected_transport().abortConnection()

    def _end(self, reason: str, *, in_order: bool = False, abort: bool = False) -> None:
        """Hang up by 0x00, then FIN; or reset, when nothing can be sent any more."""
        if self._over:
            return
        self._over = reason
        self._decoder.stop()
        self._cancel_timer()
        self._leave_clock()
        transport = self._connected_transport()
        transport.unregisterProducer()
        if abort:
            transport.abortConnection()
        else:
            self.sendMessage(wire.HANGUP)
            if ISSLTransport.providedBy(transport):
                transport.loseConnection()
            else:
                # Only our half. Closing while Asterisk's next frame is on its way is a
                # reset, at which the dialplan ends instead of going on.
                transport.loseWriteConnection()
            self._timer = self._clock.callLater(CLOSE_WITHIN, self._not_closed)
        self._finish(reason, in_order)

    def _not_closed(self) -> None:
        self._timer = None
        self._connected_transport().abortConnection()

    def _finish(self, reason: str, in_order: bool) -> None:
        self._leave_clock()
        events, self._events = self._events, None
        if events is not None:
            events.gone(reason, in_order)

    def _leave_clock(self) -> None:
        if self._on_clock:
            self._on_clock = False
            self._final_pacing = self._factory.media.lateness(self)
            self._factory.media.leave(self)

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    # From Asterisk

    def messageReceived(self, kind: int, payload: bytes) -> None:
        if kind in wire.RATES:
            self._audio_received(kind, payload)
        elif kind == wire.DTMF:
            self._digit_received(payload)
        elif kind == wire.UUID:
            self._uuid_received(payload)
        elif kind == wire.HANGUP:
            self._end("caller hung up", in_order=True)
        elif kind == wire.ERROR:
            code = payload[:MOST_TEXT].hex()
            self._note("errors from Asterisk", "it sent error {}", code)
        else:
            self._note("unknown kinds", "it sent a message of kind 0x{}", f"{kind:02x}")

    def lengthLimitExceeded(self, kind: int, length: int) -> None:
        self._broken(
            f"a message of kind 0x{kind:02x} has {length} bytes, "
            f"{wire.length_limit(kind)} is the most there is; is this AudioSocket?"
        )

    def _broken(self, why: str) -> None:
        if self._events is None:
            self._refuse(why)
        else:
            self.log.warn("call {call_id}: {why}", call_id=self.call_id, why=why)
            self._end("protocol error")

    def _uuid_received(self, payload: bytes) -> None:
        if self.call_id:
            self._note("repeated call ids", "it said its call id again: {}", "ignored")
            return
        if len(payload) != 16:
            self._broken(f"a call id has 16 bytes, not {len(payload)}")
            return
        self._cancel_timer()
        self.call_id = str(uuid.UUID(bytes=payload))
        events = self._factory.identified(self)
        if events is None:
            self._refuse("")
            return
        self._events = events
        self._caller_time = CallerTime(self._clock.seconds())
        self._factory.media.join(self)
        self._on_clock = True
        events.identified()

    def _digit_received(self, payload: bytes) -> None:
        digit = payload[:MOST_TEXT].decode("latin-1").upper()
        if self._events is None:
            self._broken("a digit came before the call id")
        elif digit in wire.DIGITS:
            self._events.dtmf(digit)
        else:
            self._note("broken digits", "it sent a digit that is none: {}", repr(digit))

    def _audio_received(self, kind: int, payload: bytes) -> None:
        if self._events is None:
            self._broken("audio came before the call id")
            return
        now = self._clock.seconds()
        self._received += 1
        if self._companded is not None and not self._coding_known(kind, payload, now):
            return
        if self._expand is not None and kind == wire.SLIN:
            payload = self._expand(payload)
        elif len(payload) & 1:
            self._note("odd lengths", "it sent audio of {} bytes", len(payload))
            payload = payload[:-1]
        if not payload:
            self._note("empty frames", "it sent audio without {}", "content")
            return
        if kind != wire.SLIN and not self._wideband:
            self._wideband = True
            self._set_downlink()
        rate = self.caller_rate = wire.RATES[kind]
        filling = self._caller_time.arrived(now, len(payload) / (2 * rate))
        if self._caller_time.ahead(now) > MOST_AHEAD:
            self._broken(f"{MOST_AHEAD:.0f} s of audio came ahead of its time")
            return
        if filling:
            self._events.caller_audio(audio.silence(round(filling * rate)))
            if self._events is None:
                return
        self._events.caller_audio(payload)

    def _coding_known(self, kind: int, payload: bytes, now: float) -> bool:
        """
        While it is not known whether this is companded, nothing is passed on (the
        filling of holes puts silence there): decoded wrongly, it is noise at full scale
        and would be taken for speech.
        """
        check = self._companded
        if check is None or kind != wire.SLIN or len(payload) != COMPANDED_BYTES:
            self._companded = None
            return True
        law = check.look(payload, now)
        if law is None:
            return False
        self._companded = None
        if law == audio.PCM:
            return True
        self._expand = audio.alaw_decode if law == audio.PCMA else audio.ulaw_decode
        self._oddities["companded audio"] += 1
        self.log.warn(
            "call {call_id}: Asterisk sends {law} under the name of slin, because the "
            "Dial names no codec. It is decoded here, but change the dialplan line to "
            "Dial(AudioSocket/HOST:PORT/${{UUID()}}/c(slin16),,g)",
            call_id=self.call_id,
            law="A-law" if law == audio.PCMA else "mu-law",
        )
        return True

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

    # To Asterisk

    def frame_due(self, now: float) -> None:
        """Send one frame and keep the caller's time. Called by the media clock."""
        playout = self._playout
        self._send_frame(self._header + playout.frame(now))
        self._sent += 1
        if playout.notices:
            self._tell()
        filling = self._caller_time.quiet(now)
        if filling and self._events is not None:
            self._events.caller_audio(audio.silence(round(filling * self.caller_rate)))
            if self._caller_time.silent_for(now) > SILENT_LINE:
                self._end(f"no audio from Asterisk for {SILENT_LINE:.0f} s")

    def _send_frame(self, frame: bytes) -> None:
        """
        Straight to the socket when nothing waits there. By way of the reactor a frame
        costs two changes of the poll set and another turn of the loop: a seventh of all
        CPU, and it leaves later.
        """
        direct, sent = self._direct, 0
        if direct is not None and not (direct.dataBuffer or direct._tempDataBuffer):
            taken = direct.writeSomeData(frame)
            # Otherwise it is an exception, which the reactor meets in its own write.
            sent = taken if isinstance(taken, int) else 0
        if sent < len(frame):
            self._connected_transport().write(frame[sent:])

    def pacing_failed(self) -> None:
        """L{frame_due} raised, which the clock has logged."""
        self._end("internal error", abort=True)

    def _tell(self) -> None:
        notices, self._playout.notices = self._playout.notices, []
        for what, item in notices:
            if self._events is None:
                return
            if what == "sounding":
                self._events.sounding(item)
            else:
                self._events.played_out(item)

    def _set_downlink(self) -> None:
        """Whoever sends a kind above 0x10 takes 24 kHz, and resamples it well."""
        if self._playout.rate != WIDEBAND_RATE and self._playout.idle:
            self._playout.set_rate(WIDEBAND_RATE)
            self._rate_chosen()

    # ILeg

    @property
    def agent_rate(self) -> int:
        if self._wideband and not self._over:
            self._set_downlink()
        return self._playout.rate

    def play(self, item: str, pcm: bytes) -> bool:
        if self._over:
            return True  # late audio is normal, and nothing is kept of it
        return self._playout.play(item, pcm, self._clock.seconds())

    def end_of_item(self, item: str) -> None:
        self._playout.end_of_item(item)

    def flush(self) -> tuple[Heard, ...]:
        return self._playout.flush()

    def pause(self) -> None:
        self._playout.pause()

    def resume(self) -> None:
        self._playout.resume()

    def hang_up(self) -> None:
        self._end("agent hung up", in_order=True)

    def tap(self, tap: IAudioTap) -> None:
        raise NotImplementedError

    def untap(self, tap: IAudioTap) -> None:
        raise NotImplementedError

    def figures(self) -> LegFigures:
        late, skipped = (
            self._factory.media.lateness(self) if self._on_clock else self._final_pacing
        )
        return LegFigures(
            frames_sent=self._sent,
            frames_received=self._received,
            frames_skipped=skipped,
            underruns=self._playout.underruns,
            filled_ms=round(self._caller_time.filled * 1000),
            lateness_p99_ms=late,
            prefill_ms=self._playout.prefill_ms,
            oddities=dict(self._oddities),
        )


class AudioSocketFactory(Factory):
    """Makes a leg of each connection that is allowed to be one."""

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        media: MediaClock,
        calls: Callable[[Any, str], Any],
        *,
        allow: Sequence[Network] = (),
        downlink_rate: int = 0,
        prebuffer_frames: int = 0,
        queue_frames: int = QUEUE_FRAMES,
    ) -> None:
        """
        @param calls: Takes a leg and its call id; gives the leg's C{ILegEvents}, or
            C{None} to refuse.
        @param allow: Networks that may connect. Without any, all may.
        @param downlink_rate: In Hz, of the frames sent; 0 for 8 kHz until Asterisk
            itself sends a wider kind.
        @param prebuffer_frames: Of 20 ms, that the start of a reply waits for; 0 for as
            many as the last replies needed.
        @param queue_frames: Of 20 ms, that may wait; 0 for L{QUEUE_FRAMES}. A voice
            service that is faster than real time needs room for its longest reply.
        """
        self.clock = clock
        self.media = media
        self.downlink_rate = downlink_rate
        self.prebuffer_frames = prebuffer_frames
        self.queue_frames = queue_frames
        self.admission = Admission(clock, allow)
        self._calls = calls

    def buildProtocol(self, addr: IAddress | None) -> AudioSocketLeg | None:
        source = peer = LOCAL
        if isinstance(addr, IPv4Address | IPv6Address):
            source, peer = addr.host, f"{addr.host}:{addr.port}"
        if not self.admission.admit(source):
            return None
        return AudioSocketLeg(self, peer, source)

    def identified(self, leg: AudioSocketLeg) -> ILegEvents | None:
        """A leg said its call id: ask whether it may be a call."""
        self.admission.done(leg.source)
        events: ILegEvents | None = self._calls(leg, leg.call_id)
        return events

    def closed(self, leg: AudioSocketLeg) -> None:
        """A leg's connection is gone."""
        if not leg.call_id:
            self.admission.done(leg.source)


@implementer(IMediaTransport)
class Transport:
    """AudioSocket over any stream endpoint."""

    def __init__(
        self,
        reactor: Any,
        media: MediaClock,
        *,
        allow: Sequence[Network] = (),
        downlink_rate: int = 0,
        prebuffer_frames: int = 0,
        queue_frames: int = QUEUE_FRAMES,
    ) -> None:
        """
        The options are those of L{AudioSocketFactory}.
        """
        self._reactor = reactor
        self._media = media
        self._allow = allow
        self._downlink_rate = downlink_rate
        self._prebuffer_frames = prebuffer_frames
        self._queue_frames = queue_frames

    def listen(self, endpoint: str, calls: Callable[[Any, str], Any]) -> IService:
        factory = AudioSocketFactory(
            self._reactor,
            self._media,
            calls,
            allow=self._allow,
            downlink_rate=self._downlink_rate,
            prebuffer_frames=self._prebuffer_frames,
            queue_frames=self._queue_frames,
        )
        service: IService = StreamServerEndpointService(
            serverFromString(self._reactor, endpoint), factory
        )
        return service

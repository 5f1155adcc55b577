"""Calls from Asterisk's C{AudioSocket()} application and channel, over TCP."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import IService
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IReactorTime,
    ISSLTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from portero import audio
from portero.companded import COMPANDED_BYTES, CompandedCheck
from portero.interfaces import (
    ILegEvents,
    IMediaTransport,
)
from portero.line import QUEUE_FRAMES, Line
from portero.networks import Network
from portero.pacing import PTIME, MediaClock
from portero.transports._admission import LOCAL, Admission
from portero.wire import audiosocket as wire

IDENTIFY_WITHIN = 2.0
SILENT_LINE = 10.0
"""Seconds without audio from Asterisk after which a call is given up: longer than any
digit, shorter than anybody's patience with a line that nobody is on."""
CLOSE_WITHIN = 5.0
NARROWBAND_RATE = 8000
WIDEBAND_RATE = 24000
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


class AudioSocketLeg(Line, AudioSocketReceiver):
    """One call from Asterisk."""

    log = Logger()
    far_end = "Asterisk"

    def __init__(self, factory: AudioSocketFactory, peer: str, source: str) -> None:
        """
        @param peer: Address and port, for the log.
        @param source: The address alone, for the limit on unidentified connections.
        """
        AudioSocketReceiver.__init__(self)
        super().__init__(
            factory.clock,
            factory.media,
            peer,
            factory.downlink_rate or NARROWBAND_RATE,
            prebuffer_frames=factory.prebuffer_frames,
            queue_frames=factory.queue_frames,
        )
        self.source = source
        self.caller_rate = NARROWBAND_RATE
        self._factory = factory
        self._wideband = False
        self._timer: IDelayedCall | None = None
        self._companded: CompandedCheck | None = CompandedCheck()
        self._expand: Callable[[bytes], bytes] | None = None

    # The connection

    def connectionMade(self) -> None:
        self._opened(self.transport)
        self._rate_chosen()
        self._timer = self._clock.callLater(IDENTIFY_WITHIN, self._nobody)

    def _rate_chosen(self) -> None:
        """The rate of the frames sent decides their kind and length."""
        rate = self._playout.rate
        self._frames_begin_with(
            wire.HEADER.pack(wire.KINDS[rate], round(rate * PTIME) * 2)
        )

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._cancel_timer()
        self._decoder.stop()
        self._factory.closed(self)
        self._disconnected(reason)

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

    def _part(self, abort: bool) -> None:
        """Hang up by 0x00, then FIN; or reset, when nothing can be sent any more."""
        self._decoder.stop()
        self._cancel_timer()
        transport = self._connected_transport()
        if abort:
            transport.abortConnection()
            return
        self.sendMessage(wire.HANGUP)
        if ISSLTransport.providedBy(transport):
            transport.loseConnection()
        else:
            # Only our half. Closing while Asterisk's next frame is on its way is a
            # reset, at which the dialplan ends instead of going on.
            transport.loseWriteConnection()
        self._timer = self._clock.callLater(CLOSE_WITHIN, self._not_closed)

    def _not_closed(self) -> None:
        self._timer = None
        self._connected_transport().abortConnection()

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
        self._begin(events)

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
            # Whoever sends a kind above 0x10 takes 24 kHz, and resamples it well.
            self._prefer(WIDEBAND_RATE)
        self._heard(payload, wire.RATES[kind], now)

    def _not_heard(self, seconds: float) -> None:
        if seconds > SILENT_LINE:
            self._end(f"no audio from Asterisk for {SILENT_LINE:.0f} s")

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
        @param prebuffer_frames: As L{Line} takes it.
        @param queue_frames: As L{Line} takes it.
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

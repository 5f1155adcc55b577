"""
A small real SIP phone: one call, one RTP socket, its own thread.

Times are C{time.monotonic()}. Those of received packets are the kernel's own stamps,
so that a busy test process does not blur what was on the wire.
"""

from __future__ import annotations

import random
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np

from tests.lab.process import LabError
from tests.lab.recording import Recording, tone_share
from tests.lab.rtp import EVENT_PAYLOAD_TYPE, Packet, Samples, Sender, codec
from tests.lab.sip import HOST, Dialog, Media, Message, offer

SO_TIMESTAMPNS = 35  # Linux; Python's socket module does not name it
TIMESPEC = struct.Struct("@ll")
RETRANSMIT_SECONDS = 0.5  # T1 of RFC 3261, section 17.1.1.1


class Refused(LabError):
    """The call was not answered; C{status} is SIP's code, 0 for no final response."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Sent:
    """A packet that left, C{sounding} when it was not silence."""

    time: float
    sounding: bool
    digit: bool


def _stamped(sock: socket.socket) -> tuple[bytes, tuple[str, int], float]:
    data, ancillary, _, peer = sock.recvmsg(65535, 64)
    now, wall = time.monotonic(), time.time_ns()
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = TIMESPEC.unpack(value[: TIMESPEC.size])
            now -= (wall - seconds * 10**9 - nanoseconds) / 1e9
    return data, peer, now


def _udp() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.bind((HOST, 0))
    return sock


class Phone:
    """
    Use it as a context manager: leaving hangs up and ends the thread.

    @ivar caller: Of the From header of the next call, as it stands there.
    @ivar sample_rate: Of everything played and heard.
    @ivar heard: The L{Recording} of what came.
    @ivar sent: What left.
    @ivar story: The signalling, for the message of a failure.
    @ivar answered_at: When 200 came.
    @ivar ended_at: When the other side's BYE came.
    @ivar late: By how much the phone's own worst packet was late, in seconds.
    """

    def __init__(self, codec_name: str = "ulaw", ptime: int = 20) -> None:
        """
        @param ptime: Of the sound that the phone sends, in ms.
        """
        self._codec = codec(codec_name)
        self._ptime = ptime
        self.sample_rate = self._codec.sample_rate
        self.caller = f'"Lab" <sip:phone@{HOST}>'
        self.heard = Recording(self._codec)
        self.sent: list[Sent] = []
        self.story: list[str] = []
        self.answered_at: float | None = None
        self.ended_at: float | None = None
        self.late = 0.0
        self._sip, self._rtp = _udp(), _udp()
        self._changed = threading.Condition()
        self._final: Message | None = None
        self._dialog: Dialog | None = None
        self._pbx: tuple[str, int] = (HOST, 0)
        self._repeat: tuple[bytes, float] | None = None
        self._media: Media | None = None
        self._muted = False
        self._echo: Samples | None = None
        self._echo_gain = 0.0
        self._echo_late = 0.0
        self._due = 0.0
        self._loss = 0.0
        self._chance = random.Random(1)
        self._speech: Samples = np.zeros(0, np.int16)
        self._digits: deque[str] = deque()
        self._closing = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # The test's side.

    def call(self, uri: str, play: bytes = b"", timeout: float = 5.0) -> None:
        """
        Call and wait for the answer.

        @param play: PCM to send from the answer on, at L{sample_rate}.

        @raise Refused: It was not answered.
        """
        self.dial(uri)
        self.play(play)
        self._wait("a final response", lambda: self._final is not None, timeout)
        status = self._final.status if self._final else 0
        if status != 200:
            raise Refused(status, f"{uri}: {status}\n{self._told()}")

    def dial(self, uri: str) -> None:
        """
        Send INVITE and don't wait.
        """
        host, _, port = uri.partition("@")[2].partition(":")
        self._pbx = (host, int(port))
        self._dialog = Dialog(uri, self._sip.getsockname()[1], self.caller)
        sdp = offer(
            self._rtp.getsockname()[1],
            self._codec.payload_type,
            self._codec.encoding,
            self._codec.clock,
            self._ptime,
        )
        self._send_request(self._dialog.invite(sdp))

    def cancel(self, timeout: float = 3.0) -> None:
        """
        Give up a call that rings; waits for the 487.
        """
        dialog = self._dialog
        if dialog is None:
            raise LabError("nothing to cancel")
        self._send(dialog.cancel())
        self._wait("487", lambda: self._final is not None, timeout)

    def play(self, pcm: bytes) -> None:
        """
        Send this after what is still waiting.
        """
        samples = np.frombuffer(pcm, "<i2")
        with self._changed:
            self._speech = np.concatenate([self._speech, samples])

    def wait_until_played(self, timeout: float) -> float:
        """
        @return: When the last sounding packet left.
        """
        self._wait("the end of play", lambda: not len(self._speech), timeout)
        return next((s.time for s in self.sent[::-1] if s.sounding), 0.0)

    def send_dtmf(self, digit: str) -> None:
        """
        Press a key, as RFC 4733 has it.
        """
        with self._changed:
            self._digits.append(digit)

    def mute(self, muted: bool = True) -> None:
        """
        Send no packets at all, as a phone with silence suppression does.
        """
        self._muted = muted

    def return_sound(self, down: float, ms: int) -> None:
        """
        From now on, send what is heard as well, as a bad loudspeaker phone does.

        @param down: By so many dB weaker.
        @param ms: So much later, and by what the line takes.
        """
        with self._changed:
            self._echo_gain = 10 ** (-down / 20)
            self._echo_late = ms / 1000
            self._echo = np.zeros(0, np.int16)

    def lose(self, share: float) -> None:
        """
        From now on, lose packets on the way out, one by one.

        @param share: Of them, 0 to 1.
        """
        self._loss = share

    def hang_up(self, timeout: float = 3.0) -> None:
        """
        Send BYE and wait for its answer; CANCEL before there is one to INVITE.
        """
        if self._dialog is not None and self._final is None:
            self.cancel(timeout)
            return
        with self._changed:
            media, self._media = self._media, None
        if media is None or self._dialog is None:
            return
        self._send_request(self._dialog.bye())
        self._wait("200 to BYE", lambda: self._repeat is None, timeout)

    def wait_for_sound(self, timeout: float, after: float = 0.0) -> float:
        """
        @return: When the first packet with sound since C{after} came.
        """
        self._wait("sound", lambda: self.heard.first_sound(after) is not None, timeout)
        return self.heard.first_sound(after) or 0.0

    def wait_for_quiet(self, seconds: float, timeout: float) -> float:
        """
        Silence is what came without sound, as long as the call lasts: that nothing
        came, or came and was not looked at yet, proves nothing on a busy machine.

        @return: When the last sound came, after which there was none for C{seconds}.
        """

        def quiet() -> bool:
            last = self.heard.last_sound()
            if last is None:
                return False
            over = self.ended_at is not None
            newest = time.monotonic() if over else self.heard.arrivals[-1].time
            return newest - last > seconds

        self._wait(f"{seconds} s of quiet", quiet, timeout)
        return self.heard.last_sound() or 0.0

    def wait_for_tone(self, hz: float, timeout: float) -> None:
        """
        Wait until the last 200 ms hold little but this tone.
        """

        def sounds() -> bool:
            recent = self.heard.recent(0.2)
            return tone_share(recent, hz, self.sample_rate) > 0.8

        self._wait(f"a tone of {hz} Hz", sounds, timeout)

    def wait_for_bye(self, timeout: float) -> float:
        """
        @return: When the other side hung up.
        """
        self._wait("BYE", lambda: self.ended_at is not None, timeout)
        return self.ended_at or 0.0

    def close(self) -> None:
        try:
            if self._thread.is_alive():
                self.hang_up()
        finally:
            self._closing = True
            self._thread.join(5)
            self._sip.close()
            self._rtp.close()

    def _wait(self, what: str, true: Callable[[], bool], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        with self._changed:
            while not true():
                left = deadline - time.monotonic()
                if left <= 0 or not self._thread.is_alive():
                    raise LabError(f"no {what} in {timeout} s\n{self._told()}")
                self._changed.wait(min(left, 0.1))

    def _told(self) -> str:
        story = "\n".join(self.story)
        heard = self.heard.arrivals
        sounding = sum(a.sounding for a in heard)
        return (
            f"--- phone ---\n{story}\nheard {len(heard)} packets, {sounding} with"
            f" sound; sent {len(self.sent)}, the latest {self.late * 1e3:.0f} ms late;"
            f" answered {self.answered_at}, now {time.monotonic():.3f}"
        )

    # The thread's side.

    def _run(self) -> None:
        sender = Sender(self._codec.clock * self._ptime // 1000)
        while not self._closing:
            now = time.monotonic()
            wait = 0.05
            if self._media is not None:
                self._due = self._due or now
                wait = min(wait, self._due - now)
            ready, _, _ = select.select([self._rtp, self._sip], [], [], max(0.0, wait))
            with self._changed:
                if self._rtp in ready:
                    self._take_rtp(*_stamped(self._rtp))
                if self._sip in ready:
                    self._take_sip(*_stamped(self._sip))
                late = time.monotonic() - self._due
                if self._media is not None and self._due and late >= 0:
                    if len(self.sent):
                        self.late = max(self.late, late)
                    self._send_frame(sender)
                    self._due += self._ptime / 1000
                if self._repeat and time.monotonic() > self._repeat[1]:
                    self._send_request(self._repeat[0])
                if ready:
                    self._changed.notify_all()

    def _take_rtp(self, data: bytes, peer: tuple[str, int], now: float) -> None:
        packet = Packet.parse(data)
        if packet and packet.payload_type != EVENT_PAYLOAD_TYPE:
            self.heard.add(now, packet)
            if self._echo is not None:
                self._echo = self._returned(self._echo, now, packet)

    def _returned(self, waiting: Samples, now: float, packet: Packet) -> Samples:
        """
        @return: What is to be sent of the echo from the next frame on. It stays as late
            as it is, but for packets that were.
        """
        late = round((now + self._echo_late - self._due) * self.sample_rate)
        if late - len(waiting) > self._echo_late * self.sample_rate / 2:
            waiting = np.concatenate([waiting, np.zeros(late, np.int16)])[:late]
        return np.concatenate([waiting, self._codec.decode(packet.payload)])

    def _take_sip(self, data: bytes, peer: tuple[str, int], now: float) -> None:
        message = Message.parse(data)
        dialog = self._dialog
        if dialog is None or message.header("call-id") != dialog.call_id:
            return
        self.story.append(f"{now:.3f} < {message.start}")
        if not message.status:
            self._take_request(dialog, message, now)
            return
        if self._repeat is not None:
            self._repeat = None if message.method in ("INVITE", "BYE") else self._repeat
        if message.method == "INVITE" and message.status >= 200:
            self._send(dialog.ack(message))
            if self._final is None:
                self._final = message
                if message.status == 200:
                    self.answered_at = now
                    self._media = Media.parse(message.body)
                    self.story.append(f"{now:.3f}   {self._media.formats}")

    def _take_request(self, dialog: Dialog, request: Message, now: float) -> None:
        if request.method == "BYE":
            self.ended_at = self.ended_at or now
            self._media = None
        if request.method in ("BYE", "OPTIONS"):
            self._send(dialog.response(request, "200 OK"))
        elif request.method != "ACK":
            self._send(dialog.response(request, "488 Not Acceptable Here"))

    def _send_request(self, data: bytes) -> None:
        self._repeat = (data, time.monotonic() + RETRANSMIT_SECONDS)
        self._send(data)

    def _send(self, data: bytes) -> None:
        start = data.partition(b"\r\n")[0].decode()
        self.story.append(f"{time.monotonic():.3f} > {start}")
        self._sip.sendto(data, self._pbx)

    def _send_frame(self, sender: Sender) -> None:
        media = self._media
        if media is None:
            return
        if self._digits:
            packets, done = sender.digit(self._digits[0], self._codec.clock)
            if done:
                self._digits.popleft()
            sounding, digit = False, True
        else:
            count = self.sample_rate * self._ptime // 1000
            samples, self._speech = self._speech[:count], self._speech[count:]
            frame = np.zeros(count, np.int16)
            frame[: len(samples)] = samples
            sounding, digit = bool(samples.any()), False
            if self._echo is not None:
                echo, self._echo = self._echo[:count], self._echo[count:]
                mixed = frame[: len(echo)] + self._echo_gain * echo
                frame[: len(echo)] = np.rint(mixed).clip(-32768, 32767)
            payload = b"" if self._muted else self._codec.encode(frame)
            packets = sender.frame(media.payload_type, payload)
        if packets:
            self.sent.append(Sent(time.monotonic(), sounding, digit))
        if self._chance.random() < self._loss:
            return
        for packet in packets:
            self._rtp.sendto(packet, media.address)

"""As much SIP (RFC 3261) and SDP (RFC 8866) as a phone with one call needs."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from tests.lab.rtp import EVENT_PAYLOAD_TYPE

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Message:
    """A request or a response."""

    start: str
    headers: tuple[tuple[str, str], ...]
    body: str

    @classmethod
    def parse(cls, data: bytes) -> Message:
        head, _, body = data.decode("utf-8", "replace").partition("\r\n\r\n")
        start, *lines = head.split("\r\n")
        headers = []
        for line in lines:
            name, _, value = line.partition(":")
            headers.append((name.strip().lower(), value.strip()))
        return cls(start, tuple(headers), body)

    @property
    def status(self) -> int:
        """
        @return: 0 in a request.
        """
        return int(self.start.split()[1]) if self.start.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        """
        @return: Of the request itself, or of the request that this answers.
        """
        return self.header("cseq").split()[1] if self.status else self.start.split()[0]

    def all(self, name: str) -> list[str]:
        return [value for known, value in self.headers if known == name]

    def header(self, name: str) -> str:
        return next(iter(self.all(name)), "")


@dataclass(frozen=True, slots=True)
class Media:
    """What the other side's SDP says of its sound."""

    address: tuple[str, int]
    payload_type: int
    formats: str

    @classmethod
    def parse(cls, sdp: str) -> Media:
        host, port, payload_type, formats = HOST, 0, 0, []
        for line in sdp.splitlines():
            if line.startswith("c="):
                host = line.split()[-1]
            elif line.startswith("m=audio"):
                words = line.split()
                port, payload_type = int(words[1]), int(words[3])
            elif line.startswith("a=rtpmap:"):
                formats.append(line[9:])
        return cls((host, port), payload_type, ", ".join(formats))


def offer(port: int, payload_type: int, encoding: str, clock: int, ptime: int) -> str:
    """
    @param encoding: As in a rtpmap, without the clock rate.

    @return: An SDP with this one format, and digits.
    """
    lines = (
        "v=0",
        f"o=phone 1 1 IN IP4 {HOST}",
        "s=-",
        f"c=IN IP4 {HOST}",
        "t=0 0",
        f"m=audio {port} RTP/AVP {payload_type} {EVENT_PAYLOAD_TYPE}",
        f"a=rtpmap:{payload_type} {encoding}/{clock}",
        f"a=rtpmap:{EVENT_PAYLOAD_TYPE} telephone-event/{clock}",
        f"a=fmtp:{EVENT_PAYLOAD_TYPE} 0-16",
        f"a=ptime:{ptime}",
        "a=sendrecv",
    )
    return "".join(f"{line}\r\n" for line in lines)


class Dialog:
    """
    One call's dialog, seen by the caller: what to send, and what the other side's
    answers change in it. No socket, no time.
    """

    def __init__(self, target: str, port: int, caller: str) -> None:
        """
        @param target: The SIP URI to call.
        @param port: Where this phone's SIP is.
        @param caller: Of the From header, without its tag.
        """
        self._target = target
        self._via = f"SIP/2.0/UDP {HOST}:{port}"
        self._contact = f"<sip:phone@{HOST}:{port}>"
        self._from = f"{caller};tag={secrets.token_hex(4)}"
        self._to = f"<{target}>"
        self.call_id = secrets.token_hex(8)
        self._branch = self._new_branch()
        self._cseq = 1

    def invite(self, sdp: str) -> bytes:
        return self._request("INVITE", 1, self._branch, sdp)

    def ack(self, response: Message) -> bytes:
        """
        Take the dialog's far end from the response to INVITE.

        @return: What acknowledges it.
        """
        self._to = response.header("to")
        if response.status >= 300:  # part of the INVITE's own transaction
            return self._request("ACK", 1, self._branch)
        contact = response.header("contact")
        if contact:
            self._target = contact.partition("<")[2].partition(">")[0] or contact
        return self._request("ACK", 1, self._new_branch())

    def cancel(self) -> bytes:
        return self._request("CANCEL", 1, self._branch)

    def bye(self) -> bytes:
        self._cseq += 1
        return self._request("BYE", self._cseq, self._new_branch())

    def response(self, request: Message, status: str, sdp: str = "") -> bytes:
        """
        @param status: Code and words.
        """
        headers = [f"SIP/2.0 {status}"]
        headers += [f"Via: {via}" for via in request.all("via")]
        headers += [
            f"{name}: {request.header(name.lower())}"
            for name in ("From", "To", "Call-ID", "CSeq")
        ]
        return self._join([*headers, f"Contact: {self._contact}"], sdp)

    def _request(self, method: str, cseq: int, branch: str, sdp: str = "") -> bytes:
        headers = [
            f"{method} {self._target} SIP/2.0",
            f"Via: {self._via};branch={branch};rport",
            "Max-Forwards: 70",
            f"From: {self._from}",
            f"To: {self._to}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: {self._contact}",
            "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS",
        ]
        return self._join(headers, sdp)

    @staticmethod
    def _join(headers: list[str], sdp: str) -> bytes:
        if sdp:
            headers.append("Content-Type: application/sdp")
        headers.append(f"Content-Length: {len(sdp)}")
        return ("\r\n".join(headers) + "\r\n\r\n" + sdp).encode()

    @staticmethod
    def _new_branch() -> str:
        return "z9hG4bK" + secrets.token_hex(8)

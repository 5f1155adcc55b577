"""
Looks at a server: how far it is, what its certificate is worth, what its clock says.
Blocks, and imports nothing of Twisted.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, TypeVar

from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity import CertificateError, VerificationError
from service_identity.pyopenssl import verify_hostname, verify_ip_address

WITHIN: Final = 5.0
"""Seconds, for each step."""
MOST_ADDRESSES: Final = 3
"""Of one name, that are tried."""
MOST_HEAD: Final = 64 * 1024
AUTHORITIES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where distributions keep the certificates that they trust."""

SELF_SIGNED: Final = "signed by itself"
EXPIRED: Final = "expired"
TOO_EARLY: Final = "not valid yet"
UNKNOWN_AUTHORITY: Final = "signed by an authority that is not trusted here"
OTHER_NAME: Final = "for another host name"
FLAWS: Final = {
    9: TOO_EARLY,
    10: EXPIRED,
    18: SELF_SIGNED,
    19: UNKNOWN_AUTHORITY,
    20: UNKNOWN_AUTHORITY,
    21: UNKNOWN_AUTHORITY,
}
"""By the code of OpenSSL (x509_vfy.h)."""

Result = TypeVar("Result")


class Unreachable(Exception):
    """The message says why."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of a server. Times in ms."""

    lookup_ms: float
    connect_ms: float
    tls_ms: float = 0.0
    flaws: tuple[str, ...] = ()
    """Of its certificate, in words; empty: it is to be trusted."""
    holder: str = ""
    """Whose certificate of the chain expires first."""
    expires: datetime | None = None
    """When; C{None} without TLS."""
    ahead: float | None = None
    """Seconds that its clock is ahead of ours; C{None}: it does not tell the time."""


def look(
    host: str,
    port: int,
    path: str,
    tls: bool,
    ca_file: str = "",
    now: Callable[[], float] = time.time,
) -> Seen:
    """
    Connect, and ask for something without a key, which is refused and costs nothing.

    @param ca_file: As C{[provider] ca_file}.
    @param now: The clock on the wall.
    @raise Unreachable: It cannot be reached, or does not speak TLS.
    """
    began = time.monotonic()
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise Unreachable(f"no address is known for {host}: {why}") from None
    looked_up = time.monotonic()
    with _connected(addresses) as plain:
        connected = time.monotonic()
        lookup_ms, connect_ms = _ms(began, looked_up), _ms(looked_up, connected)
        if not tls:
            return Seen(lookup_ms, connect_ms)
        secure = _Secure(plain, host, ca_file)
        tls_ms = _ms(connected, time.monotonic())
        holder, expires = secure.expiry()
        ahead = None
        if not secure.flaws:
            date = secure.date(host, path)
            ahead = date - now() if date else None
        flaws = tuple(secure.flaws)
    return Seen(lookup_ms, connect_ms, tls_ms, flaws, holder, expires, ahead)


def _connected(addresses: list[Any]) -> socket.socket:
    """@raise Unreachable: None of them."""
    why = "there is no address"
    tried = addresses[:MOST_ADDRESSES]
    for family, kind, protocol, _, address in tried:
        plain = socket.socket(family, kind, protocol)
        plain.settimeout(WITHIN / len(tried))
        try:
            plain.connect(address)
        except OSError as error:
            plain.close()
            why = f"{address[0]}: {error.strerror or error}"
        else:
            plain.settimeout(WITHIN)
            return plain
    raise Unreachable(why)


class _Secure:
    """A TLS connection that goes on whatever the certificate is, and keeps account."""

    def __init__(self, plain: socket.socket, host: str, ca_file: str) -> None:
        """@raise Unreachable: There is no TLS."""
        self.flaws: list[str] = []
        self._plain = plain
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        # As portero itself has them: see portero.providers.
        if ca_file:
            context.load_verify_locations(ca_file)
        else:
            context.set_default_verify_paths()
        context.set_verify(SSL.VERIFY_PEER, self._judge)
        self._connection = connection = SSL.Connection(context, plain)
        check = verify_ip_address if _is_address(host) else verify_hostname
        if check is verify_hostname:
            connection.set_tlsext_host_name(host.encode("idna"))
        connection.set_connect_state()
        try:
            self._wait(connection.do_handshake)
            check(connection, host)
        except (VerificationError, CertificateError):
            self.flaws.append(OTHER_NAME)
        except (SSL.Error, OSError) as error:
            raise Unreachable(f"no TLS there: {_words(error)}") from None
        self.flaws = list(dict.fromkeys(self.flaws))

    def _judge(
        self, connection: SSL.Connection, shown: X509, code: int, depth: int, fine: int
    ) -> bool:
        """Nothing secret is sent here, so it may go on."""
        if code:
            self.flaws.append(FLAWS.get(code, f"not to be trusted (OpenSSL's {code})"))
        return True

    def _wait(self, do: Callable[[], Result]) -> Result:
        """@raise OSError: It takes too long."""
        until = time.monotonic() + WITHIN
        while True:
            try:
                return do()
            except SSL.WantReadError:
                left = max(0.0, until - time.monotonic())
                if not select.select([self._plain], [], [], left)[0]:
                    raise TimeoutError("it says nothing") from None

    def expiry(self) -> tuple[str, datetime | None]:
        """@return: Whose certificate expires first, and when."""
        chain = self._connection.get_verified_chain()
        chain = chain or self._connection.get_peer_cert_chain() or []
        found: list[tuple[datetime, str]] = []
        for each in chain:
            until = each.get_notAfter() or b""
            when = datetime.strptime(until.decode(), "%Y%m%d%H%M%SZ")
            name = each.get_subject().CN or each.get_subject().O or "its certificate"
            found.append((when.replace(tzinfo=UTC), name))
        if not found:
            return "", None
        first, holder = min(found)
        return holder, first

    def date(self, host: str, path: str) -> float:
        """@return: Unix time there; 0: it does not tell."""
        asked = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        head = b""
        try:
            self._connection.sendall(asked.encode())
            while b"\r\n\r\n" not in head and len(head) < MOST_HEAD:
                head += self._wait(lambda: self._connection.recv(16384))
        except (SSL.Error, OSError):
            pass  # of what came, the date may be a part
        for line in head.decode("latin-1").splitlines():
            name, _, value = line.partition(":")
            if name.lower() == "date":
                try:
                    return parsedate_to_datetime(value.strip()).timestamp()
                except (ValueError, TypeError, OverflowError):
                    return 0.0
        return 0.0


def _words(error: Exception) -> str:
    """@return: What OpenSSL or the system says."""
    told = error.args[-1] if error.args else ""
    if isinstance(told, list):  # of OpenSSL's own, each with where and why
        told = "; ".join(str(each[-1]) for each in told)
    return str(told) or "it hangs up"


def has_authorities() -> bool:
    """Whether this machine has certificates that it trusts."""
    return any(Path(path).is_file() for path in AUTHORITIES)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _ms(begin: float, end: float) -> float:
    return (end - begin) * 1000

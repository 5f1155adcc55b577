"""
Passwords of people, and tokens of programs, as the configuration keeps them.

Of a password only what scrypt makes of it is kept (RFC 7914), with the parameters it
was made with: C{scrypt:15:8:3:SALT:HASH}, the first being the logarithm of scrypt's N.
A token has 256 random bits, so a plain hash of it is enough: C{sha256:HEX}.
"""

from __future__ import annotations

import hmac
import re
import secrets
import unicodedata
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from hashlib import scrypt, sha256
from typing import Final, Self

LEAST: Final = 10
"""Characters of a password."""
LONGEST: Final = 1000
"""Characters that are looked at: no way in for those who send more."""
LOG_N, R, P = 15, 8, 3
"""Of scrypt: 32 MiB and a quarter of a second, as much work as OWASP asks for
("Password Storage Cheat Sheet")."""
SALT: Final = 16
HASH: Final = 24
"""Bytes, as of the salt."""
MOST_MEMORY: Final = 256 * 1024 * 1024
MOST_WORK: Final = 2**22
"""Of N r p together: some seconds."""
NO_PASSWORD: Final = (
    "is no hash of a password, which begins with scrypt: (run portero passwd, and "
    "paste what it prints)"
)
NO_TOKEN: Final = (
    "is no hash of a token, which is sha256: and 64 hexadecimal digits (run portero "
    "passwd --token, and paste what it prints)"
)

_FORM: Final = re.compile(
    r"scrypt:(\d{1,2}):(\d{1,2}):(\d{1,2}):([\w-]{22}):([\w-]{32})", re.ASCII
)
_TOKEN: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of a password, and what it takes to compare."""

    log_n: int
    r: int
    p: int
    salt: bytes
    hash: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """@raise ValueError: It is none, or one that would take too much to check."""
        found = _FORM.fullmatch(text)
        if not found:
            raise ValueError(NO_PASSWORD)
        log_n, r, p = map(int, found.groups()[:3])
        salt, kept = (urlsafe_b64decode(part + "==") for part in found.groups()[3:])
        work = (1 << log_n) * r
        if not (log_n and r and p) or 128 * work > MOST_MEMORY or work * p > MOST_WORK:
            raise ValueError(
                "asks scrypt for too much or too little: run portero passwd"
            )
        return cls(log_n, r, p, salt, kept)

    @classmethod
    def of(cls, password: str, log_n: int = LOG_N, r: int = R, p: int = P) -> Self:
        """Takes a while, so not in the reactor."""
        salt = secrets.token_bytes(SALT)
        return cls(log_n, r, p, salt, _stretch(password, log_n, r, p, salt))

    @classmethod
    def like(cls) -> Self:
        """@return: What no password fits, and takes as long to find out."""
        return cls(LOG_N, R, P, secrets.token_bytes(SALT), secrets.token_bytes(HASH))

    def __str__(self) -> str:
        # 16 bytes leave two signs of padding, which say nothing; 24 leave none.
        salt = urlsafe_b64encode(self.salt).decode().rstrip("=")
        kept = urlsafe_b64encode(self.hash).decode()
        return f"scrypt:{self.log_n}:{self.r}:{self.p}:{salt}:{kept}"

    def fits(self, password: str) -> bool:
        """Takes as long as L{of} does, so not in the reactor."""
        found = _stretch(password, self.log_n, self.r, self.p, self.salt)
        return hmac.compare_digest(found, self.hash)


def _stretch(password: str, log_n: int, r: int, p: int, salt: bytes) -> bytes:
    # One and the same letter can be typed as one character or as two.
    text = unicodedata.normalize("NFC", password[:LONGEST]).encode("utf-8", "replace")
    n = 1 << log_n
    # OpenSSL's own limit is just below what the usual parameters take.
    most = 128 * r * (n + p + 2) + 1024 * 1024
    return scrypt(text, salt=salt, n=n, r=r, p=p, maxmem=most, dklen=HASH)


def problem(text: str) -> str:
    """@return: What is wrong with a kept password; or nothing."""
    try:
        if text:
            Kept.parse(text)
    except ValueError as error:
        return str(error)
    return ""


def token_problem(text: str) -> str:
    """@return: What is wrong with a kept token; or nothing."""
    return "" if not text or _TOKEN.fullmatch(text) else NO_TOKEN


def new_token() -> str:
    """@return: One word that nobody can guess."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """@return: What is kept of a token."""
    return "sha256:" + sha256(token.encode("utf-8", "replace")).hexdigest()

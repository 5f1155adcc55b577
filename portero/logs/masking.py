"""
No secret in the log: the last line of defence, for what others put there, as a library
does with a header or an error with an address.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

MASK: Final = "***"
SHORTEST: Final = 6
"""Characters of a known secret: a shorter one would be found in innocent numbers."""

_MARKS: Final = (
    *("sk-", "bearer", "authorization", "cookie", "://"),
    *("key=", "token=", "secret=", "password=", "passwd=", "pin="),
)
"""In small letters: without one of these, nothing looks like a secret."""
_LOOKS_SECRET: Final = re.compile(
    r"""
      (?P<address> ://) [^/\s"']* (?=@)
    | (?P<word>
        \b sk-
      | \b bearer \s+
      | (?<! [a-z0-9] ) (?: api[._-]?key | token | secret | password | passwd | pin ) =
      )
      [^&\s"']{4,}
    | (?P<field>
        \b (?: authorization | cookie ) ["']? \s* [:=,] \s* (?: b?["'] | [\[(] )*
      )
      [^"'\])\s] [^"'\])\r\n]*
    """,
    re.IGNORECASE | re.VERBOSE,
)


class Mask:
    """Takes out what is known to be secret, and what looks like it."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """@param secrets: Of the configuration; also as they are in URLs and JSON."""
        forms = {
            form
            for secret in secrets
            if len(secret) >= SHORTEST
            for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1])
        }
        self._secrets = sorted(forms, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            if secret in text:
                text = text.replace(secret, MASK)
        small = text.lower()
        for mark in _MARKS:
            if mark in small:
                return _LOOKS_SECRET.sub(_masked, text)
        return text


def _masked(found: re.Match[str]) -> str:
    return f"{found[found.lastgroup or 0]}{MASK}"

"""The errors of a voice service, in a few words by which they are counted."""

from __future__ import annotations

from typing import Final

from portero.wire.openai import ServiceError
from portero.wire.openai_errors import ERROR_ACTIONS

CONNECTION: Final = "connection"
"""It could not be reached, or the connection broke."""
PROTOCOL: Final = "protocol"
"""It sends what cannot be understood."""
INTERNAL: Final = "internal"
"""The mistake is in portero."""
OTHER: Final = "other"

STATUSES: Final = frozenset({400, 401, 403, 404, 408, 429, 500, 502, 503, 504})
"""Of HTTP: those that have a count of their own."""
CLOSINGS: Final = frozenset({1000, 1001, 1002, 1003, 1006, 1008, 1009, 1011, 4000})
"""Codes of a closed WebSocket that have a count of their own."""


def of_error(error: ServiceError) -> str:
    """@return: The service's own word, if it is one of those that are known."""
    for word in (error.code, error.type):
        if word in ERROR_ACTIONS:
            return word
    return OTHER


def of_ending(status: int, closing: int) -> str:
    """
    @param status: Of HTTP, of a refused handshake; 0: none.
    @param closing: Code of a closed WebSocket; 0: none.
    """
    if status:
        return f"http_{status}" if status in STATUSES else "http_other"
    if closing:
        return f"closed_{closing}" if closing in CLOSINGS else "closed_other"
    return CONNECTION


def names() -> frozenset[str]:
    """@return: All that there are."""
    return frozenset(
        {CONNECTION, PROTOCOL, INTERNAL, OTHER, "http_other", "closed_other"}
        | {f"http_{status}" for status in STATUSES}
        | {f"closed_{code}" for code in CLOSINGS}
        | set(ERROR_ACTIONS)
    )

"""
What an error of OpenAI Realtime means: what to do about it, and what to write into the
log. Section by section: errors of events, refused handshakes, closed sockets.
"""

from __future__ import annotations

import json
import re
from enum import Enum
from typing import Final

from portero.wire.openai import MOST_WORDS, ServiceError, one_line, service_error


class Action(Enum):
    """What to do about an error of the service."""

    IGNORE = "ignore"
    QUEUE = "ask again after the present reply"
    REPORT = "log as an error and go on"
    RETRY = "connect again after a pause"
    RENEW = "connect again at once"
    FATAL = "give up"


ERROR_ACTIONS: Final = {
    "response_cancel_not_active": Action.IGNORE,
    "input_audio_buffer_commit_empty": Action.IGNORE,
    "item_retrieve_invalid_item_id": Action.IGNORE,
    "item_truncate_invalid_item_id": Action.IGNORE,
    "conversation_already_has_active_response": Action.QUEUE,
    "invalid_event": Action.REPORT,
    "unknown_parameter": Action.REPORT,
    "session_expired": Action.RENEW,
    "rate_limit_exceeded": Action.RETRY,
    "server_error": Action.RETRY,
    "insufficient_quota": Action.FATAL,
    "credit_balance_exhausted": Action.FATAL,
    "billing_hard_limit_reached": Action.FATAL,
    "invalid_api_key": Action.FATAL,
    "account_deactivated": Action.FATAL,
    "beta_api_shape_disabled": Action.FATAL,
}
"""By C{error.code} or C{error.type}: the service has moved words between them."""

ERROR_TEXTS: Final = {
    "no active response": Action.IGNORE,
    "already has an active response": Action.QUEUE,
    "maximum duration": Action.RENEW,
}
"""By a part of the message, for services that send texts instead of codes."""

REMEDIES: Final = {
    "insufficient_quota": "add credit to the account",
    "credit_balance_exhausted": "add credit to the account",
    "billing_hard_limit_reached": "raise the account's spending limit",
    "invalid_api_key": "check OPENAI_API_KEY",
    "account_deactivated": "check the account",
    "beta_api_shape_disabled": "remove the OpenAI-Beta header",
}


def action(error: ServiceError, purpose: str = "") -> Action:
    """
    @param purpose: What the event of ours was for that the error answers:
        C{session.update}, C{truncate} or empty.
    """
    for word in (error.code, error.type):
        found = ERROR_ACTIONS.get(word, Action.REPORT)
        if found is not Action.REPORT:
            return found
    if purpose == "session.update":
        return Action.FATAL
    if purpose == "truncate":
        return Action.IGNORE
    for part, meant in ERROR_TEXTS.items():
        if part in error.message.lower():
            return meant
    return Action.REPORT


def in_words(error: ServiceError) -> str:
    """One line for a log: code, message and, where known, the remedy."""
    name = error.code or error.type or "error"
    remedy = REMEDIES.get(name) or REMEDIES.get(error.type, "")
    words = f"{name}: {error.message}" if error.message else name
    if error.param and error.param not in words:
        words = f"{words} [{error.param}]"
    return f"{words} ({remedy})" if remedy else words


RATE_LIMIT_PAUSE: Final = 1.0
"""Seconds, when the service does not ask for more."""


def least_pause(error: ServiceError) -> float:
    """@return: Seconds to wait after this error, whatever the service says."""
    limited = "rate_limit_exceeded" in (error.code, error.type)
    return RATE_LIMIT_PAUSE if limited else 0.0


LONGEST_WISH: Final = 5.0
"""Seconds that a caller can be left waiting because the service wishes it."""
_WISH: Final = re.compile(r"try again in (\d{1,6}(?:\.\d{1,6})?) ?(ms|s)\b", re.I)


def wished_pause(words: str) -> float:
    """@return: Seconds to wait, where a message of a rate limit says so; else 0."""
    found = _WISH.search(words)
    if found is None:
        return 0.0
    seconds = float(found[1]) / (1000 if found[2].lower() == "ms" else 1)
    return min(seconds, LONGEST_WISH)


HTTP_REMEDIES: Final = {
    401: "check OPENAI_API_KEY",
    403: "the key may not use this model or project",
    404: "check the agent's model (or OPENAI_REALTIME_MODEL) and OPENAI_REALTIME_URL",
}


def refusal(status: int, body: bytes) -> tuple[str, bool]:
    """
    Read the answer to a WebSocket handshake that was refused.

    @return: Why, in words, and whether trying again is useless.
    """
    try:
        document = json.loads(body)
        error = service_error(document.get("error") or document)
    except (ValueError, AttributeError, RecursionError):
        text = one_line(body[: 4 * MOST_WORDS].decode("utf-8", "replace"))
        error = ServiceError("", "", text, "", "")
    fatal = action(error) is Action.FATAL
    final = fatal or not (status in (408, 429) or status >= 500)
    words = f"HTTP {status}"
    if error.message or error.code:
        words = f"{words}, {in_words(error)}"
    remedy = HTTP_REMEDIES.get(status, "")
    if remedy and remedy not in words:
        words = f"{words} ({remedy})"
    return words, final


FATAL_CLOSE_CODES: Final = frozenset({1003, 1008, 4000})
"""
Data of a kind that is not taken; a policy; and 4000, the beta shape was asked for. All
others may pass: a new session can be opened (section 7.4.1 of RFC 6455).
"""


def closing_is_final(code: int, reason: str) -> bool:
    """
    @param reason: As the service gave it: it may hold the code of an error.
    @return: Whether connecting again is useless.
    """
    return code in FATAL_CLOSE_CODES or any(
        word in reason for word, meant in ERROR_ACTIONS.items() if meant is Action.FATAL
    )

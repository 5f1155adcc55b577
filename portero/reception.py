"""What the dialplan asks, by HTTP or FastAGI: may a call come, how did that one end."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from math import inf
from time import monotonic
from typing import Final
from urllib.parse import parse_qsl

from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from portero.errors import Refused
from portero.facts import Facts
from portero.networks import THIS_MACHINE, Network, lies_in
from portero.service import Bridge

MOST_FORM: Final = 16 * 1024
"""Bytes of a form; those who read one hold to it."""
MOST_ANSWER: Final = 300
"""Characters of a value in an answer. Asterisk reads commands of up to 2047 bytes."""
SAY_EVERY: Final = 1.0
"""Seconds between two log lines about the same."""
MOST_SAID: Final = 50
"""Texts that are remembered for it."""
WHERE_TOKENS_ARE: Final = (
    "PORTERO_TOKEN in the dialplan, PORTERO_WEB_TOKEN or [listen] web_token_file here"
)

ANSWERS_REGISTER: Final = ("uuid", "refused", "reason")
ANSWERS_NEXT: Final = (
    *("outcome", "next", "reason", "seconds", "turns", "cost", "agent", "summary"),
)
UNKNOWN: Final = {**dict.fromkeys(ANSWERS_NEXT, ""), "outcome": "unknown"}

_HARMFUL: Final = str.maketrans({'"': "'", "\\": "/"})
"""What quotes the rest of a list of values in the dialplan, as C{CURL()} makes one."""


class Reception:
    """Answers in names and values; how they travel is the business of others."""

    log = Logger()

    def __init__(
        self,
        bridge: Bridge,
        token: str = "",
        seconds: Callable[[], float] = monotonic,
    ) -> None:
        """
        @param token: What those must know who announce a call or look at calls. Empty:
            whoever can connect may.
        @param seconds: A clock that does not step, for the log.
        """
        self._bridge = bridge
        self._token = token.encode()
        self._seconds = seconds
        self._said: dict[str, tuple[float, int]] = {}

    def register(self, form: Mapping[str, str]) -> dict[str, str]:
        """
        A call is about to come.

        @param form: C{token}; C{uuid}, or none for one of ours; and L{Facts.of_form}.
        @return: L{ANSWERS_REGISTER}: C{uuid}, to come with at once; or C{refused}, a
            word of L{Refused} or C{forbidden}, and C{reason}, and it was logged. What
            does not apply is there and empty: the dialplan may hold values of before.
        """
        answer = dict.fromkeys(ANSWERS_REGISTER, "")
        try:
            answer["uuid"] = self._announce(form)
        except Refused as refused:
            answer |= {"refused": refused.word, "reason": plain(str(refused))}
        return answer

    def _announce(self, form: Mapping[str, str]) -> str:
        """@raise Refused: It would not be answered; that was logged."""
        what = "call announced by the dialplan"
        if not self.knows(form.get("token", ""), what):
            raise Refused("forbidden", "PORTERO_TOKEN is not the token of portero")
        told = {name: form[name] for name in form.keys() - {"token", "uuid"}}
        try:
            facts = Facts.of_form(told)
        except ValueError as error:
            self.refused(what, str(error))
            raise Refused("bad-request", str(error)) from None
        return self._bridge.announce(facts, form.get("uuid", "").strip())

    def next(self, call_id: str) -> dict[str, str]:
        """
        A call is over.

        @return: L{ANSWERS_NEXT}. C{outcome} is C{unknown} and the others are empty
            when no such call ended here, as after a crash.
        """
        record = self._bridge.ended.get(call_id.strip().lower())
        if record is None:
            return dict(UNKNOWN)
        return {name: plain(value) for name, value in record.answer().items()}

    def knows(self, token: str, what: str) -> bool:
        """
        @param what: For the log: what is refused without the token.
        @return: Whether this is the token, or none is needed.
        """
        if not self._token:
            return True
        # Takes as long for a token that is nearly right as for any other.
        if hmac.compare_digest(token.encode("utf-8", "replace"), self._token):
            return True
        which = "wrong token" if token else "no token"
        self.refused(what, f"{which} ({WHERE_TOKENS_ARE})")
        return False

    def admits(self, peer: IAddress | None, allow: Iterable[Network]) -> bool:
        """
        @param allow: Networks beside this machine that may connect.
        @return: Whether this connection may stay; if not, that was logged.
        """
        host = getattr(peer, "host", "")
        if not host or lies_in(host, THIS_MACHINE) or lies_in(host, allow):
            return True  # those without a host are local sockets
        why = "not in the allowed networks ([listen] allow)"
        self.refused(f"connection from {host}", why, host)
        return False

    def refused(self, what: str, why: str, address: str = "") -> None:
        """
        Log it, but not each of a flood.

        @param why: What decides whether it was said just now.
        @param address: Where it comes from, as far as that is known.
        """
        now = self._seconds()
        if len(self._said) > MOST_SAID:
            self._said.clear()
        said, unsaid = self._said.get(why, (-inf, 0))
        if now - said < SAY_EVERY:
            self._said[why] = said, unsaid + 1
            return
        self._said[why] = now, 0
        self.log.warn(
            "{what} refused: {why}{more}",
            what=what,
            why=why,
            address=address,
            more=f" (and {unsaid} more since the last such line)" if unsaid else "",
        )


def read_form(text: bytes) -> dict[str, str]:
    """
    @param text: Names and values, form-urlencoded.
    @return: What could be read of it. Of a repeated name it is the first: what comes
        last is the dialplan's own variables, which change nothing before them.
    """
    pairs = parse_qsl(
        text.decode("utf-8", "replace"), keep_blank_values=True, errors="replace"
    )
    return dict(reversed(pairs))


def plain(text: str) -> str:
    """
    @return: One line that C{HASH()} and C{SET VARIABLE} take as one value: without
        quotes, backslashes, or brackets that are not closed.
    """
    line = "".join(c if c.isprintable() else " " for c in text[:MOST_ANSWER])
    line = line.translate(_HARMFUL)
    if _is_left_open(line, *"()") or _is_left_open(line, *"[]"):
        line = line.translate(dict.fromkeys(map(ord, "()[]")))
    return line


def _is_left_open(line: str, opens: str, closes: str) -> bool:
    """Counts as Asterisk does (app.c, __ast_app_separate_args)."""
    depth = 0
    for c in line:
        if c == opens:
            depth += 1
        elif c == closes and depth:
            depth -= 1
    return depth > 0

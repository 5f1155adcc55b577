"""
The portero that runs here, as Asterisk meets it: it is told of a call, gets it, and is
asked how it ended.
"""

from __future__ import annotations

import errno
import json
import socket
import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode
from uuid import UUID, uuid4

from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.task import deferLater

from portero.config import Config
from portero.doctor.aside import aside
from portero.doctor.report import Finding, fail, ok, skip, warn
from portero.doctor.where import Place, Places
from portero.linecheck import Report
from portero.phone import Phone, Plan
from portero.service import REMEDIES

ANSWERS_WITHIN: Final = 3.0
GOOD_FRAME_WITHIN: Final = 1.0
"""Seconds; what is later still answers a caller."""
LONGEST: Final = 3.0
"""Seconds of the call, if it gets nothing."""
OVER_WITHIN: Final = 2.0
"""Seconds after it in which portero knows how it ended."""
ASK_EVERY: Final = 0.2
MOST_ANSWER: Final = 16 * 1024

NAME: Final = "portero doctor"
"""Who calls, in log and records."""
START: Final = "systemctl start portero, and if it does not stay: journalctl -u portero"

NOT_READY: Final = {
    "full": "raise max_calls, or look for who calls so much: the page lists them",
    "stopping": "it is being restarted: wait, or see why: journalctl -u portero",
    "draining": "switch Drain off on the page, or start portero again",
    "over-budget": "raise most_per_day, or wait for midnight",
    "forbidden": "give PORTERO_WEB_TOKEN (or [listen] web_token_file) here as to "
    "portero: --env FILE; it reads them at its start only",
}
"""By the word that a refusal begins with."""
ELSE: Final = (
    "docs/troubleshooting.rst has that reason; the last attempt counts for 30 s: "
    "journalctl -u portero"
)


class _ShortCall(Phone):
    """Hangs up at the first frame, before anybody has spoken."""

    def messageReceived(self, kind: int, payload: bytes) -> None:
        super().messageReceived(kind, payload)
        if self.line.audio_seconds:
            self.hang_up()


async def examine(reactor: Any, config: Config) -> list[Finding]:
    places = Places.of(config.listen)
    calls, web = places.calls, places.web
    if calls is None:
        where = config.listen.port
        return [skip("port", f"{where} is no TCP port that can be tried")]
    found = [await aside(reactor, lambda: port(calls))]
    listens = found[0].level == "ok"
    answers = False
    if web is None:
        found.append(skip("status", f"{config.listen.web} is no TCP port to ask"))
    else:
        status = await aside(
            reactor, lambda: ready(web, bool(config.listen.web), listens)
        )
        answers = status.level != "skip" and not status.said.startswith("nothing ")
        found.append(status)
    if places.agi is not None and listens:
        agi = places.agi
        found.append(await aside(reactor, lambda: fastagi(agi)))
    if not listens:
        found.append(skip("call", "not placed: nobody would take it"))
        return found
    call_id, refused = str(uuid4()), None
    if answers and web is not None:
        call_id, refused = await aside(
            reactor, lambda: announce(web, config.secrets.web_token)
        )
    if refused is not None:
        return [*found, refused]
    if not call_id:
        return found
    report = await place_call(reactor, calls, UUID(call_id))
    found.append(judge_call(report, announced=answers))
    if answers and web is not None and found[-1].level == "ok":
        found.append(await _ended(reactor, web, call_id))
    return found


def port(place: Place) -> Finding:
    """Whether somebody listens; if not, whether portero could."""
    try:
        socket.create_connection((place.host, place.port), ANSWERS_WITHIN).close()
    except ConnectionRefusedError:
        pass
    except OSError as error:
        return fail(
            "port",
            f"{place} cannot be reached: {error.strerror or error}",
            "is this an address of this machine (ip address)? Does a firewall let "
            "it through?",
        )
    else:
        return ok("port", f"something listens on {place}")
    reason = _not_free(place)
    if reason:
        return fail("port", f"nothing listens on {place}, and nothing can", reason)
    return fail("port", f"nothing listens on {place}, which is free", START)


def _not_free(place: Place) -> str:
    """@return: Why a port cannot be had, with the remedy; empty: it can."""
    family = socket.AF_INET6 if ":" in place.interface else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((place.interface, place.port))
        except OSError as error:
            known = REMEDIES.get(error.errno or 0)
            return known or errno.errorcode.get(error.errno or 0, str(error))
    return ""


def fastagi(place: Place) -> Finding:
    try:
        socket.create_connection((place.host, place.port), ANSWERS_WITHIN).close()
    except OSError as error:
        return fail(
            "agi",
            f"nothing answers on {place}: {error.strerror or error}",
            "agi in [listen] takes a restart of portero",
        )
    return ok("agi", f"something listens on {place}")


# The status resource


def _ask(
    place: Place, method: str, path: str, form: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """
    @return: Status and text.
    @raise OSError: Nothing answers.
    @raise HTTPException: What answers is not HTTP.
    """
    if place.tls:  # our own, whose name need not be that of this address
        unchecked = ssl._create_unverified_context()
        connection: HTTPConnection = HTTPSConnection(
            place.host, place.port, timeout=ANSWERS_WITHIN, context=unchecked
        )
    else:
        connection = HTTPConnection(place.host, place.port, timeout=ANSWERS_WITHIN)
    kind = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
    try:
        connection.request(method, path, urlencode(form) if form else None, kind)
        answer = connection.getresponse()
        return answer.status, answer.read(MOST_ANSWER).decode("utf-8", "replace")
    finally:
        connection.close()


def ready(web: Place, configured: bool, listens: bool) -> Finding:
    """
    @param configured: C{[listen] web} is set.
    @param listens: portero seems to run.
    """
    start = "start portero with --web 8091, or web = 8091 in [listen]"
    try:
        _, health = _ask(web, "GET", "/health")
        code, text = _ask(web, "GET", "/readyz")
    except OSError as error:
        if not listens:
            return skip("status", "not asked: portero does not run")
        said = f"nothing answers on {web} ({error.strerror or error})"
        if configured:
            return fail("status", said, "web in [listen] takes a restart of portero")
        return warn("status", f"{said}: the dialplan cannot ask portero", start)
    except HTTPException as error:
        return fail("status", f"{web} is not portero: {type(error).__name__}", start)
    if code not in (200, 503) or not _is_portero(health):
        return fail(
            "status",
            f"nothing of portero answers on {web} (HTTP {code})",
            "another program has this port: give portero another --web, and "
            "PORTERO_STATUS in the dialplan the same",
        )
    if code == 503:
        why = text.strip()
        return fail("status", f"a call would not be taken: {why}", _remedy(why))
    return ok("status", "portero says that it is ready")


def _is_portero(text: str) -> bool:
    try:
        return bool(json.loads(text)["service"] == "portero")
    except (ValueError, TypeError, KeyError):
        return False


def _remedy(why: str) -> str:
    return next((do for word, do in NOT_READY.items() if why.startswith(word)), ELSE)


def announce(web: Place, token: str) -> tuple[str, Finding | None]:
    """
    As the dialplan does.

    @return: The id with which to call; or why not.
    """
    form = {"token": token, "caller_name": NAME, "channel": "doctor"}
    try:
        _, text = _ask(web, "POST", "/register", form)
    except (OSError, HTTPException) as error:
        said = f"/register does not answer: {type(error).__name__}"
        return "", fail("call", said, "journalctl -u portero says why")
    answer = dict(parse_qsl(text))
    word, why = answer.get("refused", ""), answer.get("reason", "")
    try:
        return str(UUID(answer.get("uuid", ""))), None
    except ValueError:
        said = f"portero would not take it: {word or 'no answer'}"
        said += f", {why}" if why else ""
        return "", fail("call", said, _remedy(word))


async def place_call(reactor: Any, place: Place, call_id: UUID) -> Report:
    """@raise Exception: It cannot be reached any more."""
    plan = Plan(seconds=LONGEST, call_id=call_id, keep_audio=False)
    phone = _ShortCall(reactor, plan)
    endpoint = HostnameEndpoint(
        reactor, place.host.encode(), place.port, timeout=ANSWERS_WITHIN
    )
    await connectProtocol(endpoint, phone)
    return await phone.ended


def judge_call(report: Report, announced: bool) -> Finding:
    first = report.first_frame_ms
    if first is None and "hung up by us" in report.ended:
        return fail(
            "call",
            "the port takes calls and sends no sound: is it portero that listens?",
            "ss -ltnp shows who does",
        )
    if first is None:
        why = "" if announced else ", as one that was not announced may be"
        return fail(
            "call",
            f"it was not taken{why}: {report.ended}",
            "journalctl -u portero has the reason, a line with 'refused'",
        )
    said = f"the first frame of sound came after {first:.0f} ms"
    if first > GOOD_FRAME_WITHIN * 1000:
        return warn("call", said, "the machine is too busy: top shows with what")
    if report.oddities:
        said += f"; Asterisk: {', '.join(report.oddities)}"
        return warn("call", said, "is it portero that listens? ss -ltnp shows it")
    return ok("call", said)


async def _ended(reactor: Any, web: Place, call_id: str) -> Finding:
    """How portero says that the call ended, as it tells the dialplan."""
    outcome = reason = ""
    until = reactor.seconds() + OVER_WITHIN
    while reactor.seconds() < until:
        outcome, reason = await aside(reactor, lambda: _next(web, call_id))
        if outcome not in ("", "unknown"):
            break
        await deferLater(reactor, ASK_EVERY)
    if outcome == "well":
        return ok("next", "portero knows that this call ended well")
    return fail(
        "next",
        f"portero says of this call: {outcome or 'nothing'} {reason}".strip(),
        "is it the same portero that has both ports? ss -ltnp shows it; else "
        "journalctl -u portero",
    )


def _next(web: Place, call_id: str) -> tuple[str, str]:
    try:
        _, text = _ask(web, "GET", f"/next/{call_id}")
    except (OSError, HTTPException) as error:
        return "", type(error).__name__
    answer = dict(parse_qsl(text))
    return answer.get("outcome", ""), answer.get("reason", "")

"""
Whether Asterisk has what the dialplan needs: modules, codecs, the address of the status
resource and the token. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from portero.doctor.dialplan import Plan
from portero.doctor.report import Finding, fail, ok, warn
from portero.doctor.where import Place


def judge_status(plan: Plan, web: Place | None, agi: Place | None) -> Iterator[Finding]:
    """
    Where the dialplan asks.

    @param web: The status resource.
    @param agi: FastAGI; C{None}: there is none, or it is no TCP port.
    """
    asked_at = plan.values("PORTERO_STATUS") if plan.shipped else []
    ports = [place.port for place in (web, agi) if place is not None]
    if any(_port(asked) in ports for asked in asked_at):
        return
    for asked in asked_at:
        if asked == "none":
            yield warn(
                "status",
                "the dialplan asks nothing (PORTERO_STATUS is none): portero is not "
                "told who calls, and cannot transfer",
                "set PORTERO_STATUS to http://127.0.0.1:8091, with web = 8091 in "
                "[listen]",
            )
            continue
        place, option = (agi, "agi") if asked.startswith("agi:") else (web, "web")
        there = f"portero has {option} on {place}" if place else "portero has no such"
        yield fail(
            "status",
            f"the dialplan asks at {asked}, and {there}: every call goes to the "
            "fallback",
            f"set PORTERO_STATUS in the dialplan, or {option} in [listen], so that "
            "they are the same",
        )


def _port(url: str) -> int:
    """@return: 0: there is none in it."""
    number = re.search(r"://[^/]*:(\d+)(?:/|$)", url)
    return int(number[1]) if number else 0


def judge_token(given: str, wanted: str) -> Finding:
    """
    @param given: What the dialplan sends.
    @param wanted: What portero is configured with. Neither is shown.
    """
    put = "asterisk -rx 'database put portero token THE-TOKEN'"
    if not wanted:
        return ok("token", "portero wants none")
    if given == wanted:
        return ok("token", "the dialplan has the one that portero wants")
    has = "another one" if given else "none"
    return fail(
        "token",
        f"portero wants a token, and the dialplan has {has}: it takes no call",
        f"{put}, with what is in PORTERO_WEB_TOKEN or [listen] web_token_file; and "
        "take PORTERO_TOKEN out of the dialplan, if it is set there",
    )


BASE: Final = {
    "app_audiosocket": "AudioSocket()",
    "res_audiosocket": "AudioSocket()",
    "app_exec": "TryExec()",
}
"""Modules that every call needs, with what for."""
OF_SHIPPED: Final = {
    "app_stack": "Gosub()",
    "app_verbose": "Verbose() and Log()",
    "func_callerid": "CALLERID()",
    "func_db": "DB()",
    "func_dialplan": "DIALPLAN_EXISTS()",
    "func_strings": "HASH() and LEN()",
    "func_uri": "URIENCODE()",
    "pbx_config": "extensions.conf",
}
BY_HTTP: Final = {"func_curl": "CURL()", "res_curl": "CURL()"}
BY_AGI: Final = {"res_agi": "AGI()"}


def needed_modules(plan: Plan) -> dict[str, str]:
    """@return: Those without which calls fail, each with what it is needed for."""
    needed = dict(BASE)
    if any(route.dials for route in plan.routes):
        needed["chan_audiosocket"] = "Dial(AudioSocket/...)"
    asked = plan.values("PORTERO_STATUS") if plan.shipped else []
    if plan.shipped:
        needed |= OF_SHIPPED
    if any(each.startswith("http") for each in asked):
        needed |= BY_HTTP
    if any(each.startswith("agi") for each in asked):
        needed |= BY_AGI
    own = any("UUID()" in route.step.data for route in plan.routes)
    if own or "none" in asked:
        needed["func_uuid"] = "UUID()"
    return needed


def judge_modules(plan: Plan, running: frozenset[str]) -> Iterator[Finding]:
    missing = {n: use for n, use in needed_modules(plan).items() if n not in running}
    if not missing:
        yield ok("modules", "all that portero needs are loaded")
        return
    named = ", ".join(f"{name} (for {use})" for name, use in missing.items())
    load = " ".join(f"asterisk -rx 'module load {name}.so';" for name in missing)
    remedy = f"{load} and see that modules.conf does not keep them out"
    if "func_curl" in missing:
        remedy += "; without func_curl at all, ask by FastAGI: agi in [listen]"
    if "func_uuid" in missing:
        remedy += (
            "; before 20.12, 21.7, 22.2 there is no UUID(): "
            "${SHELL(cat /proc/sys/kernel/random/uuid):0:36}"
        )
    yield fail("modules", f"not loaded: {named}", remedy)


def judge_translations(
    plan: Plan, known: frozenset[tuple[str, str]], downlink_rate: int
) -> Iterator[Finding]:
    """@param downlink_rate: As configured, in Hz."""
    if not known:
        return
    slin = "slin8" if any("slin8" in pair for pair in known) else "slin"

    def both_ways(one: str, other: str) -> bool:
        return {(one, other), (other, one)} <= known

    found = []
    lost = [name for name in ("ulaw", "alaw") if not both_ways(name, slin)]
    if lost:
        load = " ".join(f"asterisk -rx 'module load codec_{name}.so';" for name in lost)
        found.append(
            fail(
                "codecs",
                f"Asterisk cannot convert {' and '.join(lost)}: telephones that use it "
                "hear nothing",
                f"{load} and see that modules.conf does not keep it out",
            )
        )
    if not both_ways("g722", slin):
        found.append(
            warn(
                "codecs",
                "Asterisk cannot convert g722, the wideband codec of most telephones",
                "asterisk -rx 'module load codec_g722.so'",
            )
        )
    wideband = downlink_rate > 8000 or any(route.dials for route in plan.routes)
    if wideband and not both_ways(slin, "slin24"):
        found.append(
            warn(
                "codecs",
                "Asterisk cannot convert between 8 and 24 kHz, which wideband needs",
                "asterisk -rx 'module load codec_resample.so'",
            )
        )
    yield from found or [ok("codecs", "ulaw, alaw and g722 can be converted")]

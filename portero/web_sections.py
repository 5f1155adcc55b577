"""Settings of the web resource and of those who use it: as L{portero.sections}."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from portero.settings import setting, shown
from portero.web import passwords

RIGHTS: Final = ("read", "act", "listen")
"""What a visitor may do: look; whisper, transfer, hang up and drain; hear calls."""

_LABEL: Final = "(?!-)[a-z0-9_-]{1,63}(?<!-)"
_HOST: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*", re.ASCII | re.IGNORECASE)


def _check_hosts(hosts: tuple[str, ...]) -> str:
    for host in hosts:
        if len(host) > 253 or not _HOST.fullmatch(host):
            return (
                f"has {shown(host)}, which is no name of a machine; it looks like "
                '"portero.example.com", without https:// and without a port'
            )
    return ""


def _check_rights(rights: tuple[str, ...]) -> str:
    if not rights:
        return f"is empty; there are: {', '.join(RIGHTS)}"
    for right in rights:
        if right not in RIGHTS:
            return f"has {shown(right)}; there are: {', '.join(RIGHTS)}"
    return ""


@dataclass(frozen=True, slots=True)
class WebSettings:
    """The page, the API and the status resource; where they listen is [listen] web."""

    hosts: tuple[str, ...] = setting(
        (),
        "Names by which browsers reach it, as behind a proxy. By address and as "
        "localhost it can always be reached; other names are refused, as any page can "
        "have one of its own point here.",
        check=_check_hosts,
        example=("portero.example.com",),
    )


@dataclass(frozen=True, slots=True)
class UserSettings:
    """Who may look and act; see docs/access.rst."""

    password: str = setting(
        "",
        "For a person: what portero passwd NAME prints. It is no secret, but should "
        "not be shown around.",
        check=passwords.problem,
        secret=True,
    )
    token: str = setting(
        "",
        "For a program: what portero passwd --token NAME prints.",
        check=passwords.token_problem,
        secret=True,
    )
    rights: tuple[str, ...] = setting(
        ("read",),
        "read: calls, words and history; act: whisper, transfer, hang up, drain; "
        "listen: hear calls and recordings.",
        check=_check_rights,
        example=RIGHTS,
    )

"""Settings of what is kept of calls: as L{portero.sections}."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from portero.sections import check_networks
from portero.settings import setting
from portero.webhooks import request_text

NOWHERE: Final = "none"
"""Instead of a file: there is to be none."""


def _check_path(path: str) -> str:
    if path and path != NOWHERE and not (os.path.isabs(path) and path.isprintable()):
        return "must be a whole path, which begins with /"
    return ""


def _check_url(url: str) -> str:
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("postgresql", "postgres") and parts.port != 0
    except ValueError:
        fits = False
    if not (fits and url.isprintable() and " " not in url):
        return "must look like postgresql://portero@db.example/portero"
    if parts.password is not None or "password" in dict(parse_qsl(parts.query)):
        return (
            "may have no password in it: that stands in password_file, or set "
            "PORTERO_RECORDS_PASSWORD"
        )
    if not parts.path.strip("/"):
        return "has no database in it: postgresql://portero@db.example/portero"
    return ""


def _check_webhook(url: str) -> str:
    if "{" in url:
        return "may have no {NAME} in it"
    return request_text.url_problem(url) if url else ""


@dataclass(frozen=True, slots=True)
class RecordSettings:
    """
    What is kept of calls when they are over: no words, no sound and no whole number,
    unless you say so. docs/records.rst has the details.
    """

    file: str = setting(
        "",
        "SQLite file with a record of every call; empty: records.sqlite in the state "
        'folder that systemd gives, else none; "none": none at all.',
        check=_check_path,
        example="/var/lib/portero/records.sqlite",
    )
    url: str = setting(
        "",
        "Instead of a file: a PostgreSQL database, which several hosts may share; it "
        "takes pip install 'portero[postgres]'. To another machine it goes over TLS "
        "with a certificate that is verified, unless sslmode in it says otherwise.",
        check=_check_url,
        example="postgresql://portero@db.example/portero",
        secret=True,
    )
    password_file: str = setting(
        "",
        "With url: a file that holds the password, mode 0600; or set "
        "PORTERO_RECORDS_PASSWORD, or give systemd's credential records_password.",
    )
    numbers: str = setting(
        "short",
        "short: the last three digits of telephone numbers, and no name of the caller; "
        "whole: all of it.",
        choices=("short", "whole"),
    )
    days: int = setting(
        90,
        "Older records, recordings and captures are deleted, once a day.",
        unit="days",
        least=1,
        most=36500,
    )
    recordings: str = setting(
        "",
        "Folder for the sound of agents with record = true; empty: recordings in the "
        "state folder that systemd gives.",
        check=_check_path,
        example="/var/lib/portero/recordings",
    )
    captures: str = setting(
        "",
        "Folder for the calls of agents with capture = true; empty: captures in the "
        "state folder that systemd gives.",
        check=_check_path,
        example="/var/lib/portero/captures",
    )
    webhook: str = setting(
        "",
        "https:// where each record is sent when its call is over, as JSON with a "
        "signature; what is not kept is not sent either.",
        check=_check_webhook,
        example="https://crm.example/calls",
    )
    webhook_secret_file: str = setting(
        "",
        "With webhook: a file with the secret of the signature, mode 0600; or set "
        "PORTERO_RECORDS_WEBHOOK_SECRET, or give systemd's credential "
        "records_webhook_secret.",
    )
    webhook_allow: tuple[str, ...] = setting(
        (),
        "Private networks where the webhook may be: without, an address like 10.0.0.5 "
        "or 127.0.0.1 is refused, and http:// with it.",
        check=check_networks,
        example=("10.0.0.5/32",),
    )
    webhook_queue: str = setting(
        "",
        "Folder for records that the webhook has not taken yet; empty: webhook in the "
        "state folder that systemd gives. Another one takes a restart.",
        check=_check_path,
        example="/var/spool/portero-webhook",
    )

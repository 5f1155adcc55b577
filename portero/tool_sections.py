"""
Settings of what agents can do to the world: as L{portero.sections}, for the tools.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from portero import hours
from portero.mail import address as mailaddress
from portero.sections import check_networks, check_target
from portero.settings import setting
from portero.webhooks import parameters, request_text


@dataclass(frozen=True, slots=True)
class TargetSettings:
    """A place in the dialplan where callers can be sent, by name."""

    to: str = setting(
        "",
        "context,extension,priority.",
        check=check_target,
        example="from-internal,200,1",
    )
    description: str = setting(
        "", "For the agent: who or what that is.", example="Sales, for new orders"
    )
    hours: str = setting(
        "",
        "When it is open, in the agent's time zone; empty: always.",
        check=hours.problem,
        example="mon-fri 09:00-14:00 16:00-19:00; sat 10:00-13:00",
    )
    closed: str = setting(
        "",
        "What the agent tells a caller when it is closed; empty: when it opens.",
        example="Sales is back on Monday at nine.",
    )
    confirm: bool = setting(
        False,
        "The caller has to agree first: the agent asks, and waits for the answer.",
    )


def _check_tones(digits: str) -> str:
    if re.fullmatch(r"[0-9A-D*#]{0,32}", digits, re.ASCII):
        return ""
    return "must be up to 32 of 0-9, *, # and A-D"


def _check_relay(url: str) -> str:
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        fits = False
    if not (fits and url.isascii() and url.isprintable() and " " not in url):
        return "must be http://HOST/... or https://HOST/..."
    if parts.username is not None or "#" in url:
        return "may have no user and no # in it; a password stands in password_file"
    return ""


@dataclass(frozen=True, slots=True)
class GateSettings:
    """A gate or a door that the tool open_gate can open."""

    description: str = setting(
        "", "For the agent: which one that is.", example="The gate to the street"
    )
    dtmf: str = setting(
        "",
        "Tones that open it, for calls from the door station: 0-9 * # A-D.",
        check=_check_tones,
        example="9#",
    )
    url: str = setting(
        "",
        "Or what opens it over HTTP. It may be in the local network, so it is not "
        "checked as that of a webhook is.",
        check=_check_relay,
        example="http://192.168.1.20/relay/0?turn=on&timer=1",
    )
    method: str = setting("POST", "With url.", choices=("GET", "POST", "PUT"))
    password_file: str = setting(
        "", "With url: a file with USER:PASSWORD, for HTTP basic authentication."
    )
    hours: str = setting(
        "",
        "When it may be opened, in the agent's time zone; empty: always.",
        check=hours.problem,
        example="mon-fri 07:00-22:00",
    )
    who: str = setting(
        "pin",
        "Who may have it opened: pin: who types one of pins_file; resident: who calls "
        "with a number of residents_file; always: everybody.",
        choices=("pin", "resident", "always"),
    )
    pins_file: str = setting(
        "", 'A file with a line "NAME PIN" for each, 4 to 16 digits, mode 0600.'
    )
    residents_file: str = setting(
        "", 'A file with a line "FLAT NUMBER NUMBER..." for each flat.'
    )
    confirm: bool = setting(False, "The caller has to agree first.")
    cool_down: float = setting(
        10.0,
        "After it was opened, it is not opened again.",
        unit="s",
        least=0,
        most=3600,
    )


def _check_webhook_url(url: str) -> str:
    return request_text.url_problem(url) if url else ""


def _check_body(body: str) -> str:
    return request_text.body_problem(body) if body else ""


@dataclass(frozen=True, slots=True)
class WebhookSettings:
    """
    A tool that asks a server of yours; an agent has it when its tools name it.
    """

    description: str = setting("", "For the agent: what it does, and when to use it.")
    parameters: Mapping[str, Any] = setting(
        {},
        "What the agent has to give, by name: a description, or a table with "
        "description, type (string, integer, number, boolean), one_of, pattern, most "
        "(characters, or the greatest number), least, optional.",
        check=parameters.problem,
        example={"order": {"description": "The order's number", "pattern": "[0-9]{6}"}},
    )
    method: str = setting(
        "POST", "Of HTTP.", choices=("GET", "POST", "PUT", "PATCH", "DELETE")
    )
    url: str = setting(
        "",
        "https://; {NAME} stands for a parameter or for what is known of the call, "
        "encoded, and only after the host.",
        check=_check_webhook_url,
        example="https://shop.example/orders/{order}",
    )
    headers: Mapping[str, str] = setting(
        {},
        "As they are sent; {NAME} for what is known of the call. A secret does not "
        "stand here, but in token_file.",
        check=request_text.headers_problem,
        example={"X-Call": "{call_id}"},
    )
    token_file: str = setting(
        "", "A file with the token that is sent as Authorization: Bearer, mode 0600."
    )
    body: str = setting(
        "",
        "The JSON that is sent, with {NAME} as in the url, within quotes or as a value "
        "of its own; empty: all parameters and what is known of the call.",
        check=_check_body,
        example='{"order": {order}, "from": "caller {caller_number}"}',
    )
    answer: str = setting(
        "",
        "The part of a JSON answer that the agent gets, its names joined by points; "
        "empty: all of it, up to 4000 characters.",
        example="order.status",
    )
    timeout: float = setting(5.0, "For one try.", unit="s", least=0.5, most=60)
    retries: int = setting(
        1,
        "After a failure of the network or an answer 502, 503, 504; with GET, PUT and "
        "DELETE only.",
        least=0,
        most=5,
    )
    allow: tuple[str, ...] = setting(
        (),
        "Private networks where the server may be: without, an address like 10.0.0.5 "
        "or 127.0.0.1 is refused, and http:// with it.",
        check=check_networks,
        example=("10.0.0.5/32",),
    )


MAIL_PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}


def _server_parts(text: str) -> tuple[str, int]:
    """
    @return: A name or address, and a port; 0: none is given.
    @raise ValueError: It is none.
    """
    parts = urlsplit(f"//{text}")
    if parts.netloc != text or not parts.hostname or "@" in text or text[-1] == ":":
        raise ValueError
    if not re.fullmatch(r"[\w.:-]+", parts.hostname, re.ASCII):
        raise ValueError
    return parts.hostname, parts.port or 0


def _check_server(text: str) -> str:
    try:
        _server_parts(text)
    except ValueError:
        return "is no mail server; it looks like mail.acme.example:587" if text else ""
    return ""


def _check_folder(path: str) -> str:
    return "" if not path or path.startswith("/") else "must begin with /"


@dataclass(frozen=True, slots=True)
class MailSettings:
    """
    The mail server for send_email_summary and request_transcript.
    """

    server: str = setting(
        "",
        "Its name, or NAME:PORT; empty: no mail. Without a port: 587, with tls 465, "
        "with none 25.",
        check=_check_server,
        example="mail.acme.example:587",
    )
    tls: str = setting(
        "starttls",
        "starttls: encrypted after a greeting; tls: from the start; none: not at all, "
        "and only to this machine. The server's certificate is always verified.",
        choices=("starttls", "tls", "none"),
    )
    user: str = setting("", "Empty: without authentication.")
    password_file: str = setting(
        "",
        "A file that holds the password, mode 0600; or set PORTERO_MAIL_PASSWORD, or "
        "give systemd's credential mail_password.",
    )
    sender: str = setting(
        "",
        "The address it is from; the server must let user send as that.",
        check=mailaddress.problem,
        example="portero@acme.example",
    )
    queue: str = setting(
        "",
        "Folder for mail that is not delivered yet; empty: mail in the state folder "
        "that systemd gives. Another one takes a restart.",
        check=_check_folder,
        example="/var/spool/portero",
    )

    @property
    def host(self) -> str:
        return _server_parts(self.server)[0]

    @property
    def port(self) -> int:
        return _server_parts(self.server)[1] or MAIL_PORTS[self.tls]


def _check_mcp_url(url: str) -> str:
    if url and not url.startswith("https://"):
        return "must begin with https://"
    if "{" in url:
        return "may have no {NAME} in it"
    return _check_webhook_url(url)


@dataclass(frozen=True, slots=True)
class McpSettings:
    """
    A remote MCP server that the voice service itself asks, for agents that name it.
    """

    url: str = setting(
        "",
        "https:// only; the voice service asks it, so it has to be reachable from the "
        "Internet.",
        check=_check_mcp_url,
        example="https://crm.example/mcp",
    )
    description: str = setting("", "For the agent: what it is for.")
    token_file: str = setting("", "A file that holds its authorization, mode 0600.")
    tools: tuple[str, ...] = setting(
        (),
        "Which of its tools may be used; there is no default.",
        example=("find_customer",),
    )

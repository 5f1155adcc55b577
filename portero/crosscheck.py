"""What can only be judged of several settings together."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import product
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from portero import plugins, templates
from portero.endpoints import endpoint_string, exposed
from portero.errors import ConfigError
from portero.record_sections import NOWHERE
from portero.sections import AgentSettings, is_loopback
from portero.settings import Wrong, nearest, shown
from portero.webhooks import check as webhookcheck

if TYPE_CHECKING:
    from portero.config import Config


def check(config: Config, wrong: Wrong) -> None:
    """Say all that does not go together."""
    _check_listen(config, wrong)
    _check_users(config, wrong)
    _check_mail(config, wrong)
    _check_records(config, wrong)
    for name, settings in config.providers.items():
        section = f"providers.{name}" if name else "provider"
        if settings.kind:
            try:
                plugins.check("providers", settings.kind, also=["demo"])
            except ConfigError as error:
                wrong.of(section, "kind", str(error))
    for name, target in config.targets.items():
        if not target.to:
            said = 'is missing, for instance to = "from-internal,100,1"'
            wrong.of(f"targets.{name}", "to", said)
    webhookcheck.check(config, wrong)
    _check_gates(config, wrong)
    for name, agent in config.agents.items():
        _check_agent(config, name, agent, wrong)
    _check_choice(config.agents, wrong)


def check_keys(config: Config, wrong: Wrong) -> None:
    """Say which secrets are missing."""
    for name in {agent.provider: None for agent in config.agents.values()}:
        settings = config.providers.get(name, config.provider)
        keyed = config.secrets.api_keys.get(name)
        # A service on this machine may well do without.
        here = is_loopback(urlsplit(settings.url).hostname or "")
        if config.kind_of(name) == "openai" and not keyed and not here:
            remedy = "" if name else "set OPENAI_API_KEY in the environment, or "
            wrong.of(
                f"providers.{name}" if name else "provider",
                "kind",
                f"openai needs a key: {remedy}api_key_file; without one, "
                "--provider demo answers",
            )
    listen = config.listen
    for key, needed in _EXPOSED.items():
        port = getattr(listen, key)
        known = config.secrets.web_token or (key == "web" and config.users)
        if port and exposed(endpoint_string(port)) and not known:
            wrong.of("listen", key, f"{port} {needed}")
    if config.mail.user and config.mail.server and not config.secrets.mail:
        said = "needs its password: password_file, or set PORTERO_MAIL_PASSWORD"
        wrong.of("mail", "user", f"{shown(config.mail.user)} {said}")
    if config.records.webhook and not config.secrets.records_webhook:
        said = (
            "needs a secret to sign with: webhook_secret_file, or set "
            "PORTERO_RECORDS_WEBHOOK_SECRET"
        )
        wrong.of("records", "webhook", said)
    if config.ami.host and not config.secrets.ami:
        said = "needs its user's secret: set PORTERO_AMI_SECRET, or secret_file"
        wrong.of("ami", "host", f"{shown(config.ami.host)} {said}")


_TOKEN: Final = "a token (PORTERO_WEB_TOKEN, or web_token_file)"
_EXPOSED: Final = {
    key: f"can be reached by other machines, so it needs {proof} and the networks that "
    "may connect (allow); or give a port alone, which is for this machine"
    for key, proof in (
        ("web", f"a user (portero passwd NAME makes one) or {_TOKEN}"),
        ("agi", _TOKEN),
    )
}

_MAIL_TOOLS: Final = ("send_email_summary", "request_transcript")


def _check_listen(config: Config, wrong: Wrong) -> None:
    listen = config.listen
    allowed = listen.allow or ("listen", "allow") in wrong.refused
    endpoint = _endpoint("port", listen.port, listen.interface, wrong)
    if endpoint and exposed(endpoint):
        key = "interface" if listen.port.isdigit() else "port"
        value = getattr(listen, key)
        if endpoint.startswith("haproxy:"):
            wrong.of(
                "listen",
                key,
                f"{value}: with haproxy: whoever connects says which address it has, "
                "so it must be on loopback: haproxy:tcp:8089:interface=127.0.0.1",
            )
        elif not allowed:
            wrong.of(
                "listen",
                key,
                f"{value} can be reached by other machines, and AudioSocket has no "
                "password: name the machines that may connect, for instance --allow "
                "192.168.1.10/32, or listen on --interface 127.0.0.1",
            )
    for key in ("web", "agi"):
        port = getattr(listen, key)
        endpoint = _endpoint(key, port, "127.0.0.1", wrong) if port else ""
        if port and port in (listen.port, listen.web if key == "agi" else ""):
            wrong.of("listen", key, f"{port} is another service's port already")
        elif endpoint and exposed(endpoint) and not allowed:
            wrong.of("listen", key, f"{port} {_EXPOSED[key]}")
    if listen.require_registration and not (listen.web or listen.agi):
        said = "needs web or agi, where the dialplan announces calls"
        wrong.of("listen", "require_registration", said)


def _check_users(config: Config, wrong: Wrong) -> None:
    tokens: dict[str, str] = {}
    for name, user in config.users.items():
        section = f"users.{name}"
        refused = {(section, "password"), (section, "token")} & wrong.refused
        if not (user.password or user.token or refused):
            said = f"is missing, or token: portero passwd {name} makes one"
            wrong.of(section, "password", said)
        other = tokens.setdefault(user.token, name) if user.token else name
        if other != name:
            said = f"is that of [users.{other}] too: make one for each"
            wrong.of(section, "token", said)


def _check_mail(config: Config, wrong: Wrong) -> None:
    mail = config.mail
    if not mail.server:
        return
    if not mail.sender and ("mail", "sender") not in wrong.refused:
        said = f"{shown(mail.server)} needs sender, the address that mail is from"
        wrong.of("mail", "server", said)
    if mail.tls == "none" and not is_loopback(mail.host):
        said = '"none" is for a server on this machine: take "starttls" or "tls"'
        wrong.of("mail", "tls", said)


def _check_records(config: Config, wrong: Wrong) -> None:
    records = config.records
    if os.path.isdir(records.file):
        said = f"{shown(records.file)} is a folder: name a file in it"
        wrong.of("records", "file", said)
    elif records.file not in ("", NOWHERE):
        _check_folder("file", records.file, os.path.dirname(records.file), wrong)
    if records.url:
        _check_server(records.file, wrong)
    elif records.webhook and records.file == NOWHERE:
        said = 'needs records, but file is "none", and there is no url'
        wrong.of("records", "webhook", said)
    webhook, allow = records.webhook, records.webhook_allow
    webhookcheck.check_place(
        ("records", "webhook"), webhook, "webhook_allow", allow, wrong
    )
    for key, where, folder, document in (
        ("record", "recordings", records.recordings, "records"),
        ("capture", "captures", records.captures, "capture"),
    ):
        kept = False
        for name, agent in config.agents.items():
            if not getattr(agent, key):
                continue
            kept, section = True, f"agents.{name}"
            refused = {(section, "consent"), ("agent", "consent")} & wrong.refused
            if not agent.consent and not refused:
                said = "= true needs consent, which says how callers come to know of it"
                wrong.of(section, key, f"{said}; see docs/{document}.rst")
        if kept and folder == NOWHERE:
            wrong.of("records", where, f'is "none", but an agent has {key} = true')
        elif kept and folder:
            there = folder if os.path.exists(folder) else os.path.dirname(folder)
            _check_folder(where, folder, there, wrong)


def _check_server(file: str, wrong: Wrong) -> None:
    if file not in ("", NOWHERE):
        said = f"stands beside file, which is {shown(file)}: keep one of them"
        wrong.of("records", "url", said)
    try:
        import psycopg  # noqa: F401  # or why it cannot be imported
    except ImportError as error:
        said = f"needs psycopg: pip install 'portero[postgres]' ({error})"
        wrong.of("records", "url", said)


def _check_folder(key: str, path: str, folder: str, wrong: Wrong) -> None:
    """@param folder: Has to be writable for C{path}."""
    if not os.path.isdir(folder):
        said = f"but {shown(folder)} is no folder: make it, owned by portero's user"
    elif not os.access(folder, os.W_OK | os.X_OK):
        said = (
            f"but {shown(folder)} cannot be written to by this user (id {os.getuid()})"
        )
    else:
        return
    wrong.of("records", key, f"is {shown(path)}, {said}")


def _check_mail_tools(
    config: Config, section: str, agent: AgentSettings, wrong: Wrong
) -> None:
    named = [tool for tool in agent.tools if tool in _MAIL_TOOLS]
    if named and not config.mail.server and ("mail", "server") not in wrong.refused:
        said = f"has {named[0]}, which needs [mail] server and sender"
        wrong.of(section, "tools", said)
    if "request_transcript" in named and not agent.transcription_model:
        said = (
            "has request_transcript, but transcription_model is empty, so the caller's "
            "words are not written down"
        )
        wrong.of(section, "tools", said)


def _endpoint(key: str, port: str, interface: str, wrong: Wrong) -> str:
    try:
        return endpoint_string(port, interface)
    except ValueError as error:
        wrong.of("listen", key, f"{port} {error}")
        return ""


def _check_agent(config: Config, name: str, agent: AgentSettings, wrong: Wrong) -> None:
    section = f"agents.{name}"
    if agent.provider not in config.providers and agent.provider != "demo":
        hint = nearest(agent.provider, [*filter(None, config.providers), "demo"])
        said = f"{shown(agent.provider)} is none: there must be [providers.NAME]"
        wrong.of(section, "provider", said, hint)
    shipped = [*plugins.names("tools"), *config.webhooks]
    for tool in agent.tools:
        # A name with a colon is of a site's own, and taken on trust.
        if ":" not in tool and tool not in shipped:
            said = f"has {shown(tool)}, which is none"
            wrong.of(section, "tools", said, nearest(tool, shipped))
    for key in ("transfer_to", "voicemail", "fallback"):
        value = getattr(agent, key)
        for target in filter(None, value if isinstance(value, tuple) else [value]):
            if target not in config.targets:
                hint = nearest(target, config.targets)
                said = f"has {shown(target)}, but there is no such [targets.NAME]"
                wrong.of(section, key, said, hint)
    if "transfer" in agent.tools and not config.targets:
        said = "has transfer, which needs at least one section [targets.NAME]"
        wrong.of(section, "tools", said)
    if "leave_voicemail" in agent.tools and not agent.voicemail:
        said = "has leave_voicemail, which needs voicemail: the [targets.NAME] for it"
        wrong.of(section, "tools", said)
    hands_over = {"transfer", "leave_voicemail"}.intersection(agent.tools)
    if "cancel_transfer" in agent.tools and not hands_over:
        said = "has cancel_transfer, which needs transfer or leave_voicemail beside it"
        wrong.of(section, "tools", said)
    _check_mail_tools(config, section, agent, wrong)
    _check_menu_and_gates(config, section, agent, wrong)
    _check_greeting(section, agent, wrong)
    if not {(section, "variables"), ("agent", "variables")} & wrong.refused:
        _check_texts(section, agent, wrong)
    ceilings = agent.most_per_call, agent.most_per_day, config.limits.most_per_day
    if any(ceilings) and agent.provider != "demo" and agent.model not in config.prices:
        said = "has no price, so no ceiling can hold: write [prices.NAME] for it"
        wrong.of(section, "model", f"{shown(agent.model)} {said}")


def _check_greeting(section: str, agent: AgentSettings, wrong: Wrong) -> None:
    if agent.greeting_file:
        # Only then: reading sound takes libraries that reading settings does not.
        from portero import greeting

        try:
            greeting.load(agent.greeting_file)
        except ConfigError as error:
            name = shown(os.path.basename(agent.greeting_file))
            wrong.of(section, "greeting_file", f"{name} cannot be played: {error}")
        return
    refused = {(section, "greeting"), ("agent", "greeting")} & wrong.refused
    if not agent.greeting_cache or refused:
        return
    if not agent.greeting:
        said = "needs greeting: other words each time cannot be kept"
        wrong.of(section, "greeting_cache", said)
    else:
        own = sorted(templates.names(agent.greeting) & set(_NEVER_AGAIN))
        if own:
            said = f"keeps nothing as greeting has {{{own[0]}}}, which seldom comes"
            wrong.of(section, "greeting_cache", f"{said} twice: take one of them away")


def _check_menu_and_gates(
    config: Config, section: str, agent: AgentSettings, wrong: Wrong
) -> None:
    for key, names, family, there in (
        ("menu", agent.menu.values(), "targets", config.targets),
        ("gates", agent.gates, "gates", config.gates),
    ):
        for name in names:
            if name not in there:
                said = f"has {shown(name)}, but there is no such [{family}.NAME]"
                wrong.of(section, key, said, nearest(name, there))
    pause, resume = agent.pause_keys, agent.resume_keys
    if pause and resume and (pause.startswith(resume) or resume.startswith(pause)):
        said = f"is {shown(resume)}, and pause_keys {shown(pause)}: one begins as the"
        wrong.of(section, "resume_keys", f"{said} other does, so choose others")
    if "*" in agent.menu and (pause or resume):
        said = "has *, with which pause_keys and resume_keys begin: choose another key"
        wrong.of(section, "menu", said)
    if "open_gate" in agent.tools and not config.gates:
        said = "has open_gate, which needs at least one section [gates.NAME]"
        wrong.of(section, "tools", said)


def _check_gates(config: Config, wrong: Wrong) -> None:
    for name, gate in config.gates.items():
        section = f"gates.{name}"
        refused = {(section, "dtmf"), (section, "url")} & wrong.refused
        if bool(gate.dtmf) == bool(gate.url) and not refused:
            said = "must be there, or url, and not both: it opens by one of them"
            wrong.of(section, "dtmf", said)
        for who, key in (("pin", "pins_file"), ("resident", "residents_file")):
            if gate.who == who and not getattr(gate, key):
                said = f"{shown(who)} needs {key}; see docs/gate.rst"
                wrong.of(section, "who", said)
        if gate.password_file and not gate.url:
            wrong.of(section, "password_file", "is for a gate with url")


def _check_texts(section: str, agent: AgentSettings, wrong: Wrong) -> None:
    known = [*templates.BUILT_IN, *agent.variables]
    for key in ("instructions", "greeting", "farewell"):
        unknown = templates.names(getattr(agent, key)) - set(known)
        if key == "instructions" and agent.instructions_file:
            key = "instructions_file"
        for word in sorted(unknown):
            said = f"has {{{word}}}, which is neither known nor in variables"
            wrong.of(section, key, said, nearest(word, known))


_NEVER_AGAIN: Final = ("caller_name", "caller_number", "time")
"""In a greeting: what is different in almost every call."""


def _check_choice(agents: Mapping[str, AgentSettings], wrong: Wrong) -> None:
    """No call may fit two agents equally well."""
    first: dict[tuple[str, str], str] = {}
    for name, agent in agents.items():
        for caller, called in product(agent.callers or [""], agent.called or [""]):
            bare = re.sub(r"[ .-]", "", caller), re.sub(r"[ .-]", "", called)
            other = first.setdefault(bare, name)
            if other != name and any(bare):
                key, number = ("called", called) if called else ("callers", caller)
                said = f"has {shown(number)}, as [agents.{other}] has: one must not"
                wrong.of(f"agents.{name}", key, said)

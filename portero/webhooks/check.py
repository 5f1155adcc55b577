"""What can be wrong with C{[webhooks.NAME]} and C{[mcp.NAME]}, and who names them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from portero import plugins
from portero.networks import is_public, lies_in
from portero.settings import Wrong, nearest, shown
from portero.webhooks import parameters, request_text

if TYPE_CHECKING:
    from portero.config import Config
    from portero.tool_sections import WebhookSettings

KNOWN: Final = ("call_id", "agent", "caller_name", "caller_number", "called_number")
"""Of each call, in the templates of webhooks."""
BODILESS: Final = ("GET", "DELETE")

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Of functions and servers at the voice service."""


def check(config: Config, wrong: Wrong) -> None:
    """Say all that is wrong."""
    for name, webhook in config.webhooks.items():
        _check_name(f"webhooks.{name}", name, wrong)
        _check_webhook(config, f"webhooks.{name}", webhook, wrong)
    for name, server in config.mcp.items():
        section = f"mcp.{name}"
        _check_name(section, name, wrong)
        if not server.url:
            said = 'is missing, for instance url = "https://crm.example/mcp"'
            wrong.of(section, "url", said)
        if not server.tools:
            said = "is missing: name those that may be used, for all others may not"
            wrong.of(section, "tools", said)
    for name, agent in config.agents.items():
        for server_name in agent.mcp:
            if server_name not in config.mcp:
                hint = nearest(server_name, config.mcp)
                said = f"has {shown(server_name)}, but there is no such [mcp.NAME]"
                wrong.of(f"agents.{name}", "mcp", said, hint)


def _check_name(section: str, name: str, wrong: Wrong) -> None:
    """The model calls it by that."""
    bare = _bare(name)
    tools = plugins.names("tools")
    if not _NAME.fullmatch(name):
        wrong.of(section, "", "may only have letters, digits, - and _ in its name")
    elif section.startswith("webhooks.") and bare in map(_bare, tools):
        wrong.of(section, "", "has the name of a tool of portero's own: take another")


def _bare(name: str) -> str:
    """The tool of the module hangup is called hang_up."""
    return re.sub("[_-]", "", name).lower()


def _check_webhook(
    config: Config, section: str, webhook: WebhookSettings, wrong: Wrong
) -> None:
    if not webhook.description.strip():
        said = "is missing: from it the agent knows what it does, and when to use it"
        wrong.of(section, "description", said)
    if not webhook.url:
        said = 'is missing, for instance url = "https://shop.example/orders/{order}"'
        wrong.of(section, "url", said)
    if {(section, key) for key in ("url", "parameters", "body")} & wrong.refused:
        return
    check_place((section, "url"), webhook.url, "allow", webhook.allow, wrong)
    _check_names(config, section, webhook, wrong)
    if webhook.body and webhook.method in BODILESS:
        wrong.of(section, "body", f"is not sent with {webhook.method}")
        return
    if not webhook.body and webhook.method not in BODILESS:
        return  # all of them go into the document
    used = request_text.names(webhook.url) | request_text.names(webhook.body)
    for name in webhook.parameters:
        if name not in used:
            where = "body" if webhook.body else f"url, and {webhook.method} has no body"
            said = f"has {name}, which stands neither in the url nor in the {where}"
            if webhook.method in BODILESS:
                said = f"has {name}, which does not stand in the {where}"
            wrong.of(section, "parameters", said)


def check_place(
    setting: tuple[str, str],
    url: str,
    allowed_by: str,
    allow: Sequence[str],
    wrong: Wrong,
) -> None:
    """
    Say what is wrong with where a server is.

    @param setting: Section and key of the url.
    @param allowed_by: The key of C{allow}.
    """
    section, key = setting
    if not url or (section, allowed_by) in wrong.refused:
        return
    parts = urlsplit(url.partition("?")[0])
    host = parts.hostname or ""
    if parts.scheme == "http" and not allow:
        said = (
            "sends what callers say unencrypted: write https://, or name the network "
            f"of a server of yours in {allowed_by}"
        )
        wrong.of(section, key, said)
        return
    try:
        public = is_public(host)
    except ValueError:
        return  # a name: where it leads is looked at when it is asked
    allowed = lies_in(host, map(ip_network, allow))
    if not allowed and (parts.scheme == "http" or not public):
        said = f'is at {host}, which needs {allowed_by} = ["{host}"]'
        wrong.of(section, key, said)


def _check_names(
    config: Config, section: str, webhook: WebhookSettings, wrong: Wrong
) -> None:
    variables = {name for agent in config.agents.values() for name in agent.variables}
    of_call = variables | set(KNOWN)
    for name in webhook.parameters:
        if name in of_call:
            said = f"has {name}, which is known of the call: take another name"
            wrong.of(section, "parameters", said)
    known = of_call | set(webhook.parameters)
    for key in ("url", "body"):
        _check_known(section, key, getattr(webhook, key), known, wrong)
    left_out = parameters.optional(webhook.parameters)
    for name in sorted(request_text.path_names(webhook.url) & left_out):
        said = f"has {{{name}}} in its path, so it cannot be optional"
        wrong.of(section, "url", said)
    for header, text in webhook.headers.items():
        for name in sorted(request_text.names(text) - of_call):
            said = f"has {header} with {{{name}}}, but only these can be there: "
            wrong.of(section, "headers", said + ", ".join(sorted(of_call)))


def _check_known(
    section: str, key: str, text: str, known: Iterable[str], wrong: Wrong
) -> None:
    known = sorted(known)
    for name in sorted(request_text.names(text) - set(known)):
        said = f"has {{{name}}}, which is neither a parameter nor known of the call"
        wrong.of(section, key, said, nearest(name, known))

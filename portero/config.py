"""
One file into frozen dataclasses: an option wins over the environment, that over the
file, that over the default. Every wrong value is named with its place and the remedy,
all in one go.

C{[agent]} and C{[provider]} hold for all; an C{[agents.NAME]} or C{[providers.NAME]}
says what is different with one of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from portero import crosscheck, textfile, toml_lines
from portero.errors import ConfigError
from portero.keys import FILES, Secrets
from portero.log_sections import LogSettings
from portero.prices import SHIPPED
from portero.record_sections import RecordSettings
from portero.sections import (
    AgentSettings,
    AmiSettings,
    LimitSettings,
    ListenSettings,
    PriceSettings,
    ProviderSettings,
)
from portero.settings import (
    INHERITED,
    Wrong,
    fitting,
    from_text,
    nearest,
    shown,
    table,
)
from portero.tool_sections import (
    GateSettings,
    MailSettings,
    McpSettings,
    TargetSettings,
    WebhookSettings,
)
from portero.web_sections import UserSettings, WebSettings

SECTIONS: Final[Mapping[str, type]] = {
    "listen": ListenSettings,
    "web": WebSettings,
    "provider": ProviderSettings,
    "agent": AgentSettings,
    "limits": LimitSettings,
    "records": RecordSettings,
    "mail": MailSettings,
    "ami": AmiSettings,
    "log": LogSettings,
}

FAMILIES: Final[Mapping[str, tuple[type, str]]] = {
    "agents": (AgentSettings, "agent"),
    "providers": (ProviderSettings, "provider"),
    "targets": (TargetSettings, ""),
    "gates": (GateSettings, ""),
    "webhooks": (WebhookSettings, ""),
    "mcp": (McpSettings, ""),
    "users": (UserSettings, ""),
    "prices": (PriceSettings, ""),
}
"""Sections of which there are several, by name; and which one they inherit from."""

DEFAULT: Final = "default"
"""The agent of calls that no other is for; it may be written down as well."""

LONGEST_HINT: Final = 200
"""Characters of a list of all keys."""

OPTIONS: Final = {("provider", "kind"): "--provider"}
"""By section and key: options that have another name than the key."""

RESERVED: Final = {
    "providers.demo": "is the name of the built-in demo agent: take another",
}
"""By section: names that it may not have, and why."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
"""Of agents, users, and what else has a section of its own."""
_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,99}")


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, checked."""

    listen: ListenSettings = field(default_factory=ListenSettings)
    web: WebSettings = field(default_factory=WebSettings)
    provider: ProviderSettings = field(default_factory=ProviderSettings)
    agent: AgentSettings = field(default_factory=AgentSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    records: RecordSettings = field(default_factory=RecordSettings)
    mail: MailSettings = field(default_factory=MailSettings)
    ami: AmiSettings = field(default_factory=AmiSettings)
    log: LogSettings = field(default_factory=LogSettings)
    agents: Mapping[str, AgentSettings] = field(
        default_factory=lambda: {DEFAULT: AgentSettings()}
    )
    """Each with what it inherits; always with L{DEFAULT}."""
    providers: Mapping[str, ProviderSettings] = field(
        default_factory=lambda: {"": ProviderSettings()}
    )
    """Each with what it inherits; that of C{[provider]} has no name."""
    targets: Mapping[str, TargetSettings] = field(default_factory=dict)
    gates: Mapping[str, GateSettings] = field(default_factory=dict)
    webhooks: Mapping[str, WebhookSettings] = field(default_factory=dict)
    mcp: Mapping[str, McpSettings] = field(default_factory=dict)
    users: Mapping[str, UserSettings] = field(default_factory=dict)
    prices: Mapping[str, PriceSettings] = field(default_factory=lambda: dict(SHIPPED))
    secrets: Secrets = field(default=Secrets(), repr=False)
    origins: Mapping[tuple[str, str], str] = field(
        default_factory=dict, repr=False, compare=False
    )
    """By section and key: where the value was set; not there: it is the default. The
    empty key is the section's own."""

    def kind_of(self, provider: str) -> str:
        """
        @param provider: Its name; empty: that of C{[provider]}.
        @return: Which module it is; C{demo} is the built-in demo agent.
        """
        if provider == "demo":
            return provider
        keyed = bool(provider or self.secrets.api_keys.get(""))
        return self.providers[provider].kind or ("openai" if keyed else "demo")


def load(
    path: str = "",
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Config:
    """
    @param path: TOML file; empty: none.
    @param environ: The environment.
    @param options: By section and key, what the command line says.
    @raise ConfigError: Something is wrong; all of it, a line each.
    """
    reader = _Reader(path, environ or {}, options or {})
    config = reader.config()
    crosscheck.check(config, reader.wrong)
    reader.wrong.check()
    return config


def check_keys(config: Config) -> None:
    """
    @raise ConfigError: Secrets are missing that are needed; a line each.
    """
    wrong = Wrong(config.origins)
    crosscheck.check_keys(config, wrong)
    wrong.check()


class _Reader:
    """Reads one file, going on after whatever is wrong."""

    def __init__(
        self,
        path: str,
        environ: Mapping[str, str],
        options: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.origins: dict[tuple[str, str], str] = {}
        self.wrong = Wrong(self.origins)
        self._path = path
        self._folder = Path(path).absolute().parent
        self._environ = environ
        self._options = options
        self._document, self._lines = toml_lines.read(path) if path else ({}, {})

    def config(self) -> Config:
        for name, content in self._document.items():
            if name not in SECTIONS and name not in FAMILIES:
                self._unknown_section(name, content)
        values = {
            name: self._values(kind, name, self._document.get(name, {}))
            for name, kind in SECTIONS.items()
        }
        self._instructions("agent", values["agent"])
        single = {name: kind(**values[name]) for name, kind in SECTIONS.items()}
        agents = self._family("agents", values["agent"])
        if DEFAULT not in agents:
            self._inherit("agent", f"agents.{DEFAULT}")
            agents = {DEFAULT: single["agent"], **agents}
        providers = self._family("providers", values["provider"])
        with_key_file = {
            name
            for name in providers
            if "api_key_file" in self._document["providers"][name]
        }
        webhooks, mcp = self._family("webhooks", {}), self._family("mcp", {})
        token_files = {
            f"{family}.{name}": settings.token_file
            for family, found in (("webhooks", webhooks), ("mcp", mcp))
            for name, settings in found.items()
        }
        secrets = Secrets.read(
            self._environ, single, providers, with_key_file, token_files, self.wrong
        )
        return Config(
            **single,
            agents=agents,
            providers={"": single["provider"], **providers},
            targets=self._family("targets", {}),
            gates=self._family("gates", {}),
            webhooks=webhooks,
            mcp=mcp,
            users=self._family("users", {}),
            prices={**SHIPPED, **self._family("prices", {})},
            secrets=secrets,
            origins=self.origins,
        )

    def _family(self, family: str, base: Mapping[str, Any]) -> dict[str, Any]:
        """@param base: What the section they inherit from says."""
        kind, parent = FAMILIES[family]
        found: dict[str, Any] = {}
        given = self._document.get(family, {})
        if not isinstance(given, dict):
            self._say((family,), f"{family} must be sections: [{family}.NAME]")
            return {}
        for name, content in given.items():
            section, path = f"{family}.{name}", (family, name)
            fits = _MODEL if family == "prices" else NAME
            if not isinstance(content, dict):
                home = f", or stand in [{parent}]" if name in table(kind) else ""
                place = f"a section [{family}.NAME]{home if parent else ''}"
                self._say(path, f"[{family}] {shown(name)} must be {place}")
            elif not fits.fullmatch(name):
                signs = "- _ . : / @" if family == "prices" else "- _ ."
                said = f"is no name: that is short, of plain letters, digits, {signs}"
                self._say(path, f"[{family}] {shown(name)} {said}")
            elif section in RESERVED:
                self._say(path, f"[{section}] {RESERVED[section]}")
            else:
                if parent:
                    self._inherit(parent, section)
                inherited = dict(base)
                if family == "prices" and name in SHIPPED:
                    shipped = SHIPPED[name]
                    inherited = {key: getattr(shipped, key) for key in table(kind)}
                own = self._values(kind, section, content)
                if family == "agents":
                    self._instructions(section, own)
                found[name] = kind(**{**inherited, **own})
        return found

    def _inherit(self, parent: str, section: str) -> None:
        """What a section does not say was set where it was set for its parent."""
        for key in table(SECTIONS[parent]):
            if (parent, key) in self.origins:
                self.origins[section, key] = self.origins[parent, key]

    def _values(self, kind: type, section: str, given: Any) -> dict[str, Any]:
        """@return: What is set of one section, without what is wrong."""
        path = tuple(section.split(".", 1))
        if path in self._lines:
            self.origins[section, ""] = self._place(path)
        if not isinstance(given, dict):
            self._say(path, f"{section} must be a section: [{section}]")
            given = {}
        settings = table(kind)
        for key, value in given.items():
            if key not in settings:
                self._unknown_key(path, key, value, settings)
        values: dict[str, Any] = {}
        for key, about in settings.items():
            env = "" if "." in section else self._environ.get(about.env, "").strip()
            options = self._options.get(section, {})
            if key in options:
                place = OPTIONS.get((section, key), f"--{key}")
                said = options[key]
            elif about.env and env:
                place, said = about.env, from_text(env, about.kind)
            elif key in given:
                place, said = self._place((*path, key)), given[key]
            else:
                continue
            value = fitting(said, about.kind, about.number_too)
            self.origins[section, key] = place
            if about.named_only and "." not in section:
                remedy = f"belongs into a section [{section}s.NAME]"
                self.wrong.refuse(section, key, remedy)
                continue
            problem = about.problem(value)
            if problem:
                unshown = about.secret or (isinstance(said, str) and "\n" in said)
                known = "" if unshown else f"{shown(said)} "
                self.wrong.refuse(section, key, known + problem)
            elif key.endswith("_file") and value and place.startswith(f"{self._path}:"):
                values[key] = str(self._folder / value)
            else:
                values[key] = value
        return values

    def _instructions(self, section: str, values: dict[str, Any]) -> None:
        """Instructions come from the one or the other; the other is then empty."""
        name = values.get("instructions_file", "")
        if "instructions" in values and name:
            said = "stands beside instructions: keep one of them"
            self.wrong.refuse(section, "instructions_file", said)
        elif "instructions" in values:
            values["instructions_file"] = ""
            place = self.origins[section, "instructions"]
            self.origins[section, "instructions_file"] = place
        elif name:
            place = self.origins[section, "instructions_file"]
            self.origins[section, "instructions"] = place
            try:
                text = textfile.read(name).removeprefix("\ufeff").strip()
                problem = table(AgentSettings)["instructions"].problem(text)
            except ConfigError as error:
                text, problem = "", str(error)
            if problem or not text:
                said = f"{shown(name)} {problem or 'is empty'}"
                self.wrong.refuse(section, "instructions_file", said)
            else:
                values["instructions"] = text

    def _unknown_section(self, name: str, content: Any) -> None:
        homes = _homes(name)
        if homes and not isinstance(content, dict):
            what = "a variable, here" if name.isupper() else "outside of its section,"
            self._say((name,), f"{shown(name)} is {what} {homes}")
        else:
            hint = nearest(name, [*SECTIONS, *FAMILIES])
            self._say((name,), f"unknown section {shown(name)}", hint)

    def _unknown_key(
        self, path: toml_lines.Path, key: str, value: Any, known: Mapping[str, Any]
    ) -> None:
        hint = nearest(key, known)
        if path[0] in INHERITED.values() and isinstance(value, dict):
            hint = f"; a section of one {path[0]} is [{path[0]}s.NAME]"
        elif _homes(key):
            hint = f"; it belongs into {_homes(key)}"
        elif len(hint) > LONGEST_HINT:
            hint = "; portero default-config prints all there are"
        said = f"[{'.'.join(path)}] unknown key {shown(key)}"
        self._say((*path, key), said, hint)

    def _say(self, path: toml_lines.Path, message: str, hint: str = "") -> None:
        self.wrong.say(self._place(path), message, hint)

    def _place(self, path: toml_lines.Path) -> str:
        return f"{self._path}:{self._lines[path]}"


def _homes(name: str) -> str:
    """@return: In words: where a key, or the variable of one, belongs."""
    homes = []
    for section, kind in SECTIONS.items():
        settings = table(kind)
        homes += [f"[{section}]"] if name in settings else []
        homes += [
            f"[{section}] {key}"
            for key, about in settings.items()
            if name == about.env and name
        ]
    homes += [
        f"[{family}.NAME]"
        for family, (kind, parent) in FAMILIES.items()
        if name in table(kind) and not parent
    ]
    homes += [f"[{section}] {key}" for section, key in filter(None, [FILES.get(name)])]
    return " or ".join(homes)

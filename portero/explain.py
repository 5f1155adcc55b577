"""
C{portero explain}: what an agent has and where each value came from; and which agent
answers a call, and why.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Final
from zoneinfo import ZoneInfo

from twisted.python import usage

from portero import envfile, hours, templates
from portero.config import DEFAULT, Config, load
from portero.errors import ConfigError
from portero.facts import Facts
from portero.reference import toml
from portero.roster import UnknownAgent, choose, render
from portero.sections import AgentSettings, ProviderSettings
from portero.settings import nearest

CONFIG: Final = "/etc/portero/portero.toml"
WIDTH: Final = 80
NAMES: Final = 24
"""Columns of the names of settings."""
VALUES: Final = 29
TEXTS: Final = ("instructions", "greeting", "farewell")
"""Shown as they are said, after the others."""


class Options(usage.Options):
    """What C{portero explain} takes."""

    synopsis = "Usage: portero explain [AGENT] [options]"
    longdesc = (
        "Shows what an agent has: each value and, at its right, where it was set; "
        "nothing stands there when it is the default. Without AGENT: which agents "
        "there are, and which one answers the call that --did and --caller describe."
    )
    optParameters: ClassVar[list[list[Any]]] = [
        ["config", "c", None, f"Configuration file ({CONFIG}, if it is there)."],
        ["env", None, None, "Take the environment from this file, not this shell."],
        ["did", None, "", "The number that was called."],
        ["caller", None, "", "The caller's number."],
    ]
    compData: ClassVar[Any] = usage.Completions(
        optActions={
            "config": usage.CompleteFiles("*.toml"),
            "env": usage.CompleteFiles(),
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self.agent = ""
        self.variables: dict[str, str] = {}

    def opt_var(self, assignment: str) -> None:
        """NAME=VALUE, as the dialplan passes it (caller_name too); may be repeated."""
        name, equals, value = assignment.partition("=")
        if not equals or not name.isidentifier():
            raise usage.UsageError(f"--var {assignment}: it looks like NAME=VALUE")
        self.variables[name] = value

    def parseArgs(self, *given: str) -> None:
        """The agent may stand before options, between them or after them."""
        if not given:
            return
        if self.agent:
            raise usage.UsageError(f"one agent at a time: {self.agent} or {given[0]}?")
        self.agent = given[0]
        self.parseOptions(list(given[1:]))

    def facts(self) -> Facts:
        """@raise ValueError: There are too many; says so."""
        form = dict(self.variables)
        for option, name in (("did", "called_number"), ("caller", "caller_number")):
            if self[option]:
                form[name] = self[option]
        return Facts.of_form(form)


def run(arguments: Sequence[str]) -> int:
    """@return: The exit status."""
    options = Options()
    try:
        options.parseOptions(list(arguments))
    except usage.UsageError as error:
        print(f"{options.synopsis}\n{error}", file=sys.stderr)
        return 1
    path = options["config"] or (CONFIG if Path(CONFIG).exists() else "")
    try:
        environ = environment(options["env"])
        config = load(path, environ)
        if options.agent and options.agent not in config.agents:
            hint = nearest(options.agent, config.agents)
            raise ConfigError(f"there is no agent {options.agent}{hint}")
        explanation = Explanation(config, path, environ, options.facts())
        text = "\n".join(explanation.lines(options.agent))
    except (ConfigError, UnknownAgent, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(text)
    return 0


def environment(file: str | None) -> Mapping[str, str]:
    """
    @param file: In the form of systemd's C{EnvironmentFile}; none: this shell's own.
    @raise ConfigError: It cannot be read.
    """
    if file is None:
        return os.environ
    return envfile.read(file)


class Explanation:
    """Of one configuration and, as far as it is known, one call."""

    def __init__(
        self, config: Config, path: str, environ: Mapping[str, str], facts: Facts
    ) -> None:
        """
        @param path: Of the file; empty: there is none.
        @param environ: With which the configuration was loaded.
        """
        self._config = config
        self._path = path
        self._environ = environ
        self._facts = facts

    def lines(self, agent: str = "", now: datetime | None = None) -> Iterator[str]:
        """
        @param agent: Empty: of all of them, which answers.
        @param now: What the texts take for the time of the call.
        @raise UnknownAgent: The call asks for an agent that is not there.
        """
        yield f"Configuration: {self._path or 'no file, so all is the default'}"
        if not agent:
            yield from self._overview()
        if self._facts.called_number or self._facts.caller_number or self._facts.agent:
            yield from self._choice(agent)
        if agent:
            now = now or datetime.now().astimezone()
            yield from self._titled("At the right: where it was set, if it was.")
            settings = self._config.agents[agent]
            yield from self._section(f"agents.{agent}", settings)
            yield from self._provider(settings)
            yield from self._targets(agent, settings, now)
            yield from self._tools(settings)
            yield from self._prices(settings)
            yield from self._words(settings, now)

    # Which agent

    def _overview(self) -> Iterator[str]:
        yield from self._titled("Agents")
        for name, settings in self._config.agents.items():
            told = [
                f"{what} {', '.join(numbers)}"
                for what, numbers in (
                    ("called", settings.called),
                    ("callers", settings.callers),
                )
                if numbers
            ]
            said = "; ".join(told) or "only when the dialplan names it"
            yield from _row(name, "what no other answers" if name == DEFAULT else said)

    def _choice(self, wanted: str) -> Iterator[str]:
        """@param wanted: The agent that is explained; empty: none."""
        found = choose(self._config.agents, self._facts)
        facts = self._facts
        call = f"A call to {facts.called_number or 'a number unknown'}"
        call += f" from {facts.caller_number or 'a caller unknown'}"
        said = f"{call} is answered by {found}: {self._why(found)}."
        if wanted and found != wanted:
            said += f" It reaches {wanted} only if the dialplan names {wanted}."
        yield ""
        yield from textwrap.wrap(said, WIDTH)

    def _why(self, agent: str) -> str:
        if self._facts.agent:
            return "the dialplan names it"
        reasons = []
        for key in ("callers", "called"):
            fitting = [
                number
                for number in getattr(self._config.agents[agent], key)
                if self._fits(key, number)
            ]
            if fitting:
                place = self._place(f"agents.{agent}", key)
                reasons.append(f"its {key} has {' and '.join(fitting)} ({place})")
        return ", and ".join(reasons) or "no other agent has these numbers"

    def _fits(self, key: str, number: str) -> bool:
        numbers: dict[str, Any] = {key: (number,)}
        alone = AgentSettings(**numbers)
        return choose({"alone": alone}, self._facts) == "alone"

    # Sections

    def _section(self, section: str, settings: Any) -> Iterator[str]:
        yield from self._titled(f"[{section}]")
        for item in fields(settings):
            value, place = getattr(settings, item.name), self._place(section, item.name)
            if item.name in TEXTS and value:
                yield from _row(item.name, "(see below)", place)
            else:
                yield from _row(item.name, toml(value), place)

    def _provider(self, agent: AgentSettings) -> Iterator[str]:
        if agent.provider == "demo":
            yield from self._titled("The built-in demo agent")
            return
        section = f"providers.{agent.provider}" if agent.provider else "provider"
        settings = self._config.providers[agent.provider]
        yield from self._section(section, settings)
        key = self._config.secrets.api_keys.get(agent.provider, "")
        whence = self._whence(section, settings)
        yield from _row("(its key)", f"set (from {whence})" if key else "not set")
        if not settings.kind:
            yield from _row("(in effect)", self._config.kind_of(agent.provider))

    def _whence(self, section: str, settings: ProviderSettings) -> str:
        """Where the key came from, in the order of L{portero.keys}."""
        file, places = settings.api_key_file, self._config.origins
        common = places.get(("provider", "api_key_file"))
        if places.get((section, "api_key_file")) == common:
            if self._environ.get("OPENAI_API_KEY", "").strip():
                return "OPENAI_API_KEY"
            file = file or "the systemd credential openai_api_key"
        return file

    def _targets(self, name: str, agent: AgentSettings, now: datetime) -> Iterator[str]:
        targets = self._config.targets
        found: Sequence[str] = ()
        if "transfer" in agent.tools:
            found = agent.transfer_to or tuple(targets)
        ways = [(f"(key {key})", each, "menu") for key, each in agent.menu.items()]
        if "leave_voicemail" in agent.tools:
            ways.append(("(to leave a message)", agent.voicemail, "voicemail"))
        if agent.fallback:
            ways.append(("(when a call fails)", agent.fallback, "fallback"))
        if found or ways:
            yield from self._titled("Where it may send callers")
        zone = ZoneInfo(agent.time_zone) if agent.time_zone else None
        local = now.astimezone(zone)
        for each in found:
            place = self._place(f"targets.{each}", "to")
            yield from _row(each, targets[each].to, place)
            yield from _row("", targets[each].description)
            yield from self._hours(each, local)
        for said, each, key in ways:
            yield from _row(said, each, self._place(f"agents.{name}", key))
            yield from _row("", targets[each].to)
            if key != "fallback":  # somebody human, whatever the hour
                yield from self._hours(each, local)

    def _hours(self, target: str, now: datetime) -> Iterator[str]:
        text = self._config.targets[target].hours
        if text:
            state = "open" if hours.parse(text).open_at(now) else "closed"
            place = self._place(f"targets.{target}", "hours")
            yield from _row("", f"{text} ({state} now)", place)

    def _tools(self, agent: AgentSettings) -> Iterator[str]:
        """What its tools reach. Files are named, and nothing that is in them."""
        config = self._config
        if "open_gate" in agent.tools:
            for name in agent.gates or config.gates:
                yield from self._section(f"gates.{name}", config.gates[name])
        for name in agent.tools:
            if name in config.webhooks:
                yield from self._section(f"webhooks.{name}", config.webhooks[name])
        for name in agent.mcp:
            yield from self._section(f"mcp.{name}", config.mcp[name])

    def _prices(self, agent: AgentSettings) -> Iterator[str]:
        if agent.provider == "demo":
            return
        for model in filter(None, (agent.model, agent.transcription_model)):
            price = self._config.prices.get(model)
            if price:
                yield from self._section(f"prices.{json.dumps(model)}", price)
            else:
                yield from self._titled(f"{model} has no price: it is not counted")

    # What is said

    def _words(self, settings: AgentSettings, now: datetime) -> Iterator[str]:
        words = render(settings, self._facts, now)
        for name in TEXTS:
            text = getattr(words, name)
            if text:
                yield from self._titled(f"The {name}, for this call")
                for line in text.splitlines():
                    yield from (f"  {part}" for part in textwrap.wrap(line, 78) or [""])
        known = {*templates.BUILT_IN, *settings.variables}
        unknown = sorted(self._facts.variables.keys() - known)
        if unknown:
            yield ""
            yield f"Not used, as it is not in variables: {', '.join(unknown)}"

    def _titled(self, title: str) -> Iterator[str]:
        yield ""
        yield title

    def _place(self, section: str, key: str) -> str:
        """Where it was set; empty when it is the default."""
        place = self._config.origins.get((section.replace('"', ""), key), "")
        if self._path and place.startswith(self._path):
            return Path(self._path).name + place.removeprefix(self._path)
        return place


def _row(name: str, value: str, place: str = "") -> Iterator[str]:
    """A name, a value and, unless it is the default, where that was set."""
    wrapped = textwrap.wrap(
        value, VALUES, break_long_words=False, break_on_hyphens=False
    ) or [""]
    for line in wrapped:
        if name or value:
            yield f"  {name:{NAMES}}{line:{VALUES}}  {place}".rstrip()
        name = place = ""

"""The voice services: can they be reached and trusted, and do they take our agents?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

from twisted.internet.defer import (
    Deferred,
    DeferredSemaphore,
    TimeoutError,
    gatherResults,
)
from zope.interface import implementer

from portero.config import Config
from portero.doctor import probe
from portero.doctor.aside import aside
from portero.doctor.report import Finding, fail, ok, warn
from portero.facts import Facts
from portero.interfaces import IConversationEvents, Loss
from portero.roster import Roster

AT_ONCE: Final = 8
"""Handshakes under way."""
CALLER_RATE: Final = 8000
READY_WITHIN: Final = 8.0
"""Seconds; or less, as C{[limits] connect_within}."""
SOON: Final = 14
"""Days in which a certificate expires."""
OFF: Final = 30.0
"""Seconds between two clocks: more is a failure."""


def services(config: Config) -> dict[str, list[str]]:
    """@return: By provider: the agents that it speaks for. The demo agent is none."""
    found: dict[str, list[str]] = {}
    for name, agent in config.agents.items():
        if config.kind_of(agent.provider) != "demo":
            found.setdefault(agent.provider, []).append(name)
    return found


def demo(config: Config) -> Iterator[Finding]:
    """Whether the demo agent answers because there is no key."""
    chosen = config.provider.kind == "demo"
    whose = [name for name, agent in config.agents.items() if not agent.provider]
    if config.kind_of("") == "demo" and whose and not chosen:
        yield warn(
            "service",
            f"there is no key here, so the built-in demo agent answers for "
            f"{', '.join(whose)}",
            "set OPENAI_API_KEY; if portero has one, give it here too: --env FILE, or "
            "as root, who may read credentials",
        )
    elif not services(config):
        yield ok("service", "the built-in demo agent answers, which needs none")


async def examine(
    reactor: Any, config: Config, roster: Roster, provider: str, agents: Sequence[str]
) -> list[Finding]:
    """
    Of one service.

    @param provider: Its name; empty: that of C{[provider]}.
    @param agents: That it speaks for.
    """
    settings = config.providers[provider]
    found: list[Finding] = []
    if ":" not in settings.kind:  # what a site's own one does with the address is its
        parts = urlsplit(settings.url)
        host, tls = parts.hostname or "", parts.scheme == "wss"
        port = parts.port or (443 if tls else 80)
        path = parts.path or "/"
        try:
            seen = await aside(
                reactor,
                lambda: probe.look(host, port, path, tls, settings.ca_file),
            )
        except probe.Unreachable as error:
            return [_unreachable(host, port, str(error))]
        found += judge(host, port, seen, bool(settings.ca_file))
        if seen.flaws:
            return found
    problems = await try_agents(reactor, config, roster, agents)
    where = settings.kind if not found else urlsplit(settings.url).hostname or ""
    return [*found, *_handshakes(where, agents, problems)]


def _unreachable(host: str, port: int, why: str) -> Finding:
    return fail(
        "service",
        f"{host}:{port} cannot be reached: {why}",
        "the network from here to the service: DNS (/etc/resolv.conf), routes, a "
        "firewall; or url in [provider] is misspelt",
    )


def judge(host: str, port: int, seen: probe.Seen, own: bool) -> Iterator[Finding]:
    """@param own: C{ca_file} is set."""
    far = f"TCP {seen.connect_ms:.0f} ms"
    if seen.expires is not None:
        far += f", TLS {seen.tls_ms:.0f} ms"
    if seen.lookup_ms >= 1:
        far = f"name {seen.lookup_ms:.0f} ms, {far}"
    yield ok("service", f"{host}:{port} is reached: {far}")
    if seen.expires is not None:
        yield _certificate(host, seen, own)
    if seen.ahead is not None:
        yield _clock(host, seen.ahead)


def _certificate(host: str, seen: probe.Seen, own: bool) -> Finding:
    assert seen.expires is not None
    until = seen.expires.strftime("%Y-%m-%d")
    if seen.flaws:
        said = f"that of {host} is {' and '.join(seen.flaws)}"
        return fail("certificate", said, _remedy(seen.flaws, own))
    whose = "" if seen.holder == host else f", when {seen.holder} expires"
    said = f"that of {host} is trusted, until {until}{whose}"
    if (seen.expires - datetime.now(UTC)).days < SOON:
        return warn("certificate", said, "its service has to renew it before that")
    return ok("certificate", said)


def _remedy(flaws: Sequence[str], own: bool) -> str:
    if probe.EXPIRED in flaws or probe.TOO_EARLY in flaws:
        return (
            "is the date of this machine right (date)? Then its service has to renew it"
        )
    if probe.OTHER_NAME in flaws and len(flaws) == 1:
        return "in [provider] url, name the host as its certificate does"
    if own:
        return "ca_file in [provider] is not of the authority that signed it"
    if not probe.has_authorities():
        return "this machine trusts no authority at all: apt install ca-certificates"
    return (
        "for a private service set ca_file in [provider]; else something on the way "
        "reads along, such as a firewall: have it let this host through"
    )


def _clock(host: str, ahead: float) -> Finding:
    if abs(ahead) <= OFF:
        return ok("clock", f"within {OFF:.0f} s of that of {host}")
    return fail(
        "clock",
        f"this machine is {abs(ahead):.0f} s {'behind' if ahead > 0 else 'ahead of'} "
        f"{host}: what expires seems to do so early or late, and records have wrong "
        "times",
        "timedatectl set-ntp true (Debian: apt install systemd-timesyncd, or chrony)",
    )


# A session of each agent, without a word


@implementer(IConversationEvents)
class _Session:
    """Waits until the service has taken an agent, or has not."""

    def __init__(self) -> None:
        self.over: Deferred[str] = Deferred()
        """Fires with what is wrong, or nothing."""

    def ready(self) -> None:
        self._end("")

    def lost(self, loss: Loss) -> None:
        self._end(loss.reason)

    def _end(self, problem: str) -> None:
        if not self.over.called:
            self.over.callback(problem)

    def agent_audio(self, item: str, pcm: bytes) -> None: ...

    def agent_done(self, item: str) -> None: ...

    def reply_ended(self, item_count: int, problem: str, written: str = "") -> None: ...

    def caller_started(self, item: str = "") -> None: ...

    def caller_stopped(self) -> None: ...

    def caller_idle(self) -> None: ...

    def caller_words(self, text: str, item: str) -> None: ...

    def agent_words(self, text: str, item: str) -> None: ...

    def transcript(self, role: str, text: str, item: str) -> None: ...

    def tool_called(self, id: str, name: str, arguments: Mapping[str, Any]) -> None: ...

    def usage(self, counts: Mapping[str, int]) -> None: ...


async def try_agents(
    reactor: Any, config: Config, roster: Roster, agents: Sequence[str]
) -> dict[str, float | str]:
    """
    Open a session for each, as a call would, and close it. No reply is asked for, so
    it costs nothing.

    @return: By agent: ms until the service was ready, or what is wrong.
    """
    turns = DeferredSemaphore(AT_ONCE)

    def begin(agent: str) -> Deferred[float | str]:
        return Deferred.fromCoroutine(_try_agent(reactor, config, roster, agent))

    found = await gatherResults([turns.run(begin, agent) for agent in agents])
    return dict(zip(agents, found, strict=True))


async def _try_agent(
    reactor: Any, config: Config, roster: Roster, agent: str
) -> float | str:
    assigned = roster.assign(agent, str(uuid4()), Facts())
    session, began = _Session(), reactor.seconds()
    # Other servers are nobody's business here.
    brief = replace(assigned.brief, mcp=())
    conversation = assigned.provider.converse(brief, session)
    conversation.begin(CALLER_RATE, config.listen.downlink_rate)
    within = min(config.limits.connect_within, READY_WITHIN)
    try:
        problem = await session.over.addTimeout(within, reactor)
    except TimeoutError:
        told = assigned.provider.report().last_error
        problem = told or f"it is not ready within {within:.0f} s"
    finally:
        conversation.close()
    return problem or float((reactor.seconds() - began) * 1000)


def _handshakes(
    where: str, agents: Sequence[str], found: Mapping[str, float | str]
) -> Iterator[Finding]:
    """One for all that work, and one for each thing that is wrong."""
    times = [value for value in found.values() if isinstance(value, float)]
    by_problem: dict[str, list[str]] = {}
    for agent in agents:
        value = found[agent]
        if isinstance(value, str):
            by_problem.setdefault(value, []).append(agent)
    if times:
        ready = [agent for agent in agents if isinstance(found[agent], float)]
        yield ok(
            "handshake",
            f"{where} takes {', '.join(ready)}: ready after {max(times):.0f} ms",
        )
    for problem, whose in by_problem.items():
        yield fail(
            "handshake",
            f"{where} does not take {', '.join(whose)}: {problem}",
            f"portero explain {whose[0]} shows its settings, and where its key is from",
        )

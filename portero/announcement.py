"""What portero says at the start, in plain words: what runs, and what to do next."""

from __future__ import annotations

import gc
import os
import re
import stat
from collections.abc import Callable, Mapping
from typing import Final

from twisted.application.service import Service
from twisted.logger import Logger

from portero.config import DEFAULT, Config
from portero.endpoints import endpoint_string, exposed

DEMO: Final = "the built-in demo agent"
NO_NVX: Final = (
    "Autobahn runs without its compiled part (NVX), which costs several times the CPU: "
    "install a binary wheel of autobahn, and unset AUTOBAHN_USE_NVX"
)
SHORT_QUEUE: Final = 1500
"""Frames, which are half a minute."""


class Announcement(Service):
    """Speaks when the service starts."""

    log = Logger(namespace="portero")

    def __init__(
        self,
        config: Config,
        who: Mapping[str, str],
        verify: Callable[[], None] = lambda: None,
    ) -> None:
        """
        @param who: By agent: who answers, in words.
        @param verify: Tries what can only be tried, and logs what it finds.
        """
        self._config = config
        self._who = who
        self._verify = verify

    def startService(self) -> None:
        super().startService()
        # What was loaded stays: looking through it again for garbage takes 20 ms, a
        # whole frame of every call.
        gc.collect()
        gc.freeze()
        for line in announcement(self._config, self._who):
            self.log.info("{line}", line=line)
        for line in warnings(self._config):
            self.log.warn("{line}", line=line)
        self._verify()


def announcement(config: Config, who: Mapping[str, str]) -> list[str]:
    """
    @param who: By agent: who answers, in words.
    @return: The lines that an administrator reads at the start.
    """
    listen = config.listen
    host = f"[{listen.interface}]" if ":" in listen.interface else listen.interface
    where = dial = f"{host}:{listen.port}"
    if listen.interface in ("0.0.0.0", "::"):
        dial = f"ADDRESS:{listen.port}"
    if not listen.port.isdigit():
        where, dial = listen.port, "ADDRESS:PORT"
    lines = [f"Calls are answered by {who[DEFAULT]}."]
    for name, agent in config.agents.items():
        if name == DEFAULT:
            continue
        numbers = [f"to {number}" for number in agent.called]
        numbers += [f"from {number}" for number in agent.callers]
        which = ", ".join(numbers) or "that name it"
        lines.append(f"Agent {name}: {who[name]}, for calls {which}.")
    listening = f"portero is listening for AudioSocket on {where}."
    if listen.require_registration:
        lines += [
            f"{listening} It takes only calls that the dialplan announces,",
            f"as conf/extensions_portero.conf does; PORTERO is {dial} there.",
        ]
    else:
        lines += [
            f"{listening} For Asterisk's dialplan:",
            "    exten => 100,1,Answer()",
            f"     same => n,TryExec(AudioSocket(${{UUID()}},{dial}))",
        ]
        if "ADDRESS" in dial:
            lines.append("with the address by which Asterisk reaches this machine.")
        lines.append(
            "conf/extensions_portero.conf explains each line and has a fallback."
        )
    if listen.web:
        lines.append(f"See the calls in a browser: {_page(listen.web)}")
    if who[DEFAULT] == DEMO:
        call = "HOST:PORT" if "ADDRESS" in dial else where
        call = "" if call == "127.0.0.1:8089" else f" {call}"
        lines.append(f"Hear it without a telephone: portero call{call}")
        lines.append(
            "For a real agent take --provider demo away."
            if config.secrets.api_keys.get("")
            else "For a real agent set OPENAI_API_KEY in the environment and start "
            "again."
        )
    return lines


def _page(web: str) -> str:
    """@return: What to type into a browser, as far as an endpoint tells it."""
    if web.isdigit():
        return f"http://127.0.0.1:{web}/"
    found = re.match(r"(tcp6?|ssl):(\d+)", web)
    if not found:
        return web
    return f"{'https' if found[1] == 'ssl' else 'http'}://ADDRESS:{found[2]}/"


def warnings(config: Config) -> list[str]:
    """@return: What is not as it should be, though calls work."""
    from autobahn.websocket import USES_NVX

    found = []
    if not USES_NVX:
        found.append(NO_NVX)
    if 0 < config.listen.queue_frames < SHORT_QUEUE:
        found.append(
            f"[listen] queue_frames: {config.listen.queue_frames} frames are "
            f"{config.listen.queue_frames / 50:g} s, and the service sends a reply "
            "faster than it is spoken: one that is longer is cut short"
        )
    web = config.listen.web
    plain = not web.startswith("ssl:")
    if web and plain and exposed(endpoint_string(web)):
        found.append(
            "[listen] web: other machines reach it without encryption, so passwords, "
            "tokens and callers' words can be read on the way; docs/access.rst has how "
            "to take TLS, or a proxy"
        )
    files = [provider.api_key_file for provider in config.providers.values()]
    files += [config.listen.web_token_file, config.ami.secret_file]
    files += [config.records.password_file, config.records.webhook_secret_file]
    files += [settings.token_file for settings in config.webhooks.values()]
    files += [settings.token_file for settings in config.mcp.values()]
    files += [gate.password_file for gate in config.gates.values()]
    files += [config.mail.password_file]
    files += re.findall(r"^ssl:.*:privateKey=([^:]*)", web)
    found += [
        f"{path} is open to every user of this machine: chmod 600 it"
        for path in dict.fromkeys(filter(None, files))
        if os.path.isfile(path) and os.stat(path).st_mode & stat.S_IRWXO
    ]
    return found

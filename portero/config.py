"""
One file into frozen dataclasses: an option wins over the environment, that over the
file, that over the default. Every wrong value is named with its place and the remedy,
all in one go.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from portero.errors import ConfigError

T = TypeVar("T")

OPENAI_URL: Final = "wss://api.openai.com/v1/realtime"

SHOWN: Final = 80
"""Characters of a wrong value that a message repeats."""

INSTRUCTIONS: Final = (
    "You answer the telephone. You are friendly and to the point: one or two short "
    "sentences at a time, no lists, nothing that cannot be spoken. Answer in the "
    "language the caller speaks. If you did not understand, ask. When the caller says "
    "goodbye, say goodbye too and hang up."
)


def setting(
    default: Any,
    *,
    env: str = "",
    least: float | None = None,
    most: float | None = None,
    choices: tuple[Any, ...] = (),
    check: Callable[[Any], str] | None = None,
    number_too: bool = False,
) -> Any:
    """
    A field of a section.

    @param env: Environment variable that wins over the file.
    @param check: Says what is wrong with a value, or nothing.
    @param number_too: A text that may be written as a bare number in the file.
    """
    return field(
        default=default,
        metadata={
            "env": env,
            "least": least,
            "most": most,
            "choices": choices,
            "check": check,
            "number_too": number_too,
        },
    )


def is_loopback(host: str) -> bool:
    """Names other than C{localhost} may point anywhere, so they are not."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("ws", "wss") or not host:
        return "is no WebSocket address; it looks like " + OPENAI_URL
    if parts.fragment:
        return "may not have a part after #"
    if parts.scheme == "ws" and not is_loopback(host):
        return "goes to another machine, so it must begin with wss://"
    return ""


def _check_interface(interface: str) -> str:
    try:
        ip_address(interface)
    except ValueError:
        if interface != "localhost":
            return "is no IP address of this machine; all of them: 0.0.0.0"
    return ""


def _check_networks(networks: tuple[str, ...]) -> str:
    for network in networks:
        try:
            ip_network(network)
        except ValueError as error:
            return f"{error}; it looks like 192.168.1.0/24"
    return ""


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """C{[listen]}: where calls come in."""

    port: str = setting("8089", number_too=True)
    """A TCP port, or a Twisted endpoint string."""
    interface: str = setting("127.0.0.1", check=_check_interface)
    allow: tuple[str, ...] = setting((), check=_check_networks)
    """Networks whose machines may connect; needed beyond loopback."""
    downlink_rate: int = setting(8000, choices=(8000, 24000))
    """Of the frames sent to Asterisk, in Hz."""
    max_calls: int = setting(100, least=1, most=10000)
    web: str = setting("", number_too=True)
    """Port or endpoint string of the status resource; empty: none."""


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """C{[provider]}: the voice service."""

    name: str = setting("")
    """Empty: C{openai} with a key, C{demo} without."""
    url: str = setting(OPENAI_URL, env="OPENAI_REALTIME_URL", check=_check_url)
    model: str = setting("gpt-realtime-2.1", env="OPENAI_REALTIME_MODEL")
    api_key_file: str = setting("")
    ca_file: str = setting("", env="PORTERO_CA_FILE")
    audio_format: str = setting(
        "auto", env="PORTERO_AUDIO_FORMAT", choices=("auto", "pcm", "pcmu", "pcma")
    )
    upload_ms: int = setting(40, env="PORTERO_UPLOAD_MS", least=20, most=100)
    voice: str = setting("marin", env="DEFAULT_VOICE")
    vad_threshold: float = setting(0.5, env="VAD_THRESHOLD", least=0, most=1)
    vad_silence_ms: int = setting(
        500, env="VAD_SILENCE_DURATION_MS", least=100, most=10000
    )
    vad_prefix_ms: int = setting(300, env="VAD_PREFIX_PADDING_MS", least=0, most=5000)
    interrupt_response: bool = setting(True)
    transcription_model: str = setting("gpt-transcribe")
    noise_reduction: str = setting("", choices=("", "near_field", "far_field"))


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """C{[agent]}: who answers, and how."""

    instructions: str = setting(INSTRUCTIONS)
    greeting: str = setting("")
    language: str = setting("en", choices=("en", "es"))
    tools: tuple[str, ...] = setting(("hangup",))


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """C{[limits]}: in seconds."""

    connect_within: float = setting(8.0, least=1, most=60)
    reply_within: float = setting(8.0, least=1, most=60)
    goodbye_within: float = setting(20.0, least=1, most=120)
    silence: float = setting(60.0, least=10, most=3600)
    longest_call: float = setting(3600.0, least=10, most=86400)
    stop_within: float = setting(10.0, least=0, most=3600)


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, checked."""

    listen: ListenSettings = ListenSettings()
    provider: ProviderSettings = ProviderSettings()
    agent: AgentSettings = AgentSettings()
    limits: LimitSettings = LimitSettings()
    api_key: str = field(default="", repr=False)


SECTIONS: Final[dict[str, type]] = {
    "listen": ListenSettings,
    "provider": ProviderSettings,
    "agent": AgentSettings,
    "limits": LimitSettings,
}


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
    environ = environ or {}
    wrong: list[str] = []
    document = _read(path) if path else {}
    wrong.extend(
        f"{path}: {_unknown('section', name, SECTIONS)}"
        for name in document
        if name not in SECTIONS
    )
    sections: dict[str, Any] = {}
    for name, kind in SECTIONS.items():
        table = document.get(name, {})
        if not isinstance(table, dict):
            wrong.append(f"{path}: {name} must be a section: [{name}]")
            table = {}
        given = (options or {}).get(name, {})
        sections[name] = _section(kind, name, path, table, environ, given, wrong)
    key = _key(environ, path, sections["provider"].api_key_file, wrong)
    if wrong:
        raise ConfigError("\n".join(wrong))
    return Config(**sections, api_key=key)


def _key(environ: Mapping[str, str], path: str, key_file: str, wrong: list[str]) -> str:
    """The voice service's key. What is said about it never quotes it."""
    place, key = "OPENAI_API_KEY", environ.get("OPENAI_API_KEY", "").strip()
    if not key and key_file:
        place = f"{path}, [provider] api_key_file {key_file}"
        try:
            key = Path(key_file).read_text("utf-8").strip()
        except OSError as error:
            wrong.append(f"{place}: {error.strerror}")
            return ""
        except UnicodeDecodeError:
            wrong.append(f"{place}: is not text")
            return ""
        if not key:
            wrong.append(f"{place}: is empty")
    # It goes into a header, so a line break in it would begin another.
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        wrong.append(f"{place}: a key is one word of plain letters and digits")
    return key


def _read(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    except RecursionError:
        raise ConfigError(f"{path}: is nested too deep") from None
    except ValueError as error:  # TOMLDecodeError; and a number of 4,301 digits
        raise ConfigError(f"{path}: {error}") from None


def _section(
    kind: type[T],
    section: str,
    path: str,
    table: Mapping[str, Any],
    environ: Mapping[str, str],
    options: Mapping[str, Any],
    wrong: list[str],
) -> T:
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]  # a dataclass
    wrong.extend(
        f"{path}, [{section}]: {_unknown('key', name, known)}"
        for name in table
        if name not in known
    )
    values: dict[str, Any] = {}
    for name, item in known.items():
        env = item.metadata["env"]
        if name in options:
            place, value = f"--{name.replace('_', '-')}", options[name]
        elif env and environ.get(env, "").strip():
            place, value = env, _from_text(environ[env].strip(), str(item.type))
        elif name in table:
            place, value = f"{path}, [{section}] {name}", table[name]
        else:
            continue
        fitting = _fit(value, str(item.type), item.metadata["number_too"])
        problem = _problem(fitting, str(item.type), item.metadata)
        if problem:
            wrong.append(f"{place}: {_shown(value)} {problem}")
        else:
            values[name] = fitting
    return kind(**values)


def _fit(value: Any, kind: str, number_too: bool) -> Any:
    """The value in the type of its setting, where nothing is lost by that."""
    if isinstance(value, list):
        return tuple(value)
    if type(value) is int and kind == "float" and abs(value) < 2**53:
        return float(value)
    if type(value) is int and number_too:
        return str(value)
    return value


def _shown(value: Any) -> str:
    """A value of somebody's, in a message of one line."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."


def _from_text(text: str, kind: str) -> Any:
    """What the text of an environment variable means; itself if it cannot be."""
    if kind == "bool":
        return {"true": True, "1": True, "false": False, "0": False}.get(
            text.lower(), text
        )
    try:
        return {"int": int, "float": float}.get(kind, str)(text)
    except ValueError:
        return text


_KINDS: Final[dict[str, tuple[type, str]]] = {
    "str": (str, "text in quotes"),
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "bool": (bool, "true or false"),
    "tuple[str, ...]": (tuple, "a list of texts"),
}


def _problem(value: Any, kind: str, limits: Mapping[str, Any]) -> str:
    wanted, words = _KINDS[kind]
    parts = value if isinstance(value, tuple) else ()
    fits = type(value) is wanted and all(isinstance(part, str) for part in parts)
    if not fits:
        return f"must be {words}"
    if limits["choices"] and value not in limits["choices"]:
        allowed = ", ".join(repr(choice) for choice in limits["choices"])
        return f"is not one of: {allowed}"
    least, most = limits["least"], limits["most"]
    if least is not None and not least <= value <= most:
        return f"must be from {least} to {most}"
    return limits["check"](value) if limits["check"] else ""


def _unknown(what: str, name: str, known: Mapping[str, Any]) -> str:
    near = get_close_matches(name.lower(), known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    return f"unknown {what} {_shown(name)}; {hint}"

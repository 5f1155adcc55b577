"""
Every setting there is, by section: its default, unit, range, and what it is for. The
reader of the configuration goes by these tables, and so does the printed reference.
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from portero import templates
from portero.mail import address as mailaddress
from portero.settings import setting, shown

OPENAI_URL: Final = "wss://api.openai.com/v1/realtime"

INSTRUCTIONS: Final = (
    "You answer the telephone. You are friendly and to the point: one or two short "
    "sentences at a time, no lists, nothing that cannot be spoken. Answer in the "
    "language the caller speaks. If you did not understand, ask. When the caller says "
    "goodbye, say goodbye too and hang up."
)

LONGEST_INSTRUCTIONS: Final = 200_000
"""Characters; more than any model reads."""


def is_loopback(host: str) -> bool:
    """Names other than C{localhost} may point anywhere, so they are not."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_url(url: str) -> str:
    problem = _check_word(url)
    if problem:
        return problem
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("ws", "wss") or not host:
        return "is no WebSocket address; it looks like " + OPENAI_URL
    if parts.fragment:
        return "may not have a part after #"
    if "@" in parts.netloc:
        return "may not have a user or password in it; a key stands in api_key_file"
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


def check_networks(networks: tuple[str, ...]) -> str:
    for network in networks:
        try:
            ip_network(network)
        except ValueError as error:
            return f"{error}; it looks like 192.168.1.0/24"
    return ""


def _check_zone(name: str) -> str:
    if not name:
        return ""
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return (
            "is no time zone of this machine (Debian: apt install tzdata); it looks "
            'like "Europe/Madrid"'
        )
    return ""


def _check_text(text: str) -> str:
    if len(text) > LONGEST_INSTRUCTIONS:
        return f"is longer than {LONGEST_INSTRUCTIONS} characters"
    try:
        templates.names(text)
    except ValueError as error:
        return str(error)
    return ""


_OWN_NAMES: Final = ("date", "time", "weekday", "company_name", "agent", "channel")


def _check_variables(variables: Mapping[str, str]) -> str:
    for name in variables:
        if not name.isidentifier() or name.startswith("_"):
            return f"has {name!r}, but a name is a letter, then letters and digits"
        if name in _OWN_NAMES:
            return f"has {name!r}, which portero itself knows"
    return ""


_NUMBER: Final = re.compile(r"[+*#0-9A-Za-z._-]+\*?")


def _check_numbers(numbers: tuple[str, ...]) -> str:
    for number in numbers:
        if not _NUMBER.fullmatch(number.replace(" ", "")):
            return (
                f"has {number!r}, which is no number; it looks like "
                '"+34911234567", or "+34*" for all that begin so'
            )
    return ""


_TARGET: Final = re.compile(r"[\w-]+,[\w*#+-]+,([1-9]\d{0,4}|[A-Za-z][\w-]*)", re.ASCII)


def _check_menu(menu: Mapping[str, str]) -> str:
    for key in menu:
        if len(key) != 1 or key not in "0123456789*#ABCD":
            return f"has {shown(key)}, which is no key; there are 0-9, *, # and A-D"
    return ""


def _check_code(keys: str) -> str:
    if not keys or re.fullmatch(r"\*[0-9]{1,4}", keys, re.ASCII):
        return ""
    return 'must be * and 1 to 4 digits, for instance "*7"'


def check_target(target: str) -> str:
    if target and not _TARGET.fullmatch(target):
        return (
            "is no place in a dialplan; it is context,extension,priority, for "
            'instance "from-internal,100,1"'
        )
    return ""


def _check_word(word: str) -> str:
    fits = word.isascii() and word.isprintable() and " " not in word
    return "" if fits else "must be one word of plain letters and digits"


@dataclass(frozen=True, slots=True)
class ListenSettings:
    """Where calls come in, and their sound on the way to Asterisk."""

    port: str = setting(
        "8089",
        'TCP port for calls, or a Twisted endpoint: "unix:/run/portero.sock".',
        env="AUDIO_BRIDGE_PORT",
        number_too=True,
    )
    interface: str = setting(
        "127.0.0.1",
        "Address to listen on.",
        env="AUDIO_BRIDGE_HOST",
        check=_check_interface,
    )
    allow: tuple[str, ...] = setting(
        (),
        "Networks that may connect, needed beyond loopback: AudioSocket has no "
        "password.",
        check=check_networks,
        example=("192.168.1.10/32",),
    )
    require_registration: bool = setting(
        False,
        "Take only calls that the dialplan has announced (as the shipped one does): a "
        "UUID counts once, within 10 s. Needs web or agi.",
    )
    max_calls: int = setting(
        100, "A further one goes to the fallback at once.", least=1, most=10000
    )
    downlink_rate: int = setting(
        8000,
        "Hz sent to Asterisk: 24000 is wideband for G.722 callers, from Asterisk 20.17 "
        "/ 22.7 / 23.1 on; an older one ends the call. "
        "Dial(AudioSocket/.../c(slin16)) gets 24000 by itself.",
        choices=(8000, 24000),
    )
    prebuffer_frames: int = setting(
        0,
        "Frames of 20 ms that wait before a reply begins to sound; 0: as many as the "
        "service's own unevenness needs, which is measured.",
        env="PLAYBACK_PREBUFFER_FRAMES",
        least=0,
        most=50,
    )
    queue_frames: int = setting(
        30000,
        "Frames of 20 ms of a reply that may wait to be heard; when there are more the "
        "reply is stopped. 0: as many as by default.",
        env="OUTPUT_AUDIO_QUEUE_MAXSIZE",
        least=0,
        most=180000,
    )
    web: str = setting(
        "",
        "Port or endpoint of the page, the API and what the dialplan asks; empty: "
        "none. Beyond this machine it needs allow, and a user or a token: "
        "docs/access.rst.",
        number_too=True,
        example="8091",
    )
    agi: str = setting(
        "",
        "Port or endpoint for FastAGI: the same answers for an Asterisk without "
        "func_curl; empty: none.",
        number_too=True,
        example="4573",
    )
    web_token_file: str = setting(
        "",
        "A file that holds the token which whoever announces a call must know, mode "
        "0600. Or set PORTERO_WEB_TOKEN, or a systemd credential web_token.",
    )


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """The voice service."""

    kind: str = setting(
        "",
        '"openai", or "demo" for the built-in demo agent; empty: openai when there is '
        'a key. "package.module:Class" is a provider of your own.',
    )
    url: str = setting(
        OPENAI_URL,
        "Address of the service; ws:// only to this machine.",
        env="OPENAI_REALTIME_URL",
        check=_check_url,
    )
    api_key_file: str = setting(
        "",
        "A file that holds the key and nothing else, mode 0600. Or set OPENAI_API_KEY, "
        "or a systemd credential openai_api_key.",
    )
    ca_file: str = setting(
        "",
        "PEM file of the authorities to trust instead of the system's, for a private "
        "service.",
        env="PORTERO_CA_FILE",
    )
    audio_format: str = setting(
        "auto",
        "auto: G.711 mu-law for 8 kHz calls, else 24 kHz PCM.",
        env="PORTERO_AUDIO_FORMAT",
        choices=("auto", "pcm", "pcmu", "pcma"),
    )
    upload_ms: int = setting(
        40,
        "Caller audio in a message: more saves CPU, less hears the caller sooner.",
        env="PORTERO_UPLOAD_MS",
        unit="ms",
        least=20,
        most=100,
    )


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Who answers, and how."""

    called: tuple[str, ...] = setting(
        (),
        'Numbers called that this agent answers; "+34*" is all that begin so.',
        check=_check_numbers,
        example=("+34911234567", "100"),
        named_only=True,
    )
    callers: tuple[str, ...] = setting(
        (),
        "Callers that this agent answers. With called, both must fit. The agent that "
        "fits closest answers; callers count more than called.",
        check=_check_numbers,
        example=("+34600*",),
        named_only=True,
    )
    instructions: str = setting(
        INSTRUCTIONS,
        "Who the agent is and what it does. {caller_name} {caller_number} "
        "{called_number} {company_name} {date} {time} {weekday} and the names in "
        "variables stand for what is known; a brace of its own is doubled: {{ }}.",
        check=_check_text,
    )
    instructions_file: str = setting(
        "",
        "A text file instead, found from the folder of this file.",
        example="reception.txt",
    )
    greeting: str = setting(
        "",
        "Said word for word at the start, with the same names; empty: in the agent's "
        "own words.",
        check=_check_text,
        example="Good day, this is {company_name}. How can I help you?",
    )
    farewell: str = setting(
        "",
        "Said word for word at the end; empty: in the agent's own words.",
        check=_check_text,
    )
    greeting_file: str = setting(
        "",
        "A WAV file (any rate, up to 60 s) that is played at once as the greeting, "
        "while the service is still being reached; greeting then says what is in it, "
        "for the agent to know.",
        example="welcome.wav",
    )
    greeting_cache: bool = setting(
        False,
        "Keep the greeting as the service spoke it the first time, and play it at once "
        "from then on. Needs greeting, without {caller_name}, {caller_number}, {time}.",
    )
    greeting_protected: bool = setting(
        False,
        "The caller cannot interrupt the greeting; what they say is answered after it.",
    )
    company_name: str = setting("", "Stands for {company_name}.")
    variables: Mapping[str, str] = setting(
        {},
        "Names that the dialplan may pass, each with what stands there when it does "
        "not. Also what to say for caller_name, caller_number and called_number when "
        "they are withheld.",
        check=_check_variables,
        example={"flat": "unknown"},
    )
    language: str = setting(
        "en",
        "Of the spoken apology, of {date} and {weekday}, and of the demo agent.",
        choices=("en", "es"),
    )
    time_zone: str = setting(
        "",
        "Of {date}, {time} and {weekday}; empty: this machine's.",
        check=_check_zone,
        example="Europe/Madrid",
    )
    provider: str = setting(
        "",
        'A [providers.NAME], or "demo"; empty: [provider].',
    )
    model: str = setting(
        "gpt-realtime-2.1",
        'The voice model; cheaper: "gpt-realtime-2.1-mini".',
        env="OPENAI_REALTIME_MODEL",
    )
    voice: str = setting(
        "marin",
        "alloy ash ballad coral echo sage shimmer verse marin cedar, or voice_... of "
        "your own.",
        env="DEFAULT_VOICE",
    )
    speed: float = setting(
        1.0, "Of the agent's speech: 1 is as spoken.", least=0.25, most=1.5
    )
    turn_detection: str = setting(
        "server_vad",
        "What ends the caller's turn: server_vad: silence; semantic_vad: a finished "
        "thought; none: a key on the telephone.",
        choices=("server_vad", "semantic_vad", "none"),
    )
    vad_threshold: float = setting(
        0.5,
        "With server_vad: higher for noisy callers.",
        env="VAD_THRESHOLD",
        least=0,
        most=1,
    )
    vad_silence_ms: int = setting(
        500,
        "With server_vad: silence that ends the caller's turn.",
        env="VAD_SILENCE_DURATION_MS",
        unit="ms",
        least=100,
        most=10000,
    )
    vad_prefix_ms: int = setting(
        300,
        "With server_vad: sound kept from before speech was noticed.",
        env="VAD_PREFIX_PADDING_MS",
        unit="ms",
        least=0,
        most=5000,
    )
    idle_timeout_ms: int = setting(
        0,
        "With server_vad: the service itself speaks up after so much silence, 5000 to "
        "30000; 0: it does not (see silence, with which it is counted).",
        unit="ms",
        least=0,
        most=30000,
        check=lambda value: (
            "" if value == 0 or value >= 5000 else "must be 0, or 5000 to 30000"
        ),
    )
    eagerness: str = setting(
        "auto",
        "With semantic_vad: low waits longest (8 s), high least (2 s).",
        choices=("auto", "low", "medium", "high"),
    )
    interrupt_response: bool = setting(
        True,
        "false: portero cancels an interrupted reply, not the service. Only with "
        "interruption instant.",
    )
    interruption: str = setting(
        "instant",
        "When the caller speaks while the agent does: instant: the agent stops; "
        "polite: it pauses, and goes on where it was unless the caller speaks for "
        "barge_in_ms or says words; off: it speaks to its end.",
        choices=("instant", "polite", "off"),
    )
    barge_in_ms: int = setting(
        600,
        "With interruption polite: so much speech is more than a cough or a murmur.",
        unit="ms",
        least=50,
        most=3000,
    )
    noise_reduction: str = setting(
        "",
        "By the service: near_field for handsets, far_field for loudspeakers.",
        choices=("", "near_field", "far_field"),
    )
    noise_gate: int = setting(
        0,
        "Lowers by 12 dB what is not louder than the line's own noise; what is louder "
        "than this RMS amplitude always passes. 0: off, which is best for speech.",
        env="NOISE_GATE_THRESHOLD",
        least=0,
        most=32767,
    )
    transcription_model: str = setting(
        "gpt-transcribe",
        "Writes down the caller's words, for going on after a lost connection; empty: "
        "saves its price.",
    )
    transcription_languages: tuple[str, ...] = setting(
        (),
        "What callers speak, as two-letter codes; empty: found out.",
        example=("es", "en"),
    )
    transcription_keywords: tuple[str, ...] = setting(
        (), "Names and words that callers use.", example=("portero", "Calle Mayor")
    )
    reasoning_effort: str = setting(
        "",
        "Of gpt-realtime-2 models; more thinks longer before it speaks. Empty: the "
        "model's own.",
        choices=("", "minimal", "low", "medium", "high", "xhigh"),
    )
    max_output_tokens: int = setting(
        0, "Of one reply; 0: no limit.", unit="tokens", least=0, most=4096
    )
    truncation: str = setting(
        "auto",
        "What the model forgets when a call outgrows its context. retention_ratio "
        "forgets more at once, which is cheaper in long calls; with disabled such a "
        "call fails.",
        choices=("auto", "disabled", "retention_ratio"),
    )
    retention_ratio: float = setting(
        0.8, "With truncation retention_ratio: the part kept.", least=0, most=1
    )
    context_tokens: int = setting(
        0,
        "With truncation retention_ratio: at most so much is kept after the "
        "instructions; 0: as the model can.",
        unit="tokens",
        least=0,
        most=128000,
    )
    tools: tuple[str, ...] = setting(
        ("hangup",),
        "What the agent may do: hangup, transfer, cancel_transfer, leave_voicemail, "
        "send_dtmf, open_gate, send_email_summary, request_transcript, "
        "pause_recording, resume_recording, and any [webhooks.NAME].",
    )
    tool_within: float = setting(
        10.0, "The longest that a tool may take.", unit="s", least=1, most=120
    )
    filler: str = setting(
        "phrase",
        "What the caller hears while a tool takes long: phrase, a discreet sound, or "
        "none.",
        choices=("phrase", "sound", "none"),
    )
    filler_after: float = setting(
        2.0, "When it takes longer than that.", unit="s", least=0.2, most=60
    )
    transfer_to: tuple[str, ...] = setting(
        (),
        "With the tool transfer: which [targets.NAME]; empty: all of them.",
    )
    voicemail: str = setting(
        "", "With the tool leave_voicemail: the [targets.NAME] that records."
    )
    gates: tuple[str, ...] = setting(
        (), "With the tool open_gate: which [gates.NAME]; empty: all of them."
    )
    mail_to: str = setting(
        "",
        "With send_email_summary and request_transcript: the one address that mail "
        "goes to; empty: the caller says it, and confirms it.",
        check=mailaddress.problem,
        example="office@acme.example",
    )
    mcp: tuple[str, ...] = setting(
        (), "Which [mcp.NAME] the service may ask for this agent."
    )
    menu: Mapping[str, str] = setting(
        {},
        "Keys that lead to a [targets.NAME] at once and at any time, also when the "
        "service is down; not while that target is closed.",
        check=_check_menu,
        example={"0": "office"},
    )
    digits_pause: float = setting(
        2.0,
        "Keys pressed within such a time of each other are one group; # ends it too.",
        unit="s",
        least=0.2,
        most=30,
    )
    fallback: str = setting(
        "",
        "The [targets.NAME] that gets the caller when a call fails; empty: the "
        "dialplan's own fallback.",
    )
    keep_words: bool = setting(
        False,
        "Keep in the records what was said, and what tools were given and answered; "
        "else only that it was.",
    )
    record: bool = setting(
        False, "Keep the sound of each call in [records] recordings. Needs consent."
    )
    capture: bool = setting(
        False,
        "Keep all that comes and goes in each call, words and sound, in [records] "
        "captures, for portero replay. Needs consent.",
    )
    consent: str = setting(
        "",
        "With record or capture: how callers come to know: announced: they are told "
        "before; asked: they are asked before; agreement: it is agreed in writing.",
        choices=("", "announced", "asked", "agreement"),
    )
    pause_keys: str = setting(
        "",
        "Keys with which the caller pauses the recording, of sound and of words, for "
        "instance before the number of a card; empty: none.",
        check=_check_code,
        example="*7",
    )
    resume_keys: str = setting(
        "",
        "Keys with which it goes on; else it does when the agent (resume_recording) or "
        "an operator has it go on.",
        check=_check_code,
        example="*8",
    )
    max_calls: int = setting(
        0, "Of this agent at once; 0: only [listen] max_calls.", least=0, most=10000
    )
    silence: float = setting(
        60.0,
        "Nobody says anything: the agent asks whether the caller is there; after as "
        "long again once more, and after as long again the call ends with a goodbye.",
        unit="s",
        least=10,
        most=3600,
    )
    longest_call: float = setting(
        3600.0, "Then the agent says goodbye.", unit="s", least=10, most=86400
    )
    warn_before_end: float = setting(
        60.0,
        "So long before longest_call the agent tells the caller. 0: it does not.",
        unit="s",
        least=0,
        most=600,
    )
    most_per_call: float = setting(
        0.0,
        "Ceiling of a call's price; at 80% the agent is asked to wind up, at 100% "
        "portero says goodbye. 0: none.",
        unit="US dollars",
        least=0,
        most=10000,
    )
    most_per_day: float = setting(
        0.0,
        "Ceiling of what this agent spends in a day: at 80% the log warns, at 95% its "
        "calls are asked to wind up, at 100% they end and new ones go to the fallback. "
        "0: none.",
        unit="US dollars",
        least=0,
        most=1000000,
    )


@dataclass(frozen=True, slots=True)
class PriceSettings:
    """
    What a model costs, in US dollars: for a million tokens, or for a minute of audio.
    """

    text_in: float = setting(0.0, "Text in.", least=0, most=10000)
    text_cached: float = setting(0.0, "Text in that was cached.", least=0, most=10000)
    text_out: float = setting(0.0, "Text out.", least=0, most=10000)
    audio_in: float = setting(0.0, "Audio in.", least=0, most=10000)
    audio_cached: float = setting(0.0, "Audio in that was cached.", least=0, most=10000)
    audio_out: float = setting(0.0, "Audio out.", least=0, most=10000)
    minute: float = setting(
        0.0, "A minute of audio, of models billed so.", least=0, most=10000
    )
    as_of: str = setting("", "When these figures were looked up.", example="2026-11")


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Of the whole house."""

    connect_within: float = setting(
        8.0,
        "Then the caller hears an apology and goes to the fallback.",
        unit="s",
        least=1,
        most=60,
    )
    reply_within: float = setting(
        8.0,
        "The agent is asked once more after that, then comes an apology.",
        unit="s",
        least=1,
        most=60,
    )
    goodbye_within: float = setting(
        20.0,
        "The longest goodbye before the line drops.",
        unit="s",
        least=1,
        most=120,
    )
    stop_within: float = setting(
        10.0,
        "For calls under way when portero is stopped.",
        unit="s",
        least=0,
        most=3600,
    )
    most_per_day: float = setting(
        0.0,
        "Ceiling of what all agents together spend in a day. 0: none.",
        unit="US dollars",
        least=0,
        most=1000000,
    )
    spending_file: str = setting(
        "",
        "Where what was spent today is kept over a restart; empty: spending.json in "
        "the state folder that systemd gives, else nowhere.",
    )


@dataclass(frozen=True, slots=True)
class AmiSettings:
    """
    Asterisk's manager interface: only for an Asterisk before 20.14, 21.9, 22.4, which
    does not go on in the dialplan when portero hangs up. The secret travels as it is:
    use it on one machine, or in a network of your own.
    """

    host: str = setting("", "Where Asterisk is; empty: not used.", check=_check_word)
    port: int = setting(5038, "Its TCP port.", least=1, most=65535)
    user: str = setting("portero", "Of manager.conf.", check=_check_word)
    secret_file: str = setting(
        "",
        "A file that holds the user's secret, mode 0600. Or set PORTERO_AMI_SECRET, or "
        "a systemd credential ami_secret.",
    )
    fallback: str = setting(
        "",
        "context,extension,priority of who answers when a call fails.",
        check=check_target,
        example="from-internal,100,1",
    )

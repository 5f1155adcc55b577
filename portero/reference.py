"""
The printed reference of all settings, made from the tables that validate them.

C{python -m portero.reference}, in a checkout, writes C{conf/portero.toml} anew, and the
part of C{docs/configuration.rst} below its mark; a test compares both. C{portero
default-config} prints the former, for those who have no checkout.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from inspect import cleandoc
from pathlib import Path
from typing import Any, Final

from portero.config import FAMILIES, SECTIONS
from portero.prices import SHIPPED
from portero.settings import Setting, table
from portero.templates import FALLBACKS

WIDTH: Final = 88
COLUMN: Final = 33
"""Where the right one of two columns begins."""

CHAPTERS: Final = {
    "Calls from Asterisk": ("listen",),
    "Agents": ("agent", "agents"),
    "Where an agent may send callers": ("targets",),
    "What else it may do": ("gates", "webhooks", "mail", "mcp"),
    "Voice services": ("provider", "providers"),
    "Limits and prices": ("limits", "prices"),
    "What is kept of calls": ("records",),
    "The page and the API": ("web", "users"),
    "The log": ("log",),
    "Asterisk before 20.14": ("ami",),
}
"""All sections and families, in the order of the file."""

GROUPS: Final[Mapping[tuple[str, str], str]] = {
    ("listen", "downlink_rate"): "The sound",
    ("listen", "web"): "What the dialplan asks",
    ("agent", "instructions"): "What it says",
    ("agent", "provider"): "Its voice",
    ("agent", "turn_detection"): "When the caller has finished speaking",
    ("agent", "noise_reduction"): "What it hears",
    ("agent", "reasoning_effort"): "How it thinks, and what it remembers",
    ("agent", "interruption"): "When both speak",
    ("agent", "tools"): "What it may do",
    ("agent", "keep_words"): "What is kept of its calls",
    ("agent", "max_calls"): "Its limits",
}
"""By section and key: a heading that stands before it."""

FAMILY_TEXTS: Final = {
    "agents": "Each agent is a section [agents.NAME]. It has every key of [agent], and "
    "says only what is different with it; [agents.default] answers what no other does.",
    "targets": "Each is a section [targets.NAME].",
    "gates": "Each is a section [gates.NAME], for the tool open_gate.",
    "webhooks": "Each is a section [webhooks.NAME]; an agent whose tools have that "
    "NAME can use it.",
    "mcp": "Each is a section [mcp.NAME]; an agent whose mcp has that NAME can use it.",
    "providers": "Further services are sections [providers.NAME]; an agent takes one "
    'with provider = "NAME". They have every key of [provider], and say only what is '
    "different. The key of [provider] is not shown to another host: such a service has "
    "an api_key_file of its own.",
    "users": "Each is a section [users.NAME], which portero passwd NAME prints. As "
    "long as there is none, and no web token, this machine alone may do all.",
    "prices": "Each is a section [prices.MODEL]. What OpenAI's models cost is known; "
    "docs/configuration.rst has the figures. A section of yours wins.",
}

EXAMPLES: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    "agents": {
        "reception": {
            "called": ("+34911234567", "100"),
            "callers": (),
            "company_name": "Ferretería Ruiz",
            "greeting": "Good day, this is {company_name}. How can I help you?",
            "tools": ["hangup", "transfer"],
            "transfer_to": ["sales"],
            "most_per_call": 1.5,
        },
        "door": {
            "called": ["200"],
            "instructions": "You are the intercom of a front door. Somebody rings at "
            "flat {flat}. Ask who it is.",
            "variables": {"flat": "unknown"},
            "language": "es",
            "provider": "local",
            "voice": "cedar",
        },
    },
    "targets": {
        "sales": {
            "to": "from-internal,200,1",
            "description": "Sales, for new orders",
            "hours": "mon-fri 09:00-14:00 16:00-19:00; sat 10:00-13:00",
        },
    },
    "gates": {
        "street": {
            "description": "The gate to the street",
            "url": "http://192.168.1.20/relay/0?turn=on&timer=1",
            "pins_file": "pins.txt",
        },
    },
    "webhooks": {
        "order_status": {
            "description": "Look up how far an order is, by its number",
            "parameters": {"order": "The number of the order, six digits"},
            "method": "GET",
            "url": "https://shop.example/orders/{order}",
            "answer": "order.status",
        },
    },
    "mcp": {
        "crm": {
            "url": "https://crm.example/mcp",
            "description": "Customers and their orders",
            "tools": ("find_customer",),
        },
    },
    "providers": {
        "local": {
            "kind": "openai",
            "url": "ws://127.0.0.1:9000/v1/realtime",
            "audio_format": "pcm",
        },
    },
    "users": {
        "ana": {
            # What nobody's password makes, so that no harm is done by it.
            "password": "scrypt:15:8:3:beDgwmTDxvcSbXKmq8Akxg:"
            "VQn_uTDzdkI9O9p5m__AlJLrmIUIIeLn",
            "rights": ("read", "act", "listen"),
        },
    },
    "prices": {"gpt-realtime-2.1": asdict(SHIPPED["gpt-realtime-2.1"])},
}

MARK: Final = ".. Below this line all is written by: python -m portero.reference\n"

HEAD: Final = """\
# portero's configuration. As it is, it changes nothing: each line shows its default.
# To change one, take away the "# " before it; of a text in three quotation marks, that
# of each of its lines. Of [agents.NAME] and the like, the line in brackets as well.
#
# Check it:                     portero check-config /etc/portero/portero.toml
# What an agent has, and why:   portero explain AGENT
# Use it:                       twistd -n portero --config /etc/portero/portero.toml
# Take it over while running:   systemctl reload portero
#
# $NAME is the environment variable that wins over the line; an option of twistd wins
# over both. Keys and passwords never stand here, but in the environment or in a file.
# All of this with more words: docs/configuration.rst
"""


def default_config() -> str:
    """@return: The commented configuration file, which loads to the defaults."""
    lines = [HEAD]
    for title, sections in CHAPTERS.items():
        lines += ["", f"# ==== {title} ".ljust(WIDTH, "="), ""]
        for section in sections:
            lines += _section(section) if section in SECTIONS else _family(section)
            lines.append("")
    return "\n".join(lines).rstrip().replace("\n\n\n", "\n\n") + "\n"


def _section(section: str) -> Iterator[str]:
    kind = SECTIONS[section]
    yield f"[{section}]"
    yield from _prose(_about(kind))
    for name, setting in table(kind).items():
        heading = GROUPS.get((section, name))
        if heading:
            yield ""
            yield f"# ---- {heading} ".ljust(WIDTH, "-")
        if not setting.named_only:
            yield from _entry(setting, setting.default, told=True)


def _family(family: str) -> Iterator[str]:
    kind, parent = FAMILIES[family]
    yield from _prose(FAMILY_TEXTS[family])
    told: set[str] = set()
    for name, values in EXAMPLES[family].items():
        yield ""
        yield f"# [{family}.{name if name.isidentifier() else json.dumps(name)}]"
        if not parent:  # then its keys stand nowhere else
            keys = table(kind).items()
            values = {key: values.get(key, about.default) for key, about in keys}
        for key, value in values.items():
            setting = table(kind)[key]
            # What is told at the parent's keys need not be told again.
            new = (setting.named_only or not parent) and key not in told
            yield from _entry(setting, value, told=new)
            told.add(key)


def _prose(text: str) -> Iterator[str]:
    return (f"# {line}" for line in _wrapped(text, WIDTH - 2))


def _entry(setting: Setting, value: Any, *, told: bool) -> Iterator[str]:
    """A setting and, at its right, what it is."""
    left = f"# {setting.name} = {toml(value)}"
    notes = _notes(setting, value) if told else ""
    if len(left) > WIDTH:
        yield from _prose(notes)
        yield f'# {setting.name} = """'
        *begun, last = _wrapped(toml(value)[1:-1], WIDTH - 5)
        yield from (f"# {line} \\" for line in begun)
        yield f'# {last}"""'
        return
    if len(left) > COLUMN - 2 or not notes:
        yield left
        left = ""
    for note in _wrapped(notes, WIDTH - COLUMN - 2):
        yield f"{left:{COLUMN}}# {note}"
        left = ""


def _notes(setting: Setting, value: Any) -> str:
    parts = [f"{_range(setting)}." if _range(setting) else "", setting.doc]
    if setting.example not in (None, value):
        parts.append(f"For instance {toml(setting.example)}.")
    if setting.env:
        parts.append(f"${setting.env}")
    return " ".join(filter(None, parts))


def _range(setting: Setting) -> str:
    """The values that it may have, where the default does not show it."""
    if setting.choices:
        *most, last = map(toml, setting.choices)
        return f"{', '.join(most)} or {last}"
    if setting.least is None:
        return setting.unit
    return f"{setting.least} to {setting.most} {setting.unit}".rstrip()


def toml(value: Any) -> str:
    """@return: A value of a setting as it is written in the file."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(key)} = {toml(each)}" for key, each in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[\w-]+", name, re.ASCII) else json.dumps(name)


def _about(kind: type) -> str:
    return " ".join(cleandoc(kind.__doc__ or "").split())


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)


# The page of the documentation


def page() -> str:
    """@return: What follows L{MARK} in C{docs/configuration.rst}."""
    parts = [*_titled("All settings", "=")]
    for sections in CHAPTERS.values():
        for section in sections:
            if section in SECTIONS:
                parts += _reference(section, SECTIONS[section])
            else:
                parts += _reference_of_family(section)
    parts += _titled("Environment variables", "=")
    parts += _grid(("Variable", "Setting"), _variables())
    parts += _titled("What stands for a value that is not there", "=")
    rows = [
        (f"``{{{name}}}``", *(texts[name] for texts in FALLBACKS.values()))
        for name in FALLBACKS["en"]
    ]
    titles = ("Name", *(f'language = "{name}"' for name in FALLBACKS))
    parts += _grid(titles, rows)
    parts += _titled("Prices that are known", "=")
    parts += _wrapped(_rst(_about(FAMILIES["prices"][0])), WIDTH)
    parts.append("")
    names = list(table(FAMILIES["prices"][0]))
    rows = [
        (f"``{model}``", *(str(getattr(price, name)) for name in names))
        for model, price in SHIPPED.items()
    ]
    parts += _grid(("Model", *names), rows)
    return "\n".join(parts).rstrip() + "\n"


def _titled(title: str, line: str) -> list[str]:
    return ["", title, line * len(title), ""]


def _reference(section: str, kind: type) -> Iterator[str]:
    yield from _titled(f"[{section}]", "-")
    yield from _wrapped(_rst(_about(kind)), WIDTH)
    yield ""
    for setting in table(kind).values():
        heading = GROUPS.get((section, setting.name))
        if heading:
            yield from _titled(heading, "~")
        yield from _definition(setting)


def _reference_of_family(family: str) -> Iterator[str]:
    kind, parent = FAMILIES[family]
    if not parent:
        yield from _reference(f"{family}.NAME", kind)
        return
    yield from _titled(f"[{family}.NAME]", "-")
    yield from _wrapped(_rst(FAMILY_TEXTS[family]), WIDTH)
    yield ""


def _definition(setting: Setting) -> Iterator[str]:
    facts = [f"Default: ``{toml(setting.default)}``"]
    if _range(setting):
        facts.append(_rst(_range(setting)))
    if setting.example is not None:
        facts.append(f"for instance: ``{toml(setting.example)}``")
    if setting.env:
        facts.append(f"environment: ``{setting.env}``")
    if setting.named_only:
        facts.append("only in ``[agents.NAME]``")
    yield f"``{setting.name}``"
    for text in (_rst(setting.doc), "; ".join(facts) + "."):
        yield from (f"    {line}" for line in _wrapped(text, WIDTH - 4))
        yield ""


def _variables() -> list[tuple[str, str]]:
    return [
        (f"``{setting.env}``", f"``[{section}] {name}``")
        for section, kind in SECTIONS.items()
        for name, setting in table(kind).items()
        if setting.env
    ]


def _grid(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A table in reStructuredText's simple form."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    ruler = "  ".join("=" * width for width in widths)
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in (titles, *rows)]
    return [ruler, lines[0], ruler, *lines[1:], ruler, ""]


_CODE: Final = re.compile(
    r'("[^"]*"|\{+ ?\w* ?\}+|\[[\w.]+\]|\w+_(?:\w+|\.\.\.)(?:\.\w+)*|ws://|Dial\(\S*\))'
)


def _rst(text: str) -> str:
    """Names and values become code; and nothing else is markup."""
    parts = _CODE.split(text)
    parts[::2] = [re.sub(r"([\\*`|])", r"\\\1", part) for part in parts[::2]]
    parts[1::2] = [f"``{part}``" for part in parts[1::2]]
    return "".join(parts)


def write(checkout: Path) -> None:
    """Write both files anew; of the page what is above the mark stays."""
    (checkout / "conf" / "portero.toml").write_text(default_config(), "utf-8")
    file = checkout / "docs" / "configuration.rst"
    above, mark, _ = file.read_text("utf-8").partition(MARK)
    file.write_text(f"{above}{mark}{page()}", "utf-8")


if __name__ == "__main__":
    write(Path(__file__).resolve().parent.parent)

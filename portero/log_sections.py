"""Settings of the log: as L{portero.sections}."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from portero.settings import nearest, setting, shown

LEVELS: Final = ("debug", "info", "warn", "error", "critical")
"""The least important first."""

OWN: Final = ("portero.access", "portero.audit")
"""Namespaces that are no module: who was kept out, and who did what."""

NAMESPACE: Final = r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*"
LONGEST_NAMESPACE: Final = 100
_NAMESPACE: Final = re.compile(NAMESPACE)


@cache
def _modules() -> frozenset[str]:
    """@return: All of portero, as namespaces."""
    root = Path(__file__).parent
    files = (path.relative_to(root.parent) for path in root.rglob("*.py"))
    return frozenset(
        ".".join(file.with_suffix("").parts).removesuffix(".__init__") for file in files
    )


def namespace_problem(namespace: str) -> str:
    """@return: Why it is not the name of a part of the program; or nothing."""
    if len(namespace) > LONGEST_NAMESPACE or not _NAMESPACE.fullmatch(namespace):
        return "is no namespace; it looks like portero.providers"
    module, _, last = namespace.rpartition(".")
    module = module if last[0].isupper() else namespace  # without a class
    if namespace.startswith("portero.") and module not in {*_modules(), *OWN}:
        hint = nearest(module, sorted(_modules()))
        return f"is no part of portero{hint if '?' in hint else ''}"
    return ""


def _check_levels(levels: Mapping[str, str]) -> str:
    for namespace, level in levels.items():
        problem = namespace_problem(namespace)
        if problem:
            return f"has {shown(namespace)}, which {problem}"
        if level not in LEVELS:
            return f"has {shown(level)}; there are: {', '.join(LEVELS)}"
    return ""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """
    What is logged, and how; where to is twistd's business (--logfile, --syslog).
    docs/logs.rst has both forms, and how levels are changed while portero runs.
    """

    format: str = setting(
        "human",
        "human: a line to read; json: one JSON object a line, for programs.",
        env="PORTERO_LOG_FORMAT",
        choices=("human", "json"),
    )
    level: str = setting(
        "info",
        "What is less important than that is not logged.",
        env="PORTERO_LOG_LEVEL",
        choices=LEVELS,
    )
    levels: Mapping[str, str] = setting(
        {},
        "The same, of one part of the program, as the brackets in a line name it.",
        check=_check_levels,
        example={"portero.providers": "debug"},
    )

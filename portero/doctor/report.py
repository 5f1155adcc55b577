"""What the checks found, for people and for programs."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Final

WIDTH: Final = 88
NAMES: Final = 15
"""Columns of the names of checks."""

OK: Final = "ok"
SKIP: Final = "skip"
"""It could not be looked at, and why."""
WARN: Final = "warn"
"""Calls work, and something will go wrong one day, or is not as good as it could be."""
FAIL: Final = "fail"
"""Calls, or some of them, are not answered as they should be."""

NOTHING_FAILS: Final = 0
SOMETHING_FAILS: Final = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check says; often the only thing it says."""

    check: str
    level: str
    """L{OK}, L{SKIP}, L{WARN} or L{FAIL}."""
    said: str
    remedy: str = ""
    """What to do; empty only when nothing is to be done."""


def ok(check: str, said: str) -> Finding:
    return Finding(check, OK, said)


def skip(check: str, said: str, remedy: str = "") -> Finding:
    return Finding(check, SKIP, said, remedy)


def warn(check: str, said: str, remedy: str) -> Finding:
    return Finding(check, WARN, said, remedy)


def fail(check: str, said: str, remedy: str) -> Finding:
    return Finding(check, FAIL, said, remedy)


def lines(finding: Finding) -> list[str]:
    """@return: For a terminal: what was found, and below it what to do."""
    head = f"{finding.level:<5} {finding.check:<{NAMES}} "
    indent = " " * len(head)
    found = _wrapped(head + finding.said, indent)
    if finding.remedy:
        found += _wrapped(f"{indent}-> {finding.remedy}", indent + "   ")
    return found


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def summary(findings: Sequence[Finding]) -> str:
    """@return: One line: how it stands, and which checks to look at."""
    count = Counter(finding.level for finding in findings)
    if not count[FAIL] and not count[WARN]:
        return f"Nothing is wrong in {count[OK]} checks."
    parts = [
        f"{count[level]} {word}: {', '.join(_names(findings, level))}"
        for level, word in ((FAIL, "failed"), (WARN, "to look at"))
        if count[level]
    ]
    return "; ".join(parts)[:1].upper() + "; ".join(parts)[1:] + "."


def _names(findings: Iterable[Finding], level: str) -> Iterable[str]:
    return dict.fromkeys(each.check for each in findings if each.level == level)


def as_json(findings: Sequence[Finding]) -> str:
    """@return: The same for a program: C{status} is the worst that was found."""
    levels = {finding.level for finding in findings}
    worst = next((level for level in (FAIL, WARN) if level in levels), OK)
    found = [asdict(finding) for finding in findings]
    return json.dumps({"status": worst, "findings": found}, indent=1)


def exit_status(findings: Iterable[Finding]) -> int:
    """@return: Of the command."""
    failed = any(finding.level == FAIL for finding in findings)
    return SOMETHING_FAILS if failed else NOTHING_FAILS

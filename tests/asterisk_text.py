"""What Asterisk 22 printed, to be read again."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "asterisk22"

LINES = {
    "core show version": "version",
    "module show": "modules",
    "dialplan show": "dialplan",
    "dialplan show globals": "globals",
    "core show translation": "translation",
    "database get portero token": "no_entry",
    "dialplan show 712@lab": "place",
    "dialplan show 999@lab": "no_place",
}
"""Of its command line, each with the file of the answer."""


def text(name: str) -> str:
    return (FOLDER / f"{name}.txt").read_text()

"""C{portero passwd}: a user of the page or of the API, for the configuration."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from twisted.python import usage

from portero.config import NAME
from portero.reference import toml
from portero.web.passwords import LEAST, LONGEST, Kept, new_token, token_hash
from portero.web_sections import RIGHTS


class Options(usage.Options):
    """What C{portero passwd} takes."""

    synopsis = "Usage: portero passwd [--token] [NAME]"
    longdesc = (
        "Prints the section of a user (admin, unless a NAME is given) for the "
        "configuration file, where all may be changed but the hash. The password is "
        "asked for twice, or is one line of the standard input when that is no "
        "terminal; it is kept nowhere. Then: systemctl reload portero."
    )
    optFlags: ClassVar[list[list[Any]]] = [
        ["token", "t", "For a program: make a token and show it, once."],
    ]
    name = "admin"

    def parseArgs(self, *names: str) -> None:
        if len(names) > 1:
            raise usage.UsageError("one NAME, please")
        for name in names:
            if not NAME.fullmatch(name):
                raise usage.UsageError(
                    "a NAME is short, of plain letters, digits, - _ . and no password"
                )
            self.name = name


def run(arguments: Sequence[str]) -> int:
    """@return: The exit status."""
    options = Options()
    try:
        options.parseOptions(list(arguments))
    except usage.UsageError as error:
        print(f"{error}\n{options.synopsis}", file=sys.stderr)
        return 1
    if options["token"]:
        token = new_token()
        section(options.name, "token", token_hash(token), ("read",))
        print(f"The token, which is shown only this once: {token}", file=sys.stderr)
        return 0
    try:
        password = read()
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    except (EOFError, KeyboardInterrupt):
        print(file=sys.stderr)
        return 1
    section(options.name, "password", str(Kept.of(password)), RIGHTS)
    return 0


def section(name: str, key: str, kept: str, rights: tuple[str, ...]) -> None:
    """Print it, so that it can be appended to a file."""
    there = f"[users.{name}]" if "." not in name else f'[users."{name}"]'
    print(f"\n{there}\n{key} = {toml(kept)}\nrights = {toml(rights)}")


def read() -> str:
    """
    @return: A password, from the terminal or else from the standard input.
    @raise ValueError: It will not do; says why.
    """
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        _check(password)
        if getpass.getpass("Again: ") != password:
            raise ValueError("these were two different ones: try again")
        return password
    password = sys.stdin.readline().rstrip("\r\n")
    _check(password)
    return password


def _check(password: str) -> None:
    """@raise ValueError: It will not do; says why."""
    if len(password) < LEAST:
        raise ValueError(f"a password has at least {LEAST} characters: take some words")
    if len(password) > LONGEST:
        raise ValueError(f"a password has at most {LONGEST} characters")

"""Find a transport, provider or tool by the name of its module."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Final

from portero.errors import ConfigError

KINDS: Final = {"transports": "Transport", "providers": "Provider", "tools": "Tool"}


def names(kind: str) -> list[str]:
    """
    @param kind: A key of L{KINDS}.
    @return: The names that portero ships.
    """
    package = import_module(f"portero.{kind}")
    found = (module.name for module in pkgutil.iter_modules(package.__path__))
    return sorted(name for name in found if not name.startswith("_"))


def check(kind: str, name: str, also: Sequence[str] = ()) -> None:
    """
    Imports nothing, so a name of a site's own is taken on trust.

    @param also: Names that are right besides the modules.
    @raise ConfigError: portero ships none of that name.
    """
    known = sorted([*names(kind), *also])
    if ":" in name or name in known:
        return
    near = get_close_matches(name.lower(), known, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ConfigError(f"no {kind[:-1]} {name!r}; there are: {', '.join(known)}{hint}")


def find(kind: str, name: str) -> Any:
    """
    @param name: A module of C{portero.KIND}, or C{package.module:Class}, of a site's
        own.
    @return: The class.
    @raise ConfigError: There is none.
    """
    check(kind, name)
    module_name, _, attribute = name.partition(":")
    if not attribute:
        module_name, attribute = f"portero.{kind}.{name}", KINDS[kind]
    try:
        return getattr(import_module(module_name), attribute)
    except Exception as error:  # a site's own module may raise anything
        raise ConfigError(
            f"{kind[:-1]} {name!r} cannot be loaded: {type(error).__name__}: {error}"
        ) from error

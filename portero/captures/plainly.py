"""Values that cross our seams, as JSON has them, and back again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from portero.captures.entries import CaptureError

Made = TypeVar("Made")


def plain(value: Any) -> Any:
    """
    @param value: Of frozen dataclasses, named tuples, tuples, mappings, texts and
        numbers.
    """
    if is_dataclass(value):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value


def made(kind: type[Made], value: Any) -> Made:
    """
    The other way round. What a newer portero has besides is left out; what it has not
    yet has its default.

    @param kind: A dataclass.
    @raise CaptureError: C{value} is no such thing.
    """
    found: Made = _made(kind, value, kind.__name__)
    return found


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def _made(kind: Any, value: Any, where: str) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if is_dataclass(kind):
        if not isinstance(value, dict):
            raise CaptureError(f"{where} is broken")
        given = {}
        for item in fields(kind):
            inside = f"{where}.{item.name}"
            if item.name in value:
                hint = _hints(kind)[item.name]  # type: ignore[arg-type]  # a class
                given[item.name] = _made(hint, value[item.name], inside)
            elif item.default is MISSING and item.default_factory is MISSING:
                raise CaptureError(f"{inside} is missing")
        return kind(**given)  # type: ignore[operator]  # is_dataclass takes both
    if origin is tuple and isinstance(value, list):
        return tuple(_made(parts[0], part, where) for part in value)
    if origin is UnionType:
        rest = next(part for part in parts if part is not type(None))
        return None if value is None else _made(rest, value, where)
    if kind is float and type(value) is int:
        return float(value)
    if kind is Any or isinstance(value, dict if origin else kind):
        return value
    raise CaptureError(f"{where} is broken")

"""
Strict checks of decoded JSON.

A check takes a value and the path to it, and raises L{Refused} for the first thing
that is wrong, in the words and codes of the real service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

Check = Callable[[object, str], None]

DEEPEST = 64
"""Levels of free-form JSON, such as a function's parameters."""

ACCOUNT_CODES = (
    "insufficient_quota",
    "credit_balance_exhausted",
    "billing_hard_limit_reached",
    "invalid_api_key",
    "account_deactivated",
    "server_error",
    "rate_limit_exceeded",
)
"""Codes that are also their own C{error.type}."""


class Refused(Exception):
    """
    The service answers with an C{error} event.

    @ivar code: As in the event.
    @ivar message: For a person.
    @ivar param: The path to what was wrong, if it is one field.
    @ivar kind: The event's C{error.type}.
    """

    def __init__(
        self,
        code: str,
        message: str,
        param: str | None = None,
        kind: str = "invalid_request_error",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.kind = kind

    @classmethod
    def by_code(cls, code: str) -> Refused:
        """
        @return: A refusal of which nothing but the code is known.
        """
        kind = code if code in ACCOUNT_CODES else "invalid_request_error"
        return cls(code, f"Refused: {code}.", None, kind)


NAMES = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal number",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def _wrong_type(path: str, wanted: str, value: object) -> Refused:
    got = NAMES.get(type(value), "something else")
    return Refused(
        "invalid_type",
        f"Invalid type for '{path}': expected {wanted}, but got {got} instead.",
        path,
    )


def text(longest: int = 10_000_000, shortest: int = 0) -> Check:
    """
    @return: A check for a string with so many characters.
    """

    def check(value: object, path: str) -> None:
        if not isinstance(value, str):
            raise _wrong_type(path, "a string", value)
        if len(value) > longest:
            raise Refused(
                "string_above_max_length",
                f"Invalid '{path}': string too long. Expected a string with maximum "
                f"length {longest}, but got a string with length {len(value)} instead.",
                path,
            )
        if len(value) < shortest:
            raise Refused("empty_string", f"Invalid '{path}': empty string.", path)

    return check


def boolean(value: object, path: str) -> None:
    """Check for true or false."""
    if not isinstance(value, bool):
        raise _wrong_type(path, "a boolean", value)


def anything(value: object, path: str) -> None:
    """Check nothing."""


def shallow(value: object, path: str) -> None:
    """Check only that free-form JSON is not nested more than L{DEEPEST} levels."""
    level = [value]
    for _ in range(DEEPEST):
        inner: list[object] = []
        for element in level:
            if isinstance(element, dict):
                inner += element.values()
            elif isinstance(element, list):
                inner += element
        if not inner:
            return
        level = inner
    raise Refused("invalid_value", f"Invalid '{path}': nested too deeply.", path)


def number(low: float, high: float, whole: bool = False) -> Check:
    """
    @return: A check for a number within these limits.
    """
    sort = "integer" if whole else "decimal"

    def check(value: object, path: str) -> None:
        kinds: tuple[type, ...] = (int,) if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise _wrong_type(path, NAMES[int if whole else float], value)
        assert isinstance(value, int | float)
        if not value <= high:  # also true for NaN
            raise Refused(
                f"{sort}_above_max_value",
                f"Invalid '{path}': {sort} above maximum value {high}.",
                path,
            )
        if value < low:
            raise Refused(
                f"{sort}_below_min_value",
                f"Invalid '{path}': {sort} below minimum value {low}.",
                path,
            )

    return check


def one_of(*values: str | int) -> Check:
    """
    @return: A check for one of these, no other type being equal to it.
    """
    listed = ", ".join(f"'{value}'" for value in values)

    def check(value: object, path: str) -> None:
        if type(value) in (str, int) and value in values:
            return
        shown = repr(value)[:60]
        raise Refused(
            "invalid_value",
            f"Invalid value: {shown}. Supported values are: {listed}.",
            path,
        )

    return check


def nullable(inner: Check) -> Check:
    """
    @return: A check that also lets null pass.
    """

    def check(value: object, path: str) -> None:
        if value is not None:
            inner(value, path)

    return check


def either(kind: type, inner: Check, other: Check) -> Check:
    """
    @return: C{inner} for values of this type, C{other} for the rest.
    """

    def check(value: object, path: str) -> None:
        (inner if isinstance(value, kind) else other)(value, path)

    return check


def array(inner: Check, longest: int = 10_000, shortest: int = 0) -> Check:
    """
    @return: A check for a list with so many elements that all pass.
    """

    def check(value: object, path: str) -> None:
        if not isinstance(value, list):
            raise _wrong_type(path, "an array", value)
        if not shortest <= len(value) <= longest:
            raise Refused(
                "invalid_value",
                f"Invalid '{path}': expected {shortest} to {longest} elements, "
                f"but got {len(value)}.",
                path,
            )
        for index, element in enumerate(value):
            inner(element, f"{path}[{index}]")

    return check


def mapping(inner: Check, most: int = 10_000, longest_key: int = 10_000) -> Check:
    """
    @return: A check for an object with free keys.
    """

    def check(value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise _wrong_type(path, "an object", value)
        if len(value) > most or any(len(key) > longest_key for key in value):
            raise Refused(
                "invalid_value", f"Invalid '{path}': too many or too long keys.", path
            )
        for key, element in value.items():
            inner(element, f"{path}.{key[:40]}")

    return check


def record(fields: Mapping[str, Check], required: Iterable[str] = ()) -> Check:
    """
    @return: A check for an object with these fields and no other.
    """
    needed = tuple(required)

    def check(value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise _wrong_type(path, "an object", value)
        prefix = f"{path}." if path else ""
        for name in needed:
            if name not in value:
                raise Refused(
                    "missing_required_parameter",
                    f"Missing required parameter: '{prefix}{name}'.",
                    prefix + name,
                )
        for name, element in value.items():
            if name not in fields:
                name = name[:60]
                raise Refused(
                    "unknown_parameter",
                    f"Unknown parameter: '{prefix}{name}'.",
                    prefix + name,
                )
            fields[name](element, prefix + name)

    return check


def tagged(variants: Mapping[str, Check], tag: str = "type") -> Check:
    """
    @return: A check for an object whose field C{tag} says which variant it is.
    """
    kinds = one_of(*variants)

    def check(value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise _wrong_type(path, "an object", value)
        where = f"{path}.{tag}" if path else tag
        if tag not in value:
            raise Refused(
                "missing_required_parameter",
                f"Missing required parameter: '{where}'.",
                where,
            )
        kinds(value[tag], where)
        variants[value[tag]](value, path)

    return check

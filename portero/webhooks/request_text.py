"""
The text of an HTTP request with places in it, C{{order}}, where words of strangers are
put: what the agent was told by a caller, and what the call brought with it. In each
place they can be nothing but a value: in an address a part of the path or the query,
in a header a word, in JSON a text or a number.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from portero.errors import PorteroError

LONGEST_URL: Final = 4000
LARGEST_BODY: Final = 65536
"""In bytes."""

OWN_HEADERS: Final = {
    "authorization": "stands in token_file",
    "host": "is that of the url",
    "user-agent": "is portero's own",
    "cookie": "is never sent",
    "accept-encoding": "is not sent: answers have to come as they are",
    **dict.fromkeys(
        ("connection", "content-length", "transfer-encoding", "te", "trailer"),
        "is portero's own",
    ),
    **dict.fromkeys(("upgrade", "expect", "keep-alive"), "is portero's own"),
}
"""Headers that cannot be set, in small letters, and why."""

_PLACE: Final = re.compile(r"\{([A-Za-z_]\w*)\}", re.ASCII)
_URL: Final = re.compile(r"(https?)://([^/?#]*)(.*)", re.DOTALL)
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST: Final = re.compile(
    rf"({_LABEL}(\.{_LABEL})*\.?|\[[0-9A-Fa-f:.]+\])(:[1-9]\d{{0,4}})?"
)
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""A header's name (RFC 9110, 5.6.2)."""
_NO_SEGMENT: Final = re.compile(r"[. ]*(;.*)?", re.DOTALL)
"""What servers take for this level of a path, or the one above."""


class Unfit(PorteroError):
    """A value cannot stand where it should; the message is for the agent."""


def names(text: str) -> set[str]:
    """@return: The names of the places in a text."""
    return set(_PLACE.findall(text))


def _words(name: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    raise Unfit(f"{name} must be a text or a number")


# Addresses


def url_problem(template: str) -> str:
    """@return: What is wrong with it, for an administrator; or nothing."""
    if not template.isascii() or not template.isprintable() or " " in template:
        return "has characters that no address has: write them encoded, a space as %20"
    found = _URL.fullmatch(template)
    if not found:
        return "is no address of a server; it looks like https://shop.example/orders"
    _, host, rest = found.groups()
    if "{" in host or "}" in host:
        return "may have {NAME} only after the host"
    if "@" in host:
        return "may not have a user or password in it; a token stands in token_file"
    if "#" in rest:
        return "may not have a part after #"
    if not _HOST.fullmatch(host):
        return "has no host that can be read"
    try:
        _ = urlsplit(f"https://{host}/").port
    except ValueError as error:
        return str(error)
    if set("{}") & set(_PLACE.sub("", rest)):
        return "has a brace that begins or ends no name; a name looks like {order}"
    return ""


def path_names(template: str) -> set[str]:
    """@return: The names of the places in an address that stand in its path."""
    return names(template.partition("?")[0])


def url(template: str, values: Mapping[str, Any]) -> str:
    """
    @param template: With no L{url_problem}.
    @param values: Of all L{names} of it.
    @raise Unfit: A value would be more than a part of the path, or it is too long.
    """
    before, mark, query = template.partition("?")
    scheme, _, rest = before.partition("://")
    host, *segments = rest.split("/")
    path = [_segment(segment, values) for segment in segments]
    query = _PLACE.sub(lambda place: _encoded(place[1], values), query)
    found = "/".join([f"{scheme}://{host}", *path]) + mark + query
    if len(found) > LONGEST_URL:
        raise Unfit("the parameters are too long")
    return found


def _encoded(name: str, values: Mapping[str, Any]) -> str:
    return quote(_words(name, values[name]), safe="", errors="replace")


def _segment(template: str, values: Mapping[str, Any]) -> str:
    """
    Encoding is not enough here: there are servers, and proxies before them, that decode
    a path before they look for / and .. in it.
    """
    inside = _PLACE.findall(template)
    for name in inside:
        value = _words(name, values[name])
        if not value:
            raise Unfit(f"{name} is missing")
        if any(_splits(text) for text in _readings(value)):
            raise Unfit(f"{name} may not have / or \\ in it, and no line breaks")
    plain = _PLACE.sub(lambda place: _words(place[1], values[place[1]]), template)
    if inside and any(_NO_SEGMENT.fullmatch(text) for text in _readings(plain)):
        raise Unfit(f"{inside[0]} may not be only dots")
    return _PLACE.sub(lambda place: _encoded(place[1], values), template)


def _splits(text: str) -> bool:
    return any(c in "/\\" or unicodedata.category(c)[0] == "C" for c in text)


def _readings(text: str) -> Iterator[str]:
    """What a server may take it for, that decodes or normalizes too much."""
    for _ in range(4):
        yield text
        read = unquote(unicodedata.normalize("NFKC", text))
        if read == text:
            return
        text = read


# Headers


def headers_problem(headers: Mapping[str, str]) -> str:
    """@return: What is wrong with them, for an administrator; or nothing."""
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            return f"has {name!r}, which is no header's name"
        if name.lower() in OWN_HEADERS:
            return f"has {name}, which {OWN_HEADERS[name.lower()]}"
        if not value.isascii() or not value.isprintable():
            return f"has {name} with characters that no header has"
    return ""


def header(template: str, values: Mapping[str, Any]) -> str:
    """@return: One line of ASCII; letters without their accents."""
    return _PLACE.sub(lambda p: _plain(_words(p[1], values[p[1]])), template).strip()


def _plain(text: str) -> str:
    letters = unicodedata.normalize("NFKD", text)
    return "".join(c for c in letters if c.isascii() and c.isprintable())


# Bodies


def body_problem(template: str) -> str:
    """@return: What is wrong with it, for an administrator; or nothing."""
    # A text is no number and a number is no key: what takes both is a value.
    for sample in ("x", 1, None):
        try:
            json.loads(_filled(template, dict.fromkeys(names(template), sample)))
        except (ValueError, RecursionError) as error:
            return f"is no JSON, with values in its places: {error}"
    return ""


def body(template: str, values: Mapping[str, Any]) -> bytes:
    """
    @param template: With no L{body_problem}.
    @param values: Of all L{names} of it.
    @raise Unfit: It is too long.
    """
    return _bounded(_filled(template, values))


def document(values: Mapping[str, Any]) -> bytes:
    """
    @return: All of it, as JSON.
    @raise Unfit: It is too long, or no JSON.
    """
    try:
        return _bounded(json.dumps(values))
    except (TypeError, ValueError, RecursionError):
        raise Unfit("the parameters are no JSON") from None


def _bounded(text: str) -> bytes:
    found = text.encode()
    if len(found) > LARGEST_BODY:
        raise Unfit("the parameters are too long")
    return found


def _filled(template: str, values: Mapping[str, Any]) -> str:
    """A place within quotes gets the text of its value, another one the value."""
    made, start, quoted = [], 0, False
    for place in _PLACE.finditer(template):
        literal, name = template[start : place.start()], place[1]
        start = place.end()
        quoted ^= re.findall(r'\\.|"', literal, re.DOTALL).count('"') % 2 == 1
        value = values[name]
        words = _words(name, value)
        made += [literal, json.dumps(words)[1:-1] if quoted else json.dumps(value)]
    return "".join([*made, template[start:]])

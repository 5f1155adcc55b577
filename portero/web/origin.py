"""
Where a request comes from: this machine or another, our own page or a foreign one.

A browser sends what any page tells it to, and with our cookie; but it says which page
that was (Fetch, 3.2; Fetch Metadata), and a page cannot make it say otherwise.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from twisted.web.server import Request

from portero.networks import THIS_MACHINE, lies_in

PROXY_FIELDS: Final = (
    *("forwarded", "via", "x-real-ip"),
    *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
)
"""What a reverse proxy adds."""
PORTS: Final = {"http": "80", "https": "443"}


def field(request: Request, name: str) -> str:
    """@return: The value of a header field, whatever its bytes; or nothing."""
    return (request.getHeader(name.encode()) or b"").decode("utf-8", "replace").strip()


def split_host(host: str) -> tuple[str, str]:
    """
    @param host: As in a C{Host} field.
    @return: The name or address in lower case, and the port or nothing.
    """
    name, colon, port = host.strip().lower().rpartition(":")
    if not (colon and port.isdigit() and (name.endswith("]") or ":" not in name)):
        name, port = host.strip().lower(), ""
    if name.startswith("[") and name.endswith("]"):
        name = name[1:-1]
    return name.removesuffix("."), port


def is_allowed(host: str, hosts: Collection[str] = ()) -> bool:
    """
    Whether a C{Host} field holds an IP address, C{localhost}, or one of our names.

    A page can point a name of its own at this machine (DNS rebinding), and a browser
    then takes our answers for the page's.

    @param hosts: Our names, in lower case.
    """
    name, _ = split_host(host)
    try:
        ip_address(name)
    except ValueError:
        return name == "localhost" or name in hosts
    return True


def is_forwarded(request: Request) -> bool:
    """
    Whether somebody else's request was passed on by a proxy, as far as one can see.

    nginx adds no field unless it is told to, but then speaks HTTP/1.0.
    """
    if request.clientproto == b"HTTP/1.0":
        return True
    return any(request.requestHeaders.hasHeader(name) for name in PROXY_FIELDS)


def peer(request: Request) -> str:
    """@return: The address that connected; empty: a local socket's."""
    return str(getattr(request.getClientAddress(), "host", "") or "")


def _is_here(host: str) -> bool:
    return not host or lies_in(host, THIS_MACHINE)


def is_local(request: Request) -> bool:
    """Whether it was asked on this machine, to this machine by its own name."""
    if not _is_here(peer(request)) or is_forwarded(request):
        return False
    name, _ = split_host(field(request, "host"))
    try:
        return name in ("", "localhost") or lies_in(name, THIS_MACHINE)
    except ValueError:
        return False


def source(request: Request) -> str:
    """
    @return: The address to blame: the one that connected, or that for which a proxy on
        this machine says it asks. An IPv6 one is its network, as a house has 2**64.
    """
    host = peer(request)
    if _is_here(host):
        # The last one is what the proxy itself saw; others the visitor may have sent.
        named = field(request, "x-forwarded-for").rpartition(",")[2].strip()
        try:
            # After a % there may be anything, and it would be in the log.
            host = str(ip_address(named.partition("%")[0]))
        except ValueError:
            host = host or "a local socket"
    return host


def is_foreign(request: Request) -> bool:
    """Whether a page that is not ours had the browser ask this."""
    site = field(request, "sec-fetch-site")
    # To follow a link from elsewhere is no harm.
    followed = field(request, "sec-fetch-mode") == "navigate"
    if site not in ("", "same-origin", "none") and not followed:
        return True
    if not request.requestHeaders.hasHeader("origin"):
        return False
    if request.method in (b"GET", b"HEAD") and not is_upgrade(request):
        return False
    return not is_own_origin(request)


def is_own_origin(request: Request) -> bool:
    """Whether C{Origin} is the very site that was asked: scheme, name and port."""
    origins = request.requestHeaders.getRawHeaders(b"origin", [])
    hosts = request.requestHeaders.getRawHeaders(b"host", [])
    if len(origins) != 1 or len(hosts) != 1:
        return False
    scheme, separator, place = origins[0].decode("latin-1").lower().partition("://")
    if not separator or scheme not in PORTS:
        return False
    if request.isSecure():
        schemes = ["https"]
    else:
        # Whether the proxy was asked with TLS, only the browser knows for certain.
        schemes = ["http", "https"] if is_forwarded(request) else ["http"]
    name, port = split_host(place)
    asked, at = split_host(hosts[0].decode("latin-1"))
    usual = PORTS[scheme]
    return scheme in schemes and (name, port or usual) == (asked, at or usual)


def is_upgrade(request: Request) -> bool:
    """Whether this will be a WebSocket."""
    return request.requestHeaders.hasHeader("upgrade")


def is_encrypted(request: Request) -> bool:
    """Whether the browser asked with TLS, of us or of a proxy before us."""
    told = urlsplit(field(request, "origin")).scheme == "https"
    return request.isSecure() or (told and is_own_origin(request))

"""Where to listen: a port alone, or a Twisted endpoint string."""

from __future__ import annotations

import re

from twisted.internet.endpoints import quoteStringArgument, serverFromString

from portero.sections import is_loopback


def endpoint_string(port: str, interface: str = "127.0.0.1") -> str:
    """
    @param port: A port number, or already an endpoint string.
    @raise ValueError: It is neither; says what it should be.
    """
    if re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) <= 65535:
        kind = "tcp6" if ":" in interface else "tcp"
        return f"{kind}:{port}:interface={quoteStringArgument(interface)}:backlog=512"
    if ":" not in port:
        raise ValueError(
            "is neither a port, 1 to 65535, nor a Twisted endpoint such as "
            "unix:/run/portero.sock"
        )
    try:
        serverFromString(None, port)
    except Exception as error:  # anything, as endpoints may come from plugins
        if port.startswith("systemd:") and isinstance(error, LookupError):
            raise ValueError("systemd handed over no such socket") from None
        raise ValueError(f"is no Twisted endpoint: {error}") from None
    return port


def exposed(endpoint: str) -> bool:
    """Whether other machines may reach it: all but Unix sockets and loopback."""
    words = endpoint.replace("\\:", ";").split(":")
    if words[0] == "haproxy":
        words = words[1:]
    if words[0] == "unix" or (words[0] == "systemd" and "domain=UNIX" in words):
        return False
    interfaces = [
        value.replace(";", ":")
        for name, _, value in (word.partition("=") for word in words)
        if name == "interface"
    ]
    return not interfaces or not all(map(is_loopback, interfaces))

"""Where a portero that is configured so listens. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple

from portero.sections import ListenSettings

USUAL_WEB: Final = "8091"
"""Of the status resource, in the shipped dialplan and the shipped unit."""
ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""By all addresses at once: one of them, on this machine."""


class Place(NamedTuple):
    """Of a TCP server on this machine."""

    interface: str
    """Address that it listens on; a key of L{ANY} is all of them."""
    port: int
    tls: bool = False

    @property
    def host(self) -> str:
        """Address at which it is reached from here."""
        return ANY.get(self.interface, self.interface)

    def __str__(self) -> str:
        bare = f"[{self.interface}]" if ":" in self.interface else self.interface
        return f"{bare}:{self.port}"


def place(port: str, interface: str = "127.0.0.1") -> Place | None:
    """
    @param port: A port number, or a Twisted endpoint string.
    @return: C{None}: it is no TCP port, or none that can be known.
    """
    if port.isdigit():
        return Place(interface, int(port))
    words = port.replace("\\:", ";").split(":")
    numbers = [word.removeprefix("port=") for word in words[1:]]
    number = next((word for word in numbers if re.fullmatch(r"\d{1,5}", word)), "")
    if words[0] not in ("tcp", "tcp6", "ssl") or not number:
        return None
    named = [word.partition("=")[2] for word in words if word.startswith("interface=")]
    anywhere = "::" if words[0] == "tcp6" else "0.0.0.0"
    found = named[0].replace(";", ":") if named else anywhere
    return Place(found, int(number), words[0] == "ssl")


@dataclass(frozen=True, slots=True)
class Places:
    """Of what a dialplan has to name; C{None}: there is none, or no TCP port."""

    calls: Place | None
    web: Place | None
    agi: Place | None

    @classmethod
    def of(cls, listen: ListenSettings) -> Places:
        return cls(
            place(listen.port, listen.interface),
            place(listen.web or USUAL_WEB),
            place(listen.agi) if listen.agi else None,
        )

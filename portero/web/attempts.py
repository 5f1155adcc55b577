"""Who failed how often to get in, and how long he has to wait for the next try."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Final

from twisted.internet.interfaces import IReactorTime

FREE: Final = 5
"""Failures without a wait: people mistype."""
LONGEST: Final = 300
"""Seconds of a wait; it doubles from one second on."""
FORGOTTEN_AFTER: Final = 3600
"""Seconds after the last failure."""
MOST_SOURCES: Final = 4096
"""Beyond it, who failed longest ago is forgotten."""


@dataclass(slots=True)
class _Failures:
    count: int
    last: float


class Attempts:
    """Of those who have shown something wrong, by address."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def wait(self, source: str) -> int:
        """@return: Seconds until what it shows is looked at again; 0: now."""
        found = self._failures.get(_network(source))
        if found is None or found.count < FREE:
            return 0
        pause: int = min(LONGEST, 1 << min(found.count - FREE, 16))
        return max(0, math.ceil(found.last + pause - self._clock.seconds()))

    def failed(self, source: str) -> None:
        now, network = self._clock.seconds(), _network(source)
        found = self._failures.pop(network, None)
        if found is None or now - found.last > FORGOTTEN_AFTER:
            found = _Failures(0, now)
        found.count, found.last = found.count + 1, now
        self._failures[network] = found
        while len(self._failures) > MOST_SOURCES:
            self._failures.popitem(last=False)


def _network(source: str) -> str:
    """A house has 2**64 IPv6 addresses, so that they count as one."""
    try:
        address = ip_address(source)
    except ValueError:
        return source
    if not isinstance(address, IPv6Address):
        return source
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Address(int(address) >> 64 << 64))

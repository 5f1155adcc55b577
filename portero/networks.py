"""Which machine a connection comes from, and whether that is one of ours."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final

Network = IPv4Network | IPv6Network

THIS_MACHINE: Final = (ip_network("127.0.0.0/8"), ip_network("::1"))


def lies_in(host: str, networks: Iterable[Network]) -> bool:
    """
    @param host: An address; an IPv6 one may have a zone, or hold an IPv4 one.
    @raise ValueError: It is no address.
    """
    address = ip_address(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)


_GLOBAL_V6: Final = ip_network("2000::/3")
"""All that is given out (RFC 4291, 2.4)."""
_NAT64: Final = ip_network("64:ff9b::/96")
"""Holds an IPv4 address in its last 32 bits (RFC 6052)."""
_NOT_PUBLIC: Final = (
    ip_network("168.63.129.16"),  # Azure's own services, for each machine there
    ip_network("192.0.0.0/24"),
    ip_network("192.88.99.0/24"),
    ip_network("2001::/23"),  # Teredo, for one: a tunnel to an IPv4 address
    ip_network("2001:db8::/32"),
    ip_network("3fff::/20"),
)
"""What not every Python takes for special."""


def is_public(host: str) -> bool:
    """
    Whether an address is one of the public Internet: not of this machine, its network,
    or for a special purpose. One that leads to an IPv4 address is as public as that.

    @param host: An address; an IPv6 one may have a zone.
    @raise ValueError: It is no address.
    """
    address = ip_address(host)
    if address.version == 6:
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
        if address not in _GLOBAL_V6:
            return False
    if any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved

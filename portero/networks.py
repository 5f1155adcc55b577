"""Which machine a connection comes from, and whether that is one of ours."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
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

"""Tests of L{portero.networks}."""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from portero.networks import THIS_MACHINE, lies_in


class NetworkTests(SynchronousTestCase):
    def test_this_machine_is_loopback_in_every_spelling(self) -> None:
        for host in ("127.0.0.1", "127.0.3.1", "::1", "::ffff:127.0.0.1"):
            self.assertTrue(lies_in(host, THIS_MACHINE), host)
        for host in ("0.0.0.0", "::", "10.0.0.1", "fe80::1%lo", "::ffff:10.0.0.1"):
            self.assertFalse(lies_in(host, THIS_MACHINE), host)

    def test_networks_of_both_kinds_stand_together(self) -> None:
        networks = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
        for host in ("10.255.0.1", "::ffff:10.1.2.3", "fd00::1", "fd00::1%eth0"):
            self.assertTrue(lies_in(host, networks), host)
            self.assertFalse(lies_in(host, ()), host)
        for host in ("11.0.0.1", "fe80::1", "::10.0.0.1", "::ffff:11.0.0.1"):
            self.assertFalse(lies_in(host, networks), host)

    def test_what_is_no_address_is_an_error(self) -> None:
        for host in ("localhost", "", "10.0.0.1:80", "10.0.0.1/32"):
            self.assertRaises(ValueError, lies_in, host, ())

"""Tests of L{portero.networks}."""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from portero.networks import THIS_MACHINE, is_public, lies_in


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


class PublicTests(SynchronousTestCase):
    def test_what_is_given_out_is_public(self) -> None:
        for host in (
            *("1.1.1.1", "93.184.216.34", "172.32.0.1", "100.128.0.1", "223.255.255.1"),
            *("2606:4700::1111", "2a00:1450::1", "::ffff:1.1.1.1", "64:ff9b::101:101"),
            "2002:101:101::1",
        ):
            self.assertTrue(is_public(host), host)

    def test_what_has_a_special_purpose_is_not(self) -> None:
        for host in (
            *("0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254"),
            *("172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.0.1"),
            *("198.19.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.251", "239.1.1.1"),
            *("240.0.0.1", "255.255.255.255", "168.63.129.16"),
            *("::", "::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1"),
            *("100::1", "2001::1", "2001:db8::1", "2002:a00:1::1", "3fff::1"),
            *("fc00::1", "fd12::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::fb"),
        ):
            self.assertFalse(is_public(host), host)

    def test_a_name_is_no_address(self) -> None:
        for host in ("localhost", "", "shop.example", "0x7f.1", "127.1", "2130706433"):
            self.assertRaises(ValueError, is_public, host)

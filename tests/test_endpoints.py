"""Tests of L{portero.endpoints}: ports, endpoint strings, and who can reach them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.endpoints import endpoint_string, exposed


class EndpointTests(SynchronousTestCase):
    def test_a_port_alone_is_on_its_interface(self) -> None:
        for port, interface, expected in [
            ("8089", "127.0.0.1", "tcp:8089:interface=127.0.0.1:backlog=512"),
            ("1", "0.0.0.0", "tcp:1:interface=0.0.0.0:backlog=512"),
            ("65535", "::1", r"tcp6:65535:interface=\:\:1:backlog=512"),
        ]:
            self.assertEqual(endpoint_string(port, interface), expected)
        self.assertFalse(exposed(endpoint_string("8089")))

    def test_an_endpoint_stays_as_it_is(self) -> None:
        for endpoint in ("unix:/run/portero.sock", "tcp:0:interface=127.0.0.1"):
            self.assertEqual(endpoint_string(endpoint), endpoint)

    def test_what_is_neither_is_refused(self) -> None:
        for port in ("0", "65536", "065535000", "-1", "80 89", "٨٠٨٩", "", "http"):
            error = self.assertRaises(ValueError, endpoint_string, port)
            self.assertIn("is neither a port, 1 to 65535, nor", str(error))
        for port in ("http://x", ":", "tcp:x", "tcp:1:nope=2", "127.0.0.1:8089"):
            error = self.assertRaises(ValueError, endpoint_string, port)
            self.assertIn("is no Twisted endpoint", str(error))

    def test_a_socket_that_systemd_did_not_hand_over_is_said(self) -> None:
        systemd = "systemd:domain=INET:index=0"
        error = self.assertRaises(ValueError, endpoint_string, systemd)
        self.assertEqual(str(error), "systemd handed over no such socket")

    @given(st.text(max_size=20))
    def test_any_text_is_an_endpoint_or_refused(self, text: str) -> None:
        for port in (text, f"tcp:{text}", f"unix:{text}", f"haproxy:tcp:{text}"):
            try:
                endpoint = endpoint_string(port)
            except ValueError as error:
                self.assertTrue(str(error))
            else:
                exposed(endpoint)


class ExposedTests(SynchronousTestCase):
    def test_loopback_and_unix_sockets_are_for_this_machine(self) -> None:
        for endpoint in (
            "tcp:1:interface=127.0.0.1",
            "tcp:interface=127.0.0.9:port=1",
            r"tcp6:1:interface=\:\:1",
            "haproxy:tcp:1:interface=127.0.0.1",
            "haproxy:unix:/run/x",
            "unix:/run/x",
            "systemd:domain=UNIX:index=0",
        ):
            self.assertFalse(exposed(endpoint), endpoint)

    def test_all_else_may_be_reached(self) -> None:
        for endpoint in (
            "tcp:1",
            "tcp:1:interface=0.0.0.0",
            "tcp:1:interface=",
            r"tcp6:1:interface=\:\:",
            "tcp:1:127.0.0.1",
            "ssl:1:privateKey=x",
            "haproxy:tcp:1",
            "systemd:domain=INET:index=0",
            "own:1",
            r"tcp:1:interface=0.0.0.0\:interface=127.0.0.1",
        ):
            self.assertTrue(exposed(endpoint), endpoint)

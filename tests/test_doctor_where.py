"""Tests of L{portero.doctor.where}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from portero.doctor.where import Place, Places, place
from portero.sections import ListenSettings


class PlaceTests(SynchronousTestCase):
    def test_ports_and_endpoints_are_places(self) -> None:
        for port, expected in [
            ("8089", Place("127.0.0.1", 8089)),
            ("tcp:8089", Place("0.0.0.0", 8089)),
            ("tcp:port=8089:interface=10.0.0.5", Place("10.0.0.5", 8089)),
            ("tcp:8089:interface=127.0.0.1:backlog=512", Place("127.0.0.1", 8089)),
            (r"tcp6:8089:interface=\:\:1", Place("::1", 8089)),
            ("tcp6:8089", Place("::", 8089)),
            ("ssl:443:privateKey=k.pem", Place("0.0.0.0", 443, True)),
        ]:
            self.assertEqual(place(port), expected)

    def test_what_is_no_tcp_port_that_can_be_known_is_none(self) -> None:
        for port in ("unix:/run/portero.sock", "systemd:domain=INET:index=0", "tcp:x"):
            self.assertIsNone(place(port))

    def test_all_addresses_are_reached_at_this_machine(self) -> None:
        self.assertEqual(Place("0.0.0.0", 1).host, "127.0.0.1")
        self.assertEqual(Place("::", 1).host, "::1")
        self.assertEqual(Place("10.0.0.5", 1).host, "10.0.0.5")

    def test_in_words_it_is_an_address(self) -> None:
        self.assertEqual(str(Place("127.0.0.1", 8089)), "127.0.0.1:8089")
        self.assertEqual(str(Place("::1", 8089)), "[::1]:8089")

    def test_without_a_status_resource_the_usual_port_is_looked_at(self) -> None:
        places = Places.of(ListenSettings())
        self.assertEqual(places.web, Place("127.0.0.1", 8091))
        self.assertIsNone(places.agi)
        places = Places.of(ListenSettings(web="9000", agi="4573"))
        self.assertEqual(places.web, Place("127.0.0.1", 9000))
        self.assertEqual(places.agi, Place("127.0.0.1", 4573))

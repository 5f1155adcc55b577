"""Tests of L{portero.web.metrics}, through the site."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from portero.lag import ReactorLag
from portero.observers.metrics import CONTENT_TYPE, Metrics
from portero.pacing import MediaClock
from portero.web.metrics import MetricsResource
from portero.web.passwords import token_hash
from portero.web.site import PorteroSite, Root
from portero.web_sections import UserSettings
from tests.web_case import JSON, TOKEN, WebCase


class MetricsResourceTests(WebCase):
    def hang_in(self, **given: object) -> None:
        """@param given: As for L{make_site}."""
        site = self.make_site(**given)  # type: ignore[arg-type]
        lag = ReactorLag(self.clock)
        metrics = Metrics(self.bridge, MediaClock(self.clock), lag)
        self.bridge.watchers.add(metrics)
        leaf = MetricsResource(self.access, metrics)
        self.site = PorteroSite(Root(self.access, {"metrics": leaf}), lambda peer: True)
        self.site._reactor = site._reactor  # type: ignore[attr-defined]

    def test_who_may_read_gets_the_text_of_prometheus(self) -> None:
        self.hang_in()
        self.call("1")
        status, fields, text = self.ask("/metrics")
        self.assertEqual((status, fields["content-type"]), (200, CONTENT_TYPE))
        self.assertEqual(fields["cache-control"], "no-store")
        found = {family.name for family in text_string_to_metric_families(text)}
        self.assertIn("portero_calls", found)
        self.assertIn("portero_calls_accepted_total 1.0", text)

    def test_a_query_of_a_server_changes_nothing(self) -> None:
        self.hang_in()
        self.assertEqual(self.ask("/metrics?collect[]=x")[0], 200)

    def test_head_has_no_body(self) -> None:
        self.hang_in()
        status, fields, text = self.ask("/metrics", method="HEAD")
        self.assertEqual((status, text), (200, ""))
        self.assertGreater(int(fields["content-length"]), 1000)

    def test_with_a_web_token_only_that_one_may(self) -> None:
        self.hang_in(token=TOKEN)
        status, _, text = self.ask("/metrics")
        self.assertEqual(status, 401)
        self.assertNotIn("portero_", text)
        bearer = f"Authorization: Bearer {TOKEN}"
        self.assertEqual(self.ask("/metrics", bearer)[0], 200)
        wrong = "Authorization: Bearer wrong"
        self.assertEqual(self.ask("/metrics", wrong)[0], 401)

    def test_a_user_without_the_right_to_read_may_not(self) -> None:
        users = {
            "prometheus": UserSettings(token=token_hash("p"), rights=("read",)),
            "listener": UserSettings(token=token_hash("l"), rights=("listen",)),
        }
        self.hang_in(users=users)
        for token, status in (("p", 200), ("l", 403)):
            found = self.ask("/metrics", f"Authorization: Bearer {token}")
            self.assertEqual(found[0], status)

    def test_another_machine_may_not_read_without_a_token(self) -> None:
        self.hang_in()
        self.assertEqual(self.ask("/metrics", peer="192.0.2.7")[0], 401)

    def test_there_is_nothing_to_post(self) -> None:
        self.hang_in()
        status, _, _ = self.ask("/metrics", JSON, method="POST", body=b"{}")
        self.assertEqual(status, 405)

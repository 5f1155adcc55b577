"""What Prometheus makes of portero's metrics, of its alerts and of its dashboard."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.lab.prometheus import Prometheus, promtool
from tests.real.house import HouseTestCase
from tests.test_conf_monitoring import (
    CONF,
    NAME,
    alert_expressions,
    dashboard_expressions,
    panels,
)

HERE = Path(__file__).resolve().parent
ALERTS = CONF / "prometheus-alerts.yml"
NAMED = ("Zacarias", "600123987", "Quevedo")
"""Of the caller: whatever a scrape may not have."""


def queries() -> list[str]:
    """@return: Those of the dashboard, as Grafana sends them."""
    found = [
        expression.replace("$__rate_interval", "1m")
        .replace("$__interval", "1m")
        .replace("$instance", ".*")
        .replace("$agent", ".*")
        for panel in panels()
        for expression in (target["expr"] for target in panel["targets"])
    ]
    assert not [one for one in found if "$" in one], "a variable that is not known"
    return found


class FileTests(SynchronousTestCase):
    def test_the_alerts_are_rules(self) -> None:
        self.assertEqual(promtool("check", "rules", str(ALERTS)), "")

    def test_alerts_come_when_they_should_and_not_when_not(self) -> None:
        self.assertEqual(promtool("test", "rules", str(HERE / "alerts.yml")), "")

    def test_the_dashboard_asks_in_promql(self) -> None:
        rules = [
            {"record": f"panel:{n}", "expr": expression}
            for n, expression in enumerate(queries())
        ]
        document = {"groups": [{"name": "dashboard", "rules": rules}]}
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            json.dump(document, file)
            file.flush()
            self.assertEqual(promtool("check", "rules", file.name), "")


class ScrapeTests(HouseTestCase):
    def a_call(self) -> None:
        """A caller with a name and a number speaks to an agent that costs money."""
        phone = self.phone()
        phone.caller = f'"{NAMED[0]} {NAMED[2]}" <sip:{NAMED[1]}@127.0.0.1>'
        door = self.door(PORTERO_AGENT="priced")
        phone.call(door)
        phone.wait_for_bye(10)
        self.assertEqual(self.known(door)["outcome"], "well")
        self.call_id = self.known(door)["uuid"]

    def scrape(self) -> str:
        status, text = self.portero.get("/metrics")
        self.assertEqual(status, 200)
        return text

    def test_after_a_call_promtool_is_content_and_nobody_is_named(self) -> None:
        self.a_call()
        text = self.scrape()
        self.assertEqual(promtool("check", "metrics", text=text), "")
        for word in (*NAMED, self.call_id):
            self.assertNotIn(word, text)
        there = {line.partition(" ")[0].partition("{")[0] for line in text.split("\n")}
        for expression in (*dashboard_expressions(), *alert_expressions()):
            # Only a service that has refused something has errors.
            asked = set(NAME.findall(expression)) - {"portero_provider_errors_total"}
            self.assertEqual(asked - there, set(), expression)

    def test_a_server_gets_what_happened_in_a_call(self) -> None:
        self.a_call()
        text = self.scrape()
        server = Prometheus(self.portero.web_port, self.house.token, [ALERTS])
        self.addCleanup(server.stop)
        self.assertTrue(server.wait_until_scraped(), server.tail())
        priced = '{agent="priced", outcome="well"}'
        ended = server.value(f"portero_calls_total{priced}")
        self.assertGreaterEqual(ended or 0, 1)
        self.assertIn(f"{ended:.1f}", text)
        self.assertGreaterEqual(
            server.value('portero_spent_dollars_total{agent="priced"}') or 0, 1
        )
        frames = server.value("portero_frames_sent_total") or 0
        self.assertGreater(frames, 50)
        self.assertEqual(server.value("portero_frame_lateness_seconds_count"), frames)
        waited = "histogram_quantile(1, portero_call_first_frame_seconds_bucket)"
        self.assertLess(server.value(waited) or 99, 5)
        for query in queries():
            server.ask("query", query=query)
        rules: list[dict[str, Any]] = [
            rule for group in server.ask("rules")["groups"] for rule in group["rules"]
        ]
        self.assertEqual(len(rules), len(alert_expressions()))
        self.wait_until(
            "all alerts are looked at",
            lambda: (
                {
                    rule["health"]
                    for group in server.ask("rules")["groups"]
                    for rule in group["rules"]
                }
                == {"ok"}
            ),
            20,
        )

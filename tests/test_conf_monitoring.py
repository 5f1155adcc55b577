"""The dashboard and the alerts in C{conf/}: every metric that they name is there."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

from portero.interfaces import ProviderReport
from tests.test_observers_metrics import MetricsCase

CONF = Path(__file__).resolve().parent.parent / "conf"
NAME = re.compile(r"\bportero_\w+")
LABELS = re.compile(r"(portero_\w+)\{([^}]*)\}")
LABEL = re.compile(r"(\w+)\s*=~?\s*\"")
BY = re.compile(r"\bby \(([^)]*)\)")
FROM_OUTSIDE = {"instance", "job"}
"""Labels that the server adds."""
COLUMNS = 24


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        (CONF / "grafana-portero.json").read_text("utf-8")
    )
    return found


def panels() -> list[dict[str, Any]]:
    """@return: Those that show something."""
    return [one for one in dashboard()["panels"] if one["type"] != "row"]


def dashboard_expressions() -> list[str]:
    found = [target["expr"] for panel in panels() for target in panel["targets"]]
    variables = dashboard()["templating"]["list"]
    return found + [one["query"]["query"] for one in variables if "definition" in one]


def alert_expressions() -> list[str]:
    """
    Good enough for that one file: promtool reads it in earnest.
    """
    text = (CONF / "prometheus-alerts.yml").read_text("utf-8")
    found = re.findall(r"^ {8}expr: (.*(?:\n {10}.*)*)", text, re.M)
    return [" ".join(one.split()) for one in found]


class MonitoringCase(MetricsCase):
    def setUp(self) -> None:
        super().setUp()
        self.begin()
        self.happens("tool_ended", tool=1, name="x", result="", ok=True, ms=1)
        self.provider.trouble = "HTTP 401"
        self.fail_once()
        self.series: dict[str, set[str]] = {}
        for name in self.scrape():
            plain, _, labels = name.partition("{")
            known = self.series.setdefault(plain, set())
            known.update(re.findall(r"(\w+)=\"", labels))

    def fail_once(self) -> None:
        """The voice service has had a handshake, and an error."""
        report = ProviderReport("x", "", 212, "HTTP 401", 1, {"http_401": 1})
        self.provider.report = lambda: report  # type: ignore[method-assign]

    def check(self, expressions: list[str]) -> None:
        """Each metric is in a scrape, and has the labels that it is asked for."""
        self.assertGreater(len(expressions), 15)
        for expression in expressions:
            names = NAME.findall(expression)
            for name in names:
                self.assertIn(name, self.series, expression)
            for name, inside in LABELS.findall(expression):
                asked = set(LABEL.findall(inside))
                known = self.series[name] | FROM_OUTSIDE
                self.assertEqual(asked - known, set(), expression)
            for inside in BY.findall(expression):
                asked = {label.strip() for label in inside.split(",")}
                known = set[str]().union(*(self.series[name] for name in names))
                self.assertEqual(asked - known - FROM_OUTSIDE, set(), expression)


class DashboardTests(MonitoringCase):
    def test_what_it_asks_for_is_there(self) -> None:
        self.check(dashboard_expressions())

    def test_it_leaves_out_nothing_that_somebody_would_miss(self) -> None:
        asked = set(NAME.findall(" ".join(dashboard_expressions())))
        shown = {re.sub("_(bucket|sum|count)$", "", name) for name in asked}
        there = {re.sub("_(bucket|sum|count)$", "", name) for name in self.series}
        self.assertEqual(
            there - shown,
            {
                "portero_calls_accepted_total",  # the ended and the active ones are
                "portero_draining",  # in the words of the alert
                "portero_stopping",
                "portero_transcribed_seconds_total",
                "portero_process_virtual_memory_bytes",
            },
        )

    def test_no_panel_lies_on_another_or_beside_the_page(self) -> None:
        taken: set[tuple[int, int]] = set()
        for panel in dashboard()["panels"]:
            at = panel["gridPos"]
            self.assertLessEqual(at["x"] + at["w"], COLUMNS, panel["title"])
            here = {
                (x, y)
                for x in range(at["x"], at["x"] + at["w"])
                for y in range(at["y"], at["y"] + at["h"])
            }
            self.assertEqual(here & taken, set(), panel["title"])
            taken |= here

    def test_panels_are_numbered_and_say_what_they_show(self) -> None:
        ids = [panel["id"] for panel in dashboard()["panels"]]
        self.assertTrue(all(a < b for a, b in pairwise(ids)))
        for panel in panels():
            self.assertTrue(panel["title"])
            letters = [target["refId"] for target in panel["targets"]]
            self.assertEqual(letters, sorted(set(letters)), panel["title"])

    def test_it_belongs_to_no_house(self) -> None:
        text = (CONF / "grafana-portero.json").read_text("utf-8")
        sources = {one["datasource"]["uid"] for one in panels()}
        self.assertEqual(sources, {"${datasource}"})
        self.assertIsNone(re.search(r"https?://", text))


class AlertTests(MonitoringCase):
    def test_what_they_ask_for_is_there(self) -> None:
        self.check([one for one in alert_expressions() if "up{job" not in one])

    def test_each_says_what_is_wrong_and_what_to_do(self) -> None:
        text = (CONF / "prometheus-alerts.yml").read_text("utf-8")
        rules = text.split("- alert: ")[1:]
        self.assertEqual(len(rules), len(alert_expressions()))
        for rule in rules:
            self.assertRegex(rule, r"^Portero\w+\n")
            self.assertRegex(rule, r"severity: (critical|warning)\n")
            self.assertRegex(rule, r"summary: \"")
            words = rule.partition("description: >-")[2].split()
            self.assertGreater(len(words), 5, rule)

"""Whatever is logged in a call has its id, so that one search finds all of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import NamedTuple

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from portero.interfaces import Loss
from portero.log_sections import LEVELS
from tests.fake_call import Broken, Story
from tests.test_layers import PACKAGE

OF_THE_HOUSE = {
    *("announcement", "ami", "money", "permits", "reception", "service", "spending"),
    *("tap", "watching", "wiring", "logs.log", "outbox.queue", "observers.records"),
    *("records.keeping", "records.retention", "simulator.connection"),
    *("transports._admission", "web.access", "web.api", "web.events", "web.login"),
    *("web.site", "web.stream"),
}
"""Modules that log what is of no call, or of many."""
NOT_OF_A_CALL = {
    "the media clock failed; starting it again",
    "{place}: {path} can be read by every user of this machine; chmod 600 it, owned by "
    "the user that portero runs as",
}
"""In other modules: words of lines that are not."""


class Line(NamedTuple):
    """Where something is logged."""

    module: str
    words: str
    fields: frozenset[str]


def lines() -> Iterator[Line]:
    """@return: All of portero's, as its sources have them."""
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not _is_logging(node.func):
                continue
            words = next(
                (one.value for one in node.args if isinstance(one, ast.Constant)), ""
            )
            fields = frozenset(one.arg for one in node.keywords if one.arg)
            yield Line(module, str(words), fields)


def _is_logging(function: ast.expr) -> bool:
    if not isinstance(function, ast.Attribute):
        return False
    if function.attr not in {*LEVELS, "failure", "emit"}:
        return False
    return ast.unparse(function.value).endswith(("log", "audit", "_AUDIT"))


class SourceTests(SynchronousTestCase):
    def test_the_lines_are_found(self) -> None:
        found = [*lines()]
        self.assertGreater(len(found), 70)
        modules = {line.module for line in found}
        self.assertEqual(OF_THE_HOUSE - modules, set())
        self.assertEqual(NOT_OF_A_CALL - {line.words for line in found}, set())

    def test_each_line_of_a_call_has_its_id(self) -> None:
        for line in lines():
            if line.module not in OF_THE_HOUSE and line.words not in NOT_OF_A_CALL:
                said = f"{line} needs call_id=, or its module is one of OF_THE_HOUSE"
                self.assertIn("call_id", line.fields, said)

    def test_whoever_names_a_call_gives_its_id(self) -> None:
        for line in lines():
            if "{call_id}" in line.words:
                self.assertIn("call_id", line.fields, line)


class CallTests(SynchronousTestCase):
    def test_all_that_a_call_logs_has_its_id(self) -> None:
        """With a lost service, a tool that fails, and a silence that is too long."""
        with capturedLogs() as events:
            story = Story(reply_within=8.0).greeted()
            story.service.events.lost(Loss("the network", False))
            story.clock.advance(5)
            story.service.events.ready()
            story.service.events.tool_called("t1", "look_up", {})
            story.tool.answer.errback(Broken("tool"))
            story.clock.advance(3)
            story.leg.drop()
        self.flushLoggedErrors(Broken)
        told = [
            event for event in events if event["log_namespace"].startswith("portero.")
        ]
        self.assertGreater(len({event["log_format"] for event in told}), 5)
        for event in told:
            self.assertEqual(event.get("call_id"), "call-1", event)

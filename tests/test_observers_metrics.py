"""Tests of L{portero.observers.metrics} and of what it looks at when it is asked."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from zope.interface.verify import verifyObject

import portero
from portero.config import Config
from portero.errors import Refused
from portero.facts import Facts
from portero.interfaces import (
    Happening,
    IConversationEvents,
    IObserver,
    LegFigures,
    Loss,
    ProviderReport,
)
from portero.lag import EVERY, ReactorLag
from portero.observers._scrape import REASONS
from portero.observers.metrics import TAIL_AFTER, Metrics
from portero.pacing import PTIME, TICK, MediaClock
from portero.record import Outcome
from portero.roster import Roster
from portero.sections import AgentSettings, PriceSettings
from tests.fake_call import FakeLeg, FakeTool
from tests.test_reception import record
from tests.test_service import BridgeCase

DOCUMENTATION = Path(__file__).resolve().parent.parent / "docs" / "metrics.rst"
ONE = "0a1b2c3d-1111-2222-3333-444444444444"
TWO = "0a1b2c3d-1111-2222-3333-555555555555"
CALLER = Facts(caller_name="Zacarias", caller_number="+34600123987", agent="door")


class Leg(FakeLeg):
    """Measures what a test says."""

    measured = LegFigures()

    def figures(self) -> LegFigures:
        return self.measured


class Frames:
    """As much of a leg as the media clock needs."""

    call_id = "c1"

    def frame_due(self, now: float) -> None:
        pass

    def pacing_failed(self) -> None:
        raise AssertionError


@dataclass
class Kept:
    """What becomes of records."""

    waiting: int = 0
    lost: int = 0
    unsent: int = 0
    given_up: int = 0


class MetricsCase(BridgeCase):
    def setUp(self) -> None:
        super().setUp()
        tool = FakeTool()
        config = Config(
            agents={"default": AgentSettings(), "door": AgentSettings(model="m")},
            prices={"m": PriceSettings(text_in=1_000_000)},
        )
        self.bridge.roster = Roster(
            config,
            dict.fromkeys(config.agents, self.provider),
            {"default": (), "door": (tool,)},
            self.clock,
            self.ledger,
        )
        self.media = MediaClock(self.clock)
        self.lag = ReactorLag(self.clock)
        self.kept = Kept()
        self.metrics = Metrics(self.bridge, self.media, self.lag, self.kept)
        self.bridge.watchers.add(self.metrics)

    def scrape(self) -> dict[str, float]:
        """@return: By name with labels, as they are written."""
        found = {}
        for line in self.metrics.text().decode().splitlines():
            if not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
        return found

    def value(self, name: str, **labels: str) -> float:
        inside = ",".join(f'{key}="{labels[key]}"' for key in sorted(labels))
        return self.scrape()[
            f"portero_{name}{{{inside}}}" if inside else f"portero_{name}"
        ]

    def begin(self, call_id: str = ONE, facts: Facts = CALLER) -> tuple[Leg, Any]:
        """@return: A call that is connecting."""
        leg = Leg()
        self.bridge.announce(facts, call_id)
        call: Any = self.bridge.accept(leg, call_id)
        leg.events = call
        call.identified()
        return leg, call

    @property
    def service(self) -> IConversationEvents:
        """What the newest conversation tells."""
        return self.provider.conversations[-1].events

    def happens(
        self, kind: str, at: float = 1.0, call_id: str = ONE, **data: Any
    ) -> None:
        self.metrics.call_event(Happening(call_id, kind, at, data))


class CountTests(MetricsCase):
    def test_it_is_an_observer(self) -> None:
        verifyObject(IObserver, self.metrics)

    def test_calls_are_counted_by_agent_and_outcome(self) -> None:
        self.assertEqual(self.value("calls_total", agent="door", outcome="failed"), 0)
        for outcome in (Outcome.WELL, Outcome.FAILED, Outcome.FAILED):
            self.metrics.call_ended(record(outcome=outcome), LegFigures())
        for word, count in (("well", 1), ("failed", 2), ("transferred", 0)):
            found = self.value("calls_total", agent="door", outcome=word)
            self.assertEqual(found, count, word)
        self.assertEqual(self.value("call_duration_seconds_count"), 3)
        self.assertApproximates(self.value("call_duration_seconds_sum"), 37.2, 0.01)

    def test_the_setup_is_measured_once_a_call(self) -> None:
        self.begin()
        self.clock.advance(0.25)
        self.service.ready()
        self.assertEqual(self.value("call_ready_seconds_sum"), 0.25)
        self.happens("sounding", 0.31, item="greeting")
        self.happens("sounding", 4.0, item="reply")
        self.happens("service", 5.0, ready_ms=100)
        found = self.scrape()
        self.assertEqual(found["portero_call_ready_seconds_count"], 1)
        self.assertEqual(found["portero_call_first_frame_seconds_sum"], 0.31)

    def test_a_turn_is_split_in_the_service_s_share_and_ours(self) -> None:
        self.begin()
        self.happens("turn", turn=1, came_ms=420, sounded_ms=450)
        self.assertEqual(self.value("turn_latency_seconds_sum", agent="door"), 0.45)
        self.assertEqual(self.value("turn_service_seconds_sum", agent="door"), 0.42)
        self.assertApproximates(self.value("turn_playout_seconds_sum"), 0.03, 1e-9)
        self.assertEqual(
            self.value("turn_latency_seconds_bucket", agent="door", le="0.5"), 1
        )
        self.assertEqual(
            self.value("turn_latency_seconds_bucket", agent="door", le="0.4"), 0
        )

    def test_the_tail_of_an_interruption_is_looked_at_when_it_is_over(self) -> None:
        leg, _ = self.begin()
        self.happens("barge_in", 2.0)
        leg.measured = LegFigures(tail_ms=18.0)
        self.happens("caller", 2.0 + TAIL_AFTER / 2, speaking=False)
        self.assertEqual(self.value("barge_in_tail_seconds_count"), 0)
        self.happens("caller", 2.0 + TAIL_AFTER, speaking=False)
        self.happens("key", 9.0)
        self.assertEqual(self.value("barge_in_tail_seconds_count"), 1)
        self.assertEqual(self.value("barge_in_tail_seconds_sum"), 0.018)
        self.assertEqual(self.value("barge_ins_total", agent="door"), 1)

    def test_a_call_that_ends_in_an_interruption_still_tells_its_tail(self) -> None:
        leg, _ = self.begin()
        self.happens("barge_in", 2.0)
        leg.measured = LegFigures(tail_ms=12.0)
        leg.drop()
        self.assertEqual(self.value("barge_in_tail_seconds_sum"), 0.012)

    def test_a_second_conversation_in_a_call_is_a_reconnect(self) -> None:
        self.begin()
        self.service.ready()
        self.assertEqual(self.value("service_reconnects_total", agent="door"), 0)
        self.service.lost(Loss("gone", final=False))
        self.clock.advance(5)
        self.service.ready()
        self.assertEqual(self.value("service_losses_total", agent="door"), 1)
        self.assertEqual(self.value("service_reconnects_total", agent="door"), 1)

    def test_tools_have_the_names_of_the_configuration_only(self) -> None:
        self.begin()
        for name, ok in (("look_up", True), ("look_up", False), ("+34600", True)):
            self.happens("tool_ended", tool=1, name=name, result="x", ok=ok, ms=250)
        names = [name for name in self.scrape() if "tool_calls_total" in name]
        self.assertEqual(
            sorted(names),
            [
                f'portero_tool_calls_total{{result="{result}",tool="{tool}"}}'
                for result in ("ok", "refused")
                for tool in ("look_up", "unknown")
            ],
        )
        for tool, result in (
            ("look_up", "ok"),
            ("look_up", "refused"),
            ("unknown", "ok"),
        ):
            found = self.value("tool_calls_total", tool=tool, result=result)
            self.assertEqual(found, 1)
        self.assertEqual(self.value("tool_duration_seconds_sum", tool="look_up"), 0.5)

    def test_tokens_are_told_apart_and_add_up(self) -> None:
        self.begin()
        self.service.usage(
            {
                "total_tokens": 1000,
                "input.text_tokens": 300,
                "input.audio_tokens": 400,
                "input.cached.text_tokens": 250,
                "output.audio_tokens": 200,
                "output.text_tokens": 50,
            }
        )
        self.service.usage({"transcription.total_tokens": 30})
        written = {"input.audio_tokens": 8, "output.text_tokens": 2}
        self.service.usage({f"transcription.{n}": c for n, c in written.items()})
        self.service.usage({"transcription.ms": 1500})
        kinds = ("input_text", "input_audio", "output_text", "output_audio", "other")
        found = [self.value("tokens_total", agent="door", kind=kind) for kind in kinds]
        self.assertEqual(found, [300, 400, 50, 200, 50])
        self.assertEqual(
            self.value("tokens_total", agent="door", kind="transcription"), 40
        )
        self.assertEqual(self.value("cached_tokens_total", agent="door"), 250)
        self.assertEqual(self.value("transcribed_seconds_total", agent="door"), 1.5)

    def test_money_is_what_each_call_cost(self) -> None:
        for call_id in (ONE, TWO):
            self.begin(call_id)
            self.service.usage({"total_tokens": 2, "input.text_tokens": 2})
            self.service.usage({"transcription.total_tokens": 30})  # which has no price
            self.service.usage({"total_tokens": 3, "input.text_tokens": 3})
        self.assertEqual(self.value("spent_dollars_total", agent="door"), 10)
        self.assertEqual(self.value("spent_today_dollars"), 10)
        self.assertEqual(self.value("agent_spent_today_dollars", agent="door"), 10)

    def test_errors_and_operators_are_counted(self) -> None:
        self.begin()
        self.happens("error", reason="internal error")
        self.happens("operator", who="ana", did="say")
        self.happens("false_alarm")
        self.assertEqual(self.value("internal_errors_total"), 1)
        self.assertEqual(self.value("operator_actions_total", action="say"), 1)
        self.assertEqual(self.value("false_alarms_total", agent="door"), 1)

    def test_what_happens_in_a_call_that_never_began_is_nothing(self) -> None:
        self.happens("barge_in", call_id="other")
        self.assertEqual(self.value("barge_ins_total", agent="door"), 0)


class ScrapeTests(MetricsCase):
    def test_figures_of_calls_never_go_back(self) -> None:
        first, _ = self.begin(ONE)
        second, _ = self.begin(TWO)
        first.measured = LegFigures(
            underruns=2, frames_sent=100, frames_received=90, filled_ms=1500
        )
        second.measured = LegFigures(underruns=1, frames_sent=50, frames_skipped=3)

        def found() -> list[float]:
            names = ("underruns", "frames_sent", "frames_received", "frames_skipped")
            values = [self.value(f"{name}_total") for name in names]
            return [*values, self.value("caller_filled_seconds_total")]

        self.assertEqual(found(), [3, 150, 90, 3, 1.5])
        first.drop()
        self.assertEqual(found(), [3, 150, 90, 3, 1.5])
        second.drop()
        self.assertEqual(found(), [3, 150, 90, 3, 1.5])

    def test_audio_that_waits_and_jitter_are_of_calls_under_way(self) -> None:
        first, _ = self.begin(ONE)
        second, _ = self.begin(TWO)
        first.measured = LegFigures(waiting_ms=2500, jitter_ms=4.0, frames_received=9)
        second.measured = LegFigures(waiting_ms=500, jitter_ms=1.0)
        self.assertEqual(self.value("playout_waiting_seconds"), 3)
        self.assertEqual(self.value("playout_waiting_worst_seconds"), 2.5)
        self.assertEqual(self.value("caller_jitter_worst_seconds"), 0.004)
        first.drop()
        self.assertEqual(self.value("playout_waiting_seconds"), 0.5)
        self.assertEqual(self.value("caller_jitter_seconds_sum"), 0.004)
        second.drop()  # without a frame there is no jitter
        self.assertEqual(self.value("caller_jitter_seconds_count"), 1)

    def test_lateness_is_of_all_frames(self) -> None:
        leg = Frames()
        self.media.join(leg)

        def late() -> float:
            on_time = self.value("frame_lateness_seconds_bucket", le="0.01")
            return self.value("frame_lateness_seconds_count") - on_time

        for _ in range(round(1 / TICK)):
            self.clock.advance(TICK)
        self.assertEqual(late(), 0)
        self.clock.advance(PTIME + 0.013)
        self.assertEqual(late(), 1)
        count = self.value("frame_lateness_seconds_count")
        self.assertApproximates(count, 1 / PTIME, 2)
        self.media.leave(leg)
        self.assertEqual(self.value("frame_lateness_seconds_count"), count)

    def test_lag_is_that_of_the_reactor(self) -> None:
        self.lag.startService()
        self.clock.advance(EVERY + 0.3)
        self.lag.stopService()
        self.assertEqual(self.value("reactor_lag_seconds_count"), 1)
        self.assertEqual(self.value("reactor_lag_seconds_bucket", le="0.2"), 0)
        self.assertEqual(self.value("reactor_lag_seconds_bucket", le="0.5"), 1)

    def test_the_bridge_is_told_as_it_stands(self) -> None:
        self.bridge.max_calls = 1
        self.begin()
        self.assertRaises(Refused, self.bridge.announce, CALLER)
        self.assertEqual(self.value("calls_active", agent="door"), 1)
        self.assertEqual(self.value("calls_active", agent="default"), 0)
        self.assertEqual(self.value("calls_limit"), 1)
        self.assertEqual(self.value("calls_accepted_total"), 1)
        self.assertEqual(self.value("calls_refused_total", reason="full"), 1)
        self.assertEqual(self.value("ready"), 0)
        self.bridge.draining = True
        self.assertEqual(self.value("draining"), 1)

    def test_a_voice_service_is_told_with_how_it_does(self) -> None:
        names = [name for name in self.scrape() if "handshake" in name]
        self.assertEqual(names, [])
        report = ProviderReport("x", "HTTP 401", 212, "HTTP 401", 1, {"http_401": 3})
        self.provider.report = lambda: report  # type: ignore[method-assign]
        self.assertEqual(self.value("provider_up", provider="demo"), 0)
        self.assertEqual(
            self.value("provider_handshake_seconds", provider="demo"), 0.212
        )
        self.assertEqual(
            self.value("provider_errors_total", provider="demo", code="http_401"), 3
        )

    def test_agents_of_a_new_configuration_are_there_at_once(self) -> None:
        self.scrape()
        self.bridge.roster = self.roster(Config(agents={"default": AgentSettings()}))
        self.assertNotIn('portero_calls_active{agent="door"}', self.scrape())
        config = Config(agents={"default": AgentSettings(), "new": AgentSettings()})
        self.bridge.roster = self.roster(config)
        self.assertEqual(self.value("calls_total", agent="new", outcome="well"), 0)

    def test_every_word_of_a_refusal_has_a_count(self) -> None:
        path = Path(portero.__file__).parent / "service.py"
        used = {
            node.args[0].value
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "Refused"
            and isinstance(node.args[0], ast.Constant)
        }
        self.assertEqual(used, set(REASONS))

    def test_nothing_of_a_caller_is_in_it(self) -> None:
        leg, _ = self.begin()
        self.service.ready()
        self.happens("tool_ended", tool=1, name="Zacarias", result="", ok=True, ms=1)
        during = self.metrics.text().decode()
        leg.drop()
        for text in (during, self.metrics.text().decode()):
            for word in ("Zacarias", "600123987", "123987", "0a1b2c3d"):
                self.assertNotIn(word, text)


class RecordTests(MetricsCase):
    def test_what_becomes_of_records_is_told(self) -> None:
        self.kept.waiting, self.kept.lost = 3, 2
        self.kept.unsent, self.kept.given_up = 5, 1
        self.assertEqual(self.value("records_waiting"), 3)
        self.assertEqual(self.value("records_lost_total"), 2)
        self.assertEqual(self.value("records_webhook_waiting"), 5)
        self.assertEqual(self.value("records_webhook_failed_total"), 1)


class NameTests(MetricsCase):
    def families(self) -> dict[str, str]:
        """@return: The kind of each metric, by its name as it is asked for."""
        found = {}
        for line in self.metrics.text().decode().splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split()
                found[name] = kind
        return found

    def test_names_end_as_prometheus_wants_them(self) -> None:
        for name, kind in self.families().items():
            self.assertTrue(name.startswith("portero_"), name)
            self.assertEqual(name.endswith("_total"), kind == "counter", name)
            self.assertNotRegex(name, r"_(ms|milliseconds|kb|percent|count)(_|$)")
            if kind in ("histogram", "summary"):
                self.assertTrue(name.endswith("_seconds"), name)

    def test_a_scrape_can_be_read_and_has_no_series_twice(self) -> None:
        text = self.metrics.text().decode()
        self.assertEqual(
            len([*text_string_to_metric_families(text)]), len(self.families())
        )
        names = [
            line.rpartition(" ")[0] for line in text.splitlines() if line[0] != "#"
        ]
        self.assertEqual(len(names), len(set(names)))
        self.assertEqual([name for name in names if name.endswith("_created")], [])

    def test_the_documentation_names_exactly_these(self) -> None:
        text = DOCUMENTATION.read_text("utf-8")
        rows = re.findall(r"^``(portero_\w+)`` (\w+)", text, re.M)
        self.assertEqual(dict(rows), self.families())
        self.assertEqual(len(rows), len(dict(rows)))

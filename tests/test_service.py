"""Tests of L{portero.service}: who is let in, and how it stops."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from datetime import date
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from portero import service
from portero.call import Call
from portero.config import DEFAULT, Config
from portero.errors import CannotStart, Refused
from portero.facts import Facts
from portero.money import Ledger
from portero.record import Outcome
from portero.registry import COMES_WITHIN
from portero.roster import Roster
from portero.sections import AgentSettings
from portero.service import Bridge, Listener
from tests.fake_call import FakeLeg, FakeProvider


class Provider(FakeProvider):
    """Has the troubles that a test gives it."""

    trouble = ""

    def health(self) -> str:
        return self.trouble


class Recorder(Service):
    """Writes down when it starts and stops."""

    def __init__(self, name: str, told: list[str]) -> None:
        self.what = name
        self.told = told
        self.stopping: Deferred[None] | None = None

    def privilegedStartService(self) -> None:
        self.told.append(f"{self.what} binds")

    def startService(self) -> None:
        super().startService()
        self.told.append(f"{self.what} starts")

    def stopService(self) -> Deferred[None] | None:
        super().stopService()
        self.told.append(f"{self.what} stops")
        return self.stopping


class BridgeCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.provider = Provider()
        self.ledger = Ledger(lambda: date(2026, 11, 21))
        self.bridge = self.make()

    def make(self, config: Config | None = None, **limits: Any) -> Bridge:
        return Bridge(self.clock, self.roster(config or Config()), **limits)

    def roster(self, config: Config) -> Roster:
        return Roster(
            config,
            dict.fromkeys(config.agents, self.provider),
            dict.fromkeys(config.agents, ()),
            self.clock,
            self.ledger,
        )

    def call(self, call_id: str = "1") -> tuple[FakeLeg, Call]:
        leg = FakeLeg()
        call = self.bridge.accept(leg, call_id)
        assert call is not None
        leg.events = call
        call.identified()
        self.provider.conversations[-1].events.ready()
        return leg, call

    def refused(self, call_id: str) -> bool:
        return self.bridge.accept(FakeLeg(), call_id) is None

    def not_announced(self, facts: Facts | None = None, call_id: str = "") -> Refused:
        error: Refused = self.assertRaises(
            Refused, self.bridge.announce, facts or Facts(), call_id
        )
        return error

    def failures(self) -> dict[str, str]:
        """By call id: why it failed, or nothing."""
        return {
            call_id: record.reason if record.outcome is Outcome.FAILED else ""
            for call_id, record in self.bridge.ended.items()
        }


class AdmissionTests(BridgeCase):
    def test_a_call_is_there_until_it_ends(self) -> None:
        leg, call = self.call("a")
        self.assertEqual(self.bridge.calls, {"a": call})
        leg.drop("caller hung up")
        self.assertEqual(self.bridge.calls, {})
        self.assertEqual(self.failures(), {"a": ""})
        self.assertEqual(self.bridge.answered, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_call_that_failed_is_remembered_so(self) -> None:
        leg, _ = self.call("a")
        leg.drop("Asterisk stopped reading", in_order=False)
        self.assertEqual(self.failures(), {"a": "Asterisk stopped reading"})

    def test_exactly_so_many_calls_as_are_allowed(self) -> None:
        self.bridge = self.make(max_calls=3)
        legs = [self.call(str(n))[0] for n in range(3)]
        self.assertTrue(all(self.refused(f"late {n}") for n in range(197)))
        self.assertEqual(len(self.provider.conversations), 3)
        self.assertEqual((self.bridge.answered, self.bridge.refused), (3, 197))
        legs[1].drop("caller hung up")
        self.call("next")
        self.assertTrue(self.refused("one more"))

    def test_a_call_id_under_way_is_refused_and_disturbs_nobody(self) -> None:
        leg, call = self.call("a")
        self.assertTrue(self.refused("a"))
        self.assertEqual(self.bridge.calls, {"a": call})
        self.assertTrue(leg.is_up)
        self.assertEqual(self.failures(), {})

    def test_a_call_id_may_be_used_again_later(self) -> None:
        self.call("a")[0].drop("line fault", in_order=False)
        self.call("a")
        self.assertEqual(self.failures(), {})

    def test_only_so_many_ended_calls_are_remembered(self) -> None:
        self.patch(service, "REMEMBERED", 10)
        for n in range(25):
            self.call(str(n))[0].drop("caller hung up")
        self.assertEqual(list(self.bridge.ended), [str(n) for n in range(15, 25)])

    def test_refusals_of_one_kind_leave_one_line_a_second(self) -> None:
        self.bridge = self.make(max_calls=1)
        self.call("a")
        with capturedLogs() as events:
            for n in range(50):
                self.refused(f"full {n}")
            self.clock.advance(1.1)
            self.refused("full 50")
        lines = [event for event in events if event["log_level"].name == "warn"]
        self.assertEqual(len(lines), 2)
        self.assertIn("full 0", lines[0]["what"])
        self.assertIn("max_calls", lines[0]["why"])
        self.assertIn("49 refused", lines[1]["more"])

    def test_while_it_drains_calls_under_way_go_on_and_no_other_comes(self) -> None:
        leg, call = self.call("a")
        self.bridge.drain(True, "Ana")
        self.assertTrue(self.bridge.draining)
        self.assertEqual(self.bridge.problem(), "draining")
        self.assertEqual(self.not_announced().word, "draining")
        self.assertTrue(self.refused("b"))
        self.assertEqual(self.bridge.calls, {"a": call})
        self.assertTrue(leg.is_up)
        self.bridge.drain(False, "Ana")
        self.assertEqual(self.bridge.problem(), "")
        self.call("b")
        self.assertEqual(self.bridge.busy(DEFAULT), 2)

    def test_draining_is_audited_when_it_changes(self) -> None:
        self.call("a")
        with capturedLogs() as events:
            self.bridge.drain(False, "Ana")
            self.bridge.drain(True, 'A"na\n')
            self.bridge.drain(True, "Ben")
            self.bridge.drain(False, "Ben")
        lines = [formatEvent(event) for event in events]
        self.assertEqual(
            lines,
            [
                "operator A na: draining begins: calls from now on go to their "
                "fallback; 1 under way",
                "operator Ben: draining ends: calls are answered again",
            ],
        )
        self.assertEqual({e["log_namespace"] for e in events}, {"portero.audit"})

    def test_says_why_a_new_call_would_not_be_answered(self) -> None:
        self.bridge = self.make(max_calls=1)
        self.assertEqual(self.bridge.problem(), "")
        self.provider.trouble = "HTTP 401"
        self.assertEqual(self.bridge.problem(), "HTTP 401")
        self.call()
        self.assertEqual(self.bridge.problem(), "full")
        self.bridge.stopService()
        self.assertEqual(self.bridge.problem(), "stopping")


class AnnouncementTests(BridgeCase):
    """What the dialplan announces, and what comes of it."""

    def house(self, **limits: Any) -> None:
        agents = {
            DEFAULT: AgentSettings(),
            "door": AgentSettings(called=("100",), max_calls=1, most_per_day=2.0),
        }
        self.bridge = self.make(Config(agents=agents), **limits)

    def test_the_facts_are_those_of_the_call_that_comes(self) -> None:
        self.house()
        call_id = self.bridge.announce(Facts("Ana", "600", "100"))
        _, call = self.call(call_id)
        self.assertEqual(call.agent, "door")
        self.assertEqual(call.snapshot()["caller_name"], "Ana")

    def test_nothing_is_opened_for_an_announcement(self) -> None:
        self.bridge.announce(Facts())
        self.assertEqual(self.provider.conversations, [])

    def test_a_call_that_was_not_announced_is_refused_where_that_is_required(
        self,
    ) -> None:
        self.bridge = self.make(require_registration=True)
        call_id = self.bridge.announce(Facts())
        late = self.bridge.announce(Facts())
        self.assertTrue(self.refused("6f1c"))
        leg, _ = self.call(call_id)
        self.assertTrue(self.refused(call_id))
        leg.drop("caller hung up")
        self.assertTrue(self.refused(call_id))
        self.clock.advance(COMES_WITHIN)
        self.assertTrue(self.refused(late))
        self.assertEqual(len(self.provider.conversations), 1)

    def test_an_id_that_was_announced_counts_once_wherever(self) -> None:
        call_id = self.bridge.announce(Facts())
        self.call(call_id)[0].drop("caller hung up")
        self.assertTrue(self.refused(call_id))
        self.assertEqual(self.not_announced(call_id=call_id).word, "bad-request")

    def test_what_is_announced_keeps_its_place(self) -> None:
        self.house(max_calls=2)
        self.call("a")
        call_id = self.bridge.announce(Facts())
        self.assertEqual(self.not_announced().word, "full")
        self.assertEqual(self.bridge.problem(), "full")
        self.call(call_id)

    def test_a_place_that_is_not_taken_is_free_again(self) -> None:
        self.bridge = self.make(max_calls=1)
        self.bridge.announce(Facts())
        self.clock.advance(COMES_WITHIN)
        self.bridge.announce(Facts())

    def test_an_agent_may_have_fewer_calls_than_the_house(self) -> None:
        self.house()
        facts = Facts(called_number="100")
        call_id = self.bridge.announce(facts)
        self.assertIn("agent door has 1 calls", str(self.not_announced(facts)))
        leg, _ = self.call(call_id)
        self.assertEqual(self.not_announced(facts).word, "full")
        self.bridge.announce(Facts())
        leg.drop("caller hung up")
        self.bridge.announce(facts)

    def test_a_house_that_would_not_answer_says_so_at_once(self) -> None:
        self.provider.trouble = "HTTP 401"
        self.assertEqual(str(self.not_announced()), "HTTP 401")
        self.assertEqual(self.not_announced().word, "unhealthy")
        self.bridge.stopService()
        self.assertEqual(self.not_announced().word, "stopping")

    def test_an_agent_that_there_is_not_is_named_with_its_nearest(self) -> None:
        self.house()
        refused = self.not_announced(Facts(agent="dor"))
        self.assertEqual(refused.word, "unknown-agent")
        self.assertIn("did you mean door?", str(refused))

    def test_at_the_ceiling_of_the_day_new_calls_fall_back(self) -> None:
        self.house()
        self.ledger.add("door", 2.0)
        facts = Facts(called_number="100")
        self.assertEqual(self.not_announced(facts).word, "over-budget")
        self.bridge.announce(Facts())

    def test_a_call_under_way_keeps_what_it_began_with(self) -> None:
        facts = Facts(caller_name="Ana")
        before = self.bridge.announce(facts)
        first = self.call("a")[1]
        agents = {DEFAULT: AgentSettings(instructions="Other words.")}
        self.bridge.roster = self.roster(Config(agents=agents))
        self.call(before)
        briefs = [each.brief for each in self.provider.conversations]
        self.assertIn("You answer the telephone", briefs[0].instructions)
        self.assertEqual(briefs[1].instructions, "Other words.")
        self.assertIs(self.bridge.calls["a"], first)


class StopTests(BridgeCase):
    def setUp(self) -> None:
        super().setUp()
        self.told: list[str] = []
        self.listener = Recorder("listener", self.told)
        self.listener.setServiceParent(self.bridge)
        self.demo = Recorder("demo", self.told)
        self.web = Recorder("web", self.told)
        self.bridge.runs_on(self.demo)
        self.bridge.runs_on(self.web)

    def start(self) -> None:
        self.bridge.privilegedStartService()
        self.bridge.startService()
        del self.told[:]

    def told_of(self, *names: str) -> Sequence[str]:
        return [f"{name} stops" for name in names]

    def test_what_calls_run_on_starts_before_the_listener(self) -> None:
        self.bridge.privilegedStartService()
        self.bridge.startService()
        self.assertEqual(
            self.told,
            [
                *("demo binds", "web binds", "listener binds"),
                *("demo starts", "web starts", "listener starts"),
            ],
        )

    def test_without_calls_it_stops_at_once(self) -> None:
        self.start()
        self.successResultOf(self.bridge.stopService())
        self.assertEqual(self.told, self.told_of("listener", "web", "demo"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_calls_under_way_may_end_by_themselves(self) -> None:
        self.start()
        first, second = self.call("1")[0], self.call("2")[0]
        stopped = self.bridge.stopService()
        self.assertEqual(self.told, self.told_of("listener"))
        self.assertTrue(self.refused("3"))
        first.drop("caller hung up")
        self.clock.advance(9)
        self.assertNoResult(stopped)
        second.drop("caller hung up")
        self.assertEqual(self.failures(), {"1": "", "2": ""})
        self.clock.advance(service.ASKED_WITHIN)
        self.successResultOf(stopped)
        self.assertEqual(self.told, self.told_of("listener", "web", "demo"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_dialplan_can_still_ask_about_the_last_call(self) -> None:
        self.start()
        leg, _ = self.call()
        stopped = self.bridge.stopService()
        leg.drop("caller hung up")
        self.clock.advance(service.ASKED_WITHIN * 0.9)
        self.assertNoResult(stopped)
        self.assertEqual(self.told, self.told_of("listener"))

    def test_who_takes_too_long_hears_the_apology_and_is_handed_back(self) -> None:
        self.start()
        leg, _ = self.call()
        stopped = self.bridge.stopService()
        self.clock.advance(10)
        self.assertEqual(leg.items, ["prompt apology"])
        self.assertTrue(leg.is_up)
        leg.play_out()
        self.assertFalse(leg.is_up)
        self.assertEqual(self.failures(), {"1": "portero is stopping"})
        self.assertFalse(any(each.is_open for each in self.provider.conversations))
        self.clock.advance(service.ASKED_WITHIN)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_an_apology_that_never_ends_does_not_keep_it(self) -> None:
        self.start()
        self.call()
        stopped = self.bridge.stopService()
        self.clock.pump([1.0] * 31)
        self.clock.advance(service.ASKED_WITHIN)
        self.successResultOf(stopped)

    def test_hang_up_ends_all_calls_in_this_moment(self) -> None:
        self.start()
        legs = [self.call(str(n))[0] for n in range(3)]
        stopped = self.bridge.stopService()
        self.bridge.hang_up()
        self.assertFalse(any(leg.is_up for leg in legs))
        self.assertEqual(set(self.failures().values()), {"portero is stopping"})
        self.clock.advance(service.ASKED_WITHIN)
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_waits_for_what_it_runs_on(self) -> None:
        self.start()
        self.web.stopping = Deferred()
        stopped = self.bridge.stopService()
        self.assertEqual(self.told, self.told_of("listener", "web"))
        self.assertNoResult(stopped)
        self.web.stopping.callback(None)
        self.successResultOf(stopped)

    def test_a_fault_in_what_it_runs_on_does_not_keep_the_rest(self) -> None:
        self.start()
        self.web.stopping = Deferred()
        stopped = self.bridge.stopService()
        self.web.stopping.errback(OSError("gone"))
        self.successResultOf(stopped)
        self.assertEqual(self.told, self.told_of("listener", "web", "demo"))
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_may_be_started_again(self) -> None:
        self.start()
        self.successResultOf(self.bridge.stopService())
        self.start()
        self.call()


class Binding(Service):
    """Binds, or fails as told."""

    def __init__(self, told: list[str], error: Exception | None = None) -> None:
        self.told = told
        self.error = error

    def privilegedStartService(self) -> None:
        if self.error is not None:
            raise self.error
        self.told.append("binds")

    def stopService(self) -> None:
        super().stopService()
        self.told.append("stops")


class ListenerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.told: list[str] = []

    def listener(self, error: Exception | None = None) -> Listener:
        return Listener("calls", "tcp:8089", lambda: Binding(self.told, error))

    def test_binds_once_in_either_way_of_starting(self) -> None:
        for privileged in (True, False):
            listener = self.listener()
            if privileged:
                listener.privilegedStartService()
            listener.startService()
            self.successResultOf(listener.stopService())
        self.assertEqual(self.told, ["binds", "stops"] * 2)

    def test_binds_again_when_started_again(self) -> None:
        listener = self.listener()
        for _ in range(2):
            listener.startService()
            self.successResultOf(listener.stopService())
        self.assertEqual(self.told, ["binds", "stops"] * 2)

    def test_a_port_that_cannot_be_had_is_said_with_the_remedy(self) -> None:
        for number, expected in [
            (errno.EADDRINUSE, "stop that one, or choose another port"),
            (errno.EADDRNOTAVAIL, "this machine has no such address"),
            (errno.EACCES, "ports below 1024 are root's"),
            (errno.ENODEV, "[Errno 19] what the system says"),
        ]:
            cause = OSError(number, "what the system says")
            for error in (cause, CannotListenError("", 8089, cause)):
                raised = self.assertRaises(
                    CannotStart, self.listener(error).privilegedStartService
                )
                self.assertIn("cannot listen for calls on tcp:8089: ", str(raised))
                self.assertIn(expected, str(raised))
                self.assertEqual(raised.code, str(raised))

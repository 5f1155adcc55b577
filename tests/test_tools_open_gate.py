"""The agent opens gates: the right ones, for the right people, at the right time."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from portero import tones
from portero.arguments import problem
from portero.config import Config, load
from portero.errors import ConfigError
from portero.facts import Facts
from portero.interfaces import ICallControl, ITool
from portero.permits import MOST_WRONG
from portero.sections import AgentSettings
from portero.tool_sections import GateSettings
from portero.tools.open_gate import RATE, TRIES, Tool
from tests.fake_call import FakeControl, Story
from tests.hostile import ARGUMENTS
from tests.test_relay import RelayServer, listen
from tests.test_tones import detect

MONDAY = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
STREET = GateSettings(description="To the street", dtmf="9#", who="always")
PIN = "4711"
OPEN = "The gate street is open: tell the caller."


class GateCase(SynchronousTestCase):
    """
    Gates, some of which have files.

    @ivar now: The time on the wall.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.now = MONDAY
        self.call = FakeControl(facts=Facts(caller_number="+34 600 111 222"))

    def file(self, text: str) -> str:
        path = Path(self.mktemp())
        path.write_text(text, "utf-8")
        path.chmod(0o600)
        return str(path)

    def make(self, **given: GateSettings) -> Tool:
        tool = Tool.for_agent(AgentSettings(), Config(gates=given), self.clock)
        tool._now = lambda: self.now
        return tool

    def street(self, **settings: Any) -> Tool:
        """@return: With one gate that opens by tones."""
        return self.make(street=GateSettings(**{"dtmf": "9#", **settings}))

    def with_pin(self, **settings: Any) -> Tool:
        pins = self.file(f"Ana {PIN}\nEva 0815\n")
        return self.street(who="pin", pins_file=pins, **settings)

    def run_tool(
        self, tool: Tool, call: ICallControl | None = None, **arguments: Any
    ) -> str:
        arguments = {"gate": "street", **arguments}
        coroutine = tool.run(call or self.call, arguments)
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def opened(self, call: FakeControl | None = None) -> list[str]:
        """@return: The keys of each sound that was played."""
        played = (call or self.call).of("play")
        return [detect(pcm, rate) for _, rate, pcm in played]


class OpenGateTests(GateCase):
    def test_it_is_a_tool(self) -> None:
        self.assertTrue(verifyObject(ITool, self.make(street=STREET)))
        self.assertTrue(verifyObject(ICallControl, self.call))

    def test_the_model_chooses_a_name_and_the_configuration_says_the_rest(self) -> None:
        tool = self.make(street=STREET, yard=GateSettings(dtmf="5", who="always"))
        self.assertEqual(
            tool.parameters["properties"],
            {"gate": {"type": "string", "enum": ["street", "yard"]}},
        )
        self.assertIn("street (To the street); yard.", tool.description)
        self.assertEqual(
            self.run_tool(tool, gate="yard"), OPEN.replace("street", "yard")
        )
        self.assertEqual(self.opened(), ["5"])

    def test_an_agent_has_the_gates_that_it_names_or_all_of_them(self) -> None:
        config = Config(gates={"street": STREET, "yard": STREET})
        for names, expected in (((), ["street", "yard"]), (("yard",), ["yard"])):
            tool = Tool.for_agent(AgentSettings(gates=names), config, self.clock)
            found = tool.parameters["properties"]["gate"]["enum"]
            self.assertEqual(found, expected)

    def test_nothing_hostile_opens_or_plays_anything(self) -> None:
        tool = self.make(street=STREET)
        others: list[Any] = ["Street", "street ", None, 1, ["street"], {}]
        for value in (*ARGUMENTS, *others):
            wrong = problem(tool.parameters, {"gate": value})
            self.assertNotEqual(wrong, "", repr(value)[:80])
            said = self.run_tool(tool, gate=value)
            self.assertEqual(said, "error: there is no such gate; there are: street")
        self.assertEqual(self.call.told, [])

    def test_tones_that_were_cut_off_are_played_once_more(self) -> None:
        self.call.heard = False
        tool = self.make(street=STREET)
        self.assertIn("the tones were cut off", self.run_tool(tool))
        self.assertEqual(self.opened(), ["9#", "9#"])
        self.call.heard = True
        self.assertEqual(self.run_tool(tool), OPEN, "it need not rest")

    def test_it_is_written_down_who_had_it_opened(self) -> None:
        with capturedLogs() as events:
            self.run_tool(self.make(street=STREET))
        (event,) = events
        self.assertEqual(event["log_namespace"], "portero.audit")
        self.assertEqual(
            formatEvent(event),
            "call call-1 (caller ...222): gate street: opened (everybody may have it "
            "opened) in 0 ms",
        )


class WhenTests(GateCase):
    def test_outside_its_hours_it_stays_closed(self) -> None:
        tool = self.street(who="always", hours="mon-fri 07:00-12:00")
        self.assertEqual(
            self.run_tool(tool),
            "error: The gate street was not opened: it may be from Tuesday 07:00 on.",
        )
        self.now = MONDAY.replace(hour=11, minute=59)
        self.assertEqual(self.run_tool(tool), OPEN)
        self.assertEqual(self.opened(), ["9#"])

    def test_the_hours_are_those_of_the_agents_time_zone(self) -> None:
        config = Config(gates={"street": STREET})
        agent = AgentSettings(time_zone="Asia/Tokyo")
        tool = Tool.for_agent(agent, config, self.clock)
        self.assertEqual(tool._now().tzname(), "JST")

    def test_it_rests_for_all_calls_and_agents_after_it_was_opened(self) -> None:
        settings = GateSettings(dtmf="9#", who="always", cool_down=30.0)
        self.run_tool(self.make(street=settings, yard=settings))
        self.clock.advance(20.0)
        other, tool = FakeControl("call-2"), self.make(street=settings, yard=settings)
        said = "it was opened just now, and is not again for 10 s."
        self.assertIn(said, self.run_tool(tool, other))
        self.assertEqual(self.opened(other), [])
        self.run_tool(tool, other, gate="yard")
        self.clock.advance(10.1)
        self.assertEqual(self.run_tool(tool, other), OPEN)

    def test_two_calls_at_once_open_it_once(self) -> None:
        tool = self.make(street=STREET)
        heard: Deferred[bool] = Deferred()
        first, second = FakeControl("call-1"), FakeControl("call-2")
        first.play = lambda *_: heard  # type: ignore[method-assign]  # in its own time
        waiting = Deferred.fromCoroutine(tool.run(first, {"gate": "street"}))
        self.assertIn("opened just now", self.run_tool(tool, second))
        heard.callback(True)
        self.assertEqual(self.successResultOf(waiting), OPEN)


class ConfirmationTests(GateCase):
    def test_the_caller_has_to_speak_between_the_question_and_the_opening(self) -> None:
        tool = self.street(who="always", confirm=True)
        self.assertIn("confirmed", tool.parameters["properties"])
        for confirmed in (True, False, True):
            said = self.run_tool(tool, confirmed=confirmed)
            self.assertTrue(said.startswith("not yet: "), said)
        self.assertEqual(self.opened(), [])
        self.call.caller_turns += 1
        self.assertEqual(self.run_tool(tool, confirmed=True), OPEN)


class ResidentTests(GateCase):
    def tool(self, text: str = "3B +34600111222\n") -> Tool:
        return self.street(who="resident", residents_file=self.file(text))

    def test_who_calls_from_a_number_of_the_file_gets_it_opened(self) -> None:
        with capturedLogs() as events:
            self.assertEqual(self.run_tool(self.tool()), OPEN)
        self.assertIn("opened (flat 3B)", formatEvent(events[0]))

    def test_nobody_else_does(self) -> None:
        tool = self.tool()
        for number in ("", "+34600111223", "600111222", "+346001112222"):
            call = FakeControl(facts=Facts(caller_number=number))
            said = self.run_tool(tool, call, flat="3B")
            self.assertIn("only residents may have that", said)
            self.assertEqual(self.opened(call), [])

    def test_who_has_several_flats_has_to_say_which(self) -> None:
        tool = self.tool("3B +34600111222\n4A +34600111222\n5C +34600999999\n")
        for flat in (None, "5C", ""):
            said = self.run_tool(tool, flat=flat)
            self.assertTrue(said.startswith("not yet: ask the caller which flat"), said)
        with capturedLogs() as events:
            self.assertEqual(self.run_tool(tool, flat="4A"), OPEN)
        self.assertIn("opened (flat 4A)", formatEvent(events[0]))

    def test_a_flat_that_a_model_makes_up_is_not_written_down(self) -> None:
        with capturedLogs() as events:
            self.run_tool(self.tool(), flat="9Z\nforged line")
        self.assertNotIn("9Z", "".join(map(str, map(formatEvent, events))))


class PinTests(GateCase):
    def said(self, call: FakeControl | None = None) -> list[str]:
        """@return: What the agent was told after the tool's answer."""
        return [text for (text,) in (call or self.call).of("inform")]

    def test_the_agent_asks_for_it_and_is_told_what_came_of_it(self) -> None:
        self.call.digits = [PIN]
        said = self.run_tool(self.with_pin())
        self.assertTrue(said.startswith("not yet: ask the caller now to type"), said)
        self.assertEqual(self.call.of("collect_digits"), [(4, 20.0)])
        self.assertEqual(self.said(), [OPEN])
        self.assertEqual(self.opened(), ["9#"])

    def test_without_a_key_nothing_is_opened_and_it_can_be_tried_again(self) -> None:
        tool = self.with_pin()
        self.run_tool(tool)
        (said,) = self.said()
        self.assertIn("no PIN was typed", said)
        self.call.digits = [PIN]
        self.run_tool(tool)
        self.assertEqual(self.said()[-1], OPEN)

    def test_a_wrong_one_can_be_typed_again_but_not_for_ever(self) -> None:
        self.call.digits = ["1234", "471", PIN]
        self.run_tool(self.with_pin())
        self.assertEqual(len(self.said()), 3)
        self.assertIn("Ask for it once more", self.said()[1])
        self.assertEqual(self.said()[-1], OPEN)

    def test_after_three_wrong_ones_the_call_has_no_more_tries(self) -> None:
        tool = self.with_pin()
        self.call.digits = ["1111", "2222", "3333", PIN]
        self.run_tool(tool)
        self.assertEqual(self.call.count("collect_digits"), TRIES)
        self.assertIn("too many wrong PINs were typed in this call", self.said()[-1])
        self.assertIn("too many wrong PINs", self.run_tool(tool))
        self.assertEqual(self.call.count("collect_digits"), TRIES)
        self.assertEqual(self.opened(), [])
        other = FakeControl("call-2")
        other.digits = [PIN]
        self.run_tool(tool, other)
        self.assertEqual(self.said(other), [OPEN])

    def test_many_wrong_ones_over_calls_lock_the_gate(self) -> None:
        tool = self.with_pin()
        for number in range(MOST_WRONG // TRIES + 1):
            guesser = FakeControl(f"guess-{number}")
            guesser.digits = ["1111", "2222", "3333"]
            self.run_tool(tool, guesser)
        self.call.digits = [PIN]
        said = self.run_tool(tool)
        self.assertIn("it takes none for some minutes", said)
        self.assertEqual(self.call.count("collect_digits"), 0)
        self.clock.advance(601.0)
        self.run_tool(tool)
        self.assertEqual(self.said(), [OPEN])

    def typing(self, tool: Tool) -> Deferred[str]:
        """@return: Fire it with what the caller has typed in the end."""
        typed: Deferred[str] = Deferred()
        self.call.collect_digits = lambda *_: typed  # type: ignore[method-assign]
        self.run_tool(tool)
        return typed

    def test_a_gate_that_was_locked_meanwhile_takes_none(self) -> None:
        for keys in (PIN, "1111"):
            self.setUp()
            tool = self.with_pin()
            typed = self.typing(tool)
            for number in range(MOST_WRONG // TRIES + 1):
                guesser = FakeControl(f"guess-{number}")
                guesser.digits = ["1111", "2222", "3333"]
                self.run_tool(tool, guesser)
            with capturedLogs() as events:
                typed.callback(keys)
            lines = "".join(str(formatEvent(event)) for event in events)
            self.assertIn("it takes none for some minutes", self.said()[-1])
            self.assertNotIn("wrong PIN (", lines)
            self.assertEqual(self.opened(), [])

    def test_a_gate_whose_hours_ended_meanwhile_does_not_open(self) -> None:
        typed = self.typing(self.with_pin(hours="mon 10:00-12:01"))
        self.now = MONDAY.replace(minute=1)
        typed.callback(PIN)
        self.assertIn("it may be from Monday 10:00 on", self.said()[-1])
        self.assertEqual(self.opened(), [])

    def test_one_pin_is_waited_for_at_a_time(self) -> None:
        pins = self.file(f"Ana {PIN}\n")
        gate = GateSettings(dtmf="9#", who="pin", pins_file=pins)
        tool = self.make(street=gate, yard=gate)
        waiting: Deferred[str] = Deferred()
        asked: list[int] = []

        def collect(most: int, within: float) -> Deferred[str]:
            asked.append(most)
            return waiting

        self.call.collect_digits = collect  # type: ignore[method-assign]
        self.run_tool(tool)
        self.assertIn("ask the caller now", self.run_tool(tool))
        self.assertIn(
            "the PIN for street is waited for", self.run_tool(tool, gate="yard")
        )
        self.assertEqual(asked, [4])
        waiting.callback(PIN)
        self.assertEqual(self.said(), [OPEN])

    def test_an_error_while_it_is_taken_is_logged_and_the_caller_told(self) -> None:
        tool = self.with_pin()
        self.call.breaks.add("collect_digits")
        self.run_tool(tool)
        self.assertEqual(len(self.flushLoggedErrors()), 1)
        self.assertIn("it does not work just now", self.said()[0])
        self.call.breaks.clear()
        self.call.digits = [PIN]
        self.run_tool(tool)
        self.assertEqual(self.said()[-1], OPEN)

    def test_it_is_in_nothing_that_is_said_or_written_down(self) -> None:
        self.call.digits = ["9182", PIN]
        tool = self.with_pin()
        with capturedLogs() as events:
            answer = self.run_tool(tool)
        lines = [str(formatEvent(event)) for event in events]
        self.assertIn("wrong PIN (1 of 3 tries)", lines[0])
        self.assertIn("opened (the PIN of Ana)", lines[1])
        everything = " ".join([answer, *self.said(), *map(repr, events), repr(tool)])
        for secret in ("9182", PIN, "0815"):
            self.assertNotIn(secret, everything)


class StoryTests(GateCase):
    def ask(self, story: Story) -> None:
        """The model wants the gate opened, and then says what it is told to say."""
        story.service.events.tool_called("t1", "open_gate", {"gate": "street"})
        story.service.events.reply_ended(1, "")
        story.service.reply("type your PIN", 2.0)
        story.clock.advance(2.0)
        story.leg.play_out()

    def press(self, story: Story, keys: str) -> None:
        for key in keys:
            story.call.dtmf(key)
            story.clock.advance(0.3)

    def test_a_pin_on_the_phone_opens_it_and_the_agent_says_so(self) -> None:
        story = Story(self.with_pin(), menu={"0": "house,1,1"}).waiting()
        self.ask(story)
        ((_id, said),) = story.service.of("tool_result")
        self.assertIn("ask the caller now to type the PIN", said)
        asked = story.service.count("ask")
        self.press(story, "0815#")
        item, pcm = story.leg.of("play")[-1]
        self.assertIn("gate tones", item)
        self.assertEqual(pcm, tones.dtmf("9#", RATE))
        self.assertEqual(story.service.of("add_text"), [])
        story.leg.play_out()
        self.assertEqual(story.service.of("add_text"), [("system", OPEN)])
        self.assertEqual(story.service.count("ask"), asked + 1)
        self.assertNotIn("0815", repr(story.call.control.said()))
        story.leg.drop()
        self.assertNotIn("0815", repr(story.call.record))

    def test_the_caller_may_ask_back_before_typing(self) -> None:
        story = Story(self.with_pin()).waiting()
        self.ask(story)
        story.caller_speaks()
        story.service.reply("the one on your letter", 3.0)
        story.clock.advance(3.0)
        story.leg.play_out()
        self.press(story, PIN)
        story.leg.play_out()
        self.assertEqual(story.service.of("add_text"), [("system", OPEN)])

    def test_who_types_nothing_is_asked_what_they_want(self) -> None:
        story = Story(self.with_pin()).waiting()
        self.ask(story)
        story.clock.advance(20.1)
        ((_role, said),) = story.service.of("add_text")
        self.assertIn("no PIN was typed", said)

    def test_who_hangs_up_instead_opens_nothing(self) -> None:
        story = Story(self.with_pin()).waiting()
        self.ask(story)
        self.press(story, PIN[:2])
        story.leg.drop()
        self.assertEqual(story.clock.getDelayedCalls(), [])
        played = [item for item, _ in story.leg.of("play")]
        self.assertFalse([item for item in played if "gate tones" in item])


class FileTests(GateCase):
    def test_what_is_wrong_in_a_file_names_the_setting_and_the_line(self) -> None:
        for settings, said in (
            ({"pins_file": self.file("Ana 12")}, "[gates.street] pins_file: "),
            (
                {"who": "resident", "residents_file": self.file("3B")},
                "[gates.street] residents_file: ",
            ),
            (
                {
                    **{"who": "always", "dtmf": "", "url": "http://a/"},
                    "password_file": self.file("nothing"),
                },
                "[gates.street] password_file: ",
            ),
        ):
            error = self.assertRaises(ConfigError, self.street, **settings)
            self.assertTrue(str(error).startswith(said), str(error))

    def test_what_is_wrong_in_the_files_of_several_gates_is_said_at_once(self) -> None:
        path = self.file(
            '[agent]\ntools = ["open_gate"]\n'
            '[gates.street]\ndtmf = "9#"\npins_file = "/nowhere"\n'
            '[gates.yard]\ndtmf = "8#"\nwho = "resident"\nresidents_file = "/none"\n'
        )
        config = load(path)
        error = self.assertRaises(
            ConfigError, Tool.for_agent, config.agent, config, Clock()
        )
        first, second = str(error).splitlines()
        self.assertTrue(first.startswith(f"{path}:5: [gates.street] pins_file: "))
        self.assertTrue(second.startswith(f"{path}:9: [gates.yard] residents_file: "))

    def test_the_line_of_the_setting_is_named_too(self) -> None:
        path = self.file(
            '[agent]\ntools = ["open_gate"]\n'
            '[gates.street]\ndtmf = "9#"\npins_file = "/nowhere"\n'
        )
        config = load(path)
        error = self.assertRaises(
            ConfigError, Tool.for_agent, config.agent, config, Clock()
        )
        place = f"{path}:5: [gates.street] pins_file: /nowhere: "
        self.assertTrue(str(error).startswith(place), str(error))

    def test_a_file_with_pins_that_all_can_read_is_warned_of(self) -> None:
        pins = self.file(f"Ana {PIN}\n")
        os.chmod(pins, 0o644)
        with capturedLogs() as events:
            self.street(who="pin", pins_file=pins)
        (line,) = map(formatEvent, events)
        self.assertEqual(
            line,
            f"[gates.street] pins_file: {pins} can be read by every user of this "
            "machine; chmod 600 it, owned by the user that portero runs as",
        )
        with capturedLogs() as events:
            self.with_pin()
        self.assertEqual(events, [])


class HttpTests(TestCase):
    """With a real server on loopback."""

    def setUp(self) -> None:
        self.server = RelayServer()
        self.url, self.port = listen(self, self.server)
        self.call = FakeControl(facts=Facts(caller_number="+34600111222"))
        self.secret = Path(self.mktemp())
        self.secret.write_text("portero:sesame\n", "utf-8")
        gate = GateSettings(
            url=f"{self.url}/relay/0?turn=on",
            method="GET",
            password_file=str(self.secret),
            who="always",
        )
        config = Config(gates={self.id(): gate})
        self.tool = Tool.for_agent(AgentSettings(), config, reactor)

    async def test_it_is_opened_over_http(self) -> None:
        said = await self.tool.run(self.call, {"gate": self.id()})
        self.assertIn("is open", said)
        ((method, uri, authorization),) = self.server.asked
        self.assertEqual((method, uri), ("GET", "/relay/0?turn=on"))
        self.assertTrue((authorization or "").startswith("Basic "))
        self.assertEqual(self.call.of("play"), [])

    async def test_one_that_says_no_did_not_open_and_need_not_rest(self) -> None:
        self.server.status = 403
        with capturedLogs() as events:
            said = await self.tool.run(self.call, {"gate": self.id()})
        self.assertIn("was not opened: it does not work just now", said)
        lines = [str(formatEvent(event)) for event in events]
        expected = f"call call-1: gate {self.id()}: it did not open: answered 403"
        self.assertIn(expected, lines)
        self.assertNotIn("sesame", repr(events) + said)
        self.server.status = 200
        self.assertIn("is open", await self.tool.run(self.call, {"gate": self.id()}))

    async def test_one_that_is_not_there_did_not_open(self) -> None:
        await self.port.stopListening()
        said = await self.tool.run(self.call, {"gate": self.id()})
        self.assertIn("was not opened", said)

"""Tests of L{portero.roster}: who answers, and what the agent is told."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from portero.assignment import Assignment
from portero.config import DEFAULT, Config
from portero.facts import Facts
from portero.money import Ledger
from portero.roster import (
    DATA_ONLY,
    AgentFacts,
    Roster,
    TargetFacts,
    UnknownAgent,
    choose,
    render,
)
from portero.sections import AgentSettings, LimitSettings
from portero.tool_sections import TargetSettings
from tests.fake_call import FakeControl, FakeProvider, FakeTool

NOW = datetime(2026, 11, 21, 17, 5, tzinfo=UTC)


class ChoiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.agents = {
            DEFAULT: AgentSettings(),
            "spain": AgentSettings(called=("+34*",)),
            "madrid": AgentSettings(called=("+3491*",)),
            "desk": AgentSettings(called=("+34911234567", "100")),
            "vip": AgentSettings(callers=("+34600*",)),
            "vip door": AgentSettings(callers=("+34600*",), called=("100",)),
            "ana": AgentSettings(callers=("+34600111222",)),
            "night": AgentSettings(),
        }

    def chosen(self, called: str = "", caller: str = "", agent: str = "") -> str:
        facts = Facts(caller_number=caller, called_number=called, agent=agent)
        return choose(self.agents, facts)

    def test_without_a_fitting_agent_the_default_answers(self) -> None:
        for called in ("", "200", "34911234567"):
            self.assertEqual(self.chosen(called), DEFAULT)

    def test_the_exact_number_wins_over_a_beginning(self) -> None:
        self.assertEqual(self.chosen("+34911234567"), "desk")

    def test_the_exact_number_wins_over_itself_as_a_beginning(self) -> None:
        self.agents = {"all": AgentSettings(called=("100*",)), **self.agents}
        self.assertEqual(self.chosen("100"), "desk")
        self.assertEqual(self.chosen("1001"), "all")

    def test_a_beginning_may_be_empty(self) -> None:
        self.agents["rest"] = AgentSettings(called=("*",))
        self.assertEqual(self.chosen("200"), "rest")
        self.assertEqual(self.chosen("100"), "desk")

    def test_the_longer_beginning_wins(self) -> None:
        self.assertEqual(self.chosen("+34911234568"), "madrid")
        self.assertEqual(self.chosen("+34931234568"), "spain")

    def test_the_caller_counts_more_than_the_number_called(self) -> None:
        self.assertEqual(self.chosen("+34911234567", "+34600999888"), "vip")

    def test_where_both_are_asked_for_both_must_fit(self) -> None:
        self.assertEqual(self.chosen("100", "+34600999888"), "vip door")
        self.assertEqual(self.chosen("100", "+34700999888"), "desk")

    def test_the_exact_caller_wins_over_all_beginnings(self) -> None:
        self.assertEqual(self.chosen("100", "+34600111222"), "ana")

    def test_signs_that_only_help_reading_do_not_count(self) -> None:
        self.assertEqual(self.chosen("+34 911-23 45 (67)"), "desk")

    def test_the_dialplan_may_name_the_agent(self) -> None:
        self.assertEqual(self.chosen("100", agent="night"), "night")

    def test_a_name_that_there_is_not_is_said_with_the_nearest(self) -> None:
        error = self.assertRaises(UnknownAgent, self.chosen, agent="nigth")
        self.assertIn("'nigth'; did you mean night?", str(error))


class WordsTests(SynchronousTestCase):
    def words(self, text: str, facts: Facts | None = None, **settings: Any) -> Any:
        agent = AgentSettings(
            instructions=text, greeting=text, farewell=text, **settings
        )
        return render(agent, facts or Facts(), NOW)

    def test_date_time_and_weekday_are_those_of_the_agent(self) -> None:
        text = "{weekday}, {date}, {time}"
        words = self.words(text, language="en", time_zone="Europe/Madrid")
        self.assertEqual(words.greeting, "Saturday, 21 November 2026, 18:05")
        words = self.words(text, language="es", time_zone="Pacific/Auckland")
        self.assertEqual(words.greeting, "domingo, 22 de noviembre de 2026, 06:05")

    def test_what_is_absent_has_a_fallback(self) -> None:
        text = "{caller_name} {caller_number} {called_number} {company_name} {flat}"
        words = self.words(text, variables={"flat": "no flat", "caller_name": "you"})
        self.assertEqual(words.greeting, "you unknown unknown our company no flat")
        words = self.words(text, language="es", variables={"flat": "-"})
        self.assertIn("desconocido desconocido desconocido nuestra", words.greeting)

    def test_in_a_prompt_what_came_with_the_call_is_marked_as_data(self) -> None:
        facts = Facts("Ana", variables={"flat": "3B"})
        words = self.words("{caller_name} of {flat}", facts, variables={"flat": "-"})
        self.assertEqual(words.greeting, "Ana of 3B")
        self.assertTrue(words.instructions.startswith("“Ana” of “3B”\n"))
        self.assertIn(DATA_ONLY, words.instructions)

    def test_without_any_of_it_nothing_is_said_of_data(self) -> None:
        words = self.words("Hello, {company_name}", Facts("Ana"), company_name="Acme")
        self.assertTrue(words.instructions.startswith("Hello, Acme\n"))
        self.assertNotIn(DATA_ONLY, words.instructions)

    def test_a_value_is_no_template_itself(self) -> None:
        facts = Facts.of_form({"caller_name": "{company_name}", "flat": "{flat}"})
        words = self.words("{caller_name}", facts, company_name="Acme")
        self.assertNotIn("Acme", words.greeting)

    def test_a_variable_cannot_take_the_place_of_what_portero_knows(self) -> None:
        facts = Facts(variables={"date": "never", "company_name": "Evil"})
        words = self.words(
            "{date} {company_name}", facts, company_name="Acme", time_zone="UTC"
        )
        self.assertEqual(words.greeting, "21 November 2026 Acme")

    def test_the_agent_knows_the_words_of_its_farewell(self) -> None:
        self.assertIn("say exactly: Bye", self.words("Bye").instructions)
        words = self.words("Bye {caller_name}", Facts("Ana"))
        self.assertIn("say exactly: Bye “Ana”\n", words.instructions)
        self.assertEqual(words.farewell, "Bye Ana")

    def test_without_templates_the_words_are_as_written(self) -> None:
        agent = AgentSettings(instructions="Set {{x}} to 1.")
        words = render(agent, Facts("Ana"), NOW)
        self.assertEqual(words.instructions, "Set {x} to 1.")
        self.assertEqual((words.greeting, words.farewell), ("", ""))


class AssignmentTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.provider = FakeProvider()
        self.ledger = Ledger(lambda: date(2026, 11, 21))

    def roster(self, limits: LimitSettings | None = None, **settings: Any) -> Roster:
        config = Config(
            agents={DEFAULT: AgentSettings(**settings)},
            targets={"desk": TargetSettings("house,100,1")},
            limits=limits or LimitSettings(),
        )
        return Roster(
            config,
            {DEFAULT: self.provider},
            {DEFAULT: [FakeTool()]},
            self.clock,
            self.ledger,
            now=lambda: NOW,
        )

    def assigned(self, **settings: Any) -> Assignment:
        return self.roster(**settings).assign(DEFAULT, "a", Facts("Ana"))

    def test_who_is_not_interrupted_at_once_decides_about_it(self) -> None:
        for manner in ("instant", "polite", "off"):
            found = self.assigned(
                interruption=manner, barge_in_ms=250, warn_before_end=30.0
            )
            turns, settings = found.brief.turn_detection, found.settings
            decides = manner != "instant"
            self.assertIs(turns.interrupt_response, not decides)
            self.assertIs(turns.create_response, not decides)
            self.assertEqual(
                (settings.interruption, settings.barge_in, settings.warn_before_end),
                (manner, 0.25, 30.0),
            )

    def test_a_key_of_the_menu_leads_to_its_target_while_that_is_open(self) -> None:
        for hours, menu in (
            ("", {"0": "house,100,1"}),
            ("sat 18:00-18:30", {"0": "house,100,1"}),
            ("sat 17:00-17:30", {}),
        ):
            agents = {
                DEFAULT: AgentSettings(
                    menu={"0": "desk"}, digits_pause=1.5, time_zone="Europe/Madrid"
                )
            }
            targets = {"desk": TargetSettings("house,100,1", hours=hours)}
            roster = Roster(
                Config(agents=agents, targets=targets),
                {DEFAULT: self.provider},
                {DEFAULT: []},
                Clock(),
                self.ledger,
                now=lambda: NOW,
            )
            found = roster.assign(DEFAULT, "a", Facts()).settings
            self.assertEqual((dict(found.menu), found.digits_pause), (menu, 1.5))

    def test_a_target_that_opens_or_closes_during_a_call_does_so_for_its_keys(
        self,
    ) -> None:
        agents = {DEFAULT: AgentSettings(menu={"0": "desk"}, time_zone="UTC")}
        targets = {"desk": TargetSettings("house,100,1", hours="sat 18:00-18:30")}
        moments = [NOW]
        roster = Roster(
            Config(agents=agents, targets=targets),
            {DEFAULT: self.provider},
            {DEFAULT: []},
            Clock(),
            self.ledger,
            now=lambda: moments[-1],
        )
        menu = roster.assign(DEFAULT, "a", Facts()).settings.menu
        for hour, minute, open in ((17, 59, 0), (18, 0, 1), (18, 29, 1), (18, 30, 0)):
            moments.append(NOW.replace(hour=hour, minute=minute))
            self.assertEqual(("0" in menu, len(menu)), (bool(open), open))
            self.assertEqual(menu.get("0"), "house,100,1" if open else None)

    def test_every_setting_of_the_session_reaches_the_brief(self) -> None:
        brief = self.assigned(
            model="m",
            voice="ash",
            speed=1.25,
            turn_detection="semantic_vad",
            vad_threshold=0.7,
            vad_prefix_ms=200,
            vad_silence_ms=700,
            idle_timeout_ms=6000,
            eagerness="low",
            interrupt_response=False,
            noise_reduction="far_field",
            transcription_model="t",
            transcription_languages=("es",),
            transcription_keywords=("portero",),
            reasoning_effort="low",
            max_output_tokens=400,
            truncation="retention_ratio",
            retention_ratio=0.5,
            context_tokens=8000,
        ).brief
        self.assertEqual(
            (brief.call_id, brief.model, brief.voice, brief.speed),
            ("a", "m", "ash", 1.25),
        )
        turns = brief.turn_detection
        self.assertEqual(
            (turns.kind, turns.threshold, turns.prefix_ms, turns.silence_ms),
            ("semantic_vad", 0.7, 200, 700),
        )
        self.assertEqual(
            (turns.idle_timeout_ms, turns.eagerness, turns.interrupt_response),
            (6000, "low", False),
        )
        self.assertEqual(brief.noise_reduction, "far_field")
        heard = brief.transcription
        self.assertEqual(
            (heard.model, heard.languages, heard.keywords), ("t", ("es",), ("portero",))
        )
        self.assertEqual(
            (brief.reasoning_effort, brief.max_output_tokens), ("low", 400)
        )
        cut = brief.truncation
        self.assertEqual(
            (cut.kind, cut.retention_ratio, cut.context_tokens),
            ("retention_ratio", 0.5, 8000),
        )
        self.assertEqual([tool.name for tool in brief.tools], ["look_up"])

    def test_how_the_call_is_held_is_as_the_agent_and_the_house_say(self) -> None:
        settings = self.roster(
            LimitSettings(connect_within=3, reply_within=4, goodbye_within=5),
            greeting="Hello {caller_name}",
            farewell="Bye {caller_name}",
            language="es",
            noise_gate=200,
            fallback="desk",
            silence=20,
            longest_call=90,
        )
        held = settings.assign(DEFAULT, "a", Facts("Ana")).settings
        self.assertEqual((held.greeting, held.farewell), ("Hello Ana", "Bye Ana"))
        self.assertEqual((held.language, held.noise_gate), ("es", 200))
        self.assertEqual(held.fallback, "house,100,1")
        self.assertEqual(
            (held.connect_within, held.reply_within, held.drain_within), (3, 4, 5)
        )
        self.assertEqual((held.silence, held.longest), (20, 90))

    def test_how_long_a_tool_may_take_is_as_the_agent_says(self) -> None:
        assigned = self.assigned(filler="sound", filler_after=1.5, tool_within=30.0)
        held = assigned.settings
        self.assertEqual((held.filler, held.filler_after), ("sound", 1.5))
        running = assigned.toolbox.run(FakeControl(), "look_up", {})
        self.clock.advance(29.9)
        self.assertNoResult(running)
        self.clock.advance(0.2)
        self.assertIn("no answer within 30 s", self.successResultOf(running))

    def test_calls_are_paid_from_the_budget_of_their_agent(self) -> None:
        roster = self.roster(model="gpt-realtime-2.1", most_per_day=1.0)
        meter = roster.assign(DEFAULT, "a", Facts()).meter
        self.assertEqual(roster.day_is_over(DEFAULT), "")
        meter.used({"output.audio_tokens": 1_000_000})
        self.assertEqual(self.ledger.spent(DEFAULT), 64.0)
        self.assertIn("ceiling of $1 a day", roster.day_is_over(DEFAULT))

    def test_a_model_without_a_price_has_no_cost(self) -> None:
        self.assertFalse(self.assigned(model="mine").meter.known)


class HouseTests(SynchronousTestCase):
    """What a roster tells those who look at the house."""

    def setUp(self) -> None:
        self.ledger = Ledger(lambda: date(2026, 11, 21))
        self.one, self.other = FakeProvider(), FakeProvider()

    def roster(self, **config: Any) -> Roster:
        agents = {
            DEFAULT: AgentSettings(
                model="gpt-realtime-2.1",
                max_calls=3,
                most_per_day=2.0,
                mcp=("crm",),
                time_zone="UTC",
            ),
            "door": AgentSettings(
                model="mine",
                voice="cedar",
                language="es",
                provider="local",
                time_zone="Europe/Madrid",
            ),
            "back door": AgentSettings(model="mine", provider="local"),
        }
        config = {"limits": LimitSettings(most_per_day=5.0), **config}
        return Roster(
            Config(agents=agents, **config),
            {DEFAULT: self.one, "door": self.other, "back door": self.other},
            {DEFAULT: [FakeTool()], "door": [], "back door": []},
            Clock(),
            self.ledger,
            now=lambda: NOW,
        )

    def test_each_agent_is_described(self) -> None:
        self.ledger.add(DEFAULT, 0.123456)
        self.ledger.add("door", 7.0)
        first, door, _ = self.roster().agents()
        self.assertEqual(
            first,
            AgentFacts(
                DEFAULT,
                "a fake gpt-realtime-2.1",
                "gpt-realtime-2.1",
                "marin",
                "en",
                ("look_up", "crm"),
                3,
                0.1235,
                2.0,
            ),
        )
        self.assertEqual(
            (door.name, door.voice, door.language), ("door", "cedar", "es")
        )
        self.assertEqual((door.tools, door.max_calls), ((), 0))
        self.assertIsNone(door.dollars_today, "its model has no price")

    def test_a_target_is_open_by_its_hours_where_the_agent_is(self) -> None:
        at_six = "sat 18:00-18:30"  # which it is in Madrid
        targets = {
            "desk": TargetSettings("house,100,1", "The desk"),
            "sales": TargetSettings("house,200,1", hours=at_six),
        }
        roster = self.roster(targets=targets)
        self.assertEqual(
            roster.targets("door"),
            (TargetFacts("desk", "The desk", True), TargetFacts("sales", "", True)),
        )
        self.assertEqual([one.open for one in roster.targets()], [True, False])

    def test_the_place_of_a_target_is_in_the_configuration_alone(self) -> None:
        roster = self.roster(targets={"desk": TargetSettings("house,100,1")})
        self.assertEqual(roster.place("desk"), "house,100,1")
        self.assertIsNone(roster.place("house,100,1"))

    def test_what_was_spent_today_is_plain_json(self) -> None:
        self.ledger.add(DEFAULT, 0.5)
        found = self.roster().spent()
        self.assertEqual(json.loads(json.dumps(found)), found)
        self.assertEqual((found["today"], found["most"]), (0.5, 5.0))
        self.assertEqual(
            found["agents"],
            [
                {"agent": DEFAULT, "today": 0.5, "most": 2.0},
                {"agent": "door", "today": None, "most": 0.0},
                {"agent": "back door", "today": None, "most": 0.0},
            ],
        )
        self.assertIsNone(self.roster(prices={}).spent()["today"])

    def test_each_voice_service_is_there_once_by_its_name(self) -> None:
        self.assertEqual(
            self.roster().providers(), {"demo": self.one, "local": self.other}
        )

    def test_the_demo_agents_of_two_languages_are_told_apart(self) -> None:
        agents = {
            name: AgentSettings(language=language)
            for name, language in ((DEFAULT, "en"), ("door", "es"), ("shop", "es"))
        }
        roster = Roster(
            Config(agents=agents),
            {DEFAULT: self.one, "door": self.other, "shop": self.other},
            dict.fromkeys(agents, ()),
            Clock(),
            self.ledger,
        )
        wanted = {"demo": self.one, "demo (es)": self.other}
        self.assertEqual(roster.providers(), wanted)

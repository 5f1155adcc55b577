"""What portero has the agent say, and what is still open of it."""

from __future__ import annotations

from typing import Any, cast

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from portero.cues import CHECK_IN, Cues
from tests.fake_call import Recorder


class FakeAgent(Recorder):
    def ask(self, text: str = "") -> None:
        self.tell("ask", text)

    def greet(self, words: str) -> None:
        self.tell("greet", words)

    def cancel(self) -> None:
        self.tell("cancel")


class CuesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.agent = FakeAgent()
        self.prompts: list[str] = []
        self.cues = Cues(
            "call-1",
            cast(Any, self.agent),
            self.prompts.append,
            reply_within=8.0,
            silence=60.0,
        )

    def test_the_caller_is_called_out_to_twice(self) -> None:
        for _ in range(2):
            self.assertFalse(self.cues.called_in_vain)
            self.cues.call_out()
        self.assertTrue(self.cues.called_in_vain)
        self.assertEqual(self.agent.told, 2 * [("ask", CHECK_IN.format(seconds=60))])
        self.cues.caller_spoke()
        self.assertFalse(self.cues.called_in_vain)

    def test_an_agent_that_does_not_call_out_has_it_done_for_it(self) -> None:
        self.cues.ask_again()
        self.assertEqual(self.prompts, [])
        self.cues.call_out()
        self.cues.ask_again()
        self.assertEqual(self.prompts, ["still_there"])
        self.cues.agent_spoke()
        self.cues.ask_again()
        self.assertEqual(self.prompts, ["still_there"])

    def test_what_comes_in_writing_is_asked_for_aloud_once(self) -> None:
        with capturedLogs() as events:
            self.assertTrue(self.cues.ask_aloud("Hello."))
            self.assertFalse(self.cues.ask_aloud("Hello!"))
        self.assertEqual(self.agent.told, [("greet", "Hello.")])
        self.assertEqual(
            [formatEvent(event).partition("; ")[2] for event in events],
            ["asking for it as speech", "no more of this"],
        )
        self.cues.agent_spoke()
        self.assertTrue(self.cues.ask_aloud("Hello."))

    def test_a_farewell_takes_the_place_of_a_reply_and_is_a_new_beginning(self) -> None:
        self.cues.ask_again()
        self.cues.ask_aloud("Hello.")
        self.cues.bid_farewell("Bye.")
        self.assertEqual(self.agent.told[-2:], [("cancel",), ("greet", "Bye.")])
        self.assertFalse(self.cues.asked_again)
        self.assertTrue(self.cues.ask_aloud("Bye."))

    def test_a_farewell_that_is_not_said_is_made_up_for_once(self) -> None:
        self.cues.make_up_farewell()
        self.assertEqual(self.prompts, [])
        self.cues.bid_farewell("Bye.")
        for _ in range(2):
            self.cues.make_up_farewell()
        self.assertEqual(self.prompts, ["goodbye"])

    def test_one_that_was_begun_is_said(self) -> None:
        self.cues.bid_farewell("Bye.")
        self.cues.agent_spoke()
        self.cues.make_up_farewell()
        self.assertEqual(self.prompts, [])

"""What is said while the recording is paused is told nobody, whenever it comes."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from portero.discretion import MOST_OPEN, UNTOLD, Discretion
from portero.interfaces import HAPPENINGS

WORDED = {"words", "said", "tool_began", "tool_ended"}


class DiscretionCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.discretion = Discretion()

    def told(self, kind: str, **data: Any) -> Any:
        return self.discretion.told(kind, data)

    def said(self, item: str, role: str = "user") -> str:
        """@return: What is told of it."""
        text: str = self.told("said", role=role, item=item, text="4111")["text"]
        return text

    def words(self, item: str, role: str = "user") -> bool:
        """@return: Whether they are told."""
        return self.told("words", role=role, item=item, text="41") is not None


class WordTests(DiscretionCase):
    def test_without_a_pause_all_is_told_as_it_is(self) -> None:
        self.discretion.begins("user", "u1")
        self.assertEqual((self.words("u1"), self.said("u1")), (True, "4111"))
        self.assertEqual(
            (self.words("a1", "assistant"), self.said("u2")), (True, "4111")
        )
        for kind in set(HAPPENINGS) - WORDED:
            data = {"text": "4111", "result": "4111"}
            self.discretion.pause()
            self.assertEqual(self.told(kind, **data), data)
            self.discretion.resume()

    def test_in_a_pause_nothing_is(self) -> None:
        self.discretion.pause()
        for role in ("user", "assistant", "system"):
            self.assertEqual(
                (self.words("x", role), self.said("x", role)), (False, UNTOLD)
            )

    def test_what_was_said_in_the_pause_is_not_told_after_it(self) -> None:
        self.discretion.pause()
        self.discretion.begins("user", "u1")
        self.assertFalse(self.words("a1", "assistant"))
        self.discretion.resume()
        self.assertEqual((self.words("u1"), self.said("u1")), (False, UNTOLD))
        self.assertEqual(self.words("a1", "assistant"), False)
        self.assertEqual(self.said("a1", "assistant"), UNTOLD)

    def test_nor_what_began_before_it(self) -> None:
        self.discretion.begins("user", "u1")
        self.assertTrue(self.words("a1", "assistant"))
        self.discretion.pause()
        self.discretion.resume()
        self.assertEqual((self.words("u1"), self.said("u1")), (False, UNTOLD))
        self.assertEqual(self.said("a1", "assistant"), UNTOLD)

    def test_what_begins_after_it_is(self) -> None:
        self.discretion.pause()
        self.discretion.resume()
        self.discretion.begins("user", "u2")
        self.assertEqual((self.words("u2"), self.said("u2")), (True, "4111"))
        self.assertEqual(self.said("a2", "assistant"), "4111")

    def test_what_nobody_saw_begin_may_be_of_the_pause(self) -> None:
        """With turn_detection none the service does not say when the caller speaks."""
        self.discretion.pause()
        self.discretion.resume()
        self.assertEqual((self.words("u1"), self.said("u1")), (False, UNTOLD))
        self.assertEqual(self.said("u2"), UNTOLD)

    def test_what_was_complete_before_it_was_told(self) -> None:
        self.discretion.begins("user", "u1")
        self.assertEqual(self.said("u1"), "4111")
        self.discretion.pause()
        self.assertEqual(self.said("u1"), UNTOLD)

    def test_it_remembers_a_bounded_number(self) -> None:
        self.discretion.pause()
        for number in range(MOST_OPEN + 5):
            self.discretion.begins("user", f"u{number}")
        self.discretion.resume()
        self.assertEqual(self.said("u0"), UNTOLD)
        self.assertLessEqual(len(self.discretion._open), MOST_OPEN)


class ToolTests(DiscretionCase):
    def began(self, tool: int) -> Any:
        return self.told("tool_began", tool=tool, name="pay", arguments='card="4111"')

    def ended(self, tool: int, result: str = "4111 paid") -> Any:
        return self.told(
            "tool_ended", tool=tool, name="pay", result=result, ok=True, ms=3
        )

    def test_a_tool_that_ran_in_a_pause_is_named_and_no_more(self) -> None:
        self.discretion.pause()
        began, ended = self.began(1), self.ended(1)
        self.assertEqual(began, {"tool": 1, "name": "pay", "arguments": ""})
        self.assertEqual((ended["result"], ended["ok"], ended["ms"]), ("", True, 3))

    def test_also_when_only_a_part_of_it_did(self) -> None:
        self.assertEqual(self.began(1)["arguments"], 'card="4111"')
        self.discretion.pause()
        self.began(2)
        self.discretion.resume()
        self.assertEqual(self.ended(1)["result"], "")
        self.assertEqual(self.ended(2)["result"], "")
        self.began(3)
        self.assertEqual(self.ended(3)["result"], "4111 paid")

    def test_asked_too_early_is_still_no_failure(self) -> None:
        self.discretion.pause()
        self.began(1)
        self.assertEqual(self.ended(1, "not yet: ask for 4111")["result"], "not yet")

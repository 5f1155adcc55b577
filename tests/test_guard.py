"""The fault boundary of a call."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from portero.guard import guarded
from tests.fake_call import Broken


class Part:
    """Of a call that crashes."""

    def __init__(self) -> None:
        self.crashes: list[str] = []
        self.heard: list[tuple[str, int]] = []

    def crashed(self) -> None:
        self.crashes.append("crashed")

    @guarded
    def hear(self, word: str, times: int = 1) -> None:
        """Of any length."""
        if not word:
            raise Broken
        self.heard.append((word, times))

    @guarded
    def stop(self) -> None:
        raise SystemExit


class GuardTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.part = Part()

    def test_what_goes_well_is_done_as_without_it(self) -> None:
        self.part.hear("yes")
        self.part.hear("no", 2)
        self.assertEqual(self.part.heard, [("yes", 1), ("no", 2)])
        self.assertEqual(self.part.crashes, [])
        self.assertEqual(Part.hear.__doc__, "Of any length.")

    def test_an_exception_is_told_once_and_goes_no_further(self) -> None:
        self.part.hear("")
        self.assertEqual(self.part.crashes, ["crashed"])
        self.assertEqual(self.part.heard, [])

    def test_what_ends_the_program_ends_it(self) -> None:
        self.assertRaises(SystemExit, self.part.stop)
        self.assertEqual(self.part.crashes, [])

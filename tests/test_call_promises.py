"""What tools have promised for the end of a call is done when it is over."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.fake_call import Broken, Story


class PromiseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.story = Story().greeted()
        self.kept: list[tuple[str, float]] = []

    def promise(self, name: str = "a") -> None:
        call = self.story.call.control
        call.at_end(lambda: self.kept.append((name, call.seconds())))

    def test_each_is_kept_once_and_not_before_the_end(self) -> None:
        self.promise("a")
        self.promise("b")
        self.story.clock.advance(5.0)
        self.assertEqual(self.kept, [])
        self.story.leg.drop()
        self.assertEqual(self.kept, [("a", 5.0), ("b", 5.0)])
        self.assertEqual(len(self.story.over), 1)

    def test_it_is_kept_before_the_call_is_let_go(self) -> None:
        """portero does not stop before that, so it is done also when it stops."""
        seen: list[int] = []
        self.story.call.control.at_end(lambda: seen.append(len(self.story.over)))
        self.story.leg.drop()
        self.assertEqual(seen, [0])

    def test_what_is_promised_after_the_end_is_done_at_once(self) -> None:
        self.story.clock.advance(5.0)
        self.story.leg.drop()
        self.story.clock.advance(60.0)
        self.promise()
        self.assertEqual(self.kept, [("a", 5.0)])

    def test_all_that_was_said_is_known_by_then(self) -> None:
        call = self.story.call.control
        said: list[str] = []
        call.at_end(lambda: said.extend(each.text for each in call.said()))
        self.story.service.events.transcript("user", "Goodbye.", "item")
        self.story.leg.drop()
        self.assertEqual(said, ["Goodbye."])

    def test_one_that_cannot_be_kept_harms_nothing(self) -> None:
        def fail() -> None:
            raise Broken

        self.story.call.control.at_end(fail)
        self.promise()
        self.story.leg.drop()
        self.assertEqual(len(self.kept), 1)
        self.assertEqual(len(self.story.over), 1)
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)
        self.assertEqual(self.story.call.failure, "")

"""What happened in each call, kept within bounds and told on."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from portero.interfaces import Happening, IObserver, LegFigures
from portero.observers import story as module
from portero.observers.story import Story
from tests.fake_call import Broken
from tests.fake_call import Story as CallStory
from tests.test_tally import RECORD


class FakeCall:
    """Of what a story asks of a call."""

    def __init__(self, call_id: str) -> None:
        self.call_id = call_id


class StoryCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.story = Story()

    def start(self, *call_ids: str) -> None:
        for call_id in call_ids:
            call: Any = FakeCall(call_id)
            self.story.call_started(call)

    def tell(self, call_id: str, kind: str, at: float = 1.0, **data: Any) -> Happening:
        happening = Happening(call_id, kind, at, data)
        self.story.call_event(happening)
        return happening

    def words(self, text: str, item: str = "i1", role: str = "assistant") -> Happening:
        return self.tell("a", "words", role=role, item=item, text=text)

    def said(self, text: str, item: str = "i1", role: str = "assistant") -> Happening:
        return self.tell("a", "said", role=role, item=item, text=text)

    def end(self, *call_ids: str) -> None:
        for call_id in call_ids:
            self.story.call_ended(replace(RECORD, call_id=call_id), LegFigures())

    def found(self, call_id: str = "a") -> tuple[Happening, ...]:
        found = self.story.of(call_id)
        assert found is not None
        return found

    def texts(self) -> list[tuple[str, str]]:
        """Kind and text of what is found."""
        return [(one.kind, one.data["text"]) for one in self.found()]


class StoryTests(StoryCase):
    def test_a_call_that_is_over_can_be_forgotten(self) -> None:
        self.start("a", "b")
        self.said("Hello")
        before = self.story.size
        self.assertFalse(self.story.forget("a"))  # it is under way
        self.tell("b", "state", state="x")
        self.end("a", "b")
        self.assertTrue(self.story.forget("b"))
        self.assertIs(self.story.of("b"), None)
        self.assertEqual(self.story.size, before)
        self.assertTrue(self.story.forget("a"))
        self.assertEqual(self.story.size, 0)
        self.assertFalse(self.story.forget("a"))

    def test_it_is_an_observer(self) -> None:
        self.assertTrue(verifyObject(IObserver, self.story))

    def test_all_that_happens_is_there_in_order_also_when_the_call_is_over(
        self,
    ) -> None:
        self.start("a", "b")
        told = [self.tell("a", "state", n, state=str(n)) for n in range(3)]
        self.tell("b", "key")
        self.assertEqual(self.found(), tuple(told))
        self.end("a")
        self.assertEqual(self.found(), tuple(told))
        self.assertEqual(len(self.found("b")), 1)

    def test_of_a_call_that_is_not_known_there_is_nothing(self) -> None:
        self.assertIsNone(self.story.of("a"))
        self.start("a")
        self.assertEqual(self.found(), ())

    def test_a_call_that_began_before_is_not_kept(self) -> None:
        self.tell("a", "key")
        self.end("a")
        self.assertIsNone(self.story.of("a"))

    def test_the_pieces_of_what_is_said_are_one(self) -> None:
        self.start("a")
        first = self.words("Good ")
        self.words("Until ", "u1", "user")
        self.tell("a", "key", text="")
        self.words("day.")
        self.words("when?", "u1", "user")
        wanted = [("words", "Good day."), ("words", "Until when?"), ("key", "")]
        self.assertEqual(self.texts(), wanted)
        self.assertEqual(self.found()[0].at, first.at)
        self.assertEqual(first.data["text"], "Good ", "who got it may have kept it")

    def test_what_was_said_ends_them(self) -> None:
        self.start("a")
        for text in ("One.", "Two."):
            self.words(text[:2], item="")
            self.words(text[2:], item="")
            self.said(text, item="")
        wanted = [
            (kind, text) for text in ("One.", "Two.") for kind in ("words", "said")
        ]
        self.assertEqual(self.texts(), wanted)

    def test_an_id_that_comes_again_begins_anew(self) -> None:
        self.start("a")
        self.tell("a", "key")
        self.end("a")
        self.start("a")
        self.assertEqual(self.found(), ())
        self.end("a")
        self.assertEqual(self.story.size, 0)

    def test_a_real_call_is_told(self) -> None:
        call = CallStory()
        call.watchers.add(self.story)
        call.speaking()
        call.service.events.agent_words("We ", "reply")
        call.service.events.agent_words("are open.", "reply")
        call.leg.drop()
        told = [one for one in call.seen.happened if one.kind != "words"]
        found = [one for one in self.found("call-1") if one.kind != "words"]
        self.assertEqual(found, told)
        (words,) = [one for one in self.found("call-1") if one.kind == "words"]
        self.assertEqual(words.data["text"], "We are open.")


class BoundTests(StoryCase):
    def kept(self, call_ids: Iterable[str]) -> list[str]:
        return [call_id for call_id in call_ids if self.story.of(call_id) is not None]

    def test_of_a_call_the_last_are_kept(self) -> None:
        self.story = Story(most_happenings=3)
        self.start("a")
        for n in range(5):
            self.tell("a", "state", n, state=str(n))
        self.assertEqual([one.at for one in self.found()], [2, 3, 4])

    def test_words_whose_beginning_is_forgotten_begin_anew(self) -> None:
        self.story = Story(most_happenings=2)
        self.start("a")
        self.words("One ")
        for _ in range(2):
            self.tell("a", "key", text="")
        self.words("two.")
        self.assertEqual(self.texts(), [("key", ""), ("words", "two.")])
        self.said("One two.")
        self.assertEqual(self.texts()[-1], ("said", "One two."))

    def test_of_the_calls_that_ended_the_last_are_kept(self) -> None:
        self.story = Story(most_ended=2)
        self.start("a", "b", "c", "d")
        self.end("c", "b", "a")
        self.assertEqual(self.kept("abcd"), ["a", "b", "d"])

    def test_when_it_is_too_much_the_oldest_call_that_ended_goes_first(self) -> None:
        self.start("a", "b", "c")
        for call_id in "abc":
            self.tell(call_id, "said", role="user", item="", text="x" * 1000)
        self.end("b", "a")
        self.story.most_bytes = self.story.size
        self.tell("c", "key")
        self.assertEqual(self.kept("abc"), ["a", "c"])
        self.assertEqual(len(self.found("c")), 2)

    def test_and_then_what_came_first_in_the_call_at_hand(self) -> None:
        self.start("a", "b")
        self.tell("b", "key")
        self.words("x" * 1000)
        self.tell("a", "state", state="talking")
        self.story.most_bytes = self.story.size
        self.tell("a", "state", state="draining")
        self.assertEqual([one.kind for one in self.found()], ["state", "state"])
        self.assertEqual(len(self.found("b")), 1)

    def test_one_thing_that_is_too_much_by_itself_is_not_kept(self) -> None:
        self.story = Story(most_bytes=2000)
        self.start("a")
        heard: list[Happening] = []
        self.story.listen("a", heard.append)
        for _ in range(3):
            self.words("x" * 1000)
        self.assertLessEqual(self.story.size, 2000)
        self.assertEqual(len(heard), 3)

    def test_what_is_counted_is_what_is_there(self) -> None:
        self.story = Story(most_happenings=7, most_ended=2, most_bytes=9000)
        for n in range(9):
            call_id = "abc"[n % 3]
            self.start(call_id)
            for m in range(12):
                kind, item = ("words", "words", "said")[m % 3], str(m % 5)
                self.tell(call_id, kind, role="user", item=item, text="x" * m * 20)
                self.assertLessEqual(self.story.size, 9000)
            self.end(call_id)
        for call_id in "abc":
            self.start(call_id)
            self.end(call_id)
        self.assertEqual(self.story.size, 0, "all that was kept is forgotten")

    def test_a_hundred_long_calls_stay_within_the_bound(self) -> None:
        """By what Python takes for it, and not by the story's own account."""
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        before, _ = tracemalloc.get_traced_memory()
        names = [f"call {n}" for n in range(100)]
        self.start(*names)
        for turn in range(60):
            for name in names:
                self.turn(name, turn)
        after, _ = tracemalloc.get_traced_memory()
        self.assertLess(after - before, 1.25 * module.MOST_BYTES)
        self.assertGreater(after - before, 0.5 * module.MOST_BYTES)
        self.assertEqual(self.found(names[-1])[-1].kind, "played_out")

    def turn(self, call_id: str, turn: int) -> None:
        item = f"item_{call_id}_{turn}"
        for speaking in (True, False):
            self.tell(call_id, "caller", turn, speaking=speaking)
        for floor in ("listening", "waiting", "speaking"):
            self.tell(call_id, "floor", turn, floor=floor)
        for role in ("user", "assistant"):
            pieces = [f"word{turn}.{n} " for n in range(20)]
            for text in pieces:
                self.tell(call_id, "words", turn, role=role, item=item, text=text)
            text = "".join(pieces)
            self.tell(call_id, "said", turn, role=role, item=item, text=text)
        self.tell(call_id, "sounding", turn, item=item)
        self.tell(call_id, "turn", turn, turn=turn, came_ms=300, sounded_ms=320)
        self.tell(call_id, "played_out", turn, item=item)


class ListenTests(StoryCase):
    def setUp(self) -> None:
        super().setUp()
        self.heard: list[Happening] = []
        self.start("a", "b")

    def test_who_listens_is_told_each_piece_once_it_is_kept(self) -> None:
        kept: list[tuple[Happening, ...]] = []
        self.story.listen("a", self.heard.append)
        self.story.listen("a", lambda _: kept.append(self.found()))
        told = [self.words("Good "), self.words("day."), self.tell("a", "key")]
        self.tell("b", "key")
        self.assertEqual(self.heard, told)
        self.assertEqual([len(found) for found in kept], [1, 1, 2])

    def test_until_it_stops(self) -> None:
        stop = self.story.listen("a", self.heard.append)
        again = self.story.listen("a", self.heard.append)
        self.tell("a", "key")
        stop()
        stop()
        self.tell("a", "key")
        again()
        self.tell("a", "key")
        self.assertEqual(len(self.heard), 3)

    def test_or_the_call_is_over(self) -> None:
        stop = self.story.listen("a", self.heard.append)
        self.end("a")
        self.start("a")
        self.tell("a", "key")
        stop()
        self.assertEqual(self.heard, [])

    def test_of_a_call_that_is_not_under_way_nothing_comes(self) -> None:
        self.end("b")
        stops = [self.story.listen(name, self.heard.append) for name in "bc"]
        self.start("b", "c")
        self.tell("b", "key")
        for stop in stops:
            stop()
        self.assertEqual(self.heard, [])

    def test_one_that_fails_keeps_no_other_from_hearing(self) -> None:
        def fail(happening: Happening) -> None:
            raise Broken("listener")

        self.story.listen("a", fail)
        self.story.listen("a", self.heard.append)
        self.tell("a", "key")
        self.assertEqual(len(self.heard), 1)
        self.assertEqual(len(self.flushLoggedErrors(Broken)), 1)

    def test_one_may_stop_while_it_is_told(self) -> None:
        stops: list[Any] = []

        def once(happening: Happening) -> None:
            self.heard.append(happening)
            stops[0]()

        stops.append(self.story.listen("a", once))
        self.story.listen("a", self.heard.append)
        for _ in range(2):
            self.tell("a", "key")
        self.assertEqual(len(self.heard), 3)

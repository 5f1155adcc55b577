"""What the simulator counts, and what it forgets when that is too much."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from portero.simulator.knobs import Knobs
from portero.simulator.tokens import longest_input, reasons
from tests.test_simulator_session import Event, Line, of_type

TRANSCRIBED = "conversation.item.input_audio_transcription.completed"


def usage_of(events: list[Event]) -> Event:
    (done,) = of_type(events, "response.done")
    usage = done["response"]["usage"]
    assert isinstance(usage, dict)
    return usage


class Counted:
    """The tokens of one response."""

    def __init__(self, events: list[Event]) -> None:
        self.usage = usage_of(events)
        given = self.usage["input_token_details"]
        self.text, self.audio = given["text_tokens"], given["audio_tokens"]
        cached = given["cached_tokens_details"]
        self.cached = cached["text_tokens"], cached["audio_tokens"]
        self.sum_fits = (
            self.usage["input_tokens"] == self.text + self.audio
            and given["cached_tokens"] == sum(self.cached)
            and self.usage["total_tokens"]
            == self.usage["input_tokens"] + self.usage["output_tokens"]
        )


class UsageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.line = Line(Knobs(reply=((0.1, 1000),)))

    def reply(self) -> Counted:
        return Counted([*self.line.send("response.create"), *self.line.wait(5)])

    def test_a_reply_is_read_by_the_next_one_not_by_itself(self) -> None:
        first, second, third = self.reply(), self.reply(), self.reply()
        self.assertEqual([c.audio for c in (first, second, third)], [0, 20, 40])
        self.assertEqual(first.usage["output_token_details"]["audio_tokens"], 20)

    def test_what_the_last_reply_read_is_cached(self) -> None:
        first, second, third = self.reply(), self.reply(), self.reply()
        self.assertEqual(first.cached, (0, 0))
        self.assertEqual(second.cached, (first.text, first.audio))
        self.assertEqual(third.cached, (second.text, second.audio))
        self.assertTrue(first.sum_fits and second.sum_fits and third.sum_fits)

    def test_a_cancelled_reply_has_read_all_the_same(self) -> None:
        self.reply()
        events = self.line.send("response.create")
        events += [*self.line.wait(0.12), *self.line.send("response.cancel")]
        self.assertEqual(Counted(events).audio, 20)

    def test_the_numbers_can_be_set(self) -> None:
        told = {"total_tokens": 5, "input_token_details": {"cached_tokens": 2}}
        self.line.session.knobs = Knobs(usage=told)
        events = [*self.line.send("response.create"), *self.line.wait(5)]
        self.assertEqual(usage_of(events), told)


class TranscriptionTests(SynchronousTestCase):
    def usage(self, knobs: Knobs | None = None, **transcription: Any) -> Event:
        line = Line(knobs, transcription=transcription)
        line.turn(1000)
        (event,) = of_type(line.wait(5), TRANSCRIBED)
        usage = event["usage"]
        assert isinstance(usage, dict)
        return usage

    def test_newer_models_are_paid_by_token(self) -> None:
        usage = self.usage(model="gpt-transcribe")
        details = usage["input_token_details"]
        self.assertEqual(usage["type"], "tokens")
        self.assertEqual(details, {"text_tokens": 0, "audio_tokens": 13})
        self.assertEqual(usage["total_tokens"], 13 + usage["output_tokens"])

    def test_others_are_paid_by_time(self) -> None:
        for model in ("whisper-1", "gpt-realtime-whisper"):
            usage = self.usage(model=model)
            self.assertEqual(usage, {"type": "duration", "seconds": 1.26})

    def test_the_numbers_can_be_set(self) -> None:
        told = {"type": "duration", "seconds": 60}
        knobs = Knobs(transcription_usage=told)
        self.assertEqual(self.usage(knobs, model="gpt-transcribe"), told)


class TruncationTests(SynchronousTestCase):
    """Each reply is 20 tokens of sound, and has some of words."""

    def start(self, truncation: object) -> None:
        self.line = Line(Knobs(reply=((0.1, 1000),)))
        (answer,) = self.line.update(truncation=truncation)
        self.assertEqual(answer["type"], "session.updated")
        self.each = 0

    def replies(self, count: int) -> list[Counted]:
        found = []
        for _ in range(count):
            events = [*self.line.send("response.create"), *self.line.wait(5)]
            found.append(Counted(events))
        (item, *_) = self.line.session.conversation.items
        self.each = sum(item.tokens())
        return found

    def kept(self) -> int:
        items = self.line.session.conversation.items
        return sum(not item.forgotten for item in items)

    def ratio(self, ratio: float, most: int) -> dict[str, Any]:
        limits = {"post_instructions": most}
        return {
            "type": "retention_ratio",
            "retention_ratio": ratio,
            "token_limits": limits,
        }

    def test_a_retention_ratio_forgets_more_than_it_must(self) -> None:
        self.start(self.ratio(0.5, 260))
        counted = self.replies(30)
        read = [c.audio for c in counted]
        self.assertLessEqual(max(read), 260)
        falls = [i for i in range(1, 30) if read[i] < read[i - 1]]
        self.assertTrue(falls)
        for at in falls:
            # Words count as well, but only half is left of both.
            self.assertLessEqual(read[at] / 20 * self.each, 130)
            self.assertEqual(counted[at].cached[1], 0)
            self.assertLess(counted[at].cached[0], counted[at - 1].text)
            self.assertTrue(counted[at].sum_fits)

    def test_what_was_forgotten_stays_so(self) -> None:
        self.start(self.ratio(0.5, 260))
        self.replies(30)
        now = self.kept()
        self.line.update(truncation="disabled")
        self.replies(1)
        self.assertEqual(self.kept(), now + 1)

    def test_the_newest_is_read_whatever_the_limit(self) -> None:
        self.start(self.ratio(0.0, 1))
        self.assertEqual([c.audio for c in self.replies(4)], [0, 20, 20, 20])

    def test_without_a_limit_of_its_own_the_models_counts(self) -> None:
        for truncation in (
            "auto",
            "disabled",
            {"type": "retention_ratio", "retention_ratio": 0.1},
        ):
            self.start(truncation)
            self.assertEqual(self.replies(20)[-1].audio, 19 * 20)

    def test_auto_keeps_within_the_models_limit(self) -> None:
        self.start("auto")
        self.line.text("x" * 4 * longest_input("gpt-realtime-2.1"))
        (counted,) = self.replies(1)
        self.assertGreater(counted.text, longest_input("gpt-realtime-2.1"))
        (counted,) = self.replies(1)  # with something newer, it is forgotten
        self.assertLess(counted.text, 1000)

    def test_a_limit_above_the_models_is_refused(self) -> None:
        line = Line()
        most = longest_input("gpt-realtime-2.1")
        (taken,) = line.update(truncation=self.ratio(0.8, most))
        self.assertEqual(taken["type"], "session.updated")
        (refused,) = line.update(truncation=self.ratio(0.8, most + 1))
        self.assertEqual(
            refused["error"]["param"],
            "session.truncation.token_limits.post_instructions",
        )


class ModelTests(SynchronousTestCase):
    def test_only_the_second_generation_reasons_and_reads_so_much(self) -> None:
        for model, does in {
            "gpt-realtime-2": True,
            "gpt-realtime-2.1-mini": True,
            "gpt-realtime": False,
            "gpt-realtime-1.5": False,
            "gpt-realtime-2025-08-28": False,
        }.items():
            self.assertEqual(reasons(model), does, model)
            self.assertEqual(longest_input(model) > 100_000, does, model)

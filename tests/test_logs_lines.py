"""Tests of L{portero.logs.lines}: any event is one line, and its fields are data."""

from __future__ import annotations

import json
import os
import re
import time
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import Logger, LogLevel, formatEvent
from twisted.python import log as legacy
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from portero.logs.lines import BAR, GAP, LONGEST, LONGEST_MESSAGE, MOST_LINES, Lines
from portero.logs.masking import Mask
from tests.test_reference import DOCS

SECRET = "correct-horse-battery"
NOON = 1795867200.25
CALL_ID = "6f1c0f5e-0c4e-4f5a-9a59-1f2d3c4b5a69"
EVIL = "Ana\n2026-11-30T12:00:00.000+0000 [portero.access#warn] \x1b[31mred\u202e\r\x85"
PLAIN = st.one_of(
    st.text(),
    st.sampled_from([EVIL, SECRET, f"Bearer {SECRET}", "sk-abcdefgh", "{", "\ud800"]),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.none(),
    st.binary(),
    st.lists(st.text()),
)
FIELDS = st.dictionaries(
    st.text(st.characters(codec="ascii", categories=["L"]), min_size=1), PLAIN
)


class Nasty:
    """Nothing can be learnt of it."""

    def __repr__(self) -> str:
        raise ValueError("no")


def event(words: str | None, level: Any = LogLevel.info, **fields: Any) -> Any:
    """As a class C{Call} of C{portero.call} would log it, at noon."""
    found: list[Any] = []
    logger = Logger("portero.call.Call", observer=found.append)  # type: ignore[arg-type]
    logger.emit(level, words, **fields)
    return {**found[0], "log_time": NOON}


def failed(error: Exception, words: str = "broken", **fields: Any) -> Any:
    try:
        raise error
    except Exception:
        failure = Failure()
    return event(words, LogLevel.critical, log_failure=failure, **fields)


class LineCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.lines = Lines(Mask([SECRET]), formatEvent)
        self.set_zone("Europe/Madrid")

    def set_zone(self, name: str | None) -> None:
        """For as long as the test lasts."""
        self.addCleanup(self._set_zone, os.environ.get("TZ"))
        self._set_zone(name)

    def _set_zone(self, name: str | None) -> None:
        os.environ.pop("TZ", None)
        if name is not None:
            os.environ["TZ"] = name
        time.tzset()

    def human(self, event: Any) -> str:
        (line,) = self.lines.human(event)
        return line

    def json(self, event: Any) -> dict[str, Any]:
        line = self.lines.json(event)
        self.assertTrue(line.isprintable())
        found: dict[str, Any] = json.loads(line, parse_constant=self.fail)
        return found


class HumanTests(LineCase):
    def test_time_part_level_and_words(self) -> None:
        line = self.human(event("call {call_id}: {n} frames", call_id=CALL_ID, n=3))
        self.assertEqual(
            line,
            "2026-11-28T13:00:00.250+0100 [portero.call#info] "
            f"call {CALL_ID}: 3 frames",
        )

    def test_without_the_time_where_somebody_else_writes_it(self) -> None:
        (line,) = self.lines.human(event("hello"), timed=False)
        self.assertEqual(line, "[portero.call#info] hello")

    def test_a_call_is_named_even_if_the_words_do_not(self) -> None:
        line = self.human(event("a tap failed", call_id="c1"))
        self.assertTrue(line.endswith("] call c1: a tap failed"))
        line = self.human(event("a tap failed", call_id=""))
        self.assertTrue(line.endswith("] a tap failed"))

    def test_a_caller_cannot_begin_a_line(self) -> None:
        line = self.human(event("caller {name}", name=EVIL))
        self.assertTrue(line.isprintable())
        self.assertIn("caller Ana\\n2026-11-30", line)
        self.assertIn("\\x1b[31mred\\u202e\\r\\x85", line)

    def test_a_text_is_cut_and_its_end_stays(self) -> None:
        self.assertIn("x" * LONGEST, self.human(event("{a}", a="x" * LONGEST)))
        line = self.human(event("<{a}>", a=1000 * "x" + " (check OPENAI_API_KEY)"))
        text = line.partition("<")[2]
        self.assertEqual(len(text), LONGEST + 1)
        self.assertIn(GAP, text)
        self.assertTrue(text.endswith("x (check OPENAI_API_KEY)>"))

    def test_words_of_ours_are_longer(self) -> None:
        words = "x" * 1000 + "{a}"
        self.assertIn("x" * 1000 + "3", self.human(event(words, a=3, b="y" * 1000)))
        self.assertIn("x" * 1000, self.human(event("{line}", line="x" * 1000)))
        line = self.human(event("{line}", line="x" * 10000))
        self.assertLess(len(line), LONGEST_MESSAGE + 100)

    def test_a_secret_is_masked_before_it_is_cut(self) -> None:
        for before in range(LONGEST - 30, LONGEST + 10):
            line = self.human(event("{a}", a=before * "x" + SECRET + 100 * "y"))
            for n in range(6, len(SECRET)):
                self.assertNotIn(SECRET[:n], line)
                self.assertNotIn(SECRET[-n:], line)

    def test_a_traceback_follows_in_lines_that_pass_for_no_others(self) -> None:
        error = ValueError(f"{EVIL} {SECRET}\n[portero.access#warn] access refused")
        first, *rest = self.lines.human(failed(error, "call c1: internal error"))
        self.assertIn("call c1: internal error: ValueError: Ana\\n2026", first)
        self.assertTrue(rest[0].startswith(f"{BAR}Traceback (most recent call last):"))
        self.assertGreater(len(rest), 2)
        for line in (first, *rest):
            self.assertTrue(line.isprintable(), line)
            self.assertNotIn(SECRET, line)
        for line in rest:
            self.assertTrue(line.startswith(BAR))

    def test_a_traceback_without_end_is_cut_in_its_middle(self) -> None:
        def deeper(n: int) -> None:
            if n == 0:
                raise ValueError("at the bottom")
            deeper(n - 1)

        try:
            deeper(200)
        except ValueError:
            failure = Failure()
        _, *rest = self.lines.human(event("broken", log_failure=failure))
        self.assertEqual(len(rest), MOST_LINES)
        self.assertIn("lines are left out]", "".join(rest))
        self.assertIn("ValueError: at the bottom", rest[-1])

    def test_what_the_old_way_logged(self) -> None:
        found: list[Any] = []
        publisher = legacy.theLogPublisher._publishPublisher
        publisher.addObserver(found.append)
        self.addCleanup(publisher.removeObserver, found.append)
        legacy.msg("port\nclosed")
        legacy.err(KeyError("x"), "while closing")
        self.flushLoggedErrors(KeyError)
        self.assertIn("[log_legacy#info] port\\nclosed", self.human(found[0]))
        first, *rest = self.lines.human(found[1])
        self.assertIn("[log_legacy#critical] while closing: KeyError: 'x'", first)
        self.assertIn("KeyError", rest[-1])

    def test_words_that_need_twisted_s_own_format(self) -> None:
        self.assertIn("] 3!", self.human(event("{three()}!", three=lambda: 3)))
        self.assertIn("Unable to format", self.human(event("{nobody}")))
        self.assertIn("lost".upper(), self.human(event("{it}", it=Nasty())))


class JsonTests(LineCase):
    def test_fields_are_data(self) -> None:
        found = self.json(
            event(
                "call {call_id}: turn {turn}: {ms} ms",
                call_id=CALL_ID,
                turn=3,
                ms=410.5,
                ok=True,
                price=None,
                agent="Ferretería",
            )
        )
        self.assertEqual(
            found,
            {
                "time": "2026-11-28T12:00:00.250Z",
                "level": "info",
                "namespace": "portero.call",
                "call_id": CALL_ID,
                "message": f"call {CALL_ID}: turn 3: 410.5 ms",
                "event": "call {call_id}: turn {turn}: {ms} ms",
                "turn": 3,
                "ms": 410.5,
                "ok": True,
                "price": None,
                "agent": "Ferretería",
            },
        )

    def test_no_object_is_a_field(self) -> None:
        found = self.json(event("x", a=self, b=[1], c=Nasty(), d=b"d", e=float("nan")))
        self.assertEqual({*found} & {*"abcde"}, set())

    def test_no_field_takes_the_place_of_another(self) -> None:
        found = self.json(event("x", time="never", message="no", event="e"))
        self.assertEqual((found["message"], found["event"]), ("x", "x"))
        self.assertTrue(found["time"].startswith("2026-11-28"))

    def test_texts_are_masked_and_cut(self) -> None:
        found = self.json(event("x", a=f"Bearer {SECRET}", b="y" * 1000))
        self.assertEqual(found["a"], "Bearer ***")
        self.assertEqual(len(found["b"]), LONGEST)

    def test_a_traceback_is_a_field(self) -> None:
        found = self.json(failed(ValueError(SECRET), "it broke"))
        self.assertEqual(found["message"], "it broke: ValueError: ***")
        self.assertIn("\n", found["traceback"])
        self.assertNotIn(SECRET, found["traceback"])

    def test_counts_of_what_repeats_are_numbers(self) -> None:
        found = json.loads(self.lines.json(event("x"), more=40, calls=7))
        self.assertEqual((found["more"], found["calls"]), (40, 7))


class AnyEventTests(LineCase):
    @given(st.text(), FIELDS, st.booleans())
    def test_any_event_is_one_line_without_secrets(
        self, words: str, fields: dict[str, Any], fails: bool
    ) -> None:
        for template in (words, " ".join(f"{{{name}}}" for name in fields)):
            one = event(template)
            one.update(fields)
            if fails:
                one["log_failure"] = Failure(ValueError(str(fields)))
            first, *rest = self.lines.human(one)
            if not fails:
                self.assertEqual(rest, [])
            line = self.lines.json(one)
            json.loads(line, parse_constant=self.fail)
            for text in (first, *rest, line):
                self.assertTrue(text.isprintable(), ascii(text))
                self.assertNotIn(SECRET, text)
                text.encode()


class DocumentationTests(LineCase):
    def setUp(self) -> None:
        super().setUp()
        self.text = (DOCS / "logs.rst").read_text("utf-8")

    def test_its_lines_are_those_of_the_program(self) -> None:
        one = event(
            "call {call_id}: turn {turn}: {came} ms from the end of the caller's "
            "speech to the first audio, {sounded} ms to the first frame",
            call_id=CALL_ID,
            turn=1,
            came=410,
            sounded=428,
        )
        # 2:13:20 in Madrid
        one |= {"log_namespace": "portero.tally.Tally", "log_time": 1796001200.002}
        self.assertIn(f"\n    {self.human(one)}\n", self.text)
        self.assertIn(f"\n    {self.lines.json(one)}\n", self.text)

    def test_it_has_every_field(self) -> None:
        one = failed(ValueError("x"), call_id=CALL_ID)
        for name in {**self.json(one), "more": 1, "calls": 1}:
            self.assertRegex(self.text, rf"\n   \* - .*``{name}``")

    def test_its_filter_finds_who_was_refused_and_where_from(self) -> None:
        (found,) = re.findall(r"^    (\^.*<ADDR>.*)$", self.text, re.MULTILINE)
        pattern = re.compile(found.replace("<ADDR>", r"(?P<address>[0-9a-fA-F.:]+)"))
        for place, words in (
            ("portero.transports._admission.Admission", "connection from {address}"),
            ("portero.reception.Reception", "{what}"),
        ):
            one = event(
                words + " refused: {why}{more}",
                LogLevel.warn,
                address="192.0.2.7",
                what="connection from 192.0.2.7",
                why="not in the allowed networks (--allow)",
                more="",
            )
            one["log_namespace"] = place
            line = self.lines.human(one, timed=False)[0]
            for before in (" ", "pbx twistd[42]: "):
                match = pattern.match(before + line)
                assert match is not None, line
                self.assertEqual(match["address"], "192.0.2.7")

"""Tests of L{portero.logs.log}: what is written when, and levels that fall back."""

from __future__ import annotations

import json
from collections.abc import Sequence

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, Logger, LogPublisher, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from portero.log_sections import LogSettings
from portero.logs.log import Log
from portero.logs.place import Place
from portero.logs.repeats import WINDOW

SECRET = "correct-horse-battery"


class LogCase(SynchronousTestCase):
    """Its lines, without the time, go to C{self.lines}."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.log = Log(self.clock)
        self.lines: list[str] = []
        self.log.write_to(Place(self.write, timed=False))
        self.publisher = LogPublisher(self.log)
        self.logger = Logger("portero.mail.queue.MailQueue", observer=self.publisher)

    def write(self, level: str, lines: Sequence[str]) -> None:
        self.lines += lines

    def start(self) -> None:
        self.log.startService()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        if self.log.running:
            self.log.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def take(self) -> list[str]:
        """@return: The lines since the last time."""
        taken, self.lines = self.lines, []
        return taken


class WrittenTests(LogCase):
    def test_it_is_an_observer(self) -> None:
        self.assertTrue(verifyObject(ILogObserver, self.log))

    def test_it_is_written_before_it_runs_and_after(self) -> None:
        """As what keeps portero from starting at all."""
        for _ in range(3):
            self.logger.error("no disk")
        self.assertEqual(self.take(), 3 * ["[portero.mail.queue#error] no disk"])
        self.log.startService()
        self.log.stopService()
        self.logger.error("no disk")
        self.assertEqual(len(self.take()), 1)

    def test_what_says_nothing_is_no_line(self) -> None:
        self.logger.info("")
        self.logger.info(None)
        self.assertEqual(self.lines, [])

    def test_json(self) -> None:
        self.log.use(LogSettings(format="json"), [SECRET])
        self.logger.warn("{n} mails, {why}", n=3, why=f"for {SECRET}")
        (line,) = self.lines
        found = json.loads(line)
        self.assertEqual((found["n"], found["why"]), (3, "for ***"))

    def test_secrets_of_a_new_configuration(self) -> None:
        self.logger.info(SECRET)
        self.log.use(LogSettings(), [SECRET])
        self.logger.info(SECRET)
        said = [line.rpartition(" ")[2] for line in self.lines]
        self.assertEqual(said, [SECRET, "***"])

    def test_a_place_that_takes_nothing_harms_nobody(self) -> None:
        def full(level: str, lines: Sequence[str]) -> None:
            raise OSError("No space left on device")

        self.start()
        self.log.write_to(Place(full, timed=False))
        self.logger.error("no disk")
        self.logger.error("no disk")
        self.clock.advance(WINDOW)
        self.log.write_to(Place(self.write, timed=False))
        self.logger.info("there it is again")
        self.assertEqual(len(self.lines), 1)

    def test_without_a_place_there_is_nothing_to_say(self) -> None:
        log = Log(self.clock)
        self.assertFalse(log.is_written)
        log({"log_format": "x"})
        self.assertTrue(self.log.is_written)


class RepeatTests(LogCase):
    def test_a_flood_is_two_lines(self) -> None:
        self.start()
        for n in range(42):
            self.logger.warn("lost: {n}", n=n, call_id="c1")
        self.assertEqual(self.take(), ["[portero.mail.queue#warn] call c1: lost: 0"])
        self.clock.advance(WINDOW)
        self.assertEqual(
            self.take(),
            [
                "[portero.mail.queue#warn] call c1: lost: 41 [with 40 more like it in "
                "10 s]"
            ],
        )
        self.clock.advance(5 * WINDOW)
        self.assertEqual(self.lines, [])

    def test_in_json_they_are_counted_in_fields(self) -> None:
        self.start()
        self.log.use(LogSettings(format="json"), [])
        for _ in range(3):
            self.logger.warn("lost", call_id="c1")
        self.clock.advance(WINDOW)
        first, last = map(json.loads, self.lines)
        self.assertNotIn("more", first)
        self.assertEqual((last["more"], last["calls"]), (1, 1))
        self.assertEqual(last["message"], "call c1: lost")

    def test_the_end_sums_up(self) -> None:
        self.start()
        self.logger.warn("lost")
        self.logger.warn("lost")
        self.log.stopService()
        self.assertEqual(len(self.lines), 2)

    def test_what_is_no_warning_is_not_counted(self) -> None:
        self.start()
        for _ in range(3):
            self.logger.info("found")
        self.assertEqual(len(self.lines), 3)


class LevelTests(LogCase):
    def setUp(self) -> None:
        super().setUp()
        globalLogPublisher.addObserver(self.log)
        self.addCleanup(globalLogPublisher.removeObserver, self.log)

    def said(self) -> list[str]:
        """@return: What was logged of the change, and then of a line of debug."""
        self.logger.debug("a detail")
        return [line.partition("] ")[2] for line in self.take()]

    def test_for_a_while_more_is_logged(self) -> None:
        self.assertEqual(self.said(), [])
        self.log.set_level("portero.mail", "debug", 900, "ana")
        change = "operator ana: log level of portero.mail: debug for 900 s"
        self.assertEqual(self.said(), [change, "a detail"])
        self.clock.advance(899)
        self.assertEqual(self.log.seconds_left("portero.mail"), 1)
        self.assertEqual(self.said(), ["a detail"])
        self.clock.advance(1)
        change = "log level of portero.mail: info, as configured, as its time is over"
        self.assertEqual(self.said(), [change])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_can_be_taken_back(self) -> None:
        self.log.set_level("portero.mail", "debug", 900, "ana")
        self.log.set_level("portero.mail", "debug", 0, "ana")
        change = "operator ana: log level of portero.mail: info, as configured"
        self.assertEqual(self.said()[1:], [change])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_to_set_it_again_begins_its_time_anew(self) -> None:
        self.log.set_level("portero", "debug", 900, "ana")
        self.clock.advance(800)
        self.log.set_level("portero", "debug", 900, "ana")
        self.clock.advance(800)
        self.assertIn("a detail", self.said())
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)
        self.clock.advance(100)

    def test_a_changed_configuration_leaves_it_as_it_is(self) -> None:
        self.log.set_level("portero", "debug", 900, "ana")
        self.log.use(LogSettings(level="error"), [])
        self.assertIn("a detail", self.said())
        self.clock.advance(900)
        self.logger.warn("a warning")
        self.assertEqual(self.said(), [])

    def test_even_the_audit_can_be_silent(self) -> None:
        self.log.use(LogSettings(levels={"portero.audit": "error"}), [])
        self.log.set_level("portero", "debug", 900, "ana")
        self.assertEqual(self.said(), ["a detail"])
        self.log.stopService()
        self.assertEqual(self.clock.getDelayedCalls(), [])

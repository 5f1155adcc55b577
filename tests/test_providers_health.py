"""What is remembered of a voice service: its last error, its handshake, its codes."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from portero.interfaces import ProviderReport
from portero.providers import _codes as codes
from portero.providers._health import PROBLEM_COUNTS, Health
from portero.wire.openai import ServiceError
from portero.wire.openai_errors import ERROR_ACTIONS


class HealthTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.health = Health(self.clock)

    def report(self) -> ProviderReport:
        return self.health.report("somewhere")

    def test_before_anything_happened_all_is_well(self) -> None:
        self.assertEqual(self.report(), ProviderReport("somewhere"))

    def test_a_handshake_is_in_whole_ms(self) -> None:
        self.health.ready(0.2126)
        self.assertEqual(self.report().handshake_ms, 213)

    def test_a_failure_is_a_problem_for_a_while_and_then_remembered(self) -> None:
        self.health.failed("it burns", codes.CONNECTION)
        self.clock.advance(PROBLEM_COUNTS - 1)
        self.assertEqual(self.report().problem, "it burns")
        self.clock.advance(2)
        found = self.report()
        self.assertEqual((found.problem, found.last_error), ("", "it burns"))
        self.assertEqual(found.last_error_seconds, PROBLEM_COUNTS + 1)

    def test_a_session_that_is_ready_ends_a_problem(self) -> None:
        self.health.failed("it burns", codes.CONNECTION)
        self.health.ready(0.1)
        self.assertEqual(self.report().problem, "")
        self.assertEqual(self.report().last_error, "it burns")

    def test_an_error_in_a_conversation_that_goes_on_is_no_problem(self) -> None:
        self.health.erred("what is this?", "unknown_parameter")
        self.assertEqual(self.report().problem, "")
        self.health.failed("it burns", codes.CONNECTION)
        self.clock.advance(PROBLEM_COUNTS - 1)
        self.health.erred("what is this?", "unknown_parameter")
        self.assertEqual(self.report().problem, "it burns")
        self.clock.advance(2)
        self.assertEqual(self.report().problem, "")
        self.assertEqual(self.report().last_error, "what is this?")

    def test_errors_are_counted_by_code(self) -> None:
        for code in ("http_401", "http_401", codes.OTHER):
            self.health.failed("no", code)
        self.assertEqual(self.report().errors, {"http_401": 2, "other": 1})


class CodeTests(SynchronousTestCase):
    def test_a_known_word_of_the_service_is_its_code(self) -> None:
        for word in ERROR_ACTIONS:
            for error in (
                ServiceError("invalid_request_error", word, "", "", ""),
                ServiceError(word, "", "", "", ""),
            ):
                self.assertEqual(codes.of_error(error), word)

    def test_whatever_a_service_sends_there_are_few_codes(self) -> None:
        found = {
            codes.of_error(ServiceError("+34911234567", "Alice", "", "", "")),
            *(codes.of_ending(status, 0) for status in range(1, 1000)),
            *(codes.of_ending(0, code) for code in range(5000)),
            codes.of_ending(401, 1006),
        }
        known = codes.names()
        self.assertEqual(found - known, set())
        self.assertLess(len(known), 50)

    def test_a_refused_handshake_and_a_closed_socket_tell_their_numbers(self) -> None:
        self.assertEqual(codes.of_ending(429, 0), "http_429")
        self.assertEqual(codes.of_ending(0, 1011), "closed_1011")
        self.assertEqual(codes.of_ending(0, 0), codes.CONNECTION)

"""Tests of L{portero.reception}: what the dialplan is told, on a real bridge."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from portero.facts import MOST_CHARACTERS, MOST_VARIABLES, Facts
from portero.reception import (
    ANSWERS_NEXT,
    ANSWERS_REGISTER,
    MOST_ANSWER,
    MOST_FORM,
    MOST_SAID,
    SAY_EVERY,
    UNKNOWN,
    Reception,
    plain,
    read_form,
)
from portero.record import Outcome, Record
from portero.registry import COMES_WITHIN
from tests.fake_call import FakeLeg
from tests.test_service import BridgeCase

ID = "6f1c0f5e-0c4e-4f5a-9a59-1f2d3c4b5a69"
TOKEN = "t\u00f6k/en+1"


def record(**changes: Any) -> Record:
    """Of a call that was transferred."""
    known: dict[str, Any] = {
        "call_id": ID,
        "agent": "door",
        "facts": Facts(caller_name="Ana", variables={"vip": "yes"}),
        "began": "2026-11-21T12:00:00+00:00",
        "seconds": 12.4,
        "outcome": Outcome.TRANSFERRED,
        "reason": "to sales",
        "next": "sales,200,1",
        "turns": 3,
        "barge_ins": 1,
        "latency_ms": 400,
        "tokens": 1000,
        "dollars": 0.0123,
    }
    return Record(**{**known, **changes})


class ReceptionCase(BridgeCase):
    def setUp(self) -> None:
        super().setUp()
        self.reception = self.with_token("")

    def with_token(self, token: str) -> Reception:
        return Reception(self.bridge, token, self.clock.seconds)

    def lines(self, events: Any) -> list[str]:
        return [str(formatEvent(event)) for event in events]


class RegisterTests(ReceptionCase):
    def test_the_id_is_for_one_call_with_these_facts(self) -> None:
        form = {"caller_name": "Ana", "caller_number": "1234", "vip": "yes"}
        answer = self.reception.register(form)
        self.assertEqual(tuple(answer), ANSWERS_REGISTER)
        self.assertEqual((answer["refused"], answer["reason"]), ("", ""))
        self.bridge.require_registration = True
        _, call = self.call(answer["uuid"])
        self.assertEqual(call.snapshot()["caller_name"], "Ana")
        self.assertTrue(self.refused(answer["uuid"]))

    def test_the_dialplan_may_bring_its_own_id(self) -> None:
        answer = self.reception.register({"uuid": f" {ID.upper()}"})
        self.assertEqual(answer["uuid"], ID)

    def test_token_and_id_are_no_variables(self) -> None:
        told: list[Facts] = []

        def announce(facts: Facts, call_id: str = "") -> str:
            told.append(facts)
            return call_id

        self.bridge.announce = announce  # type: ignore[method-assign]  # looks on
        self.with_token("x").register({"token": "x", "uuid": ID, "vip": "yes"})
        self.assertEqual(told, [Facts(variables={"vip": "yes"})])

    def test_a_refusal_says_why_in_a_word_and_in_words(self) -> None:
        self.provider.trouble = 'HTTP 401: "bad\nkey"'
        answer = self.reception.register({})
        self.assertEqual(
            answer,
            {"uuid": "", "refused": "unhealthy", "reason": "HTTP 401: 'bad key'"},
        )
        self.bridge.max_calls = 0
        self.assertEqual(self.reception.register({})["refused"], "full")
        self.bridge.stopping = True
        self.assertEqual(self.reception.register({})["refused"], "stopping")

    def test_what_is_no_announcement_is_a_bad_request(self) -> None:
        many = {f"v{n}": "" for n in range(MOST_VARIABLES + 1)}
        for form, reason in ((many, "variables"), ({"uuid": "x"}, "is no UUID")):
            with capturedLogs() as events:
                answer = self.reception.register(form)
            self.assertEqual((answer["uuid"], answer["refused"]), ("", "bad-request"))
            self.assertIn(reason, answer["reason"])
            self.assertEqual(len(events), 1)
        del many["v0"]
        self.assertEqual(self.reception.register(many)["refused"], "")

    def test_an_announced_call_keeps_its_place_for_a_while(self) -> None:
        self.bridge.max_calls = 1
        self.assertEqual(self.reception.register({})["refused"], "")
        self.assertEqual(self.reception.register({})["refused"], "full")
        self.clock.advance(COMES_WITHIN)
        self.assertEqual(self.reception.register({})["refused"], "")


class TokenTests(ReceptionCase):
    def test_without_the_token_nothing_is_announced(self) -> None:
        reception = self.with_token(TOKEN)
        for wrong in ({}, {"token": ""}, {"token": TOKEN[:-1]}, {"token": "\udc80"}):
            answer = reception.register({**wrong, "uuid": ID})
            self.assertEqual((answer["uuid"], answer["refused"]), ("", "forbidden"))
            self.assertNotIn(TOKEN, answer["reason"])
        self.assertEqual(reception.register({"token": TOKEN, "uuid": ID})["uuid"], ID)

    def test_without_a_token_of_ours_any_will_do(self) -> None:
        self.assertEqual(self.reception.register({"token": "x"})["refused"], "")

    def test_a_thousand_guesses_are_a_line_a_second(self) -> None:
        reception = self.with_token(TOKEN)
        with capturedLogs() as events:
            for number in range(1000):
                reception.register({"token": f"guess{number}"})
            self.clock.advance(SAY_EVERY)
            reception.register({"token": "guess"})
        first, second = self.lines(events)
        self.assertEqual(
            first,
            "call announced by the dialplan refused: wrong token (PORTERO_TOKEN in the "
            "dialplan, PORTERO_WEB_TOKEN or [listen] web_token_file here)",
        )
        self.assertIn("(and 999 more since the last such line)", second)
        self.assertNotIn("guess", first + second)

    def test_different_reasons_have_a_line_each_and_are_not_kept_for_ever(self) -> None:
        with capturedLogs() as events:
            for number in range(3 * MOST_SAID):
                self.reception.refused("it", f"reason {number}")
        self.assertEqual(len(events), 3 * MOST_SAID)
        self.assertLessEqual(len(self.reception._said), MOST_SAID + 1)


class NextTests(ReceptionCase):
    def test_a_call_that_ended_is_answered_in_full(self) -> None:
        self.bridge.ended[ID] = record()
        answer = self.reception.next(ID)
        self.assertEqual(tuple(answer), ANSWERS_NEXT)
        self.assertEqual(
            answer,
            {
                "outcome": "transferred",
                "next": "sales,200,1",
                "reason": "to sales",
                "seconds": "12",
                "turns": "3",
                "cost": "0.0123",
                "agent": "door",
                "summary": "door: 12 s, 3 turns, $0.0123, transferred: to sales",
            },
        )
        self.assertEqual(self.reception.next(f" {ID.upper()}\n"), answer)

    def test_a_real_call_is_unknown_until_it_ended(self) -> None:
        leg, _ = self.call(ID)
        self.assertEqual(self.reception.next(ID), UNKNOWN)
        leg.drop("caller hung up")
        self.assertEqual(self.reception.next(ID)["outcome"], "well")

    def test_of_an_unknown_call_all_is_empty(self) -> None:
        for unknown in (ID, "", "x", "\0", "a" * 10000, "../calls"):
            answer = self.reception.next(unknown)
            self.assertEqual(answer.pop("outcome"), "unknown")
            self.assertEqual(answer, dict.fromkeys(ANSWERS_NEXT[1:], ""))

    def test_one_answer_does_not_change_another(self) -> None:
        self.reception.next("x")["outcome"] = "well"
        self.assertEqual(self.reception.next("x")["outcome"], "unknown")

    def test_what_a_voice_service_said_stays_one_value(self) -> None:
        said = 'He said "no\\": (really [sic), so\r\n' + 400 * "x"
        self.bridge.ended[ID] = record(reason=said)
        reason = self.reception.next(ID)["reason"]
        self.assertEqual(len(reason), MOST_ANSWER - 3)
        self.assertTrue(reason.startswith("He said 'no/': really sic, so  xxx"))


class PlainTests(SynchronousTestCase):
    def test_brackets_stay_when_each_is_closed(self) -> None:
        text = "there are 100 calls already ([listen] max_calls)"
        self.assertEqual(plain(text), text)

    @given(st.text(max_size=2 * MOST_ANSWER) | st.text('()[]"\\,\n', max_size=9))
    @settings(max_examples=300, deadline=None)
    def test_any_text_becomes_one_short_value(self, text: str) -> None:
        found = plain(text)
        self.assertLessEqual(len(found), MOST_ANSWER)
        self.assertTrue(found.isprintable())
        self.assertEqual(set(found) & {'"', "\\"}, set())
        for brackets in ("[]", "()"):
            left = "".join(c for c in found if c in brackets)
            while brackets in left:
                left = left.replace(brackets, "")
            self.assertNotIn(brackets[0], left)


class FormTests(ReceptionCase):
    def test_names_and_values_are_decoded(self) -> None:
        for text, expected in [
            (b"", {}),
            (b"&&", {}),
            (b"a=1&b=&c", {"a": "1", "b": "", "c": ""}),
            (b"a=M%C3%BCller%2C%20Bob+%26%3D", {"a": "M\u00fcller, Bob &="}),
            ("a=M\u00fcller".encode(), {"a": "M\u00fcller"}),
            (b"a=M%FCller&b=%zz&c=%", {"a": "M\ufffdller", "b": "%zz", "c": "%"}),
            (b"a=2;b=3", {"a": "2;b=3"}),
        ]:
            self.assertEqual(read_form(text), expected)

    def test_what_is_there_cannot_be_changed_by_what_follows(self) -> None:
        self.assertEqual(read_form(b"token=1&a=&token=2&a=3"), {"token": "1", "a": ""})

    @given(st.dictionaries(st.text(), st.text(), max_size=9))
    @settings(max_examples=100, deadline=None)
    def test_what_was_encoded_is_read(self, form: dict[str, str]) -> None:
        for text in (urlencode(form), urlencode(form, quote_via=quote)):
            self.assertEqual(read_form(text.encode()), form)

    @given(st.binary(max_size=300), st.text("ab=&%+0;\0", max_size=100))
    @settings(max_examples=300, deadline=None)
    def test_any_bytes_are_answered_in_bounds(self, raw: bytes, text: str) -> None:
        self.bridge.max_calls = 100_000
        for form in (raw, text.encode(), b"uuid=" + raw, b"caller_name=" + raw):
            answer = self.reception.register(read_form(form))
            self.assertEqual(tuple(answer), ANSWERS_REGISTER)
            self.assertNotEqual(bool(answer["uuid"]), bool(answer["refused"]))
            self.assertLessEqual(max(map(len, answer.values())), MOST_ANSWER)

    def test_a_form_of_the_most_bytes_leaves_little(self) -> None:
        for text in (b"&" * MOST_FORM, b"a=" + b"x" * MOST_FORM, b"%41" * 5000):
            self.assertEqual(self.reception.register(read_form(text))["refused"], "")
        _, call = self.call(
            self.reception.register({"caller_name": "x" * MOST_FORM})["uuid"]
        )
        self.assertEqual(len(call.snapshot()["caller_name"]), MOST_CHARACTERS)


class AdmissionTests(ReceptionCase):
    def test_this_machine_may_connect_always_and_others_when_named(self) -> None:
        allow = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]
        for host, alone, with_allow in [
            ("127.0.0.1", True, True),
            ("127.0.3.1", True, True),
            ("::1", True, True),
            ("::ffff:127.0.0.1", True, True),
            ("10.1.2.3", False, True),
            ("::ffff:10.1.2.3", False, True),
            ("fd00::1%eth0", False, True),
            ("11.0.0.1", False, False),
            ("fe80::1%eth0", False, False),
            ("0.0.0.0", False, False),
        ]:
            kind: Any = IPv6Address if ":" in host else IPv4Address
            peer = kind("TCP", host, 5060)
            self.assertEqual(self.reception.admits(peer, ()), alone, host)
            self.assertEqual(self.reception.admits(peer, allow), with_allow, host)
        self.assertTrue(self.reception.admits(UNIXAddress("/run/x"), ()))

    def test_a_refused_connection_is_logged_with_the_key_to_set(self) -> None:
        with capturedLogs() as events:
            self.reception.admits(IPv4Address("TCP", "192.0.2.1", 1), ())
        self.assertEqual(
            self.lines(events),
            [
                "connection from 192.0.2.1 refused: not in the allowed networks "
                "([listen] allow)"
            ],
        )


class RegistrationTests(ReceptionCase):
    def test_of_a_thousand_calls_replayed_unknown_or_late_none_opens_a_session(
        self,
    ) -> None:
        self.bridge.require_registration = True
        leg, _ = self.call(self.reception.register({})["uuid"])
        leg.drop()
        sessions = len(self.provider.conversations)
        used = next(iter(self.bridge.ended))
        for number in range(1000):
            late = self.reception.register({})["uuid"]
            self.clock.advance(COMES_WITHIN + 0.1)
            unknown = f"{ID[:-4]}{number:04x}"
            for call_id in (used, unknown, late):
                self.assertIsNone(self.bridge.accept(FakeLeg(), call_id))
        self.assertEqual(len(self.provider.conversations), sessions)

"""Tests of L{portero.doctor.dialplan}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from portero.doctor.asterisk_output import Dialplan, Step
from portero.doctor.dialplan import Plan
from portero.doctor.report import Finding
from portero.doctor.where import Place
from tests.asterisk_text import text

SHIPPED = text("dialplan")
OURS = Place("127.0.0.1", 8089)
ENTRY = "2. Goto(portero,s,1)"


def plan(shown: str = SHIPPED, **variables: str) -> Plan:
    return Plan(Dialplan.read(shown), variables)


def own(*steps: str, context: str = "own") -> Plan:
    """@param steps: Of one extension, as a file has them."""
    found = []
    for number, step in enumerate(steps, 1):
        app, _, data = step.partition("(")
        place = f"extensions.conf:{number}"
        found.append(Step(context, "100", number, "", app, data[:-1], place))
    return Plan(Dialplan({context: tuple(found)}), {})


def judged(given: Plan, place: Place | None = OURS) -> list[Finding]:
    return [*given.judge(place)]


class Judged(SynchronousTestCase):
    def assertOnly(self, found: list[Finding], check: str, level: str) -> Finding:
        """@return: The one that is not ok."""
        wrong = [finding for finding in found if finding.level != "ok"]
        self.assertEqual([(f.check, f.level) for f in wrong], [(check, level)], wrong)
        return wrong[0]


class ShippedTests(Judged):
    def test_as_it_is_nothing_is_wrong(self) -> None:
        self.assertEqual(
            [(f.check, f.level) for f in judged(plan())],
            [("address", "ok"), ("dialplan", "ok")],
        )

    def test_each_line_that_is_missing_is_named(self) -> None:
        for part in ("/register", "/next", "PORTERO_FALLBACK}"):
            kept = [line for line in SHIPPED.splitlines() if part not in line]
            found = self.assertOnly(judged(plan("\n".join(kept))), "dialplan", "fail")
            self.assertIn(f"has no line with {part}", found.said)

    def test_without_the_line_of_the_call_nothing_leads_to_portero(self) -> None:
        kept = [line for line in SHIPPED.splitlines() if "AudioSocket(" not in line]
        found = self.assertOnly(judged(plan("\n".join(kept))), "dialplan", "fail")
        self.assertIn("no line of it sends calls to portero", found.said)

    def test_that_nothing_enters_it_is_told(self) -> None:
        shown = SHIPPED.replace(ENTRY, "2. Hangup()")
        found = self.assertOnly(judged(plan(shown)), "dialplan", "warn")
        self.assertIn("nothing in it leads to portero,s,1", found.said)

    def test_another_port_is_a_failure(self) -> None:
        found = self.assertOnly(
            judged(plan(), Place("127.0.0.1", 9000)), "address", "fail"
        )
        self.assertIn(
            "127.0.0.1:8089, and portero listens on 127.0.0.1:9000", found.said
        )

    def test_an_address_on_which_portero_does_not_listen_is_a_failure(self) -> None:
        for to, interface in (
            ("10.0.0.5:8089", "127.0.0.1"),
            ("127.0.0.1:8089", "10.0.0.5"),
        ):
            given = plan(PORTERO=to)
            self.assertOnly(judged(given, Place(interface, 8089)), "address", "fail")

    def test_one_that_is_listened_on_is_right(self) -> None:
        for to, interface in (
            ("10.0.0.5:8089", "10.0.0.5"),
            ("10.0.0.5:8089", "0.0.0.0"),
            ("[fd00::5]:8089", "::"),
            ("127.0.0.2:8089", "127.0.0.1"),
        ):
            found = judged(plan(PORTERO=to), Place(interface, 8089))
            self.assertEqual({f.level for f in found}, {"ok"}, to)

    def test_a_name_in_place_of_an_address_is_told(self) -> None:
        found = judged(plan(PORTERO="localhost:8089"))
        self.assertIn(
            "names portero localhost", self.assertOnly(found, "address", "warn").said
        )

    def test_of_a_socket_that_is_no_tcp_port_no_address_is_judged(self) -> None:
        self.assertEqual([f.check for f in judged(plan(), None)], ["dialplan"])


class OwnLinesTests(Judged):
    ANSWER = "Answer()"
    CALL = "TryExec(AudioSocket(${UUID()},127.0.0.1:8089))"

    def test_the_least_works_and_the_shipped_one_is_recommended(self) -> None:
        found = self.assertOnly(judged(own(self.ANSWER, self.CALL)), "dialplan", "warn")
        self.assertIn("lines of its own", found.said)

    def said(self, *steps: str, place: Place = OURS) -> list[str]:
        """@return: What is wrong besides that these are lines of its own."""
        return [
            finding.said
            for finding in judged(own(*steps), place)
            if finding.level != "ok" and "lines of its own" not in finding.said
        ]

    def test_without_tryexec_the_line_is_named(self) -> None:
        (said,) = self.said(self.ANSWER, "AudioSocket(${UUID()},127.0.0.1:8089)")
        self.assertIn("extensions.conf:2: AudioSocket() without TryExec()", said)

    def test_without_an_answer_before_it_the_line_is_named(self) -> None:
        for steps in ((self.CALL,), (self.CALL, self.ANSWER)):
            (said,) = self.said(*steps)
            self.assertIn("extensions.conf:1: no Answer() stands before it", said)

    def test_a_dial_without_a_codec_is_named(self) -> None:
        for dial in (
            "Dial(AudioSocket/127.0.0.1:8089/${UUID()},,g)",
            "Dial(AudioSocket/127.0.0.1:8089/40325ec2-5efd-4bd3-805f-53576e581d13)",
            "Dial(PJSIP/100&AudioSocket/127.0.0.1:8089/${UUID()})",
        ):
            (said,) = self.said(dial)
            self.assertIn(
                "extensions.conf:1: Dial(AudioSocket/...) names no codec", said
            )

    def test_a_dial_with_a_codec_is_fine(self) -> None:
        for rest in ("${UUID()}/c(slin16),,g", "${UUID()}${ARG2},,g", "${UUID()}/${X}"):
            dial = f"Dial(AudioSocket/127.0.0.1:8089/{rest})"
            self.assertEqual(self.said(dial), [], dial)

    def test_lines_to_another_server_are_not_judged_beside_ours(self) -> None:
        other = "AudioSocket(${UUID()},10.9.9.9:1234)"
        self.assertEqual(self.said(self.ANSWER, self.CALL, other), [])

    def test_lines_to_another_server_alone_are_not_ours(self) -> None:
        said = self.said(self.ANSWER, "TryExec(AudioSocket(${UUID()},10.9.9.9:1234))")
        self.assertEqual(len(said), 1)
        self.assertIn("to 10.9.9.9:1234, and portero listens", said[0])

    def test_an_address_in_a_variable_that_is_not_known_is_not_judged(self) -> None:
        self.assertEqual(
            self.said(self.ANSWER, "TryExec(AudioSocket(${UUID()},${WHERE}))"), []
        )


class ValueTests(SynchronousTestCase):
    def values(self, shown: str = SHIPPED, **variables: str) -> list[str]:
        return plan(shown, **variables).values("PORTERO_FALLBACK")

    def test_the_file_itself_has_one(self) -> None:
        self.assertEqual(self.values(), ["from-internal,100,1"])
        changed = SHIPPED.replace("=from-internal,100,1", "=office,1,1")
        self.assertEqual(self.values(changed), ["office,1,1"])

    def test_a_global_variable_wins_over_the_file(self) -> None:
        self.assertEqual(self.values(PORTERO_FALLBACK="a,b,1"), ["a,b,1"])

    def test_what_the_extension_sets_wins_over_that(self) -> None:
        shown = SHIPPED.replace(
            "Set(__PORTERO_AGENT=night)", "Set(PORTERO_FALLBACK=c,d,1)"
        )
        self.assertEqual(self.values(shown, PORTERO_FALLBACK="a,b,1"), ["c,d,1"])

    def test_what_another_extension_passes_on_may_be_it(self) -> None:
        shown = SHIPPED.replace("2. Echo()", "2. Set(__PORTERO_FALLBACK=c,d,1)")
        self.assertEqual(self.values(shown), ["c,d,1"])

    def test_what_only_a_call_knows_is_left_out(self) -> None:
        shown = SHIPPED.replace(
            "Set(__PORTERO_AGENT=night)", "Set(PORTERO_FALLBACK=${X})"
        )
        self.assertEqual(self.values(shown), [])

    def test_without_any_dialplan_it_is_the_usual_one(self) -> None:
        self.assertEqual(self.values(""), ["from-internal,100,1"])

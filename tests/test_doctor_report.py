"""Tests of L{portero.doctor.report}."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from portero.doctor import report
from portero.doctor.report import fail, lines, ok, warn

FINE = ok("port", "something listens")
BAD = fail("token", "wrong", "make it right")
SO_SO = warn("disk", "little room", "make room")
UNSEEN = report.skip("asterisk", "not here")


class ReportTests(SynchronousTestCase):
    def test_a_line_has_level_check_and_what_was_found(self) -> None:
        self.assertEqual(lines(FINE), ["ok    port            something listens"])

    def test_the_remedy_stands_below(self) -> None:
        self.assertEqual(
            lines(BAD),
            ["fail  token           wrong", f"{' ' * 22}-> make it right"],
        )

    def test_long_lines_are_wrapped_under_their_beginning(self) -> None:
        found = lines(fail("token", "word " * 40, "do " * 40))
        self.assertGreater(len(found), 4)
        for line in found:
            self.assertLessEqual(len(line), report.WIDTH)
        for line in found[1:]:
            self.assertEqual(line[:22].strip(), "")

    def test_what_cannot_be_wrapped_stays_whole(self) -> None:
        path = "/" + "x" * 100
        self.assertIn(path, "\n".join(lines(ok("disk", path))))

    def test_the_summary_names_what_to_look_at(self) -> None:
        self.assertEqual(
            report.summary([FINE, BAD, SO_SO, BAD, UNSEEN]),
            "2 failed: token; 1 to look at: disk.",
        )
        self.assertEqual(report.summary([SO_SO]), "1 to look at: disk.")
        self.assertEqual(
            report.summary([FINE, UNSEEN]), "Nothing is wrong in 1 checks."
        )

    def test_only_failures_change_the_exit_status(self) -> None:
        self.assertEqual(report.exit_status([FINE, SO_SO, UNSEEN]), 0)
        self.assertEqual(report.exit_status([FINE, BAD]), 2)

    def test_as_json_it_has_the_worst_level_and_all_findings(self) -> None:
        for findings, worst in (
            ([FINE, UNSEEN], "ok"),
            ([FINE, SO_SO], "warn"),
            ([SO_SO, BAD, FINE], "fail"),
        ):
            document = json.loads(report.as_json(findings))
            self.assertEqual(document["status"], worst)
            self.assertEqual(len(document["findings"]), len(findings))
        self.assertEqual(
            document["findings"][1],
            {
                "check": "token",
                "level": "fail",
                "said": "wrong",
                "remedy": "make it right",
            },
        )

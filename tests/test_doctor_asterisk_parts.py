"""Tests of L{portero.doctor.asterisk_parts}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from portero.doctor import asterisk_output as output
from portero.doctor import asterisk_parts as parts
from portero.doctor.asterisk_output import Dialplan
from portero.doctor.dialplan import Plan
from portero.doctor.where import Place
from tests.asterisk_text import text
from tests.test_doctor_dialplan import own, plan

MODULES = output.modules(text("modules"))
TRANSLATIONS = output.translations(text("translation"))
WEB = Place("127.0.0.1", 8091)


class StatusTests(SynchronousTestCase):
    def said(
        self, given: Plan, web: Place | None = WEB, agi: Place | None = None
    ) -> str:
        found = [*parts.judge_status(given, web, agi)]
        self.assertLessEqual(len(found), 1)
        return f"{found[0].level}: {found[0].said}" if found else ""

    def test_the_port_that_portero_has_is_right(self) -> None:
        self.assertEqual(self.said(plan()), "")
        agi = plan(PORTERO_STATUS="agi://127.0.0.1:4573")
        self.assertEqual(self.said(agi, agi=Place("127.0.0.1", 4573)), "")

    def test_another_port_is_a_failure(self) -> None:
        said = self.said(plan(), Place("127.0.0.1", 9000))
        self.assertIn("fail: the dialplan asks at http://127.0.0.1:8091", said)
        self.assertIn("portero has web on 127.0.0.1:9000", said)

    def test_fastagi_that_portero_has_not_is_a_failure(self) -> None:
        said = self.said(plan(PORTERO_STATUS="agi://127.0.0.1:4573"))
        self.assertIn("portero has no such", said)

    def test_asking_nothing_is_told(self) -> None:
        self.assertIn("warn: ", self.said(plan(PORTERO_STATUS="none")))

    def test_lines_of_its_own_are_not_judged(self) -> None:
        self.assertEqual(self.said(own("Answer()"), None), "")


class TokenTests(SynchronousTestCase):
    def test_it_has_to_be_the_same(self) -> None:
        for given, wanted, level in [
            ("", "", "ok"),
            ("abc", "", "ok"),
            ("abc", "abc", "ok"),
            ("", "abc", "fail"),
            ("abd", "abc", "fail"),
        ]:
            self.assertEqual(parts.judge_token(given, wanted).level, level)

    def test_it_is_never_shown(self) -> None:
        found = parts.judge_token("hidden-1", "hidden-2")
        self.assertNotIn("hidden", found.said + found.remedy)


class ModuleTests(SynchronousTestCase):
    def missing(self, given: Plan, *unloaded: str) -> str:
        (found,) = parts.judge_modules(given, MODULES - set(unloaded))
        return found.said if found.level == "fail" else ""

    def test_a_whole_asterisk_lacks_nothing(self) -> None:
        self.assertEqual(self.missing(plan()), "")

    def test_each_one_that_is_needed_is_missed(self) -> None:
        for name, use in (parts.BASE | parts.OF_SHIPPED | parts.BY_HTTP).items():
            self.assertEqual(
                self.missing(plan(), name), f"not loaded: {name} (for {use})"
            )

    def test_what_is_not_used_is_not_missed(self) -> None:
        for name in ("res_agi", "func_uuid", "chan_audiosocket", "func_shell"):
            self.assertEqual(self.missing(plan(), name), "")

    def test_fastagi_needs_another_than_http(self) -> None:
        agi = plan(PORTERO_STATUS="agi://127.0.0.1:4573")
        self.assertEqual(self.missing(agi, "func_curl"), "")
        self.assertIn("res_agi", self.missing(agi, "res_agi"))

    def test_lines_of_its_own_need_what_they_use(self) -> None:
        call = own("Answer()", "TryExec(AudioSocket(${UUID()},127.0.0.1:8089))")
        self.assertEqual(self.missing(call, "func_curl", "func_db"), "")
        self.assertIn("func_uuid", self.missing(call, "func_uuid"))
        dial = own("Dial(AudioSocket/127.0.0.1:8089/${ID}/c(slin16))")
        self.assertIn("chan_audiosocket", self.missing(dial, "chan_audiosocket"))

    def test_the_remedy_loads_them(self) -> None:
        (found,) = parts.judge_modules(plan(), MODULES - {"app_exec", "func_curl"})
        for command in (
            "module load app_exec.so",
            "module load func_curl.so",
            "agi in",
        ):
            self.assertIn(command, found.remedy)


class TranslationTests(SynchronousTestCase):
    def judged(self, *lost: str, rate: int = 8000) -> list[tuple[str, str]]:
        known = {pair for pair in TRANSLATIONS if not set(lost) & set(pair)}
        found = parts.judge_translations(plan(), frozenset(known), rate)
        return [(finding.level, finding.said) for finding in found]

    def test_all_that_telephones_use_is_fine(self) -> None:
        self.assertEqual(
            self.judged(), [("ok", "ulaw, alaw and g722 can be converted")]
        )

    def test_either_law_is_needed(self) -> None:
        for name in ("ulaw", "alaw"):
            ((level, said),) = self.judged(name)
            self.assertEqual(level, "fail")
            self.assertIn(f"cannot convert {name}:", said)

    def test_wideband_is_missed_as_a_warning(self) -> None:
        ((level, _),) = self.judged("g722")
        self.assertEqual(level, "warn")

    def test_24_khz_is_missed_only_where_it_is_used(self) -> None:
        self.assertEqual([level for level, _ in self.judged("slin24")], ["ok"])
        self.assertEqual(
            [level for level, _ in self.judged("slin24", rate=24000)], ["warn"]
        )

    def test_older_ones_call_8_khz_slin(self) -> None:
        known = frozenset(
            (a.replace("slin8", "slin"), b.replace("slin8", "slin"))
            for a, b in TRANSLATIONS
        )
        found = [*parts.judge_translations(plan(), known, 8000)]
        self.assertEqual([finding.level for finding in found], ["ok"])

    def test_a_table_that_cannot_be_read_is_not_judged(self) -> None:
        nothing = parts.judge_translations(Plan(Dialplan({}), {}), frozenset(), 8000)
        self.assertEqual([*nothing], [])

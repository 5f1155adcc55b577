"""Tests of L{portero.doctor.asterisk_output}, on what a real Asterisk 22 printed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from portero.doctor import asterisk_output as output
from portero.doctor.asterisk_output import Dialplan, Step
from tests.asterisk_text import text

NESTED = """\
[ Context 'nested' created by 'pbx_config' ]
  '5' =>            1. NoOp()                                     [extensions.conf:3]
     [there]        2. Goto(lab,700,1)                            [extensions.conf:4]
  '77' =>           hint: PJSIP/77                                [extensions.conf:7]
  '_9X.' (CID match '600') =>  1. NoOp(a [b] c)                              [pbx_lua]
  Include =>        'lab'                                         [pbx_config]
  Alt. Switch =>    'Realtime/x'                                  [pbx_config]

-= 4 extensions (6 priorities) in 1 context. =-
"""


class OutputTests(SynchronousTestCase):
    def test_the_version_has_two_numbers(self) -> None:
        for said, expected in [
            (text("version"), (22, 10)),
            ("Asterisk 18.9.0 built by root @ pbx", (18, 9)),
            ("Asterisk certified/20.7-cert2 built by", (20, 7)),
            ("Asterisk certified-20.7-cert2 built by", None),
            ("Asterisk GIT-master-f0c1c1a7b7 built by", None),
            ("", None),
        ]:
            self.assertEqual(output.version(said), expected, said)

    def test_modules_that_run_are_known_by_name(self) -> None:
        found = output.modules(text("modules"))
        self.assertEqual(len(found), 66)
        self.assertLessEqual(
            {"app_exec", "func_curl", "res_pjsip_endpoint_identifier_anonymous", "cdr"},
            found,
        )

    def test_a_module_that_does_not_run_is_not_counted(self) -> None:
        line = "func_curl.so   Load external URL    0          Not Running   core\n"
        self.assertEqual(output.modules(line), frozenset())

    def test_global_variables_may_hold_anything(self) -> None:
        self.assertEqual(
            output.variables(text("globals") + "   A=b=c, d\n"),
            {"PORTERO_FALLBACK": "from-internal,100,1", "A": "b=c, d"},
        )

    def test_an_entry_of_the_database_is_its_value(self) -> None:
        self.assertEqual(output.database_value(text("entry")), "the-token")
        self.assertEqual(output.database_value(text("no_entry")), "")

    def test_translations_are_pairs(self) -> None:
        found = output.translations(text("translation"))
        self.assertIn(("ulaw", "slin8"), found)
        self.assertIn(("slin8", "g722"), found)
        self.assertNotIn(("ulaw", "ulaw"), found)
        self.assertEqual(len(found), 12 * 11)

    def test_what_cannot_be_converted_is_no_pair(self) -> None:
        matrix = "       ulaw alaw slin\n ulaw    -    -    -\n slin    - 6000    -\n"
        self.assertEqual(output.translations(matrix), {("slin", "alaw")})

    @given(st.text(max_size=60))
    def test_any_text_is_read(self, junk: str) -> None:
        for read in (
            *(output.version, output.modules, output.variables),
            *(output.database_value, output.translations, Dialplan.read),
        ):
            for before in ("", "[ Context 'x' created by 'y' ]\n"):
                read(f"{before}  {junk}")


class DialplanTests(SynchronousTestCase):
    def test_every_priority_of_the_shipped_one_is_read(self) -> None:
        shipped = Dialplan.read(text("dialplan")).contexts["portero"]
        self.assertEqual(len(shipped), 67)
        self.assertIn(
            Step(
                "portero",
                "s",
                7,
                "",
                "TryExec",
                "AudioSocket(${PORTERO_UUID},${PORTERO})",
                "extensions_portero.conf:56",
            ),
            shipped,
        )
        self.assertEqual(
            [step.label for step in shipped if step.extension == "s" and step.label],
            ["here", "fallback", "done"],
        )

    def test_hints_includes_and_switches_are_no_steps(self) -> None:
        steps = Dialplan.read(NESTED).contexts["nested"]
        self.assertEqual(
            [(step.extension, step.label, step.app, step.data) for step in steps],
            [
                ("5", "", "NoOp", ""),
                ("5", "there", "Goto", "lab,700,1"),
                ("_9X.", "", "NoOp", "a [b] c"),
            ],
        )
        self.assertEqual(steps[1].where, "extensions.conf:4")
        self.assertEqual(steps[2].where, "nested,_9X.,1")

    def test_a_place_is_there_or_not(self) -> None:
        there = Dialplan.read(text("place"))
        self.assertTrue(there.has_priority("1"))
        self.assertTrue(there.has_priority("3"))
        self.assertFalse(there.has_priority("4"))
        self.assertTrue(there.has_priority("a_label"))
        self.assertFalse(Dialplan.read(text("no_place")).has_priority("1"))
        self.assertFalse(Dialplan.read(text("no_place")).has_priority("a_label"))

    def test_included_contexts_are_read_too(self) -> None:
        shown = text("place").replace("[ Context", "[ Included context")
        self.assertTrue(Dialplan.read(shown).has_priority("2"))

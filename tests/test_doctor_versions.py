"""Tests of L{portero.doctor.versions}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from portero.doctor import versions
from portero.doctor.asterisk_output import Version
from portero.doctor.report import Finding


def judged(
    version: Version | None,
    downlink_rate: int = 8000,
    other_machines: bool = False,
    dials: bool = False,
    manager: bool = False,
) -> list[Finding]:
    return [
        *versions.judge(
            version,
            downlink_rate=downlink_rate,
            other_machines=other_machines,
            dials=dials,
            manager=manager,
        )
    ]


class VersionTests(SynchronousTestCase):
    def test_a_branch_has_it_from_its_own_release_on(self) -> None:
        since = {20: 14, 21: 9, 22: 4, 23: 0}
        for version, expected in [
            ((20, 13), False),
            ((20, 14), True),
            ((22, 3), False),
            ((22, 4), True),
            ((23, 0), True),
            ((24, 0), True),
            ((18, 26), False),
        ]:
            self.assertIs(versions.has(version, since), expected, version)

    def test_a_branch_that_never_got_it_lacks_it(self) -> None:
        self.assertFalse(versions.has((21, 12), versions.TAKES_PARTS))
        self.assertTrue(versions.has((24, 0), versions.TAKES_PARTS))

    def test_a_new_one_has_no_trap(self) -> None:
        for version in ((20, 20), (22, 10), (23, 4), (24, 1)):
            (found,) = judged(version, 24000, True, True)
            self.assertEqual(found.level, "ok")

    def test_one_without_digits_is_told_with_what_helps(self) -> None:
        (found,) = judged((22, 3))
        self.assertEqual(found.level, "warn")
        self.assertIn("sends no pressed keys, and does not go on", found.said)
        self.assertIn("[ami]", found.remedy)

    def test_where_the_manager_interface_helps_only_the_keys_are_missed(self) -> None:
        (found,) = judged((22, 3), manager=True)
        self.assertEqual(found.said, "Asterisk 22.3 sends no pressed keys")
        self.assertNotIn("[ami]", found.remedy)

    def test_wideband_that_it_cannot_take_is_a_failure(self) -> None:
        self.assertEqual([f.level for f in judged((22, 6))], ["ok"])
        (found,) = judged((22, 6), downlink_rate=24000)
        self.assertEqual(found.level, "fail")
        self.assertIn("ends each call at sound of 24000 Hz", found.said)

    def test_frames_in_two_parts_matter_over_a_network(self) -> None:
        self.assertEqual([f.level for f in judged((22, 8))], ["ok"])
        (found,) = judged((22, 8), other_machines=True)
        self.assertIn("cuts a frame in two", found.said)

    def test_comfort_noise_matters_to_a_dial(self) -> None:
        self.assertEqual([f.level for f in judged((22, 9))], ["ok"])
        (found,) = judged((22, 9), dials=True)
        self.assertIn("comfort noise", found.said)

    def test_one_before_the_application_fails(self) -> None:
        (found,) = judged((16, 30))
        self.assertEqual(found.level, "fail")

    def test_one_that_cannot_be_read_is_left_open(self) -> None:
        (found,) = judged(None)
        self.assertEqual(found.level, "skip")

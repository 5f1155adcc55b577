"""Tests of L{portero.doctor.machine}."""

from __future__ import annotations

import re
from configparser import ConfigParser
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from portero.config import Config
from portero.doctor import machine
from portero.record_sections import RecordSettings
from portero.sections import LimitSettings
from portero.tool_sections import MailSettings

GB = 1024**3
CHECKOUT = Path(__file__).resolve().parent.parent
NEW = {"Twisted": "26.10.0", "autobahn": "26.7.1"}


class VersionTests(SynchronousTestCase):
    def test_what_is_installed_here_is_new_enough(self) -> None:
        found = machine.versions()
        self.assertEqual(found.level, "ok")
        self.assertIn("Twisted ", found.said)

    def test_what_is_too_old_is_named_with_what_is_needed(self) -> None:
        for python, installed, needed in [
            ((3, 10, 2), NEW, "Python 3.11 or newer"),
            ((3, 11, 0), {**NEW, "Twisted": "26.3.9"}, "Twisted 26.4 or newer"),
            ((3, 11, 0), {**NEW, "autobahn": "26.7"}, "autobahn 26.7.1 or newer"),
        ]:
            found = machine.versions(python, installed)
            self.assertEqual(found.level, "fail")
            self.assertIn(needed, found.remedy)
        self.assertEqual(machine.versions((3, 11, 0), NEW).level, "ok")

    def test_the_floors_are_those_of_the_package(self) -> None:
        parser = ConfigParser()
        parser.read(CHECKOUT / "setup.cfg")
        wanted = parser["options"]["install_requires"].lower()
        for name, floor in machine.FLOORS.items():
            found = re.search(rf"^{name.lower()}\S* >= (\S+)$", wanted, re.MULTILINE)
            assert found is not None, name
            self.assertEqual(found[1], ".".join(map(str, floor)))
        python = ".".join(map(str, machine.PYTHON))
        self.assertEqual(parser["options"]["python_requires"], f">={python}")


class NvxTests(SynchronousTestCase):
    def test_it_is_there_or_costs(self) -> None:
        self.assertEqual(machine.nvx(True).level, "ok")
        found = machine.nvx(False)
        self.assertEqual(found.level, "warn")
        self.assertIn("AUTOBAHN_USE_NVX", found.remedy)

    def test_autobahn_is_asked(self) -> None:
        from autobahn.websocket import USES_NVX

        self.assertEqual(machine.nvx(), machine.nvx(USES_NVX))


class FilesTests(SynchronousTestCase):
    def test_as_many_as_all_calls_need_are_enough(self) -> None:
        self.assertEqual(machine.files(500, 100).level, "ok")
        found = machine.files(499, 100)
        self.assertEqual(found.level, "warn")
        self.assertIn("499 may be open, and 100 calls", found.said)
        self.assertIn("LimitNOFILE=65536", found.remedy)

    def test_the_remedy_is_enough_for_any_number(self) -> None:
        self.assertIn("LimitNOFILE=80100", machine.files(1024, 20000).remedy)

    def test_the_limit_of_a_running_portero_counts(self) -> None:
        proc = Path(self.mktemp())
        for pid, words in (
            ("7", b"/usr/bin/python3\0portero\0call"),
            ("8", b"/usr/bin/python3\0/opt/bin/twistd\0-n\0portero\0--web\08091"),
        ):
            folder = proc / pid
            folder.mkdir(parents=True)
            (folder / "cmdline").write_bytes(words)
            (folder / "limits").write_text(
                "Limit                     Soft Limit           Hard Limit  Units\n"
                f"Max open files            {pid}000           524288      files\n"
            )
        (proc / "9").mkdir()  # one that has ended meanwhile
        self.assertEqual(machine.running_limit(proc), 8000)
        self.assertEqual(machine.running_limit(proc / "9"), 0)

    def test_there_is_a_limit_here(self) -> None:
        self.assertGreater(machine.own_limit(), 0)


class MemoryTests(SynchronousTestCase):
    def test_little_is_told(self) -> None:
        for kb, level in [(262144, "ok"), (262143, "warn"), (0, "warn")]:
            found = machine.memory(f"MemTotal: 9 kB\nMemAvailable:    {kb} kB\n")
            self.assertEqual(found.level, level)
        self.assertEqual(machine.memory("").level, "skip")


class DiskTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()

    def test_room_is_judged(self) -> None:
        for free, level in [
            (GB, "ok"),
            (GB - 1, "warn"),
            (machine.LEAST_DISK, "warn"),
            (machine.LEAST_DISK - 1, "fail"),
        ]:
            found = machine.disk(self.folder, "records", free)
            self.assertEqual(found.level, level)
            self.assertIn(f"{self.folder}, for records", found.said)

    def test_nothing_is_left_behind(self) -> None:
        machine.disk(self.folder, "records")
        self.assertEqual([*self.folder.iterdir()], [])

    def test_what_cannot_be_written_fails(self) -> None:
        for folder in (self.folder / "not" / "there", Path("/proc")):
            found = machine.disk(folder, "records")
            self.assertEqual(found.level, "fail")
            self.assertIn("cannot be written", found.said)

    def test_each_folder_is_looked_at_once(self) -> None:
        config = Config(
            records=RecordSettings(
                file=f"{self.folder}/records.sqlite", recordings=f"{self.folder}/sound"
            ),
            limits=LimitSettings(spending_file=f"{self.folder}/spending.json"),
            mail=MailSettings(queue=str(self.folder)),
        )
        self.assertEqual(
            machine.folders(config, ""),
            {self.folder: "records, recordings, today's spending, mail"},
        )

    def test_what_names_no_place_is_in_the_state_folder(self) -> None:
        self.assertEqual(machine.folders(Config(), ""), {})
        self.assertEqual(
            machine.folders(Config(), str(self.folder)),
            {self.folder: "records, recordings, today's spending, mail"},
        )
        config = Config(records=RecordSettings(file="none"))
        self.assertNotIn("records,", machine.folders(config, str(self.folder)))

    def test_where_nothing_is_written_nothing_is_wrong(self) -> None:
        found = [*machine.examine_disks(Config(), "")]
        self.assertEqual([f.level for f in found], ["ok"])
        found = [*machine.examine_disks(Config(), str(self.folder))]
        self.assertEqual(len(found), 1)


class ClockTests(SynchronousTestCase):
    def test_one_that_somebody_sets_is_fine(self) -> None:
        self.assertEqual(machine.clock(True, 0.0).level, "ok")
        self.assertEqual(machine.clock(True, -0.5).level, "ok")

    def test_one_that_nobody_sets_is_told(self) -> None:
        self.assertEqual(machine.clock(False, 0.0).level, "warn")
        self.assertEqual(machine.clock(None, 0.0).level, "skip")

    def test_one_that_was_set_while_we_looked_is_told(self) -> None:
        for kept in (True, False, None):
            found = machine.clock(kept, -3.02)
            self.assertEqual(found.level, "warn")
            self.assertIn("-3.0 s", found.said)

    def test_the_kernel_is_asked(self) -> None:
        self.assertIn(machine.synchronised(), (True, False, None))


class AllTests(SynchronousTestCase):
    def test_this_machine_is_looked_at(self) -> None:
        found = [finding.check for finding in machine.examine(Config())]
        self.assertEqual(found, ["versions", "nvx", "files", "memory"])

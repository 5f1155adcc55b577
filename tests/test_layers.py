"""The layers of the package, as its documentation draws them."""

import ast
from configparser import ConfigParser
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import portero

PACKAGE = Path(portero.__file__).parent
CHECKOUT = Path(__file__).resolve().parent.parent
PURE = {
    *("wire", "audio", "resample", "rates", "callstate", "turns", "history"),
    *("backoff", "linecheck", "config", "plugins", "errors", "gate", "settings"),
    *("sections", "templates", "toml_lines", "facts", "prices", "textfile", "keys"),
    *("envfile", "networks", "record", "reference", "greeting", "tones", "guard"),
    *("webhooks.parameters", "webhooks.request_text", "webhooks.answers"),
    "webhooks.repeats",
    *("webhooks.check", "web_sections", "web.passwords"),
    *("web.schemas", "web.transcript", "web.meter", "discretion"),
    *("histogram", "record_sections", "records.past", "records.rows"),
    *("records.verdict", "records.verdict_sound", "records.tape", "acoustics", "echo"),
    *("records.words", "records.numbers", "records.naming"),
    *("records.cursor", "records.tables", "records.document", "records.files"),
    *("records.verdict_words", "records.waveform"),
    *("log_sections", "logs.levels", "logs.lines", "logs.masking", "logs.repeats"),
    *("outbox.folder", "mail.folder"),
    *("doctor.report", "doctor.where", "doctor.asterisk_output", "doctor.versions"),
    *("doctor.dialplan", "doctor.asterisk_parts", "doctor.machine", "doctor.probe"),
    *("captures.entries", "captures.plainly", "captures.differences"),
}
LEAVES = {"transports", "providers", "tools"}
CALL = {
    *("call", "allowance", "departure", "errands", "journal", "control", "earpiece"),
    *("switchboard", "talk", "agent", "watching", "privacy"),
}
LEG = {"line", "taps", "playout", "pacing"}
"""What legs have in common."""
MAY_SEE_CALL = {
    *("service", "tap"),
    *("captures.call", "captures.folder", "captures.player"),
}


def imports(path: Path) -> set[str]:
    """@return: The modules a module imports, as dotted names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(f"{node.module}.{name.name}" for name in node.names)
    return found


def modules() -> dict[str, set[str]]:
    """@return: By dotted name below portero: what each module imports."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(part for part in parts if part != "__init__")] = imports(path)
    return found


class LayerTests(SynchronousTestCase):
    def test_the_modules_that_are_named_here_are_there(self) -> None:
        self.assertEqual((PURE | LEAVES | LEG | MAY_SEE_CALL) - set(modules()), set())

    def test_pure_modules_import_nothing_of_twisted(self) -> None:
        for name, found in modules().items():
            if PURE & {name, name.split(".")[0]}:
                bad = [module for module in found if module.startswith("twisted")]
                self.assertEqual(bad, [], name)

    def test_a_leaf_imports_no_other_leaf_and_not_the_call(self) -> None:
        for name, found in modules().items():
            kind, _, leaf = name.partition(".")
            if kind not in LEAVES or not leaf:
                continue
            for module in found:
                top, _, other = module.removeprefix("portero.").partition(".")
                if module.startswith("portero.") and top in LEAVES:
                    # Its own package alone; what is taken from that stands there too.
                    private = not other or other.split(".")[0].startswith("_")
                    same = top == kind and (private or other.split(".")[0] == leaf)
                    self.assertTrue(same, f"{name} imports {module}")
                self.assertNotEqual(module, "portero.call", name)

    def test_neither_the_call_nor_a_part_of_it_imports_a_leaf_or_who_watches_it(
        self,
    ) -> None:
        beyond = tuple(f"portero.{kind}" for kind in (*LEAVES, "observers", "web"))
        found = modules()
        for name in CALL | LEG:
            bad = [module for module in found[name] if module.startswith(beyond)]
            self.assertEqual(bad, [], name)

    def test_an_observer_imports_no_leaf_and_not_the_page(self) -> None:
        beyond = tuple(f"portero.{kind}" for kind in (*LEAVES, "web"))
        for name, found in modules().items():
            if name.startswith("observers."):
                bad = [module for module in found if module.startswith(beyond)]
                self.assertEqual(bad, [], name)

    def test_only_the_service_and_the_wiring_see_the_call(self) -> None:
        for name, found in modules().items():
            if name not in MAY_SEE_CALL:
                self.assertNotIn("portero.call", found, name)

    def test_only_the_wiring_imports_the_reactor(self) -> None:
        for name, found in modules().items():
            # `portero call` and `portero doctor` are programs of their own.
            if name not in ("tap", "placecall", "doctor.command"):
                self.assertNotIn("twisted.internet.reactor", found, name)

    def test_wire_imports_nothing_of_ours_but_errors(self) -> None:
        for name, found in modules().items():
            if name.startswith("wire."):
                ours = {module for module in found if module.startswith("portero")}
                allowed = ("portero.errors", "portero.wire")
                bad = [module for module in ours if not module.startswith(allowed)]
                self.assertEqual(bad, [], name)


class PackagingTests(SynchronousTestCase):
    def test_setup_cfg_lists_every_package(self) -> None:
        parser = ConfigParser()
        parser.read(CHECKOUT / "setup.cfg")
        listed = set(parser["options"]["packages"].split())
        there = {
            ".".join(path.parent.relative_to(PACKAGE.parent).parts)
            for path in PACKAGE.rglob("__init__.py")
        }
        self.assertEqual(listed, there | {"twisted.plugins"})

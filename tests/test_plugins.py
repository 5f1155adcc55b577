"""Tests of L{portero.plugins}, and that every leaf is what it says."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Interface
from zope.interface.verify import verifyClass

from portero import plugins
from portero.errors import ConfigError
from portero.interfaces import IMediaTransport, ITool, IVoiceProvider

INTERFACES: dict[str, type[Interface]] = {
    "transports": IMediaTransport,
    "providers": IVoiceProvider,
    "tools": ITool,
}


class LeafTests(SynchronousTestCase):
    def test_every_leaf_provides_the_interface_of_its_kind(self) -> None:
        for kind, interface in INTERFACES.items():
            self.assertTrue(plugins.names(kind), kind)
            for name in plugins.names(kind):
                verifyClass(interface, plugins.find(kind, name))

    def test_private_modules_are_no_leaves(self) -> None:
        self.assertIn("openai", plugins.names("providers"))
        self.assertNotIn("_websocket", plugins.names("providers"))


class FindTests(SynchronousTestCase):
    known = ", ".join(plugins.names("providers"))

    def refused(self, name: str) -> str:
        return str(self.assertRaises(ConfigError, plugins.find, "providers", name))

    def test_a_site_names_a_class_of_its_own(self) -> None:
        self.assertIs(
            plugins.find("tools", f"{__name__}:FindTests"),
            FindTests,
        )

    def test_a_wrong_name_gets_the_nearest_right_one(self) -> None:
        self.assertEqual(
            self.refused("Opneai"),
            f"no provider 'Opneai'; there are: {self.known}; did you mean openai?",
        )

    def test_a_name_far_from_all_gets_the_list(self) -> None:
        said = f"no provider 'zzz'; there are: {self.known}"
        self.assertEqual(self.refused("zzz"), said)

    def test_a_private_module_cannot_be_named(self) -> None:
        self.assertIn("there are:", self.refused("_websocket"))

    def test_names_besides_the_modules_are_right_when_told(self) -> None:
        plugins.check("providers", "demo", also=["demo"])
        error = self.assertRaises(
            ConfigError, plugins.check, "providers", "dmo", also=["demo"]
        )
        self.assertIn("; did you mean demo?", str(error))

    def test_what_cannot_be_loaded_is_said(self) -> None:
        for name, expected in [
            ("nowhere.voice:Provider", "No module named 'nowhere'"),
            ("portero.config:Provider", "has no attribute 'Provider'"),
            (":Provider", "ValueError"),
        ]:
            said = self.refused(name)
            self.assertIn(f"provider {name!r} cannot be loaded", said)
            self.assertIn(expected, said)

"""The tool with which the agent pauses the recording; the call itself does it."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from portero.interfaces import ITool
from portero.tools.pause_recording import Tool
from tests.fake_call import FakeControl


class PauseRecordingTests(SynchronousTestCase):
    def test_it_is_a_tool(self) -> None:
        self.assertTrue(verifyObject(ITool, Tool()))
        self.assertEqual(Tool.name, "pause_recording")

    def test_the_model_is_told_what_came_of_it(self) -> None:
        call = FakeControl()
        said = []
        for call.takes in (True, False):
            value = Deferred.fromCoroutine(Tool().run(call, {}))
            said.append(self.successResultOf(value))
        self.assertEqual(call.of("pause_recording"), [(True,)] * 2)
        self.assertFalse(said[0].startswith("error: "))
        self.assertTrue(said[1].startswith("error: "))

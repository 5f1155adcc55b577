"""The caller changes their mind."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from portero.interfaces import ITool
from portero.tools.cancel_transfer import Tool
from tests.fake_call import FakeControl


class CancelTransferTests(SynchronousTestCase):
    def test_it_is_a_tool(self) -> None:
        self.assertTrue(verifyObject(ITool, Tool()))
        self.assertEqual(Tool.name, "cancel_transfer")

    def test_the_model_is_told_whether_it_came_in_time(self) -> None:
        call = FakeControl()
        for takes, words in ((True, "cancelled: "), (False, "error: there is no")):
            call.takes = takes
            value = Deferred.fromCoroutine(Tool().run(call, {}))
            self.assertTrue(self.successResultOf(value).startswith(words))
        self.assertEqual(call.count("cancel_transfer"), 2)

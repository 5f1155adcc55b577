"""What is kept is put together as the configuration says."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.internet.threads import deferToThread
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase, TestCase

from portero.call import Call
from portero.captures.folder import Captures
from portero.config import Config
from portero.errors import ConfigError
from portero.interfaces import Happening, IObserver, LegFigures
from portero.observers.story import Story
from portero.record_sections import RecordSettings
from portero.records.archive import IN_RECORDS, ONLY_MEMORY, Archive, Query
from portero.records.keeping import Keeping
from portero.sections import AgentSettings, ListenSettings
from portero.service import Bridge
from portero.wiring import Wiring
from tests.kept_calls import ID, TALK, happened, record
from tests.test_observers_recording import TappedCall

OTHER = "7a1c2d3e-0000-4000-8000-000000000002"


def config(records: RecordSettings | None = None, **agent: Any) -> Config:
    settings = AgentSettings(**agent)
    return Config(records=records or RecordSettings(), agents={"reception": settings})


def _tell(happening: Happening, observer: IObserver) -> None:
    observer.call_event(happening)


class KeepingTests(TestCase):
    def setUp(self) -> None:
        self.state = os.path.abspath(self.mktemp())
        os.mkdir(self.state)
        self.bridge = Bridge(reactor, None)  # type: ignore[arg-type]  # no call comes
        self.addCleanup(self.stop)

    async def stop(self) -> None:
        if self.bridge.running:
            await self.bridge.stopService()

    def start(self, keeping: Keeping) -> Archive:
        keeping.begin(self.bridge)
        story = Story()
        found = keeping.archive(self.bridge, story, deferToThread)
        for observer in (story, found):
            self.bridge.watchers.add(observer)
        self.bridge.startService()
        return found

    def hold(self, call_id: str = ID) -> None:
        """A call begins, goes on and ends."""
        call: Any = TappedCall(call_id)
        watchers = self.bridge.watchers
        watchers.tell(lambda observer: observer.call_started(call))
        call.talk(60)
        for each in happened(*TALK, call_id=call_id):
            watchers.tell(partial(_tell, each))
        kept, figures = record(call_id), LegFigures()
        self.bridge.ended[call_id] = kept
        watchers.tell(lambda observer: observer.call_ended(kept, figures))

    async def found(self, archive: Archive, at_least: int = 1) -> dict[str, Any]:
        while True:
            page = await archive.history(Query())
            if len(page["calls"]) >= at_least:
                return page
            await deferLater(reactor, 0.01)

    def warned(self, do: Callable[[], object]) -> list[str]:
        with capturedLogs() as events:
            do()
        return [formatEvent(e) for e in events if e["log_level"] >= LogLevel.warn]

    async def test_with_a_state_folder_records_are_there(self) -> None:
        archive = self.start(Keeping(config(), reactor, self.state))
        self.hold()
        await self.bridge.stopService()
        self.assertEqual(os.listdir(self.state), ["records.sqlite"])
        self.bridge = Bridge(reactor, None)  # type: ignore[arg-type]  # after a restart
        archive = self.start(Keeping(config(), reactor, self.state))
        page = await self.found(archive)
        self.assertEqual(page["kept"], IN_RECORDS)
        self.assertEqual(page["calls"][0]["caller_number"], "...678")
        self.assertFalse(page["calls"][0]["has_words"])

    async def test_the_record_has_what_was_measured(self) -> None:
        archive = self.start(Keeping(config(), reactor, self.state))
        self.hold()
        call = await archive.call(ID)
        await self.bridge.stopService()
        self.bridge = Bridge(reactor, None)  # type: ignore[arg-type]  # after a restart
        again = await self.start(Keeping(config(), reactor, self.state)).call(ID)
        for found in (call, again):
            assert found is not None
            self.assertEqual(found["figures"]["sound"]["seconds"], 1.2)

    async def test_without_one_memory_is_all(self) -> None:
        archive = self.start(Keeping(config(), reactor))
        self.hold()
        page = await self.found(archive)
        self.assertEqual(page["kept"], ONLY_MEMORY)
        self.assertEqual(os.listdir(self.state), [])

    async def test_none_is_none(self) -> None:
        records = RecordSettings(file="none", recordings="none")
        self.start(Keeping(config(records), reactor, self.state))
        self.hold()
        await self.bridge.stopService()
        self.assertEqual(os.listdir(self.state), [])

    async def test_the_record_knows_the_recording(self) -> None:
        recorded = config(record=True, consent="asked", keep_words=True)
        self.start(Keeping(recorded, reactor, self.state))
        self.hold()
        await self.bridge.stopService()
        self.bridge = Bridge(reactor, None)  # type: ignore[arg-type]  # after a restart
        archive = self.start(Keeping(recorded, reactor, self.state))
        call = await archive.call(ID)
        assert call is not None
        self.assertTrue(call["recording"])
        self.assertTrue(call["call"]["has_words"])
        path = await archive.recording_path(ID)
        assert path is not None
        self.assertEqual(os.path.getsize(path), 44 + 60 * 640)
        waveform = await archive.waveform(ID)
        assert waveform is not None
        self.assertEqual(waveform["seconds"], 1.2)

    async def test_what_is_erased_is_gone_everywhere(self) -> None:
        kept = config(record=True, consent="asked", keep_words=True)
        archive = self.start(Keeping(kept, reactor, self.state))
        self.hold()
        self.hold(OTHER)
        await self.found(archive, 2)
        self.assertTrue(await archive.erase(ID))
        page = await archive.history(Query())
        self.assertEqual([call["id"] for call in page["calls"]], [OTHER])
        await self.bridge.stopService()
        self.bridge = Bridge(reactor, None)  # type: ignore[arg-type]  # after a restart
        archive = self.start(Keeping(kept, reactor, self.state))
        page = await self.found(archive)
        self.assertEqual([call["id"] for call in page["calls"]], [OTHER])
        (recording,) = os.listdir(os.path.join(self.state, "recordings"))
        self.assertIn(OTHER, recording)

    async def test_records_are_sent_when_a_webhook_is_there(self) -> None:
        queue = os.path.join(self.state, "webhook")
        keeping = Keeping(config(), reactor, self.state)
        self.start(keeping)
        self.hold()
        self.assertEqual(keeping.unsent, 0)
        # Nobody listens there, so that it waits.
        settings = RecordSettings(
            webhook="http://127.0.0.1:1/x", webhook_allow=("127.0.0.1/32",)
        )
        keeping.use(config(settings))
        self.hold(OTHER)
        while not keeping.unsent:
            await deferLater(reactor, 0.01)
        await self.bridge.stopService()
        (name,) = os.listdir(queue)
        with open(os.path.join(queue, name)) as file:
            sent = json.load(file)
        self.assertEqual(sent["call"]["id"], OTHER)
        self.assertEqual(sent["call"]["caller_number"], "...678")
        self.assertEqual(sent["said"], [])
        self.assertEqual((keeping.lost, keeping.given_up), (0, 0))

    def test_a_webhook_needs_records_and_a_folder(self) -> None:
        settings = RecordSettings(webhook="https://crm.example/")
        error = self.assertRaises(ConfigError, Keeping, config(settings), reactor)
        self.assertIn("webhook needs records", str(error))
        named = replace(settings, file=os.path.join(self.state, "r.sqlite"))
        error = self.assertRaises(ConfigError, Keeping, config(named), reactor)
        self.assertIn("webhook_queue is missing", str(error))
        Keeping(config(replace(named, webhook_queue=self.state)), reactor)

    def test_recording_needs_a_folder(self) -> None:
        recorded = config(record=True, consent="asked")
        error = self.assertRaises(ConfigError, Keeping, recorded, reactor)
        self.assertIn("agent reception has record = true: name a folder", str(error))
        keeping = Keeping(config(), reactor)
        self.assertRaises(ConfigError, keeping.check, recorded)

    def test_so_does_capture(self) -> None:
        captured = config(capture=True, consent="asked")
        error = self.assertRaises(ConfigError, Keeping, captured, reactor)
        self.assertIn("[records] captures is missing, and agent rec", str(error))
        self.assertIn("has capture = true: name a folder", str(error))

    def test_calls_are_made_so_that_they_can_be_captured(self) -> None:
        self.start(Keeping(config(capture=True), reactor, self.state))
        made = self.bridge.make_call
        captures: Any = made.__self__  # type: ignore[attr-defined]  # of a method
        self.assertIsInstance(captures, Captures)
        self.assertEqual(captures.folder, os.path.join(self.state, "captures"))

    def test_without_a_place_for_them_they_are_made_as_ever(self) -> None:
        records = RecordSettings(captures="none")
        self.start(Keeping(config(records), reactor, self.state))
        self.assertIs(self.bridge.make_call, Call)

    async def test_what_changes_counts_for_the_next_call(self) -> None:
        keeping = Keeping(config(), reactor, self.state)
        archive = self.start(keeping)
        self.hold("first")
        recorded = config(RecordSettings(numbers="whole"), record=True, keep_words=True)
        keeping.check(recorded)
        self.assertEqual(self.warned(lambda: keeping.use(recorded)), [])
        self.hold("second")
        self.bridge.ended.clear()
        await self.found(archive, 2)
        calls = {
            call["id"]: (call["has_words"], call["recording"], call["caller_number"])
            for call in (await archive.history(Query()))["calls"]
        }
        self.assertEqual(
            calls,
            {"first": (False, False, "...678"), "second": (True, True, "+34600123678")},
        )

    def test_a_place_that_changes_takes_a_restart(self) -> None:
        keeping = Keeping(config(), reactor, self.state)
        moved = config(RecordSettings(file="/elsewhere/r.sqlite"))
        (said,) = self.warned(lambda: keeping.use(moved))
        self.assertEqual(said, "[records] file: changed, which takes a restart")

    def test_words_that_nobody_keeps_are_told(self) -> None:
        keeping = Keeping(config(keep_words=True), reactor)
        (said,) = self.warned(keeping.verify)
        self.assertIn("agent reception has keep_words = true, but there are no", said)
        half = config(keep_words=True, transcription_model="")
        (said,) = self.warned(Keeping(half, reactor, self.state).verify)
        self.assertIn("only what the agent itself says is kept", said)
        whole = config(keep_words=True)
        self.assertEqual(self.warned(Keeping(whole, reactor, self.state).verify), [])


class WiringTests(SynchronousTestCase):
    """L{portero.wiring} asks for it."""

    def setUp(self) -> None:
        self.state = self.mktemp()
        self.reactor = MemoryReactorClock()

    def observers(self, bridge: Bridge) -> list[str]:
        found: list[str] = []
        bridge.watchers.tell(lambda observer: found.append(type(observer).__name__))
        return found

    def test_records_watch_after_recordings(self) -> None:
        bridge = Wiring(self.reactor, self.state).build(Config())
        found = self.observers(bridge)
        self.assertLess(found.index("Recordings"), found.index("Records"))
        self.assertLess(found.index("Measuring"), found.index("Records"))

    def test_without_a_place_nobody_watches(self) -> None:
        bridge = Wiring(self.reactor).build(Config())
        self.assertNotIn("Records", self.observers(bridge))
        self.assertNotIn("Measuring", self.observers(bridge))

    def test_who_asks_the_page_is_told_what_was_measured(self) -> None:
        listen = ListenSettings(web="8091")
        found = self.observers(Wiring(self.reactor).build(Config(listen=listen)))
        self.assertLess(found.index("Measuring"), found.index("Archive"))

    def test_a_recording_without_a_folder_is_refused(self) -> None:
        recorded = config(record=True, consent="asked")
        wiring = Wiring(self.reactor)
        self.assertRaises(ConfigError, wiring.build, recorded)
        bridge = wiring.build(Config())
        before = bridge.roster
        self.assertRaises(ConfigError, wiring.reload, bridge, recorded)
        self.assertIs(bridge.roster, before)

    def test_another_configuration_counts_from_then_on(self) -> None:
        wiring = Wiring(self.reactor, self.state)
        bridge = wiring.build(Config())
        agents = {"default": AgentSettings(record=True, consent="asked")}
        wiring.reload(bridge, Config(agents=agents))
        call: Any = TappedCall(ID, "default")
        bridge.watchers.tell(lambda observer: observer.call_started(call))
        self.assertIn("_Reel", [type(tap).__name__ for tap in call.taps])

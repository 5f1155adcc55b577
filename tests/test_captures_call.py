"""A call that is captured: what is kept of it, and that a replay is the same call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from twisted.internet.defer import Deferred, TimeoutError
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from portero.captures.call import capture_call
from portero.captures.differences import compare
from portero.captures.entries import CaptureError, Kind, jsonable
from portero.captures.header import HIDDEN, Header
from portero.captures.outside import CapturedControl, CapturedPbx, CapturedTool, Use
from portero.captures.player import play
from portero.facts import Facts
from portero.greeting import Opening, Shelf
from portero.interfaces import (
    ICallControl,
    ILegCapture,
    ILegEvents,
    IObserver,
    IOperatedCall,
    IPbxControl,
    ITool,
    IWatchedCall,
    McpServer,
)
from portero.simulator.persona import tone
from portero.watching import Watchers
from tests.captured_call import CapturedCase
from tests.fake_call import (
    FakeControl,
    FakeLeg,
    FakePbx,
    FakeProvider,
    FakeTool,
)
from tests.test_providers_openai import called, created, delta, done

STARTED = {"type": "input_audio_buffer.speech_started", "item_id": "i"}
STOPPED = {"type": "input_audio_buffer.speech_stopped", "item_id": "i"}
ULAW = bytes(range(256)) * 10


@implementer(ITool)
class BusyTool:
    """Does all that a tool may do to its call."""

    name = "busy"
    description = "Do it."
    parameters: ClassVar[Mapping[str, Any]] = {"type": "object", "properties": {}}
    within = 60.0
    private = ("number",)

    def __init__(self) -> None:
        self.go_on: Deferred[None] = Deferred()
        self.digits = ""
        self.heard: bool | None = None
        self.over = False

    async def run(self, call: ICallControl, arguments: Mapping[str, Any]) -> str:
        call.at_end(self._ended)
        self.heard = await call.play("a tone", 8000, tone(300))
        self.digits = await call.collect_digits(2, 5.0)
        await self.go_on
        call.inform("The gate is open.")
        call.transfer("sales,1,1", "it is for sales")
        call.cancel_transfer()
        call.transfer("sales,1,1", "it is for sales")
        return f"{self.digits} {call.seconds() > 0} {len(call.said()) > 0}"

    def _ended(self) -> None:
        self.over = True


class CapturedCallTests(SynchronousTestCase):
    def assert_same_again(self, case: CapturedCase) -> None:
        found = compare(case.entries, play(case.entries))
        self.assertEqual(found.differences, ())
        self.assertGreater(found.acts, 3)

    def talk(self, case: CapturedCase) -> None:
        """The agent greets; the caller interrupts it."""
        case.begin()
        case.go_on(0.1)
        case.say(created())
        case.say(delta(ULAW))
        case.go_on(0.2, speaks=True)
        case.say(STARTED)
        case.go_on(0.2, speaks=True)
        case.say(STOPPED)

    def test_all_who_have_to_do_with_it_provide_what_they_should(self) -> None:
        case, control = CapturedCase(FakeTool()), FakeControl()
        for interface in (ILegEvents, IWatchedCall, IOperatedCall):
            verifyObject(interface, case.call)
        verifyObject(ILegCapture, case.capture)
        verifyObject(IObserver, case.capture)
        verifyObject(ITool, CapturedTool(FakeTool(), case.capture))
        verifyObject(ICallControl, CapturedControl(control, Use(case.capture)))
        verifyObject(IPbxControl, CapturedPbx(FakePbx(), case.capture))

    def test_it_begins_with_what_the_call_is_made_of(self) -> None:
        facts = Facts("Ana", "+34600123456")
        case = CapturedCase(FakeTool(), facts=facts, silence=30.0)
        first = case.entries[0]
        self.assertEqual((first.kind, first.at), (Kind.CALL, 1000.0))
        header = Header.read(first.value())
        given = case.given
        self.assertEqual(header.facts, given.facts)
        self.assertEqual(header.settings, given.settings)
        self.assertEqual(header.brief, replace(given.brief, tools=()))
        self.assertEqual(header.tools[0].name, "look_up")
        self.assertEqual(header.tool_within, 5.0)
        self.assertEqual(header.provider, "openai")

    def test_what_comes_and_what_is_done_is_kept_in_its_order(self) -> None:
        case = CapturedCase()
        self.talk(case)
        case.leg.press("5")
        case.leg.leave("caller hung up", True)
        kinds = case.kinds()
        for kind in (Kind.BEGAN, Kind.HEARD, Kind.FRAME, Kind.KEY, Kind.OPENED):
            self.assertIn(kind, kinds)
        self.assertEqual(case.sent()[0], "session.update")
        self.assertIn("conversation.item.truncate", case.sent())
        self.assertEqual(case.happened("barge_in"), [{}])
        self.assertEqual(case.of(Kind.GONE), [["caller hung up", True]])
        self.assertIs(kinds[-1], Kind.ENDED)
        times = [entry.at for entry in case.entries]
        self.assertEqual(times, sorted(times))
        self.assert_same_again(case)

    def test_while_something_is_done_no_time_passes(self) -> None:
        case = CapturedCase()
        self.talk(case)
        done_at = {e.at for e in case.entries if not e.kind.came}
        came_at = {e.at for e in case.entries if e.kind.came}
        self.assertEqual(done_at - came_at, set())

    def test_the_caller_is_kept_once(self) -> None:
        case = CapturedCase()
        self.talk(case)
        uploads = [e for e in case.entries if e.kind is Kind.UPLOADED]
        self.assertGreater(len(uploads), 5)
        self.assertEqual({len(entry.data) for entry in uploads}, {16})
        sent = b"".join(e.data for e in case.entries if e.kind is Kind.SENT)
        self.assertNotIn(b"input_audio_buffer.append", sent)

    def test_timers_that_were_late_are_late_again(self) -> None:
        case = CapturedCase(reply_within=1.0)
        case.begin()
        case.go_on(1.0)
        case.world.advance(0.3)  # a stall
        case.go_on(0.5)
        wakes = [e for e in case.entries if e.kind is Kind.WOKEN]
        self.assertGreater(max(e.at - e.as_float() for e in wakes), 0.2)
        case.leg.leave("caller hung up", True)
        self.assert_same_again(case)

    def test_a_service_that_is_lost(self) -> None:
        case = CapturedCase()
        self.talk(case)
        ending = {
            "reason": "it broke",
            "code": 1006,
            "status": 0,
            "body": "",
            "retry_after": 0.0,
            "final": False,
        }
        case.socket(Kind.STUCK, b"\1")
        case.socket(Kind.STUCK)
        case.socket(Kind.BINARY, b"?")
        case.socket(Kind.CLOSED, jsonable(ending))
        case.go_on(0.1)
        case.connect(2)
        for number in (2, 3, 4):  # the pauses between attempts are by chance
            case.socket(Kind.CLOSED, jsonable(ending), number)
            case.go_on(3.0)
        self.assertEqual(case.kinds().count(Kind.CONNECTED), 4)
        case.leg.leave("caller hung up", True)
        self.assert_same_again(case)

    def test_a_tool_does_again_what_it_did(self) -> None:
        tool, pbx = BusyTool(), FakePbx()
        case = CapturedCase(tool, pbx=pbx, facts=Facts(channel="SIP/1"))
        self.talk(case)
        case.say(created("resp_2"))
        case.say(called("call_1", "resp_2", name="busy", arguments="{}"))
        case.say(done("resp_2"))
        case.go_on(0.5)
        self.assertIs(tool.heard, True)
        for digit in "12":
            case.leg.press(digit)
        self.assertEqual(tool.digits, "12")
        case.go_on(0.1)
        tool.go_on.callback(None)
        case.say(created("resp_3"))
        case.say(delta(ULAW, "item_3", "resp_3"))
        case.say(done("resp_3"))
        case.go_on(1.0)
        self.assertTrue(case.ended)
        self.assertTrue(tool.over)
        self.assertEqual(pbx.of("redirect"), [("SIP/1", "sales,1,1")])
        did = [step[0] for step in case.of(Kind.STEP)]
        self.assertEqual(
            did,
            [
                *("at_end", "play", "collect_digits", "inform", "transfer"),
                *("cancel_transfer", "transfer", "answer"),
            ],
        )
        self.assertEqual(case.of(Kind.REDIRECTING), [["SIP/1", "sales,1,1"]])
        self.assert_same_again(case)
        # Nobody answers at the PBX: the leg does not stay for ever.
        case.go_on(5.0)
        self.assertEqual(len(self.flushLoggedErrors(TimeoutError)), 1)
        self.assertEqual(case.world.getDelayedCalls(), [])
        sent = case.leg.figures().frames_sent
        case.go_on(0.1)
        self.assertEqual(case.leg.figures().frames_sent, sent)

    def test_a_tool_that_fails_fails_again(self) -> None:
        tool = FakeTool()
        case = CapturedCase(tool)
        self.talk(case)
        case.say(created("resp_2"))
        case.say(called("call_1", "resp_2", name="look_up", arguments="{}"))
        case.say(done("resp_2"))
        case.go_on(0.1)
        tool.answer.errback(ValueError("on purpose"))
        case.go_on(0.1)
        case.leg.leave("caller hung up", True)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assert_same_again(case)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_tool_that_takes_too_long_does_so_again(self) -> None:
        case = CapturedCase(FakeTool())
        self.talk(case)
        case.say(created("resp_2"))
        case.say(called("call_1", "resp_2", name="look_up", arguments="{}"))
        case.say(done("resp_2"))
        case.go_on(5.5)
        case.leg.leave("caller hung up", True)
        (ended,) = case.happened("tool_ended")
        self.assertFalse(ended["ok"])
        self.assert_same_again(case)

    def test_what_an_operator_does(self) -> None:
        case = CapturedCase()
        self.talk(case)
        self.assertTrue(case.call.whisper("Be kind.", "ann"))
        self.assertTrue(case.call.hand_over("sales,1,1", "sales", "ann"))
        case.go_on(1.0)
        self.assertTrue(case.call.dismiss("ann"))
        acts = [act for act, *_ in case.of(Kind.ACT)]
        self.assertEqual(acts, ["whisper", "hand_over", "dismiss"])
        self.assert_same_again(case)

    def test_a_portero_that_stops(self) -> None:
        case = CapturedCase()
        self.talk(case)
        case.call.stop()
        case.go_on(10.0)
        self.assertTrue(case.ended)
        self.assert_same_again(case)

    def test_a_far_end_that_takes_a_wider_band(self) -> None:
        case = CapturedCase()
        case.begin()
        case.leg.prefer(24000)
        case.say(created())
        case.say(delta(ULAW))
        case.go_on(0.3)
        case.leg.leave("caller hung up", True)
        frames = {len(e.data) for e in case.entries if e.kind is Kind.FRAME}
        self.assertEqual(frames, {320, 960})
        self.assert_same_again(case)

    def test_a_greeting_that_is_at_hand(self) -> None:
        shelf = Shelf()
        opening = Opening("Good day.", None, True, shelf, "key")
        shelf.keep(("key", "Good day.", 8000), tone(500))
        case = CapturedCase(opening=opening)
        (greeting,) = (e for e in case.entries if e.kind is Kind.GREETING)
        self.assertEqual((greeting.number, greeting.data), (8000, tone(500)))
        self.talk(case)
        case.go_on(1.0)
        case.leg.leave("caller hung up", True)
        self.assert_same_again(case)

    def test_no_secret_is_kept(self) -> None:
        token = 'to"ken'
        server = McpServer("shop", "https://shop.example", authorization=token)
        case = CapturedCase(mcp=(server,))
        case.begin()
        case.leg.leave("caller hung up", True)
        everything = b"".join(entry.data for entry in case.entries)
        self.assertIn(HIDDEN.encode(), everything)
        for secret in (b"secret", b'to\\"ken', b'to"ken'):
            self.assertNotIn(secret, everything)
        self.assert_same_again(case)

    def test_a_service_whose_messages_nobody_sees_cannot_be_captured(self) -> None:
        case = CapturedCase()
        given = replace(case.given, provider=FakeProvider())
        refused = (case.capture, FakeLeg(), given, case.ended.append, Watchers())
        error = self.assertRaises(CaptureError, capture_call, *refused)
        self.assertIn("has no by_way_of", str(error))

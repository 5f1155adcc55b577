"""Asterisk's manager interface: what is asked, what is said when it does not work."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectionDone,
    ConnectionRefusedError,
    DNSLookupError,
)
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from portero.ami import (
    AT_ONCE,
    LARGEST,
    LONGEST,
    WITHIN,
    Manager,
    NotDone,
    message,
)
from portero.interfaces import IPbxControl
from portero.sections import AmiSettings
from tests.fakes import FakeTransport
from tests.test_tools_transfer import HOSTILE

CHANNEL, TARGET, FALLBACK = "PJSIP/trunk-0000002a", "sales,200,1", "desk,100,there"
SECRET = "s3cret-word"
BANNER = b"Asterisk Call Manager/11.0.0\r\n"

Request = dict[str, str]


class FakeAsterisk:
    """
    The other end of one connection; it answers as Asterisk 22.10 was seen to.

    @ivar asked: The requests so far.
    @ivar silent_at: An action that it never answers, nor any after it.
    @ivar closes_at: An action at which it closes the connection.
    """

    def __init__(self) -> None:
        self.secret = SECRET
        self.actions = {"Getvar", "Redirect"}
        self.channels = {CHANNEL}
        self.places = {TARGET, FALLBACK}
        self.knows_places = True
        self.asked: list[Request] = []
        self.silent_at = self.closes_at = ""
        self.piece = 1000
        self.before_answers = b""
        self.transport = FakeTransport()
        self._protocol: Any = None

    def serve(
        self, reactor: MemoryReactorClock, banner: bytes = BANNER, number: int = -1
    ) -> None:
        """
        Take a connection and answer until nobody asks.

        @param number: Of the connection.
        """
        factory = reactor.tcpClients[number][2]
        self._protocol = factory.buildProtocol(None)
        self._protocol.makeConnection(self.transport)
        self.send(banner)
        while requests := b"".join(self.transport.take()):
            for request in requests.removesuffix(b"\r\n\r\n").split(b"\r\n\r\n"):
                self._answer(request.decode())
        if self.transport.disconnecting:
            self.close()

    def send(self, data: bytes) -> None:
        for start in range(0, len(data), self.piece):
            self._protocol.dataReceived(data[start : start + self.piece])

    def close(self) -> None:
        self._protocol.connectionLost(Failure(ConnectionDone()))

    def _answer(self, text: str) -> None:
        request = dict(line.split(": ", 1) for line in text.split("\r\n"))
        self.asked.append(request)
        action = request["Action"]
        if action == self.closes_at:
            self.close()
        if action in (self.silent_at, self.closes_at, "Logoff"):
            return
        answer: Request = {"Response": "Success", "ActionID": request["ActionID"]}
        problem = self._problem(request)
        if problem:
            answer |= {"Response": "Error", "Message": problem}
        elif action == "Getvar":
            found = re.fullmatch(r"DIALPLAN_EXISTS\((.*)\)", request["Variable"])
            there = found is not None and found[1] in self.places
            answer["Value"] = f"{there:d}" if self.knows_places else ""
        elif action == "ListCommands":
            answer |= dict.fromkeys(self.actions, "What it does.  (Priv: call,all)")
        lines = "".join(f"{name}: {value}\r\n" for name, value in answer.items())
        self.send(self.before_answers + f"{lines}\r\n".encode())

    def _problem(self, request: Request) -> str:
        action = request["Action"]
        if action == "Login":
            known = request["Secret"] == self.secret
            return "" if known else "Authentication failed"
        if action in ("Getvar", "Redirect") and action not in self.actions:
            return "Permission denied"
        if request.get("Channel", CHANNEL) not in self.channels:
            return "No such channel"
        return ""


class ManagerTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.asterisk = FakeAsterisk()
        self.lines: list[str] = []

    def manager(self, fallback: str = "", secret: str = SECRET) -> Manager:
        settings = AmiSettings(host="127.0.0.1", port=5039, fallback=fallback)
        return Manager(self.reactor, settings, secret)

    def redirect(
        self, channel: str = CHANNEL, target: str = TARGET, fallback: str = ""
    ) -> bool:
        """Its log lines go to C{lines}, those of Twisted itself not."""
        done = self.logged(lambda: self.manager(fallback).redirect(channel, target))
        self.assertIsInstance(done, bool)
        return bool(done)

    def logged(self, do: Callable[[], Deferred[Any]]) -> Any:
        with capturedLogs() as events:
            doing = do()
            if self.reactor.tcpClients:
                self.asterisk.serve(self.reactor)
            self.reactor.advance(WITHIN + 0.1)
        self.lines = [
            f"{event['log_level'].name}: {formatEvent(event)}"
            for event in events
            if event["log_namespace"].startswith("portero")
        ]
        self.assertNotIn(SECRET, "".join(self.lines))
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        return self.successResultOf(doing)

    def actions(self) -> list[str]:
        return [request["Action"] for request in self.asterisk.asked]


class MessageTests(SynchronousTestCase):
    def test_is_a_line_for_each_header_and_an_empty_one(self) -> None:
        self.assertEqual(
            message(Action="Login", Secret="a:b"),
            b"Action: Login\r\nSecret: a:b\r\n\r\n",
        )

    def test_no_value_can_end_its_line(self) -> None:
        signs = (*map(chr, range(32)), "\x7f", "\x85", "\u2028", "\u2029", "\ud800")
        for sign in signs:
            with self.assertRaises(NotDone):
                message(Channel=f"PJSIP/a{sign}Action: Originate")

    def test_values_have_a_longest(self) -> None:
        self.assertIn(b"x" * LONGEST, message(Channel="x" * LONGEST))
        for value in ("x" * (LONGEST + 1), "é" * (LONGEST // 2 + 1)):
            with self.assertRaises(NotDone):
                message(Channel=value)

    def test_the_error_names_the_header_and_does_not_quote_the_value(self) -> None:
        with self.assertRaises(NotDone) as raised:
            message(Secret=f"{SECRET}\n")
        self.assertIn("Secret has a control character", str(raised.exception))
        self.assertNotIn(SECRET, str(raised.exception))


class RedirectTests(ManagerTestCase):
    def test_it_controls_a_pbx(self) -> None:
        self.assertTrue(verifyObject(IPbxControl, self.manager()))

    def test_the_channel_goes_where_it_is_sent(self) -> None:
        self.assertTrue(self.redirect())
        self.assertEqual(self.reactor.tcpClients[0][:2], ("127.0.0.1", 5039))
        self.assertEqual(
            self.asterisk.asked,
            [
                {
                    "Action": "Login",
                    "ActionID": "1",
                    "Username": "portero",
                    "Secret": SECRET,
                    "Events": "off",
                },
                {
                    "Action": "Getvar",
                    "ActionID": "2",
                    "Channel": CHANNEL,
                    "Variable": f"DIALPLAN_EXISTS({TARGET})",
                },
                {
                    "Action": "Redirect",
                    "ActionID": "3",
                    "Channel": CHANNEL,
                    "Context": "sales",
                    "Exten": "200",
                    "Priority": "1",
                },
                {"Action": "Logoff"},
            ],
        )
        self.assertTrue(self.asterisk.transport.disconnecting)
        self.assertEqual(self.lines, [f"info: AMI: channel {CHANNEL} goes to {TARGET}"])

    def test_answers_may_come_a_byte_at_a_time(self) -> None:
        self.asterisk.piece = 1
        self.assertTrue(self.redirect())

    def test_events_and_the_answers_of_others_are_passed_over(self) -> None:
        self.asterisk.before_answers = (
            b"Event: FullyBooted\r\nPrivilege: system,all\r\n\r\n"
            b"Response: Error\r\nActionID: 99\r\nMessage: not yours\r\n\r\n"
            b"Event: Trap\r\nActionID: 1\r\n\r\n\r\n"
        )
        self.assertTrue(self.redirect())

    def test_where_the_dialplan_has_no_target_the_fallback_gets_the_caller(
        self,
    ) -> None:
        self.assertTrue(self.redirect(target="sales,201,1", fallback=FALLBACK))
        (redirect,) = [r for r in self.asterisk.asked if r["Action"] == "Redirect"]
        place = redirect["Context"], redirect["Exten"], redirect["Priority"]
        self.assertEqual(",".join(place), FALLBACK)
        self.assertEqual(
            self.lines,
            [
                "error: AMI: the dialplan has no 'sales,201,1'",
                f"info: AMI: channel {CHANNEL} goes to {FALLBACK}",
            ],
        )

    def test_nobody_is_sent_to_a_place_that_is_not_there(self) -> None:
        target = "sales,201,1"
        for fallback, asked in ((target, 1), ("", 1), ("desk,101,1", 2)):
            self.asterisk = FakeAsterisk()
            self.assertFalse(self.redirect(target=target, fallback=fallback))
            self.assertEqual(
                self.actions(), ["Login", *["Getvar"] * asked, "Logoff"], fallback
            )
            self.assertIn("no such place", self.lines[-1])

    def test_an_asterisk_that_cannot_tell_is_believed_to_have_the_target(self) -> None:
        self.asterisk.knows_places = False
        self.assertTrue(self.redirect())


class HostileTests(ManagerTestCase):
    """One level lower than the tool: were these to come so far, they end here."""

    def test_a_channel_is_sent_as_one_header_or_not_at_all(self) -> None:
        for channel in HOSTILE:
            self.asterisk = FakeAsterisk()
            self.asterisk.channels.add(channel)
            done = self.redirect(channel)
            safe = channel.isprintable() and len(channel.encode()) <= LONGEST
            actions = ["Getvar", "Redirect"] if safe else []
            self.assertEqual(self.actions(), ["Login", *actions, "Logoff"])
            self.assertEqual(done, safe)
            sent = [r["Channel"] for r in self.asterisk.asked if "Channel" in r]
            self.assertEqual(set(sent), {channel} if safe else set())

    def test_a_target_is_three_plain_words_or_nothing_is_asked(self) -> None:
        for target in HOSTILE:
            self.asterisk = FakeAsterisk()
            self.asterisk.places.add(target)
            done = self.redirect(target=target)
            words = re.fullmatch(r"[\w-]+,[\w*#+-]+,\w+", target, re.ASCII)
            self.assertEqual(done, words is not None, target)
            self.assertEqual("Getvar" in self.actions(), done)


class TroubleTests(ManagerTestCase):
    def assert_found(self, *words: str) -> None:
        """
        One line of an error tells the operator the channel, the place and this.
        """
        (line,) = self.lines
        for word in ("error: AMI", repr(CHANNEL), repr(TARGET), *words):
            self.assertIn(word, line)

    def test_a_refusal_is_told_in_asterisks_words_with_a_remedy(self) -> None:
        for change, *words in (
            ({"secret": "other"}, "127.0.0.1:5039", "Authentication failed"),
            ({"secret": "other"}, "[ami] user and secret", "permit"),
            ({"actions": set()}, "Permission denied", "write = call"),
            ({"actions": {"Getvar"}}, "Redirect: Permission denied", "write = call"),
            ({"channels": set()}, "No such channel", "hung up"),
        ):
            self.asterisk = FakeAsterisk()
            vars(self.asterisk).update(change)
            self.assertFalse(self.redirect())
            self.assert_found(*words)

    def test_who_does_not_answer_has_two_seconds(self) -> None:
        for action in ("Login", "Getvar", "Redirect"):
            self.asterisk = FakeAsterisk()
            self.asterisk.silent_at = action
            self.assertFalse(self.redirect())
            self.assert_found("no answer within 2 s", "firewall")
            self.assertTrue(self.asterisk.transport.disconnecting)

    def test_who_takes_no_connection_has_two_seconds(self) -> None:
        with capturedLogs() as events:
            doing = self.manager().redirect(CHANNEL, TARGET)
            self.reactor.advance(WITHIN - 0.1)
            self.assertNoResult(doing)
            self.reactor.advance(0.2)
        self.assertFalse(self.successResultOf(doing))
        self.assertIn("no answer within 2 s", formatEvent(events[-1]))
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_connection_that_ends_is_told(self) -> None:
        for action in ("Login", "Getvar", "Redirect"):
            self.asterisk = FakeAsterisk()
            self.asterisk.closes_at = action
            self.assertFalse(self.redirect())
            self.assert_found("it closed the connection")

    def test_a_connection_that_cannot_be_made_is_told(self) -> None:
        for reason, words in (
            (ConnectionRefusedError(), "enabled = yes"),
            (DNSLookupError("no address for pbx"), "no address for pbx"),
        ):
            with capturedLogs() as events:
                doing = self.manager().redirect(CHANNEL, TARGET)
                factory: Any = self.reactor.tcpClients[-1][2]
                factory.clientConnectionFailed(None, Failure(reason))
                self.reactor.advance(WITHIN + 0.1)
            self.assertFalse(self.successResultOf(doing))
            self.assertIn(words, formatEvent(events[-1]))
            self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_what_is_no_ami_is_told_and_left_alone(self) -> None:
        for banner in (b"SSH-2.0-OpenSSH_9.2\r\n", b"x" * 5000, BANNER + b"x" * 5000):
            self.asterisk = FakeAsterisk()
            doing = self.manager().check()
            self.asterisk.serve(self.reactor, banner)
            self.assertIn("no AMI", self.successResultOf(doing))
            self.assertTrue(self.asterisk.transport.disconnecting)

    def test_what_comes_is_bounded(self) -> None:
        self.asterisk.before_answers = b"Event: x\r\n" * (LARGEST // 10)
        self.assertFalse(self.redirect())
        self.assert_found("more than any answer")
        self.assertEqual(self.actions(), ["Login", "Logoff"])

    def test_an_error_of_our_own_does_not_reach_the_call(self) -> None:
        def broken(*arguments: Any, **more: Any) -> None:
            raise RuntimeError("out of file descriptors")

        self.patch(self.reactor, "connectTCP", broken)
        self.assertFalse(self.redirect())
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class CrowdTests(ManagerTestCase):
    """All calls end at once, when the voice service or portero does."""

    def setUp(self) -> None:
        super().setUp()
        manager = self.manager()
        self.doing = [manager.redirect(CHANNEL, TARGET) for _ in range(4 * AT_ONCE)]

    def test_a_few_are_served_at_a_time_and_all_in_the_end(self) -> None:
        for number in range(len(self.doing)):
            begun = min(number + AT_ONCE, len(self.doing))
            self.assertEqual(len(self.reactor.tcpClients), begun)
            FakeAsterisk().serve(self.reactor, number=number)
        self.assertTrue(all(self.successResultOf(one) for one in self.doing))

    def test_who_waits_for_a_turn_has_no_longer_than_others(self) -> None:
        self.reactor.advance(WITHIN + 0.1)
        self.assertFalse(any(self.successResultOf(one) for one in self.doing))
        self.assertEqual(self.reactor.getDelayedCalls(), [])


class CheckTests(ManagerTestCase):
    def check(self, fallback: str = "") -> Any:
        return self.logged(self.manager(fallback).check)

    def test_it_is_silent_when_all_is_there(self) -> None:
        for fallback in ("", FALLBACK):
            self.asterisk = FakeAsterisk()
            self.assertEqual(self.check(fallback), "")
            self.assertNotIn("Redirect", self.actions())

    def test_it_finds_a_missing_right(self) -> None:
        self.asterisk.actions.remove("Redirect")
        self.assertIn("write = call", self.check())

    def test_it_finds_a_fallback_that_the_dialplan_has_not(self) -> None:
        self.assertIn("[ami] fallback: the dialplan has no", self.check("desk,101,1"))

    def test_without_a_secret_nobody_is_asked(self) -> None:
        why = self.logged(self.manager(secret="").check)
        self.assertIn("[ami] secret_file", why)
        self.assertEqual(self.reactor.tcpClients, [])

    def test_a_start_says_what_was_found(self) -> None:
        self.logged(self.manager().verify)
        self.assertEqual(
            self.lines, ["info: AMI: 127.0.0.1:5039 will redirect callers"]
        )
        self.asterisk = FakeAsterisk()
        self.asterisk.secret = "other"
        self.logged(self.manager().verify)
        (line,) = self.lines
        self.assertIn("warn: AMI: callers cannot be handed over: 127.0.0.1:5039", line)

"""Tests of L{portero.agi}, as Asterisk talks to it, without a socket."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs

from portero.agi import MOST_LINES, WITHIN, AgiFactory, set_variable
from portero.reception import ANSWERS_NEXT, MOST_ANSWER, MOST_FORM
from tests.test_reception import ID, ReceptionCase, record

OK = b"200 result=1\n"
MOST_COMMAND = 2047
"""Bytes that Asterisk reads of a command (res_agi.c, AGI_BUF_LEN)."""


class Transport(StringTransport):
    """Takes nothing more once it is closed."""

    def write(self, data: bytes) -> None:
        if not self.disconnecting:
            super().write(data)

    def abortConnection(self) -> None:
        self.loseConnection()


def environment(script: str, argument: str | None = None) -> bytes:
    """What Asterisk 22 says of a call, in its order."""
    lines = [
        "agi_network: yes",
        f"agi_network_script: {script}",
        f"agi_request: agi://127.0.0.1:4573/{script}",
        "agi_channel: PJSIP/anna-00000001",
        "agi_language: en",
        "agi_callerid: 1234",
        "agi_calleridname: M\u00fcller: Bob",
        "agi_rdnis: unknown",
        "agi_context: portero",
        "agi_enhanced: 0.0",
    ]
    if argument is not None:
        lines.append(f"agi_arg_1: {argument}")
    return "\n".join([*lines, "", ""]).encode()


def parse(command: bytes) -> list[str]:
    """Asterisk's own reading of a command (res_agi.c, parse_args)."""
    words: list[str] = []
    quoted = escaped = False
    between = True
    for c in command.decode():
        if not escaped and c in '"\\ ':
            if c == "\\":
                escaped = True
            elif c == '"':
                quoted = not quoted
                if quoted and between:
                    words.append("")
                    between = False
            elif quoted:
                words[-1] += c
            else:
                between = True
            continue
        if between:
            words.append("")
            between = False
        words[-1] += c
        escaped = False
    return words


class AgiCase(ReceptionCase):
    def setUp(self) -> None:
        super().setUp()
        self.factory = AgiFactory(self.reception)
        self.asterisk: list[bytes] = []

    def connect(self) -> tuple[Any, Transport]:
        transport = Transport()
        protocol: Any = self.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        # TimeoutMixin's own way to get a clock is to import the reactor.
        protocol.callLater = self.clock.callLater
        protocol.makeConnection(transport)
        return protocol, transport

    def run_script(self, facts: bytes, answer: bytes = OK) -> list[list[str]]:
        """
        @param answer: Asterisk's, to each command.
        @return: The commands, in words; then the connection was closed.
        """
        protocol, transport = self.connect()
        protocol.dataReceived(facts)
        commands = []
        while transport.value():
            (command,) = transport.value().splitlines()
            self.assertTrue(transport.value().endswith(b"\n"))
            self.assertFalse(transport.disconnecting)
            self.assertLessEqual(len(command), MOST_COMMAND)
            commands.append(parse(command))
            transport.clear()
            protocol.dataReceived(answer)
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])
        return commands

    def variables(self, script: str, argument: str | None = None) -> dict[str, str]:
        """@return: What is set on the channel."""
        found = {}
        for command in self.run_script(environment(script, argument)):
            self.assertEqual(command[:2], ["SET", "VARIABLE"])
            name, value = command[2:]
            found[name] = value
        return found


class RegisterTests(AgiCase):
    def test_the_id_is_set_and_the_rest_is_empty(self) -> None:
        found = self.variables("register", f"uuid={ID}&caller_name=Ana%2C%20Bob&x=1&")
        self.assertEqual(
            found, {"PORTERO_UUID": ID, "PORTERO_REFUSED": "", "PORTERO_REASON": ""}
        )
        _, call = self.call(ID)
        self.assertEqual(call.snapshot()["caller_name"], "Ana, Bob")

    def test_a_refusal_is_set_and_the_id_is_empty(self) -> None:
        self.bridge.max_calls = 0
        found = self.variables("/register/", "caller_number=1234")
        self.assertEqual([*found.values()][:2], ["", "full"])
        self.assertIn("([listen] max_calls)", found["PORTERO_REASON"])

    def test_the_token_counts(self) -> None:
        self.factory = AgiFactory(self.with_token("a&b"))
        for argument in (None, "", "token=a", "token=a&b"):
            found = self.variables("register", argument)
            self.assertEqual(found["PORTERO_REFUSED"], "forbidden")
        found = self.variables("register", f"token={quote('a&b')}")
        self.assertEqual(found["PORTERO_REFUSED"], "")


class NextTests(AgiCase):
    def test_the_record_is_set_as_by_http(self) -> None:
        self.bridge.ended[ID] = record(reason='He said "no\\", (1')
        found = self.variables("next", ID)
        answer = self.reception.next(ID)
        self.assertEqual(
            found, {f"PORTERO_{name.upper()}": answer[name] for name in ANSWERS_NEXT}
        )
        self.assertEqual(found["PORTERO_NEXT"], "sales,200,1")

    def test_an_unknown_call_is_unknown_and_the_rest_is_empty(self) -> None:
        for argument in (None, "", "x", ID, "\u00e9"):
            found = self.variables("next", argument)
            self.assertEqual(found.pop("PORTERO_OUTCOME"), "unknown")
            self.assertEqual(len(found), len(ANSWERS_NEXT) - 1)
            self.assertEqual({*found.values()}, {""})

    def test_the_longest_values_fit_in_a_command(self) -> None:
        for c in ("\u00fc", "\U0001f642", "\\", '"', "x"):
            text = c * 10 * MOST_ANSWER
            self.bridge.ended[ID] = record(reason=text, next=text, agent=text)
            self.variables("next", ID)


class QuotingTests(AgiCase):
    def test_quotes_and_backslashes_are_escaped(self) -> None:
        self.assertEqual(
            set_variable("reason", 'a "b" \\'),
            b'SET VARIABLE PORTERO_REASON "a \\"b\\" \\\\"',
        )

    @given(
        st.text('"\\ ab\u00fc,$`') | st.text(st.characters(exclude_categories=["C"]))
    )
    @settings(max_examples=300, deadline=None)
    def test_asterisk_reads_what_was_meant(self, value: str) -> None:
        words = parse(set_variable("reason", value))
        self.assertEqual(words, ["SET", "VARIABLE", "PORTERO_REASON", value])


class ConversationTests(AgiCase):
    def test_each_command_waits_for_the_answer_to_the_last(self) -> None:
        protocol, transport = self.connect()
        protocol.dataReceived(environment("next", ID))
        for count in range(1, len(ANSWERS_NEXT) + 1):
            self.assertEqual(transport.value().count(b"SET VARIABLE"), count)
            protocol.dataReceived(OK[:5])
            self.assertEqual(transport.value().count(b"SET VARIABLE"), count)
            self.assertFalse(transport.disconnecting)
            protocol.dataReceived(OK[5:])
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost()

    def test_bytes_may_come_one_by_one_and_lines_may_end_in_cr(self) -> None:
        facts = environment("next", ID)
        for whole in (facts, facts.replace(b"\n", b"\r\n")):
            protocol, transport = self.connect()
            for n in range(len(whole)):
                self.assertEqual(transport.value(), b"")
                protocol.dataReceived(whole[n : n + 1])
            self.assertIn(b'PORTERO_OUTCOME "unknown"', transport.value())
            protocol.connectionLost()

    def test_the_callers_hang_up_does_not_stop_it(self) -> None:
        self.bridge.ended[ID] = record()
        commands = self.run_script(environment("next", ID), b"HANGUP\n" + OK)
        self.assertEqual(len(commands), len(ANSWERS_NEXT))

    def test_an_error_ends_it_with_a_line_in_the_log(self) -> None:
        for answer in (
            b"510 Invalid or unknown command\n",
            b"511 Command Not Permitted on a dead channel or intercept routine\n",
            b"520-Invalid command syntax.  Proper usage follows:\n Usage\n520 End\n",
            b"2000\n",
            b"\xff\x1b[2J\n",
            b"\n",
        ):
            with capturedLogs() as events:
                commands = self.run_script(environment("next", ID), answer)
            self.assertEqual(len(commands), 1)
            (line,) = self.lines(events)
            said = answer.split(b"\n")[0].decode("ascii", "backslashreplace")
            self.assertIn(f"/next refused: Asterisk answered: {said[:20]}", line)

    def test_an_unknown_script_is_told_what_exists(self) -> None:
        for script in ("", "what", "register2", "next/x", "\u00e9"):
            with capturedLogs() as events:
                ((verb, said, level),) = self.run_script(environment(script, "x"))
            self.assertEqual((verb, level), ("VERBOSE", "1"))
            self.assertIn("there are: /register,FORM and /next,UUID", said)
            self.assertLessEqual(len(events), 1)
            self.clock.advance(1)

    def test_it_has_to_end_in_time(self) -> None:
        for begun in (b"", b"agi_network: yes\n", environment("next", ID)):
            protocol, transport = self.connect()
            protocol.dataReceived(begun)
            self.clock.advance(WITHIN / 2)
            protocol.dataReceived(b"HANGUP\n")
            self.clock.advance(WITHIN / 2 - 0.1)
            self.assertFalse(transport.disconnecting)
            self.clock.advance(0.2)
            self.assertTrue(transport.disconnecting)
            protocol.connectionLost()

    def test_other_machines_connect_only_when_named(self) -> None:
        stranger = IPv4Address("TCP", "10.1.2.3", 40000)
        self.assertIsNone(self.factory.buildProtocol(stranger))
        factory = AgiFactory(self.reception, [ip_network("10.0.0.0/8")])
        self.assertIsNotNone(factory.buildProtocol(stranger))


class BoundTests(AgiCase):
    def test_a_line_of_the_most_bytes_is_taken_and_a_longer_one_is_not(self) -> None:
        start = "agi_arg_1: "
        longest = "x=".ljust(MOST_FORM - len(start), "y")
        self.assertEqual(self.variables("register", longest)["PORTERO_REFUSED"], "")
        for facts in (environment("register", longest + "y"), bytes(MOST_FORM + 2)):
            protocol, transport = self.connect()
            protocol.dataReceived(facts)
            self.assertEqual(transport.value(), b"")
            self.assertTrue(transport.disconnecting)
            protocol.connectionLost()

    def test_too_many_lines_end_it(self) -> None:
        protocol, transport = self.connect()
        protocol.dataReceived(b"agi_x: y\n" * MOST_LINES)
        self.assertFalse(transport.disconnecting)
        protocol.dataReceived(b"agi_x: y\n\n")
        self.assertTrue(transport.disconnecting)
        self.assertEqual(transport.value(), b"")
        protocol.connectionLost()

    def test_of_all_that_asterisk_says_two_values_are_kept(self) -> None:
        protocol, _ = self.connect()
        for number in range(MOST_LINES):
            protocol.dataReceived(b"agi_%d: %s\n" % (number, b"x" * 10000))
        self.assertEqual([*protocol._told.values()], [b"", b""])
        protocol.connectionLost()

    @given(
        st.lists(
            st.binary(max_size=40)
            | st.sampled_from(
                [
                    *(b"\n", b"\r\n", b"\n\n", OK, b"HANGUP\n", b"520-x\n", b"100 x\n"),
                    *(b"agi_network_script: ", b"agi_arg_1: ", b"register", b"next"),
                    *(environment("register", "a=%zz&"), environment("next", ID)),
                    *(environment("x"), b"\xff\xfe", bytes(2000)),
                ]
            ),
            max_size=30,
        )
    )
    @settings(max_examples=300, deadline=None)
    def test_any_bytes_are_answered_in_bounds(self, pieces: list[bytes]) -> None:
        self.bridge.max_calls = 100_000
        protocol, transport = self.connect()
        for piece in pieces:
            protocol.dataReceived(piece)
        protocol.connectionLost()
        commands = transport.value().splitlines()
        self.assertLessEqual(len(commands), len(ANSWERS_NEXT))
        for command in commands:
            self.assertLessEqual(len(command), MOST_COMMAND)
            self.assertIn(parse(command)[0], ("SET", "VERBOSE"))
        self.assertEqual(self.clock.getDelayedCalls(), [])

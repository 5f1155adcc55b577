"""C{portero replay}: the captured calls, once more."""

from __future__ import annotations

import json
import os
import sys
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import Any

from twisted.python.usage import UsageError

import portero
from portero import replay
from portero.captures.entries import MAGIC, CaptureError, Entry, Kind, block, jsonable
from portero.captures.player import OVER
from portero.cli import main
from portero.control import Control
from portero.errors import ConfigError
from portero.interfaces import Heard
from portero.line import Line
from portero.manners import Manners
from portero.providers._conversation import Conversation
from portero.replay import DIFFERS, SAME, WRONG, Options
from portero.talk import Talk
from tests.replayed import FOLDER, ReplayTestCase, content, entries


class CapturedCallsTests(ReplayTestCase):
    """Each of C{tests.make_captures}: that it is what it says, and the same today."""

    def happened(self, name: str, kind: str) -> list[dict[str, Any]]:
        self.assert_same(name)
        told = [e.value() for e in entries(name) if e.kind is Kind.HAPPENED]
        return [data for what, _, data in told if what == kind]

    def test_a_clean_call(self) -> None:
        self.assertEqual(len(self.happened("clean", "played_out")), 2)
        self.assertEqual(self.happened("clean", "cut"), [])

    def test_an_interruption(self) -> None:
        (cut,) = self.happened("interrupted", "cut")
        self.assertLess(cut["heard_ms"], cut["given_ms"])

    def test_a_polite_agent(self) -> None:
        self.assertEqual(len(self.happened("polite", "false_alarm")), 1)
        self.assertEqual(len(self.happened("polite", "barge_in")), 1)

    def test_a_service_that_is_lost_and_comes_back(self) -> None:
        told = self.happened("service_lost", "service")
        self.assertEqual(["lost" in each for each in told], [False, True, False])

    def test_a_slow_service(self) -> None:
        (turn,) = self.happened("slow_service", "turn")
        self.assertGreater(turn["came_ms"], 500)

    def test_a_lossy_line(self) -> None:
        self.assertEqual(len(self.happened("lossy_line", "turn")), 1)
        heard = [e.at for e in entries("lossy_line") if e.kind is Kind.HEARD]
        holes = [after - at for at, after in pairwise(heard)]
        self.assertGreater(sum(hole > 0.05 for hole in holes), 5)

    def test_a_tool(self) -> None:
        (ended,) = self.happened("tool", "tool_ended")
        self.assertEqual(ended["result"], "It is on its way.")

    def test_an_agent_that_hangs_up(self) -> None:
        self.assertEqual(len(self.happened("hangs_up", "tool_ended")), 1)
        self.assertIn(Kind.HUNG_UP, [e.kind for e in entries("hangs_up")])

    def test_digits(self) -> None:
        self.assertEqual(len(self.happened("digits", "key")), 3)

    def test_all_that_is_there_is_the_same_and_small(self) -> None:
        paths = sorted(FOLDER.glob("*.capture"))
        self.assertGreater(len(paths), 8)
        for path in paths:
            self.assert_same(path.stem)
            self.assertLess(path.stat().st_size, 100_000)


class ChangedCodeTests(ReplayTestCase):
    """The code of today is not that of the capture, and it is found out."""

    def test_an_agent_that_does_not_stop_when_it_is_interrupted(self) -> None:
        def flush(line: Line) -> tuple[Heard, ...]:
            return ()

        self.patch(Line, "flush", flush)
        found = self.replayed("interrupted").comparison
        first = found.differences[0]
        self.assertIn("cut: item", first.captured)
        self.assertEqual(first.replayed, "nothing")
        self.assertIn("barge_in", [act.what for act in found.before])
        told = self.differences("interrupted")
        self.assertIn("conversation.item.truncate", told)
        self.assertRegex(told, r"frames to the caller: .* -> \d+ frames to the caller")
        self.assertEqual(self.differences("clean"), "")

    def test_a_polite_agent_that_is_interrupted_sooner(self) -> None:
        before = Manners.hear
        self.patch(Manners, "hear", lambda manners, pcm: before(manners, pcm * 3))
        told = self.differences("polite")
        self.assertRegex(told, r"barge_in \(at 3\..*\) -> barge_in \(at 2\.")

    def test_a_service_that_is_told_something_else(self) -> None:
        def say(conversation: Conversation, text: str) -> None:
            conversation.add_text("system", "Say something else.")

        self.patch(Conversation, "ask", lambda conversation: say(conversation, ""))
        told = self.differences("clean")
        self.assertIn(
            "to the service (1): response.create -> "
            "to the service (1): conversation.item.create: item",
            told,
        )

    def test_a_caller_who_is_heard_otherwise(self) -> None:
        before = Conversation.send_audio

        def send(conversation: Conversation, pcm: bytes) -> None:
            before(conversation, bytes(len(pcm)))

        self.patch(Conversation, "send_audio", send)
        self.assertIn("messages with the caller's audio", self.differences("clean"))

    def test_a_call_that_does_not_hang_up(self) -> None:
        self.patch(Line, "hang_up", lambda line: None)
        self.assertEqual(self.differences("hangs_up"), "hangs up -> nothing")

    def test_a_call_that_does_not_end(self) -> None:
        self.patch(Control, "end_after_speech", lambda control, reason: None)
        told = self.differences("hangs_up")
        self.assertIn("hangs up -> nothing", told)
        self.assertIn(f'reason "{OVER}"', told)

    def test_a_call_that_breaks_down(self) -> None:
        def broken(talk: Talk, item: str) -> None:
            raise ValueError("on purpose")

        self.patch(Talk, "played_out", broken)
        self.assertIn("internal error", self.differences("clean"))
        self.assertGreater(len(self.flushLoggedErrors(ValueError)), 0)


class CommandTests(ReplayTestCase):
    def setUp(self) -> None:
        self.out, self.err = StringIO(), StringIO()
        self.patch(sys, "stdout", self.out)
        self.patch(sys, "stderr", self.err)
        self.patch(replay, "CONFIG", "/nowhere/portero.toml")
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.config = self.folder / "portero.toml"
        self.config.write_text(f'[records]\ncaptures = "{self.folder}"\n')

    def put(self, name: str = "clean", cut: int = 0) -> str:
        """@return: The id of a call whose capture is in the folder now."""
        call_id = str(entries(name)[0].value()["call_id"])
        kept = content(name)
        path = self.folder / f"20261130T000000Z-{call_id}.capture"
        path.write_bytes(kept[: len(kept) - cut])
        return call_id

    def run_it(self, *arguments: str) -> int:
        return main(["replay", *arguments])

    def test_a_call_is_found_by_its_id(self) -> None:
        call_id = self.put()
        status = self.run_it(call_id.upper(), "--config", str(self.config))
        self.assertEqual((status, self.err.getvalue()), (SAME, ""))
        self.assertRegex(
            self.out.getvalue(),
            rf"call {call_id} of .*, agent short: 5\.\d s, replayed in .* s\n"
            r"The same: \d+ things that it did, \d+ frames to the caller\.\n",
        )

    def test_or_in_the_state_folder(self) -> None:
        call_id = self.put()
        self.folder.rename(self.folder.parent / "captures")
        self.addCleanup((self.folder.parent / "captures").rename, self.folder)
        self.patch(os, "environ", {"STATE_DIRECTORY": str(self.folder.parent)})
        self.assertEqual(self.run_it(call_id), SAME)

    def test_or_by_its_file(self) -> None:
        self.assertEqual(self.run_it(str(FOLDER / "digits.capture")), SAME)

    def test_what_differs_is_told_and_is_the_status(self) -> None:
        self.patch(Line, "flush", lambda line: ())
        status = self.run_it(str(FOLDER / "interrupted.capture"))
        self.assertEqual(status, DIFFERS)
        told = self.out.getvalue()
        self.assertRegex(
            told,
            r"Before that, both did the same:\n(.*\n)*.* s  barge_in\nThen:\n"
            r" +1\.\d+ s  captured: cut: .*\n +replayed: nothing\n",
        )

    def test_of_many_differences_the_first_are_shown(self) -> None:
        self.patch(Line, "flush", lambda line: ())
        self.patch(replay, "MOST_SHOWN", 2)
        self.run_it(str(FOLDER / "interrupted.capture"))
        told = self.out.getvalue()
        self.assertEqual(told.count("captured: "), 2)
        self.assertRegex(told, r"and \d more, which may all follow from these\n$")

    def test_for_programs(self) -> None:
        path = FOLDER / "clean.capture"
        self.assertEqual(self.run_it("--json", str(path)), SAME)
        told = json.loads(self.out.getvalue())
        self.assertEqual((told["same"], told["differences"]), (True, []))
        self.assertEqual((told["agent"], told["file"]), ("short", str(path)))

    def test_differences_for_programs(self) -> None:
        self.patch(Line, "flush", lambda line: ())
        path = str(FOLDER / "interrupted.capture")
        self.assertEqual(self.run_it(path, "--json"), DIFFERS)
        first = json.loads(self.out.getvalue())["differences"][0]
        self.assertEqual(sorted(first), ["at", "captured", "replayed"])

    def test_a_capture_that_is_not_whole_is_played_as_far_as_it_goes(self) -> None:
        call_id = self.put(cut=1000)
        self.assertEqual(self.run_it(call_id, "-c", str(self.config)), SAME)
        self.assertIn("not whole: its end is missing", self.out.getvalue())

    def test_another_version_of_portero_is_named(self) -> None:
        self.patch(portero, "__version__", "99.0")
        self.assertEqual(self.run_it(str(FOLDER / "clean.capture")), SAME)
        self.assertIn("; this is 99.0", self.out.getvalue())

    def wrong(self, *arguments: str) -> str:
        """@return: What it says about that."""
        self.assertEqual(self.run_it(*arguments), WRONG)
        self.assertEqual(self.out.getvalue(), "")
        return self.err.getvalue()

    def test_a_call_without_a_capture(self) -> None:
        told = self.wrong("no-such-call", "--config", str(self.config))
        self.assertIn(f"call no-such-call has no capture in {self.folder}", told)
        self.assertIn("capture = true", told)

    def test_a_folder_that_is_not_there(self) -> None:
        self.patch(os, "environ", {"STATE_DIRECTORY": "/nowhere"})
        told = self.wrong("no-such-call")
        self.assertIn("/nowhere/captures: No such file or directory", told)
        self.assertIn("--config", told)

    def test_a_file_that_is_not_there(self) -> None:
        self.assertIn("there is no such file", self.wrong("/nowhere/x.capture"))

    def test_a_file_that_is_no_capture(self) -> None:
        told = self.wrong(str(self.config))
        self.assertIn(f"{self.config}: is no capture of portero's", told)

    def test_a_configuration_that_is_wrong(self) -> None:
        self.config.write_text("[records]\ncaptures = 5\n")
        self.assertIn("captures", self.wrong("some-call", "-c", str(self.config)))

    def test_a_file_that_cannot_be_read(self) -> None:
        error = self.assertRaises(ConfigError, replay._content, self.folder)
        self.assertIn(str(self.folder), str(error))

    def test_one_call_at_a_time(self) -> None:
        for given in ([], ["a", "b"], ["a", "--json", "b"], ["--nothing"]):
            self.assertRaises(UsageError, Options().parseOptions, given)
        self.assertIn("which call?", self.wrong())


class BrokenCaptureTests(ReplayTestCase):
    """Somebody else's file does no harm."""

    def refused(self, *changed: Entry) -> str:
        error = self.assertRaises(CaptureError, replay.replay, MAGIC + block(changed))
        return str(error)

    def header(self, **changes: Any) -> Entry:
        first = entries("clean")[0]
        return first._replace(data=jsonable({**first.value(), **changes}))

    def test_nothing_in_it(self) -> None:
        self.assertIn("holds nothing", self.refused())
        self.assertIn("holds nothing", self.refused(*[]))

    def test_no_beginning(self) -> None:
        told = self.refused(*entries("clean")[1:])
        self.assertIn("what the call was made of is missing", told)

    def test_a_header_that_is_broken(self) -> None:
        self.assertEqual(self.refused(self.header(leg=3)), "Header.leg is broken")

    def test_a_provider_of_their_own_is_not_run(self) -> None:
        for name in ("os:system", "nowhere", "_websocket"):
            self.assertIn(name, self.refused(self.header(provider=name)))

    def test_values_of_the_wrong_kind(self) -> None:
        clean = entries("clean")
        for kind, data in (
            (Kind.WOKEN, b"short"),
            (Kind.ACT, b"{"),
            (Kind.ACT, b"[]"),
            (Kind.ACT, b'["whisper"]'),
            (Kind.ACT, b'["crashed"]'),
            (Kind.ACT, b'["_post", "x"]'),
            (Kind.GONE, b"[1, 2, 3]"),
            (Kind.RAN, b'"x"'),
            (Kind.STEP, b"{}"),
            (Kind.STEP, b'["inform", [3], false]'),
            (Kind.STEP, b'["play", ["name", 8000, "no hex"], false]'),
            (Kind.STEP, b'["_post", [], false]'),
            (Kind.CLOSED, b"{}"),
            (Kind.OPENED, b""),
            (Kind.HEARD, b"odd"),
            (Kind.HEARD, b""),
            (Kind.HAPPENED, b"[" * 100_000),
            (Kind.HAPPENED, b"[]"),
            (Kind.REDIRECTING, b"[1]"),
            (Kind.ENDED, b"[]"),
        ):
            middle = len(clean) // 2
            bad = Entry(kind, clean[middle].at, 1, data)
            told = self.refused(*clean[:middle], bad, *clean[middle:])
            self.assertIn(f"{kind.name} is broken", told, f"{kind.name} {data!r}")

"""Tests of the API that asks and acts: L{portero.web.api} and what hangs on it."""

from __future__ import annotations

import json
import os
import wave
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import capturedLogs, formatEvent

from portero.audio import silence
from portero.callstate import State
from portero.records.database import Unavailable
from portero.web.api_actions import MOST_WORDS, plain
from portero.web.transcript import transcript
from tests.api_case import ACTOR, GONE, LISTENER, PLACE, READER, ApiCase
from tests.fake_call import Broken
from tests.test_reception import ID
from tests.web_case import HOST, JSON

SALES = {"target": "sales"}


class ReadingTests(ApiCase):
    def test_calls_are_those_under_way(self) -> None:
        self.assertEqual(self.get("/calls"), {"calls": []})
        _, call = self.call(ID)
        for path in ("/calls", "/calls/"):
            self.assertEqual(self.get(path), {"calls": [call.snapshot()]})

    def test_one_call_has_all_that_happened(self) -> None:
        leg, call = self.call(ID)
        story = self.get(f"/calls/{ID.upper()}")
        self.assertEqual((story["live"], story["call"]), (True, call.snapshot()))
        self.assertEqual(story["happened"][0]["state"], "connecting")
        self.assertEqual(story["figures"]["frames_sent"], 7)
        leg.drop()
        story = self.get(f"/calls/{ID}")
        self.assertEqual((story["live"], story["call"]["outcome"]), (False, "well"))
        self.assertEqual(story["happened"][-1]["state"], "ended")

    def test_a_verdict_is_in_the_language_that_is_asked_for(self) -> None:
        leg, _ = self.call(ID)
        leg.drop("the line broke", in_order=False)
        english = self.get(f"/calls/{ID}")["verdict"]
        self.assertEqual(self.get(f"/calls/{ID}?language=en")["verdict"], english)
        spanish = self.get(f"/calls/{ID}?language=es")["verdict"]
        self.assertEqual(len(english), len(spanish))
        self.assertNotEqual(english, spanish)
        wish = "Accept-Language: es-ES,es;q=0.9,en;q=0.8"
        self.assertEqual(self.get(f"/calls/{ID}", wish)["verdict"], spanish)
        both = self.get(f"/calls/{ID}?language=en", wish)["verdict"]
        self.assertEqual(both, english)
        self.detail(self.get(f"/calls/{ID}?language=fr", expect=400), '"en", "es"')

    def test_an_unknown_call_is_404_and_says_where_calls_are(self) -> None:
        for path in ("", "/call.json", "/transcript.txt", "/waveform"):
            problem = self.get(f"/calls/nope{path}", expect=404)
            self.detail(problem, "no call nope", "/api/v1/history")

    def test_everything_that_can_happen_in_a_call_is_described(self) -> None:
        leg, call = self.call(ID)
        events = self.provider.conversations[-1].events
        events.caller_started("i1")
        events.caller_words("Good ", "i1")
        events.caller_stopped()
        events.transcript("user", "Good day", "i1")
        events.agent_words("Hello", "i2")
        events.agent_audio("i2", silence(8000))
        call.sounding("i2")
        events.transcript("assistant", "Hello, how can I help?", "i2")
        events.caller_started("i3")
        call.dtmf("5")
        events.tool_called("t", "nothing", {"x": 1})
        events.usage({"total_tokens": 5, "input.text_tokens": 5})
        call.whisper("be brief", "rita")
        leg.breaks.add("play")
        events.agent_audio("i4", silence(8000))
        self.assertNotEqual(self.flushLoggedErrors(Broken), [])
        kinds = {one["kind"] for one in self.get(f"/calls/{ID}")["happened"]}
        for kind in ("words", "said", "cut", "key", "used", "operator", "error"):
            self.assertIn(kind, kinds)
        self.assertIn("tool_ended", kinds)

    def test_the_house_its_health_its_agents_and_where_callers_can_go(self) -> None:
        self.call(ID)
        self.assertEqual(self.get("/house"), self.house.report())
        self.assertEqual(self.get("/house")["calls"]["now"], 1)
        agents = self.get("/agents")["agents"]
        self.assertEqual([agent["name"] for agent in agents], ["default", "door"])
        self.assertEqual([agent["calls"] for agent in agents], [1, 0])
        sales, night = self.get("/targets")["targets"]
        self.assertEqual(
            sales,
            {"name": "sales", "description": "Sales, for new orders", "open": True},
        )
        self.assertEqual(night["name"], "night")

    def test_health_says_why_no_call_would_be_answered(self) -> None:
        self.assertEqual(self.get("/health")["problem"], "")
        self.provider.trouble = "HTTP 401"
        health = self.get("/health")
        self.assertEqual((health["ready"], health["problem"]), (False, "HTTP 401"))

    def test_who_one_is(self) -> None:
        self.assertEqual(self.get("/me")["rights"], ["act", "listen", "read"])
        self.with_users()
        self.assertTrue(self.get("/me")["needs_login"])
        self.assertEqual(self.get("/me", LISTENER)["name"], "lisa")

    def test_head_is_get_without_the_body(self) -> None:
        for path in ("/calls", "/house", "/openapi.json", f"/calls/{ID}"):
            status, fields, text = self.ask(PLACE + path)
            again, head, nothing = self.ask(PLACE + path, method="HEAD")
            self.assertEqual((again, nothing), (status, ""))
            self.assertEqual(head["content-length"], str(len(text.encode())))
            self.assertEqual(head["content-type"], fields["content-type"])

    def test_the_dialplan_is_served_here_too(self) -> None:
        form = "Content-Type: application/x-www-form-urlencoded"
        status, _, text = self.ask(
            f"{PLACE}/register", form, method="POST", body=b"caller_name=Ana"
        )
        self.assertEqual((status, text[:5]), (200, "uuid="))
        self.assertIn("outcome=unknown", self.ask(f"{PLACE}/next/{ID}")[2])


class RefusalTests(ApiCase):
    def test_an_unknown_path_is_404_with_the_nearest(self) -> None:
        for path, hint in (
            ("/cals", "did you mean /calls?"),
            (f"/calls/{ID}/hangup", "did you mean /calls/{id}/hang_up?"),
            ("/%C3%A9", "openapi.json"),
            ("", "openapi.json"),
            ("/", "openapi.json"),
        ):
            self.detail(self.get(path, expect=404), hint)

    def test_another_method_is_405_with_those_there_are(self) -> None:
        for path, method, there in (
            ("/calls", "POST", "GET, HEAD"),
            ("/drain", "GET", "POST"),
            (f"/calls/{ID}/say", "PUT", "POST"),
            ("/events", "HEAD", "GET"),
            ("/calls", "TRACE", "GET, HEAD"),
            ("/login", "OPTIONS", "POST"),
        ):
            lines = [f"{method} {PLACE}{path} HTTP/1.1", HOST, JSON]
            protocol, transport = self.connect()
            protocol.dataReceived("\r\n".join([*lines, "", ""]).encode())
            status, fields, _ = self.parse(transport)
            self.assertEqual((status, fields["allow"]), (405, there), (method, path))
            protocol.connectionLost(GONE)

    def test_a_query_that_cannot_be_is_400_and_says_what_can(self) -> None:
        for query, words in (
            ("agnet=x", "there are: q, agent, outcome"),
            ("limit=0", "limit must be 1 at least"),
            ("limit=201", "limit must be 200 at most"),
            ("limit=ten", "limit must be a whole number"),
            ("limit=1&limit=2", 'give "limit" once'),
            ("outcome=good", '"well", "transferred", "failed"'),
            ("since=yesterday", "since must match"),
            ("since=2026-02-30", "since: a day"),
            ("number=anna", "number must match"),
            ("q=" + 201 * "x", "q must have 200 characters at most"),
            ("q=%FF", "UTF-8"),
        ):
            self.detail(self.get(f"/history?{query}", expect=400), words)
        self.detail(self.get("/calls?x", expect=400), 'no argument "x"')
        self.detail(self.get("/history?before=x", expect=404), "no such page")

    def test_a_body_that_cannot_be_says_what_can(self) -> None:
        _, call = self.call(ID)
        path = f"/calls/{ID}/say"
        for value, words in (
            ({}, "text is missing"),
            ({"text": "x", "to": "y"}, 'no argument "to"'),
            ({"text": 5}, "text must be text"),
            ({"text": ""}, "1 characters at least"),
            ({"text": " \t\u200b\u202e"}, "text must match"),
            ({"text": "x" * (MOST_WORDS + 1)}, f"{MOST_WORDS} characters at most"),
            ([], "not a JSON object"),
            (None, "not a JSON object"),
        ):
            problem = self.post(path, value, expect=400)
            self.detail(problem, words, '{"text": "Offer')
        for body in (b"", b"{", b"\xff", b"[" * 60000):
            status, _, text = self.ask(PLACE + path, JSON, method="POST", body=body)
            self.assertEqual(status, 400, body[:9])
            self.detail(json.loads(text), "not JSON")
        self.assertEqual(self.provider.conversations[-1].of("add_text"), [])
        self.assertIs(call.state, State.TALKING)

    def test_a_body_of_another_kind_is_415(self) -> None:
        self.with_users()
        self.call(ID)
        for kind in ("text/plain", "application/x-www-form-urlencoded"):
            status, _, text = self.ask(
                f"{PLACE}/calls/{ID}/say",
                *(ACTOR, f"Content-Type: {kind}"),
                method="POST",
                body=b'{"text": "x"}',
            )
            self.assertEqual(status, 415)
            self.detail(json.loads(text), "Content-Type: application/json")

    def test_a_fault_of_ours_is_told_without_its_traceback(self) -> None:
        def broken(*anything: object) -> Any:
            raise ValueError("a secret")

        self.patch(self.house, "report", broken)
        self.patch(self.archive, "history", broken)
        self.detail(self.get("/house", expect=500), "its log has more")
        self.assertNotIn("secret", json.dumps(self.get("/house", expect=500)))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_a_fault_after_a_wait_is_told_too(self) -> None:
        async def broken(*anything: object) -> Any:
            raise OSError("a secret")

        self.patch(self.archive, "call", broken)
        problem = self.get("/calls/x", expect=500)
        self.detail(problem, "please report it")
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_who_does_not_wait_for_an_answer_harms_nobody(self) -> None:
        self.threads.held = True
        protocol, transport = self.stream("/history")
        protocol.connectionLost(GONE)
        self.threads.go()
        self.assertEqual(transport.value(), b"")

    @given(st.text(max_size=40), st.binary(max_size=100))
    @settings(max_examples=60, deadline=None)
    def test_no_path_or_body_gets_anything_but_a_problem(
        self, name: str, body: bytes
    ) -> None:
        for path in (f"/calls/{quote(name, safe='')}/say", f"/{quote(name)}x"):
            status, _, _ = self.ask(PLACE + path, JSON, method="POST", body=body)
            self.assertIn(status, (400, 404, 405))


class RightsTests(ApiCase):
    def setUp(self) -> None:
        super().setUp()
        self.with_users()
        self.call(ID)

    def test_each_needs_its_right(self) -> None:
        say, hang_up = f"/calls/{ID}/say", f"/calls/{ID}/hang_up"
        for path in ("/calls", f"/calls/{ID}", "/house", "/history", "/events"):
            self.get(path, expect=401)
            self.get(path, LISTENER, expect=403)
        for path, value in ((say, {"text": "x"}), (hang_up, {}), ("/drain", {})):
            self.post(path, value, expect=401)
            problem = self.post(path, value, READER, expect=403)
            self.detail(problem, "[users.rita] rights", "act")
        self.assertEqual([*self.bridge.calls], [ID])
        for path in ("listen", "recording.wav", "waveform"):
            self.get(f"/calls/{ID}/{path}", expect=401)
            self.get(f"/calls/{ID}/{path}", ACTOR, expect=403)
        self.get("/talk", READER, expect=403)
        self.post(say, {"text": "x"}, ACTOR)

    def test_the_document_and_who_one_is_are_for_everybody(self) -> None:
        self.get("/openapi.json")
        self.get("/me")

    def test_a_right_is_asked_for_before_anything_is_judged(self) -> None:
        self.get("/history?limit=0", expect=401)
        self.get("/calls/unknown", expect=401)
        self.post("/calls/unknown/say", [], expect=401)


class EraseTests(ApiCase):
    def setUp(self) -> None:
        super().setUp()
        self.leg, _ = self.call(ID)

    def erase(self, *headers: str, expect: int = 200) -> tuple[Any, list[str]]:
        """@return: The answer, and the lines of the audit."""
        with capturedLogs() as events:
            status, _, text = self.ask(f"{PLACE}/calls/{ID}", *headers, method="DELETE")
        self.assertEqual(status, expect, text)
        audit = [e for e in events if e["log_namespace"] == "portero.audit"]
        return json.loads(text), [formatEvent(event) for event in audit]

    def test_a_call_that_is_over_is_forgotten(self) -> None:
        self.leg.drop()
        answer, audit = self.erase()
        self.assertEqual(answer, {})
        self.assertEqual(len(audit), 1)
        self.assertTrue(audit[0].startswith(f"call {ID}: operator "), audit)
        self.assertTrue(audit[0].endswith(": erase: done"), audit)
        self.get(f"/calls/{ID}", expect=404)
        self.assertEqual(self.get("/history")["calls"], [])
        self.assertEqual(self.erase(expect=404)[1], [])

    def test_one_under_way_is_left_alone(self) -> None:
        problem, audit = self.erase(expect=409)
        self.detail(problem, "under way")
        self.assertEqual((audit, [*self.bridge.calls]), ([], [ID]))

    def test_it_takes_the_right_to_act(self) -> None:
        self.leg.drop()
        self.with_users()
        self.erase(expect=401)
        self.erase(READER, expect=403)
        self.get(f"/calls/{ID}", READER)
        (said,) = self.erase(ACTOR)[1]
        self.assertEqual(said, f"call {ID}: operator axel: erase: done")

    def test_what_cannot_be_deleted_is_told_and_nothing_is_forgotten(self) -> None:
        self.leg.drop()

        class Locked:
            async def erase(self, call_id: str) -> bool:
                raise Unavailable("database is locked")

        self.patch(self.archive, "_erasing", Locked())
        problem, audit = self.erase(expect=503)
        self.detail(problem, "database is locked")
        self.assertIn("erase: failed, database is locked", audit[0])
        self.get(f"/calls/{ID}")


class ActionTests(ApiCase):
    def setUp(self) -> None:
        super().setUp()
        self.with_users()
        self.leg, self.acted = self.call(ID)

    def did(self, path: str, value: Any, expect: int = 202) -> tuple[Any, list[str]]:
        """@return: The answer, and the lines of the audit."""
        with capturedLogs() as events:
            found = self.post(f"/calls/{ID}/{path}", value, ACTOR, expect=expect)
        audit = [one for one in events if one["log_namespace"] == "portero.audit"]
        return found, [str(formatEvent(one)) for one in audit]

    def test_the_agent_is_told_one_line_and_acts(self) -> None:
        text = "Offer\n\na\tdis\u202ecount\x00 \U0001f600 of 10 %"
        found, audit = self.did("say", {"text": text})
        self.assertEqual(found, {})
        self.assertEqual(audit, [f"call {ID}: operator axel: say: done"])
        agent = self.provider.conversations[-1]
        ((role, told),) = agent.of("add_text")
        self.assertEqual(role, "system")
        self.assertTrue(told.endswith(": Offer a dis count \U0001f600 of 10 %"), told)
        self.assertEqual(agent.count("ask"), 2)  # the greeting was the first

    def test_the_caller_is_transferred(self) -> None:
        _, audit = self.did("transfer", {"target": "sales"})
        self.assertEqual(audit, [f"call {ID}: operator axel: transfer to sales: done"])
        self.assertIs(self.acted.state, State.TRANSFERRING)
        problem, audit = self.did("transfer", {"target": "sales"}, expect=409)
        self.detail(problem, "transferring")
        self.assertIn("refused, it is transferring", audit[0])

    def test_an_unknown_target_is_404_with_the_nearest(self) -> None:
        problem, audit = self.did("transfer", {"target": "slaes"}, expect=404)
        self.detail(problem, "'slaes'", "did you mean sales?")
        self.assertEqual(audit, [])
        problem, _ = self.did("transfer", {"target": "from-internal,200,1"}, expect=404)
        self.assertIs(self.acted.state, State.TALKING)

    def test_a_closed_target_is_409_unless_it_is_meant(self) -> None:
        targets = self.bridge.roster.targets
        self.patch(self.bridge.roster, "targets", lambda *a: targets(*a)[::-1])
        closed = not targets()[1].open
        if not closed:
            self.fail("it is Sunday at three in the morning")
        problem, _ = self.did("transfer", {"target": "night"}, expect=409)
        self.detail(problem, "hours of [targets.night]", "even_closed")
        self.did("transfer", {"target": "night", "even_closed": True})
        self.assertIs(self.acted.state, State.TRANSFERRING)

    def test_hanging_up_ends_the_call(self) -> None:
        _, audit = self.did("hang_up", {})
        self.assertEqual(audit, [f"call {ID}: operator axel: hang up: done"])
        self.assertEqual(self.bridge.calls, {})
        self.assertEqual(self.get(f"/calls/{ID}", READER)["call"]["outcome"], "well")
        problem, _ = self.did("hang_up", {}, expect=404)
        self.detail(problem, "any more")

    def test_the_recording_is_paused_and_goes_on(self) -> None:
        for paused, what in (
            (True, "pause the recording"),
            (False, "go on with the recording"),
        ):
            _, audit = self.did("recording", {"paused": paused})
            self.assertEqual(audit, [f"call {ID}: operator axel: {what}: done"])
        happened = self.get(f"/calls/{ID}", READER)["happened"]
        told = [one for one in happened if one["kind"] == "recording"]
        self.assertEqual([one["did"] for one in told], ["paused", "resumed"])
        self.assertEqual(
            {(one["by"], one["who"]) for one in told}, {("operator", "axel")}
        )
        self.assertEqual(self.leg.of("keep_private"), [(True,), (False,)])

    def test_a_call_that_is_ending_is_409(self) -> None:
        self.acted.stop()
        self.assertIs(self.acted.state, State.DRAINING)
        for path, value in (("say", {"text": "wait"}), ("transfer", SALES)):
            problem, audit = self.did(path, value, expect=409)
            self.detail(problem, "the call is draining")
            self.assertIn("refused, it is draining", audit[0])
        self.did("hang_up", {})

    def test_the_house_drains_until_it_is_told_otherwise(self) -> None:
        with capturedLogs() as events:
            for draining in (True, True, False):
                found = self.post("/drain", {"draining": draining}, ACTOR, expect=200)
                self.assertEqual(found, {"draining": draining})
                self.assertEqual(self.get("/health", READER)["draining"], draining)
        said = [str(formatEvent(one)) for one in events]
        audit = [line for line in said if "axel: draining" in line]
        self.assertEqual(len(audit), 2)
        self.post("/drain", {"draining": "yes"}, ACTOR, expect=400)

    def test_a_name_in_the_audit_is_one_line(self) -> None:
        self.site = self.make_api()
        with capturedLogs() as events:
            self.post(f"/calls/{ID}/hang_up", {})
        said = [str(formatEvent(one)) for one in events]
        self.assertIn(f"call {ID}: operator (this machine): hang up: done", said)

    @given(st.text())
    def test_what_the_agent_is_told_is_always_one_line(self, text: str) -> None:
        found = plain(text)
        self.assertEqual(len(found.splitlines()), 1 if found else 0)
        self.assertNotIn("\x00", found)


class HistoryTests(ApiCase):
    def setUp(self) -> None:
        super().setUp()
        for number in range(3):
            leg, _ = self.call(f"call-{number}")
            self.provider.conversations[-1].events.transcript(
                "user", f"My order is {number}", f"i{number}"
            )
            leg.drop()

    def test_the_newest_come_first_page_by_page(self) -> None:
        first = self.get("/history?limit=2")
        ids = [one["id"] for one in first["calls"]]
        rest = self.get(f"/history?limit=2&before={first['next']}")
        ids += [one["id"] for one in rest["calls"]]
        self.assertEqual(ids, ["call-2", "call-1", "call-0"])
        self.assertEqual((rest["next"], rest["kept"][:14]), (None, "only in memory"))

    def test_words_are_found_with_what_is_around_them(self) -> None:
        (found,) = self.get("/history?q=order%201")["calls"]
        self.assertEqual((found["id"], found["has_words"]), ("call-1", True))
        self.assertIn("My order is 1", found["snippet"])
        self.assertEqual(self.get("/history?agent=door&outcome=well")["calls"], [])

    def test_a_call_can_be_taken_away(self) -> None:
        path = f"{PLACE}/calls/call-1"
        status, fields, text = self.ask(f"{path}/call.json")
        self.assertEqual((status, json.loads(text)), (200, self.get("/calls/call-1")))
        saved = fields["content-disposition"]
        self.assertEqual(saved, 'attachment; filename="call-1.json"')
        status, fields, text = self.ask(f"{path}/transcript.txt")
        self.assertEqual(status, 200)
        self.assertIn("00:00 Caller: My order is 1\n", text)
        self.assertIn('filename="call-1.txt"', fields["content-disposition"])

    def test_without_words_there_is_no_transcript(self) -> None:
        leg, _ = self.call("silent")
        leg.drop()
        problem = self.get("/calls/silent/transcript.txt", expect=404)
        self.detail(problem, "keep_words")

    def test_without_a_recording_there_is_nothing_to_hear(self) -> None:
        for path in ("recording.wav", "waveform"):
            problem = self.get(f"/calls/call-1/{path}", expect=404)
            self.detail(problem, "no recording here", "days of [records]")


class Tape:
    """One recording for all calls."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def name_of(self, call_id: str) -> str:
        return "call.wav"


class RecordingTests(ApiCase):
    def setUp(self) -> None:
        super().setUp()
        folder = self.mktemp()
        os.mkdir(folder)
        self.path = os.path.join(folder, "call.wav")
        with wave.open(self.path, "wb") as file:
            file.setparams((2, 2, 8000, 0, "NONE", ""))
            file.writeframes(silence(16000))
        self.archive = self.make_archive(Tape(folder))
        self.site = self.make_api()
        leg, _ = self.call(ID)
        leg.drop()
        self.wav = Path(self.path).read_bytes()

    def fetch(self, *headers: str) -> tuple[int, dict[str, str], bytes]:
        _, transport = self.stream(f"/calls/{ID}/recording.wav", *headers)
        head, _, body = transport.value().partition(b"\r\n\r\n")
        status, *fields = head.decode().split("\r\n")
        named = dict(field.lower().split(": ", 1) for field in fields)
        return int(status.split()[1]), named, body

    def test_the_whole_of_it(self) -> None:
        status, fields, body = self.fetch()
        self.assertEqual((status, body), (200, self.wav))
        self.assertEqual(fields["content-type"], "audio/wav")
        self.assertEqual(fields["accept-ranges"], "bytes")

    def test_a_part_of_it(self) -> None:
        status, fields, body = self.fetch("Range: bytes=44-143")
        self.assertEqual((status, body), (206, self.wav[44:144]))
        whole = len(self.wav)
        self.assertEqual(fields["content-range"], f"bytes 44-143/{whole}")

    def test_who_opens_it_is_in_the_audit(self) -> None:
        with capturedLogs() as events:
            self.fetch()
            self.fetch("Range: bytes=0-")
            self.fetch("Range: bytes=44-")
        audit = [one for one in events if one["log_namespace"] == "portero.audit"]
        said = f"call {ID}: operator (this machine): opens the recording"
        self.assertEqual([formatEvent(one) for one in audit], [said, said])

    def test_beyond_its_end_is_416(self) -> None:
        status, fields, body = self.fetch(f"Range: bytes={len(self.wav)}-")
        self.assertEqual((status, json.loads(body)["status"]), (416, 416))
        self.assertEqual(fields["content-range"], f"bytes */{len(self.wav)}")

    def test_while_the_call_lasts_it_says_when_there_is_one(self) -> None:
        self.call("live")
        for path in ("recording.wav", "waveform"):
            problem = self.get(f"/calls/live/{path}", expect=404)
            self.detail(problem, "is under way", "when it is over", "/listen")

    def test_its_waveform(self) -> None:
        found = self.get(f"/calls/{ID}/waveform")
        self.assertEqual(len(found["caller"]), len(found["agent"]))
        self.assertTrue(self.get(f"/calls/{ID}")["recording"])

    def test_one_that_is_broken_or_gone_is_404(self) -> None:
        Path(self.path).write_bytes(b"no WAV")
        problem = self.get(f"/calls/{ID}/waveform", expect=404)
        self.detail(problem, "cannot be read")
        os.remove(self.path)
        self.get(f"/calls/{ID}/recording.wav", expect=404)


class TranscriptTests(ApiCase):
    def test_what_was_not_heard_says_so(self) -> None:
        _, call = self.call(ID)
        happened = [
            {"kind": "said", "at": 1.2, "role": "user", "item": "a", "text": "Hello"},
            {
                "kind": "said",
                "at": 62,
                "role": "assistant",
                "item": "b",
                "text": "A\nB",
            },
            {"kind": "cut", "at": 63, "item": "b", "heard_ms": 1500, "given_ms": 2000},
            {"kind": "said", "at": 64, "role": "system", "item": "", "text": "Brief"},
        ]
        lines = transcript(call.snapshot(), happened).splitlines()
        self.assertEqual(lines[0], f"Call {ID}")
        self.assertEqual(
            lines[4:],
            [
                "00:01 Caller: Hello",
                "01:02 Agent: A B [interrupted: heard 1.5 s of 2.0 s]",
                "01:04 (to the agent): Brief",
            ],
        )

    def test_each_stands_where_it_began(self) -> None:
        _, call = self.call(ID)
        happened = [
            {"kind": "caller", "at": 1, "speaking": True, "item": "a"},
            {"kind": "caller", "at": 2, "speaking": False},
            {"kind": "sounding", "at": 3, "item": "b"},
            {
                **{"kind": "said", "at": 4, "role": "assistant", "item": "b"},
                "text": "Hello",
            },
            {"kind": "said", "at": 5, "role": "user", "item": "a", "text": "Hi"},
        ]
        lines = transcript(call.snapshot(), happened).splitlines()
        self.assertEqual(lines[4:], ["00:01 Caller: Hi", "00:03 Agent: Hello"])

    def test_the_head_names_the_caller(self) -> None:
        call = {
            **{"id": ID, "began": "2026-11-21T12:00:00+00:00", "seconds": 61.6},
            **{"agent": "door", "caller_name": "Ana", "caller_number": "...678"},
        }
        self.assertIn("62 s, agent door\nCaller: Ana ...678\n", transcript(call, []))

"""Tests of L{portero.web.status}: what health checks and the dialplan ask."""

from __future__ import annotations

import json
from typing import Any, cast
from urllib.parse import parse_qsl

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import capturedLogs, formatEvent

from portero.reception import MOST_FORM, UNKNOWN
from portero.web.problem import KIND
from portero.web_sections import UserSettings
from tests.fake_call import FakeLeg
from tests.test_reception import ID, record
from tests.web_case import HOST, JSON, ORIGIN, TOKEN, WebCase

FORM = "application/x-www-form-urlencoded"


class StatusCase(WebCase):
    late = ""

    def lag(self) -> str:
        return self.late

    def post(self, body: bytes, *headers: str, path: str = "/register") -> Any:
        """@return: The status and the answer, as a form."""
        status, fields, text = self.ask(
            *(path, f"Content-Type: {FORM}", f"Content-Length: {len(body)}"),
            *headers,
            method="POST",
            body=body,
        )
        self.assertEqual(fields["content-type"], "text/plain; charset=utf-8")
        return status, dict(parse_qsl(text, keep_blank_values=True))


class AnswerTests(StatusCase):
    def test_healthz_answers(self) -> None:
        status, fields, text = self.ask("/healthz")
        self.assertEqual((status, text), (200, "ok\n"))
        self.assertEqual(fields["content-type"], "text/plain; charset=utf-8")
        self.assertEqual(fields["cache-control"], "no-store")

    def test_readyz_is_200_when_a_call_would_be_answered(self) -> None:
        status, _, text = self.ask("/readyz")
        self.assertEqual((status, text), (200, "ready\n"))

    def test_readyz_is_503_and_says_why_not(self) -> None:
        self.provider.trouble = "HTTP 401"
        self.assertEqual(self.ask("/readyz")[::2], (503, "HTTP 401\n"))
        self.call("1")
        self.call("2")
        self.assertEqual(self.ask("/readyz")[::2], (503, "full\n"))
        self.bridge.stopService()
        self.assertEqual(self.ask("/readyz")[::2], (503, "stopping\n"))

    def test_calls_lists_those_under_way(self) -> None:
        self.call(ID)
        self.bridge.accept(FakeLeg(), ID)
        for path in ("/calls", "/calls/"):
            status, fields, text = self.ask(path)
            found = json.loads(text)
            counts = found["answered"], found["refused"]
            self.assertEqual((status, *counts), (200, 1, 1))
            (call,) = found["calls"]
            self.assertEqual((call["id"], call["state"]), (ID, "talking"))
            kind = "application/json; charset=utf-8"
            self.assertEqual(fields["content-type"], kind)

    def test_one_call_is_shown_under_way_and_when_it_is_over(self) -> None:
        path = f"/calls/{ID.upper()}"
        self.assertEqual(self.ask(path)[0], 404)
        leg, call = self.call(ID)
        status, _, text = self.ask(path)
        self.assertEqual((status, json.loads(text)), (200, call.snapshot()))
        leg.drop()
        status, _, text = self.ask(path)
        expected = self.bridge.ended[ID].as_json()
        self.assertEqual((status, json.loads(text)), (200, expected))
        self.assertEqual(self.ask(path + "/x")[0], 404)

    def test_next_tells_how_a_call_ended_as_a_form(self) -> None:
        self.bridge.ended[ID] = record(reason="to sales, & more")
        for path in (f"/next/{ID}", f"/next/{ID.upper()}"):
            status, fields, text = self.ask(path)
            self.assertEqual(status, 200)
            self.assertEqual(fields["content-type"], "text/plain; charset=utf-8")
            self.assertTrue(text.startswith("outcome=transferred&next=sales%2C200%2C1"))
            self.assertIn("&reason=to%20sales%2C%20%26%20more&", text)
            form = dict(parse_qsl(text))
            self.assertEqual(form, self.reception.next(ID))

    def test_next_of_no_call_or_one_under_way_is_unknown(self) -> None:
        self.call(ID)
        for path in ("/next", "/next/", "/next/x", f"/next/{ID}", "/next/%C3%A9/x"):
            status, _, text = self.ask(path)
            form = dict(parse_qsl(text, keep_blank_values=True))
            self.assertEqual((status, form), (200, UNKNOWN))

    def test_head_is_get_without_the_body_and_without_a_log_line(self) -> None:
        with capturedLogs() as events:
            for path, expected in (
                *(("/healthz", 200), ("/readyz", 200), ("/health", 200)),
                *(("/calls", 200), ("/next/x", 200), ("/register", 405)),
                *(("/calls/x", 404), ("/nope", 404), ("/api/v1/me", 200)),
            ):
                _, fields, text = self.ask(path)
                length = str(len(text))
                status, fields, text = self.ask(path, method="HEAD")
                self.assertEqual((status, text), (expected, ""))
                self.assertEqual(fields["content-length"], length)
        self.assertEqual(events, [])

    def test_other_methods_are_refused_and_told_which_there_are(self) -> None:
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"):
            for path in ("/calls", "/healthz", "/readyz", "/health", f"/next/{ID}"):
                status, fields, text = self.ask(path, JSON, method=method)
                self.assertEqual((status, fields["allow"]), (405, "GET, HEAD"))
                self.assertEqual(fields["content-type"], KIND)
                self.assertIn(f"{method} cannot be done here", text)

    def test_health_has_the_form_that_monitors_of_other_bridges_know(self) -> None:
        self.call("1")
        status, fields, text = self.ask("/health")
        found = {"status": "healthy", "service": "portero", "active_calls": 1}
        self.assertEqual((status, json.loads(text)), (200, found))
        self.assertEqual(fields["content-type"], "application/json; charset=utf-8")
        self.provider.trouble = "HTTP 401"
        status, _, text = self.ask("/health")
        self.assertEqual((status, json.loads(text)["status"]), (503, "unhealthy"))

    def test_a_reactor_that_is_late_is_not_ready(self) -> None:
        self.assertEqual(self.ask("/readyz")[::2], (200, "ready\n"))
        self.late = "the reactor is 0.7 s late"
        self.assertEqual(self.ask("/readyz")[::2], (503, f"{self.late}\n"))
        self.assertEqual(self.ask("/health")[0], 503)
        self.assertEqual(self.ask("/healthz")[0], 200)
        self.provider.trouble = "HTTP 401"
        self.assertEqual(self.ask("/readyz")[2], "HTTP 401\n")


class RegisterTests(StatusCase):
    def test_the_answer_is_the_id_to_come_with(self) -> None:
        status, form = self.post(b"caller_name=M%C3%BCller&vip=yes&")
        self.assertEqual((status, form["refused"], form["reason"]), (200, "", ""))
        _, call = self.call(form["uuid"])
        self.assertEqual(call.snapshot()["caller_name"], "M\u00fcller")

    def test_a_body_in_pieces_is_a_form_too(self) -> None:
        body = b"5\r\nuuid=\r\n24\r\n" + ID.encode() + b"\r\n0\r\n\r\n"
        status, _, text = self.ask(
            *("/register", HOST, f"Content-Type: {FORM.upper()}; charset=utf-8"),
            "Transfer-Encoding: chunked",
            method="POST",
            body=body,
        )
        self.assertEqual((status, text), (200, f"uuid={ID}&refused=&reason="))

    def test_a_refusal_is_503_and_readable_by_the_dialplan(self) -> None:
        self.bridge.max_calls = 0
        status, form = self.post(b"caller_number=1234")
        self.assertEqual(status, 503)
        self.assertEqual((form["uuid"], form["refused"]), ("", "full"))
        self.assertIn("max_calls", form["reason"])

    def test_without_the_token_it_is_403(self) -> None:
        self.site = self.make_site(TOKEN)
        for body in (b"", b"token=", b"token=sesam", b"token=Sesame"):
            status, form = self.post(body)
            self.assertEqual((status, form["refused"]), (403, "forbidden"))
        self.assertEqual(self.post(b"token=" + TOKEN.encode())[0], 200)

    def test_a_body_of_another_kind_is_not_read(self) -> None:
        self.site = self.make_site(TOKEN)
        body = b"token=" + TOKEN.encode()
        for kind in ("text/plain", "multipart/form-data; boundary=x", ""):
            status = self.ask(
                *("/register", HOST, f"Content-Type: {kind}"),
                f"Content-Length: {len(body)}",
                method="POST",
                body=body,
            )[0]
            self.assertEqual(status, 403)

    def test_get_says_what_to_do(self) -> None:
        status, fields, text = self.ask("/register")
        self.assertEqual((status, fields["allow"]), (405, "POST"))
        self.assertIn("POST a form: token, uuid", text)

    def test_a_web_page_may_not(self) -> None:
        for origin in (ORIGIN, "Origin: null", "Origin: ", "Origin: http://evil.test"):
            fields = [origin, f"Content-Type: {FORM}"]
            self.assertEqual(self.ask("/register", *fields, method="POST")[0], 403)
        self.assertEqual(len(self.bridge._registry), 0)

    def test_another_machine_may_not_without_a_token(self) -> None:
        for more in (
            {"peer": "10.1.2.3"},
            {"version": "1.0"},
            {"headers": ["X-Forwarded-For: 127.0.0.1"]},
        ):
            headers: Any = more.pop("headers", [])
            with capturedLogs() as events:
                status, _, text = self.ask(
                    *("/register", f"Content-Type: {FORM}", *headers),
                    method="POST",
                    body=b"caller_number=1234",
                    **cast(Any, more),
                )
            form = dict(parse_qsl(text, keep_blank_values=True))
            self.assertEqual([*form], ["uuid", "refused", "reason"])
            self.assertEqual((status, form["refused"]), (403, "forbidden"))
            self.assertIn("PORTERO_WEB_TOKEN", form["reason"])
            self.assertIn("takes a token", str(formatEvent(events[-1])))
            self.clock.advance(2)
        self.assertEqual(len(self.bridge._registry), 0)

    def test_another_machine_may_with_the_token(self) -> None:
        self.site = self.make_site(TOKEN)
        status, _, text = self.ask(
            *("/register", f"Content-Type: {FORM}", "X-Forwarded-For: 10.9.9.9"),
            method="POST",
            body=b"token=" + TOKEN.encode(),
            peer="10.1.2.3",
        )
        self.assertEqual(status, 200, text)

    def test_a_form_of_the_most_bytes_is_read_and_a_longer_one_is_not(self) -> None:
        longest = b"x=".ljust(MOST_FORM, b"y")
        self.assertEqual(self.post(longest)[0], 200)
        protocol, transport = self.connect()
        protocol.dataReceived(
            f"POST /register HTTP/1.1\r\n{HOST}\r\nContent-Type: {FORM}\r\n"
            f"Content-Length: {MOST_FORM + 1}\r\n\r\n".encode()
        )
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 413 "))
        self.assertTrue(transport.disconnecting)
        protocol.connectionLost(None)

    def test_a_form_in_pieces_is_not_read_beyond_the_limit(self) -> None:
        protocol, transport = self.connect()
        piece = b"1000\r\n" + bytes(0x1000) + b"\r\n"
        protocol.dataReceived(
            f"POST /register HTTP/1.1\r\n{HOST}\r\nContent-Type: {FORM}\r\n"
            f"Transfer-Encoding: chunked\r\n\r\n".encode()
            + piece * (MOST_FORM // 0x1000)
        )
        self.assertEqual(transport.value(), b"")
        # What comes in one read with the rest must not make it count after all.
        protocol.dataReceived(piece + b"0\r\n\r\n")
        self.assertEqual(transport.value().count(b"HTTP/1.1 "), 1)
        self.assertTrue(transport.value().startswith(b"HTTP/1.1 413 "))
        self.assertEqual(len(self.bridge._registry), 0)
        protocol.connectionLost(None)

    @given(st.binary(max_size=200))
    @settings(max_examples=100, deadline=None)
    def test_any_body_is_answered(self, body: bytes) -> None:
        self.bridge.max_calls = 1000
        status, form = self.post(body)
        self.assertEqual([*form], ["uuid", "refused", "reason"])
        self.assertEqual(status, 200 if form["uuid"] else 503)


class PrivacyTests(StatusCase):
    def setUp(self) -> None:
        super().setUp()
        self.site = self.make_site(TOKEN)
        self.bridge.ended[ID] = record()

    def test_calls_are_shown_to_those_with_the_token(self) -> None:
        for path in ("/calls", f"/calls/{ID}", "/calls/x"):
            for wrong in ("", "Bearer", "Bearer ", "Bearer x", f"Basic {TOKEN}", TOKEN):
                self.clock.advance(3600)
                status, fields, text = self.ask(path, f"Authorization: {wrong}")
                self.assertEqual((status, fields["www-authenticate"]), (401, "Bearer"))
                self.assertNotIn("Ana", text)
            status = self.ask(path, f"Authorization: bearer {TOKEN}")[0]
            self.assertEqual(status, 404 if path == "/calls/x" else 200)

    def test_calls_are_not_shown_when_only_users_are_configured(self) -> None:
        self.site = self.make_site(users={"ana": UserSettings()})
        self.assertEqual(self.ask("/calls")[0], 401)

    def test_what_has_no_names_needs_none(self) -> None:
        for path in ("/healthz", "/readyz", "/health", f"/next/{ID}"):
            self.assertEqual(self.ask(path)[0], 200)

"""Tests of L{portero.web.access} and L{portero.web.origin}, through HTTP."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from portero.logs.lines import BAR, Lines
from portero.logs.masking import Mask
from portero.web.access import Guarded
from portero.web.attempts import FREE
from portero.web.origin import is_allowed, split_host
from portero.web.passwords import token_hash
from portero.web.problem import KIND
from portero.web_sections import RIGHTS, UserSettings
from tests.test_web_passwords import quick
from tests.web_case import HOST, JSON, ORIGIN, TOKEN, WebCase

ROBOT = "robot-token"
LISTENER = "listener-token"
USERS = {
    "ana": UserSettings(password=str(quick("open sesame")), rights=RIGHTS),
    "bo": UserSettings(password=str(quick("bo's password"))),
    "robot": UserSettings(token=token_hash(ROBOT), rights=("read", "act")),
    "ear": UserSettings(token=token_hash(LISTENER), rights=("listen",)),
}
NAMES = ("portero.example.com", "PBX")
GONE = Failure(ConnectionDone())
DOCS = Path(__file__).resolve().parent.parent / "docs"


def bearer(token: str) -> str:
    return f"Authorization: Bearer {token}"


class Reading(Guarded):
    isLeaf = True
    right = "read"

    def render_GET(self, request: Request) -> bytes:
        return self.access.visitor(request).name.encode()


class Acting(Guarded):
    isLeaf = True
    right = "act"

    def render_GET(self, request: Request) -> bytes:
        return b"looked"

    def render_POST(self, request: Request) -> bytes:
        return b"done"


class Watching(Resource):
    """A stream that ends when its visitor may not see it any more."""

    isLeaf = True

    def __init__(self, case: AccessCase) -> None:
        super().__init__()
        self._case = case

    def render_GET(self, request: Request) -> int:
        access = self._case.access
        access.require(request, "listen")
        self.forget = access.while_allowed(request, request.finish)
        request.write(b"begun")
        return NOT_DONE_YET


class AccessCase(WebCase):
    def setUp(self) -> None:
        super().setUp()
        self.open_site(TOKEN, USERS, NAMES)

    def open_site(self, *how: Any) -> None:
        """@param how: As L{make_site} takes it."""
        self.site = self.make_site(*how)
        self.root.hang("read", Reading(self.access))
        self.root.hang("act", Acting(self.access))
        self.watching = Watching(self)
        self.root.hang("watch", self.watching)

    def log_in(self, name: str = "ana", password: str = "open sesame") -> str:
        """@return: The field with the cookie."""
        status, fields, found = self.send(
            "/api/v1/login", {"name": name, "password": password}, ORIGIN
        )
        self.assertEqual(status, 200, found)
        return "Cookie: " + fields["set-cookie"].partition(";")[0]

    def me(self, *headers: str, **more: Any) -> dict[str, Any]:
        status, _, text = self.ask("/api/v1/me", *headers, **more)
        self.assertEqual(status, 200)
        found: dict[str, Any] = json.loads(text)
        return found

    def rights(self, *headers: str, **more: Any) -> list[str]:
        rights: list[str] = self.me(*headers, **more)["rights"]
        return rights

    def watch(self, *headers: str) -> Any:
        """@return: The transport of a stream."""
        protocol, transport = self.connect()
        lines = ["GET /watch HTTP/1.1", HOST, *headers, "", ""]
        protocol.dataReceived("\r\n".join(lines).encode())
        self.assertIn(b"begun", transport.value())
        self.addCleanup(protocol.connectionLost, GONE)
        return transport


class LocalTests(AccessCase):
    """Nobody is configured."""

    def setUp(self) -> None:
        super().setUp()
        self.open_site()

    def test_this_machine_may_do_all(self) -> None:
        for host in (HOST, "Host: localhost", "Host: [::1]:8091", "Host: 127.9.9.9"):
            me = self.me(host)
            self.assertEqual(sorted(RIGHTS), me["rights"])
            self.assertFalse(me["needs_login"])

    def test_a_token_does_no_harm(self) -> None:
        self.assertEqual(len(self.rights(bearer("wrong"))), 3)
        self.assertEqual(self.ask("/act", bearer("x"), JSON, method="POST")[0], 200)

    def test_other_machines_may_do_nothing(self) -> None:
        for peer in ("10.1.2.3", "192.0.2.7", "2001:db8::1", "::ffff:10.1.2.3"):
            me = self.me(peer=peer)
            self.assertEqual((me["rights"], me["needs_login"]), ([], True))
            status, fields, text = self.ask("/read", peer=peer)
            self.assertEqual((status, fields["content-type"]), (401, KIND))
            self.assertIn("portero passwd NAME", json.loads(text)["detail"])

    def test_loopback_in_all_its_forms_is_this_machine(self) -> None:
        for peer in ("127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"):
            self.assertEqual(len(self.rights(peer=peer)), 3)

    def test_what_a_proxy_passes_on_is_not_from_this_machine(self) -> None:
        for field in (
            *("X-Forwarded-For: 127.0.0.1", "X-Forwarded-For:", "Via: 1.1 x"),
            *("Forwarded: for=127.0.0.1", "X-Real-IP: 127.0.0.1"),
            *("X-Forwarded-Proto: https", "X-Forwarded-Host: localhost"),
        ):
            self.assertEqual(self.rights(field), [], field)

    def test_nginx_as_it_comes_is_taken_for_a_proxy(self) -> None:
        # It adds no field, names the address it asks, and speaks HTTP/1.0.
        self.assertEqual(self.rights("Connection: close", version="1.0"), [])

    def test_asked_by_another_name_it_is_not_this_machine(self) -> None:
        self.open_site("", None, NAMES)
        for host in ("10.1.2.3:8091", "portero.example.com", "[2001:db8::1]"):
            self.assertEqual(self.rights(f"Host: {host}"), [], host)

    def test_a_foreign_page_in_a_browser_here_may_not_act(self) -> None:
        for fields, expected in (
            ([ORIGIN, JSON], 200),
            ([JSON], 200),
            (["Origin: http://evil.test", JSON], 403),
            (["Origin: null", JSON], 403),
            (["Origin:", JSON], 403),
            (["Origin: https://127.0.0.1:8091", JSON], 403),
            (["Origin: http://127.0.0.1:8092", JSON], 403),
            (["Origin: http://127.0.0.1", JSON], 403),
            (["Origin: http://localhost:8091", JSON], 403),
            (["Origin: http://127.0.0.1:8091.evil.test", JSON], 403),
            (["Origin: http://evil.test@127.0.0.1:8091", JSON], 403),
            ([ORIGIN, "Origin: http://evil.test", JSON], 403),
            # What a form of any page can send, even where no Origin is sent.
            ([], 415),
            (["Content-Type: text/plain"], 415),
            (["Content-Type: application/x-www-form-urlencoded"], 415),
            (["Content-Type: multipart/form-data; boundary=x"], 415),
            (["Content-Type: text/plain; application/json"], 415),
            (["Sec-Fetch-Site: cross-site", JSON], 403),
            (["Sec-Fetch-Site: same-site", JSON], 403),
            (["Sec-Fetch-Site: same-origin", ORIGIN, JSON], 200),
        ):
            status, _, text = self.ask("/act", *fields, method="POST", body=b"{}")
            self.assertEqual(status, expected, (fields, text))

    def test_a_foreign_page_may_not_even_ask_but_a_link_may_be_followed(self) -> None:
        for mode, expected in (
            *(("no-cors", 403), ("cors", 403), ("websocket", 403), ("", 403)),
            ("navigate", 200),
        ):
            fields = ["Sec-Fetch-Site: cross-site", f"Sec-Fetch-Mode: {mode}"]
            self.assertEqual(self.ask("/read", *fields)[0], expected)

    def test_a_form_that_a_foreign_page_sends_is_no_link(self) -> None:
        fields = ["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"]
        fields += ["Origin: http://evil.test", JSON]
        self.assertEqual(self.ask("/act", *fields, method="POST")[0], 403)

    def test_a_websocket_is_for_our_own_page(self) -> None:
        upgrade = ["Upgrade: websocket", "Connection: Upgrade"]
        for fields, expected in (
            (upgrade, 200),
            ([*upgrade, ORIGIN], 200),
            ([*upgrade, "Origin: http://evil.test"], 403),
            ([*upgrade, "Origin: null"], 403),
            (["Upgrade: WebSocket", "Origin: http://localhost:8091"], 403),
        ):
            self.assertEqual(self.ask("/read", *fields)[0], expected, fields)

    def test_with_tls_the_page_is_too(self) -> None:
        for origin, expected in (
            ("https://127.0.0.1:8091", 200),
            ("http://127.0.0.1:8091", 403),
        ):
            status = self.ask(
                "/act", JSON, f"Origin: {origin}", method="POST", tls=True
            )[0]
            self.assertEqual(status, expected)

    def test_once_a_user_is_configured_he_alone_may(self) -> None:
        transport = self.watch()
        self.access.use(USERS, ())
        self.assertEqual(self.rights(), [])
        self.assertTrue(transport.value().endswith(b"0\r\n\r\n"), "it ended")
        self.access.use({}, ())
        self.assertEqual(len(self.rights()), 3)


class RightTests(AccessCase):
    def test_who_shows_nothing_has_no_right(self) -> None:
        status, fields, text = self.ask("/read")
        self.assertEqual((status, fields["www-authenticate"]), (401, "Bearer"))
        self.assertIn("Authorization: Bearer TOKEN", json.loads(text)["detail"])
        self.assertEqual(self.me()["needs_login"], True)

    def test_a_user_has_his_rights_and_no_other(self) -> None:
        for token, name, rights in (
            (ROBOT, "robot", ["act", "read"]),
            (LISTENER, "ear", ["listen"]),
            (TOKEN, "(web token)", ["read"]),
        ):
            me = self.me(bearer(token))
            self.assertEqual((me["name"], me["rights"]), (name, rights))
            status = self.ask("/read", bearer(token))[0]
            self.assertEqual(status, 200 if "read" in rights else 403)
            status = self.ask("/act", bearer(token), method="POST")[0]
            self.assertEqual(status, 200 if "act" in rights else 403)

    def test_a_missing_right_is_named_with_its_remedy(self) -> None:
        for token, expected in (
            (LISTENER, 'ear lacks the right to act: add "act" to [users.ear] rights'),
            (TOKEN, "(web token) lacks the right to act: the web token may only read"),
        ):
            status, fields, text = self.ask("/act", bearer(token))
            self.assertEqual((status, fields["content-type"]), (403, KIND))
            self.assertEqual(json.loads(text)["detail"], expected)

    def test_a_token_needs_no_kind_and_no_origin(self) -> None:
        status = self.ask("/act", bearer(ROBOT), method="POST", body=b"x=y")[0]
        self.assertEqual(status, 200)

    def test_nor_does_a_token_help_a_foreign_page(self) -> None:
        fields = [bearer(ROBOT), JSON, "Origin: http://evil.test"]
        self.assertEqual(self.ask("/act", *fields, method="POST")[0], 403)

    def test_from_another_machine_it_is_the_same(self) -> None:
        self.assertEqual(self.rights(bearer(ROBOT), peer="10.1.2.3"), ["act", "read"])
        self.assertEqual(self.rights(peer="10.1.2.3"), [])

    def test_what_is_no_token_of_ours_is_none(self) -> None:
        for wrong in (
            *("Bearer", "Bearer ", f"Basic {ROBOT}", ROBOT, f"Bearer {ROBOT}x"),
            *(f"Bearer {token_hash(ROBOT)}", f"Bearer {ROBOT[:-1]}", "Bearer \u00e9"),
            f"Bearer {ROBOT.upper()}",
        ):
            self.clock.advance(3600)
            self.assertEqual(self.rights(f"Authorization: {wrong}"), [], wrong)

    def test_a_user_without_a_token_has_no_empty_one(self) -> None:
        self.open_site("", {"ana": USERS["ana"]})
        self.assertEqual(self.rights("Authorization: Bearer "), [])

    def test_two_things_at_once_count_as_the_token(self) -> None:
        cookie = self.log_in()
        self.assertEqual(self.me(cookie, bearer(LISTENER))["name"], "ear")
        self.assertEqual(self.rights(cookie, bearer("wrong")), [])

    @given(st.binary(max_size=60).map(lambda b: b.translate(None, b"\r\n\0")))
    @settings(max_examples=200, deadline=None)
    def test_no_other_token_has_a_right(self, token: bytes) -> None:
        self.clock.advance(3600)
        protocol, transport = self.connect()
        protocol.dataReceived(
            b"GET /act HTTP/1.1\r\n%s\r\nAuthorization: Bearer %s\r\n\r\n"
            % (HOST.encode(), token)
        )
        self.assertRegex(transport.value(), rb"\AHTTP/1.1 (400|401) ")
        protocol.connectionLost(GONE)


class HostTests(AccessCase):
    def test_only_those_who_ask_by_a_name_of_ours_are_answered(self) -> None:
        for host, expected in [
            ("127.0.0.1", True),
            ("127.0.0.1:8091", True),
            ("10.1.2.3:8091", True),
            ("localhost:8091", True),
            ("LOCALHOST", True),
            ("[::1]:8091", True),
            ("[::1]", True),
            ("portero.example.com", True),
            ("Portero.Example.COM.:443", True),
            ("pbx", True),
            ("evil.example", False),
            ("evil.example:8091", False),
            ("portero.example.com.evil.example", False),
            ("x.portero.example.com", False),
            ("example.com", False),
            ("localhost.evil.example", False),
            ("127.0.0.1.evil.example", False),
            ("1.2.3.4.5", False),
            ("127.0.0.1:8091@evil.example", False),
            ("", False),
            (":8091", False),
            ("[", False),
        ]:
            for path in ("/read", "/nope"):
                status = self.ask(path, f"Host: {host}", bearer(ROBOT))[0]
                found = 404 if path == "/nope" else 200
                self.assertEqual(status, found if expected else 403, host)

    def test_of_two_host_fields_both_must_be_right(self) -> None:
        two = ("Host: evil.example", "Host: 127.0.0.1")
        self.assertNotEqual(self.ask("/read", *two)[0], 200)

    def test_names_are_not_ours_for_ever(self) -> None:
        self.access.use(USERS, ("other.example",))
        for host, expected in ((NAMES[0], 403), ("other.example", 200)):
            status = self.ask("/read", f"Host: {host}", bearer(ROBOT))[0]
            self.assertEqual(status, expected)

    def test_the_refusal_names_the_setting(self) -> None:
        status, fields, text = self.ask("/", "Host: evil.example")
        self.assertEqual((status, fields["content-type"]), (403, KIND))
        self.assertIn("[web] hosts", json.loads(text)["detail"])
        self.assertNotIn("evil", text)

    def test_behind_a_proxy_the_origin_is_of_the_name_and_may_have_tls(self) -> None:
        cookie = self.log_in()
        for host, origin, more, expected in (
            (NAMES[0], f"https://{NAMES[0]}", ["X-Forwarded-For: 192.0.2.7"], 200),
            (NAMES[0], f"https://{NAMES[0]}:443", ["Via: 1.1 caddy"], 200),
            (f"{NAMES[0]}:443", f"https://{NAMES[0]}", ["Via: 1.1 caddy"], 200),
            (NAMES[0], f"http://{NAMES[0]}", ["X-Forwarded-For: 192.0.2.7"], 200),
            (NAMES[0], f"https://{NAMES[0]}", [], 403),
            (NAMES[0], "https://evil.example", ["X-Forwarded-For: 192.0.2.7"], 403),
            (NAMES[0], f"https://{NAMES[0]}:8443", ["Via: 1.1 caddy"], 403),
            (NAMES[0], "ftp://" + NAMES[0], ["Via: 1.1 caddy"], 403),
        ):
            status = self.ask(
                *("/act", f"Host: {host}", f"Origin: {origin}", JSON, cookie, *more),
                method="POST",
            )[0]
            self.assertEqual(status, expected, (host, origin, more))


class NameTests(SynchronousTestCase):
    @given(st.text(max_size=40))
    @settings(max_examples=300, deadline=None)
    def test_any_host_is_judged(self, host: str) -> None:
        name, port = split_host(host)
        self.assertTrue(port == "" or port.isdigit())
        if name.isalpha() and name != "localhost":
            self.assertFalse(is_allowed(host))


class StreamTests(AccessCase):
    def ended(self, transport: Any) -> bool:
        found: bytes = transport.value()
        return found.endswith(b"0\r\n\r\n")

    def test_they_end_when_their_user_is_gone_changed_or_only_then(self) -> None:
        changed = UserSettings(token=token_hash(LISTENER), rights=("listen", "read"))
        for users, expected in (
            ({**USERS}, False),
            ({**USERS, "new": UserSettings()}, False),
            ({**USERS, "ear": changed}, True),
            ({name: USERS[name] for name in ("ana", "bo", "robot")}, True),
        ):
            self.access.use(USERS, NAMES)
            transport = self.watch(bearer(LISTENER))
            self.access.use(users, NAMES)
            self.assertEqual(self.ended(transport), expected)
            self.watching.forget()
        self.assertEqual(self.access._streams, {})

    def test_they_end_with_the_visit_that_opened_them(self) -> None:
        mine, other = self.log_in(), self.log_in()
        one, two, third = self.watch(mine), self.watch(mine), self.watch(other)
        status = self.send("/api/v1/logout", {}, mine, ORIGIN)[0]
        self.assertEqual(status, 204)
        self.assertEqual(list(map(self.ended, (one, two, third))), [True, True, False])

    def test_as_long_as_one_is_open_nobody_has_to_log_in_again(self) -> None:
        cookie = self.log_in()
        self.watch(cookie)
        self.clock.advance(3 * 24 * 3600)
        self.assertEqual(len(self.rights(cookie)), 3)
        self.clock.advance(3 * 24 * 3600)
        self.watching.forget()
        self.watching.forget()
        self.assertEqual(len(self.rights(cookie)), 3)
        self.clock.advance(13 * 3600)
        self.assertEqual(self.rights(cookie), [])

    def test_who_has_not_the_right_gets_none(self) -> None:
        self.assertEqual(self.ask("/watch", bearer(ROBOT))[0], 403)
        self.assertEqual(self.access._streams, {})


class BackOffTests(AccessCase):
    def refuse(self, **more: Any) -> tuple[int, dict[str, str]]:
        status, fields, _ = self.ask("/read", bearer("wrong"), **more)
        return status, fields

    def test_after_some_failures_not_even_the_web_token_is_looked_at(self) -> None:
        for _ in range(FREE):
            self.assertEqual(self.refuse()[0], 401)
        status, fields, text = self.ask("/read", bearer(TOKEN))
        self.assertEqual((status, fields["retry-after"]), (429, "1"))
        self.assertIn("try again in 1 s", json.loads(text)["detail"])
        self.clock.advance(1)
        self.assertEqual(self.ask("/read", bearer(TOKEN))[0], 200)

    def test_nobody_locks_out_a_program_with_a_token_of_its_own(self) -> None:
        for _ in range(FREE + 1):
            self.refuse()
        self.assertEqual(self.ask("/read", bearer(ROBOT))[0], 200)
        self.assertEqual(self.refuse()[0], 429)

    def test_to_try_in_vain_makes_the_wait_no_longer(self) -> None:
        for _ in range(FREE + 20):
            self.refuse()
        self.assertEqual(self.refuse()[1]["retry-after"], "1")

    def test_others_go_on(self) -> None:
        cookie = self.log_in()
        for _ in range(FREE + 1):
            self.refuse(peer="192.0.2.7")
        self.assertEqual(self.ask("/read", bearer(ROBOT), peer="192.0.2.8")[0], 200)
        for path in ("/healthz", "/api/v1/me"):
            self.assertEqual(self.ask(path, peer="192.0.2.7")[0], 200)
        self.assertEqual(self.ask("/read", cookie, peer="192.0.2.7")[0], 200)

    def test_behind_a_proxy_here_it_is_the_visitor_who_waits(self) -> None:
        seen = "X-Forwarded-For: 203.0.113.1, 192.0.2.7"
        for _ in range(FREE):
            self.ask("/read", bearer("wrong"), seen)
        self.assertEqual(self.ask("/read", bearer(TOKEN), seen)[0], 429)
        # What he says of himself, before the proxy's word, is worth nothing.
        other = "X-Forwarded-For: 203.0.113.2, 192.0.2.7"
        self.assertEqual(self.ask("/read", bearer(TOKEN), other)[0], 429)
        for field in ("X-Forwarded-For: 192.0.2.8", "X-Real-IP: x"):
            self.assertEqual(self.ask("/read", bearer(TOKEN), field)[0], 200)

    def test_another_machine_cannot_blame_a_third(self) -> None:
        for n in range(FREE):
            field = f"X-Forwarded-For: 192.0.2.{n}"
            self.ask("/read", bearer("wrong"), field, peer="10.1.2.3")
        self.assertEqual(self.refuse(peer="10.1.2.3")[0], 429)

    def test_a_request_counts_once(self) -> None:
        for _ in range(FREE - 1):
            status = self.ask("/act", bearer("wrong"), JSON, ORIGIN, method="POST")[0]
            self.assertEqual(status, 401)
        self.assertEqual(self.ask("/read", bearer(ROBOT))[0], 200)


class LogTests(AccessCase):
    """What fail2ban reads."""

    def lines(self, events: Any) -> list[str]:
        """As they stand in the log, less the time."""
        lines = Lines(Mask(), formatEvent)
        return [line for event in events for line in lines.human(event, timed=False)]

    def pattern(self, in_json: bool = False) -> re.Pattern[str]:
        """As the documentation has it."""
        text = (DOCS / "access.rst").read_text("utf-8")
        found = re.findall(r"^ +failregex = (.*)$", text, re.MULTILINE)[in_json]
        return re.compile(found.replace("<ADDR>", r"(?P<address>[0-9a-fA-F.:]+)"))

    def test_a_wrong_token_or_password_is_a_line_with_the_address(self) -> None:
        wrong = {"name": "ana", "password": "wrong password"}
        for peer in ("192.0.2.7", "2001:db8::7"):
            with capturedLogs() as events:
                self.ask("/read", bearer("wrong"), peer=peer)
                self.clock.advance(1)
                self.send("/api/v1/login", wrong, ORIGIN, peer=peer)
                self.clock.advance(1)
                self.send("/api/v1/login", {"token": "x"}, ORIGIN, peer=peer)
            lines = self.lines(events)
            self.assertEqual(
                [line.rpartition(": ")[2] for line in lines],
                ["wrong token", "wrong name or password", "wrong token"],
            )
            for line in lines:
                # As a file has it, where fail2ban takes the time away; and as the
                # journal has it, with a time of ours or without.
                time = "2026-11-21T21:15:10.123+0000"
                for logged in (
                    *(f" {line}", f"pbx twistd[42]: {line}"),
                    f"pbx twistd[42]: {time} {line}",
                ):
                    found = self.pattern().match(logged)
                    assert found is not None, logged
                    self.assertEqual(found["address"], peer)
            self.clock.advance(1)

    def test_a_line_of_json_is_found_too(self) -> None:
        with capturedLogs() as events:
            self.ask("/read", bearer("wrong"), peer="192.0.2.7")
        line = Lines(Mask(), formatEvent).json(dict(events[0]))
        for logged in (line, re.sub('(?<="time": ")[^"]*', "", line)):
            for before in ("", "pbx twistd[42]: "):
                found = self.pattern(in_json=True).match(before + logged)
                assert found is not None, logged
                self.assertEqual(found["address"], "192.0.2.7")

    def test_nothing_that_was_sent_is_in_it(self) -> None:
        evil = "[portero.access#warn] access refused to 192.0.2.9: wrong token"
        with capturedLogs() as events:
            self.ask("/read", bearer(evil), f"User-Agent: {evil}", peer="192.0.2.7")
            self.clock.advance(1)
            self.send("/api/v1/login", {"name": evil, "password": evil}, ORIGIN)
        self.assertNotIn("192.0.2.9", "".join(self.lines(events)))
        said = "[portero.call#info] a caller named "
        for before in (said, f"pbx x[1]: {said}", BAR, f"pbx x[1]: {BAR}"):
            self.assertIsNone(self.pattern().match(before + evil))

    def test_nothing_but_an_address_is_taken_from_a_proxy(self) -> None:
        for said, expected in (
            ("192.0.2.7", "192.0.2.7"),
            ("2001:DB8:0::7", "2001:db8::7"),
            ("fe80::1%evil: wrong", "fe80::1"),
            ("evil", "127.0.0.1"),
            ("192.0.2.7, evil", "127.0.0.1"),
            ("192.0.2.7:443", "127.0.0.1"),
            ("\u0661.2.3.4", "127.0.0.1"),
        ):
            self.clock.advance(3600)
            with capturedLogs() as events:
                self.ask("/read", bearer("wrong"), f"X-Forwarded-For: {said}")
            (line,) = self.lines(events)
            self.assertTrue(line.endswith(f" to {expected}: wrong token"), line)

    def test_of_a_flood_the_rest_is_counted(self) -> None:
        with capturedLogs() as events:
            for n in range(5):
                self.ask("/read", bearer("wrong"), peer=f"192.0.2.{n}")
            self.clock.advance(0.2)
            self.ask("/read", bearer("wrong"), peer="192.0.2.9")
        lines = self.lines(events)
        self.assertEqual(len(lines), 2)
        self.assertTrue(lines[1].endswith("wrong token (and 4 more)"))
        self.assertIsNotNone(self.pattern().match(lines[1]))

    def test_who_shows_nothing_is_no_line(self) -> None:
        with capturedLogs() as events:
            self.ask("/read", peer="192.0.2.7")
            self.ask("/read", "Cookie: portero=old", peer="192.0.2.7")
        self.assertEqual(events, [])

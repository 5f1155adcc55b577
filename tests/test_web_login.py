"""Tests of L{portero.web.login}, through HTTP."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure

import portero
from portero.web.access import MOST_WAITING
from portero.web.attempts import FREE
from portero.web.passwords import LONGEST, Kept, token_hash
from portero.web.visits import IDLE
from portero.web_sections import UserSettings
from tests.test_web_access import NAMES, ROBOT, USERS, AccessCase
from tests.test_web_passwords import quick
from tests.web_case import HOST, JSON, ORIGIN, TOKEN

LOGIN = "/api/v1/login"
LOGOUT = "/api/v1/logout"
RIGHT = {"name": "ana", "password": "open sesame"}
WRONG = {"name": "ana", "password": "open barley"}
GONE = Failure(ConnectionDone())


class LoginTests(AccessCase):
    def test_a_password_becomes_a_cookie_that_has_the_rights(self) -> None:
        status, fields, found = self.send(LOGIN, RIGHT, ORIGIN)
        expected = {
            "name": "ana",
            "rights": ["act", "listen", "read"],
            "needs_login": False,
            "version": portero.__version__,
        }
        self.assertEqual((status, found), (200, expected))
        cookie, *attributes = fields["set-cookie"].split("; ")
        self.assertRegex(cookie, r"\Aportero=[\w-]{43}\Z")
        self.assertEqual(
            {each.lower() for each in attributes},
            {"path=/", "httponly", "samesite=strict"},
        )
        self.assertEqual(self.me(f"Cookie: {cookie}"), expected)
        self.assertEqual(self.me(f"Cookie: a=b; {cookie}; c=d"), expected)

    def test_with_tls_the_cookie_is_for_tls_alone(self) -> None:
        for fields, more, expected in (
            ([f"Origin: https://{HOST[6:]}"], {"tls": True}, True),
            ([], {"tls": True}, True),
            ([f"Host: {NAMES[0]}", f"Origin: https://{NAMES[0]}", "Via: x"], {}, True),
            ([f"Host: {NAMES[0]}", f"Origin: http://{NAMES[0]}", "Via: x"], {}, False),
            ([ORIGIN], {}, False),
        ):
            status, found, _ = self.send(LOGIN, RIGHT, *fields, **more)
            self.assertEqual(status, 200)
            self.assertEqual("secure" in found["set-cookie"].lower(), expected, fields)

    def test_a_token_becomes_one_too(self) -> None:
        for token, name, rights in (
            (ROBOT, "robot", ["act", "read"]),
            (TOKEN, "(web token)", ["read"]),
        ):
            status, fields, found = self.send(LOGIN, {"token": token}, ORIGIN)
            self.assertEqual((status, found["name"]), (200, name))
            cookie = "Cookie: " + fields["set-cookie"].partition(";")[0]
            self.assertEqual(self.me(cookie)["rights"], rights)

    def test_with_a_cookie_one_may_act_on_our_own_page_alone(self) -> None:
        cookie = self.log_in()
        for fields, expected in (
            ([ORIGIN, JSON], 200),
            ([ORIGIN], 415),
            ([ORIGIN, "Content-Type: text/plain"], 415),
            ([JSON], 403),
            (["Origin: null", JSON], 403),
            (["Origin: http://evil.test", JSON], 403),
        ):
            status = self.ask("/act", cookie, *fields, method="POST", body=b"{}")[0]
            self.assertEqual(status, expected, fields)
        upgrade = ["Upgrade: websocket", "Connection: Upgrade"]
        for fields, expected in ((upgrade, 403), ([*upgrade, ORIGIN], 200)):
            self.assertEqual(self.ask("/read", cookie, *fields)[0], expected)

    def test_a_user_without_the_right_may_not_act(self) -> None:
        cookie = self.log_in("bo", "bo's password")
        self.assertEqual(self.ask("/read", cookie)[0], 200)
        status = self.ask("/act", cookie, ORIGIN, JSON, method="POST")[0]
        self.assertEqual(status, 403)

    def test_a_wrong_name_or_password_is_told_alike(self) -> None:
        answers = []
        for given_ in (
            WRONG,
            {"name": "nobody", "password": "open sesame"},
            {"name": "robot", "password": ""},
            {"name": "robot", "password": ROBOT},
            {"name": "", "password": ""},
            {"name": "ana", "password": ""},
            {"name": "ANA", "password": "open sesame"},
        ):
            self.clock.advance(3600)
            status, fields, found = self.send(LOGIN, given_, ORIGIN)
            self.assertNotIn("set-cookie", fields)
            self.assertEqual(status, 401)
            answers.append(found)
        self.assertEqual(answers, answers[:1] * len(answers))

    def test_an_unknown_name_takes_as_much_work(self) -> None:
        looked: list[tuple[int, int, int]] = []
        fits = Kept.fits

        def count(kept: Kept, password: str) -> bool:
            looked.append((kept.log_n, kept.r, kept.p))
            return fits(kept, password)

        self.patch(Kept, "fits", count)
        strong = UserSettings(password=str(Kept.of("open sesame")))
        self.open_site("", {"ana": strong, "robot": USERS["robot"]}, ())
        for name in ("ana", "nobody", "robot"):
            self.send(LOGIN, {"name": name, "password": "x"}, ORIGIN)
        self.assertEqual(looked, [(15, 8, 3)] * 3)

    def test_the_work_is_not_done_in_the_reactor(self) -> None:
        self.threads.held = True
        protocol, transport = self.connect()
        self.post(protocol, RIGHT)
        self.assertEqual(transport.value(), b"")
        self.threads.go()
        self.assertEqual(self.parse(transport)[0], 200)

    def test_what_is_no_login_is_told(self) -> None:
        wrong: list[Any] = [
            *({}, [], None, "x", 1, {"name": "ana"}, {"password": "x"}),
            *({"name": "ana", "password": 1}, {"name": None, "password": "x"}),
            *({"token": 1}, {"token": "x", "name": "ana"}, {"token": ["x"]}),
            {"name": "ana", "password": "x" * (LONGEST + 1)},
        ]
        for given_ in wrong:
            status, _, found = self.send(LOGIN, given_, ORIGIN)
            self.assertEqual(status, 400, given_)
            self.assertRegex(found["detail"], "send|must be a text")
        for body in (b"", b"{", b"\xff", b"[" * 5000, b"1" * 5000):
            status = self.ask(LOGIN, JSON, ORIGIN, method="POST", body=body)[0]
            self.assertEqual(status, 400, body)
        self.assertEqual(self.threads.done, 0)

    def test_it_can_only_be_posted(self) -> None:
        for path in (LOGIN, LOGOUT):
            for method in ("GET", "HEAD", "PUT", "DELETE"):
                status, fields, _ = self.ask(path, JSON, method=method)
                self.assertEqual(status, 405)
                self.assertIn("POST", fields["allow"])

    def test_who_is_gone_meanwhile_harms_nothing(self) -> None:
        self.threads.held = True
        protocol, transport = self.connect()
        self.post(protocol, RIGHT)
        protocol.connectionLost(GONE)
        self.threads.go()
        self.assertEqual(transport.value(), b"")
        self.threads.held = False
        self.log_in()

    def test_a_fault_is_logged_and_the_next_may_log_in(self) -> None:
        def fail(kept: Kept, password: str) -> bool:
            raise MemoryError("scrypt")

        fits = Kept.fits
        self.patch(Kept, "fits", fail)
        self.assertEqual(self.send(LOGIN, RIGHT, ORIGIN)[0], 500)
        self.assertEqual(len(self.flushLoggedErrors(MemoryError)), 1)
        self.patch(Kept, "fits", fits)
        self.log_in()

    def test_logins_and_logouts_are_audited_and_no_secret_is_logged(self) -> None:
        with capturedLogs() as events:
            cookie = self.log_in()
            self.send(LOGOUT, {}, cookie, ORIGIN)
            self.send(LOGOUT, {}, cookie, ORIGIN)
            self.send(LOGIN, WRONG, ORIGIN)
        audited = [
            str(formatEvent(event))
            for event in events
            if event["log_namespace"] == "portero.audit"
        ]
        self.assertEqual(
            audited, ["ana logged in from 127.0.0.1", "ana logged out from 127.0.0.1"]
        )
        said = " ".join(map(repr, events))
        for secret in ("sesame", "barley", cookie.partition("=")[2]):
            self.assertNotIn(secret, said)

    def post(self, protocol: Any, given_: Any) -> None:
        body = json.dumps(given_)
        head = f"POST {LOGIN} HTTP/1.1\r\n{HOST}\r\n{ORIGIN}\r\n{JSON}\r\n"
        protocol.dataReceived(
            f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["name", "password", "token", "x"]),
                    inner,
                    max_size=3,
                )
            ),
            max_leaves=6,
        )
    )
    @settings(max_examples=150, deadline=None)
    def test_whatever_is_sent_nobody_gets_in(self, given_: Any) -> None:
        self.clock.advance(3600)
        if "nobody" not in self.access._users:
            self.open_site("", {"nobody": UserSettings(password=str(quick("\0" * 30)))})
        status, fields, _ = self.send(LOGIN, given_, ORIGIN)
        self.assertIn(status, (400, 401))
        self.assertNotIn("set-cookie", fields)


class FloodTests(AccessCase):
    def test_after_some_failures_no_password_is_looked_at(self) -> None:
        for _ in range(FREE):
            self.assertEqual(self.send(LOGIN, WRONG, ORIGIN)[0], 401)
        done = self.threads.done
        status, fields, found = self.send(LOGIN, RIGHT, ORIGIN)
        self.assertEqual((status, fields["retry-after"]), (429, "1"))
        self.assertIn("try again in 1 s", found["detail"])
        self.assertEqual(self.threads.done, done)
        self.clock.advance(1)
        self.log_in()

    def test_programs_with_a_token_go_on(self) -> None:
        for _ in range(FREE + 1):
            self.send(LOGIN, WRONG, ORIGIN)
        self.assertEqual(self.ask("/read", f"Authorization: Bearer {ROBOT}")[0], 200)

    def test_to_get_in_makes_no_new_tries(self) -> None:
        # Or whoever has an account could guess the others' for ever.
        for _ in range(FREE):
            self.send(LOGIN, {"name": "bo", "password": "bo's password"}, ORIGIN)
            self.send(LOGIN, WRONG, ORIGIN)
        self.assertEqual(self.send(LOGIN, WRONG, ORIGIN)[0], 429)

    def test_tries_at_the_same_time_count_one_after_another(self) -> None:
        self.threads.held = True
        ends = [self.begin(WRONG) for _ in range(FREE + 3)]
        self.assertEqual(len(self.threads.waiting), 1)
        for _ in range(FREE):
            self.threads.go()
        self.assertEqual(self.threads.waiting, [])
        found = [self.parse(transport)[0] for transport in ends]
        self.assertEqual(found, [401] * FREE + [429] * 3)

    def test_only_so_many_wait(self) -> None:
        self.threads.held = True
        ends = [self.begin(RIGHT) for _ in range(MOST_WAITING + 3)]
        done = [self.parse(end)[0] for end in ends if end.value()]
        self.assertEqual(done, [429] * 2)
        for _ in range(MOST_WAITING + 1):
            self.threads.go()
        self.assertEqual([self.parse(end)[0] for end in ends[:-2]], [200] * 11)

    def begin(self, given_: Any) -> Any:
        """@return: The transport of a login."""
        body = json.dumps(given_)
        head = f"POST {LOGIN} HTTP/1.1\r\n{HOST}\r\n{ORIGIN}\r\n{JSON}\r\n"
        protocol, transport = self.connect()
        protocol.dataReceived(
            f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        return transport


class VisitTests(AccessCase):
    def test_a_cookie_is_never_taken_over_from_a_browser(self) -> None:
        planted = "Cookie: portero=" + "A" * 43
        self.assertEqual(self.rights(planted), [])
        status, fields, _ = self.send(LOGIN, RIGHT, planted, ORIGIN)
        self.assertEqual(status, 200)
        self.assertNotIn("AAAA", fields["set-cookie"])
        self.assertEqual(self.rights(planted), [])

    def test_a_new_login_ends_the_one_before(self) -> None:
        first = self.log_in("bo", "bo's password")
        status, fields, _ = self.send(LOGIN, RIGHT, first, ORIGIN)
        second = "Cookie: " + fields["set-cookie"].partition(";")[0]
        self.assertEqual(status, 200)
        self.assertNotEqual(first, second)
        self.assertEqual(self.rights(first), [])
        self.assertEqual(len(self.rights(second)), 3)

    def test_after_the_logout_the_cookie_is_worth_nothing(self) -> None:
        cookie, other = self.log_in(), self.log_in()
        status, fields, found = self.send(LOGOUT, {}, cookie, ORIGIN)
        self.assertEqual((status, found), (204, None))
        self.assertEqual(fields["set-cookie"], "portero=; Path=/; Max-Age=0; HttpOnly")
        self.assertEqual(self.rights(cookie), [])
        self.assertEqual(len(self.rights(other)), 3)
        self.assertEqual(self.send(LOGOUT, {}, cookie, ORIGIN)[0], 204)

    def test_a_foreign_page_may_not_log_anybody_in_or_out(self) -> None:
        cookie = self.log_in()
        foreign = "Origin: http://evil.test"
        self.assertEqual(self.send(LOGOUT, {}, cookie, foreign)[0], 403)
        self.assertEqual(len(self.rights(cookie)), 3)
        self.assertEqual(self.send(LOGIN, RIGHT, foreign)[0], 403)

    def test_it_lasts_as_long_as_it_is_used(self) -> None:
        cookie = self.log_in()
        for _ in range(3):
            self.clock.advance(IDLE - 1)
            self.assertEqual(len(self.rights(cookie)), 3)
        self.clock.advance(IDLE + 1)
        self.assertEqual(self.rights(cookie), [])

    def test_it_ends_when_its_user_is_changed_or_gone(self) -> None:
        other = UserSettings(password=str(quick("new password")), rights=("read",))
        fewer = UserSettings(password=USERS["ana"].password, rights=("read",))
        for users in ({**USERS, "ana": other}, {**USERS, "ana": fewer}, {}):
            cookie, stays = self.log_in(), self.log_in("bo", "bo's password")
            self.access.use(users, NAMES)
            self.assertNotIn("act", self.rights(cookie))
            self.assertEqual("read" in self.rights(stays), bool(users))
            self.access.use(USERS, NAMES)
            self.assertEqual(self.rights(cookie), [])

    def test_one_with_the_web_token_may_go_on(self) -> None:
        _, fields, _ = self.send(LOGIN, {"token": TOKEN}, ORIGIN)
        cookie = "Cookie: " + fields["set-cookie"].partition(";")[0]
        self.access.use({}, ())
        self.assertEqual(self.rights(cookie), ["read"])

    def test_a_user_changed_during_the_login_has_to_try_again(self) -> None:
        self.threads.held = True
        protocol, transport = self.connect()
        body = json.dumps(RIGHT)
        protocol.dataReceived(
            f"POST {LOGIN} HTTP/1.1\r\n{HOST}\r\n{JSON}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        self.access.use({"ana": UserSettings(token=token_hash("x"))}, NAMES)
        self.threads.go()
        status, fields, _ = self.parse(transport)
        self.assertEqual(status, 401)
        self.assertNotIn("set-cookie", fields)

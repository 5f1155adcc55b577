"""Tests of L{portero.web.visits}."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from portero.web.visits import IDLE, MOST, Visits
from portero.web_sections import UserSettings

ANA = UserSettings(password="scrypt:a")


class VisitsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.visits = Visits(self.clock)

    def test_a_cookie_stands_for_who_logged_in(self) -> None:
        cookie = self.visits.begin("ana", ANA)
        visit = self.visits.find(cookie)
        assert visit is not None
        self.assertEqual((visit.name, visit.user), ("ana", ANA))
        for other in ("", cookie + "x", cookie[:-1], cookie.swapcase(), "\ud800"):
            self.assertIsNone(self.visits.find(other))

    def test_cookies_cannot_be_guessed_and_are_not_kept(self) -> None:
        cookies = {self.visits.begin("ana", ANA) for _ in range(100)}
        self.assertEqual(len(cookies), 100)
        kept = repr(self.visits._visits)
        for cookie in cookies:
            self.assertRegex(cookie, r"\A[\w-]{43}\Z")
            self.assertNotIn(cookie, kept)

    def test_one_that_is_used_lasts_and_one_that_is_idle_ends(self) -> None:
        cookie = self.visits.begin("ana", ANA)
        for _ in range(5):
            self.clock.advance(IDLE)
            self.assertIsNotNone(self.visits.find(cookie))
        self.clock.advance(IDLE + 1)
        self.assertIsNone(self.visits.find(cookie))
        self.assertEqual(len(self.visits), 0)

    def test_one_that_watches_a_stream_is_not_idle(self) -> None:
        cookie = self.visits.begin("ana", ANA)
        visit = self.visits.find(cookie)
        assert visit is not None
        visit.watching = 1
        self.clock.advance(IDLE * 3)
        self.assertIs(self.visits.find(cookie), visit)

    def test_only_so_many_go_on_at_once(self) -> None:
        first, second = self.visits.begin("ana", ANA), self.visits.begin("ana", ANA)
        self.visits.find(first)
        for _ in range(MOST - 1):
            self.visits.begin("bo", ANA)
        self.assertEqual(len(self.visits), MOST)
        self.assertIsNone(self.visits.find(second))
        self.assertIsNotNone(self.visits.find(first))

    def test_one_ends_alone(self) -> None:
        one, other = self.visits.begin("ana", ANA), self.visits.begin("ana", ANA)
        visit = self.visits.find(one)
        assert visit is not None
        self.assertTrue(self.visits.is_going_on(visit))
        self.visits.end(one)
        self.visits.end(one)
        self.assertFalse(self.visits.is_going_on(visit))
        self.assertIsNone(self.visits.find(one))
        self.assertIsNotNone(self.visits.find(other))

    def test_those_that_do_not_fit_any_more_end(self) -> None:
        ana, bo = self.visits.begin("ana", ANA), self.visits.begin("bo", ANA)
        self.visits.keep(lambda visit: visit.name == "ana")
        self.assertIsNotNone(self.visits.find(ana))
        self.assertIsNone(self.visits.find(bo))

    def test_it_leaves_no_timer(self) -> None:
        self.visits.begin("ana", ANA)
        self.assertEqual(self.clock.getDelayedCalls(), [])

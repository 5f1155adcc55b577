"""
Who asks, and what he may do.

The root of the site asks L{Access.refusal} before anything else: that settles foreign
pages, foreign names and kinds of bodies. A resource then only names the right it needs:
it is a L{Guarded}, or it says C{visitor = access.require(request, "act")}, which raises
the L{Problem} that tells what to do, or it asks C{access.allows(request, "listen")}. A
stream that outlives its request's check says L{Access.while_allowed}.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final
from weakref import WeakKeyDictionary

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.resource import Resource
from twisted.web.server import Request

from portero.web import origin
from portero.web.attempts import Attempts
from portero.web.passwords import Kept, token_hash
from portero.web.problem import Problem
from portero.web.visits import Visit, Visits
from portero.web_sections import RIGHTS, UserSettings

COOKIE: Final = "portero"
FORMS: Final = (b"/register", b"/api/v1/register")
"""Paths where the dialplan posts a form."""
MOST_WAITING: Final = 10
"""Logins whose password waits to be looked at; each takes a quarter of a second."""
SAY_EVERY: Final = 0.1
"""Seconds between two log lines about the wrong tokens and passwords."""
NO_SUCH: Final = Kept.like()
"""Takes the place of the password that an unknown user does not have."""

log = Logger(namespace="portero.access")
audit = Logger(namespace="portero.audit")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever asks."""

    name: str
    """For the audit; a user's own, or in brackets when he has none; or empty."""
    rights: frozenset[str]


NOBODY: Final = Visitor("", frozenset())
LOCAL: Final = Visitor("(this machine)", frozenset(RIGHTS))
WEB_TOKEN: Final = Visitor("(web token)", frozenset(["read"]))


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What was found out about one request."""

    visitor: Visitor
    user: UserSettings | None = None
    visit: Visit | None = None
    trouble: Problem | None = None
    """With what was shown."""


class Access:
    """Knows the users, and recognises them."""

    def __init__(
        self,
        clock: IReactorTime,
        in_thread: Callable[[Callable[[], Any]], Deferred[Any]],
        users: Mapping[str, UserSettings] | None = None,
        web_token: str = "",
        hosts: Sequence[str] = (),
    ) -> None:
        """
        @param in_thread: Does in another thread what takes long.
        @param hosts: Names by which browsers reach us.
        """
        self._in_thread = in_thread
        self._web_token = web_token
        self._visits = Visits(clock)
        self._logins = Attempts(clock)
        self._tokens = Attempts(clock)
        """Apart, so that who mistypes his password locks no program out."""
        self._one_at_a_time = DeferredSemaphore(1)
        self._clock = clock
        self._said = -SAY_EVERY
        self._unsaid = 0
        self._asked: WeakKeyDictionary[Request, _Asked] = WeakKeyDictionary()
        self._streams: dict[object, tuple[_Asked, Callable[[], None]]] = {}
        self.use(users or {}, hosts)

    def use(self, users: Mapping[str, UserSettings], hosts: Sequence[str]) -> None:
        """
        From now on, these. Who was changed or is gone has to log in again, and what is
        streamed to him ends.
        """
        self._users = dict(users)
        self._hosts = frozenset(host.lower().removesuffix(".") for host in hosts)
        self._visits.keep(lambda visit: self._is_same(visit.name, visit.user))
        self._end_streams()

    @property
    def is_open(self) -> bool:
        """Whether everybody on this machine may do all, as nobody else is named."""
        return not self._users and not self._web_token

    # For resources

    def visitor(self, request: Request) -> Visitor:
        """@return: Who asks; C{NOBODY} has no rights."""
        return self._found_out(request).visitor

    def allows(self, request: Request, right: str) -> bool:
        """@param right: One of L{RIGHTS}."""
        return right in self.visitor(request).rights

    def problem(self, request: Request, right: str) -> Problem | None:
        """@return: None, or why the right is missing and what to do."""
        asked = self._found_out(request)
        if right in asked.visitor.rights:
            return None
        if asked.trouble is not None:
            return asked.trouble
        if asked.visitor is not NOBODY:
            name = asked.visitor.name
            where = "the web token may only read"
            if asked.user is not None:
                where = f'add "{right}" to [users.{name}] rights'
            return Problem(403, f"{name} lacks the right to {right}: {where}")
        if self.is_open:
            said = (
                "only this machine itself may, as no user is configured: add one with "
                "portero passwd NAME (docs/access.rst)"
            )
        else:
            said = "log in on the page, or send: Authorization: Bearer TOKEN"
        return Problem(401, said, {"WWW-Authenticate": "Bearer"})

    def require(self, request: Request, right: str) -> Visitor:
        """
        @return: Who asks, and has the right.
        @raise Problem: He has it not: 401, 403, or 429.
        """
        problem = self.problem(request, right)
        if problem is not None:
            raise problem
        return self.visitor(request)

    def deny(self, request: Request, right: str) -> bytes:
        """@return: The body, after the head was set, for one who lacks the right."""
        problem = self.problem(request, right)
        assert problem is not None, "he has the right"
        return problem.answer(request)

    def while_allowed(
        self, request: Request, stop: Callable[[], None]
    ) -> Callable[[], None]:
        """
        A stream begins.

        @param stop: Called once if this visitor logs out, or is taken away or changed
            in the configuration.
        @return: To be called when the stream is over; again does no harm.
        """
        asked, key = self._found_out(request), object()
        self._streams[key] = asked, stop
        if asked.visit is not None:
            asked.visit.watching += 1
        return lambda: self._forget(key)

    def is_trusted_to_register(self, request: Request) -> bool:
        """Whether calls may be announced; a token, if there is one, is in the form."""
        return bool(self._web_token) or origin.is_local(request)

    # For the site

    def refusal(self, request: Request) -> Problem | None:
        """@return: None, or why nobody at all may ask this in this way."""
        hosts = request.requestHeaders.getRawHeaders(b"host", [])
        for host in hosts:
            if not origin.is_allowed(host.decode("latin-1"), self._hosts):
                return Problem(
                    403,
                    "portero does not know itself by this name: ask by address, or add "
                    "the name to [web] hosts",
                )
        if origin.is_foreign(request):
            return Problem(403, "a page of another site may not ask this")
        changes = request.method not in (b"GET", b"HEAD")
        if not changes and not origin.is_upgrade(request):
            return None
        if request.path in FORMS:
            if request.requestHeaders.hasHeader("origin"):
                return Problem(403, "calls are announced by a dialplan, not by a page")
            return None
        asked = self._found_out(request)
        if asked.visit is not None and not request.requestHeaders.hasHeader("origin"):
            return Problem(
                403, "a cookie is for browsers, which send Origin; programs use a token"
            )
        by_token = asked.visit is None and asked.visitor not in (LOCAL, NOBODY)
        # For others, as DELETE, a browser first asks us, and is not told yes.
        if request.method in (b"POST", b"PUT") and not by_token:
            kind = origin.field(request, "content-type").partition(";")[0].strip()
            if kind.lower() != "application/json":
                return Problem(415, "send JSON, with Content-Type: application/json")
        return None

    # For the login

    async def log_in(self, request: Request, name: str, password: str) -> Visitor:
        """
        The browser gets a cookie.

        @raise Problem: He may not in, or not yet: 401 or 429.
        """
        self._check_wait(self._logins, request)
        if len(self._one_at_a_time.waiting) >= MOST_WAITING:
            raise _wait(5)
        await self._one_at_a_time.acquire()
        try:
            # Others of his tries may have failed in the meantime.
            self._check_wait(self._logins, request)
            user = self._users.get(name)
            kept = Kept.parse(user.password) if user and user.password else NO_SUCH
            fits = await self._in_thread(lambda: kept.fits(password))
            if user is None or not fits or kept is NO_SUCH:
                self._logins.failed(origin.source(request))
                self._say(request, "wrong name or password")
                raise Problem(401, "the name or the password is wrong")
            if self._users.get(name) != user:
                raise Problem(401, "the configuration was just changed: try again")
            return self._begin(request, name, user)
        finally:
            self._one_at_a_time.release()

    def log_in_with_token(self, request: Request, token: str) -> Visitor:
        """
        The browser gets a cookie.

        @raise Problem: As L{log_in}.
        """
        found = self._by_token(request, token)
        if found.trouble is not None:
            raise found.trouble
        return self._begin(request, found.visitor.name, found.user)

    def log_out(self, request: Request) -> None:
        """His streams end too."""
        cookie = _cookie(request)
        if self._visits.find(cookie):
            self._visits.end(cookie)
            self._say_who("{who} logged out", request)
        self._asked.pop(request, None)
        self._end_streams()
        request.addCookie(COOKIE, "", path="/", max_age="0", httpOnly=True)

    # Inside

    def _found_out(self, request: Request) -> _Asked:
        asked = self._asked.get(request)
        if asked is None:
            asked = self._asked[request] = self._find_out(request)
        return asked

    def _find_out(self, request: Request) -> _Asked:
        if self.is_open:
            return _Asked(LOCAL if origin.is_local(request) else NOBODY)
        kind, _, token = origin.field(request, "authorization").partition(" ")
        if kind.lower() == "bearer":
            return self._by_token(request, token.strip())
        visit = self._visits.find(_cookie(request))
        if visit is None:
            return _Asked(NOBODY)
        return _Asked(self._as_visitor(visit.name, visit.user), visit.user, visit)

    def _by_token(self, request: Request, token: str) -> _Asked:
        # All are compared, and to their end, so that the time it takes tells nothing.
        fits = _Asked(NOBODY)
        shown = token_hash(token)
        for name, user in self._users.items():
            if hmac.compare_digest(shown, user.token) and user.token:
                fits = _Asked(self._as_visitor(name, user), user)
        if fits.visitor is not NOBODY:
            return fits  # nobody guesses one of these, so nobody else locks it out
        try:
            self._check_wait(self._tokens, request)
        except Problem as problem:
            return _Asked(NOBODY, trouble=problem)
        ours = self._web_token
        if hmac.compare_digest(shown, token_hash(ours)) and ours:
            return _Asked(WEB_TOKEN)
        self._tokens.failed(origin.source(request))
        self._say(request, "wrong token" if token else "empty token")
        headers = {"WWW-Authenticate": "Bearer"}
        return _Asked(NOBODY, trouble=Problem(401, "no user has this token", headers))

    def _as_visitor(self, name: str, user: UserSettings | None) -> Visitor:
        return WEB_TOKEN if user is None else Visitor(name, frozenset(user.rights))

    def _begin(self, request: Request, name: str, user: UserSettings | None) -> Visitor:
        self._visits.end(_cookie(request))
        self._end_streams()
        cookie = self._visits.begin(name, user)
        request.addCookie(
            COOKIE,
            cookie,
            path="/",
            secure=origin.is_encrypted(request),
            httpOnly=True,
            sameSite="strict",
        )
        visitor = self._as_visitor(name, user)
        self._asked[request] = _Asked(visitor, user, self._visits.find(cookie))
        self._say_who("{who} logged in", request)
        return visitor

    def _is_same(self, name: str, user: UserSettings | None) -> bool:
        return user is None or self._users.get(name) == user

    def _is_still(self, asked: _Asked) -> bool:
        if asked.visit is not None:
            return self._visits.is_going_on(asked.visit)
        if asked.visitor is LOCAL:
            return self.is_open
        return self._is_same(asked.visitor.name, asked.user)

    def _end_streams(self) -> None:
        for key, (asked, stop) in tuple(self._streams.items()):
            if not self._is_still(asked):
                self._forget(key)
                stop()

    def _forget(self, key: object) -> None:
        asked, _ = self._streams.pop(key, (None, None))
        if asked is not None and asked.visit is not None:
            asked.visit.watching -= 1
            asked.visit.seen = self._clock.seconds()

    def _check_wait(self, attempts: Attempts, request: Request) -> None:
        """@raise Problem: Too many failures from there."""
        wait = attempts.wait(origin.source(request))
        if wait:
            raise _wait(wait)

    def _say(self, request: Request, why: str) -> None:
        """In a form that fail2ban reads; nothing in it is what the visitor sent."""
        now = self._clock.seconds()
        if now - self._said < SAY_EVERY:
            self._unsaid += 1
            return
        more = f" (and {self._unsaid} more)" if self._unsaid else ""
        self._said, self._unsaid = now, 0
        log.warn(
            "access refused to {address}: {why}{more}",
            address=origin.source(request),
            why=why,
            more=more,
        )

    def _say_who(self, what: str, request: Request) -> None:
        audit.info(
            what + " from {address}",
            who=self.visitor(request).name,
            address=origin.source(request),
        )


class Guarded(Resource):
    """For those who have the right."""

    right: ClassVar[str] = "read"

    def __init__(self, access: Access) -> None:
        super().__init__()
        self.access = access

    def render(self, request: Request) -> Any:
        problem = self.access.problem(request, self.right)
        if problem is not None:
            return problem.answer(request)
        return super().render(request)


def _wait(seconds: int) -> Problem:
    said = f"too many failures: try again in {seconds} s"
    return Problem(429, said, {"Retry-After": str(seconds)})


def _cookie(request: Request) -> str:
    found = request.getCookie(COOKIE.encode())
    return (found or b"").decode("latin-1")

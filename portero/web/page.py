"""The live page: files that hold no data of any call, so everybody may read them."""

from __future__ import annotations

from hashlib import sha256
from importlib.resources import files
from typing import Final

from twisted.web.resource import Resource
from twisted.web.server import Request

from portero.web.problem import Problem, ProblemResource

FILES: Final = {
    "page.js": "text/javascript",
    "worklet.js": "text/javascript",
    "page.css": "text/css",
    "uplot.js": "text/javascript",
    "uplot.css": "text/css",
    "uplot.LICENSE.txt": "text/plain",
    "favicon.svg": "image/svg+xml",
    "texts/en.json": "application/json",
    "texts/es.json": "application/json",
}
"""By path; beside the page itself, which is C{/}, nothing else is served."""
LANGUAGES: Final = ("en", "es")
"""Those that the page speaks; the first is for readers of no other."""
MARK: Final = b'<html lang="en"'


class StaticFile(Resource):
    """One file, read when portero starts: an update on disk needs a restart anyway."""

    def __init__(self, body: bytes, kind: str) -> None:
        """@param kind: Its media type; all of ours are UTF-8 text."""
        super().__init__()
        self._body = body
        self._kind = kind.encode() + b"; charset=utf-8"
        self._etag = b'"%s"' % sha256(body).hexdigest()[:20].encode()

    def getChild(self, path: bytes, request: Request) -> Resource:
        return ProblemResource(Problem(404, "there is nothing below a file"))

    def render_GET(self, request: Request) -> bytes:
        """Kept by browsers, but asked for each time: 304 costs nothing, stale does."""
        request.setHeader(b"cache-control", b"no-cache")
        request.setHeader(b"content-type", self._kind)
        request.setHeader(b"x-content-type-options", b"nosniff")
        if request.setETag(self._etag):
            return b""
        request.setHeader(b"content-length", b"%d" % len(self._body))
        return b"" if request.method == b"HEAD" else self._body


class Page(Resource):
    """The page, in the language that the browser asks for."""

    isLeaf = True

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self._pages = {
            language: StaticFile(
                body.replace(MARK, MARK.replace(b"en", language.encode()), 1),
                "text/html",
            )
            for language in LANGUAGES
        }

    def render_GET(self, request: Request) -> bytes:
        request.setHeader(b"vary", b"accept-language")
        wish = request.getHeader(b"accept-language") or b""
        language = preferred(wish.decode("latin-1"))
        return self._pages[language].render_GET(request)


def page() -> dict[str, Resource]:
    """
    @return: What to put on the site, by path without the first slash; empty for the
        page itself.
    """
    folder = files("portero.web") / "static"
    found: dict[str, Resource] = {"": Page((folder / "page.html").read_bytes())}
    for path, kind in FILES.items():
        body = folder.joinpath(*path.split("/")).read_bytes()
        found[path] = StaticFile(body, kind)
    return found


def preferred(wish: str) -> str:
    """
    @param wish: An C{Accept-Language} field (RFC 9110, 12.5.4), whatever is in it.
    @return: The one of L{LANGUAGES} that it likes best.
    """
    best, most = LANGUAGES[0], 0.0
    for part in wish.split(","):
        tag, *parameters = (piece.strip().lower() for piece in part.split(";"))
        language, liking = tag.partition("-")[0], 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                liking = _number(value)
        if language in LANGUAGES and liking > most:
            best, most = language, liking
    return best


def _number(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0

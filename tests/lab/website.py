"""A small web server on loopback: a relay that opens a gate, a shop that is asked."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came. Names of headers are in small letters."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Website:
    """
    Starts in the constructor, in threads of its own.

    @ivar url: Without a slash at its end.
    @ivar asked: What came, in order.
    @ivar answers: By path: type of the content, and content. Others get an empty 200.
    @ivar delays: By path: seconds before that.
    """

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: dict[str, tuple[str, bytes]] = {}
        self.delays: dict[str, float] = {}
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                size = int(self.headers.get("Content-Length", "0"))
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(size)
                kind, content = site.answers.get(self.path, ("text/plain", b""))
                site.asked.append(Asked(self.command, self.path, headers, body))
                time.sleep(site.delays.get(self.path, 0.0))
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_POST = do_PUT = do_GET

            def log_message(self, *args: object) -> None:
                """What came is in C{asked}."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

"""TLS before the voice service, with any certificate, that tells any time."""

from __future__ import annotations

import select
import socket
import ssl
import tempfile
import time
from email.utils import formatdate
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

from OpenSSL.crypto import FILETYPE_PEM
from twisted.internet.ssl import PrivateCertificate

from tests.smtp_server import certificate

MOST_HEAD = 16384


class Front:
    """
    Listens when the constructor returns, in threads that end with L{stop} or the
    program.

    @ivar url: For C{OPENAI_REALTIME_URL}.
    @ivar ca_file: Trusts the certificate.
    """

    def __init__(self, url: str, name: str = "localhost", ahead: float = 0.0) -> None:
        """
        @param url: Of the voice service, without TLS.
        @param name: In the certificate.
        @param ahead: Seconds that its clock is ahead of ours.
        """
        self._behind = urlsplit(url)
        self._ahead = ahead
        self._folder = tempfile.TemporaryDirectory(prefix="front-lab-")
        shown = certificate(name)
        self.ca_file = str(Path(self._folder.name, "ca.pem"))
        Path(self.ca_file).write_bytes(shown.dumpPEM())
        self._context = self._with(shown)
        self._listening = socket.create_server(("127.0.0.1", 0))
        port = self._listening.getsockname()[1]
        self.url = f"wss://localhost:{port}{self._behind.path}"
        Thread(target=self._serve, daemon=True).start()

    def _with(self, shown: PrivateCertificate) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        pem = Path(self._folder.name, "own.pem")
        pem.write_bytes(shown.privateKey.dump(FILETYPE_PEM) + shown.dumpPEM())
        context.load_cert_chain(pem)
        return context

    def stop(self) -> None:
        self._listening.close()
        self._folder.cleanup()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listening.accept()
            except OSError:  # it was stopped
                return
            Thread(target=self._take, args=(plain,), daemon=True).start()

    def _take(self, plain: socket.socket) -> None:
        try:
            with self._context.wrap_socket(plain, server_side=True) as caller:
                self._answer(caller)
        except OSError:  # whoever calls does not trust it, or has enough
            plain.close()

    def _answer(self, caller: ssl.SSLSocket) -> None:
        head = b""
        while b"\r\n\r\n" not in head and len(head) < MOST_HEAD:
            piece = caller.recv(MOST_HEAD)
            if not piece:
                return
            head += piece
        if b"upgrade: websocket" not in head.lower():
            date = formatdate(time.time() + self._ahead, usegmt=True)
            caller.sendall(f"HTTP/1.1 401 No\r\nDate: {date}\r\n\r\n".encode())
            return
        where = self._behind.hostname, self._behind.port
        with socket.create_connection(where) as service:
            service.sendall(head)
            self._carry(caller, service)

    def _carry(self, caller: ssl.SSLSocket, service: socket.socket) -> None:
        while True:
            waiting = [caller] if caller.pending() else []
            ready = waiting or select.select([caller, service], [], [])[0]
            for one in ready:
                piece = one.recv(MOST_HEAD)
                if not piece:
                    return
                (service if one is caller else caller).sendall(piece)

"""portero as its users run it: by twistd, in a process of its own."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import portero
from tests.lab.process import Process, free_port, wait_until
from tests.parts import need

OWN_VARIABLES = (
    *("OPENAI_", "PORTERO_", "VAD_", "DEFAULT_VOICE", "NOISE_GATE_", "PLAYBACK_"),
    *("OUTPUT_AUDIO_", "AUDIO_BRIDGE_", "CREDENTIALS_DIRECTORY", "STATE_DIRECTORY"),
)
"""Beginnings of what portero reads from the environment; a test sets its own."""


class Portero(Process):
    """
    Starts in the constructor, listening when that returns.

    @ivar port: Where Asterisk finds it, on 127.0.0.1.
    @ivar web_port: Where its status resource is.
    @ivar url: The same, as a browser has it.
    @ivar config: Its configuration file, which need not exist.
    """

    def __init__(
        self,
        *options: str,
        env: Mapping[str, str] | None = None,
        config: str = "",
        token: str = "",
        ports: tuple[int, int] | None = None,
    ) -> None:
        """
        @param options: Besides the two ports.
        @param env: On top of this process's own, without what portero reads there.
        @param config: TOML.
        @param token: That its status resource wants.
        @param ports: For calls and for the web, of one that was before; L{None}: free
            ones.
        """
        twistd = Path(sys.executable).parent / "twistd"
        need(twistd.exists(), f"twistd beside {sys.executable}")
        self._folder = Path(tempfile.mkdtemp(prefix="portero-lab-"))
        self.port, self.web_port = ports or (free_port(), free_port())
        self.url = f"http://127.0.0.1:{self.web_port}"
        surroundings = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(OWN_VARIABLES)
        }
        # The same portero that the tests import, installed or not.
        surroundings["PYTHONPATH"] = str(Path(portero.__file__).parents[1])
        surroundings["PYTHONUNBUFFERED"] = "1"
        self._token = token
        if token:
            surroundings["PORTERO_WEB_TOKEN"] = token
        self.config = self._folder / "portero.toml"
        if config:
            self.config.write_text(config)
            options = (*options, "--config", str(self.config))
        command = [str(twistd), "-n", "--pidfile=", "portero"]
        command += ["--port", str(self.port), "--web", str(self.web_port), *options]
        super().__init__(
            command,
            self._folder / "portero.log",
            env={**surroundings, **(env or {})},
            cwd=self._folder,
        )
        try:
            self.wait_for("portero to listen", lambda: "listening" in self.log, 20)
        except BaseException:
            self.stop()
            raise

    def get(self, path: str) -> tuple[int, str]:
        """
        @return: HTTP status and body of its status resource.
        """
        return self._request("GET", path)

    def announce(self, **form: str) -> dict[str, str]:
        """
        @return: What the dialplan would be answered.
        """
        _, body = self._request(
            "POST",
            "/register",
            urlencode({"token": self._token, **form}),
            {"Content-Type": "application/x-www-form-urlencoded"},
        )
        return dict(parse_qsl(body))

    def read_again(self, config: str) -> None:
        """
        Change its configuration file, send SIGHUP and don't wait.
        """
        self.config.write_text(config)
        os.kill(self.pid, signal.SIGHUP)

    def _request(
        self,
        method: str,
        path: str,
        body: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.web_port, timeout=5)
        bearer = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            connection.request(method, path, body, {**bearer, **(headers or {})})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def calls(self) -> list[dict[str, Any]]:
        """
        @return: The calls under way, as the status resource tells.
        """
        _, body = self.get("/calls")
        found: list[dict[str, Any]] = json.loads(body)["calls"]
        return found

    def call_record(self, call_id: str) -> dict[str, Any]:
        """
        @return: What the status resource tells of a call that ended.
        """
        _, body = self.get(f"/calls/{call_id}")
        found: dict[str, Any] = json.loads(body)
        return found

    def figures(self, call_id: str) -> dict[str, Any]:
        """
        @return: What was measured on the line of a call.
        """
        _, body = self.get(f"/api/v1/calls/{call_id}")
        found: dict[str, Any] = json.loads(body)["figures"]
        return found

    def wait_until_idle(self, seconds: float = 5.0) -> bool:
        """
        @return: Whether the last call was over in time.
        """
        return wait_until(lambda: not self.calls(), seconds)

    def stop(self, seconds: float = 15.0) -> int:
        status = super().stop(seconds)
        shutil.rmtree(self._folder, ignore_errors=True)
        return status

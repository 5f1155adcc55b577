"""A program of the lab: its log, its end, and what it holds open."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class LabError(Exception):
    """A part of the lab did not do what a test needs; the message holds its log."""


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """
    @param kind: C{SOCK_STREAM} or C{SOCK_DGRAM}.

    @return: A port of 127.0.0.1 that was free a moment ago.
    """
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(true: Callable[[], bool], seconds: float) -> bool:
    """
    Look every 10 ms whether something has become true.

    @return: Whether it did within C{seconds}.
    """
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class Process:
    """A child process whose output goes to a file."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.log_path = log
        if shutil.which("setpriv"):  # even a killed test run leaves nothing behind
            command = ["setpriv", "--pdeathsig", "TERM", *command]
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                cwd=cwd,
            )
        self.pid = self._child.pid

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    @property
    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace")

    def tail(self, lines: int = 25) -> str:
        """
        @return: The end of the log under a headline, for the message of a failure.
        """
        last = "\n".join(self.log.splitlines()[-lines:])
        return f"--- end of {self.log_path.name} ---\n{last}"

    def wait_for(self, what: str, ready: Callable[[], bool], seconds: float) -> None:
        """
        @raise LabError: The program ended, or was not C{ready} in time.
        """
        wait_until(lambda: ready() or not self.alive, seconds)
        if not ready():
            state = "late" if self.alive else f"dead ({self._child.returncode})"
            raise LabError(f"waiting for {what}: {state}\n{self.tail(60)}")

    def sockets(self) -> int:
        """
        @return: How many sockets it has open.
        """
        return sum(link.startswith("socket:") for link in self._links())

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/task"))

    def terminate(self) -> None:
        """
        Send SIGTERM and don't wait.
        """
        if self.alive:
            self._child.send_signal(signal.SIGTERM)

    def stop(self, seconds: float = 15.0) -> int:
        """
        End it by SIGTERM and reap it.

        @return: Its exit status; negative: the signal that ended it, SIGKILL when it
            did not go within C{seconds}.
        """
        self.terminate()
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """
        End it by SIGKILL and reap it.
        """
        self._child.kill()
        return self._child.wait(10)

    def _links(self) -> list[str]:
        folder = Path(f"/proc/{self.pid}/fd")
        links = []
        for name in os.listdir(folder):
            try:
                links.append(os.readlink(folder / name))
            except FileNotFoundError:  # closed since it was listed
                continue
        return links

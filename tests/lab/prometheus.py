"""Prometheus: its tool that checks files, and its server."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.lab.process import Process, free_port, wait_until
from tests.parts import need

WHERE = "Debian's package prometheus (tests/lab/bootstrap installs it)"


def promtool(*arguments: str, text: str = "") -> str:
    """
    @param text: For its standard input.

    @return: What it says is wrong; empty when nothing is.
    """
    need(shutil.which("promtool") is not None, f"promtool: {WHERE}")
    done = subprocess.run(
        ["promtool", *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
    )
    # Of metrics it tells some things that it does not like, and is content.
    return done.stdout + done.stderr if done.returncode or done.stderr else ""


class Prometheus(Process):
    """
    A server that scrapes one portero every second. It answers when the constructor
    returns.
    """

    def __init__(self, web_port: int, token: str, rules: Sequence[Path]) -> None:
        """
        @param web_port: Of the portero.
        @param token: For it; empty: none.
        """
        need(shutil.which("prometheus") is not None, f"prometheus: {WHERE}")
        self._folder = Path(tempfile.mkdtemp(prefix="prometheus-lab-"))
        self._port = free_port()
        job: dict[str, Any] = {
            "job_name": "portero",
            "static_configs": [{"targets": [f"127.0.0.1:{web_port}"]}],
        }
        if token:
            (self._folder / "token").write_text(token)
            job["authorization"] = {"credentials_file": str(self._folder / "token")}
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [job],
        }
        path = self._folder / "prometheus.yml"
        path.write_text(json.dumps(config))  # which is YAML too
        super().__init__(
            [
                "prometheus",
                f"--config.file={path}",
                f"--storage.tsdb.path={self._folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self._port}",
            ],
            self._folder / "prometheus.log",
            cwd=self._folder,
        )
        try:
            ready = "Server is ready to receive web requests"
            self.wait_for("prometheus to be ready", lambda: ready in self.log, 30)
        except BaseException:
            self.stop()
            raise

    def ask(self, path: str, **query: str) -> Any:
        """
        @return: The data of its answer.
        """
        url = f"http://127.0.0.1:{self._port}/api/v1/{path}?{urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            found = json.load(answer)
        assert found["status"] == "success", found
        return found["data"]

    def value(self, expression: str) -> float | None:
        """
        @return: Of the one series that there is; L{None}: there is none.
        """
        found = self.ask("query", query=expression)["result"]
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None

    def wait_until_scraped(self, seconds: float = 20.0) -> bool:
        """
        @return: Whether the portero has answered in time.
        """
        return wait_until(lambda: self.value('up{job="portero"}') == 1, seconds)

    def stop(self, seconds: float = 15.0) -> int:
        status = super().stop(seconds)
        shutil.rmtree(self._folder, ignore_errors=True)
        return status

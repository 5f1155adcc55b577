"""The installed plugin starts, takes a call, and stops. Run by tox, not by trial."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


def main() -> None:
    port = free_port()
    twistd = [str(BIN / "twistd"), "-n", "--pidfile=", "portero", f"--port={port}"]
    daemon = subprocess.Popen(twistd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 30
        while not listens(port):
            assert daemon.poll() is None, "twistd ended"
            assert time.monotonic() < end, "twistd does not listen"
            time.sleep(0.1)
        busy = subprocess.run(twistd, capture_output=True, text=True, timeout=30)
        assert busy.returncode == 1, f"a busy port: exit {busy.returncode}"
        assert "cannot listen" in busy.stdout + busy.stderr, busy.stderr
        called = subprocess.run(
            [str(BIN / "portero"), "call", "--json", "--dtmf=5#", f"127.0.0.1:{port}"],
            stdout=subprocess.PIPE,
            text=True,
            timeout=60,
        )
        assert called.returncode == 0, f"portero call: exit {called.returncode}"
        report = json.loads(called.stdout)
        print("smoke: a call was answered:", report)
    finally:
        daemon.send_signal(signal.SIGTERM)
        log, _ = daemon.communicate(timeout=30)
        print(log.decode())
    # twistd ends by the signal that stopped it.
    ends = (0, -signal.SIGTERM)
    assert daemon.returncode in ends, f"twistd: exit {daemon.returncode}"
    assert b"ended well" in log, "the call did not end well"
    assert b"Traceback" not in log, "something raised"


main()

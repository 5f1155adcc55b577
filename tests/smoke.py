"""The installed plugin starts, takes a call, and stops. Run by tox, not by trial."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import parse_qs, urlencode
from urllib.request import urlopen

BIN = Path(sys.executable).parent
PORTERO = str(BIN / "portero")
ALL_TOOLS = """
[agent]
tools = [
    "hangup", "transfer", "cancel_transfer", "leave_voicemail", "send_dtmf",
    "open_gate", "send_email_summary", "request_transcript", "order_status",
]
voicemail = "office"
menu = { 0 = "office" }
mail_to = "office@example.com"
[targets.office]
to = "from-internal,200,1"
[gates.street]
dtmf = "9#"
who = "always"
[webhooks.order_status]
description = "The state of an order."
url = "https://shop.example/orders"
[mail]
server = "mail.example.com"
sender = "portero@example.com"
queue = "FOLDER/mail"
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


def answer(*command: str) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 0, f"{command}: exit {done.returncode}"
    return done.stdout


def configuration(folder: str) -> str:
    """
    @return: The commented file that portero prints, which is then looked through.
    """
    path = Path(folder) / "portero.toml"
    path.write_text(answer(PORTERO, "default-config"))
    print(answer(PORTERO, "check-config", str(path)))
    explained = answer(PORTERO, "explain", "default", "--config", str(path))
    assert "gpt-realtime" in explained, explained
    tools = Path(folder) / "tools.toml"
    tools.write_text(ALL_TOOLS.replace("FOLDER", folder))
    print(answer(PORTERO, "check-config", str(tools)))
    return str(path)


def announced(web_port: int) -> str:
    """
    @return: The id that a dialplan gets for its call.
    """
    form = urlencode({"caller_name": "Ana", "vip": "yes"}).encode()
    with urlopen(f"http://127.0.0.1:{web_port}/register", form, timeout=10) as got:
        answered: dict[str, list[str]] = parse_qs(got.read().decode())
    return answered["uuid"][0]


def look_at(call_id: str, web_port: int) -> None:
    where = f"http://127.0.0.1:{web_port}"
    with urlopen(f"{where}/next/{call_id}", timeout=10) as got:
        assert parse_qs(got.read().decode())["outcome"] == ["well"]
    with urlopen(f"{where}/calls/{call_id}", timeout=10) as got:
        facts = json.loads(got.read())["facts"]
    assert facts["caller_name"] == "Ana", facts
    assert facts["variables"] == {"vip": "yes"}, facts


def main(config: str) -> None:
    port, web_port = free_port(), free_port()
    twistd = [str(BIN / "twistd"), "-n", "--pidfile=", "portero", f"--port={port}"]
    twistd += [f"--web={web_port}", f"--config={config}"]
    daemon = subprocess.Popen(twistd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 30
        while not (listens(port) and listens(web_port)):
            assert daemon.poll() is None, "twistd ended"
            assert time.monotonic() < end, "twistd does not listen"
            time.sleep(0.1)
        busy = subprocess.run(twistd, capture_output=True, text=True, timeout=30)
        assert busy.returncode == 1, f"a busy port: exit {busy.returncode}"
        assert "cannot listen" in busy.stdout + busy.stderr, busy.stderr
        call_id = announced(web_port)
        call = "call", "--json", "--dtmf=5#", f"--uuid={call_id}", f"127.0.0.1:{port}"
        print("smoke: a call was answered:", json.loads(answer(PORTERO, *call)))
        look_at(call_id, web_port)
    finally:
        daemon.send_signal(signal.SIGTERM)
        log, _ = daemon.communicate(timeout=30)
        print(log.decode())
    # twistd ends by the signal that stopped it.
    ends = (0, -signal.SIGTERM)
    assert daemon.returncode in ends, f"twistd: exit {daemon.returncode}"
    assert b"ended well" in log, "the call did not end well"
    assert b"Traceback" not in log, "something raised"


# A key in this shell would have the call answered by the real service.
os.environ.pop("OPENAI_API_KEY", None)
with tempfile.TemporaryDirectory(prefix="portero-smoke-") as folder:
    main(configuration(folder))

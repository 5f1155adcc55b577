"""
Makes the captures in C{tests/captures} anew: calls to a real portero and a service,
each of a few seconds of tones. Run as a module, when what portero does has changed.
"""

from __future__ import annotations

import random
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from portero.simulator.persona import tone
from portero.wire import audiosocket as wire
from tests.lab.portero import Portero
from tests.lab.process import wait_until
from tests.lab.service import Service
from tests.lab.website import Website

FOLDER: Final = Path(__file__).parent / "captures"
FRAME: Final = 320
SILENCE: Final = bytes(FRAME)
TOKEN: Final = "the-token-of-the-lab"
SHORT: Final = ((0.1, 700),)
LONG: Final = ((0.1, 6000),)


@dataclass(frozen=True, slots=True)
class Script:
    """What a caller does. Seconds from the beginning."""

    seconds: float
    says: tuple[tuple[float, float], ...] = ()
    """From when to when."""
    presses: Mapping[float, str] = field(default_factory=dict)
    loses: Callable[[int], bool] = lambda number: False
    """Whether a frame is lost, by its number."""

    def call(self, port: int, call_id: uuid.UUID) -> None:
        """Place the call, and hang up at its end."""
        pcm = tone(round(self.seconds * 1000))
        keys = sorted(self.presses.items())
        with socket.create_connection(("127.0.0.1", port), 5) as peer:
            peer.sendall(wire.encode(wire.UUID, call_id.bytes))
            peer.setblocking(False)
            began = time.monotonic()
            for number in range(round(self.seconds * 50)):
                at = number / 50
                time.sleep(max(0.0, began + at - time.monotonic()))
                if not _drained(peer):
                    return
                if keys and keys[0][0] <= at:
                    peer.sendall(wire.encode(wire.DTMF, keys.pop(0)[1].encode()))
                if self.loses(number):
                    continue
                speaks = any(start <= at < end for start, end in self.says)
                frame = pcm[number * FRAME :][:FRAME] if speaks else SILENCE
                peer.sendall(wire.encode(wire.KINDS[8000], frame))
            peer.sendall(wire.encode(wire.HANGUP))


def _drained(peer: socket.socket) -> bool:
    """@return: Whether the far end is still there."""
    try:
        while peer.recv(65536):
            pass
    except BlockingIOError:
        return True
    except ConnectionError:
        pass
    return False


def _lossy(number: int) -> bool:
    return random.Random(number // 3).random() < 0.2


CALLS: Final[Mapping[str, tuple[str, Script]]] = {
    "clean": ("short", Script(5.5, says=((1.5, 2.2),))),
    "interrupted": ("long", Script(6.0, says=((1.5, 2.2),))),
    "polite": ("polite", Script(6.5, says=((1.2, 1.4), (2.5, 3.6)))),
    "service_lost": ("lost", Script(7.5, says=((1.5, 2.2), (4.0, 4.7)))),
    "slow_service": ("slow", Script(6.0, says=((2.6, 3.3),))),
    "lossy_line": ("short", Script(6.0, says=((1.5, 2.4),), loses=_lossy)),
    "tool": ("shop", Script(8.0, says=((1.5, 2.2),))),
    "hangs_up": ("brief", Script(6.0)),
    "digits": ("short", Script(7.0, presses={1.5: "1", 1.8: "2", 2.1: "#"})),
}
"""By the name of the file: the agent, and what the caller does."""

MODELS: Final[Mapping[str, Mapping[str, Any]]] = {
    "short": {"reply": SHORT},
    "long": {"reply": LONG},
    "lost": {"reply": SHORT, "drop_after_ms": 1600},
    "slow": {"reply": ((0.6, 200), (0.5, 200), (0.4, 300)), "jitter_s": 0.1},
    "shop": {
        "reply": SHORT,
        "then": ({"reply": SHORT, "function_call": ("order", '{"number": "123456"}')},),
    },
    "brief": {"reply": SHORT, "function_call": ("hang_up", "{}")},
}


def configuration(folder: str, shop: str) -> str:
    return f"""
[agent]
capture = true
consent = "agreement"
instructions = "You are brief."
vad_silence_ms = 300
[agents.short]
model = "short"
[agents.long]
model = "long"
[agents.polite]
model = "long"
interruption = "polite"
[agents.lost]
model = "lost"
[agents.slow]
model = "slow"
[agents.shop]
model = "shop"
tools = ["order"]
filler = "sound"
filler_after = 0.5
[agents.brief]
model = "brief"
tools = ["hangup"]
[webhooks.order]
description = "Says where an order is."
method = "GET"
url = "{shop}/orders/{{number}}"
allow = ["127.0.0.0/8"]
[webhooks.order.parameters]
number = {{ description = "Of the order." }}
[records]
captures = "{folder}"
"""


def main() -> None:
    folder = tempfile.mkdtemp(prefix="captures-")
    shop, service = Website(), Service(MODELS)
    shop.answers["/orders/123456"] = ("text/plain", b"It is on its way.")
    shop.delays["/orders/123456"] = 1.2
    config = configuration(folder, shop.url)
    portero = Portero(env=service.env, config=config, token=TOKEN)
    try:
        for name, (agent, script) in CALLS.items():
            call_id = portero.announce(agent=agent)["uuid"]
            script.call(portero.port, uuid.UUID(call_id))
            wait_until(lambda: not portero.calls(), 5)
            time.sleep(0.5)
            (found,) = Path(folder).glob(f"*-{call_id}.capture")
            shutil.copyfile(found, FOLDER / f"{name}.capture")
            print(name, found.stat().st_size)
    finally:
        portero.stop()
        service.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
